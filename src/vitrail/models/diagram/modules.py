"""From a pass through a network to boxes: modules down to a depth, operations between them."""

from __future__ import annotations

from collections.abc import Iterator

from vitrail.models.diagram.graph import Edge, Graph, Node
from vitrail.models.diagram.simplify import gathered, joined
from vitrail.models.trace import IMAGE, Call, Read, Step, Trace

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


def graph_of(traced: Trace, depth: int) -> Graph:
    """Modules down to a depth as boxes, with the operations between them.

    What runs in a module at this depth belongs to its box. Left out are views, copies, what does
    not depend on the image, and what no output depends on.
    """
    return joined(gathered(_Builder(traced, depth).graph()))


class _Builder:
    def __init__(self, traced: Trace, depth: int) -> None:
        self.traced, self.depth = traced, depth
        self.nodes: dict[object, Node] = {IMAGE: Node("image", "")}
        self.edges: dict[tuple[Node, Node], Edge] = {}
        self.seen: set[str] = set()

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
        return Graph(nodes, edges)

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
                self.nodes[key] = Node("", "", step.call, operations=[_word(step.operation)])
            else:
                again = " (again)" if call.path in self.seen else ""
                self.seen.add(call.path)
                self.nodes[key] = Node(
                    call.path + again,
                    call.path.split(".")[0],
                    call,
                    [call.kind],
                    macs=call.macs,
                    parameters=sum(one.numel() for one in call.module.parameters()),
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


def _word(operation: str) -> str:
    plain = operation if operation in _WORDS else operation.rstrip("_")
    return _WORDS.get(plain, plain.strip("_").replace("_", " "))
