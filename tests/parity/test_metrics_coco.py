"""COCO AP and AR against pycocotools (2.0.11): every number equal to 1e-9."""

import contextlib
import io
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest
from pycocotools.cocoeval import COCOeval

from tests.metrics.drawn_objects import SIZE, as_coco, draw_image
from vitrail.metrics import CocoAP, CocoObjects
from vitrail.result import Masks

PYCOCOTOOLS = f"pycocotools-{version('pycocotools')}"
CLASSES = 3


def evaluate(images: list, kind: str, limits: list[int], agnostic: bool) -> COCOeval:
    with contextlib.redirect_stdout(io.StringIO()):
        iou: Any = {"box": "bbox", "mask": "segm"}[kind]
        theirs = COCOeval(*as_coco(images, CLASSES, kind), iou)
        theirs.params.maxDets = limits
        theirs.params.useCats = int(not agnostic)
        theirs.evaluate()
        theirs.accumulate()
        theirs.summarize()
    return theirs


def score(images: list, kind: str, limits: list[int], agnostic: bool) -> CocoAP:
    metric = CocoAP(CLASSES, kind=kind, max_detections=limits, class_agnostic=agnostic)
    for number, pair in enumerate(images):
        metric.update(number, *pair)
    return metric


@pytest.mark.parametrize("reference", [PYCOCOTOOLS])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["box", "mask"])
def test_the_twelve_numbers(kind: str, seed: int, reference: str) -> None:
    rng = np.random.default_rng(seed)
    images = [draw_image(rng, CLASSES) for _ in range(25)]
    theirs = evaluate(images, kind, [1, 10, 100], agnostic=False)
    ours = score(images, kind, [1, 10, 100], agnostic=False)
    assert 0.05 < theirs.stats[0] < 0.95  # neither nothing nor everything matches
    expected = np.where(theirs.stats < 0, np.nan, theirs.stats)
    np.testing.assert_allclose(list(ours.compute().values()), expected, rtol=0, atol=1e-9)
    curves = theirs.eval["precision"][:, :, :, 0, -1]
    np.testing.assert_allclose(ours.precision_at_recall(), curves, rtol=0, atol=1e-9)
    np.testing.assert_allclose(ours.per_class(), curves.mean(axis=(0, 1)), rtol=0, atol=1e-9)


@pytest.mark.parametrize("reference", [PYCOCOTOOLS])
def test_proposals_with_more_detections(reference: str) -> None:
    """Without classes, and with AR@1000, whose column pycocotools has but does not print."""
    rng = np.random.default_rng(9)
    images = [draw_image(rng, CLASSES) for _ in range(15)]
    truth, found = draw_image(rng, CLASSES)
    while not len(found):
        truth, found = draw_image(rng, CLASSES)
    many = np.resize(np.arange(len(found)), 150)
    assert found.boxes is not None and found.masks is not None
    crowded = CocoObjects(
        found.class_ids[many], found.boxes[many], found.masks[many], rng.random(150).round(2)
    )
    images.append((truth, crowded))
    theirs = evaluate(images, "mask", [1, 10, 100, 1000], agnostic=True)
    ours = score(images, "mask", [1, 10, 100, 1000], agnostic=True).compute()
    thousand = theirs.eval["recall"][:, :, 0, 3]
    assert ours.pop("AR@1000") == pytest.approx(thousand[thousand > -1].mean(), abs=1e-9)
    expected = np.where(theirs.stats < 0, np.nan, theirs.stats)
    np.testing.assert_allclose(list(ours.values()), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("reference", [PYCOCOTOOLS])
@pytest.mark.parametrize("kind", ["box", "mask"])
def test_few_detections_count(kind: str, reference: str) -> None:
    """Limits below the detections of an image, on both the ranks and the precision."""
    rng = np.random.default_rng(21)
    compare([draw_image(rng, 1) for _ in range(20)], kind, [1, 2, 5])


@pytest.mark.parametrize("reference", [PYCOCOTOOLS])
@pytest.mark.parametrize("kind", ["box", "mask"])
def test_more_than_a_hundred_detections_count(kind: str, reference: str) -> None:
    """Nuclei: more objects of a class in an image than COCO's limit, and a limit above them."""
    rng = np.random.default_rng(22)
    images = []
    for _ in range(2):
        corners = np.argwhere(np.ones((12, 16), bool)) * 12 + rng.integers(0, 3, (192, 2))
        crops = [np.ones(rng.integers(5, 10, 2), bool) for _ in corners]
        truth = Masks.from_crops(
            ((y, x, crop) for (y, x), crop in zip(corners.tolist(), crops, strict=True)), SIZE
        )
        moved = np.maximum(corners - rng.integers(0, 3, corners.shape), 0)
        found = Masks.from_crops(
            ((y, x, crop) for (y, x), crop in zip(moved.tolist(), crops, strict=True)), SIZE
        )
        ids, scores = np.zeros(192, int), rng.random(192).round(2)
        images.append(
            (
                CocoObjects(ids, truth.boxes().astype(float), truth),
                CocoObjects(ids, found.boxes().astype(float), found, scores),
            )
        )
    assert compare(images, kind, [1, 10, 400]) > 1.2 * compare(images, kind, [1, 10, 100])


def compare(images: list, kind: str, limits: list[int]) -> float:
    """Every number of ours against pycocotools' at its last limit; the AP."""
    theirs = evaluate(images, kind, limits, agnostic=False)
    ours = score(images, kind, limits, agnostic=False).compute()
    precision = theirs.eval["precision"]
    for name, a in (("AP", 0), ("AP_small", 1), ("AP_medium", 2), ("AP_large", 3)):
        values = precision[:, :, :, a, 2]
        values = values[values > -1]
        expected = values.mean() if values.size else np.nan
        assert ours[name] == pytest.approx(expected, abs=1e-9, nan_ok=True), name
    assert [ours[f"AR@{n}"] for n in limits] == pytest.approx(list(theirs.stats[6:9]), abs=1e-9)
    return ours["AP"]
