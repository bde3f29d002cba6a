"""What scripts write into docs/ is up to date: tables, model cards, figures."""

import re
from pathlib import Path

from tests.docs.fences import ROOT
from tests.docs.scripts import script
from vitrail.models.registry import ARCHITECTURES
from vitrail.weights.catalog import catalog

DOCS = ROOT / "docs"


def read(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def test_the_tables_of_recipe_keys() -> None:
    page = read("training.md")
    assert script("make_recipe_table").page(page) == page, "run python docs/make_recipe_table.py"
    assert "| `layer_decay` |" in page and "### `data.draw`" in page


def test_the_tables_of_the_detectors() -> None:
    page = read("maskrcnn.md")
    assert script("make_family_table").page(page) == page, "run python docs/make_family_table.py"
    assert "| `inclusive` | false | false | false | false | true |\n" in page
    assert "| `sampling.region_iou` | 0.5 |" in page


def test_the_tables_of_arguments() -> None:
    pages = script("make_argument_tables").pages()
    stale = [path.name for path, (old, new) in pages.items() if old != new]
    assert not stale, "run python docs/make_argument_tables.py"
    text = "".join(old for old, _ in pages.values())
    assert "| `output_stride` | `16` | `8`, `16` |" in text
    assert "| `dropout` | `0.5` | ≥ 0, < 1 |" in text


def test_every_architecture_has_a_table_and_stands_in_the_overview() -> None:
    pages = "".join(path.read_text("utf-8") for path in (DOCS / "architectures").glob("*.md"))
    tables = set(re.findall(r"<!-- arguments of ([a-z0-9-]+):", pages))
    assert tables | {"mask-rcnn", "faster-rcnn"} == set(ARCHITECTURES)  # theirs: maskrcnn.md
    assert set(re.findall(r"^\| `([a-z0-9-]+)` \|", read("models.md"), re.MULTILINE)) >= set(
        ARCHITECTURES
    )


def test_the_model_cards() -> None:
    page = read("model-cards.md")
    assert script("make_model_cards").page() == page, "run python docs/make_model_cards.py"
    for name in catalog():
        assert f"\n## {name}\n" in page and f"(#{name})" in page


def test_the_figures(tmp_path: Path) -> None:
    figures = script("make_architecture_figures")
    assert set(figures.FIGURES) == set(ARCHITECTURES)
    drawn = sorted(figures.FOLDER.iterdir())
    assert [path.name for path in drawn] == sorted(f"{name}.svg" for name in ARCHITECTURES)
    assert sum(path.stat().st_size for path in drawn) < 1_000_000
    again = figures.draw("unet-plain", tmp_path)  # the quickest of them
    assert again.read_text("utf-8") == (figures.FOLDER / "unet-plain.svg").read_text("utf-8")


def test_the_pictures_are_those_of_the_script() -> None:
    names = {f"{name}.jpg" for name in script("make_pictures").PICTURES}
    assert {path.name for path in (DOCS / "images").iterdir()} == names


def test_every_recipe_is_told_of() -> None:
    page = read("recipes.md")
    for path in (ROOT / "recipes").glob("*.yaml"):
        assert f"`{path.name}`" in page, path.name
