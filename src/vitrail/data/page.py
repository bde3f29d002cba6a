"""An HTML page that needs nothing else: no scripts, no other files, light and dark."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 .3rem; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem .6rem .25rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
td.n, th.n { text-align: right; white-space: nowrap; }
code { font-size: .92em; overflow-wrap: anywhere; }
.error { color: #c62828; } .warning { color: #b26a00; } .note { color: #4a6fa5; }
.dim { opacity: .7; } details { margin: .4rem 0; } summary { cursor: pointer; }
.shots { display: flex; flex-wrap: wrap; gap: 1rem; margin: .6rem 0; }
figure { margin: 0; max-width: 27rem; background: var(--soft); padding: .5rem; }
figure img { max-width: 100%; height: auto; image-rendering: auto; }
figcaption { font-size: .85rem; overflow-wrap: anywhere; }
.bar { background: #4a6fa5; height: .7em; display: inline-block; min-width: 1px; }
@media (prefers-color-scheme: dark) { .error { color: #ff8a80; } .warning { color: #ffb74d; }
  .note { color: #90caf9; } }
"""


def document(title: str, parts: Iterable[str], *, style: str = "") -> str:
    """A whole page, to be written as UTF-8.

    Parameters
    ----------
    title:
        Plain text; it is escaped here.
    parts:
        The body's HTML, its texts escaped already; empty ones are left out.
    style:
        CSS beyond what all pages share.
    """
    lines = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        # Even a text that escaping missed could neither run nor fetch anything.
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">",
        f"<title>{escape(title)}</title><style>{_STYLE}{style}</style></head><body>",
        *parts,
        "</body></html>",
    ]
    return "\n".join(line for line in lines if line)


def inline_jpeg(data: bytes, alt: str) -> str:
    """An ``<img>`` that holds its JPEG."""
    return (
        f'<img alt="{escape(alt)}" src="data:image/jpeg;base64,{base64.b64encode(data).decode()}">'
    )
