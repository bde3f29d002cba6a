"""docs/crf.md: its examples run as they stand, and its table has every parameter's default."""

import re
from pathlib import Path

import pytest

from vitrail.nn.crf_params import CRFParams

PAGE = (Path(__file__).parents[2] / "docs" / "crf.md").read_text("utf-8")


@pytest.mark.parametrize(
    "block",
    re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL),
    ids=["network", "result", "strokes"],
)
def test_the_examples_run(block: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(block, "crf.md", "exec"), {})
    assert "%" in capsys.readouterr().out


def test_the_table_has_every_parameter_and_its_default() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    table: dict[str, float] = {}
    for row in rows:
        _, names, defaults, *_ = row.split("|")
        table |= dict(
            zip(
                re.findall(r"`(\w+)`", names),
                map(float, re.findall(r"\b\d+\b", defaults)),
                strict=False,
            )
        )
    assert table == CRFParams().model_dump()
