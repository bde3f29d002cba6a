"""CamVid in both layouts: drawn sets, what is written, damaged files, and the real set."""

import pickle
from pathlib import Path
from typing import Any

import cv2
import datumaro
import numpy as np
import pytest
from datumaro.components.annotation import Mask
from datumaro.components.media import Image

from tests.data.formats.drawn_voc import same
from tests.data.listed import Listed, mapped
from tests.real_data import real
from vitrail.data.formats.base import Dataset, Splits, refuse
from vitrail.data.formats.camvid import FORMAT, CamVidOptions
from vitrail.data.formats.camvid_classes import SPACE_11, original_classes, usual_split
from vitrail.data.formats.camvid_write import CamVidWriteOptions
from vitrail.data.formats.writing import samples
from vitrail.data.sample import LabelSpace, Sample
from vitrail.errors import DataError, ParameterError, VitrailError

SIZE = (12, 16)
FRAMES = {
    "train": ["0001TP_006690", "0006R0_f00930", "0016E5_00390"],
    "val": ["0016E5_07959", "0016E5_08159"],
    "test": ["0001TP_008550", "Seq05VD_f00000"],
}
COLOURS = {"Sky": (128, 128, 128), "Road": (128, 64, 128), "Child": (192, 128, 64)}
COLOURS |= {"Void": (0, 0, 0), "LaneMkgsDriv": (128, 0, 192), "Wall": (64, 192, 0)}


def opened(root: Path, **options) -> Dataset:
    return FORMAT.open(root, CamVidOptions(**options))


def by_id(dataset: Dataset) -> dict[str, Sample]:
    return {one.id: one for _, source in dataset.items() for one in samples(source)}


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), np.uint8)


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels[..., ::-1] if pixels.ndim == 3 else pixels)


def values(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 12, SIZE).astype(np.uint8)


def write_segnet(root: Path, *, suffix: str = ".png", lists: bool = False) -> dict[str, np.ndarray]:
    truth = {}
    for split, names in FRAMES.items():
        lines = []
        for name in names:
            truth[name] = values(len(truth))
            save(root / split / f"{name}{suffix}", picture(len(truth)))
            save(root / f"{split}annot" / f"{name}.png", truth[name])
            lines.append(
                f"/SegNet/CamVid/{split}/{name}.png /SegNet/CamVid/{split}annot/{name}.png"
            )
        if lists:
            (root / f"{split}.txt").write_text("\r\n".join(lines[::-1]) + "\r\n")
    return truth


def write_original(root: Path) -> dict[str, np.ndarray]:
    """``{name: (H, W) places in COLOURS}``."""
    truth = {}
    table = np.array(list(COLOURS.values()), np.uint8)
    for names in FRAMES.values():
        for name in names:
            places = np.random.default_rng(len(truth)).integers(0, len(COLOURS), SIZE)
            truth[name] = places
            save(root / "701_StillsRaw_full" / f"{name}.png", picture(len(truth)))
            save(root / "LabeledApproved_full" / f"{name}_L.png", table[places])
    return truth


def write(parts: Splits, folder: Path, **options) -> Dataset:
    folder.mkdir(exist_ok=True)
    assert FORMAT.write is not None
    FORMAT.write(parts, folder, CamVidWriteOptions(**options))
    dataset = opened(folder)
    for split in dataset.splits:
        dataset[split]
    refuse(dataset.problems)
    return dataset


# SegNet's layout --------------------------------------------------------------------------------


@pytest.mark.parametrize("lists", [False, True])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_eleven_classes(suffix: str, lists: bool, tmp_path: Path) -> None:
    """Pictures may have been saved as JPEG; SegNet's lists still say PNG, and where they lay."""
    truth = write_segnet(tmp_path, suffix=suffix, lists=lists)
    dataset = opened(tmp_path)
    assert dataset.splits == ("train", "val", "test") and dataset.space == SPACE_11
    assert {split: dataset[split].ids for split in dataset} == {
        split: names[::-1] if lists else names for split, names in FRAMES.items()
    }
    assert dataset.space.ignore == 11 and dataset.space.classes[8] == "car"
    for id, one in by_id(dataset).items():
        assert same(one.labels, truth[id]) and one.size == SIZE
        assert one.instances is None and one.image.shape == (*SIZE, 3)
    assert not dataset.problems
    assert opened(tmp_path, classes=11).space == SPACE_11
    with pytest.raises(ParameterError, match=r"classes=32: the masks .* hold values of 11"):
        opened(tmp_path, classes=32)


