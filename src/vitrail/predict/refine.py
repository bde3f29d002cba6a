"""Refining label maps, probabilities and scribbles with the fully connected CRF."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral, Real
from typing import TYPE_CHECKING

import cv2
import numpy as np

from vitrail.errors import ParameterError
from vitrail.image import Image, ImageSource, read_image
from vitrail.nn.crf_params import CRFParams
from vitrail.result import SemanticResult

if TYPE_CHECKING:
    import torch

_LEAST = 1e-7
"""Below this, a marginal's logarithm says nothing more."""

_TRUST = 0.8
"""How much the vote of the labelled pixels counts for one without a label."""


def refine(
    image: ImageSource,
    labelling: SemanticResult | np.ndarray,
    classes: Sequence[str] | None = None,
    *,
    background: int | None = None,
    ignore: int | None = None,
    confidence: float = 0.9,
    compatibility: np.ndarray | None = None,
    device: str = "auto",
    **params: object,
) -> SemanticResult:
    """Give each pixel the class that a fully connected CRF finds most probable.

    Borders move onto the picture's edges, specks disappear, and pixels without a label get that of
    the pixels near by in place and colour. So a rough result gets a clean outline, and a few
    scribbles become a label map.

    Images whose long side is above ``long_side`` px (800) are refined at that size, and the
    marginals are enlarged: memory and time stay bounded. ``theta_alpha`` and ``theta_gamma`` are
    pixels of that size.

    Parameters
    ----------
    image:
        What was segmented: a path, URL, PIL image, array or :class:`vitrail.Image`.
    labelling:
        A :class:`~vitrail.SemanticResult`; or ``(H, W)`` whole numbers, a class for each pixel; or
        ``(C, H, W)`` floats, the probability of each class (they need not sum to 1). For
        scribbles, ``(H, W)`` with the pixels not drawn on set to ``ignore``.
    classes:
        Names of the classes; needed for an array, known for a result.
    background:
        Id of the background class of an array, if it has one.
    ignore:
        The value of pixels whose class is not known, in an array of labels. Labelled pixels near
        by in place and colour vote on them first (:func:`vitrail.nn.crf.vote`); the result has a
        class in their place.
    confidence:
        The probability that a label is right, above ``1 / C`` and below 1; higher for scribbles
        (0.99), lower for labels that are often wrong. Not for probabilities.
    compatibility:
        ``(C, C)``, the cost of one class beside another; default 1 for any two (Potts).
    device:
        ``auto``, ``cpu``, ``cuda``, ``cuda:1``.
    params:
        Fields of :class:`~vitrail.nn.crf_params.CRFParams`: ``iterations``, ``gaussian_weight``,
        ``theta_gamma``, ``bilateral_weight``, ``theta_alpha``, ``theta_beta``, ``long_side``.

    Raises
    ------
    ParameterError
        a parameter is unknown or out of range, or sizes, labels and classes do not fit together.
    SourceError, ImageError
        the image cannot be read.
    """
    import torch

    from vitrail.models.base import labels_at
    from vitrail.nn.crf import unary_of
    from vitrail.predict.device import pick_device

    settings = CRFParams.from_params(params)
    where = _where(pick_device(device))
    picture = read_image(image)
    if isinstance(labelling, SemanticResult):
        if classes is not None or background is not None or ignore is not None:
            raise ParameterError(
                "a result knows its classes, background and ignore; leave them out"
            )
        array, names, ignore = labelling.labels, labelling.classes, labelling.ignore
    else:
        array, names = _as_array("labels or probabilities", labelling), _names(classes)
        for name, value in (("background", background), ("ignore", ignore)):
            if value is not None and not isinstance(value, Integral):
                raise ParameterError(f"{name}={value!r}: expected the whole number of a class")
    if compatibility is not None:
        compatibility = _as_array("compatibility", compatibility, kinds="buif")
    size = working_size(picture.size, settings.long_side)
    if array.ndim == 2:
        _check_labels(array, picture, len(names), ignore, confidence)
        shares = _shares(array, len(names), ignore, size)
        probabilities = _probabilities(shares, confidence, picture, settings, where)
    else:
        _check_probabilities(array, picture, len(names))
        planes = np.stack([_reduced(plane.astype(np.float32), size) for plane in array])
        probabilities = torch.from_numpy(planes).to(where)
    marginals = _log_marginals(unary_of(probabilities), picture, settings, compatibility)
    labels = labels_at(marginals, picture.size)
    if isinstance(labelling, SemanticResult):
        return replace(labelling, labels=labels, ignore=None, image=picture)
    return SemanticResult(labels, names, background=background, image=picture)


