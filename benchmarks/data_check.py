"""Speed and memory of ``vitrail data check`` on a drawn set of JPEG photos and PNG masks.

    python benchmarks/data_check.py [--files 6000] [--workers 0]

Target: at least 300 files a second on each core, and memory that does not grow with the set beyond
some tens of bytes an image. Photos are about 500 px and 65 kB, as COCO's are; half the files are
masks. ``--workers 0`` works in one process; with N workers, the rate is divided by N.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from vitrail.data.check import check_dataset
from vitrail.data.formats.base import Dataset
from vitrail.data.formats.index_masks import IndexMasks
from vitrail.data.sample import LabelSpace, SampleSource

TARGET = 300
"""Files a second and core."""
SIZE = (375, 500)
SPACE = LabelSpace(("background", "disc", "square", "line"), 0)


class Open:
    """Opens the drawn split; a class, so that it can be sent to workers."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self) -> SampleSource:
        return IndexMasks(self.root / "images", self.root / "masks", SPACE)


def draw(root: Path, number: int) -> None:
    """``number`` pairs under ``root``: mixed textures with a few shapes."""
    rng = np.random.default_rng(0)
    (root / "images").mkdir()
    (root / "masks").mkdir()
    side = 1200
    fields = []
    for cells in (6, 20, 70, 300):
        for _ in range(4):
            coarse = rng.integers(0, 256, (cells, cells, 3)).astype(np.uint8)
            fields.append(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC))
    high, wide = SIZE
    for index in range(number):
        mixed = np.zeros((high, wide, 3), np.float32)
        for octave, weight in enumerate((0.45, 0.3, 0.15, 0.1)):
            field = fields[4 * octave + int(rng.integers(4))]
            y, x = int(rng.integers(side - high)), int(rng.integers(side - wide))
            mixed += weight * field[y : y + high, x : x + wide]
        image, mask = mixed.astype(np.uint8), np.zeros(SIZE, np.uint8)
        for class_id in (1, 2, 3):
            x, y, radius = (int(rng.integers(*span)) for span in ((0, wide), (0, high), (20, 70)))
            colour = rng.integers(0, 256, 3).tolist()
            for picture, paint in ((image, colour), (mask, class_id)):
                if class_id == 1:
                    cv2.circle(picture, (x, y), radius, paint, -1)
                elif class_id == 2:
                    cv2.rectangle(picture, (x, y), (x + radius, y + radius), paint, -1)
                else:
                    cv2.line(picture, (x, y), (x + 2 * radius, y - radius), paint, 9)
        name = f"{index:06d}"
        quality = [cv2.IMWRITE_JPEG_QUALITY, 92]
        cv2.imwrite(str(root / "images" / f"{name}.jpg"), image, quality)
        cv2.imwrite(str(root / "masks" / f"{name}.png"), mask)


def peak(who: int) -> float:
    """Bytes of the largest resident size so far."""
    return resource.getrusage(who).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def cpu() -> float:
    """Seconds that this process and those it waited for have computed: other programs, which
    slow the clock's rate, do not count."""
    whose = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    return sum(resource.getrusage(who).ru_utime + resource.getrusage(who).ru_stime for who in whose)


def main(files: int, workers: int) -> bool:
    pairs = max(1, files // 2)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        # Drawn by another process, so that the memory it takes does not count.
        subprocess.run([sys.executable, __file__, "--draw", str(root), str(pairs)], check=True)
        size = np.mean([path.stat().st_size for path in (root / "images").iterdir()])
        before, spent = peak(resource.RUSAGE_SELF), cpu()
        report = check_dataset(Dataset(root, "drawn", "", {"all": Open(root)}), workers=workers)
        used, spent = peak(resource.RUSAGE_SELF) - before, cpu() - spent
    rate = report.files / report.seconds
    print(f"{report.files:,} files ({pairs:,} JPEG of {SIZE[1]}x{SIZE[0]} px, {size / 1e3:.0f} kB)")
    print(f"  {report.seconds:.1f} s, {rate:,.0f} files/s with {workers} workers")
    print(f"  {report.files / spent:,.0f} files a second of CPU time")
    print(f"  findings: {report.errors} errors, {report.warnings} warnings, {report.notes} notes")
    print(
        f"  peak {used / 1e6:.0f} MB above the loaded package ({used / pairs:,.0f} bytes an image)"
    )
    if workers:
        print(f"  largest worker {peak(resource.RUSAGE_CHILDREN) / 1e6:.0f} MB in all")
    each = rate / max(1, workers)
    met = each >= TARGET
    print(f"  {each:,.0f} files/s a core, target >= {TARGET}: {'PASS' if met else 'MISS'}")
    return met


if __name__ == "__main__":
    if sys.argv[1:2] == ["--draw"]:
        draw(Path(sys.argv[2]), int(sys.argv[3]))
        sys.exit(0)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=6000)
    parser.add_argument("--workers", type=int, default=0)
    arguments = parser.parse_args()
    sys.exit(0 if main(arguments.files, arguments.workers) else 1)
