"""Several processes train and score as one does."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tests.several_processes import in_processes
from vitrail.errors import ParameterError
from vitrail.losses import SemanticTargets, build_loss
from vitrail.losses.processes import across_processes
from vitrail.metrics import BoundaryDetection, CocoAP, CocoObjects, ConfusionMatrix, PerImage
from vitrail.models.registry import build
from vitrail.nn.sync_norm import synchronise_norms
from vitrail.training.processes import merge_across_processes

IMAGES = 7
CLASSES = 3


def label_maps(index: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(index)
    truth = rng.integers(0, CLASSES, (20 + index, 16))
    found = np.where(rng.random(truth.shape) < 0.7, truth, rng.integers(0, CLASSES, truth.shape))
    return truth, found


def objects(index: int) -> tuple[CocoObjects, CocoObjects]:
    rng = np.random.default_rng(index)
    count = index % 4  # some images are empty
    boxes = rng.uniform(0, 30, (count, 2))
    boxes = np.concatenate([boxes, boxes + rng.uniform(5, 20, (count, 2))], 1)
    kinds = rng.integers(0, CLASSES, count)
    moved = boxes + rng.uniform(-2, 2, boxes.shape)
    return CocoObjects(kinds, boxes), CocoObjects(kinds, moved, scores=rng.random(count))


def counted(images: range) -> tuple:
    """Metrics of fixed size, of a row an image, and of rows of several kinds."""
    matrix, per_image = ConfusionMatrix(CLASSES), PerImage(CLASSES)
    precision, edges = CocoAP(CLASSES, kind="box"), BoundaryDetection(thresholds=5)
    for index in images:
        truth, found = label_maps(index)
        matrix.update(truth, found)
        per_image.update(truth, found)
        precision.update(index, *objects(index))
        edges.update([truth == 1], (found == 1).astype(np.float32))
    return matrix, per_image, precision, edges


def share(rank: int) -> range:
    """The last process has nothing at all to count in the first of three."""
    return range(rank, IMAGES, 2)


def score(rank: int) -> list:
    merged = [merge_across_processes(metric) for metric in counted(share(rank))]
    empty = [
        merge_across_processes(metric) for metric in counted(range(IMAGES if rank == 0 else 0))
    ]
    with pytest.raises(ParameterError, match="cannot merge metrics across processes"):
        merge_across_processes(ConfusionMatrix(3) if rank else PerImage(3))
    return [(metric.compute(), metric.state()) for metric in (*merged, *empty)]


def test_metrics_are_those_of_one_process_bit_for_bit(tmp_path: Path) -> None:
    expected = [metric.compute() for metric in counted(range(IMAGES))] * 2
    for results in in_processes(score, tmp_path):
        for (numbers, _), wanted in zip(results, expected, strict=True):
            assert set(numbers) == set(wanted)
            for name, value in wanted.items():
                assert numbers[name] == value or (np.isnan(numbers[name]) and np.isnan(value)), name
    assert np.isfinite(expected[0]["mean_iou"])
    assert 0 < expected[2]["AP"] < 1


def test_one_process_keeps_its_metric() -> None:
    (matrix, *_) = counted(range(2))
    before = matrix.counts.copy()
    assert merge_across_processes(matrix) is matrix
    assert np.array_equal(matrix.counts, before)


def network() -> nn.Module:
    torch.manual_seed(0)
    arguments = {"encoder": "mobilenetv2_035", "decoder_channels": [8, 8, 8, 8, 8]}
    return build("unet", {**arguments, "classes": CLASSES}).double()


def batch(step: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    images = torch.randn(4, 3, 64, 64, generator=generator, dtype=torch.float64)
    labels = (images.mean(1) > 0).long() + (images[:, 0] > 0.5)
    labels[0, :40] = 255  # the images have different numbers of labelled pixels
    return images, labels


def trained(model: nn.Module, part: slice, steps: int = 3) -> dict[str, Tensor]:
    """The weights after some steps on a part of each batch."""
    loss = build_loss("ce(weights=[1, 2, 3]) + dice + 0.1*boundary")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    for step in range(steps):
        images, labels = (each[part] for each in batch(step))
        with across_processes():
            terms = loss(model(images).logits, SemanticTargets(labels, 255, 0))
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()
    return {name: value.clone() for name, value in model.state_dict().items()}


def train(rank: int) -> dict[str, Tensor]:
    model = DistributedDataParallel(synchronise_norms(network()))
    state = trained(model, slice(0, 1) if rank == 0 else slice(1, 4))
    return {name.removeprefix("module."): value for name, value in state.items()}


def test_two_processes_reach_the_weights_of_one(tmp_path: Path) -> None:
    start = network().state_dict()
    expected = trained(network(), slice(None))
    moved = max(float((expected[key] - start[key]).abs().max()) for key in start)
    assert moved > 1e-2
    for state in in_processes(train, tmp_path):
        assert set(state) == set(expected)
        for name, value in expected.items():
            torch.testing.assert_close(state[name], value, rtol=0, atol=1e-9, msg=name)
