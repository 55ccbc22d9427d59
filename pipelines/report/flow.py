"""The drawing of a pipeline's graph: steps in layers, with what became of each.

Layers are longest paths from the start; within a layer, steps are put near those they wait for (barycentres, two
sweeps); an edge that passes over layers keeps a lane free in each. The same layout is drawn from left to right for wide
pages and from top to bottom for narrow ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from pipelines.executions import StepRun
from pipelines.graph import Edge, Graph
from pipelines.names import ALREADY_REGISTERED
from pipelines.report.format import duration
from pipelines.report.svg import drawing, element, number, shortened

__all__ = ["flow", "state_class", "state_word"]

NODE_WIDTH, NODE_HEIGHT = 132.0, 52.0
MARGIN = 3.0


def state_class(step: StepRun) -> str:
    """The style of a step's state: good, bad, busy, cached, idle."""
    if step.status == "Succeeded":
        return "cached" if step.cached_from else "good"
    if step.status == "Failed":
        return "bad"
    return "busy" if step.status in {"Starting", "Executing", "Stopping"} else "idle"


def state_word(step: StepRun) -> str:
    """What a person calls the step's state; a decided condition says how it decided: a gate is passed or not, a
    question is answered.
    """
    if step.status == "Succeeded" and step.cached_from:
        return "cached"
    if step.outcome is not None:
        good, bad = ("yes", "no") if step.name == ALREADY_REGISTERED else ("passed", "not passed")
        return good if step.outcome else bad
    return step.status.lower()


@dataclass(frozen=True)
class _Layout:
    """Where each step stands: its layer, and its lane in the layer (in lanes from the middle of the drawing)."""

    layer: Mapping[str, int]
    lane: Mapping[str, float]
    layers: int
    lanes: float
    bends: Mapping[tuple[str, str], tuple[tuple[int, float], ...]]


def flow(graph: Graph, steps: Mapping[str, StepRun], *, downwards: bool = False) -> Markup | None:
    """The graph as a drawing, or None for a definition without steps."""
    if not graph.nodes:
        return None
    reduced = graph.reduced()
    layout = _layout(reduced)
    along, across = (NODE_HEIGHT, NODE_WIDTH) if downwards else (NODE_WIDTH, NODE_HEIGHT)
    # A long row is scaled down to the page: it gives up some of the room between its steps first.
    layer_gap, lane_gap = (30.0, 22.0) if downwards else (26.0 if layout.layers <= 7 else 18.0, 22.0)

    def place(layer: float, lane: float) -> tuple[float, float]:
        """The middle of a step in a layer and lane."""
        main = MARGIN + along / 2 + layer * (along + layer_gap)
        side = MARGIN + across / 2 + (lane + (layout.lanes - 1) / 2) * (across + lane_gap)
        return (side, main) if downwards else (main, side)

    parts: list[Markup] = []
    for edge in reduced.edges:
        stops = [
            (layout.layer[edge.source], layout.lane[edge.source]),
            *layout.bends.get((edge.source, edge.target), ()),
            (layout.layer[edge.target], layout.lane[edge.target]),
        ]
        parts += _edge(edge, [place(*stop) for stop in stops], steps, along, downwards)
    for node in reduced.nodes:
        run = steps.get(node.name) or StepRun(node.name, node.type, "Pending")
        parts.append(_box(run, place(layout.layer[node.name], layout.lane[node.name])))
    length = 2 * MARGIN + layout.layers * along + (layout.layers - 1) * layer_gap
    breadth = 2 * MARGIN + layout.lanes * across + (layout.lanes - 1) * lane_gap
    width, height = (breadth, length) if downwards else (length, breadth)
    told = "; ".join(
        f"{node.name}: {state_word(steps[node.name])}" if node.name in steps else node.name for node in graph.nodes
    )
    return drawing(
        width,
        height,
        "Pipeline graph",
        f"Steps in order: {told}.",
        parts,
        class_=f"flow {'narrow' if downwards else 'wide'}",
    )


def _box(run: StepRun, middle: tuple[float, float]) -> Markup:
    x, y = middle[0] - NODE_WIDTH / 2, middle[1] - NODE_HEIGHT / 2
    state = state_class(run)
    second = state_word(run)
    if run.status == "Succeeded" and run.type in {"Processing", "Training", "Transform"} and not run.cached_from:
        second = duration(run.seconds())
    reason = f": {run.failure_reason}" if run.failure_reason else ""
    # A condition is drawn with slanted ends, as flow charts do, so that it is told from work by its shape.
    if run.type == "Condition":
        slant = 11.0
        outline = element(
            "path",
            d=f"M{number(x + slant)} {number(y)}H{number(x + NODE_WIDTH - slant)}L{number(x + NODE_WIDTH)} "
            f"{number(middle[1])}L{number(x + NODE_WIDTH - slant)} {number(y + NODE_HEIGHT)}H{number(x + slant)}"
            f"L{number(x)} {number(middle[1])}Z",
        )
    else:
        outline = element("rect", x=x, y=y, width=NODE_WIDTH, height=NODE_HEIGHT, rx=9)
    name_style = "name long" if len(run.name) > 14 else "name"
    return element(
        "g",
        element("title", f"{run.name} ({run.type}), {second}{reason}"),
        outline,
        element("circle", cx=x + 18, cy=y + 33.5, r=3.6, class_="lamp"),
        element("text", shortened(run.name, 18), x=x + 14, y=y + 21, class_=name_style),
        element("text", second, x=x + 27, y=y + 37.5, class_="state"),
        class_=f"step {state}",
    )


