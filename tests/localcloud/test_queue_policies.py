"""SetQueueAttributes on its way to moto."""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import parse_qs, urlencode

import pytest

from localcloud import queue_policies
from localcloud.protocols.http import HttpRequest

URL = "http://127.0.0.1/123456789012/q"


def policy_of(url: str) -> str | None:
    return {URL: "the policy"}.get(url)


def json_call(operation: str, body: str) -> HttpRequest:
    headers = {"x-amz-target": f"AmazonSQS.{operation}", "content-type": "application/x-amz-json-1.0"}
    return HttpRequest("POST", "/", "", headers, body.encode())


def query_call(fields: Mapping[str, str]) -> HttpRequest:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return HttpRequest("POST", "/", "", headers, urlencode(fields).encode())


def test_the_policy_is_added_where_other_attributes_are_set() -> None:
    sent = json_call("SetQueueAttributes", json.dumps({"QueueUrl": URL, "Attributes": {"DelaySeconds": "1"}}))
    passed_on = queue_policies.to_leaf(sent, policy_of)
    assert json.loads(passed_on.body)["Attributes"] == {"DelaySeconds": "1", "Policy": "the policy"}
    fields = {"Action": "SetQueueAttributes", "QueueUrl": URL, "Attribute.1.Name": "DelaySeconds"}
    passed_on = queue_policies.to_leaf(query_call({**fields, "Attribute.1.Value": "1"}), policy_of)
    found = parse_qs(passed_on.body.decode())
    assert (found["Attribute.2.Name"], found["Attribute.2.Value"]) == (["Policy"], ["the policy"])
    assert found["Attribute.1.Value"] == ["1"]


@pytest.mark.parametrize(
    "sent",
    [
        json_call("SetQueueAttributes", json.dumps({"QueueUrl": URL, "Attributes": {"Policy": ""}})),
        json_call("SetQueueAttributes", json.dumps({"QueueUrl": f"{URL}2", "Attributes": {"DelaySeconds": "1"}})),
        json_call("SetQueueAttributes", "no JSON"),
        json_call("SetQueueAttributes", "[]"),
        json_call("SendMessage", json.dumps({"QueueUrl": URL, "MessageBody": "b"})),
        query_call({"Action": "SetQueueAttributes", "QueueUrl": URL, "Attribute.1.Name": "Policy"}),
        query_call({"Action": "SendMessage", "QueueUrl": URL}),
    ],
)
def test_everything_else_is_passed_on_as_it_is(sent: HttpRequest) -> None:
    assert queue_policies.to_leaf(sent, policy_of) == sent
