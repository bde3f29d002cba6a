"""COCO evaluation of drawn masks: vitrail's twelve numbers and time against pycocotools'.

    python benchmarks/coco_evaluation.py                       # 5,000 images, 36,000 objects
    python benchmarks/coco_evaluation.py --images 500 --kind box

Both start from what they read: pycocotools from annotation dictionaries with compressed RLE (the
parsed results file), vitrail from ``Masks``. With ``--from-rle``, vitrail too starts from the RLE
strings. Times are of the processor, as other programs may share it.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
from time import process_time
from typing import Any

import cv2
import numpy as np
from _timing import report
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from vitrail.metrics.coco_ap import CocoAP
from vitrail.metrics.coco_match import CocoObjects
from vitrail.result.masks import Masks

SIZE = (480, 640)
CLASSES = 80


def blob(rng: np.random.Generator, x: float, y: float, w: float, h: float) -> tuple[int, int, Any]:
    """An ellipse as ``(y0, x0, crop)``, cut at the frame."""
    x0, y0 = min(max(int(x), 0), SIZE[1] - 1), min(max(int(y), 0), SIZE[0] - 1)
    x1, y1 = min(int(x + w) + 1, SIZE[1]), min(int(y + h) + 1, SIZE[0])
    crop = np.zeros((max(y1 - y0, 1), max(x1 - x0, 1)), np.uint8)
    centre = (int(x + w / 2) - x0, int(y + h / 2) - y0)
    axes = (max(int(w / 2), 1), max(int(h / 2), 1))
    cv2.ellipse(crop, centre, axes, float(rng.uniform(0, 20)), 0, 360, 1, -1)
    return y0, x0, crop.astype(bool)


def draw(images: int, objects: int, seed: int = 0) -> list[tuple[CocoObjects, CocoObjects]]:
    """Truth and detections of each image: jittered copies, doubles, wrong classes and phantoms."""
    rng = np.random.default_rng(seed)
    numbers = rng.multinomial(objects, rng.dirichlet(np.full(images, 1.5)))
    drawn: list[tuple[CocoObjects, CocoObjects]] = []
    for number in numbers.tolist():
        sides = np.exp(rng.uniform(np.log(8), np.log(300), (number, 2)))
        corners = rng.uniform(0, 1, (number, 2)) * (np.array(SIZE[::-1]) - 12)
        classes = rng.choice(CLASSES, number) // rng.integers(1, 6, number)
        truth = [blob(rng, *c, *s) for c, s in zip(corners, sides, strict=True)]
        found: list[tuple[int, int, Any]] = []
        names: list[int] = []
        for c, s, name in zip(corners, sides, classes, strict=True):
            for _ in range(int(rng.choice([0, 1, 2, 3], p=[0.15, 0.5, 0.25, 0.1]))):
                jitter = rng.normal(0, 0.08, 4) * np.tile(s, 2)
                found.append(blob(rng, *(c + jitter[:2]), *np.maximum(s + jitter[2:], 3)))
                names.append(int(name if rng.random() < 0.85 else rng.integers(CLASSES)))
        for _ in range(int(rng.poisson(2))):
            side = rng.uniform(8, 200, 2)
            corner = rng.uniform(0, 1, 2) * (np.array(SIZE[::-1]) - 12)
            found.append(blob(rng, *corner, *side))
            names.append(int(rng.integers(CLASSES)))
        masks, detected = Masks.from_crops(truth, SIZE), Masks.from_crops(found, SIZE)
        scores = np.round(rng.random(len(found)), 3)  # rounded, so that there are ties
        crowd = rng.random(number) < 0.02
        drawn.append(
            (
                CocoObjects(classes, masks.boxes().astype(float), masks, crowd=crowd),
                CocoObjects(np.array(names, int), detected.boxes().astype(float), detected, scores),
            )
        )
    return drawn


def as_coco(
    drawn: list[tuple[CocoObjects, CocoObjects]], kind: str
) -> tuple[dict[str, Any], list[Any]]:
    """The same as COCO's files hold it: the annotation file and the results.

    Results of masks have no box: pycocotools would take a box's area for the mask's.
    """
    truths: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for number, (truth, found) in enumerate(drawn):
        for objects, into in ((truth, truths), (found, results)):
            assert objects.masks is not None and objects.boxes is not None
            codes, areas = objects.masks.rle(), objects.masks.areas()
            for i in range(len(objects)):
                x1, y1, x2, y2 = objects.boxes[i].tolist()
                one: dict[str, Any] = {
                    "image_id": number,
                    "category_id": int(objects.class_ids[i]),
                }
                box = {"bbox": [x1, y1, x2 - x1, y2 - y1]}
                mask = {"segmentation": codes[i]}
                if objects.scores is None:
                    extra = {"id": len(into) + 1, "area": float(areas[i])}
                    one |= extra | box | mask | {"iscrowd": int(objects.is_crowd()[i])}
                else:
                    one |= box if kind == "box" else mask
                    one["score"] = float(objects.scores[i])
                into.append(one)
    height, width = SIZE
    document = {
        "images": [{"id": i, "height": height, "width": width} for i in range(len(drawn))],
        "categories": [{"id": i, "name": str(i)} for i in range(CLASSES)],
        "annotations": truths,
    }
    return document, results


def reference(document: dict[str, Any], results: list[Any], kind: str, api: Any) -> list[float]:
    """The twelve numbers of pycocotools, or of another with its interface."""
    make_coco, make_evaluation = api
    with contextlib.redirect_stdout(io.StringIO()):
        truth = make_coco()
        truth.dataset = document
        truth.createIndex()
        evaluation = make_evaluation(truth, truth.loadRes(results), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return list(evaluation.stats)[:12]


def from_rle(drawn: list[Any], document: dict[str, Any], results: list[Any]) -> list[Any]:
    """The objects built again from the RLE strings of the two files."""
    if "segmentation" not in results[0]:
        raise SystemExit("--from-rle needs --kind mask: results of boxes have no RLE")
    codes: list[tuple[list[Any], list[Any]]] = [([], []) for _ in drawn]
    for side, items in enumerate((document["annotations"], results)):
        for item in items:
            codes[item["image_id"]][side].append(item["segmentation"])
    rebuilt: list[Any] = []
    for (truth, found), (one, other) in zip(drawn, codes, strict=True):
        masks, detected = Masks.from_rle(one, SIZE), Masks.from_rle(other, SIZE)
        rebuilt.append(
            (
                CocoObjects(truth.class_ids, truth.boxes, masks, crowd=truth.crowd),
                CocoObjects(found.class_ids, found.boxes, detected, found.scores),
            )
        )
    return rebuilt


def main() -> None:
    """Draw, evaluate with both, compare."""
    parser = argparse.ArgumentParser(description="COCO evaluation against pycocotools")
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--objects", type=int, default=36000)
    parser.add_argument("--kind", choices=("mask", "box"), default="mask")
    parser.add_argument("--from-rle", action="store_true", help="vitrail decodes RLE strings too")
    parser.add_argument("--faster", action="store_true", help="time faster-coco-eval as well")
    options = parser.parse_args()
    drawn = draw(options.images, options.objects)
    document, results = as_coco(drawn, options.kind)
    print(f"{options.images} images, {options.objects} objects, {len(results)} detections")
    coco_kind = {"mask": "segm", "box": "bbox"}[options.kind]

    copies = copy.deepcopy((document, results))
    start = process_time()
    theirs = reference(*copies, coco_kind, (COCO, COCOeval))
    peer = process_time() - start
    if options.faster:
        from faster_coco_eval import COCO as FASTER_COCO
        from faster_coco_eval import COCOeval_faster

        copies = copy.deepcopy((document, results))
        start = process_time()
        faster = reference(*copies, coco_kind, (FASTER_COCO, COCOeval_faster))
        spent = process_time() - start
        gap = np.abs(np.array(faster) - theirs).max()
        print(f"faster-coco-eval {spent:.2f} CPU s, largest difference from pycocotools {gap:.3g}")
    start = process_time()
    objects = from_rle(drawn, document, results) if options.from_rle else drawn
    metric = CocoAP(CLASSES, kind=options.kind)
    for number, (truth, found) in enumerate(objects):
        metric.update(number, truth, found)
    numbers = metric.compute()
    ours = process_time() - start
    for (name, value), other in zip(numbers.items(), theirs, strict=True):
        print(f"  {name:10} {value:.12f}   pycocotools {other:.12f}")
    gap = np.abs(np.array(list(numbers.values())) - theirs).max()
    print(f"largest difference {gap:.3g} (target <= 1e-9: {'PASS' if gap <= 1e-9 else 'MISS'})")
    report(f"COCO {options.kind} evaluation", ours, peer, 3.0, unit="CPU s")


if __name__ == "__main__":
    main()
