"""LR-ASPP: its published size, its gate, and the two ways to read the encoder."""

from typing import Literal

import pytest
import torch
from torch.nn import functional as F

from tests.drawn_weights import randomise
from tests.models.as_predicted import share_of_equal_labels
from vitrail.errors import ConfigError
from vitrail.models.lraspp import LRASPP
from vitrail.models.registry import build
from vitrail.nn.encoder import TimmEncoder


def lraspp(**arguments: object) -> LRASPP:
    model = build("lraspp", {"classes": 3, **arguments})
    assert isinstance(model, LRASPP)
    return model


@pytest.mark.parametrize("torchvision", [False, True])
def test_it_has_torchvisions_parameters(torchvision: bool) -> None:
    """``num_params`` of torchvision 0.29.2's LRASPP_MobileNet_V3_Large_Weights: 3,221,538."""
    with torch.device("meta"):
        model = build("lraspp", {"classes": 21, "torchvision": torchvision})
    assert sum(parameter.numel() for parameter in model.parameters()) == 3_221_538


@pytest.mark.parametrize("torchvision", [False, True])
def test_the_features_are_those_of_strides_8_and_16(torchvision: bool) -> None:
    model = lraspp(torchvision=torchvision).eval()
    with torch.inference_mode():
        features = model.encoder(torch.randn(1, 3, 64, 96))
    assert features[model.fine].shape[1:] == (40, 8, 12)
    assert features[-1].shape[1:] == (960, 4, 6)


def test_the_layouts_differ() -> None:
    """With the same weights: another block is tapped, and another dilation computed."""
    plain, other = lraspp().eval(), lraspp(torchvision=True).eval()
    randomise(plain)
    other.load_state_dict(plain.state_dict())
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        ours, theirs = plain.encoder(images), other.encoder(images)
    for one, two in ((ours[plain.fine], theirs[0]), (ours[-1], theirs[-1])):
        assert (one - two).abs().max() > 0.05 * one.abs().max()


def test_the_gate_sees_the_whole_image_and_the_sum_is_the_papers() -> None:
    """Figure 10, written out: reduced features times gate, enlarged, two scores added."""
    torch.manual_seed(0)
    model = lraspp(encoder="mobilenetv3_small_100").eval()
    randomise(model)
    images = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        features = model.encoder(images)
        fine, coarse = features[model.fine], features[-1]
        mean = coarse.mean((2, 3))
        gate = (mean @ model.state_dict()["gate.1.weight"][:, :, 0, 0].T).sigmoid()
        gated = F.interpolate(
            model.reduce(coarse) * gate[..., None, None], scale_factor=2, mode="bilinear"
        )
        scores = model.coarse_score(gated) + model.fine_score(fine)
        expected = F.interpolate(scores, scale_factor=8, mode="bilinear")
        torch.testing.assert_close(model(images).logits, expected, rtol=1e-4, atol=1e-4)


def test_unsuitable_encoders_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"torchvision's layout.*'resnet18'"):
        lraspp(encoder="resnet18", torchvision=True)
    with pytest.raises(ConfigError, match=r"stride 8 and a deeper one.*\[2, 4, 8\]"):
        LRASPP(TimmEncoder("resnet18", depth=3), width=8, classes=2)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_predicts_as_it_computes(precision: Literal["float32", "bfloat16"]) -> None:
    torch.manual_seed(0)
    model = lraspp(torchvision=True)
    randomise(model)
    equal = share_of_equal_labels(model, "lraspp", precision)
    assert equal > (0.999 if precision == "float32" else 0.95)
