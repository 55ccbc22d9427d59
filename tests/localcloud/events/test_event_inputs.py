"""What targets get of an event: paths, constants and templates; and resource policies that let EventBridge in."""

from __future__ import annotations

import json
from typing import Any

import pytest

from localcloud.events import inputs
from localcloud.resource_policies import allows

EVENT = {
    "id": "1",
    "source": "s",
    "resources": ["arn:a"],
    "detail": {"name": 'say "hi"', "count": 3, "tags": {"a": "b"}, "list": [1, 2]},
}
RULE = "arn:aws:events:eu-west-1:123456789012:rule/r"


def rendered(**target: Any) -> str:
    inputs.check({"Id": "t", **target})
    return inputs.render({"Id": "t", **target}, EVENT, RULE, "2026-01-01T00:00:00Z")


def template(text: str, **paths: str) -> str:
    return rendered(InputTransformer={"InputPathsMap": paths, "InputTemplate": text})


def test_without_anything_the_whole_event() -> None:
    assert json.loads(rendered()) == EVENT


def test_a_constant_and_a_path() -> None:
    assert rendered(Input='{"a": 1}') == '{"a": 1}'
    assert json.loads(rendered(InputPath="$.detail.tags")) == {"a": "b"}
    assert rendered(InputPath="$.detail['list'][1]") == "2"
    assert rendered(InputPath="$.detail.missing") == "null"


def test_an_object_template_takes_values_with_their_types_and_texts_within_quotes() -> None:
    text = template(
        '{"n": <n>, "name": <name>, "said": "<name>, <n> times", "tags": <tags>, "none": <none>, "empty": "<none>"}',
        n="$.detail.count",
        name="$.detail.name",
        tags="$.detail.tags",
        none="$.detail.none",
    )
    assert json.loads(text) == {
        "n": 3,
        "name": 'say "hi"',
        "said": 'say "hi", 3 times',
        "tags": {"a": "b"},
        "none": None,
        "empty": "",
    }


def test_a_text_template_and_reserved_variables() -> None:
    assert template('"<i> by <aws.events.rule-name>"', i="$.id") == '"1 by r"'
    found = json.loads(
        template(
            '{"rule": <aws.events.rule-arn>, "event": <aws.events.event.json>, "at": <aws.events.event.ingestion-time>}'
        )
    )
    assert found == {"rule": RULE, "event": EVENT, "at": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"Input": "{"}, "JSON syntax error"),
        ({"InputPath": "detail"}, "must begin with"),
        ({"InputPath": "$.", "Input": "1"}, "Only one of"),
        ({"InputPath": "$.a[b"}, "cannot be read"),
        ({"InputTransformer": {"InputTemplate": '"<x>"'}}, "invalid placeholder x"),
        ({"InputTransformer": {"InputPathsMap": {"aws.x": "$"}, "InputTemplate": '"a"'}}, "reserved name aws.x"),
        ({"InputTransformer": {"InputPathsMap": {}, "InputTemplate": '{"a": }'}}, "no JSON once it is filled"),
    ],
)
def test_what_can_never_be_made_is_refused(target: dict[str, Any], message: str) -> None:
    with pytest.raises(inputs.InputError, match=message):
        inputs.check({"Id": "t", **target})


def statement(**members: Any) -> str:
    base = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
    return json.dumps({"Statement": [{**base, **members}]})


@pytest.mark.parametrize(
    ("policy", "allowed"),
    [
        (None, False),
        ("no JSON", False),
        (statement(), True),
        (statement(Action=["SQS:*"], Principal="*"), True),
        (statement(Action="sqs:ReceiveMessage"), False),
        (statement(Principal={"Service": "sns.amazonaws.com"}), False),
        (statement(Condition={"ArnEquals": {"aws:SourceArn": RULE}}), True),
        (statement(Condition={"ArnLike": {"AWS:SourceArn": "arn:aws:events:*:*:rule/*"}}), True),
        (statement(Condition={"ArnEquals": {"aws:SourceArn": RULE + "x"}}), False),
        (statement(Condition={"StringEquals": {"aws:SourceAccount": "123456789012"}}), True),
        (statement(Condition={"Bool": {"aws:SecureTransport": "true"}}), True),
        (statement(Condition={"Bool": {"aws:SecureTransport": "false"}}), False),
        (statement(Condition={"StringEquals": {"aws:SourceOrgID": "o-1"}}), False),
        (
            json.dumps(
                {
                    "Statement": [
                        json.loads(statement())["Statement"][0],
                        {"Effect": "Deny", "Principal": "*", "Action": "*"},
                    ]
                }
            ),
            False,
        ),
    ],
)
def test_resource_policies(policy: str | None, allowed: bool) -> None:
    account = "123456789012"
    assert (
        allows(policy, service="events.amazonaws.com", action="sqs:SendMessage", source_arn=RULE, account=account)
        == allowed
    )
