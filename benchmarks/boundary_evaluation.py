"""Seconds of the BSDS boundary evaluation (ODS, OIS, AP) on real photographs.

    python benchmarks/boundary_evaluation.py DATA/BSDS500 --images 100

DATA holds ``images/SPLIT/NAME.jpg`` and ``segments/SPLIT/NAME_K.png``, one label map an annotator.
The strength is the gradient of the smoothed photograph after non-maximum suppression: weak as a
detector, but with as many boundary pixels at as many thresholds as a good one. The target is of
the evaluation alone, in processor seconds of one process, as other programs may share the machine;
the elapsed time is printed too.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from time import perf_counter, process_time

import cv2
import numpy as np

from vitrail.metrics.base import State
from vitrail.metrics.boundaries import BoundaryDetection, region_boundaries

TARGET_S = 60.0


def gradient(photo: np.ndarray) -> np.ndarray:
    """Gradient magnitude of a grey photograph, kept only at ridges, in [0, 1]."""
    smooth = cv2.GaussianBlur(photo.astype(np.float32), (0, 0), 1.5)
    dx, dy = (cv2.Sobel(smooth, cv2.CV_32F, *axis) for axis in ((1, 0), (0, 1)))
    strength = np.hypot(dx, dy)
    rows, columns = np.indices(photo.shape, np.float32)
    unit = np.maximum(strength, 1e-6)
    beside = [
        cv2.remap(strength, columns + s * dx / unit, rows + s * dy / unit, cv2.INTER_LINEAR)
        for s in (-1, 1)
    ]
    ridge = np.where((strength >= beside[0]) & (strength >= beside[1]), strength, 0)
    return np.clip(ridge / np.quantile(ridge[ridge > 0], 0.995), 0, 1)


def read(path: Path, mode: int) -> np.ndarray:
    """One picture."""
    pixels = cv2.imread(str(path), mode)
    if pixels is None:
        raise SystemExit(f"{path} cannot be read as an image")
    return pixels


def evaluate(files: list[tuple[Path, list[Path]]]) -> tuple[State, float]:
    """State of the metric over some images, and the processor seconds it took."""
    metric, spent = BoundaryDetection(), 0.0
    for photo, segments in files:
        strength = gradient(read(photo, cv2.IMREAD_GRAYSCALE))
        labels = [read(path, cv2.IMREAD_UNCHANGED) for path in segments]
        start = process_time()
        metric.update([region_boundaries(one) for one in labels], strength)
        spent += process_time() - start
    return metric.state(), spent


def main() -> None:
    """Evaluate, and compare with the target."""
    parser = argparse.ArgumentParser(description="Time of the BSDS boundary evaluation")
    parser.add_argument("root", type=Path, help="folder of BSDS500")
    parser.add_argument("--split", default="val")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--workers", type=int, default=1, help="processes")
    options = parser.parse_args()
    photos = sorted((options.root / "images" / options.split).glob("*.jpg"))[: options.images]
    folder = options.root / "segments" / options.split
    files = [(photo, sorted(folder.glob(f"{photo.stem}_*.png"))) for photo in photos]
    if not files or not all(segments for _, segments in files):
        raise SystemExit(f"{options.root} lacks photographs or segments of {options.split!r}")
    start = perf_counter()
    if options.workers == 1:
        parts = [evaluate(files)]
    else:
        with ProcessPoolExecutor(options.workers) as pool:
            parts = list(
                pool.map(evaluate, [files[i :: options.workers] for i in range(options.workers)])
            )
    whole = BoundaryDetection()
    for state, _ in parts:
        part = BoundaryDetection()
        part.load(state)
        whole.merge(part)
    begin = process_time()
    numbers = whole.compute()
    spent = sum(seconds for _, seconds in parts) + process_time() - begin
    print("  ".join(f"{name} {value:.4f}" for name, value in numbers.items()))
    annotators = sum(len(segments) for _, segments in files)
    print(f"{len(files)} images, {annotators} annotators, 99 thresholds")
    print(f"{spent:.1f} CPU s, {perf_counter() - start:.1f} s elapsed, reading included")
    met = spent < TARGET_S * len(files) / 100
    print(f"target < {TARGET_S:g} CPU s per 100 images: {'PASS' if met else 'MISS'}")


if __name__ == "__main__":
    main()
