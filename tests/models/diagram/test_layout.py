"""Nothing overlaps, arrows go down and cross no box."""

import random
from itertools import combinations, pairwise

import pytest

from vitrail.models.diagram.graph import Edge, Graph, Node
from vitrail.models.diagram.layout import CHARACTER, Layout, Place, lay_out
from vitrail.models.diagram.modules import graph_of
from vitrail.models.registry import build
from vitrail.models.trace import trace


def overlap(one: Place, other: Place) -> bool:
    return (
        abs(one.x - other.x) < (one.width + other.width) / 2
        and abs(one.y - other.y) < (one.height + other.height) / 2
    )


def check(layout: Layout) -> None:
    texts = [*layout.boxes, *layout.labels]
    assert not [pair for pair in combinations(texts, 2) if overlap(*pair)]
    for place in texts:
        assert place.width > max(map(len, place.lines)) * CHARACTER
        assert place.x - place.width / 2 > 0 and place.x + place.width / 2 < layout.width
        assert place.y - place.height / 2 > 0 and place.y + place.height / 2 < layout.height
    for route in layout.routes:
        assert all(lower[1] >= upper[1] for upper, lower in pairwise(route))
        inside = [
            (box, x, y)
            for box in layout.boxes
            for (x1, y1), (x2, y2) in pairwise(route)
            for x, y in ((x1, y1), ((x1 + x2) / 2, (y1 + y2) / 2), (x2, y2))
            if abs(x - box.x) < box.width / 2 and abs(y - box.y) < box.height / 2 - 0.01
        ]
        assert not inside


ARCHITECTURES = {
    "unet": ("unet", {"classes": 2, "encoder": "resnet18"}),
    "deeplab": ("deeplab-v3plus", {"classes": 2, "encoder": "resnet18"}),
    "three-scales": ("deeplab-v2", {"classes": 2, "encoder": "resnet18", "hidden": 8}),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("depth", [1, 2])
def test_networks(name: str, depth: int) -> None:
    check(lay_out(graph_of(trace(build(*ARCHITECTURES[name]), 64), depth)))


@pytest.mark.parametrize("seed", range(12))
def test_any_graph(seed: int) -> None:
    draw = random.Random(seed)
    nodes = [Node("n" * draw.randint(1, 30), "") for _ in range(draw.randint(2, 25))]
    edges = [
        Edge(nodes[draw.randrange(number)], node, [(1, 2)] * draw.randint(1, 3))
        for number, node in enumerate(nodes[1:], 1)
    ]
    known = {(edge.source, edge.target) for edge in edges}
    for _ in range(20):
        one, other = sorted(draw.sample(range(len(nodes)), 2))
        if (nodes[one], nodes[other]) not in known:
            known.add((nodes[one], nodes[other]))
            edges.append(Edge(nodes[one], nodes[other], [(draw.randint(1, 9999), 64, 64)]))
    check(lay_out(Graph(nodes, edges)))


def test_a_chain_is_a_straight_line_and_a_long_arrow_too() -> None:
    nodes = [Node(title, "") for title in ("a", "longer", "b", "c", "last")]
    edges = [Edge(one, other, [(1,)]) for one, other in pairwise(nodes)]
    edges.append(Edge(nodes[0], nodes[4], [(1,)]))
    layout = lay_out(Graph(nodes, edges))
    places = {box.node: box for box in layout.boxes}
    chain = [places[node].x for node in nodes[:-1]]
    assert max(chain) - min(chain) < 1e-6
    assert len({round(x, 6) for x, _ in layout.routes[-1][2:-2]}) == 1


def test_few_arrows_cross() -> None:
    """Two ways that are listed crosswise are drawn side by side."""
    top, end = Node("top", ""), Node("end", "")
    upper, lower = [Node("a", ""), Node("b", "")], [Node("B", ""), Node("A", "")]
    pairs = [(top, upper[0]), (top, upper[1]), (upper[0], lower[1]), (upper[1], lower[0])]
    pairs += [(lower[0], end), (lower[1], end)]
    edges = [Edge(one, other, [(1,)]) for one, other in pairs]
    layout = lay_out(Graph([top, *upper, *lower, end], edges))
    x = {box.node: box.x for box in layout.boxes}
    assert (x[upper[0]] < x[upper[1]]) == (x[lower[1]] < x[lower[0]])
