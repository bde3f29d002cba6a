"""``vitrail data``: look at, check, convert and fetch labelled data sets; one file a verb."""

from __future__ import annotations

import typer

app = typer.Typer(
    help="Look at, check, convert, split and fetch labelled data sets.", no_args_is_help=True
)
