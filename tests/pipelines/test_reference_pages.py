"""The pages of docs/reference that are written from the templates and the code: they are those of now, and complete."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.reference import templates
from pipelines.reference.metrics import DIMENSIONS, METRICS
from pipelines.reference.pages import PAGES, metrics_in

ROOT = Path(__file__).resolve().parents[2]
REFERENCE, TEMPLATES = ROOT / "docs" / "reference", ROOT / "template"
# What publishes metrics. Their names are keys or arguments there.
PUBLISHERS = (
    "cardholders/monitor.py",
    "forecaster/monitor.py",
    "ingestion/poller/tally.py",
    "ingestion/functions/deduplicate.py",
    "ingestion/functions/minute_writing.py",
)


@pytest.mark.parametrize("page", PAGES)
def test_the_page_is_what_the_templates_and_the_code_say(page: str, regenerate: bool) -> None:
    text = PAGES[page](TEMPLATES)
    if regenerate:
        (REFERENCE / page).write_text(text)
    assert (REFERENCE / page).read_text() == text, (
        "write the pages anew: pytest tests/pipelines/test_reference_pages.py --regenerate"
    )


@pytest.mark.parametrize("page", PAGES)
def test_every_cell_is_filled_and_no_row_has_lost_one(page: str) -> None:
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in PAGES[page](TEMPLATES).splitlines() if line.startswith("|")]
    assert rows
    count = 0
    for row in rows:
        if set("".join(row)) == {"-"}:
            count = len(row)
    widths = {len(row) for row in rows}
    assert count in widths
    optional = {"parameters.md": 2, "events.md": 3}.get(page)  # a default, what narrows an event
    empty = [row for row in rows if any(not cell.strip() for at, cell in enumerate(row) if at != optional)]
    assert empty == []


def test_every_parameter_rule_and_alarm_is_there() -> None:
    pages = {page: make(TEMPLATES) for page, make in PAGES.items()}
    for name in templates.names(TEMPLATES):
        template = templates.read(TEMPLATES, name)
        for parameter in template.get("Parameters", {}):
            assert f"| `{parameter}` |" in pages["parameters.md"]
        for kind, page, key in (
            ("AWS::Events::Rule", "events.md", "Name"),
            ("AWS::Scheduler::Schedule", "events.md", "Name"),
            ("AWS::CloudWatch::Alarm", "alarms.md", "AlarmName"),
        ):
            for _, properties in templates.resources(template, kind):
                assert f"| `{templates.described(properties[key])}` |" in pages[page]


def test_an_alarm_says_when_it_fires_and_what_follows() -> None:
    page = PAGES["alarms.md"](TEMPLATES)
    [latency] = [line for line in page.splitlines() if "-forecaster-prod-latency`" in line]
    assert "`ModelLatency` (p99) > `MaxLatencyMicroseconds`, in 2 of 2 periods of 1 min" in latency
    assert latency.endswith("| a roll-back of an update of the endpoint that is under way |")
    [quality] = [line for line in page.splitlines() if "-forecaster-prod-quality`" in line]
    assert "`MeanWeightedQuantileLoss` - `LossThreshold` (Average) > 0, in `ForecasterQualityBreaches` of" in quality
    assert "a notice; " in quality
    assert "RetrainingFunction (rule `{SageMakerProjectName}-retraining-alarms`)" in quality


def test_what_the_templates_look_at_is_a_metric_that_is_published() -> None:
    known = {(metric.namespace, metric.name) for metric in METRICS}
    looked_at = {
        metric for name in templates.names(TEMPLATES) for metric in metrics_in(templates.read(TEMPLATES, name))
    }
    assert {metric for metric in looked_at if metric[0] in DIMENSIONS} <= known
    assert looked_at & known


def test_the_metrics_are_those_of_the_programs() -> None:
    told = {metric.name for metric in METRICS}
    said = {text for file in (ROOT / "seed_code").rglob("*.py") for text in _texts(file)}
    assert sorted(told - said) == []
    published = {name for file in PUBLISHERS for name in _published(ROOT / "seed_code" / file)}
    assert sorted(published - told) == []
    assert len(published) > 20


def _texts(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _published(file: Path) -> Iterator[str]:
    """Names of metrics: keys of mappings that look like one, first arguments of Metric, and the poller's counts."""
    name = re.compile(r"([A-Z][a-z0-9]+)+")
    of_cloudwatch = {"Dimensions", "MetricName", "Name", "SampleCount"}  # members of its requests
    for node in ast.walk(ast.parse(file.read_text())):
        given: list[ast.expr | None] = []
        if isinstance(node, ast.Dict):
            keys = list(node.keys)
            members = {key.value for key in keys if isinstance(key, ast.Constant)}
            given = [] if members & of_cloudwatch else keys
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Metric":
            given = node.args[:1]
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "_COUNTS":
            given = list(node.value.elts) if isinstance(node.value, ast.Tuple) else []
        for each in given:
            if isinstance(each, ast.Constant) and isinstance(each.value, str) and name.fullmatch(each.value):
                yield each.value
