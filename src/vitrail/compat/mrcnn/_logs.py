"""Where trainings lie: a folder each below ``model_dir``, weights of each epoch inside."""

from __future__ import annotations

import datetime
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from vitrail.errors import SourceError

_PREFIX = "mask_rcnn"
_SUFFIXES = (".safetensors", ".h5")
_TIME = "%Y%m%dT%H%M"
_WRITTEN = re.compile(r"mask_rcnn_.+_(\d{4,})")
_FOLDER = re.compile(r".+\d{8}T\d{4}")


@dataclass(frozen=True)
class LogFolder:
    """The folder of one training."""

    path: Path
    """``model_dir/NAME20300131T1205``; it may not be there yet."""
    name: str
    """Of the configuration, in lower case."""
    epoch: int = 0
    """How many epochs were trained already."""

    @classmethod
    def of(
        cls, model_dir: Path, name: str | None, weights: str | os.PathLike[str] | None
    ) -> LogFolder:
        """That of weights which a training wrote, with their epoch; otherwise a new one."""
        lower = (name or "model").lower()
        if weights is not None:
            path = Path(weights).absolute()
            written = _WRITTEN.fullmatch(path.stem)
            if written and path.suffix in _SUFFIXES and _FOLDER.fullmatch(path.parent.name):
                return cls(path.parent, lower, int(written[1]))
        now = datetime.datetime.now().strftime(_TIME)
        return cls(model_dir / f"{lower}{now}", lower)

    @staticmethod
    def find_last(model_dir: Path, name: str | None) -> Path:
        """The last epoch's weights in the newest folder of that name.

        Raises
        ------
        SourceError
            there is no such folder, or no weights are in it.
        """
        lower = (name or "model").lower()
        pattern = f"{lower}*"
        folders = sorted(one for one in model_dir.glob(pattern) if one.is_dir())
        if not folders:
            raise SourceError(
                f"{model_dir}: holds no folder {pattern!r}; model_dir is where a training with "
                f"NAME={name!r} wrote its weights"
            )
        files = [
            one
            for one in folders[-1].iterdir()
            if one.name.startswith(_PREFIX) and one.suffix in _SUFFIXES
        ]
        if not files:
            raise SourceError(
                f"{folders[-1]}: holds no weights ({_PREFIX}_*.safetensors or .h5); its training "
                "did not come to the end of an epoch"
            )
        return max(files, key=lambda one: one.stem)

    def weights(self, epoch: int) -> Path:
        """Where the weights of an epoch are written."""
        return self.path / f"{_PREFIX}_{self.name}_{epoch:04d}.safetensors"

    def after(self, epoch: int) -> LogFolder:
        """The same, with that many epochs trained."""
        return replace(self, epoch=max(self.epoch, epoch))
