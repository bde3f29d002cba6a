"""A detector made ready for inference: images in, objects at original size out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from vitrail.image import Image
from vitrail.models.base import Frame
from vitrail.models.instances import Detections, InstanceModel
from vitrail.predict.device import Precision
from vitrail.predict.inputs import Inputs
from vitrail.predict.network_params import (
    DetectionLimitWarning,
    DetectorParams,
    ShrunkImageWarning,
)
from vitrail.predict.ready import make_ready
from vitrail.result import InstanceResult, Masks
from vitrail.result.masks import box_crop
from vitrail.weights.card import Card

SHRUNK = 4.0
"""From here on, px of the image for one of the input, it is said. A photograph of 12 megapixels is
3.8 times as large as what networks trained on COCO see of it, and shows what they look for."""


class InstanceNetwork:
    """A trained detector with its card, on a device, in a number format.

    The network is copied and made fast as :func:`vitrail.predict.ready.make_ready` says.

    Attributes
    ----------
    detection:
        The thresholds in force: the network's own, but for those that ``params`` sets.
    """

    def __init__(
        self,
        model: InstanceModel,
        card: Card,
        *,
        device: torch.device,
        precision: Precision,
        params: DetectorParams,
    ) -> None:
        self.card = card
        self.device = device
        self.precision = precision
        self.detection = params.over(model.params)
        self._flip = params.flip
        self._inputs = Inputs(card.preprocessing, model.stride, params.image_size)
        self.preprocessing = self._inputs.preprocessing
        ready = make_ready(model, self.preprocessing, device=device, precision=precision)
        assert isinstance(ready, InstanceModel)
        self._model = ready

    def __call__(self, image: Image) -> InstanceResult:
        """Find the objects of one image."""
        return self.batch([image])[0]

    def batch(
        self,
        images: Sequence[Image],
        on_logits: Callable[[Image, np.ndarray], None] | None = None,
    ) -> list[InstanceResult]:
        """Find the objects of several images; each gets what it would get alone.

        ``on_logits`` is never called: objects are not decoded from logits of the whole image.

        Raises
        ------
        ImageError
            an image has no colour bands that the network could take.

        Warns
        -----
        DetectionLimitWarning
            an image has more objects than ``max_detections``.
        ShrunkImageWarning
            an image is at least :data:`SHRUNK` times as large as what the network sees of it.
        """
        results: dict[int, InstanceResult] = {}
        for members, batch, frames in self._inputs.batches(images):
            for frame in frames:
                _warn_of_shrinking(frame)
            with torch.inference_mode():
                raw = self._model(batch.to(self.device))
                mirrored = None
                if self._flip:
                    mirrored = self._model(_mirrored(batch, frames).to(self.device))
                found = self._model.decode(raw, frames, self.detection, mirrored=mirrored)
            for index, detections in zip(members, found, strict=True):
                results[index] = as_result(detections, self.card.classes, images[index])
        if any(result.capped for result in results.values()):
            warnings.warn(
                f"an image has more than max_detections={self.detection.max_detections} objects; "
                "the least certain are left out (set a higher max_detections)",
                DetectionLimitWarning,
                stacklevel=2,
            )
        return [results[index] for index in range(len(images))]


def _mirrored(batch: Tensor, frames: Sequence[Frame]) -> Tensor:
    """A batch ``(B, C, H, W)`` with each image mirrored in its own frame."""
    twin = batch.clone()
    for place, picture, frame in zip(twin, batch, frames, strict=True):
        place[:, *frame.window] = picture[:, *frame.window].flip(2)
    return twin


def _warn_of_shrinking(frame: Frame) -> None:
    (height, width), (h, w) = frame.original, frame.resized
    factor = max(height / h, width / w)
    if factor >= SHRUNK:
        warnings.warn(
            f"an image of {width} x {height} px is shrunk to {w} x {h} px for the network: "
            f"{factor:.1f} px become one, and small objects are lost (set a higher image_size, or "
            "cut the image into tiles)",
            ShrunkImageWarning,
            stacklevel=3,
        )


def as_result(detections: Detections, classes: Sequence[str], image: Image) -> InstanceResult:
    """Detections of a network as the result of an image.

    Boxes are cut at the image's edges. Of a network that finds boxes only, they are the masks,
    too: the pixels that a box covers by half at least, one at the least.
    """
    height, width = image.size
    limits = torch.tensor([width, height, width, height], dtype=torch.float32)
    boxes = detections.boxes.float().cpu().clamp(min=0).minimum(limits)
    masks = detections.masks
    if masks is None:
        masks = Masks.from_crops(
            (box_crop(box, image.size, least=1) for box in boxes.tolist()), image.size
        )
    return InstanceResult(
        boxes.numpy(),
        detections.scores.float().cpu().clamp(0, 1).numpy(),
        detections.class_ids.cpu().numpy(),
        masks,
        tuple(classes),
        size=image.size,
        outlined=detections.masks is not None,
        capped=detections.capped,
        image=image,
    )
