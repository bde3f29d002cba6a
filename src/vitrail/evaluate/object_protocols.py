"""The same objects under the protocols that others use."""

from __future__ import annotations

from dataclasses import dataclass

from vitrail.evaluate.instances import COCO_MOST, InstanceScores
from vitrail.metrics import CocoAP

COCO_USERS = "COCO, detectron2, torchvision, mmdetection"
STARDIST = "StarDist: pooled over all objects"
BOWL = "Data Science Bowl 2018: mean over images"


@dataclass(frozen=True, slots=True)
class ObjectProtocol:
    """One way to make numbers of the same objects."""

    name: str
    used_by: str
    """Who reports numbers like this."""
    cause: str
    """Why it differs from the others."""
    at_half: float
    """At IoU 0.50."""
    mean: float
    """Over IoU 0.50 to 0.95."""


def explain_objects(scores: InstanceScores) -> list[ObjectProtocol]:
    """Every protocol that applies to what was counted, the reported one first."""
    limit = f"at most {scores.most} of a class in an image"
    metrics: list[tuple[str, CocoAP, str]] = []
    if scores.compares_masks:
        metrics.append((f"mask AP, {limit}", scores.masks, ""))
        if scores.first_masks is not None:
            cause = "of more objects in an image the least certain are not looked at"
            name = f"mask AP, at most {COCO_MOST} of a class in an image"
            metrics.append((name, scores.first_masks, cause))
    cause = "a box is not the outline"
    metrics.append((f"box AP, {limit}", scores.boxes, cause if metrics else ""))
    found: list[ObjectProtocol] = []
    for name, metric, cause in metrics:
        numbers = metric.compute()
        found.append(ObjectProtocol(name, COCO_USERS, cause, numbers["AP50"], numbers["AP"]))
    told = scores.one_to_one()
    best = scores.best_threshold()
    first = scores.sweep.score_thresholds[0]
    for threshold in dict.fromkeys((first, best)):
        if threshold not in told:
            continue
        numbers = told[threshold]
        end = f", scores from {threshold:g}"
        if threshold == best:
            end += " (best of the thresholds here)"
        found += [
            ObjectProtocol(
                f"{STARDIST}{end}",
                "StarDist, Cellpose's average precision",
                "TP / (TP + FP + FN) at one score threshold: no curve is involved, and every"
                " uncertain object that is told costs as much as a certain one",
                numbers["pooled_ap@0.5"],
                numbers["pooled_ap"],
            ),
            ObjectProtocol(
                f"{BOWL}{end}",
                "Data Science Bowl 2018 and its successors on Kaggle",
                "likewise, and an image of three objects weighs as much as one of three hundred",
                numbers["dsb_ap@0.5"],
                numbers["dsb_ap"],
            ),
        ]
    return found
