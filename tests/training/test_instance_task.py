"""Networks that find objects are trained by the same loop, scored by COCO's average precision."""

import csv
import math
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import vitrail
from tests.drawn import write_discs, write_objects, write_objects_recipe
from tests.training.test_loop import InterruptAt, Watch, same_state
from vitrail.data.sample import Instance, Sample, SampleSource
from vitrail.errors import ConfigError, VitrailError, WeightsError
from vitrail.models.instances import InstanceModel
from vitrail.models.maskrcnn.network import MaskRCNN
from vitrail.result import InstanceResult, Masks
from vitrail.training.config import Recipe, make_recipe, read_recipe
from vitrail.training.history import HistoryCsv
from vitrail.training.instance_task import _outlined
from vitrail.training.loop import Training, train
from vitrail.training.memory import memory_plan
from vitrail.training.pictures import EpochPictures, epoch_picture
from vitrail.training.report import Report
from vitrail.training.stopping import TrainingStopped
from vitrail.training.task import Loading
from vitrail.weights.header import read_card

TERMS = ["rpn_class", "rpn_bbox", "class", "bbox", "mask"]


def tiny(folder: Path, *overrides: str) -> Recipe:
    return read_recipe(write_objects_recipe(folder), ["train.preflight=false", *overrides])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple:
    folder = tmp_path_factory.mktemp("objects")
    recipe, watch = tiny(folder), Watch()
    watching = [watch, HistoryCsv(), EpochPictures(), Report()]
    outcome = train(recipe, folder / "run", callbacks=watching, command="vitrail train tiny")
    return recipe, outcome, watch, folder / "run"


