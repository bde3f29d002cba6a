"""Every format that is written gives back what its Capacity promises, and tells what it does not.

Data sets are drawn at random: noise masks have holes and many parts, and single pixels occur;
objects overlap; some are crowds, bare boxes or outlines between pixels; some images are empty.
What comes back is compared here by itself, pixel for pixel, images told by their own pixels; the
report of ``convert`` must then say the same.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from tests.data.listed import Listed, drawn
from vitrail.data.convert import LossyConversionError, convert
from vitrail.data.derive import without_background
from vitrail.data.formats import formats
from vitrail.data.formats.base import Capacity, Dataset, Options
from vitrail.data.opening import open_dataset, recognise
from vitrail.data.polygon import rasterise
from vitrail.data.readback import Conversion
from vitrail.data.sample import Instance, LabelSpace, Sample
from vitrail.errors import DataError
from vitrail.result.masks import Masks

WRITTEN = [name for name, one in formats().items() if one.write]
OBJECTS = [name for name in WRITTEN if formats()[name].capacity.instances]
LABELS = [name for name in WRITTEN if formats()[name].capacity.labels]

NAMES = ("cat", "traffic light", "straße")
FIXED: dict[str, LabelSpace] = {
    "binary-masks": LabelSpace(("background", "crack"), 0),
}
"""Spaces of formats whose classes are not free."""

quick = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

Made = dict[str, Listed]


def things(format: str) -> LabelSpace:
    """The classes for objects of a format."""
    return FIXED.get(format, LabelSpace(NAMES))


def stuff(format: str) -> LabelSpace:
    """The classes for label maps of a format."""
    return FIXED.get(format, LabelSpace(("background", *NAMES), 0))


# Data sets at random ----------------------------------------------------------------------------


def sets(samples: st.SearchStrategy, space: LabelSpace) -> st.SearchStrategy[Made]:
    """Two splits, one of which may be empty of objects but not of images."""

    def named(found: list[list[tuple]]) -> Made:
        number = 0
        parts: Made = {}
        for split, made in zip(("train", "val"), found, strict=True):
            listed: list[Sample] = []
            for size, labels, objects in made:
                noise = np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)
                listed.append(Sample(f"im_{number:03d}", noise, size, labels, objects))
                number += 1
            parts[split] = Listed(listed, space)
        return parts

    split = st.lists(samples, min_size=1, max_size=2)
    return st.lists(split, min_size=2, max_size=2).map(named)


SIZES = st.tuples(st.integers(4, 11), st.integers(4, 11))


@st.composite
def labelled(draw: st.DrawFn, space: LabelSpace, ignored: bool) -> tuple:
    size = draw(SIZES)
    values = [*range(len(space.classes)), *([space.ignore] if ignored else [])]
    return size, draw(arrays.arrays(np.uint8, size, elements=st.sampled_from(values))), None


@st.composite
def with_objects(draw: st.DrawFn, space: LabelSpace, can: Capacity) -> tuple:
    """An image with objects of the kinds that a capacity has, and of no others."""
    size = draw(SIZES)
    classes = [i for i in range(len(space.classes)) if i != space.background]
    found: list[Instance] = []
    taken = np.zeros(size, bool)
    for _ in range(draw(st.integers(0, 4))):
        class_id = draw(st.sampled_from(classes))
        kinds = ["noise", "pixel", "outline"] + ["box"] * can.boxes
        kind = draw(st.sampled_from(kinds))
        crowd = can.crowds and kind in ("noise", "pixel") and draw(st.booleans())
        if kind == "box":
            found.append(Instance.from_box(class_id, draw(boxes(size)), size))
            continue
        if kind == "outline":
            ring = draw(rings(size))
            mask = rasterise([ring], size)
            # Formats without outlines know by their boxes which row and which mask are one object.
            x1, y1, x2, y2 = (float(v) for v in mask.boxes()[0])
            one = Instance.from_polygons(class_id, [ring], size, box=(x1, y1, x2, y2))
            dense = mask.dense()[0]
        else:
            dense = draw(arrays.arrays(bool, size)) if kind == "noise" else np.zeros(size, bool)
            if kind == "pixel" or not dense.any():
                dense[draw(st.integers(0, size[0] - 1)), draw(st.integers(0, size[1] - 1))] = True
            dense = simplified(dense, can)
            one = Instance.from_masks(class_id, Masks.from_dense(dense[None]), crowd=crowd)
        if not dense.any() or not fits(dense, can) or (not can.overlaps and (dense & taken).any()):
            continue
        taken |= dense
        found.append(one)
    return size, None, tuple(found)


def simplified(dense: np.ndarray, can: Capacity) -> np.ndarray:
    """A mask without the holes and parts that a format does not hold."""
    if not can.parts:
        parts, _ = ndimage.label(dense, np.ones((3, 3)))
        dense = parts == np.bincount(parts[dense]).argmax()
    return dense if can.holes else ndimage.binary_fill_holes(dense)


def fits(dense: np.ndarray, can: Capacity) -> bool:
    return np.array_equal(simplified(dense, can), dense)


@st.composite
def boxes(draw: st.DrawFn, size: tuple[int, int]) -> tuple[float, float, float, float]:
    x, y = draw(st.integers(0, size[1] - 2)), draw(st.integers(0, size[0] - 2))
    x2, y2 = draw(st.integers(x + 1, size[1])), draw(st.integers(y + 1, size[0]))
    return float(x), float(y), float(x2), float(y2)


@st.composite
def rings(draw: st.DrawFn, size: tuple[int, int]) -> np.ndarray:
    """An outline between pixels, inside the frame."""

    def along(side: int) -> st.SearchStrategy[float]:
        return st.floats(0, side, allow_nan=False, width=32)

    points = st.tuples(along(size[1]), along(size[0]))
    return np.array(draw(st.lists(points, min_size=3, max_size=6, unique=True)), np.float64)


# What came back ---------------------------------------------------------------------------------


@contextmanager
def written(
    parts: Made, format: str, options: dict[str, object] | None = None, *, lossy: bool = False
) -> Iterator[tuple[Conversion, Dataset]]:
    """The report, and the set that was written, opened as what it is recognised for."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        report = convert(parts, out, format, options, allow_lossy=lossy)
        found, *_ = recognise(out)
        assert found[0].name == format, found[1]
        yield report, open_dataset(out)


