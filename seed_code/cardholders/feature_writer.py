"""Each holder's latest features in a feature group: what a caller who knows the holder sends along with a request.

One record per holder, under the holder's salted hash. `event_time` is the moment that the features are as of, told by
the data and never by a clock, so that the same data give the same records however often they are written.

The online store takes a record only if its event time is later than that of the one it has; the offline store takes
every version. So what is there is read first, a hundred records a call:

- a record that says the same is not written again: PutRecord takes one record a call, and most of a call's cost is
  botocore's own work;
- a record of the same day that says something else (the data or the features were mended) is replaced by one a
  millisecond later;
- a record of a later day stays, and ours becomes history.
"""

import datetime
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import boto3
import pyarrow as pa
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from botocore.exceptions import ClientError as AwsError

from seed_code.cardholders import split
from seed_code.cardholders.features import FIELDS, STORED_FEATURES
from seed_code.common.errors import ClientError

IDENTIFIER = "holder"
EVENT_TIME = "event_time"
BATCH = 100  # BatchGetRecord's most
DAY, MILLISECOND = datetime.timedelta(days=1), datetime.timedelta(milliseconds=1)
THREADS = 8
ATTEMPTS = 5
NAMED = 8


def definitions() -> dict[str, str]:
    """The group's features: FeatureType (`Integral`, `Fractional` or `String`) by FeatureName."""
    kinds = {"int": "Integral", "float": "Fractional"}
    return {
        IDENTIFIER: "String",
        EVENT_TIME: "String",
        **{field: "Fractional" if field == "amount_spend" else "Integral" for field in FIELDS},
        **{feature.name: kinds[feature.kind] for feature in STORED_FEATURES},
    }


def event_time(day: int) -> str:
    """The last second of a reference date: features as of a day count all of it."""
    return f"{split.as_date(day)}T23:59:59Z"


@dataclass(frozen=True)
class Group:
    """A feature group that holds these features and no others."""

    name: str
    online: bool
    """Whether it has an online store, which is where records can be read."""


@dataclass(frozen=True)
class Written:
    """How many records were written, and how many were there already."""

    written: int
    unchanged: int


def find_group(name: str) -> Group:
    """The feature group of that name, once it is known to take our records.

    Raises:
        ClientError: when there is none, it is not ready, or its features are not `definitions()`.
    """
    try:
        found = boto3.client("sagemaker").describe_feature_group(FeatureGroupName=name)
    except (AwsError, BotoCoreError) as error:
        if "(ResourceNotFound)" in str(error):
            raise ClientError(
                f"there is no feature group `{name}` (--feature-group); `mlops up` makes it on this machine, the "
                "project's stack on AWS"
            ) from error
        raise ClientError(f"the feature group `{name}` (--feature-group) cannot be looked at: {error}") from error
    if found["FeatureGroupStatus"] != "Created":
        raise ClientError(
            f"the feature group `{name}` is {found['FeatureGroupStatus']}, expected Created "
            f"({found.get('FailureReason', 'it gives no reason')}); look at it with `aws sagemaker "
            f"describe-feature-group --feature-group-name {name}`, and run the pipeline again"
        )
    wrong = _differences(found)
    if wrong:
        raise ClientError(
            f"the feature group `{name}` is not one for holders' features: {'; '.join(wrong)}. Delete it (`aws "
            f"sagemaker delete-feature-group --feature-group-name {name}`), have it made anew (`mlops up` does on this "
            "machine, the project's stack on AWS), and run the pipeline again"
        )
    return Group(name, bool(found.get("OnlineStoreConfig", {}).get("EnableOnlineStore")))


def write(group: Group, latest: pa.Table, moment: str) -> Written:
    """Write a record for each row.

    Args:
        group: from `find_group`.
        latest: column `holder` and one for each other feature; NaN: the holder has no such value.
        moment: ISO 8601 in UTC, the event time of every record.

    Raises:
        ClientError: when a record is still refused after retries; all others are written first.
    """
    client = boto3.client(
        "sagemaker-featurestore-runtime",
        config=Config(
            max_pool_connections=THREADS,
            connect_timeout=10,
            read_timeout=30,
            # Standard mode stops retrying when most calls fail: an outage ends the job soon.
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            # The service checks the same, and records made here have one form: a tenth of a call's cost.
            parameter_validation=False,
        ),
    )
    starts = range(0, latest.num_rows, BATCH)
    with ThreadPoolExecutor(THREADS, thread_name_prefix="feature-writer") as threads:
        parts = list(
            threads.map(lambda start: _write_batch(client, group, _rows(latest.slice(start, BATCH)), moment), starts)
        )
    refused = [refusal for part in parts for refusal in part.refused]
    if refused:
        holder, error = refused[0]
        raise ClientError(
            f"the feature group `{group.name}` did not take the features of {len(refused):,} of {latest.num_rows:,} "
            f"holders, first those of {holder}: {error}. The others are written. Mend that, and run the pipeline "
            "again: it writes what is missing"
        )
    unchanged = sum(part.unchanged for part in parts)
    return Written(latest.num_rows - unchanged, unchanged)


