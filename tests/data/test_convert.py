"""Writing a data set in another format: what is told, what is refused, and what is left behind."""

import dataclasses
import errno
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from tests.data.listed import Listed, drawn, mapped, picture, sample
from vitrail.data import convert as module
from vitrail.data.check import check_dataset
from vitrail.data.convert import LossyConversionError, convert
from vitrail.data.derive import Relabelled
from vitrail.data.formats import formats
from vitrail.data.opening import open_dataset
from vitrail.data.readback import pair_samples
from vitrail.data.sample import LabelSpace, Sample
from vitrail.data.split import Joined, Subset
from vitrail.errors import DataError, OutputError, ParameterError, UnknownNameError

THINGS = LabelSpace(("cat", "dog"))
MAPS = LabelSpace(("ground", "cat", "dog"), 0)
DISC = [".###.", "#####", "#####", "#####", ".###."]
RING = ["#####", "#...#", "#...#", "#...#", "#####"]
DOT = [".....", ".....", "..#..", ".....", "....."]


def plain() -> dict[str, Listed]:
    """Two splits of objects that any format of masks can hold."""
    return {
        "train": Listed(
            [
                sample("a", (5, 5), drawn(0, DISC), seed=1),
                sample("b", (5, 5), drawn(1, RING), seed=2),
            ],
            THINGS,
        ),
        "val": Listed([sample("c", (5, 5), drawn(1, DOT), drawn(0, RING), seed=3)], THINGS),
    }


def overlapping() -> dict[str, Listed]:
    found = (drawn(0, DISC), drawn(1, DOT))
    return {"train": Listed([sample("a", (5, 5), *found)], THINGS)}


def below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


class Failing(Listed):
    """A source whose second sample fails as told."""

    error: BaseException

    def __getitem__(self, index: int) -> Sample:
        if index:
            raise self.error
        return self.samples[index]


def failing(error: BaseException) -> dict[str, Failing]:
    source = Failing([sample(name, (5, 5), drawn(0, DISC)) for name in "ab"], THINGS)
    source.error = error
    return {"train": source}


def test_lossless(tmp_path: Path) -> None:
    report = convert(plain(), tmp_path / "out", "coco")
    assert report.lossless and report.format == "coco" and report.target == tmp_path / "out"
    assert report.images == {"train": 2, "val": 1}
    cat, dog = report.classes
    assert (cat.instances_in, cat.instances_out, cat.mean_iou) == (2, 2, 1.0)
    assert (dog.instances_in, dog.instances_out, dog.mean_iou) == (2, 2, 1.0)
    again = open_dataset(tmp_path / "out")
    assert (again.format, again.splits) == ("coco", ("train", "val"))
    assert [len(part) for _, part in again.items()] == [2, 1]
    assert below(tmp_path)[0] == "out" and not list(tmp_path.glob(".*"))


def test_a_loss_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LossyConversionError, match="--allow-lossy") as caught:
        convert(overlapping(), tmp_path / "new" / "out", "index-masks")
    assert "2 objects become pixels of their classes; 1 px" in caught.value.report.losses[0]
    assert isinstance(caught.value, DataError)
    assert below(tmp_path) == []


def test_a_loss_that_is_allowed(tmp_path: Path) -> None:
    report = convert(overlapping(), tmp_path / "new" / "out", "index-masks", allow_lossy=True)
    assert not report.lossless
    cat, dog = report.classes
    assert (cat.instances_in, cat.instances_out, cat.overlap_pixels) == (1, 0, 1)
    assert (cat.label_iou, dog.label_iou) == (1.0, 1.0)  # as painted
    labels = open_dataset(tmp_path / "new" / "out")["train"][0].labels
    assert labels is not None and labels[2].tolist() == [1, 1, 2, 1, 1]


def test_label_maps_as_objects(tmp_path: Path) -> None:
    parts = {"train": Listed([mapped("a", ["0011", "2200", "2200"])], MAPS)}
    report = convert(parts, tmp_path / "out", "coco")
    assert report.lossless
    assert [one.label_iou for one in report.classes] == [1.0, 1.0, 1.0]
    assert [one.instances_out for one in report.classes] == [0, 1, 1]
    assert open_dataset(tmp_path / "out").space.classes == ("cat", "dog")


