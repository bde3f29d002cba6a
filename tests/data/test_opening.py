"""Opening what cannot be recognised: the annotation file that cannot be read is named."""

from pathlib import Path

import pytest

from vitrail.data.opening import open_dataset
from vitrail.errors import DataError


@pytest.mark.parametrize("place", ["a.json", "annotations/a.json"])
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the file is empty"),
        ('{"images": []}'.encode("utf-16"), "byte 0 is 0xff, which is not UTF-8"),
        (b"[]", r"holds \[\], expected annotations"),
        (b"null", "holds null, expected annotations"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"images": [{"id": 1', "not valid JSON at line 1"),
    ],
)
def test_a_broken_file_is_named(content: bytes, why: str, place: str, tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / place).write_bytes(content)
    with pytest.raises(DataError, match=rf"no known layout of labels; .*a\.json: .*{why}") as told:
        open_dataset(tmp_path)
    assert str(told.value).count("a.json") == 1
    with pytest.raises(DataError, match=rf"no known layout of labels; .*a\.json: .*{why}"):
        open_dataset(tmp_path / place)


def test_files_that_can_be_read_are_not_blamed(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"hello": 1}')
    with pytest.raises(DataError, match="no known layout of labels; name one with --format"):
        open_dataset(tmp_path)


def test_a_path_too_long_for_the_system(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be opened"):
        open_dataset(tmp_path / ("a" * 5000))
