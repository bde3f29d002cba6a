"""Every fenced block of README.md and docs/ runs, or is checked as far as that is possible offline.

Python runs as it stands, page by page, beside what ``prepared.py`` makes. Of shell blocks every
``vitrail ...`` is parsed by the command line itself and then runs, unless ``PARSED_ONLY`` says why
not; recipes and the changes to them are read. YAML is read as a recipe. What a block of any other
language may hold is said in ``LANGUAGES``.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import pytest
import typer
import typer.main
import yaml

from tests.docs.fences import ROOT, Block, blocks, commands, is_transcript
from tests.docs.prepared import SETTINGS, Setting, labelled, photo, photos
from vitrail.cli.main import app
from vitrail.losses import build_loss
from vitrail.models.registry import ARCHITECTURES, validate_arguments
from vitrail.predict.segmenter import known_names
from vitrail.training.config import read_recipe

BLOCKS = blocks()
LANGUAGES = {
    "python": "runs",
    "py": "runs",
    "sh": "commands",
    "yaml": "recipes",
    "bat": "commands for Windows",
    "text": "what a command prints",
}
DOWNLOAD, REAL, STATE = "a download", "a real data set", "a file that only a longer way makes"
PARSED_ONLY = {
    r"models fetch|data fetch": DOWNLOAD,
    r"--model \S+-coco": DOWNLOAD,
    r"models import": "another project's file; tests/weights imports drawn ones",
    r"^train ": "a training; its recipe is read, with the changes given",
    r"runs/": STATE,
    r"dsb2018|coco_tiny|magnetic_tile|PennFudanPed|PATH/\w": REAL,
    r" IN OUT|^data convert photos out| MODEL DATA": "names that stand for the reader's own",
    r"models show .*(--image-size|--depth|--draw|--json)": "seconds each; tests/cli runs them",
    r"doctor": "seconds; tests/cli runs it",
    r"--boundary|--out report": "seconds; tests/cli runs it",
}
"""Commands of vitrail that are parsed and not run here, and why."""
OTHERS = (
    r"python3? -m venv \S+",
    r"\.venv/bin/python -m pip install .+",
    r"python -m pip install .+",
    r"\. \.venv/bin/activate",
    r"jupyter lab (?P<notebook>\S+)",
    r"make (?P<target>[\w-]+)",
    r"(\.venv/bin/)?python (?P<file>\S+\.py)( .+)?",
    r"torchrun .*-m vitrail (?P<vitrail>.+)",
)
"""Commands of other programs. What is named is looked for; they are not run."""


def of(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


def pages(*languages: str) -> list[str]:
    return list(dict.fromkeys(block.page for block in of(*languages)))


def test_every_block_says_what_it_is() -> None:
    assert not [block.place for block in BLOCKS if block.language not in LANGUAGES]
    assert len(of("python", "py")) > 40 and len(of("sh")) > 25
    assert not set(SETTINGS) - set(pages("python", "py"))


@pytest.mark.parametrize("page", pages("python", "py"))
def test_python_runs(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    setting = SETTINGS.get(page, Setting())
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    for write in setting.files:
        write(tmp_path)
    names, unused = setting.names(), dict(setting.replaced)
    for block in (one for one in of("python", "py") if one.page == page):
        text = block.text
        for old, new in setting.replaced.items():
            if old in text:
                text = text.replace(old, new)
                unused.pop(old, None)
        exec(compile("\n" * block.line + text, block.page, "exec"), names)
    assert not unused
    told = capsys.readouterr().out
    assert not [text for text in setting.printed if text not in told], told
    assert not [pattern for pattern in setting.written if not list(tmp_path.glob(pattern))]


def parse(words: list[str]) -> Any:
    """What the command line makes of ``vitrail WORDS``; a wrong one raises."""
    command: Any = typer.main.get_command(app)
    rest = list(words)
    if rest[0].startswith("-"):
        assert rest[0] in {"--help", "--version", "-h"}
        return None
    while hasattr(command, "commands"):
        command = command.commands[rest.pop(0)]
    return command.make_context(words[0], rest).params


def check_names(words: list[str], given: Mapping[str, Any]) -> None:
    """The recipe and what is changed in it, the model, the architecture and its arguments exist."""
    for word in words:
        if word.startswith(("recipes/", "notebooks/", "examples/")):
            assert (ROOT / word).exists(), word
    if words[0] == "train" and words[1] != "RECIPE":
        own = Path(words[1])  # of the page's own YAML
        read_recipe(own if own.is_file() else ROOT / own, given["overrides"] or [])
    for name in re.findall(r"--model (\S+)", " ".join(words)):
        assert name in known_names() or name.endswith(".safetensors") or name.isupper(), name
    if words[:2] == ["models", "show"] and words[2] in ARCHITECTURES:
        values = dict(one.split("=") for one in given["settings"] or ())
        plain = {name: yaml.safe_load(value) for name, value in values.items()}
        validate_arguments(words[2], {"classes": 21, **plain})


def why_not(words: list[str], transcript: bool) -> str | None:
    """Why a command is not run; None: it is."""
    if transcript:
        return REAL
    line = " ".join(words)
    return next((why for find, why in PARSED_ONLY.items() if re.search(find, line)), None)


@pytest.mark.parametrize("page", pages("sh"))
def test_commands_are_right(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for write in (photo, photos, labelled("PATH")):
        write(tmp_path)
    for block in (one for one in of("yaml") if one.page == page):
        if named := re.match(r"name: (\S+)", block.text):
            (tmp_path / f"{named[1]}.yaml").write_text(block.text, "utf-8")
    for block in (one for one in of("sh") if one.page == page):
        for words in commands(block):
            words = words[1:] if words[0] == "vitrail" else check_other(words, block.place)
            if words:
                check_command(words, block)


def check_command(words: list[str], block: Block) -> None:
    given = parse(words)
    if given is None:
        return
    check_names(words, given)
    if why_not(words, is_transcript(block)) is None:
        try:
            app(words, standalone_mode=False)
        except SystemExit as end:
            assert not end.code, f"{block.place}: {' '.join(words)}"
        shutil.rmtree("vitrail-out", ignore_errors=True)


def check_other(words: list[str], place: str) -> list[str]:
    """Look up what a command of another program names; returns the words of a vitrail in it."""
    line = " ".join(words)
    found = next((match for one in OTHERS if (match := re.fullmatch(one, line))), None)
    assert found is not None, f"{place}: {line} is in no list of tests/docs/test_code_blocks.py"
    named = found.groupdict()
    if target := named.get("target"):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    if file := named.get("file"):
        assert (ROOT / file).is_file(), f"{place}: {file}"
    if notebook := named.get("notebook"):
        assert (ROOT / notebook).is_file(), f"{place}: {notebook}"
    return (named.get("vitrail") or "").split()


def test_the_lists_have_nothing_that_no_page_says() -> None:
    every = [(words, block) for block in of("sh") for words in commands(block)]
    ours = [" ".join(words[1:]) for words, _ in every if words[0] == "vitrail"]
    others = [" ".join(words) for words, _ in every if words[0] != "vitrail"]
    assert not [one for one in PARSED_ONLY if not any(re.search(one, line) for line in ours)]
    assert not [one for one in OTHERS if not any(re.fullmatch(one, line) for line in others)]
    run = [words for words, block in every if not why_not(words[1:], is_transcript(block))]
    assert len(run) > 25


@pytest.mark.parametrize("block", of("yaml"), ids=lambda block: block.place)
def test_yaml_is_a_recipe(block: Block, tmp_path: Path) -> None:
    lines = block.text.splitlines()
    if all(line.startswith("loss: ") for line in lines):
        for line in lines:
            build_loss(line.removeprefix("loss: "))
        return
    (tmp_path / "recipe.yaml").write_text(block.text, "utf-8")
    recipe = read_recipe(tmp_path / "recipe.yaml")
    validate_arguments(recipe.model.architecture, {**recipe.model.arguments, "classes": 2})


@pytest.mark.parametrize("block", of("bat"), ids=lambda block: block.place)
def test_windows_commands_name_what_is_there(block: Block) -> None:
    for line in block.text.splitlines():
        assert re.match(r"py -m venv|\.venv\\Scripts\\python ", line), line
        for file in re.findall(r"\S+\.py\b", line):
            assert (ROOT / file.replace("\\", "/")).is_file(), file


@pytest.mark.parametrize("block", of("text"), ids=lambda block: block.place)
def test_what_is_printed_is_no_command(block: Block) -> None:
    assert not re.search(r"^(vitrail|make|import|from|python|pip) ", block.text, re.MULTILINE)
