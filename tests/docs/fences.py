"""The fenced blocks of README.md and docs/, with the page and line where each begins."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FENCE = re.compile(r" *```")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block; ``line`` is that of its fence, from 1."""

    page: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def blocks() -> list[Block]:
    """Every block of every page, and each indented ``vitrail ...`` as a block of its own."""
    return [block for path in PAGES for block in blocks_of(path)]


def blocks_of(path: Path) -> Iterator[Block]:
    page = path.relative_to(ROOT).as_posix()
    language, start, lines = None, 0, []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        if _FENCE.match(line):
            if language is None:
                language, start, lines = line.strip().removeprefix("```"), number, []
            else:
                yield Block(page, start, language, "\n".join(lines) + "\n")
                language = None
        elif language is not None:
            lines.append(line)
        elif re.match(r"    (vitrail|make|python) ", line):
            yield Block(page, number, "sh", line.strip() + "\n")
    assert language is None, f"{page}:{start}: a fence that nothing closes"


def commands(block: Block) -> list[list[str]]:
    """The words of each command of a shell block; what a transcript printed is left out."""
    text = block.text.replace("\\\n", " ")
    lines = text.splitlines()
    if is_transcript(block):
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def is_transcript(block: Block) -> bool:
    """Whether it shows a prompt, and what was printed."""
    return block.text.startswith("$ ")
