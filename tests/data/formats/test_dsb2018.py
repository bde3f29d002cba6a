"""Nuclei of the Data Science Bowl 2018: one PNG an object, or 16-bit labels with an index."""

import csv
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import skimage.io
from hypothesis import given
from hypothesis import strategies as st

from tests.data.formats.folder_sets import (
    claim,
    gone_around,
    object_sets,
    opened,
    pairs,
    photo,
    quick,
    save,
    spaces,
    truncate,
    written,
)
from tests.data.listed import Listed, drawn, sample
from tests.real_data import real
from vitrail.data.formats.dsb2018 import FORMAT
from vitrail.data.sample import LabelSpace
from vitrail.errors import DataError, ImageError, ImageTooLargeError

ONE = np.array([[255, 255, 0, 0], [0, 255, 0, 0], [0, 0, 0, 0]], np.uint8)
TWO = np.array([[0, 0, 0, 255], [0, 255, 0, 0], [0, 0, 0, 0]], np.uint8)


@pytest.fixture
def contest(tmp_path: Path) -> Path:
    """Two labelled images, one without nuclei, and a test part without masks."""
    for id in ("0a1f", "77c2"):
        photo(tmp_path / "stage1_train" / id / "images" / f"{id}.png", 3, 4)
        (tmp_path / "stage1_train" / id / "masks").mkdir()
    save(tmp_path / "stage1_train" / "0a1f" / "masks" / "p.png", ONE)
    save(tmp_path / "stage1_train" / "0a1f" / "masks" / "q.png", TWO)
    photo(tmp_path / "stage1_test" / "9e" / "images" / "9e.png")
    return tmp_path


@pytest.mark.parametrize("inside", [False, True])
def test_the_contest_layout(contest: Path, inside: bool) -> None:
    root = contest / "stage1_train" if inside else contest
    reason = FORMAT.recognise(root)
    assert reason is not None
    assert reason.endswith("ID/masks with one PNG per object")
    dataset = opened(FORMAT, root)
    assert dataset.splits == ("all",) if inside else ("train",)
    source = dataset[dataset.splits[0]]
    assert list(source.ids) == ["0a1f", "77c2"]
    assert source.space == LabelSpace(("nucleus",))
    first, second = source[0].instances, source[1].instances
    assert [one.id for one in first] == ["p", "q"]
    assert np.array_equal(first[0].mask.dense()[0], ONE > 0)
    assert np.array_equal(first[1].mask.dense()[0], TWO > 0), "overlaps stay"
    assert second == ()
    assert source[1].size == (3, 4)
    assert source[0].image.shape == (3, 4, 3)
    if not inside:
        (note,) = dataset.problems
        assert (note.code, note.severity, note.split) == (
            "unlabelled-split",
            "note",
            "stage1_test"[7:],
        )


