"""``vitrail models show`` with an architecture, --image-size, --depth and --draw."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cli.test_predict import run
from vitrail.models.registry import build
from vitrail.models.summary import summarise

SMALL = ("--set", "encoder=resnet18", "--image-size", "64")


def test_an_architecture_is_measured(capsys) -> None:
    assert run("models", "show", "unet", *SMALL, "--depth", "1", "--set", "classes=3") == 0
    told = capsys.readouterr()
    summary = summarise(build("unet", {"encoder": "resnet18", "classes": 3}), 64, depth=1)
    assert str(summary) in told.out and "--set name=value" in told.out
    assert not told.err


def test_classes_are_assumed_aloud(capsys) -> None:
    assert run("models", "show", "unet", *SMALL, "--json") == 0
    told = capsys.readouterr()
    assert told.err == "note: classes=21 assumed; another number with --set classes=N\n"
    facts = json.loads(told.out)
    assert facts["arguments"] == {"encoder": "resnet18", "classes": 21}
    assert facts["measured"]["outputs"] == {"logits": [1, 21, 64, 64]}
    assert {layer["level"] for layer in facts["measured"]["layers"]} == {1, 2}


def test_bands_come_from_the_arguments(capsys) -> None:
    settings = ("--set", "in_channels=5", "--set", "start=4", "--set", "classes=2")
    assert run("models", "show", "unet-plain", *settings, "--depth", "1") == 0
    assert "at 5 bands of 512 x 512 px" in capsys.readouterr().out


def test_a_card_is_measured_at_its_own_size(capsys, tmp_path: Path) -> None:
    svg = tmp_path / "subjects.svg"
    assert run("models", "show", "subjects", "--draw", svg) == 0
    told = capsys.readouterr().out
    assert "name: subjects-unet-mobilenetv2" in told
    assert "UNet at 3 bands of 288 x 288 px" in told and f"drawing -> {svg}" in told
    texts = [one.text for one in ElementTree.parse(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert {"image", "3 x 288 x 288", "decoder.levels.4", "logits"} <= set(texts)
    assert run("models", "show", "subjects", "--image-size", "64", "--json") == 0
    card = json.loads(capsys.readouterr().out)
    assert card["name"] == "subjects-unet-mobilenetv2"
    assert card["measured"]["image"] == [3, 64, 64]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("unt",), "no model or architecture is called 'unt'; did you mean 'unet'?"),
        (("unet", "--set", "clases=2"), "unet: clases=2: Extra inputs"),
        (("unet", "--set", "encoder=resnet81"), "did you mean 'resnet18'"),
        (("subjects", "--set", "classes=2"), "stand in its card"),
        (("subjects", "--image-size", "4"), "image size 4: expected 8 to 16384 px"),
        (("subjects", "--depth", "0"), "depth 0: expected 1 to 9"),
        (("subjects", "--draw", "model.gif"), "model.gif: expected a name that ends in .svg"),
        (("subjects", "--draw", "nowhere/model.svg"), "cannot write nowhere/model.svg"),
        (("kmeans", "--depth", "2"), "kmeans is a classical method"),
    ],
)
def test_mistakes_end_in_one_line(
    arguments: tuple[str, ...],
    message: str,
    capsys,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("models", "show", *arguments) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("error: ") and message in lines[-1]
    assert not list(tmp_path.iterdir())
