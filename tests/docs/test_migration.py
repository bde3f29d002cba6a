"""docs/migration.md: every name, command and key that it gives exists."""

import ast
import importlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main

import vitrail
import vitrail.compat.mrcnn.model as modellib
from vitrail.cli.main import app
from vitrail.losses import build_loss
from vitrail.models.registry import ARCHITECTURES
from vitrail.predict.network_params import DetectorParams
from vitrail.predict.segmenter import known_names
from vitrail.result import InstanceResult, Masks, SemanticResult
from vitrail.training.config import read_recipe

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "migration.md").read_text("utf-8")
OURS = [
    snippet
    for row in PAGE.splitlines()
    if row.startswith("| ")
    for cell in row.strip("| ").split(" | ")[1:]
    for snippet in re.findall(r"`([^`]+)`", cell)
]
"""What the columns to the right of the first say."""


def objects() -> InstanceResult:
    masks = Masks.from_dense(np.ones((1, 4, 5), bool))
    boxes, scores, classes = np.array([[0, 0, 5, 4]]), np.array([0.9]), np.array([0])
    return InstanceResult(boxes, scores, classes, masks, ("person",), size=(4, 5))


KNOWN: dict[str, tuple[Any, ...]] = {
    "result": (objects(), SemanticResult(np.zeros((4, 5), np.uint8), ("background", "cat"))),
    "learner": (vitrail.Learner,),
    "model": (modellib.MaskRCNN,),
    "segmenter": (vitrail.Segmenter,),
}
"""What the first names of a snippet may be."""


def dotted_names(snippet: str) -> list[str]:
    """``a.b.c`` of every such name in an expression; of what a call returns, as of a result."""
    tree = ast.parse(snippet)
    outermost = {id(one): one for one in ast.walk(tree) if isinstance(one, ast.Attribute)}
    for one in list(outermost.values()):
        outermost.pop(id(one.value), None)
    found = [ast.unparse(one) for one in outermost.values()]
    return [
        name if name.replace(".", "").isidentifier() else f"result.{name.rpartition('.')[2]}"
        for name in found
    ]


def is_there(name: str) -> bool:
    first, *rest = name.split(".")
    if first == "vitrail":
        return importable(name)
    if first not in KNOWN:
        return False
    return any(has(one, rest) for one in KNOWN[first])


def has(owner: Any, names: list[str]) -> bool:
    for name in names:
        if not hasattr(owner, name):
            return False
        owner = getattr(owner, name)
    return True


def importable(name: str) -> bool:
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            module = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        return has(module, parts[count:])
    return False


PYTHON = [
    one
    for one in OURS
    if re.match(r"(segmenter = )?(result|learner|model|segmenter|vitrail)[.(\[]|len\(", one)
]
COMMANDS = [one for one in OURS if one.startswith("vitrail ")]


def test_snippets_were_found() -> None:
    assert len(PYTHON) > 50 and len(COMMANDS) > 10


@pytest.mark.parametrize("snippet", sorted(set(PYTHON)))
def test_names_exist(snippet: str) -> None:
    names = dotted_names(snippet)
    assert names or snippet == "len(result)" or snippet.startswith("segmenter(")
    missing = [name for name in names if not is_there(name)]
    assert not missing
    for call in re.findall(r'vitrail\.load\("([a-z0-9-]+)"', snippet):
        assert call in known_names()
    for settings in re.findall(r"vitrail\.load\(name, ([^)]*)\)", snippet):
        for key in re.findall(r"(\w+)=", settings):
            assert key in {*DetectorParams.model_fields, "weights"}


@pytest.mark.parametrize("snippet", sorted(set(COMMANDS)))
def test_commands_exist(snippet: str) -> None:
    command: Any = typer.main.get_command(app)
    words = snippet.split()[1:]
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    known = {option for one in command.params for option in one.opts}
    assert not [word for word in words if word.startswith("--") and word not in known]
    overrides = [word for word in words if re.match(r"[a-z_.]+=", word)]
    if overrides:
        read_recipe(ROOT / "recipes" / "voc.yaml", overrides)


def test_keys_and_names_of_parts_exist() -> None:
    assert {"train.freeze_stages=2", 'loss="dice"', '"deeplab-v3plus"'} <= set(OURS)
    for stages in (2, 3, 4, 0):
        read_recipe(ROOT / "recipes" / "voc.yaml", [f"train.freeze_stages={stages}"])
    for name in ("ce", "dice", "focal", "tversky", "ce + dice"):
        build_loss(name)
    for row in re.findall(r"^\| `smp\.FPN`.*$", PAGE, re.MULTILINE):
        architectures = re.findall(r'`"([a-z0-9-]+)"`', row)
        assert len(architectures) == 5 and set(architectures) <= set(ARCHITECTURES)
    for name in re.findall(r'`"((?:fcn|lraspp|deeplabv3)-[a-z0-9]+-coco)"`', PAGE):
        assert name in known_names()
