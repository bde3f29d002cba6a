"""What ``vitrail evaluate`` prints: scores, the protocol behind them, and other protocols."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from vitrail.evaluate.run import Evaluation
    from vitrail.evaluate.semantic import SemanticScores


def show(evaluation: Evaluation, protocol: str) -> None:
    """Print the tables, the protocol and, where it was asked for, the explanation."""
    from rich.console import Console

    from vitrail.evaluate.instances import InstanceScores

    console = Console(markup=False, highlight=False)
    if isinstance(evaluation.scores, InstanceScores):
        _show_objects(console, evaluation.scores.totals())
    else:
        _show_classes(console, evaluation.scores)
    console.print(protocol)
    if evaluation.settings.explain and not isinstance(evaluation.scores, InstanceScores):
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


def _show_objects(console: Console, totals: Mapping[str, Mapping[str, float]]) -> None:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("")
    for kind in totals:
        table.add_column(kind, justify="right")
    for name in next(iter(totals.values())):
        table.add_row(name, *(_score(numbers[name], None) for numbers in totals.values()))
    console.print(table)


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
