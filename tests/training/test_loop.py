"""The loop learns, leaves what it promises, and refuses what cannot work before the first step."""

import math
import os
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import vitrail
from tests.drawn import write_recipe
from vitrail.errors import ConfigError, DataError, VitrailError
from vitrail.metrics import ConfusionMatrix
from vitrail.training import loop
from vitrail.training.config import Recipe, read_recipe
from vitrail.training.loop import STATE, Training, train
from vitrail.training.records import Callback, Epoch, Outcome, Run, Step, Validation
from vitrail.training.stopping import TrainingStopped
from vitrail.weights.header import read_card


class Watch(Callback):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.steps: list[Step] = []
        self.epochs: list[tuple[Epoch, Validation]] = []
        self.ends: list[Outcome] = []
        self.closed = 0

    def on_start(self, run: Run) -> None:
        self.runs.append(run)

    def on_step(self, step: Step) -> None:
        self.steps.append(step)

    def on_epoch(self, epoch: Epoch, validation: Validation) -> None:
        self.epochs.append((epoch, validation))

    def on_end(self, outcome: Outcome) -> None:
        self.ends.append(outcome)

    def close(self) -> None:
        self.closed += 1


class InterruptAt(Callback):
    """Asks the training to stop during a step, as Ctrl-C does."""

    def __init__(self, step: int, number: int = signal.SIGINT) -> None:
        self.step, self.number = step, number

    def on_step(self, step: Step) -> None:
        if step.total == self.step:
            os.kill(os.getpid(), self.number)


def tiny(folder: Path, *overrides: str) -> Recipe:
    return read_recipe(write_recipe(folder), ["train.preflight=false", *overrides])


def same_state(one: Path, two: Path) -> bool:
    """Bit by bit, in network, average and optimizer."""
    a, b = load_file(one / STATE), load_file(two / STATE)
    assert any(name.startswith("averaged/") for name in a)
    assert any(name.startswith("optimizer/") for name in a)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple:
    folder = tmp_path_factory.mktemp("train")
    recipe, watch = tiny(folder, "train.epochs=10"), Watch()
    outcome = train(recipe, folder / "run", callbacks=[watch], command="vitrail train tiny.yaml")
    return recipe, outcome, watch


def test_it_learns(trained: tuple) -> None:
    _, outcome, _ = trained
    assert outcome.history[-1].loss < 0.7 * outcome.history[0].loss
    assert outcome.best.mean_iou > 0.6
    assert outcome.best.mean_iou == max(epoch.mean_iou for epoch in outcome.history)


def test_steps_and_sizes_follow_the_recipe(trained: tuple) -> None:
    _, outcome, watch = trained
    assert [epoch.image_size for epoch in outcome.history] == [64] * 9 + [96]
    told = [(step.epoch, step.number, step.of) for step in watch.steps[:5]]
    assert told == [(1, i, 4) for i in (1, 2, 3, 4)] + [(2, 1, 4)]
    assert [step.total for step in watch.steps] == list(range(1, 41))


def test_what_watches_is_told_everything(trained: tuple) -> None:
    _, outcome, watch = trained
    run = watch.runs[0]
    assert run.steps == 40 and run.images == (16, 4) and run.processes == 1
    assert run.classes == ("background", "disc", "square") and len(run.colours) == 3
    assert [epoch for epoch, _ in watch.epochs] == list(outcome.history)
    epoch, validation = watch.epochs[-1]
    assert epoch.metrics["mean_iou"] == validation.matrix.mean_iou()
    assert epoch.val_loss == validation.loss > 0
    assert sum(epoch.terms.values()) == pytest.approx(epoch.loss)
    assert len(validation.shown) == 4 == len({one.id for one in validation.shown})
    for one in validation.shown:
        assert one.image.shape == (*one.truth.shape, 3) == (*one.predicted.shape, 3)
    assert watch.ends == [outcome] and watch.closed == 1
    assert watch.steps[0].gradient_norm > 0 and watch.steps[0].lr < watch.steps[4].lr


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
    again = read_recipe(recipe.data.root.parent / "tiny.yaml", [*overrides, "train.preflight=0"])
    first = train(again, tmp_path / "run").history[0]
    assert first.loss < 0.8 * outcome.history[0].loss
    assert first.mean_iou > 0.6


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    recipe = tiny(tmp_path, "train.epochs=1", "train.finish_epochs=0")
    for name in ("a", "b"):
        train(recipe, tmp_path / name)
    assert same_state(tmp_path / "a", tmp_path / "b")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Path, Outcome]:
    folder = tmp_path_factory.mktemp("whole")
    recipe = tiny(folder, "train.epochs=3", "train.workers=1")
    return recipe, folder / "run", train(recipe, folder / "run")


