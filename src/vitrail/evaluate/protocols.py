"""The same predictions under the protocols that others use, so that two numbers can be reconciled.

Each protocol changes one thing (two where that is usual) of the one that ``vitrail evaluate``
reports: pixels pooled over all images at original size, void left out, every class counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from vitrail.evaluate.counts import Void
from vitrail.evaluate.semantic import SemanticScores
from vitrail.metrics import PerImage


@dataclass(frozen=True, slots=True)
class Protocol:
    """One way to make a number of predictions."""

    name: str
    used_by: str
    """Who reports numbers like this."""
    cause: str
    """Why it differs from the pooled number."""
    mean_iou: float
    mean_dice: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """All protocols, the reported one first."""

    protocols: tuple[Protocol, ...]
    left_out: tuple[tuple[str, str], ...]
    """(name, why not) of the protocols that do not apply."""

    def difference(self, protocol: Protocol) -> float:
        """Mean IoU of a protocol less that of the reported one."""
        return protocol.mean_iou - self.protocols[0].mean_iou

    def biggest(self) -> Protocol | None:
        """The protocol whose mean IoU differs most; None where none differs."""
        others = [one for one in self.protocols[1:] if not math.isnan(one.mean_iou)]
        others.sort(key=lambda one: -abs(self.difference(one)))
        return others[0] if others and self.difference(others[0]) else None


def explain(scores: SemanticScores) -> Explanation:
    """Every protocol that applies to what was counted (``Settings.explain`` must have been set)."""
    counts, match = scores.counts, scores.matching
    metric = scores.per_image()
    generous, strict = counts.per_image(empty="perfect"), counts.per_image(empty="worst")
    assert generous is not None and strict is not None
    things = [c for c in range(len(match.classes)) if c != match.background]
    found: list[Protocol] = []
    missing: list[tuple[str, str]] = []

    def add(name: str, used_by: str, cause: str, numbers: dict[str, float]) -> None:
        found.append(Protocol(name, used_by, cause, numbers["mean_iou"], numbers["mean_dice"]))

    add(
        "pooled over pixels (reported)",
        "PASCAL VOC, Cityscapes, CamVid, mmsegmentation, torchmetrics",
        "",
        metric.compute(),
    )
    add(
        "mean over images",
        "mIoU-I of Wang et al. 2023",
        "every image weighs the same, so a missed small object costs as much as a large one, and"
        " a class that is predicted where it is not scores 0 in that image",
        metric.compute("per_image"),
    )
    add(
        "mean over images, absent classes 1",
        "segmentation_models.pytorch (macro-imagewise), many Kaggle rules",
        "each image gives full marks for every class that it rightly does not show",
        generous.compute("per_image"),
    )
    add(
        "mean over each class's images",
        "mIoU-C of Wang et al. 2023",
        "each class is averaged over the images where it is or is predicted, so a few false"
        " pixels in an image without the class count as a whole image at 0",
        metric.compute("per_class"),
    )
    if match.background is None:
        missing.append(("without background", "the data set has no background class"))
    elif not things:
        missing.append(("without background", "there is no other class"))
    else:
        add(
            "pooled, without background",
            "foreground scores of binary and medical sets",
            "the background, most often the easiest class, is left out of the mean",
            metric.compute(classes=things),
        )
        add(
            "mean over images, without background",
            "MONAI's DiceMetric, medical challenges (Dice per case)",
            "the background, most often the easiest class, is left out, and every image weighs"
            " the same",
            metric.compute("per_image", classes=things),
        )
    if metric.counts[:, 1:].sum(axis=(0, 1)).all():
        missing.append(("classes that occur nowhere count 0", "every class occurs"))
    else:
        add(
            "pooled, classes that occur nowhere count 0",
            "scikit-learn's jaccard_score, older evaluation scripts",
            "classes in neither truth nor prediction pull the mean down",
            strict.compute(),
        )
    _void(scores, add, missing)
    resized = counts.resized()
    if resized is None:
        missing.append(("at the network's input size", "the model is no network"))
    else:
        add(
            "at the network's input size",
            "scores printed while training; Keras and PyTorch tutorials",
            "truth and prediction are compared after resizing the truth (nearest), where thin"
            " parts and borders are already lost, and large images weigh no more than small ones",
            resized.compute(),
        )
    return Explanation(tuple(found), tuple(missing))


def _void(scores: SemanticScores, add, missing: list[tuple[str, str]]) -> None:
    if not scores.counts.void:
        missing.append(("void counted", "the truth has no void pixels"))
        return
    share = f"{scores.counts.void / scores.counts.pixels:.1%} of all pixels are void: "
    wrong = scores.counts.per_image(Void.WRONG)
    assert isinstance(wrong, PerImage)
    add(
        "pooled, void counted as wrong",
        "scripts that forget to ignore void",
        f"{share}whatever is predicted there is a false positive",
        wrong.compute(),
    )
    ground = scores.counts.per_image(Void.BACKGROUND)
    if ground is None:
        missing.append(("void counted as background", "the data set has no background class"))
        return
    add(
        "pooled, void counted as background",
        "tutorials that clip or fill void with 0",
        f"{share}an object predicted there is a false positive, background is right",
        ground.compute(),
    )
