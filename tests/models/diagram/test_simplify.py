"""Which boxes become one."""

from itertools import pairwise

from torch import nn

from vitrail.models.diagram.graph import Edge, Graph, Node
from vitrail.models.diagram.simplify import gathered, joined
from vitrail.models.trace import Call

ROOT = Call("", nn.Module(), None)


def operation(name: str) -> Node:
    return Node("", "", ROOT, operations=[name])


def module(name: str) -> Node:
    shape = ((1, 2, 3),)
    call = Call(name, nn.Module(), ROOT, inputs=shape, outputs=shape)
    return Node(name, name, call, kinds=[name], macs=1)


def linked(*nodes: Node, also: tuple[tuple[Node, Node], ...] = ()) -> Graph:
    pairs = [*pairwise(nodes), *also]
    return Graph(list(nodes), [Edge(one, other, [(1,)]) for one, other in pairs])


def titles(graph: Graph) -> list[str]:
    return [node.lines[0] for node in graph.nodes]


def test_few_operations_keep_their_boxes() -> None:
    six = [operation(str(number)) for number in range(6)]
    assert titles(gathered(linked(*six))) == list("012345")


def test_an_algorithm_of_many_operations_is_one_box() -> None:
    ops = [operation("multiply" if n % 2 else "add") for n in range(7)]
    first, last = module("first"), module("last")
    skips = ((ops[0], ops[4]), (ops[1], ops[6]), (first, ops[3]))
    graph = gathered(linked(first, *ops, last, also=skips))
    assert titles(graph) == ["first", "7 operations", "last"]
    assert graph.nodes[1].lines[1] == "add, multiply"
    assert [(e.source.title, e.target.title) for e in graph.edges] == [("first", ""), ("", "last")]


def test_no_way_leads_out_of_a_box_and_back() -> None:
    """A module in the middle of an algorithm stays between two boxes, not in a circle."""
    ops = [operation(str(n)) for n in range(8)]
    between = module("between")
    nodes = [*ops[:4], between, *ops[4:]]
    graph = gathered(linked(*nodes, also=((ops[3], ops[4]),)))
    assert titles(graph) == ["4 operations", "between", "4 operations"]


def test_operations_in_a_row_join_and_forks_do_not() -> None:
    one, two, three, end = operation("a"), operation("b"), operation("c"), module("end")
    assert titles(joined(linked(one, two, three, end))) == ["a, b, c", "end"]
    one, two, three = operation("a"), operation("b"), operation("c")
    assert titles(joined(linked(one, two, three, also=((one, three),)))) == ["a", "b", "c"]


def test_what_only_activates_joins_a_module_with_the_same_parent() -> None:
    convolution, norm, pool = module("convolve"), module("norm"), module("pool")
    norm.macs = pool.macs = 0
    norm.parameters = 4
    assert pool.call is not None
    pool.call.outputs = ((1, 2, 1),)
    graph = joined(linked(convolution, norm, pool))
    assert titles(graph) == ["convolve", "pool"]
    assert graph.nodes[0].kinds == ["convolve", "norm"] and graph.nodes[0].parameters == 4
