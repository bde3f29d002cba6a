"""Memory of 100 instances on a 4096 x 4096 image: the result, and writing it.

    python benchmarks/instances_memory.py

Target: the result (boxes, scores, class ids, masks) under 64 MB, and ``write`` never builds N full
frames. The objects are blobs with holes, 300 to 1,500 pixels wide, which overlap. Peaks are those
of NumPy and Python as ``tracemalloc`` counts them; OpenCV's own buffers are not in it, so the
growth of the process's peak memory is printed too.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from vitrail.image import Image
from vitrail.result import InstanceResult, Masks

SIZE = (4096, 4096)
COUNT = 100
TARGET = 64e6


def blobs(count: int) -> Iterator[tuple[int, int, np.ndarray]]:
    """Crops of ragged ellipses with a hole."""
    rng = np.random.default_rng(7)
    for _ in range(count):
        height, width = (int(side) for side in rng.integers(300, 1500, 2))
        crop = np.zeros((height, width), np.uint8)
        centre = (width // 2, height // 2)
        cv2.ellipse(crop, centre, (width // 2 - 1, height // 2 - 1), 0, 0, 360, 1, cv2.FILLED)
        cv2.ellipse(crop, centre, (width // 6, height // 6), 0, 0, 360, 0, cv2.FILLED)
        ragged = cv2.resize(rng.random((height // 16 + 1, width // 16 + 1)), (width, height)) > 0.15
        y, x = (int(rng.integers(0, SIZE[i] - side)) for i, side in enumerate((height, width)))
        yield y, x, (crop & ragged).astype(bool)


def build(count: int, image: Image) -> InstanceResult:
    masks = Masks.from_crops(blobs(count), SIZE)
    scores = np.linspace(1, 0.5, count)
    ids = np.arange(count) % 3
    names = ("person", "animal", "car")
    return InstanceResult(masks.boxes(), scores, ids, masks, names, size=SIZE, image=image)


def traced_write(result: InstanceResult) -> int:
    """Peak bytes above what was there before."""
    with tempfile.TemporaryDirectory() as folder:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        result.save(Path(folder), "blobs", crops=True)
        return tracemalloc.get_traced_memory()[1] - before


def main() -> int:
    image = Image(np.full((*SIZE, 3), 128, np.uint8))
    frame = SIZE[0] * SIZE[1]
    traced_start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    few = traced_write(build(10, image))
    start = tracemalloc.get_traced_memory()[0]
    result = build(COUNT, image)
    held = tracemalloc.get_traced_memory()[0] - start
    many = traced_write(result)
    process = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - traced_start) * 1024
    dense = COUNT * frame
    print(f"{COUNT} full frames (bool)       {dense / 1e6:9.1f} MB")
    print(f"result, nbytes               {result.nbytes / 1e6:9.1f} MB   ", end="")
    print(f"{dense / result.nbytes:.0f}x smaller")
    print(f"result, traced               {held / 1e6:9.1f} MB   target < {TARGET / 1e6:.0f} MB")
    print(f"write peak, 10 objects       {few / 1e6:9.1f} MB   {few / frame:.1f} full frames")
    print(f"write peak, {COUNT} objects      {many / 1e6:9.1f} MB   {many / frame:.1f} full frames")
    print(f"process peak above start     {process / 1e6:9.1f} MB   {dense / process:.1f}x smaller")
    good = held < TARGET and many < 12 * frame
    print("met" if good else "MISSED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
