"""The mean of several trainings of one network.

Networks that started from the same weights often lie in one valley: the mean of their weights is
then as fast as each of them, and generalises better. Wortsman et al., "Model soups", 2022,
arXiv:2203.05482.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from vitrail.errors import ParameterError, WeightsError
from vitrail.models.registry import build
from vitrail.weights.card import Card
from vitrail.weights.files import check_state, load_state, read_tensors, write_checkpoint
from vitrail.weights.header import read_card


def average_checkpoints(
    paths: Sequence[Path], output: Path, *, shares: Sequence[float] | None = None
) -> Card:
    """Write the weighted mean of checkpoints of one architecture and its classes.

    Parameters
    ----------
    paths:
        Two or more checkpoints; the first one's card is kept, without its scores.
    output:
        The checkpoint to write, with matrices in float16 as a training leaves them.
    shares:
        Weight of each, in any unit; equal by default.

    Raises
    ------
    ParameterError
        fewer than two checkpoints, or shares that are not as many, negative or all zero.
    WeightsError
        a checkpoint is damaged, or is of another network or other classes than the first.
    """
    shares = [1.0] * len(paths) if shares is None else list(shares)
    if len(paths) < 2:
        raise ParameterError(f"an average takes at least two checkpoints, got {len(paths)}")
    if len(shares) != len(paths) or min(shares) < 0 or sum(shares) <= 0:
        raise ParameterError(
            f"shares={shares}: expected {len(paths)} numbers >= 0, one for each checkpoint, "
            "not all of them 0"
        )
    card = read_card(paths[0])
    model = build(card.architecture, card.arguments)
    mean: dict[str, Tensor] = {}
    for path, share in zip(paths, shares, strict=True):
        other = read_card(path)
        for what in ("architecture", "arguments", "classes"):
            if getattr(other, what) != getattr(card, what):
                raise WeightsError(
                    f"{path}: its {what} is {getattr(other, what)}, that of {paths[0]} is "
                    f"{getattr(card, what)}; only trainings of one network can be averaged"
                )
        tensors = read_tensors(path)
        check_state(model, tensors, path)
        for name, value in tensors.items():
            part = value.float() * (share / sum(shares))
            mean[name] = mean[name] + part if name in mean else part
    load_state(model, mean, output)
    sources = " ".join(path.name for path in paths)
    card = card.model_copy(
        update={
            "scores": (),
            "training_command": f"vitrail models average {sources} "
            f"--shares {','.join(f'{share:g}' for share in shares)} --out {output.name}",
        }
    )
    write_checkpoint(output, model, card, dtype=torch.float16)
    return card
