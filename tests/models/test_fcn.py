"""FCN: the parts that the paper names, and the size of its networks."""

from itertools import pairwise
from typing import Literal

import pytest
import torch
from torch.nn import functional as F

from tests.drawn_weights import randomise
from tests.models.as_predicted import share_of_equal_labels
from vitrail.errors import ConfigError
from vitrail.models.fcn import FCN, DilatedFCN, Doubling
from vitrail.models.registry import build
from vitrail.nn.encoder import TimmEncoder


def fcn(**arguments: object) -> FCN:
    model = build("fcn", {"classes": 3, "encoder": "resnet18", **arguments})
    assert isinstance(model, FCN)
    return model


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 8)])
def test_a_fresh_doubling_is_bilinear(size: tuple[int, int]) -> None:
    scores = torch.randn(2, 4, *size)
    expected = F.interpolate(scores, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(Doubling(4)(scores), expected)


def test_the_papers_network_has_134_million_parameters() -> None:
    """arXiv:1411.4038, table 1: FCN-VGG16, 134M; VGG's 13 convolutions, fc6, fc7 and the scores."""
    with torch.device("meta"):
        model = build("fcn", {"classes": 21, "encoder": "vgg16", "hidden": 4096, "finest": 32})
    counted = sum(parameter.numel() for parameter in model.parameters())
    widths = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    layers = [(9 * a + 1) * b for a, b in pairwise(widths)]
    fully_connected = (49 * 512 + 1) * 4096 + (4096 + 1) * 4096
    assert counted == sum(layers) + fully_connected + (4096 + 1) * 21
    assert counted // 1_000_000 == 134
    assert model.stride == 32  # "max stride", in the same table


@pytest.mark.parametrize("finest", [32, 16, 8])
def test_a_fresh_network_starts_with_its_deep_scores_alone(finest: int) -> None:
    """Section 4.2: the new scores are zero, the new upsampling is bilinear."""
    torch.manual_seed(0)
    model = fcn(finest=finest).eval()
    images = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        expected = model.score(model.encoder(images)[-1])
        for scale in [2] * len(model.doublings) + [finest]:
            expected = F.interpolate(expected, scale_factor=scale, mode="bilinear")
        torch.testing.assert_close(model(images).logits, expected)
    assert len(model.doublings) == {32: 0, 16: 1, 8: 2}[finest]


@pytest.mark.parametrize("finest", [16, 8])
def test_the_finest_scores_are_added_at_their_stride(finest: int) -> None:
    """With all else silent, the logits are the finest stage's scores, enlarged from its stride."""
    model = fcn(finest=finest).eval()
    *_, last = model.skip_scores
    assert isinstance(last, torch.nn.Conv2d)
    torch.nn.init.normal_(last.weight)
    for parameter in model.score.parameters():
        torch.nn.init.zeros_(parameter)
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        stage = model.encoder(images)[model.encoder.strides.index(finest)]
        expected = F.interpolate(last(stage), scale_factor=finest, mode="bilinear")
        torch.testing.assert_close(model(images).logits, expected)


def test_vggs_stages_are_read_after_their_poolings() -> None:
    """pool3, pool4 and pool5 of the same network run layer by layer."""
    model = fcn(encoder="vgg11").eval()
    images, pools = torch.randn(1, 3, 64, 96), []
    with torch.inference_mode():
        x = images
        for layer in model.encoder.net.children():
            x = layer(x)
            if isinstance(layer, torch.nn.MaxPool2d):
                pools.append(x)
        features = model.encoder(images)
        for stage, expected in zip(model.stages, reversed(pools[2:]), strict=True):
            torch.testing.assert_close(model.pool(features[stage]), expected)
    assert [pool.shape[-2:] for pool in pools[2:]] == [(8, 12), (4, 6), (2, 3)]


def test_an_encoder_without_the_stages_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"FCN-8s reads.*\[32, 16, 8\].*none at \[32, 16\]"):
        FCN(TimmEncoder("resnet18", depth=3), hidden=0, finest=8, classes=2)


@pytest.mark.parametrize(("depth", "published"), [(50, 35_322_218), (101, 54_314_346)])
def test_the_dilated_network_has_torchvisions_parameters(depth: int, published: int) -> None:
    """``num_params`` of torchvision 0.29.2's FCN_ResNet50_Weights and FCN_ResNet101_Weights."""
    with torch.device("meta"):
        model = build("fcn-dilated", {"classes": 21, "encoder": f"resnet{depth}"})
    assert sum(parameter.numel() for parameter in model.parameters()) == published


def test_the_auxiliary_head_is_for_training() -> None:
    model = build("fcn-dilated", {"classes": 3, "encoder": "resnet18"})
    images = torch.randn(2, 3, 65, 70)
    (auxiliary,) = model(images).auxiliary
    assert auxiliary.shape == (2, 3, 65, 70)
    assert not model.eval()(images).auxiliary
    model = build("fcn-dilated", {"classes": 3, "encoder": "resnet18", "auxiliary": False})
    assert isinstance(model, DilatedFCN) and not model(images).auxiliary
    assert not [name for name in model.state_dict() if name.startswith("auxiliary")]


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_the_dilated_stage_keeps_its_stride(output_stride: int) -> None:
    model = build(
        "fcn-dilated", {"classes": 2, "encoder": "resnet18", "output_stride": output_stride}
    ).eval()
    assert isinstance(model, DilatedFCN)
    deepest = model.encoder(torch.randn(1, 3, 64, 64))[-1]
    assert deepest.shape[-1] == 64 // output_stride and model.stride == output_stride


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("architecture", ["fcn", "fcn-dilated"])
def test_predicts_as_it_computes(
    architecture: str, precision: Literal["float32", "bfloat16"]
) -> None:
    torch.manual_seed(0)
    model = build(architecture, {"classes": 3, "encoder": "resnet18"})
    randomise(model)
    equal = share_of_equal_labels(model, architecture, precision)
    assert equal > (0.999 if precision == "float32" else 0.95)
