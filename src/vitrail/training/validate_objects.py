"""Score a network that finds objects on the validation part, by COCO's average precision."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from vitrail.data.sample import Instance, Sample, SampleSource
from vitrail.data.transforms import InstanceExample, crop_of, resized_example
from vitrail.evaluate.instances import coco_truths
from vitrail.metrics import CocoAP, CocoObjects
from vitrail.models.base import Frame
from vitrail.models.instances import Detections, InstanceModel
from vitrail.predict.preprocess import to_batch
from vitrail.result import InstanceResult, Masks
from vitrail.training.processes import merge_across_processes, sum_across_processes
from vitrail.training.records import Scoring, ShownObjects, Validation
from vitrail.training.task import TYPES, Loading
from vitrail.training.validate import spread
from vitrail.weights.card import Preprocessing

_NAMES = {
    **{"AP": "ap", "AP50": "ap50", "AP75": "ap75"},
    **{"AP_small": "aps", "AP_medium": "apm", "AP_large": "apl"},
}
"""COCO's numbers, and what they are called here behind ``mask_`` or ``box_``."""
_WORDS = {"mask": "mask AP", "box": "box AP"}


@dataclass(frozen=True, slots=True)
class ObjectMeasure:
    """Which numbers objects are scored by.

    ``mask_ap`` (over IoU 0.50 to 0.95), ``mask_ap50``, ``mask_ap75``, of small, medium and large
    objects ``mask_aps``, ``mask_apm``, ``mask_apl``, the average recall ``mask_ar``, and
    ``mask_ap_<class>``; the same of ``box``. NaN where there is no such object.
    """

    classes: tuple[str, ...]
    masks: bool
    """Whether masks are scored besides boxes."""
    most: int
    """Objects of a class in an image that count; COCO's is 100."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """What is scored, the more important first."""
        return ("mask", "box") if self.masks else ("box",)

    @property
    def names(self) -> list[str]:
        """Of all numbers."""
        ends = [*_NAMES.values(), "ar", *(f"ap_{name}" for name in self.classes)]
        return [f"{kind}_{end}" for kind in self.kinds for end in ends]

    @property
    def scoring(self) -> Scoring:
        """How cards and reports tell them."""
        first, *others = self.kinds
        return Scoring(
            f"{first}_ap",
            _WORDS[first],
            (f"{first}_ap50", f"{first}_ap75", *(f"{kind}_ap" for kind in others)),
            f"{first}_ap_",
            _WORDS[first],
            f"COCO's average precision ({' and '.join(self.kinds)}), up to {self.most} objects of "
            "a class in an image, at original image size",
        )

    def metrics(self) -> dict[str, CocoAP]:
        """Empty ones, by kind."""
        limits = (1, 10, self.most)
        count = len(self.classes)
        return {kind: CocoAP(count, kind=kind, max_detections=limits) for kind in self.kinds}

    def compute(self, metrics: Mapping[str, CocoAP]) -> dict[str, float]:
        """The numbers, by :attr:`names`."""
        told: dict[str, float] = {}
        for kind, metric in metrics.items():
            found = metric.compute()
            told |= {f"{kind}_{short}": found[name] for name, short in _NAMES.items()}
            told[f"{kind}_ar"] = found[f"AR@{self.most}"]
            by_class = zip(self.classes, metric.per_class().tolist(), strict=True)
            told |= {f"{kind}_ap_{name}": value for name, value in by_class}
        return told


class _Item(NamedTuple):
    """One validation image made ready, with its truth."""

    index: int
    batch: Tensor
    frame: Frame
    example: InstanceExample
    """In the frame of the batch."""
    known: dict[str, CocoObjects]
    """At original size, by what is compared."""


class _Items(Dataset[_Item]):
    def __init__(
        self,
        source: SampleSource,
        indices: Sequence[int],
        preprocessing: Preprocessing,
        stride: int,
        kinds: Sequence[str],
    ) -> None:
        self.source, self.indices, self.kinds = source, indices, kinds
        self.preprocessing, self.stride = preprocessing, stride

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> _Item:
        if get_worker_info() is not None:
            cv2.setNumThreads(0)  # a forked process inherits OpenCV's pool without its threads
        index = self.indices[position]
        sample = self.source[index]
        batch, (frame,) = to_batch([sample.image], self.preprocessing, stride=self.stride)
        height, width = batch.shape[-2:]
        example = resized_example(sample, frame.resized, frame.corner, (height, width))
        known = coco_truths([(one.class_id, one) for one in sample.instances or ()], sample.size)
        return _Item(index, batch, frame, example, {kind: known[kind] for kind in self.kinds})


def _masks(found: Sequence[Instance], size: tuple[int, int]) -> Masks:
    return Masks.from_crops(map(crop_of, found), size)


@torch.inference_mode()
def validate_objects(
    model: InstanceModel,
    source: SampleSource,
    preprocessing: Preprocessing,
    measure: ObjectMeasure,
    *,
    precision: str = "float32",
    loading: Loading | None = None,
) -> Validation:
    """Average precision and loss over a whole set, at each image's original size.

    Parameters
    ----------
    model:
        On its device; left in evaluation mode.
    source:
        The images with their objects, of the classes of ``measure``.
    preprocessing:
        The card's.
    precision:
        Of the network: float32, bfloat16 or float16.

    Returns
    -------
    The loss is the mean over images of each one's loss, at the network's input size. Its regions
    are drawn by the image's place in the set: the same network has the same loss.
    """
    loading = loading or Loading()
    metrics = measure.metrics()
    losses = np.zeros(len(source))
    kept = spread(len(source), loading.shown) if loading.rank == 0 else []
    pictures: dict[int, ShownObjects] = {}
    own = [*range(loading.rank, len(source), loading.processes)]
    extra = [index for index in kept if index % loading.processes != loading.rank]
    model.eval()
    device = next(model.parameters()).device
    # One image at a time: what its neighbours in a batch are would change its last digits.
    items = _Items(source, own + extra, preprocessing, model.stride, measure.kinds)
    for item in DataLoader(items, batch_size=None, num_workers=loading.workers):
        found, loss = _score(model, item, device, precision)
        if item.index in kept:
            pictures[item.index] = _shown(source[item.index], found, measure.classes)
        if item.index % loading.processes == loading.rank:
            losses[item.index] = loss
            predicted = CocoObjects(
                found.class_ids.numpy(),
                found.boxes.double().numpy(),
                found.masks,
                found.scores.numpy(),
            )
            for kind, metric in metrics.items():
                metric.update(item.index, item.known[kind], predicted)
    for metric in metrics.values():
        merge_across_processes(metric, device)
    every = sum_across_processes(torch.from_numpy(losses), device).tolist()
    mean = math.fsum(every) / len(every)
    shown = tuple(pictures[index] for index in kept)
    return Validation(None, mean, shown, measure.compute(metrics))


def _score(
    model: InstanceModel, item: _Item, device: torch.device, precision: str
) -> tuple[Detections, float]:
    """The objects of an image at original size, and its loss."""
    images = item.batch.to(device).contiguous(memory_format=torch.channels_last)
    example = InstanceExample(*(part.to(device) for part in item.example))
    with torch.autocast(device.type, TYPES[precision], enabled=precision != "float32"):
        raw = model(images)
        found = model.decode(raw, [item.frame])[0]
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(item.index)
            terms = model.loss(raw, [example])
    return found, sum(term.item() for term in terms.values())


def _shown(sample: Sample, found: Detections, classes: tuple[str, ...]) -> ShownObjects:
    """Crowds are no objects."""
    truth = [one for one in sample.instances or () if not one.crowd]
    known = InstanceResult(
        np.array([one.box for one in truth], np.float32).reshape(-1, 4),
        np.ones(len(truth), np.float32),
        np.array([one.class_id for one in truth], np.int64),
        _masks(truth, sample.size),
        classes,
        size=sample.size,
    )
    boxes = found.boxes.numpy()
    masks = found.masks
    if masks is None:
        outlines = [
            Instance.from_box(0, (float(x1), float(y1), float(x2), float(y2)), sample.size)
            for x1, y1, x2, y2 in boxes
        ]
        masks = _masks(outlines, sample.size)
    predicted = InstanceResult(
        boxes,
        found.scores.numpy(),
        found.class_ids.numpy(),
        masks,
        classes,
        size=sample.size,
    )
    return ShownObjects(sample.id, sample.image, known, predicted)
