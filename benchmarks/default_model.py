"""Score of the default model on the ``subjects`` validation split.

    python benchmarks/default_model.py PATH/subjects [--precision float32]

Protocol: through ``segmenter(image)`` at the automatic settings, IoU pooled over all pixels of
the 355 photos at original image size, void (255) ignored, no test-time augmentation. Targets: mean
IoU over the three classes >= 0.85, animal >= 0.83, person >= 0.75.

Also printed: the same per source, and over all with one change of protocol: in sources where only
the main subject was drawn, a bystander of the other class (background in the truth, the class left
out in the prediction) is not counted, neither for nor against.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

import vitrail
from vitrail.data.formats.index_masks import IndexMasks
from vitrail.data.sample import LabelSpace
from vitrail.metrics import ConfusionMatrix
from vitrail.training.config import read_recipe
from vitrail.weights.catalog import DEFAULT_MODEL

TARGETS = {"mean": 0.85, "animal": 0.83, "person": 0.75}
RECIPE = Path(__file__).parents[1] / "recipes" / "subjects.yaml"


def main(root: Path, model: str, precision: str) -> bool:
    recipe = read_recipe(RECIPE)
    space = LabelSpace(recipe.data.classes, recipe.data.background, recipe.data.ignore)
    split = recipe.data.val
    source = IndexMasks(root / split.images, root / split.masks, space, recipe.data.unlabelled)
    segmenter = vitrail.load(model, precision=precision)
    total, lenient = (ConfusionMatrix(3, ignore=space.ignore) for _ in range(2))
    parts: dict[str, ConfusionMatrix] = {}
    for sample in (source[index] for index in range(len(source))):
        predicted = segmenter(sample.image).labels
        part = parts.setdefault(sample.id.split("_")[0], ConfusionMatrix(3, ignore=space.ignore))
        for matrix in (total, part):
            matrix.update(sample.labels, predicted)
        bystander = (sample.labels == 0) & np.isin(predicted, list(sample.unlabelled))
        lenient.update(np.where(bystander, space.ignore, sample.labels), predicted)
    rows = [*sorted(parts.items()), ("bystanders not counted", lenient), ("all", total)]
    print(f"{model}, {precision}, {len(source)} images")
    for name, matrix in rows:
        iou = matrix.iou()
        scores = "  ".join(f"{c} {v:.4f}" for c, v in zip(space.classes, iou, strict=True))
        print(f"  {name:24s} mean {matrix.mean_iou():.4f}  {scores}")
    iou = dict(zip(space.classes, total.iou(), strict=True))
    reached = {"mean": total.mean_iou(), "animal": iou["animal"], "person": iou["person"]}
    for name, target in TARGETS.items():
        met = reached[name] >= target
        print(f"  {name} {reached[name]:.4f} target >= {target}: {'PASS' if met else 'MISS'}")
    return all(reached[name] >= target for name, target in TARGETS.items())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("root", type=Path, help="folder of the unpacked data set")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="name or checkpoint")
    parser.add_argument("--precision", default="auto")
    arguments = parser.parse_args()
    sys.exit(0 if main(arguments.root, arguments.model, arguments.precision) else 1)
