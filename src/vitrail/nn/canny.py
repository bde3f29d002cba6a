"""Canny's edges as tensor operations: on any device, in an exported network, without parameters.

Canny, "A computational approach to edge detection", IEEE PAMI 8 (1986). The form is that of
:func:`vitrail.classical.edges.canny`, and so of ``cv2.Canny`` with ``L2gradient=True``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

_LUMA = (0.299, 0.587, 0.114)
"""Share of red, green and blue in grey, ITU-R BT.601."""
_UNIT = 4080
"""Gradients are rounded to 1/4080: equal ones stay equal, in whatever order a device sums."""


@torch.no_grad()
def canny(
    images: Tensor,
    *,
    sigma: float = 1.0,
    low: float = 0.16,
    high: float = 0.4,
    iterations: int = 32,
    padding: int = 0,
) -> Tensor:
    """Thin, linked edges of a batch of images, a constant to the gradient.

    The limits are shares of each image's own range of grey: adding a number to an image or
    multiplying it by a positive one, as normalisation does, changes nothing. An image of one
    colour has no edges; one of little contrast shows its noise. Everything is slices and sums in
    float32, autocast or not: a convolution would be rounded in mixed precision and in TF32.

    Parameters
    ----------
    images:
        ``(B, C, H, W)`` in any unit; three bands are taken as RGB, of others the mean.
    sigma:
        Of the Gaussian, in pixels; 0 does not smooth.
    low, high:
        Sobel magnitude that continues an edge, and that begins one, of an image whose grey is
        stretched to 0..1: 4 is a sharp straight step from the darkest to the lightest grey
        without smoothing, 2.5 the same step with ``sigma=1``.
    iterations:
        How far, in pixels, an edge is followed from where it reaches ``high``.
    padding:
        How many rows at the bottom, and columns at the right, may be padding at most: there, those
        that are of the last pixel's colour throughout are left out, unless there are more of them.
        What remains has the edges that it has alone, and the padding has none.

    Returns
    -------
    ``(B, 1, H, W)`` float32, 1 on edges and 0 elsewhere.
    """
    images = images.float()
    height, width = images.shape[-2:]
    grey, within = _grey(images), None
    if padding > 0:
        rows, columns = _unpadded(images, padding)
        grey = _continued(_continued(grey, -2, rows, _reach(sigma)), -1, columns, _reach(sigma))
        within = _below(height, rows)[:, None, :, None] & _below(width, columns)[:, None, None, :]
    least, most = grey.amin((-2, -1), keepdim=True), grey.amax((-2, -1), keepdim=True)
    spread = most - least
    flat = spread <= 1e-6 * torch.maximum(most.abs(), least.abs())  # rounding is no contrast
    grey = (grey - least) / spread.where(~flat, torch.ones_like(spread))
    down, across = _sobel(_smooth(grey, sigma))
    down, across = ((gradient[..., :height, :width] * _UNIT).round() for gradient in (down, across))
    strength = down.square() + across.square()
    if within is not None:
        strength = strength * within
    ridge = _ridge(strength, down, across) & ~flat
    weak = ridge & (strength > (low * _UNIT) ** 2)
    edges = ridge & (strength > (high * _UNIT) ** 2)
    for _ in range(iterations):
        edges = _with_neighbours(edges) & weak
    return edges.float()


def _with_neighbours(mask: Tensor) -> Tensor:
    """A ``(B, 1, H, W)`` bool mask with the eight neighbours of all that is in it; six times as
    fast on a CPU as a 3x3 maximum."""
    for axis, pad in ((-2, (0, 0, 1, 1)), (-1, (1, 1))):
        wide, length = F.pad(mask, pad), mask.shape[axis]
        parts = [wide.narrow(axis, step, length) for step in range(3)]
        mask = parts[0] | parts[1] | parts[2]
    return mask


def _grey(images: Tensor) -> Tensor:
    """``(B, 1, H, W)``."""
    if images.shape[1] != len(_LUMA):
        return images.mean(1, keepdim=True)
    red, green, blue = images.split(1, dim=1)
    return _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue


def _unpadded(images: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """``(B,)`` rows and ``(B,)`` columns of each image before at most ``most`` of padding."""
    alike = (images == images[..., -1:, -1:]).all(1)
    found: list[Tensor] = []
    for axis in (-2, -1):
        length = images.shape[axis]
        last = min(most + 1, length)
        lines = alike.narrow(axis, length - last, last).all(-1 if axis == -2 else -2)
        run = lines.flip(-1).long().cumprod(-1).sum(-1)
        found.append(length - run.where(run < last, 0))
    return found[0], found[1]


def _continued(grey: Tensor, axis: int, valid: Tensor, more: int) -> Tensor:
    """What is behind each image's first ``valid`` values, and ``more``, from its mirror image."""
    places = torch.arange(grey.shape[axis] + more, device=grey.device) % (2 * valid[:, None])
    places = torch.minimum(places, 2 * valid[:, None] - 1 - places)
    shape = list(grey.shape)
    shape[axis] = places.shape[1]
    places = places[:, None, :, None] if axis == -2 else places[:, None, None, :]
    return grey.gather(axis, places.expand(shape))


