"""Every code that something in vitrail.data writes has its words, and none is explained in vain."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from vitrail import data
from vitrail.data.checks.codes import CODES
from vitrail.data.checks.reader_codes import READER_CODES

CALLS = ("error", "warning", "note", "report", "drop", "tell", "_tell", "_error")
MADE = ("Problem", "Fault")
GRAVITY = ("note", "warning", "error")
KEBAB = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)+")
LISTS = ("codes.py", "reader_codes.py")


def _literals(node: ast.AST) -> Iterator[str]:
    """The codes that an expression may be: a text, one of two, or with "image" or "mask" in it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        if KEBAB.fullmatch(node.value):
            yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _literals(node.body)
        yield from _literals(node.orelse)
    elif isinstance(node, ast.JoinedStr) and any(
        isinstance(part, ast.FormattedValue) and ast.unparse(part.value) == "kind"
        for part in node.values
    ):
        for kind in ("image", "mask"):
            text = "".join(
                str(part.value) if isinstance(part, ast.Constant) else kind for part in node.values
            )
            if KEBAB.fullmatch(text):
                yield text


def _assigned(node: ast.Assign) -> Iterator[ast.AST]:
    """What is given to a variable called ``code``."""
    for target in node.targets:
        if isinstance(target, ast.Name) and target.id == "code":
            yield node.value
        elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            for one, value in zip(target.elts, node.value.elts, strict=True):
                if isinstance(one, ast.Name) and one.id == "code":
                    yield value


def _severity(name: str, call: ast.Call) -> set[str]:
    """What a call may give: its name says so, or one of its arguments."""
    if name in GRAVITY[1:]:
        return {name}
    if name in ("drop", "_error"):
        return {"error"}
    said = {arg.value for arg in call.args if isinstance(arg, ast.Constant)}
    return {one for one in GRAVITY if one in said}


def _emitted() -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Of each code: the files that write it, and the severities that readers' calls give it."""
    files: dict[str, set[str]] = defaultdict(set)
    severities: dict[str, set[str]] = defaultdict(set)
    for path in sorted(Path(data.__file__).parent.rglob("*.py")):
        if path.name in LISTS:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Assign):
                for value in _assigned(node):
                    for code in _literals(value):
                        files[code].add(path.name)
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name not in CALLS + MADE:
                continue
            for argument in node.args[:2]:
                for code in _literals(argument):
                    files[code].add(path.name)
                    severities[code] |= _severity(name, node)
    return files, severities


def test_every_code_has_its_words() -> None:
    for code, entry in CODES.items():
        assert KEBAB.fullmatch(code)
        assert entry.meaning and entry.advice and entry.severity in GRAVITY


def test_what_is_written_is_explained() -> None:
    files, _ = _emitted()
    assert len(files) > 60
    assert not {code: where for code, where in files.items() if code not in CODES}


def test_what_is_explained_is_written() -> None:
    files, _ = _emitted()
    assert not [code for code in CODES if code not in files]


def test_severities_are_those_explained() -> None:
    """Some readers give a code a milder one where it does no harm; none a graver one."""
    _, severities = _emitted()
    wrong = {
        code: (sorted(severities[code]), entry.severity)
        for code, entry in READER_CODES.items()
        if severities[code] and max(severities[code], key=GRAVITY.index) != entry.severity
    }
    assert not wrong
    assert severities["file-name"] == {"error", "warning"}
