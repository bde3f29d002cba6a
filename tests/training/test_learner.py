"""The learner: fits that are runs of recipes, each from the weights of the one before."""

import os
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import vitrail
from tests.drawn import discs, write_discs
from vitrail.data.opening import open_dataset
from vitrail.errors import ConfigError, ParameterError, UnknownNameError, VitrailError
from vitrail.image import read_image
from vitrail.models.base import RawOutput, SemanticModel
from vitrail.training.api import train
from vitrail.training.config import Recipe, read_recipe
from vitrail.training.learner import Learner
from vitrail.training.loop import STATE
from vitrail.training.records import Callback, Step
from vitrail.training.stopping import TrainingStopped
from vitrail.weights.header import read_card

OPTIONS = {"classes": ["background", "disc", "square"], "background": "background"}
MERGED = {"thing": ["disc", "square"]}
TINY = {"encoder": "mobilenetv2_035", "decoder_channels": [16, 16, 16, 8, 8]}


def make(folder: Path, **more) -> Learner:
    settings = {
        **{"image_size": 64, "batch_size": 4, "workers": 0, "preflight": False, "quiet": True},
        **{"callbacks": [], "options": OPTIONS, "arguments": TINY, "ema_decay": 0.9},
        **{"out": folder / "runs"},
        **more,
    }
    return Learner(folder / "discs", **settings)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_discs(tmp_path / "discs", train=8, val=2)
    return tmp_path


def weights(learner: Learner) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in learner.model.state_dict().items()}


def same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    """Bit by bit; but for batch norm's step counters, which no checkpoint has and nothing reads."""
    names = [name for name in one if not name.endswith("num_batches_tracked")]
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in names)


class Interrupt(Callback):
    """Ctrl-C during a step."""

    def __init__(self, step: int) -> None:
        self.step: int | None = step

    def on_step(self, step: Step) -> None:
        if step.total == self.step:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Learner]:
    folder = tmp_path_factory.mktemp("learner")
    write_discs(folder / "discs")
    learner = make(folder)
    learner.fit_one_cycle(8, 5e-3)
    return folder, learner


def test_it_learns(fitted: tuple[Path, Learner]) -> None:
    folder, learner = fitted
    assert (
        learner.outcomes[0].checkpoint == folder / "runs" / "discs-unet" / "discs-unet.safetensors"
    )
    assert learner.history[-1].loss < 0.7 * learner.history[0].loss
    assert learner.history[-1].mean_iou > 0.5
    assert "16 images to train on, 4 to score on" in repr(learner)


def test_validate_scores_what_the_last_epoch_scored(fitted: tuple[Path, Learner]) -> None:
    _, learner = fitted
    scores = learner.validate()
    last = learner.history[-1]
    assert scores.pop("val_loss") == last.val_loss
    assert scores == dict(last.metrics)


def test_predict_is_what_a_saved_model_gives(fitted: tuple[Path, Learner]) -> None:
    folder, learner = fitted
    path = learner.save(folder / "saved" / "mine.safetensors")
    card = read_card(path)
    assert card.classes == ("background", "disc", "square") and card.background == 0
    assert card.scores[0].values["mean_iou"] == round(learner.history[-1].mean_iou, 4)
    photo = folder / "discs" / "val" / "images" / "disc_001.png"
    result = learner.predict(photo)
    assert isinstance(result, vitrail.SemanticResult)
    labels = result.labels
    assert labels.shape == (64, 64) and 1 in labels
    # Files hold half the precision: a pixel on an edge may differ.
    loaded = vitrail.load(path)(photo)
    assert isinstance(loaded, vitrail.SemanticResult)
    assert (labels == loaded.labels).mean() > 0.99
    assert learner.predict(read_image(photo).rgb()).size == (64, 64)
    with pytest.raises(ParameterError, match=r"expected a name that ends in \.safetensors"):
        learner.save(folder / "mine.pt")


