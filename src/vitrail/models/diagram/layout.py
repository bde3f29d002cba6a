"""Places for boxes in layers, from the image at the top to the outputs at the bottom.

Layered drawing after Sugiyama, Tagawa and Toda, "Methods for Visual Understanding of Hierarchical
System Structures", 1981: layers by longest path; an arrow over several layers gets a place in
each, so that it crosses no box; orders by barycentres, to cross few arrows; and positions that
keep arrows straight. A shape stands in a layer of its own below the box that it comes from: texts
cannot meet.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from scipy.optimize import linprog
from scipy.sparse import coo_array

from vitrail.models.diagram.graph import Edge, Graph, Node

CHARACTER, LINE = 7.3, 17.0
"""Width and height of a character of 12 px in a monospaced font, px."""
_PAD = 10.0
_ACROSS, _DOWN = 22.0, 16.0
"""Least gaps between neighbours and between layers, px."""
_MARGIN = 24.0
_SWEEPS = 24


@dataclass(eq=False)
class Place:
    """A rectangle in a layer: a box, the shapes on an arrow, or room for an arrow to pass."""

    layer: int
    width: float
    height: float
    node: Node | None = None
    edge: Edge | None = None
    lines: list[str] = field(default_factory=list)
    x: float = 0.0
    """Of its middle, px."""
    y: float = 0.0
    """Of its middle, px."""
    above: list[Place] = field(default_factory=list)
    below: list[Place] = field(default_factory=list)

    @property
    def stiffness(self) -> float:
        """How much it matters that it lies straight below or above its neighbours."""
        return 1.0 if self.node else 3.0


@dataclass(frozen=True, slots=True)
class Layout:
    """Everything with its place; px, x to the right and y down."""

    boxes: list[Place]
    labels: list[Place]
    routes: list[list[tuple[float, float]]]
    """Of each arrow: points from bottom of the source to top of the target, in pairs that are
    joined by curves between layers and straight lines within them."""
    width: float
    height: float


def lay_out(graph: Graph) -> Layout:
    """Find a place for every box, shape and arrow of a graph."""
    boxes = {node: _box(node, 2 * rank) for node, rank in _ranks(graph).items()}
    chains = [_chain(edge, boxes) for edge in graph.edges]
    layers: list[list[Place]] = [[] for _ in range(max(box.layer for box in boxes.values()) + 1)]
    for box in boxes.values():
        layers[box.layer].append(box)
    for chain in chains:
        for one, other in pairwise(chain):
            one.below.append(other)
            other.above.append(one)
        for place in chain[1:-1]:
            layers[place.layer].append(place)
    _order(layers)
    _place_across(layers)
    bands = _place_down(layers)
    places = [place for layer in layers for place in layer]
    left = min(place.x - place.width / 2 for place in places) - _MARGIN
    for place in places:
        place.x -= left
    return Layout(
        boxes=list(boxes.values()),
        labels=[place for place in places if place.edge and place.lines],
        routes=[_route(chain, bands) for chain in chains],
        width=max(place.x + place.width / 2 for place in places) + _MARGIN,
        height=bands[-1][1] + _MARGIN,
    )


def _ranks(graph: Graph) -> dict[Node, int]:
    """Longest way from the image, in arrows; nodes come in the order of running."""
    ranks = dict.fromkeys(graph.nodes, 0)
    for node in graph.nodes:
        for edge in graph.edges:
            if edge.source is node:
                ranks[edge.target] = max(ranks[edge.target], ranks[node] + 1)
    return ranks


def _box(node: Node, layer: int) -> Place:
    width = max(map(len, node.lines)) * CHARACTER + 2 * _PAD
    return Place(layer, width, len(node.lines) * LINE + 1.2 * _PAD, node=node, lines=node.lines)


def _chain(edge: Edge, boxes: dict[Node, Place]) -> list[Place]:
    """The places along an arrow; the first behind its source holds the shapes."""
    source, target = boxes[edge.source], boxes[edge.target]
    texts = [" x ".join(map(str, shape)) or "scalar" for shape in edge.shapes]
    label = Place(
        source.layer + 1,
        max(map(len, texts)) * CHARACTER + 6,
        len(texts) * LINE,
        edge=edge,
        lines=texts,
    )
    passing = [Place(layer, 4.0, 0.0, edge=edge) for layer in range(source.layer + 2, target.layer)]
    return [source, label, *passing, target]


def _order(layers: list[list[Place]]) -> None:
    """Sort each layer by the mean position of its neighbours, down and up; keep the best."""
    best, fewest = [list(layer) for layer in layers], _crossings(layers)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        downwards = sweep % 2 == 0
        number = {id(place): n for layer in layers for n, place in enumerate(layer)}
        for layer in layers if downwards else layers[::-1]:
            means: dict[int, float] = {}
            for place in layer:
                near = [number[id(one)] for one in (place.above if downwards else place.below)]
                means[id(place)] = sum(near) / len(near) if near else number[id(place)]
            layer.sort(key=lambda place, means=means: means[id(place)])
            number |= {id(place): n for n, place in enumerate(layer)}
        crossings = _crossings(layers)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    for layer, order in zip(layers, best, strict=True):
        layer[:] = order


def _crossings(layers: list[list[Place]]) -> int:
    total = 0
    for upper, lower in pairwise(layers):
        position = {id(place): number for number, place in enumerate(lower)}
        ends = [end for one in upper for end in sorted(position[id(b)] for b in one.below)]
        total += sum(a > b for number, a in enumerate(ends) for b in ends[number + 1 :])
    return total


def _place_across(layers: list[list[Place]]) -> None:
    """Middles of all places: least total way aside of the arrows, with the gaps kept.

    A linear programme, the one that graphviz' ``dot`` solves (Gansner et al., "A Technique for
    Drawing Directed Graphs", 1993, section 4): variables are the middles, and the way aside of
    each piece of an arrow, which is at least its ends' difference, either way round.
    """
    places = [place for layer in layers for place in layer]
    number = {id(place): n for n, place in enumerate(places)}
    pieces = [(one, other) for one in places for other in one.below]
    rows: list[tuple[tuple[int, float], ...]] = []
    bounds: list[float] = []
    for layer in layers:
        for left, right in pairwise(layer):
            rows.append(((number[id(left)], 1.0), (number[id(right)], -1.0)))
            bounds.append(-(left.width + right.width) / 2 - _ACROSS)
    for n, (one, other) in enumerate(pieces, len(places)):
        for sign in (1.0, -1.0):
            rows.append(((number[id(one)], sign), (number[id(other)], -sign), (n, -1.0)))
            bounds.append(0.0)
    at = [(row, column, value) for row, cells in enumerate(rows) for column, value in cells]
    row_at, column_at, values = zip(*at, strict=True)
    shape = (len(rows), len(places) + len(pieces))
    solved = linprog(
        [0.0] * len(places) + [one.stiffness * other.stiffness for one, other in pieces],
        A_ub=coo_array((values, (row_at, column_at)), shape=shape),
        b_ub=bounds,
        bounds=(0, None),
        method="highs",
    )
    for place, x in zip(places, solved.x, strict=False):
        place.x = float(x)


def _place_down(layers: list[list[Place]]) -> list[tuple[float, float]]:
    """Put layers under one another; returns top and bottom of each, px."""
    bands, top = [], _MARGIN
    for layer in layers:
        height = max(place.height for place in layer)
        for place in layer:
            place.y = top + height / 2
        bands.append((top, top + height))
        top += height + _DOWN
    return bands


def _route(chain: list[Place], bands: list[tuple[float, float]]) -> list[tuple[float, float]]:
    source, *between, target = chain
    points = [(_port(source, source.below, chain[1]), source.y + source.height / 2)]
    if points[0][1] < bands[source.layer][1]:  # straight down to the end of its layer
        points.append((points[0][0], bands[source.layer][1]))
    else:
        points.append(points[0])
    for place in between:
        points += [(place.x, bands[place.layer][0]), (place.x, bands[place.layer][1])]
    end = _port(target, target.above, chain[-2])
    points += [(end, bands[target.layer][0]), (end, target.y - target.height / 2)]
    return points


def _port(box: Place, ends: list[Place], end: Place) -> float:
    """Where an arrow leaves or enters a box: they share its width in the order of their ends."""
    ordered = sorted(ends, key=lambda place: place.x)
    step = min(28.0, (box.width - 2 * _PAD) / max(1, len(ends)))
    return box.x + (ordered.index(end) - (len(ends) - 1) / 2) * step
