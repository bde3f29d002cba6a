"""One's own detectors of torchvision and detectron2, of a few classes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torchvision.models import detection

import vitrail
from vitrail.cli.main import main
from vitrail.errors import ParameterError, WeightsError
from vitrail.weights.header import read_card
from vitrail.weights.importers.adopt_detector import DETECTORS, import_detector
from vitrail.weights.importers.adopted import ClassNames
from vitrail.weights.published.detection import DETECTION

FUNCTION = "fasterrcnn_mobilenet_v3_large_fpn"
NAMES = ClassNames(("car", "bus"))


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As torchvision's tutorial saves what it has fine-tuned: two classes and the background."""
    torch.manual_seed(0)
    network = getattr(detection, FUNCTION)(weights=None, weights_backbone=None, num_classes=3)
    path = tmp_path_factory.mktemp("theirs") / "model_9.pth"
    torch.save(network.state_dict(), path)
    return path


def test_each_function_has_a_published_network() -> None:
    published = {card.name: card for card in DETECTION}
    assert set(DETECTORS.values()) <= published.keys()
    for name, card in DETECTORS.items():
        assert ("mask" in name) == (published[card].architecture == "mask-rcnn")


def test_the_command_line(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "cars.safetensors"
    command = ["models", "import", str(state), "--architecture", FUNCTION, "--out", str(out)]
    with pytest.raises(SystemExit) as stop:
        main([*command, "--classes", "background,car,bus", "--image-size", "400"])
    assert not stop.value.code
    assert "faster-rcnn, classes car, bus" in capsys.readouterr().out
    card = read_card(out)
    assert (card.preprocessing.image_size, card.preprocessing.max_side) == (400, 666)
    assert "the published weights" in card.limits
    assert vitrail.load(out, device="cpu").card.classes == ("car", "bus")  # pyright: ignore
    for option, value, message in (
        ("--encoder", "resnet50", "says it already"),
        ("--resize", "stretch", "by its short side"),
    ):
        with pytest.raises(SystemExit) as stop:
            main([*command, "--classes", "a,b", option, value])
        assert stop.value.code and message in capsys.readouterr().err


def test_a_name_that_nobody_uses(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "x.safetensors")
    with pytest.raises(SystemExit) as stop:
        main(["models", "import", str(state), "--architecture", FUNCTION[:-1], "--out", out])
    assert stop.value.code and FUNCTION in capsys.readouterr().err


@pytest.mark.parametrize(
    ("function", "classes", "options", "error", "message"),
    [
        (FUNCTION, ClassNames(), {}, ParameterError, "objects of 2 classes.*does not name them"),
        (FUNCTION, ClassNames(("a",)), {}, ParameterError, "expected 2 names, or 2"),
        (FUNCTION, NAMES, {"mean": (0.5,)}, ParameterError, "mean"),
        (FUNCTION, NAMES, {"image_size": -3}, ParameterError, "image_size=-3"),
        ("maskrcnn_resnet50_fpn", NAMES, {}, WeightsError, "model_9.pth"),
        ("mask_rcnn_R_50_FPN", NAMES, {}, WeightsError, "not a network of detectron2's"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_written(
    function: str,
    classes: ClassNames,
    options: dict,
    error: type[Exception],
    message: str,
    state: Path,
    tmp_path: Path,
) -> None:
    with pytest.raises(error, match=message):
        import_detector(state, tmp_path / "x.safetensors", classes, function, **options)
    assert not list(tmp_path.iterdir())


def test_without_names_as_many_classes_as_coco_are_cocos(tmp_path: Path) -> None:
    network = getattr(detection, FUNCTION)(weights=None, weights_backbone=None)
    torch.save(network.state_dict(), tmp_path / "x.pth")
    card = import_detector(tmp_path / "x.pth", tmp_path / "x.safetensors", ClassNames(), FUNCTION)
    assert card.classes[:3] == ("person", "bicycle", "car") and len(card.classes) == 90
    assert "COCO's is assumed" in card.limits
