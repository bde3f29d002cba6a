"""How much memory a training will take, before it begins; and what to do when it was too much."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from vitrail.errors import ConfigError
from vitrail.losses import SemanticTargets
from vitrail.models.base import SemanticModel
from vitrail.training.free_memory import free_memory

SHARE = 0.8
"""Of what is free, how much a plan may take: loaders, fragments and other programs need some."""
_STATES = {"adamw": 2, "sgd": 1}
"""Numbers that an optimizer keeps of each trained one: two moments, or the momentum."""
_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_PROBES = (2, 3)
"""Images measured with; one alone would stop batch norms behind a global pooling."""

Pass = Callable[[nn.Module, Tensor], object]
"""A network and images ``(B, C, H, W)`` to whatever holds the graph of a training pass."""


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Bytes that a training holds at its worst moment, the end of a forward pass, by what for."""

    batch_size: int
    """Images computed at once in one process."""
    image_size: int
    """Side, px."""
    precision: str
    device: str
    weights: int
    gradients: int
    """With several processes twice: their sums over processes are gathered beside them."""
    optimizer: int
    averaged: int
    """A second copy of the weights, their moving average."""
    fixed: int
    """What is kept of a pass whatever the number of images, such as weights in half precision."""
    image: int
    """What is kept of each image for the backward pass, itself and the loss's part included."""
    largest: int
    """The largest single tensor kept of an image: the backward pass makes two of its size."""
    free: int | None
    """For each process, when the plan was made; None where the system does not say."""

    @property
    def activations(self) -> int:
        """Of a whole batch."""
        return self.fixed + self.batch_size * (self.image + 2 * self.largest)

    @property
    def total(self) -> int:
        state = self.weights + self.gradients + self.optimizer + self.averaged
        return state + self.activations

    @property
    def fits(self) -> bool | None:
        """Whether it takes at most :data:`SHARE` of what is free; None where that is unknown."""
        return None if self.free is None else self.total <= SHARE * self.free

    def at(self, batch_size: int) -> MemoryPlan:
        """The same with another number of images."""
        return replace(self, batch_size=batch_size)

    @property
    def text(self) -> str:
        """A small table for the console."""
        free = "unknown on this system" if self.free is None else f"{told_bytes(self.free):>9}"
        rows = [
            ("weights", told_bytes(self.weights)),
            ("gradients", told_bytes(self.gradients)),
            ("optimizer", told_bytes(self.optimizer)),
            ("averaged weights", told_bytes(self.averaged)),
            ("activations", told_bytes(self.activations)),
            ("total", told_bytes(self.total)),
        ]
        images = "1 image" if self.batch_size == 1 else f"{self.batch_size} images"
        title = f"memory for {images} of {self.image_size} px, {self.precision}, {self.device}"
        lines = [title, *(f"  {name:<17}{size:>9}" for name, size in rows), f"  {'free':<17}{free}"]
        return "\n".join(lines)


def memory_plan(
    model: nn.Module,
    image_size: int,
    batch_size: int,
    *,
    channels: int = 3,
    optimizer: str = "adamw",
    precision: str = "float32",
    ema: bool = True,
    processes: int = 1,
    forward: Pass | None = None,
) -> MemoryPlan:
    """Measure a network with a few images, and scale to a batch.

    What autograd keeps is counted tensor by tensor, each storage once. The network is copied for
    that and stays as it was; random generators too.

    Parameters
    ----------
    model:
        On the device of the training, with the parameters frozen that will be.
    image_size:
        Side of the training crop, px.
    batch_size:
        Images computed at once in one process.
    channels:
        Bands of the images.
    optimizer:
        ``adamw`` or ``sgd`` (with momentum).
    precision:
        ``float32``, ``bfloat16`` or ``float16`` (both with weights in float32).
    ema:
        Whether a moving average of the weights is kept.
    processes:
        Of this training on this machine: on the CPU they share its memory.
    forward:
        A training pass; default: forward, and of a semantic network its loss.
    """
    parameters = list(model.parameters())
    trained = sum(_size(one) for one in parameters if one.requires_grad)
    weights = sum(_size(one) for one in (*parameters, *model.buffers()))
    device = parameters[0].device
    few, more = (
        _kept(model, image_size, count, channels, precision, forward or _usual) for count in _PROBES
    )
    image = max(0, (more[0] - few[0]) // (_PROBES[1] - _PROBES[0]))
    free = free_memory(device)
    if free is not None and device.type == "cpu":
        free //= processes
    return MemoryPlan(
        batch_size=batch_size,
        image_size=image_size,
        precision=precision,
        device=str(device),
        weights=weights,
        gradients=trained * (2 if processes > 1 else 1),
        optimizer=trained * _STATES[optimizer],
        averaged=weights if ema else 0,
        fixed=max(0, few[0] - _PROBES[0] * image),
        image=image,
        largest=few[1] // _PROBES[0],
        free=free,
    )


def largest_batch(plan: MemoryPlan, images: int, cap: int = 64) -> int:
    """The largest power of two that fits into :data:`SHARE` of what is free.

    Parameters
    ----------
    plan:
        For any number of images.
    images:
        Of the training set: a batch is not larger (in one process; divide by their number).
    cap:
        No more than this, nor where the system does not say how much is free.

    Raises
    ------
    ConfigError
        not even one image fits, or there is none.
    """
    most = min(cap, images)
    if most < 1:
        raise ConfigError("train.batch_size=auto: the training set holds no images")
    batch = 1 << (most.bit_length() - 1)
    while plan.at(batch).fits is False:
        if batch == 1:
            one = plan.at(1)
            raise ConfigError(
                f"train.batch_size=auto: one image of {plan.image_size} px takes "
                f"{told_bytes(one.total)}, and {told_bytes(plan.free or 0)} are free; lower "
                f"train.image_size (now {plan.image_size}), or choose a smaller encoder"
            )
        batch //= 2
    return batch


def _usual(network: nn.Module, images: Tensor) -> object:
    raw = network(images)
    if not isinstance(network, SemanticModel):
        return raw
    with torch.autocast(images.device.type, enabled=False):
        labels = torch.zeros_like(images[:, 0], dtype=torch.long)
        return network.loss(raw, SemanticTargets(labels, 255, None))


def _kept(
    model: nn.Module,
    image_size: int,
    count: int,
    channels: int,
    precision: str,
    forward: Pass,
) -> tuple[int, int]:
    """Bytes that autograd keeps of a pass with so many images, and of the largest tensor."""
    network = copy.deepcopy(model).train()
    own = {t.untyped_storage().data_ptr() for t in (*network.parameters(), *network.buffers())}
    device = next(network.parameters()).device
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in own:
            kept[place] = tensor.detach()  # held, so that no other tensor gets its place
        return tensor

    images = torch.zeros(count, channels, image_size, image_size, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    devices = [device] if device.type == "cuda" else []
    with (
        torch.random.fork_rng(devices),
        torch.enable_grad(),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        with torch.autocast(device.type, _TYPES[precision], enabled=precision != "float32"):
            graph = forward(network, images)
        sizes = [tensor.untyped_storage().nbytes() for tensor in kept.values()]
        del graph
    return sum(sizes), max(sizes, default=0)


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def told_bytes(size: int) -> str:
    """Bytes for people: 12 MB, 3.4 GB (powers of 1000)."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.0f} MB"
