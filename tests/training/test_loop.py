"""The loop learns, leaves what it promises, and refuses what cannot work before the first step."""

import csv
import math
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import vitrail
from tests.drawn import write_recipe
from vitrail.data.sample import LabelSpace
from vitrail.data.transforms import unlabelled_flags
from vitrail.errors import ConfigError, DataError
from vitrail.metrics import ConfusionMatrix
from vitrail.train.config import read_recipe
from vitrail.train.loop import one_cycle, train
from vitrail.train.setup import crop_sizes, open_split, show_order
from vitrail.weights.header import read_card


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple:
    folder = tmp_path_factory.mktemp("train")
    recipe = read_recipe(write_recipe(folder), ["train.epochs=10"])
    steps: list[tuple] = []
    outcome = train(
        recipe,
        folder / "run",
        on_step=lambda *step: steps.append(step),
        command="vitrail train tiny.yaml",
    )
    return recipe, outcome, steps


def test_it_learns(trained: tuple) -> None:
    _, outcome, _ = trained
    assert outcome.history[-1].loss < 0.7 * outcome.history[0].loss
    assert outcome.best.mean_iou > 0.6
    assert outcome.best.mean_iou == max(epoch.mean_iou for epoch in outcome.history)


def test_steps_and_sizes_follow_the_recipe(trained: tuple) -> None:
    _, outcome, steps = trained
    assert [epoch.image_size for epoch in outcome.history] == [64] * 9 + [96]
    assert [step[:3] for step in steps[:5]] == [(1, i, 4) for i in (1, 2, 3, 4)] + [(2, 1, 4)]


def test_the_checkpoint_scores_what_its_card_says(trained: tuple) -> None:
    """Through the public path, on the files: the card's number can be had again."""
    recipe, outcome, _ = trained
    score = read_card(outcome.checkpoint).scores[0]
    segmenter = vitrail.load(outcome.checkpoint, precision="float32")
    matrix = ConfusionMatrix(3, ignore=255)
    for path in sorted((recipe.data.root / "val" / "images").iterdir()):
        truth = cv2.imread(str(recipe.data.root / "val" / "masks" / path.name), -1)
        matrix.update(truth, segmenter(path).labels)
    assert matrix.mean_iou() == pytest.approx(score.values["mean_iou"], abs=0.01)
    assert score.command == "vitrail train tiny.yaml"
    assert "original image size" in score.protocol


def test_training_goes_on_from_a_checkpoint(trained: tuple, tmp_path: Path) -> None:
    recipe, outcome, _ = trained
    overrides = [f"model.start={outcome.checkpoint}", "train.epochs=1", "train.lr=1e-6"]
    again = read_recipe(recipe.data.root.parent / "tiny.yaml", overrides)
    first = train(again, tmp_path / "run").history[0]
    assert first.loss < 0.8 * outcome.history[0].loss
    assert first.mean_iou > 0.6


def test_some_images_are_shown_more_often(tmp_path: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path), ["data.repeat={disc: 3, disc_001: 5}"])
    space = LabelSpace(recipe.data.classes, 0, 255)
    source = open_split(recipe, recipe.data.train, space)
    order = show_order(source, recipe.data.repeat)
    shown = {path.stem: order.count(index) for index, path in enumerate(source.images)}
    assert (shown["disc_001"], shown["disc_003"], shown["square_000"]) == (5, 3, 1)
    assert len(order) == 8 + 7 * 3 + 5


