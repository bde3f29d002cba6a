"""What every registered semantic architecture must do; a new one is added to ``CASES``."""

import pytest
import torch

from tests.models.test_instance_contract import CASES as FOR_OBJECTS
from vitrail.losses import SemanticTargets
from vitrail.models.base import Frame, SemanticModel
from vitrail.models.registry import ARCHITECTURES, build

CASES = {
    "unet-plain": ("unet", {"classes": 3, "decoder_channels": [32, 24, 16, 16, 8]}),
    "unet-pix2pix": (
        "unet",
        {"classes": 3, "decoder": "pix2pix", "decoder_channels": [32, 24, 16, 8]},
    ),
    "unet-from-stride-4": ("unet", {"classes": 2, "encoder": "convnext_atto"}),
    "unet-resnet-4-bands": ("unet", {"classes": 2, "encoder": "resnet18", "in_channels": 4}),
    "own-encoder": ("unet-plain", {"classes": 3, "start": 8, "batch_norm": True, "dropout": 0}),
    "deeplab-v1-vgg": ("deeplab-v1", {"classes": 3, "encoder": "vgg11_bn", "hidden": 32}),
    "deeplab-v2": ("deeplab-v2", {"classes": 3, "encoder": "resnet18", "hidden": 32}),
    "deeplab-v2-one-scale": (
        "deeplab-v2",
        {"classes": 2, "encoder": "mobilenetv2_100", "hidden": 0, "scales": [1]},
    ),
    "deeplab-v3": (
        "deeplab-v3",
        {
            "classes": 3,
            "encoder": "resnet18",
            "output_stride": 8,
            "channels": 32,
            "auxiliary": True,
            "multi_grid": [1, 2],
        },
    ),
    "deeplab-v3plus": ("deeplab-v3plus", {"classes": 3, "encoder": "resnet18", "channels": 32}),
    "deeplab-v3plus-smp": (
        "deeplab-v3plus",
        {
            "classes": 2,
            "encoder": "mobilenetv2_100",
            "channels": 32,
            "decoder": "smp",
            "align_corners": True,
            "dilate_first": True,
            "in_channels": 4,
        },
    ),
    "one-logit": ("unet-plain", {"classes": 2, "single_output": True, "in_channels": 1}),
    "valid": ("unet-original", {"classes": 3, "start": 8, "dropout": 0}),
    "valid-tiled": (
        "unet-original",
        {"classes": 2, "start": 8, "depth": 2, "tile": 40, "dropout": 0, "in_channels": 1},
    ),
    "fcn-8s": ("fcn", {"classes": 3, "encoder": "resnet18"}),
    "fcn-16s-vgg": ("fcn", {"classes": 2, "encoder": "vgg11_bn", "finest": 16}),
    "fcn-32s-hidden": (
        "fcn",
        {"classes": 3, "encoder": "resnet18", "finest": 32, "hidden": 64, "in_channels": 2},
    ),
    "fcn-dilated": ("fcn-dilated", {"classes": 3, "encoder": "resnet18"}),
    "fpn": (
        "fpn",
        {"classes": 3, "encoder": "resnet18", "pyramid_channels": 32, "channels": 64},
    ),
    "fpn-concatenated-from-stride-4": (
        "fpn",
        {
            "classes": 2,
            "encoder": "convnext_atto",
            "pyramid_channels": 16,
            "channels": 64,
            "smooth": False,
            "concatenate": True,
            "align_corners": True,
            "dropout": 0.2,
        },
    ),
    "lraspp": ("lraspp", {"classes": 3, "encoder": "mobilenetv3_small_100"}),
    "lraspp-torchvision": ("lraspp", {"classes": 2, "torchvision": True, "in_channels": 4}),
    "fastfcn-fcn": (
        "fastfcn",
        {"classes": 3, "encoder": "resnet18", "head": "fcn", "jpu_channels": 16},
    ),
    "fastfcn-psp": (
        "fastfcn",
        {"classes": 3, "encoder": "resnet18", "head": "psp", "jpu_channels": 16},
    ),
    "fastfcn-aspp": (
        "fastfcn",
        {"classes": 2, "encoder": "resnet18", "head": "aspp", "jpu_channels": 16},
    ),
    "fastfcn-encnet": ("fastfcn", {"classes": 3, "encoder": "resnet18", "jpu_channels": 16}),
    "dilated-encnet": (
        "fastfcn",
        {"classes": 3, "encoder": "resnet18", "upsampling": "dilated", "in_channels": 4},
    ),
    "pspnet": ("pspnet", {"classes": 3, "encoder": "resnet18", "width": 32}),
    "pspnet-smp": ("pspnet", {"classes": 3, "encoder": "resnet18", "form": "smp", "width": 32}),
    "segformer": ("segformer", {"classes": 3, "decoder_channels": 32, "drop_path": 0}),
    "gated-scnn": ("gated-scnn", {"classes": 3, "encoder": "resnet18", "context_channels": 32}),
    "gated-scnn-full": (
        "gated-scnn",
        {
            "classes": 2,
            "output_stride": 16,
            "shape_stride": 1,
            "shape_channels": [8, 8, 4, 4],
            "context_channels": 24,
            "in_channels": 4,
        },
    ),
}


