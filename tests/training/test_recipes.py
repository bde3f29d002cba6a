"""The recipes of tutorials run from data in the published layout to a scored model."""

import json
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from tests.cli.test_predict import run
from tests.data.formats.drawn_pet import write_pets
from tests.data.formats.drawn_voc import write_voc
from vitrail.training.config import Recipe, read_recipe
from vitrail.training.data import open_sources
from vitrail.weights.header import read_card

RECIPES = Path(__file__).parents[2] / "recipes"

FEW = ["train.epochs=1", "train.workers=0", "train.batch_size=2"]
OFFLINE = ["model.encoder_weights=null", "model.arguments.encoder=mobilenetv2_035"]
NARROW = ["model.arguments.decoder_channels=[16,16,8,8]"]


def write_salt(root: Path, count: int = 10) -> Path:
    """As Kaggle's: grey stored as RGB, masks of 16 bits, 0 and 65535, some without salt."""
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for index in range(count):
        mask = np.zeros((101, 101), np.uint16)
        if index % 3:
            cv2.circle(mask, tuple(int(v) for v in rng.integers(20, 80, 2)), 25, 65535, -1)
        grey = (rng.integers(0, 90, mask.shape) + 120 * (mask > 0)).astype(np.uint8)
        name = f"{index:02x}ab34fe.png"
        PIL.Image.fromarray(grey).convert("RGB").save(root / "images" / name)
        PIL.Image.fromarray(mask).save(root / "masks" / name)
    return root


def trained(name: str, root: Path, tmp_path: Path, *settings: str) -> Path:
    """The checkpoint of a recipe after one epoch on the drawn data."""
    recipe = RECIPES / f"{name}.yaml"
    changes = [f"data.root={root}", *FEW, *settings]
    assert run("train", recipe, *changes, "-o", tmp_path / "runs") == 0
    named = read_recipe(recipe).name
    return tmp_path / "runs" / named / f"{named}.safetensors"


def score(checkpoint: Path, root: Path, tmp_path: Path, *options: str) -> dict:
    """What ``vitrail evaluate`` writes, with all protocols."""
    path = tmp_path / "scores.json"
    assert run("evaluate", checkpoint, root, *options, "--explain", "--json", path) == 0
    return json.loads(path.read_text("utf-8"))


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_is_valid_and_says_how_it_is_run(path: Path) -> None:
    recipe = read_recipe(path)
    head = path.read_text("utf-8").split("\nname:")[0]
    assert all(line.startswith("#") for line in head.splitlines())
    assert f"vitrail train recipes/{path.name} data.root=" in head
    assert recipe.training_data != "not described"


def test_pets(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write_pets(tmp_path)
    root = tmp_path / "oxford-iiit-pet"
    checkpoint = trained("oxford-pet", root, tmp_path, *OFFLINE, *NARROW)
    card = read_card(checkpoint)
    assert card.classes == ("pet", "background", "border") and card.background == 1
    assert card.scores[0].split == "test" and card.preprocessing.resize == "stretch"
    assert score(checkpoint, root, tmp_path, "--split", "test")["images"] == 2


def test_voc(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write_voc(tmp_path)
    root = tmp_path / "VOCdevkit" / "VOC2012"
    parts = "parts={train: 2, val: 2, test: 1}"
    settings = [f"data.options.{parts}", *OFFLINE, *NARROW]
    checkpoint = trained("voc", root, tmp_path, *settings)
    card = read_card(checkpoint)
    assert len(card.classes) == 22 and card.classes[21] == "void"
    options = ["--option", parts, "--option", "void=class", "--option", "objects=false"]
    assert score(checkpoint, root, tmp_path, *options, "--split", "test")["images"] == 1


def test_salt(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    root = write_salt(tmp_path / "train")
    checkpoint = trained("salt", root, tmp_path)
    card = read_card(checkpoint)
    assert card.classes == ("background", "salt")
    said = score(checkpoint, root, tmp_path, "--format", "binary-masks", "--option", "name=salt")
    assert said["images"] == 10
    photo = next((root / "images").iterdir())
    assert run("predict", photo, "-m", checkpoint, "-o", tmp_path / "out") == 0
    with PIL.Image.open(tmp_path / "out" / f"{photo.stem}.labels.png") as labels:
        assert labels.size == (101, 101)


def settings_of(recipe: Recipe) -> tuple:
    train = recipe.train
    return (
        (train.image_size, recipe.preprocessing.image_size, train.batch_size, train.epochs),
        (train.optimizer, train.lr, train.weight_decay, train.schedule, train.warmup),
        (train.grad_clip, train.ema_decay, train.accumulate, recipe.loss),
    )


@pytest.mark.parametrize(
    ("name", "sizes", "loss"),
    [
        ("oxford-pet", (128, 128, 64, 20), "ce"),
        ("voc", (224, 224, 32, 30), "ce"),
        ("salt", (128, 128, 32, 200), "bce"),
    ],
)
def test_the_settings_are_the_tutorials(name: str, sizes: tuple, loss: str) -> None:
    """Plain Adam at its default rate, at the tutorial's size, batch and number of epochs."""
    recipe = read_recipe(RECIPES / f"{name}.yaml")
    assert settings_of(recipe) == (
        sizes,
        ("adamw", 1e-3, 0, "constant", 0),
        (None, 0, 1, loss),
    )
    assert recipe.train.freeze_encoder is (name != "salt")


def test_salt_is_dealt_with_the_same_share_of_images_with_salt(tmp_path: Path) -> None:
    root = write_salt(tmp_path / "train", count=30)
    sources = open_sources(read_recipe(RECIPES / "salt.yaml", [f"data.root={root}"]).data)
    assert [len(part) for part in sources] == [24, 6]
    with_salt = [
        sum(bool(sample.semantic(part.space).any()) for sample in part) for part in sources
    ]
    assert with_salt == [16, 4]
