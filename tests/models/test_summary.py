"""Layers and cost of a network, against a real pass of every architecture."""

import json

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tests.models.test_contract import CASES, bands
from vitrail.errors import ParameterError
from vitrail.models.registry import build
from vitrail.models.summary import count, summarise


@pytest.mark.parametrize("case", CASES)
def test_every_architecture_costs_what_a_real_pass_does(case: str) -> None:
    model = build(*CASES[case]).eval()
    summary = summarise(model, 64, bands=bands(model))
    hooked: dict[str, tuple[int, ...]] = {}
    names = {layer.name for layer in summary.layers}
    for name, module in model.named_modules():
        if name in names:
            module.register_forward_hook(
                lambda _, __, out, name=name: (
                    hooked.update({name: tuple(out.shape)}) if isinstance(out, Tensor) else None
                )
            )
    images = torch.zeros(1, bands(model), 64, 64)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        raw = model(images)
    assert summary.macs == counter.get_total_flops() // 2 > 0
    assert summary.outputs["logits"] == tuple(raw.logits.shape)
    shapes = {layer.name: layer.outputs[-1] for layer in summary.layers if layer.outputs}
    assert hooked and all(shapes[name] == shape for name, shape in hooked.items())
    assert summary.parameters == sum(one.numel() for one in model.parameters())
    assert sum(layer.macs for layer in summary.layers if layer.level == 1) <= summary.macs
    assert summary.peak > 4 * (images.numel() + raw.logits.numel())
    assert summary.training > summary.peak - 4 * images.numel()


class Parts(nn.Module):
    """A wrapper, a list, a module used twice, one for training only and one that does nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Module()
        self.encoder.net = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.ReLU())
        self.encoder.forward = self.encoder.net.forward  # calls the parts, not the Sequential
        self.steps = nn.ModuleList([nn.Conv2d(4, 4, 1), nn.Identity()])
        self.auxiliary = nn.Sequential(nn.Conv2d(4, 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.steps[1](self.steps[0](self.encoder(x)))
        return self.auxiliary(x) if self.training else self.steps[0](x)


def test_layers_of_a_network_with_everything() -> None:
    summary = summarise(Parts(), 64)
    rows = [(x.name, x.level, x.parameters, x.macs, x.calls) for x in summary.layers]
    shared = 2 * 16 * 16 * 4 * 4
    stem = 16 * 16 * 9 * 3 * 4
    assert rows == [
        ("encoder", 1, 112, stem, 1),
        ("encoder.net.0", 2, 112, stem, 1),
        ("encoder.net.1", 2, 0, 0, 1),
        ("steps.0", 1, 20, shared, 2),
        ("auxiliary", 1, 10, 0, 0),
    ]
    assert summary.macs == stem + shared
    assert (summary.parameters, summary.training_parameters) == (142, 10)
    assert summary.encoder_stride == 4
    assert summary.weights == 4 * 142
    text = str(summary)
    assert "142 (10 of them in training only)" in text
    assert "(2 times)" in text and "in training only" in text.split("auxiliary")[1]


def test_a_wrapper_is_no_level() -> None:
    class Wrapper(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x)

    inner = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1))
    network = nn.Sequential(Wrapper(inner), nn.ReLU())
    layers = summarise(network, 16).layers
    assert [(layer.name, layer.level) for layer in layers] == [
        ("0", 1),
        ("0.inner.0", 2),
        ("0.inner.1", 2),
        ("1", 1),
    ]


def test_depth_takes_modules_apart() -> None:
    model = build("unet", {"classes": 2, "encoder": "resnet18"})
    first, second = (summarise(model, 64, depth=depth) for depth in (1, 2))
    assert [layer.name for layer in first.layers] == ["encoder", "decoder", "head"]
    assert {layer.level for layer in second.layers} == {1, 2}
    assert set(first.layers) < set(second.layers)
    assert (first.macs, first.peak) == (second.macs, second.peak)
    assert first.encoder_stride == 32
    assert first.layers[0].outputs[-1] == (1, 512, 2, 2)


def test_costs_grow_with_the_image() -> None:
    model = build("unet-plain", {"classes": 2, "start": 4})
    small, large = summarise(model, 64), summarise(model, 128)
    assert large.macs == 4 * small.macs
    assert large.peak == 4 * small.peak
    assert large.training == 4 * small.training
    assert large.weights == small.weights


def test_it_is_plain_values_for_other_programs() -> None:
    summary = summarise(build("unet-plain", {"classes": 2, "start": 4}), 64)
    again = json.loads(json.dumps(summary.to_json()))
    assert again["image"] == [3, 64, 64]
    assert again["layers"][0]["name"] == "down.0"
    assert again["outputs"] == {"logits": [1, 2, 64, 64]}


@pytest.mark.parametrize("depth", [0, 10])
def test_depth_has_a_range(depth: int) -> None:
    with pytest.raises(ParameterError, match=f"depth {depth}: expected 1 to 9"):
        summarise(nn.Conv2d(3, 4, 1), 64, depth=depth)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 "),
        (938, "938 "),
        (999_900, "999.9 k"),
        (999_950_000, "1 G"),
        (2_086_219_688, "2.086 G"),
        (5_000_000_000_000_000, "5000 T"),
    ],
)
def test_numbers_for_people(number: int, text: str) -> None:
    assert count(number) == text
