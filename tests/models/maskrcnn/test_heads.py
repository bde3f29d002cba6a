"""The heads that look at regions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vitrail.models.maskrcnn.heads import BoxHead, BoxPredictor, MaskHead


@pytest.mark.parametrize("norm", [False, True])
def test_a_mask_of_one_class_is_that_of_all(norm: bool) -> None:
    torch.manual_seed(0)
    head = MaskHead(6, 8, 2, 5, norm=norm).eval()
    nn.init.normal_(head.logits.bias)  # pyright: ignore[reportArgumentType]
    pooled, classes = torch.randn(7, 6, 4, 4), torch.tensor([0, 4, 2, 2, 1, 3, 0])
    every = head(pooled)
    assert every.shape == (7, 5, 8, 8)
    torch.testing.assert_close(head.of_class(pooled, classes), every[torch.arange(7), classes])


def test_a_mask_head_of_nothing_has_gradients() -> None:
    head = MaskHead(6, 8, 2, 5, norm=False)
    head(torch.zeros(0, 6, 4, 4)).sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in head.parameters())
    nothing = head.of_class(torch.zeros(0, 6, 4, 4), torch.zeros(0, dtype=torch.int64))
    assert nothing.shape == (0, 8, 8)


def test_the_box_head_reads_channel_row_column() -> None:
    head = BoxHead(3, 2, 0, 1, 1)
    with torch.no_grad():
        head.layers[0].weight.copy_(torch.arange(12.0)[None])  # pyright: ignore
    pooled = torch.zeros(12, 3, 2, 2)
    pooled.view(12, 12).fill_diagonal_(1)
    last = pooled.contiguous(memory_format=torch.channels_last)
    for one in (pooled, last):
        assert head(one)[:, 0].tolist() == list(range(12))


def test_shapes() -> None:
    head = BoxHead(6, 7, 2, 2, 10)
    scores, deltas = BoxPredictor(10, 4)(head(torch.randn(9, 6, 7, 7)))
    assert scores.shape == (9, 5)
    assert deltas.shape == (9, 16)