def by_picture(dataset: Dataset | Made) -> dict[bytes, tuple[str, Sample]]:
    """Split and sample by the image's pixels, which tell it whatever it is called."""
    found: dict[bytes, tuple[str, Sample]] = {}
    for split, source in dataset.items():
        for index in range(len(source)):
            sample = source[index]
            key = sample.image.tobytes()
            assert key not in found, "an image came back twice"
            found[key] = split, sample
    return found


def objects_of(sample: Sample, space: LabelSpace) -> Counter:
    """What is promised of objects: class, crowd, and every pixel (or the bare box, to 0.01 px)."""
    told: Counter = Counter()
    for one in sample.instances or ():
        shape = one.mask.dense().tobytes() if one.mask is not None else None
        box = tuple(round(v, 2) for v in one.box) if one.mask is None else None
        told[space.classes[one.class_id], one.crowd, shape, box] += 1
    return told


def named(labels: np.ndarray, space: LabelSpace) -> np.ndarray:
    """A label map of names, so that spaces with other numbers compare."""
    names = np.full(65536, "(unknown)", dtype="<U40")
    names[: len(space.classes)] = space.classes
    names[space.ignore] = "(ignore)"
    if space.background is not None:
        names[space.background] = "(background)"
    return names[labels]


def same_splits(before: dict, after: dict, report: Conversion) -> None:
    """Each image is there once, and in its split unless the report says that splits are one."""
    assert set(before) == set(after)
    moved = {(before[key][0], after[key][0]) for key in before}
    together = len({new for _, new in moved}) < len({old for old, _ in moved})
    assert together == any("come back as one" in line for line in report.losses)
    renamed = any(old != new for old, new in moved)
    assert renamed == any("is read again as" in line for line in report.notes)


def lossless(report: Conversion) -> bool:
    """Whether nothing is lost but the splits, which not every layout has."""
    return all("come back as one" in line for line in report.losses)


@pytest.mark.parametrize("format", OBJECTS)
def test_objects_come_back(format: str) -> None:
    space, can = things(format), formats()[format].capacity

    @quick
    @given(sets(with_objects(space, can), space))
    def check(parts: Made) -> None:
        with written(parts, format, lossy=True) as (report, dataset):
            before, after = by_picture(parts), by_picture(dataset)
            same_splits(before, after, report)
            for key, (_, sample) in before.items():
                again = after[key][1]
                assert again.size == sample.size and again.instances is not None
                assert objects_of(again, dataset.space) == objects_of(sample, space)
            assert lossless(report), report.losses
            assert (
                without_background(dataset.space)[0].classes == without_background(space)[0].classes
            )

    check()


