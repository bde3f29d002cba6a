"""Ways back to the size of the image."""

from __future__ import annotations

import torch

from vitrail.nn.upsample import enlarge, full_size


def test_corners_stay_in_the_corners() -> None:
    x = torch.arange(6.0).reshape(1, 1, 2, 3)
    large = enlarge(x, (5, 9), align_corners=True)
    assert torch.equal(large[..., ::4, ::4], x)
    assert enlarge(x, (2, 3)) is x


def test_what_is_predicted_is_read_class_by_class() -> None:
    """In one piece each, and with all digits between two features; training keeps the layout."""
    padded = torch.zeros(1, 3, 8, 12)
    scores = torch.tensor([0.0, 1.0]).expand(1, 5, 4, 2).bfloat16()
    scores = scores.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        found = full_size(scores, padded, (7, 12))
    assert found.dtype == torch.float32 and found.shape == (1, 5, 7, 12)
    assert found.stride()[-2:] == (12, 1)
    between = torch.arange(-5, 18, 2).clamp(0, 12) / 12  # bfloat16 has 3 digits
    torch.testing.assert_close(found[0, 4, 6], between, atol=1e-6, rtol=0)
    learnt = full_size(scores, padded, (8, 12))
    assert learnt.dtype == torch.bfloat16
    assert learnt.is_contiguous(memory_format=torch.channels_last)
