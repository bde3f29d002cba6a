"""The picture after each epoch."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.training.made import made_epoch, made_run, made_validation, train_by_hand
from vitrail.metrics import ConfusionMatrix
from vitrail.training.pictures import CELL, EpochPictures, epoch_picture, jpeg
from vitrail.training.records import Shown, Validation


def _cells(picture: np.ndarray, images: int) -> list[list[np.ndarray]]:
    """The pictures on the sheet: square ones, so that each fills its cell."""
    gap, caption = max(8, CELL // 30), round(max(12, CELL // 26) * 1.8)
    top = round(2.2 * 15) + gap
    return [
        [
            picture[y : y + CELL, x : x + CELL]
            for x in (gap + column * (CELL + gap) for column in range(3))
        ]
        for y in (top + row * (CELL + caption + gap) for row in range(images))
    ]


def test_each_epoch_leaves_its_picture(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    list(train_by_hand([EpochPictures()], run))
    folder = run.output / "pictures"
    names = ["epoch-001.jpg", "epoch-002.jpg", "epoch-003.jpg", "latest.jpg"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert (folder / "latest.jpg").read_bytes() == (folder / "epoch-003.jpg").read_bytes()
    assert (folder / "epoch-001.jpg").read_bytes() != (folder / "epoch-002.jpg").read_bytes()
    read = cv2.imread(str(folder / "latest.jpg"))
    drawn = epoch_picture(run, made_epoch(3), made_validation(seed=2))
    assert read is not None
    assert np.abs(read[..., ::-1].astype(int) - drawn).mean() < 3


def test_truth_and_prediction_have_the_colours_of_the_legend(tmp_path: Path) -> None:
    run, validation = made_run(tmp_path), made_validation(2)
    picture = epoch_picture(run, made_epoch(1), validation)
    factor = CELL // 64
    colours = np.array(run.colours, np.uint8)
    for row, shown in zip(_cells(picture, 2), validation.shown, strict=True):
        image, truth, predicted = (cell[::factor, ::factor] for cell in row)
        np.testing.assert_array_equal(image, shown.image)
        np.testing.assert_array_equal(predicted, colours[shown.predicted])
        labelled = shown.truth != 255
        np.testing.assert_array_equal(truth[labelled], colours[shown.truth[labelled]])
    legend = picture[-45:].reshape(-1, 3)
    for colour in run.colours:
        assert (legend == colour).all(axis=1).sum() >= 200  # a swatch of 15 x 15, or nearly


def test_unlabelled_pixels_are_hatched(tmp_path: Path) -> None:
    run, validation = made_run(tmp_path), made_validation(1)
    truth = _cells(epoch_picture(run, made_epoch(1), validation), 1)[0][1]
    stripe = truth[:50].reshape(-1, 3)
    greys, counts = np.unique(stripe, axis=0, return_counts=True)
    assert greys.tolist() == [[168, 168, 172], [214, 214, 218]]
    assert counts.min() > 0.3 * counts.sum()


def test_a_legend_entry_for_what_is_unlabelled_only_where_it_is(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    shown = made_validation(1).shown[0]
    whole = replace(shown, truth=np.where(shown.truth == 255, 0, shown.truth))

    def hatched(one: Shown) -> bool:
        validation = Validation(ConfusionMatrix(3, ignore=255), 0.1, (one,))
        legend = epoch_picture(run, made_epoch(1), validation)[-45:]
        return bool((legend == (168, 168, 172)).all(axis=2).any())

    assert hatched(shown)
    assert not hatched(whole)


def test_the_iou_is_that_of_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    titles: list[str] = []

    def sheet(cells: list, **_: object) -> np.ndarray:
        titles.extend(title for title, _ in cells)
        return np.zeros((100, 400, 3), np.uint8)

    monkeypatch.setattr("vitrail.training.pictures.contact_sheet", sheet)
    shown = made_validation(2).shown
    perfect = replace(shown[0], predicted=np.where(shown[0].truth == 255, 1, shown[0].truth))
    void = replace(shown[1], truth=np.full_like(shown[1].truth, 255))
    validation = Validation(ConfusionMatrix(3, ignore=255), 0.1, (perfect, void))
    epoch_picture(made_run(tmp_path), made_epoch(1), validation)
    assert titles == [
        *("photo_0", "truth", "prediction, IoU 1.000"),
        *("photo_1", "truth", "prediction, IoU none"),
    ]


@pytest.mark.parametrize("size", [(48, 900), (700, 20), (1, 1), (1200, 1600)])
def test_images_of_any_shape(size: tuple[int, int], tmp_path: Path) -> None:
    labels = np.zeros(size, np.int64)
    labels[: size[0] // 2] = 255
    shown = Shown("x" * 300, np.zeros((*size, 3), np.uint8), labels, np.ones(size, np.uint8))
    validation = Validation(ConfusionMatrix(3, ignore=255), 0.1, (shown,))
    picture = epoch_picture(made_run(tmp_path), made_epoch(1), validation)
    assert picture.dtype == np.uint8
    assert picture.shape[1] == 3 * (CELL + 10) + 10


def test_many_classes_are_named_only_where_they_occur(tmp_path: Path) -> None:
    names = tuple(f"class number {i}" for i in range(150))
    run = replace(made_run(tmp_path), classes=names, colours=tuple((i, i, i) for i in range(150)))
    validation = Validation(ConfusionMatrix(150, ignore=255), 0.1, made_validation(1).shown)
    many = epoch_picture(run, made_epoch(1), validation)
    few = epoch_picture(made_run(tmp_path), made_epoch(1), validation)
    assert many.shape == few.shape


def test_nothing_is_written_where_nothing_is_shown(tmp_path: Path) -> None:
    run, pictures = made_run(tmp_path), EpochPictures()
    pictures.on_start(run)
    pictures.on_epoch(made_epoch(1), replace(made_validation(), shown=()))
    assert not list(run.output.iterdir())


def test_thin_lines_keep_their_colour_in_a_jpeg() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[::4] = (230, 20, 20)
    read = cv2.imdecode(np.frombuffer(jpeg(picture), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(read.astype(int) - picture).max() < 60
