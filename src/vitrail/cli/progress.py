"""How the command line shows that a download goes on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def download_progress(show: bool = True) -> Iterator[Callable[[str, int, int | None], None]]:
    """A bar with speed and time left on a terminal's stderr; a line a file elsewhere."""
    if not show:
        yield lambda what, done, total: None
        return
    if not sys.stderr.isatty():
        seen: set[str] = set()

        def say(what: str, done: int, total: int | None) -> None:
            if what not in seen:
                seen.add(what)
                size = f" ({total:,})" if total else ""
                print(f"{what}{size}", file=sys.stderr, flush=True)

        yield say
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task, current = bar.add_task("", visible=False), ""

        def tell(what: str, done: int, total: int | None) -> None:
            nonlocal task, current
            if what != current:
                bar.remove_task(task)
                # From where it stands: a resumed download did not fetch its first half just now.
                task, current = bar.add_task(what, total=total, completed=done), what
            bar.update(task, completed=done, total=total)

        yield tell
