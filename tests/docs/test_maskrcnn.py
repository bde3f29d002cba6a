"""docs/maskrcnn.md: the files of the code that it names are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "maskrcnn.md").read_text("utf-8")


def test_files_it_names_exist() -> None:
    steps = re.findall(r"`((?:nn/)?\w+\.py)`", PAGE)
    assert len(steps) > 6
    for name in steps:
        folder = "src/vitrail" if name.startswith("nn/") else "src/vitrail/models/maskrcnn"
        assert (ROOT / folder / name).is_file(), name
