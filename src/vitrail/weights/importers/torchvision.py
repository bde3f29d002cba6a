"""torchvision's segmentation networks: the names of their tensors turned into ours.

FCN, DeepLabv3 (over ResNet and MobileNetV3) and LR-ASPP as ``torchvision.models.segmentation``
has them (https://github.com/pytorch/vision, BSD-3-Clause).
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from vitrail.errors import WeightsError
from vitrail.weights.importers.mobilenetv3 import timm_keys

_HEADS: dict[str, dict[str, str]] = {
    "fcn-dilated": {"classifier.": "head.", "aux_classifier.": "auxiliary."},
    "deeplab-v3": {"classifier.": "classifier.", "aux_classifier.": "aux_classifier."},
    "lraspp": {
        "classifier.cbr.": "reduce.",
        "classifier.scale.": "gate.",
        "classifier.high_classifier.": "coarse_score.",
        "classifier.low_classifier.": "fine_score.",
    },
}
"""How torchvision's names begin behind the encoder, and ours, by architecture."""

_BACKBONE = "backbone."


def from_torchvision(tensors: Mapping[str, Tensor], architecture: str) -> dict[str, Tensor]:
    """A state of ``torchvision.models.segmentation`` under our names.

    Parameters
    ----------
    tensors
        named as torchvision names them.
    architecture
        ``fcn-dilated``, ``deeplab-v3`` or ``lraspp``.

    Raises
    ------
    WeightsError
        the architecture is another one, or the tensors are not of a network of torchvision's.
    """
    heads = _HEADS.get(architecture)
    if heads is None:
        raise WeightsError(
            f"torchvision has no weights for {architecture}; it has some for {', '.join(_HEADS)}"
        )
    backbone = {
        name.removeprefix(_BACKBONE): value
        for name, value in tensors.items()
        if name.startswith(_BACKBONE)
    }
    if not backbone:
        first = f"the first is {next(iter(tensors))!r}" if tensors else "there are no tensors"
        raise WeightsError(
            "not a segmentation network of torchvision's: no tensor's name begins with "
            f"{_BACKBONE!r}; {first}"
        )
    if not any(name.startswith("layer1.") for name in backbone):  # a ResNet's names are timm's
        backbone = timm_keys(backbone)
    state = {f"encoder.net.{name}": value for name, value in backbone.items()}
    for name, value in tensors.items():
        if not name.startswith(_BACKBONE):
            start = next((start for start in heads if name.startswith(start)), None)
            # What belongs elsewhere keeps its name: the network's check says that it is too much.
            state[name if start is None else heads[start] + name.removeprefix(start)] = value
    return state
