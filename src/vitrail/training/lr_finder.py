"""A learning rate by a range test: let it rise, and see where the loss falls fastest.

Smith, "Cyclical Learning Rates for Training Neural Networks", arXiv:1506.01186, section 3.3, with
an exponentially rising rate as in fastai (Howard and Gugger, arXiv:2002.04688).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from vitrail.errors import ConfigError, ParameterError
from vitrail.result import canvas

B = TypeVar("B")

_DIVERGED = 4.0
"""Times the best smoothed loss at which the test ends, as fastai's."""
_MEMORY = 0.9
"""Share of the past in the running mean that decides about the end."""
_LEAST = 10
"""Steps below which a curve says nothing."""
_SIZE = (480, 960)
_FRAME = (40, 70, 60, 30)
"""Free pixels around the curve: top, left, bottom, right."""


@dataclass(frozen=True, slots=True)
class RateCurve:
    """The loss at rising learning rates."""

    rates: np.ndarray
    """``(N,)`` of each step, rising."""
    raw: np.ndarray
    """``(N,)`` loss of each step, before it was taken."""
    losses: np.ndarray
    """``(N,)`` the same, smoothed over neighbouring steps, without a lag."""
    diverged: bool
    """The test ended since the loss rose; False: the last rate was reached."""

    @property
    def steepest(self) -> float:
        """The rate at which the loss falls fastest, by the logarithm of the rate."""
        return float(self.rates[self._steepest()])

    @property
    def minimum_tenth(self) -> float:
        """A tenth of the rate with the least loss: at the minimum it is about to diverge."""
        return float(self.rates[int(self.losses.argmin())]) / 10

    @property
    def suggestion(self) -> float:
        """The smaller of the two: the cautious one.

        Raises
        ------
        ConfigError
            the loss falls nowhere: there is no good rate in the range.
        """
        slope = self._slope()[self._steepest()]
        if not slope < 0:
            raise ConfigError(
                f"the loss falls at no rate between {self.rates[0]:.1e} and {self.rates[-1]:.1e}; "
                "try lower rates, more steps, or see whether the network can learn at all"
            )
        return min(self.steepest, self.minimum_tenth)

    def plot(self) -> np.ndarray:
        """The smoothed loss over the rate (logarithmic), suggestion marked: (480, 960, 3) uint8."""
        height, width = _SIZE
        top, left, bottom, right = _FRAME
        picture = np.full((height, width, 3), 250, np.uint8)
        ink, faint = np.array([25, 25, 30], np.uint8), np.array([120, 120, 125], np.uint8)
        x = np.log10(self.rates)
        # What comes after the divergence would press the rest of the curve flat.
        low = float(self.losses.min())
        high = max(float(self.losses[: int(self.losses.argmin()) + 1].max()), low + 1e-12)
        high += 0.1 * (high - low)
        across = (x - x[0]) / max(float(x[-1] - x[0]), 1e-12)
        columns = left + across * (width - left - right)
        rows = top + (high - self.losses.clip(max=high)) / (high - low) * (height - top - bottom)
        canvas.write_text(picture, 20, 10, "loss over learning rate", 20, ink)
        for power in range(math.ceil(x[0]), math.floor(x[-1]) + 1):
            place = round(float(np.interp(power, x, columns)))
            picture[top : height - bottom, place] = 225
            canvas.write_text(picture, place - 16, height - bottom + 8, f"1e{power}", 16, faint)
        for value in (high, (high + low) / 2, low):
            place = round(top + (high - value) / (high - low) * (height - top - bottom))
            picture[place, left : width - right] = 225
            canvas.write_text(picture, 8, max(0, place - 10), f"{value:.3g}", 16, faint)
        points = np.stack([columns, rows], 1).round().astype(np.int32)
        cv2.polylines(picture, [points[:, None]], False, (31, 119, 180), 2, cv2.LINE_AA)
        if self._slope()[self._steepest()] < 0:
            place = round(float(np.interp(math.log10(self.suggestion), x, columns)))
            picture[top : height - bottom, place : place + 2] = (214, 39, 40)
            words = f"{self.suggestion:.1e}"
            canvas.write_text(picture, min(place + 8, width - 90), top + 4, words, 18, ink)
        return picture

    def _slope(self) -> np.ndarray:
        return np.gradient(self.losses, np.log(self.rates))

    def _steepest(self) -> int:
        """Index of the greatest fall, up to the minimum."""
        until = max(2, int(self.losses.argmin()) + 1)
        return int(self._slope()[:until].argmin())


def find_learning_rate(
    model: nn.Module,
    batches: Iterable[B],
    loss: Callable[[nn.Module, B], Tensor],
    optimizer: Callable[[nn.Module], torch.optim.Optimizer],
    *,
    lowest: float = 1e-7,
    highest: float = 1.0,
    steps: int = 100,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> RateCurve:
    """Train a copy of a network at an exponentially rising rate until its loss diverges.

    Parameters
    ----------
    model:
        Stays as it was.
    batches:
        Taken again from the start when there are fewer than ``steps``.
    loss:
        ``(network, batch)`` to the scalar training loss.
    optimizer:
        Makes an optimizer of the copy's parameters. The rate of its groups rises in proportion:
        found is that of the group with the greatest.
    lowest, highest:
        First and last rate.
    on_step:
        Told (done, total).

    Raises
    ------
    ParameterError
        the range is empty, or there are fewer than 10 steps.
    ConfigError
        there are no batches, or the loss is not finite in the first steps.
    """
    if not 0 < lowest < highest or not math.isfinite(highest):
        raise ParameterError(f"rates from {lowest} to {highest}: expected 0 < lowest < highest")
    if steps < _LEAST:
        raise ParameterError(f"steps={steps}: expected at least {_LEAST}")
    network = copy.deepcopy(model).train()
    descent = optimizer(network)
    top = max(group["lr"] for group in descent.param_groups)
    shares = [group["lr"] / top for group in descent.param_groups]
    rates = np.geomspace(lowest, highest, steps)
    raw: list[float] = []
    running, best, diverged = 0.0, math.inf, False
    for step, (rate, batch) in enumerate(zip(rates, _again(batches), strict=False), start=1):
        for group, share in zip(descent.param_groups, shares, strict=True):
            group["lr"] = float(rate) * share
        value = loss(network, batch)
        number = value.item()
        running = _MEMORY * running + (1 - _MEMORY) * number
        smoothed = running / (1 - _MEMORY**step)
        if not math.isfinite(number) or smoothed > _DIVERGED * best:
            diverged = True
            break
        raw.append(number)
        best = min(best, smoothed)
        descent.zero_grad()
        value.backward()
        descent.step()
        on_step(step, steps)
    if len(raw) < _LEAST:
        why = "there are no batches" if not raw and not diverged else "the loss diverged at once"
        raise ConfigError(f"no learning rate found from {lowest:g} on: {why}; begin lower")
    values = np.array(raw)
    return RateCurve(rates[: len(raw)], values, _smoothed(values), diverged)


def _again(batches: Iterable[B]) -> Iterator[B]:
    """The batches, over and over; none if there are none."""
    while True:
        empty = True
        for batch in batches:
            empty = False
            yield batch
        if empty:
            return


def _smoothed(values: np.ndarray) -> np.ndarray:
    """A mean by a triangle over a tenth of the curve to each side, ends mirrored."""
    reach = max(1, len(values) // 10)
    window = np.concatenate([np.arange(1, reach + 2), np.arange(reach, 0, -1)]).astype(float)
    padded = np.pad(values, reach, mode="reflect", reflect_type="odd")
    return np.convolve(padded, window / window.sum(), mode="valid")
