"""``vitrail train`` from the command line."""

from pathlib import Path

from tests.cli.test_predict import run
from tests.drawn import write_recipe
from vitrail.weights.header import read_card


def test_a_recipe_becomes_a_model_that_predicts(tmp_path: Path, capsys) -> None:
    recipe = write_recipe(tmp_path)
    assert run("train", recipe, "train.epochs=2", "-o", tmp_path / "runs") == 0
    checkpoint = tmp_path / "runs" / "tiny" / "tiny.safetensors"
    assert "epoch 2/2" in capsys.readouterr().out
    card = read_card(checkpoint)
    assert str(tmp_path) not in card.scores[0].command  # paths of this machine stay here
    photo = next((tmp_path / "discs" / "val" / "images").iterdir())
    assert run("predict", photo, "-m", checkpoint, "-o", tmp_path / "out") == 0
    assert (tmp_path / "out" / f"{photo.stem}.labels.png").is_file()


def test_a_bad_recipe_is_one_line(tmp_path: Path, capsys) -> None:
    assert run("train", write_recipe(tmp_path), "train.epoch=2", "-o", tmp_path / "runs") == 1
    error = capsys.readouterr().err.strip()
    assert "unknown key 'train.epoch'; did you mean 'epochs'" in error and "\n" not in error
    assert not (tmp_path / "runs").exists()
