"""docs/training.md: its examples run as they stand, and it names every key of a recipe."""

import importlib.util
import re
from pathlib import Path

import cv2
import pytest

from tests.drawn import discs, write_discs

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "training.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small set, a photo and the page's recipe, to be in."""
    monkeypatch.chdir(tmp_path)
    write_discs(tmp_path / "shapes", train=8, val=2)
    cv2.imwrite("photo.png", discs(1)[0][0])
    (tmp_path / "shapes.yaml").write_text(blocks(PAGE, "yaml")[0], "utf-8")
    return tmp_path


@pytest.mark.parametrize("block", blocks(PAGE, "python"), ids=["train", "learner"])
def test_the_examples_run(block: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(block, "training.md", "exec"), {})
    assert "epoch 2/2" in capsys.readouterr().out
    assert list((here / "runs").glob("*/report.html"))


def test_the_example_of_the_readme_runs(here: Path) -> None:
    (block,) = blocks(README, "py")
    (here / "shapes").rename(here / "PATH")
    smaller = block.replace("image_size=192", "image_size=64, workers=0").replace("(5)", "(1)")
    assert smaller != block
    exec(compile(smaller.replace("lr_find()", "lr_find(10)"), "README.md", "exec"), {})
    assert (here / "mine.safetensors").is_file()


def test_the_tables_of_keys_are_up_to_date() -> None:
    path = ROOT / "docs" / "make_recipe_table.py"
    spec = importlib.util.spec_from_file_location("make_recipe_table", path)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.page(PAGE) == PAGE, "run python docs/make_recipe_table.py"
    assert "| `layer_decay` |" in PAGE and "### `data.draw`" in PAGE
