"""The report: one page that needs nothing else, and that no name can break."""

import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from tests.training.made import (
    HOSTILE,
    finish,
    made_epoch,
    made_run,
    made_validation,
    resumed,
    train_by_hand,
)
from vitrail.metrics import ConfusionMatrix
from vitrail.training.pictures import EpochPictures
from vitrail.training.records import Run
from vitrail.training.report import Report, report_page

_VOID = ("meta", "img", "br")


class _Reader(HTMLParser):
    """Checks that tags match; collects them, the text of each, and what would be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "srcset", "href")]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)


def _read(html: str) -> _Reader:
    reader = _Reader()
    reader.feed(html)
    reader.close()
    assert not reader.open
    return reader


def _page(run: Run) -> str:
    return (run.output / "report.html").read_text("utf-8")


def _whole(tmp_path: Path, **options: object) -> Run:
    run = made_run(tmp_path, **options)  # type: ignore[arg-type]
    callbacks = [EpochPictures(), Report()]
    finish(callbacks, run, list(train_by_hand(callbacks, run)))
    return run


def test_the_page_is_whole_and_fetches_nothing(tmp_path: Path) -> None:
    html = _page(_whole(tmp_path))
    page = _read(html)
    assert not {"script", "link", "iframe", "b>"} & set(page.tags)
    assert page.fetched
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.fetched)
    assert not re.search(r"https?://", html)
    assert "default-src 'none'" in html
    assert "prefers-color-scheme: dark" in html


def test_it_has_what_one_looks_for(tmp_path: Path) -> None:
    run = _whole(tmp_path)
    html = _page(run)
    page = _read(html)
    assert page.texts["h1"] == ["made"]
    assert "all epochs done" in page.texts["b"]
    cells = page.texts["td"]
    assert "3 of 3, chosen by mean_iou" in cells
    assert "6 min 00 s, 103.0 images/s while training" in cells
    for chart in ("loss", "mean IoU, validation", "IoU by class", "training images/s"):
        assert chart in page.texts["b"]
    assert len(page.fetched) == 2  # the first and the last, which is the best
    assert any("vitrail train made.yaml" in text for text in page.texts["pre"])
    predict = f"vitrail predict photo.jpg --model {run.output / 'made.safetensors'}"
    assert predict in page.texts["pre"]
    assert any("epochs: 3" in text for text in page.texts["pre"])
    assert {"cpu", "float32", "1"} <= set(cells)


def test_scores_by_class_are_those_of_the_matrix(tmp_path: Path) -> None:
    page = _read(_page(_whole(tmp_path)))
    matrix = made_validation(seed=2).matrix
    cells = page.texts["td"]
    for scores in (matrix.iou(), matrix.dice(), matrix.precision(), matrix.recall()):
        assert f"{scores[1]:.4f}" in cells
    share = matrix.counts[2, 0] / matrix.counts[2].sum()
    assert f"{share:.1%}" in cells
    assert f" {HOSTILE}" in cells


def test_names_cannot_break_it(tmp_path: Path) -> None:
    names = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a&amp;b")
    run = _whole(
        tmp_path,
        classes=names,
        overrides=["summary='</p><script>alert(2)</script>'", "limits='</pre>'"],
    )
    page = _read(_page(run))
    assert not {"script"} & set(page.tags)
    assert page.tags.count("img") == 2
    for name in names:
        assert f" {name}" in page.texts["td"]
        assert name in page.texts["th"]


def test_it_is_there_after_each_epoch(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    for epoch in train_by_hand([Report()], run):
        html = _page(run)
        _read(html)
        assert f"epoch {epoch.number} of 3 is done; not finished yet" in html


def test_a_resumed_training_reports_all_of_it(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    done = [made_epoch(1, mean_iou=0.9), made_epoch(2, mean_iou=0.3)]
    first = Report()
    first.on_start(run)
    matrix = made_validation(seed=5).matrix
    first.on_epoch(done[0], replace(made_validation(), matrix=matrix))
    first.on_epoch(done[1], made_validation(seed=1))

    callbacks = [Report()]
    history = list(train_by_hand(callbacks, resumed(run, done), first=9))
    finish(callbacks, run, [*done, *history])
    html = _page(run)
    assert "1 of 3, chosen by mean_iou" in html
    assert "Epoch 1, on the validation split" in html
    assert f"{matrix.iou()[1]:.4f}" in html
    assert f"{made_validation(seed=2).matrix.iou()[1]:.4f}" not in html


def test_the_last_epoch_stands_in_where_the_best_matrix_is_lost(tmp_path: Path) -> None:
    run = resumed(made_run(tmp_path), [made_epoch(1, mean_iou=0.99)])
    list(train_by_hand([Report()], run, first=5, last=8))
    html = _page(run)
    assert "1 of 2, chosen by mean_iou" in html
    assert "Epoch 2, on the validation split" in html


def test_a_resume_without_an_epoch_left_keeps_the_report(tmp_path: Path) -> None:
    run = _whole(tmp_path)
    before = _page(run)
    again = Report()
    again.on_start(resumed(run, [made_epoch(n) for n in (1, 2, 3)]))
    finish([again], run, [made_epoch(n) for n in (1, 2, 3)])
    assert _page(run) == before


def test_many_classes(tmp_path: Path) -> None:
    names = tuple(f"class {i}" for i in range(40))
    base = made_run(tmp_path)
    run = replace(base, classes=names, colours=tuple((i, 2 * i, 3 * i) for i in range(40)))
    matrix = ConfusionMatrix(40, ignore=255)
    rng = np.random.default_rng(0)
    matrix.counts[:] = np.diag(rng.integers(50, 100, 40))
    matrix.counts[7, 9] = 900
    epoch = replace(
        made_epoch(1),
        metrics={"mean_iou": 0.5, **{f"iou_{name}": i / 40 for i, name in enumerate(names)}},
    )
    html = report_page(run, [epoch], epoch, matrix, "all epochs done")
    page = _read(html)
    assert "IoU by class, the 10 worst of 40" in page.texts["b"]
    table = html[html.index("<h2>Confusions") :]
    assert re.search(r"<td>class 7</td><td>class 9</td><td class=\"n\">9\d\.\d%</td>", table)
    assert table.count("<tr><td>class") == 1  # nothing else was confused


def test_scores_that_are_no_number(tmp_path: Path) -> None:
    epoch = replace(
        made_epoch(1, mean_iou=math.nan, val_loss=math.inf), metrics={"mean_iou": math.nan}
    )
    empty = ConfusionMatrix(3, ignore=255)
    page = _read(report_page(made_run(tmp_path), [epoch], epoch, empty, "all epochs done"))
    assert {"none", "infinite"} <= set(page.texts["td"]) | set(page.texts["b"])
