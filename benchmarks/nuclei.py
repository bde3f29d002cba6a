"""Score of the nuclei model on the 85 validation images that its recipe draws.

    python benchmarks/nuclei.py PATH/dsb2018 [--model FILE] [--precision float32] [--flip]
        [--choose 100]

Protocol: through ``segmenter(image)`` at the automatic settings, masks at original image size, one
to one, TP / (TP + FP + FN) at each IoU threshold from .5 to .95: as the mean over images (the Data
Science Bowl's rule) and of all objects together (StarDist's). Which 15 % of the images are held
out, the recipe says: drawn by a seed, with the same share of each kind. Targets: at IoU
.5 >= 0.85, mean of the ten thresholds >= 0.52, both by the Bowl's rule. Its own test images
are of other kinds as well, and harder.

``--choose N`` instead prints the scores of N training images at every score threshold. The card's
was chosen there; the validation images decided the epoch only.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import vitrail
from vitrail.data.sample import SampleSource
from vitrail.data.split import Subset
from vitrail.evaluate.instances import InstanceScores
from vitrail.evaluate.run import evaluate
from vitrail.evaluate.settings import Settings
from vitrail.predict.segmenter import Segmenter
from vitrail.training.config import read_recipe
from vitrail.training.data import open_sources

RECIPE = Path(__file__).parents[1] / "recipes" / "nuclei.yaml"
TARGETS = {"dsb_ap@0.5": 0.85, "dsb_ap": 0.52}


def scored(segmenter: Segmenter, source: SampleSource) -> InstanceScores:
    evaluation = evaluate(segmenter, source, Settings(draws=0))
    scores = evaluation.scores
    if not isinstance(scores, InstanceScores) or evaluation.failures:
        raise SystemExit(f"{segmenter.name}: expected objects, and no failure")
    return scores


def told(numbers: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in numbers.items())


def main(root: Path, model: str, choose: int | None, precision: str, flip: bool) -> bool:
    sources = open_sources(read_recipe(RECIPE, [f"data.root={root}"]).data)
    if choose is not None:
        segmenter = vitrail.load(model, precision=precision, flip=flip, score_threshold=0.05)
        scores = scored(segmenter, Subset(sources.training, range(choose)))
        for threshold, numbers in scores.one_to_one().items():
            print(f"  score >= {threshold:.2f}  {told(numbers)}")
        print(f"  best: {scores.best_threshold():g}")
        return True
    segmenter, source = vitrail.load(model, precision=precision, flip=flip), sources.validation
    with (root / "index.csv").open(encoding="utf-8") as lines:
        kinds = {row["id"]: row["kind"] for row in csv.DictReader(lines)}
    for kind in sorted(set(kinds.values())):
        members = [index for index, name in enumerate(source.ids) if kinds[name] == kind]
        if members:
            scores = scored(segmenter, Subset(source, members))
            print(
                f"  {kind}, {len(members)} images: {told(next(iter(scores.one_to_one().values())))}"
            )
    scores = scored(segmenter, source)
    threshold, numbers = next(iter(scores.one_to_one().items()))
    print(f"  all, {len(source)} images, score >= {threshold:g}: {told(numbers)}")
    print(
        f"  COCO: {told({k: v for k, v in scores.totals()['mask'].items() if k.startswith('AP')})}"
    )
    for name, target in TARGETS.items():
        met = numbers[name] >= target
        print(f"  {name} {numbers[name]:.4f} target >= {target}: {'PASS' if met else 'MISS'}")
    return all(numbers[name] >= target for name, target in TARGETS.items())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("root", type=Path, help="folder of the unpacked data set")
    parser.add_argument("--model", default="nuclei", help="name or checkpoint")
    parser.add_argument("--choose", type=int, metavar="N", help="scores on N training images")
    parser.add_argument("--precision", default="auto", help="auto, float32 or bfloat16")
    parser.add_argument("--flip", action="store_true", help="look at the mirrored image as well")
    chosen = parser.parse_args()
    met = main(chosen.root, chosen.model, chosen.choose, chosen.precision, chosen.flip)
    sys.exit(0 if met else 1)
