"""The layers of matterport's Mask R-CNN, and which of our tensors each becomes.

Names and shapes are those of ``mrcnn/model.py`` of https://github.com/matterport/Mask_RCNN (MIT,
commit 3deaec5). Keras keeps kernels as ``(height, width, in, out)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

Shape = tuple[int, ...]

RESNETS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
"""Blocks of each stage, by timm's names; matterport has no others."""
STAGES = (2, 3, 4, 5)
"""How it numbers them; a block is a letter from ``a`` on."""

RATIOS = 3
"""Shapes of anchors at each place: width / height 0.5, 1, 2, in its order."""

GROUPS = {"rpn_model": ("rpn_conv_shared", "rpn_class_raw", "rpn_bbox_pred")}
"""Layers that lie in a network of their own within the file."""
WEIGHTLESS = ("rpn_class", "rpn_bbox", "mrcnn_class", "mrcnn_bbox")
"""Layers that the original's users name when they leave out heads, and that have no weights."""


@dataclass(frozen=True)
class Sizes:
    """What differs from file to file; 0: no layer tells it."""

    blocks: tuple[int, ...]
    """Of each stage of the ResNet."""
    pyramid: int
    rpn: int
    box: int
    """Outputs of the box head's layers."""
    pooled: int
    """Side of what the box head sees of a region."""
    mask: int
    classes: int
    """Background included."""


@dataclass(frozen=True)
class Layer:
    """A convolution or fully connected layer with a kernel and a bias."""

    name: str
    shape: Shape
    """Of its kernel."""
    ours: str
    """How the names of our tensors begin."""
    norm: str = ""
    """The batch norm behind it."""
    our_norm: str = ""
    """Ours of it; without one, it is folded into the layer."""
    outputs: Callable[[np.ndarray], np.ndarray] = lambda values: values
    """Picks and orders outputs, which are the last axis of kernel and bias."""
    turned: Callable[[np.ndarray], np.ndarray] = lambda kernel: kernel.transpose(3, 2, 0, 1)
    """From Keras's order of a kernel's axes to torch's. Of a transposed convolution, Keras keeps
    (height, width, out, in) and torch (in, out, height, width)."""

    @property
    def width(self) -> int:
        """How many values its bias has."""
        return self.shape[2] if self.name == "mrcnn_mask_deconv" else self.shape[-1]


def layers(sizes: Sizes) -> Iterator[Layer]:
    """Every layer with weights of the network of these sizes."""
    yield from _encoder(sizes.blocks)
    for level, stage in enumerate(STAGES):
        width = 64 * 2 ** (level + 2)
        lateral = (1, 1, width, sizes.pyramid)
        yield Layer(f"fpn_c{stage}p{stage}", lateral, f"pyramid.laterals.{level}")
        smooth = (3, 3, sizes.pyramid, sizes.pyramid)
        yield Layer(f"fpn_p{stage}", smooth, f"pyramid.smooth.{level}")
    yield from _proposals(sizes)
    yield from _box_head(sizes)
    yield from _mask_head(sizes)


def _encoder(blocks: tuple[int, ...]) -> Iterator[Layer]:
    net = "encoder.net"
    yield Layer("conv1", (7, 7, 3, 64), f"{net}.conv1", "bn_conv1", f"{net}.bn1")
    inputs = 64
    for level, (stage, count) in enumerate(zip(STAGES, blocks, strict=True)):
        inner = 64 * 2**level
        for block in range(count):
            letter = f"{stage}{chr(ord('a') + block)}"
            ours = f"{net}.layer{level + 1}.{block}"
            branches = {
                "2a": ((1, 1, inputs, inner), "conv1", "bn1"),
                "2b": ((3, 3, inner, inner), "conv2", "bn2"),
                "2c": ((1, 1, inner, 4 * inner), "conv3", "bn3"),
            }
            if block == 0:
                branches["1"] = ((1, 1, inputs, 4 * inner), "downsample.0", "downsample.1")
            for branch, (shape, conv, norm) in branches.items():
                theirs = f"{letter}_branch{branch}"
                yield Layer(
                    f"res{theirs}", shape, f"{ours}.{conv}", f"bn{theirs}", f"{ours}.{norm}"
                )
            inputs = 4 * inner


def _proposals(sizes: Sizes) -> Iterator[Layer]:
    yield Layer("rpn_conv_shared", (3, 3, sizes.pyramid, sizes.rpn), "rpn.convs.0")
    scores, deltas = (1, 1, sizes.rpn, 2 * RATIOS), (1, 1, sizes.rpn, 4 * RATIOS)
    yield Layer("rpn_class_raw", scores, "rpn.objectness", outputs=_foreground)
    yield Layer("rpn_bbox_pred", deltas, "rpn.deltas", outputs=_x_before_y)


def _box_head(sizes: Sizes) -> Iterator[Layer]:
    first = (sizes.pooled, sizes.pooled, sizes.pyramid, sizes.box)
    yield Layer(
        "mrcnn_class_conv1", first, "box_head.layers.0", "mrcnn_class_bn1", turned=_flattened
    )
    second = (1, 1, sizes.box, sizes.box)
    yield Layer(
        "mrcnn_class_conv2", second, "box_head.layers.1", "mrcnn_class_bn2", turned=_flattened
    )
    scores, deltas = (sizes.box, sizes.classes), (sizes.box, 4 * sizes.classes)
    yield Layer("mrcnn_class_logits", scores, "box_predictor.scores", turned=np.transpose)
    yield Layer(
        "mrcnn_bbox_fc",
        deltas,
        "box_predictor.deltas",
        outputs=lambda values: _x_before_y(values)[..., 4:],
        turned=np.transpose,
    )


def _mask_head(sizes: Sizes) -> Iterator[Layer]:
    for number in range(4):
        inputs = sizes.mask if number else sizes.pyramid
        yield Layer(
            f"mrcnn_mask_conv{number + 1}",
            (3, 3, inputs, sizes.mask),
            f"mask_head.convs.{number}",
            f"mrcnn_mask_bn{number + 1}",
        )
    yield Layer("mrcnn_mask_deconv", (2, 2, sizes.mask, sizes.mask), "mask_head.upsample")
    yield Layer(
        "mrcnn_mask",
        (1, 1, sizes.mask, sizes.classes),
        "mask_head.logits",
        outputs=lambda values: values[..., 1:],
    )


def _flattened(kernel: np.ndarray) -> np.ndarray:
    """A convolution that covers all it sees, as fully connected over (channel, y, x)."""
    return kernel.transpose(3, 2, 0, 1).reshape(kernel.shape[3], -1)


def _foreground(values: np.ndarray) -> np.ndarray:
    """Background and object of each anchor become one: softmax over both is the sigmoid of it."""
    pairs = values.reshape(*values.shape[:-1], -1, 2)
    return pairs[..., 1] - pairs[..., 0]


def _x_before_y(values: np.ndarray) -> np.ndarray:
    """dy, dx, dh, dw of each box become dx, dy, dw, dh."""
    return values.reshape(*values.shape[:-1], -1, 4)[..., [1, 0, 3, 2]].reshape(values.shape)
