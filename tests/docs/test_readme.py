"""Every Python block of the README runs as it stands, beside a photo named photo.jpg."""

import re
from pathlib import Path

import cv2
import pytest
from skimage import data

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.strip().splitlines()[-1][:40])
def test_block_runs(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    cv2.imwrite(str(tmp_path / "photo.jpg"), data.chelsea()[..., ::-1])
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out.strip()
    assert list((tmp_path / "out").glob("*.overlay.jpg"))


def test_pictures_and_files_it_names_exist() -> None:
    root = Path(__file__).parents[2]
    named = re.findall(r"\]\((docs/[^)]+)\)|((?:recipes|examples)/[\w./-]+\w)", README)
    paths = {path for pair in named for path in pair if path}
    assert len(paths) >= 4
    assert not [path for path in paths if not (root / path).exists()]