def test_ignored_pixels_are_lost_in_a_format_without(tmp_path: Path) -> None:
    parts = {"train": Listed([mapped("a", ["00x1"])], MAPS)}
    with pytest.raises(LossyConversionError, match="1 of 4 labelled pixels change"):
        convert(parts, tmp_path / "out", "coco")


def test_lost_objects_are_not_changed_masks(tmp_path: Path) -> None:
    found = (drawn(0, ["##..", "##.."]), drawn(0, ["...#", "...#"], crowd=True))
    parts = {"train": Listed([sample("a", (2, 4), *found)], THINGS)}
    report = convert(parts, tmp_path / "out", "yolo", allow_lossy=True)
    assert report.losses == ("2 objects come back as 1 (1 lost)", "1 crowd comes back as none")


def test_void_around_objects_is_what_objects_leave_unsaid(tmp_path: Path) -> None:
    """From objects to panoptic and back again; the crowd is ignored only as it is painted."""
    found = (drawn(0, DISC), drawn(1, ["....#", *["....."] * 4], crowd=True))
    parts = {"train": Listed([sample("a", (5, 5), *found), sample("b", (5, 5), seed=1)], THINGS)}
    there = convert(parts, tmp_path / "panoptic", "coco-panoptic")
    assert there.lossless
    assert "pixels outside all objects are written as void: of no class, ignored in training" in (
        there.notes
    )
    back = convert(dict(open_dataset(tmp_path / "panoptic").items()), tmp_path / "back", "coco")
    outside = 50 - sum(row.count("#") for row in DISC) - 1
    assert back.lossless and f"{outside} ignored pixels lie outside all objects" in back.notes[-1]
    checked = check_dataset(tmp_path / "panoptic")
    assert "nothing-labelled" not in {code for code, _ in checked.findings.kinds()}


def test_stuff_is_lost_in_a_format_of_objects(tmp_path: Path) -> None:
    labels = np.zeros((5, 5), np.uint8)
    labels[0] = 255
    both = dataclasses.replace(
        sample("a", (5, 5), drawn(1, ["....."] * 4 + ["##..."])), label_map=labels
    )
    labels[4, :2] = 1
    with pytest.raises(LossyConversionError, match="18 of 25 labelled pixels change"):
        convert({"train": Listed([both], THINGS)}, tmp_path / "out", "coco")


def test_a_folder_that_is_not_empty(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious").write_text("x")
    with pytest.raises(OutputError, match="is not empty; --overwrite"):
        convert(plain(), out, "coco")
    assert below(tmp_path) == ["out", "out/precious"]
    convert(plain(), out, "coco", overwrite=True)
    assert not (out / "precious").exists() and open_dataset(out).format == "coco"
    assert not list(tmp_path.glob(".*"))
    (tmp_path / "empty").mkdir()
    assert convert(plain(), tmp_path / "empty", "coco").lossless
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="is a file"):
        convert(plain(), tmp_path / "file", "coco")


def test_the_source_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convert(plain(), tmp_path / "sets" / "one", "coco")
    before = below(tmp_path)
    parts = dict(open_dataset(tmp_path / "sets" / "one").items())
    for origin in (tmp_path / "sets" / "one", None):  # its images alone say where it lies
        for out in (tmp_path / "sets" / "one", tmp_path / "sets"):
            with pytest.raises(OutputError, match=r"cannot be replaced|is the data set that it is"):
                convert(parts, out, "coco", overwrite=True, origin=origin)
    monkeypatch.chdir(tmp_path / "sets" / "one")
    with pytest.raises(OutputError, match="cannot be replaced"):
        convert(plain(), tmp_path / "sets" / "one", "coco", overwrite=True)
    assert below(tmp_path) == before


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt),
        (OSError(errno.ENOSPC, "No space left on device"), OutputError),
        (DataError("damaged"), DataError),
        (MemoryError(), MemoryError),
    ],
)
def test_nothing_is_left_after_a_failure(tmp_path: Path, error, expected) -> None:
    with pytest.raises(expected):
        convert(failing(error), tmp_path / "new" / "out", "coco")
    assert below(tmp_path) == []
    convert(plain(), tmp_path / "out", "coco")
    before = below(tmp_path)
    with pytest.raises(expected):
        convert(failing(error), tmp_path / "out", "coco", overwrite=True)
    assert below(tmp_path) == before and open_dataset(tmp_path / "out").splits == ("train", "val")