def test_history_is_a_table(trained: tuple) -> None:
    _, outcome, _ = trained
    with (outcome.checkpoint.parent / "history.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10
    assert float(rows[-1]["mean_iou"]) == outcome.history[-1].mean_iou
    assert set(rows[0]) >= {"iou_background", "iou_disc", "iou_square", "images_per_second"}


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path), ["train.epochs=1", "train.finish_epochs=0"])
    losses = [train(recipe, tmp_path / name).history[0].loss for name in ("a", "b")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_loader_processes_survive_several_epochs(tmp_path: Path) -> None:
    """Validation uses OpenCV between epochs; workers forked after it must not inherit its pool."""
    cv2.resize(np.zeros((2000, 2000, 3), np.uint8), (1000, 1000))  # the pool is up
    recipe = read_recipe(write_recipe(tmp_path), ["train.epochs=3", "train.workers=2"])
    threads = cv2.getNumThreads()
    assert len(train(recipe, tmp_path / "run").history) == 3
    assert cv2.getNumThreads() == threads


def test_one_cycle_rises_then_falls() -> None:
    rates = [one_cycle(step / 100, 0.1) for step in range(101)]
    assert max(rates) == rates[10] == 1.0
    assert rates[5] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0.0, abs=1e-9)
    assert all(later <= earlier for earlier, later in pairwise(rates[10:]))


def test_finish_epochs_never_exceed_epochs(tmp_path: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path), ["train.epochs=2", "train.finish_epochs=5"])
    assert crop_sizes(recipe.train) == [96, 96]


def refuse(tmp_path: Path, *overrides: str) -> pytest.ExceptionInfo:
    recipe = read_recipe(write_recipe(tmp_path), list(overrides))
    with pytest.raises((ConfigError, DataError)) as caught:
        train(recipe, tmp_path / "run")
    assert not list(tmp_path.glob("run/*"))
    return caught


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.train.images=none", "none: no such folder"),
        ("train.batch_size=64", "train.batch_size=64: larger than the training set"),
        ("model.architecture=unett", "unett"),
        ("model.arguments.encoder=mobilenetv9", "mobilenetv9"),
        ("data.unlabelled={disc: [triangle]}", "'triangle'"),
        ("model.start=none.safetensors", "none.safetensors: no such checkpoint"),
        ("data.repeat={circle: 2}", "no image of the training set starts with 'circle'"),
        ("model.encoder_weights=none.safetensors", "none.safetensors: no such checkpoint"),
    ],
)
def test_what_cannot_work_is_refused_first(override: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(vitrail.VitrailError, match=message):
        train(read_recipe(write_recipe(tmp_path), [override]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_earlier_run_is_not_replaced_unasked(trained: tuple) -> None:
    recipe, outcome, _ = trained
    before = outcome.checkpoint.read_bytes()
    with pytest.raises(ConfigError, match=r"tiny\.safetensors exists already.*--overwrite"):
        train(recipe, outcome.checkpoint.parent)
    assert outcome.checkpoint.read_bytes() == before


def test_labels_that_do_not_fit_are_named(tmp_path: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path), ["data.classes=[background, disc]"])
    with pytest.raises(
        DataError, match=r"masks.*: holds the value 2; expected class ids 0..1 or 255"
    ):
        train(recipe, tmp_path / "run")


def test_a_loss_that_is_not_finite_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vitrail.models.unet import UNet

    recipe = read_recipe(write_recipe(tmp_path), ["train.epochs=1"])
    nan = torch.tensor(math.nan, requires_grad=True)
    monkeypatch.setattr(UNet, "loss", lambda *_: {"ce": nan})
    with pytest.raises(vitrail.VitrailError, match=r"loss became nan in epoch 1, step 1; lower"):
        train(recipe, tmp_path / "run")


def test_partly_annotated_sources_reach_the_loss(tmp_path: Path) -> None:
    recipe = read_recipe(
        write_recipe(tmp_path), ["data.unlabelled={disc: [square], disc_001: [square, disc]}"]
    )
    space = LabelSpace(recipe.data.classes, 0, 255)
    source = open_split(recipe, recipe.data.train, space)
    flags = {s.id: unlabelled_flags(s, space).tolist() for s in (source[i] for i in range(16))}
    assert flags["disc_001"] == [False, True, True]  # the longest prefix counts
    assert flags["disc_003"] == [False, False, True]
    assert not np.any(flags["square_000"])