def test_lists_of_several_pairs_in_a_line_quotes_and_images_alone(tmp_path: Path) -> None:
    for name in ("a", "b c", "d"):
        save(tmp_path / "train" / f"{name}.png", picture(0))
        save(tmp_path / "trainannot" / f"m_{name}.png", values(ord(name[0])))
    save(tmp_path / "trainannot" / "d.png", values(9))
    (tmp_path / "train.txt").write_text(
        "\ufeff/x/train/a.png /x/trainannot/m_a.png \"/x/train/b c.png\" 'trainannot'/m_a.png\n"
        '"train/b c.png" "trainannot/m_b c.png"\n'
        "train/d.png\n",
        "utf-8",
    )
    dataset = opened(tmp_path)
    found = by_id(dataset)
    assert list(found) == ["a", "d"]
    assert same(found["a"].labels, values(ord("a"))) and same(found["d"].labels, values(9))
    assert [(one.code, one.id) for one in dataset.problems] == [
        ("missing-mask", "b c"),
        ("duplicate-id", "b c"),
    ]


def test_lists_with_faults(tmp_path: Path) -> None:
    write_segnet(tmp_path)
    (tmp_path / "val" / "0016E5_08159.png").unlink()
    (tmp_path / "valannot" / "0016E5_07959.png").unlink()
    (tmp_path / "val.txt").write_text(
        "/SegNet/CamVid/val/0016E5_07959.png /SegNet/CamVid/valannot/0016E5_07959.png\n"
        "val/0016E5_08159.png valannot/0016E5_08159.png\n"
        "../../etc/passwd valannot/x.png\n"
        "C:\\x\\y.png valannot\\x.png\n"
    )
    dataset = opened(tmp_path)
    assert dataset["val"].ids == []
    assert [one.code for one in dataset.problems] == [
        *("missing-mask", "missing-image", "unsafe-name", "unsafe-name"),
    ]
    assert all(one.file == tmp_path / "val.txt" for one in dataset.problems)


def test_lists_that_cannot_be_read(tmp_path: Path) -> None:
    write_segnet(tmp_path, lists=True)
    (tmp_path / "train.txt").write_bytes(b"train/\xff.png trainannot/x.png\n")
    dataset = opened(tmp_path)
    with pytest.raises(DataError, match=r"train\.txt: byte 6 is 0xff"):
        dataset["train"]


def test_what_does_not_pair_is_reported(tmp_path: Path) -> None:
    write_segnet(tmp_path)
    (tmp_path / "train" / "0016E5_00390.png").unlink()
    (tmp_path / "valannot" / "0016E5_07959.png").unlink()
    dataset = opened(tmp_path)
    assert len(by_id(dataset)) == 5
    assert {(one.code, one.split) for one in dataset.problems} == {
        ("orphan-mask", "train"),
        ("missing-mask", "val"),
    }


def test_values_that_are_no_class(tmp_path: Path) -> None:
    write_segnet(tmp_path)
    path = tmp_path / "trainannot" / "0016E5_00390.png"
    save(path, np.full(SIZE, 12, np.uint8))
    with pytest.raises(DataError, match=r"00390.png: holds the value 12; expected .*0\.\.10"):
        _ = opened(tmp_path)["train"][2].labels
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(VitrailError, match=r"0016E5_00390\.png"):
        _ = opened(tmp_path)["train"][2].labels


def test_sources_travel_to_worker_processes(tmp_path: Path) -> None:
    truth = write_segnet(tmp_path / "a")
    places = write_original(tmp_path / "b")
    source = pickle.loads(pickle.dumps(opened(tmp_path / "a")["val"]))
    assert same(pickle.loads(pickle.dumps(source[0])).labels, truth[source.ids[0]])
    source = opened(tmp_path / "b", classes=11)["val"]
    _ = source[0].labels
    again = pickle.loads(pickle.dumps(source))
    assert same(again[0].labels, source[0].labels)
    assert len(pickle.dumps(source)) < 10_000 and len(places) == 7


# The original -----------------------------------------------------------------------------------


