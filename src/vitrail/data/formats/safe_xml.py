"""XML without its dangers: read as a stream without document types, written with checked text."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from vitrail.data.formats.files import MAX_TEXT_BYTES
from vitrail.data.formats.shapes import shown
from vitrail.errors import DataError

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, escaped or not."""


def parse_xml(
    path: Path,
    root: str,
    start: Callable[[str, dict[str, str]], None],
    end: Callable[[str], None] | None = None,
    text: Callable[[str], None] | None = None,
) -> None:
    """Read an XML file with expat, without building a tree.

    Parameters
    ----------
    path:
        The file.
    root:
        Tag that its outermost element must have.
    start, end, text:
        Called with the tag and attributes of each element that begins, with the tag of each that
        ends, and with text.

    Raises
    ------
    DataError
        it cannot be read, is no XML, has another root, declares a document type (from which
        entities would come), or is larger than 4 GiB.
    """
    parser = expat.ParserCreate()
    parser.buffer_text = True

    def refuse(*_) -> None:
        raise DataError(
            f"{path}: declares a document type, which annotation tools never write and which can "
            "hide harmful entities; expected plain XML"
        )

    def first(tag: str, attributes: dict[str, str]) -> None:
        if tag != root:
            raise DataError(f"{path}: its root is <{shown(tag)}>, expected <{root}>")
        parser.StartElementHandler = start
        start(tag, attributes)

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = first
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    try:
        size = path.stat().st_size
        if size > MAX_TEXT_BYTES:
            raise DataError(f"{path}: has {size:,} bytes, more than {MAX_TEXT_BYTES:,}")
        with path.open("rb") as file:
            parser.ParseFile(file)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except expat.ExpatError as error:
        raise DataError(
            f"{path}: not valid XML at line {error.lineno}, column {error.offset + 1}: "
            f"{expat.ErrorString(error.code)}; the file may be cut short"
        ) from None
    except DataError:
        raise
    except (LookupError, ValueError) as error:
        # What the declaration says of its encoding is looked up among Python's.
        raise DataError(
            f"{path}: its encoding cannot be read ({error}); save it as UTF-8"
        ) from None


def parse_colour(text: str) -> tuple[int, int, int] | None:
    """RGB of ``#rrggbb``; None for anything else."""
    if not re.fullmatch("#[0-9a-fA-F]{6}", text):
        return None
    red, green, blue = bytes.fromhex(text[1:])
    return red, green, blue


def quoted(value: object) -> str:
    """A value as XML attribute, with its quotes; :class:`DataError` where XML cannot hold it."""
    return quoteattr(_checked(str(value)))


def escaped(value: str) -> str:
    """Text between tags; :class:`DataError` where XML cannot hold it."""
    return escape(_checked(value), {"\r": "&#13;"})


def _checked(text: str) -> str:
    found = _ILLEGAL.search(text)
    if found is not None:
        raise DataError(
            f"{text[:60]!a} holds the character {found[0]!a}, which XML cannot hold; rename it"
        )
    return text
