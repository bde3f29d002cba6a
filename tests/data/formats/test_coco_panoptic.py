"""COCO panoptic: segments as labels and objects, what is refused, and what is written."""

import json
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.data.drawn_sources import DrawnLabels, DrawnObjects
from tests.data.formats.drawn_coco import document, draw_images, write_coco
from tests.data.listed import Listed
from vitrail.data.formats.base import Dataset
from vitrail.data.formats.coco import FORMAT as INSTANCES
from vitrail.data.formats.coco_panoptic import FORMAT
from vitrail.data.formats.files import write_png
from vitrail.data.opening import parse_options
from vitrail.data.sample import Instance, LabelSpace, Sample
from vitrail.errors import DataError
from vitrail.result.masks import Masks

SIZE = (20, 30)
SKY, CAT, DOG = 119, 17, 18
CATEGORIES = [
    {"id": SKY, "name": "sky", "isthing": 0, "color": [70, 130, 180]},
    {"id": CAT, "name": "cat", "isthing": 1, "color": [1, 2, 3]},
    {"id": DOG, "name": "dog", "isthing": 1, "color": [4, 5, 6]},
]
# Ids that need one, two and three bytes.
SEGMENTS = {7: SKY, 300: CAT, 70_000: CAT, 16_777_215: DOG}


def segment_map(shift: int = 0) -> np.ndarray:
    """``(H, W)`` segment ids, 0 where nothing is labelled."""
    made = np.zeros(SIZE, np.int64)
    made[:6] = 7
    made[3:12, 2 + shift : 9 + shift] = 300
    made[5, 4] = 0
    made[10:18, 12:20] = 70_000
    made[8:, 24:] = 16_777_215
    return made


def colours(segments: np.ndarray) -> np.ndarray:
    """R + 256 G + 65536 B, byte by byte."""
    return segments.astype("<u4").view(np.uint8).reshape(*segments.shape, 4)[..., :3]


def panoptic(images: int = 2) -> dict[str, Any]:
    entries = [
        {"id": i, "file_name": f"{i:04d}.jpg", "height": SIZE[0], "width": SIZE[1]}
        for i in range(images, 0, -1)
    ]
    annotations = [
        {
            "image_id": i,
            "file_name": f"{i:04d}.png",
            "segments_info": [
                {
                    "id": segment,
                    "category_id": category,
                    "iscrowd": int(segment == 16_777_215),
                    "bbox": box(segment_map(i) == segment),
                    "area": int((segment_map(i) == segment).sum()),
                }
                for segment, category in SEGMENTS.items()
            ],
        }
        for i in range(1, images + 1)
    ]
    return {"images": entries, "annotations": annotations, "categories": CATEGORIES}


def box(mask: np.ndarray) -> list[int]:
    y, x = np.nonzero(mask)
    left, top = int(x.min()), int(y.min())
    return [left, top, int(x.max()) + 1 - left, int(y.max()) + 1 - top]


def write_panoptic(root: Path, content: dict[str, Any] | None = None) -> Path:
    content = panoptic() if content is None else content
    folder = root / "annotations" / "panoptic_train2017"
    folder.mkdir(parents=True)
    for number in (1, 2):
        write_png(folder / f"{number:04d}.png", colours(segment_map(number)))
    folder.with_suffix(".json").write_text(json.dumps(content), "utf-8")
    draw_images(panoptic(), root / "train2017")
    return root


def open_panoptic(root: Path, **options: Any) -> Dataset:
    return FORMAT.open(root, parse_options(FORMAT.options, options, FORMAT.name))


def copied(sources: dict[str, Any], folder: Path) -> Dataset:
    """What is read of what the writer made."""
    folder.mkdir()
    assert FORMAT.write is not None
    FORMAT.write(sources, folder, FORMAT.write_options())
    dataset = open_panoptic(folder)
    for split in dataset.splits:
        dataset[split]
    assert dataset.problems == []
    return dataset


def objects(sample: Sample) -> list[Instance]:
    assert sample.instances is not None
    return list(sample.instances)


def labels_of(sample: Sample) -> np.ndarray:
    assert sample.labels is not None
    return sample.labels


# Reading -----------------------------------------------------------------------------------------


