"""``vitrail evaluate``: what it prints and writes, and how each kind of bad input ends."""

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

import vitrail
from tests.cli.test_predict import names, run
from tests.data.listed import Listed
from tests.drawn import write_discs
from tests.evaluate.oracle import oracle
from tests.real_data import real
from vitrail.evaluate.run import evaluate
from vitrail.evaluate.settings import Settings

CLASSES = ("--option", "classes=ground,person,animal", "--option", "background=ground")


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photos; the truth is what the model finds, with a strip of it changed and some void."""
    root = tmp_path_factory.mktemp("sets") / "pets"
    segmenter = vitrail.load("subjects", precision="float32")
    for folder in ("images", "masks"):
        (root / "val" / folder).mkdir(parents=True)
    for name, picture in (("cat", data.chelsea()), ("face", data.astronaut())):
        small = cv2.resize(picture, (160, 120), interpolation=cv2.INTER_AREA)
        labels = segmenter(small).labels.copy()
        labels[:, :20] = 0
        labels[:10] = 255
        cv2.imwrite(str(root / "val" / "images" / f"{name}.png"), small[..., ::-1])
        cv2.imwrite(str(root / "val" / "masks" / f"{name}.png"), labels)
    return root


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def test_everything_at_once(pets: Path, tmp_path: Path, wide: None, capsys) -> None:
    out, file = tmp_path / "out", tmp_path / "all.json"
    arguments = ("--explain", "--boundary", "--out", out, "--json", file, "--bootstrap", 100)
    precise = ("--precision", "float32", "--device", "cpu")
    assert run("evaluate", "subjects", pets, *CLASSES, *arguments, *precise) == 0
    told = capsys.readouterr()
    assert "index-masks" in told.err
    for words in ("IoU", "Dice", "precision", "recall", "boundary F", "AP", "person", "mean"):
        assert words in told.out
    for words in ("pixel accuracy 0.", "frequency-weighted IoU 0.", "The biggest difference: "):
        assert words in told.out
    line = " ".join(told.out.split())
    assert "8.33% void pixels left out" in line and "subjects-unet-mobilenetv2 (sha256 " in line
    assert "on cpu, float32" in line and "split val, 2 images" in line
    assert "the background ('ground') included" in line
    assert "ground (data) and background (model) as ground" in line
    written = ["confusion.png", "curves.png", "images.csv", "metrics.json", "worst.jpg"]
    assert names(out) == written
    content = json.loads(file.read_text())
    assert content == json.loads((out / "metrics.json").read_text())
    assert f"{content['scores']['mean_iou']:.4f}" in told.out
    low, high = content["intervals"]["mean_iou"]
    assert low <= content["scores"]["mean_iou"] <= high
    protocols = {one["name"]: one["mean_iou"] for one in content["explain"]["protocols"]}
    assert protocols["pooled over pixels (reported)"] == content["scores"]["mean_iou"]
    assert 0.5 < protocols["at the network's input size"] < 1
    with (out / "images.csv").open() as rows:
        table = list(csv.DictReader(rows))
    assert [row["image"] for row in table] == ["cat", "face"]
    assert [row["void"] for row in table] == ["1600", "1600"]


def test_numbers_are_those_of_the_label_maps(pets: Path, capsys) -> None:
    segmenter = vitrail.load("subjects", precision="float32")
    counts = np.zeros((3, 3), int)
    for name in ("cat", "face"):
        truth = cv2.imread(str(pets / "val" / "masks" / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        found = segmenter(pets / "val" / "images" / f"{name}.png").labels
        np.add.at(counts, (truth[truth < 255], found[truth < 255]), 1)
    arguments = ("--json", "-", "--bootstrap", 0, "--precision", "float32", "--batch-size", 2)
    assert run("evaluate", "subjects", pets, *CLASSES, *arguments) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["confusion"] == counts.tolist()
    assert content["intervals"] == {} and content["classes"] == ["ground", "person", "animal"]
    assert 0.9 < content["per_class"]["animal"]["average_precision"] <= 1


def test_parameters_of_the_model_are_part_of_the_protocol(pets: Path, capsys) -> None:
    chosen = ("--set", "flip=true", "--set", "scales=[1, 1.25]")
    assert run("evaluate", "subjects", pets, *CLASSES, *chosen, "--json", "-") == 0
    content = json.loads(capsys.readouterr().out)
    assert content["params"] == {"flip": True, "scales": [1, 1.25]}
    assert ", flip=true, scales=[1, 1.25]; " in content["protocol"]


def test_classes_are_matched_or_said(pets: Path, tmp_path: Path, capsys) -> None:
    assert run("evaluate", "subjects", pets) == 1
    assert "--option 'classes=background,person,animal'" in capsys.readouterr().err
    renamed = ("--option", "classes=ground,human,beast", "--option", "background=ground")
    assert run("evaluate", "subjects", pets, *renamed) == 1
    assert "without a partner" in capsys.readouterr().err
    maps = ("--map", "person=human", "--map", "animal = beast", "--bootstrap", 0)
    assert run("evaluate", "subjects", pets, *renamed, *maps) == 0
    assert "human (data) and person (model) as human" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--map", "person"), "--map 'person': expected CLASS=CLASS"),
        (("--map", "a=b", "--map", "a=c"), "'a' is mapped twice"),
        (("--split", "vall"), "did you mean 'val'"),
        (("--option", "klasses=a"), "has no option 'klasses'"),
        (("--format", "cocoo"), "did you mean 'coco'"),
        (("--set", "k=3"), "has no parameter 'k'"),
        (("--precision", "double"), "precision='double'"),
    ],
)
def test_bad_arguments_end_in_one_line(
    pets: Path, arguments: tuple[str, ...], message: str, capsys
) -> None:
    assert run("evaluate", "subjects", pets, *arguments) == 1
    told = capsys.readouterr().err
    assert message in told and "Traceback" not in told


def test_no_such_model_and_no_such_data(pets: Path, tmp_path: Path, capsys) -> None:
    assert run("evaluate", "subjcts", pets) == 1
    assert "did you mean 'subjects'" in capsys.readouterr().err
    assert run("evaluate", "subjects", tmp_path / "none") == 1
    assert "no such file or folder" in capsys.readouterr().err
    assert run("evaluate", "subjects", pets, "--bootstrap", "-1") == 2


def test_a_set_without_val_needs_a_split(tmp_path: Path, capsys) -> None:
    root = write_discs(tmp_path / "discs")
    (root / "val").rename(root / "test")
    assert run("evaluate", "subjects", root) == 1
    assert "say which with --split: train, test" in capsys.readouterr().err


def test_an_unreadable_image_is_reported_and_exits_1(pets: Path, tmp_path: Path, capsys) -> None:
    root = tmp_path / "pets"
    shutil.copytree(pets, root)
    (root / "val" / "images" / "cat.png").write_bytes(b"\x89PNG\r\n\x1a\n cut")
    out = tmp_path / "out"
    assert run("evaluate", "subjects", root, *CLASSES, "--bootstrap", 0, "--out", out) == 1
    told = capsys.readouterr()
    assert "cat.png" in told.err and "1 of 2 images were left out" in told.err
    assert "1 image (1 left out" in " ".join(told.out.split())
    assert len(json.loads((out / "metrics.json").read_text())["failures"]) == 1


def test_methods_with_classes_and_without(tmp_path: Path, capsys) -> None:
    root = write_discs(tmp_path / "discs", train=1, val=4)
    said = ("--option", "classes=background,disc,square", "--option", "background=background")
    maps = ("--map", "object=disc", "--map", "square=disc", "--bootstrap", 0)
    bright = ("--set", "object=bright", "--set", "method=otsu")
    assert run("evaluate", "threshold", root, *said, *maps, *bright, "--json", "-") == 0
    content = json.loads(capsys.readouterr().out)
    assert content["classes"] == ["background", "disc"]
    assert content["scores"]["mean_iou"] > 0.95 and content["sha256"] is None
    assert run("evaluate", "kmeans", root, *said) == 1
    assert "kmeans answers in regions" in capsys.readouterr().err


def test_objects_are_shown_by_cocos_numbers(tmp_path: Path, wide: None, capsys) -> None:
    from tests.evaluate.test_instances import BOTH, CAT, DOG, SPACE, SUBJECT, found
    from vitrail.cli.evaluate_tables import show
    from vitrail.evaluate.report import protocol, to_json, write_files

    source = Listed([BOTH], SPACE)
    evaluation = evaluate(oracle({"a": found((3, 5), CAT, DOG)}), source, Settings(explain=True))
    show(evaluation, protocol(evaluation, SUBJECT))
    told = capsys.readouterr().out
    assert "AR@100" in told and "1.0000" in told and "COCO's protocol: masks and boxes" in told
    assert "StarDist: pooled over all objects" in told
    assert "Data Science Bowl 2018: mean over images" in told
    assert "the same objects under other protocols" in told and "by score threshold" in told
    content = to_json(evaluation, SUBJECT)
    assert [path.name for path in write_files(evaluation, content, tmp_path)] == ["metrics.json"]
    assert content["ap_per_class"]["dog"]["mask"] == pytest.approx(1)
    assert content["one_to_one"][0] == {"score_threshold": 0.0} | dict.fromkeys(
        ("dsb_ap", "dsb_ap@0.5", "pooled_ap", "pooled_ap@0.5"), 1.0
    )
    assert content["max_detections"] == 100 and len(content["explain"]["protocols"]) >= 4


def test_an_output_that_cannot_be_written(pets: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "file").write_text("")
    where = tmp_path / "file" / "out"
    assert run("evaluate", "subjects", pets, *CLASSES, "--bootstrap", 0, "--out", where) == 1
    assert "cannot write" in capsys.readouterr().err


@pytest.mark.data
@pytest.mark.slow
def test_the_default_model_reaches_what_its_card_says(capsys) -> None:
    """As benchmarks/default_model.py measures it."""
    root = real("subjects")
    said = ("--option", "classes=background,person,animal", "--option", "background=background")
    arguments = ("--split", "val", "--json", "-", "--bootstrap", 0)
    assert run("evaluate", "subjects", root, *said, *arguments) == 0
    assert json.loads(capsys.readouterr().out)["scores"]["mean_iou"] == pytest.approx(
        0.8543, abs=2e-4
    )