@pytest.mark.parametrize(
    ("steps", "number"),
    [([1], signal.SIGINT), ([4], signal.SIGTERM), ([3, 8, 11], signal.SIGINT)],
    ids=["first step", "end of an epoch", "three times"],
)
def test_an_interrupted_training_ends_with_the_same_weights(
    steps: list[int], number: int, uninterrupted: tuple, tmp_path: Path
) -> None:
    recipe, whole, outcome = uninterrupted
    for step in steps:
        with pytest.raises(TrainingStopped, match="the same command with --resume goes on"):
            train(recipe, tmp_path, callbacks=[InterruptAt(step, number)], resume=True)
    watch = Watch()
    resumed = train(recipe, tmp_path, callbacks=[watch], resume=True)
    assert same_state(whole, tmp_path)
    assert [epoch.metrics for epoch in resumed.history] == [e.metrics for e in outcome.history]
    assert [epoch.loss for epoch in resumed.history] == [e.loss for e in outcome.history]
    assert len(watch.runs[0].done) == steps[-1] // 4 - (steps[-1] == 4)
    assert watch.steps[0].total == steps[-1] + 1


def test_signals_are_given_back(uninterrupted: tuple) -> None:
    recipe, folder, _ = uninterrupted
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    train(recipe, folder, resume=True)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_finished_training_is_not_trained_again(uninterrupted: tuple) -> None:
    recipe, folder, outcome = uninterrupted
    watch = Watch()
    again = train(recipe, folder, callbacks=[watch], resume=True)
    assert not watch.steps and again.best.metrics == outcome.best.metrics


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.lr=0.1", r"train.lr was 0.005, is 0.1"),
        ("loss=ce", r"loss was 'ce \+ dice', is 'ce'"),
        ("model.arguments.encoder=mobilenetv2_050", "model.arguments.encoder was"),
    ],
)
def test_another_recipe_is_not_resumed(
    override: str, message: str, uninterrupted: tuple, tmp_path: Path
) -> None:
    _, folder, _ = uninterrupted
    recipe = tiny(tmp_path, "train.epochs=3", "train.workers=1", override)
    before = (folder / STATE).read_bytes()
    with pytest.raises(ConfigError, match=message):
        train(recipe, folder, resume=True)
    assert (folder / STATE).read_bytes() == before


def test_what_changes_no_step_may_change(uninterrupted: tuple, tmp_path: Path) -> None:
    _, folder, _ = uninterrupted
    recipe = tiny(tmp_path, "train.epochs=3", "train.workers=0", "train.shown=1", "summary=other")
    assert train(recipe, folder, resume=True).best.number


@pytest.mark.parametrize("damage", ["cut", "other"])
def test_a_damaged_state_is_refused(damage: str, uninterrupted: tuple, tmp_path: Path) -> None:
    recipe, folder, _ = uninterrupted
    content = (folder / STATE).read_bytes()
    other = (folder / "last.safetensors").read_bytes()
    (tmp_path / STATE).write_bytes(content[:-100] if damage == "cut" else other)
    with pytest.raises(vitrail.VitrailError, match=rf"{STATE}: (damaged|not the state)"):
        train(recipe, tmp_path, resume=True)


def test_accumulation_adds_up_to_the_whole_batch(tmp_path: Path) -> None:
    """Without batch norm, a mean of equal parts' gradients is the whole batch's."""
    states = []
    for accumulate in (1, 2):
        recipe = tiny(
            tmp_path / str(accumulate),
            f"train.accumulate={accumulate}",
            *("train.epochs=1", "train.finish_epochs=0", "loss=ce", "train.precision=float32"),
        )
        training = Training(recipe, tmp_path / "run")
        training.stepper.model.eval()
        example = next(iter(training.loaders[64][0]))
        training.stepper.gradients(example, recipe.train.accumulate)
        gradients = [p.grad.flatten() for p in training.stepper.network.parameters()]
        states.append(torch.cat(gradients).double())
    assert (states[0] - states[1]).norm() < 1e-3 * states[0].norm()