def test_labels_and_objects(tmp_path: Path) -> None:
    dataset = open_panoptic(write_panoptic(tmp_path))
    source = dataset["train"]
    assert dataset.splits == ("train",) and dataset.problems == []
    assert source.ids == ["0001", "0002"]
    assert source.space == LabelSpace(
        ("cat", "dog", "sky"),
        original_ids=(CAT, DOG, SKY),
        colours=((1, 2, 3), (4, 5, 6), (70, 130, 180)),
    )
    assert getattr(source, "things", None) == {0, 1}
    sample, segments = source[1], segment_map(2)
    expected = np.full(SIZE, 255)
    for segment, class_id in {7: 2, 300: 0, 70_000: 0, 16_777_215: 1}.items():
        expected[segments == segment] = class_id
    assert np.array_equal(labels_of(sample), expected) and labels_of(sample).dtype == np.uint8
    assert sample.image.shape == (*SIZE, 3)
    found = objects(sample)
    assert [(one.id, one.class_id, one.crowd) for one in found] == [
        ("300", 0, False),
        ("70000", 0, False),
        ("16777215", 1, True),
    ]
    for one in found:
        assert one.mask is not None
        assert np.array_equal(one.mask.dense()[0], segments == int(one.id))
        assert one.box == tuple(one.mask.boxes()[0])
        assert one.attributes == {"area": int(one.mask.areas()[0])}


def test_only_panoptic_files_are_recognised(tmp_path: Path) -> None:
    root = write_panoptic(tmp_path / "a")
    assert FORMAT.recognise(root) == "found annotations/panoptic_train2017.json"
    assert FORMAT.recognise(root / "annotations" / "panoptic_train2017.json") is not None
    assert INSTANCES.recognise(root) is None
    write_coco(tmp_path / "b")
    assert FORMAT.recognise(tmp_path / "b") is None
    with pytest.raises(DataError, match="no panoptic annotations found"):
        open_panoptic(tmp_path / "b")


def test_options_name_the_parts(tmp_path: Path) -> None:
    root = write_panoptic(tmp_path)
    (root / "annotations" / "panoptic_train2017").rename(root / "pngs")
    (root / "train2017").rename(root / "jpgs")
    (root / "annotations" / "panoptic_train2017.json").rename(root / "x.json")
    dataset = open_panoptic(root, annotations="x.json", masks="pngs", images="jpgs")
    assert len(dataset["all"]) == 2 and dataset["all"][0].labels is not None
    with pytest.raises(DataError, match="option masks"):
        open_panoptic(root, annotations="x.json", masks="none", images="jpgs")["all"]


def test_background_is_said_not_guessed(tmp_path: Path) -> None:
    root = write_panoptic(tmp_path)
    assert open_panoptic(root)["train"].space.background is None
    assert open_panoptic(root, background="sky")["train"].space.background == 2
    with pytest.raises(DataError, match="no category 'ground'"):
        open_panoptic(root, background="ground")["train"]


def test_a_source_is_sent_without_pixels(tmp_path: Path) -> None:
    source = open_panoptic(write_panoptic(tmp_path))["train"]
    labels = labels_of(source[0])
    sent = pickle.dumps(source)
    assert len(sent) < 4000
    assert np.array_equal(labels_of(pickle.loads(sent)[0]), labels)


# Faults ------------------------------------------------------------------------------------------


def damaged(change: str, root: Path) -> tuple[str, str]:
    """Damage a set; the code and a part of the message of what is then reported."""
    content = panoptic()
    (root / "annotations" / "panoptic_train2017.json").unlink()
    second = content["annotations"][1]
    png = root / "annotations" / "panoptic_train2017" / "0002.png"
    if change == "missing png":
        png.unlink()
        expected = "missing-mask", "0002.png is not in"
    elif change == "missing image":
        (root / "train2017" / "0002.jpg").unlink()
        expected = "missing-image", "'0002.jpg' is not in"
    elif change == "no annotation":
        content["annotations"].pop()
        expected = "missing-annotation", "has no annotation"
    elif change == "unknown image":
        second["image_id"] = 9
        content["images"].pop(0)
        expected = "unknown-image", "image_id is 9"
    elif change == "two annotations":
        content["annotations"].append(content["annotations"][0])
        content["images"].pop(0)
        content["annotations"].pop(1)
        expected = "duplicate-id", "image 1 has two annotations"
    elif change == "climbing":
        second["file_name"] = "../0002.png"
        content["images"].pop(0)
        expected = "malformed-annotation", "inside the folder"
    elif change == "no segments_info":
        second["segments_info"] = None
        content["images"].pop(0)
        expected = "malformed-annotation", "segments_info"
    else:
        raise KeyError(change)
    (root / "annotations" / "panoptic_train2017.json").write_text(json.dumps(content), "utf-8")
    return expected