def _as_array(what: str, value: object, kinds: str = "") -> np.ndarray:
    """An array of whatever can be one, of one of the given kinds of number."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ParameterError(f"{what}: cannot be made an array ({error})") from None
    if kinds and array.dtype.kind not in kinds:
        raise ParameterError(f"{what}={value!r}: expected real numbers")
    return array


def _names(classes: Sequence[str] | None) -> tuple[str, ...]:
    if classes is None:
        raise ParameterError("classes are missing; name those of the array, as classes=[...]")
    if isinstance(classes, str) or not isinstance(classes, Sequence | np.ndarray):
        raise ParameterError(f"classes={classes!r}: expected the names in a list")
    if len(classes) == 0:
        raise ParameterError("classes=[]: expected at least one name")
    return tuple(classes)


def refine_logits(
    logits: np.ndarray, image: Image, params: CRFParams, device: torch.device
) -> np.ndarray:
    """A network's logits ``(C, h, w)``, enlarged to the working size, as refined log-marginals.

    Returns
    -------
    ``(C, h', w')`` float32, with ``(h', w')`` = :func:`working_size` of the image.
    """
    import torch
    from torch.nn import functional as F

    size = working_size(image.size, params.long_side)
    unary = -torch.from_numpy(logits).to(_where(device))
    if tuple(unary.shape[1:]) != size:
        unary = F.interpolate(unary[None], size=size, mode="bilinear", align_corners=False)[0]
    return _log_marginals(unary, image, params, None)


def working_size(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """``(H, W)`` with the longer side at most ``long_side``, the shorter at least 1."""
    factor = min(1.0, long_side / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _log_marginals(
    unary: torch.Tensor, image: Image, params: CRFParams, compatibility: np.ndarray | None
) -> np.ndarray:
    from vitrail.nn.crf import DenseCRF

    marginals = DenseCRF(params, compatibility)(unary, _guide(image, unary))
    return marginals.clamp_(min=_LEAST).log_().cpu().numpy()


def _guide(image: Image, planes: torch.Tensor) -> np.ndarray:
    """The picture at the size of ``planes`` ``(C, h, w)``, as ``(h, w, 3)`` uint8 of its own."""
    return np.array(_reduced(image.rgb(), (planes.shape[1], planes.shape[2])))


def _where(device: torch.device) -> torch.device:
    """The CPU but for CUDA: Apple's GPUs lack the weighted sums that the lattice is made of."""
    import torch

    return device if device.type == "cuda" else torch.device("cpu")


def _reduced(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """``(H, W[, 3])`` averaged down to ``size``."""
    if plane.shape[:2] == size:
        return plane
    return cv2.resize(plane, (size[1], size[0]), interpolation=cv2.INTER_AREA)


def _shares(
    labels: np.ndarray, classes: int, ignore: int | None, size: tuple[int, int]
) -> np.ndarray:
    """``(C, h, w)`` float32: how much of each pixel of ``size`` is of each class.

    One class at a time, so that the full-size stack never exists.
    """
    shares = np.zeros((classes, *size), np.float32)
    for index, plane in enumerate(shares):
        if index != ignore:
            plane[:] = _reduced((labels == index).astype(np.float32), size)
    return shares


def _probabilities(
    shares: np.ndarray, confidence: float, image: Image, params: CRFParams, device: torch.device
) -> torch.Tensor:
    """``confidence`` in a pixel's label, the rest shared evenly; without a label, a cautious vote
    of the pixels that have one."""
    import torch

    from vitrail.nn.crf import vote

    classes = len(shares)
    seeds = torch.from_numpy(shares).to(device)
    rest = (1 - confidence) / max(1, classes - 1)
    known = seeds.sum(0).clamp_(max=1)
    probabilities = seeds * (confidence - rest) + rest * known
    if (known < 1).any():
        guide = torch.from_numpy(_guide(image, seeds)).to(device)
        guess = _TRUST * vote(seeds, guide, params) + (1 - _TRUST) / classes
        probabilities += (1 - known) * guess
    return probabilities


def _check_labels(
    labels: np.ndarray, image: Image, classes: int, ignore: int | None, confidence: float
) -> None:
    if labels.dtype.kind not in "ui" or labels.shape != image.size:
        raise ParameterError(
            f"labels are {labels.dtype} of shape {labels.shape}, expected whole numbers of the"
            f" image's shape {image.size}"
        )
    found = np.unique(labels)
    wrong = [int(i) for i in found if i != ignore and not 0 <= i < classes]
    if wrong:
        raise ParameterError(
            f"labels hold {wrong[0]}, but there are {classes} classes (0 to {classes - 1}); name it"
            f" in classes, or pass ignore={wrong[0]} if such pixels have no class"
        )
    if ignore is not None and (found == ignore).all():
        raise ParameterError(f"every label is {ignore} (ignore): there is nothing to go by")
    if not isinstance(confidence, Real) or (not 1 / classes < confidence < 1 and classes > 1):
        raise ParameterError(
            f"confidence={confidence!r}: expected above 1/{classes} (chance, with {classes}"
            " classes) and below 1"
        )


def _check_probabilities(array: np.ndarray, image: Image, classes: int) -> None:
    if array.ndim != 3 or array.dtype.kind != "f" or array.shape[1:] != image.size:
        raise ParameterError(
            f"got {array.dtype} of shape {array.shape}; expected labels (H, W), whole numbers, or"
            f" probabilities (C, H, W), floats, with (H, W) = {image.size} as the image"
        )
    if len(array) != classes:
        raise ParameterError(f"probabilities are of {len(array)} classes, {classes} are named")
