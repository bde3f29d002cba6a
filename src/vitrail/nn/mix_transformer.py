"""Mix Transformer (MiT): a pyramid of features from attention without positional encoding.

Xie, Wang, Yu, Anandkumar, Alvarez, Luo: "SegFormer: Simple and Efficient Design for Semantic
Segmentation with Transformers", arXiv:2105.15203, section 3.1. Written from the paper.
The original code (https://github.com/NVlabs/SegFormer) and the ImageNet weights published with it
are for research and evaluation only (NVIDIA source code licence); nothing of them is used here.
Code: Apache-2.0; weights: whoever loads NVIDIA's is bound by their licence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from timm.layers.drop import DropPath
from timm.layers.weight_init import trunc_normal_
from torch import Tensor, nn
from torch.nn import functional as F

from vitrail.errors import ConfigError

EXPANSION = 4
"""Hidden channels of a feed-forward block per channel: as in the published weights. It brings the
parameters to the paper's count."""
STRIDES = (4, 8, 16, 32)


@dataclass(frozen=True, slots=True)
class MixTransformerSize:
    """The numbers of one encoder, finest stage first (arXiv:2105.15203, appendix)."""

    channels: tuple[int, ...]
    depths: tuple[int, ...]
    """Transformer blocks."""
    heads: tuple[int, ...] = (1, 2, 5, 8)
    """Of attention."""
    reductions: tuple[int, ...] = (8, 4, 2, 1)
    """Keys and values are this much coarser than the queries, along each axis."""


_WIDE = (64, 128, 320, 512)
SIZES = {
    "mit_b0": MixTransformerSize((32, 64, 160, 256), (2, 2, 2, 2)),
    "mit_b1": MixTransformerSize(_WIDE, (2, 2, 2, 2)),
    "mit_b2": MixTransformerSize(_WIDE, (3, 4, 6, 3)),
    "mit_b3": MixTransformerSize(_WIDE, (3, 4, 18, 3)),
    "mit_b4": MixTransformerSize(_WIDE, (3, 8, 27, 3)),
    "mit_b5": MixTransformerSize(_WIDE, (3, 6, 40, 3)),
}


class OverlapPatchMerging(nn.Module):
    """A strided convolution whose windows overlap, and a layer norm."""

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, channels, kernel, stride, padding=kernel // 2)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """``(B, C, H, W)`` to tokens ``(B, h * w, channels)`` and ``(h, w)``."""
        x = self.proj(x)
        return self.norm(tokens(x)), (x.shape[2], x.shape[3])


