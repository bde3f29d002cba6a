"""Where trainings lie, and which weights are the newest."""

from pathlib import Path

import pytest

from vitrail.compat.mrcnn._logs import LogFolder
from vitrail.errors import SourceError


def write(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_a_new_training_gets_a_folder_named_by_time(tmp_path: Path) -> None:
    logs = LogFolder.of(tmp_path, "Nucleus", None)
    assert logs.path.parent == tmp_path
    assert logs.path.name.startswith("nucleus2")
    assert logs.epoch == 0
    assert logs.weights(7).name == "mask_rcnn_nucleus_0007.safetensors"


@pytest.mark.parametrize("suffix", ["h5", "safetensors"])
def test_weights_of_a_training_go_on_in_its_folder(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / "nucleus20300131T1205" / f"mask_rcnn_nucleus_0012.{suffix}")
    logs = LogFolder.of(tmp_path, "nucleus", path)
    assert logs.path == path.parent
    assert logs.epoch == 12
    assert logs.after(20).epoch == 20


@pytest.mark.parametrize(
    "name", ["mask_rcnn_coco.h5", "nucleus/mask_rcnn_nucleus_0012.h5", "x20300131T1205/other.h5"]
)
def test_other_weights_begin_anew(tmp_path: Path, name: str) -> None:
    logs = LogFolder.of(tmp_path, "nucleus", tmp_path / name)
    assert logs.epoch == 0
    assert logs.path.parent == tmp_path


def test_the_last_weights_of_the_newest_folder(tmp_path: Path) -> None:
    for folder in ("nucleus20300131T1205", "nucleus20300201T0900", "other20310101T0000"):
        for epoch in (1, 2, 10):
            write(tmp_path / folder / f"mask_rcnn_nucleus_{epoch:04d}.h5")
    write(tmp_path / "nucleus20300201T0900" / "mask_rcnn_nucleus_0011.txt")
    (tmp_path / "nucleus20300201T0900" / "epochs-0001-0010").mkdir()
    found = LogFolder.find_last(tmp_path, "Nucleus")
    assert found == tmp_path / "nucleus20300201T0900" / "mask_rcnn_nucleus_0010.h5"


def test_no_folder_and_no_weights(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no folder"):
        LogFolder.find_last(tmp_path, "nucleus")
    (tmp_path / "nucleus20300131T1205").mkdir()
    with pytest.raises(SourceError, match="no weights"):
        LogFolder.find_last(tmp_path, "nucleus")
