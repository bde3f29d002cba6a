"""Every link, anchor and picture in README.md, CHANGELOG.md and docs/ leads to something.

Nothing is fetched: of an address elsewhere only its form is looked at. Headings have the anchors of
the site and of GitHub, and a link has to be right for both, since the files are read on both.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from markdown.extensions.toc import slugify

from tests.docs.fences import PAGES, ROOT

MADE = {ROOT / "docs" / "changelog.md"}
"""Pages that docs/site_hooks.py adds."""
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
_BARE = re.compile(r"<(https?://[^>]+)>")


def text_of(path: Path) -> str:
    """A page without its code."""
    return _CODE.sub("", path.read_text("utf-8"))


def targets(path: Path) -> list[str]:
    """What a page leads to."""
    text = text_of(path)
    inner = [one for link in re.findall(r"\[(!\[[^\]]*\]\([^)]+\))\]", text) for one in [link]]
    pictures = [target for one in inner for target in _LINK.findall(one)]
    return [*_LINK.findall(text), *pictures, *_BARE.findall(text)]


@cache
def anchors(path: Path) -> set[str]:
    """Those that the site and GitHub both give the headings of a page."""
    text = re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#{1,6} (.+)$", text, re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)|`", r"\1", heading).strip() for heading in headings]
    return {slugify(one, "-") for one in plain} & {github(one) for one in plain}


def github(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize(
    "path", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_links_lead_somewhere(path: Path) -> None:
    for target in targets(path):
        parts = urlsplit(target)
        if parts.scheme:
            assert parts.scheme in ("http", "https") and "." in parts.netloc, target
            continue
        file = (path.parent / parts.path).resolve() if parts.path else path
        assert file.exists() or file in MADE, f"{target}: {file} is not there"
        if ROOT / "docs" in path.parents:  # a page of the site cannot lead out of it
            assert ROOT / "docs" in file.parents, f"{target} leads out of docs/"
        if parts.fragment:
            assert parts.fragment in anchors(file), f"{target}: no such heading"


def test_links_were_found() -> None:
    found = [target for path in PAGES for target in targets(path)]
    assert len(found) > 200
    assert any(target.endswith(".svg") for target in found)
    assert any("#" in target and not target.startswith("http") for target in found)


def test_files_named_in_code_exist() -> None:
    for path in PAGES:
        named = re.findall(
            r"`((?:recipes|examples|benchmarks|docs|tests)/[\w./-]*\w)`", path.read_text("utf-8")
        )
        assert not [one for one in named if not (ROOT / one).exists()], path
