"""``vitrail data convert`` and ``vitrail data formats``."""

import json
import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from tests.cli.interruptible import COMMAND
from tests.cli.test_predict import run
from tests.data.listed import Listed, drawn, mapped, sample
from vitrail.cli.data.formats import describe
from vitrail.data.convert import convert
from vitrail.data.formats import formats
from vitrail.data.formats.files import read_text
from vitrail.data.opening import open_dataset
from vitrail.data.sample import Instance, LabelSpace
from vitrail.errors import DataError

THINGS = LabelSpace(("cat", "dog"))
SQUARE = [".....", ".###.", ".###.", ".###.", "....."]
DOT = [".....", ".....", "..#..", ".....", "....."]


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Two splits; the second has a dog that lies on a cat."""
    parts = {
        "train": Listed([sample("a", (5, 5), drawn(0, SQUARE), seed=1)], THINGS),
        "val": Listed([sample("b", (5, 5), drawn(0, SQUARE), drawn(1, DOT), seed=2)], THINGS),
    }
    convert(parts, tmp_path / "in", "coco")
    return tmp_path / "in"


def test_lossless(coco: Path, tmp_path: Path, capsys) -> None:
    assert run("data", "convert", coco, tmp_path / "out", "--to", "yolo") == 0
    told = capsys.readouterr()
    assert "lossless" in told.out and "images: 1 train, 1 val" in told.out
    assert f"{coco}: coco (" in told.err
    assert open_dataset(tmp_path / "out").format == "yolo"


def test_a_loss_is_refused_with_the_report(coco: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    assert run("data", "convert", coco, out, "--to", "instance-ids") == 1
    told = capsys.readouterr()
    assert "lost: 1 of 3 masks change (mean IoU of all 0.9629)" in told.out
    assert "lost: 1 px is lost where objects overlap" in told.out
    assert "nothing was written; --allow-lossy" in told.err
    assert not out.exists() and sorted(path.name for path in tmp_path.iterdir()) == ["in"]
    assert run("data", "convert", coco, out, "--to", "instance-ids", "--allow-lossy") == 0
    assert open_dataset(out).format == "instance-ids"


@pytest.mark.parametrize("allowed", [True, False])
def test_json(coco: Path, tmp_path: Path, capsys, allowed: bool) -> None:
    flags = ["--allow-lossy"] if allowed else []
    code = run("data", "convert", coco, tmp_path / "o", "--to", "instance-ids", "--json", *flags)
    report = json.loads(capsys.readouterr().out)
    assert code == (0 if allowed else 1)
    assert (report["written"], report["lossless"]) == (allowed, False)
    assert report["images"] == {"train": 1, "val": 1}
    cat, dog = report["classes"]
    assert (cat["name"], cat["instances_in"], cat["instances_out"]) == ("cat", 2, 2)
    assert cat["mean_iou"] == pytest.approx((1 + 8 / 9) / 2)
    assert cat["overlap_pixels"] == 1 and dog["mean_iou"] == 1.0


def test_boxes_that_become_outlines_are_told(tmp_path: Path, capsys) -> None:
    box = Instance.from_box(1, (1.0, 1.0, 4.0, 3.0), (5, 5))
    parts = {"train": Listed([sample("a", (5, 5), drawn(0, SQUARE), box, seed=1)], THINGS)}
    convert(parts, tmp_path / "in", "coco")
    arguments = ["data", "convert", tmp_path / "in", tmp_path / "out", "--to", "yolo"]
    assert run(*arguments) == 1
    assert "lost: 1 bare box does not come back" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    assert run(*arguments, "--allow-lossy", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["boxes_dropped"] for one in told["classes"]] == [0, 1]
    assert [one["instances_out"] for one in told["classes"]] == [1, 1]
    # Told once; from there on, they are areas and come back as such.
    assert run("data", "convert", tmp_path / "out", tmp_path / "again", "--to", "coco") == 0


def test_a_class_name_with_blanks(tmp_path: Path, capsys) -> None:
    """Kept where it can be; where not, the message says which name, why, and how to rename it."""
    space = LabelSpace((" cat", "dog"))
    parts = {"train": Listed([sample("a", (5, 5), drawn(0, SQUARE), seed=1)], space)}
    convert(parts, tmp_path / "in", "coco")
    assert open_dataset(tmp_path / "in").space.classes == (" cat", "dog")
    for format in ("cvat", "voc", "labelme", "openimages", "camvid"):
        arguments = ["data", "convert", tmp_path / "in", tmp_path / format, "--to", format]
        assert run(*arguments) == 1
        told = capsys.readouterr().err
        assert "the class name ' cat' begins or ends with a blank" in told
        assert "--rename 'cat=cat'" in told and not (tmp_path / format).exists()
        assert run(*arguments, "--rename", "cat=cat", "--allow-lossy") == 0
        assert "cat" in open_dataset(tmp_path / format, format).space.classes
    assert run("data", "convert", tmp_path / "in", tmp_path / "out", "--to", "yolo") == 0
    assert open_dataset(tmp_path / "out").space.classes == (" cat", "dog")
    arguments = ["data", "convert", tmp_path / "in", tmp_path / "one", "--to", "yolo"]
    assert run(*arguments, "--classes", "cat") == 0
    assert open_dataset(tmp_path / "one").space.classes == (" cat",)


@pytest.mark.parametrize(
    ("name", "format", "message"),
    [
        ("a\nb", "cvat", "'a\\nb' has a line break, which this format does not keep"),
        (" ", "voc", "' ' is empty or blank, which labelmap.txt does not keep; name the class"),
        ("a:b", "voc", "'a:b' cannot stand in labelmap.txt, whose fields are divided by colons"),
        ("__ignore__", "labelme", "means something else in this format"),
    ],
)
def test_class_names_that_a_format_cannot_hold(
    tmp_path: Path, name: str, format: str, message: str
) -> None:
    parts = {"train": Listed([sample("a", (5, 5), drawn(0, SQUARE))], LabelSpace((name, "b")))}
    with pytest.raises(DataError) as caught:
        convert(parts, tmp_path / "out", format)
    assert message in str(caught.value)


def test_splits_classes_and_names(coco: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["--to", "coco", "--splits", "val", "--classes", "dog", "--rename", "dog=beast"]
    assert run("data", "convert", coco, out, *arguments) == 0
    made = open_dataset(out)
    assert (made.splits, made.space.classes) == (("val",), ("beast",))
    assert [one.class_id for one in made["val"][0].instances or ()] == [0]


def test_classes_are_merged(coco: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["--rename", "dog=animal", "--rename", "cat=animal", "--overwrite"]
    assert run("data", "convert", coco, out, "--to", "coco", *arguments) == 0
    assert open_dataset(out).space.classes == ("animal",)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "cocoo"], "did you mean 'coco'"),
        (["--to", "coco", "--classes", "dgo"], "did you mean 'dog'"),
        (["--to", "coco", "--rename", "dog"], "expected old=new"),
        (["--to", "coco", "--splits", "vla"], "did you mean 'val'"),
        (["--to", "coco", "--to-set", "encoding"], "--to-set 'encoding': expected key=value"),
        (["--to", "coco", "--to-set", "encoding=dots"], "encoding='dots'"),
        (["--to", "coco", "--to-set", "encoding=[", "--json"], "is not a valid value"),
        (["--to", "coco", "--set", "imagse=x"], "no option 'imagse'; did you mean 'images'"),
        (["--to", "coco", "--format", "voc"], ""),
    ],
)
def test_mistakes(coco: Path, tmp_path: Path, capsys, arguments: list[str], message: str) -> None:
    assert run("data", "convert", coco, tmp_path / "out", *arguments) == 1
    told = capsys.readouterr().err
    assert message in told and "error: " in told and "Traceback" not in told
    assert not (tmp_path / "out").exists()


def test_nothing_there(tmp_path: Path, capsys) -> None:
    assert run("data", "convert", tmp_path / "no", tmp_path / "out", "--to", "coco") == 1
    assert "no such file or folder" in capsys.readouterr().err
    assert run("data", "convert", tmp_path) == 2


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("number", "code", "told"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_ctrl_c_leaves_nothing(tmp_path: Path, number: int, code: int, told: str) -> None:
    """A real interrupt of a real process, as soon as it has begun to write."""
    many = [mapped(f"im{i:05d}", ["0" * 64] * 64, seed=i) for i in range(1500)]
    convert({"all": Listed(many, LabelSpace(("ground", "x"), 0))}, tmp_path / "in", "index-masks")
    process = subprocess.Popen(
        [*COMMAND, "data", "convert", tmp_path / "in", tmp_path / "out", "--to", "colour-masks"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".*/*")) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.send_signal(number)
    for _ in range(3 if number == signal.SIGTERM else 0):  # `timeout` sends it more than once
        time.sleep(0.005)
        process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert out == "" and err.splitlines()[1:] == [told]  # after the line on the format
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_formats_are_listed(capsys) -> None:
    assert run("data", "formats", "--json") == 0
    listed = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(listed) == set(formats())
    assert listed["coco"]["writes"] and listed["coco"]["kind"] == "instances"
    assert listed["index-masks"]["lacks"] == ["objects"]
    assert run("data", "formats") == 0
    assert "index-masks" in capsys.readouterr().out


@pytest.mark.parametrize("name", list(formats()))
def test_every_option_says_what_it_means(name: str, capsys) -> None:
    assert run("data", "formats", name, "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    for options, model in (
        ("options", formats()[name].options),
        ("write_options", formats()[name].write_options),
    ):
        if options == "write_options" and not shown["writes"]:
            continue
        assert {row["name"] for row in shown[options]} == set(model.model_fields)
        assert all(row["meaning"] and row["type"] for row in shown[options])
    assert run("data", "formats", name) == 0
    assert name in capsys.readouterr().out


def test_an_unknown_format(capsys) -> None:
    assert run("data", "formats", "cocos") == 1
    assert "did you mean 'coco'" in capsys.readouterr().err


def test_the_page_on_data_sets_lists_the_formats_as_they_are() -> None:
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text("utf-8")
    rows = [line.split("|")[1:-1] for line in page.splitlines() if line.startswith("| `")]
    listed = {row[0].strip(" `"): [cell.strip() for cell in row[1:]] for row in rows}
    assert list(listed) == list(formats())
    for name, format in formats().items():
        told = describe(format)
        kind = {"labels": "pixels", "instances": "objects", "both": "both"}[format.kind]
        lacks = ", ".join(told["lacks"]) if format.write else ""
        assert listed[name] == [format.summary, kind, "yes" if format.write else "", lacks]


def test_what_a_reader_leaves_out_is_lost(tmp_path: Path, capsys) -> None:
    """A labelme line has no area: no format of objects could take it."""
    source = tmp_path / "in"
    source.mkdir()
    cv2.imwrite(str(source / "a.png"), np.zeros((8, 8, 3), np.uint8))
    square = {"label": "cat", "shape_type": "polygon", "points": [[1, 1], [5, 1], [5, 5], [1, 5]]}
    line = {"label": "cat", "shape_type": "line", "points": [[1, 1], [5, 5]]}
    content = {"imagePath": "a.png", "imageData": None, "imageHeight": 8, "imageWidth": 8}
    (source / "a.json").write_text(json.dumps(content | {"version": "5", "shapes": [square, line]}))
    assert run("data", "convert", source, tmp_path / "out", "--to", "coco") == 1
    told = capsys.readouterr().out
    assert "lost: 1 annotation was not read" in told and "'line'" in told
    assert "lossless" not in told and not (tmp_path / "out").exists()


def test_a_set_is_not_written_into_itself(coco: Path, capsys) -> None:
    assert run("data", "convert", coco, coco / "sub", "--to", "yolo") == 1
    assert "lies in the data set that it is made from" in capsys.readouterr().err
    assert not (coco / "sub").exists()


def test_yolo_gets_a_val_and_no_crowds(tmp_path: Path) -> None:
    crowd = replace(drawn(0, SQUARE), crowd=True)
    parts = {
        "train": Listed([sample("a", (5, 5), drawn(0, SQUARE), seed=1)], THINGS),
        "valid": Listed([sample("b", (5, 5), drawn(1, DOT), crowd, seed=2)], THINGS),
    }
    report = convert(parts, tmp_path / "out", "yolo", allow_lossy=True)
    assert any("1 crowd" in loss for loss in report.losses)
    assert yaml.safe_load((tmp_path / "out" / "data.yaml").read_text())["val"] == "images/valid"
    (text,) = (tmp_path / "out" / "labels" / "valid").iterdir()
    assert [line.split()[0] for line in text.read_text().splitlines()] == ["1"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path: Path, capsys) -> None:
    os.mkfifo(tmp_path / "a.json")
    assert run("data", "convert", tmp_path, tmp_path.parent / "out", "--to", "coco") == 1
    assert "no known layout" in capsys.readouterr().err
    with pytest.raises(DataError, match="is a pipe"):
        read_text(tmp_path / "a.json")