def test_a_full_disk_names_the_folder_asked_for(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OutputError, match="No space left on device") as caught:
        convert(failing(full), tmp_path / "out", "coco")
    assert str(tmp_path / "out") in str(caught.value) and ".tmp" not in str(caught.value)


def test_the_old_folder_stays_where_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert(plain(), tmp_path / "out", "coco")
    before = below(tmp_path)
    rename = Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        if self.suffix == ".tmp":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert(plain(), tmp_path / "out", "coco", overwrite=True)
    assert below(tmp_path) == before


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    convert(plain(), tmp_path / "link", "coco")
    assert (tmp_path / "link").is_symlink() and open_dataset(tmp_path / "real").format == "coco"


def test_progress_is_told(tmp_path: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    convert(plain(), tmp_path / "out", "coco", progress=lambda *step: steps.append(step))
    assert steps[-1] == ("comparing", 3, 3) and ("writing", 3, 3) in steps
    assert all(done <= total == 3 for _, done, total in steps)


def test_splits_of_other_classes(tmp_path: Path) -> None:
    parts = plain() | {"test": Listed([], LabelSpace(("car",)))}
    with pytest.raises(
        DataError, match=r"'train' and 'test' have different classes \(cat, dog; car\)"
    ):
        convert(parts, tmp_path / "out", "coco")
    with pytest.raises(DataError, match="no splits"):
        convert({}, tmp_path / "out", "coco")


def test_formats_and_options_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="'coco'"):
        convert(plain(), tmp_path / "out", "cocoo")
    with pytest.raises(ParameterError, match=r"no option 'segmentations'|has no options"):
        convert(plain(), tmp_path / "out", "coco", {"segmentations": 1})
    unwritten = next((name for name, one in formats().items() if one.write is None), None)
    if unwritten is not None:
        with pytest.raises(ParameterError, match="can be read but not written"):
            convert(plain(), tmp_path / "out", unwritten)
    assert below(tmp_path) == []


def test_images_are_copied_byte_for_byte(tmp_path: Path) -> None:
    noise = picture(40, 60)
    photo = tmp_path / "photo.jpg"
    cv2.imwrite(str(photo), noise)
    base = Sample("photo", photo, (40, 60), np.zeros((40, 60), np.uint8))
    convert({"train": Listed([base], MAPS)}, tmp_path / "out", "index-masks")
    (copy,) = (tmp_path / "out").rglob("photo.jpg")
    assert copy.read_bytes() == photo.read_bytes()


def replaced(monkeypatch: pytest.MonkeyPatch, name: str, spoil: Callable[..., None]) -> None:
    """A format whose writer is followed, or preceded, by what spoils its work."""
    real = formats()[name]
    assert real.write is not None
    made = dataclasses.replace(real, write=partial(spoil, real.write))
    monkeypatch.setattr(module, "get_format", lambda _: made)


