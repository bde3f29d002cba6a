"""The walkthroughs: what is stored in them, and that they run from top to bottom, offline."""

import base64
import io
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
NAMES = (
    "01-classical",
    "02-unet-pet",
    "03-unet-voc",
    "04-mask-rcnn-photo",
    "05-train-mask-rcnn",
    "06-losses",
    "07-architectures",
    "08-applications",
)
MOST_BYTES, MOST_LINES, WIDEST = 900_000, 15, 1100
PICTURES = ("image/jpeg", "image/png")

every = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> nbformat.NotebookNode:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def pictures(cell: nbformat.NotebookNode) -> list[bytes]:
    """What a cell shows, decoded."""
    shown = (output.get("data", {}) for output in cell.outputs)
    return [base64.b64decode(data[kind]) for data in shown for kind in PICTURES if kind in data]


def texts(cell: nbformat.NotebookNode) -> list[str]:
    """The source and all that is printed or written as text."""
    found = [cell.source]
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        written = [value for kind, value in data.items() if kind not in PICTURES]
        found += [str(output.get("text", "")), *map(str, written)]
    return found


def test_all_are_there() -> None:
    assert [path.stem for path in NOTEBOOKS] == list(NAMES)


@every
def test_size_and_metadata(path: Path) -> None:
    """Small, with names for the cells that stay, and nothing of the machine that ran it."""
    assert path.stat().st_size < MOST_BYTES
    notebook = read(path)
    assert notebook.metadata.kernelspec.name == "python3"
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert [name for name in ids if not re.fullmatch(r"[a-z][a-z0-9-]*-\d\d", name)] == []
    assert [cell.id for cell in notebook.cells if "execution" in cell.metadata] == []


@every
def test_says_what_and_what_next(path: Path) -> None:
    cells = read(path).cells
    assert cells[0].cell_type == "markdown" and cells[0].source.startswith("# ")
    assert "what you need" in cells[0].source.lower()
    assert cells[-1].cell_type == "markdown" and "next" in cells[-1].source.lower()


@every
def test_code_is_short_and_public(path: Path) -> None:
    """No long cell, no name that begins with an underscore, nothing of the tests."""
    for cell in code_cells(path):
        lines = [line for line in cell.source.splitlines() if line.strip()]
        assert len(lines) <= MOST_LINES, cell.id
        assert not re.search(r"\w\._[a-z]|import _[a-z]|\btests\b", cell.source), cell.id


@every
def test_outputs_are_stored(path: Path) -> None:
    """As they come when it is run once, from top to bottom, without an error or a warning."""
    cells = code_cells(path)
    counts = [cell.execution_count for cell in cells]
    assert counts == list(range(1, len(cells) + 1))
    for cell in cells:
        kinds = [(output.output_type, output.get("name")) for output in cell.outputs]
        assert ("stream", "stderr") not in kinds, cell.id
        assert "error" not in [kind for kind, _ in kinds], cell.id
        mimes = {mime for output in cell.outputs for mime in output.get("data", {})}
        assert not [mime for mime in mimes if "widget" in mime], cell.id
    shown = [picture for cell in cells for picture in pictures(cell)]
    assert len(shown) >= 3
    for picture in shown:
        image = Image.open(io.BytesIO(picture))
        image.load()
        assert image.width <= WIDEST
        low, high = zip(*image.convert("RGB").getextrema(), strict=True)
        assert max(high) - min(low) > 30  # a picture of one colour shows nothing


@every
def test_nothing_of_a_machine(path: Path) -> None:
    """No absolute path, no progress bar."""
    foreign = re.compile(r"(?<![\w.:/])/(?:home|tmp|root|work|usr|opt|var|Users|mnt)/|[A-Z]:\\")
    for cell in read(path).cells:
        for text in texts(cell):
            assert not foreign.search(text), f"{cell.id}: {text:.200}"
            assert "\r" not in text and "\x1b[" not in text, cell.id


@every
def test_links_lead_somewhere(path: Path) -> None:
    text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    assert [link for link in links if not (FOLDER / link).exists()] == []
    recipes = re.findall(r"\brecipes/[\w.-]+\w", text)
    assert [recipe for recipe in recipes if not (ROOT / recipe).exists()] == []


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=() if path.stem == NAMES[0] else pytest.mark.slow)
        for path in NOTEBOOKS
    ],
)
def test_runs(path: Path, tmp_path: Path) -> None:
    """Every cell, in a folder of its own; each shows as many pictures as are stored."""
    stored = {cell.id: len(pictures(cell)) for cell in code_cells(path)}
    notebook = read(path)
    where = {"metadata": {"path": str(tmp_path)}}
    client = NotebookClient(notebook, timeout=1200, kernel_name="python3", resources=where)
    client.execute()  # raises CellExecutionError, with the cell and its traceback
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert {cell.id: len(pictures(cell)) for cell in cells} == stored
