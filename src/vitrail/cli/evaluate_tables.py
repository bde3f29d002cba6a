"""What ``vitrail evaluate`` prints: scores, the protocol behind them, and other protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from vitrail.evaluate.instances import InstanceScores
    from vitrail.evaluate.run import Evaluation
    from vitrail.evaluate.semantic import SemanticScores


def show(evaluation: Evaluation, protocol: str) -> None:
    """Print the tables, the protocol and, where it was asked for, the explanation."""
    from rich.console import Console

    from vitrail.evaluate.instances import InstanceScores

    console = Console(markup=False, highlight=False)
    if isinstance(evaluation.scores, InstanceScores):
        _show_objects(console, evaluation.scores)
    else:
        _show_classes(console, evaluation.scores)
    console.print(protocol)
    if not evaluation.settings.explain:
        return
    if isinstance(evaluation.scores, InstanceScores):
        _explain_objects(console, evaluation.scores)
    else:
        _show_explanation(console, evaluation.scores)


def _show_classes(console: Console, scores: SemanticScores) -> None:
    import numpy as np
    from rich.table import Table

    by_class, intervals = scores.by_class(), scores.class_intervals()
    totals, total_intervals = scores.totals(), scores.total_intervals()
    headings = {name: heading for name, heading in _SCORES.items() if name in by_class}
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("class", min_width=10, overflow="fold")
    table.add_column("pixels", justify="right", no_wrap=True)
    for heading in headings.values():
        table.add_column(heading, justify="right")
    truth = scores.matrix().counts.sum(axis=1)
    for c, name in enumerate(scores.matching.classes):
        cells = [
            _score(by_class[score][c], intervals[score][c] if score in intervals else None)
            for score in headings
        ]
        table.add_row(_printable(name), f"{truth[c] / max(1, truth.sum()):.1%}", *cells)
    table.add_section()
    means = [
        _score(totals[_MEANS[score]], total_intervals.get(_MEANS[score]))
        if _MEANS.get(score) in totals
        else ""
        for score in headings
    ]
    table.add_row("mean", "", *means, style="bold")
    console.print(table)
    for name, words in (
        ("pixel_accuracy", "pixel accuracy"),
        ("frequency_weighted_iou", "frequency-weighted IoU"),
    ):
        console.print(f"{words} {_score(totals[name], total_intervals.get(name))}")
    if np.isnan(by_class["iou"]).any():
        absent = np.flatnonzero(np.isnan(by_class["iou"])).tolist()
        names = ", ".join(_printable(scores.matching.classes[c]) for c in absent)
        console.print(f"in neither truth nor prediction: {names}")


def _show_objects(console: Console, scores: InstanceScores) -> None:
    from vitrail.evaluate.object_protocols import BOWL, STARDIST

    totals = scores.totals()
    table = _table("", *totals)
    for name in next(iter(totals.values())):
        table.add_row(name, *(_score(numbers[name], None) for numbers in totals.values()))
    console.print(table)
    told = scores.one_to_one()
    if not told:
        return
    first, best = scores.sweep.score_thresholds[0], scores.best_threshold()
    found = _table(f"TP / (TP + FP + FN), scores from {first:g}", "IoU 0.50", "mean 0.50 to 0.95")
    for name, key in ((STARDIST, "pooled_ap"), (BOWL, "dsb_ap")):
        numbers = told[first]
        found.add_row(name, _score(numbers[f"{key}@0.5"], None), _score(numbers[key], None))
    console.print()
    console.print(found)
    if best is not None and best != first:
        numbers = told[best]
        console.print(
            f"The pooled mean is greatest with scores from {best:g}: pooled"
            f" {numbers['pooled_ap@0.5']:.4f} and {numbers['pooled_ap']:.4f}, mean over images"
            f" {numbers['dsb_ap@0.5']:.4f} and {numbers['dsb_ap']:.4f}. Choose the threshold on"
            " other images than those you report (--split train, then --set score_threshold=...)."
        )
    console.print()


def _explain_objects(console: Console, scores: InstanceScores) -> None:
    from vitrail.evaluate.object_protocols import explain_objects

    table = _table("protocol", "IoU 0.50", "mean 0.50 to 0.95", "used by")
    table.title = "the same objects under other protocols"
    table.title_justify = "left"
    for one in explain_objects(scores):
        cells = (_score(value, None) for value in (one.at_half, one.mean))
        table.add_row(one.name, *cells, one.used_by)
    console.print()
    console.print(table)
    told = scores.one_to_one()
    if not told:
        return
    swept = _table("scores from", "pooled, IoU 0.50", "pooled, mean", "by image, 0.50", "mean")
    swept.title = "TP / (TP + FP + FN) by score threshold"
    swept.title_justify = "left"
    for threshold, numbers in told.items():
        keys = ("pooled_ap@0.5", "pooled_ap", "dsb_ap@0.5", "dsb_ap")
        swept.add_row(f"{threshold:g}", *(_score(numbers[key], None) for key in keys))
    console.print()
    console.print(swept)


def _table(first: str, *headings: str) -> Table:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(first, overflow="fold")
    for heading in headings:
        if heading == "used by":
            table.add_column(heading, overflow="fold")
        else:
            table.add_column(heading, justify="right")
    return table


def _show_explanation(console: Console, scores: SemanticScores) -> None:
    from rich.table import Table

    from vitrail.evaluate.protocols import explain

    told = explain(scores)
    table = Table(
        title="the same predictions under other protocols",
        title_justify="left",
        box=None,
        padding=(0, 2, 0, 0),
        header_style="bold",
    )
    table.add_column("protocol", overflow="fold", min_width=24)
    for heading in ("mean IoU", "change", "mean Dice"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("used by", overflow="fold")
    for one in told.protocols:
        change = told.difference(one)
        cells = (f"{one.mean_iou:.4f}", f"{change:+.4f}" if change else "", f"{one.mean_dice:.4f}")
        table.add_row(one.name, *cells, one.used_by)
    console.print()
    console.print(table)
    if told.left_out:
        missing = "; ".join(f"{name} ({why})" for name, why in told.left_out)
        console.print(f"not applicable: {missing}")
    if biggest := told.biggest():
        console.print(
            f"The biggest difference: {biggest.name!r} gives {biggest.mean_iou:.4f},"
            f" {told.difference(biggest):+.4f}, because {biggest.cause}."
        )


def _score(value: float, interval: Any) -> str:
    if value != value:
        return "-"
    if interval is None:
        return f"{value:.4f}"
    return f"{value:.4f} [{interval[0]:.3f} {interval[1]:.3f}]"


def _printable(text: str) -> str:
    """Without what could steer a terminal: names in a data set come from anywhere."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


_SCORES = {
    "iou": "IoU",
    "dice": "Dice",
    "precision": "precision",
    "recall": "recall",
    "boundary_iou": "boundary IoU",
    "boundary_f": "boundary F",
    "average_precision": "AP",
}
_MEANS = {
    "iou": "mean_iou",
    "dice": "mean_dice",
    "precision": "mean_precision",
    "recall": "mean_recall",
    "boundary_iou": "boundary_iou",
    "boundary_f": "boundary_f",
    "average_precision": "mean_average_precision",
}
"""The mean of each column, by its name among the totals."""