@pytest.mark.parametrize(
    "change",
    [
        "missing png",
        "missing image",
        "no annotation",
        "unknown image",
        "two annotations",
        "climbing",
        "no segments_info",
    ],
)
def test_an_image_that_lacks_something_is_reported_and_left_out(
    change: str, tmp_path: Path
) -> None:
    code, message = damaged(change, write_panoptic(tmp_path))
    dataset = open_panoptic(tmp_path)
    assert dataset["train"].ids == ["0001"] and dataset["train"][0].labels is not None
    (problem,) = dataset.problems
    assert (problem.code, problem.severity) == (code, "error")
    assert message in str(problem) and "panoptic_train2017.json" in str(problem)


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"category_id": 5}, "unknown-category", "category 5, of 2 segments"),
        ({"category_id": "x"}, "malformed-annotation", "category_id of segment 300 is 'x'"),
        ({"iscrowd": "no"}, "malformed-annotation", "iscrowd is 'no'"),
        ({"bbox": [1, 2, -3, 4]}, "malformed-annotation", "at least 0"),
        ({"bbox": [1, 2, float("nan"), 4]}, "malformed-annotation", "finite"),
    ],
)
def test_a_wrong_segment_is_reported(
    change: dict[str, Any], code: str, message: str, tmp_path: Path
) -> None:
    content = panoptic()
    for annotation in content["annotations"]:
        annotation["segments_info"][1].update(change)
    dataset = open_panoptic(write_panoptic(tmp_path, content))
    source = dataset["train"]
    assert {one.code for one in dataset.problems} == {code}
    assert message in str(dataset.problems[0])
    if code == "unknown-category":
        assert [one.id for one in objects(source[0])] == ["70000", "16777215"]
        assert (labels_of(source[0])[segment_map(1) == 300] == 255).all()
    else:
        with pytest.raises(DataError, match="pixels of segment 300, which is not in"):
            source[0]


@pytest.mark.parametrize("wrong", [0, -1, 1 << 24, None, "a", 1.5])
def test_an_id_that_no_colour_has(wrong: Any, tmp_path: Path) -> None:
    content = panoptic()
    content["annotations"][0]["segments_info"].append({"id": wrong, "category_id": CAT})
    dataset = open_panoptic(write_panoptic(tmp_path, content))
    assert len(objects(dataset["train"][0])) == 3
    (problem,) = dataset.problems
    assert problem.expected == "1 to 16777215"


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (colours(segment_map()[:-1]), "is 30x19 px, its image is 30x20"),
        (segment_map().clip(max=255), "is of mode L, expected RGB"),
        (colours(segment_map() + 1), "pixels of segment 8, which is not in"),
        (b"no image", "not an image"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "cannot be read|damaged"),
    ],
)
def test_a_png_that_does_not_fit(pixels: Any, message: str, tmp_path: Path) -> None:
    write_panoptic(tmp_path)
    path = tmp_path / "annotations" / "panoptic_train2017" / "0001.png"
    if isinstance(pixels, bytes):
        path.write_bytes(pixels)
    else:
        write_png(path, pixels.astype(np.uint8))
    source = open_panoptic(tmp_path)["train"]
    with pytest.raises(DataError, match=message) as caught:
        source[0]
    assert "0001.png" in str(caught.value)
    assert labels_of(source[1]) is not None


def test_a_png_cut_short(tmp_path: Path) -> None:
    path = write_panoptic(tmp_path) / "annotations" / "panoptic_train2017" / "0001.png"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"0001\.png"):
        open_panoptic(tmp_path)["train"][0]


@pytest.mark.parametrize("text", ["", '{"annotations": [{"segments_info"', "[1]"])
def test_a_damaged_file_is_refused(text: str, tmp_path: Path) -> None:
    path = write_panoptic(tmp_path) / "annotations" / "panoptic_train2017.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"panoptic_train2017\.json"):
        open_panoptic(tmp_path, annotations=str(path))["train"]


def test_an_instances_file_is_refused(tmp_path: Path) -> None:
    write_coco(tmp_path, document(images=1))
    dataset = open_panoptic(tmp_path, annotations="annotations/instances_train2017.json")
    with pytest.raises(DataError, match=r"none of its 5 annotations .* read it as coco"):
        dataset[dataset.splits[0]]


# Writing -----------------------------------------------------------------------------------------


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    source = open_panoptic(write_panoptic(tmp_path / "a"))["train"]
    copy = copied({"train": source}, tmp_path / "b")["train"]
    assert (copy.ids, copy.space) == (source.ids, source.space)
    assert getattr(copy, "things", None) == {0, 1}
    for index in range(2):
        ours, theirs = source[index], copy[index]
        assert np.array_equal(labels_of(ours), labels_of(theirs))
        assert np.array_equal(ours.image, theirs.image)
        expected = {one.id: one for one in objects(ours)}
        assert {one.id for one in objects(theirs)} == set(expected)
        for one in objects(theirs):
            other = expected[one.id]
            assert (one.mask, one.box, one.crowd) == (other.mask, other.box, other.crowd)
            assert (one.class_id, one.attributes) == (other.class_id, other.attributes)


