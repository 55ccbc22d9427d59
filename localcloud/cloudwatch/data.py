"""The operations on metrics: PutMetricData, GetMetricData, GetMetricStatistics, ListMetrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from localcloud.cloudwatch import moments, pages
from localcloud.cloudwatch.errors import combination, invalid, missing, refused, unsupported
from localcloud.cloudwatch.metric_math import MathError
from localcloud.cloudwatch.metrics import MINUTE, Metric, Metrics, Sample
from localcloud.cloudwatch.queries import Queries, check_period, checked, statistic
from localcloud.cloudwatch.statistics import Aggregate
from localcloud.context import Context, Request
from localcloud.signals import Measurement

_MOST_DATA, _MOST_VALUES = 1000, 150
_OLDEST_SECONDS, _NEWEST_SECONDS = 14 * 86_400, 2 * 3600
_LARGEST = 2.0**360
_MOST_STATISTICS = 1440
_MOST_DATAPOINTS = 100_800
_MOST_QUERIES = 500
_METRICS_PAGE = 500
_LISTED_SECONDS = 14 * 86_400
_ACTIVE_SECONDS = 3 * 3600


class MetricData:
    """`taken` is called with what came in, after it is committed; `drain` makes sure that all is in that was told."""

    def __init__(
        self,
        context: Context,
        metrics: Metrics,
        taken: Callable[[Sequence[Sample]], None],
        drain: Callable[[], None],
    ) -> None:
        self._context, self._metrics, self._taken, self._drain = context, metrics, taken, drain

    def take(self, measurements: Sequence[Measurement]) -> None:
        """Take in what services measured."""
        self._add([_sample(measurement) for measurement in measurements])

    def put(self, request: Request) -> dict[str, Any]:
        """PutMetricData. The alarms on it have been looked at when it returns.

        Raises InvalidParameterValue, InvalidParameterCombination or MissingParameter; nothing is kept then."""
        params = request.params
        if params.get("EntityMetricData") or params.get("StrictEntityValidation"):
            raise unsupported("has no entities of metrics", "EntityMetricData")
        namespace, data = params["Namespace"], params.get("MetricData") or []
        if namespace.startswith("AWS/"):
            raise invalid("The value AWS/ for parameter Namespace is invalid.")
        if not data:
            raise missing("The parameter MetricData is required.")
        if len(data) > _MOST_DATA:
            raise invalid(
                f"The collection MetricData must not have a size greater than {_MOST_DATA}; it has {len(data)}."
            )
        now = self._context.clock.now()
        self._add(
            [_read_datum(namespace, datum, f"MetricData.member.{number}", now) for number, datum in enumerate(data, 1)]
        )
        return {}

    def get_data(self, request: Request) -> dict[str, Any]:
        """GetMetricData, of metrics and of expressions over them."""
        params = request.params
        _check_span(params)
        queries = params["MetricDataQueries"]
        if len(queries) > _MOST_QUERIES:
            raise invalid(
                f"The collection MetricDataQueries must not have a size greater than {_MOST_QUERIES};"
                f" it has {len(queries)}."
            )
        asked = checked(queries)
        self._drain()
        newest_first = params.get("ScanBy", "TimestampDescending") == "TimestampDescending"
        points = []
        wanted = [query for query in queries if query.get("ReturnData", True)]
        for query in wanted:
            found = self._points(asked, query["Id"], params["StartTime"], params["EndTime"])
            for begin, value in reversed(found) if newest_first else found:
                points.append((query["Id"], begin, value))
        size = min(params.get("MaxDatapoints") or _MOST_DATAPOINTS, _MOST_DATAPOINTS)
        page, token = pages.cut(
            request.operation, points, params.get("NextToken"), size, lambda point: f"{point[0]}/{point[1]}"
        )
        results = [_result(query, page, complete=token is None) for query in wanted]
        return {"MetricDataResults": results, "NextToken": token, "Messages": []}

    def get_statistics(self, request: Request) -> dict[str, Any]:
        """GetMetricStatistics. Values of different units are told apart."""
        params = request.params
        _check_span(params)
        names = [*(params.get("Statistics") or ()), *(params.get("ExtendedStatistics") or ())]
        if not names:
            raise missing("At least one of the parameters Statistics or ExtendedStatistics must be specified.")
        statistics = [statistic(name, "ExtendedStatistics") for name in names]
        period = check_period(params["Period"])
        start = _aligned(params["StartTime"], period)
        end = params["EndTime"].timestamp()
        if (asked := math.ceil((end - start) / period)) > _MOST_STATISTICS:
            raise combination(
                f"You have requested up to {asked:,} datapoints, which exceeds the limit of {_MOST_STATISTICS:,}. You"
                " may reduce the datapoints requested by increasing Period, or decreasing the time range."
            )
        self._drain()
        slots = self._metrics.read(_metric(params), start, end, period, params.get("Unit"))
        datapoints = []
        for (unit, begin), aggregate in slots.items():
            values = {statistic.name: statistic.of(aggregate) for statistic in statistics}
            extended = {name: value for name, value in values.items() if name.startswith("p") and value is not None}
            simple = {name: value for name, value in values.items() if not name.startswith("p")}
            if simple or extended:
                datapoint = {"Timestamp": moments.of_epoch(begin), **simple, "Unit": unit}
                datapoints.append({**datapoint, **({"ExtendedStatistics": extended} if extended else {})})
        return {"Label": params["MetricName"], "Datapoints": datapoints}

    def list_metrics(self, request: Request) -> dict[str, Any]:
        """ListMetrics: what has values in the last two weeks."""
        params = request.params
        for member in ("IncludeLinkedAccounts", "OwningAccount"):
            if params.get(member):
                raise unsupported("has one account", f"{member}={params[member]}")
        self._drain()
        seconds = _ACTIVE_SECONDS if params.get("RecentlyActive") else _LISTED_SECONDS
        since = self._context.clock.now().timestamp() - seconds
        filters = params.get("Dimensions") or []
        found = [
            metric
            for metric in self._metrics.known(since, params.get("Namespace"), params.get("MetricName"))
            if _has_dimensions(metric, filters)
        ]
        page, token = pages.cut(request.operation, found, params.get("NextToken"), _METRICS_PAGE, repr)
        return {"Metrics": [_described(metric) for metric in page], "NextToken": token}

    def _add(self, samples: Sequence[Sample]) -> None:
        self._metrics.add(samples, self._context.clock.now().timestamp())
        self._taken(samples)

    def _points(self, asked: Queries, name: str, start: datetime, end: datetime) -> list[tuple[int, float]]:
        period = asked.period(name)
        begin = _aligned(start, period)
        begins = range(begin, math.ceil(end.timestamp()), period)
        try:
            return sorted(
                asked.values(name, lambda stat: self._metrics.series(stat, begin, end.timestamp()), begins).items()
            )
        except MathError as error:
            raise refused(f"Error in expression '{name}': {error}") from None


def _sample(measurement: Measurement) -> Sample:
    metric = Metric.of(measurement.namespace, measurement.name, measurement.dimensions)
    return Sample(metric, measurement.time.timestamp(), measurement.unit, Aggregate.of(measurement.value))


def _read_datum(namespace: str, datum: Mapping[str, Any], place: str, now: datetime) -> Sample:
    dimensions = datum.get("Dimensions") or []
    names = [dimension["Name"] for dimension in dimensions]
    if len(set(names)) < len(names):
        raise invalid(f"The parameter {place}.Dimensions must not name a dimension twice; it has {', '.join(names)}.")
    resolution = datum.get("StorageResolution", MINUTE)
    if resolution not in (1, MINUTE):
        raise invalid(f"The parameter {place}.StorageResolution must be 1 or 60; it is {resolution}.")
    return Sample(
        metric=Metric.of(namespace, datum["MetricName"], {item["Name"]: item["Value"] for item in dimensions}),
        moment=_read_moment(datum.get("Timestamp", now), place, now),
        unit=datum.get("Unit", "None"),
        values=_read_values(datum, place),
        resolution=resolution,
    )


def _read_moment(moment: datetime, place: str, now: datetime) -> float:
    age = (now - moment).total_seconds()
    if age > _OLDEST_SECONDS:
        raise invalid(f"The parameter {place}.Timestamp must specify a time within the past two weeks.")
    if age < -_NEWEST_SECONDS:
        raise invalid(f"The parameter {place}.Timestamp must specify a time no more than two hours in the future.")
    return moment.timestamp()


def _read_values(datum: Mapping[str, Any], place: str) -> Aggregate:
    given = [member for member in ("Value", "Values", "StatisticValues") if member in datum]
    if not given:
        raise missing(f"The parameter {place}.Value is required.")
    if len(given) > 1:
        raise combination(f"The parameters {place}.{given[0]} and {place}.{given[1]} are mutually exclusive.")
    if given == ["Value"]:
        return Aggregate.of(_number(datum["Value"], f"{place}.Value"))
    if given == ["StatisticValues"]:
        return _read_set(datum["StatisticValues"], f"{place}.StatisticValues")
    return _read_list(datum["Values"], datum.get("Counts"), place)


def _read_list(values: Sequence[float], counts: Sequence[float] | None, place: str) -> Aggregate:
    if not values:
        raise missing(f"The parameter {place}.Values must not be empty.")
    if len(values) > _MOST_VALUES:
        raise invalid(
            f"The collection {place}.Values must not have a size greater than {_MOST_VALUES}; it has {len(values)}."
        )
    counts = counts or [1.0] * len(values)
    if len(counts) != len(values):
        raise invalid(
            f"The parameters {place}.Values and {place}.Counts must be of the same size; they have {len(values)} and"
            f" {len(counts)}."
        )
    aggregate = Aggregate()
    for value, count in zip(values, counts, strict=True):
        if not _number(count, f"{place}.Counts") > 0:
            raise invalid(f"The value {count} for parameter {place}.Counts must be greater than 0.")
        aggregate.merge(Aggregate.of(_number(value, f"{place}.Values"), count))
    return aggregate


def _read_set(given: Mapping[str, float], place: str) -> Aggregate:
    count, total, low, high = (
        _number(given[member], f"{place}.{member}") for member in ("SampleCount", "Sum", "Minimum", "Maximum")
    )
    if count <= 0:
        raise invalid(f"The value {count} for parameter {place}.SampleCount must be greater than 0.")
    if low > high:
        raise invalid(f"The parameter {place}.Maximum must be greater than or equal to {place}.Minimum.")
    return Aggregate.of_set(count, total, low, high)


def _number(value: float, place: str) -> float:
    if not math.isfinite(value) or abs(value) > _LARGEST:
        raise invalid(f"The value {value} for parameter {place} is invalid.")
    return float(value)


def _check_span(params: Mapping[str, Any]) -> None:
    if params["StartTime"] >= params["EndTime"]:
        raise invalid("The parameter StartTime must be less than the parameter EndTime.")


def _aligned(start: datetime, period: int) -> int:
    """Periods begin at the minute in which StartTime lies, or at its own multiple of a shorter period."""
    step = min(period, MINUTE)
    return int(start.timestamp() // step) * step


def _metric(params: Mapping[str, Any]) -> Metric:
    dimensions = {item["Name"]: item["Value"] for item in params.get("Dimensions") or ()}
    return Metric.of(params["Namespace"], params["MetricName"], dimensions)


def _result(query: Mapping[str, Any], page: Sequence[tuple[str, int, float]], *, complete: bool) -> dict[str, Any]:
    mine = [(begin, value) for name, begin, value in page if name == query["Id"]]
    return {
        "Id": query["Id"],
        "Label": query.get("Label") or _own_label(query),
        "Timestamps": [moments.of_epoch(begin) for begin, _ in mine],
        "Values": [value for _, value in mine],
        "StatusCode": "Complete" if complete else "PartialData",
    }


def _own_label(query: Mapping[str, Any]) -> str:
    """As AWS names what has no label: a metric by its name, an expression by its id."""
    return str(query["Id"] if "Expression" in query else query["MetricStat"]["Metric"]["MetricName"])


def _has_dimensions(metric: Metric, filters: Sequence[Mapping[str, str]]) -> bool:
    found = dict(metric.dimensions)
    return all(
        item["Name"] in found and item.get("Value", found[item["Name"]]) == found[item["Name"]] for item in filters
    )


def _described(metric: Metric) -> dict[str, Any]:
    return {
        "Namespace": metric.namespace,
        "MetricName": metric.name,
        "Dimensions": [{"Name": name, "Value": value} for name, value in metric.dimensions],
    }
