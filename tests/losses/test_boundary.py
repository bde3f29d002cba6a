"""Losses on contours, distances and centre lines in closed form."""

import math

import pytest
import torch

from tests.losses.drawn_batches import IGNORE, drawn
from vitrail.losses import SemanticTargets
from vitrail.losses.boundary import Boundary, ClDice, Hausdorff, ShapeAware, soft_skeleton
from vitrail.losses.distance import contour_distance, signed_distance


def scene(*columns: int, width: int = 9) -> torch.Tensor:
    """A binary ``(1, 5, width)`` image with the given columns filled."""
    labels = torch.zeros(1, 5, width, dtype=torch.int64)
    labels[:, :, list(columns)] = 1
    return labels


def sure(labels: torch.Tensor) -> torch.Tensor:
    return (labels[:, None] * 2 - 1) * 200.0


def test_signed_distances_of_a_bar() -> None:
    bar = scene(3, 4, 5)
    assert signed_distance(bar == 1)[0, 2].tolist() == [3, 2, 1, 0, -1, 0, 1, 2, 3]
    assert contour_distance(bar == 1)[0, 2].tolist() == [3, 2, 1, 1, 2, 1, 1, 2, 3]


def test_boundary_grows_with_the_distance_of_a_mistake() -> None:
    truth = SemanticTargets(scene(3, 4, 5), IGNORE)
    near, far = (Boundary()(sure(scene(3, 4, 5, extra)), truth) for extra in (6, 8))
    assert near.item() == pytest.approx(1 / 9)  # one column of nine, 1 px away
    assert far.item() == pytest.approx(3 / 9)


def test_boundary_has_the_gradient_of_the_distance() -> None:
    truth = SemanticTargets(scene(3, 4, 5), IGNORE)
    logits = torch.zeros(1, 1, 5, 9, dtype=torch.float64, requires_grad=True)
    Boundary()(logits, truth).backward()
    assert logits.grad is not None
    expected = signed_distance(truth.labels == 1)[:, None].double() * 0.25 / 45
    torch.testing.assert_close(logits.grad, expected)


def test_hausdorff_of_two_bars() -> None:
    # Predicted column 6, true column 2: each is wrong, 1 px from its own contour (its transform)
    # and 4 px from the other; error 1 on two columns of nine.
    truth = SemanticTargets(scene(2), IGNORE)
    for alpha, expected in ((1, 2 * (1 + 4) / 9), (2, 2 * (1 + 16) / 9)):
        loss = Hausdorff(alpha=alpha)(sure(scene(6)), truth)
        assert loss.item() == pytest.approx(expected)


def test_false_objects_in_empty_images() -> None:
    truth = SemanticTargets(scene(), IGNORE)
    assert Hausdorff()(sure(scene(4)), truth).item() == 0
    assert Hausdorff(absent=True)(sure(scene(4)), truth).item() == pytest.approx(1 / 9)
    assert Boundary()(sure(scene(4)), truth).item() == 0
    assert ClDice()(sure(scene(4)), truth).item() == 0


def test_shape_aware_weighs_the_predicted_contour_by_how_far_it_is() -> None:
    truth = SemanticTargets(scene(0, 1, 2), IGNORE)
    logits = (scene(0, 1, 2, 3, 4)[:, None] * 2.0 - 1).double()
    # True contour: columns 2, 3. Predicted contour: columns 4, 5, at 1 and 2 px from it.
    right, wrong = math.log1p(math.exp(-1)), math.log1p(math.exp(1))
    for scale in (0, 1, 2.5):
        total = 7 * right + 2 * wrong + scale * (1 * wrong + 2 * right)
        loss = ShapeAware(scale=scale)(logits, truth)
        assert loss.item() == pytest.approx(total / 9)


def test_shape_aware_of_two_classes_is_the_binary_case() -> None:
    batch = drawn("binary", size=12)
    two = torch.cat([torch.zeros_like(batch.logits), batch.logits], dim=1)
    loss = ShapeAware()
    torch.testing.assert_close(loss(two, batch.targets), loss(batch.logits, batch.targets))


def test_an_edge_of_the_labelled_area_is_no_contour() -> None:
    labels = scene(0, 1, 2)
    labels[:, :, 3] = IGNORE  # object and background never touch
    logits = (scene(0, 1, 2, 3, 4)[:, None] * 2.0 - 1).double()
    truth = SemanticTargets(labels, IGNORE)
    torch.testing.assert_close(ShapeAware()(logits, truth), ShapeAware(scale=0)(logits, truth))


def test_the_skeleton_of_a_bar_is_its_centre_line() -> None:
    bar = torch.zeros(1, 1, 9, 15)
    bar[:, :, 2:7, 2:13] = 1
    skeleton = soft_skeleton(bar, 3)
    assert skeleton[0, 0, 4, 4:11].tolist() == [1] * 7
    assert skeleton[0, 0, [2, 3, 5, 6], 5:10].sum() == 0
    assert torch.equal(soft_skeleton(bar, 9), skeleton)  # nothing is left to erode


def test_cldice_sees_a_gap_that_area_hardly_does() -> None:
    truth = torch.zeros(1, 9, 30, dtype=torch.int64)
    truth[:, 3:6] = 1
    broken, thin = truth.clone(), truth.clone()
    broken[:, :, 14:17] = 0  # 9 pixels of 90 missing: cut in two
    thin[:, 3] = 0  # 30 pixels missing: connected still
    targets = SemanticTargets(truth, IGNORE)
    loss = ClDice(iterations=3)
    assert loss(sure(broken), targets) > 0.03
    assert loss(sure(thin), targets) < 0.01


@pytest.mark.parametrize("loss", [Boundary, Hausdorff, ClDice])
def test_the_background_is_left_out_unless_asked_for(loss: type) -> None:
    batch = drawn("classes")
    without = loss()(batch.logits, batch.targets)
    torch.testing.assert_close(
        without, loss(background=True, weights=(0, 1, 1))(batch.logits, batch.targets)
    )
    unnamed = batch.targets._replace(background=None)
    torch.testing.assert_close(
        loss()(batch.logits, unnamed), loss(background=True)(batch.logits, batch.targets)
    )
