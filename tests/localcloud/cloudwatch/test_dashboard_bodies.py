"""Dashboards: which bodies are taken, and what is said of the others."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.localcloud.cloudwatch.account import Account

METRIC: dict[str, Any] = {
    "type": "metric",
    "properties": {"region": "eu-west-1", "metrics": [["Demo", "Loss", "Stage", "prod"]]},
}


def widget(**members: Any) -> dict[str, Any]:
    return {**METRIC, **members}


def properties(**members: Any) -> dict[str, Any]:
    return widget(properties={**METRIC["properties"], **members})


def put(account: Account, body: Any, name: str = "demo") -> list[dict[str, str]]:
    text = body if isinstance(body, str) else json.dumps(body)
    answer = account.client("cloudwatch").put_dashboard(DashboardName=name, DashboardBody=text)
    return list(answer["DashboardValidationMessages"])


@pytest.mark.parametrize(
    "widgets",
    [
        [],
        [METRIC],
        [widget(x=0, y=0, width=24, height=6)],
        [
            properties(
                metrics=[[{"expression": "a - b", "id": "c"}], ["Demo", "A", {"id": "a"}], [".", "B", {"id": "b"}]]
            )
        ],
        [properties(metrics=[["Demo", "A", "Stage", "prod"], ["...", "staging"]], view="singleValue", period=3600)],
        [widget(properties={"region": "eu-west-1", "annotations": {"alarms": ["arn:aws:cloudwatch:…"]}})],
        [{"type": "text", "properties": {"markdown": "# Loss"}}],
        [{"type": "alarm", "properties": {"alarms": ["arn:aws:cloudwatch:…"]}}],
    ],
)
def test_bodies_that_can_be_drawn_are_kept(account: Account, widgets: list[Any]) -> None:
    assert put(account, {"widgets": widgets}) == []


@pytest.mark.parametrize(
    ("body", "path", "message"),
    [
        ("{", "", "The body is not JSON"),
        ("[]", "/widgets", "Should have required property 'widgets'"),
        ({"widgets": ["a"]}, "/widgets/0", "Should be object"),
        ({"widgets": [METRIC, {"type": "graph"}]}, "/widgets/1/type", "Should be one of metric, text, log"),
        ({"widgets": [widget(x=24, y=0)]}, "/widgets/0/x", "Should be an integer from 0 to 23; it is 24"),
        ({"widgets": [widget(x=1)]}, "/widgets/0", "Should have both 'x' and 'y', or neither"),
        ({"widgets": [{"type": "text"}]}, "/widgets/0/properties", "Should have required property 'properties'"),
        (
            {"widgets": [{"type": "text", "properties": {}}]},
            "/widgets/0/properties",
            "Should have required property 'markdown'",
        ),
        ({"widgets": [properties(region="")]}, "/widgets/0/properties", "Should have required property 'region'"),
        ({"widgets": [properties(view="map")]}, "/widgets/0/properties/view", "Should be one of timeSeries"),
        ({"widgets": [properties(period=90)]}, "/widgets/0/properties/period", "Should be 1, 5, 10, 30 or a multiple"),
        ({"widgets": [properties(metrics=None)]}, "/widgets/0/properties", "Should have required property 'metrics'"),
        ({"widgets": [properties(metrics=["A"])]}, "/widgets/0/properties/metrics/0", "Should be a list"),
        ({"widgets": [properties(metrics=[["A"]])]}, "/widgets/0/properties/metrics/0", "Should have a namespace"),
        ({"widgets": [properties(metrics=[[{}]])]}, "/widgets/0/properties/metrics/0", "Should have an expression"),
        ({"widgets": [properties(metrics=[[1, 2]])]}, "/widgets/0/properties/metrics/0", "Should have text"),
    ],
)
def test_bodies_that_cannot_are_refused(account: Account, body: Any, path: str, message: str) -> None:
    with pytest.raises(ClientError) as error:
        put(account, body)
    (found,) = error.value.response["dashboardValidationMessages"]
    assert found["DataPath"] == path
    assert message in found["Message"]
    assert message in error.value.response["Error"]["Message"]
    assert account.client("cloudwatch").list_dashboards()["DashboardEntries"] == []


def test_what_has_no_effect_is_told_and_kept(account: Account) -> None:
    body = {"widgets": [widget(colour="red")], "title": "Loss"}
    assert [message["DataPath"] for message in put(account, body)] == ["/title", "/widgets/0/colour"]
    assert json.loads(account.client("cloudwatch").get_dashboard(DashboardName="demo")["DashboardBody"]) == body


def test_dashboards_are_listed_by_name_and_deleted_together(account: Account) -> None:
    cloudwatch = account.client("cloudwatch")
    for name in ("b", "a", "c"):
        put(account, {"widgets": []}, name)
    account.advance(60)
    put(account, {"widgets": [METRIC]}, "a")
    entries = cloudwatch.list_dashboards()["DashboardEntries"]
    assert [entry["DashboardName"] for entry in entries] == ["a", "b", "c"]
    assert entries[0]["LastModified"] == account.clock.now() > entries[1]["LastModified"]
    with pytest.raises(ClientError, match="Dashboard none does not exist"):
        cloudwatch.delete_dashboards(DashboardNames=["a", "none"])
    cloudwatch.delete_dashboards(DashboardNames=["a", "b"])
    assert [entry["DashboardName"] for entry in cloudwatch.list_dashboards()["DashboardEntries"]] == ["c"]
    with pytest.raises(ClientError, match="1 to 255 letters"):
        put(account, {"widgets": []}, "a b")
