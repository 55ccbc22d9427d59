"""The report's section on the monitoring, and its page: what is told and drawn, and what is left out."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from pipelines.monitoring import HOUR, Monitored
from pipelines.report import dashboard as dashboards
from pipelines.report import monitoring, page
from pipelines.report.course import Bar, Mark, Plot, Row, Series, course
from pipelines.report.dashboard import queries, read
from pipelines.report.monitoring import Course, Material, headline, view
from pipelines.report.monitoring_page import MonitoringInputs, render
from tests.pipelines import report_pages, watched
from tests.pipelines.report_pages import Page, checked
from tests.pipelines.watched import FIRED, FIRST

HOSTILE = "<script>alert(1)</script>\"'>"


def _page(told: MonitoringInputs) -> Page:
    return checked(render(told))


def _only(monitored: Monitored, **changes: Any) -> Material:
    return Material(monitored.workload, [Course(monitored, **changes)])


def test_the_page_tells_of_every_stage_and_of_what_was_done() -> None:
    found = _page(watched.page_inputs())
    assert found.sections() == ["monitoring", "dashboard", "retrainings", "serving"]
    for told in (
        "prod is as good as it should be As of 2026-11-22 12:05 UTC",
        "Every hour is evaluated at its end. Shown from 2026-11-20 00:00 UTC to 2026-11-22 12:00 UTC.",
        "wQL 0.1103 version 2, the hour to 2026-11-22 12:00 UTC; threshold 0.2500",
        "Mean of a day 0.2433 9 of 24 hours above",
        "Inside the interval 90.0 %",
        "quality demo-forecaster-prod-quality OK 2026-11-21 23:00 UTC Threshold Crossed",
        "as of 2026-11-21 10:00 UTC as of 2026-11-20 06:00 UTC",
        "has failed TrainPurchase: no space left",
        "has registered a model",
    ):
        assert told in found.text
    links = {attributes.get("href") for tag, attributes in found.elements if tag == "a"}
    assert {"drift.html", "http://127.0.0.1:4611/r"} <= links


def test_the_drawing_says_in_words_what_it_shows() -> None:
    html = render(watched.page_inputs())
    said = html[html.index("<title>weighted quantile loss of prod over time</title><desc>") :]
    said = said[: said.index("</desc>")]
    for told in (
        "60 evaluations, 59 of them scored",
        "wQL from 0.0900 to 0.4800",
        "quality in ALARM from 2026-11-21 10:00 UTC to 2026-11-21 23:00 UTC",
        "retraining begun 2026-11-21 16:00 UTC has registered a model",
        "version 2 from 2026-11-21 21:00 UTC",
    ):
        assert told in said
    # A hole of one hour breaks the line; it is told where it is, and why.
    assert "2026-11-20 13:00 UTC: no minute of the hour has come" in html
    assert html.count('class="span none"') == 4  # for wide and narrow pages, of two stages


def test_cardholders_have_fields_and_clusters_and_no_rule_of_thumb() -> None:
    found = _page(watched.page_inputs("cardholders"))
    assert "Brier score 0.1103" in found.text
    assert "Accuracy 81.0 %" in found.text
    assert "amount_spend 0.3500 0.0400 90" in found.text
    assert "Dormant 11.0 % 14.0 %" in found.text
    assert "seasonal naive" not in found.text


def test_an_alarm_that_is_on_is_the_headline() -> None:
    known = watched.monitored(hours=40, alarms=[watched.firing(), watched.firing("data"), watched.alarm("drift")])
    told = headline(_only(known))
    assert told == ("prod: quality and data in ALARM since 2026-11-21 10:00 UTC", "bad")
    shown = view(_only(known), FIRED + 7 * HOUR)
    assert shown is not None
    assert (shown.stages[0].tone, shown.stages[0].status) == ("bad", "quality and data in ALARM")


@pytest.mark.parametrize(
    ("document", "status", "headlined"),
    [
        (watched.unscored(0), "no data", "No data"),
        (watched.unscored(0, verdict="endpoint-failed"), "the endpoint failed", "The endpoint failed"),
        (watched.unscored(0, verdict="later-kind"), "later-kind", "Later-kind"),
        (watched.document(32), "above its threshold", "wQL 0.4452"),
    ],
)
def test_a_stage_says_what_its_newest_hour_came_to(document: Any, status: str, headlined: str) -> None:
    known = Monitored("forecaster", "staging", [watched.evaluation(document)])
    shown = view(_only(known), FIRST)
    assert shown is not None
    assert (shown.stages[0].tone, shown.stages[0].status) == ("wait", status)
    assert shown.stages[0].headline == headlined
    assert headline(_only(known)) == (f"staging, the newest hour: {status}", "wait")


def test_before_anything_was_evaluated_there_is_no_section() -> None:
    assert view(None, FIRST) is None
    empty = _only(Monitored("forecaster", "prod"))
    assert view(empty, FIRST) is None
    found = _page(MonitoringInputs("demo", "forecaster", FIRST, empty))
    assert "Nothing has been evaluated yet" in found.text
    assert "mlops monitor forecaster does it now." in found.text
    # Alarms alone are shown: they are there before the first hour is.
    alarms = _only(Monitored("forecaster", "prod", alarms={"data": watched.firing("data")}))
    found = _page(MonitoringInputs("demo", "forecaster", FIRST, alarms))
    assert "data in ALARM" in found.text
    assert found.drawings() == []


def test_texts_from_elsewhere_are_escaped() -> None:
    hostile = watched.evaluation(
        watched.document(0, "cardholders", reason=HOSTILE, fields=[{"name": HOSTILE, "psi": HOSTILE}])
    )
    unscored = watched.evaluation(watched.unscored(1, workload="cardholders", reason=HOSTILE))
    alarm = watched.firing("quality", "cardholders", reason=HOSTILE, name=HOSTILE)
    known = Monitored("cardholders", "prod", [hostile, unscored], {"quality": alarm})
    attempt = replace(watched.attempts()[0], reason=HOSTILE, display_name=HOSTILE, outcome_reason=HOSTILE)
    widgets = read(json.dumps({"widgets": [{"type": "text", "properties": {"markdown": HOSTILE, "title": HOSTILE}}]}))
    board = dashboards.dashboard(HOSTILE, widgets, [{}], {}, FIRST, FIRST + HOUR)
    material = Material("cardholders", [Course(known, run_link=None)], [attempt], board)
    found = _page(MonitoringInputs("demo", "cardholders", FIRST + HOUR, material))
    assert HOSTILE in found.text


def test_every_page_of_the_workload_has_the_section() -> None:
    told = report_pages.inputs("forecaster", monitoring=watched.page_inputs().material)
    found = checked(page.render(replace(told, monitoring=replace(told.monitoring, dashboard=None))))  # type: ignore[type-var]
    assert found.sections()[-3:] == ["serving", "monitoring", "lineage"]
    assert monitoring.retrainings([]) == []


# --- dashboards -------------------------------------------------------------------------------------------------------


def test_a_dashboard_is_read_with_its_shorthands() -> None:
    text, loss, alarms, age, log = read(json.dumps(watched.DASHBOARD))
    assert (text.text, alarms.kind, age.single) == ("# The *forecaster*", "alarm", True)
    assert "which is not drawn here" in log.text
    dimensions = [{"Name": "Project", "Value": "demo"}, {"Name": "Stage", "Value": "prod"}]
    metric = {"Namespace": "MLOps/Monitoring", "MetricName": "MeanWeightedQuantileLoss", "Dimensions": dimensions}
    first, second, third, expression = queries(loss)
    assert first == {"Id": "a", "MetricStat": {"Metric": metric, "Period": 3600, "Stat": "Maximum"}}
    assert second["MetricStat"]["Metric"] == {**metric, "MetricName": "LossThreshold"}
    assert third["Id"] == "widget2"
    assert third["MetricStat"]["Metric"]["MetricName"] == "LossThreshold"
    assert third["MetricStat"]["Metric"]["Dimensions"][1]["Value"] == "staging"
    assert expression == {"Id": "c", "Expression": "a - b", "Period": 3600}
    assert [query.label for query in loss.queries if query.visible] == [
        "MeanWeightedQuantileLoss",
        "threshold",
        "above",
    ]
    assert loss.limits == [("refused", 0.5)]


@pytest.mark.parametrize(
    "body",
    ["", "[]", "{}", '{"widgets": 1}', '{"widgets": [1, {}, {"type": "metric", "properties": {"metrics": [1]}}]}'],
)
def test_a_dashboard_of_any_shape_is_shown(body: str) -> None:
    widgets = read(body)
    board = dashboards.dashboard("d", widgets, [{} for _ in widgets], {}, FIRST, FIRST + HOUR)
    assert all(not widget.drawings for widget in board.widgets)


def test_a_widget_breaks_its_line_where_values_are_missing() -> None:
    (widget,) = [one for one in read(json.dumps(watched.DASHBOARD)) if one.title == "Loss"]
    points = [(FIRST + hour * HOUR, 1.0 + hour) for hour in (0, 1, 2, 5, 6)]
    (shown,) = dashboards.dashboard("d", [widget], [{"a": points}], {}, FIRST, FIRST + 6 * HOUR).widgets
    assert shown.wide
    assert shown.drawings[0].count('class="line model"') == 2


# --- the drawing ------------------------------------------------------------------------------------------------------


def test_plots_without_values_and_bars_out_of_sight_are_left_out() -> None:
    start = FIRST.timestamp()
    line = Series("a", "model", [(start, 1.0), (start + 3600, float("nan")), (start + 7200, 3.0)])
    empty = Plot("empty", [Series("b", "base", [(start, None)])])
    bars = [Bar(FIRST - 9 * HOUR, FIRST - 8 * HOUR, "bad", "before"), Bar(FIRST, FIRST, "bad", "now", "x")]
    marks = [Mark(FIRST + HOUR, "v1", "one"), Mark(FIRST + HOUR + timedelta(minutes=1), "v2", "two")]
    drawn = course("t", "d", [Plot("full", [line]), empty], [Row("r", bars)], marks, start, start + 7200)
    assert "empty" not in drawn
    assert "before" not in drawn
    assert ">v1<" in drawn
    assert ">v2<" not in drawn  # would lie on the first
    assert "<title>two</title>" in drawn
    assert drawn.count('class="dot model"') == 2
    assert not report_pages.NOT_A_PLACE.search(drawn)
