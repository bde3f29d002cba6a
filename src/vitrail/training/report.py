"""``report.html``: a training on one page, which needs nothing but itself."""

from __future__ import annotations

import math
import platform
import shlex
from collections.abc import Sequence
from html import escape
from importlib import metadata
from pathlib import Path

from vitrail import __version__
from vitrail.atomic import write_atomically
from vitrail.data.page import document, inline_jpeg
from vitrail.metrics import ConfusionMatrix
from vitrail.training import curves
from vitrail.training.history import read_confusion, write_confusion
from vitrail.training.pictures import picture_path
from vitrail.training.records import Callback, Epoch, Outcome, Run, Validation
from vitrail.training.report_tables import (
    class_table,
    confusion_table,
    object_table,
    score_text,
)
from vitrail.training.sinks import recipe_text
from vitrail.training.stopping import best_epoch

_PACKAGES = ("torch", "torchvision", "timm", "accelerate", "numpy", "opencv-python-headless")
_LINES = 10  # classes whose score is drawn; where there are more, the worst

_STYLE = (
    curves.STYLE
    + """
.facts { width: auto; } .facts th { font-weight: 500; padding-right: 1.4rem; }
.scroll { overflow-x: auto; } .confusion { width: auto; }
.confusion td, .confusion th { padding: .2rem .5rem; text-align: right; white-space: nowrap; }
.confusion th:first-child { text-align: left; }
.whole { max-width: none; margin: .6rem 0; } pre { background: var(--soft); padding: .6rem .8rem;
  overflow-x: auto; font-size: .85rem; white-space: pre-wrap; overflow-wrap: anywhere; }
tr.chosen { font-weight: 600; }
"""
)


class Report(Callback):
    """Keeps ``report.html`` in the output folder up to date: after each epoch, and at the end.

    Curves, the best epoch, scores and confusions by class, the pictures of the first, best and
    last epoch (those that :class:`vitrail.training.pictures.EpochPictures` left, which therefore
    comes before this one), how to repeat it and how to use what came out, and the recipe. The
    confusion matrix of the best epoch is also left as ``confusion.csv``, from which a training
    that goes on reads it.
    """

    def on_start(self, run: Run) -> None:
        self._run = run
        self._epochs = list(run.done)
        self._state = ""

    def on_epoch(self, epoch: Epoch, validation: Validation) -> None:
        self._epochs.append(epoch)
        best = best_epoch(self._epochs, self._run.monitor)
        classes, path = self._run.classes, self._run.output / "confusion.csv"
        self._told, self._matrix = epoch, validation.matrix
        if validation.matrix is None:  # of objects the history has it all
            self._told = best
        else:
            if best.number == epoch.number:
                write_confusion(path, validation.matrix, classes, epoch.number)
            kept = read_confusion(path, classes, best.number)
            if kept is not None:
                self._told, self._matrix = best, kept
        total = self._run.recipe.train.epochs
        self._state = f"epoch {epoch.number} of {total} is done; not finished yet"
        self._write()

    def on_end(self, outcome: Outcome) -> None:
        self._state = outcome.reason
        # A resumed training that had no epoch left has told of none.
        if len(self._epochs) > len(self._run.done):
            self._write(outcome.checkpoint)

    def _write(self, checkpoint: Path | None = None) -> None:
        content = report_page(
            self._run, self._epochs, self._told, self._matrix, self._state, checkpoint
        )
        data = content.encode("utf-8", "backslashreplace")
        write_atomically(self._run.output / "report.html", lambda file: file.write(data))


def report_page(
    run: Run,
    epochs: Sequence[Epoch],
    scored: Epoch,
    matrix: ConfusionMatrix | None,
    state: str,
    checkpoint: Path | None = None,
) -> str:
    """The whole document.

    Parameters
    ----------
    epochs : all so far, at least one
    scored : the epoch that ``matrix`` belongs to
    matrix : None where objects were scored
    state : in words, such as "all epochs done"
    checkpoint : the best one; default where it is going to be
    """
    best = best_epoch(epochs, run.monitor)
    checkpoint = checkpoint or run.output / f"{run.recipe.name}.safetensors"
    parts = [
        f"<h1>{escape(run.recipe.name)}</h1>",
        f"<p>{escape(run.recipe.summary)}<br><b>{escape(state)}</b></p>",
        _facts(run, epochs, best),
        _curves(run, epochs, best),
        _pictures(run, epochs, best),
        *(
            [object_table(run, scored)]
            if matrix is None
            else [class_table(run, scored, matrix), confusion_table(run, scored, matrix)]
        ),
        _commands(run, checkpoint),
        _epochs(run, epochs, best),
        f"<h2>Recipe</h2><p class='dim'>Every default written out.</p>"
        f"<pre>{escape(recipe_text(run.recipe))}</pre>",
        _environment(run),
    ]
    return document(f"vitrail train: {run.recipe.name}", parts, style=_STYLE)


def _facts(run: Run, epochs: Sequence[Epoch], best: Epoch) -> str:
    monitor = run.monitor
    shown = dict.fromkeys((monitor, run.scoring.main, *run.scoring.others, "val_loss"))
    scores = ", ".join(
        f"{escape(name)} <b>{score_text(best.score(name))}</b>"
        for name in shown
        if name in best.metrics or name in ("loss", "val_loss")
    )
    training, validation = run.images
    rows = {
        "best epoch": f"{best.number} of {len(epochs)}, chosen by {escape(monitor)}",
        "its scores": scores,
        "images": f"{training:,} for training, {validation:,} for validation",
        "network": f"{escape(run.recipe.model.architecture)}, {run.parameters:,} trained numbers",
        "time": f"{_duration(sum(epoch.seconds for epoch in epochs))}, "
        f"{epochs[-1].images_per_second:,.1f} images/s while training",
    }
    return _table_of(rows)


