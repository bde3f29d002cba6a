"""Mean threshold of 12 megapixels: ours against NumPy's mean and comparison.

    python benchmarks/mean_threshold.py

For contrast it also times one pixel at a time in Python, on a small crop, with the mean taken
once; taking it anew for each pixel, as such loops are sometimes written, is slower by far.
"""

from __future__ import annotations

from time import perf_counter

import cv2
import numpy as np
from _timing import compare, report
from skimage import data

from vitrail.classical.threshold import Threshold, apply_threshold, mean_threshold
from vitrail.image import read_image


def ours(gray: np.ndarray) -> np.ndarray:
    return apply_threshold(gray, mean_threshold(gray))


def by_numpy(gray: np.ndarray) -> np.ndarray:
    return gray <= gray.mean()


def by_loop(gray: np.ndarray, *, mean_each_time: bool) -> np.ndarray:
    flat = gray.ravel().copy()
    mean = flat.mean()
    for i in range(len(flat)):
        limit = flat.mean() if mean_each_time else mean
        flat[i] = 0 if flat[i] > limit else 1
    return flat.reshape(gray.shape)


def main() -> None:
    size = (4000, 3000)  # width, height
    gray = cv2.resize(data.camera(), size, interpolation=cv2.INTER_CUBIC)
    assert np.array_equal(ours(gray), by_numpy(gray))
    times = compare(lambda: ours(gray), lambda: by_numpy(gray), 15, warmup=2)
    report("mean threshold, 12 megapixels of uint8 grey, against NumPy", *times, target=0.25)

    pixels = gray.size / 1e6
    for label, each, side in (("mean once", False, 300), ("mean per pixel", True, 100)):
        crop = gray[:side, :side].astype(np.float64)
        start = perf_counter()
        by_loop(crop, mean_each_time=each)
        loop = (perf_counter() - start) / crop.size
        print(f"  Python loop, {label}, {side} x {side}: {loop * 1e9:,.0f} ns per pixel")
        print(f"    ours {times[0] / gray.size * 1e9:.3f} ns per pixel")

    method = Threshold.from_params({})
    photo = read_image(cv2.resize(data.coffee(), size, interpolation=cv2.INTER_CUBIC))
    weights = np.array([0.2125, 0.7154, 0.0721], np.float32) / 255

    def rgb_by_numpy() -> np.ndarray:
        return by_numpy(photo.pixels @ weights)

    times = compare(lambda: method(photo), rgb_by_numpy, 5)
    report(
        f"whole method on {pixels:.0f} megapixels of RGB, against NumPy's grey, mean, comparison",
        *times,
        target=0.25,
    )


if __name__ == "__main__":
    main()
