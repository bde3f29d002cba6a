"""A network made ready for inference: images in, results at original size out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from vitrail.errors import ImageError
from vitrail.image import Image
from vitrail.models.base import Frame, RawOutput, SemanticModel, labels_at, two_planes
from vitrail.nn.fuse import fold_batch_norms, fuse_activations
from vitrail.nn.fuse_upsampling import fold_upsampling
from vitrail.nn.precision import cast_for_inference
from vitrail.predict.device import Precision
from vitrail.predict.network_params import NetworkParams
from vitrail.predict.preprocess import fit_size, padded_size, to_batch
from vitrail.predict.refine import refine_logits
from vitrail.result import SemanticResult
from vitrail.weights.card import Card

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Network:
    """A trained network with its card, on a device, in a number format.

    The network is copied in evaluation mode with its batch norms folded into the convolutions
    (on the CPU also its decoder's upsampling), cast to ``precision`` (but for its first layers)
    and laid out channels-last.
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
        self.preprocessing = card.preprocessing
        if params.image_size:
            self.preprocessing = self.preprocessing.model_copy(
                update={"image_size": params.image_size}
            )
        self._crf = params.crf if params.refine == "crf" else None
        self._decode = model.decode
        self._stride = model.stride
        bands = len(self.preprocessing.mean)
        own = torch.Generator().manual_seed(0)  # loading a model must not move the user's dice
        example = torch.rand(1, bands, 2 * model.stride, 2 * model.stride, generator=own) * 2 - 1
        folded = fold_batch_norms(model.cpu().float(), example)
        if device.type == "cpu":
            folded = fold_upsampling(folded, example)
        ready = cast_for_inference(folded, _DTYPES[precision], example)
        ready = ready.to(device, memory_format=torch.channels_last)  # pyright: ignore
        self._model = fuse_activations(ready, example) if device.type == "cpu" else ready

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
        size that the network saw and without its padding; refined ones are log-marginals, at the
        size that they were refined at.

        Raises
        ------
        ImageError
            an image has no colour bands that the network could take.
        """
        pictures = [self._picture(image) for image in images]
        # Images share a pass only where they need the same padding: it is part of the input.
        groups: dict[tuple[int, int], list[int]] = {}
        for index, picture in enumerate(pictures):
            groups.setdefault(self._padded(picture.shape[:2]), []).append(index)
        results: dict[int, SemanticResult] = {}
        for members in groups.values():
            batch, frames = to_batch(
                [pictures[index] for index in members], self.preprocessing, stride=self._stride
            )
            raw = self._forward(batch)
            logits: list[np.ndarray] = []
            if on_logits is not None or self._crf is not None:
                logits = self._logits(raw, frames, [images[index] for index in members])
            if on_logits is not None:
                for index, planes in zip(members, logits, strict=True):
                    on_logits(images[index], planes)
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
        return [results[index] for index in range(len(images))]

    def _picture(self, image: Image) -> np.ndarray:
        """The bands that the network takes, as uint8."""
        bands = len(self.preprocessing.mean)
        if bands == 3:
            return image.rgb()
        raise ImageError(
            f"{image.source or 'the image'}: this network takes {bands} bands, "
            "which are not RGB; only RGB networks are supported"
        )

    def _logits(
        self, raw: RawOutput, frames: Sequence[Frame], images: Sequence[Image]
    ) -> list[np.ndarray]:
        """``(classes, h, w)`` for each image, without padding, refined where that is asked for."""
        found: list[np.ndarray] = []
        for planes, frame, image in zip(raw.logits, frames, images, strict=True):
            h, w = frame.resized
            logits = two_planes(planes[:, :h, :w].float().cpu().numpy())
            if self._crf is not None:
                logits = refine_logits(logits, image, self._crf, self.device)
            found.append(logits)
        return found

    def _padded(self, size: tuple[int, ...]) -> tuple[int, int]:
        resized = fit_size((size[0], size[1]), self.preprocessing)
        return padded_size(resized, self.preprocessing, self._stride)

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
        (h, w), (height, width) = frame.resized, frame.original
        within = np.ascontiguousarray(plane[:h, :w])
        enlarged = cv2.resize(within, (width, height), interpolation=cv2.INTER_LINEAR)
        boundaries.append(enlarged.clip(0, 1, out=enlarged))  # weights sum to 1 but for rounding
    return boundaries
