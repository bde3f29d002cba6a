"""docs/crf.md: its table has every parameter and its default."""

import re
from pathlib import Path

from vitrail.nn.crf_params import CRFParams

PAGE = (Path(__file__).parents[2] / "docs" / "crf.md").read_text("utf-8")


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
