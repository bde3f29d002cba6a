"""The ``vitrail`` command: its verbs, and how failures leave it.

Exit codes: 0 all went well, 1 the work failed (one clear line says why), 2 wrong usage, 130 ended
by Ctrl-C, 143 by SIGTERM; neither leaves anything half-written.
Verbs import what they need when they run, so that ``vitrail --help`` answers at once.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from vitrail.cli import data, doctor, evaluate, models, predict, train


class _Terminated(KeyboardInterrupt):
    """SIGTERM: goes the way of Ctrl-C, so that whatever is cleaned up then is cleaned up now."""


class _Verbs(TyperGroup):
    """The verbs; an interrupt is told here, in the words that it carries or in one.

    Further out typer would end the program without a word.
    """

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            terminated = isinstance(stop, _Terminated)
            told = str(stop) or ("terminated" if terminated else "interrupted")
            print(told, file=sys.stderr)
            raise typer.Exit(143 if terminated else 130) from None


app = typer.Typer(
    name="vitrail",
    cls=_Verbs,
    help="Image segmentation: masks, overlays and JSON from any image, offline by default.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("predict")(predict.predict)
app.add_typer(models.app, name="models")
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
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
        with _terminated_cleanly():
            app(arguments)
    except VitrailError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:  # the reader of our output has gone (`vitrail models list | head`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


@contextmanager
def _terminated_cleanly() -> Iterator[None]:
    """Until left, SIGTERM raises :class:`_Terminated`, where it would have ended us at once."""
    unusual = signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    if unusual or threading.current_thread() is not threading.main_thread():
        yield
        return
    owner, stopping = os.getpid(), False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        if os.getpid() != owner:  # a forked worker, which inherits this and has nothing to say
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif not stopping:  # `timeout` signals twice; the second must not cut the cleanup short
            stopping = True
            raise _Terminated

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN if stopping else signal.SIG_DFL)
