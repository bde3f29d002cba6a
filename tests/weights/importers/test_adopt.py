"""Other projects' checkpoints, imported by the command line and from Python."""

import json
from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import torch
from safetensors.torch import save_file
from torchvision.models import segmentation

import vitrail
from tests.cli.test_predict import run
from vitrail.errors import ParameterError, UnknownNameError, WeightsError
from vitrail.weights.header import read_card
from vitrail.weights.importers import tensors_for
from vitrail.weights.importers.adopt import import_checkpoint
from vitrail.weights.importers.adopted import ClassNames
from vitrail.weights.importers.mobilenetv2 import timm_keys
from vitrail.weights.importers.smp import read_smp
from vitrail.weights.importers.torchvision import from_torchvision
from vitrail.weights.published import PUBLISHED

STATE = "model.safetensors"
WIDTHS = (32, 16, 16, 8, 8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Unet of smp's with one output, as save_pretrained and as torch.save leave it."""
    torch.manual_seed(0)
    where = tmp_path_factory.mktemp("smp")
    model = smp.Unet("resnet18", encoder_weights=None, decoder_channels=WIDTHS, classes=1)
    model.save_pretrained(str(where))
    torch.save(model.state_dict(), where / "best.pth")
    return where


def test_the_command_makes_a_model_that_predicts(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "My Net.safetensors"
    options = ["--classes", "background,cell", "--image-size", "64", "--resize", "stretch"]
    assert run("models", "import", str(folder), "--out", str(out), *options) == 0
    printed = capsys.readouterr()
    assert "unet, classes background, cell" in printed.out and "assumed" in printed.err
    card = read_card(out)
    assert card.name == "my-net" and card.classes == ("background", "cell")
    assert card.background == 0 and card.preprocessing.resize == "stretch"
    assert card.preprocessing.mean == (0.485, 0.456, 0.406)
    assert "not stated" in card.licences.weights and card.scores == ()
    result = vitrail.load(out, device="cpu")(torch.zeros(3, 50, 70))
    assert result.size == (50, 70) and result.classes == ("background", "cell")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "2 classes apart .its one output is .* give --classes with 2 names"),
        (["--classes", "cell"], "--classes cell: expected 2 names, or 2"),
        (["--classes", "3"], "--classes 3: expected 2 names, or 2"),
        (["--classes", "cell,cell"], "stands there twice"),
        (["--classes", "2", "--image-size", "20000"], "image_size=20000"),
        (["--classes", "2", "--resize", "crop"], "resize='crop'"),
        (["--classes", "2", "--mean", "0,0,0"], "give both"),
        (["--classes", "2", "--mean", "0,0", "--std", "1,1"], "has? ?.*2 values.*3 bands"),
        (["--classes", "2", "--mean", "0,0,x", "--std", "1,1,1"], "--mean 0,0,x: expected"),
        (["--classes", "2", "--mean", "nan,0,0", "--std", "1,1,1"], "must be finite"),
        (["--classes", "2", "--mean", "0,0,0", "--std", "1,nan,1"], "must be finite"),
        (["--classes", "\N{SUPERSCRIPT TWO}"], "--classes \N{SUPERSCRIPT TWO}: expected 2 names"),
        (["--classes", "9" * 5000], "expected 2 names, or 2"),
        (["--classes", "2", "--encoder", "tu-"], "name is empty"),
        (["--classes", "2", "--architecture", "Linknet"], "no architecture .* 'Linknet'"),
        (["--classes", "2", "--encoder", "timm-resnest14d"], "cannot be imported.*resnet18"),
        (["--classes", "2", "--encoder", "tu-resnet999"], "no timm encoder"),
        (["--classes", "2", "--encoder", "resnet34"], "does not fit the model: lacks"),
        (["--classes", "2", "--architecture", "FPN"], "is not the state of smp's FPN"),
        (["--classes", "2", "--architecture", "fcn_resnet50"], "cannot be read|not a file"),
    ],
)
def test_mistakes_end_in_one_line(
    options: list[str],
    message: str,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import re

    out = tmp_path / "x.safetensors"
    assert run("models", "import", str(folder), "--out", str(out), *options) == 1
    printed = capsys.readouterr().err
    assert re.search(message, printed) and printed.count("\n") == 1
    assert not out.exists()


def test_unknown_names_are_said_to_be_unknown(folder: Path, tmp_path: Path) -> None:
    card = import_checkpoint(
        folder / "best.pth",
        tmp_path / "x.safetensors",
        ClassNames.parse("2"),
        architecture="Unet",
        encoder="resnet18",
    )
    assert card.classes == ("unknown 0", "unknown 1")
    assert "names of its classes are unknown" in card.limits


def test_a_file_that_does_not_say_what_it_is(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"does not say its architecture; give --architecture"):
        read_smp(folder / "best.pth", encoder="resnet18")
    with pytest.raises(WeightsError, match=r"does not say its encoder"):
        read_smp(folder / "best.pth", architecture="Unet")
    with pytest.raises(WeightsError, match=r"config.json: no such file"):
        read_smp(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ('"decoder_attention_type": "scse"', "decoder_attention_type='scse' is not supported"),
        ('"aux_params": {"classes": 4}', "aux_params="),
        ('"encoder_depth": 4', "encoder_depth=4 is not supported; only 5"),
        ('"decoder_interpolation": "bilinear"', "only 'nearest'"),
        ('"encoder_depth": [[5]]', "encoder_depth="),
        ('"encoder_name": null', "does not say its encoder; give --architecture"),
        ('"encoder_name": [1]', r"config.json: encoder_name=\[1\]: expected a name"),
        ('"_model_class": {"a": 1}', "config.json: _model_class=.*: expected a name"),
        ('"x": ' + 200_000 * "[", r"config.json: cannot be read as JSON \(maximum recursion"),
    ],
    ids=lambda value: value[:40],
)
def test_options_that_we_do_not_have_are_refused(
    change: str, message: str, folder: Path, tmp_path: Path
) -> None:
    told = '{"_model_class": "Unet", "encoder_name": "resnet18", ' + change + "}"
    (tmp_path / "config.json").write_text(told, "utf-8")
    with pytest.raises(WeightsError, match=message):
        read_smp(tmp_path)


