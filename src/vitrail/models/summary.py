"""What a network consists of, and what an image costs it: layers, shapes, work and memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from torch import nn

from vitrail.errors import ParameterError
from vitrail.models.maskrcnn.network import MaskRCNN
from vitrail.models.trace import Call, Shape, Trace, kept_for_training, trace

DEPTHS = (1, 9)
"""Least and greatest depth of a table or drawing."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A module of the network, with all that it contains."""

    name: str
    """Its path in the network, such as ``decoder.levels.0``."""
    kind: str
    """Its class."""
    level: int
    """1 for a part of the network, 2 for a part of that, and so on."""
    outputs: tuple[Shape, ...]
    """Shapes for a batch of one image; of the last call where there are several."""
    parameters: int
    macs: int
    """Multiply-adds of all calls."""
    calls: int
    """How often it runs for an image; 0: in training only."""


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """A network at one image size, in float32, as it was trained: norms are not folded."""

    name: str
    """The network's class."""
    image: tuple[int, int, int]
    """``(bands, H, W)``."""
    layers: tuple[Layer, ...]
    """In the order of running, parts behind their whole; last those that only training runs."""
    outputs: dict[str, Shape]
    """Shapes for a batch of one image."""
    encoder_stride: int | None
    """Input pixels per feature of the encoder's coarsest output; None: it has no encoder."""
    parameters: int
    training_parameters: int
    """Those among them that only training uses, such as auxiliary heads."""
    macs: int
    """Multiply-adds of convolutions, matrix products and attention for one image."""
    weights: int
    """Bytes of parameters and buffers."""
    peak: int
    """Most bytes held at once in inference by one image and what is computed of it; without the
    weights, and without what a kernel needs while it works."""
    training: int
    """Bytes that autograd keeps of each image of a training batch, without the loss."""
    regions: tuple[int, ...] = ()
    """Of a detector: how many regions of an image its box head and its mask head are taken to look
    at. In training it is as many as it learns from."""

    def to_json(self) -> dict[str, object]:
        """Plain values for other programs, by the names of the fields."""
        return asdict(self)

    def __str__(self) -> str:
        bands, height, width = self.image
        only_training = (
            f" ({self.training_parameters:,} of them in training only)"
            if self.training_parameters
            else ""
        )
        facts = [
            ("parameters", f"{self.parameters:,}{only_training}"),
            ("multiply-adds", f"{count(self.macs)} an image"),
            ("encoder stride", str(self.encoder_stride or "has no encoder")),
            ("memory, weights", f"{count(self.weights)}B"),
            ("memory, inference", f"{count(self.peak)}B at most for an image, beside the weights"),
            ("memory, training", f"{count(self.training)}B of activations an image"),
        ]
        if self.regions:
            proposals, objects = self.regions
            facts.append(("regions", f"{proposals:,} proposals and {objects:,} objects assumed"))
        facts += [(f"output {name}", shape_text(shape)) for name, shape in self.outputs.items()]
        title = f"{self.name} at {bands} bands of {height} x {width} px, float32"
        return "\n".join(
            [title, "", *_table(self.layers), "", *(f"{key:<18} {text}" for key, text in facts)]
        )


def summarise(
    model: nn.Module, image_size: int = 512, *, bands: int = 3, depth: int = 2
) -> ModelSummary:
    """Measure a network without running it: nothing is computed, and the network stays as it is.

    Parameters
    ----------
    model:
        Takes ``(B, bands, image_size, image_size)``.
    image_size:
        Side of the image, px, within :data:`vitrail.models.trace.SIDES`.
    bands:
        Of the image.
    depth:
        How far modules are taken apart, within :data:`DEPTHS`; a module that only wraps another
        is no level of its own.

    Raises
    ------
    ParameterError
        size or depth is out of range.
    ConfigError
        the network cannot run at this size, or depends on the values in the image.
    """
    check_depth(depth)
    traced = trace(model, image_size, bands)
    sizes = {name: one.numel() for name, one in model.named_parameters()}
    tensors = [*model.parameters(), *model.buffers()]
    return ModelSummary(
        name=type(model).__name__,
        image=traced.image,
        layers=tuple(_layers(traced, sizes, depth)),
        outputs={name: read.shape for name, read in traced.outputs.items()},
        encoder_stride=_encoder_stride(model, traced),
        parameters=sum(sizes.values()),
        training_parameters=sum(sizes[name] for name in traced.idle),
        macs=traced.network.macs,
        weights=sum(one.numel() * one.element_size() for one in tensors),
        peak=traced.peak,
        training=kept_for_training(model, image_size, bands),
        regions=model.regions(training=False) if isinstance(model, MaskRCNN) else (),
    )