def _edge(
    edge: Edge, places: list[tuple[float, float]], steps: Mapping[str, StepRun], along: float, downwards: bool
) -> list[Markup]:
    source, target = steps.get(edge.source), steps.get(edge.target)
    idle = target is None or target.status in {"Pending", "Skipped"} or source is None
    style = "edge idle" if idle else "edge"

    def shifted(point: tuple[float, float], by: float) -> tuple[float, float]:
        return (point[0], point[1] + by) if downwards else (point[0] + by, point[1])

    first, last = shifted(places[0], along / 2), shifted(places[-1], -along / 2)
    # Through a layer that it only passes, an edge runs straight in its lane.
    stops = [first]
    for point in places[1:-1]:
        stops += [shifted(point, -along / 2), shifted(point, along / 2)]
    stops.append(last)
    data = f"M{number(first[0])} {number(first[1])}"
    for (x1, y1), (x2, y2) in pairwise(stops):
        if downwards:
            middle = (y1 + y2) / 2
            data += f"C{number(x1)} {number(middle)} {number(x2)} {number(middle)} {number(x2)} {number(y2)}"
        else:
            middle = (x1 + x2) / 2
            data += f"C{number(middle)} {number(y1)} {number(middle)} {number(y2)} {number(x2)} {number(y2)}"
    x, y = last
    tip = (
        f"M{number(x - 3.5)} {number(y - 6)}L{number(x)} {number(y)}L{number(x + 3.5)} {number(y - 6)}"
        if downwards
        else f"M{number(x - 6)} {number(y - 3.5)}L{number(x)} {number(y)}L{number(x - 6)} {number(y + 3.5)}"
    )
    parts = [element("path", d=data, class_=style), element("path", d=tip, class_=style)]
    if edge.outcome is not None:
        # The word stands where the branches have parted, beside the arrow's end.
        outwards = -1.0 if last[0] < first[0] else 1.0
        dx, dy, anchor = (-9.0, -5.0, "end")
        if downwards:  # on the side that the arrow does not come from
            dx, dy, anchor = (outwards * 9, -9.0, "end" if outwards < 0 else "start")
        parts.append(
            element("text", "yes" if edge.outcome else "no", x=x + dx, y=y + dy, class_="branch", text_anchor=anchor)
        )
    return parts


def _layout(graph: Graph) -> _Layout:
    before: dict[str, list[str]] = {name: [] for name in graph.names}
    after: dict[str, list[str]] = {name: [] for name in graph.names}
    for edge in graph.edges:
        before[edge.target].append(edge.source)
        after[edge.source].append(edge.target)
    layer: dict[str, int] = {}
    for name in graph.names:  # in topological order; in a cycle, those not yet placed do not count
        layer[name] = max((layer[source] + 1 for source in before[name] if source in layer), default=0)
    layers = max(layer.values()) + 1

    # Places that hold a lane free for a passing edge are named by (source, target, layer).
    Place = str | tuple[str, str, int]
    columns: list[list[Place]] = [[] for _ in range(layers)]
    above: dict[Place, list[Place]] = {}
    below: dict[Place, list[Place]] = {}
    for name in graph.names:
        columns[layer[name]].append(name)
    for edge in graph.edges:
        chain: list[Place] = [edge.source]
        for passed in range(layer[edge.source] + 1, layer[edge.target]):
            holder = (edge.source, edge.target, passed)
            columns[passed].append(holder)
            chain.append(holder)
        chain.append(edge.target)
        for one, other in pairwise(chain):
            below.setdefault(one, []).append(other)
            above.setdefault(other, []).append(one)

    lane: dict[Place, float] = {}

    def settle() -> None:
        for column in columns:
            for index, held in enumerate(column):
                lane[held] = index - (len(column) - 1) / 2

    settle()
    for _ in range(2):
        for neighbours, order in ((above, columns), (below, list(reversed(columns)))):
            for column in order:
                weight = {
                    held: sum(lane[other] for other in neighbours[held]) / len(neighbours[held])
                    if neighbours.get(held)
                    else lane[held]
                    for held in column
                }
                column.sort(key=lambda held: weight[held])
                settle()
    bends = {
        (edge.source, edge.target): tuple(
            (passed, lane[edge.source, edge.target, passed])
            for passed in range(layer[edge.source] + 1, layer[edge.target])
        )
        for edge in graph.edges
    }
    return _Layout(
        layer=layer,
        lane={name: lane[name] for name in graph.names},
        layers=layers,
        lanes=float(max(len(column) for column in columns)),
        bends=bends,
    )
