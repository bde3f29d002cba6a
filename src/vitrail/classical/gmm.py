"""Gaussian mixtures: colours told apart by how likely each of k bell-shaped clusters made them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from vitrail.classical.colors import (
    ColorSpace,
    color_table,
    from_space,
    grouped,
    paint,
    squared_scores,
    tall_product,
    to_space,
)
from vitrail.classical.lloyd import lloyd, spread_starts
from vitrail.classical.method import Method
from vitrail.errors import ParameterError
from vitrail.image import LUMA, Image
from vitrail.result import RegionResult


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """A mixture of K Gaussians in D dimensions.

    ``weights`` (K,) sums to 1; ``means`` (K, D); ``covariances`` (K, D, D); ``log_likelihoods``
    the mean log density per unit of weight, in nats, before each iteration and at the end.
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    log_likelihoods: tuple[float, ...] = ()

    def log_joint(self, points: np.ndarray) -> np.ndarray:
        """(N, K): log of weight times density of each component at each point (N, D)."""
        dimensions = self.means.shape[1]
        joint = np.empty((len(points), len(self.weights)))
        for i, (mean, covariance) in enumerate(zip(self.means, self.covariances, strict=True)):
            root = np.linalg.cholesky(covariance)
            white = tall_product(points - mean, np.linalg.inv(root).T)
            constant = np.log(max(self.weights[i], 1e-300)) - np.log(np.diag(root)).sum()
            constant -= 0.5 * dimensions * np.log(2 * np.pi)
            joint[:, i] = constant - 0.5 * np.einsum("nd,nd->n", white, white)
        return joint


def fit_mixture(
    points: np.ndarray,
    weights: np.ndarray,
    means: np.ndarray,
    *,
    max_iter: int = 100,
    tolerance: float = 1e-4,
    floor: float = 1.0,
) -> Mixture:
    """Fit a Gaussian mixture with full covariances by expectation maximisation.

    Parameters
    ----------
    points, weights
        (N, D), and (N,) how much each counts.
    means
        (K, D) to start from; each point starts with the nearest.
    max_iter, tolerance
        stop after so many iterations, or when the mean log likelihood gains less.
    floor
        variance added in every direction, in squared units of the points: no component can
        shrink to a single colour.

    Dempster, Laird and Rubin, "Maximum likelihood from incomplete data via the EM algorithm",
    J. Royal Stat. Soc. B 39 (1977).
    """
    points = points.astype(np.float64)
    share = weights / weights.sum()
    start = np.asarray(means, np.float64)
    nearest = np.argmin(squared_scores(points, start), axis=1)
    mixture = _maximise(points, share, np.eye(len(start))[nearest], start, floor)
    history: list[float] = []
    while True:
        joint = mixture.log_joint(points)
        top = joint.max(axis=1, keepdims=True)
        posterior = np.exp(joint - top)
        total = posterior.sum(axis=1, keepdims=True)
        history.append(float(share @ (top + np.log(total))[:, 0]))
        settled = len(history) > 1 and history[-1] - history[-2] < tolerance
        if settled or len(history) > max_iter:
            return Mixture(mixture.weights, mixture.means, mixture.covariances, tuple(history))
        posterior /= total
        mixture = _maximise(points, share, posterior, mixture.means, floor)


def _maximise(
    points: np.ndarray, share: np.ndarray, posterior: np.ndarray, means: np.ndarray, floor: float
) -> Mixture:
    """The mixture that is likeliest given how much of each point each component has."""
    owned = posterior * share[:, None]
    weights = owned.sum(axis=0)
    alive = weights > 1e-12  # a component that owns nothing stays where it is
    means = np.where(
        alive[:, None], _cross(owned, points) / np.maximum(weights, 1e-300)[:, None], means
    )
    dimensions = points.shape[1]
    covariances = np.tile(floor * np.eye(dimensions), (len(weights), 1, 1))
    for i in np.flatnonzero(alive):
        offset = points - means[i]
        covariances[i] += _cross(offset * owned[:, i, None], offset) / weights[i]
    return Mixture(weights / weights.sum(), means, covariances)


