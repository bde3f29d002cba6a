"""MobileNetV3's tensors: torchvision's names turned into timm's.

Howard et al., "Searching for MobileNetV3", arXiv:1905.02244. torchvision numbers the blocks
through, timm numbers the stages and the blocks of each; the tensors are the same ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from vitrail.errors import WeightsError

_STAGES = {
    "large": (1, 2, 3, 4, 2, 3),
    "small": (1, 2, 3, 2, 3),
}
"""Blocks of each stage (arXiv:1905.02244, tables 1 and 2, split where the width changes)."""

_SQUEEZE = {"fc1": "se.conv_reduce", "fc2": "se.conv_expand"}
_DEPTHWISE = (("conv_dw", "bn1"), ("conv_pw", "bn2"))
_INVERTED = (("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3"))


def timm_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of torchvision's MobileNetV3, large or small, under timm's names.

    Parameters
    ----------
    state:
        Named as in ``torchvision.models.mobilenet_v3_large().features.state_dict()``: the number
        of the block first (``4.block.2.fc1.weight``). Whatever stands before it in a checkpoint
        (``features.``, or ``backbone.`` in a segmentation network) has been taken off.

    Returns
    -------
    The same tensors, named as in ``timm.create_model("mobilenetv3_large_100")``: such as
    ``blocks.2.0.se.conv_reduce.weight``. The classifier's head is not among them.

    Raises
    ------
    WeightsError
        a name is not one of such a network, or there are more or fewer blocks.
    """
    blocks = _blocks(state)
    return {_timm_key(key, blocks, state): tensor for key, tensor in state.items()}


def _blocks(state: Mapping[str, Tensor]) -> dict[str, str]:
    """timm's name of each of torchvision's numbered parts; the last one is a stage of its own."""
    numbers = {key.split(".", 1)[0] for key in state}
    for stages in _STAGES.values():
        if numbers == {str(number) for number in range(sum(stages) + 2)}:
            return dict(_numbered(stages))
    raise WeightsError(
        f"these are not the features of torchvision's mobilenet_v3_large (numbered 0 to 16) or "
        f"mobilenet_v3_small (0 to 12): found {', '.join(sorted(numbers)[:20]) or 'nothing'}"
    )


def _numbered(stages: tuple[int, ...]) -> Iterator[tuple[str, str]]:
    yield "0", "conv_stem"
    number = 0
    for stage, count in enumerate(stages):
        for block in range(count):
            number += 1
            yield str(number), f"blocks.{stage}.{block}"
    yield str(number + 1), f"blocks.{len(stages)}.0"


def _timm_key(key: str, blocks: Mapping[str, str], state: Mapping[str, Tensor]) -> str:
    number, *inside, tensor = key.split(".")
    block = blocks[number]
    match inside:
        case ["0" | "1" as part] if block == "conv_stem":  # convolution, then batch norm
            return f"{('conv_stem', 'bn1')[int(part)]}.{tensor}"
        case ["0" | "1" as part] if int(number) == len(blocks) - 1:
            return f"{block}.{('conv', 'bn1')[int(part)]}.{tensor}"
        case ["block", _, ("fc1" | "fc2") as layer]:
            return f"{block}.{_SQUEEZE[layer]}.{tensor}"
        case ["block", place, ("0" | "1") as part]:
            layers = _layers(number, state)
            names = _DEPTHWISE if len(layers) == 2 else _INVERTED
            if len(layers) == len(names):
                return f"{block}.{names[layers.index(place)][int(part)]}.{tensor}"
    raise WeightsError(f"{key}: not a tensor of torchvision's MobileNetV3")


def _layers(number: str, state: Mapping[str, Tensor]) -> list[str]:
    """Places of a block's convolutions with batch norm: without the squeeze-and-excitation."""
    start, end = f"{number}.block.", ".0.weight"
    named = (key for key in state if key.startswith(start) and key.endswith(end))
    return sorted(key[len(start) : -len(end)] for key in named)
