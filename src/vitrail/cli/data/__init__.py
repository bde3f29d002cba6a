"""``vitrail data``: look at, check, convert and fetch labelled data sets; one file a verb."""

from __future__ import annotations

import typer

from vitrail.cli.data import check, convert, fetch, formats, preview, split, stats

app = typer.Typer(
    help="Look at, check, convert, split and fetch labelled data sets.", no_args_is_help=True
)
app.command("formats")(formats.formats)
app.command("check")(check.check)
app.command("stats")(stats.stats)
app.command("preview")(preview.preview)
app.command("convert")(convert.convert)
app.command("split")(split.split)
app.command("list")(fetch.list_)
app.command("fetch")(fetch.fetch)