Values = dict[str, str]
"""A record's values by feature name, as texts."""


@dataclass(frozen=True)
class _Part:
    unchanged: int
    refused: list[tuple[str, Exception]]


def _write_batch(client: Any, group: Group, rows: list[Values], moment: str) -> _Part:
    """Write what is not there already; `rows` are `BATCH` records at most, without their event time."""
    known, unknown = _known(client, group, [row[IDENTIFIER] for row in rows])
    unchanged = 0
    refused: list[tuple[str, Exception]] = []
    for row in rows:
        holder = row[IDENTIFIER]
        try:
            if holder in unknown:
                answer = client.get_record(FeatureGroupName=group.name, RecordIdentifierValueAsString=holder)
                known[holder] = _values(answer.get("Record", []))
            values = _version(row, known.get(holder, {}), moment)
            if values is None:
                unchanged += 1
                continue
            record = [{"FeatureName": name, "ValueAsString": value} for name, value in values.items()]
            client.put_record(FeatureGroupName=group.name, Record=record)
        except (AwsError, BotoCoreError) as error:
            refused.append((holder, error))
    return _Part(unchanged, refused)


def _known(client: Any, group: Group, holders: list[str]) -> tuple[dict[str, Values], set[str]]:
    """What the online store has of these holders, and of which of them it did not say."""
    if not group.online:
        return {}, set()
    try:
        answer = client.batch_get_record(
            Identifiers=[{"FeatureGroupName": group.name, "RecordIdentifiersValueAsString": holders}]
        )
    except (AwsError, BotoCoreError):
        return {}, set(holders)
    left = {holder for some in answer["UnprocessedIdentifiers"] for holder in some["RecordIdentifiersValueAsString"]}
    left |= {error["RecordIdentifierValueAsString"] for error in answer["Errors"]}
    return {found["RecordIdentifierValueAsString"]: _values(found["Record"]) for found in answer["Records"]}, left


def _values(record: list[dict[str, str]]) -> Values:
    return {feature["FeatureName"]: feature["ValueAsString"] for feature in record}


def _version(row: Values, before: Values, moment: str) -> Values | None:
    """The record to write where `before` is there (or nothing): `row` with its event time, None if it says the same."""
    ours = datetime.datetime.fromisoformat(moment)
    theirs = datetime.datetime.fromisoformat(before[EVENT_TIME]) if before else None
    if theirs is None or not ours <= theirs < ours + DAY:
        return row | {EVENT_TIME: moment}
    if before == row | {EVENT_TIME: before[EVENT_TIME]}:
        return None
    later = (theirs + MILLISECOND).isoformat(timespec="milliseconds")
    return row | {EVENT_TIME: later.replace("+00:00", "Z")}


def _rows(latest: pa.Table) -> list[Values]:
    """Each row's values. Numbers are written with as many digits as give the same number again."""
    # NaN is left out: the one value that does not equal itself.
    return [{name: str(value) for name, value in row.items() if value == value} for row in latest.to_pylist()]


def _differences(described: dict[str, Any]) -> list[str]:
    """What is wrong with a group, in words."""
    expected = definitions()
    found = {feature["FeatureName"]: feature["FeatureType"] for feature in described["FeatureDefinitions"]}
    wrong = [
        f"its {what} is `{described[key]}`, expected `{name}`"
        for what, key, name in (
            ("record identifier", "RecordIdentifierFeatureName", IDENTIFIER),
            ("event time", "EventTimeFeatureName", EVENT_TIME),
        )
        if described[key] != name
    ]
    if missing := [name for name in expected if name not in found]:
        wrong.append(f"it lacks {_listed(missing)}")
    if unknown := [name for name in found if name not in expected]:
        wrong.append(f"it has {_listed(unknown)}, which Prepare does not know")
    others = [name for name, kind in expected.items() if name in found and found[name] != kind]
    if others:
        wrong.append(f"it holds {_listed([f'{name} as {found[name]} (expected {expected[name]})' for name in others])}")
    return wrong


def _listed(names: Sequence[str]) -> str:
    """Some of the names: a job's failure has room for a thousand characters, the next command included."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
