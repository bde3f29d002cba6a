"""A file is written whole, or what stood there before stays."""

from pathlib import Path

import pytest

from vitrail.atomic import make_folder, write_atomically
from vitrail.errors import OutputError


def test_the_new_content_replaces_the_old(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    assert write_atomically(path, lambda file: file.write(b"new")) == path
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_half_way_changes_nothing(tmp_path: Path, failure: BaseException) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fill(file) -> None:
        file.write(b"half")
        raise failure

    expected = OutputError if isinstance(failure, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        write_atomically(path, fill)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_where_a_file_stands(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(OutputError, match=r"taken.*; free space or choose another folder"):
        make_folder(tmp_path / "taken" / "deeper")
    assert make_folder(tmp_path / "a" / "b").is_dir()
