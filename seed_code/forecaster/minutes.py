"""The feature group of minutes: which it is, the query for it, and the clean series of minutes behind its texts.

A record is one version of one minute. Its identifier is the minute's first moment, in UTC: a text that carries
another zone's offset is converted, and one without a zone is taken for UTC, so that a local clock change is no gap and
no overlap. Of several versions the one with the latest event time stands.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from botocore.exceptions import BotoCoreError
from botocore.exceptions import ClientError as AwsError
from numpy.typing import NDArray

from seed_code.common.errors import ClientError
from seed_code.forecaster.athena import quoted
from seed_code.forecaster.records import LARGEST

Minute = NDArray[np.int64]  # since 1970-01-01, UTC
Values = NDArray[np.float64]

EXAMPLES = 3  # of each reason that a row was left out for
_DAYS_TO_SPARE = 2  # a text may be of another zone than UTC, so that its day is the one before or after
_MICROSECONDS_A_MINUTE = 60_000_000
_MINUTE = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?"
_ZONE = r"(Z|[+-]\d\d:?\d\d)"
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_INFINITE = r"^[+-]?[Ii]nf(inity)?$"


@dataclass(frozen=True)
class FeatureGroup:
    """A feature group's offline store, as its table in the catalog.

    Attributes:
        columns: its features' types (Integral, Fractional, String), by name.
    """

    name: str
    database: str
    table: str
    identifier: str
    event_time: str
    columns: Mapping[str, str]

    @classmethod
    def describe(cls, sagemaker: Any, name: str) -> "FeatureGroup":
        """The feature group of that name.

        Args:
            sagemaker: boto3's client.

        Raises:
            ClientError: when there is none, or it has no offline store in a catalog; with the next command.
        """
        try:
            found = sagemaker.describe_feature_group(FeatureGroupName=name)
            columns = found["FeatureDefinitions"]
            while token := found.get("NextToken"):
                page = sagemaker.describe_feature_group(FeatureGroupName=name, NextToken=token)
                columns, found["NextToken"] = columns + page["FeatureDefinitions"], page.get("NextToken")
        except AwsError as error:
            if error.response["Error"]["Code"] in ("ResourceNotFound", "ResourceNotFoundException"):
                raise ClientError(
                    f"there is no feature group {name}; the project's stack makes it, on this machine `mlops up` does; "
                    "then `mlops ingest FILE` brings minutes into it"
                ) from error
            raise ClientError(f"the feature group {name} could not be described: {error}") from error
        except BotoCoreError as error:
            raise ClientError(f"the feature group {name} could not be described: {error}") from error
        status = found["FeatureGroupStatus"]
        if status != "Created":
            reason = f" ({found['FailureReason']})" if found.get("FailureReason") else ""
            raise ClientError(f"the feature group {name} has the status {status}{reason}; expected Created")
        catalog = found.get("OfflineStoreConfig", {}).get("DataCatalogConfig")
        if not catalog:
            raise ClientError(
                f"the feature group {name} has no offline store with a table in a catalog; expected one: delete the "
                "group, and the project's stack makes it anew, on this machine `mlops up` does; then `mlops ingest "
                "FILE` brings minutes into it"
            )
        return cls(
            name,
            catalog["Database"],
            catalog["TableName"],
            found["RecordIdentifierFeatureName"],
            found["EventTimeFeatureName"],
            {column["FeatureName"]: column["FeatureType"] for column in columns},
        )

    def query(self, values: list[str], days: int, before: datetime, written: datetime | None) -> str:
        """SQL for the newest version of each minute; result columns minute, made, deleted, versions, then v0, v1, ….

        It is Athena's dialect. The text of a minute is compared as a text, which is right for UTC; what is of another
        zone comes along with a margin, and `clean` is exact.

        Args:
            values: features whose values are wanted.
            days: how many, counted back from the newest minute.
            before: the minutes are earlier than this.
            written: versions that the store got later than this are left out.
        """
        minute, made = quoted(self.identifier.lower()), quoted(self.event_time.lower())
        # Millisecond and second texts do not sort as texts: `…:00.500Z` comes before `…:00Z`.
        moment = f"from_iso8601_timestamp({made})" if self.columns[self.event_time] == "String" else made
        wanted = ", ".join(f"{quoted(name.lower())} AS v{at}" for at, name in enumerate(values))
        kept = ", ".join(f"v{at}" for at in range(len(values)))
        known = f"WHERE write_time <= timestamp '{_timestamp(written)}'" if written else ""
        day = "try_cast(substr({}, 1, 10) AS date)"
        last = before.date() + timedelta(days=_DAYS_TO_SPARE)
        return f"""
            WITH versions AS (
                SELECT {minute} AS minute, {made} AS made, is_deleted AS deleted, {wanted},
                    {day.format(minute)} AS day,
                    count(*) OVER (PARTITION BY {minute}) AS versions,
                    row_number() OVER (
                        PARTITION BY {minute} ORDER BY {moment} DESC, api_invocation_time DESC, write_time DESC
                    ) AS version
                FROM {quoted(self.database)}.{quoted(self.table)} {known}
            ),
            newest AS (
                SELECT max({day.format("minute")}) AS day FROM versions
                WHERE minute < '{before:%Y-%m-%dT%H:%M:%SZ}'
            )
            SELECT minute, made, deleted, versions, {kept}
            FROM versions CROSS JOIN newest
            WHERE version = 1 AND (
                versions.day IS NULL
                OR versions.day <= date '{last}'
                AND versions.day >= date_add('day', -{days + _DAYS_TO_SPARE}, newest.day)
            )
        """


def _timestamp(moment: datetime) -> str:
    """A moment as SQL writes a timestamp without zone, which the store's columns are, in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"


