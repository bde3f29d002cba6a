"""Context encoding: what kind of scene an image shows, as a weight of each channel.

Zhang, Dana, Shi, Zhang, Wang, Tyagi, Agrawal: "Context Encoding for Semantic Segmentation",
arXiv:1803.08904, section 3. Written from the paper; the original code is PyTorch-Encoding
(https://github.com/zhanghang1989/PyTorch-Encoding, MIT).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CodewordEncoding(nn.Module):
    """Residuals of all pixels to learnt codewords, softly assigned and summed.

    With pixels ``x_i``, codewords ``d_k`` and their smoothing factors ``s_k``::

        e_k = sum_i a_ik (x_i - d_k),    a_ik = softmax_k(-s_k |x_i - d_k|^2)

    Parameters
    ----------
    channels:
        Width of a pixel and of a codeword.
    codewords:
        How many there are.
    """

    def __init__(self, channels: int, codewords: int) -> None:
        super().__init__()
        bound = (codewords * channels) ** -0.5
        self.codewords = nn.Parameter(torch.empty(codewords, channels).uniform_(-bound, bound))
        self.smoothing = nn.Parameter(torch.rand(codewords))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, channels, h, w)`` to ``(B, codewords, channels)`` float32.

        The residuals of all pixels to all codewords are never held at once: neither the distances
        nor the sums need them.
        """
        # In float32 whatever the network runs in: |x - d|^2 is a difference of large numbers.
        with torch.autocast(x.device.type, enabled=False):
            pixels = x.flatten(2).transpose(1, 2).float()
            codewords, smoothing = self.codewords.float(), self.smoothing.float()
            squares = pixels.square().sum(2, keepdim=True) + codewords.square().sum(1)
            distances = squares - 2 * pixels @ codewords.T
            assigned = torch.softmax(-smoothing * distances, dim=2)
            total = assigned.transpose(1, 2) @ pixels
            return total - assigned.sum(1)[:, :, None] * codewords


class ContextEncoding(nn.Module):
    """The Context Encoding Module: features weighted, channel by channel, by what the image shows.

    The encoded residuals, normalised and summed over the codewords, give a weight in
    0..1 for every channel (featuremap attention) and, in training, the classes that are present
    (for the semantic encoding loss). As in the original code what comes out is ``relu(x + x w)``,
    and the sum over codewords is a mean: the same to the layers behind it but for their scale,
    which would start the sigmoid where it is flat.

    Parameters
    ----------
    channels:
        Width of the features.
    classes:
        How many may be present.
    codewords:
        32 in the paper's networks for scenes.
    """

    def __init__(self, channels: int, classes: int, codewords: int = 32) -> None:
        super().__init__()
        self.convolve = nn.Sequential(
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )
        self.encode = CodewordEncoding(channels, codewords)
        self.norm = nn.BatchNorm1d(codewords)
        self.attention = nn.Linear(channels, channels)
        self.presence = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """``(B, channels, h, w)`` to the same, weighted, and in training whether each class is
        present, ``(B, classes)``, before the sigmoid."""
        codes = self.encode(self.convolve(x)).to(x.dtype)
        scene = torch.relu(self.norm(codes)).mean(dim=1)
        weight = torch.sigmoid(self.attention(scene))[:, :, None, None]
        return torch.relu(x + x * weight), self.presence(scene) if self.training else None
