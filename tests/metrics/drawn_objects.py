"""Detections drawn by code, and the same for pycocotools."""

import contextlib
import io
from typing import Any

import numpy as np
from pycocotools.coco import COCO

from vitrail.metrics import CocoObjects
from vitrail.result.masks import Masks

SIZE = (160, 200)


def draw_image(rng: np.random.Generator, classes: int) -> tuple[CocoObjects, CocoObjects]:
    """Few classes and big jittered rectangles with holes: many rivals, ties and crowds."""
    number = int(rng.integers(0, 9))
    truth, names = [], rng.integers(0, classes, number)
    found, their_names = [], []
    for name in names.tolist():
        y, x = rng.integers(0, 100, 2).tolist()
        h, w = rng.integers(4, 61, 2).tolist() if rng.random() < 0.7 else (59, 99)
        crop = rng.random((h, w)) < 0.95
        truth.append((y, x, crop))
        for _ in range(int(rng.integers(0, 5))):
            dy, dx = rng.integers(-6, 7, 2).tolist()
            y1, x1 = min(max(y + dy, 0), SIZE[0] - h), min(max(x + dx, 0), SIZE[1] - w)
            found.append((y1, x1, crop if rng.random() < 0.5 else np.ones((h, w), bool)))
            their_names.append(int(rng.integers(classes)) if rng.random() < 0.2 else name)
    masks, detected = Masks.from_crops(truth, SIZE), Masks.from_crops(found, SIZE)
    scores = np.round(rng.random(len(found)), 1)
    crowd = rng.random(number) < 0.2
    # As in COCO's files, areas and boxes need not follow from the masks.
    areas = masks.areas() * rng.choice([1.0, 0.9], number)
    return (
        CocoObjects(names, masks.boxes() + 0.25, masks, crowd=crowd, areas=areas),
        CocoObjects(np.array(their_names, int), detected.boxes().astype(float), detected, scores),
    )


def as_coco(
    images: list[tuple[CocoObjects, CocoObjects]], classes: int, kind: str
) -> tuple[COCO, COCO]:
    """Truth and results; annotation ids begin at 1, as 0 means unmatched in pycocotools."""
    truths: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for number, (truth, found) in enumerate(images):
        for objects, into in ((truth, truths), (found, results)):
            assert objects.boxes is not None and objects.masks is not None
            for i, (code, box) in enumerate(zip(objects.masks.rle(), objects.boxes, strict=True)):
                x1, y1, x2, y2 = box.tolist()
                one: dict[str, Any] = {
                    "image_id": number,
                    "category_id": int(objects.class_ids[i]),
                }
                bbox = [x1, y1, x2 - x1, y2 - y1]
                if objects.scores is None:
                    one |= {"id": len(into) + 1, "bbox": bbox, "segmentation": code}
                    one |= {"area": float(objects.area()[i])}
                    one |= {"iscrowd": int(objects.is_crowd()[i])}
                else:
                    one |= {"bbox": bbox} if kind == "box" else {"segmentation": code}
                    one |= {"score": float(objects.scores[i])}
                into.append(one)
    with contextlib.redirect_stdout(io.StringIO()):
        truth_api: Any = COCO()
        truth_api.dataset = {
            "images": [{"id": i, "height": 160, "width": 200} for i in range(len(images))],
            "categories": [{"id": i, "name": str(i)} for i in range(classes)],
            "annotations": truths,
        }
        truth_api.createIndex()
        return truth_api, truth_api.loadRes(results)
