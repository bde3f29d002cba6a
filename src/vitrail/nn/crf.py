"""The fully connected CRF: label maps whose borders follow the picture's.

Krähenbühl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials",
arXiv:1210.5644, as DeepLab uses it (Chen et al., arXiv:1606.00915, section 3.3). Every pair of
pixels is connected; mean-field inference comes down to filtering the marginals with Gaussians.
Written from the papers; no code was taken over.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vitrail.errors import ParameterError
from vitrail.nn.crf_params import CRFParams
from vitrail.nn.permutohedral import PermutohedralLattice

_EXACT_PIXELS = 4096
"""Up to this size the appearance term is a plain matrix: 64 MB, and faster than a lattice."""

_LOST = 1e-3
"""What leaving labels out may change of a marginal; see :func:`_kept`."""


class DenseCRF:
    """Mean-field marginals of a fully connected CRF.

    The energy of a labelling ``x`` is (eq. 1 to 3 of arXiv:1210.5644)::

        sum_i unary[x_i, i]  +  sum_{i<j} compatibility[x_i, x_j] * k(i, j)
        k(i, j) = gaussian_weight  * exp(-p² / 2 theta_gamma²)
                + bilateral_weight * exp(-p² / 2 theta_alpha² - c² / 2 theta_beta²)

    with ``p`` the distance of the two pixels and ``c`` that of their colours, in 0..255. As in the
    authors' code, a pixel's message to itself counts, and each kernel is normalised symmetrically:
    divided by the square roots of its sums over either pixel.

    Parameters
    ----------
    params:
        Weights, reaches and iterations. ``long_side`` means nothing here: the image is taken as
        large as it is.
    compatibility:
        ``(C, C)``, the cost of label ``l`` beside label ``m``; default Potts, 1 for any two
        different labels.
    """

    def __init__(
        self, params: CRFParams | None = None, compatibility: np.ndarray | Tensor | None = None
    ) -> None:
        self.params = params or CRFParams()
        self.compatibility = None
        if compatibility is not None:
            table = torch.as_tensor(compatibility).float()
            if table.ndim != 2 or table.shape[0] != table.shape[1] or not table.isfinite().all():
                raise ParameterError(
                    f"compatibility has shape {tuple(table.shape)}, expected finite (C, C) costs"
                )
            self.compatibility = table

    @torch.no_grad()
    def __call__(
        self, unary: np.ndarray | Tensor, image: np.ndarray | Tensor, *, exact: bool | None = None
    ) -> Tensor:
        """The marginals of every pixel's label.

        Parameters
        ----------
        unary:
            ``(C, H, W)``, negative log-probabilities, up to a constant for each pixel: the negated
            logits of a network will do. The work is done where it lies, CPU or GPU.
        image:
            ``(H, W, 3)`` uint8, the guide.
        exact:
            Whether the appearance term is summed over all pairs of pixels (memory and time go
            with the square of the pixels) or filtered on a permutohedral lattice, which only
            approximates the Gaussian; default: summed up to 4096 pixels.

        Returns
        -------
        ``(C, H, W)`` float32 on the device of ``unary``; sums to 1 over the labels. Labels whose
        probability is nowhere above 0.001 / C² are left out of the work under Potts and come back
        as 0, which changes no marginal by more than about 0.001.

        Raises
        ------
        ParameterError
            shapes that do not fit together, values that are not finite, or kernels too narrow for
            the lattice.
        """
        unary = torch.as_tensor(unary)
        guide = torch.as_tensor(image).to(unary.device)
        _check(unary, guide, self.compatibility)
        classes, pixels = len(unary), unary[0].numel()
        if exact is None:
            exact = pixels <= _EXACT_PIXELS
        planes = F.log_softmax(-unary.float().flatten(1), dim=0)
        kept = _kept(planes, self.compatibility)
        # A row for each pixel from here on: that is how lattices and convolutions read fastest.
        logits = (planes[kept] if len(kept) < classes else planes).t().contiguous()
        kernels = self._kernels(guide, exact)
        table = None if self.compatibility is None else self.compatibility.t().to(unary.device)
        marginals = torch.softmax(logits, dim=1)
        for _ in range(self.params.iterations):
            if not kernels:
                break
            # Written over where it can be: pages fresh from the system cost more than the sums.
            message = kernels[0](marginals)
            for kernel in kernels[1:]:
                message += kernel(marginals)
            if table is not None:  # Potts is, but for a constant of each pixel, the negated message
                message = (message @ table).neg_()
            torch.softmax(message.add_(logits), dim=1, out=marginals)
        if len(kept) < classes:
            marginals = marginals.new_zeros(pixels, classes).index_copy_(1, kept, marginals)
        return marginals.t().contiguous().view(unary.shape)

    def _kernels(self, guide: Tensor, exact: bool) -> list[_Smoothness | _Matrix | _Lattice]:
        """Those that weigh anything."""
        params = self.params
        kernels: list[_Smoothness | _Matrix | _Lattice] = []
        if params.iterations and params.bilateral_weight:
            features = _features(guide, params.theta_alpha, params.theta_beta)
            kind = _Matrix if exact else _Lattice
            kernels.append(kind(features, params.bilateral_weight))
        if params.iterations and params.gaussian_weight:
            height, width = guide.shape[:2]
            kernels.append(
                _Smoothness(
                    (height, width),
                    params.theta_gamma,
                    params.gaussian_weight,
                    guide.device,
                    deviations=6 if exact else 3,
                )
            )
        return kernels


class _Smoothness:
    """The Gaussian of positions alone, as two one-dimensional convolutions."""

    def __init__(
        self,
        size: tuple[int, int],
        theta: float,
        weight: float,
        device: torch.device,
        *,
        deviations: int,
    ) -> None:
        self.size = size
        # 3 standard deviations hold 99.7 % of the weight along an axis.
        reach = [min(math.ceil(deviations * theta), side - 1) for side in size]
        self._taps = [
            torch.exp(-((torch.arange(-r, r + 1, device=device) / theta) ** 2) / 2) for r in reach
        ]
        ones = [torch.ones(1, 1, side, device=device) for side in size]
        sums = [
            F.conv1d(one, taps[None, None], padding=r).flatten()
            for one, taps, r in zip(ones, self._taps, reach, strict=True)
        ]
        scale = (sums[0][:, None] * sums[1]).rsqrt()
        self._before = scale.reshape(-1, 1)
        self._after = weight * self._before
        self._scaled = torch.empty(0, device=device)

    def __call__(self, marginals: Tensor) -> Tensor:
        classes = marginals.shape[1]
        # (N, C) read as an image in channels-last order: nothing is copied.
        if self._scaled.shape != marginals.shape:
            self._scaled = torch.empty_like(marginals)
        torch.mul(marginals, self._before, out=self._scaled)
        planes = self._scaled.view(1, *self.size, classes).permute(0, 3, 1, 2)
        for axis, taps in enumerate(self._taps):
            shape = (classes, 1, -1, 1) if axis == 0 else (classes, 1, 1, -1)
            kernel = taps.expand(classes, -1).reshape(shape)
            padding = (len(taps) // 2, 0) if axis == 0 else (0, len(taps) // 2)
            planes = F.conv2d(planes, kernel, padding=padding, groups=classes)
        return planes.permute(0, 2, 3, 1).reshape(-1, classes).mul_(self._after)


class _Matrix:
    """The appearance kernel between all pairs of pixels, exact."""

    def __init__(self, features: Tensor, weight: float) -> None:
        distances = torch.cdist(
            features, features, compute_mode="donot_use_mm_for_euclid_dist"
        )  # the other mode cancels digits
        kernel = distances.square_().mul_(-0.5).exp_()
        scale = kernel.sum(1).rsqrt()
        self._kernel = kernel.mul_(scale).mul_(scale[:, None]).mul_(weight)

    def __call__(self, marginals: Tensor) -> Tensor:
        return self._kernel @ marginals


class _Lattice:
    """The appearance kernel on a permutohedral lattice."""

    def __init__(self, features: Tensor, weight: float) -> None:
        self._lattice = PermutohedralLattice(features)
        sums = self._lattice.filter(torch.ones_like(features[:, :1]))
        self._lattice.scale(sums.flatten().rsqrt(), weight)

    def __call__(self, marginals: Tensor) -> Tensor:
        return self._lattice.filter(marginals)


def unary_of(probabilities: np.ndarray | Tensor, least: float = 1e-5) -> Tensor:
    """Negative logarithms of probabilities ``(C, H, W)``, which need not sum to 1.

    Nothing counts as less probable than ``least``: a zero could never be overruled.

    Raises
    ------
    ParameterError
        negative values, or values that are not finite.
    """
    values = torch.as_tensor(probabilities).float()
    if not values.isfinite().all() or (values < 0).any():
        raise ParameterError("probabilities have to be finite and at least 0")
    return -values.clamp(min=least).log()


@torch.no_grad()
def vote(seeds: Tensor, image: Tensor, params: CRFParams) -> Tensor:
    """What the pixels that have a label say of those that have none.

    Mean field starts from a probability at each pixel; from nothing but scribbles it would end in
    the label that was scribbled most. So each pixel first asks the seeds, near ones in place and
    colour the most (Gaussians five times as wide as the appearance term's, for seeds are few and
    far between); each label has the same weight, however many its seeds.

    Parameters
    ----------
    seeds:
        ``(C, H, W)`` float32, how much each pixel is a seed of each label, at least 0.
    image:
        ``(H, W, 3)`` uint8, on the same device.

    Returns
    -------
    ``(C, H, W)`` float32, the labels' shares of the votes, 1 in all; even shares out of reach.
    """
    classes = len(seeds)
    rows = seeds.flatten(1).t()
    features = _features(image, 5 * params.theta_alpha, 5 * params.theta_beta)
    votes = PermutohedralLattice(features).filter((rows / rows.sum(0).clamp(min=1e-6)).contiguous())
    total = votes.sum(1, keepdim=True)
    shares = torch.where(total > 0, votes / total, 1 / classes)
    return shares.t().contiguous().view(seeds.shape)


def _features(guide: Tensor, alpha: float, beta: float) -> Tensor:
    """``(H * W, 5)`` float32: positions and colours in standard deviations."""
    height, width = guide.shape[:2]
    y = torch.arange(height, device=guide.device).float() / alpha
    x = torch.arange(width, device=guide.device).float() / alpha
    features = torch.empty(height, width, 5, device=guide.device)
    features[..., 0], features[..., 1] = y[:, None], x
    features[..., 2:] = guide.float() / beta
    return features.view(-1, 5)


def _kept(planes: Tensor, compatibility: Tensor | None) -> Tensor:
    """Labels that can matter, as indices.

    A label that starts below ``p`` everywhere stays below about ``C p``: what it gains from its
    own messages is a factor near 1, and the pixel's best label holds at least ``1 / C``. All such
    labels together take at most ``C² p`` from the others. Costs other than Potts may favour a label
    for the sake of another, so there all are kept.
    """
    classes = len(planes)
    if compatibility is not None:
        return torch.arange(classes, device=planes.device)
    return (planes.amax(1) > math.log(_LOST / classes**2)).nonzero().flatten()


def _check(unary: Tensor, guide: Tensor, compatibility: Tensor | None) -> None:
    if unary.ndim != 3 or not unary.numel() or not unary.dtype.is_floating_point:
        raise ParameterError(
            f"unary is {unary.dtype} of shape {tuple(unary.shape)}, expected floats (C, H, W)"
        )
    if guide.dtype != torch.uint8 or tuple(guide.shape) != (*unary.shape[1:], 3):
        raise ParameterError(
            f"the image is {guide.dtype} of shape {tuple(guide.shape)}, expected uint8 of shape"
            f" {(*unary.shape[1:], 3)} as the unary term has it"
        )
    if not unary.isfinite().all():
        raise ParameterError(
            "unary holds values that are not finite; for a probability of 0 use a small one"
        )
    if compatibility is not None and len(compatibility) != len(unary):
        raise ParameterError(
            f"compatibility is for {len(compatibility)} labels, unary has {len(unary)}"
        )
