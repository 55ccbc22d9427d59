"""Statistics, and the file that metrics are kept in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from localcloud.cloudwatch.metrics import Metric, Metrics, Sample, by_begin
from localcloud.cloudwatch.statistics import Aggregate, find

NOW = 1_767_225_600.0
METRIC = Metric.of("Demo", "Latency", {"Stage": "prod", "Api": "a"})
_DAY = 86_400


@pytest.fixture
def metrics(tmp_path: Path) -> Iterator[Metrics]:
    metrics = Metrics(tmp_path / "metrics.sqlite")
    yield metrics
    metrics.close()


def aggregate(*values: float) -> Aggregate:
    merged = Aggregate()
    for value in values:
        merged.merge(Aggregate.of(value))
    return merged


def value(name: str, of: Aggregate) -> float | None:
    statistic = find(name)
    assert statistic is not None
    return statistic.of(of)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SampleCount", 5),
        ("Sum", 15),
        ("Average", 3),
        ("Minimum", 1),
        ("Maximum", 5),
        ("p0", 1),
        ("p50", 3),
        ("p90", 5),
        ("p99.9", 5),
        ("p100", 5),
    ],
)
def test_statistics(name: str, expected: float) -> None:
    assert value(name, aggregate(5, 3, 1, 2, 4)) == expected


def test_unknown_statistics_are_not_found() -> None:
    assert [find(name) for name in ("p101", "tm99", "IQM", "average", "p", "")] == [None] * 6


def test_a_statistic_set_hides_its_percentiles_unless_all_values_are_the_same() -> None:
    assert value("p50", Aggregate.of_set(4, 10, 1, 4)) is None
    assert value("Average", Aggregate.of_set(4, 10, 1, 4)) == 2.5
    assert value("p50", Aggregate.of_set(4, 8, 2, 2)) == 2


def test_many_different_values_are_kept_to_three_digits() -> None:
    many = aggregate(*(1000 + number for number in range(2000)))
    assert many.values is not None
    assert len(many.values) <= 500
    found = value("p50", many)
    assert found is not None
    assert abs(found - 2000) <= 20
    assert value("Sum", many) == sum(1000 + number for number in range(2000))


def test_values_are_gathered_by_minute_and_read_by_period(metrics: Metrics) -> None:
    metrics.add(
        [Sample(METRIC, NOW + 1, "Count", Aggregate.of(1)), Sample(METRIC, NOW + 59, "Count", Aggregate.of(2))], NOW
    )
    metrics.add(
        [Sample(METRIC, NOW + 2, "Count", Aggregate.of(4)), Sample(METRIC, NOW + 61, "None", Aggregate.of(8))], NOW
    )
    minutes = metrics.read(METRIC, NOW, NOW + 300, 60)
    assert {slot: found.total for slot, found in minutes.items()} == {("Count", NOW): 7, ("None", NOW + 60): 8}
    assert [found.total for _, found in by_begin(metrics.read(METRIC, NOW, NOW + 300, 300))] == [15]
    assert [found.total for _, found in by_begin(metrics.read(METRIC, NOW, NOW + 300, 300, "Count"))] == [7]
    assert metrics.read(METRIC, NOW, NOW + 60, 10) == {}
    assert metrics.read(Metric.of("Demo", "Other", {}), NOW, NOW + 60, 60) == {}


def test_high_resolution_is_seen_by_the_second_and_by_the_minute(metrics: Metrics) -> None:
    samples = [Sample(METRIC, NOW + second + 0.5, "None", Aggregate.of(1), resolution=1) for second in (3, 12, 13)]
    metrics.add(samples, NOW)
    assert [(begin - NOW, found.total) for begin, found in by_begin(metrics.read(METRIC, NOW, NOW + 60, 10))] == [
        (0, 1),
        (10, 2),
    ]
    assert [found.total for _, found in by_begin(metrics.read(METRIC, NOW, NOW + 60, 60))] == [3]


def test_metrics_outlive_their_process_and_are_forgotten_after_fifteen_days(metrics: Metrics, tmp_path: Path) -> None:
    metrics.add([Sample(METRIC, NOW, "Count", aggregate(1, 2))], NOW)
    again = Metrics(tmp_path / "metrics.sqlite")
    (found,) = again.read(METRIC, NOW, NOW + 60, 60).values()
    assert found == aggregate(1, 2)
    other = Metric.of("Demo", "Other", {})
    again.add([Sample(other, NOW + 14 * _DAY, "Count", Aggregate.of(1))], NOW + 14 * _DAY)
    assert again.known(0) == [METRIC, other]
    again.add([Sample(other, NOW + 15 * _DAY + 60, "Count", Aggregate.of(1))], NOW + 15 * _DAY + 60)
    assert again.known(0) == [other]
    assert again.read(METRIC, NOW, NOW + 60, 60) == {}
    again.add([Sample(METRIC, NOW + 16 * _DAY, "Count", Aggregate.of(3))], NOW + 16 * _DAY)
    assert [found.total for found in again.read(METRIC, NOW + 16 * _DAY, NOW + 17 * _DAY, 60).values()] == [3]
    again.close()
