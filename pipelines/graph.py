"""The graph inside a pipeline definition: its steps, and who waits for whom.

A definition (version 2020-12-01) does not draw its own graph. An edge is there because a step names another in
`DependsOn`, because an argument is a `Get` on `Steps.<name>…` (also inside `Std:Join`, `Std:JsonGet` and conditions),
or because a step stands in a branch of a Condition. Everything that shows a pipeline (the live table, the report)
takes its order and its edges from here, so that they agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Edge", "Graph", "Node", "read"]


@dataclass(frozen=True)
class Node:
    """A step of a definition. `branch` is (name of the condition step, outcome) for steps inside a branch."""

    name: str
    type: str
    document: Mapping[str, Any]
    branch: tuple[str, bool] | None = None


@dataclass(frozen=True)
class Edge:
    """`target` waits for `source`. `outcome` is set when the source is a condition that leads to the target."""

    source: str
    target: str
    outcome: bool | None = None


@dataclass(frozen=True)
class Graph:
    """Steps in an order in which every step stands after those that it waits for, and all edges between them."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(node.name for node in self.nodes)

    def node(self, name: str) -> Node | None:
        return next((node for node in self.nodes if node.name == name), None)

    def reduced(self) -> Graph:
        """The same graph without the edges that a longer path already implies: what one would draw by hand."""
        followers: dict[str, set[str]] = {name: set() for name in self.names}
        for edge in self.edges:
            followers[edge.source].add(edge.target)
        reach: dict[str, set[str]] = {}
        for name in reversed(self.names):  # a follower's reach is known before its predecessor's is asked for
            reach[name] = set().union(*({f} | reach.get(f, set()) for f in followers[name]))
        kept = tuple(
            edge
            for edge in self.edges
            if not any(edge.target in reach.get(other, set()) for other in followers[edge.source] - {edge.target})
        )
        return Graph(self.nodes, kept)


def read(definition: Mapping[str, Any]) -> Graph:
    """The graph of a definition (the parsed JSON that CreatePipeline receives).

    Names that no step bears are left out rather than refused: CreatePipeline is where a definition is judged.
    """
    nodes = list(_steps(definition.get("Steps", ()), None))
    known = {node.name for node in nodes}
    edges: dict[tuple[str, str], bool | None] = {}
    for node in nodes:
        if node.branch is not None:
            edges[node.branch[0], node.name] = node.branch[1]
        wanted = [*node.document.get("DependsOn", ()), *_references(_own_arguments(node.document))]
        for source in wanted:
            if source in known and source != node.name:
                edges.setdefault((source, node.name), None)
    found = tuple(Edge(source, target, outcome) for (source, target), outcome in edges.items())
    return Graph(_ordered(nodes, found), found)


def _steps(documents: Sequence[Mapping[str, Any]], branch: tuple[str, bool] | None) -> Iterator[Node]:
    for document in documents:
        node = Node(str(document.get("Name", "")), str(document.get("Type", "")), document, branch)
        yield node
        if node.type == "Condition":
            arguments = document.get("Arguments", {})
            yield from _steps(arguments.get("IfSteps", ()), (node.name, True))
            yield from _steps(arguments.get("ElseSteps", ()), (node.name, False))


def _own_arguments(document: Mapping[str, Any]) -> Any:
    """A step's arguments without the steps inside its branches, whose references are their own."""
    arguments = document.get("Arguments", {})
    if document.get("Type") == "Condition":
        return arguments.get("Conditions", ())
    return arguments


def _references(value: Any) -> Iterator[str]:
    """Names of the steps that a value's `Get` paths lead to."""
    if isinstance(value, Mapping):
        path = value.get("Get")
        if isinstance(path, str) and len(value) == 1:
            if path.startswith("Steps."):
                yield path.split(".")[1].split("[")[0]
            return
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _references(inner)


def _ordered(nodes: list[Node], edges: tuple[Edge, ...]) -> tuple[Node, ...]:
    """Topological order that keeps the order of the file between steps that are free of each other."""
    waits: dict[str, set[str]] = {node.name: set() for node in nodes}
    for edge in edges:
        waits[edge.target].add(edge.source)
    ordered: list[Node] = []
    left = list(nodes)
    done: set[str] = set()
    while left:
        # A cycle leaves nobody ready: show the rest as they stand instead of failing to show anything.
        ready = next((node for node in left if waits[node.name] <= done), left[0])
        left.remove(ready)
        ordered.append(ready)
        done.add(ready.name)
    return tuple(ordered)
