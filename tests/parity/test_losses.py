"""Losses against segmentation_models.pytorch, MONAI, PyTorch and torchmetrics.

Where a peer defines something else, the test says what has to be set, or done to its number, for
the two to agree; ``docs/losses.md`` lists these differences.
"""

from importlib.metadata import version
from typing import Any

import pytest
import scipy.ndimage
import segmentation_models_pytorch as smp
import torch
from monai.losses.boundary_loss import BoundaryLoss
from monai.losses.cldice import SoftclDiceLoss
from monai.losses.dice import DiceFocalLoss, DiceLoss
from monai.losses.focal_loss import FocalLoss
from monai.losses.hausdorff_loss import HausdorffDTLoss
from monai.losses.tversky import TverskyLoss
from torch.nn import functional as F
from torchmetrics.functional import segmentation as torchmetrics_segmentation
from torchvision.ops import sigmoid_focal_loss

from tests.losses.drawn_batches import IGNORE, drawn
from vitrail.losses import SemanticTargets
from vitrail.losses.boundary import Boundary, ClDice, Hausdorff
from vitrail.losses.distance import contour_distance, distance_to, signed_distance
from vitrail.losses.distribution import (
    BinaryCrossEntropy,
    CrossEntropy,
    Focal,
    WeightedBinaryCrossEntropy,
)
from vitrail.losses.region import Dice, FocalTversky, Jaccard, Lovasz, SquaredDice, Tversky

SMP = f"smp-{version('segmentation_models_pytorch')}"
MONAI = f"monai-{version('monai')}"
TORCH = f"torch-{version('torch').partition('+')[0]}"
TORCHMETRICS = f"torchmetrics-{version('torchmetrics')}"
SMP_MODES = {"binary": "binary", "classes": "multiclass", "labels": "multilabel"}


def against(*references: str):
    """Name the reference and its version in the test's id."""
    return pytest.mark.parametrize("reference", references)


def planes(batch) -> torch.Tensor:
    """The truth as ``(B, C, H, W)`` float64; all pixels must be labelled."""
    labels = batch.targets.labels
    if labels.ndim == 4:
        return labels.double()
    if batch.logits.shape[1] == 1:
        return labels[:, None].double()
    return F.one_hot(labels, batch.logits.shape[1]).movedim(-1, 1).double()


def probabilities(batch) -> torch.Tensor:
    softmax = batch.targets.labels.ndim == 3 and batch.logits.shape[1] > 1
    return batch.logits.softmax(1) if softmax else batch.logits.sigmoid()


# PyTorch


@against(TORCH)
@pytest.mark.parametrize("weights", [None, (1.0, 4.0, 0.5)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy(reference: str, weights: tuple | None, smoothing: float) -> None:
    batch = drawn("classes")
    expected = F.cross_entropy(
        batch.logits,
        batch.targets.labels,
        weight=None if weights is None else torch.tensor(weights, dtype=torch.float64),
        ignore_index=IGNORE,
        label_smoothing=smoothing,
    )
    loss = CrossEntropy(weights=weights, smoothing=smoothing)
    torch.testing.assert_close(loss(batch.logits, batch.targets), expected)


@against(TORCH)
def test_categorical_cross_entropy_with_soft_labels(reference: str) -> None:
    logits = drawn("classes").logits
    soft = torch.randn(logits.shape, dtype=torch.float64).softmax(1)
    for smoothing in (0.0, 0.2):
        expected = F.cross_entropy(logits, soft, label_smoothing=smoothing)
        targets = SemanticTargets(soft, IGNORE, exclusive=True)
        loss = CrossEntropy(smoothing=smoothing)
        torch.testing.assert_close(loss(logits, targets), expected)


@against(TORCH)
@pytest.mark.parametrize("mode", ["binary", "labels"])
def test_binary_cross_entropy(reference: str, mode: str) -> None:
    batch = drawn(mode)
    known = batch.labelled
    logits, truth = batch.logits[known], batch.targets.labels.reshape(known.shape)[known].double()
    expected = F.binary_cross_entropy_with_logits(logits, truth)
    for loss in (BinaryCrossEntropy(), CrossEntropy()):
        torch.testing.assert_close(loss(batch.logits, batch.targets), expected)
    expected = F.binary_cross_entropy_with_logits(
        logits, truth, pos_weight=torch.tensor(3.0, dtype=torch.float64)
    )
    loss = WeightedBinaryCrossEntropy(beta=3)
    torch.testing.assert_close(loss(batch.logits, batch.targets), expected)


@against(TORCH)
def test_binary_class_weights_divide_by_their_sum(reference: str) -> None:
    """PyTorch multiplies and divides by the pixels; ours by the weights: a constant factor."""
    batch = drawn("labels", ignored=False)
    weights = torch.tensor([1.0, 4.0, 0.5], dtype=torch.float64)
    expected = F.binary_cross_entropy_with_logits(
        batch.logits, planes(batch), weight=weights[:, None, None]
    )
    loss = BinaryCrossEntropy(weights=tuple(weights.tolist()))
    torch.testing.assert_close(loss(batch.logits, batch.targets) * weights.mean(), expected)


@against(f"torchvision-{version('torchvision').partition('+')[0]}")
@pytest.mark.parametrize("mode", ["binary", "labels"])
@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (0.5, 0.9), (0.0, 0.5)])
def test_sigmoid_focal(reference: str, mode: str, gamma: float, alpha: float) -> None:
    batch = drawn(mode, ignored=False)
    expected = sigmoid_focal_loss(batch.logits, planes(batch), alpha, gamma, reduction="mean")
    loss = Focal(gamma=gamma, alpha=alpha)
    torch.testing.assert_close(loss(batch.logits, batch.targets), expected)


