"""Encoders: a timm backbone read as a pyramid of features, finest first.

Backbones come from timm (https://github.com/huggingface/pytorch-image-models, Apache-2.0; the
licence of each set of weights varies, see its card). MobileNetV2: Sandler et al.,
"MobileNetV2: Inverted Residuals and Linear Bottlenecks", arXiv:1801.04381.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import timm
import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn

from vitrail.errors import ConfigError, UnknownNameError

_USUAL = "resnet50, mobilenetv2_100 or efficientnet_b0"


class TimmEncoder(nn.Module):
    """Any timm backbone that offers ``features_only``, as a feature pyramid.

    Parameters
    ----------
    name:
        A timm model name, such as ``mobilenetv2_100`` or ``resnet50``. With ``+head`` behind it the
        last stage is followed by the wide 1x1 convolution that stands before the classifier, as in
        the encoder ``mobilenet_v2`` of segmentation_models.pytorch.
    in_channels:
        Bands of the input image.
    depth:
        How many stages are used, at most; stage ``i`` has stride ``strides[i]``. Later ones are
        not built.
    output_stride:
        Stride of the coarsest stage: below 32, later stages dilate their convolutions instead of
        striding (Chen et al., arXiv:1706.05587, section 3.1), if the backbone can.

    Attributes
    ----------
    channels, strides:
        Width and stride (input pixels per feature) of each stage, finest first.

    Raises
    ------
    UnknownNameError
        timm has no such network.
    ConfigError
        it has no pyramid of features, or not at that output stride.
    """

    def __init__(
        self, name: str, *, in_channels: int = 3, depth: int = 5, output_stride: int = 32
    ) -> None:
        super().__init__()
        dilation = {} if output_stride == 32 else {"output_stride": output_stride}
        # Five stages are timm's own default, and more than some backbones have.
        stages = {"out_indices": tuple(range(depth))} if depth < 5 else {}
        name, plus, part = name.partition("+")
        self.name = name
        self.net = _create(name, in_channels, features_only=True, **dilation, **stages)
        self.channels_last = str(getattr(self.net, "output_fmt", "")).endswith("NHWC")
        info: Any = self.net.feature_info
        if stages and "stage" in info.get_dicts()[-1]:  # timm's mobile networks keep the others
            self.net.blocks = self.net.blocks[: info.get_dicts()[-1]["stage"]]
        self.channels: list[int] = info.channels()[:depth]
        self.strides: list[int] = info.reduction()[:depth]
        self.with_head = bool(plus)
        if plus:
            self.channels[-1] = self._add_head(name, part)
        if self.strides[0] == self.strides[-1] or (not dilation and not _coarser(self.strides)):
            raise ConfigError(
                f"encoder {name} keeps one resolution (strides {self.strides}); expected one "
                "whose stages grow coarser"
            )
        if dilation and self.strides[-1] != output_stride:
            raise ConfigError(
                f"encoder {name} has strides {self.strides}, and not output_stride={output_stride}"
            )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images ``(B, C, H, W)`` to ``(B, channels[i], ~H/strides[i], ~W/strides[i])`` each.

        Raises
        ------
        ConfigError
            the encoder takes images of certain sizes only, or, in training, one image is so small
            that batch norm has a single value per channel.
        """
        self._check_statistics(images)
        height, width = images.shape[-2:]
        refused = f"encoder {self.name} takes no input of {width} x {height} px"
        try:
            features = self.net(images)
        except AssertionError as error:  # windows of attention that cannot be laid over it
            raise ConfigError(f"{refused}: {error}") from None
        except (IndexError, RuntimeError) as error:
            made_for = _fixed_size(self.name)
            fits = made_for in (None, (height, width))
            if fits or isinstance(error, torch.OutOfMemoryError):
                raise
            raise ConfigError(
                f"{refused}: it was made for {made_for[1]} x {made_for[0]} px"
            ) from None
        if self.with_head:
            features[-1] = self.net.bn2(self.net.conv_head(features[-1]))
        return [
            # Some transformers keep channels last.
            feature.permute(0, 3, 1, 2) if self.channels_last else feature
            for feature, _ in zip(features, self.channels, strict=False)
        ]

    def load_pretrained(self, state: dict[str, Tensor]) -> None:
        """Take ImageNet weights with timm's keys of the whole classifier (its head is ignored)."""
        _load_backbone(self.net, state)

    def _check_statistics(self, images: Tensor) -> None:
        height, width = images.shape[-2:]
        if not self.training or len(images) > 1 or max(height, width) > self.strides[-1]:
            return
        # Synchronised ones are other classes: they see the other processes' images too.
        if any(m.training and type(m) in (nn.BatchNorm2d, BatchNormAct2d) for m in self.modules()):
            raise ConfigError(
                f"training on 1 image of {width} x {height} px: its coarsest features (stride "
                f"{self.strides[-1]}) are one value a channel, of which batch norm cannot take the "
                f"variance; take a batch size of 2 or more, or more than {self.strides[-1]} px"
            )

    def _add_head(self, name: str, part: str) -> int:
        """Take the wide convolution over from the classifier; the width of its result."""
        whole = _create(name, 3, num_classes=0)
        convolution, norm = (getattr(whole, layer, None) for layer in ("conv_head", "bn2"))
        # MobileNetV3 has one without a norm, behind the mean of the whole image.
        fits = isinstance(norm, nn.Module) and part == "head"
        if (
            not fits
            or not isinstance(convolution, nn.Conv2d)
            or convolution.in_channels != self.channels[-1]
        ):
            raise ConfigError(
                f"encoder {name}+{part}: expected NAME+head, of a network with a 1x1 convolution "
                "and its batch norm between its last stage and the classifier (mobilenetv2_100, "
                "efficientnet_b0)"
            )
        self.net.conv_head, self.net.bn2 = convolution, norm
        return convolution.out_channels


