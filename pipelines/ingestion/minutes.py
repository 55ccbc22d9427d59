"""The newest minutes as the feature store's online store has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pipelines.errors import ServiceError
from pipelines.feature_groups import MINUTES
from pipelines.names import Names

__all__ = ["MINUTE", "Minute", "gaps", "latest", "read", "whole"]

MINUTE = timedelta(minutes=1)
# BatchGetRecord takes no more of them in one call.
_MOST_RECORDS = 100
_ROUNDS = 5  # of asking for what it left out


@dataclass(frozen=True)
class Minute:
    """A minute: its first moment, aware; how many transactions; their fees in all and on average, in satoshi.

    Of a quiet minute there is no average; of one that is missing nothing is known.
    """

    time: datetime
    transactions: int | None = None
    total_fee: float | None = None
    average_fee: float | None = None

    @property
    def missing(self) -> bool:
        return self.transactions is None


def whole(moment: datetime) -> datetime:
    """The first moment of the minute that a moment lies in."""
    return moment.astimezone(UTC).replace(second=0, microsecond=0)


def read(runtime: Any, names: Names, first: datetime, count: int) -> list[Minute]:
    """The `count` minutes from `first` on, in order, those that are missing among them.

    runtime: boto3's client of the feature store. first: the first moment of a minute, aware. Raises
    ServiceError when the feature group cannot be read.
    """
    times = [first + at * MINUTE for at in range(count)]
    found: dict[str, Minute] = {}
    for begin in range(0, count, _MOST_RECORDS):
        for record in _records(runtime, names, [_identifier(time) for time in times[begin : begin + _MOST_RECORDS]]):
            found[record["RecordIdentifierValueAsString"]] = _minute(record)
    return [found.get(_identifier(time), Minute(time)) for time in times]


def _records(runtime: Any, names: Names, wanted: list[str]) -> Iterator[Mapping[str, Any]]:
    """The newest versions of records that are there; no more of them than BatchGetRecord takes."""
    group = MINUTES.name(names)
    for _ in range(_ROUNDS):
        answer = runtime.batch_get_record(
            Identifiers=[{"FeatureGroupName": group, "RecordIdentifiersValueAsString": wanted}]
        )
        for error in answer["Errors"]:
            raise ServiceError(
                f"the feature group {error['FeatureGroupName']} could not be read: {error['ErrorMessage']}; the "
                "stream's stack makes it, on this machine `mlops up` does"
            )
        yield from answer["Records"]
        wanted = [name for one in answer["UnprocessedIdentifiers"] for name in one["RecordIdentifiersValueAsString"]]
        if not wanted:
            return
    raise ServiceError(
        f"the feature group {group} left out {len(wanted)} minutes that it was asked for, {_ROUNDS} times; it is busy: "
        "try again in some seconds"
    )


def latest(minutes: Sequence[Minute]) -> Minute | None:
    """The newest that is there."""
    return next((minute for minute in reversed(minutes) if not minute.missing), None)


def gaps(minutes: Sequence[Minute]) -> list[tuple[datetime, datetime]]:
    """From when to when minutes are missing between others; what is missing at the end has not come yet."""
    newest = latest(minutes)
    oldest = next((minute for minute in minutes if not minute.missing), None)
    if newest is None or oldest is None:
        return []
    found: list[tuple[datetime, datetime]] = []
    for minute in minutes:
        if not minute.missing or not oldest.time < minute.time < newest.time:
            continue
        if found and found[-1][1] == minute.time:
            found[-1] = (found[-1][0], minute.time + MINUTE)
        else:
            found.append((minute.time, minute.time + MINUTE))
    return found


def _identifier(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def _minute(record: Mapping[str, Any]) -> Minute:
    values = {value["FeatureName"]: value["ValueAsString"] for value in record["Record"]}
    average = values.get("avg_fee_1min")
    return Minute(
        datetime.fromisoformat(record["RecordIdentifierValueAsString"]),
        int(values["total_nb_trx_1min"]),
        float(values["total_fee_1min"]),
        None if average is None else float(average),
    )
