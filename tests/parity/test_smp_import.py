"""Checkpoints of segmentation_models.pytorch, imported: the same logits."""

from importlib.metadata import version
from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import torch

from tests.drawn_weights import randomise
from vitrail.models.base import SemanticModel
from vitrail.models.registry import build
from vitrail.weights.files import load_state
from vitrail.weights.importers.smp import Imported, read_smp

SMP = f"smp-{version('segmentation_models_pytorch')}"
FORMS = ("Unet", "FPN", "PSPNet", "DeepLabV3", "DeepLabV3Plus")


def theirs(form: str, encoder: str, **options: object) -> torch.nn.Module:
    torch.manual_seed(0)
    options = {"encoder_weights": None, "classes": 3, **options}
    model = getattr(smp, form)(encoder, **options)
    randomise(model)
    return model.eval()


def ours(imported: Imported) -> SemanticModel:
    model = build(imported.architecture, imported.arguments)
    load_state(model, imported.tensors, "imported")
    return model.eval()


def assert_same(reference: torch.nn.Module, imported: Imported, bands: int = 3) -> None:
    images, model = torch.randn(1, bands, 64, 96), ours(imported)
    with torch.inference_mode():
        expected, logits = reference(images), model(images).logits
    if imported.outputs == 1:
        assert not logits[:, 0].any()
        logits = logits[:, 1:]
    assert logits.shape == expected.shape
    assert expected.std() > 1e-3 * expected.abs().max()  # not one constant
    assert (logits - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize("encoder", ["resnet18", "mobilenet_v2", "tu-mobilenetv2_100"])
@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{SMP}-{form}")
def test_a_state_of_torch_save(form: str, encoder: str, tmp_path: Path) -> None:
    reference, path = theirs(form, encoder), tmp_path / "best.pth"
    torch.save(reference.state_dict(), path)
    assert_same(reference, read_smp(path, architecture=form, encoder=encoder))


OTHERS = {
    "Unet": {"decoder_channels": (64, 32, 32, 16, 8), "in_channels": 5, "classes": 1},
    "FPN": {"decoder_merge_policy": "cat", "decoder_pyramid_channels": 48, "classes": 2},
    "PSPNet": {"psp_out_channels": 40, "classes": 1},
    "DeepLabV3": {
        "decoder_channels": 64,
        "encoder_output_stride": 16,
        "decoder_atrous_rates": (2, 4, 6),
        "decoder_aspp_separable": True,
    },
    "DeepLabV3Plus": {"encoder_output_stride": 8, "decoder_channels": 64, "classes": 1},
}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{SMP}-{form}")
def test_a_folder_of_save_pretrained_says_all_itself(form: str, tmp_path: Path) -> None:
    options = OTHERS[form]
    reference = theirs(form, "resnet18", **options)
    reference.save_pretrained(str(tmp_path))
    assert_same(reference, read_smp(tmp_path), bands=int(str(options.get("in_channels", 3))))
