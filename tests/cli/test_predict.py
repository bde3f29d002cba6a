"""``vitrail predict``: what it writes, and how each kind of bad input ends."""

import errno
import http.server
import json
import os
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from skimage import data

from tests.predict.drawn_detector import detector
from vitrail.cli.main import main
from vitrail.weights.files import write_checkpoint


def run(*arguments: object) -> int:
    """The exit code of the command, in this process."""
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    return int(caught.value.code or 0)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "cat.jpg"
    path.parent.mkdir()
    cv2.imwrite(str(path), cv2.resize(data.chelsea(), (150, 100))[..., ::-1])
    return path


def names(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def test_the_default_model_writes_what_it_promises(photo: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    assert run("predict", photo, "--out", out, "--crops", "--sheet", "--measure") == 0
    assert names(out) == [
        "cat.crops/001_animal.png",
        "cat.json",
        "cat.labels.png",
        "cat.measure.csv",
        "cat.overlay.jpg",
        "contact-sheet.jpg",
    ]
    printed = capsys.readouterr().out
    assert "cat.jpg" in printed and "animal" in printed and str(out) in printed.replace("\n", "")
    assert np.asarray(PIL.Image.open(out / "cat.labels.png")).shape == (100, 150)
    assert PIL.Image.open(out / "cat.crops" / "001_animal.png").mode == "RGBA"


@pytest.mark.parametrize(
    ("model", "settings", "mask"),
    [
        ("kmeans", ["k=4"], "cat.labels.png"),
        ("edges", ["method=canny"], "cat.edges.png"),
        ("threshold", [], "cat.labels.png"),
        ("grabcut", ["box=[20, 5, 140, 95]"], "cat.labels.png"),
        ("grabcut", ["box=20,5,140,95"], "cat.labels.png"),
        ("region-growing", ["seeds=[[70, 50]]", "tolerance=0.2"], "cat.labels.png"),
    ],
)
def test_classical_methods(photo: Path, tmp_path: Path, model, settings, mask) -> None:
    sets = [part for setting in settings for part in ("--set", setting)]
    assert run("predict", photo, "-m", model, *sets, "-o", tmp_path / "out") == 0
    assert names(tmp_path / "out") == sorted(["cat.json", mask, "cat.overlay.jpg"])


def test_json_for_machines(photo: Path, tmp_path: Path, capsys) -> None:
    assert run("predict", photo, photo.parent / "none.jpg", "-o", tmp_path / "o", "--json") == 1
    outcome = json.loads(capsys.readouterr().out)
    (result,) = outcome["results"]
    assert result["source"] == str(photo)
    assert (result["kind"], result["height"], result["width"]) == ("semantic", 100, 150)
    assert result["counts"]["animal"] > 1000
    assert all(Path(file).is_file() for file in result["files"])
    assert "none.jpg" in outcome["errors"][0]["error"]


def test_images_of_the_same_name_do_not_overwrite_each_other(photo: Path, tmp_path: Path) -> None:
    other = tmp_path / "in" / "cat.png"
    cv2.imwrite(str(other), np.zeros((40, 60, 3), np.uint8))
    assert run("predict", photo, other, "-m", "threshold", "-o", tmp_path / "out") == 0
    sizes = {
        name: np.asarray(PIL.Image.open(tmp_path / "out" / f"{name}.labels.png")).shape
        for name in ("cat", "cat-2")
    }
    assert sizes == {"cat": (100, 150), "cat-2": (40, 60)}


def test_our_own_outputs_are_not_inputs(photo: Path) -> None:
    """A second run over the same folder, with the pattern expanded by the shell."""
    folder = photo.parent
    for _ in range(2):
        assert (
            run("predict", *sorted(folder.glob("*.[jp][pn]g")), "-m", "kmeans", "-o", folder) == 0
        )
    assert names(folder) == ["cat.jpg", "cat.json", "cat.labels.png", "cat.overlay.jpg"]


def test_odd_names_are_only_names(photo: Path, tmp_path: Path, capsys) -> None:
    odd = photo.with_name("a[draft] b.jpg")
    odd.write_bytes(photo.read_bytes())
    out = tmp_path / "out[x]"
    long = "x" * 300 + ".jpg"
    assert run("predict", long, odd, photo, "-m", "threshold", "-o", out) == 1
    assert {"a[draft] b.overlay.jpg", "cat.overlay.jpg"} <= set(names(out))
    printed = capsys.readouterr()
    assert "a[draft] b.jpg" in printed.out and "out[x]" in printed.out
    assert printed.err.startswith("error: ") and printed.err.strip().count("\n") == 0


def huge_png(path: Path) -> None:
    """A valid header that claims 100,000 x 100,000 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + crc

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content + chunk(b"IEND", b""))


BAD_FILES = {
    "truncated.jpg": lambda path, good: path.write_bytes(
        good.read_bytes()[: good.stat().st_size // 2]
    ),
    "empty.png": lambda path, _: path.write_bytes(b""),
    "text.jpg": lambda path, _: path.write_text("this is no picture", "utf-8"),
    "bomb.png": lambda path, _: huge_png(path),
    "missing.png": lambda path, _: None,
    "folder-without-images": lambda path, _: path.mkdir(),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_one_bad_image_leaves_the_others_whole(
    name: str, photo: Path, tmp_path: Path, capsys
) -> None:
    bad, out = tmp_path / name, tmp_path / "out"
    BAD_FILES[name](bad, photo)
    other = tmp_path / "in" / "dog.png"
    cv2.imwrite(str(other), np.zeros((40, 60, 3), np.uint8))
    assert run("predict", photo, bad, other, "-m", "threshold", "-o", out) == 1
    assert names(out) == [
        f"{n}.{e}" for n in ("cat", "dog") for e in ("json", "labels.png", "overlay.jpg")
    ]
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and "\n" not in error and name in error


@pytest.mark.parametrize("shape", [(1, 1), (1, 20000), (20000, 1)])
@pytest.mark.parametrize("model", ["subjects", "kmeans", "edges", "threshold", "slic"])
def test_extreme_shapes_work_or_end_clearly(shape, model: str, tmp_path: Path, capsys) -> None:
    path = tmp_path / "thin.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (*shape, 3)).astype(np.uint8))
    code = run("predict", path, "-m", model, "-o", tmp_path / "out")
    if code == 0:
        written = next((tmp_path / "out").glob("thin.*.png"))
        assert cv2.imread(str(written), -1).shape[:2] == shape
    else:  # a method may need more pixels than there are, and says so
        error = capsys.readouterr().err.strip()
        assert code == 1 and error.startswith("error: ") and "\n" not in error


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves one picture, one redirect to a local file, one endless body, and 404 otherwise."""

    def do_GET(self) -> None:
        if self.path == "/cat.jpg":
            content = self.server.picture.read_bytes()  # pyright: ignore
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        elif self.path == "/redirect.jpg":
            self.send_response(302)
            self.send_header("Location", "file:///etc/hostname")
            self.end_headers()
        elif self.path == "/large.jpg":
            self.send_response(200)
            self.send_header("Content-Length", str(10**12))
            self.end_headers()
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(photo: Path) -> Iterator[str]:
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.picture = photo  # pyright: ignore
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    thread.join()


def test_urls(server: str, tmp_path: Path, capsys) -> None:
    sources = [f"{server}/{name}.jpg" for name in ("none", "redirect", "large", "cat")]
    assert run("predict", *sources, "-m", "threshold", "-o", tmp_path / "out") == 1
    assert names(tmp_path / "out") == ["cat.json", "cat.labels.png", "cat.overlay.jpg"]
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 3
    assert (
        "404" in errors[0]
        and "file:" in errors[1]
        and "1000000000000" in errors[2].replace(",", "")
    )


def test_file_urls_are_refused(photo: Path, tmp_path: Path, capsys) -> None:
    assert run("predict", photo.as_uri(), "-m", "threshold", "-o", tmp_path / "out") == 1
    assert "file:" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "kmean"], "no model is called 'kmean'; did you mean 'kmeans'"),
        (["-m", "nothing.safetensors"], "nothing.safetensors: no such checkpoint"),
        (["-m", "kmeans", "--set", "k=0"], "kmeans: k=0: "),
        (["-m", "kmeans", "--set", "k=many"], "kmeans: k='many': "),
        (["-m", "kmeans", "--set", "clusters=3"], "kmeans has no parameter 'clusters'"),
        (["-m", "kmeans", "--set", "k"], "--set 'k': expected key=value"),
        (["--set", "image_size=2"], "image_size=2: "),
        (["--set", "device=cpu"], "--set 'device=cpu': is no parameter of a model; use --device"),
        (["-m", "threshold", "--set", "value=2001-13-45"], "--set 'value=2001-13-45': "),
        (["-m", "threshold", "--device", "meta"], "device='meta': expected auto"),
        (["--device", "cuda:77"], "device='cuda:77' cannot be used here"),
        (["--precision", "half"], "precision='half'"),
    ],
)
def test_mistakes_end_in_one_line_and_write_nothing(
    arguments: list[str], message: str, photo: Path, tmp_path: Path, capsys
) -> None:
    assert run("predict", photo, "-o", tmp_path / "out", *arguments) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith(f"error: {message}") and "\n" not in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("model", ["grabcut", "region-growing", "random-walker"])