@pytest.mark.parametrize("listed", [False, True])
def test_colours_of_the_original(listed: bool, tmp_path: Path) -> None:
    truth = write_original(tmp_path)
    if listed:
        rows = (f"{r} {g} {b}\t\t{name}\n" for name, (r, g, b) in COLOURS.items())
        (tmp_path / "label_colors.txt").write_text("".join(rows))
    dataset = opened(tmp_path)
    assert {split: dataset[split].ids for split in dataset} == FRAMES
    assert len(dataset.space.classes) == (5 if listed else 31)
    assert dataset.space.ignore == 255 and "Void" not in dataset.space.classes
    names = np.array([*dataset.space.classes, *["Void"] * 300])
    for id, one in by_id(dataset).items():
        assert one.labels is not None
        assert same(names[one.labels], np.array(list(COLOURS))[truth[id]])


def test_the_32_colours_as_11_classes(tmp_path: Path) -> None:
    truth = write_original(tmp_path)
    dataset = opened(tmp_path, classes=11)
    assert dataset.space == SPACE_11
    groups = ["sky", "road", "pedestrian", "", "road", "building"]
    expected = np.array([SPACE_11.classes.index(one) if one else 11 for one in groups])
    for id, one in by_id(dataset).items():
        assert same(one.labels, expected[truth[id]])


def test_every_colour_but_void_belongs_to_one_of_the_11() -> None:
    classes = original_classes()
    assert len(classes.colours) == 31 and classes.void_colours == ((0, 0, 0),)
    assert set(classes.eleven()) == set(range(11))
    assert classes.values[-1] == 31 and classes.void == 30


def test_unknown_colours_are_reported_or_ignored(tmp_path: Path) -> None:
    write_original(tmp_path)
    path = tmp_path / "LabeledApproved_full" / "0016E5_07959_L.png"
    made = np.zeros((*SIZE, 3), np.uint8)
    made[0, :3] = (128, 128, 127)
    save(path, made)
    with pytest.raises(DataError, match=r"0016E5_07959_L.png: .*\(128, 128, 127\) \(3 px\).*'Sky'"):
        _ = opened(tmp_path)["val"][0].labels
    for classes, ignored in ((32, 255), (11, 11)):
        one = opened(tmp_path, classes=classes, unknown="ignore")["val"][0]
        assert one.labels is not None and (one.labels == ignored).all()


def test_splits_of_the_original_may_be_listed(tmp_path: Path) -> None:
    write_original(tmp_path)
    (tmp_path / "train.txt").write_text("0016E5_08159.png\n0001TP_008550\n")
    (tmp_path / "val.txt").write_text("0006R0_f00930.png 0006R0_f00930_L.png\n")
    dataset = opened(tmp_path)
    assert {split: dataset[split].ids for split in dataset} == {
        "train": ["0016E5_08159", "0001TP_008550"],
        "val": ["0006R0_f00930"],
    }


def test_frames_of_no_sequence(tmp_path: Path) -> None:
    write_original(tmp_path / "some")
    save(tmp_path / "some" / "701_StillsRaw_full" / "mine.png", picture(1))
    save(tmp_path / "some" / "LabeledApproved_full" / "mine_L.png", np.zeros((*SIZE, 3), np.uint8))
    dataset = opened(tmp_path / "some")
    assert len(by_id(dataset)) == 7
    assert [(one.code, one.id) for one in dataset.problems] == [("unknown-split", "mine")]
    save(tmp_path / "all" / "701_StillsRaw_full" / "mine.png", picture(1))
    save(tmp_path / "all" / "LabeledApproved_full" / "mine_L.png", np.zeros((*SIZE, 3), np.uint8))
    assert opened(tmp_path / "all").splits == ("all",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists 0 classes"),
        ("128 128 128 Sky\n1 2 Road\n", "no colour"),
        ("128 128 128 Sky\n1 2 300 Road\n", "line 2: the colour is 1, 2, 300"),
        ("1 2 3 Sky\n1 2 3 Road\n", "'Sky' and 'Road' have one colour"),
        ("1 2 3 Sky\n1 2 4 Sky\n", "the name 'Sky'"),
        ("0 0 0 Void\n", "all classes are ignored"),
        ("# vitrail {\n1 2 3 Sky\n0 0 0 Void\n", "line 1 is '# vitrail {', which is damaged"),
        (
            '# vitrail {"background": 7, "ignore": 11, "original_ids": null, "own_colours": true}\n'
            "1 2 3 Sky\n0 0 0 Void\n",
            "which is damaged",
        ),
        (
            '# vitrail {"background": null, "ignore": 0, "original_ids": null, "own_colours": true}'
            "\n1 2 3 Sky\n0 0 0 Void\n",
            "which is damaged",
        ),
    ],
)
def test_damaged_lists_of_colours(text: str, message: str, tmp_path: Path) -> None:
    write_original(tmp_path)
    path = tmp_path / "label_colors.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        opened(tmp_path)
    assert str(path) in str(caught.value)


