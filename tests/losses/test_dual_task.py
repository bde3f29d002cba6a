"""The losses of a network that draws boundaries beside its classes."""

import math

import pytest
import torch

from tests.losses.drawn_batches import IGNORE, MODES, Drawn, drawn, without_labels
from vitrail.errors import ParameterError
from vitrail.losses import SemanticTargets
from vitrail.losses.dual_task import DualTaskLoss, _gumbel, steepness, true_boundary
from vitrail.losses.targets import read_planes

PLAIN = DualTaskLoss(boundary=1.0)


def halves(width: int = 16, at: int = 8, height: int = 12) -> torch.Tensor:
    """(1, height, width) ids: 0 left of column ``at``, 1 from it on."""
    labels = torch.zeros(1, height, width, dtype=torch.int64)
    labels[..., at:] = 1
    return labels


def sure(labels: torch.Tensor, classes: int = 2) -> torch.Tensor:
    one_hot = torch.nn.functional.one_hot(labels, classes).movedim(-1, 1)
    return (one_hot * 2 - 1) * 200.0


def boundary_of(batch: Drawn) -> torch.Tensor:
    """Logits that draw the true boundary with certainty."""
    lines, _ = true_boundary(read_planes(batch.logits, batch.targets))
    return (lines.double() * 2 - 1) * 200


def lines_of(labels: torch.Tensor, widen: int = 0, **more) -> tuple[torch.Tensor, torch.Tensor]:
    targets = SemanticTargets(labels, IGNORE, **more)
    lines, known = true_boundary(read_planes(sure(labels.clamp(max=1)), targets), widen=widen)
    return lines[0, 0], known[0, 0]


def test_a_boundary_is_the_pixels_on_both_sides() -> None:
    lines, known = lines_of(halves())
    assert lines[3].nonzero().ravel().tolist() == [7, 8]
    assert known.all()
    assert lines_of(halves(), widen=2)[0][3].nonzero().ravel().tolist() == [5, 6, 7, 8, 9, 10]


def test_beside_an_unlabelled_pixel_nothing_is_known() -> None:
    labels = halves()
    labels[..., 3] = IGNORE
    lines, known = lines_of(labels)
    assert (~known[5]).nonzero().ravel().tolist() == [2, 3, 4]
    assert lines[5].nonzero().ravel().tolist() == [7, 8]
    labels[..., 7] = IGNORE  # the object's border is covered: no line, and none denied
    lines, known = lines_of(labels)
    assert not lines.any() and not known[:, 6:9].any()


def test_where_classes_were_not_annotated_background_denies_no_boundary() -> None:
    unlabelled = torch.tensor([[False, False, True]])
    labels = halves()
    targets = SemanticTargets(labels, IGNORE, 0, unlabelled)
    lines, known = true_boundary(read_planes(sure(labels, 3), targets))
    assert lines[0, 0, 5].nonzero().ravel().tolist() == [7, 8]
    assert known[0, 0, 5].nonzero().ravel().tolist() == list(range(7, 16))
    invented = sure(labels, 3)
    invented[:, 2, 2:5, :2] = 500.0  # an object of the class nobody annotated
    loss = DualTaskLoss()
    assert loss(invented, torch.zeros(1, 1, 12, 16), targets)["dual_gradient"].item() < 1e-5
    whole = targets._replace(unlabelled=None)
    assert loss(invented, torch.zeros(1, 1, 12, 16), whole)["dual_gradient"].item() > 0.05


def test_steepness_of_a_straight_boundary() -> None:
    """0.625: the two weights of (1, 4, 6, 4, 1)/16 that lie between the neighbours."""
    labels = halves()
    planes = read_planes(sure(labels, 3), SemanticTargets(labels, IGNORE))
    row = steepness(planes, planes.truth)[0, 0, 6]
    assert row[5:11].tolist() == pytest.approx([n / 16 for n in (1, 5, 10, 10, 5, 1)], abs=1e-5)
    assert row[:5].abs().max() < 1e-6 and row[11:].abs().max() < 1e-6


def test_steepness_of_two_classes_is_the_binary_case() -> None:
    labels = torch.randint(0, 2, (2, 9, 11), generator=torch.Generator().manual_seed(0))
    two = read_planes(sure(labels), SemanticTargets(labels, IGNORE))
    one = read_planes(sure(labels)[:, 1:], SemanticTargets(labels, IGNORE))
    torch.testing.assert_close(steepness(two, two.truth), steepness(one, one.truth))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("noise", [False, True])
def test_a_perfect_and_sure_prediction_costs_nothing(mode: str, noise: bool) -> None:
    batch = drawn(mode, size=16)
    terms = DualTaskLoss()(batch.perfect, boundary_of(batch), batch.targets, noise=noise)
    assert list(terms) == ["boundary", "dual_gradient", "dual_agreement"]
    assert all(term.item() == pytest.approx(0, abs=1e-6) for term in terms.values())
    wrong = DualTaskLoss()(-batch.perfect, -boundary_of(batch), batch.targets, noise=noise)
    assert wrong["boundary"] > 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("value", [1.0, 1e4, float("inf"), float("nan")])
