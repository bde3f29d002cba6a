"""The site is built from docs/, with every warning an error, and needs nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.fences import ROOT
from tests.docs.scripts import script


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    assert "WARNING" not in built.stderr, built.stderr
    return folder


def test_every_page_is_built(site: Path) -> None:
    docs = ROOT / "docs"
    for path in docs.rglob("*.md"):
        assert (site / path.relative_to(docs).with_suffix(".html")).is_file(), path
    for path in (ROOT / "notebooks").glob("[0-9][0-9]-*.ipynb"):
        assert (site / "notebooks" / f"{path.stem}.html").is_file(), path
    assert not list(site.rglob("*.py"))


def test_pages_fetch_nothing(site: Path) -> None:
    for path in site.rglob("*.html"):
        page = path.read_text("utf-8")
        for tag in re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*>", page):
            address = re.search(r"\b(?:src|href)=[\"']?(https?:)?//", tag)
            assert not address or 'rel="canonical"' in tag, f"{path.name}: {tag}"


def test_the_reference_has_the_public_names(site: Path) -> None:
    import vitrail

    pages = "".join(path.read_text("utf-8") for path in (site / "reference").glob("*.html"))
    for name in sorted(set(vitrail.__all__) - {"__version__"}):
        assert re.search(rf'id="vitrail\.[\w.]*\b{name}"', pages), name
    assert ":func:" not in pages and ":class:" not in pages


def test_the_changelog_is_the_repositorys(site: Path) -> None:
    page = (site / "changelog.html").read_text("utf-8")
    assert "0.1.0" in page and 'href="training.html"' in page


def test_a_notebook_becomes_a_page_with_its_pictures(tmp_path: Path) -> None:
    path = tmp_path / "01-small.ipynb"
    path.write_text(
        '{"cells": [{"cell_type": "markdown", "source": ["# Small"]}, {"cell_type": "code",'
        ' "source": ["1 + 1"], "outputs": [{"data": {"text/plain": ["2 < 3\\n", "\\n", "4"]}},'
        ' {"data": {"image/png": "aGVsbG8=", "text/plain": ["Figure"]}}]}]}',
        "utf-8",
    )
    found = dict(script("site_hooks").notebook(path))
    assert found["01-small-01-1.png"] == b"hello"
    assert found["01-small.md"] == (
        "# Small\n\n```python\n1 + 1\n```\n\n"
        '<pre class="output">2 &lt; 3&#10;&#10;4</pre>\n\n'
        "![Output of the cell above](01-small-01-1.png)\n"
    )