def _below(length: int, limits: Tensor) -> Tensor:
    """``(B, length)``: whether a place is before each limit."""
    return torch.arange(length, device=limits.device) < limits[:, None]


def _reach(sigma: float) -> int:
    """How far the smoothing and the gradient look, in pixels."""
    return int(4 * max(0.0, sigma) + 0.5) + 1


def _smooth(grey: Tensor, sigma: float) -> Tensor:
    """A Gaussian cut at 4 sigma, along both axes."""
    if sigma <= 0:
        return grey
    reach = _reach(sigma) - 1
    weights = [math.exp(-0.5 * (step / sigma) ** 2) for step in range(-reach, reach + 1)]
    total = sum(weights)
    for axis in (-2, -1):
        length = grey.shape[axis]
        wide = _mirrored(grey, axis, reach)
        grey = torch.zeros_like(grey)
        for step, weight in enumerate(weights):
            grey = grey + weight / total * wide.narrow(axis, step, length)
    return grey


def _mirrored(grey: Tensor, axis: int, reach: int) -> Tensor:
    """The image continued by its mirror image, edge pixel repeated, however small it is."""
    length = grey.shape[axis]
    places = [place % (2 * length) for place in range(-reach, length + reach)]
    turned = [min(place, 2 * length - 1 - place) for place in places]
    before, after = turned[:reach], turned[length + reach :]
    one = [grey.narrow(axis, place, 1) for place in before]
    two = [grey.narrow(axis, place, 1) for place in after]
    return torch.cat([*one, grey, *two], dim=axis)


def _sobel(grey: Tensor) -> tuple[Tensor, Tensor]:
    """Responses to an image that gets lighter downwards, and to the right."""
    height, width = grey.shape[-2:]
    wide = _mirrored(_mirrored(grey, -2, 1), -1, 1)
    above, level, below = (wide.narrow(-2, step, height) for step in range(3))
    down, along = below - above, above + 2 * level + below
    left, middle, right = (down.narrow(-1, step, width) for step in range(3))
    across = along.narrow(-1, 2, width) - along.narrow(-1, 0, width)
    return left + 2 * middle + right, across


def _ridge(strength: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Where the gradient is largest along its direction, taken to the nearest 45 degrees.

    Of two equal neighbours across a straight edge, the second is kept, as by OpenCV.
    """
    height, width = strength.shape[-2:]
    wide = F.pad(strength, (1, 1, 1, 1))

    def neighbour(dy: int, dx: int) -> Tensor:
        return wide[..., 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]

    steep, gentle = math.tan(math.radians(67.5)), math.tan(math.radians(22.5))
    horizontal = down.abs() < gentle * across.abs()
    vertical = down.abs() > steep * across.abs()
    falling = (down < 0) == (across < 0)
    one = torch.where(falling, neighbour(-1, -1), neighbour(-1, 1))
    two = torch.where(falling, neighbour(1, 1), neighbour(1, -1))
    diagonal = (strength > one) & (strength > two)
    beside = (strength > neighbour(0, -1)) & (strength >= neighbour(0, 1))
    stacked = (strength > neighbour(-1, 0)) & (strength >= neighbour(1, 0))
    return torch.where(horizontal, beside, torch.where(vertical, stacked, diagonal))
