"""The scan of COCO's JSON: positions of its elements, and files that are damaged."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.formats.drawn_coco import (
    one_image,
    open_coco,
    write_coco,
)
from vitrail.data.formats.coco import FORMAT
from vitrail.data.formats.coco_json import list_categories, scan
from vitrail.errors import DataError

plain_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.text(max_size=5), plain_json, max_size=3),
    st.lists(plain_json, max_size=5),
    st.booleans(),
    st.sampled_from([None, 0, 2, "\t"]),
    st.booleans(),
)
def test_the_scan_is_json(
    tmp_path_factory: pytest.TempPathFactory,
    others: dict[str, Any],
    elements: list[Any],
    ascii_only: bool,
    indent: Any,
    mark: bool,
) -> None:
    """Reference: the standard library's parser, on the whole and on each slice of the file."""
    content = {"first": 1, **others, "annotations": elements, "last": [{}]}
    text = json.dumps(content, ensure_ascii=ascii_only, indent=indent)
    try:
        data = text.encode("utf-8-sig" if mark else "utf-8")
    except UnicodeEncodeError:  # a lone half of a surrogate pair
        return
    path = tmp_path_factory.mktemp("scan") / "x.json"
    path.write_bytes(data)
    found: list[Any] = []
    slices: list[Any] = []

    def take(value: Any, start: int, length: int) -> None:
        found.append(value)
        slices.append(json.loads(data[start : start + length]))

    assert scan(path, {"annotations": take, "absent": take}) == {"annotations"}
    assert found == slices == elements


@pytest.mark.parametrize("padding", [0, 70_000, 200_000])
@pytest.mark.parametrize("last", [True, False])
def test_categories_are_found_at_either_end(padding: int, last: bool, tmp_path: Path) -> None:
    """And in the middle, and where something else is called so."""
    wanted = [{"id": 1, "name": "ü"}]
    filler = {"annotations": [{"categories": [1], "text": "x" * padding}]}
    content = filler | {"categories": wanted} if last else {"categories": wanted} | filler
    path = tmp_path / "x.json"
    path.write_text(json.dumps(content, ensure_ascii=False), "utf-8")
    assert list_categories(path) == wanted


def broken(change: str) -> bytes:
    good = json.dumps(one_image())
    made: dict[str, str | bytes] = {
        "cut short": good[: len(good) // 2],
        "cut in a number": good[: good.index("5, 5")],
        "empty": "",
        "a comma too many": good.replace("}], ", "},], ", 1),
        "no comma": good.replace('], "', '] "', 1),
        "two documents": good + good,
        "a list": f"[{good}]",
        "too deep": good.replace("[[1", "[" * 200_000),
        "a number of 5000 digits": good.replace('"image_id": 1', '"image_id": 1' + "0" * 5000),
        "annotations is no list": good.replace('"annotations": [', '"annotations": {}, "x": ['),
        "no images": good.replace('"images"', '"pictures"'),
        "no annotations": good.replace('"annotations"', '"labels"'),
        "no categories": good.replace('"categories"', '"classes"'),
        "Latin-1": good.replace("thing", "Füße").encode("latin-1"),
        "UTF-16": good.encode("utf-16"),
        "bytes": bytes(range(256)) * 20,
    }
    found = made[change]
    return found if isinstance(found, bytes) else found.encode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("cut short", "not valid JSON at line 1, column"),
        ("cut in a number", "may be cut short"),
        ("empty", "not valid JSON"),
        ("a comma too many", "not valid JSON at line 1"),
        ("no comma", "not valid JSON at line 1"),
        ("two documents", "something follows the closing bracket"),
        ("a list", "is a list, expected an object"),
        ("too deep", "nested too deeply"),
        ("a number of 5000 digits", "holds a number that cannot be read"),
        ("annotations is no list", "'annotations' is not a list"),
        ("no images", "no list 'images'"),
        ("no annotations", "no list 'annotations'"),
        ("no categories", "has no 'categories'"),
        ("Latin-1", "is 0xfc, which is not UTF-8; save the file as UTF-8"),
        ("UTF-16", "not valid JSON"),
        ("bytes", "not valid JSON"),
    ],
)
def test_a_damaged_file_is_refused(change: str, message: str, tmp_path: Path) -> None:
    write_coco(tmp_path, one_image())
    path = tmp_path / "annotations" / "instances_train2017.json"
    path.write_bytes(broken(change))
    FORMAT.recognise(tmp_path)  # says yes or no, but raises nothing
    with pytest.raises(DataError, match=message) as caught:
        open_coco(tmp_path, annotations=str(path))["train"]
    assert "instances_train2017.json" in str(caught.value)


def test_a_file_beyond_the_limit_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_coco(tmp_path, one_image())
    monkeypatch.setattr("vitrail.data.formats.coco_json.MAX_TEXT_BYTES", 10)
    with pytest.raises(DataError, match="more than the limit of 10"):
        open_coco(tmp_path)["train"]


def test_no_image_at_all(tmp_path: Path) -> None:
    write_coco(tmp_path)
    shutil.rmtree(tmp_path / "train2017")
    with pytest.raises(
        DataError, match=r"not one of its 3 images is in .*train2017.*option images"
    ):
        open_coco(tmp_path)["train"]
