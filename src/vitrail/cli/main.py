"""The ``vitrail`` command: its verbs, and how failures leave it.

Exit codes: 0 all went well, 1 the work failed (one clear line says why), 2 wrong usage.
Verbs import what they need when they run, so that ``vitrail --help`` answers at once.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

from vitrail.cli import data, doctor, models, predict, train

app = typer.Typer(
    name="vitrail",
    help="Image segmentation: masks, overlays and JSON from any image, offline by default.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("predict")(predict.predict)
app.add_typer(models.app, name="models")
app.command("train")(train.train)
app.add_typer(data.app, name="data")
app.command("doctor")(doctor.doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        from vitrail import __version__

        print(f"vitrail {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Image segmentation: masks, overlays and JSON from any image, offline by default."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit; a user's mistake ends in one line, not in a traceback."""
    from vitrail.errors import VitrailError

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file name need not be printable everywhere
            stream.reconfigure(errors="backslashreplace")
    try:
        app(arguments)
    except VitrailError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output has gone (`vitrail models list | head`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
