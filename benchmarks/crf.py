"""The fully connected CRF on 500 x 375 px, 21 labels, 10 iterations: seconds, and how exact.

    python benchmarks/crf.py

No other implementation is installed to be timed against, so the peer is an estimate: the same mean
field with the appearance term summed over all pairs of pixels, timed at 64 x 48 px and enlarged
with the square of the pixels. The unary terms are those of an unsure network, all 21 labels taking
part. The second part compares the lattice's marginals with the exact sum's, at full resolution on
crops of photos.
"""

from __future__ import annotations

import argparse

import cv2
import numpy as np
import torch
from _timing import compare, report
from skimage import data

from vitrail.nn.crf import DenseCRF, _features
from vitrail.nn.crf_params import CRFParams
from vitrail.nn.permutohedral import PermutohedralLattice

LABELS = 21
LIMIT_S = 0.6
PARAMETERS = (
    CRFParams(),
    CRFParams(bilateral_weight=10, theta_alpha=80, theta_beta=13),  # the authors' example
)


def unary(size: tuple[int, int]) -> torch.Tensor:
    """(LABELS, H, W): smooth over some 30 px, with noise."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(1, LABELS, size[0] // 30 + 2, size[1] // 30 + 2, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size, mode="bilinear")[0]
    return -(2 * smooth + 0.5 * torch.randn(LABELS, *size, generator=generator))


def time(photo: np.ndarray, params: CRFParams, repeats: int) -> None:
    energies, crf = unary(photo.shape[:2]), DenseCRF(params)
    small = cv2.resize(photo, (64, 48), interpolation=cv2.INTER_AREA)
    few = unary((48, 64))
    ours, exact = compare(
        lambda: crf(energies, photo), lambda: crf(few, small, exact=True), repeats
    )
    features = _features(torch.from_numpy(photo), params.theta_alpha, params.theta_beta)
    vertices = PermutohedralLattice(features).vertices
    name = f"theta_alpha {params.theta_alpha:g}, theta_beta {params.theta_beta:g}"
    title = f"mean field, {name}, {vertices} vertices, against all pairs (estimated)"
    report(title, ours, exact * (photo.shape[0] * photo.shape[1] / (48 * 64)) ** 2, 100)
    print(f"  target <= {LIMIT_S} s: {'PASS' if ours <= LIMIT_S else 'MISS'}")


def agreement(name: str, photo: np.ndarray, params: CRFParams) -> None:
    """How far the lattice's marginals are from the exact ones on a crop of 96 x 72 px."""
    crop = np.ascontiguousarray(photo[100:172, 100:196])
    energies, crf = unary(crop.shape[:2]), DenseCRF(params)
    exact, lattice = crf(energies, crop, exact=True), crf(energies, crop, exact=False)
    error = (exact - lattice).abs()
    other = (exact.argmax(0) != lattice.argmax(0)).float().mean()
    print(
        f"  {name:10s} theta_beta {params.theta_beta:g}: marginals off by {error.mean():.4f} in the"
        f" mean, {error.max():.2f} at most; another label at {other:.2%} of the pixels"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="the fully connected CRF")
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    photo = cv2.resize(data.astronaut(), (500, 375), interpolation=cv2.INTER_AREA)
    print(f"{torch.get_num_threads()} threads")
    for params in PARAMETERS:
        time(photo, params, repeats)
    print("the lattice against the exact sum, at full resolution")
    for name in ("astronaut", "chelsea", "coffee"):
        for params in PARAMETERS:
            agreement(name, getattr(data, name)(), params)


if __name__ == "__main__":
    main()
