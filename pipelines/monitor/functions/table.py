"""The table of retrainings, as the controller reads and writes it. What is in it: `pipelines/carried/retraining.py`."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pipelines.carried import retraining
from pipelines.carried.project import client, names
from pipelines.carried.retraining import Attempt, Notice, State

# A notice that was begun so long ago was not sent: the function that began it has ended long since.
_UNSENT = timedelta(minutes=5)


def attempts(workload: str) -> tuple[Attempt, ...]:
    """All retrainings that are known, oldest first."""
    return tuple(Attempt.parse(item) for item in _items(workload, retraining.ATTEMPT))


def told(workload: str, now: datetime) -> frozenset[str]:
    """Causes of which a person was told, or is being told at this moment (aware)."""
    notices = [Notice.parse(item) for item in _items(workload, retraining.NOTICE)]
    return frozenset(one.cause for one in notices if one.status == retraining.SENT or one.at > now - _UNSENT)


def reserve(workload: str, attempt: Attempt) -> bool:
    """Write an attempt that begins; False if another one has its number, which then is the one that begins."""
    return _put(attempt.item(workload), ConditionExpression="attribute_not_exists(#item)", **_named(item="Item"))


def keep(workload: str, attempt: Attempt) -> None:
    """Write what is known of an attempt now, as long as its end is not known: what two invocations find is the same."""
    _put(
        attempt.item(workload),
        ConditionExpression="attribute_exists(#item) AND #outcome = :none",
        **_named(item="Item", outcome="Outcome"),
        ExpressionAttributeValues={":none": {"S": ""}},
    )


def begin_notice(workload: str, notice: Notice) -> bool:
    """Take it on oneself to tell a person; False if another has done so."""
    return _put(
        notice.item(workload),
        ConditionExpression="attribute_not_exists(#item) OR (#status = :begun AND #at <= :old)",
        **_named(item="Item", status="Status", at="At"),
        ExpressionAttributeValues={
            ":begun": {"S": retraining.BEGUN},
            ":old": {"S": retraining.text_of(notice.at - _UNSENT)},
        },
    )


def note_sent(workload: str, notice: Notice) -> None:
    """Keep that a person was told."""
    _put(replace(notice, status=retraining.SENT).item(workload))


def note_state(workload: str, state: State) -> None:
    """Keep what was decided, unless something later is known."""
    _put(
        state.item(workload),
        ConditionExpression="attribute_not_exists(#at) OR #at <= :at",
        **_named(at="At"),
        ExpressionAttributeValues={":at": {"S": retraining.text_of(state.at)}},
    )


def _put(item: dict[str, Any], **condition: Any) -> bool:
    """Write an item; False if its condition does not hold."""
    table = client("dynamodb")
    with suppress(table.exceptions.ConditionalCheckFailedException):
        table.put_item(TableName=names().retraining_table, Item=item, **condition)
        return True
    return False


def _items(workload: str, beginning: str) -> list[dict[str, Any]]:
    """The items of a workload whose `Item` begins so, in their order. They are read as they are now."""
    pages = (
        client("dynamodb")
        .get_paginator("query")
        .paginate(
            TableName=names().retraining_table,
            ConsistentRead=True,
            KeyConditionExpression="#workload = :workload AND begins_with(#item, :beginning)",
            **_named(workload="Workload", item="Item"),
            ExpressionAttributeValues={":workload": {"S": workload}, ":beginning": {"S": beginning}},
        )
    )
    return [item for page in pages for item in page["Items"]]


def _named(**attributes: str) -> dict[str, Any]:
    """DynamoDB reserves some words: attributes are named by placeholders throughout."""
    return {"ExpressionAttributeNames": {f"#{placeholder}": name for placeholder, name in attributes.items()}}