class EfficientAttention(nn.Module):
    """Self-attention whose keys and values come from a coarser map (section 3.1, equation 2).

    The sequence of ``N`` tokens is shortened to ``N / reduction^2`` by a convolution as large as
    its stride: the paper's reshaping and linear layer.
    """

    def __init__(self, channels: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.proj = nn.Linear(channels, channels)
        self.reduce = self.norm = None
        if reduction > 1:
            self.reduce = nn.Conv2d(channels, channels, reduction, stride=reduction)
            self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Tokens ``(B, N, C)`` of a map of ``size = (h, w)`` to the same shape."""
        batch, count, channels = x.shape
        source = x
        if self.reduce is not None and self.norm is not None:
            source = self.norm(tokens(self.reduce(as_map(x, size))))
        query = self._split(self.query(x))
        key, value = (self._split(part) for part in self.key_value(source).chunk(2, dim=2))
        attended = F.scaled_dot_product_attention(query, key, value)
        return self.proj(attended.transpose(1, 2).reshape(batch, count, channels))

    def _split(self, x: Tensor) -> Tensor:
        """``(B, N, C)`` to ``(B, heads, N, C / heads)``."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class MixFeedForward(nn.Module):
    """Linear, depthwise 3x3 convolution, GELU, linear: ``MLP(GELU(Conv(MLP(x))))`` (equation 3).

    The zeros around the convolution tell a token where it lies: there is no other encoding.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = EXPANSION * channels
        self.expand = nn.Linear(channels, hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.project = nn.Linear(hidden, channels)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Tokens ``(B, N, C)`` of a map of ``size = (h, w)`` to the same shape."""
        x = self.depthwise(as_map(self.expand(x), size))
        return self.project(F.gelu(tokens(x)))


class MixBlock(nn.Module):
    """Attention and feed-forward, each behind a layer norm and added to what came in."""

    def __init__(self, channels: int, heads: int, reduction: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.attention = EfficientAttention(channels, heads, reduction)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.feed_forward = MixFeedForward(channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        x = x + self.drop_path(self.attention(self.norm1(x), size))
        return x + self.drop_path(self.feed_forward(self.norm2(x), size))


class MixStage(nn.Module):
    """Patches merged to half the resolution (a quarter in the first stage), blocks, layer norm."""

    def __init__(
        self,
        merge: OverlapPatchMerging,
        blocks: Sequence[MixBlock],
        channels: int,
    ) -> None:
        super().__init__()
        self.merge = merge
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, channels, h, w)``."""
        x, size = self.merge(x)
        for block in self.blocks:
            x = block(x, size)
        return as_map(self.norm(x), size)


class MixTransformer(nn.Module):
    """Four stages at strides 4, 8, 16 and 32.

    Parameters
    ----------
    size:
        The numbers of the network, one of :data:`SIZES`.
    in_channels:
        Bands of the input image.
    drop_path:
        Probability that the last block's branches are dropped from a sample in training; the
        others' grow linearly up to it (stochastic depth, Huang et al., arXiv:1603.09382).

    Attributes
    ----------
    channels, strides:
        Width and stride (input pixels per feature) of each stage, finest first.
    """

    def __init__(
        self, size: MixTransformerSize, *, in_channels: int = 3, drop_path: float = 0.1
    ) -> None:
        super().__init__()
        self.channels: list[int] = list(size.channels)
        self.strides: list[int] = list(STRIDES)
        last = max(1, sum(size.depths) - 1)
        rates = (drop_path * block / last for block in range(last + 1))
        self.stages = nn.ModuleList()
        below = in_channels
        for channels, depth, heads, reduction in zip(
            size.channels, size.depths, size.heads, size.reductions, strict=True
        ):
            first = not self.stages
            merge = OverlapPatchMerging(below, channels, *((7, 4) if first else (3, 2)))
            blocks = [MixBlock(channels, heads, reduction, next(rates)) for _ in range(depth)]
            self.stages.append(MixStage(merge, blocks, channels))
            below = channels
        self.apply(_initialise)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images ``(B, C, H, W)``, at least 32 px each way, to the stages' features, finest
        first: ``(B, channels[i], ~H/strides[i], ~W/strides[i])``."""
        features: list[Tensor] = []
        x = images
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features

    def load_pretrained(self, state: dict[str, Tensor]) -> None:
        """Take weights with this encoder's own keys, or with those of Hugging Face's SegFormer.

        See :func:`from_hugging_face`; a classifier or a decoder in the file is ignored. For
        another number of bands the RGB filters' mean is taken, scaled to keep the response's size.

        Raises
        ------
        ConfigError
            a tensor is missing or has another shape; nothing was changed.
        """
        own = self.state_dict()
        given = from_hugging_face(state) | state
        missing = [key for key in own if key not in given]
        if missing:
            raise ConfigError(
                f"the encoder weights lack {len(missing)} of the Mix Transformer's tensors, the "
                f"first is {missing[0]!r}; they must have this encoder's keys, or those of Hugging "
                "Face's SegFormer, as in its mit-b0 to mit-b5"
            )
        wanted = {key: _with_bands(given[key], value) for key, value in own.items()}
        for key, value in own.items():
            if wanted[key].shape != value.shape:
                raise ConfigError(
                    f"encoder weights: {key} has shape {tuple(wanted[key].shape)}, this Mix "
                    f"Transformer wants {tuple(value.shape)}; is it another of mit_b0 to mit_b5?"
                )
        self.load_state_dict(wanted)


_NAMES = {
    "norm1.": "layer_norm_1.",
    "norm2.": "layer_norm_2.",
    "attention.query.": "attention.self.query.",
    "attention.reduce.": "attention.self.sr.",
    "attention.norm.": "attention.self.layer_norm.",
    "attention.proj.": "attention.output.dense.",
    "feed_forward.expand.": "mlp.dense1.",
    "feed_forward.depthwise.": "mlp.dwconv.dwconv.",
    "feed_forward.project.": "mlp.dense2.",
}
"""Our names within a block, and Hugging Face's."""


def from_hugging_face(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The encoder of a Hugging Face SegFormer checkpoint, under our keys.

    ============================================  ===============================================
    ``segformer.encoder.``...                     ours
    ============================================  ===============================================
    ``patch_embeddings.{i}.proj``                 ``stages.{i}.merge.proj``
    ``patch_embeddings.{i}.layer_norm``           ``stages.{i}.merge.norm``
    ``block.{i}.{j}.layer_norm_1``                ``stages.{i}.blocks.{j}.norm1``
    ``block.{i}.{j}.attention.self.query``        ``stages.{i}.blocks.{j}.attention.query``
    ``block.{i}.{j}.attention.self.key, .value``  ``...attention.key_value``, keys first
    ``block.{i}.{j}.attention.self.sr``           ``...attention.reduce``
    ``block.{i}.{j}.attention.self.layer_norm``   ``...attention.norm``
    ``block.{i}.{j}.attention.output.dense``      ``...attention.proj``
    ``block.{i}.{j}.layer_norm_2``                ``stages.{i}.blocks.{j}.norm2``
    ``block.{i}.{j}.mlp.dense1, .dense2``         ``...feed_forward.expand, .project``
    ``block.{i}.{j}.mlp.dwconv.dwconv``           ``...feed_forward.depthwise``
    ``layer_norm.{i}``                            ``stages.{i}.norm``
    ============================================  ===============================================

    Whatever else is in the file is left out.
    """
    prefix = "segformer.encoder."
    theirs = {key.removeprefix(prefix): v for key, v in state.items() if key.startswith(prefix)}
    ours: dict[str, Tensor] = {}
    for key, value in theirs.items():
        kind, stage, rest = [*key.split(".", 2), "", ""][:3]
        if kind == "patch_embeddings":
            ours[f"stages.{stage}.merge.{rest.replace('layer_norm.', 'norm.')}"] = value
        elif kind == "layer_norm":
            ours[f"stages.{stage}.norm.{rest}"] = value
        elif kind == "block":
            block, _, rest = rest.partition(".")
            at = f"stages.{stage}.blocks.{block}."
            if rest.startswith("attention.self.key."):
                other = theirs.get(key.replace(".key.", ".value."))
                if other is not None and value.ndim and other.shape == value.shape:
                    name = rest.replace("self.key", "key_value")
                    ours[at + name] = torch.cat([value, other])
            for name, its_name in _NAMES.items():
                if rest.startswith(its_name):
                    ours[at + name + rest.removeprefix(its_name)] = value
    return ours


def tokens(x: Tensor) -> Tensor:
    """``(B, C, h, w)`` to ``(B, h * w, C)``."""
    return x.flatten(2).transpose(1, 2)


def as_map(x: Tensor, size: tuple[int, int]) -> Tensor:
    """``(B, h * w, C)`` to ``(B, C, h, w)``."""
    return x.transpose(1, 2).unflatten(2, size)


def _with_bands(given: Tensor, own: Tensor) -> Tensor:
    """The first filters for another number of bands; other tensors as they are."""
    if given.ndim != 4 or given.shape[1] != 3 or own.ndim != 4 or own.shape[1] == 3:
        return given
    return given.mean(1, keepdim=True).repeat(1, own.shape[1], 1, 1) * (3.0 / own.shape[1])


def _initialise(module: nn.Module) -> None:
    """As vision transformers usually are: truncated normal of 0.02 for linear layers, and for
    convolutions a variance of ``2 / fan_out`` (He et al., arXiv:1502.01852)."""
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=0.02)
    elif isinstance(module, nn.Conv2d):
        fan_out = module.weight[0, 0].numel() * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=(2.0 / fan_out) ** 0.5)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)
