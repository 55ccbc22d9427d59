"""The report's figures and drawings: scales, formats, and plots from values of any kind."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines import graph
from pipelines.executions import StepRun
from pipelines.report import charts, flow
from pipelines.report import format as formats
from pipelines.report.svg import LinearScale, LogScale, element, round_ticks
from pipelines.report.verdict import checks, lookup
from tests.pipelines import samples

_finite = st.floats(-1e9, 1e9, allow_nan=False)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.83124, "0.8312"),
        (5, "5"),
        (4211.34, "4,211"),
        (123.456, "123.5"),
        (12.345, "12.35"),
        (None, formats.NOTHING),
        (float("nan"), formats.NOTHING),
        (True, formats.NOTHING),
        ("0.5", formats.NOTHING),
    ],
)
def test_figures(value: object, shown: str) -> None:
    assert formats.figure(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, formats.NOTHING),
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (3725, "1 h 02 min"),
    ],
)
def test_durations(seconds: float | None, shown: str) -> None:
    assert formats.duration(seconds) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (0.25, "0.25"),
        (950, "950"),
        (999.9, "1k"),
        (1234, "1.2k"),
        (35_400, "35k"),
        (2.5e6, "2.5M"),
        (-1500, "-1.5k"),
    ],
)
def test_compact_quantities(value: float, shown: str) -> None:
    assert formats.compact(value) == shown


def test_moments_are_utc_and_other_texts_stay() -> None:
    assert formats.moment(datetime(2026, 1, 2, 3, 4, tzinfo=UTC)) == "2026-01-02 03:04 UTC"
    assert formats.moment("2026-01-02T03:04:00+02:00") == "2026-01-02 01:04 UTC"
    assert formats.moment("yesterday") == "yesterday"


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ("http://127.0.0.1:1/#/x", True),
        ("https://a", True),
        ("javascript:alert(1)", False),
        (" http://a", False),
        ('http://a" onclick="x', False),
        (None, False),
    ],
)
def test_only_web_addresses_become_links(value: str | None, good: bool) -> None:
    assert (formats.web_address(value) is not None) == good


@given(_finite, _finite, st.integers(2, 9))
def test_ticks_are_round_cover_the_range_and_are_few(one: float, other: float, about: int) -> None:
    low, high = sorted((one, other))
    ticks = round_ticks(low, high, about)
    if high - low < 1e-6 * max(1.0, abs(high)):
        return  # no room for a round step
    assert ticks[0] <= low + 1e-6 * (high - low)
    assert ticks[-1] >= high - 1e-6 * (high - low)
    assert 2 <= len(ticks) <= about + 2
    assert ticks == sorted(set(ticks))


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 5e-324), (0.0, 1e-13), (2.0, 2.0 + 1e-13), (-1.7e308, 1.7e308), (math.nan, 1.0), (3.0, 3.0)]
)
def test_a_range_without_room_for_ticks_has_one_at_its_low_end(low: float, high: float) -> None:
    assert round_ticks(low, high) == [pytest.approx(low, nan_ok=True)]


@given(st.floats(1e-3, 1e6), st.floats(1.5, 1e6), st.integers(2, 8))
def test_log_ticks_lie_in_the_range(low: float, factor: float, about: int) -> None:
    scale = LogScale(low, low * factor, 0, 100)
    assert all(low <= tick <= low * factor for tick in scale.ticks(about))
    assert len(scale.ticks(about)) <= about
    assert scale(low) == pytest.approx(0, abs=1e-6)
    assert scale(low * factor) == pytest.approx(100)
    assert scale(0) == pytest.approx(0, abs=1e-6)


def test_a_scale_without_extent_stays_in_the_middle() -> None:
    assert LinearScale(3, 3, 0, 10)(3) == 5


def test_elements_escape_texts_and_values() -> None:
    made = element("text", "a < b & c", x=1.25, class_='"x"', y=None)
    assert made == '<text x="1.2" class="&#34;x&#34;">a &lt; b &amp; c</text>'


_values = st.none() | st.floats(-1e6, 1e6) | st.just(float("nan")) | st.just(float("inf"))


@given(st.lists(_values, max_size=12), st.lists(_values, max_size=12))
def test_a_line_chart_draws_what_is_there(one: list[float | None], other: list[float | None]) -> None:
    series = [
        charts.Series("This model", "model", [(k + 1, y) for k, y in enumerate(one)]),
        charts.Series("Base", "base", [(k + 1, y) for k, y in enumerate(other)]),
    ]
    plot = charts.line_chart("A metric", series, "k", marked_x=2)
    good = [y for y in (*one, *other) if y is not None and math.isfinite(y)]
    if not good:
        assert plot is None
        return
    assert plot is not None
    root = ElementTree.fromstring(str(plot.drawing))
    dots = [node for node in root.iter() if node.tag.endswith("circle")]
    assert len(dots) == len(good)
    assert all(0 <= float(dot.get("cx", "-1")) <= charts.WIDTH for dot in dots)
    assert all(-1 <= float(dot.get("cy", "-9")) <= charts.HEIGHT for dot in dots)
    assert not re.search(r"\bnan\b|\binf\b", " ".join(value for node in root.iter() for value in node.attrib.values()))


def test_a_line_breaks_where_a_value_is_missing() -> None:
    points = [(1, 0.1), (2, 0.2), (3, None), (4, 0.4), (5, 0.5)]
    plot = charts.line_chart("A", [charts.Series("m", "model", points)], "k")
    assert plot is not None
    lines = [n for n in ElementTree.fromstring(str(plot.drawing)).iter() if n.get("class") == "line model"]
    assert len(lines) == 2


def test_calibration_needs_a_bin_with_examples() -> None:
    assert charts.calibration_chart([]) is None
    assert charts.calibration_chart([{"mean_predicted": 0.5, "observed": 0.4, "count": 0}]) is None
    drawn = charts.calibration_chart([{"mean_predicted": 0.5, "observed": 0.4, "count": 3, "lower": 0.5, "upper": 0.5}])
    assert drawn is not None
    assert len([n for n in ElementTree.fromstring(str(drawn)).iter() if n.tag.endswith("rect")]) == 1


@given(st.lists(st.tuples(_finite, _finite, _finite), min_size=1, max_size=8))
@example([(0.0, 0.0, 5e-324)])
def test_spreads_stay_inside_their_drawing(rows: list[tuple[float, float, float]]) -> None:
    spreads = [charts.Spread(f"C{n}", *sorted(row)) for n, row in enumerate(rows)]
    plot = charts.spread_chart("Amount", spreads)
    assert plot is not None
    for node in ElementTree.fromstring(str(plot.drawing)).iter():
        if node.get("class") == "spread":
            assert 0 <= float(node.attrib["x1"]) <= float(node.attrib["x2"]) <= charts.WIDTH


# --- the graph --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("downwards", [False, True])
def test_no_two_steps_are_drawn_at_one_place(downwards: bool) -> None:
    execution = samples.execution()
    drawn = flow.flow(execution.graph, {step.name: step for step in execution.steps}, downwards=downwards)
    root = ElementTree.fromstring(str(drawn))
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    lamps = [(float(n.attrib["cx"]), float(n.attrib["cy"])) for n in root.iter() if n.get("class") == "lamp"]
    assert len(lamps) == len(execution.steps)
    for index, (x, y) in enumerate(lamps):
        assert 0 < x < width
        assert 0 < y < height
        for other_x, other_y in lamps[:index]:
            assert abs(x - other_x) >= flow.NODE_WIDTH or abs(y - other_y) >= flow.NODE_HEIGHT


def test_an_edge_over_layers_keeps_clear_of_the_steps_between() -> None:
    steps = [
        {"Name": "A", "Type": "Processing"},
        {"Name": "B", "Type": "Processing", "DependsOn": ["A"]},
        {"Name": "C", "Type": "Processing", "DependsOn": ["B"]},
        {"Name": "X", "Type": "Processing", "DependsOn": ["A"]},
        {"Name": "D", "Type": "Processing", "DependsOn": ["C", "X"]},
    ]
    drawn = flow.flow(graph.read({"Steps": steps}), {})
    root = ElementTree.fromstring(str(drawn))
    boxes = [
        (float(n.attrib["x"]), float(n.attrib["y"]), float(n.attrib["width"]), float(n.attrib["height"]))
        for n in root.iter()
        if n.tag.endswith("rect")
    ]
    assert len(boxes) == 5
    for node in root.iter():
        if (node.get("class") or "").startswith("edge") and "C" in node.attrib["d"]:
            numbers = [float(text) for text in re.findall(r"-?\d+\.?\d*", node.attrib["d"])]
            stops = [(numbers[0], numbers[1]), *zip(numbers[6::6], numbers[7::6], strict=False)]
            for x, y in stops:
                assert not any(left < x < left + width and top < y < top + height for left, top, width, height in boxes)


def test_no_steps_is_no_drawing() -> None:
    assert flow.flow(graph.read({"Steps": []}), {}) is None


_NO = {"Condition": {"Outcome": "False"}}


@pytest.mark.parametrize(
    ("step", "state", "word"),
    [
        (StepRun("A", "Processing", "Succeeded"), "good", "succeeded"),
        (StepRun("A", "Processing", "Succeeded", cached_from="arn"), "cached", "cached"),
        (StepRun("A", "Condition", "Succeeded", metadata=_NO), "good", "not passed"),
        (StepRun("AlreadyRegistered", "Condition", "Succeeded", metadata=_NO), "good", "no"),
        (StepRun("A", "Training", "Failed"), "bad", "failed"),
        (StepRun("A", "Training", "Executing"), "busy", "executing"),
        (StepRun("A", "Training", "Skipped"), "idle", "skipped"),
    ],
)
def test_states(step: StepRun, state: str, word: str) -> None:
    assert (flow.state_class(step), flow.state_word(step)) == (state, word)


# --- the gate ---------------------------------------------------------------------------------------------------------


def test_the_gate_is_read_from_the_condition() -> None:
    found = checks(samples.execution(parameters={"MinRocAuc": "0.9", "MinSilhouette": "0.2"}), samples.evaluation())
    assert [(check.subject, check.relation, check.limit, check.passed) for check in found] == [
        ("metrics.roc_auc", "≥", "0.9000", False),
        ("metrics.calibration_error", "≤", formats.NOTHING, None),  # its parameter has no value
        ("metrics.silhouette", "≥", "0.2000", True),
        ("champion_comparison.roc_auc_difference", "≥", "-0.0100", True),
    ]


def test_other_kinds_of_conditions() -> None:
    def condition(kind: str, **more: object) -> dict[str, object]:
        return {"Type": kind, "LeftValue": {"Get": "Parameters.Mode"}, **more}

    conditions = [
        condition("Equals", RightValue="full"),
        {"Type": "Not", "Expression": condition("Equals", RightValue="full")},
        {"Type": "Or", "Conditions": [condition("Equals", RightValue="x"), condition("Equals", RightValue="full")]},
        {"Type": "In", "QueryValue": {"Get": "Parameters.Mode"}, "Values": ["full", "quick"]},
    ]
    refusal = {"Name": "No", "Type": "Fail", "Arguments": {"ErrorMessage": "no"}}
    gate = {"Conditions": conditions, "IfSteps": [], "ElseSteps": [refusal]}
    fork = {"Conditions": [condition("Equals", RightValue="x")], "IfSteps": [], "ElseSteps": []}  # a choice, no gate
    definition = {
        "Steps": [
            {"Name": "G", "Type": "Condition", "Arguments": gate},
            {"Name": "F", "Type": "Condition", "Arguments": fork},
        ]
    }
    found = checks(samples.execution(definition=definition, parameters={"Mode": "full"}), None)
    assert [(check.relation, check.passed) for check in found] == [
        ("=", True),
        ("≠", False),
        ("=", False),
        ("=", True),
        ("In", True),
    ]


@pytest.mark.parametrize(
    ("path", "value"),
    [("a.b", 1), ("list[1].c", 2), ("a['b']", 1), ("a.x", None), ("list[9]", None), ("a.b.c", None), ("", {})],
)
def test_paths_into_a_document(path: str, value: object) -> None:
    document = {"a": {"b": 1}, "list": [{}, {"c": 2}]}
    assert lookup(document if path else {}, path) == value
