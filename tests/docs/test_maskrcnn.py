"""docs/maskrcnn.md: its examples run, its recipe is one, and its tables are those of the code."""

import importlib.util
import re
from pathlib import Path

import pytest

from vitrail.models.registry import validate_arguments
from vitrail.training.config import read_recipe

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "maskrcnn.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("block", "told"),
    list(
        zip(
            re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL),
            ["matterport", "(32, 40), (16, 20), (8, 10), (4, 5), (2, 3)", "'rpn_bbox'"],
            strict=True,
        )
    ),
    ids=["build", "decode", "loss"],
)
def test_the_examples_run(block: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(block, "maskrcnn.md", "exec"), {})
    assert told in capsys.readouterr().out


def test_the_recipe_is_one(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "shapes.yaml"
    path.write_text(block, "utf-8")
    model = read_recipe(path).model
    built = validate_arguments(model.architecture, {**model.arguments, "classes": 2})
    assert built.model_dump()["frozen_norm"]


def test_the_tables_are_up_to_date() -> None:
    path = ROOT / "docs" / "make_family_table.py"
    spec = importlib.util.spec_from_file_location("make_family_table", path)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.page(PAGE) == PAGE, "run python docs/make_family_table.py"
    assert "| `inclusive` | false | false | false | true |\n" in PAGE
    assert "| `sampling.region_iou` | 0.5 |" in PAGE


def test_files_it_names_exist() -> None:
    linked = re.findall(r"\]\((\w+\.md)\)", PAGE)
    assert linked and all((ROOT / "docs" / name).is_file() for name in linked)
    steps = re.findall(r"`((?:nn/)?\w+\.py)`", PAGE)
    assert len(steps) > 6
    for name in steps:
        folder = "src/vitrail" if name.startswith("nn/") else "src/vitrail/models/maskrcnn"
        assert (ROOT / folder / name).is_file(), name