class MobileNetV2Taps(nn.Module):
    """MobileNetV2 tapped where the TensorFlow segmentation tutorial taps it.

    The four expansions that feed a stride-2 depthwise convolution (Keras:
    ``block_{1,3,6,13}_expand_relu``) and the last projection (``block_16_project``): at width 1.0
    that is 96, 144, 192, 576 and 320 channels at strides 2, 4, 8, 16 and 32.
    """

    strides = (2, 4, 8, 16, 32)

    def __init__(self, name: str = "mobilenetv2_100", *, in_channels: int = 3) -> None:
        super().__init__()
        if not name.startswith("mobilenetv2"):
            raise ConfigError(f"the tutorial's taps need a mobilenetv2 encoder, got {name!r}")
        self.net = _create(name, in_channels, num_classes=0)
        # The 1280-wide layer behind the last tap is for classification only.
        self.net.conv_head, self.net.bn2 = nn.Identity(), nn.Identity()
        self.channels: list[int] = [
            block.conv_pw.out_channels
            for stage in self.net.blocks
            for block in stage
            if _halves(block)
        ] + [self.net.blocks[-1][-1].conv_pwl.out_channels]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images ``(B, C, H, W)`` to the five taps, finest first."""
        x = self.net.bn1(self.net.conv_stem(images))
        taps: list[Tensor] = []
        for stage in self.net.blocks:
            for block in stage:
                if _halves(block):
                    expanded = block.bn1(block.conv_pw(x))
                    taps.append(expanded)
                    x = block.bn3(block.conv_pwl(block.se(block.bn2(block.conv_dw(expanded)))))
                else:
                    x = block(x)
        return [*taps, x]

    def load_pretrained(self, state: dict[str, Tensor]) -> None:
        """Take ImageNet weights with timm's keys of the whole classifier (its head is ignored)."""
        _load_backbone(self.net, state)


def _halves(block: nn.Module) -> bool:
    """Whether an inverted residual expands and then halves the resolution."""
    depthwise = getattr(block, "conv_dw", None)
    return hasattr(block, "conv_pw") and depthwise is not None and depthwise.stride == (2, 2)


def _coarser(strides: list[int]) -> bool:
    """Whether each stage is coarser than the one before it."""
    return all(coarse > fine for fine, coarse in pairwise(strides))


def _fixed_size(name: str) -> tuple[int, int] | None:
    """``(H, W)`` in px if timm knows that the network was made for one size of input."""
    config = timm.get_pretrained_cfg(name)
    return config.input_size[1:] if config is not None and config.fixed_input_size else None


def _create(name: str, in_channels: int, **options: Any) -> Any:
    """A timm network without pretrained weights; ``Any``, since its parts vary by family."""
    if not name:
        raise ConfigError(f"encoder: the name is empty; expected one of timm's, such as {_USUAL}")
    if not timm.is_model(name):
        raise UnknownNameError("timm encoder", name, timm.list_models())
    if name.startswith("swin"):
        options |= {"strict_img_size": False}  # its windows can be laid over images of any size
    try:
        return timm.create_model(name, pretrained=False, in_chans=in_channels, **options)
    except (RuntimeError, AttributeError, TypeError, AssertionError, NotImplementedError) as error:
        wanted = "".join(f" with {key}={options[key]}" for key in options if key == "output_stride")
        reason = str(error) or type(error).__name__
        raise ConfigError(f"timm's {name} cannot serve as an encoder{wanted}: {reason}") from None


def _load_backbone(net: nn.Module, state: dict[str, Tensor]) -> None:
    """Copy what the backbone has; a missing or misshapen tensor is an error, not a warning."""
    own = net.state_dict()
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    if missing:
        raise ConfigError(
            f"the encoder weights lack {len(missing)} of the backbone's tensors, the first is "
            f"{missing[0]!r}; they must have timm's own keys"
        )
    for key, value in own.items():
        if key not in state:
            continue
        given = state[key]
        if given.ndim == value.ndim == 4 and given.shape[1] == 3 and value.shape[1] != 3:
            # Another number of bands: the RGB filters' mean, scaled to keep the response's size.
            bands = value.shape[1]
            given = given.mean(1, keepdim=True).repeat(1, bands, 1, 1) * (3.0 / bands)
        if given.shape != value.shape:
            raise ConfigError(
                f"encoder weights: {key} has shape {tuple(given.shape)}, "
                f"the backbone wants {tuple(value.shape)}"
            )
        with torch.no_grad():
            value.copy_(given)
