"""An image seen once or, mirrored and at other sizes, several times (test-time augmentation)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from vitrail.errors import ParameterError
from vitrail.image import Image
from vitrail.models.base import Frame, RawOutput
from vitrail.predict.inputs import Inputs
from vitrail.predict.network_params import NetworkParams
from vitrail.weights.card import Preprocessing

_LEAST = 1e-7
"""Below this, a mean probability's logarithm says nothing more."""


class Pass(NamedTuple):
    """What a network answered to some of the images."""

    members: list[int]
    """Which ones, as positions."""
    raw: RawOutput
    frames: list[Frame]
    """Where each image lies in ``raw``."""


class Views:
    """The ways in which a network sees each image; their probabilities are averaged.

    Parameters
    ----------
    preprocessing:
        The card's.
    stride:
        What the network wants its input padded to, px.
    params:
        ``image_size``, ``scales`` and ``flip``.

    Raises
    ------
    ParameterError
        a scale leads to a size that a network cannot take.
    """

    def __init__(self, preprocessing: Preprocessing, stride: int, params: NetworkParams) -> None:
        self.first = Inputs(preprocessing, stride, params.image_size)
        """The view that comes first, at the size asked for."""
        views: list[Inputs] = []
        for scale in params.scales:
            side = params.image_size
            if scale != 1:
                side = _side(self.first.preprocessing, stride, scale)
            views.append(Inputs(preprocessing, stride, side))
            if params.flip:
                views.append(Inputs(preprocessing, stride, side, mirrored=True))
        self._views = tuple(views)
        self._sharpest = max(views, key=lambda view: view.preprocessing.image_size)

    def passes(
        self, images: Sequence[Image], forward: Callable[[Tensor], RawOutput]
    ) -> Iterator[Pass]:
        """What ``forward`` answers to the images; each is in one pass.

        With several views there is one pass for each image: the logarithm of its classes' mean
        probability, at the size of the largest view and without padding, as ``(1, classes, h,
        w)``; and the boundary's mean probability as a logit.

        Raises
        ------
        ImageError
            an image has no colour bands that the network could take.
        """
        if len(self._views) == 1:
            for members, batch, frames in self._views[0].batches(images):
                yield Pass(members, forward(batch), frames)
            return
        means = [_Mean(self._sharpest.frame(image), len(self._views)) for image in images]
        for view in self._views:
            for members, batch, frames in view.batches(images):
                raw = forward(batch)
                for row, (index, frame) in enumerate(zip(members, frames, strict=True)):
                    means[index].add(raw.of(row), frame, mirrored=view.mirrored)
        for index, mean in enumerate(means):
            yield Pass([index], mean.raw(), [mean.frame])


class _Mean:
    """The mean of one image's probabilities over its views."""

    def __init__(self, frame: Frame, count: int) -> None:
        self.frame = Frame(frame.original, frame.resized)
        self._count = count
        self._classes: Tensor | None = None
        self._boundary: Tensor | None = None

    @torch.inference_mode()
    def add(self, raw: RawOutput, frame: Frame, *, mirrored: bool) -> None:
        logits = raw.logits[:, :, *frame.window]
        if logits.shape[1] == 1:
            logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
        self._classes = self._added(self._classes, logits, mirrored, torch.softmax)
        if raw.boundary is not None:
            plane = raw.boundary[:, :, *frame.window]
            self._boundary = self._added(self._boundary, plane, mirrored, _sigmoid)

    def _added(
        self,
        total: Tensor | None,
        logits: Tensor,
        mirrored: bool,
        probability: Callable[[Tensor, int], Tensor],
    ) -> Tensor:
        if logits.shape[2:] != self.frame.resized:
            logits = F.interpolate(
                logits, size=self.frame.resized, mode="bilinear", align_corners=False
            )
        if mirrored:
            logits = logits.flip(3)
        shares = probability(logits, 1).div_(self._count)
        return shares if total is None else total.add_(shares)

    @torch.inference_mode()
    def raw(self) -> RawOutput:
        assert self._classes is not None
        boundary = None if self._boundary is None else self._boundary.logit_(_LEAST)
        return RawOutput(self._classes.clamp_(min=_LEAST).log_(), boundary=boundary)


def _sigmoid(logits: Tensor, _dim: int) -> Tensor:
    return logits.sigmoid()


def _side(preprocessing: Preprocessing, stride: int, scale: float) -> int:
    """``image_size`` times ``scale``; where the network takes squares, to its stride."""
    step = stride if preprocessing.resize == "square" else 1
    side = max(1, round(preprocessing.image_size * scale / step)) * step
    if not 32 <= side <= 8192:
        raise ParameterError(
            f"scales: {scale:g} times image_size={preprocessing.image_size} is {side} px;"
            " expected 32 to 8192"
        )
    return side
