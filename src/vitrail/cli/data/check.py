"""``vitrail data check``: what is wrong with a data set, before a training finds out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitrail.cli.data import common

if TYPE_CHECKING:
    from rich.console import Console

    from vitrail.data.checks.report import Report

_SHOWN = 5
"""Findings of a kind that the terminal shows, unless told otherwise."""


def check(
    path: common.Path_,
    format: common.Format_ = None,
    settings: common.Settings = None,
    splits: common.Splits_ = None,
    report_to: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="DIR|FILE.html",
            help="Also write an HTML report with pictures of the worst cases.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="Processes; by default one a core for sets of 400 or more."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail, too.")] = False,
    most: Annotated[
        int | None,
        typer.Option(
            "--max-per-code",
            min=0,
            help="Findings listed of each kind; by default 5, in JSON and HTML 1000.",
        ),
    ] = None,
    as_json: common.Json = False,
) -> None:
    """Look for faults in a data set; exits 1 where there are errors."""
    from vitrail.data.check import KEEP, check_dataset
    from vitrail.errors import ParameterError

    folder = report_to is None or report_to.is_dir()
    if report_to and not folder and report_to.suffix.lower() not in ("", ".html", ".htm"):
        raise ParameterError(
            f"--report {report_to}: expected a file that ends in .html, or a folder"
        )

    with common.progress(not as_json) as tell:
        report = check_dataset(
            path,
            format,
            common.parse_pairs(settings, "--set"),
            splits=common.names_of(splits),
            workers=workers,
            keep=max(KEEP, most or 0),
            progress=tell,
        )
    written = None
    if report_to is not None:
        from vitrail.data.checks.html import write_html

        written = write_html(report, report_to)
    if as_json:
        extra = {"report": str(written)} if written else {}
        print(json.dumps(report.to_json(most) | extra, indent=2))
    else:
        print_report(report, _SHOWN if most is None else most)
        if written:
            print(f"report with pictures: {written}")
    if not report.ok(strict=strict):
        raise typer.Exit(1)


_STYLES = {"error": "red", "warning": "yellow", "note": "blue"}


def print_report(report: Report, most: int) -> None:
    """Findings by kind, errors first; then the summary, and what to do."""
    from rich.console import Console

    console = Console(markup=False, highlight=False, soft_wrap=True)
    if report.format:
        why = f" ({report.reason})" if report.reason else ""
        console.print(_printable(f"{report.root}: {report.format}{why}"))
    for code, severity in report.findings.kinds():
        _print_kind(console, report, code, severity, most)
    for remark in report.remarks:
        console.print(f"remark: {remark}")
    speed = report.files / report.seconds if report.seconds else 0
    console.print(f"{report.summary()}, {report.seconds:.1f} s, {speed:,.0f} files/s")
    if report.advice:
        console.print("what to do:")
    for one in report.advice:
        console.print(_printable(f"  - {one.text}"))


def _print_kind(console: Console, report: Report, code: str, severity, most: int) -> None:
    from vitrail.data.checks.codes import CODES
    from vitrail.data.checks.finding import shown_path

    total = report.findings.counts[code, severity]
    meaning = f": {CODES[code].meaning}" if code in CODES else ""
    console.print(f"{severity} {code} ({total:,}){meaning}", style=_STYLES[severity])
    found = report.findings.of(code, severity)[:most]
    for finding in found:
        problem = finding.problem
        file = shown_path(problem.file, report.root)
        where = ": ".join(part for part in (problem.split, file, problem.id) if part)
        console.print(_printable(f"  {where}: {problem.value}; expected {problem.expected}"))
    if len(found) < total:
        console.print(f"  ... and {total - len(found):,} more")


def _printable(text: str) -> str:
    """Without what could steer a terminal: names in a data set come from anywhere."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
