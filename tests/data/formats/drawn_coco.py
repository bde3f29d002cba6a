"""A small COCO set drawn by code, with every kind of segmentation, as its JSON has it."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vitrail.data.formats.base import Dataset
from vitrail.data.formats.coco import FORMAT
from vitrail.data.opening import parse_options
from vitrail.data.sample import Instance, Sample

SIZE = (40, 56)
CATEGORIES = [
    {"id": 7, "name": "leaf", "supercategory": "plant"},
    {"id": 2, "name": "cat", "supercategory": "animal"},
    {"id": 90, "name": "Füße 足", "supercategory": "part"},
]


def run_lengths(mask: np.ndarray) -> list[int]:
    """Uncompressed RLE, by counting: column by column, zeros first."""
    counts, last, run = [], 0, 0
    for value in mask.T.ravel().astype(int).tolist():
        if value != last:
            counts.append(run)
            last, run = value, 0
        run += 1
    return [*counts, run]


def ring_mask() -> np.ndarray:
    """A ring, whose hole no outline can hold, and a part apart."""
    mask = np.zeros(SIZE, np.uint8)
    cv2.circle(mask, (20, 20), 12, 1, -1)
    cv2.circle(mask, (20, 20), 6, 0, -1)
    mask[2:5, 50:56] = 1
    return mask


def document(*, images: int = 3) -> dict[str, Any]:
    """The JSON: per image two polygons, one of two parts, a crowd, a ring in RLE, a bare box."""
    annotations: list[dict[str, Any]] = []
    for image in range(images):
        shift = 2.25 * image
        outline = [3.5 + shift, 4.1, 17.25, 5.0, 14.2, 19.75, 9.0, 9.99, 2.0, 18.0]
        parts = [[20.0, 3.0, 30.0, 3.0, 25.0, 12.5], [30.5, 8, 66.0, 9.0, 60.0, -4.0, 33.0, 6.0]]
        crowd = np.zeros(SIZE, np.uint8)
        crowd[30:, 5 + image : 20] = crowd[35:38, 30:50] = 1
        shapes: list[dict[str, Any]] = [
            {"segmentation": [outline], "category_id": 2, "iscrowd": 0, "area": 123.25},
            {"segmentation": parts, "category_id": 7, "attributes": {"occluded": True}},
            {
                "segmentation": {"size": list(SIZE), "counts": run_lengths(crowd)},
                "category_id": 90,
                "iscrowd": 1,
            },
            {"segmentation": _compressed(ring_mask()), "category_id": 2, "score": 0.5},
            {"bbox": [1.5, 2, 30.25, 20], "category_id": 7, "keypoints": [1, 2, 2]},
        ]
        shapes[0]["bbox"] = [2.0, 4.1, 15.25 + shift, 15.65]
        for shape in shapes:
            annotations.append({"id": 1000 + len(annotations), "image_id": 50 - image} | shape)
    # Scattered, as in COCO's own files, where images come neither in order of ids nor of names.
    annotations = annotations[::2] + annotations[1::2]
    entries = [
        {"id": 50 - i, "file_name": f"{50 - i:06d}.png", "height": SIZE[0], "width": SIZE[1]}
        for i in range(images)
    ]
    return {"images": entries, "annotations": annotations, "categories": CATEGORIES}


def _compressed(mask: np.ndarray) -> dict[str, Any]:
    from pycocotools import mask as coco

    made: Any = coco.encode(np.asfortranarray(mask))
    return {"size": list(SIZE), "counts": made["counts"].decode("ascii")}


def draw_images(content: dict[str, Any], folder: Path) -> None:
    """Noise for each image that the JSON names."""
    rng = np.random.default_rng(0)
    for entry in content["images"]:
        path = folder / entry["file_name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 255, (entry["height"], entry["width"], 3)).astype(np.uint8)
        cv2.imwrite(str(path), pixels)


def write_coco(root: Path, content: dict[str, Any] | None = None, split: str = "train2017") -> Path:
    """The layout of COCO 2017 under ``root``; returns it."""
    content = document() if content is None else content
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    path = root / "annotations" / f"instances_{split}.json"
    path.write_text(json.dumps(content), "utf-8")
    draw_images(content, root / split)
    return root


def open_coco(root: Path, **options: Any) -> Dataset:
    """Open without refusing faults."""
    return FORMAT.open(root, parse_options(FORMAT.options, options, FORMAT.name))


def one_image(**annotation: Any) -> dict[str, Any]:
    """A document of one image and one annotation, of a square unless said otherwise."""
    square = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 5, 1, 5, 5, 1, 5]]}
    return {
        "images": [{"id": 1, "file_name": "a.png", "height": 8, "width": 10}],
        "annotations": [square | annotation],
        "categories": [{"id": 1, "name": "thing"}],
    }


def written(source: Any, folder: Path, split: str = "train", **options: Any) -> dict[str, Any]:
    """The JSON that the writer makes of one source."""
    folder.mkdir()
    assert FORMAT.write is not None
    FORMAT.write({split: source}, folder, parse_options(FORMAT.write_options, options, "coco"))
    return json.loads((folder / "annotations" / f"instances_{split}.json").read_text("utf-8"))


def objects_of(sample: Sample) -> list[Instance]:
    assert sample.instances is not None
    return list(sample.instances)


def write_coco_of(content: dict[str, Any], root: Path) -> Path:
    """With the images of :func:`one_image`, whatever the JSON says of them."""
    write_coco(root, one_image())
    path = root / "annotations" / "instances_train2017.json"
    path.write_text(json.dumps(content), "utf-8")
    return root
