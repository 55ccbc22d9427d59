"""Loading a file of per-minute aggregates into the feature store.

A CSV (.csv, .csv.gz) or Parquet file with the features of `feature_groups.MINUTES` as its columns, in any order; others
are ignored. `avg_fee_1min` may be left away, as a column or in a row: it is then total over count, and nothing for a
minute without transactions. So may `event_time`: it is then the minute's end. Times are ISO 8601 or Parquet's
timestamps; one without a zone is UTC.

The file is read and checked as a whole before anything is written. Every record is written by PutRecord, the only door
that SageMaker has for both stores; what the store has already is not written again, so that doing it again changes
nothing.
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from pipelines.errors import ServiceError, UsageError, suggestion
from pipelines.feature_groups import MINUTES

__all__ = ["Minutes", "Written", "read", "write"]

Record = Mapping[str, str]

SUFFIXES = (".csv", ".csv.gz", ".parquet")
REQUIRED = ("tx_minute", "total_nb_trx_1min", "total_fee_1min")
_SHOWN_MISTAKES = 10
_SHOWN_CHARACTERS = 40
_MINUTE = timedelta(minutes=1)
# Calls under way at the same time. PutRecord answers in some 10 ms on AWS; more threads than this only wait for Python.
_WRITERS = 8
_LOOKED_UP = 100  # BatchGetRecord's most
# As numbers may be written in a file; Python's own parser takes more, such as 1_000.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_TIME = re.compile(r"\d{4}-?\d{2}-?\d{2}[T ]\d{2}.*")
_LARGEST_COUNT = 2**63 - 1  # of the feature type Integral
_LARGEST_FEE = 3.4e38  # of a 32-bit float, which is what the network reads
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_DIFFERENCE = 0.01  # of a given average from total over count: it may be rounded


@dataclass(frozen=True)
class Minutes:
    """The checked records of a file, in its order. Times are texts such as `2026-11-21T14:03:00Z`."""

    records: Sequence[Record]
    ignored_columns: Sequence[str]

    @property
    def first(self) -> str:
        return min(record["tx_minute"] for record in self.records)

    @property
    def last(self) -> str:
        return max(record["tx_minute"] for record in self.records)

    @property
    def distinct(self) -> int:
        """Minutes, each counted once whatever the number of its versions."""
        return len({record["tx_minute"] for record in self.records})


def read(file: Path) -> Minutes:
    """The records of a file.

    Raises UsageError when the file cannot be read, lacks a column, holds no row, or holds one that cannot be taken:
    with the line (the row of a Parquet file), the column, the value and what was expected, for the first ten.
    """
    columns, rows, where = _table(file)
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise UsageError(f"`{file}` has the column `{twice[0]}` more than once; expected each once")
    absent = [name for name in REQUIRED if name not in columns]
    if not columns:
        raise UsageError(f"`{file}` is empty; expected a header with {', '.join(MINUTES.features)}, and a row a minute")
    if absent:
        hints = [suggestion(name, columns) for name in absent]
        raise UsageError(
            f"`{file}` has no column {' and no '.join(f'`{name}`' for name in absent)}"
            f"{next((hint for hint in hints if hint), '')}; its columns are {', '.join(columns)}, expected "
            f"{', '.join(MINUTES.features)}"
        )
    records: list[Record] = []
    mistakes: list[str] = []
    count = 0
    versions: dict[tuple[str, str], tuple[int, Record]] = {}
    for number, values in rows:
        try:
            if len(values) != len(columns):
                raise ValueError(f"has {len(values)} fields; expected {len(columns)}, as the header has")
            record = _record(dict(zip(columns, values, strict=True)))
            key = (record["tx_minute"], record["event_time"])
            before, same = versions.setdefault(key, (number, record))
            if same != record:
                raise ValueError(
                    f"minute {key[0]} was in {where} {before} with other values and the same event_time {key[1]}; "
                    "expected a later event_time for a version that replaces another"
                )
            if before == number:
                records.append(record)
        except ValueError as error:
            count += 1
            if len(mistakes) < _SHOWN_MISTAKES:
                mistakes.append(f"  {where} {number}: {error}")
    if count:
        more = f"\n  … and {count - len(mistakes):,} more" if count > len(mistakes) else ""
        raise UsageError(
            f"`{file}` has {count:,} {'mistake' if count == 1 else 'mistakes'}; nothing was written:\n"
            + "\n".join(mistakes)
            + more
        )
    if not records:
        raise UsageError(f"`{file}` holds no row; expected at least one minute below the header")
    return Minutes(records, [name for name in columns if name not in MINUTES.features])


@dataclass
class Written:
    """What became of a file's records."""

    new: int = 0
    known: int = 0
    """That the store has already, or has a later version of."""
    conflicting: list[Record] = field(default_factory=list)
    """With other values than the store has under the same event time: it would not take them."""

    @property
    def done(self) -> int:
        return self.new + self.known + len(self.conflicting)