def test_pixels_without_a_label_change_nothing(mode: str, value: float) -> None:
    batch = drawn(mode, size=16)
    free = ~batch.labelled.all(1, keepdim=True)
    boundary = torch.randn(2, 1, 16, 16, dtype=torch.float64) * 3
    results = []
    for scale in (0.0, value):
        logits = batch.logits.where(batch.labelled, torch.full_like(batch.logits, scale))
        logits = logits.clone().requires_grad_()
        edge = boundary.where(~free, torch.full_like(boundary, scale)).requires_grad_()
        torch.manual_seed(3)
        terms = DualTaskLoss()(logits, edge, batch.targets)
        total = torch.stack(list(terms.values())).sum()
        results.append((total.detach(), *torch.autograd.grad(total, (logits, edge))))
    for one, two in zip(*results, strict=True):
        assert torch.equal(one, two)
    assert not results[0][2][free].any()


@pytest.mark.parametrize("mode", MODES)
def test_nothing_labelled_is_zero_with_a_graph(mode: str) -> None:
    batch = drawn(mode)
    logits = batch.logits.clone().requires_grad_()
    edge = torch.randn(2, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    terms = DualTaskLoss()(logits, edge, without_labels(batch))
    total = torch.stack(list(terms.values())).sum()
    assert total.item() == 0
    assert not any(grad.any() for grad in torch.autograd.grad(total, (logits, edge)))


@pytest.mark.parametrize("mode", MODES)
def test_gradients(mode: str) -> None:
    batch = drawn(mode, size=7)
    edge = torch.randn(2, 1, 7, 7, dtype=torch.float64, requires_grad=True)
    logits = batch.logits.clone().requires_grad_()

    def total(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.stack(list(PLAIN(x, y, batch.targets, noise=False).values())).sum()

    assert torch.autograd.gradcheck(total, (logits, edge), fast_mode=True)


def test_classes_count_where_a_boundary_is_found() -> None:
    labels = halves()
    logits = torch.zeros(1, 2, 12, 16)  # log 2 everywhere
    logits[..., :4] = sure(1 - labels)[..., :4] / 200  # wrong by log(1 + e^2)
    edge = torch.full((1, 1, 12, 16), -5.0)
    targets = SemanticTargets(labels, IGNORE)

    def term(**fields) -> float:
        return DualTaskLoss(**fields)(logits, edge, targets)["dual_agreement"].item()

    assert term() == 0
    edge[..., 8:] = math.log(0.79 / 0.21)
    assert term() == 0
    edge[..., 8:] = math.log(0.81 / 0.19)
    assert term() == pytest.approx(math.log(2))
    assert term(confident=0.85) == 0
    assert term(agreement=3.0) == pytest.approx(3 * math.log(2))
    edge[..., :4] = 5.0
    assert term() == pytest.approx((8 * math.log(2) + 4 * math.log(1 + math.e**2)) / 12)


def test_the_further_off_the_boundary_the_steeper_the_price() -> None:
    targets = SemanticTargets(halves(32, 12), IGNORE)
    edge = torch.zeros(1, 1, 12, 32)

    def price(labels: torch.Tensor) -> float:
        return DualTaskLoss()(sure(labels), edge, targets)["dual_gradient"].item()

    prices = [price(halves(32, 12 + off)) for off in (0, 1, 3)]
    assert prices == sorted(prices) and prices[0] < 1e-5 and prices[2] > prices[1] + 0.05
    invented = halves(32, 12)
    invented[:, 2:5, 20:24] = 0  # a boundary where there is none
    assert price(invented) > 0.05


def test_noise_is_gumbels_and_comes_from_torchs_generator() -> None:
    torch.manual_seed(0)
    noise = _gumbel(torch.empty(200_000, dtype=torch.float64))
    assert noise.mean().item() == pytest.approx(0.5772, abs=0.01)
    assert noise.var().item() == pytest.approx(math.pi**2 / 6, abs=0.03)
    batch, values = drawn("classes"), []
    edge = torch.zeros(2, 1, 8, 8, dtype=torch.float64)
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        values.append(DualTaskLoss()(batch.logits, edge, batch.targets)["dual_gradient"].item())
    assert values[0] == values[1] != values[2]
    state = torch.get_rng_state()
    DualTaskLoss()(batch.logits, edge, batch.targets, noise=False)
    assert torch.equal(state, torch.get_rng_state())


def test_bfloat16_is_computed_in_float32() -> None:
    batch = drawn("classes", size=16)
    edge = torch.randn(2, 1, 16, 16).bfloat16()
    logits = batch.logits.bfloat16()
    low = DualTaskLoss()(logits, edge, batch.targets, noise=False)
    high = DualTaskLoss()(logits.float(), edge.float(), batch.targets, noise=False)
    for name, term in low.items():
        assert term.dtype == torch.float32
        assert torch.equal(term, high[name])


def test_a_boundary_of_another_size_is_refused() -> None:
    batch = drawn("classes")
    with pytest.raises(ParameterError, match="do not fit logits"):
        DualTaskLoss()(batch.logits, torch.zeros(2, 1, 4, 4), batch.targets)
