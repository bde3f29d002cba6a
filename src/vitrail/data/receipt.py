"""``vitrail-fetch.json``: what was fetched into a folder, from where, and its checksums."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vitrail.atomic import write_atomically
from vitrail.errors import DataError

NAME = "vitrail-fetch.json"
_LIMIT = 64 << 20


class Receipt:
    """Of one folder; every change is written at once, so that an interrupted fetch goes on.

    Raises
    ------
    DataError
        the file is there and not one of ours, or is of another data set.
    """

    def __init__(self, folder: Path, dataset: str) -> None:
        self.path = folder / NAME
        self._content: dict[str, Any] = {"dataset": dataset, "files": {}, "images": {}}
        if not self.path.exists():
            return
        try:
            with self.path.open("rb") as file:
                content = json.loads(file.read(_LIMIT))
            fits = all(
                isinstance(content.get(key), dict)
                and all(isinstance(one, dict) for one in content[key].values())
                for key in ("files", "images")
            )
        except (OSError, ValueError, RecursionError, AttributeError):
            fits, content = False, {}
        if not fits:
            raise DataError(f"{self.path}: is damaged; remove it and run it again")
        if content.get("dataset") != dataset:
            raise DataError(
                f"{folder}: holds the data set {content.get('dataset')!r}, not {dataset!r}; "
                "choose another folder with --to"
            )
        self._content = content

    def file(self, name: str) -> dict[str, Any]:
        """What is known of a file; empty if nothing."""
        return self._content["files"].get(name, {})

    def set_file(self, name: str, **facts: Any) -> None:
        """Remember facts of a file beside those known."""
        known = self._content["files"].setdefault(name, {})
        known |= facts | {"time": datetime.now(UTC).isoformat(timespec="seconds")}
        self._write()

    def set_images(self, split: str, **facts: Any) -> None:
        """Remember which single images of a split were fetched."""
        self._content["images"][split] = facts
        self._write()

    def _write(self) -> None:
        text = json.dumps(self._content, indent=2) + "\n"
        write_atomically(self.path, lambda file: file.write(text.encode()))
