"""A network made ready for inference: images in, results at original size out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from vitrail.image import Image
from vitrail.models.base import Frame, RawOutput, SemanticModel, labels_at, two_planes
from vitrail.predict.device import Precision
from vitrail.predict.network_params import NetworkParams
from vitrail.predict.ready import make_ready
from vitrail.predict.refine import refine_logits
from vitrail.predict.views import Views
from vitrail.result import SemanticResult
from vitrail.weights.card import Card


class Network:
    """A trained network with its card, on a device, in a number format.

    The network is copied and made fast as :func:`vitrail.predict.ready.make_ready` says.
    """

    def __init__(
        self,
        model: SemanticModel,
        card: Card,
        *,
        device: torch.device,
        precision: Precision,
        params: NetworkParams,
    ) -> None:
        self.card = card
        self.device = device
        self.precision = precision
        self._views = Views(card.preprocessing, model.stride, params)
        self.preprocessing = self._views.first.preprocessing
        self._crf = params.crf if params.refine == "crf" else None
        self._decode = model.decode
        self._model = make_ready(model, self.preprocessing, device=device, precision=precision)

    def __call__(self, image: Image) -> SemanticResult:
        """Segment one image."""
        return self.batch([image])[0]

    def batch(
        self,
        images: Sequence[Image],
        on_logits: Callable[[Image, np.ndarray], None] | None = None,
    ) -> list[SemanticResult]:
        """Segment several images; each gets what it would get alone, whatever its neighbours.

        ``on_logits`` is called with each image and its ``(classes, h, w)`` float32 logits, at the
        size that the network saw and without its padding; those of several views are the logarithm
        of their mean probability, refined ones log-marginals, at the size that they were refined
        at. It is called once all have gone through.

        Raises
        ------
        ImageError
            an image has no colour bands that the network could take.
        """
        results: dict[int, SemanticResult] = {}
        told: dict[int, np.ndarray] = {}
        for members, raw, frames in self._views.passes(images, self._forward):
            logits: list[np.ndarray] = []
            if on_logits is not None or self._crf is not None:
                logits = self._logits(raw, frames, [images[index] for index in members])
            if on_logits is not None:
                told.update(zip(members, logits, strict=True))
            if self._crf is None:
                labels = self._decode(raw, frames)
            else:
                labels = [
                    labels_at(planes, frame.original)
                    for planes, frame in zip(logits, frames, strict=True)
                ]
            boundaries = boundaries_at(raw, frames)
            for index, label_map, boundary in zip(members, labels, boundaries, strict=True):
                results[index] = SemanticResult(
                    label_map,
                    self.card.classes,
                    background=self.card.background,
                    boundary=boundary,
                    image=images[index],
                )
        if on_logits is not None:
            for index, image in enumerate(images):
                on_logits(image, told[index])
        return [results[index] for index in range(len(images))]

    def _logits(
        self, raw: RawOutput, frames: Sequence[Frame], images: Sequence[Image]
    ) -> list[np.ndarray]:
        """``(classes, h, w)`` for each image, without padding, refined where that is asked for."""
        found: list[np.ndarray] = []
        for planes, frame, image in zip(raw.logits, frames, images, strict=True):
            logits = two_planes(planes[:, *frame.window].float().cpu().numpy())
            if self._crf is not None:
                logits = refine_logits(logits, image, self._crf, self.device)
            found.append(logits)
        return found

    @torch.inference_mode()
    def _forward(self, batch: Tensor) -> RawOutput:
        raw = self._model(batch.to(self.device))
        boundary = None if raw.boundary is None else raw.boundary.float()
        return RawOutput(raw.logits.float(), boundary=boundary)


def boundaries_at(raw: RawOutput, frames: Sequence[Frame]) -> list[np.ndarray | None]:
    """Probability of a boundary, ``(H, W)`` float32 in 0..1 at each image's original size, without
    padding; None where the network draws none."""
    if raw.boundary is None:
        return [None] * len(frames)
    planes = raw.boundary[:, 0].sigmoid().cpu().numpy()
    boundaries: list[np.ndarray | None] = []
    for plane, frame in zip(planes, frames, strict=True):
        height, width = frame.original
        within = np.ascontiguousarray(plane[frame.window])
        enlarged = cv2.resize(within, (width, height), interpolation=cv2.INTER_LINEAR)
        boundaries.append(enlarged.clip(0, 1, out=enlarged))  # weights sum to 1 but for rounding
    return boundaries