# segmentation_models.pytorch


@against(SMP)
@pytest.mark.parametrize("mode", SMP_MODES)
@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (smp.losses.DiceLoss, Dice),
        (smp.losses.JaccardLoss, Jaccard),
    ],
)
@pytest.mark.parametrize("smooth", [0.0, 1.0])
def test_dice_and_jaccard(reference: str, mode: str, theirs, ours, smooth: float) -> None:
    """Its Dice adds ``smooth`` to fractions that were halved: twice ours is the same number."""
    batch = drawn(mode)
    expected = theirs(SMP_MODES[mode], smooth=smooth, ignore_index=IGNORE)(
        batch.logits, batch.targets.labels
    )
    loss = ours(smooth=2 * smooth if ours is Dice else smooth)
    torch.testing.assert_close(loss(batch.logits, batch.targets), expected)


@against(SMP)
@pytest.mark.parametrize("mode", ["classes", "labels"])
def test_dice_class_weights(reference: str, mode: str) -> None:
    batch = drawn(mode)
    theirs = smp.losses.DiceLoss(
        SMP_MODES[mode], ignore_index=IGNORE, class_weights=[1.0, 4.0, 0.5]
    )
    expected = theirs(batch.logits, batch.targets.labels)
    loss = Dice(smooth=0, weights=(1, 4, 0.5))
    torch.testing.assert_close(loss(batch.logits, batch.targets), expected)


@against(SMP)
def test_dice_of_absent_classes(reference: str) -> None:
    """It counts a class without a pixel as perfect; here such a class takes no part."""
    batch = drawn("classes")
    targets = batch.targets._replace(
        labels=batch.targets.labels.where(batch.targets.labels != 2, 1)
    )
    expected = smp.losses.DiceLoss("multiclass", ignore_index=IGNORE)(batch.logits, targets.labels)
    loss = Dice(smooth=0)
    torch.testing.assert_close(loss(batch.logits, targets) * 2 / 3, expected)


@against(SMP)
@pytest.mark.parametrize("mode", SMP_MODES)
def test_tversky(reference: str, mode: str) -> None:
    batch = drawn(mode)
    theirs = smp.losses.TverskyLoss(
        SMP_MODES[mode], ignore_index=IGNORE, alpha=0.3, beta=0.7, smooth=1.0
    )
    expected = theirs(batch.logits, batch.targets.labels)
    loss = Tversky(alpha=0.3, beta=0.7)
    torch.testing.assert_close(loss(batch.logits, batch.targets), expected)


@against(SMP)
def test_focal_tversky(reference: str) -> None:
    """Its power is of the mean over classes, ours of each class: equal for one class."""
    batch = drawn("binary")
    theirs = smp.losses.TverskyLoss(
        "binary", ignore_index=IGNORE, alpha=0.3, beta=0.7, gamma=0.75, smooth=1.0
    )
    expected = theirs(batch.logits, batch.targets.labels)
    loss = FocalTversky(gamma=4 / 3)
    torch.testing.assert_close(loss(batch.logits, batch.targets), expected)


@against(SMP)
@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (1.5, None)])
def test_focal(reference: str, gamma: float, alpha: float | None) -> None:
    batch = drawn("binary")
    theirs = smp.losses.FocalLoss("binary", alpha=alpha, gamma=gamma, ignore_index=IGNORE)
    expected = theirs(batch.logits, batch.targets.labels)
    loss = Focal(gamma=gamma, alpha=alpha)
    torch.testing.assert_close(loss(batch.logits, batch.targets), expected)