def test_a_missing_prompt_is_asked_for(model: str, photo: Path, tmp_path: Path, capsys) -> None:
    assert run("predict", photo, "-m", model, "-o", tmp_path / "out") == 1
    error = capsys.readouterr().err.strip()
    assert model in error and "--set " in error and "\n" not in error


def test_a_folder_that_cannot_be_written(photo: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be", "utf-8")
    assert run("predict", photo, "-m", "threshold", "-o", tmp_path / "taken") == 1
    assert "taken" in capsys.readouterr().err


def test_a_full_disk_fails_one_image_and_leaves_nothing_half_written(
    photo: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = photo.with_name("dog.png")
    cv2.imwrite(str(other), np.zeros((40, 60, 3), np.uint8))
    replace = Path.replace

    def full(self: Path, target: Path) -> Path:
        if target.name == "cat.labels.png":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    out = tmp_path / "out"
    assert run("predict", photo, other, "-m", "threshold", "-o", out) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert {"dog.json", "dog.labels.png", "dog.overlay.jpg"} <= set(names(out))
    assert not [name for name in names(out) if "tmp" in name or name.startswith(".")]


def test_wrong_usage_is_exit_code_two(photo: Path) -> None:
    assert run("predict") == 2
    assert run("predict", photo, "--nonsense") == 2
    assert run("predikt", photo) == 2


def test_the_installed_command_needs_no_network_and_no_torch_for_help() -> None:
    code = (
        "import sys; from vitrail.cli.main import app; "
        "heavy = {'torch', 'numpy', 'cv2', 'pydantic', 'yaml', 'rich.table'} & set(sys.modules); "
        "print(sorted(heavy))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_a_detector_is_set_and_says_when_it_left_objects_out(
    photo: Path, tmp_path: Path, capsys
) -> None:
    model, card = detector()
    checkpoint, out = tmp_path / "drawn.safetensors", tmp_path / "out"
    write_checkpoint(checkpoint, model, card)
    settings = ("--set", "score_threshold=0.3", "--set", "max_detections=3")
    assert run("predict", photo, "--model", checkpoint, "--out", out, *settings) == 0
    printed = capsys.readouterr()
    assert printed.err.count("max_detections") == 1 and "is shrunk" not in printed.err
    assert f"warning: {photo}: more than 3 objects" in printed.err
    assert names(out) == ["cat.instances.png", "cat.json", "cat.overlay.jpg"]
    content = json.loads((out / "cat.json").read_text("utf-8"))
    assert len(content["annotations"]) == 3 and content["vitrail"]["capped"]
    large = tmp_path / "large.png"
    cv2.imwrite(str(large), np.zeros((200, 200, 3), np.uint8))
    settings = ("--out", out, "--set", "image_size=32")
    assert run("predict", photo, large, "--model", checkpoint, *settings) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[0] for line in lines if "is shrunk" in line] == ["warning"]
    assert run("predict", photo, "--model", checkpoint, "--refine", "crf") == 1
    assert "refine is for networks that give every pixel a class" in capsys.readouterr().err