def write(
    session: boto3.Session, group: str, minutes: Minutes, progress: Callable[[Written], None] = lambda written: None
) -> Written:
    """Put the records that a feature group does not have yet; those that it has cost a hundredth of a call.

    progress: called with what has been done so far.

    Raises ServiceError when the group does not exist, or a record is refused; it says how far the writing came.
    """
    client = session.client(
        "sagemaker-featurestore-runtime",
        config=Config(retries={"mode": "standard", "total_max_attempts": 5}, max_pool_connections=_WRITERS),
    )

    def put(record: Record) -> None:
        values = [{"FeatureName": name, "ValueAsString": value} for name, value in record.items()]
        client.put_record(FeatureGroupName=group, Record=values)

    written = Written()
    threads = ThreadPoolExecutor(_WRITERS)
    try:
        for start in range(0, len(minutes.records), _LOOKED_UP):
            records = minutes.records[start : start + _LOOKED_UP]
            there = _there(client, group, records)
            new = []
            for record in records:
                stored = there.get(record[MINUTES.record_identifier])
                if stored is None or _event(stored) < _event(record):
                    new.append(record)
                elif _event(stored) == _event(record) and not _same(stored, record):
                    written.conflicting.append(record)
                else:
                    written.known += 1
            for _ in threads.map(put, new):
                written.new += 1
            progress(written)
    except (ClientError, BotoCoreError) as error:
        raise _refused(error, group, written.done, len(minutes.records)) from error
    finally:
        # Also after Ctrl-C: what has not begun does not begin any more.
        threads.shutdown(wait=False, cancel_futures=True)
    return written


def _there(client: Any, group: str, records: Sequence[Record]) -> dict[str, Record]:
    """The records that the online store has for these minutes."""
    identifiers = list(dict.fromkeys(record[MINUTES.record_identifier] for record in records))
    answer = client.batch_get_record(
        Identifiers=[{"FeatureGroupName": group, "RecordIdentifiersValueAsString": identifiers}]
    )
    for error in answer.get("Errors", []):
        details = {"Code": error["ErrorCode"], "Message": error["ErrorMessage"]}
        raise ClientError({"Error": details}, "BatchGetRecord")
    # What was not processed counts as new: a version that is written again loses to none, and wins over none.
    return {
        record["RecordIdentifierValueAsString"]: {
            value["FeatureName"]: value["ValueAsString"] for value in record["Record"]
        }
        for record in answer["Records"]
    }


def _event(record: Record) -> datetime:
    return datetime.fromisoformat(record[MINUTES.event_time])


def _same(stored: Record, record: Record) -> bool:
    """Whether two records of one minute and event time say the same, in whatever spelling of their numbers."""

    def numbers(of: Record) -> dict[str, float]:
        times = (MINUTES.record_identifier, MINUTES.event_time)
        return {name: float(value) for name, value in of.items() if name not in times}

    return numbers(stored) == numbers(record)


def _refused(error: ClientError | BotoCoreError, group: str, written: int, count: int) -> ServiceError:
    if isinstance(error, ClientError) and error.response.get("Error", {}).get("Code") == "ResourceNotFound":
        return ServiceError(
            f"the feature group `{group}` does not exist; the project's stack makes it, on this machine `mlops up` does"
        )
    return ServiceError(
        f"at least {written:,} of {count:,} minutes are in `{group}`, then it failed: {error}. Run the same command "
        "again when that is mended: what is there already stays as it is"
    )


# --- reading ----------------------------------------------------------------------------------------------------------


