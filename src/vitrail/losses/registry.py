"""The one registry of losses: a name, its parameters, where it was published.

Adding a loss is one class in the room it belongs to and one line here.
"""

from __future__ import annotations

from dataclasses import dataclass

from vitrail.losses.base import Loss
from vitrail.losses.boundary import Boundary, ClDice, Hausdorff, ShapeAware
from vitrail.losses.distribution import (
    BalancedCrossEntropy,
    BinaryCrossEntropy,
    CrossEntropy,
    Focal,
    MeanSquaredError,
    Ohem,
    WeightedBinaryCrossEntropy,
)
from vitrail.losses.region import (
    Dice,
    FocalTversky,
    IouBalanced,
    Jaccard,
    LogCoshDice,
    Lovasz,
    SensitivitySpecificity,
    SquaredDice,
    Tversky,
)


@dataclass(frozen=True, slots=True)
class LossEntry:
    """One loss as a recipe names it."""

    name: str
    loss: type[Loss]
    """Its fields are the parameters, its docstring has the formula."""
    summary: str
    paper: str
    """arXiv id or DOI; empty where there is none."""


LOSSES: dict[str, LossEntry] = {
    entry.name: entry
    for entry in (
        LossEntry("ce", CrossEntropy, "cross-entropy, by the labels' kind", ""),
        LossEntry("categorical_ce", CrossEntropy, "ce, as one-hot labels name it", ""),
        LossEntry("sparse_ce", CrossEntropy, "ce, as class ids name it", ""),
        LossEntry("bce", BinaryCrossEntropy, "a sigmoid for each class", ""),
        LossEntry(
            "weighted_bce", WeightedBinaryCrossEntropy, "bce, objects times beta", "2006.14822"
        ),
        LossEntry("balanced_ce", BalancedCrossEntropy, "weights from each image", "1504.06375"),
        LossEntry("focal", Focal, "easy pixels fade", "1708.02002"),
        LossEntry("ohem", Ohem, "cross-entropy of hard pixels", "1604.03540"),
        LossEntry("mse", MeanSquaredError, "squared error of probabilities", ""),
        LossEntry("dice", Dice, "overlap, as F1", "1606.04797"),
        LossEntry("squared_dice", SquaredDice, "dice with squares below the line", "1606.04797"),
        LossEntry("log_cosh_dice", LogCoshDice, "dice, flat near its optimum", "2006.14822"),
        LossEntry("jaccard", Jaccard, "overlap, as IoU", "doi:10.1007/978-3-319-50835-1_22"),
        LossEntry("tversky", Tversky, "dice with a price for each error", "1706.05721"),
        LossEntry("focal_tversky", FocalTversky, "tversky that dwells on poor ones", "1810.07842"),
        LossEntry(
            "sensitivity_specificity",
            SensitivitySpecificity,
            "squared error inside against outside",
            "doi:10.1007/978-3-319-24574-4_1",
        ),
        LossEntry("iou_balanced", IouBalanced, "cross-entropy by IoU of regions", "1908.05641"),
        LossEntry("lovasz", Lovasz, "convex surrogate of IoU", "1705.08790"),
        LossEntry("boundary", Boundary, "signed distance to the contour", "1812.07032"),
        LossEntry("hausdorff", Hausdorff, "errors by distance to contours", "1904.10030"),
        LossEntry("shape_aware", ShapeAware, "cross-entropy by contour error", "1612.03129"),
        LossEntry("cldice", ClDice, "overlap of centre lines", "2003.07311"),
    )
}
