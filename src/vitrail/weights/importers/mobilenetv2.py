"""MobileNetV2's tensors: torchvision's names turned into timm's.

Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", arXiv:1801.04381.
torchvision numbers the blocks through, timm numbers the stages and the blocks of each.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from vitrail.errors import WeightsError

_STAGES = (1, 2, 3, 4, 3, 3, 1)
"""Blocks of each stage (arXiv:1801.04381, table 2)."""

_FIRST = {"0.0": "conv_dw", "0.1": "bn1", "1": "conv_pw", "2": "bn2"}
"""Layers of the first block, which does not expand."""
_OTHERS = {
    "0.0": "conv_pw",
    "0.1": "bn1",
    "1.0": "conv_dw",
    "1.1": "bn2",
    "2": "conv_pwl",
    "3": "bn3",
}


def timm_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of torchvision's MobileNetV2 under timm's names.

    Parameters
    ----------
    state:
        Named as in ``torchvision.models.mobilenet_v2().features.state_dict()``:
        ``4.conv.1.0.weight``.

    Returns
    -------
    The same tensors, named as in ``timm.create_model("mobilenetv2_100")``.

    Raises
    ------
    WeightsError
        a name is not one of such a network.
    """
    blocks = [(stage, block) for stage, count in enumerate(_STAGES) for block in range(count)]
    layers = {"0.0": "conv_stem", "0.1": "bn1"}
    for number, (stage, block) in enumerate(blocks, 1):
        for theirs, ours in (_FIRST if number == 1 else _OTHERS).items():
            layers[f"{number}.conv.{theirs}"] = f"blocks.{stage}.{block}.{ours}"
    layers |= {f"{len(blocks) + 1}.0": "conv_head", f"{len(blocks) + 1}.1": "bn2"}
    named: dict[str, Tensor] = {}
    for key, value in state.items():
        layer, _, tensor = key.rpartition(".")
        if layer not in layers:
            raise WeightsError(f"{key}: not a tensor of torchvision's mobilenet_v2")
        named[f"{layers[layer]}.{tensor}"] = value
    return named