def test_an_epoch_tells_losses_and_scores_by_name(trained: tuple) -> None:
    _, outcome, watch, folder = trained
    assert list(watch.steps[0].terms) == TERMS
    epoch = outcome.history[-1]
    assert sum(epoch.terms.values()) == pytest.approx(epoch.loss)
    assert {"mask_ap", "mask_ap50", "box_ap", "mask_ap_disc", "box_ap_square"} <= set(epoch.metrics)
    assert epoch.loss < outcome.history[0].loss and math.isfinite(epoch.val_loss)
    with (folder / "history.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(rows[-1][f"loss_{name}"]) for name in TERMS] == [epoch.terms[n] for n in TERMS]
    assert float(rows[-1]["mask_ap"]) == epoch.metrics["mask_ap"]
    assert outcome.monitor == "mask_ap" and "mask AP" in outcome.told
    run = watch.runs[0]
    assert run.classes == ("disc", "square") and len(run.colours) == 2


def test_the_card_knows_classes_without_background(trained: tuple) -> None:
    _, outcome, _, folder = trained
    card = read_card(outcome.checkpoint)
    assert card.classes == ("disc", "square") and card.background is None
    assert card.arguments["classes"] == 2 and card.architecture == "mask-rcnn"
    score = card.scores[0]
    assert score.values["mask_ap"] == round(outcome.best.metrics["mask_ap"], 4)
    assert "best on this split by mask_ap" in score.protocol and "COCO" in score.protocol
    report = (folder / "report.html").read_text("utf-8")
    for words in ("mask AP by class", "box AP", "training, rpn_bbox", "chosen by mask_ap"):
        assert words in report
    assert not (folder / "confusion.csv").exists()


def test_the_picture_shows_the_objects(trained: tuple) -> None:
    _, _, watch, folder = trained
    assert (folder / "pictures" / "epoch-002.jpg").is_file()
    epoch, validation = watch.epochs[-1]
    shown = validation.shown[2]
    assert len(shown.truth) == 3 and shown.truth.size == shown.found.size == (64, 64)
    # What is found in the picture is what was told: the truth in its place leaves no difference.
    perfect = [replace(one, found=one.truth) for one in validation.shown]
    picture = epoch_picture(watch.runs[0], epoch, replace(validation, shown=tuple(perfect)))
    cell = picture[40:360]
    np.testing.assert_array_equal(cell[:, 340:650], cell[:, 670:980])


def test_an_evaluation_repeats_itself(trained: tuple) -> None:
    """Regions are drawn for the loss; neither that nor the loader processes may show."""
    recipe, _, _, folder = trained
    training = Training(recipe, folder, overwrite=True)
    network = training.stepper.network
    found = []
    for workers, shown in ((0, 0), (1, 2)):
        loading = Loading(workers, shown)
        found.append(
            training.task.validate(network, training.sources.validation, "float32", loading)
        )
    assert found[0].loss == found[1].loss > 0
    np.testing.assert_equal(dict(found[0].metrics), dict(found[1].metrics))
    assert len(found[1].shown) == 2 and not found[0].shown


def test_crowds_and_bare_boxes_reach_the_loss_as_such(trained: tuple) -> None:
    recipe, _, _, folder = trained
    training = Training(recipe, folder, overwrite=True)
    crowd, bare = (training.sets[64][0, index] for index in (0, 1))
    assert crowd.crowd.tolist() == [True] and crowd.outlined.tolist() == [True]
    assert bare.crowd.tolist() == [False, False] and bare.outlined.tolist() == [False, True]
    network = training.stepper.network.eval()
    for example, objects in ((crowd, 0), (bare, 2)):
        images, targets = training.task.prepared([example], torch.device("cpu"))
        terms = training.task.terms(network, images, targets, "float32")
        assert list(terms) == TERMS and all(torch.isfinite(term) for term in terms.values())
        learnt = objects > 0
        assert (terms["bbox"] > 0) == learnt and (terms["mask"] > 0) == learnt


def test_what_has_a_box_only_is_neither_found_nor_missed_as_a_mask(trained: tuple) -> None:
    recipe, _, _, folder = trained
    training = Training(recipe, folder, overwrite=True)
    source = training.sources.training  # the second image has one
    task, network = training.task, training.stepper.network
    numbers = task.validate(network, source, "float32", Loading()).metrics
    assert all(math.isfinite(numbers[name]) for name in ("mask_ap", "box_ap"))


def test_one_outline_is_enough_to_measure_masks() -> None:
    """Wherever it stands; without any object nothing speaks against masks."""
    image, size = np.zeros((8, 8, 3), np.uint8), (8, 8)
    bare = Instance(0, size, (1.0, 1.0, 4.0, 4.0))
    drawn = Instance.from_masks(0, Masks.from_dense(np.eye(8, dtype=bool)[None]))

    def source(*objects: Instance) -> SampleSource:
        samples = [Sample(str(at), image, size, instances=(one,)) for at, one in enumerate(objects)]
        return cast(SampleSource, samples)

    assert _outlined(source(bare, bare, drawn)) and _outlined(source())
    assert not _outlined(source(bare, bare))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple:
    folder = tmp_path_factory.mktemp("whole")
    recipe = tiny(folder, "train.epochs=2")
    return recipe, folder / "run", train(recipe, folder / "run")


@pytest.mark.parametrize("steps", [[1], [2, 3]], ids=["in an epoch", "between and in"])
def test_an_interrupted_training_ends_with_the_same_weights(
    steps: list[int], uninterrupted: tuple, tmp_path: Path
) -> None:
    recipe, whole, outcome = uninterrupted
    for step in steps:
        with pytest.raises(TrainingStopped):
            train(recipe, tmp_path, callbacks=[InterruptAt(step)], resume=True)
    resumed = train(recipe, tmp_path, resume=True)
    assert same_state(whole, tmp_path)
    for one, other in zip(resumed.history, outcome.history, strict=True):
        np.testing.assert_equal(dict(one.metrics), dict(other.metrics))
        assert (one.loss, one.val_loss) == (other.loss, other.val_loss)


def test_without_masks_boxes_decide(tmp_path: Path) -> None:
    recipe = tiny(tmp_path, "model.architecture=faster-rcnn", "train.epochs=1")
    watch = Watch()
    outcome = train(recipe, tmp_path / "run", callbacks=[watch])
    assert outcome.monitor == "box_ap" and list(outcome.best.terms) == TERMS[:-1]
    assert not any(name.startswith("mask") for name in outcome.best.metrics)
    assert watch.epochs[0][1].shown[0].found.masks.size == (64, 64)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loss=dice", "loss='dice': mask-rcnn has losses of its own"),
        ("train.monitor=mask_app", "did you mean .*'mask_ap"),
        ("train.monitor=mean_iou", "train.monitor='mean_iou'"),
        ("train.image_size=72", "the training crop has 72 px.*multiples of 32"),
        ("train.freeze_stages=9", "train.freeze_stages=9: the network has 8 stages"),
    ],
)
def test_what_cannot_work_is_refused_first(override: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        train(tiny(tmp_path, override), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_label_maps_are_no_objects(tmp_path: Path) -> None:
    recipe = tiny(tmp_path, f"data.root={write_discs(tmp_path / 'discs')}", "data.format=null")
    folders = {s: {"images": f"{s}/images", "masks": f"{s}/masks"} for s in ("train", "val")}
    content = recipe.model_dump()
    content["data"] = {
        **{"root": tmp_path / "discs", **folders},
        "classes": ["background", "disc", "square"],
    }
    with pytest.raises(ConfigError, match=r"data.train: .*label maps and no objects.*--to coco"):
        train(make_recipe(content), tmp_path / "run")


def test_a_start_may_know_other_classes(trained: tuple, tmp_path: Path) -> None:
    _, outcome, _, _ = trained
    root = write_objects(tmp_path / "objects")
    changes = ["data.merge={thing: [disc, square]}", f"model.start={outcome.checkpoint}"]
    other = tiny(tmp_path / "other", *changes, f"data.root={root}")
    training = Training(other, tmp_path / "run")
    assert training.space.classes == ("thing",)
    (note,) = training.notes
    assert "box_predictor.scores.weight" in note and "mask_head.logits.bias start afresh" in note
    kept = load_file(outcome.checkpoint)["rpn.convs.0.weight"].float()
    now = training.stepper.network.state_dict()
    assert torch.equal(now["rpn.convs.0.weight"], kept)
    assert now["box_predictor.scores.weight"].shape == (2, 32)
    wide = tiny(tmp_path / "wide", *changes, "model.arguments.rpn_channels=24")
    with pytest.raises(WeightsError, match=r"does not fit.*rpn\.convs\.0\.weight"):
        Training(wide, tmp_path / "run")


def test_a_loss_that_is_no_number_leaves_its_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nan = torch.tensor(math.nan, requires_grad=True)
    monkeypatch.setattr(MaskRCNN, "loss", lambda *_: {"mask": nan * 1})
    with pytest.raises(VitrailError, match=r"not a number.*step 1: mask nan"):
        train(tiny(tmp_path, "train.epochs=1"), tmp_path / "run")
    saved = load_file(next((tmp_path / "run").glob("not-a-number-*")))
    assert saved["3/image"].shape == (3, 64, 64) and saved["0/planes"].ndim == 3


def test_an_automatic_batch_makes_room_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = MaskRCNN.forward

    def limited(self: MaskRCNN, images: torch.Tensor) -> object:
        if self.training and len(images) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return forward(self, images)

    monkeypatch.setattr("vitrail.training.loop.memory_plan", lambda *_, **__: None)
    monkeypatch.setattr("vitrail.training.loop.largest_batch", lambda *_, **__: 8)
    monkeypatch.setattr(MaskRCNN, "forward", limited)
    recipe = tiny(tmp_path, "train.epochs=1", "train.batch_size=auto")
    training = Training(recipe, tmp_path / "run")
    outcome = training.run([])
    assert training.batch_size == 8 and training.progress.parts == 4
    assert math.isfinite(outcome.best.loss)


def test_the_preflight_counts_objects_and_plans_memory(tmp_path: Path) -> None:
    training = Training(tiny(tmp_path), tmp_path / "run", dry=True)
    before = {k: v.clone() for k, v in training.stepper.network.state_dict().items()}
    found = training.preflight()
    found.refuse()
    for words in ("disc ", "9  7 images", "1 crowd", "1 box without an outline", "the loss falls"):
        assert words in found.text
    assert "suggested loss" not in found.text
    network = training.stepper.network
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    bare = memory_plan(network, 64, 4, precision="float32")
    assert found.memory.image > 1.2 * bare.image  # the heads and their regions count as well


def test_given_networks_and_a_rate_finder(tmp_path: Path) -> None:
    recipe = tiny(tmp_path)
    own = Training(recipe, tmp_path / "run").stepper.network
    assert isinstance(own, InstanceModel)
    training = Training(recipe, tmp_path / "run", model=own)
    assert training.stepper.network is own
    curve = training.find_rate(10)
    assert len(curve.rates) <= 10 and np.isfinite(curve.losses).all()


def test_a_learner_learns_objects(tmp_path: Path) -> None:
    recipe = tiny(tmp_path)
    learner = vitrail.Learner(
        {"root": recipe.data.root, "format": "coco"},
        {"architecture": "mask-rcnn", "arguments": recipe.model.arguments},
        **{"image_size": 64, "batch_size": 4, "out": tmp_path / "runs", "workers": 0},
        **{"quiet": True, "preflight": False, "callbacks": []},
    )
    assert learner.space.classes == ("disc", "square")
    assert learner.show_batch(2).width > 300
    outcome = learner.fit_one_cycle(1)
    assert outcome.monitor == "mask_ap" and learner.validate()["box_ap"] >= 0
    assert learner.show_results(2).height > 300
    found = learner.predict(recipe.data.root / "val" / "000.png")
    assert isinstance(found, InstanceResult) and found.classes == ("disc", "square")
    assert read_card(learner.save(tmp_path / "kept.safetensors")).background is None


@pytest.mark.slow
def test_four_images_are_learnt_by_heart(tmp_path: Path) -> None:
    root = write_objects(tmp_path / "four", train=1, val=4)
    recipe = tiny(
        tmp_path,
        *(f"data.root={root}", "data.train=val", 'data.repeat={"": 25}', "train.epochs=12"),
        *("model.arguments.pyramid_channels=32", "model.arguments.box_width=64"),
        *("train.schedule=one-cycle", "train.lr=3e-3", "train.encoder_lr_scale=1"),
        *("train.ema_decay=0", "augment.flip=0", "train.shown=0", "train.trackers=[]"),
    )
    training = Training(recipe, tmp_path / "run")
    monitored = training.run([]).best.metrics
    assert monitored["mask_ap"] > 0.95 and monitored["box_ap"] > 0.85
