"""Checkpoints on CamVid's test part: mean IoU, boundary F, images per second and parameters.

    python benchmarks/boundary_table.py PATH/CamVid unet=UNET.safetensors gscnn=GSCNN.safetensors

Prints a Markdown table, a row a checkpoint. Mean IoU is that of ``vitrail evaluate``: pixels pooled
over all images at their own size, void left out.

Boundary F is :class:`vitrail.metrics.BoundaryF` within 3, 5, 9 and 12 px, after Gated-SCNN
(arXiv:1907.05740): F of each class's contours, averaged over images and then over classes; a class
that has no contour in an image, in truth or prediction, has no F there. That paper measures on
Cityscapes, at 2048x1024; the same number of pixels is a wider tolerance on CamVid's 480x360.

Images per second are those of ``segmenter(image)``, picture in memory in, label map at its own
size out, one image at a time. All checkpoints take turns on the same first images; the best turn
of each counts.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jpu import best_of

import vitrail
from vitrail.data.opening import open_dataset
from vitrail.data.sample import SampleSource
from vitrail.data.split import Subset
from vitrail.errors import UnknownNameError, VitrailError
from vitrail.evaluate.run import evaluate
from vitrail.evaluate.semantic import SemanticScores
from vitrail.evaluate.settings import Settings
from vitrail.image import Image
from vitrail.metrics import BoundaryF
from vitrail.models.registry import build
from vitrail.predict.network import Network
from vitrail.predict.segmenter import Segmenter
from vitrail.result import SemanticResult

TOLERANCES_PX = (3, 5, 9, 12)


@dataclass(frozen=True)
class Row:
    """What one checkpoint scored."""

    name: str
    mean_iou: float
    boundary_f: tuple[float, ...]
    """Within each of :data:`TOLERANCES_PX`."""
    images_per_s: float
    parameters: int
    """All that the checkpoint holds, those for training only among them."""
    precision: str


def score(segmenter: Segmenter, source: SampleSource) -> tuple[float, tuple[float, ...]]:
    """Mean IoU, and boundary F within each tolerance."""
    evaluation = evaluate(segmenter, source, Settings(draws=0))
    if evaluation.failures:
        image, cause = evaluation.failures[0]
        raise SystemExit(f"{segmenter.name}: {len(evaluation.failures)} failed; {image}: {cause}")
    scores, match = evaluation.scores, evaluation.matching
    if not isinstance(scores, SemanticScores):
        raise SystemExit(f"{segmenter.name}: finds objects, expected a class for each pixel")
    contours = BoundaryF(len(match.classes), tolerances=TOLERANCES_PX, ignore=match.void)
    for sample in (source[index] for index in range(len(source))):
        result = segmenter(np.asarray(sample.image))
        assert isinstance(result, SemanticResult)
        truth = match.read_truth(sample.semantic(source.space))
        predicted = match.read_predicted(result.labels, result.ignore)
        left_out = predicted == match.void
        contours.update(np.where(left_out, match.void, truth), np.where(left_out, 0, predicted))
    means = contours.compute()
    by_tolerance = tuple(means[f"boundary_f@{tolerance}"] for tolerance in TOLERANCES_PX)
    return scores.totals()["mean_iou"], by_tolerance


def speeds(
    segmenters: Sequence[Segmenter], source: SampleSource, options: argparse.Namespace
) -> list[float]:
    """Images per second of each, on the same images in memory."""
    count = min(options.timed, len(source))
    pictures = [Image(np.asarray(source[index].image)) for index in range(count)]

    def turn(segmenter: Segmenter) -> None:
        for picture in pictures:
            segmenter(picture)

    runs = tuple(lambda segmenter=segmenter: turn(segmenter) for segmenter in segmenters)
    seconds = best_of(runs, options.repeats, 1, torch.device(options.device))
    return [count / one for one in seconds]


def parameters(segmenter: Segmenter) -> int:
    """Of the network that the card describes; nothing is allocated."""
    assert segmenter.card is not None
    with torch.device("meta"):
        model = build(segmenter.card.architecture, segmenter.card.arguments)
    return sum(parameter.numel() for parameter in model.parameters())


def markdown(rows: Sequence[Row]) -> str:
    """The table; the best of each column of scores in bold, where there are several rows."""
    heads = ["", "mean IoU", *(f"F {tolerance} px" for tolerance in TOLERANCES_PX)]
    heads += ["images/s", "parameters"]
    lines = [f"| {' | '.join(heads)} |", "|---" + "|--:" * (len(heads) - 1) + "|"]
    columns = [(row.mean_iou, *row.boundary_f) for row in rows]
    best = [max(column) for column in zip(*columns, strict=True)]
    for row, values in zip(rows, columns, strict=True):
        cells = [
            f"**{value:.4f}**" if len(rows) > 1 and value == top else f"{value:.4f}"
            for value, top in zip(values, best, strict=True)
        ]
        cells += [f"{row.images_per_s:.1f}", f"{row.parameters / 1e6:.2f} M"]
        lines.append(f"| {' | '.join([row.name, *cells])} |")
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    """What was asked for, checked."""
    parser = argparse.ArgumentParser(description="Checkpoints on CamVid: scores and boundaries")
    parser.add_argument("root", type=Path, help="folder of CamVid")
    parser.add_argument("checkpoints", nargs="+", metavar="NAME=PATH")
    parser.add_argument("--split", default="test")
    parser.add_argument("--limit", type=int, help="score only the first so many images")
    parser.add_argument("--timed", type=int, default=20, help="images of a turn")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each; the best counts")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--json", type=Path, help="where to write the numbers, if anywhere")
    options = parser.parse_args()
    pairs = [text.partition("=") for text in options.checkpoints]
    for text, (name, _, path) in zip(options.checkpoints, pairs, strict=True):
        if not name or not path:
            parser.error(f"{text!r}: expected NAME=PATH")
    options.checkpoints = [(name, path) for name, _, path in pairs]
    if min(options.timed, options.repeats, 1 if options.limit is None else options.limit) < 1:
        parser.error("expected --timed, --repeats and --limit of at least 1")
    return options


def main() -> None:
    options = parse()
    dataset = open_dataset(options.root, "camvid")
    if options.split not in dataset.splits:
        raise UnknownNameError(f"split of {options.root}", options.split, dataset.splits)
    source: SampleSource = dataset[options.split]
    whole = len(source)
    if options.limit is not None:
        source = Subset(source, range(min(options.limit, whole)))
    segmenters = [
        vitrail.load(path, device=options.device, precision=options.precision)
        for _, path in options.checkpoints
    ]
    scored = [score(segmenter, source) for segmenter in segmenters]
    rows: list[Row] = []
    for (name, _), segmenter, (mean_iou, contours), speed in zip(
        options.checkpoints, segmenters, scored, speeds(segmenters, source, options), strict=True
    ):
        assert isinstance(segmenter.engine, Network)
        size, precision = parameters(segmenter), segmenter.engine.precision
        rows.append(Row(name, mean_iou, contours, speed, size, precision))
    print(markdown(rows))
    print(
        f"\n{len(source)} of {whole} images of {options.split}; {rows[0].precision} on"
        f" {options.device}, torch {torch.__version__}, {torch.get_num_threads()} threads."
        " Mean IoU pooled over pixels, void left out; F of each class's contours within so many"
        " pixels, mean over images and then over classes, where there are any (BoundaryF)."
    )
    if options.json is not None:
        content = {"tolerances_px": TOLERANCES_PX, "rows": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(content, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    try:
        main()
    except VitrailError as error:
        sys.exit(f"error: {error}")
