"""Fewer boxes where many would say little."""

from __future__ import annotations

from vitrail.models.diagram.graph import Edge, Graph, Node

_MANY = 6
"""Operations that depend on one another and still have a box each."""


def joined(graph: Graph) -> Graph:
    """Boxes in a row as one, where the second is a norm, an activation or another operation."""
    nodes, edges = list(graph.nodes), list(graph.edges)
    for node in graph.nodes:
        before = [edge for edge in edges if edge.target is node]
        if len(before) != 1:
            continue
        source = before[0].source
        if sum(edge.source is source for edge in edges) == 1 and _joins(source, node):
            nodes.remove(node)
            edges = _merge(source, node, edges)
    return Graph(nodes, edges)


def gathered(graph: Graph) -> Graph:
    """An algorithm written out in many operations, without modules of its own, as one box.

    Only where no way leads out of the box and back into it.
    """
    nodes, edges = list(graph.nodes), list(graph.edges)
    many = {node for group in _neighbourhoods(graph) if len(group) > _MANY for node in group}
    for node in graph.nodes:
        if node not in many:
            continue
        into = node  # what the node has become a part of
        for source in dict.fromkeys(edge.source for edge in edges if edge.target is node):
            alike = source in many and source.call is node.call
            if alike and source is not into and not _detour(source, into, edges):
                nodes.remove(into)
                edges = _merge(source, into, edges)
                into = source
    return Graph(_in_order(nodes, edges), edges)


def _joins(source: Node, node: Node) -> bool:
    if source.call is None or node.call is None:
        return False
    if source.operations or node.operations:
        both = bool(source.operations and node.operations)
        return both and source.call is node.call
    keeps_shape = node.call.inputs == node.call.outputs
    alike = source.call.parent is node.call.parent and not source.call.children
    return alike and keeps_shape and not node.macs


def _merge(source: Node, node: Node, edges: list[Edge]) -> list[Edge]:
    """Make a node a part of another; returns the arrows that are left."""
    source.kinds += node.kinds
    source.operations += node.operations
    source.parameters += node.parameters
    source.macs += node.macs
    left: dict[tuple[Node, Node], Edge] = {}
    for edge in edges:
        ends = [source if end is node else end for end in (edge.source, edge.target)]
        if ends[0] is not ends[1]:
            one = left.setdefault((ends[0], ends[1]), Edge(ends[0], ends[1], []))
            one.shapes += [shape for shape in edge.shapes if shape not in one.shapes]
    return list(left.values())


def _neighbourhoods(graph: Graph) -> list[set[Node]]:
    """Operations of one module that arrows connect, whatever their direction."""
    group = {node: {node} for node in graph.nodes if node.operations}
    for edge in graph.edges:
        one, other = edge.source, edge.target
        if one in group and other in group and one.call is other.call:
            both = group[one] | group[other]
            for node in both:
                group[node] = both
    return list({id(one): one for one in group.values()}.values())


def _detour(source: Node, target: Node, edges: list[Edge]) -> bool:
    """Whether a way leads from one to the other beside the arrow between them."""
    reached = {edge.target for edge in edges if edge.source is source} - {target}
    before = 0
    while len(reached) > before:
        before = len(reached)
        reached |= {edge.target for edge in edges if edge.source in reached}
    return target in reached


def _in_order(nodes: list[Node], edges: list[Edge]) -> list[Node]:
    """Each behind all that it depends on, and otherwise as they were."""
    waiting, ordered = list(nodes), []
    while waiting:
        held = {edge.target for edge in edges if edge.source in waiting}
        node = next(node for node in waiting if node not in held)
        waiting.remove(node)
        ordered.append(node)
    return ordered
