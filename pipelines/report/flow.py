"""The drawing of a pipeline's graph: steps in layers, with what became of each.

Layers are longest paths from the start; within a layer, steps are put near those they wait for (barycentres, two
sweeps); an edge that passes over layers keeps a lane free in each. The same layout is drawn from left to right for wide
pages, a long one in two rows, and from top to bottom for narrow ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
# Conditions that ask, where others judge.
_QUESTIONS = (ALREADY_REGISTERED, "PackageVerified", "Deployed")
# Whose duration says more than that they succeeded.
_WORK = ("Processing", "Training", "Transform", "Lambda")
# From this many layers on, a wide drawing is folded into two rows: its words would become too small.
_FOLDED = 10
# Beside the rows of a folded drawing, the room for what goes from one to the other.
_TURN = 22.0


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
        good, bad = ("yes", "no") if step.name in _QUESTIONS else ("passed", "not passed")
        return good if step.outcome else bad
    return step.status.lower()


@dataclass(frozen=True)
class _Layout:
    """Where each step stands: its layer, and its lane in the layer (in lanes from the middle of the drawing).

    `lanes` is the number of lanes of each layer, `bends` where an edge passes over layers.
    """

    layer: Mapping[str, int]
    lane: Mapping[str, float]
    lanes: Sequence[int]
    bends: Mapping[tuple[str, str], tuple[tuple[int, float], ...]]

    @property
    def layers(self) -> int:
        return len(self.lanes)


class _Plan:
    """Where layers and lanes are in the drawing. `fold` is the first layer of the second row, if there is one."""

    def __init__(self, layout: _Layout, downwards: bool, fold: int | None) -> None:
        self.downwards, self.fold = downwards, fold
        self._along, self._across = (NODE_HEIGHT, NODE_WIDTH) if downwards else (NODE_WIDTH, NODE_HEIGHT)
        # A long row is scaled down to the page: it gives up some of the room between its steps first.
        self._layer_gap = 30.0 if downwards else 38.0 if fold else 26.0 if layout.layers <= 7 else 18.0
        self._lane_gap, self._row_gap = 22.0, 40.0
        self._margin = MARGIN + (_TURN if fold else 0)
        ends = [0, *([fold] if fold else []), layout.layers]
        rows = list(pairwise(ends))
        self._lanes = [max(layout.lanes[start:end]) for start, end in rows]
        longest = max(end - start for start, end in rows)
        length = 2 * self._margin + longest * self._along + (longest - 1) * self._layer_gap
        breadth = 2 * MARGIN + sum(map(self._breadth, self._lanes)) + (len(rows) - 1) * self._row_gap
        self.size = (breadth, length) if downwards else (length, breadth)

    @property
    def half(self) -> float:
        """From the middle of a step to the side where its edges begin or end."""
        return self._along / 2

    @property
    def turn(self) -> float:
        """The place, between both rows, where an edge runs back."""
        return MARGIN + self._breadth(self._lanes[0]) + self._row_gap / 2

    def place(self, layer: float, lane: float) -> tuple[float, float]:
        """The middle of a step in a layer and lane."""
        row = int(self.fold is not None and layer >= self.fold)
        before = (self._breadth(self._lanes[0]) + self._row_gap) * row
        main = self._margin + self._along / 2 + (layer - (self.fold or 0) * row) * (self._along + self._layer_gap)
        lanes = lane + (self._lanes[row] - 1) / 2
        side = MARGIN + before + self._across / 2 + lanes * (self._across + self._lane_gap)
        return (side, main) if self.downwards else (main, side)

    def _breadth(self, lanes: int) -> float:
        return lanes * self._across + (lanes - 1) * self._lane_gap


def _fold(graph: Graph, layout: _Layout) -> int:
    """The layer that a second row best begins with: where few edges cross, near the middle."""

    def cost(fold: int) -> tuple[int, int, int]:
        crossing = sum(1 for edge in graph.edges if layout.layer[edge.source] < fold <= layout.layer[edge.target])
        return crossing, max(fold, layout.layers - fold), -fold

    third = layout.layers // 3
    return min(range(third, layout.layers - third + 1), key=cost)


def flow(graph: Graph, steps: Mapping[str, StepRun], *, downwards: bool = False) -> Markup | None:
    """The graph as a drawing, or None for a definition without steps."""
    if not graph.nodes:
        return None
    reduced = graph.reduced()
    layout = _layout(reduced)
    plan = _Plan(layout, downwards, _fold(reduced, layout) if layout.layers >= _FOLDED and not downwards else None)
    parts: list[Markup] = []
    for edge in reduced.edges:
        stops = [
            (layout.layer[edge.source], layout.lane[edge.source]),
            *layout.bends.get((edge.source, edge.target), ()),
            (layout.layer[edge.target], layout.lane[edge.target]),
        ]
        parts += _edge(edge, stops, steps, plan)
    for node in reduced.nodes:
        run = steps.get(node.name) or StepRun(node.name, node.type, "Pending")
        parts.append(_box(run, plan.place(layout.layer[node.name], layout.lane[node.name])))
    width, height = plan.size
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
    if run.status == "Succeeded" and run.type in _WORK and not run.cached_from:
        second = duration(run.seconds())
    elif run.status == "Succeeded" and run.type == "Callback":
        second = f"waited {duration(run.seconds())}"
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
    else:  # round is what only waits for an answer
        radius = NODE_HEIGHT / 2 if run.type == "Callback" else 9
        outline = element("rect", x=x, y=y, width=NODE_WIDTH, height=NODE_HEIGHT, rx=radius)
    name_style = "name long" if len(run.name) > 13 else "name"
    return element(
        "g",
        element("title", f"{run.name} ({run.type}), {second}{reason}"),
        outline,
        element("circle", cx=x + 18, cy=y + 33.5, r=3.6, class_="lamp"),
        element("text", shortened(run.name, 18), x=x + 14, y=y + 21, class_=name_style),
        element("text", second, x=x + 27, y=y + 37.5, class_="state"),
        class_=f"step {state}",
    )


def _edge(edge: Edge, stops: Sequence[tuple[int, float]], steps: Mapping[str, StepRun], plan: _Plan) -> list[Markup]:
    """An edge through the places (layer, lane) that it passes."""
    source, target = steps.get(edge.source), steps.get(edge.target)
    idle = target is None or target.status in {"Pending", "Skipped"} or source is None
    style = "edge idle" if idle else "edge"
    downwards, half = plan.downwards, plan.half

    def shifted(point: tuple[float, float], by: float) -> tuple[float, float]:
        return (point[0], point[1] + by) if downwards else (point[0] + by, point[1])

    places = [plan.place(*stop) for stop in stops]
    first, last = shifted(places[0], half), shifted(places[-1], -half)
    data = f"M{number(first[0])} {number(first[1])}"
    here = first
    for at, point in enumerate(places[1:], 1):
        x1, y1 = here
        x2, y2 = shifted(point, -half)
        if plan.fold is not None and stops[at - 1][0] < plan.fold <= stops[at][0]:
            data += _turn(here, (x2, y2), plan.turn)
        elif downwards:
            middle = (y1 + y2) / 2
            data += f"C{number(x1)} {number(middle)} {number(x2)} {number(middle)} {number(x2)} {number(y2)}"
        else:
            middle = (x1 + x2) / 2
            data += f"C{number(middle)} {number(y1)} {number(middle)} {number(y2)} {number(x2)} {number(y2)}"
        here = shifted(point, half)
        if at < len(places) - 1:  # through a layer that it only passes, an edge runs straight in its lane
            data += f"L{number(here[0])} {number(here[1])}"
    x, y = last
    tip = (
        f"M{number(x - 3.5)} {number(y - 6)}L{number(x)} {number(y)}L{number(x + 3.5)} {number(y - 6)}"
        if downwards
        else f"M{number(x - 6)} {number(y - 3.5)}L{number(x)} {number(y)}L{number(x - 6)} {number(y + 3.5)}"
    )
    parts = [element("path", d=data, class_=style), element("path", d=tip, class_=style)]
    if edge.outcome is not None:
        # The word stands where the branches have parted, beside the arrow's end, away from where it comes from.
        outwards = -1.0 if last[0] < first[0] else 1.0
        dx, dy, anchor = (-9.0, 13.0 if last[1] > first[1] else -5.0, "end")
        if downwards:  # on the side that the arrow does not come from
            dx, dy, anchor = (outwards * 9, -9.0, "end" if outwards < 0 else "start")
        parts.append(
            element("text", "yes" if edge.outcome else "no", x=x + dx, y=y + dy, class_="branch", text_anchor=anchor)
        )
    return parts


def _turn(start: tuple[float, float], end: tuple[float, float], between: float) -> str:
    """Path data from the end of the first row, back between both, to the start of the second."""
    (x1, y1), (x2, y2) = start, end
    right, left, r = x1 + _TURN / 2, x2 - _TURN / 2 - 4, 8.0
    corners = (
        f"H{number(right - r)}Q{number(right)} {number(y1)} {number(right)} {number(y1 + r)}",
        f"V{number(between - r)}Q{number(right)} {number(between)} {number(right - r)} {number(between)}",
        f"H{number(left + r)}Q{number(left)} {number(between)} {number(left)} {number(between + r)}",
        f"V{number(y2 - r)}Q{number(left)} {number(y2)} {number(left + r)} {number(y2)}",
        f"H{number(x2)}",
    )
    return "".join(corners)


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
        lanes=[len(column) for column in columns],
        bends=bends,
    )