def test_pictures_show_input_truth_and_prediction(fitted: tuple[Path, Learner]) -> None:
    _, learner = fitted
    results = np.asarray(learner.show_results(2))
    columns = [10, 340, 670]  # left edges of the cells, 320 px each
    truth = learner.sources.validation[0].labels
    assert truth is not None
    disc = np.asarray([230, 159, 0])
    cells = [results[44 : 44 + 320, x : x + 320] for x in columns]
    assert len(results) > 2 * 350
    enlarged = cv2.resize(truth, (320, 320), interpolation=cv2.INTER_NEAREST) == 1
    assert ((cells[1] == disc).all(-1) == enlarged).mean() > 0.99
    found = (cells[2] == disc).all(-1)
    assert (found & enlarged).sum() > 0.5 * (found | enlarged).sum()
    batch = np.asarray(learner.show_batch(3))
    assert batch.shape[1] == 670 and (batch == disc).all(-1).any()  # input and truth
    assert np.asarray(learner.show_batch(2)).shape[1] == 1330  # two crops a row
    for show in (learner.show_batch, learner.show_results):
        with pytest.raises(ParameterError, match="n=0: expected at least 1"):
            show(0)


def test_each_fit_is_what_its_recipe_does(folder: Path) -> None:
    """Bit for bit, for the first fit and for one that goes on from another's weights."""
    dice = torch.random.get_rng_state()
    learner = make(folder)
    assert torch.equal(dice, torch.random.get_rng_state())
    for number, call in enumerate((learner.fit_one_cycle, learner.fit), 1):
        before = weights(learner)
        outcome = call(2, 1e-3)
        assert not same(weights(learner), before)
        recipe = learner.save_recipe(folder / f"{number}.yaml")
        assert read_recipe(recipe) == read_recipe(outcome.checkpoint.with_name("recipe.yaml"))
        again = train(recipe, out=folder / f"again-{number}", callbacks=[], quiet=True)
        states = [
            load_file(path.with_name(STATE)) for path in (outcome.checkpoint, again.checkpoint)
        ]
        assert same(states[0], states[1])
        assert same(
            {f"averaged/{name}": value for name, value in weights(learner).items()},
            {k: v for k, v in states[0].items() if k.startswith("averaged/")},
        )
    assert [one.checkpoint.parent.name for one in learner.outcomes] == [
        "discs-unet",
        "discs-unet-2",
    ]
    assert learner.recipe.train.schedule == "constant" and learner.recipe.train.warmup == 0
    assert {epoch.lr for epoch in learner.outcomes[1].history} == {1e-3}
    assert len(learner.history) == 4


def test_a_recipe_before_any_fit_names_the_checkpoint(folder: Path) -> None:
    path = make(folder).save(folder / "three.safetensors")
    merged = {"root": folder / "discs", "options": OPTIONS, "merge": MERGED}
    learner = Learner(
        merged, path, image_size=64, batch_size=4, workers=0, quiet=True, callbacks=[]
    )
    recipe = read_recipe(learner.save_recipe(folder / "two.yaml"))
    assert recipe.model.start == path
    _same_training(learner, recipe, folder)


def test_a_recipe_after_an_interrupted_fit_brings_the_weights_along(folder: Path) -> None:
    stop = Interrupt(2)
    learner = make(folder, callbacks=[stop])
    with pytest.raises(TrainingStopped):
        learner.fit(1, 1e-3)
    stop.step = None
    recipe = read_recipe(learner.save_recipe(folder / "two.yaml"))
    assert recipe.model.start == folder / "two-start.safetensors"
    _same_training(learner, recipe, folder)


def _same_training(learner: Learner, recipe: Recipe, folder: Path) -> None:
    learner._out = folder / "mine"
    mine = learner.fit_one_cycle(1)
    again = train(recipe, out=folder / "again", callbacks=[], quiet=True)
    one, two = (load_file(path.checkpoint.with_name(STATE)) for path in (mine, again))
    assert same(one, two)


