"""Networks of other libraries with drawn weights, and ours with the same ones."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import segmentation_models_pytorch as smp
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import segmentation

from vitrail.models.base import SemanticModel
from vitrail.models.registry import build
from vitrail.weights.card import Card, Licences, Preprocessing
from vitrail.weights.files import load_state
from vitrail.weights.importers.smp import read_smp
from vitrail.weights.importers.torchvision import from_torchvision

CLASSES = 21
"""Of Pascal VOC, which torchvision's weights have."""

_RESNET: dict[str, object] = {"encoder": "resnet50", "output_stride": 8, "auxiliary": False}
_MOBILENET: dict[str, object] = {"encoder": "mobilenetv3_large_100", "torchvision": True}
_RATES: dict[str, object] = {"rates": (12, 24, 36)}
_TORCHVISION: dict[str, tuple[str, dict[str, object]]] = {
    "fcn_resnet50": ("fcn-dilated", _RESNET),
    "deeplabv3_resnet50": ("deeplab-v3", _RESNET | _RATES),
    "deeplabv3_mobilenet_v3_large": ("deeplab-v3", _MOBILENET | _RATES),
    "lraspp_mobilenet_v3_large": ("lraspp", _MOBILENET),
}
"""Our architecture and its arguments, for each of torchvision's networks."""
_SMP_FORMS = ("Unet", "FPN", "PSPNet", "DeepLabV3", "DeepLabV3Plus")
_SMP_ENCODERS = ("resnet18", "mobilenet_v2")


@dataclass(frozen=True)
class Pair:
    """One network twice, with the same weights, in evaluation mode."""

    peer: Callable[[Tensor], Tensor]
    """Normalised ``(B, 3, H, W)`` to logits ``(B, CLASSES, H, W)``."""
    ours: SemanticModel
    card: Card
    """Of ours; keeps an image of the size that was asked for as it is."""


def _torchvision(name: str, size: int) -> Pair:
    # Without the auxiliary head, which torchvision would compute in evaluation mode as well.
    options = {} if name.startswith("lraspp") else {"aux_loss": False}
    theirs = getattr(segmentation, name)(
        weights=None, weights_backbone=None, num_classes=CLASSES, **options
    )
    randomise(theirs)
    theirs.eval()
    architecture, arguments = _TORCHVISION[name]
    arguments = {**arguments, "classes": CLASSES}
    ours = build(architecture, arguments).eval()
    load_state(ours, from_torchvision(theirs.state_dict(), architecture), name)
    card = _card(name, architecture, arguments, size)
    return Pair(lambda images: theirs(images)["out"], ours, card)


def _smp(name: str, size: int) -> Pair:
    form, encoder = name.split("-")
    theirs = getattr(smp, form)(encoder, encoder_weights=None, classes=CLASSES)
    randomise(theirs)
    theirs.eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.safetensors"
        save_file(theirs.state_dict(), path)
        imported = read_smp(path, architecture=form, encoder=encoder)
    ours = build(imported.architecture, imported.arguments).eval()
    load_state(ours, imported.tensors, name)
    return Pair(theirs, ours, _card(name, imported.architecture, imported.arguments, size))


PEERS: dict[str, Callable[[str, int], Pair]] = {
    **dict.fromkeys(_TORCHVISION, _torchvision),
    **{f"{form}-{encoder}": _smp for form in _SMP_FORMS for encoder in _SMP_ENCODERS},
}
"""What builds each pair, from its name and the side of the image, in pixels."""


def randomise(model: nn.Module, seed: int = 0) -> None:
    """Draw convolutions that keep the signal's strength, and norms that are not the identity.

    Fresh norms hide what folding them does to the numbers, and through fresh depthwise
    convolutions the signal fades until biases alone decide.
    """
    dice = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.normal_(0, (2 / module.weight[0].numel()) ** 0.5, generator=dice)
            elif isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None and module.running_var is not None
                module.running_mean.normal_(0, 0.1, generator=dice)
                module.running_var.uniform_(0.05, 1, generator=dice)
                module.weight.uniform_(0.3, 0.8, generator=dice)
                module.bias.normal_(0, 0.2, generator=dice)


def _card(name: str, architecture: str, arguments: dict[str, object], size: int) -> Card:
    return Card(
        name=name.lower(),
        summary="random weights",
        architecture=architecture,
        arguments=arguments,
        classes=tuple(f"class {index}" for index in range(CLASSES)),
        preprocessing=Preprocessing.model_validate({"image_size": size}),
        training_data="none",
        training_command="none",
        licences=Licences(code="Apache-2.0", weights="none", training_data="none"),
        limits="its weights are random",
    )
