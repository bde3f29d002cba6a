"""A trained network made fast to run: folded, cast, laid out and fused."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vitrail.models.base import SemanticModel
from vitrail.models.instances import InstanceModel, RawDetections
from vitrail.nn.fuse import fold_batch_norms, fuse_activations
from vitrail.nn.fuse_upsampling import fold_upsampling
from vitrail.nn.precision import cast_for_inference
from vitrail.predict.device import Precision
from vitrail.weights.card import Preprocessing

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def make_ready(
    model: SemanticModel | InstanceModel,
    preprocessing: Preprocessing,
    *,
    device: torch.device,
    precision: Precision,
) -> nn.Module:
    """The network in evaluation mode, batch norms folded into the convolutions (on the CPU also
    its decoder's upsampling), cast to ``precision`` (but for its first layers), on its device and
    channels-last.

    Returns
    -------
    A copy, of the network's own kind; what it was made from is moved to the CPU, as float32.
    """
    own = torch.Generator().manual_seed(0)  # loading a model must not move the user's dice
    bands, side = len(preprocessing.mean), 2 * model.stride
    example = torch.rand(1, bands, side, side, generator=own) * 2 - 1
    whole = _Whole(model.cpu().float(), own)
    folded = fold_batch_norms(whole, example)
    if device.type == "cpu":
        folded = fold_upsampling(folded, example)
    assert isinstance(folded, _Whole)
    folded.model = cast_for_inference(folded.model, _DTYPES[precision], example)
    ready = folded.to(device, memory_format=torch.channels_last)  # pyright: ignore
    if device.type == "cpu":
        ready = fuse_activations(ready, example)
    assert isinstance(ready, _Whole)
    return ready.model


class _Whole(nn.Module):
    """Every layer of a network in one pass, whatever it finds.

    What is folded and fused is seen by watching a pass; how often a detector's heads run, and on
    what, depends on its proposals.
    """

    _REGIONS = 2

    def __init__(self, model: SemanticModel | InstanceModel, dice: torch.Generator) -> None:
        super().__init__()
        self.model: nn.Module = model
        heads = model.heads if isinstance(model, InstanceModel) else {}
        self.heads = tuple(heads)
        for name, shape in heads.items():
            regions = torch.rand(self._REGIONS, *shape, generator=dice)
            self.register_buffer(f"{name}_input", regions)

    def forward(self, images: Tensor) -> Tensor:
        """All outputs in a row, each divided by its largest value: none hides another's fault."""
        raw = self.model(images)
        if not isinstance(raw, RawDetections):
            return raw.logits
        outputs = [*raw.features, *raw.objectness, *raw.deltas]
        for name in self.heads:
            regions = self.get_buffer(f"{name}_input").to(raw.features[0].dtype)
            found = self.model.get_submodule(name)(regions)
            outputs += [found] if isinstance(found, Tensor) else found
        rows = [output.flatten() / output.abs().max().clamp(min=1e-12) for output in outputs]
        return torch.cat(rows)