@pytest.mark.parametrize(
    ("form", "options", "tensors", "message"),
    [
        ("Unet", {}, {"segmentation_head.0.weight": ()}, r"head.0.weight has the shape \(\)"),
        ("FPN", {}, {"segmentation_head.0.weight": (2,)}, r"head.0.weight has the shape \(2,\)"),
        ("Unet", {}, {"decoder.blocks.0.conv1.0.weight": ()}, "blocks.0.conv1.0.weight has the"),
        ("Unet", {}, {"encoder.conv1.weight": ()}, r"differs in shape encoder.net.conv1.weight"),
        ("Unet", {}, {}, "lacks encoder.net.conv1.weight"),
        (
            "DeepLabV3",
            {"decoder_atrous_rates": 5},
            {"decoder.aspp.project.0.weight": (16, 80, 1, 1)},
            "rates=5: Input should be a valid tuple",
        ),
    ],
)
def test_tensors_and_options_of_odd_kinds(
    form: str,
    options: dict[str, object],
    tensors: dict[str, tuple[int, ...]],
    message: str,
    tmp_path: Path,
) -> None:
    told = {"_model_class": form, "encoder_name": "resnet18", **options}
    (tmp_path / "config.json").write_text(json.dumps(told), "utf-8")
    shapes = {"segmentation_head.0.weight": (2, 16, 3, 3), **tensors}
    for name in ("p5.weight", "seg_blocks.0.block.0.block.0.weight") * (form == "FPN"):
        shapes[f"decoder.{name}"] = (32, 32, 1, 1)
    save_file({key: torch.zeros(size) for key, size in shapes.items()}, tmp_path / STATE)
    with pytest.raises(WeightsError, match=message):
        read_smp(tmp_path)