@pytest.mark.parametrize("format", LABELS)
def test_label_maps_come_back(format: str) -> None:
    space = stuff(format)

    @quick
    @given(sets(labelled(space, ignored=True), space))
    def check(parts: Made) -> None:
        with written(parts, format, lossy=True) as (report, dataset):
            before, after = by_picture(parts), by_picture(dataset)
            same_splits(before, after, report)
            for key, (_, sample) in before.items():
                again = after[key][1].labels
                assert again is not None
                assert np.array_equal(named(again, dataset.space), named(sample.labels, space))
            assert lossless(report), report.losses
            assert dataset.space.classes == space.classes
            assert dataset.space.background == space.background

    check()


@pytest.mark.parametrize("format", sorted(set(OBJECTS) - set(LABELS)))
def test_label_maps_come_back_from_formats_of_objects(format: str) -> None:
    """Each connected component is an object; painted again, they are the map."""
    space = stuff(format)
    can = formats()[format].capacity
    assert can.parts or can.instances

    @quick
    @given(sets(labelled(space, ignored=False), space))
    def check(parts: Made) -> None:
        with written(parts, format, lossy=True) as (report, dataset):
            before, after = by_picture(parts), by_picture(dataset)
            same_splits(before, after, report)
            painted = dataset.space.with_background()
            equal = True
            for key, (_, sample) in before.items():
                again = named(after[key][1].semantic(dataset.space), painted)
                equal &= np.array_equal(again, named(sample.labels, space))
            assert equal == lossless(report), report.losses
            assert equal or not can.holes

    check()


def one_image(space: LabelSpace, *found: Instance) -> Made:
    noise = np.random.default_rng(0).integers(0, 256, (*found[0].size, 3), np.uint8)
    return {"train": Listed([Sample("im", noise, found[0].size, instances=found)], space)}


def faulty(feature: str, class_id: int) -> tuple[Instance, ...]:
    """Objects that a format without ``feature`` cannot hold."""
    more = {"crowd": True} if feature == "crowds" else {}
    if feature == "boxes":
        # Beside an object with a mask: YOLO holds boxes where a set has nothing else.
        disc = drawn(class_id, [".....#", ".....#", "......", "......", "......"])
        return (Instance.from_box(class_id, (1.0, 1.0, 4.0, 3.0), (5, 6)), disc)
    if feature == "overlaps":
        return (
            drawn(class_id, ["####..", "####..", "####..", "......", "......"]),
            drawn(class_id, ["......", "..####", "..####", "..####", "......"]),
        )
    rows = {
        "holes": [".####.", ".#..#.", ".#..#.", ".####.", "......"],
        "parts": ["##....", "##....", "....##", "....##", "......"],
        "crowds": ["..##..", "..##..", "......", "......", "......"],
        "pixel_exact": ["#.....", "##.#..", "######", ".#.###", "..#..#"],
    }
    return (drawn(class_id, rows[feature], **more),)


FEATURES = ("holes", "parts", "overlaps", "crowds", "boxes")


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("format", OBJECTS)
def test_a_capacity_is_what_comes_back(format: str, feature: str) -> None:
    """One object of each kind comes back where the capacity says so, and is missed where not."""
    space, can = things(format), formats()[format].capacity
    class_id = next(i for i in range(len(space.classes)) if i != space.background)
    parts = one_image(space, *faulty(feature, class_id))
    held = getattr(can, feature)
    with written(parts, format, lossy=True) as (report, dataset):
        (before,) = (sample for _, sample in by_picture(parts).values())
        (after,) = (sample for _, sample in by_picture(dataset).values())
        same = objects_of(after, dataset.space) == objects_of(before, space)
        assert same == held
        assert report.lossless == held, report.losses
        change = report.classes[class_id]
    if not held:
        counted = {
            "holes": change.holes_filled,
            "parts": change.parts_dropped + change.parts_merged + change.parts_split,
            "overlaps": change.overlap_pixels,
            "crowds": change.crowds_dropped,
            "boxes": change.boxes_dropped,
        }
        assert counted[feature] > 0
        with tempfile.TemporaryDirectory() as folder:
            with pytest.raises(LossyConversionError):
                convert(parts, Path(folder) / "out", format)
            assert not list(Path(folder).iterdir())