def check_depth(depth: int) -> None:
    """Refuse a depth out of range.

    Raises
    ------
    ParameterError
        names the range.
    """
    least, most = DEPTHS
    if not least <= depth <= most:
        raise ParameterError(f"depth {depth}: expected {least} to {most}")


def count(number: int) -> str:
    """A number for people, in powers of 1000: 938, 2.06 M, 152.7 G."""
    size, unit = float(number), ""
    for unit in ("", "k", "M", "G", "T"):
        if size < 999.95 or unit == "T":
            break
        size /= 1000
    return f"{size:.4g} {unit}" if unit else f"{number} "


def shape_text(shape: Shape) -> str:
    """``1 x 21 x 512 x 512``."""
    return " x ".join(map(str, shape)) or "scalar"


def _layers(traced: Trace, sizes: dict[str, int], depth: int) -> Iterator[Layer]:
    """A row for each module down to ``depth``."""
    calls: dict[str, list[Call]] = {}
    for call in traced.calls:
        wrapped = call.parent is not None and call.parent.wraps
        if 1 <= call.level <= depth and not wrapped and not isinstance(call.module, nn.Identity):
            calls.setdefault(call.path, []).append(call)
    for path, several in calls.items():
        last = several[-1]
        parameters = sum(size for name, size in sizes.items() if name.startswith(f"{path}."))
        macs = sum(call.macs for call in several)
        yield Layer(path, last.kind, last.level, last.outputs, parameters, macs, calls=len(several))
    yield from _idle(traced.network.module, "", traced, sizes, depth, level=1)


def _idle(
    module: nn.Module, path: str, traced: Trace, sizes: dict[str, int], depth: int, level: int
) -> Iterator[Layer]:
    """A row for each outermost module none of whose parameters an image meets."""
    called = {call.path: call.level for call in traced.calls}
    for name, child in module.named_children():
        where = f"{path}.{name}" if path else name
        own = {one: size for one, size in sizes.items() if one.startswith(f"{where}.")}
        below = called[where] + 1 if where in called else level
        if own and own.keys() <= traced.idle and level <= depth:
            yield Layer(where, type(child).__name__, level, (), sum(own.values()), 0, calls=0)
        elif below <= depth:
            yield from _idle(child, where, traced, sizes, depth, below)


def _encoder_stride(model: nn.Module, traced: Trace) -> int | None:
    """What the encoder says of itself; else the image's side over that of its coarsest output."""
    for name in ("encoder", "backbone"):
        strides = getattr(getattr(model, name, None), "strides", None)
        if strides:
            return int(strides[-1])
        shapes = [s for call in traced.calls if call.path == name for s in call.outputs]
        sides = [shape[-1] for shape in shapes if len(shape) == 4]
        if sides:
            return round(traced.image[-1] / min(sides))
    return None


def _table(layers: tuple[Layer, ...]) -> list[str]:
    """Aligned columns; numbers to the right."""
    rows = [("layer", "kind", "output", "parameters", "multiply-adds")]
    for layer in layers:
        shapes = [shape_text(shape) for shape in layer.outputs] or ["-"]
        times = f" ({layer.calls} times)" if layer.calls > 1 else ""
        work = f"{count(layer.macs)}{times}" if layer.calls else "in training only"
        indented = "  " * (layer.level - 1) + layer.name
        rows.append((indented, layer.kind, shapes[0], f"{layer.parameters:,}", work.strip()))
        rows += [("", "", shape, "", "") for shape in shapes[1:]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if number > 2 else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]
