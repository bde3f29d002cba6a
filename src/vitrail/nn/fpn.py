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
    norm:
        Whether a batch norm follows each convolution, which then has no bias (Li et al.,
        arXiv:2111.11429).
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        *,
        smooth: bool = True,
        norm: bool = False,
    ) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(_conv(width, channels, 1, norm) for width in in_channels)
        self.smooth = nn.ModuleList(
            _conv(channels, channels, 3, norm) if smooth else nn.Identity() for _ in in_channels
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Features ``(B, in_channels[i], h_i, w_i)``, finest first, to ``(B, channels, h_i, w_i)``
        each."""
        levels = [lateral(x) for lateral, x in zip(self.laterals, features, strict=True)]
        for fine in range(len(levels) - 2, -1, -1):
            above = F.interpolate(levels[fine + 1], size=levels[fine].shape[-2:], mode="nearest")
            levels[fine] = levels[fine] + above
        return [smooth(level) for smooth, level in zip(self.smooth, levels, strict=True)]


def _conv(before: int, channels: int, size: int, norm: bool) -> nn.Module:
    conv = nn.Conv2d(before, channels, size, padding=size // 2, bias=not norm)
    return nn.Sequential(conv, nn.BatchNorm2d(channels)) if norm else conv
