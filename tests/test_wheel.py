"""The wheel: small enough, complete, and able to predict with the network out of reach."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import pytest
from skimage import data

ROOT = Path(__file__).parents[1]
LIMIT = 25_000_000
"""Bytes."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.mark.slow
def test_it_is_small_and_holds_the_model_and_no_tests(wheel: Path) -> None:
    assert wheel.stat().st_size < LIMIT
    names = zipfile.ZipFile(wheel).namelist()
    assert "vitrail/weights/packaged/nuclei-maskrcnn-mobilenetv2.safetensors" in names
    assert "vitrail/weights/packaged/subjects-unet-mobilenetv2.safetensors" in names
    assert "vitrail/py.typed" in names
    assert not [name for name in names if "test" in name or name.endswith((".jpg", ".png"))]


@pytest.mark.slow
def test_it_predicts_offline(wheel: Path, tmp_path: Path) -> None:
    """Unpacked beside nothing else of ours, with every socket refused."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    cv2.imwrite(str(tmp_path / "photo.jpg"), data.chelsea()[..., ::-1])
    code = (
        "import socket, sys\n"
        "def refuse(*_, **__): raise AssertionError('the network was asked for')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        f"sys.path.insert(0, {str(tmp_path / 'site')!r})\n"
        "import vitrail\n"
        f"assert vitrail.__file__.startswith({str(tmp_path)!r}), vitrail.__file__\n"
        "from vitrail.cli.main import main\n"
        "main(['predict', 'photo.jpg', '--out', 'out'])\n"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "photo.json",
        "photo.labels.png",
        "photo.overlay.jpg",
    }