def test_an_altered_mask_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts is what is read again."""

    def spoil(write, splits, folder: Path, options) -> None:
        write(splits, folder, options)
        (path,) = [path for path in folder.rglob("b.png") if "mask" in path.parent.name]
        with PIL.Image.open(path) as altered:
            altered.putpixel((0, 0), 2)
            altered.save(path)

    replaced(monkeypatch, "index-masks", spoil)
    maps = [mapped("a", ["0011"], seed=1), mapped("b", ["0011"], seed=2)]
    with pytest.raises(LossyConversionError, match=r"1 of 8 labelled pixels change \(12\.50%\)"):
        convert({"train": Listed(maps, MAPS)}, tmp_path / "out", "index-masks")


def test_lost_and_repainted_images_are_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(write, splits, folder: Path, options) -> None:
        write({"train": Subset(splits["train"], [0, 1])}, folder, options)
        (path,) = folder.rglob("b.png")
        cv2.imwrite(str(path), picture(5, 5, seed=99))

    replaced(monkeypatch, "coco", spoil)
    found = [sample(name, (5, 5), drawn(0, DISC), seed=seed) for seed, name in enumerate("abc")]
    report = convert({"train": Listed(found, THINGS)}, tmp_path / "out", "coco", allow_lossy=True)
    assert "1 image does not come back: c" in report.losses
    assert "1 image changes its pixels: b" in report.losses
    assert "3 objects come back as 2 (1 lost)" in report.losses


def test_splits_that_flow_together_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(write, splits, folder: Path, options) -> None:
        write({"all": Joined(splits)}, folder, options)

    replaced(monkeypatch, "coco", spoil)
    report = convert(plain(), tmp_path / "out", "coco", allow_lossy=True)
    assert report.losses == ("the splits train, val come back as one, 'all'",)
    assert report.notes == tuple(
        f"the split {name!r} is read again as 'all'" for name in ("train", "val")
    )


def test_classes_that_change_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(write, splits, folder: Path, options) -> None:
        write({n: Relabelled(s, ["dog"]) for n, s in splits.items()}, folder, options)

    replaced(monkeypatch, "coco", spoil)
    report = convert(plain(), tmp_path / "out", "coco", allow_lossy=True)
    assert report.losses[0] == "1 class does not come back: cat"
    assert "4 objects come back as 2 (2 lost)" in report.losses

    def turn(write, splits, folder: Path, options) -> None:
        write({n: Relabelled(s, ["dog", "cat"]) for n, s in splits.items()}, folder, options)

    replaced(monkeypatch, "coco", turn)
    report = convert(plain(), tmp_path / "turned", "coco")
    assert report.lossless and "the classes have another order: dog, cat" in report.notes


def test_attributes_that_are_lost_are_told(tmp_path: Path) -> None:
    one = drawn(0, DISC, attributes={"difficult": True, "truncated": False})
    parts = {"train": Listed([sample("a", (5, 5), one)], THINGS)}
    assert convert(parts, tmp_path / "voc", "voc").lossless
    with pytest.raises(
        LossyConversionError, match=r"attribute of objects is lost: difficult \(1\)"
    ):
        convert(parts, tmp_path / "yolo", "yolo")


# Which sample is which --------------------------------------------------------------------------


def listed(names: Sequence[str], seeds: Sequence[int]) -> Listed:
    samples = [mapped(name, ["01"], seed) for name, seed in zip(names, seeds, strict=True)]
    return Listed(samples, MAPS)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (["b", "a"], ["a", "b"], [1, 0]),
        (["x/a", "x/b"], ["b", "a"], [1, 0]),
        (["a", "b"], ["b.png", "a.png"], [1, 0]),
        (["x/a", "y/a"], ["a", "a-2"], [0, 1]),  # told by their pixels
        (["x/a", "y/a"], ["renamed"], [None, 0]),
    ],
)
def test_samples_are_found_again(before, after, expected) -> None:
    seeds = dict(zip(before, (1, 2), strict=True))
    order = {index: name for name, index in zip(before, expected, strict=True) if index is not None}
    back = listed(after, [seeds[order[i]] for i in range(len(after))])
    places = pair_samples({"all": listed(before, (1, 2))}, {"all": back})
    assert places == {"all": [None if i is None else ("all", i) for i in expected]}


def test_equal_names_in_two_splits() -> None:
    parts = {"train": listed(["a", "b"], (1, 2)), "val": listed(["a"], (3,))}
    assert pair_samples(parts, dict(reversed(parts.items()))) == {
        "train": [("train", 0), ("train", 1)],
        "val": [("val", 0)],
    }
    joined = {"all": listed(["a-2", "b", "a"], (3, 2, 1))}
    assert pair_samples(parts, joined) == {
        "train": [("all", 2), ("all", 1)],
        "val": [("all", 0)],
    }


def test_equal_pictures_are_paired_once() -> None:
    places = pair_samples({"all": listed(["a", "b"], (1, 1))}, {"all": listed(["x", "y"], (1, 1))})
    assert places == {"all": [("all", 0), ("all", 1)]}
