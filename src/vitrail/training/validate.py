"""Score a network on the validation part, through the steps of the prediction path."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from vitrail.data.sample import LabelSpace, SampleSource, label_space
from vitrail.data.transforms import unlabelled_flags
from vitrail.losses import SemanticTargets
from vitrail.metrics import ConfusionMatrix
from vitrail.models.base import Frame, SemanticModel
from vitrail.predict.preprocess import to_batch
from vitrail.training.processes import merge_across_processes, sum_across_processes
from vitrail.training.records import Shown, Validation
from vitrail.weights.card import Preprocessing

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}

_BATCH = 8
"""Images of one shape that go through the network together."""


class Item:
    """One validation image made ready, with its truth."""

    def __init__(
        self,
        index: int,
        batch: Tensor,
        frame: Frame,
        truth: np.ndarray,
        small: np.ndarray,
        unlabelled: Tensor,
    ) -> None:
        self.index, self.batch, self.frame = index, batch, frame
        self.truth, self.small, self.unlabelled = truth, small, unlabelled


class _Items(Dataset[Item]):
    """Items of the indices, in the network's size; truth both at original and at that size."""

    def __init__(
        self,
        source: SampleSource,
        indices: Sequence[int],
        preprocessing: Preprocessing,
        stride: int,
    ) -> None:
        self.source, self.indices = source, indices
        self.preprocessing, self.stride = preprocessing, stride
        self.space = label_space(source)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> Item:
        if get_worker_info() is not None:
            cv2.setNumThreads(0)  # a forked process inherits OpenCV's pool without its threads
        index = self.indices[position]
        sample = self.source[index]
        truth = sample.semantic(self.source.space)
        batch, frames = to_batch([sample.image], self.preprocessing, stride=self.stride)
        height, width = frames[0].resized
        small = np.full(batch.shape[-2:], self.space.ignore, truth.dtype)
        resized = cv2.resize(truth, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        small[:height, :width] = resized
        flags = unlabelled_flags(sample, self.space)
        return Item(index, batch, frames[0], truth, small, flags)


@torch.inference_mode()
def validate(
    model: SemanticModel,
    source: SampleSource,
    preprocessing: Preprocessing,
    *,
    precision: str = "float32",
    omission_weight: float = 0.0,
    workers: int = 0,
    shown: int = 0,
    rank: int = 0,
    processes: int = 1,
) -> Validation:
    """Confusion and loss over a whole set, at each image's original size.

    Parameters
    ----------
    model:
        On its device; left in evaluation mode.
    source:
        The images with their labels.
    preprocessing:
        The card's.
    precision:
        Of the forward pass: float32, bfloat16 or float16.
    omission_weight:
        See :class:`~vitrail.losses.SemanticTargets`.
    workers:
        Loader processes.
    shown:
        How many images are returned with their predictions; spread evenly over the set.
    rank, processes:
        Which share of the images this process scores; the result is that of all of them, and the
        same for any number of processes.

    Returns
    -------
    The loss is the mean over images of each one's loss, at the network's input size.
    """
    space = label_space(source)
    matrix = ConfusionMatrix(len(space.classes), ignore=space.ignore)
    losses = np.zeros(len(source))
    kept = spread(len(source), shown) if rank == 0 else []
    pictures: dict[int, Shown] = {}
    own = [*range(rank, len(source), processes)]
    extra = [index for index in kept if index % processes != rank]
    model.eval()
    for items in _batches(source, own + extra, preprocessing, model.stride, workers):
        predicted, terms = _score(model, items, space, precision, omission_weight)
        for item, labels, loss in zip(items, predicted, terms, strict=True):
            if item.index in kept:
                sample = source[item.index]
                pictures[item.index] = Shown(sample.id, sample.image, item.truth, labels)
            if item.index % processes == rank:
                matrix.update(item.truth, labels)
                losses[item.index] = loss
    device = next(model.parameters()).device
    merge_across_processes(matrix, device)
    every = sum_across_processes(torch.from_numpy(losses), device).tolist()
    mean = math.fsum(every) / len(every)
    ious = zip(space.classes, matrix.iou().tolist(), strict=True)
    metrics = {**matrix.compute(), **{f"iou_{name}": iou for name, iou in ious}}
    return Validation(matrix, mean, tuple(pictures[index] for index in kept), metrics)


def spread(length: int, count: int) -> list[int]:
    """``count`` indices spread evenly over ``length``, fewer where there are fewer."""
    return sorted({int(i) for i in np.linspace(0, length - 1, min(count, length))})


def _batches(
    source: SampleSource,
    indices: Sequence[int],
    preprocessing: Preprocessing,
    stride: int,
    workers: int,
) -> Iterator[list[Item]]:
    """Runs of items that have one shape, ``_BATCH`` at most."""
    items = _Items(source, indices, preprocessing, stride)
    loader = DataLoader(items, batch_size=None, num_workers=workers)
    run: list[Item] = []
    for item in loader:
        if run and (len(run) == _BATCH or item.batch.shape != run[0].batch.shape):
            yield run
            run = []
        run.append(item)
    if run:
        yield run


def _score(
    model: SemanticModel,
    items: Sequence[Item],
    space: LabelSpace,
    precision: str,
    omission_weight: float,
) -> tuple[list[np.ndarray], list[float]]:
    """Label maps at original size, and losses, of each item."""
    device = next(model.parameters()).device
    images = torch.cat([item.batch for item in items]).to(device)
    with torch.autocast(device.type, DTYPES[precision], enabled=precision != "float32"):
        raw = model(images.contiguous(memory_format=torch.channels_last))
    predicted = model.decode(raw, [item.frame for item in items])
    losses: list[float] = []
    for index, item in enumerate(items):
        targets = SemanticTargets(
            torch.from_numpy(item.small.astype(np.int64))[None].to(device),
            space.ignore,
            space.background,
            item.unlabelled[None].to(device),
            omission_weight,
        )
        losses.append(sum(term.item() for term in model.loss(raw.of(index), targets).values()))
    return predicted, losses
