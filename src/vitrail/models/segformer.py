"""SegFormer: a Mix Transformer, and a decoder of nothing but 1x1 layers.

Xie, Wang, Yu, Anandkumar, Alvarez, Luo: "SegFormer: Simple and Efficient Design for Semantic
Segmentation with Transformers", arXiv:2105.15203. Written from the paper: the original code
(https://github.com/NVlabs/SegFormer) and the weights published with it are for research and
evaluation only (NVIDIA source code licence); nothing of them is used here. Code: Apache-2.0;
weights: see each card, and whoever loads NVIDIA's is bound by their licence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from vitrail.models.arguments import Classes
from vitrail.models.base import RawOutput, SemanticModel
from vitrail.nn import mix_transformer
from vitrail.nn.mix_transformer import SIZES, MixTransformer
from vitrail.nn.upsample import enlarge, full_size, pad_to_least


class AllMLPDecoder(nn.Module):
    """Every feature projected to one width, enlarged to the finest, joined and fused by an MLP.

    Figure 2 and equation 4 of the paper: ``fuse(concat(enlarge(project_i(F_i))))``. ``fuse`` is a
    1x1 convolution, and bilinear enlarging is linear too, the same in every channel: so each
    feature meets its share of ``fuse`` before it is enlarged, and the shares are added. The result
    is the same, without the concatenation of four wide maps at stride 4, and with the products of
    three of them taken at their own, coarser strides.

    Parameters
    ----------
    encoder_channels:
        Widths of the features, finest first.
    width:
        Of the projections and of the result.
    dropout:
        Share of the result's channels that are dropped in training.
    """

    def __init__(self, encoder_channels: Sequence[int], width: int, dropout: float) -> None:
        super().__init__()
        self.project = nn.ModuleList(nn.Conv2d(below, width, 1) for below in encoder_channels)
        self.fuse = nn.ModuleList(nn.Conv2d(width, width, 1, bias=False) for _ in encoder_channels)
        self.norm = nn.BatchNorm2d(width)
        self.activate = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout2d(dropout)
        self.out_channels = width

    def forward(self, features: list[Tensor]) -> Tensor:
        """Features, finest first, to ``(B, width, h, w)`` at the finest one's size."""
        finest, *coarser = (
            fuse(project(feature))
            for fuse, project, feature in zip(self.fuse, self.project, features, strict=True)
        )
        size = (finest.shape[2], finest.shape[3])
        for share in coarser:
            finest = finest + enlarge(share, size)
        return self.dropout(self.activate(self.norm(finest)))


class SegFormer(SemanticModel):
    """Encoder, all-MLP decoder at stride 4, 1x1 convolution to the logits, bilinear to the end."""

    def __init__(self, encoder: MixTransformer, decoder: AllMLPDecoder, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.head = nn.Conv2d(decoder.out_channels, classes, 1)
        self.classes = self.channels = classes
        self.stride = encoder.strides[-1]

    def forward(self, images: Tensor) -> RawOutput:
        size = images.shape[-2:]
        images = pad_to_least(images, self.stride)  # the shortened sequence needs a whole patch
        pixels = self.decoder(self.encoder(images))
        return RawOutput(full_size(self.head(pixels), images, size))


def from_hugging_face(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A Hugging Face ``SegformerForSemanticSegmentation`` checkpoint under :class:`SegFormer`'s
    keys.

    The encoder as :func:`vitrail.nn.mix_transformer.from_hugging_face` says, behind ``encoder.``;
    and the decoder:

    =====================================  ====================================================
    ``decode_head.``...                    ours
    =====================================  ====================================================
    ``linear_c.{i}.proj``                  ``decoder.project.{i}``, as a 1x1 convolution
    ``linear_fuse.weight``                 ``decoder.fuse.{i}.weight``; coarsest feature first
    ``batch_norm``                         ``decoder.norm``
    ``classifier``                         ``head``
    =====================================  ====================================================
    """
    encoder = mix_transformer.from_hugging_face(state)
    ours = {f"encoder.{key}": value for key, value in encoder.items()}
    for key, value in state.items():
        _, kind, rest = [*key.split(".", 2), "", ""][:3]
        if not key.startswith("decode_head."):
            continue
        if kind == "linear_c":
            weight = value[:, :, None, None] if value.ndim == 2 else value
            ours[f"decoder.project.{rest.replace('proj.', '')}"] = weight
        elif kind == "linear_fuse" and rest == "weight":
            for index, share in enumerate(reversed(value.chunk(4, dim=1))):
                ours[f"decoder.fuse.{index}.weight"] = share
        elif kind in ("batch_norm", "classifier"):
            ours[f"{'decoder.norm' if kind == 'batch_norm' else 'head'}.{rest}"] = value
    return ours


class SegFormerArguments(BaseModel):
    """What a card or recipe may say of a SegFormer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: Literal["mit_b0", "mit_b1", "mit_b2", "mit_b3", "mit_b4", "mit_b5"] = Field(
        "mit_b0", description="size of the Mix Transformer, SegFormer-B0 to -B5"
    )
    decoder_channels: int | None = Field(
        None, ge=1, le=4096, description="width of the decoder; default 256 (b0, b1) or 768"
    )
    drop_path: float = Field(
        0.1, ge=0, lt=1, description="probability that the last block is skipped in training"
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="channels dropped before the logits")
    in_channels: int = Field(3, ge=1, le=512, description="bands of the input image")
    classes: Classes


def build_segformer(arguments: SegFormerArguments) -> SegFormer:
    """Build the parts and join them; the encoder's numbers stand in ``nn/mix_transformer.py``."""
    encoder = MixTransformer(
        SIZES[arguments.encoder],
        in_channels=arguments.in_channels,
        drop_path=arguments.drop_path,
    )
    small = arguments.encoder in ("mit_b0", "mit_b1")
    width = arguments.decoder_channels or (256 if small else 768)
    decoder = AllMLPDecoder(encoder.channels, width, arguments.dropout)
    return SegFormer(encoder, decoder, arguments.classes)
