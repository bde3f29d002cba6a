"""Build a Faster or Mask R-CNN from its arguments."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from vitrail.errors import ConfigError
from vitrail.models.maskrcnn.arguments import AnchorArguments, MaskRCNNArguments
from vitrail.models.maskrcnn.heads import BoxHead, BoxPredictor, MaskHead
from vitrail.models.maskrcnn.network import MaskRCNN
from vitrail.models.maskrcnn.proposals import ProposalHead
from vitrail.nn.encoder import TimmEncoder
from vitrail.nn.fpn import FeaturePyramid
from vitrail.nn.mobilenetv3 import TorchvisionMobileNetV3

_STRIDES = [4, 8, 16, 32]
"""Of the stages that the pyramid is usually built on."""
_LEVELS = len(_STRIDES)
_HALVING_STAGES = ("layer2", "layer3", "layer4")


def build_mask_rcnn(arguments: MaskRCNNArguments) -> MaskRCNN:
    """Build the parts and join them.

    Raises
    ------
    ConfigError
        the encoder has too few stages or is no ResNet or MobileNetV3 where one is needed, or the
        anchor sizes do not fit the levels.
    """
    encoder = _encoder(arguments)
    _adapt(encoder, arguments)
    channels = encoder.channels[-_LEVELS:]
    _check_anchors(arguments.anchors, len(channels) + 1)
    width, roi = arguments.pyramid_channels, arguments.roi
    mask_head = MaskHead(
        width,
        arguments.mask_channels,
        arguments.mask_convs,
        arguments.classes,
        norm=arguments.mask_norm,
    )
    return MaskRCNN(
        encoder,
        FeaturePyramid(channels, width, norm=arguments.pyramid_norm),
        ProposalHead(width, arguments.rpn_channels, arguments.rpn_convs, arguments.anchors.shapes),
        BoxHead(
            width, roi.box_size, arguments.box_convs, arguments.box_layers, arguments.box_width
        ),
        BoxPredictor(arguments.box_width, arguments.classes),
        mask_head if arguments.masks else None,
        arguments,
    )


def build_faster_rcnn(arguments: MaskRCNNArguments) -> MaskRCNN:
    """The same without a mask head, whatever the arguments say of masks."""
    return build_mask_rcnn(arguments.model_copy(update={"masks": False}))


def _encoder(arguments: MaskRCNNArguments) -> TimmEncoder:
    name, bands = arguments.encoder, arguments.in_channels
    if arguments.torchvision:
        return TorchvisionMobileNetV3(name, in_channels=bands, output_stride=32)
    encoder = TimmEncoder(name, in_channels=bands)
    strides = encoder.strides[-_LEVELS:]
    if strides != _STRIDES:
        raise ConfigError(
            f"encoder={name!r} has the strides {encoder.strides}; expected stages at "
            f"{', '.join(map(str, _STRIDES))} at its end (resnet50, convnext_tiny)"
        )
    return encoder


def _check_anchors(anchors: AnchorArguments, levels: int) -> None:
    if len(anchors.sizes) != levels:
        raise ConfigError(
            f"anchors.sizes={anchors.sizes}: expected {levels}, one for each level of the pyramid "
            "and one for the level above it"
        )
    if len({len(sizes) for sizes in anchors.by_level}) > 1 or not anchors.shapes:
        raise ConfigError(
            f"anchors.sizes={anchors.sizes}, anchors.ratios={anchors.ratios}: expected at least "
            "one of both, and as many sizes at each level, since one layer scores all levels"
        )


class SamePool(nn.Module):
    """3x3 maximum with stride 2, padded as TensorFlow's SAME: on even sides at the end only."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, h, w)`` to ``(B, C, ceil(h / 2), ceil(w / 2))``."""
        height, width = x.shape[-2:]
        return F.max_pool2d(x, 3, stride=2, padding=(height % 2, width % 2), ceil_mode=True)


def _adapt(encoder: TimmEncoder, arguments: MaskRCNNArguments) -> None:
    """Make timm's ResNet the one that weights were trained with."""
    if arguments.norm_eps is not None:
        for module in encoder.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = arguments.norm_eps
    if arguments.same_pool:
        if not isinstance(getattr(encoder.net, "maxpool", None), nn.MaxPool2d):
            raise ConfigError(
                f"same_pool: encoder={arguments.encoder!r} does not begin with a pooling; expected "
                "a ResNet, such as resnet50"
            )
        encoder.net.maxpool = SamePool()
    if arguments.stride_in_1x1:
        blocks = [
            stage[0] for name, stage in encoder.net.named_children() if name in _HALVING_STAGES
        ]
        if not blocks or not all(hasattr(block, "conv3") for block in blocks):
            raise ConfigError(
                f"stride_in_1x1: encoder={arguments.encoder!r} has no 1x1 convolutions in front; "
                "expected a ResNet of 50 layers or more, such as resnet50"
            )
        for block in blocks:
            block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