def test_eleven_classes_need_the_colours_of_camvid(tmp_path: Path) -> None:
    write_original(tmp_path)
    (tmp_path / "label_colors.txt").write_text("1 2 3 Sky\n0 0 0 Void\n")
    with pytest.raises(DataError, match=r"'Sky' has the colour \(1, 2, 3\).*classes=11"):
        opened(tmp_path, classes=11)


@pytest.mark.parametrize(
    ("stem", "split"),
    [
        ("0001TP_008520", "train"),
        ("0001TP_008550", "test"),
        ("0006R0_f03930", "train"),
        ("0016E5_07920", "train"),
        ("0016E5_07959", "val"),
        ("0016E5_08159", "val"),
        ("0016E5_08190", "train"),
        ("Seq05VD_f05100", "test"),
        ("0016E5_x", None),
        ("20190101_000001", None),
    ],
)
def test_the_usual_split(stem: str, split: str | None) -> None:
    assert usual_split(stem) == split


# Recognised or not ------------------------------------------------------------------------------


def test_layouts_are_recognised(tmp_path: Path) -> None:
    write_segnet(tmp_path / "frames")
    assert FORMAT.recognise(tmp_path / "frames") == "train/ beside trainannot/, frames of CamVid"
    save(tmp_path / "listed" / "train" / "a.png", picture(1))
    save(tmp_path / "listed" / "trainannot" / "a.png", values(1))
    assert FORMAT.recognise(tmp_path / "listed") is None
    (tmp_path / "listed" / "train.txt").write_text("/train/a.png trainannot/a.png\n")
    assert "listed in train.txt" in str(FORMAT.recognise(tmp_path / "listed"))
    write_original(tmp_path / "original")
    assert "701_StillsRaw_full/" in str(FORMAT.recognise(tmp_path / "original"))
    assert FORMAT.recognise(tmp_path) is None
    assert FORMAT.recognise(tmp_path / "listed" / "train.txt") is None
    with pytest.raises(DataError, match="has neither"):
        opened(tmp_path)


# Writing ----------------------------------------------------------------------------------------


def test_what_segnet_has_comes_back_as_it_was(tmp_path: Path) -> None:
    truth = write_segnet(tmp_path / "in")
    dataset = opened(tmp_path / "in")
    again = write(dict(dataset.items()), tmp_path / "out")
    assert again.space == SPACE_11 and not (tmp_path / "out" / "label_colors.txt").exists()
    assert {split: again[split].ids for split in again} == FRAMES
    for id, one in by_id(again).items():
        assert same(one.labels, truth[id])
        assert one.path is not None
        old = tmp_path / "in" / one.path.relative_to(tmp_path / "out")
        assert one.path.read_bytes() == old.read_bytes()
    assert (tmp_path / "out" / "val.txt").read_text().splitlines()[0] == (
        "/val/0016E5_07959.png valannot/0016E5_07959.png"
    )


@pytest.mark.parametrize("masks", ["index", "colour"])
@pytest.mark.parametrize(
    "space",
    [
        SPACE_11,
        original_classes().space,
        LabelSpace(("void", "Unlabelled thing", "straße 7"), 2, 255, (4, 9, 1)),
        LabelSpace(("a", "b"), 0, 7, None, ((0, 0, 0), (1, 1, 1))),
    ],
    ids=["11", "32", "other", "black"],
)
def test_spaces_come_back(space: LabelSpace, masks: str, tmp_path: Path) -> None:
    labels = np.array([[*range(len(space.classes)), space.ignore]], np.uint8)
    one = Sample("d x/a b", np.zeros((*labels.shape, 3), np.uint8), (1, labels.size), labels)
    again = write({"train": Listed([one], space)}, tmp_path / "out", masks=masks)
    assert again.space == space and again["train"].ids == ["d x/a b"]
    assert same(again["train"][0].labels, labels)
    assert FORMAT.recognise(tmp_path / "out")


def test_names_that_no_list_can_hold_are_refused(tmp_path: Path) -> None:
    one = Sample('a"b', np.zeros((1, 1, 3), np.uint8), (1, 1), np.zeros((1, 1), np.uint8))
    with pytest.raises(DataError, match="rename the image"):
        write({"train": Listed([one], LabelSpace(("x",)))}, tmp_path / "out")
    with pytest.raises(DataError, match="class name"):
        write({"train": Listed([], LabelSpace(("x\ny",)))}, tmp_path / "more")


