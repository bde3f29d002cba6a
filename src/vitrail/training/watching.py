"""What watches a training unless told otherwise."""

from __future__ import annotations

from vitrail.training.config import Recipe
from vitrail.training.history import HistoryCsv, StepsCsv
from vitrail.training.pictures import EpochPictures
from vitrail.training.progress import ProgressBar
from vitrail.training.records import Callback
from vitrail.training.report import Report
from vitrail.training.trackers import trackers


def watchers(recipe: Recipe) -> list[Callback]:
    """Progress in the terminal, tables, pictures, the recipe's trackers and the report.

    Raises
    ------
    MissingExtraError
        a tracker's library is not installed.
    """
    return [
        ProgressBar(),
        HistoryCsv(),
        StepsCsv(),
        EpochPictures(),
        *trackers(recipe.train.trackers),
        Report(),  # after the pictures, which it shows
    ]
