"""Minutes computed again from the archive, against those in the store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from seed_code.common.errors import ClientError
from seed_code.common.objects import Objects
from seed_code.ingestion import replay
from seed_code.ingestion.archive import Archive
from seed_code.ingestion.functions.minutes import Minute, feature_values
from seed_code.ingestion.stored_minutes import StoredMinutes
from tests.seed_code.ingestion.archived import URI, at, deliver, heartbeat, transaction
from tests.seed_code.ingestion.fake_s3 import S3
from tests.seed_code.ingestion.lambda_doubles import refusal

TWO = datetime(2026, 11, 22, 14, tzinfo=UTC)
NOW = datetime(2026, 11, 22, 14, 20, tzinfo=UTC)


@dataclass
class Store:
    """The feature store's runtime, with one group. `left_out`: minutes of each call that it does not process."""

    records: dict[str, dict[str, str]] = field(default_factory=dict)
    left_out: list[int] = field(default_factory=list)
    refused: int = 0
    puts: int = 0

    def batch_get_record(self, *, Identifiers: list[dict[str, Any]]) -> dict[str, Any]:
        (wanted,) = Identifiers
        names = wanted["RecordIdentifiersValueAsString"]
        assert 0 < len(names) <= 100
        cut = len(names) - (self.left_out.pop(0) if self.left_out else 0)
        return {
            "Records": [
                {
                    "FeatureGroupName": wanted["FeatureGroupName"],
                    "RecordIdentifierValueAsString": name,
                    "Record": feature_values(self.records[name]),
                }
                for name in names[:cut]
                if name in self.records
            ],
            "Errors": [],
            "UnprocessedIdentifiers": [{**wanted, "RecordIdentifiersValueAsString": names[cut:]}]
            if names[cut:]
            else [],
            "ResponseMetadata": {"HTTPHeaders": {"date": "Sun, 22 Nov 2026 16:00:00 GMT"}},
        }

    def put_record(self, *, FeatureGroupName: str, Record: list[dict[str, str]]) -> None:
        if self.refused:
            raise refusal("ThrottlingException", "PutRecord")
        self.puts += 1
        record = {one["FeatureName"]: one["ValueAsString"] for one in Record}
        before = self.records.get(record["tx_minute"])
        assert before is None or _time(record) > _time(before), "the store would not take it for the newest"
        self.records[record["tx_minute"]] = record

    def keep(self, *minutes: Minute, event_time: datetime | None = None) -> None:
        """Have some minutes."""
        for minute in minutes:
            record = minute.record(event_time)
            self.records[record["tx_minute"]] = record


def _time(record: Mapping[str, str]) -> datetime:
    return datetime.fromisoformat(record["event_time"])


def minute(number: int, count: int = 2, total: int = 300, average: float | None = 150.0) -> Minute:
    return Minute(TWO + timedelta(minutes=number), count, total, average)


def archived(*, minutes: int = 20, hour: str = "14") -> S3:
    """An hour of which every minute has two transactions, and a heartbeat each."""
    s3 = S3()
    for number in range(minutes):
        time = at(f"{hour}:{number:02}:00")
        deliver(
            s3,
            transaction(f"a{number}", time + 1, 100),
            transaction(f"b{number}", time + 59, 200),
            heartbeat(time + 59),
        )
    return s3


def run(s3: S3, store: Store, *arguments: str) -> dict[str, Any]:
    request = replay.requested(arguments)
    found = replay.replay(request, Archive(Objects(s3), URI), StoredMinutes(store, "group"))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    return found


def figures(found: dict[str, Any]) -> dict[str, int]:
    names = ("minutes", "same", "different", "missing", "only_in_store", "incomplete", "withheld", "written")
    return {name: found[name] for name in names if found[name]}


SPAN = ("--from", "2026-11-22T14:00:00Z", "--to", "2026-11-22T14:10:00Z")


def test_minutes_are_compared_and_nothing_is_written_unless_asked_for() -> None:
    store = Store()
    store.keep(*(minute(number) for number in range(10) if number not in (3, 4)), minute(4, 2, 299, 149.5))
    before = dict(store.records)
    found = run(archived(), store, *SPAN)
    assert figures(found) == {"minutes": 10, "same": 8, "different": 1, "missing": 1}
    assert (found["transactions"], found["quiet"], found["write"], found["id"]) == (
        20,
        0,
        False,
        "replay-2026-11-22T14:00:00Z-2026-11-22T14:10:00Z",
    )
    assert found["differing"] == [
        {
            "minute": "2026-11-22T14:03:00Z",
            "archive": {"total_nb_trx_1min": 2, "total_fee_1min": 300, "avg_fee_1min": 150.0},
            "store": None,
        },
        {
            "minute": "2026-11-22T14:04:00Z",
            "archive": {"total_nb_trx_1min": 2, "total_fee_1min": 300, "avg_fee_1min": 150.0},
            "store": {"total_nb_trx_1min": 2.0, "total_fee_1min": 299.0, "avg_fee_1min": 149.5},
        },
    ]
    assert found["archive"]["newest"] == "2026-11-22T14:19:59Z"
    assert store.records == before


def test_what_differs_is_written_as_a_later_version() -> None:
    store = Store()
    store.keep(*(minute(number) for number in range(9)))
    store.keep(minute(4, 1, 100, 100.0), minute(5, 3, 300, 100.0))
    assert figures(run(archived(), store, *SPAN, "--write")) == {
        "minutes": 10, "same": 7, "different": 2, "missing": 1, "written": 3,
    }  # fmt: skip
    assert store.records["2026-11-22T14:04:00Z"] == minute(4).record(datetime(2026, 11, 22, 16, tzinfo=UTC))
    assert store.records["2026-11-22T14:05:00Z"]["total_nb_trx_1min"] == "2"
    assert figures(run(archived(), store, *SPAN, "--write")) == {"minutes": 10, "same": 10}
    assert store.puts == 3


