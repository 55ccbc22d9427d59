"""The metrics of an account: aggregates by minute (or second, for high resolution), in a SQLite file of their own.

A metric is its namespace, name and dimensions; values of different units are kept apart. What is older than 15 days of
the clock is forgotten.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from localcloud.cloudwatch.statistics import Aggregate, Statistic
from localcloud.store import opened, transaction

RETENTION_SECONDS = 15 * 86_400
MINUTE = 60
_FORMAT = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS metrics (
    id INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    dimensions TEXT NOT NULL,   -- JSON: sorted pairs
    last INTEGER NOT NULL,      -- the moment of its newest value
    UNIQUE (namespace, name, dimensions)
);
CREATE TABLE IF NOT EXISTS points (
    metric INTEGER NOT NULL,
    moment INTEGER NOT NULL,    -- epoch seconds, the begin of the minute or second
    resolution INTEGER NOT NULL,
    unit TEXT NOT NULL,
    count REAL NOT NULL, total REAL NOT NULL, low REAL NOT NULL, high REAL NOT NULL,
    spread TEXT,                -- JSON: pairs of value and count; NULL where they are not known
    PRIMARY KEY (metric, moment, resolution, unit)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_age ON points (moment);
"""


@dataclass(frozen=True)
class Metric:
    """What a metric is. Dimensions are sorted pairs."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...] = ()

    @staticmethod
    def of(namespace: str, name: str, dimensions: Mapping[str, str]) -> Metric:
        return Metric(namespace, name, tuple(sorted(dimensions.items())))


@dataclass(frozen=True)
class Sample:
    """Values of a metric at one moment (epoch seconds)."""

    metric: Metric
    moment: float
    unit: str
    values: Aggregate
    resolution: int = MINUTE

    @property
    def begin(self) -> int:
        """The begin of the minute or second that it counts in."""
        return int(self.moment // self.resolution) * self.resolution


@dataclass(frozen=True)
class Stat:
    """A metric by period and statistic."""

    metric: Metric
    period: int
    statistic: Statistic
    unit: str | None = None


Series = dict[int, float]
"""Values by the begin of their period, in epoch seconds."""
Slot = tuple[str, int]
"""A unit and the begin of a period."""


Place = tuple[Metric, int, int, str]
"""A metric, the begin of a minute or second, which of the two, and a unit."""
_Row = tuple[int, int, int, str]
_ROW = f"({','.join('?' * 9)})"
_T = TypeVar("_T")
_AT_ONCE = 500  # rows of a statement: SQLite takes some ten thousand values


class Metrics:
    """The metrics of one localcloud. All methods may be called from any thread. A change is committed when its method
    returns."""

    def __init__(self, path: Path) -> None:
        self._connection = opened(path, _FORMAT, _SCHEMA)
        self._lock = threading.RLock()
        self._ids: dict[Metric, int] = {}
        self._swept_on = -1

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def add(self, samples: Iterable[Sample], now: float) -> None:
        """Take in values; once a day of the clock, what is too old is forgotten."""
        merged: dict[Place, Aggregate] = {}
        last: dict[Metric, int] = {}
        for sample in samples:
            begin = sample.begin
            place = (sample.metric, begin, sample.resolution, sample.unit)
            if (found := merged.get(place)) is None:
                # Its own from here on: a sample is handed over.
                merged[place] = sample.values
            else:
                found.merge(sample.values)
            last[sample.metric] = max(begin, last.get(sample.metric, begin))
        with self._lock:
            known = dict(self._ids)
            try:
                with transaction(self._connection):
                    self._count(last)
                    self._put(merged)
                    self._sweep(now)
            except BaseException:
                self._ids = known
                raise

    def read(
        self,
        metric: Metric,
        start: float,
        end: float,
        period: int,
        unit: str | None = None,
        *,
        single_values: bool = True,
    ) -> dict[Slot, Aggregate]:
        """What the metric has in the periods that begin at `start` and end before `end`, by unit and begin, in order.

        A period of less than a minute sees high-resolution values only. Without `single_values`, which percentiles
        need, it takes a fraction of the time."""
        with self._lock:
            found = self._id(metric)
            if found is None:
                return {}
            rows = self._connection.execute(
                "SELECT moment, unit, count, total, low, high, CASE WHEN ?6 THEN spread END FROM points"
                " WHERE metric = ?1 AND moment >= ?2 AND moment < ?3 AND resolution <= ?4 AND (?5 IS NULL OR unit = ?5)"
                " ORDER BY moment",
                (found, start, end, period, unit, single_values),
            ).fetchall()
        slots: dict[Slot, Aggregate] = {}
        for moment, row_unit, count, total, low, high, spread in rows:
            begin = int(start + (moment - start) // period * period)
            aggregate = Aggregate(count, total, low, high, _values(spread))
            if (before := slots.get((row_unit, begin))) is None:
                slots[row_unit, begin] = aggregate
            else:
                before.merge(aggregate)
        return slots

    def series(self, stat: Stat, start: float, end: float) -> Series:
        """A statistic of a metric in the periods from `start` on that begin before `end`, of all units together unless
        one is asked for."""
        single_values = stat.statistic.percent is not None
        slots = self.read(stat.metric, start, end, stat.period, stat.unit, single_values=single_values)
        values = ((begin, stat.statistic.of(aggregate)) for begin, aggregate in by_begin(slots))
        return {begin: value for begin, value in values if value is not None}

    def known(self, since: float, namespace: str | None = None, name: str | None = None) -> Sequence[Metric]:
        """The metrics that have a value since then, in the order of their names."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT namespace, name, dimensions FROM metrics WHERE last >= ?1 AND (?2 IS NULL OR namespace = ?2)"
                " AND (?3 IS NULL OR name = ?3) ORDER BY namespace, name, dimensions",
                (since, namespace, name),
            ).fetchall()
        return [Metric(row[0], row[1], tuple((key, value) for key, value in json.loads(row[2]))) for row in rows]

    def _id(self, metric: Metric) -> int | None:
        if metric not in self._ids:
            row = self._connection.execute(
                "SELECT id FROM metrics WHERE namespace = ? AND name = ? AND dimensions = ?", _columns(metric)
            ).fetchone()
            if row is None:
                return None
            self._ids[metric] = row[0]
        return self._ids[metric]

    def _count(self, last: Mapping[Metric, int]) -> None:
        """Know metrics by their ids from here on, and how new each is."""
        known: dict[int, list[int]] = {}
        for metric, moment in last.items():
            if metric in self._ids:
                known.setdefault(moment, []).append(self._ids[metric])
        for moment, ids in known.items():
            for part in _parts(ids):
                self._connection.execute(
                    f"UPDATE metrics SET last = ?1 WHERE last < ?1 AND id IN ({','.join('?' * len(part))})",
                    (moment, *part),
                )
        for metric in last.keys() - self._ids.keys():
            (self._ids[metric],) = self._connection.execute(
                "INSERT INTO metrics (namespace, name, dimensions, last) VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET last = max(last, excluded.last) RETURNING id",
                (*_columns(metric), last[metric]),
            ).fetchone()

    def _put(self, merged: Mapping[Place, Aggregate]) -> None:
        rows = {
            (self._ids[metric], moment, resolution, unit): values
            for (metric, moment, resolution, unit), values in merged.items()
        }
        for part in _parts(list(rows.items())):
            # Most periods are new, so that one statement writes all.
            written = self._connection.execute(
                f"INSERT OR IGNORE INTO points VALUES {','.join([_ROW] * len(part))}"
                " RETURNING metric, moment, resolution, unit",
                [column for place, values in part for column in _columns_of(place, values)],
            ).fetchall()
            if len(written) < len(part):
                new = set(written)
                for place, values in part:
                    if place not in new:
                        self._merge(place, values)

    def _merge(self, place: _Row, values: Aggregate) -> None:
        row = self._connection.execute(
            "SELECT count, total, low, high, spread FROM points"
            " WHERE metric = ? AND moment = ? AND resolution = ? AND unit = ?",
            place,
        ).fetchone()
        count, total, low, high, spread = row
        values.merge(Aggregate(count, total, low, high, _values(spread)))
        self._connection.execute(f"INSERT OR REPLACE INTO points VALUES {_ROW}", _columns_of(place, values))

    def _sweep(self, now: float) -> None:
        day = int(now // 86_400)
        if day == self._swept_on:
            return
        oldest = now - RETENTION_SECONDS
        self._connection.execute("DELETE FROM points WHERE moment < ?", (oldest,))
        self._connection.execute("DELETE FROM metrics WHERE last < ?", (oldest,))
        self._ids.clear()
        self._swept_on = day


def _columns(metric: Metric) -> tuple[str, str, str]:
    return metric.namespace, metric.name, json.dumps(metric.dimensions, separators=(",", ":"))


def _columns_of(place: _Row, values: Aggregate) -> tuple[Any, ...]:
    return (*place, values.count, values.total, values.low, values.high, _spread(values.values))


def _parts(rows: list[_T]) -> Iterator[list[_T]]:
    return (rows[start : start + _AT_ONCE] for start in range(0, len(rows), _AT_ONCE))


def _spread(values: Mapping[float, float] | None) -> str | None:
    if values is None:
        return None
    # As JSON writes finite floats; its encoder takes several times as long for the one value that most have.
    return f"[{','.join(f'[{value!r},{count!r}]' for value, count in values.items())}]"


def _values(spread: str | None) -> dict[float, float] | None:
    return None if spread is None else {value: count for value, count in json.loads(spread)}


def by_begin(slots: Mapping[Slot, Aggregate]) -> Iterator[tuple[int, Aggregate]]:
    """Periods with all their units together, in order. The aggregates are taken over."""
    merged: dict[int, Aggregate] = {}
    for (_, begin), aggregate in slots.items():
        if (found := merged.get(begin)) is None:
            merged[begin] = aggregate
        else:
            found.merge(aggregate)
    yield from sorted(merged.items())
