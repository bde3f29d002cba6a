"""Two processes with two parts of a batch compute the loss and gradient of the whole batch."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.losses.drawn_batches import IGNORE, MODES, Drawn, drawn
from tests.several_processes import in_processes
from vitrail.losses import LOSSES, build_loss
from vitrail.losses.processes import across_processes, over_processes

OWN_SHARE = ("ohem", "lovasz")
"""Sort the pixels of the batch: each process has its own share's value."""
TEXTS = (
    *(name if name != "cldice" else "cldice(iterations=2)" for name in LOSSES),
    "ce(smoothing=0.1)",
    "dice(per_image=true)",
    "lovasz(per_image=true)",
    "tversky(per_image=true, absent=true)",
    "hausdorff(per_image=false)",
    "ce + 0.5*dice + 0.1*focal_tversky",
)
WEIGHTED = ("ce(weights=[1, 4, 2])", "ce(weights=[1, 4, 2], smoothing=0.1)",
            "dice(weights=[1, 4, 2])", "dice(weights=[1, 4, 2], per_image=true)",
            "bce(weights=[1, 4, 2])")  # fmt: skip
PARTS = (slice(0, 3), slice(3, 4))
"""Of a batch of four images: unequal ones."""


def cases() -> Iterator[tuple[str, str, Drawn]]:
    for mode in MODES:
        batch = drawn(mode, images=4)
        labels = batch.targets.labels
        if mode == "labels":
            labels[3] = IGNORE  # nothing to learn in the second process
        elif mode == "classes":
            labels[3][labels[3] == 2] = 0  # a class that it lacks
        for text in TEXTS + (() if mode == "binary" else WEIGHTED):
            yield mode, text, batch


def computed(text: str, batch: Drawn, part: slice) -> tuple[torch.Tensor, torch.Tensor]:
    """Value and gradient on some of the images."""
    logits = batch.logits[part].clone().requires_grad_()
    targets = batch.targets._replace(labels=batch.targets.labels[part])
    value = torch.stack(list(build_loss(text)(logits, targets).values())).sum()
    (gradient,) = torch.autograd.grad(value, logits)
    return value.detach(), gradient


def work(rank: int) -> dict[tuple[str, str], tuple]:
    found = {}
    for mode, text, batch in cases():
        with across_processes():
            together = computed(text, batch, PARTS[rank])
        found[mode, text] = *together, *computed(text, batch, PARTS[rank])
    return found


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    return in_processes(work, tmp_path_factory.mktemp("losses"))


def test_every_loss_is_that_of_the_whole_batch(two: list[dict]) -> None:
    compared = 0
    for mode, text, batch in cases():
        if text in OWN_SHARE:
            continue
        value, gradient = computed(text, batch, slice(None))
        for part, found in zip(PARTS, two, strict=True):
            what = {"rtol": 1e-12, "atol": 1e-12, "msg": f"{text}, {mode}"}
            torch.testing.assert_close(found[mode, text][0], value, **what)
            # DistributedDataParallel divides by the number of processes.
            torch.testing.assert_close(found[mode, text][1] / 2, gradient[part], **what)
        compared += 1
    assert compared > 100


def test_losses_that_sort_take_their_own_share(two: list[dict]) -> None:
    for found in two:
        for mode in MODES:
            for text in OWN_SHARE:
                value, gradient, alone, alone_gradient = found[mode, text]
                assert torch.equal(value, alone)
                assert torch.equal(gradient, alone_gradient)


def test_without_the_context_each_counts_for_itself(two: list[dict]) -> None:
    for mode, text, batch in cases():
        for part, found in zip(PARTS, two, strict=True):
            value, gradient = computed(text, batch, part)
            torch.testing.assert_close(found[mode, text][2], value, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(found[mode, text][3], gradient, rtol=1e-12, atol=1e-12)


def test_one_process_sends_nothing(tmp_path: Path) -> None:
    total = torch.ones(3)
    with across_processes():
        assert over_processes(total) is total