def test_other_codings_of_one_object(contest: Path) -> None:
    folder = contest / "stage1_train" / "0a1f" / "masks"
    save(folder / "p.png", ONE // 255)
    save(folder / "q.png", np.repeat(TWO[..., None], 3, axis=2))
    first = opened(FORMAT, contest)["train"][0].instances
    assert [int(one.mask.areas()[0]) for one in first] == [3, 2]


def test_faults_that_are_gone_around(contest: Path) -> None:
    train = contest / "stage1_train"
    (train / "no_image" / "masks").mkdir(parents=True)
    photo(train / "no_masks" / "images" / "no_masks.png")
    photo(train / "two" / "images" / "two.png")
    photo(train / "two" / "images" / "more.png")
    with pytest.raises(DataError, match=r"no_image: holds 0 images, expected one.*2 more"):
        opened(FORMAT, contest)
    dataset = gone_around(FORMAT, contest)
    assert list(dataset["train"].ids) == ["0a1f", "77c2"]
    told = {one.id: one.code for one in dataset.problems if one.severity == "error"}
    assert told == {"no_image": "missing-image", "no_masks": "missing-mask", "two": "duplicate-id"}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_folder_name_that_is_not_utf8(contest: Path) -> None:
    odd = os.fsdecode(b"caf\xe9")
    photo(contest / "stage1_train" / odd / "images" / f"{odd}.png")
    (contest / "stage1_train" / odd / "masks").mkdir()
    with pytest.raises(DataError, match=r"the name 'caf.udce9' is not UTF-8"):
        opened(FORMAT, contest)
    assert list(gone_around(FORMAT, contest)["train"].ids) == ["0a1f", "77c2"]


def test_masks_that_cannot_be_read(contest: Path) -> None:
    path = contest / "stage1_train" / "0a1f" / "masks" / "q.png"
    source = opened(FORMAT, contest)["train"]
    save(path, ONE[:2])
    with pytest.raises(DataError, match=r"q.png: is 4x2 px, expected 4x3 like the masks before"):
        _ = source[0]
    save(path, np.full((3, 4), 7, np.uint8))
    with pytest.raises(DataError, match=r"q.png: holds the value 7 \(12 px"):
        _ = source[0]
    save(path, np.random.default_rng(0).integers(0, 2, (64, 64)).astype(np.uint8))
    truncate(path)
    with pytest.raises(ImageError, match=r"q.png: the PNG data is damaged"):
        _ = source[0]
    claim(path, 30_000, 30_000)
    with pytest.raises(ImageTooLargeError, match=r"q.png: its header claims 30,000"):
        _ = source[0]


def test_a_mask_in_a_folder_of_no_class(contest: Path) -> None:
    save(contest / "stage1_train" / "0a1f" / "masks" / "glia" / "x.png", ONE)
    with pytest.raises(DataError, match=r"x.png: lies in the folder 'glia'.* one of nucleus"):
        _ = opened(FORMAT, contest)["train"][0]
    (contest / "classes.json").write_text('["glia", "nucleus"]', "utf-8")
    with pytest.raises(DataError, match=r"p.png: lies in no folder of a class.* glia, nucleus"):
        _ = opened(FORMAT, contest)["train"][0]


def test_nothing_that_looks_like_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected stage1_train/ID/images/ID.png"):
        opened(FORMAT, tmp_path)
    photo(tmp_path / "x" / "images" / "x.png")
    with pytest.raises(DataError, match=r"none of its images has a folder masks/"):
        opened(FORMAT, tmp_path)
    # A split with images and masks of its own is no item.
    other = tmp_path / "other"
    pairs(other / "train", {"a": ONE, "b": TWO})
    assert FORMAT.recognise(other) is None


@quick
@given(st.data())
def test_what_is_written_is_read_again(data: st.DataObject) -> None:
    space = data.draw(spaces())
    space = LabelSpace(space.classes, None, space.ignore, space.original_ids, space.colours)
    splits = data.draw(object_sets(space, overlap=True))
    with tempfile.TemporaryDirectory() as folder:
        back = written(FORMAT, splits, Path(folder) / "set")
        assert back.space == space
        assert set(back.splits) == set(splits)
        for split, source in splits.items():
            assert sorted(back[split].ids) == sorted(source.ids)
            for new in back[split]:
                old = source[source.ids.index(new.id)]
                assert np.array_equal(new.image, old.image)
                key = lambda one: (one.class_id, one.mask.rle()[0]["counts"])  # noqa: E731
                assert sorted(map(key, new.instances)) == sorted(map(key, old.instances))


def test_own_ids_name_the_files_and_stages_the_splits(tmp_path: Path) -> None:
    one = sample("x", (2, 2), drawn(0, ["#.", ".."], id="n9"), drawn(0, ["##", ".."], id="n1"))
    other = sample("y", (2, 2), drawn(0, ["#.", ".."], id="a/b"), drawn(0, ["##", ".."], id=""))
    space = LabelSpace(("nucleus",))
    splits = {"train": Listed([one], space), "test": Listed([other], space)}
    back = written(FORMAT, splits, tmp_path / "set")
    names = {p.relative_to(tmp_path / "set").as_posix() for p in (tmp_path / "set").rglob("*.png")}
    assert names == {
        *("stage1_train/x/images/x.png", "stage1_train/x/masks/n1.png"),
        *("stage1_train/x/masks/n9.png", "stage1_test/y/images/y.png"),
        *("stage1_test/y/masks/1.png", "stage1_test/y/masks/2.png"),
    }
    assert {one.id for one in back["train"][0].instances} == {"n1", "n9"}


def test_skimage_reads_what_is_written(tmp_path: Path) -> None:
    """As the contest's kernels do: the sum of all masks of an image."""
    one = sample("x", (2, 3), drawn(0, ["##.", "..."]), drawn(0, [".##", "..."]))
    written(FORMAT, {"train": Listed([one], LabelSpace(("nucleus",)))}, tmp_path / "set")
    stack = skimage.io.imread_collection(f"{tmp_path}/set/stage1_train/x/masks/*.png")
    assert np.sum([mask // 255 for mask in stack], axis=0).tolist() == [[1, 2, 1], [0, 0, 0]]


# images/, labels/ and index.csv ------------------------------------------------------------------

NUMBERS = np.array([[1, 1, 0], [0, 0, 2]], np.uint16)


@pytest.fixture
def indexed(tmp_path: Path) -> Path:
    pairs(tmp_path, {"a": NUMBERS, "b": NUMBERS * 300}, folder="labels")
    (tmp_path / "index.csv").write_text("id,kind,instances\na,grey_dark,2\nb,colour,2\n", "utf-8")
    return tmp_path


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_sixteen_bit_labels_with_kinds(indexed: Path, delimiter: str, bom: str) -> None:
    path = indexed / "index.csv"
    path.write_text(bom + path.read_text("utf-8").replace(",", delimiter), "utf-8")
    assert FORMAT.recognise(indexed) == "images/, labels/ and index.csv with id,kind,instances"
    source = opened(FORMAT, indexed)["all"]
    assert source.ids == ["a", "b"]
    assert [one.id for one in source[1].instances] == ["300", "600"]
    kinds = [one.attributes for index in range(2) for one in source[index].instances]
    assert kinds == [{"kind": "grey_dark"}] * 2 + [{"kind": "colour"}] * 2


def test_rows_and_files_that_do_not_meet(indexed: Path) -> None:
    (indexed / "index.csv").write_text("id,kind,instances\na,x,2\n\nc,x,1\n", "utf-8")
    with pytest.raises(DataError, match=r"index.csv: c: has no image with labels"):
        opened(FORMAT, indexed)
    dataset = gone_around(FORMAT, indexed)
    assert dataset["all"].ids == ["a", "b"]
    assert {(one.code, one.id) for one in dataset.problems} == {
        ("missing-image", "c"),
        ("missing-row", "b"),
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,kind,instances\na,x\n", r"line 2 is 'a,x', expected id,kind,instances"),
        ("id,kind,instances\na,x,many\n", "line 2"),
        ("name,kind\n", "line 1 is 'name,kind'"),
        ("", "line 1 is ''"),
    ],
)
def test_a_faulty_index(indexed: Path, content: str, message: str) -> None:
    (indexed / "index.csv").write_text(content, "utf-8")
    with pytest.raises(DataError, match=message):
        opened(FORMAT, indexed)


@pytest.mark.data
def test_dsb2018() -> None:
    root = real("dsb2018")
    source = opened(FORMAT, root)["all"]
    with (root / "index.csv").open(newline="", encoding="utf-8") as file:
        counts = {row["id"]: int(row["instances"]) for row in csv.DictReader(file)}
    assert len(source) == len(counts) == 565
    assert sum(counts.values()) == 24_677
    for index in range(0, 565, 19):
        assert len(source[index].instances) == counts[source.ids[index]]
