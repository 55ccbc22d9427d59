"""Reading what the alarms have led to: the table that the function `retraining` keeps.

`pipelines/carried/retraining.py` says what is in it. Nothing here writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipelines.carried import retraining
from pipelines.carried.retraining import Attempt, Notice, State
from pipelines.names import Names

__all__ = ["Attempt", "Notice", "Retrainings", "State", "read"]


@dataclass(frozen=True)
class Retrainings:
    """All that is kept of a workload, the last 90 days of it.

    Attributes:
        attempts: the retrainings, oldest first.
        notices: what people were told, oldest first.
        state: what was decided last; None before the first look.
    """

    attempts: tuple[Attempt, ...] = ()
    notices: tuple[Notice, ...] = ()
    state: State | None = None

    def of_alarm(self, alarm: str) -> tuple[Attempt, ...]:
        """Those that an alarm has led to, by its name."""
        return tuple(attempt for attempt in self.attempts if attempt.alarm == alarm)


def read(dynamodb: Any, names: Names, workload: str) -> Retrainings:
    """What is kept of a workload; nothing where the project has no such table yet.

    dynamodb: a boto3 client.
    """
    try:
        items = list(_items(dynamodb, names, workload))
    except dynamodb.exceptions.ResourceNotFoundException:
        return Retrainings()
    by_name = {item["Item"]["S"]: item for item in items}
    attempts = [Attempt.parse(item) for name, item in by_name.items() if name.startswith(retraining.ATTEMPT)]
    notices = [Notice.parse(item) for name, item in by_name.items() if name.startswith(retraining.NOTICE)]
    return Retrainings(
        attempts=tuple(sorted(attempts, key=lambda attempt: attempt.number)),
        notices=tuple(sorted(notices, key=lambda notice: notice.at)),
        state=State.parse(by_name[retraining.STATE]) if retraining.STATE in by_name else None,
    )


def _items(dynamodb: Any, names: Names, workload: str) -> Iterator[dict[str, Any]]:
    pages = dynamodb.get_paginator("query").paginate(
        TableName=names.retraining_table,
        ConsistentRead=True,
        KeyConditionExpression="#workload = :workload",
        ExpressionAttributeNames={"#workload": "Workload"},
        ExpressionAttributeValues={":workload": {"S": workload}},
    )
    for page in pages:
        yield from page["Items"]
