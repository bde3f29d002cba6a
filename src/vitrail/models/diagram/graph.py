"""Boxes and arrows: what a drawing of a network shows."""

from __future__ import annotations

from dataclasses import dataclass, field

from vitrail.models.summary import count
from vitrail.models.trace import Call, Shape

_SHOWN = 3
"""Classes or operations that a box names before it says how many more there are."""


@dataclass(eq=False)
class Node:
    """A box: a module at work, a few operations between modules, the image, or an output."""

    title: str
    """Of operations empty: they are named by what they do."""
    family: str
    """The part of the network that it belongs to; ``""`` for operations, image and outputs."""
    call: Call | None = None
    """The module, or the one that the operations are called in."""
    kinds: list[str] = field(default_factory=list)
    """Classes of the modules in it."""
    operations: list[str] = field(default_factory=list)
    macs: int = 0
    parameters: int = 0

    @property
    def lines(self) -> list[str]:
        """Its text, the title first."""
        if len(self.operations) > _SHOWN:
            return [f"{len(self.operations)} operations", _few([*dict.fromkeys(self.operations)])]
        lines = [self.title or ", ".join(self.operations)]
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


def _few(names: list[str]) -> str:
    more = len(names) - _SHOWN
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} + {more} more" if more > 0 else shown
