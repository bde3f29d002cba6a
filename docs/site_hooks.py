"""What `mkdocs build` adds to the pages in docs/: the changelog, and the notebooks as they are.

CHANGELOG.md and notebooks/ lie outside of docs/ because they are read there, too; here they become
pages of the site when it is built, and nothing is written into docs/.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PICTURES = {"image/png": "png", "image/jpeg": "jpg", "image/svg+xml": "svg"}
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
"""What a terminal understands as colours."""
_ROLE = ":(?:func|class|meth|mod|attr|data|exc|obj):"
_LINK = re.compile(r"\]\(((?:\.\./docs/|[0-9])[^)\s]+)\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The notebooks that there are, in the navigation."""
    (walkthroughs,) = [one["Walkthroughs"] for one in config.nav or () if "Walkthroughs" in one]
    walkthroughs[1:] = [f"notebooks/{path.stem}.md" for path in notebooks()]
    return config


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Links from the list of notebooks to their pages."""
    if page.file.src_uri == "notebooks.md":
        for path in notebooks():
            link = f"[`{path.name}`](notebooks/{path.stem}.md)"
            markdown = markdown.replace(f"| `{path.name}`", f"| {link}")
    return markdown


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The files of docs/, and those made from what lies beside it."""
    files.append(File.generated(config, "changelog.md", content=changelog()))
    for path in notebooks():
        for name, content in notebook(path):
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


def on_page_content(html: str, page: Page, **_: Any) -> str:
    """The roles of docstrings (``:func:`x```) are left out, and what they name is kept."""
    if not page.file.src_uri.startswith("reference/"):
        return html
    html = re.sub(rf"{_ROLE}<code>~?", "<code>", html)
    html = re.sub(rf"{_ROLE}`~?([^`<]+)`", r"\1", html)  # where a docstring's text became a type
    return re.sub(r"``([^`<]+)``", r"\1", html)


def notebooks() -> list[Path]:
    """In their order."""
    return sorted((ROOT / "notebooks").glob("[0-9][0-9]-*.ipynb"))


def changelog() -> str:
    """CHANGELOG.md with its links as they are within docs/."""
    return (ROOT / "CHANGELOG.md").read_text("utf-8").replace("](docs/", "](")


def notebook(path: Path) -> Iterator[tuple[str, str | bytes]]:
    """A notebook as a page and its pictures: ``(name, content)``, the page last."""
    parts: list[str] = []
    for number, cell in enumerate(json.loads(path.read_text("utf-8"))["cells"]):
        source = "".join(cell["source"]).strip()
        if cell["cell_type"] == "markdown":
            parts.append(_LINK.sub(_within_docs, source))
            continue
        if source:
            parts.append(f"```python\n{source}\n```")
        for place, output in enumerate(cell.get("outputs", ())):
            name = f"{path.stem}-{number:02d}-{place}"
            data = output.get("data", {})
            picture = next((kind for kind in PICTURES if kind in data), None)
            if picture:
                file = f"{name}.{PICTURES[picture]}"
                content = "".join(data[picture])
                yield file, content if picture.endswith("xml") else base64.b64decode(content)
                parts.append(f"![Output of the cell above]({file})")
            elif "text/html" in data:
                parts.append(f'<div class="output">{_one_line("".join(data["text/html"]))}</div>')
            else:
                text = _COLOURS.sub("", "".join(output.get("text", data.get("text/plain", ()))))
                parts.append(f'<pre class="output">{_lines(text.rstrip())}</pre>')
    yield f"{path.stem}.md", "\n\n".join(parts) + "\n"


def _within_docs(link: re.Match[str]) -> str:
    """A link of a notebook to another one, or to docs/, as it is between pages of the site."""
    target = link[1].removeprefix("../docs/")
    return f"]({'../' if target != link[1] else ''}{target.replace('.ipynb', '.md')})"


def _one_line(html: str) -> str:
    """Without line breaks, at which Markdown would look for paragraphs."""
    return " ".join(re.sub(r"<style.*?</style>", "", html, flags=re.DOTALL).split())


def _lines(text: str) -> str:
    """Text for a ``pre`` element that no blank line ends."""
    return escape(text).replace("\n", "&#10;")