def test_a_frozen_encoder_stays_as_it_is(tmp_path: Path) -> None:
    recipe = tiny(tmp_path, "train.epochs=2", "train.freeze_encoder=1", "train.finish_epochs=0")
    training = Training(recipe, tmp_path / "run")
    encoder = training.stepper.network.encoder
    seen: list[dict] = []

    class Look(Callback):
        def on_epoch(self, epoch: Epoch, validation: Validation) -> None:
            seen.append({k: v.clone() for k, v in encoder.state_dict().items()})

    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    training.run([Look()])
    assert all(torch.equal(before[name], seen[0][name]) for name in before)
    changed = [name for name in before if not torch.equal(before[name], seen[1][name])]
    assert len(changed) > len(before) / 2


def test_patience_ends_a_training(tmp_path: Path) -> None:
    recipe = tiny(
        tmp_path, "train.epochs=6", "train.patience=2", "train.lr=1e-9", "train.min_delta=0.5"
    )
    outcome = train(recipe, tmp_path / "run")
    assert len(outcome.history) == 3
    assert outcome.reason == "no better mean_iou in 2 epochs"


def test_the_best_epoch_is_by_what_is_monitored(tmp_path: Path) -> None:
    outcome = train(tiny(tmp_path, "train.epochs=3", "train.monitor=val_loss"), tmp_path / "run")
    assert outcome.best.val_loss == min(epoch.val_loss for epoch in outcome.history)
    assert "by val_loss" in read_card(outcome.checkpoint).scores[0].protocol


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_other_settings_learn_too(optimizer: str, tmp_path: Path) -> None:
    rate = 0.05 if optimizer == "sgd" else 5e-3
    recipe = tiny(
        tmp_path,
        *(f"train.optimizer={optimizer}", f"train.lr={rate}", "train.schedule=poly"),
        *("train.layer_decay=0.8", "train.ema_decay=0", "train.grad_clip=null"),
        *("train.deterministic=true", "loss=focal(gamma=2) + 0.5*dice"),
    )
    outcome = train(recipe, tmp_path / "run")
    torch.use_deterministic_algorithms(False)
    assert outcome.history[-1].loss < 0.8 * outcome.history[0].loss
    assert set(outcome.history[0].terms) == {"focal", "dice"}