def test_a_checkpoint_of_other_classes_gives_all_but_its_head(folder: Path, capsys) -> None:
    first = make(folder)
    first.fit(1)
    path = first.save(folder / "three.safetensors")
    same_classes = Learner(folder / "discs", path, options=OPTIONS, quiet=True)
    assert same_classes.recipe.model.start == path
    assert torch.equal(
        same_classes.model.state_dict()["head.weight"],
        first.model.state_dict()["head.weight"].half().float(),
    )
    merged = {"root": folder / "discs", "options": OPTIONS, "merge": MERGED}
    learner = Learner(merged, path)
    told = capsys.readouterr().out
    assert "another number of classes than the data: head.weight, head.bias start afresh" in told
    assert learner.model.classes == 2 and learner.space.classes == ("background", "thing")
    taken, given = learner.model.state_dict(), load_file(path)
    assert taken["head.weight"].shape[0] == 2
    assert all(torch.equal(taken[k], v.float()) for k, v in given.items() if "head" not in k)


def test_a_packaged_model_is_a_start(folder: Path) -> None:
    learner = make(folder, model="subjects", arguments=None)
    assert learner.recipe.name == "discs-subjects-unet-mobilenetv2"
    assert learner.recipe.model.architecture == "unet"
    assert learner.recipe.preprocessing.image_size == 64


def test_the_encoder_can_be_frozen(folder: Path) -> None:
    learner = make(folder)

    def moved() -> set[str]:
        before = weights(learner)
        learner.fit(1, 1e-3)
        after = weights(learner)
        return {k.split(".")[0] for k in before if not torch.equal(before[k], after[k])}

    learner.freeze()
    assert moved() == {"decoder", "head"}
    learner.unfreeze()
    assert moved() == {"encoder", "decoder", "head"}


def test_the_rate_that_was_found_is_taken(folder: Path) -> None:
    learner = make(folder, lr=2e-4, quiet=False)
    before = weights(learner)
    assert learner.suggested_lr is None
    curve = learner.lr_find(20)
    assert learner.suggested_lr == curve.suggestion and curve.plot().shape == (480, 960, 3)
    assert same(weights(learner), before) and not (folder / "runs").exists()
    learner.fit_one_cycle(1)
    assert learner.recipe.train.lr == curve.suggestion
    learner.fit_one_cycle(1, 3e-4)
    assert learner.recipe.train.lr == 3e-4


def test_an_interrupted_fit_goes_on(folder: Path) -> None:
    through = make(folder, out=folder / "through")
    through.fit_one_cycle(2, 1e-3)
    through.fit_one_cycle(2, 1e-3)
    stop = Interrupt(-1)
    learner = make(folder, callbacks=[stop])
    learner.fit_one_cycle(2, 1e-3)
    stop.step, before = 3, weights(learner)
    with pytest.raises(TrainingStopped, match="epoch 2 after step 1; the same call with resume=Tr"):
        learner.fit_one_cycle(2, 1e-3)
    assert not same(weights(learner), before)  # as far as they had come
    assert learner.predict(folder / "discs/val/images/disc_001.png").size == (64, 64)
    assert learner.validate()["mean_iou"] > 0 and len(learner.outcomes) == 1
    with pytest.raises(ConfigError, match=r"train\.epochs was 2, is 3"):
        learner.fit_one_cycle(3, 1e-3, resume=True)
    stop.step = None
    learner.fit_one_cycle(2, 1e-3, resume=True)
    assert same(weights(learner), weights(through))
    # Nothing is left to do, and in another process as well.
    assert learner.fit_one_cycle(2, 1e-3, resume=True).history == learner.outcomes[1].history
    assert len(learner.outcomes) == 2
    other = make(folder)
    other.fit_one_cycle(2, 1e-3, resume=True)
    assert same(weights(other), weights(through))


def test_a_fit_that_fails_leaves_the_weights(folder: Path) -> None:
    learner = make(folder)
    before = weights(learner)
    with pytest.raises(VitrailError, match="not a number"):
        learner.fit(3, 1e30)
    assert same(weights(learner), before)
    learner.fit(1, 1e-3)
    assert learner.outcomes[0].checkpoint.parent.name == "discs-unet-2"


