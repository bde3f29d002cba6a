"""An evaluation in words, as JSON and as files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vitrail.atomic import make_folder
from vitrail.digest import digests
from vitrail.errors import SourceError
from vitrail.evaluate.instances import COCO_MOST, InstanceScores
from vitrail.evaluate.object_protocols import explain_objects
from vitrail.evaluate.pictures import confusion_picture, curves_picture
from vitrail.evaluate.protocols import explain
from vitrail.evaluate.run import Evaluation
from vitrail.evaluate.semantic import BOUNDARY_TOLERANCE, SemanticScores
from vitrail.predict.segmenter import Segmenter
from vitrail.result.write import write_bytes, write_picture
from vitrail.weights.catalog import find


@dataclass(frozen=True, slots=True)
class Subject:
    """What was evaluated on what."""

    model: str
    sha256: str | None
    """Of the file of weights; None for a classical method."""
    device: str
    precision: str
    data: str
    format: str
    split: str
    params: Mapping[str, object]
    """Of the model, as it was loaded with."""


def describe(
    segmenter: Segmenter,
    model: str,
    weights: Path | None,
    data: Path,
    format: str,
    split: str,
    params: Mapping[str, object],
) -> Subject:
    """The facts of a run; reads the file of weights once for its checksum.

    Parameters
    ----------
    model, weights, params : as they were given to ``vitrail.load``
    """
    entry = find(model)
    file = weights or (entry.path if entry else Path(model))
    engine: Any = segmenter.engine
    network = segmenter.card is not None
    try:
        digest = digests(file)["sha256"] if network else None
    except OSError as error:
        raise SourceError(f"{file}: cannot be read ({error.strerror})") from None
    return Subject(
        segmenter.card.name if segmenter.card else model,
        digest,
        str(engine.device) if network else "cpu",
        str(engine.precision) if network else "the method's own",
        str(data),
        format,
        split,
        dict(params),
    )


def protocol(evaluation: Evaluation, subject: Subject) -> str:
    """How the numbers came about, in one paragraph."""
    scores, settings = evaluation.scores, evaluation.settings
    digest = f" (sha256 {subject.sha256[:12]})" if subject.sha256 else ""
    chosen = "".join(f", {name}={json.dumps(value)}" for name, value in subject.params.items())
    who = (
        f"{subject.model}{digest} on {subject.device}, {subject.precision}{chosen}; {subject.data},"
        f" split {subject.split}, {_many(evaluation.images, 'image')}"
    )
    if evaluation.failures:
        who += f" ({len(evaluation.failures)} left out: they could not be read or segmented)"
    if isinstance(scores, InstanceScores):
        return f"Protocol: {_of_objects(scores)}. {who}.{_renamed(scores)}"
    counts, ground = scores.counts, scores.matching.background
    void = f"{counts.void / max(1, counts.pixels):.2%} void pixels left out"
    if counts.skipped:
        void += (
            f", and {counts.skipped / counts.pixels:.2%} that the model was told to leave out or"
            " gave no answer for"
        )
    means = f"all {len(scores.matching.classes)} classes"
    if ground is not None:
        means += f", the background ({scores.matching.classes[ground]!r}) included"
    intervals = (
        f"intervals: 95 % percentile bootstrap over images, {settings.draws} draws, seed"
        f" {settings.seed}"
        if settings.draws
        else "no intervals"
    )
    how = (
        f"pixels pooled over all images at original size; {void}; means over {means}; a class in"
        f" neither truth nor prediction has no score and no part in the means; {intervals}"
    )
    if settings.boundary:
        how += (
            "; boundary IoU of bands 2 % of the diagonal wide, pooled; boundary F within"
            f" {BOUNDARY_TOLERANCE:.1%} of the diagonal, mean over images"
        )
    return f"Protocol: {how}. {who}.{_renamed(scores)}"


def to_json(evaluation: Evaluation, subject: Subject) -> dict[str, Any]:
    """Everything, for other programs; a number that is not defined is None."""
    scores = evaluation.scores
    match = scores.matching
    content: dict[str, Any] = {
        **asdict(subject),
        "kind": "instances" if isinstance(scores, InstanceScores) else "semantic",
        "protocol": protocol(evaluation, subject),
        "images": evaluation.images,
        "failures": [{"image": name, "error": text} for name, text in evaluation.failures],
        "classes": list(match.classes),
        "matched": [dict(zip(("data", "model", "as"), row, strict=True)) for row in match.pairs],
    }
    if isinstance(scores, InstanceScores):
        content |= {
            "objects": scores.objects,
            "objects_without_mask": scores.unmasked,
            "max_detections": scores.most,
            "images_capped": scores.capped,
            "scores": scores.totals(),
            "ap_per_class": _by_name(match.classes, scores.by_class()),
            "one_to_one": [
                {"score_threshold": threshold, **numbers}
                for threshold, numbers in scores.one_to_one().items()
            ],
            "best_score_threshold": scores.best_threshold(),
        }
        if evaluation.settings.explain:
            content["explain"] = {"protocols": [asdict(one) for one in explain_objects(scores)]}
        return _plain(content)
    by_class, intervals = scores.by_class(), scores.class_intervals()
    truth = scores.matrix().counts.sum(axis=1)
    content |= {
        "background": None if match.background is None else match.classes[match.background],
        "pixels": scores.counts.pixels,
        "void_pixels": scores.counts.void,
        "bootstrap": {"draws": evaluation.settings.draws, "seed": evaluation.settings.seed},
        "scores": scores.totals(),
        "intervals": scores.total_intervals(),
        "per_class": {
            name: {"pixels": truth[c]}
            | {score: values[c] for score, values in by_class.items()}
            | {f"{score}_interval": values[c] for score, values in intervals.items()}
            for c, name in enumerate(match.classes)
        },
        "confusion": scores.matrix().counts,
        "worst": [{"image": id, "mean_iou": score} for id, score in scores.worst.found],
    }
    if evaluation.settings.explain:
        told = explain(scores)
        content["explain"] = {
            "protocols": [
                asdict(one) | {"difference": told.difference(one)} for one in told.protocols
            ],
            "left_out": [{"name": name, "why": why} for name, why in told.left_out],
        }
    return _plain(content)


def write_files(evaluation: Evaluation, content: Mapping[str, Any], folder: Path) -> list[Path]:
    """``metrics.json``, and of label maps ``images.csv``, ``confusion.png``, ``curves.png`` (where
    probabilities were counted) and ``worst.jpg``. Returns what was written.

    Raises
    ------
    OutputError
        a file cannot be written.
    """
    make_folder(folder)
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    files = [write_bytes(folder / "metrics.json", text.encode())]
    scores = evaluation.scores
    if not isinstance(scores, SemanticScores):
        return files
    names, matrix = scores.matching.classes, scores.matrix()
    files.append(scores.image_table().to_csv(folder / "images.csv"))
    pictures: dict[str, np.ndarray | None] = {
        "confusion.png": confusion_picture(names, matrix.counts)
    }
    if scores.curves is not None and scores.scored:
        chosen = np.stack((matrix.recall(), matrix.precision()), axis=1)
        pictures["curves.png"] = curves_picture(names, scores.curves, chosen)
    pictures["worst.jpg"] = scores.worst.sheet()
    for name, picture in pictures.items():
        if picture is not None:
            files.append(write_picture(folder / name, picture))
    return files


def _of_objects(scores: InstanceScores) -> str:
    """How the numbers of objects came about."""
    compared = "masks and boxes" if scores.compares_masks else "boxes only"
    if not scores.outlined:
        compared += ": the model finds no masks"
    elif not scores.compares_masks:
        compared += f": {_many(scores.unmasked, 'object')} and no masks"
    most = "COCO's own limit"
    if scores.most > COCO_MOST:
        most = f"the model's max_detections; COCO's is {COCO_MOST}"
    how = (
        f"COCO's protocol: {compared}; {_many(scores.objects, 'object')}; AP over IoU 0.50 to"
        f" 0.95, at most {scores.most} detections of a class in an image ({most}), crowds neither"
        " right nor wrong, classes without objects left out of the means; at original image size"
    )
    if scores.capped:
        how += f"; {_many(scores.capped, 'image')} had more objects than the model may tell"
    if not scores.compares_masks:
        return how
    if scores.unmasked:
        how += (
            f"; {_many(scores.unmasked, 'object')} with a box only: as masks neither right nor"
            " wrong"
        )
    return (
        f"{how}. One to one: TP / (TP + FP + FN) of masks of scores from"
        f" {scores.sweep.score_thresholds[0]:g} on, paired within their class at an IoU of at least"
        " the threshold; of overlapping detections the surer one has the pixels; images without"
        " objects and detections left out of the mean over images"
    )


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _renamed(scores: SemanticScores | InstanceScores) -> str:
    """Which classes were paired otherwise than by name."""
    told = [
        f"{data or 'nothing'} (data) and {model or 'nothing'} (model) as {name}"
        for data, model, name in scores.matching.pairs
    ]
    return f" Classes: {'; '.join(told)}." if told else ""


def _by_name(
    names: tuple[str, ...], columns: Mapping[str, np.ndarray]
) -> dict[str, dict[str, float]]:
    return {
        name: {kind: column[c] for kind, column in columns.items()} for c, name in enumerate(names)
    }


def _plain(value: Any) -> Any:
    """Only what JSON knows: arrays to lists, NaN and infinity to None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
