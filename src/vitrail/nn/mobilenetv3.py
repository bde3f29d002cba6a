"""MobileNetV3 as torchvision's segmentation networks and detectors read it.

Howard et al., "Searching for MobileNetV3", arXiv:1905.02244. The network is timm's (Apache-2.0);
torchvision's differs in details that its weights depend on, see :class:`TorchvisionMobileNetV3`.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from vitrail.errors import ConfigError
from vitrail.nn.encoder import TimmEncoder


class TorchvisionMobileNetV3(TimmEncoder):
    """timm's MobileNetV3, computing what torchvision's does.

    Two features. At output stride 16, for segmentation: the first block at stride 8 (40 channels
    in the large network), and the last 1x1 convolution at stride 16 (960). At output stride 32,
    for detectors, both at stride 32: the first block there (160 channels), and that convolution.

    At 16 three things differ from ``TimmEncoder(name,
    output_stride=16)``: that one reads the *last* block at stride 8, its batch norms add 1e-5
    instead of 1e-3 to the variance, and the first block that no longer strides is the last one
    that does not dilate, whereas torchvision's dilates already.

    Parameters
    ----------
    name:
        timm's ``mobilenetv3_large_100`` or ``mobilenetv3_small_100``, or another width of these.
    in_channels:
        Bands of the input image.
    output_stride:
        16 or 32.

    Raises
    ------
    ConfigError
        the name is of another network.
    """

    def __init__(
        self,
        name: str = "mobilenetv3_large_100",
        *,
        in_channels: int = 3,
        output_stride: Literal[16, 32] = 16,
    ) -> None:
        if not name.startswith(("mobilenetv3_large", "mobilenetv3_small")):
            raise ConfigError(
                f"torchvision's layout is that of mobilenetv3_large_100 and "
                f"mobilenetv3_small_100, got encoder {name!r}"
            )
        super().__init__(name, in_channels=in_channels, output_stride=output_stride)
        for module in self.net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = 1e-3
        for stage in self.net.blocks:
            first, last = stage[0], stage[-1]
            if first is not last and first.conv_dw.dilation != last.conv_dw.dilation:
                first.conv_dw.dilation = last.conv_dw.dilation
                first.conv_dw.padding = tuple(
                    rate * (side - 1) // 2
                    for rate, side in zip(
                        first.conv_dw.dilation, first.conv_dw.kernel_size, strict=True
                    )
                )
        halvings = [stage[0].conv_dw.stride == (2, 2) for stage in self.net.blocks[:-1]]
        # The stem halves once: the second stage that halves brings the stride to 8, and where none
        # dilates, the last one to 32.
        at = 1 if output_stride == 16 else -1
        self.tapped = [stage for stage, halves in enumerate(halvings) if halves][at]
        tapped = self.net.blocks[self.tapped][0]
        self.channels = [tapped.conv_pwl.out_channels, self.channels[-1]]
        self.strides = [8, 16] if output_stride == 16 else [32, 32]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images ``(B, C, H, W)`` to the two features, at :attr:`strides`."""
        x = self.net.act1(self.net.bn1(self.net.conv_stem(images)))
        taps: list[Tensor] = []
        for depth, stage in enumerate(self.net.blocks):
            for place, block in enumerate(stage):
                x = block(x)
                if depth == self.tapped and place == 0:
                    taps.append(x)
        return [*taps, x]
