"""``vitrail evaluate``'s numbers against torchmetrics, scikit-learn and pycocotools."""

import contextlib
import io
from importlib.metadata import version

import cv2
import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from sklearn.metrics import average_precision_score, confusion_matrix
from torchmetrics.classification import MulticlassJaccardIndex

from tests.data.listed import Listed
from tests.evaluate.oracle import answering, drawn_set, oracle
from vitrail.data.derive import objects
from vitrail.data.sample import Instance, LabelSpace, Sample
from vitrail.evaluate.curves import BINS, PrecisionRecall
from vitrail.evaluate.instances import InstanceScores
from vitrail.evaluate.run import evaluate
from vitrail.evaluate.semantic import SemanticScores
from vitrail.result import InstanceResult, Masks

TORCHMETRICS = f"torchmetrics-{version('torchmetrics')}"
SKLEARN = f"scikit-learn-{version('scikit-learn')}"
PYCOCOTOOLS = f"pycocotools-{version('pycocotools')}"


@pytest.mark.parametrize("reference", [f"{TORCHMETRICS} {SKLEARN}"])
def test_the_table(reference: str) -> None:
    source, predicted = drawn_set(15, seed=3)
    scores = evaluate(answering(predicted), source).scores
    assert isinstance(scores, SemanticScores)
    theirs = MulticlassJaccardIndex(3, average=None, ignore_index=255)
    truths, guesses = [], []
    for one in source.samples:
        guess = predicted[one.id]
        theirs.update(torch.from_numpy(guess).long(), torch.from_numpy(one.labels).long())
        truths.append(one.labels[one.labels != 255])
        guesses.append(guess[one.labels != 255])
    np.testing.assert_allclose(scores.by_class()["iou"], theirs.compute().numpy(), atol=1e-6)
    matrix = confusion_matrix(np.concatenate(truths), np.concatenate(guesses))
    np.testing.assert_array_equal(scores.matrix().counts, matrix)


@pytest.mark.parametrize("reference", [SKLEARN])
@pytest.mark.parametrize("sharpness", [0.5, 2.0, 6.0])
def test_average_precision(sharpness: float, reference: str) -> None:
    """Equal to scikit-learn's for probabilities rounded to bins; and for the exact ones, within
    what the order of pixels inside the bins can change."""
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 3, 20_000)
    logits = rng.normal(0, sharpness, (3, truth.size))
    logits[truth, np.arange(truth.size)] += sharpness
    p = torch.from_numpy(logits).softmax(0).numpy().astype(np.float32)
    curves = PrecisionRecall(3)
    curves.update(truth, p)
    found = curves.average_precision()
    p = p.astype(np.float64)
    with np.errstate(divide="ignore"):
        odds = np.clip(np.log(p) - np.log1p(-p), -16, 16)
    bins = np.minimum(np.floor((odds + 16) * BINS / 32), BINS - 1)
    for c in range(3):
        own = truth == c
        assert found[c] == pytest.approx(average_precision_score(own, bins[c]), abs=1e-12)
        exact = average_precision_score(own, p[c])
        # Within each bin all pixels of the class first, or last.
        low, high = (average_precision_score(own, _ranked(bins[c], own * s)) for s in (-1, 1))
        assert 0.4 < low <= exact <= high < 0.999
        assert max(abs(found[c] - low), abs(found[c] - high)) < 0.02


def _ranked(bins: np.ndarray, within: np.ndarray) -> np.ndarray:
    """Scores without ties: by bin, then by ``within``, then by position."""
    ranks = np.empty(bins.size)
    ranks[np.lexsort((np.arange(bins.size), within, bins))] = np.arange(bins.size)
    return ranks


@pytest.mark.parametrize("reference", [PYCOCOTOOLS])
@pytest.mark.parametrize("kind", ["mask", "box"])
def test_the_twelve_numbers(kind: str, reference: str) -> None:
    """Connected components of noise as objects; the results are the same, shaken."""
    rng = np.random.default_rng(5)
    space = LabelSpace(("cat", "dog"))
    samples: list[Sample] = []
    results: dict[str, InstanceResult] = {}
    truth: list[dict] = []
    found: list[dict] = []
    for number in range(1, 13):
        blobs = cv2.GaussianBlur(rng.normal(size=(120, 140)), (0, 0), 5)
        labels = np.digitize(blobs, [0.04, 0.08]).astype(np.uint8)
        own = LabelSpace(("ground", *space.classes), 0)
        components = [
            (one.class_id - 1, one.mask)
            for one in objects(Sample("", np.zeros(0), labels.shape, labels), own)
        ]
        instances = []
        for k, (class_id, mask) in enumerate(components):
            crowd = k % 7 == 6
            instances.append(Instance.from_masks(class_id, mask, crowd=crowd))
            x1, y1, x2, y2 = instances[-1].box
            truth.append(
                {
                    "id": len(truth) + 1,
                    "image_id": number,
                    "category_id": class_id + 1,
                    "iscrowd": int(crowd),
                    "area": float(mask.areas()[0]),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "segmentation": mask.rle()[0],
                }
            )
        id = f"image {number}"
        picture = np.zeros((*labels.shape, 3), np.uint8)
        samples.append(Sample(id, picture, labels.shape, instances=tuple(instances)))
        shaken = [np.roll(m.dense()[0], rng.integers(-2, 3, 2), (0, 1)) for _, m in components]
        masks = Masks.from_dense(np.array(shaken))
        scores = rng.integers(1, 10, len(masks)).astype(np.float32) / 10
        ids = np.array([c if rng.random() < 0.9 else 1 - c for c, _ in components])
        results[id] = InstanceResult(
            masks.boxes().astype(np.float32), scores, ids, masks, space.classes, size=labels.shape
        )
        for k, (x1, y1, x2, y2) in enumerate(masks.boxes().tolist()):
            shape = {"bbox": [x1, y1, x2 - x1, y2 - y1]} if kind == "box" else {}
            found.append(
                {
                    "image_id": number,
                    "category_id": int(ids[k]) + 1,
                    "score": float(scores[k]),
                    **(shape or {"segmentation": masks.rle()[k]}),
                }
            )
    ours = evaluate(oracle(results), Listed(samples, space)).scores
    assert isinstance(ours, InstanceScores)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": n, "height": 120, "width": 140} for n in range(1, 13)],
            "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
            "annotations": truth,
        }
        coco.createIndex()
        theirs = COCOeval(coco, coco.loadRes(found), "bbox" if kind == "box" else "segm")
        theirs.evaluate()
        theirs.accumulate()
        theirs.summarize()
    expected = np.where(theirs.stats < 0, np.nan, theirs.stats)
    assert 0.05 < expected[0] < 0.95
    np.testing.assert_allclose(list(ours.totals()[kind].values()), expected, rtol=0, atol=1e-9)
