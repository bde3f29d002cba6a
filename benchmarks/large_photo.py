"""Peak memory of predicting a 48-megapixel JPEG, from file to files.

    python benchmarks/large_photo.py [MODEL]

Target: under 2 GB above the imported package, for the default model. Compared with what the
frames alone would take as the float32 stack that a plain path upsamples and takes the arg-max of.
"""

from __future__ import annotations

import resource
import sys
import tempfile
from pathlib import Path

import cv2
from skimage import data

import vitrail
from vitrail.weights.catalog import DEFAULT_MODEL

SIZE = (8000, 6000)
TARGET = 2e9


def peak() -> float:
    """Bytes of the process's largest resident size so far."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used * (1 if sys.platform == "darwin" else 1024)


def main(model: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.jpg"
        # Written by another process, so that making the photo does not count.
        code = (
            "import cv2, sys; from skimage import data; "
            "cv2.imwrite(sys.argv[1], cv2.resize(data.astronaut(), "
            f"{SIZE}, interpolation=cv2.INTER_CUBIC)[..., ::-1])"
        )
        import subprocess

        subprocess.run([sys.executable, "-c", code, str(path)], check=True)
        segmenter = vitrail.load(model)
        segmenter(cv2.resize(data.astronaut(), (64, 64)))  # whatever is loaded at first use
        start = peak()
        result = segmenter(path)
        result.save(Path(folder) / "out")
        used = peak() - start
        assert result.size == SIZE[::-1]
    stack = SIZE[0] * SIZE[1] * max(2, len(result.classes)) * 4
    print(f"{model}, {SIZE[0]}x{SIZE[1]} JPEG to overlay, masks and JSON")
    print(f"  peak {used / 1e9:.2f} GB above the loaded package; one full float32 stack of logits")
    print(f"  would be {stack / 1e9:.2f} GB, ratio {used / stack:.2f}")
    met = used < TARGET
    print(f"  target < {TARGET / 1e9:g} GB: {'PASS' if met else 'MISS'}")
    return met


if __name__ == "__main__":
    sys.exit(0 if main(sys.argv[1] if len(sys.argv) > 1 else DEFAULT_MODEL) else 1)