def test_writing_is_deterministic(tmp_path: Path) -> None:
    source = open_panoptic(write_panoptic(tmp_path / "a"))["train"]
    copied({"train": source}, tmp_path / "b")
    copied({"train": source}, tmp_path / "c")
    files = [path.relative_to(tmp_path / "b") for path in (tmp_path / "b").rglob("*.*")]
    assert len(files) == 5
    for path in files:
        assert (tmp_path / "b" / path).read_bytes() == (tmp_path / "c" / path).read_bytes()


def test_a_label_map_is_stuff_and_its_background_is_said(tmp_path: Path) -> None:
    dataset = copied({"x": DrawnLabels()}, tmp_path / "b")
    source = dataset["all"]
    space = DrawnLabels.space
    assert source.space == LabelSpace(space.classes, 0, original_ids=(1, 2, 3))
    for index in range(8):
        assert objects(source[index]) == []
        assert np.array_equal(labels_of(source[index]), labels_of(DrawnLabels()[index]))


def test_objects_without_labels_leave_the_rest_void(tmp_path: Path) -> None:
    """Of two objects that overlap, the smaller keeps its pixels; bare boxes are lost."""
    drawn = DrawnObjects(5)
    source = copied({"train": drawn}, tmp_path / "b")["train"]
    assert source.space == LabelSpace(drawn.space.classes, original_ids=(1, 2, 3))
    for index in range(5):
        ours, theirs = drawn[index], source[index]
        union = np.zeros(ours.size, bool)
        for one in objects(ours):
            if one.mask is not None:
                union |= one.mask.dense()[0]
        labels = labels_of(theirs)
        assert np.array_equal(labels != 255, union)
        painted = ours.semantic(drawn.space)
        free = painted != 255  # where crowds are, the painting has ignore
        assert np.array_equal(labels[free & union], painted[free & union] - 1)
        smallest = min(
            (one for one in objects(ours) if one.mask is not None and not one.crowd),
            key=lambda one: int(one.mask.areas()[0]) if one.mask else 0,
            default=None,
        )
        if smallest is not None:
            assert smallest.mask in [one.mask for one in objects(theirs)]


def test_labels_count_where_objects_disagree_and_their_rest_is_a_crowd(tmp_path: Path) -> None:
    labels = np.array([[0, 0, 1, 1, 1, 2], [0, 255, 1, 1, 2, 2]], np.uint8)
    mask = np.zeros((2, 6), bool)
    mask[:, 1:4] = True
    instance = Instance.from_masks(1, Masks.from_dense(mask[None]), id="5")
    space = LabelSpace(("ground", "cow", "grass"), 0)
    sample = Sample("a", np.zeros((2, 6, 3), np.uint8), (2, 6), labels, (instance,))
    source = copied({"train": Listed([sample], space)}, tmp_path / "b")["train"]
    assert np.array_equal(labels_of(source[0]), labels)
    found = [(one.id, one.class_id, one.crowd, one.mask) for one in objects(source[0])]
    seen, rest = mask & (labels == 1), ~mask & (labels == 1)
    assert found[0] == ("5", 1, False, Masks.from_dense(seen[None]))
    assert [one[1:] for one in found[1:]] == [(1, True, Masks.from_dense(rest[None]))]


def test_sub_folders_and_equal_stems(tmp_path: Path) -> None:
    pixels = np.zeros((2, 3, 3), np.uint8)
    labels = np.zeros((2, 3), np.uint8)
    for name in ("p.png", "p.bmp"):
        cv2.imwrite(str(tmp_path / name), pixels)
    samples = [
        Sample("a/x", pixels, (2, 3), labels),
        Sample("b/x", pixels, (2, 3), labels),
        Sample("p.png", tmp_path / "p.png", (2, 3), labels),
        Sample("p.bmp", tmp_path / "p.bmp", (2, 3), labels),
    ]
    dataset = copied({"train": Listed(samples, LabelSpace(("ground",)))}, tmp_path / "out")
    assert dataset["train"].ids == ["a/x", "b/x", "p.bmp", "p.png"]
    assert all((labels_of(dataset["train"][i]) == 0).all() for i in range(4))
