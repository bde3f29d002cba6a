"""Boxes and arrows of networks whose figure is known."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.models.test_contract import CASES, bands
from vitrail.models.diagram.graph import Graph
from vitrail.models.diagram.modules import graph_of
from vitrail.models.registry import build
from vitrail.models.trace import trace


def arrows(graph: Graph) -> list[tuple[str, str, list[tuple[int, ...]]]]:
    return [(e.source.lines[0], e.target.lines[0], e.shapes) for e in graph.edges]


def test_the_skips_of_a_unet() -> None:
    model = build("unet-plain", {"classes": 2, "start": 4, "depth": 2})
    graph = graph_of(trace(model, 32), 1)
    assert arrows(graph) == [
        ("image", "down.0", [(3, 32, 32)]),
        ("down.0", "max pool", [(4, 32, 32)]),
        ("max pool", "down.1", [(4, 16, 16)]),
        ("down.1", "max pool", [(8, 16, 16)]),
        ("max pool", "bottom", [(8, 8, 8)]),
        ("bottom", "up.0", [(16, 8, 8)]),
        ("down.1", "up.0", [(8, 16, 16)]),
        ("up.0", "up.1", [(8, 16, 16)]),
        ("down.0", "up.1", [(4, 32, 32)]),
        ("up.1", "head", [(4, 32, 32)]),
        ("head", "logits", [(2, 32, 32)]),
    ]


def test_several_shapes_share_an_arrow() -> None:
    model = build("unet", {"classes": 2, "encoder": "resnet18"})
    graph = graph_of(trace(model, 64), 1)
    shapes = [(512, 2, 2), (256, 4, 4), (128, 8, 8), (64, 16, 16), (64, 32, 32)]
    assert arrows(graph) == [
        ("image", "encoder", [(3, 64, 64)]),
        ("encoder", "decoder", shapes),
        ("decoder", "head", [(16, 64, 64)]),
        ("head", "logits", [(2, 64, 64)]),
    ]
    assert graph.nodes[1].parameters == sum(p.numel() for p in model.encoder.parameters())


def test_depth_takes_boxes_apart_and_norms_join_their_convolution() -> None:
    model = build("unet", {"classes": 2, "encoder": "resnet18"})
    lines = [node.lines for node in graph_of(trace(model, 64), 2).nodes]
    assert lines[1][:2] == ["encoder.net.conv1", "Conv2d, BatchNorm2d, ReLU"]
    assert [line[0] for line in lines[-4:]] == [
        "decoder.levels.3",
        "decoder.levels.4",
        "head",
        "logits",
    ]


@pytest.mark.parametrize("case", CASES)
def test_every_architecture_leads_from_the_image_to_the_logits(case: str) -> None:
    model = build(*CASES[case])
    traced = trace(model, 64, bands(model))
    for depth in (1, 2, 3):
        graph = graph_of(traced, depth)
        place = {node: number for number, node in enumerate(graph.nodes)}
        assert all(place[edge.source] < place[edge.target] for edge in graph.edges)
        assert graph.nodes[0].title == "image"
        sources = {edge.source for edge in graph.edges}
        ends = [node.title for node in graph.nodes if node not in sources]
        assert ends[0] == "logits" and set(ends) <= {"logits", "boundary", "presence"}
        fed = {edge.target for edge in graph.edges}
        assert [node for node in graph.nodes if node not in fed] == graph.nodes[:1]


def test_a_module_at_work_twice_has_two_boxes() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolve = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.convolve(F.interpolate(self.convolve(x), scale_factor=2, mode="nearest"))

    titles = [node.lines[0] for node in graph_of(trace(Twice(), 16), 1).nodes]
    assert titles == ["image", "convolve", "nearest resize", "convolve (again)", "output"]


def test_constants_and_dead_ends_are_left_out() -> None:
    class Dead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            self.unused(x)
            return self.used(x).clone() + torch.linspace(0, 1, 16)

    titles = [node.lines[0] for node in graph_of(trace(Dead(), 16), 1).nodes]
    assert titles == ["image", "used", "add", "output"]
