"""Queries of metrics and of expressions over them: the members of GetMetricData, and of an alarm on metric math.

An expression is on metrics of one period. (AWS takes several and computes with the longest; no query of ours does.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from localcloud.cloudwatch import metric_math
from localcloud.cloudwatch.errors import invalid, missing, refused, unsupported
from localcloud.cloudwatch.metric_math import Expression, MathError
from localcloud.cloudwatch.metrics import MINUTE, Metric, Series, Stat
from localcloud.cloudwatch.statistics import Statistic, find

SHORT_PERIODS = (1, 5, 10, 20, 30)

Query = Mapping[str, Any]


@dataclass(frozen=True)
class Queries:
    """Queries that were checked, by their ids."""

    stats: Mapping[str, Stat]
    expressions: Mapping[str, Expression]

    def period(self, name: str) -> int:
        """The period of a query. Raises MathError for an expression on metrics of several periods, or of none."""
        found = sorted({stat.period for stat in self._stats_of(name)})
        if len(found) != 1:
            what = f"periods {', '.join(map(str, found))}" if found else "no metric at all"
            raise MathError(f"localcloud has expressions on metrics of one period; those of {name!r} have {what}")
        return found[0]

    def values(self, name: str, read: Callable[[Stat], Series], begins: Sequence[int]) -> Series:
        """The values of a query in the periods that begin at `begins`. Raises MathError."""
        known: dict[str, metric_math.Value] = {}

        def value(asked: str) -> metric_math.Value:
            if asked not in known:
                stat = self.stats.get(asked)
                if stat is not None:
                    known[asked] = read(stat)
                else:
                    known[asked] = self.expressions[asked].evaluate(value, begins)
            return known[asked]

        result = value(name)
        expression = self.expressions.get(name)
        return metric_math.series_of(result, expression.text if expression else name)

    def _stats_of(self, name: str) -> Iterator[Stat]:
        if name in self.stats:
            yield self.stats[name]
            return
        for asked in self.expressions[name].asks:
            yield from self._stats_of(asked)


def checked(queries: Sequence[Query], list_name: str = "MetricDataQueries") -> Queries:
    """Read queries. Raises InvalidParameterValue, MissingParameter or ValidationError."""
    counts = Counter(query["Id"] for query in queries)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise invalid(f"The values for parameter id in {list_name} are not unique: {', '.join(twice)}.")
    stats, expressions = {}, {}
    for query in queries:
        _check(query, list_name)
        if "Expression" in query:
            expressions[query["Id"]] = _parsed(query)
        else:
            stats[query["Id"]] = stat_of(query["MetricStat"])
    found = Queries(stats, expressions)
    for name, expression in expressions.items():
        if unknown := [asked for asked in expression.asks if asked not in counts]:
            raise refused(f"Error in expression '{name}': there is no metric or expression with the id {unknown[0]!r}")
    try:
        metric_math.in_order(expressions)
        for query in queries:
            period = found.period(query["Id"])
            if "Expression" in query and query.get("Period", period) != period:
                raise MathError(f"Period of {query['Id']!r} is {query['Period']}, that of its metrics {period}")
    except MathError as error:
        raise refused(f"Error in expression: {error}") from None
    return found


def stat_of(given: Query) -> Stat:
    """A MetricStat whose members were checked."""
    metric = given["Metric"]
    dimensions = {item["Name"]: item["Value"] for item in metric.get("Dimensions") or ()}
    return Stat(
        Metric.of(metric["Namespace"], metric["MetricName"], dimensions),
        given["Period"],
        statistic(given["Stat"], "Stat"),
        given.get("Unit"),
    )


def check_period(period: int) -> int:
    """Give a period back. Raises InvalidParameterValue for one that is none."""
    if period not in SHORT_PERIODS and period % MINUTE:
        raise invalid(f"The parameter Period must be 1, 5, 10, 20, 30 or a multiple of 60; it is {period}.")
    return period


@lru_cache(64)
def statistic(name: str, place: str) -> Statistic:
    """The statistic of a name. Raises InvalidParameterValue for one that localcloud has not."""
    found = find(name)
    if found is None:
        raise invalid(
            f"The value {name} for parameter {place} is not supported: localcloud has SampleCount, Average, Sum,"
            " Minimum, Maximum and percentiles from p0 to p100."
        )
    return found


def _parsed(query: Query) -> Expression:
    try:
        return metric_math.parse(query["Expression"])
    except MathError as error:
        raise refused(f"Error in expression '{query['Id']}': {error}") from None


def _check(query: Query, list_name: str) -> None:
    place = f"{list_name} member {query['Id']}"
    if not (query["Id"][:1].islower() and query["Id"].replace("_", "a").isalnum()):
        raise invalid(
            f"The value {query['Id']} for parameter {list_name} id is invalid: an id begins with a small letter and has"
            " letters, digits and underscores."
        )
    if ("Expression" in query) == ("MetricStat" in query):
        if "Expression" in query:
            raise invalid(f"The parameters Expression and MetricStat of {place} are mutually exclusive.")
        raise missing(f"The parameter MetricStat or Expression of {place} is required.")
    if "${" in query.get("Label", ""):
        raise unsupported("has no dynamic labels", f"Label {query['Label']!r}")
    if "AccountId" in query:
        raise unsupported("has one account", f"AccountId {query['AccountId']}")
    if "Expression" in query:
        return
    stat = query["MetricStat"]
    for member in ("Namespace", "MetricName"):
        if member not in stat.get("Metric", {}):
            raise missing(f"The parameter MetricStat.Metric.{member} of {place} is required.")
    check_period(stat["Period"])
    statistic(stat["Stat"], "Stat")
