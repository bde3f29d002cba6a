"""The DeepLabs have the layers and numbers that their papers state."""

from typing import Literal

import pytest
import torch
from torch import nn

from tests.drawn_weights import randomise
from tests.models.as_predicted import share_of_equal_labels
from vitrail.errors import ConfigError
from vitrail.losses import SemanticTargets
from vitrail.models.base import SemanticModel
from vitrail.models.deeplab_v2 import DeepLabV2
from vitrail.models.deeplab_v3 import DeepLabV3
from vitrail.models.deeplab_v3plus import DeepLabV3Plus, stage_at
from vitrail.models.registry import build
from vitrail.nn.encoder import TimmEncoder

SMALL: dict[str, dict[str, object]] = {
    "deeplab-v1": {"hidden": 32},
    "deeplab-v2": {"hidden": 32},
    "deeplab-v3": {"channels": 32, "auxiliary": True},
    "deeplab-v3plus": {"channels": 32},
}


def small(architecture: str, **arguments: object) -> SemanticModel:
    torch.manual_seed(0)
    return build(
        architecture,
        {"classes": 3, "encoder": "resnet18", **SMALL[architecture], **arguments},
    )


def test_large_fov_has_20_5_million_parameters() -> None:
    """arXiv:1412.7062, table on the field of view: DeepLab-CRF-LargeFOV, 20.5M; the defaults are
    the paper's network."""
    with torch.device("meta"):
        model = build("deeplab-v1", {"classes": 21})
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 1) == 20.5
    assert model.stride == 8
    fc6 = model.get_submodule("head.0.fc6")
    assert isinstance(fc6, nn.Conv2d)
    assert (fc6.out_channels, fc6.kernel_size, fc6.dilation) == (1024, (3, 3), (12, 12))


def test_v2_takes_the_greatest_score_of_the_scales() -> None:
    """arXiv:1606.00915, section 3.2: scores of images at 1, 0.75 and 0.5, enlarged; the maximum."""
    model = small("deeplab-v2").eval()
    assert isinstance(model, DeepLabV2) and model.scales == (1.0, 0.75, 0.5)
    images = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        together = model(images)
        alone = []
        for scale in model.scales:
            one = small("deeplab-v2", scales=[scale]).eval()
            one.load_state_dict(model.state_dict())
            alone.append(one(images).logits)
    planes = torch.stack(alone)
    assert torch.equal(together.logits, planes.max(0).values)
    winners = planes.max(0).indices.unique()
    assert len(winners) == 3  # each scale is the best somewhere
    assert together.auxiliary == ()


def test_v2_trains_every_scale_with_full_weight() -> None:
    model = small("deeplab-v2", dropout=0)
    raw = model(torch.randn(2, 3, 64, 64))
    assert len(raw.auxiliary) == 3
    targets = SemanticTargets(torch.randint(0, 3, (2, 64, 64)), ignore=255, background=0)
    terms = model.loss(raw, targets)
    expected = sum(model.criterion(logits, targets)["ce"] for logits in raw.auxiliary)
    torch.testing.assert_close(terms["auxiliary_ce"], expected)
    assert small("deeplab-v2", scales=[1])(torch.randn(2, 3, 64, 64)).auxiliary == ()


def test_v2_with_branches_straight_to_the_scores() -> None:
    model = small("deeplab-v2", hidden=0)
    weights = sum(p.numel() for p in model.get_submodule("head").parameters())
    assert weights == 4 * (512 * 9 + 1) * 3


@pytest.mark.parametrize("architecture", ["deeplab-v3", "deeplab-v3plus"])
@pytest.mark.parametrize(("output_stride", "rates"), [(16, (6, 12, 18)), (8, (12, 24, 36))])
def test_rates_double_at_output_stride_8(
    architecture: str, output_stride: int, rates: tuple[int, ...]
) -> None:
    """arXiv:1706.05587, section 3.3: "the rates are doubled when output_stride = 8"."""
    model = small(architecture, output_stride=output_stride)
    name = "classifier.0" if architecture == "deeplab-v3" else "aspp"
    aspp = model.get_submodule(name)
    found = {m.dilation[0] for m in aspp.modules() if isinstance(m, nn.Conv2d)} - {1}
    assert found == set(rates)
    assert model.stride == output_stride


def test_v3_gives_auxiliary_logits_in_training_only() -> None:
    model = small("deeplab-v3")
    images = torch.randn(2, 3, 65, 97)
    assert [logits.shape for logits in model(images).auxiliary] == [(2, 3, 65, 97)]
    assert model.eval()(images).auxiliary == ()
    assert small("deeplab-v3", auxiliary=False)(images).auxiliary == ()


@pytest.mark.parametrize(
    "wrong", [{"output_stride": 8}, {"multi_grid": [1, 2]}, {"dilate_first": True}]
)
def test_torchvisions_form_has_its_own_dilations(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="torchvision=true fixes"):
        build(
            "deeplab-v3",
            {"classes": 2, "encoder": "mobilenetv3_large_100", "torchvision": True, **wrong},
        )


def test_v3plus_decoder() -> None:
    """arXiv:1802.02611, section 4.1: 48 channels of the stride-4 features are joined, then two
    3x3 convolutions with 256."""
    with torch.device("meta"):
        model = build("deeplab-v3plus", {"classes": 21, "encoder": "resnet101"})
    assert isinstance(model, DeepLabV3Plus)
    project = model.get_submodule("low_level.0")
    assert isinstance(project, nn.Conv2d)
    assert (project.in_channels, project.out_channels) == (256, 48)
    depthwise = [m for m in model.fuse.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    assert [m.in_channels for m in depthwise] == [256 + 48, 256]
    assert model.head.in_channels == 256


@pytest.mark.parametrize("output_stride", [8, 16])
def test_v3plus_decodes_at_stride_4(output_stride: int) -> None:
    model = small("deeplab-v3plus", output_stride=output_stride).eval()
    assert isinstance(model, DeepLabV3Plus)
    sizes = []
    model.head.register_forward_hook(lambda _, __, logits: sizes.append(tuple(logits.shape[2:])))
    with torch.inference_mode():
        model(torch.randn(1, 3, 64, 96))
    assert sizes == [(16, 24)]


def test_v3plus_needs_features_at_stride_4() -> None:
    encoder = TimmEncoder("resnet18")
    assert stage_at(encoder, 4) == 1
    encoder.strides = [2, 8, 16, 32]
    with pytest.raises(ConfigError, match=r"stride 4, and the encoder has strides \[2, 8"):
        stage_at(encoder, 4)


@pytest.mark.parametrize("architecture", SMALL)
def test_a_batch_of_one_trains(architecture: str) -> None:
    model = small(architecture, dropout=0)
    model(torch.randn(1, 3, 64, 64)).logits.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize(("precision", "least"), [("float32", 0.999), ("bfloat16", 0.95)])
@pytest.mark.parametrize("architecture", SMALL)
def test_prediction_keeps_the_labels(
    architecture: str, precision: Literal["float32", "bfloat16"], least: float
) -> None:
    model = small(architecture)
    randomise(model)
    assert share_of_equal_labels(model, architecture, precision) >= least


def test_v3_multi_grid_reaches_the_encoder() -> None:
    model = small("deeplab-v3", multi_grid=[2, 4])
    assert isinstance(model, DeepLabV3)
    found = [
        m.dilation[0]
        for m in model.encoder.net["layer4"].modules()
        if isinstance(m, nn.Conv2d) and m.kernel_size[0] > 1
    ]
    assert found == [4, 4, 8, 8]