@pytest.mark.parametrize("encoder", ["tu-mobilenetv2_100", "tu-mobilenetv3_small_050"])
def test_bands_are_read_off_the_first_filters_whatever_the_order(
    encoder: str, tmp_path: Path
) -> None:
    model = smp.Unet(encoder, encoder_weights=None, in_channels=5, classes=2)
    tensors = model.state_dict()
    depthwise = next(key for key in tensors if key.endswith("conv_dw.weight"))
    torch.save({depthwise: tensors[depthwise], **tensors}, tmp_path / "best.pth")
    imported = read_smp(tmp_path / "best.pth", architecture="Unet", encoder=encoder)
    assert imported.arguments["in_channels"] == 5


def test_a_network_of_other_bands_is_said_not_to_predict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = smp.Unet("resnet18", encoder_weights=None, in_channels=4, classes=2)
    model.save_pretrained(str(tmp_path))
    out = tmp_path / "four.safetensors"
    assert run("models", "import", str(tmp_path), "--out", str(out), "--classes", "a,b") == 0
    said = "takes 4 bands, and only RGB networks predict"
    assert f"{out}: {said}" in capsys.readouterr().err
    assert said in read_card(out).limits


def test_a_network_trained_with_torchvision(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = segmentation.lraspp_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=3
    ).eval()
    torch.save({"model": theirs.state_dict(), "epoch": 2}, tmp_path / "best.pth")
    out = tmp_path / "own.safetensors"
    options = ["--architecture", "lraspp_mobilenet_v3_large", "--classes", "sky,sea,land"]
    assert run("models", "import", str(tmp_path / "best.pth"), "--out", str(out), *options) == 0
    card = read_card(out)
    assert card.classes == ("sky", "sea", "land") and card.background is None
    assert vitrail.load(out, device="cpu")(torch.zeros(3, 40, 64)).classes == card.classes
    other = ["--architecture", "deeplabv3_resnet50", "--classes", "3"]
    assert run("models", "import", str(tmp_path / "best.pth"), "--out", str(out), *other) == 1


def test_states_that_do_not_fit_a_published_model(tmp_path: Path) -> None:
    card = next(card for card in PUBLISHED if card.name == "lraspp-mobilenetv3-coco")
    state = segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None).state_dict()
    path = tmp_path / "x.pth"
    torch.save({k: v for k, v in state.items() if "cbr" not in k}, path)
    with pytest.raises(WeightsError, match=r"x.pth: does not fit the model: lacks reduce"):
        tensors_for(card, path)
    torch.save({**state, "classifier.extra": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match=r"x.pth: .*has too much classifier.extra"):
        tensors_for(card, path)
    torch.save({"fc.weight": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match=r"x.pth: not a segmentation network of torchvision's"):
        tensors_for(card, path)
    with pytest.raises(WeightsError, match="torchvision has no weights for unet"):
        from_torchvision(state, "unet")
    with pytest.raises(WeightsError, match=r"fc.weight: not a tensor of torchvision's"):
        timm_keys({"fc.weight": torch.zeros(1)})


def test_encoders_with_a_head_say_what_they_are_for(folder: Path) -> None:
    from vitrail.errors import ConfigError
    from vitrail.models.registry import build

    for name in ("resnet18+head", "mobilenetv2_100+foot", "mobilenetv2_100+"):
        with pytest.raises(ConfigError, match=r"expected NAME\+head"):
            build("unet", {"encoder": name, "classes": 2})
    with pytest.raises(UnknownNameError):
        read_smp(folder, architecture="MAnet")
    with pytest.raises(ParameterError):
        import_checkpoint(folder, folder / "x.safetensors", ClassNames())


def test_a_detector_is_for_the_other_import(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"finds objects; import_detector"):
        import_checkpoint(
            tmp_path / STATE,
            tmp_path / "x.safetensors",
            ClassNames(),
            architecture="maskrcnn_resnet50_fpn",
        )


def test_a_torchvision_state_without_tensors_or_of_odd_shape(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"begins with 'backbone.'; there are no tensors"):
        from_torchvision({}, "fcn-dilated")
    save_file({"classifier.4.weight": torch.tensor(1.0)}, tmp_path / STATE)
    with pytest.raises(WeightsError, match=r"classifier.4.weight has the shape \(\), expected 4"):
        import_checkpoint(
            tmp_path / STATE,
            tmp_path / "x.safetensors",
            ClassNames(count=2),
            architecture="fcn_resnet50",
        )