@pytest.fixture(params=CASES)
def model(request: pytest.FixtureRequest) -> SemanticModel:
    torch.manual_seed(0)
    model = build(*CASES[request.param])
    assert isinstance(model, SemanticModel)
    return model


def bands(model: SemanticModel) -> int:
    return next(p for p in model.parameters() if p.ndim == 4).shape[1]


def targets(model: SemanticModel, size: tuple[int, int]) -> SemanticTargets:
    labels = torch.zeros(2, *size, dtype=torch.int64)
    labels[:, size[0] // 3 :, size[1] // 2 :] = model.classes - 1
    labels[:, :2] = 255
    return SemanticTargets(labels, ignore=255, background=0)


def test_every_architecture_has_a_case() -> None:
    cases = [*CASES.values(), *FOR_OBJECTS.values()]
    assert {architecture for architecture, _ in cases} == set(ARCHITECTURES)


@pytest.mark.parametrize("size", [(64, 96), (65, 97), (33, 40), (1, 1)])
def test_logits_have_the_input_size(model: SemanticModel, size: tuple[int, int]) -> None:
    model.eval()
    with torch.inference_mode():
        raw = model(torch.randn(2, bands(model), *size))
    assert raw.logits.shape == (2, model.channels, *size)
    assert raw.logits.isfinite().all()


def test_training_lowers_the_loss(model: SemanticModel) -> None:
    images, truth = torch.randn(2, bands(model), 64, 64), targets(model, (64, 64))
    images += truth.labels.clamp(max=2)[:, None]
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    losses = []
    for _ in range(8):
        loss = torch.stack(list(model.loss(model(images), truth).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_every_parameter_gets_a_gradient(model: SemanticModel) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # residual branches may start switched off
            torch.nn.init.ones_(module.weight)
    raw = model(torch.randn(2, bands(model), 64, 64))
    torch.stack(list(model.loss(raw, targets(model, (64, 64))).values())).sum().backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not idle


def test_evaluation_is_deterministic_and_blind_to_its_batch(model: SemanticModel) -> None:
    model.eval()
    images = torch.randn(2, bands(model), 64, 64)
    with torch.inference_mode():
        together, again = model(images).logits, model(images).logits
        alone = model(images[1:]).logits
    assert torch.equal(together, again)
    torch.testing.assert_close(together[1:], alone, rtol=1e-4, atol=1e-5)


def test_export_gives_the_same_logits(model: SemanticModel) -> None:
    model.eval()
    images = torch.randn(1, bands(model), 64, 96)
    exported = torch.export.export(model, (images,)).module()
    with torch.inference_mode():
        torch.testing.assert_close(exported(images)[0], model(images)[0])


def test_decode_returns_to_the_original_size(model: SemanticModel) -> None:
    model.eval()
    with torch.inference_mode():
        raw = model(torch.randn(2, bands(model), 64, 96))
    frames = [Frame((480, 640), (64, 86)), Frame((1, 700), (1, 96))]
    labels = model.decode(raw, frames)
    assert [label.shape for label in labels] == [(480, 640), (1, 700)]
    assert all(label.max() < model.classes and label.dtype == "uint8" for label in labels)