def _curves(run: Run, epochs: Sequence[Epoch], best: Epoch) -> str:
    x = [epoch.number for epoch in epochs]

    def of(name: str) -> list[float]:
        return [epoch.metrics.get(name, math.nan) for epoch in epochs]

    losses = {
        "training": [epoch.loss for epoch in epochs],
        "validation": [epoch.val_loss for epoch in epochs],
    }
    terms = list(epochs[-1].terms)
    if len(terms) > 1:
        for name in terms:
            losses[f"training, {name}"] = [epoch.terms.get(name, math.nan) for epoch in epochs]
    scoring, monitor = run.scoring, run.monitor
    scores = {scoring.title: of(scoring.main)}
    if monitor in epochs[-1].metrics and monitor != scoring.main:
        scores[monitor] = of(monitor)
    prefix, words = scoring.by_class, f"{scoring.class_title} by class"
    names = sorted(run.classes, key=lambda name: _worst_first(of(prefix + name)[-1]))[:_LINES]
    chosen = {name: of(prefix + name) for name in run.classes if name in names}
    more = len(run.classes) - len(chosen)
    by_class = f"{words}, the {_LINES} worst of {len(run.classes)}" if more else words
    rate = [epoch.lr for epoch in epochs]
    speed = [epoch.images_per_second for epoch in epochs]
    mark = best.number
    return (
        "<h2>Curves</h2><div class='shots'>"
        + "".join(
            (
                curves.line_chart("loss", x, losses, best=mark, log=True),
                curves.line_chart(f"{scoring.title}, validation", x, scores, best=mark),
                curves.line_chart(by_class, x, chosen, best=mark),
                curves.line_chart("learning rate, last step", x, {"rate": rate}, zero=True),
                curves.line_chart("training images/s", x, {"images/s": speed}, zero=True),
            )
        )
        + "</div>"
    )


def _pictures(run: Run, epochs: Sequence[Epoch], best: Epoch) -> str:
    words: dict[int, list[str]] = {}
    for word, epoch in (("first", epochs[0]), ("best", best), ("last", epochs[-1])):
        words.setdefault(epoch.number, []).append(word)
    figures: list[str] = []
    for number, names in words.items():
        path = picture_path(run.output, number)
        if path.is_file():
            caption = f"epoch {number}: {', '.join(names)}"
            picture = inline_jpeg(path.read_bytes(), caption)
            figures.append(
                f'<figure class="whole"><figcaption><b>{caption}</b></figcaption>{picture}</figure>'
            )
    return "<h2>Validation images</h2>" + "".join(figures) if figures else ""


def _commands(run: Run, checkpoint: Path) -> str:
    repeat = f"<p>Repeat it:</p><pre>{escape(run.command)}</pre>" if run.command else ""
    predict = shlex.join(["vitrail", "predict", "photo.jpg", "--model", str(checkpoint)])
    python = f"segmenter = vitrail.load({str(checkpoint)!r})\nresult = segmenter('photo.jpg')"
    return (
        f"<h2>Commands</h2>{repeat}<p>Use the best checkpoint:</p><pre>{escape(predict)}</pre>"
        f"<pre>import vitrail\n\n{escape(python)}</pre>"
    )


def _epochs(run: Run, epochs: Sequence[Epoch], best: Epoch) -> str:
    rows = "".join(
        f"<tr{' class=chosen' if epoch.number == best.number else ''}>"
        f'<td class="n">{epoch.number}</td><td class="n">{epoch.image_size}</td>'
        f'<td class="n">{epoch.lr:.2e}</td><td class="n">{score_text(epoch.loss)}</td>'
        f'<td class="n">{score_text(epoch.val_loss)}</td>'
        f'<td class="n">{score_text(epoch.metrics.get(run.scoring.main, math.nan))}</td>'
        f'<td class="n">{epoch.images_per_second:,.1f}</td>'
        f'<td class="n">{_duration(epoch.seconds)}</td></tr>'
        for epoch in epochs
    )
    scores = ("loss", "val loss", run.scoring.title)
    names = ("epoch", "crop, px", "rate", *scores, "images/s", "time")
    heads = "".join(f'<th class="n">{name}</th>' for name in names)
    return (
        f"<h2>Epochs</h2><details{' open' if len(epochs) <= 20 else ''}><summary>{len(epochs)}"
        f"</summary><table><tr>{heads}</tr>{rows}</table></details>"
    )


def _environment(run: Run) -> str:
    rows = {
        "device": escape(run.device),
        "precision": escape(run.precision),
        "processes": f"{run.processes}",
        "vitrail": escape(__version__),
        "python": escape(f"{platform.python_version()}, {platform.system()} {platform.machine()}"),
        **{name: escape(_version(name)) for name in _PACKAGES},
    }
    return "<h2>Environment</h2>" + _table_of(rows)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _table_of(rows: dict[str, str]) -> str:
    """Names, which are escaped here, and HTML."""
    lines = "".join(
        f"<tr><th>{escape(name)}</th><td>{text}</td></tr>" for name, text in rows.items()
    )
    return f'<table class="facts">{lines}</table>'


def _worst_first(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _duration(seconds: float) -> str:
    """``"8.2 s"``, ``"3 min 20 s"`` or ``"2 h 05 min"``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
