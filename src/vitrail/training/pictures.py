"""A picture after each epoch: the same images, their truth, and what the network makes of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from vitrail.atomic import make_folder, write_atomically
from vitrail.metrics import ConfusionMatrix
from vitrail.result import InstanceResult, canvas
from vitrail.result.draw import Style, draw
from vitrail.result.legend import contact_sheet
from vitrail.training.records import Callback, Epoch, Run, Shown, ShownObjects, Validation

CELL = 320
"""px of each picture's longer side."""

SURE = 0.5
"""Score from which an object is shown."""

_GROUND = 250  # as the contact sheet's
_INK = np.array([18, 18, 22], np.uint8)
_HATCH = np.array([[168, 168, 172], [214, 214, 218]], np.uint8)
"""The two greys of pixels without a label."""
_TEXT = 15
_GAP = 10
_NAMED = 24  # classes up to which the legend names all, whether they occur or not


class EpochPictures(Callback):
    """``pictures/epoch-003.jpg`` after each epoch, and ``pictures/latest.jpg``, always the newest.

    Rows of input, truth and prediction, of the same few validation images each time; see
    :func:`epoch_picture`. Nothing is written where the recipe shows no images.
    """

    def on_start(self, run: Run) -> None:
        self._run = run

    def on_epoch(self, epoch: Epoch, validation: Validation) -> None:
        if not validation.shown:
            return
        data = jpeg(epoch_picture(self._run, epoch, validation))
        folder = make_folder(self._run.output / "pictures")
        for path in (picture_path(self._run.output, epoch.number), folder / "latest.jpg"):
            write_atomically(path, lambda file: file.write(data))


def picture_path(output: Path, number: int) -> Path:
    """Where the picture of an epoch lies."""
    return output / "pictures" / f"epoch-{number:03d}.jpg"


def epoch_picture(run: Run, epoch: Epoch, validation: Validation) -> np.ndarray:
    """Rows of input, truth and prediction, a title above and a legend of the classes below.

    Classes have their plain colours, so that they can be compared with the legend; pixels without
    a label are hatched in grey. Below each prediction stands its own IoU: the mean over the
    classes that occur in that image, unlabelled pixels left out. Of objects, each in a colour of
    its own, those of a score of at least :data:`SURE` are shown.

    Returns
    -------
    (H, W, 3) uint8 RGB
    """
    scoring = run.scoring
    score = _number(epoch.metrics.get(scoring.main, math.nan))
    title = (
        f"{run.recipe.name}, epoch {epoch.number} of {run.recipe.train.epochs}: "
        f"{scoring.title} {score}, validation loss {_number(epoch.val_loss)}"
    )
    return comparison(title, validation, run.classes, run.colours)


def comparison(
    title: str,
    validation: Validation,
    classes: Sequence[str],
    colours: Sequence[tuple[int, int, int]],
) -> np.ndarray:
    """What :func:`epoch_picture` draws, under any title: (H, W, 3) uint8 RGB."""
    ignore = None if validation.matrix is None else validation.matrix.ignore
    rows = [
        _objects(shown)
        if isinstance(shown, ShownObjects)
        else [
            (shown.id, shown.image),
            ("truth", shown.truth),
            (f"prediction, IoU {_number(_iou(shown, len(classes), ignore))}", shown.predicted),
        ]
        for shown in validation.shown
    ]
    alone = len(classes) == 1  # then each object has a colour of its own, and none is the class's
    return label_sheet(title, rows, () if alone else classes, colours)


def _objects(shown: ShownObjects) -> list[tuple[str, np.ndarray]]:
    sure = shown.found[shown.found.scores >= SURE]
    least = f"of a score of {SURE:g} or more"
    return [
        (shown.id, shown.image),
        (f"truth, {_count(len(shown.truth))}", objects_over(shown.image, shown.truth)),
        (f"found, {_count(len(sure))} {least}", objects_over(shown.image, sure)),
    ]


def objects_over(image: np.ndarray, found: InstanceResult) -> np.ndarray:
    """Objects drawn over their image, (H, W, 3) uint8 RGB."""
    return draw(found, image, Style(tags=False, legend=False))


def _count(objects: int) -> str:
    return "1 object" if objects == 1 else f"{objects:,} objects"