def test_a_version_is_later_than_what_is_there_whatever_the_moment() -> None:
    store = Store()
    store.keep(minute(1, 9), event_time=NOW + timedelta(days=1, milliseconds=999))
    run(archived(), store, *SPAN, "--write", "--at", "2026-11-22T14:20:00Z")
    assert store.records["2026-11-22T14:01:00Z"]["event_time"] == "2026-11-23T14:20:01Z"
    assert store.records["2026-11-22T14:02:00Z"]["event_time"] == "2026-11-22T14:20:00Z"


def test_the_hourly_run_leaves_minutes_that_the_archive_may_not_have_whole() -> None:
    store = Store()
    found = run(archived(), store, "--last-hours", "3", "--at", "2026-11-22T14:20:07Z", "--write")
    assert (found["from"], found["to"], found["id"]) == (
        "2026-11-22T11:20:00Z",
        "2026-11-22T14:20:00Z",
        "reconcile-2026-11-22T14:20:00Z",
    )
    # The newest record is of 14:19:59: of 14:17 something may be missing still.
    assert figures(found) == {"minutes": 17, "missing": 17, "incomplete": 3, "written": 17}
    assert max(store.records) == "2026-11-22T14:16:00Z"
    assert store.records["2026-11-22T14:00:00Z"]["event_time"] == "2026-11-22T14:20:07Z"


def test_the_hourly_run_never_makes_a_minute_smaller() -> None:
    store = Store()
    store.keep(*(minute(number) for number in range(17)))
    store.keep(minute(7, 5), minute(8, 1))
    found = run(archived(), store, "--last-hours", "1", "--at", "2026-11-22T14:20:00Z", "--write")
    assert figures(found) == {"minutes": 17, "same": 15, "different": 2, "incomplete": 3, "withheld": 1, "written": 1}
    assert store.records["2026-11-22T14:07:00Z"]["total_nb_trx_1min"] == "5"


@pytest.mark.parametrize(("later", "complete"), [("15:01:58", 59), ("15:02:00", 60), ("16:00:00", 60), (None, 57)])
def test_the_end_of_a_span_is_complete_if_the_archive_goes_on(later: str | None, complete: int) -> None:
    s3 = archived(minutes=60)
    if later:
        deliver(s3, heartbeat(at(later)))
    found = run(s3, Store(), "--from", "2026-11-22T14:00", "--to", "2026-11-22T15:00")
    assert (found["minutes"], found["incomplete"]) == (complete, 60 - complete)


def test_hours_are_replayed_in_turn_and_outages_are_no_minutes() -> None:
    s3 = archived(hour="14")
    s3.objects |= archived(hour="17").objects
    store = Store()
    store.keep(minute(30), minute(-10))
    found = run(s3, store, "--from", "2026-11-22T13:50", "--to", "2026-11-22T17:15", "--write")
    assert figures(found) == {"minutes": 35, "missing": 35, "only_in_store": 2, "written": 35}
    assert found["archive"]["records"] == 120


def test_late_and_repeated_records_and_quiet_minutes_count_as_they_should() -> None:
    s3 = archived(minutes=5)
    deliver(s3, heartbeat(at("14:09:00")), heartbeat(at("14:05:00")))
    deliver(s3, transaction("a1", at("14:01:01"), 100), transaction("late", at("14:01:02"), None))
    store = Store()
    assert run(s3, store, *SPAN, "--write")["quiet"] == 1
    assert store.records["2026-11-22T14:01:00Z"]["total_nb_trx_1min"] == "3"
    assert store.records["2026-11-22T14:01:00Z"]["avg_fee_1min"] == "150.0"
    assert "avg_fee_1min" not in store.records["2026-11-22T14:05:00Z"]


def test_an_archive_with_nothing_in_it_says_nothing() -> None:
    store = Store()
    store.keep(minute(3))
    assert figures(run(S3(), store, *SPAN, "--write")) == {}


def test_what_the_store_leaves_out_is_asked_for_again() -> None:
    store = Store(left_out=[4, 2])
    store.keep(*(minute(number) for number in range(10)))
    assert figures(run(archived(), store, *SPAN)) == {"minutes": 10, "same": 10}
    store.left_out = [1] * 9
    with pytest.raises(ClientError, match=r"`group` could not be read: it left out minutes"):
        run(archived(), store, *SPAN)


def test_a_store_that_does_not_take_minutes_ends_it() -> None:
    with pytest.raises(ClientError, match=r"did not take a minute, after 0 others: .*Throttling.* Run it again"):
        run(archived(), Store(refused=1), *SPAN, "--write")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected --from and --to, or --last-hours and --at"),
        (["--last-hours", "3"], "--last-hours goes with --at"),
        (["--last-hours", "3", "--at", "2026-11-22", "--to", "2026-11-22"], "without --from and --to"),
        (["--last-hours", "0", "--at", "2026-11-22"], "0 is not from 1 to 168"),
        (["--from", "2026-11-22T14:00:30Z", "--to", "2026-11-22T15:00Z"], "whole minutes"),
        (["--from", "2026-11-22T15:00Z", "--to", "2026-11-22T15:00Z"], "expected it later"),
        (["--from", "2024-11-22", "--to", "2026-11-22"], "by a year at most"),
        (["--from", "1969-11-22", "--to", "2026-11-22"], "`1969-11-22` is no time such as"),
        ([*SPAN, "--id", "../x"], r"--id is `\.\./x`"),
    ],
)
def test_mistakes_in_arguments_are_told(arguments: list[str], message: str) -> None:
    with pytest.raises(ClientError, match=message):
        replay.requested(arguments)
