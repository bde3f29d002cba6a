"""DeepLabv3 against torchvision's with the same weights, tensor by tensor."""

from importlib.metadata import version

import pytest
import torch
from torch import nn
from torchvision.models import segmentation

from tests.drawn_weights import randomise
from vitrail.models.registry import build
from vitrail.weights.importers.torchvision import from_torchvision

TORCHVISION = f"torchvision-{version('torchvision')}"
_RATES = (12, 24, 36)
_RESNET: dict[str, object] = {"output_stride": 8, "rates": _RATES}
CASES: dict[str, dict[str, object]] = {
    "DeepLabV3_ResNet50": {"encoder": "resnet50", **_RESNET},
    "DeepLabV3_ResNet101": {"encoder": "resnet101", **_RESNET},
    "DeepLabV3_MobileNet_V3_Large": {
        "encoder": "mobilenetv3_large_100",
        "torchvision": True,
        "rates": _RATES,
    },
}


@pytest.mark.parametrize("size", [(64, 96), (97, 65)])
@pytest.mark.parametrize("name", CASES, ids=[f"{TORCHVISION}-{name}" for name in CASES])
def test_logits_are_equal(name: str, size: tuple[int, int]) -> None:
    """At an even and at an odd size; the auxiliary logits, too, which ours gives in training only:
    there with its batch norms and dropout as in evaluation."""
    torch.manual_seed(0)
    theirs = getattr(segmentation, name.lower())(
        weights=None, weights_backbone=None, num_classes=5, aux_loss=True
    ).eval()
    randomise(theirs)
    ours = build("deeplab-v3", {"classes": 5, "auxiliary": True, **CASES[name]}).eval()
    ours.load_state_dict(from_torchvision(theirs.state_dict(), "deeplab-v3"))
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        expected, logits = theirs(images), ours(images).logits
        ours.train()
        for module in ours.modules():
            if isinstance(module, nn.BatchNorm2d | nn.Dropout):
                module.eval()
        (auxiliary,) = ours(images).auxiliary
    for given, wanted in ((logits, expected["out"]), (auxiliary, expected["aux"])):
        assert wanted.std() > 1e-2
        error = ((given - wanted).abs().max() / wanted.abs().max()).item()
        assert error < 1e-4


@pytest.mark.parametrize("name", CASES)
def test_published_number_of_parameters(name: str) -> None:
    """Of torchvision's table of weights, with 21 classes and the auxiliary classifier."""
    with torch.device("meta"):
        model = build("deeplab-v3", {"classes": 21, "auxiliary": True, **CASES[name]})
    published = getattr(segmentation, f"{name}_Weights").DEFAULT.meta["num_params"]
    assert sum(p.numel() for p in model.parameters()) == published
