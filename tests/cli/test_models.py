"""``vitrail models`` and ``vitrail doctor``."""

import json

import pytest

from tests.cli.test_predict import run
from vitrail.classical import METHODS
from vitrail.weights.catalog import DEFAULT_MODEL


def test_list_names_everything(capsys) -> None:
    assert run("models", "list", "--json") == 0
    listed = {model["name"]: model for model in json.loads(capsys.readouterr().out)}
    assert set(METHODS) | {DEFAULT_MODEL} <= set(listed)
    assert listed[DEFAULT_MODEL]["classes"] == ["background", "person", "animal"]
    assert all(model["summary"] for model in listed.values())
    assert run("models", "list") == 0
    assert DEFAULT_MODEL in capsys.readouterr().out


@pytest.mark.parametrize("name", METHODS)
def test_every_parameter_says_what_it_means(name: str, capsys) -> None:
    assert run("models", "show", name, "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert {row["name"] for row in shown["parameters"]} == set(METHODS[name].model_fields)
    assert all(row["meaning"] and row["type"] for row in shown["parameters"])


def test_the_default_models_card_is_complete(capsys) -> None:
    assert run("models", "show", "subjects", "--json") == 0
    card = json.loads(capsys.readouterr().out)
    assert card["name"] == DEFAULT_MODEL
    for score in card["scores"]:
        assert score["split"] == "val" and "original image size" in score["protocol"]
        assert {"mean_iou", "iou_person", "iou_animal"} <= set(score["values"])
        assert score["command"].startswith("python benchmarks/default_model.py")
    assert "recipes/default-model.sh" in card["training_command"]
    assert "COCO" in card["training_data"] and card["licences"]["training_data"]
    assert "person" in card["limits"]


def test_show_knows_neighbours(capsys) -> None:
    assert run("models", "show", "subject") == 1
    assert "did you mean 'subjects" in capsys.readouterr().err


def test_doctor_finds_this_machine_well(capsys) -> None:
    assert run("doctor", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["default model"]["ok"]
    assert facts["default model"]["precision_agreement"] > 0.995
    assert {"vitrail", "torch", "device", "threads", "cache"} <= set(facts)


def test_doctor_sees_a_damaged_model(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that no longer predict correctly must not pass."""
    import torch

    from vitrail.weights import importers

    read = importers.read_tensors
    monkeypatch.setattr(
        importers,
        "read_tensors",
        lambda path: {k: torch.zeros_like(v) for k, v in read(path).items()},
    )
    assert run("doctor", "--json") == 1
    assert not json.loads(capsys.readouterr().out)["default model"]["ok"]


def test_published_models_are_told_apart(capsys, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("VITRAIL_CACHE", str(tmp_path))
    assert run("models", "list", "--json") == 0
    listed = {model["name"]: model for model in json.loads(capsys.readouterr().out)}
    published = listed["lraspp-mobilenetv3-coco"]
    assert not published["stored"] and 13e6 < published["download"] < 13.2e6
    assert "COCO" in published["licence"]
    assert listed[DEFAULT_MODEL]["stored"] and not listed[DEFAULT_MODEL]["download"]
    assert run("models", "list") == 0
    assert "13 MB to fetch" in capsys.readouterr().out


def test_fetch_says_where_and_what_for(capsys, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("VITRAIL_CACHE", str(tmp_path))
    monkeypatch.setenv("VITRAIL_OFFLINE", "1")
    assert run("models", "fetch", "subjects") == 0
    assert "ships with vitrail" in capsys.readouterr().out
    assert run("models", "fetch", "deeplabv3-resnet50-coco") == 1
    message = capsys.readouterr().err
    assert "deeplabv3_resnet50_coco-cd0a2569.pth" in message and str(tmp_path) in message
    assert run("models", "fetch", "subjects", "deeplabv3-resnet50") == 1
    assert "did you mean 'deeplabv3-resnet50-coco'" in capsys.readouterr().err


def test_fetch_knows_what_has_no_weights(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "fetch", "kmeans") == 0
    assert "kmeans: a classical method, works without weights" in capsys.readouterr().out
    assert run("models", "fetch", "kmean") == 1
    assert "no model with weights is called 'kmean'; known names: " in capsys.readouterr().err