@pytest.mark.parametrize("format", sorted(set(LABELS) - set(OBJECTS)))
def test_objects_in_formats_of_label_maps_are_told(format: str) -> None:
    space = things(format)
    class_id = next(i for i in range(len(space.classes)) if i != space.background)
    parts = one_image(space, *faulty("overlaps", class_id))
    with written(parts, format, lossy=True) as (report, dataset):
        (sample,) = (sample for _, sample in by_picture(dataset).values())
        assert "2 objects become pixels" in report.losses[0]
        assert sample.labels is not None
        painted = named(sample.labels, dataset.space) == space.classes[class_id]
        assert painted.sum() == 12 + 12 - 4


@pytest.mark.parametrize("format", WRITTEN)
def test_images_without_any_object_come_back(format: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 6, 7, 3), np.uint8)
    if format in OBJECTS:
        space = things(format)
        found = [Sample(f"im{i}", one, (6, 7), instances=()) for i, one in enumerate(noise)]
    else:
        space = stuff(format)
        blank = np.zeros((6, 7), np.uint8)
        found = [Sample(f"im{i}", one, (6, 7), blank) for i, one in enumerate(noise)]
    with written({"train": Listed(found, space)}, format) as (report, dataset):
        assert report.lossless
        after = by_picture(dataset)
        assert set(after) == {one.tobytes() for one in noise}
        for _, sample in after.values():
            assert not sample.instances
            if format not in OBJECTS:
                assert sample.labels is not None and not sample.labels.any()


@pytest.mark.parametrize("format", WRITTEN)
def test_equal_names_in_two_splits_stay_two_images(format: str) -> None:
    """Sub-folders and splits that hold images of one name: none is lost or replaced."""
    noise = np.random.default_rng(0).integers(0, 256, (3, 6, 7, 3), np.uint8)
    labels = [np.zeros((6, 7), np.uint8) for _ in noise]
    space = stuff(format)
    for number, one in enumerate(labels):
        one[number + 1, number] = 1
    found = [
        Sample(id, *pair)
        for id, pair in zip(("a/x", "b/x", "a/x"), _frames(noise, labels), strict=True)
    ]
    parts = {"train": Listed(found[:2], space), "val": Listed(found[2:], space)}
    try:
        with written(parts, format, lossy=True) as (report, dataset):
            before, after = by_picture(parts), by_picture(dataset)
            same_splits(before, after, report)
            for key, (_, sample) in before.items():
                again = named(
                    after[key][1].semantic(dataset.space), dataset.space.with_background()
                )
                assert np.array_equal(again, named(sample.labels, space))
    except DataError as error:
        assert "x" in str(error) and "name" in str(error)


def _frames(noise: np.ndarray, labels: list[np.ndarray]) -> Iterator[tuple]:
    return (
        (image, (6, 7), made) for image, made in zip(noise, labels, strict=True)
    )  # picture, size, label map


@pytest.mark.parametrize("format", WRITTEN)
def test_nothing_written_names_the_folder_it_was_staged_in(format: str, tmp_path: Path) -> None:
    blank = np.zeros((6, 7), np.uint8)
    blank[2:4, 2:5] = 1
    noise = np.random.default_rng(0).integers(0, 256, (6, 7, 3), np.uint8)
    parts = {"train": Listed([Sample("im", noise, (6, 7), blank)], stuff(format))}
    convert(parts, tmp_path / "out", format, allow_lossy=True)
    for path in (tmp_path / "out").rglob("*"):
        assert path.is_dir() or (
            b".tmp" not in path.read_bytes() and str(tmp_path).encode() not in path.read_bytes()
        )


def choices(model: type[Options]) -> Iterator[tuple[str, object]]:
    """Each value of each option that has few of them."""
    for name, field in model.model_json_schema().get("properties", {}).items():
        for kind in field.get("anyOf", [field]):
            values = [True, False] if kind.get("type") == "boolean" else kind.get("enum", [])
            yield from ((name, value) for value in values)


@pytest.mark.parametrize(
    ("format", "name", "value"),
    [(name, *pair) for name in OBJECTS for pair in choices(formats()[name].write_options)],
)
def test_what_an_option_of_a_writer_loses_is_told(format: str, name: str, value: object) -> None:
    """Whatever is chosen, either all comes back or the report says that it does not."""
    space, can = things(format), formats()[format].capacity

    @quick
    @given(sets(with_objects(space, can), space))
    def check(parts: Made) -> None:
        with written(parts, format, {name: value}, lossy=True) as (report, dataset):
            before, after = by_picture(parts), by_picture(dataset)
            same_splits(before, after, report)
            equal = all(
                objects_of(after[key][1], dataset.space) == objects_of(sample, space)
                for key, (_, sample) in before.items()
            )
            assert equal == lossless(report), report.losses

    check()