def label_sheet(
    title: str,
    rows: Sequence[Sequence[tuple[str, np.ndarray]]],
    classes: Sequence[str],
    colours: Sequence[tuple[int, int, int]],
) -> np.ndarray:
    """Rows of pictures, (H, W, 3) uint8 RGB, and label maps, (H, W), each with its own title."""
    paints = np.array(colours, np.uint8).reshape(-1, 3)[: len(classes)]
    cells: list[tuple[str, np.ndarray]] = []
    seen = np.zeros(len(classes), bool)
    hatched = False
    for name, cell in (cell for row in rows for cell in row):
        if cell.ndim == 3:
            cells.append((name, cell))
            continue
        # Pixels that the sheet cannot show are not painted: photos have a hundred times as many.
        step = max(1, max(cell.shape) // (2 * CELL))
        labels = cell[::step, ::step]
        cells.append((name, _painted(labels, paints)))
        ids = np.unique(labels)
        seen[ids[ids < len(seen)]] = True
        hatched |= bool((ids >= len(seen)).any())
    if len(seen) <= _NAMED:
        seen[:] = True
    sheet = contact_sheet(cells, columns=len(rows[0]), cell=CELL)
    entries = [(classes[i], paints[i]) for i in np.flatnonzero(seen).tolist()]
    return np.vstack(
        [_title(title, sheet.shape[1]), sheet, _legend(entries, hatched, sheet.shape[1])]
    )


def jpeg(picture: np.ndarray, quality: int = 88) -> bytes:
    """An (H, W, 3) RGB picture as JPEG with full colour resolution, which thin shapes need."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    done, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
    assert done
    return data.tobytes()


def _painted(labels: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Each class in its colour, what is none of them hatched."""
    unlabelled = labels >= len(colours)
    picture = colours[np.where(unlabelled, 0, labels)]
    if unlabelled.any():
        # Stripes that are 5 px wide on the sheet, whatever the size of the image.
        width = max(1, round(5 * max(labels.shape) / CELL))
        rows, columns = np.nonzero(unlabelled)
        picture[unlabelled] = _HATCH[(rows + columns) // width % 2]
    return np.ascontiguousarray(picture)


def _iou(shown: Shown, classes: int, ignore: int | None) -> float:
    matrix = ConfusionMatrix(classes, ignore=ignore)
    matrix.update(shown.truth, shown.predicted)
    return matrix.mean_iou()


def _number(value: float) -> str:
    return "none" if math.isnan(value) else f"{value:.3f}"


def _title(text: str, width: int) -> np.ndarray:
    band = np.full((round(2.2 * _TEXT), width, 3), _GROUND, np.uint8)
    canvas.write_text(band, _GAP, _TEXT // 2, text, _TEXT + 2, _INK)
    return band


def _legend(entries: Sequence[tuple[str, np.ndarray]], hatched: bool, width: int) -> np.ndarray:
    """Names with their colours, in as many lines as they need."""
    items: list[tuple[str, np.ndarray]] = []
    for name, colour in entries:
        items.append((name, np.full((_TEXT, _TEXT, 3), colour, np.uint8)))
    if hatched:
        rows, columns = np.indices((_TEXT, _TEXT))
        items.append(("unlabelled", _HATCH[(rows + columns) // 5 % 2]))
    line = round(1.7 * _TEXT)
    places: list[tuple[int, int]] = []
    x, y = _GAP, 0
    for name, _ in items:
        across = _TEXT + 6 + canvas.text_patch(name, _TEXT).shape[1]
        if x > _GAP and x + across > width - _GAP:
            x, y = _GAP, y + line
        places.append((x, y))
        x += across + 2 * _GAP
    band = np.full((y + line + _GAP, width, 3), _GROUND, np.uint8)
    for (name, swatch), (x, y) in zip(items, places, strict=True):
        framed = np.pad(swatch, ((1, 1), (1, 1), (0, 0)), constant_values=120)
        band[y + 1 : y + _TEXT + 3, x - 1 : x + _TEXT + 1] = framed
        if x + _TEXT + 6 < width:
            canvas.write_text(band, x + _TEXT + 6, y, name, _TEXT, _INK)
    return band
