"""The two heads that look at regions: one for class and box, one for the mask.

Girshick: "Fast R-CNN", arXiv:1504.08083; He et al.: "Mask R-CNN", arXiv:1703.06870, figure 4;
with convolutions and norms: Li et al., arXiv:2111.11429, section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class BoxHead(nn.Module):
    """Pooled features to a vector a region: convolutions if any, then fully connected layers.

    Parameters
    ----------
    channels, size:
        Of the pooled features.
    convs:
        3x3 with batch norm, before the layers.
    layers, width:
        How many fully connected ones, and how wide they are.
    """

    def __init__(self, channels: int, size: int, convs: int, layers: int, width: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_normed(channels, channels) for _ in range(convs))
        self.activations = _activations(convs)
        widths = [channels * size * size, *[width] * layers]
        self.layers = nn.ModuleList(nn.Linear(before, width) for before in widths[:-1])
        for layer in self.layers:
            nn.init.kaiming_uniform_(layer.weight, a=1)  # pyright: ignore[reportArgumentType]
            nn.init.zeros_(layer.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, pooled: Tensor) -> Tensor:
        """``(R, channels, size, size)`` to ``(R, width)``."""
        x = pooled
        for conv, activation in zip(self.convs, self.activations, strict=True):
            x = activation(conv(x))
        x = x.flatten(1)
        for layer in self.layers:
            x = layer(x).relu_()
        return x


class BoxPredictor(nn.Module):
    """Scores of the classes, background first, and four deltas for each class but that."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.scores = nn.Linear(width, 1 + classes)
        self.deltas = nn.Linear(width, 4 * classes)
        for layer, spread in ((self.scores, 0.01), (self.deltas, 0.001)):
            nn.init.normal_(layer.weight, std=spread)
            nn.init.zeros_(layer.bias)

    def forward(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        """``(R, width)`` to ``(R, 1 + classes)`` and ``(R, 4 * classes)``."""
        return self.scores(regions), self.deltas(regions)


class MaskHead(nn.Module):
    """Convolutions, a doubling, and a 1x1 convolution to one mask for each class.

    Parameters
    ----------
    in_channels, channels:
        Of the pooled features, and of the convolutions.
    convs:
        How many 3x3 ones.
    norm:
        Whether batch norms follow them.
    classes:
        Without background.
    """

    def __init__(
        self, in_channels: int, channels: int, convs: int, classes: int, *, norm: bool
    ) -> None:
        super().__init__()
        widths = [in_channels, *[channels] * convs]
        self.convs = nn.ModuleList(
            _normed(before, channels) if norm else nn.Conv2d(before, channels, 3, padding=1)
            for before in widths[:-1]
        )
        self.upsample = nn.ConvTranspose2d(widths[-1], channels, 2, stride=2)
        self.activations = _activations(convs + 1)
        self.logits = nn.Conv2d(channels, classes, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        nn.init.normal_(self.logits.weight, std=0.001)

    def forward(self, pooled: Tensor) -> Tensor:
        """``(R, in_channels, s, s)`` to logits ``(R, classes, 2 * s, 2 * s)``."""
        return self.logits(self._enlarged(pooled))

    def of_class(self, pooled: Tensor, class_ids: Tensor) -> Tensor:
        """Logits ``(R, 2 * s, 2 * s)`` of one class a region, ``(R,)`` int64 from 0.

        The last convolution runs for that class alone, of eighty or more.
        """
        x = self._enlarged(pooled)
        weights = self.logits.weight.flatten(1)[class_ids].unsqueeze(1)
        bias = self.logits.bias
        assert bias is not None
        logits = torch.bmm(weights.to(x.dtype), x.flatten(2)).unflatten(2, x.shape[2:])
        return logits.squeeze(1) + bias[class_ids, None, None]

    def _enlarged(self, pooled: Tensor) -> Tensor:
        x = pooled
        for layer, activation in zip([*self.convs, self.upsample], self.activations, strict=True):
            x = activation(layer(x))
        return x


def _normed(before: int, channels: int) -> nn.Sequential:
    conv = nn.Conv2d(before, channels, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, nn.BatchNorm2d(channels))


def _activations(count: int) -> nn.ModuleList:
    """One for each layer: as modules they can be fused with the convolutions before them."""
    return nn.ModuleList(nn.ReLU(inplace=True) for _ in range(count))
