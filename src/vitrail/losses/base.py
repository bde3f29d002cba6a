"""What every loss shares: checked parameters, class weights, and how planes become a number."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from torch import Tensor

from vitrail.errors import ConfigError
from vitrail.losses.processes import over_processes
from vitrail.losses.targets import Planes, SemanticTargets, read_planes


def _some(weights: tuple[float, ...]) -> tuple[float, ...]:
    if not any(weights):
        raise ValueError("at least one weight must be above 0")
    return weights


Weights = Annotated[
    tuple[Annotated[float, Field(ge=0)], ...],
    Field(min_length=2, strict=False),
    AfterValidator(_some),
]


class Loss(BaseModel):
    """A number that says how far logits are from the truth; its fields are its parameters.

    Losses hold no state: they may be shared, pickled and called from several threads.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    weights: Weights | None = Field(
        default=None, description="relative weight of each class (>= 0), in order of the channels"
    )

    def __call__(self, logits: Tensor, targets: SemanticTargets) -> Tensor:
        """The loss of a batch, a scalar in float32 (float64 for float64 logits).

        Parameters
        ----------
        logits:
            ``(B, C, H, W)``, before any softmax or sigmoid, in any floating type.
        targets:
            The truth, see :class:`SemanticTargets`. Where nothing is labelled the loss is 0
            and keeps its gradient graph.

        Raises
        ------
        ConfigError
            the parameters do not fit the number of channels.
        ParameterError, DataError
            as :func:`~vitrail.losses.targets.read_planes`.
        """
        planes = read_planes(logits, targets)
        self.check(planes.channels, exclusive=planes.exclusive)
        return self.value(planes)

    def check(self, channels: int, *, exclusive: bool) -> None:
        """Refuse parameters that do not fit the network, before the first batch.

        Raises
        ------
        ConfigError
            names the parameter, its value and what would fit.
        """
        if self.weights is None or len(self.weights) == channels:
            return
        if channels == 1:
            raise ConfigError(
                f"weights={list(self.weights)}: a network with one output has no class weights; "
                "use weighted_bce(beta=...) or balanced_ce"
            )
        raise ConfigError(
            f"weights={list(self.weights)}: {len(self.weights)} weights for {channels} classes"
        )

    def value(self, planes: Planes) -> Tensor:
        """The loss of a batch already laid out."""
        raise NotImplementedError

    def pixel_mean(self, planes: Planes, loss: Tensor) -> Tensor:
        """Mean over labelled pixels of ``(B, 1 or C, H, W)``, by the weight of their class."""
        loss = loss * planes.labelled
        if self.weights is None:
            pixels = over_processes(planes.labelled.sum())
            return over_processes(loss.sum()) / pixels.clamp(min=1)
        weight = self.pixel_weight(planes)
        return weighted_mean((loss * weight).sum(), weight.sum())

    def pixel_weight(self, planes: Planes) -> Tensor:
        """Class weight of each labelled pixel, ``(B, 1 or C, H, W)``; 0 where not labelled."""
        weights = planes.logits.new_tensor(self.weights)[None]
        if planes.exclusive:
            return planes.at_label(weights)
        return planes.labelled * weights[:, :, None, None]

    def plane_mean(self, planes: Planes, loss: Tensor) -> Tensor:
        """Mean over the known pixels of all planes of ``(B, C, H, W)``, by class weight."""
        weight = planes.known.expand_as(loss)
        if self.weights is not None:
            weight = weight * planes.logits.new_tensor(self.weights)[None, :, None, None]
        return weighted_mean((loss * weight).sum(), weight.sum())

    def class_mean(self, planes: Planes, loss: Tensor, takes_part: Tensor) -> Tensor:
        """Mean over classes, or images and classes, of ``(..., C)``, by class weight.

        ``takes_part``: ``(..., C)`` bool.
        """
        weight = takes_part
        if self.weights is not None:
            weight = takes_part * planes.logits.new_tensor(self.weights)
        total, parts = (loss * weight).sum(), weight.sum()
        if loss.ndim > 1:  # of images; classes alone are those of all processes already
            return weighted_mean(total, parts)
        return _divide(total, parts)


def weighted_mean(total: Tensor, weight: Tensor) -> Tensor:
    """``total / weight``, both summed over processes; 0 where nothing weighs anything."""
    return _divide(over_processes(total), over_processes(weight))


def _divide(total: Tensor, weight: Tensor) -> Tensor:
    """``total / weight``, and ``total`` (then 0, with its graph) where the weights are all 0."""
    return total / torch.where(weight > 0, weight, torch.ones_like(weight))
