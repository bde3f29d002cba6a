"""From what the region proposal network says of each anchor to the proposals of each image.

Ren et al.: "Faster R-CNN", arXiv:1506.01497, section 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vitrail.models.maskrcnn.arguments import MaskRCNNArguments
from vitrail.models.maskrcnn.boxes import MAX_GROWTH, clip, decode
from vitrail.models.maskrcnn.suppression import suppress


class ProposalHead(nn.Module):
    """3x3 convolutions on each level, then 1x1 to a score and four deltas for each anchor.

    Parameters
    ----------
    in_channels, channels:
        Of the levels, and of the convolutions.
    convs:
        How many of those.
    anchors:
        At each feature.
    """

    def __init__(self, in_channels: int, channels: int, convs: int, anchors: int) -> None:
        super().__init__()
        widths = [in_channels, *[channels] * convs]
        self.convs = nn.ModuleList(
            nn.Conv2d(width, channels, 3, padding=1) for width in widths[:-1]
        )
        # As modules they can be fused with the convolutions before them.
        self.activations = nn.ModuleList(nn.ReLU(inplace=True) for _ in self.convs)
        self.objectness = nn.Conv2d(channels, anchors, 1)
        self.deltas = nn.Conv2d(channels, 4 * anchors, 1)
        for layer in (*self.convs, self.objectness, self.deltas):
            nn.init.normal_(layer.weight, std=0.01)  # pyright: ignore[reportArgumentType]
            nn.init.zeros_(layer.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, levels: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Levels ``(B, in_channels, h, w)`` to objectness ``(B, A, h, w)`` and deltas
        ``(B, 4 * A, h, w)`` each."""
        objectness: list[Tensor] = []
        deltas: list[Tensor] = []
        for x in levels:
            for conv, activation in zip(self.convs, self.activations, strict=True):
                x = activation(conv(x))
            objectness.append(self.objectness(x))
            deltas.append(self.deltas(x))
        return tuple(objectness), tuple(deltas)


@torch.no_grad()
def propose(
    objectness: Sequence[Tensor],
    deltas: Sequence[Tensor],
    anchors: Sequence[Tensor],
    windows: Tensor,
    arguments: MaskRCNNArguments,
    *,
    training: bool,
) -> list[Tensor]:
    """The best anchors, moved and resized as they ask for, without those that say the same.

    Parameters
    ----------
    objectness, deltas:
        For each level ``(B, A, h, w)`` and ``(B, 4 * A, h, w)``.
    anchors:
        For each level ``(h * w * A, 4)``.
    windows:
        ``(B, 4)``: what each image's proposals are clipped to.
    training:
        Whether the numbers for training count.

    Returns
    -------
    ``(P_i, 4)`` float32 for each image, best first; P_i may be 0.
    """
    wanted = arguments.proposals
    most, kept = (
        (wanted.candidates_training, wanted.kept_training)
        if training
        else (wanted.candidates, wanted.kept)
    )
    scores = [by_anchor(level, 1).squeeze(-1).float() for level in objectness]
    changes = [by_anchor(level, 4) for level in deltas]
    if not wanted.by_level:
        scores, changes, anchors = (
            [torch.cat(scores, 1)],
            [torch.cat(changes, 1)],
            [torch.cat(list(anchors))],
        )
    best = [_best(level, most, in_order=not wanted.by_level) for level in scores]
    groups = torch.cat(
        [torch.full_like(indices[0], level) for level, (_, indices) in enumerate(best)]
    )
    candidates = decode(
        torch.cat(
            [
                change.gather(1, indices[..., None].expand(-1, -1, 4))
                for change, (_, indices) in zip(changes, best, strict=True)
            ],
            1,
        ),
        torch.cat([level[indices] for level, (_, indices) in zip(anchors, best, strict=True)], 1),
        arguments.rpn_delta_scale,
        MAX_GROWTH if arguments.clamp_growth else None,
    )
    candidates = clip(candidates, windows[:, None])
    ranks = torch.cat([values for values, _ in best], 1)
    proposals: list[Tensor] = []
    for boxes, values in zip(candidates, ranks, strict=True):
        numbers = groups
        if wanted.min_size:
            large = (boxes[:, 2:] - boxes[:, :2]).amin(1) >= wanted.min_size
            boxes, values, numbers = boxes[large], values[large], numbers[large]
        if wanted.min_score:
            sure = values.sigmoid() >= wanted.min_score
            boxes, values, numbers = boxes[sure], values[sure], numbers[sure]
        proposals.append(boxes[suppress(boxes, values, numbers, wanted.nms)[:kept]])
    return proposals


def _best(scores: Tensor, most: int, *, in_order: bool) -> tuple[Tensor, Tensor]:
    """The highest of ``(B, A)`` and where they are; ``in_order``: of equal ones the first counts,
    as TensorFlow has it, at the price of sorting them all."""
    if in_order:
        values, indices = scores.sort(dim=1, descending=True, stable=True)
        return values[:, :most], indices[:, :most]
    found = scores.topk(min(most, scores.shape[1]))
    return found.values, found.indices


def by_anchor(level: Tensor, values: int) -> Tensor:
    """``(B, A * values, h, w)`` to ``(B, h * w * A, values)``: the order of the anchors."""
    return level.permute(0, 2, 3, 1).reshape(len(level), -1, values)
