"""The modules of a network as they ran, and which hands what to which."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from vitrail.models.summary import count
from vitrail.models.trace import IMAGE, Call, Read, Shape, Step, Trace

_SILENT = {"clone", "_to_copy", "alias", "lift_fresh", "contiguous"}
"""Operations that pass values on as they are."""
_WORDS = {
    "cat": "concatenate",
    "upsample_bilinear2d": "bilinear resize",
    "upsample_nearest2d": "nearest resize",
    "upsample_bicubic2d": "bicubic resize",
    "constant_pad_nd": "pad",
    "mul": "multiply",
    "sub": "subtract",
    "div": "divide",
    "bmm": "matrix product",
    "mm": "matrix product",
    "addmm": "matrix product",
    "convolution": "convolve",
    "max_pool2d_with_indices": "max pool",
    "_adaptive_avg_pool2d": "average pool",
    "avg_pool2d": "average pool",
    "native_layer_norm": "layer norm",
    "_native_batch_norm_legit_no_training": "batch norm",
}
_SHOWN = 3
"""Classes or operations that a box names before it says how many more there are."""


@dataclass(eq=False)
class Node:
    """A box: a module at work, a few operations between modules, the image, or an output."""

    title: str
    family: str
    """The part of the network that it belongs to; ``""`` for operations, image and outputs."""
    call: Call | None = None
    kinds: list[str] = field(default_factory=list)
    """Classes of the modules in it."""
    macs: int = 0
    parameters: int = 0

    @property
    def lines(self) -> list[str]:
        """Its text, the title first."""
        lines = [self.title]
        if self.kinds:
            lines.append(_few(self.kinds))
        if self.parameters or self.macs:
            lines.append(
                f"{count(self.parameters).strip()} weights, {count(self.macs).strip()} mult-adds"
            )
        return lines


@dataclass(eq=False)
class Edge:
    """Tensors that one box hands to another."""

    source: Node
    target: Node
    shapes: list[Shape]
    """Without the batch; each once."""


@dataclass(frozen=True, slots=True)
class Graph:
    """Directed and without cycles: nodes in the order of running."""

    nodes: list[Node]
    edges: list[Edge]


def graph_of(traced: Trace, depth: int) -> Graph:
    """Modules down to a depth as boxes, with the operations between them.

    What runs in a module at this depth belongs to its box. Views and copies are left out; modules
    that only normalise or activate, and operations in a row, join the box before them.
    """
    return _Builder(traced, depth).graph()


class _Builder:
    def __init__(self, traced: Trace, depth: int) -> None:
        self.traced, self.depth = traced, depth
        self.nodes: dict[object, Node] = {IMAGE: Node("image", "")}
        self.edges: dict[tuple[Node, Node], Edge] = {}

    def graph(self) -> Graph:
        for number, step in enumerate(self.traced.steps):
            if self._is_silent(step):
                continue
            node = self._node(number)
            for read in step.reads:
                self._connect(read, node)
        for name, read in self.traced.outputs.items():
            output = self.nodes[name] = Node(name, "")
            self._connect(read, output)
        nodes = self._alive()
        edges = [e for e in self.edges.values() if e.source in nodes and e.target in nodes]
        return _joined(Graph(nodes, edges))

    def _box(self, step: Step) -> Call | None:
        """The module whose box a step belongs to; None for one between modules."""
        call: Call | None = step.call
        found = None if call is None or call.children or call.parent is None else call
        while call is not None:
            if call.level >= self.depth:
                found = call
            call = call.parent
        return found

    def _is_silent(self, step: Step) -> bool:
        return step.operation in _SILENT and self._box(step) is None

    def _node(self, number: int) -> Node:
        """The box of a step, made when first asked for."""
        step = self.traced.steps[number]
        call = self._box(step)
        key: object = number if call is None else call
        if key not in self.nodes:
            if call is None:
                self.nodes[key] = Node(_word(step.operation), "", call=step.call)
            else:
                sizes = [parameter.numel() for parameter in call.module.parameters()]
                self.nodes[key] = Node(
                    call.path, call.path.split(".")[0], call, [call.kind], call.macs, sum(sizes)
                )
        return self.nodes[key]

    def _connect(self, read: Read, target: Node) -> None:
        for source in self._sources(read):
            if source is target:
                continue
            edge = self.edges.setdefault((source, target), Edge(source, target, []))
            shape = read.shape[1:] if read.shape[:1] == (1,) else read.shape
            if shape not in edge.shapes:
                edge.shapes.append(shape)

    def _sources(self, read: Read) -> Iterator[Node]:
        """The boxes that a tensor comes from, through copies."""
        if read.step == IMAGE:
            yield self.nodes[IMAGE]
            return
        step = self.traced.steps[read.step]
        if self._is_silent(step):
            for earlier in step.reads:
                yield from self._sources(earlier)
        else:
            yield self._node(read.step)

    def _alive(self) -> list[Node]:
        """What depends on the image and matters for an output."""
        fed, needed = {self.nodes[IMAGE]}, {self.nodes[name] for name in self.traced.outputs}
        edges = list(self.edges.values())
        changed = True
        while changed:
            before = len(fed) + len(needed)
            fed |= {edge.target for edge in edges if edge.source in fed}
            needed |= {edge.source for edge in edges if edge.target in needed}
            changed = len(fed) + len(needed) > before
        return [node for node in self.nodes.values() if node in fed and node in needed]


def _joined(graph: Graph) -> Graph:
    """Boxes in a row as one, where the second is a norm, an activation or another operation."""
    nodes, edges = list(graph.nodes), list(graph.edges)
    for node in graph.nodes:
        before = [edge for edge in edges if edge.target is node]
        if len(before) != 1:
            continue
        source = before[0].source
        if sum(edge.source is source for edge in edges) != 1 or not _joins(source, node):
            continue
        if node.kinds:
            source.kinds += node.kinds
            source.parameters += node.parameters
        else:
            source.title = f"{source.title}, {node.title}"
        nodes.remove(node)
        edges.remove(before[0])
        for edge in edges:
            if edge.source is node:
                edge.source = source
    for node in nodes:
        if not node.kinds and node.call is not None:
            node.title = _few(node.title.split(", "))
    return Graph(nodes, edges)


def _joins(source: Node, node: Node) -> bool:
    if source.call is None or node.call is None:
        return False
    if not source.kinds or not node.kinds:  # operations join operations of the same module
        return not source.kinds and not node.kinds and source.call is node.call
    keeps_shape = node.call.inputs == node.call.outputs
    alike = source.call.parent is node.call.parent and not source.call.children
    return alike and keeps_shape and not node.macs and not node.call.children


def _word(operation: str) -> str:
    plain = operation if operation in _WORDS else operation.rstrip("_")
    return _WORDS.get(plain, plain.strip("_").replace("_", " "))


def _few(names: list[str]) -> str:
    more = len(names) - _SHOWN
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} + {more} more" if more > 0 else shown