@against(SMP)
def test_focal_of_classes_one_against_the_rest(reference: str) -> None:
    """Its multi-class focal is a sigmoid for each class: ours on one-hot multi-labels."""
    ids, one_hot = drawn("classes", ignored=False), drawn("one_hot", ignored=False)
    theirs = smp.losses.FocalLoss("multiclass", alpha=0.25, gamma=2.0)
    expected = theirs(ids.logits, ids.targets.labels)
    value = Focal()(ids.logits, one_hot.targets._replace(exclusive=False))
    torch.testing.assert_close(value, expected)


@against(SMP)
def test_lovasz_softmax(reference: str) -> None:
    batch = drawn("classes")
    for per_image in (False, True):
        theirs = smp.losses.LovaszLoss("multiclass", per_image=per_image, ignore_index=IGNORE)
        expected = theirs(batch.logits.float(), batch.targets.labels)
        value = Lovasz(per_image=per_image)(batch.logits.float(), batch.targets)
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)


@against(SMP)
def test_lovasz_hinge(reference: str) -> None:
    batch = drawn("binary")
    for per_image in (False, True):
        theirs = smp.losses.LovaszLoss("binary", per_image=per_image, ignore_index=IGNORE)
        expected = theirs(batch.logits.float(), batch.targets.labels)
        value = Lovasz(per_image=per_image)(batch.logits.float(), batch.targets)
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)


@against(SMP)
def test_soft_cross_entropies(reference: str) -> None:
    """Its binary smoothing moves 1 to ``1 - s``, ours to ``1 - s / 2``: half its factor."""
    batch = drawn("classes", ignored=False)
    expected = smp.losses.SoftCrossEntropyLoss(smooth_factor=0.1)(
        batch.logits, batch.targets.labels
    )
    loss = CrossEntropy(smoothing=0.1)
    torch.testing.assert_close(loss(batch.logits, batch.targets), expected)
    batch = drawn("binary", ignored=False)
    expected = smp.losses.SoftBCEWithLogitsLoss(smooth_factor=0.1)(batch.logits, planes(batch))
    loss = BinaryCrossEntropy(smoothing=0.2)
    torch.testing.assert_close(loss(batch.logits, batch.targets), expected)


@against(SMP)
def test_soft_cross_entropy_with_ignored_pixels(reference: str) -> None:
    """It divides by all pixels, ours by the labelled ones."""
    batch = drawn("classes")
    expected = smp.losses.SoftCrossEntropyLoss(smooth_factor=0.1, ignore_index=IGNORE)(
        batch.logits, batch.targets.labels
    )
    share = batch.labelled.double().mean()
    loss = CrossEntropy(smoothing=0.1)
    torch.testing.assert_close(loss(batch.logits, batch.targets) * share, expected)


# MONAI


@against(MONAI)
@pytest.mark.parametrize(
    ("mode", "background"),
    [("binary", True), ("classes", True), ("classes", False), ("labels", True)],
)
@pytest.mark.parametrize("per_image", [False, True])
def test_monai_dice(reference: str, mode: str, per_image: bool, background: bool) -> None:
    batch = drawn(mode, ignored=False)
    settings: dict[str, Any] = {"include_background": background, "batch": not per_image}
    for squared, ours in ((False, Dice), (True, SquaredDice)):
        theirs = DiceLoss(squared_pred=squared, smooth_nr=1.0, smooth_dr=1.0, **settings)
        loss = ours(per_image=per_image, background=background)
        expected = theirs(probabilities(batch), planes(batch))
        torch.testing.assert_close(loss(batch.logits, batch.targets), expected)
    theirs = TverskyLoss(alpha=0.3, beta=0.7, smooth_nr=1.0, smooth_dr=1.0, **settings)
    loss = Tversky(per_image=per_image, background=background)
    expected = theirs(probabilities(batch), planes(batch))
    torch.testing.assert_close(loss(batch.logits, batch.targets), expected)


@against(MONAI)
def test_monai_dice_with_ignored_pixels(reference: str) -> None:
    batch = drawn("classes")
    theirs = DiceLoss(
        softmax=True, to_onehot_y=True, ignore_index=IGNORE, batch=True, smooth_nr=1, smooth_dr=1
    )
    expected = theirs(batch.logits, batch.targets.labels[:, None])
    torch.testing.assert_close(Dice()(batch.logits, batch.targets), expected)


@against(MONAI)
def test_monai_dice_focal(reference: str) -> None:
    batch = drawn("binary", ignored=False)
    theirs = DiceFocalLoss(
        sigmoid=True, gamma=2.0, alpha=0.25, lambda_focal=0.5, smooth_nr=1, smooth_dr=1, batch=True
    )
    expected = theirs(batch.logits, planes(batch))
    value = Dice()(batch.logits, batch.targets) + 0.5 * Focal()(batch.logits, batch.targets)
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-6, check_dtype=False)


