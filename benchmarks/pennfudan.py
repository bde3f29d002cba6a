"""Scores of the five Penn-Fudan trainings, each on the fifth of the photographs it did not see.

    python benchmarks/pennfudan.py PATH/PennFudanPed RUNS [--flip]

``RUNS`` holds what ``recipes/pennfudan.yaml`` wrote: ``pennfudan-0`` to ``pennfudan-4``. Of each
the weights after the last epoch count, which no score has chosen. Protocol: COCO's average
precision, 100 objects an image, at original size. Target: mean of the folds' mask AP >= 0.60.

``--flip``: with the mirrored image as well.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nuclei import scored

import vitrail
from vitrail.training.config import read_recipe
from vitrail.training.data import open_sources

RECIPE = Path(__file__).parents[1] / "recipes" / "pennfudan.yaml"
FOLDS = 5
TARGET = 0.60
TOLD = ("AP", "AP50", "AP75")


def main(root: Path, runs: Path, flip: bool) -> bool:
    totals: dict[str, list[float]] = {}
    for fold in range(FOLDS):
        recipe = read_recipe(RECIPE, [f"data.root={root}", f"data.draw.fold={fold}"])
        source = open_sources(recipe.data).validation
        checkpoint = runs / f"pennfudan-{fold}" / "last.safetensors"
        scores = scored(vitrail.load(checkpoint, flip=flip), source).totals()
        told = {f"{kind} {name}": scores[kind][name] for kind in ("mask", "box") for name in TOLD}
        for name, value in told.items():
            totals.setdefault(name, []).append(value)
        numbers = "  ".join(f"{name} {value:.4f}" for name, value in told.items())
        print(f"  fold {fold}, {len(source)} images: {numbers}", flush=True)
    means = {name: sum(values) / FOLDS for name, values in totals.items()}
    print("  mean: " + "  ".join(f"{name} {value:.4f}" for name, value in means.items()))
    met = means["mask AP"] >= TARGET
    print(f"  mask AP {means['mask AP']:.4f} target >= {TARGET}: {'PASS' if met else 'MISS'}")
    return met


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("root", type=Path, help="folder of the unpacked data set")
    parser.add_argument("runs", type=Path, help="folder of the five trainings")
    parser.add_argument("--flip", action="store_true", help="look at the mirrored image as well")
    chosen = parser.parse_args()
    sys.exit(0 if main(chosen.root, chosen.runs, chosen.flip) else 1)
