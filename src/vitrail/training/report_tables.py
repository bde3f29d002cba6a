"""The report's tables of classes: their scores, and which were taken for which."""

from __future__ import annotations

import math
from html import escape

import numpy as np

from vitrail.metrics import ConfusionMatrix
from vitrail.training.records import Epoch, Run

_CELLS = 24  # classes up to which the confusion matrix is shown whole
_PAIRS = 12  # otherwise, the most frequent confusions


def class_table(run: Run, scored: Epoch, matrix: ConfusionMatrix) -> str:
    """IoU, Dice, precision and recall of each class, and how much of the truth it is."""
    columns = {
        "IoU": matrix.iou(),
        "Dice": matrix.dice(),
        "precision": matrix.precision(),
        "recall": matrix.recall(),
    }
    truth = matrix.counts.sum(axis=1)
    shares = truth / max(1, int(truth.sum()))
    widest = max(float(shares.max()), 1e-12)
    rows = []
    for number, name in enumerate(run.classes):
        cells = "".join(
            f'<td class="n">{score_text(values[number])}</td>' for values in columns.values()
        )
        rows.append(
            f"<tr><td>{_swatch(run.colours[number])} {escape(name)}</td>{cells}"
            f'<td class="n">{shares[number]:.2%}</td><td><span class="bar" '
            f'style="width:{6 * shares[number] / widest:.2f}rem"></span></td></tr>'
        )
    means = matrix.compute()
    total = "".join(
        f'<td class="n">{score_text(means[name])}</td>'
        for name in ("mean_iou", "mean_dice", "mean_precision", "mean_recall")
    )
    heads = "".join(f'<th class="n">{name}</th>' for name in columns)
    return (
        f"<h2>Classes</h2><p class='dim'>Epoch {scored.number}, on the validation split, pooled "
        "over all labelled pixels at original image size; none: the class does not occur.</p>"
        f"<table><tr><th>class</th>{heads}<th class='n'>of the pixels</th><th></th></tr>"
        f'{"".join(rows)}<tr class="chosen"><td>mean</td>{total}<td></td><td></td></tr></table>'
    )


def object_table(run: Run, scored: Epoch) -> str:
    """Average precision of each class, and of the sizes of objects; from the epoch's metrics."""
    kinds = [kind for kind in ("mask", "box") if f"{kind}_ap" in scored.metrics]

    def cells(name: str, *, of_class: bool = False) -> str:
        ends = [f"{kind}_ap_{name}" if of_class else f"{kind}_{name}" for kind in kinds]
        return "".join(
            f'<td class="n">{score_text(scored.metrics.get(end, math.nan))}</td>' for end in ends
        )

    rows = [
        f"<tr><td>{_swatch(run.colours[number])} {escape(name)}</td>"
        f"{cells(name, of_class=True)}</tr>"
        for number, name in enumerate(run.classes)
    ]
    overall = {
        "all classes": "ap",
        "at IoU 0.50": "ap50",
        "at IoU 0.75": "ap75",
        "small objects, below 32 x 32 px": "aps",
        "medium ones": "apm",
        "large ones, above 96 x 96 px": "apl",
        "average recall": "ar",
    }
    rows += [
        f"<tr{' class=chosen' if name == 'ap' else ''}><td>{words}</td>{cells(name)}</tr>"
        for words, name in overall.items()
    ]
    heads = "".join(f'<th class="n">{kind} AP</th>' for kind in kinds)
    return (
        f"<h2>Classes</h2><p class='dim'>Epoch {scored.number}, on the validation split: "
        f"{escape(run.scoring.protocol)}; none: there is no such object.</p>"
        f"<table><tr><th>class</th>{heads}</tr>{''.join(rows)}</table>"
    )


def confusion_table(run: Run, scored: Epoch, matrix: ConfusionMatrix) -> str:
    """Which classes were taken for which: the matrix, or of many classes the largest mistakes."""
    counts = matrix.counts
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    title = f"<h2>Confusions</h2><p class='dim'>Epoch {scored.number}: of the pixels that are "
    if len(run.classes) > _CELLS:
        wrong = shares - np.diag(np.diag(shares))
        order = np.argsort(-wrong, axis=None)[:_PAIRS]
        rows = "".join(
            f"<tr><td>{escape(run.classes[i])}</td><td>{escape(run.classes[j])}</td>"
            f'<td class="n">{wrong[i, j]:.1%}</td><td class="n">{int(counts[i, j]):,}</td></tr>'
            for i, j in zip(*np.unravel_index(order, wrong.shape), strict=True)
            if wrong[i, j] > 0
        )
        head = "<tr><th>truth</th><th>predicted as</th><th class='n'>share</th>"
        return (
            f"{title}the first class, those called the second; the {_PAIRS} largest.</p>"
            f"<table>{head}<th class='n'>pixels</th></tr>{rows}</table>"
        )
    heads = "".join(f"<th>{escape(name)}</th>" for name in run.classes)
    rows = "".join(
        f"<tr><th>{escape(name)}</th>"
        + "".join(
            f'<td style="background:rgba(74,111,165,{0.75 * shares[i, j]:.3f})" '
            f'title="{int(counts[i, j]):,} pixels">{shares[i, j]:.1%}</td>'
            for j in range(len(run.classes))
        )
        + "</tr>"
        for i, name in enumerate(run.classes)
    )
    return (
        f"{title}the class of the row, those called the class of the column.</p>"
        f'<div class="scroll"><table class="confusion"><tr><th></th>{heads}</tr>{rows}</table>'
        "</div>"
    )


def score_text(value: float) -> str:
    """A score as the report writes it."""
    return f"{value:.4f}" if math.isfinite(value) else "none" if math.isnan(value) else "infinite"


def _swatch(colour: tuple[int, int, int]) -> str:
    red, green, blue = colour
    return (
        f'<span style="display:inline-block;width:.8em;height:.8em;border:1px solid #888;'
        f'background:#{red:02x}{green:02x}{blue:02x}"></span>'
    )
