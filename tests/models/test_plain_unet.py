"""The plain U-Net is the network its sources describe, and one logit serves for two classes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import vitrail
from tests.drawn import discs
from vitrail.errors import ConfigError
from vitrail.image import Image
from vitrail.models.plain_unet import PlainUNet
from vitrail.models.registry import build
from vitrail.result import SemanticResult
from vitrail.weights.card import Card
from vitrail.weights.files import write_checkpoint


def layers(start: int, depth: int, bands: int, logits: int) -> list[int]:
    """Parameters of each layer, top to bottom and up again: products and a bias for each filter."""

    def filters(below: int, width: int, side: int = 3) -> int:
        return width * (below * side**2 + 1)

    widths = [start * 2**level for level in range(depth + 1)]
    counts, below = [], bands
    for width in widths:
        counts += [filters(below, width), filters(width, width)]
        below = width
    for width in reversed(widths[:-1]):
        counts += [filters(2 * width, width)]  # the transposed convolution
        counts += [filters(2 * width, width), filters(width, width)]
    return [*counts, filters(start, logits, side=1)]


@pytest.mark.parametrize(
    ("arguments", "start", "bands", "logits"),
    [
        ({"classes": 2, "single_output": True, "in_channels": 1}, 16, 1, 1),
        ({"classes": 5, "start": 64, "dropout": 0}, 64, 3, 5),
    ],
    ids=["salt", "paper"],
)
def test_the_parameters_are_those_of_its_layers(
    arguments: dict, start: int, bands: int, logits: int
) -> None:
    with torch.device("meta"):
        model = build("unet-plain", arguments)
    counted = sum(p.numel() for p in model.parameters())
    assert counted == sum(layers(start, 4, bands, logits))


def test_the_salt_network() -> None:
    """16 filters to 256 at the bottom; 0.25 after the first pooling, 0.5 at the other places."""
    model = build("unet-plain", {"classes": 2, "single_output": True, "in_channels": 1})
    assert isinstance(model, PlainUNet)
    rates = [m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)]
    assert rates == [0.25, 0.5, 0.5, 0.5] + 4 * [0.5]
    assert model.bottom.state_dict()["0.weight"].shape == (256, 128, 3, 3)
    assert sum(p.numel() for p in model.parameters()) == 2_158_417
    assert not [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]


def as_described(model: PlainUNet, x: torch.Tensor) -> torch.Tensor:
    """The salt network written out layer by layer, in the order in which Keras would run it.

    Dropouts too: with the same dice and in training mode they drop the same values.
    """
    tensors = model.state_dict()

    def twice(x: torch.Tensor, part: str) -> torch.Tensor:
        for layer in ("0", "2"):
            weight, bias = (tensors[f"{part}.{layer}.{kind}"] for kind in ("weight", "bias"))
            x = F.relu(F.conv2d(x, weight, bias, padding="same"))
        return x

    skips = []
    for level, rate in enumerate((0.25, 0.5, 0.5, 0.5)):
        skips.append(twice(x, f"down.{level}"))
        x = F.dropout(F.max_pool2d(skips[-1], 2), rate, model.training)
    x = twice(x, "bottom")
    for level, skip in enumerate(reversed(skips)):
        weight, bias = (tensors[f"up.{level}.enlarge.{kind}"] for kind in ("weight", "bias"))
        # Of the 2h + 1 rows that a stride of 2 and a filter of 3 give, torch drops the first;
        # Keras drops the last, which is the same seen in a mirror.
        up = F.conv_transpose2d(x, weight, bias, stride=2)[..., 1:, 1:]
        x = F.dropout(torch.cat([up, skip], dim=1), 0.5, model.training)
        x = twice(x, f"up.{level}.convolve")
    return F.conv2d(x, tensors["head.weight"], tensors["head.bias"])


@pytest.mark.parametrize("training", [False, True])
def test_the_salt_networks_layers_stand_in_their_order(training: bool) -> None:
    torch.manual_seed(0)
    arguments = {"classes": 2, "single_output": True, "in_channels": 1}
    model = build("unet-plain", arguments).train(training)
    assert isinstance(model, PlainUNet)
    images = torch.randn(2, 1, 64, 32)
    with torch.no_grad():
        torch.manual_seed(1)
        logits = model(images).logits
        torch.manual_seed(1)
        torch.testing.assert_close(logits, as_described(model, images))


def test_the_signal_keeps_its_strength() -> None:
    """Without norms, weights that are too small would let it fade on the way down and up."""
    torch.manual_seed(0)
    model = build("unet-plain", {"classes": 2, "dropout": 0}).eval()
    with torch.inference_mode():
        assert 0.3 < model(torch.randn(4, 3, 128, 128)).logits.std() < 3


def test_one_logit_is_for_two_classes() -> None:
    with pytest.raises(ConfigError, match=r"single_output=true is for two.*3"):
        build("unet-plain", {"classes": 3, "single_output": True})


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same network with one logit, and with two of which the first is always zero."""
    folder, arguments = tmp_path_factory.mktemp("plain"), {"start": 4, "depth": 2}
    torch.manual_seed(0)
    one = build("unet-plain", {**arguments, "classes": 2, "single_output": True})
    two = build("unet-plain", {**arguments, "classes": 2})
    state = one.state_dict()
    weight = torch.cat([torch.zeros_like(state["head.weight"]), state["head.weight"]])
    two.load_state_dict({**state, "head.weight": weight, "head.bias": torch.zeros(2)})
    written = []
    for name, model, single in (("one", one, True), ("two", two, False)):
        card = Card.model_validate(
            {
                **{"name": name, "summary": "drawn", "architecture": "unet-plain"},
                "arguments": {**arguments, "classes": 2, "single_output": single},
                **{"classes": ("background", "disc"), "background": 0},
                "preprocessing": {"image_size": 64},
                **{"training_data": "none", "training_command": "none"},
                "licences": {"code": "Apache-2.0", "weights": "none", "training_data": "none"},
            }
        )
        written.append(folder / f"{name}.safetensors")
        write_checkpoint(written[-1], model, card)
    return written


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_one_logit_predicts_as_two_do(checkpoints: list[Path], precision: str) -> None:
    photo, kept = Image(discs(1, size=90)[0][0]), []
    labels = []
    for path in checkpoints:
        segmenter = vitrail.load(path, device="cpu", precision=precision)
        results = segmenter.predict([photo], on_logits=lambda _, logits: kept.append(logits))
        result = next(iter(results))
        assert isinstance(result, SemanticResult)
        labels.append(result.labels)
    assert kept[0].shape == kept[1].shape == (2, 64, 64)
    np.testing.assert_allclose(kept[0], kept[1], rtol=1e-4, atol=1e-5)
    assert np.mean(labels[0] == labels[1]) > 0.999
    assert 0 < labels[0].mean() < 1 and labels[0].shape == (90, 90)
