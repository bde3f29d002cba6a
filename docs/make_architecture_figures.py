"""Draw the networks of docs/architectures/: python docs/make_architecture_figures.py [NAME ...]

The same drawings as `vitrail models show ARCHITECTURE --draw FILE.svg`, but that the outputs of a
detector's five levels are one box. Some minutes for all.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vitrail.atomic import write_atomically
from vitrail.models.diagram.draw import to_svg
from vitrail.models.diagram.graph import Edge, Graph, Node
from vitrail.models.diagram.layout import lay_out
from vitrail.models.diagram.modules import graph_of
from vitrail.models.registry import build
from vitrail.models.trace import trace

FOLDER = Path(__file__).parent / "architectures" / "figures"


@dataclass(frozen=True, slots=True)
class Figure:
    """What is drawn of an architecture, and how far it is taken apart."""

    depth: int = 1
    image_size: int = 512
    arguments: Mapping[str, object] = field(default_factory=dict)


FIGURES: dict[str, Figure] = {
    "unet": Figure(2, 256, {"encoder": "resnet18"}),  # mobilenetv2 has more stages than fit a page
    "unet-plain": Figure(1, 128),
    "unet-original": Figure(2, 388, {"in_channels": 1, "classes": 2}),  # one tile
    "fcn": Figure(),
    "fcn-dilated": Figure(),
    "fpn": Figure(),
    "lraspp": Figure(),
    "deeplab-v1": Figure(),
    "deeplab-v2": Figure(2, arguments={"scales": [1]}),
    "deeplab-v3": Figure(2),
    "deeplab-v3plus": Figure(),
    "fastfcn": Figure(2),
    "pspnet": Figure(2),
    "segformer": Figure(2),
    "gated-scnn": Figure(),
    "mask-rcnn": Figure(),
    "faster-rcnn": Figure(),
}
"""By architecture."""


def draw(name: str, folder: Path = FOLDER) -> Path:
    """Write ``NAME.svg``; returns its path."""
    figure = FIGURES[name]
    arguments = {"classes": 21, **figure.arguments}
    bands = arguments.get("in_channels", 3)
    assert isinstance(bands, int)
    network = build(name, arguments)
    graph = graph_of(trace(network, figure.image_size, bands), figure.depth)
    text = to_svg(lay_out(levels_as_one(graph))).encode()
    return write_atomically(folder / f"{name}.svg", lambda file: file.write(text))


def levels_as_one(graph: Graph) -> Graph:
    """Outputs of several levels (``deltas 1`` to ``deltas 5``) as one box (``deltas``)."""
    names = {node: re.fullmatch(r"(\w+) \d+", node.title) for node in graph.nodes}
    ones: dict[str, Node] = {}
    become = {
        node: ones.setdefault(name[1], Node(name[1], node.family)) if name else node
        for node, name in names.items()
    }
    edges: dict[tuple[Node, Node], Edge] = {}
    for edge in graph.edges:
        ends = become[edge.source], become[edge.target]
        one = edges.setdefault(ends, Edge(*ends, []))
        one.shapes += [shape for shape in edge.shapes if shape not in one.shapes]
    return Graph(list(dict.fromkeys(become.values())), list(edges.values()))


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for wanted in sys.argv[1:] or FIGURES:
        print(draw(wanted))
