"""``vitrail.train``: the command line's training as one call."""

import inspect
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

import vitrail
from tests.drawn import write_recipe
from vitrail.errors import ConfigError, ParameterError
from vitrail.training.api import train, training_command
from vitrail.training.config import read_recipe
from vitrail.training.loop import STATE
from vitrail.training.records import Callback, Epoch, Validation
from vitrail.weights.header import read_card

FEW = ("train.epochs=1", "train.finish_epochs=0", "train.preflight=false")


class Count(Callback):
    def __init__(self) -> None:
        self.epochs = 0

    def on_epoch(self, epoch: Epoch, validation: Validation) -> None:
        self.epochs += 1


def test_a_path_a_mapping_and_a_recipe_are_the_same(tmp_path: Path, capsys) -> None:
    path = write_recipe(tmp_path)
    content = yaml.safe_load(path.read_text("utf-8"))
    before = yaml.safe_dump(content)
    states: list[dict[str, torch.Tensor]] = []
    for number, recipe in enumerate((path, str(path), content, read_recipe(path))):
        outcome = vitrail.train(recipe, *FEW, out=tmp_path / str(number), callbacks=[], quiet=True)
        assert outcome.checkpoint == tmp_path / str(number) / "tiny" / "tiny.safetensors"
        assert len(outcome.history) == 1
        states.append(load_file(outcome.checkpoint.with_name(STATE)))
    assert capsys.readouterr().out == ""
    assert yaml.safe_dump(content) == before  # the caller's own
    for state in states[1:]:
        assert state.keys() == states[0].keys()
        assert all(torch.equal(state[name], states[0][name]) for name in state)
    # What was made in Python can be run again; what lies in a file is named.
    assert not (tmp_path / "0" / "tiny" / "recipe.yaml").exists()
    written = tmp_path / "2" / "tiny" / "recipe.yaml"
    told = ("loss=ce + dice", "train.monitor=mean_iou")  # what null stands for is written out
    assert read_recipe(written) == read_recipe(path, [*FEW, *told])
    assert read_card(tmp_path / "2" / "tiny" / "tiny.safetensors").training_command == (
        "vitrail train recipe.yaml"
    )


def test_what_watches_by_default_tells_and_writes(tmp_path: Path, capsys) -> None:
    path = write_recipe(tmp_path)
    train(path, "train.epochs=2", "train.finish_epochs=0", "train.trackers=[]", out=tmp_path / "o")
    told = capsys.readouterr().out
    assert "one batch: the loss falls" in told and "epoch 2/2" in told
    assert (tmp_path / "o" / "tiny" / "report.html").is_file()
    quiet = train(path, *FEW, "train.trackers=[]", out=tmp_path / "q", quiet=True)
    assert capsys.readouterr().out == ""
    assert quiet.checkpoint.with_name("history.csv").is_file()


def test_resume_and_overwrite(tmp_path: Path) -> None:
    path, count = write_recipe(tmp_path), Count()
    more = {"out": tmp_path / "runs", "callbacks": [count], "quiet": True}
    train(path, *FEW, **more)
    with pytest.raises(ConfigError, match="exists already"):
        train(path, *FEW, **more)
    assert train(path, *FEW, **more, resume=True).history and count.epochs == 1  # was done
    train(path, *FEW, **more, overwrite=True)
    assert count.epochs == 2
    with pytest.raises(ParameterError, match="resume and overwrite"):
        train(path, *FEW, **more, resume=True, overwrite=True)


@pytest.mark.parametrize(
    ("recipe", "overrides", "told"),
    [
        (7, (), "recipe: expected a path, a mapping or a Recipe, got int"),
        ({"name": "x"}, (), "recipe: summary is missing"),
        ({"name": "x", "trian": {}}, (), "unknown key 'trian'; did you mean 'train'"),
        ("none.yaml", (), "none.yaml: cannot be read"),
        ({}, (["train.epochs=1"],), "expected a text such as 'train.epochs=3'"),
        ({}, ("train.epochs",), "expected section.key=value"),
    ],
)
def test_mistakes(recipe, overrides: tuple, told: str, tmp_path: Path) -> None:
    with pytest.raises((ConfigError, ParameterError), match=told):
        train(recipe, *overrides, out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_the_command_leaves_out_where_files_lie(tmp_path: Path) -> None:
    command = training_command(tmp_path / "a.yaml", [f"data.root={tmp_path / 'set'}", "train.lr=1"])
    assert command == "vitrail train a.yaml data.root=set train.lr=1"
    assert training_command(Path("recipes/a.yaml")) == "vitrail train recipes/a.yaml"


def test_the_function_is_no_module() -> None:
    assert inspect.isfunction(vitrail.train)
