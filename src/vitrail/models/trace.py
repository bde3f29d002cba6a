"""One forward pass without numbers: which module ran which operation on what, and at what cost.

The network is copied with fake tensors in the place of its own (``torch._subclasses``, what
``torch.export`` runs on): shapes, devices and the choice of kernels are those of a real pass, and
nothing is computed. A dispatch mode watches each operation. Multiply-adds are torch's own formulas
(``torch.utils.flop_counter``): convolutions, matrix products and attention; not norms,
activations, pooling or interpolation.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from vitrail.errors import ConfigError, ParameterError, VitrailError

Shape = tuple[int, ...]

SIDES = (8, 16384)
"""Least and largest side of an image that a network is measured at, px."""
IMAGE = -1
"""The step that stands for the input."""


@dataclass(eq=False)
class Call:
    """A module at work, once."""

    path: str
    """Its name in the network, with dots; empty for the network itself."""
    module: nn.Module
    parent: Call | None
    children: list[Call] = field(default_factory=list)
    inputs: tuple[Shape, ...] = ()
    outputs: tuple[Shape, ...] = ()
    macs: int = 0
    """Multiply-adds, those of its children included."""

    @property
    def kind(self) -> str:
        return type(self.module).__name__

    @property
    def level(self) -> int:
        """Depth below the network, where a module that :attr:`wraps` is none of its own."""
        if self.parent is None:
            return 0
        return self.parent.level + (not self.parent.wraps)

    @property
    def wraps(self) -> bool:
        """Whether it does nothing but hand over to one other module, which has parts."""
        return len(self.children) == 1 and bool(self.children[0].children)


@dataclass(frozen=True, slots=True)
class Read:
    """What a step takes from another."""

    step: int
    """Its index, or :data:`IMAGE`."""
    shape: Shape


@dataclass(frozen=True, slots=True)
class Step:
    """An operation that made or changed a tensor; views are not steps."""

    operation: str
    call: Call
    """The innermost module that it ran in."""
    reads: tuple[Read, ...]


@dataclass(frozen=True, slots=True)
class Trace:
    """A forward pass of one image in evaluation mode."""

    image: tuple[int, int, int]
    """``(bands, H, W)``."""
    network: Call
    calls: list[Call]
    """In the order of their beginning, the network first."""
    steps: list[Step]
    outputs: dict[str, Read]
    """What the network returned, by name."""
    peak: int
    """Most bytes held at once by the image and what is computed of it (float32)."""
    idle: frozenset[str]
    """Parameters that no step read."""


def trace(model: nn.Module, image_size: int, bands: int = 3) -> Trace:
    """Watch a network at one square image.

    Parameters
    ----------
    model:
        Takes ``(1, bands, image_size, image_size)``; it stays as it is.
    image_size:
        Side, px, within :data:`SIDES`.
    bands:
        Of the image.

    Raises
    ------
    ParameterError
        the side is out of range.
    ConfigError
        the network cannot run at this size, or depends on the values in the image.
    """
    with without_numbers(model, image_size) as network:
        network.eval()
        images = torch.empty(1, bands, image_size, image_size)
        with torch.no_grad(), _Watch(network, images) as watch:
            returned = network(images)
        outputs = {
            name: Read(maker, tuple(value.shape))
            for name, value in _named(returned)
            if (maker := watch.maker(value)) is not None
        }
    return Trace(
        image=(bands, image_size, image_size),
        network=watch.calls[0],
        calls=watch.calls,
        steps=watch.steps,
        outputs=outputs,
        peak=watch.peak,
        idle=frozenset(
            name
            for name, parameter in network.named_parameters()
            if _place(parameter) not in watch.used
        ),
    )


def kept_for_training(model: nn.Module, image_size: int, bands: int = 3) -> int:
    """Bytes that autograd keeps of each image for the backward pass, in float32.

    Counted tensor by tensor, each storage once, as :func:`vitrail.training.memory.memory_plan`
    does on the device, but without the loss. With two and three images: the difference is one
    image's share, and batch norms behind a global pooling need more than one.

    Raises
    ------
    ParameterError
        the side is out of range.
    ConfigError
        the network cannot run at this size, or depends on the values in the image.
    """
    sizes: list[int] = []
    with without_numbers(model, image_size) as network:
        network.train()
        own = {_place(tensor) for tensor in (*network.parameters(), *network.buffers())}
        for count in (2, 3):
            kept: dict[int, Tensor] = {}
            keep = partial(_keep, kept, own)
            images = torch.empty(count, bands, image_size, image_size)
            with (
                torch.enable_grad(),
                torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
            ):
                raw = network(images)
                sizes.append(sum(_bytes(tensor) for tensor in kept.values()))
                del raw
    return max(0, sizes[1] - sizes[0])


@contextmanager
def without_numbers(model: nn.Module, image_size: int) -> Iterator[nn.Module]:
    """A copy of a network whose tensors have shapes but no memory, and the mode to run it in."""
    least, most = SIDES
    if not least <= image_size <= most:
        raise ParameterError(f"image size {image_size}: expected {least} to {most} px")
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    memo: dict[int, Any] = {
        id(one): nn.Parameter(mode.from_tensor(one.detach()), one.requires_grad)
        for one in model.parameters()
    }
    memo |= {id(one): mode.from_tensor(one.detach()) for one in model.buffers()}
    network = copy.deepcopy(model, memo)
    # A detector's heads run behind it, on regions that depend on the values.
    network.forward = getattr(network, "forward_with_heads", network.forward)
    try:
        with torch.random.fork_rng([]), mode:
            yield network
    except VitrailError:
        raise
    except (RuntimeError, ValueError, NotImplementedError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"{type(model).__name__} cannot be measured at {image_size} px: {reason}"
        ) from error


class _Watch(TorchDispatchMode):
    """Sees each operation, and by hooks the module that it runs in."""

    def __init__(self, network: nn.Module, images: Tensor) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.steps: list[Step] = []
        self.used: set[int] = set()
        self.peak = 0
        self._running: list[Call] = []
        self._own = {_place(tensor) for tensor in (*network.parameters(), *network.buffers())}
        self._makers: dict[int, int] = {}
        self._held: dict[int, weakref.ref[Any]] = {}
        self._live = 0
        self._hold(images, IMAGE)
        for path, module in network.named_modules():
            module.register_forward_pre_hook(partial(self._enter, path), prepend=True)
            module.register_forward_hook(self._leave)

    def maker(self, tensor: Tensor) -> int | None:
        """The step that made or last changed what a tensor shows; None: a constant."""
        return self._makers.get(_place(tensor))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        given = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        reads = tuple(
            Read(maker, tuple(tensor.shape))
            for tensor in given
            if (maker := self.maker(tensor)) is not None
        )
        places = {_place(tensor) for tensor in given}
        out = func(*args, **kwargs)
        made = [one for one in tree_leaves(out) if isinstance(one, Tensor)]
        if not self._running:
            return out
        self.used |= places & self._own
        if func._overloadpacket in flop_registry:
            macs = flop_registry[func._overloadpacket](*args, **kwargs, out_val=out) // 2
            for call in self._running:
                call.macs += macs
        if func._schema.is_mutable or any(_place(tensor) not in places for tensor in made):
            self.steps.append(Step(func._overloadpacket.__name__, self._running[-1], reads))
            for tensor in made:
                self._hold(tensor, len(self.steps) - 1)
        return out

    def _enter(self, path: str, module: nn.Module, inputs: Any) -> None:
        parent = self._running[-1] if self._running else None
        call = Call(path, module, parent, inputs=_shapes(inputs))
        if parent is not None:
            parent.children.append(call)
        self.calls.append(call)
        self._running.append(call)

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._running.pop().outputs = _shapes(output)

    def _hold(self, tensor: Tensor, step: int) -> None:
        """Note who made a storage, and count it until it is dropped."""
        place = _place(tensor)
        if place in self._own:
            return
        self._makers[place] = step
        if place not in self._held:
            storage = tensor.untyped_storage()
            size = _bytes(tensor)
            self._live += size
            self.peak = max(self.peak, self._live)
            self._held[place] = weakref.ref(storage, partial(self._drop, place, size))

    def _drop(self, place: int, size: int, _: Any) -> None:
        self._live -= size
        del self._held[place], self._makers[place]


def _named(returned: Any) -> Iterator[tuple[str, Tensor]]:
    """Tensors of a named tuple, mapping or sequence, each with a name; a lone one is "output"."""
    fields: Callable[[], dict[str, Any]] | None = getattr(returned, "_asdict", None)
    if fields is not None:
        returned = fields()
    if isinstance(returned, Tensor):
        yield "output", returned
    elif isinstance(returned, dict):
        for name, value in returned.items():
            several = [one for one in tree_leaves(value) if isinstance(one, Tensor)]
            for number, one in enumerate(several, 1):
                yield (f"{name} {number}" if len(several) > 1 else str(name)), one
    else:
        yield from _named({"output": returned})


def _keep(kept: dict[int, Tensor], own: set[int], tensor: Tensor) -> Tensor:
    if _place(tensor) not in own:
        kept[_place(tensor)] = tensor.detach()  # held, so that no other tensor gets its place
    return tensor


def _place(tensor: Tensor) -> int:
    """Which storage a tensor shows; fake ones have no address."""
    return tensor.untyped_storage()._cdata


def _bytes(tensor: Tensor) -> int:
    return tensor.untyped_storage().nbytes()


def _shapes(values: Any) -> tuple[Shape, ...]:
    return tuple(tuple(one.shape) for one in tree_leaves(values) if isinstance(one, Tensor))
