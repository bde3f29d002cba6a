"""The page of the losses names every loss and paper, and its examples run."""

import re
from pathlib import Path

import pytest

from vitrail.losses import LOSSES, build_loss

PAGE = (Path(__file__).parents[2] / "docs" / "losses.md").read_text("utf-8")


def rows() -> dict[str, str]:
    found = {}
    for line in re.findall(r"^\| `.*$", PAGE.partition("## The losses")[2], re.MULTILINE):
        for name in re.findall(r"`(\w+)`", line.split("|")[1]):
            found.setdefault(name, line)
    return found


def test_every_loss_has_its_row_with_its_paper() -> None:
    table = rows()
    for name, entry in LOSSES.items():
        assert entry.paper.removeprefix("doi:") in table[name], name


def test_no_row_without_a_loss() -> None:
    assert not set(rows()) - set(LOSSES)


@pytest.mark.parametrize("text", re.findall(r"^loss: (.*)$", PAGE, re.MULTILINE))
def test_sums_can_be_built(text: str) -> None:
    assert len(build_loss(text).terms) > 1


def test_the_python_example_runs(capsys: pytest.CaptureFixture) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(block, "losses.md", "exec"), {})
    assert "'dice'" in capsys.readouterr().out
