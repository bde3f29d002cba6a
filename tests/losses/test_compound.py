"""Weighted sums from text: what is built, what is refused, and how it says so."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.losses.drawn_batches import MODES, drawn
from vitrail.errors import ConfigError, UnknownNameError, VitrailError
from vitrail.losses import LOSSES, SemanticTargets, build_loss
from vitrail.losses.boundary import Boundary
from vitrail.losses.distribution import CrossEntropy, Focal
from vitrail.losses.region import Dice, Tversky


def test_terms_weights_and_parameters() -> None:
    loss = build_loss(" focal( gamma = 2,alpha=none )+0.5 * tversky(alpha=.3, beta=7e-1) + ce()")
    assert [(term.name, term.weight, term.loss) for term in loss.terms] == [
        ("focal", 1, Focal(gamma=2, alpha=None)),
        ("tversky", 0.5, Tversky(alpha=0.3, beta=0.7)),
        ("ce", 1, CrossEntropy()),
    ]


def test_lists_words_and_repeated_names() -> None:
    loss = build_loss("dice(weights=[0, 1, 2.5], per_image=true) + 2*dice(background=False)")
    assert [term.name for term in loss.terms] == ["dice", "dice#2"]
    assert loss.terms[0].loss == Dice(weights=(0, 1, 2.5), per_image=True)
    assert loss.terms[1].loss == Dice(background=False)


def test_the_terms_are_the_weighted_losses() -> None:
    batch = drawn("classes")
    terms = build_loss("ce + 0.5*dice + 1e-2*boundary")(batch.logits, batch.targets)
    assert list(terms) == ["ce", "dice", "boundary"]
    for name, loss, weight in (
        ("ce", CrossEntropy(), 1),
        ("dice", Dice(), 0.5),
        ("boundary", Boundary(), 0.01),
    ):
        expected = weight * loss(batch.logits, batch.targets)
        torch.testing.assert_close(terms[name], expected)


@pytest.mark.parametrize("mode", MODES)
def test_a_sum_of_all_losses_has_the_sum_of_their_gradients(mode: str) -> None:
    """Terms share softmax and the like: none may leave the others without its gradient."""
    batch = drawn(mode)
    for names in (list(LOSSES), list(LOSSES)[::-1]):
        logits = batch.logits.clone().requires_grad_()
        terms = build_loss(" + ".join(names))(logits, batch.targets)
        torch.stack(list(terms.values())).sum().backward()
        alone = batch.logits.clone().requires_grad_()
        values = [entry.loss()(alone, batch.targets) for entry in LOSSES.values()]
        torch.stack(values).sum().backward()
        assert logits.grad is not None and alone.grad is not None
        torch.testing.assert_close(logits.grad, alone.grad)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"column 1: expected the name of a loss, got the end"),
        ("ce +", r"column 5: expected the name of a loss, got the end"),
        ("ce dice", r"column 4: expected '\+' or the end, got 'dice'"),
        ("ce - dice", r"column 4: expected '\+' or the end, got '-'"),
        ("0.5 dice", r"column 5: expected '\*', got 'dice'"),
        ("dice*0.5", r"column 5: expected '\+' or the end, got '\*'"),
        ("-1*dice", r"column 1: the weight -1 is not above 0"),
        ("ce + 0*dice", r"column 6: the weight 0 is not above 0"),
        ("1e999*ce", r"column 1: 1e999 is too large"),
        ("focal(2)", r"column 7: expected a parameter of focal by its name.*got '2'"),
        ("focal(gama=2)", r"column 7: focal has no parameter 'gama'; did you mean 'gamma'\?"),
        ("focal(gamma=2", r"column 14: expected ',' or '\)', got the end"),
        ("focal(gamma 2)", r"column 13: expected '=', got '2'"),
        ("focal(gamma=2, gamma=3)", r"column 16: gamma is given twice"),
        ("focal(gamma=two)", r"column 13: expected a number, got 'two'"),
        ("ce + focal(alpha=2)", r"column 12: focal: alpha=2: .*less than or equal to 1"),
        ("focal(gamma=-1)", r"column 7: focal: gamma=-1: .*greater than or equal to 0"),
        ("focal(gamma=true)", r"column 7: focal: gamma=True: .*number"),
        ("dice(per_image=1)", r"column 6: dice: per_image=1: .*boolean"),
        ("cldice(iterations=2.5)", r"column 8: cldice: iterations=2.5: .*integer"),
        ("ce(weights=[1, -1])", r"column 4: ce: weights=\[1, -1\]: .*greater than or equal to 0"),
        ("ce(weights=[0, 0])", r"column 4: ce: weights=\[0, 0\]: .*at least one weight"),
        ("ce(weights=[1])", r"column 4: ce: weights=\[1\]: .*at least 2"),
        ("ce(weights=[[1]])", r"column 13: expected a number, got '\['"),
        ("ce(__import__('os'))", r"column 4: ce has no parameter '__import__'"),
        ("ce(weights='os')", r"column 12: cannot read"),
        ("focal(gamma=--1)", r"column 14: expected a number, got '-'"),
        ("ce + 0.5.2*dice", r"column 6: cannot read"),
        ("ce; dice", r"column 3: cannot read '; dice'"),
        ("ce" + " " * 3000, r"3002 characters; at most 2000"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_loss(text)


def test_unknown_losses_name_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"no loss is called 'dise'; did you mean 'dice'"):
        build_loss("ce + dise")
    with pytest.raises(UnknownNameError, match="did you mean 'focal_tversky'"):
        build_loss("focal-tversky")


def test_only_text_is_a_loss() -> None:
    with pytest.raises(ConfigError, match="expected a text"):
        build_loss(["ce", "dice"])  # type: ignore[arg-type]


def test_parameters_that_do_not_fit_the_network_are_refused_before_training() -> None:
    loss = build_loss("ce + dice(weights=[1, 2])")
    loss.check(2, exclusive=True)
    with pytest.raises(ConfigError, match=r"dice: weights=\[1.0, 2.0\]: 2 weights for 4 classes"):
        loss.check(4, exclusive=True)
    balanced = build_loss("balanced_ce(beta=0.9)")
    balanced.check(3, exclusive=False)
    with pytest.raises(ConfigError, match=r"balanced_ce\(beta=0.9\): a fixed beta has two sides"):
        balanced.check(3, exclusive=True)


@given(st.text(alphabet="ce dicfoal0.5*+()=[],_-\n\0é'", max_size=30))
def test_any_text_is_built_or_refused(text: str) -> None:
    try:
        loss = build_loss(text)
    except VitrailError:
        return
    assert loss.terms and all(term.weight > 0 for term in loss.terms)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_and_parameter_is_described(name: str) -> None:
    entry = LOSSES[name]
    assert entry.name == name and entry.summary
    assert entry.loss.__doc__ and entry.loss.__doc__ != entry.loss.__base__.__doc__
    assert all(field.description for field in entry.loss.model_fields.values())
    assert build_loss(name).terms[0].loss == entry.loss()


def test_targets_keep_their_default_meaning() -> None:
    targets = SemanticTargets(torch.zeros(1, 2, 2, dtype=torch.int64), 255)
    assert targets.background is None and not targets.exclusive
