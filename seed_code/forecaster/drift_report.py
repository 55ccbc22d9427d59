"""The forecaster's drift report: what the minutes and the forecasts were like lately, against what they were like.

python3 -m seed_code.forecaster.drift_report --project … --stage … (as `seed_code/common/monitoring.py` has them)
    --feature-group NAME --target FEATURE --frequency 1min [--reason WHY]

in    the hours' reports of the evaluations, and the online store, as both were known at --evaluation-time
out   {--monitor-uri}/{--stage}/drift/…/report.html, report.json; see `seed_code/common/drift_report.py`
env   MLFLOW_TRACKING_URI    the page also goes to the run of the deployment's evaluations

It is about the last 24 hours. An alarm's (--reason is its name) is about the last 6: what drifted within three hours
would vanish in a day. Minutes are held against the same hours a week before (a weekend is no drift), or a day before
where the store does not reach back so far. Forecasts are held against those that the same deployment made in as many
hours before.

A column has drifted from a Wasserstein distance, in standard deviations of the reference, that 5 of 100 ordinary days
(or stretches of 6 hours) exceed: measured on 120 days of `generate.py`, a day 0.48 for the fee and 0.34 for the
transactions, six hours 1.35 and 1.08. Three hours of doubled fees and half the transactions are 2.1 and 2.4 in six
hours, in the median. It is no alarm's level: a page for a person to look at.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seed_code.common import drift_report, monitoring
from seed_code.common.clients import client
from seed_code.common.drift_report import WASSERSTEIN, Columns, Drift, Part, Regression
from seed_code.common.errors import ClientError
from seed_code.common.failure import reports_failure
from seed_code.common.monitoring import DAY, Evaluation
from seed_code.common.objects import Objects
from seed_code.forecaster.frequency import Frequency
from seed_code.forecaster.grid import nullable
from seed_code.forecaster.online import OnlineMinutes

WORKLOAD = "forecaster"
TRANSACTIONS = "total_nb_trx_1min"
LEAST = 12  # values of a column, and forecast points, below which nothing is said of them
LEAST_SHARE = 0.5  # likewise of a column's steps
WEEK = timedelta(days=7)

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Span:
    """How much a report is about, and the distance from which a column has drifted in it."""

    length: timedelta
    threshold: float

    @property
    def hours(self) -> str:
        return f"{self.length // timedelta(hours=1)} hours"


DAILY = Span(DAY, 0.5)
OF_ALARM = Span(timedelta(hours=6), 1.35)

# Of the hours' metrics, those that the table has.
_SHOWN = {
    "Loss": "MeanWeightedQuantileLoss",
    "Threshold": "LossThreshold",
    "Seasonal naive": "SeasonalNaiveLoss",
    "Coverage": "IntervalCoverage",
    "Missing minutes": "MissingMinutes",
}


@reports_failure
def main() -> None:
    """Make the report that the arguments ask for."""
    parser = drift_report.parser("Makes the forecaster's drift report.")
    parser.add_argument("--feature-group", required=True, help="of the minutes")
    parser.add_argument("--target", required=True, help="the feature that is forecast")
    parser.add_argument("--frequency", required=True, help="of the forecast's steps")
    arguments = parser.parse_args()
    of = monitoring.evaluation(arguments, WORKLOAD)
    try:
        frequency = Frequency.parse(arguments.frequency)
    except ValueError as error:
        raise ClientError(f"--frequency is `{arguments.frequency}`; expected {error}") from None
    span = OF_ALARM if drift_report.of_alarm(of, arguments.reason) else DAILY
    store = client("sagemaker-featurestore-runtime")
    columns = {
        name: OnlineMinutes(store, arguments.feature_group, name, frequency)
        for name in dict.fromkeys((arguments.target, TRANSACTIONS))
    }
    objects = Objects(client("s3"))
    reports = drift_report.evaluations(objects, of, of.time - 2 * span.length)
    parts = [hours(of, span, reports), forecasts(of, span, reports, frequency), minutes(of.time, span, columns)]
    drift_report.publish(of, arguments.reason, parts, objects)


def hours(of: Evaluation, span: Span, reports: Sequence[Mapping[str, Any]]) -> Part:
    """The hours of the span as their evaluations found them."""
    begin = of.time - span.length
    return drift_report.hours([report for report in reports if _time(report) > begin], span.hours, _SHOWN)


def forecasts(of: Evaluation, span: Span, reports: Sequence[Mapping[str, Any]], frequency: Frequency) -> Part:
    """The deployment's forecasts of the span beside what came."""
    title, begin = "Forecasts beside what came", of.time - span.length
    own = drift_report.of_deployment(reports, of)
    current, reference = (
        _points((report for report in own if (_time(report) > begin) is late), frequency) for late in (True, False)
    )
    count, before = len(current["time"]), len(reference["time"])
    if count < LEAST:
        text = f"In the last {span.hours} {count} forecast values could be held against what came; {LEAST} are needed."
        return Part("forecasts", title, text)
    told = f"The {count} forecast values of the last {span.hours}"
    if before < LEAST:
        text = f"{told}; of the {span.hours} before, this deployment has {before}, too few to compare with."
        return Regression("forecasts", title, text, current, None, "forecast", "actual")
    text = (
        f"{told} (current) against the {before} that the same deployment made in the {span.hours} before (reference)."
    )
    return Regression("forecasts", title, text, current, reference, "forecast", "actual")


