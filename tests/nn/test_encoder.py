"""Short encoders compute what the whole one does, and hold no more than they use."""

import pytest
import torch

from vitrail.errors import ConfigError, UnknownNameError
from vitrail.nn.encoder import TimmEncoder


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2_100", "efficientnet_b0"])
def test_the_first_stages_are_those_of_the_whole(name: str) -> None:
    torch.manual_seed(0)
    whole, short = TimmEncoder(name).eval(), TimmEncoder(name, depth=3).eval()
    assert (short.channels, short.strides) == (whole.channels[:3], [2, 4, 8])
    short.load_pretrained(whole.net.state_dict())
    images = torch.randn(1, 3, 40, 56)
    with torch.inference_mode():
        features, expected = short(images), whole(images)[:3]
    assert len(features) == 3
    assert all(torch.equal(a, b) for a, b in zip(features, expected, strict=True))
    assert sum(p.numel() for p in short.parameters()) < 0.3 * sum(
        p.numel() for p in whole.parameters()
    )


def test_an_output_stride_is_that_of_the_last_stage_left() -> None:
    encoder = TimmEncoder("resnet18", depth=4, output_stride=8).eval()
    with torch.inference_mode():
        *_, last = encoder(torch.randn(1, 3, 64, 64))
    assert encoder.strides == [2, 4, 8, 8]
    assert last.shape[-2:] == (8, 8)


def test_wishes_that_cannot_be_met() -> None:
    with pytest.raises(ConfigError, match="not output_stride=16"):
        TimmEncoder("resnet18", depth=3, output_stride=16)
    with pytest.raises(UnknownNameError, match="resnet18"):
        TimmEncoder("resnet81", depth=3)