# Datumaro 1.13.12, the exporter of CVAT ----------------------------------------------------------


def test_datumaro_reads_what_is_written(tmp_path: Path) -> None:
    space = LabelSpace(("ground", "cell", "wall"), 0, 255, None, ((0, 0, 0), (9, 9, 9), (7, 0, 0)))
    one = mapped("s/a", ["0012", "2211"])
    for masks in ("index", "colour"):
        write({"train": Listed([one], space)}, tmp_path / masks, masks=masks)
        theirs: Any = datumaro.Dataset.import_from(str(tmp_path / masks), "camvid")
        names = theirs.categories()[datumaro.AnnotationType.label]
        item = theirs.get("s/a", "train")
        assert item is not None and same(item.media.data[..., ::-1], one.image)
        shown = {names[mask.label].name: mask.image for mask in item.annotations}
        assert {"ground", "cell", "wall"} == shown.keys()
        for value, name in enumerate(space.classes):
            assert one.labels is not None and same(shown[name], one.labels == value)


def test_datumaro_reads_the_11_classes_by_colour(tmp_path: Path) -> None:
    truth = write_segnet(tmp_path / "in")
    write(dict(opened(tmp_path / "in").items()), tmp_path / "out", masks="colour")
    theirs: Any = datumaro.Dataset.import_from(str(tmp_path / "out"), "camvid")
    names = theirs.categories()[datumaro.AnnotationType.label]
    seen = 0
    for split, frames in FRAMES.items():
        for id in frames:
            for mask in theirs.get(id, split).annotations:
                name = names[mask.label].name
                if name in SPACE_11.classes:
                    assert same(mask.image, truth[id] == SPACE_11.classes.index(name))
                    seen += 1
    assert seen == 77


def test_what_datumaro_writes_is_read(tmp_path: Path) -> None:
    categories: Any = {
        datumaro.AnnotationType.label: datumaro.LabelCategories.from_iterable(["Void", "a", "b"]),
        datumaro.AnnotationType.mask: datumaro.MaskCategories(
            {0: (0, 0, 0), 1: (9, 9, 9), 2: (7, 0, 0)}
        ),
    }
    made = np.zeros((2, *SIZE), bool)
    made[0, :2], made[1, 5:, :3] = True, True
    item = datumaro.DatasetItem(
        "x y",
        subset="train",
        media=Image.from_numpy(picture(0)),
        annotations=[Mask(made[0], label=1), Mask(made[1], label=2)],
    )
    theirs: Any = datumaro.Dataset.from_iterable([item], categories=categories)
    theirs.export(str(tmp_path / "out"), "camvid", save_media=True)
    dataset = opened(tmp_path / "out")
    assert FORMAT.recognise(tmp_path / "out") and dataset.space.classes == ("a", "b")
    (one,) = by_id(dataset).values()
    assert one.id == "x y" and one.labels is not None
    assert same(one.labels == 0, made[0]) and same(one.labels == 1, made[1])
    assert same(one.labels == 255, np.asarray(~made.any(axis=0)))


# The real set -----------------------------------------------------------------------------------


@pytest.mark.data
def test_the_real_set() -> None:
    """Counts, and shares of labelled pixels: road, building and sky fill most of a street."""
    root = real("CamVid")
    assert FORMAT.recognise(root)
    dataset = opened(root)
    assert {split: len(dataset[split]) for split in dataset} == {
        "train": 367,
        "val": 101,
        "test": 233,
    }
    assert not dataset.problems
    for split in dataset:
        assert {usual_split(id) for id in dataset[split].ids} == {split}
    counts = np.zeros(12, np.int64)
    for one in samples(dataset["train"]):
        assert one.size == (360, 480)
        assert one.labels is not None
        counts += np.bincount(one.labels.ravel(), minlength=12)
    shares = dict(zip(SPACE_11.classes, (counts[:11] / counts[:11].sum()).round(3), strict=True))
    assert counts.sum() == 367 * 360 * 480
    assert 0.01 < counts[11] / counts.sum() < 0.1
    assert shares["road"] > 0.25 and shares["building"] > 0.2 and shares["sky"] > 0.1, shares
    assert shares["bicyclist"] < 0.01 and shares["pedestrian"] < 0.02
    assert dataset["val"][0].image.shape == (360, 480, 3)