@dataclass
class LeftOut:
    """Rows and values that were not used: how many for which reason, and the first texts of each."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, texts: pa.ChunkedArray | pa.Array) -> None:
        """Count texts, which may be none."""
        if len(texts):
            self.counts[reason] = self.counts.get(reason, 0) + len(texts)
            # In the order of the alphabet: a query's rows come in any order.
            some = sorted(str(text)[:60] for text in texts.unique().to_pylist())
            self.examples[reason] = sorted([*self.examples.get(reason, []), *some])[:EXAMPLES]

    def told(self) -> str:
        """How often for which reason, with examples, for a message; it begins with a semicolon unless it is empty."""
        parts = []
        for reason, count in self.counts.items():
            examples = ", ".join(f"`{text}`" for text in self.examples[reason])
            parts.append(f"; left out {'once' if count == 1 else f'{count} times'}: {reason} ({examples})")
        return "".join(parts)


@dataclass(frozen=True)
class Minutes:
    """What the feature group says, cleaned: ascending minutes, each once.

    Attributes:
        minute: (minutes,), since 1970-01-01.
        values: for each feature asked for, (minutes,), NaN where a minute has no number.
        versions: how many records the query found for them.
        superseded: how many of these a later version of their minute replaced.
        deleted: minutes whose newest version says that they are deleted.
        left_out: rows that are no minute, values that are no number.
    """

    minute: Minute
    values: list[Values]
    versions: int
    superseded: int
    deleted: int
    left_out: LeftOut


def clean(rows: pa.Table, values: list[str], days: int, before: datetime) -> Minutes:
    """The minutes in the result of `FeatureGroup.query`, called with the same arguments."""
    left_out = LeftOut()
    moments = _moments(rows["minute"])
    left_out.add("not a time", rows["minute"].filter(pc.is_null(moments)))
    rows, moments = rows.filter(pc.is_valid(moments)), pc.drop_null(moments)
    stamps = moments.cast(pa.int64()).to_numpy()
    on_grid = stamps % _MICROSECONDS_A_MINUTE == 0
    left_out.add("not the beginning of a minute", rows["minute"].filter(pa.array(~on_grid)))
    minute = stamps // _MICROSECONDS_A_MINUTE
    end = -(-before.timestamp() // 60)
    kept = on_grid & (minute < end)
    if kept.any():
        kept &= minute > minute[kept].max() - days * 1440
    rows, minute = rows.filter(pa.array(kept)), minute[kept]
    versions = int(pc.sum(pc.cast(rows["versions"], pa.int64())).as_py() or 0)

    # The same minute in two spellings is two records; the later one stands, as of versions of one record.
    made = rows["made"].to_pylist() if len(np.unique(minute)) < len(minute) else [""] * len(minute)
    ranked = sorted(range(len(minute)), key=lambda at: (minute[at], _made(made[at]))) if any(made) else None
    order = np.array(ranked) if ranked is not None else np.argsort(minute, kind="stable")
    order = order[np.append(minute[order][1:] != minute[order][:-1], True)] if len(order) else order
    superseded = versions - len(order)
    rows, minute = rows.take(pa.array(order, pa.int64())), minute[order]

    deleted = pc.equal(rows["deleted"], "true").fill_null(False).to_numpy().astype(bool)
    rows, minute = rows.filter(pa.array(~deleted)), minute[~deleted]
    numbers = [_numbers(rows[f"v{at}"], name, left_out) for at, name in enumerate(values)]
    return Minutes(minute, numbers, versions, superseded, int(deleted.sum()), left_out)


def _made(text: str) -> tuple[float, str]:
    """An event time as something to sort by: ISO 8601 or seconds since 1970-01-01."""
    try:
        return (float(text), text)
    except ValueError:
        return (datetime.fromisoformat(text).timestamp(), text)


def _moments(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Microseconds since 1970-01-01 as timestamps; null where a text is no time."""
    kinds = [(_MINUTE + _ZONE + "$", pa.timestamp("us", "UTC")), (_MINUTE + "$", pa.timestamp("us"))]
    found = pa.chunked_array([pa.nulls(len(texts), pa.timestamp("us"))])
    for pattern, kind in kinds:
        matching = pc.if_else(pc.match_substring_regex(texts, pattern), texts, None)
        try:
            moments = matching.cast(kind)
        except pa.ArrowInvalid:  # one of them is no such day or hour: one at a time
            moments = pa.chunked_array([pa.array([_moment(text) for text in matching.to_pylist()], kind)])
        found = pc.coalesce(found, moments.cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us")))
    return found


def _moment(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return None


def _numbers(texts: pa.ChunkedArray, name: str, left_out: LeftOut) -> Values:
    """(rows,), NaN where there is no number that DeepAR takes."""
    numeric = pc.match_substring_regex(texts, _NUMBER).fill_null(False)
    values = pc.if_else(numeric, texts, None).cast(pa.float64()).to_numpy().astype(np.float64)
    beyond = np.abs(values) > LARGEST  # an infinity, too, is a number of too many digits here
    infinite = pc.match_substring_regex(texts, _INFINITE).fill_null(False)
    nan = pc.equal(pc.utf8_lower(texts), "nan").fill_null(False)
    other = pc.and_(pc.is_valid(texts), pc.invert(pc.or_(pc.or_(numeric, infinite), nan)))
    left_out.add(f"{name} is not finite", texts.filter(pc.or_(infinite, nan)))
    left_out.add(f"{name} is not a number", texts.filter(other))
    left_out.add(too_large(name), texts.filter(pa.array(beyond)))
    return np.where(beyond, math.nan, values)


def too_large(name: str) -> str:
    """The reason that a value is left out for."""
    return f"{name} is beyond {LARGEST:.3g}, the largest number that DeepAR takes"


def parse_time(text: str) -> datetime:
    """An ISO 8601 time, in UTC unless it says otherwise.

    Raises:
        ValueError: when it is none.
    """
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