def test_a_set_of_one_part_is_divided(tmp_path: Path, capsys) -> None:
    for name in ("images", "masks"):
        (tmp_path / "set" / name).mkdir(parents=True)
    for index, (image, labels) in enumerate(discs(10)):
        cv2.imwrite(str(tmp_path / "set" / "images" / f"{index}.png"), image)
        cv2.imwrite(str(tmp_path / "set" / "masks" / f"{index}.png"), labels)

    def parts(**more) -> tuple[list[str], list[str]]:
        learner = Learner(tmp_path / "set", arguments=TINY, **more)
        return list(learner.sources.training.ids), list(learner.sources.validation.ids)

    training, validation = parts()
    assert "20% of the images" in capsys.readouterr().out
    assert len(training) == 8 and len(validation) == 2 and not {*training} & {*validation}
    assert parts() == (training, validation) != parts(seed=1)
    assert [len(part) for part in parts(val=0.4)] == [6, 4]


class Thin(SemanticModel):
    """A network of somebody's own."""

    stride = 1

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = self.channels = classes
        self.layer = nn.Conv2d(3, classes, 3, padding=1)

    def forward(self, images: Tensor) -> RawOutput:
        return RawOutput(self.layer(images))


def test_sources_and_networks_of_ones_own(folder: Path) -> None:
    dataset = open_dataset(folder / "discs", None, OPTIONS)
    pair = dataset["train"], dataset["val"]
    network = Thin(3)
    learner = Learner(pair, network, image_size=64, workers=0, out=folder / "runs", quiet=True)
    before = network.layer.weight.detach().clone()
    outcome = learner.fit(1, 1e-2)
    assert learner.model is network and not torch.equal(network.layer.weight, before)
    assert outcome.checkpoint.is_file() and not outcome.checkpoint.with_name("recipe.yaml").exists()
    assert learner.predict(pair[1][0].image).size == (64, 64)
    with pytest.raises(ConfigError, match="no recipe can name these data and this network"):
        learner.save_recipe(folder / "x.yaml")
    with pytest.raises(ConfigError, match="Thin has no encoder to freeze"):
        learner.freeze()
    with pytest.raises(ConfigError, match="the network has 2 classes, the data 3"):
        Learner(pair, Thin(2))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"wrokers": 1}, "Learner has no setting 'wrokers'; did you mean 'workers'"),
        ({"epochs": 1}, "epochs: said to fit_one_cycle or fit"),
        ({"batch_size": 0}, "Learner: train.batch_size=0"),
        ({"loss": "dicey"}, "no loss is called 'dicey'; did you mean 'dice'"),
        ({"monitor": "mean_io"}, "did you mean 'mean_iou'"),
        ({"model": "unett"}, "no model is called 'unett'; did you mean 'unet'"),
        ({"model": 3}, "model: expected the name"),
        ({"model": "subjects"}, "arguments and encoder_weights are for an architecture"),
        ({"model": "none.safetensors", "arguments": None}, "none.safetensors"),
        ({"arguments": {"encoder": "resnet1"}}, "resnet1"),
        ({"val": "test"}, "val='test': .* has the splits train, val"),
        ({"val": 1.5}, "val=1.5: expected a split's name or a share"),
        ({"val": "train"}, None),
        ({"name": "A B"}, "Learner: name='A B'"),
        ({"format": "cocoo"}, "cocoo"),
        ({"augment": {"flips": 1}}, "unknown key 'augment.flips'"),
    ],
)
def test_mistakes(given: dict, told: str | None, folder: Path) -> None:
    if told is None:  # the other way round than usual, but said
        assert len(make(folder, **given).sources.validation) == 8
        return
    errors = (ParameterError, ConfigError, UnknownNameError, VitrailError)
    with pytest.raises(errors, match=told):
        make(folder, **given)
    assert not (folder / "runs").exists()


def test_data_of_no_known_kind(folder: Path) -> None:
    with pytest.raises(ParameterError, match="data: expected the path of a data set"):
        Learner(3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ParameterError, match="are for a data set that is given as a path"):
        Learner({"root": folder}, val=0.2)
    with pytest.raises(ConfigError, match=r"Learner: train\.epochs=0"):
        make(folder).fit_one_cycle(0)