def _table(file: Path) -> tuple[list[str], Iterable[tuple[int, Sequence[Any]]], str]:
    """(columns, numbered rows, what a row is called) of a file."""
    name = file.name.lower()
    if not name.endswith(SUFFIXES):
        raise UsageError(
            f"`{file}` is no file that can be ingested; expected a name that ends in {', '.join(SUFFIXES)}"
        )
    try:
        return (*_parquet(file), "row") if name.endswith(".parquet") else (*_csv(file), "line")
    except IsADirectoryError:
        raise UsageError(f"`{file}` is a folder, expected a file") from None
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"`{file}` cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _csv(file: Path) -> tuple[list[str], list[tuple[int, Sequence[Any]]]]:
    opener = gzip.open if file.name.lower().endswith(".gz") else open
    with opener(file, "rt", encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        try:
            columns = next(reader, [])
            return columns, [(reader.line_num, row) for row in reader if row]
        except UnicodeDecodeError as error:
            raise UsageError(f"`{file}` is not UTF-8 text (byte {error.start}); expected CSV") from None
        except csv.Error as error:
            raise UsageError(f"`{file}`, line {reader.line_num}: {error}; expected CSV") from None


def _parquet(file: Path) -> tuple[list[str], Iterable[tuple[int, Sequence[Any]]]]:
    # Here and not above: most verbs read no Parquet.
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(file)
    except pyarrow.ArrowInvalid as error:
        raise UsageError(f"`{file}` is no Parquet file: {str(error).splitlines()[0]}") from None
    columns = [_values(file, name, column) for name, column in zip(table.column_names, table.columns, strict=True)]
    return list(table.column_names), enumerate(zip(*columns, strict=True), start=1)


def _values(file: Path, name: str, column: Any) -> list[Any]:
    """A Parquet column's values. What is not read is not looked at."""
    if name not in MINUTES.features:
        return [None] * len(column)
    try:
        return list(column.to_pylist())
    except Exception as error:  # of whatever library the values' type is of: a year after 9999, an unknown time zone
        raise UsageError(
            f"`{file}`: the column `{name}` of type {column.type} has a value that cannot be read: {error}"
        ) from None


# --- checking ---------------------------------------------------------------------------------------------------------


def _record(row: Mapping[str, Any]) -> Record:
    """The record of a row. Raises ValueError, naming the column, when it cannot be taken."""
    minute = _moment(row, "tx_minute")
    if minute.second or minute.microsecond:
        raise ValueError(f"`tx_minute` is {_shown(row['tx_minute'])}; expected a whole minute")
    count = _number(row, "total_nb_trx_1min", _LARGEST_COUNT)
    if count != count.to_integral_value():
        raise ValueError(f"`total_nb_trx_1min` is {_shown(row['total_nb_trx_1min'])}; expected a whole number")
    total = float(_number(row, "total_fee_1min", _LARGEST_FEE))
    if total and not count:
        raise ValueError(f"`total_fee_1min` is {_shown(row['total_fee_1min'])} of 0 transactions; expected 0")
    average = total / float(count) if count else None
    if average is not None and not _empty(row.get("avg_fee_1min")):
        given = float(_number(row, "avg_fee_1min", _LARGEST_FEE))
        if abs(given - average) > _MOST_DIFFERENCE * average:
            raise ValueError(
                f"`avg_fee_1min` is {_shown(row['avg_fee_1min'])}; expected total over count, which is {average:g}"
            )
        average = given
    try:
        event = minute + _MINUTE if _empty(row.get("event_time")) else _moment(row, "event_time")
    except OverflowError:
        raise ValueError(f"`tx_minute` is {_shown(row['tx_minute'])}, the last one that there is") from None
    record = {
        "tx_minute": _iso(minute),
        "total_nb_trx_1min": str(int(count)),
        "total_fee_1min": repr(total),
        "event_time": _iso(event),
    }
    # A record cannot hold an empty value: a minute without transactions has no average.
    return record if average is None else {**record, "avg_fee_1min": repr(average)}


def _iso(moment: datetime) -> str:
    """A moment as the feature store takes it: to the second, or to the millisecond."""
    text = moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds")
    return text.replace("+00:00", "Z")


def _moment(row: Mapping[str, Any], name: str) -> datetime:
    value = row[name]
    try:
        if isinstance(value, datetime):
            if getattr(value, "nanosecond", 0):  # of pandas' timestamps
                raise ValueError
            moment = value
        elif _TIME.fullmatch(str(value).strip()):
            moment = datetime.fromisoformat(str(value).strip())
        else:
            raise ValueError
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        if moment < _EARLIEST:
            raise ValueError
        return moment
    except (ValueError, OverflowError):
        raise ValueError(
            f"`{name}` is {_shown(value)}; expected a time such as 2026-11-21T14:03:00Z, not before 1970"
        ) from None


def _number(row: Mapping[str, Any], name: str, most: float) -> Decimal:
    value = row[name]
    text = "" if isinstance(value, bool) else str(value).strip()
    number = Decimal(text) if _NUMBER.fullmatch(text) else None
    if number is None or not 0 <= number <= Decimal(most):
        raise ValueError(f"`{name}` is {_shown(value)}; expected a number from 0 to {most:.3g}")
    return number


def _empty(value: object) -> bool:
    return (
        value is None or (isinstance(value, str) and not value.strip()) or (isinstance(value, float) and value != value)
    )


def _shown(value: object) -> str:
    text = "nothing" if _empty(value) else f"`{value}`"
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 2]}…`"
