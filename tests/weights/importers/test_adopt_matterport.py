"""matterport's files as ours: what the card says, and that the network stays the same."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.drawn_matterport import encoder, heads
from vitrail.cli.main import main
from vitrail.errors import ParameterError
from vitrail.models.registry import build
from vitrail.weights.files import check_state, read_tensors
from vitrail.weights.header import read_card
from vitrail.weights.importers import adopt_matterport
from vitrail.weights.importers.adopt_matterport import import_matterport
from vitrail.weights.importers.adopted import ClassNames
from vitrail.weights.importers.matterport import Matterport, from_matterport
from vitrail.weights.published.coco import COCO_CLASSES

NAMES = ClassNames(("balloon", "kite", "bird"))


@pytest.fixture(scope="module")
def whole() -> dict[int, Matterport]:
    """Networks by their number of classes."""
    body = encoder()
    return {classes: from_matterport(body | heads(classes=classes + 1)) for classes in (3, 80)}


@pytest.fixture
def three(whole: dict[int, Matterport], monkeypatch: pytest.MonkeyPatch) -> Matterport:
    """As if read from the file; how that is done is tested beside its reader."""
    monkeypatch.setattr(adopt_matterport, "read_whole_matterport", lambda path: whole[3])
    return whole[3]


def test_the_card_and_the_tensors(three: Matterport, tmp_path: Path) -> None:
    out = tmp_path / "Balloons v2.safetensors"
    card = import_matterport(
        Path("x.h5"), out, NAMES, image_size=512, min_side=400, anchor_sizes=(8, 16, 32, 64, 128)
    )
    assert read_card(out).model_dump(mode="json") == card.model_dump(mode="json")
    assert card.name == "balloons-v2" and card.classes == NAMES.names and card.background is None
    used = card.preprocessing
    assert (used.resize, used.image_size, used.min_side) == ("square", 512, 400)
    np.testing.assert_allclose(np.multiply(used.mean, 255), (123.7, 116.8, 103.9))
    tensors = read_tensors(out)
    assert all(torch.equal(tensors[name], values) for name, values in three.tensors.items())
    with torch.device("meta"):
        network = build(card.architecture, card.arguments)
    check_state(network, tensors, out)
    assert network.arguments.anchors.sizes == (8, 16, 32, 64, 128)
    assert network.arguments.anchors.ratios == (2, 1, 0.5)


def test_the_background_may_be_named_or_not(three: Matterport, tmp_path: Path) -> None:
    out = tmp_path / "x.safetensors"
    assert import_matterport(Path("x.h5"), out, ClassNames(("BG", *NAMES.names))).classes == (
        NAMES.names
    )
    unknown = import_matterport(Path("x.h5"), out, ClassNames(count=3))
    assert unknown.classes == ("unknown 0", "unknown 1", "unknown 2")
    assert "unknown" in unknown.limits


def test_eighty_classes_are_cocos(
    whole: dict[int, Matterport], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(adopt_matterport, "read_whole_matterport", lambda path: whole[80])
    card = import_matterport(Path("x.h5"), tmp_path / "x.safetensors", ClassNames())
    assert card.classes == COCO_CLASSES and "COCO's is assumed" in card.limits


@pytest.mark.parametrize(
    "classes, options, message",
    [
        (ClassNames(), {}, r"x\.h5: the network finds objects of 3 classes.*give --classes with 3"),
        (ClassNames(("a", "b")), {}, r"--classes a, b: expected 3 names, or 3"),
        (ClassNames(("a", "b", "c", "d")), {}, r"--classes a, b, c, d: expected 3 names"),
        (ClassNames(count=4), {}, r"--classes 4: expected 3 names"),
        (ClassNames(("a", "b", "a")), {}, "twice"),
        (NAMES, {"image_size": 100, "min_side": 800}, r"min_side=800 is above image_size=100"),
        (NAMES, {"anchor_sizes": (32, 64)}, r"anchor_sizes=\(32, 64\).*five sizes"),
        (NAMES, {"mean": (0.5,)}, "mean"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_written(
    classes: ClassNames, options: dict, message: str, three: Matterport, tmp_path: Path
) -> None:
    with pytest.raises(ParameterError, match=message):
        import_matterport(Path("x.h5"), tmp_path / "x.safetensors", classes, **options)
    assert not list(tmp_path.iterdir())


def test_the_command_line(
    three: Matterport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.safetensors"
    command = ["models", "import", "x.h5", "--out", str(out), "--classes", "BG,balloon,kite,bird"]
    sizes = ["--image-size", "512", "--min-side", "400", "--anchor-sizes", "8,16,32,64,128"]
    with pytest.raises(SystemExit) as stop:
        main(command + sizes)
    assert not stop.value.code
    assert "mask-rcnn, classes balloon, kite, bird" in capsys.readouterr().out
    card = read_card(out)
    assert card.preprocessing.image_size == 512 and card.preprocessing.min_side == 400
    assert card.arguments["anchors"] == {"ratios": [2, 1, 0.5], "sizes": [8, 16, 32, 64, 128]}
    with pytest.raises(SystemExit) as stop:
        main([*command, "--encoder", "resnet50"])
    assert stop.value.code and "says itself" in capsys.readouterr().err
