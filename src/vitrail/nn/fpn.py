"""Feature pyramid: every stage of an encoder at one width, with what the coarser ones know.

Lin, Dollár, Girshick, He, Hariharan, Belongie: "Feature Pyramid Networks for Object Detection",
arXiv:1612.03144, section 3 and figure 3. Written from the paper.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class FeaturePyramid(nn.Module):
    """Lateral 1x1 convolutions, added to the coarser level enlarged to the nearest neighbour.

    Parameters
    ----------
    in_channels:
        Widths of the stages, finest first.
    channels:
        Width of every level.
    smooth:
        Whether a 3x3 convolution follows on each level, "to reduce the aliasing effect of
        upsampling" (section 3).
    """

    def __init__(self, in_channels: Sequence[int], channels: int, *, smooth: bool = True) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in in_channels)
        self.smooth = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1) if smooth else nn.Identity()
            for _ in in_channels
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Features ``(B, in_channels[i], h_i, w_i)``, finest first, to ``(B, channels, h_i, w_i)``
        each."""
        levels = [lateral(x) for lateral, x in zip(self.laterals, features, strict=True)]
        for fine in range(len(levels) - 2, -1, -1):
            above = F.interpolate(levels[fine + 1], size=levels[fine].shape[-2:], mode="nearest")
            levels[fine] = levels[fine] + above
        return [smooth(level) for smooth, level in zip(self.smooth, levels, strict=True)]
