"""Recipes: what is read, and how mistakes in them are named."""

from pathlib import Path

import pytest

from vitrail.errors import ConfigError
from vitrail.training.config import read_recipe

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_is_valid(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.name and recipe.summary and recipe.training_data != "not described"
    assert "not stated" not in recipe.licences.model_dump().values()
    command = f"vitrail train recipes/{path.name}"
    assert command in path.read_text("utf-8"), "says how to run it"


def test_overrides_are_yaml() -> None:
    recipe = read_recipe(
        RECIPES / "subjects.yaml",
        [
            "train.epochs=3",
            "augment.scale=[1.0, 2]",
            "data.root=/some/where",
            "model.encoder_weights=null",
        ],
    )
    assert recipe.train.epochs == 3
    assert recipe.augment.scale == (1.0, 2.0)
    assert recipe.data.root == Path("/some/where")
    assert recipe.model.encoder_weights is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epoch=3", r"unknown key 'train.epoch'; did you mean 'epochs'"),
        ("augmnt.flip=0", r"unknown key 'augmnt'; did you mean 'augment'"),
        ("train.epochs=many", r"train.epochs='many': .*integer"),
        ("train.lr=-1", r"train.lr=-1: .*greater than 0"),
        ("name=My Model", r"name='My Model': string should match pattern"),
        ("name=../../x", r"name='../../x'"),
        ("name=last", r"name='last': a file of this name"),
        ("train.batch_size=many", r"train.batch_size='many': .* or input should be 'auto'"),
        ("data.train={image: a, masks: b}", r"data.train.images is missing; unknown key 'data.tr"),
        ("data.draw={foldds: 3}", r"unknown key 'data.draw.foldds'; did you mean 'folds'"),
        ("loss=dise", r"no loss is called 'dise'; did you mean"),
        ("data.background=7", r"data: background=7 is none of the 3 class ids"),
        ("data.ignore=1", r"data: ignore=1 is the id of 'person'"),
        ("data.classes=[a, a]", r"data: classes holds a name twice"),
        ("augment.scale=[0, 1]", r"augment: scale=\[0.0, 1.0\]: expected 0.05 <= low"),
        ("augment.scale=[2, 1]", r"augment: scale=\[2.0, 1.0\]"),
        ("train.epochs=2001-13-45", r"not valid YAML"),
        ("augment.flip=1.5", r"augment.flip=1.5: .*less than or equal to 1"),
        ("train.precision=double", r"train.precision='double'"),
        ("epochs", r"expected section.key=value"),
        ("name.sub=3", r"name is a value, not a section"),
        ("train.lr=[", r"not valid YAML"),
    ],
)
def test_mistakes_are_named(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_recipe(RECIPES / "subjects.yaml", [override])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b\n", "expected a mapping of sections, got list"),
        ("a: [", "not valid YAML"),
        ("name: x\n", "data is missing"),
    ],
)
def test_files_that_are_no_recipe(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=message):
        read_recipe(path)


def test_a_missing_recipe(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.yaml: cannot be read \(No such file"):
        read_recipe(tmp_path / "none.yaml")