@against(MONAI)
@pytest.mark.parametrize("alpha", [None, 0.25])
def test_monai_softmax_focal(reference: str, alpha: float | None) -> None:
    """It divides by pixels times classes, ours by pixels."""
    batch = drawn("classes", ignored=False)
    theirs = FocalLoss(use_softmax=True, gamma=2.0, alpha=alpha)
    expected = theirs(batch.logits, planes(batch)) * 3
    value = Focal(gamma=2, alpha=alpha)(batch.logits, batch.targets)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6, check_dtype=False)


@against(MONAI)
@pytest.mark.parametrize("mode", ["binary", "classes", "labels"])
@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_monai_hausdorff(reference: str, mode: str, alpha: float) -> None:
    batch = drawn(mode, ignored=False, size=16)
    theirs = HausdorffDTLoss(alpha=alpha, include_background=mode != "classes")
    expected = theirs(probabilities(batch), planes(batch))
    value = Hausdorff(alpha=alpha)(batch.logits, batch.targets)
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-6)


@against(MONAI)
def test_monai_hausdorff_of_absent_classes(reference: str) -> None:
    batch = drawn("binary", ignored=False, size=16)
    labels = batch.targets.labels.clone()
    labels[0] = 0
    truth = labels[:, None].double()
    expected = HausdorffDTLoss(include_background=True)(batch.logits.sigmoid(), truth)
    value = Hausdorff(absent=True)(batch.logits, batch.targets._replace(labels=labels))
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-6)


@against(MONAI)
@pytest.mark.parametrize("mode", ["binary", "classes", "labels"])
def test_monai_boundary(reference: str, mode: str) -> None:
    """It leaves out ``mean phi y``, which no gradient sees."""
    batch = drawn(mode, ignored=False, size=16)
    theirs = BoundaryLoss(include_background=mode != "classes")
    truth = planes(batch)
    expected = theirs(probabilities(batch), truth) - theirs(truth, truth)
    value = Boundary()(batch.logits, batch.targets)
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-6)


@against(MONAI)
@pytest.mark.parametrize("iterations", [0, 3, 6])
def test_monai_cldice(reference: str, iterations: int) -> None:
    """It sums over the classes of an image; ours scores each: equal for one class."""
    batch = drawn("binary", ignored=False, size=16)
    theirs = SoftclDiceLoss(iter_=iterations, smooth=1e-12)
    expected = theirs(probabilities(batch), planes(batch))
    loss = ClDice(iterations=iterations, per_image=True)
    torch.testing.assert_close(loss(batch.logits, batch.targets), expected)


# torchmetrics and SciPy


@against(TORCHMETRICS)
def test_dice_of_a_sure_prediction_is_one_minus_the_metric(reference: str) -> None:
    batch = drawn("classes", ignored=False)
    found = batch.logits.argmax(1)
    sure = F.one_hot(found, 3).movedim(-1, 1) * 200.0
    score = torchmetrics_segmentation.dice_score(
        found, batch.targets.labels, num_classes=3, average="macro", input_format="index"
    )
    loss = Dice(smooth=0, per_image=True)(sure, batch.targets)
    torch.testing.assert_close(1 - loss, score.mean(), rtol=1e-5, atol=1e-5)
    ious = torchmetrics_segmentation.mean_iou(
        found, batch.targets.labels, num_classes=3, input_format="index"
    )
    loss = Jaccard(smooth=0, per_image=True)(sure, batch.targets)
    torch.testing.assert_close(1 - loss, ious.mean(), rtol=1e-5, atol=1e-5)


@against(f"scipy-{version('scipy')}")
def test_distance_maps(reference: str) -> None:
    masks = torch.rand(6, 40, 31, generator=torch.Generator().manual_seed(0)) > 0.97
    masks[4], masks[5] = False, True
    for mask, signed, contour, to in zip(
        masks, signed_distance(masks), contour_distance(masks), distance_to(masks), strict=True
    ):
        if mask.all() or not mask.any():
            assert not signed.any() and not contour.any() and not to.any()
            continue
        inside = torch.from_numpy(scipy.ndimage.distance_transform_edt(mask)).float()
        outside = torch.from_numpy(scipy.ndimage.distance_transform_edt(~mask)).float()
        torch.testing.assert_close(to, outside)
        torch.testing.assert_close(contour, inside + outside)
        torch.testing.assert_close(signed, outside - (inside - 1) * mask)
