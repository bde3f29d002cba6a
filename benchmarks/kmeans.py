"""k-means, k = 3, on a 12-megapixel photo: ours against cv2.kmeans, in time and in inertia.

    python benchmarks/kmeans.py

The photo is four of scikit-image's, enlarged by cubic interpolation, with sensor-like noise. Both
get 10 attempts, 10 iterations, epsilon 1.0 and k-means++ starts. Inertia is computed here, from
the labels and centres that each returned, over all pixels.
"""

from __future__ import annotations

import argparse
from time import process_time

import cv2
import numpy as np
from _timing import compare, report
from skimage import data

from vitrail.classical.kmeans import kmeans


def photo() -> np.ndarray:
    """(3000, 4000, 3) uint8."""
    names = (data.astronaut, data.coffee, data.chelsea, data.rocket)
    tiles = [cv2.resize(load(), (2000, 1500), interpolation=cv2.INTER_CUBIC) for load in names]
    mosaic = np.vstack([np.hstack(tiles[:2]), np.hstack(tiles[2:])])
    noise = np.random.default_rng(0).normal(0, 3, mosaic.shape).astype(np.float32)
    return np.clip(np.rint(mosaic + noise), 0, 255).astype(np.uint8)


def inertia(image: np.ndarray, labels: np.ndarray, centers: np.ndarray) -> float:
    total = 0.0
    for rows, row_labels in zip(image, labels.reshape(image.shape[:2]), strict=True):
        total += float(((rows - centers.astype(np.float64)[row_labels]) ** 2).sum())
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description="k-means against cv2.kmeans")
    parser.add_argument("--repeats", type=int, default=1, help="rounds timed (a round is minutes)")
    repeats = parser.parse_args().repeats
    image = photo()
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def ours() -> None:
        clusters = kmeans(image, 3, attempts=10, max_iter=10, epsilon=1.0)
        found["ours"] = clusters.labels, clusters.centers

    def opencv() -> None:
        points = image.reshape(-1, 3).astype(np.float32)
        criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 10, 1.0)
        cv2.setRNGSeed(0)
        _, labels, centers = cv2.kmeans(points, 3, np.empty(0), criteria, 10, cv2.KMEANS_PP_CENTERS)
        found["peer"] = labels, centers

    # One round of OpenCV takes most of a minute, so ours is timed before and after it instead of
    # in turn with it.
    before, _ = compare(ours, lambda: None, 3)
    start = process_time()
    peer, _ = compare(opencv, lambda: None, repeats, warmup=0)
    peer_cpu = (process_time() - start) / repeats
    start = process_time()
    after, _ = compare(ours, lambda: None, 3, warmup=0)
    ours_cpu = (process_time() - start) / 3
    title = f"k-means, k=3, {image.shape[1]} x {image.shape[0]}, against cv2.kmeans"
    report(title, (before + after) / 2, peer, 20)
    print(f"  CPU time, all cores: ours {ours_cpu:.3g} s   peer {peer_cpu:.3g} s")
    ours_cost, peer_cost = (inertia(image, *found[who]) for who in ("ours", "peer"))
    title = "its inertia: ours at most 1.01 times the peer's"
    report(title, ours_cost, peer_cost, 1 / 1.01, unit="squared levels")


if __name__ == "__main__":
    main()