def _cross(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """``first.T @ second`` of (N, P) and (N, Q), on one core for the reason of `tall_product`."""
    rows = max(1, (1 << 18) // (first.shape[1] * second.shape[1]))
    parts = (slice(start, start + rows) for start in range(0, len(first), rows))
    return np.add.reduce([first[part].T @ second[part] for part in parts])


class MixtureLabels(NamedTuple):
    """What a Gaussian mixture made of an image.

    ``labels`` (H, W) int32, the likeliest component of each pixel; ``mixture`` with components
    from dark to bright, in the coordinates of `vitrail.classical.colors.to_space`;
    ``counts`` (K,) int64, pixels of each.
    """

    labels: np.ndarray
    mixture: Mixture
    counts: np.ndarray


def gmm(
    rgb: np.ndarray,
    k: int = 3,
    *,
    color: ColorSpace = "rgb",
    max_iter: int = 100,
    tolerance: float = 1e-4,
    floor: float = 1.0,
    seed: int = 0,
) -> MixtureLabels:
    """Part an image by the Gaussian component that each pixel's colour most likely comes from.

    Unlike k-means, components differ in extent: a wide, lit background and a narrow object part
    where they are equally likely. The mixture is fitted to the colours of the image joined to 6
    bits per channel and weighted by their pixels, from a start by k-means++; every colour is then
    given to its likeliest component.

    Parameters
    ----------
    rgb
        (H, W, 3) uint8.
    k
        components, 1 to 64; fewer come back where the image has fewer colours.
    color
        the space the Gaussians are in.
    max_iter, tolerance, floor
        as in `fit_mixture`; `floor` in squared units of the space (rgb, hsv: of 255; lab: of 100).
    seed
        of the random start.

    Raises
    ------
    ParameterError
        when `rgb` is not (H, W, 3) uint8, or k is out of range.
    """
    if not 1 <= k <= 64:
        raise ParameterError(f"k must be 1 to 64 components, got {k}")
    table = color_table(rgb)
    every = to_space(table.colors, color)
    points, weights = grouped(table, every, 6)
    if len(points) < 64 * k:
        points, weights = every, table.counts.astype(np.float64)
    rng = np.random.default_rng(seed)
    starts = spread_starts(points, weights, k, rng)
    starts = lloyd(lambda: [(points, weights)], starts, max_iter=20, epsilon=0.5)
    mixture = fit_mixture(
        points, weights, starts, max_iter=max_iter, tolerance=tolerance, floor=floor
    )
    order = _dark_to_bright(mixture.means, color)
    mixture = Mixture(
        mixture.weights[order],
        mixture.means[order],
        mixture.covariances[order],
        mixture.log_likelihoods,
    )
    block = 1 << 18
    nearest = np.concatenate(
        [
            np.argmax(mixture.log_joint(every[start : start + block].astype(np.float64)), axis=1)
            for start in range(0, len(every), block)
        ]
    )
    counts = np.bincount(nearest, table.counts, len(order)).astype(np.int64)
    return MixtureLabels(paint(rgb, table.colors, nearest), mixture, counts)


def _dark_to_bright(means: np.ndarray, color: ColorSpace) -> np.ndarray:
    """Order by what each space has for lightness: luma, L, or the value of HSV."""
    lightness = {"rgb": means @ LUMA, "lab": means[:, 0], "hsv": means[:, 2]}[color]
    return np.lexsort((*means.T[::-1], lightness))


class GaussianMixture(Method):
    """The likeliest of k Gaussians of colour for each pixel of ``Image.rgb()``; see `gmm`.

    Components run from dark to bright. `values` has `weights`, `centers` (in the colour space),
    `covariances` (rgb: of 255; lab; hsv: in the cone of `to_space`), `counts`, and
    `log_likelihood`, the mean log density per pixel in nats.
    """

    name: ClassVar[str] = "gmm"
    summary: ClassVar[str] = "a mixture of k Gaussians over colour, fitted by EM"

    k: int = Field(3, ge=1, le=64, description="components, 1 to 64")
    color: ColorSpace = Field("rgb", description="space the Gaussians are in")
    max_iter: int = Field(100, ge=1, le=10_000, description="iterations of EM, at most")
    tolerance: float = Field(
        1e-4, ge=0, description="stop when the mean log likelihood gains less, in nats"
    )
    floor: float = Field(
        1.0, gt=0, le=1e4, description="least variance of a component, in squared colour units"
    )
    seed: int = Field(0, ge=0, description="of the random start")

    def __call__(self, image: Image) -> RegionResult:
        found = gmm(
            image.rgb(),
            self.k,
            color=self.color,
            max_iter=self.max_iter,
            tolerance=self.tolerance,
            floor=self.floor,
            seed=self.seed,
        )
        return RegionResult(
            found.labels,
            classes=tuple(f"component {i}" for i in range(len(found.counts))),
            values={
                "weights": found.mixture.weights,
                "centers": from_space(found.mixture.means, self.color),
                "covariances": found.mixture.covariances,
                "counts": found.counts,
                "log_likelihood": found.mixture.log_likelihoods[-1],
            },
            image=image,
        )
