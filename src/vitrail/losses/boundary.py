"""Losses that look at contours, distances (px) and centre lines.

``p`` is the network's probability of a class, ``y`` the truth. Pixels without a label count as
outside every region when distances and skeletons are computed, and have no weight in the sums.
Distance maps are made on the CPU for every batch (see :mod:`vitrail.losses.distance`) and are
constants to the gradient.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from vitrail.losses.base import Loss
from vitrail.losses.distance import contour_distance, distance_to, signed_distance
from vitrail.losses.region import Region
from vitrail.losses.targets import Planes


class _Distance(Region):
    background: bool = Field(default=False, description="the background class takes part")

    def maps(self, planes: Planes, transform: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
        """Distance maps (px) of ``values > 0.5``, ``(B, C, H, W)``; 0 for what is left out."""
        masks = values.detach() > 0.5
        if not self.background and planes.background is not None:
            masks[:, planes.background] = False
        return transform(masks.flatten(0, 1)).view(masks.shape).to(values.dtype)

    def pixel_means(self, planes: Planes, values: Tensor) -> Tensor:
        """Mean over known pixels of each class, ``(C,)``, or each class of each image."""
        pixels = self.sum(planes, planes.known.expand_as(values)).clamp(min=1)
        return self.sum(planes, values * planes.known) / pixels


class Boundary(_Distance):
    """``mean phi (p - y)``, ``phi`` the signed distance (px) to the true contour.

    Kervadec et al., arXiv:1812.07032. ``mean phi y`` does not depend on the network: the
    authors' code leaves it out; kept, a perfect prediction costs 0 and the number is the
    paper's distance between contours. An image without the class, or full of it, adds 0. Nothing
    pulls at a network that predicts no object at all: add it to a region loss
    (``dice + 0.01*boundary``).
    """

    absent: bool = Field(default=True, description="classes without a true pixel count (as 0)")

    def value(self, planes: Planes) -> Tensor:
        phi = self.maps(planes, signed_distance, planes.known_truth)
        return self.mean(planes, self.pixel_means(planes, phi * (planes.p - planes.truth)))


class Hausdorff(_Distance):
    """``mean (p - y)^2 (d_p^alpha + d_y^alpha)``, ``d`` the distance (px) to each contour.

    Karimi and Salcudean, arXiv:1904.10030, with distance transforms; ``d_p`` is that of the mask
    ``p > 0.5``. The mean is over the pixels of an image, then over the images and classes where
    the class occurs.
    """

    per_image: bool = Field(
        default=True, description="false: the pixels of the whole batch at once"
    )
    alpha: float = Field(
        default=2.0, ge=0, le=4, description="how much far errors outweigh near ones"
    )

    def value(self, planes: Planes) -> Tensor:
        found = self.maps(planes, contour_distance, planes.known_p)
        true = self.maps(planes, contour_distance, planes.known_truth)
        error = (planes.known_p - planes.known_truth).square()
        distance = found**self.alpha + true**self.alpha
        return self.mean(planes, self.pixel_means(planes, error * distance))


class ShapeAware(Loss):
    """``mean (1 + scale E) CE``: cross-entropy, more on predicted contours that are far off.

    ``E`` of a pixel on the contour of the prediction is its distance (px) to the true contour,
    and 0 elsewhere. After Hayder et al., arXiv:1612.03129, as a loss in Jadon, arXiv:2006.14822.
    A contour is the pixels with another class among their four neighbours.
    """

    scale: float = Field(default=1.0, ge=0, le=100, description="weight of a pixel of distance")

    def value(self, planes: Planes) -> Tensor:
        return self.pixel_mean(planes, (1 + self.scale * self.distance(planes)) * planes.nll)

    def distance(self, planes: Planes) -> Tensor:
        """``E``, ``(B, 1 or C, H, W)``, without a gradient."""
        if planes.exclusive:
            true, found = (
                each.argmax(1, keepdim=True) for each in (planes.truth, planes.logits.detach())
            )
        else:
            true, found = planes.truth > 0.5, planes.logits.detach() > 0
        edge = contour(true, planes.labelled)
        far = distance_to(edge.flatten(0, 1)).view(edge.shape)
        return far.to(planes.logits.dtype) * contour(found, planes.labelled)


class ClDice(Region):
    """``1 - 2 T S / (T + S)``: Dice of centre lines, for vessels, roads, cracks.

    ``T = (sum skel(p) y + smooth) / (sum skel(p) + smooth)`` is the share of the predicted centre
    line inside the truth, ``S`` the share of the true one inside the prediction. Shit et al.,
    arXiv:2003.07311; the paper's loss is ``0.5*dice + 0.5*cldice``. ``iterations`` should reach
    half the width (px) of the widest structure; each is five poolings, ten times Dice.
    """

    background: bool = Field(default=False, description="the background class takes part")
    iterations: int = Field(default=10, ge=0, le=200, description="erosions of the soft skeleton")
    smooth: float = Field(default=1.0, gt=0, le=1e6, description="added above and below the line")

    def value(self, planes: Planes) -> Tensor:
        p, y = planes.known_p, planes.known_truth
        thin_p, thin_y = soft_skeleton(p, self.iterations), soft_skeleton(y, self.iterations)
        precision = self._share(planes, thin_p, y)
        sensitivity = self._share(planes, thin_y, p)
        return self.mean(planes, 1 - 2 * precision * sensitivity / (precision + sensitivity))

    def _share(self, planes: Planes, line: Tensor, region: Tensor) -> Tensor:
        inside = self.sum(planes, line * region) + self.smooth
        return inside / (self.sum(planes, line) + self.smooth)


def soft_skeleton(image: Tensor, iterations: int) -> Tensor:
    """Centre lines of ``(B, C, H, W)`` in 0..1 by repeated opening; arXiv:2003.07311, alg. 1."""
    skeleton = F.relu(image - _open(image))
    for _ in range(iterations):
        image = _erode(image)
        new = F.relu(image - _open(image))
        skeleton = skeleton + F.relu(new - skeleton * new)
    return skeleton


def _open(image: Tensor) -> Tensor:
    """Erosion by a cross of five pixels, then dilation by a square of nine."""
    return F.max_pool2d(_erode(image), 3, stride=1, padding=1)


def _erode(image: Tensor) -> Tensor:
    down = -F.max_pool2d(-image, (3, 1), stride=1, padding=(1, 0))
    across = -F.max_pool2d(-image, (1, 3), stride=1, padding=(0, 1))
    return torch.minimum(down, across)


def contour(labels: Tensor, labelled: Tensor) -> Tensor:
    """Pixels with another label beside, above or below them, both being labelled."""
    edge = torch.zeros_like(labelled)
    for axis in (-2, -1):
        length = labels.shape[axis] - 1
        one, other = labels.narrow(axis, 0, length), labels.narrow(axis, 1, length)
        both = labelled.narrow(axis, 0, length) & labelled.narrow(axis, 1, length)
        differs = (one != other) & both
        edge.narrow(axis, 0, length).logical_or_(differs)
        edge.narrow(axis, 1, length).logical_or_(differs)
    return edge
