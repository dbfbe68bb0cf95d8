"""Groups of nodes that reach each other, in an order in which each comes after those it leads to."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import TypeVar

Node = TypeVar("Node", bound=Hashable)


def components(graph: Mapping[Node, Iterable[Node]]) -> list[list[Node]]:
    """The strongly connected components (Tarjan's algorithm, without recursion).

    Args:
        graph: node -> the nodes it leads to; a node that is no key leads nowhere.

    Returns:
        Lists of nodes; a component comes after every other component that it leads to.
    """
    index: dict[Node, int] = {}
    low: dict[Node, int] = {}
    stack: list[Node] = []
    waiting: set[Node] = set()
    found: list[list[Node]] = []
    nothing: tuple[Node, ...] = ()
    for root in graph:
        if root in index:
            continue
        index[root] = low[root] = len(index)
        stack.append(root)
        waiting.add(root)
        work: list[tuple[Node, Iterator[Node]]] = [(root, iter(graph.get(root, nothing)))]
        while work:
            node, after = work[-1]
            for other in after:
                if other not in index:
                    index[other] = low[other] = len(index)
                    stack.append(other)
                    waiting.add(other)
                    work.append((other, iter(graph.get(other, nothing))))
                    break
                if other in waiting and index[other] < low[node]:
                    low[node] = index[other]
            else:
                work.pop()
                if work and low[node] < low[work[-1][0]]:
                    low[work[-1][0]] = low[node]
                if low[node] == index[node]:
                    found.append(_pop(stack, waiting, node))
    return found


def _pop(stack: list[Node], waiting: set[Node], node: Node) -> list[Node]:
    """Take the component that ends with `node` off the stack."""
    group = []
    while True:
        other = stack.pop()
        waiting.discard(other)
        group.append(other)
        if other == node:
            return group