def test_loader_processes_survive_several_epochs(tmp_path: Path) -> None:
    """Validation uses OpenCV between epochs; workers forked after it must not inherit its pool."""
    cv2.resize(np.zeros((2000, 2000, 3), np.uint8), (1000, 1000))  # the pool is up
    recipe = tiny(tmp_path, "train.epochs=3", "train.workers=2")
    threads = cv2.getNumThreads()
    assert len(train(recipe, tmp_path / "run").history) == 3
    assert cv2.getNumThreads() == threads


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.train.images=none", "none: no such folder"),
        ("train.monitor=mean_io", r"train.monitor='mean_io': did you mean .*'mean_iou'"),
        ("train.monitor=iou_triangle", "iou_triangle"),
        ("loss=dice(weights=[1, 2])", "2 weights for 3 classes"),
        ("model.arguments.classes=3", "model.arguments.classes: the data set says"),
        ("data.merge={thing: [triangle]}", "'triangle'"),
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
        train(tiny(tmp_path, override), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_earlier_run_is_not_replaced_unasked(trained: tuple) -> None:
    recipe, outcome, _ = trained
    before = outcome.checkpoint.read_bytes()
    with pytest.raises(ConfigError, match=r"tiny\.safetensors exists already.*--overwrite"):
        train(recipe, outcome.checkpoint.parent)
    assert outcome.checkpoint.read_bytes() == before


def test_labels_that_do_not_fit_are_named(tmp_path: Path) -> None:
    recipe = tiny(tmp_path, "data.classes=[background, disc]")
    with pytest.raises(
        DataError, match=r"masks.*: holds the value 2; expected class ids 0..1 or 255"
    ):
        train(recipe, tmp_path / "run")


def test_a_loss_that_is_no_number_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vitrail.models.unet import UNet

    nan = torch.tensor(math.nan, requires_grad=True)
    monkeypatch.setattr(UNet, "loss", lambda *_: {"ce": nan * 1})
    with pytest.raises(
        vitrail.VitrailError, match=r"not a number.*step 1: ce nan.*train.lr"
    ) as told:
        train(tiny(tmp_path, "train.epochs=1"), tmp_path / "run")
    saved = next((tmp_path / "run").glob("not-a-number-*"))
    assert str(saved) in str(told.value)
    assert load_file(saved)["image"].shape == (4, 3, 96, 96)


def test_out_of_memory_names_the_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_above(monkeypatch, images=1)
    with pytest.raises(vitrail.VitrailError, match=r"train.batch_size.*4"):
        train(tiny(tmp_path, "train.epochs=1"), tmp_path / "run")


def test_an_automatic_batch_makes_room_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vitrail.training.loop.memory_plan", lambda *_, **__: None)
    monkeypatch.setattr("vitrail.training.loop.largest_batch", lambda *_, **__: 8)
    fail_above(monkeypatch, images=2)
    recipe = tiny(tmp_path, "train.epochs=1", "train.batch_size=auto", "train.finish_epochs=0")
    training = Training(recipe, tmp_path / "run")
    training.run([])
    assert training.batch_size == 8 and training.progress.parts == 4


def fail_above(monkeypatch: pytest.MonkeyPatch, images: int) -> None:
    """Let a training pass of more images than that run out of memory."""
    from vitrail.models.unet import UNet

    forward = UNet.forward

    def limited(self: UNet, batch: torch.Tensor) -> object:
        if self.training and len(batch) > images:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return forward(self, batch)

    monkeypatch.setattr(UNet, "forward", limited)


def test_a_set_smaller_than_a_batch_is_one_batch(tmp_path: Path) -> None:
    training = Training(tiny(tmp_path, "train.batch_size=64"), tmp_path / "run")
    assert training.steps == 6 and len(next(iter(training.loaders[64][0])).image) == 16


def test_parts_and_model_can_be_handed_over(trained: tuple, tmp_path: Path) -> None:
    from vitrail.models.registry import build
    from vitrail.training.data import open_sources

    recipe, _, _ = trained
    own = build("unet", {**recipe.model.arguments, "classes": 3})
    nn.init.constant_(own.head.bias, 0.25)
    training = Training(recipe, tmp_path / "run", open_sources(recipe.data), own, overwrite=True)
    assert training.stepper.network is own
    assert torch.equal(training.stepper.network.head.bias, torch.full((3,), 0.25))


def test_nobody_goes_on_from_a_replaced_run(tmp_path: Path) -> None:
    recipe = tiny(tmp_path, "train.epochs=1", "train.finish_epochs=0")
    train(recipe, tmp_path / "run")

    class Fail(Callback):
        def on_step(self, step: Step) -> None:
            raise RuntimeError("the machine burns")

    with pytest.raises(RuntimeError):
        train(recipe, tmp_path / "run", callbacks=[Fail()], overwrite=True)
    with pytest.raises(ConfigError, match=r"tiny\.safetensors exists already"):
        train(recipe, tmp_path / "run", resume=True)


def test_no_process_waits_where_the_first_one_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny(tmp_path)
    training = Training(recipe, tmp_path / "run")
    heard: list[bool] = []

    def refuse(self: Training, say: object) -> None:
        raise ConfigError("broken.png: no mask")

    monkeypatch.setattr(Training, "_prepare", refuse)
    monkeypatch.setattr(loop, "any_process", lambda asked, device: heard.append(asked) or asked)
    with pytest.raises(ConfigError, match=r"broken\.png"):
        training.run()
    # Another process, which had nothing to say against it, hears of it and ends as well.
    monkeypatch.setattr(Training, "_prepare", lambda self, say: None)
    monkeypatch.setattr(loop, "any_process", lambda asked, device: heard.append(asked) or True)
    with pytest.raises(VitrailError, match="the first process says why"):
        training.run()
    assert heard == [True, False] and not (tmp_path / "run").exists()