def minutes(time: datetime, span: Span, columns: Mapping[str, OnlineMinutes]) -> Part:
    """The data of the span beside those of the same hours a week, or a day, before.

    Args:
        time: the span's end.
        columns: the store, by feature.
    """
    title = "The minutes"
    current = {name: _series(store, time - span.length, time, time) for name, store in columns.items()}
    fit = [name for name, values in current.items() if _enough(values)]
    if not fit:
        known = max(int(np.sum(~np.isnan(values))) for values in current.values())
        text = f"The store has {known} of the {len(current[next(iter(current))])} steps of the last {span.hours}."
        return Part("minutes", title, f"{text} At least half, and {LEAST}, are needed.")
    for back, word in ((WEEK, "a week"), (DAY, "a day")):
        end = time - back
        reference = {name: _series(columns[name], end - span.length, end, time) for name in fit}
        both = [name for name in fit if _enough(reference[name])]
        if both:
            text = f"The last {span.hours} (current) against the same hours {word} before (reference)."
            if back is DAY:
                text += " The store does not reach back a week: that a weekend differs from a working day shows here."
            return Drift(
                "minutes",
                title,
                text,
                {name: nullable(current[name]) for name in both},
                {name: nullable(reference[name]) for name in both},
                dict.fromkeys(both, span.threshold),
                WASSERSTEIN,
            )
    return Part("minutes", title, f"The store has too few minutes of the same {span.hours} a week and a day before.")


def _series(store: OnlineMinutes, begin: datetime, end: datetime, known: datetime) -> Values:
    """Values (steps,) of whole steps between two moments."""
    first, last = (int(moment.timestamp()) // 60 for moment in (begin, end))
    store.read(range(first, last))
    return store.series(first, last, known).values


def _enough(values: Values) -> bool:
    known = int(np.sum(~np.isnan(values)))
    return known >= max(LEAST, LEAST_SHARE * len(values))


def _points(reports: Iterable[Mapping[str, Any]], frequency: Frequency) -> Columns:
    """Mean forecast and observed value, step by step, of the hours' windows that were answered."""
    points = []
    for window in (window for report in reports for window in report["windows"] if window["mean"] is not None):
        origin = frequency.ordinal(datetime.fromisoformat(window["origin"]).replace(tzinfo=None))
        for step, (forecast, actual) in enumerate(zip(window["mean"], window["actual"], strict=True)):
            if actual is not None:
                points.append((frequency.start_of(origin + step * frequency.multiple), forecast, actual))
    points.sort()
    return {name: [point[column] for point in points] for column, name in enumerate(("time", "forecast", "actual"))}


def _time(report: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(report["evaluation_time"])


if __name__ == "__main__":
    main()
