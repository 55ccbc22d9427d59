"""What the monitoring has found of a workload's stages: evaluations, alarms and their history, reports of drift.

Read from S3 and CloudWatch; nothing here changes anything, and nothing asks this machine's clock. What an evaluation
writes, and where, is told in docs/concepts/monitoring.md. A document that is damaged or of a later schema is left out
of what is read, never guessed at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from pipelines import names as n
from pipelines.names import Names

__all__ = [
    "ALARM",
    "HOUR",
    "INSUFFICIENT",
    "MEASURES",
    "OK",
    "SCORED",
    "Alarm",
    "Detection",
    "DriftReport",
    "Evaluation",
    "Known",
    "Measured",
    "Monitored",
    "Phase",
    "Transition",
    "alarms",
    "drift_reports",
    "evaluation_at",
    "evaluations",
    "monitored",
    "parse",
    "phases",
]

HOUR = timedelta(hours=1)
ALARM, OK, INSUFFICIENT = "ALARM", "OK", "INSUFFICIENT_DATA"
SCORED = "scored"
_SCHEMA_VERSION = 1
# Reports that are read at a time: on AWS each takes tens of milliseconds.
_READERS = 8
# An object of S3 as it was: its key and its ETag.
Known = tuple[str, str]
# CloudWatch keeps the history of 30 days.
_HISTORY_PAGES = 20


@dataclass(frozen=True)
class Measured:
    """How the loss of a workload is called: the metric in CloudWatch, in words, and short; `naive` is the metric of the
    rule of thumb that it is held against, `coverage` that of how often the interval held.
    """

    loss: str
    words: str
    short: str
    naive: str | None = None
    coverage: str | None = None


MEASURES: Mapping[str, Measured] = {
    "forecaster": Measured(
        "MeanWeightedQuantileLoss",
        "weighted quantile loss",
        "wQL",
        naive="SeasonalNaiveLoss",
        coverage="IntervalCoverage",
    ),
    "cardholders": Measured("BrierScore", "Brier score", "Brier score"),
}


@dataclass(frozen=True)
class Detection:
    """What a detector of drift said of a stream (`loss`, `fee` or `error`) after an hour."""

    stream: str
    detector: str
    statistic: float
    threshold: float | None
    detected: bool


@dataclass(frozen=True)
class Evaluation:
    """The report of one evaluation. `time` (aware) is the end of the hour that it is about; `metrics` is exactly what
    CloudWatch got; `windows`, `fields` and `clusters` are as in the report.
    """

    uri: str
    workload: str
    stage: str
    time: datetime
    verdict: str
    reason: str
    version: int | None
    endpoint_config: str
    metrics: Mapping[str, float]
    threshold: float | None
    drift: Sequence[Detection] = ()
    windows: Sequence[Mapping[str, Any]] = ()
    fields: Sequence[Mapping[str, Any]] = ()
    clusters: Sequence[Mapping[str, Any]] = ()
    run_id: str | None = None

    @property
    def loss(self) -> float | None:
        """The hour's loss; None where nothing was scored."""
        return self.metrics.get(MEASURES[self.workload].loss)

    @property
    def breaches(self) -> bool:
        return self.loss is not None and self.threshold is not None and self.loss > self.threshold

    @property
    def spread(self) -> tuple[float, float] | None:
        """The loss of the hour's best and worst window; None with fewer than two."""
        losses = [one for window in self.windows if (one := _number(window.get("mean_wql"))) is not None]
        return (min(losses), max(losses)) if len(losses) > 1 else None


@dataclass(frozen=True)
class DriftReport:
    """Evidently's report of a stage as of `time`."""

    time: datetime
    html_uri: str


@dataclass(frozen=True)
class Transition:
    """An alarm became `state`, for CloudWatch's `reason`. `at` is aware."""

    at: datetime
    before: str
    state: str
    reason: str


@dataclass(frozen=True)
class Phase:
    """An alarm was in ALARM from `start` on, until `end`; None while it still is."""

    start: datetime
    end: datetime | None


@dataclass(frozen=True)
class Alarm:
    """An alarm of a stage as it is: `kind` is one of names.MONITOR_ALARMS, `since` when its state last changed.

    `level` is the threshold that stands in it, `breaches` of `hours` are its M of N. `transitions` are oldest first.
    """

    name: str
    workload: str
    stage: str
    kind: str
    state: str
    reason: str
    since: datetime
    level: float | None = None
    breaches: int = 1
    hours: int = 1
    transitions: Sequence[Transition] = ()

    @property
    def phases(self) -> list[Phase]:
        """When it was in ALARM, oldest first, as far as CloudWatch remembers."""
        return phases(self.transitions, self.state, self.since)


@dataclass(frozen=True)
class Monitored:
    """What is known of a monitored stage. `evaluations` and `reports` are oldest first; `alarms` by kind."""

    workload: str
    stage: str
    evaluations: Sequence[Evaluation] = ()
    alarms: Mapping[str, Alarm] = field(default_factory=dict)
    reports: Sequence[DriftReport] = ()

    @property
    def newest(self) -> Evaluation | None:
        return self.evaluations[-1] if self.evaluations else None

    @property
    def firing(self) -> list[Alarm]:
        return [alarm for alarm in self.alarms.values() if alarm.state == ALARM]


def monitored(s3: Any, cloudwatch: Any, names: Names, workload: str, stage: str, *, hours: int) -> Monitored:
    """What is known of a stage: its newest evaluations, at most `hours` of them, and its alarms with their history."""
    return Monitored(
        workload=workload,
        stage=stage,
        evaluations=evaluations(s3, names, workload, stage, newest=hours),
        alarms=alarms(cloudwatch, names, workload, stage),
        reports=drift_reports(s3, names, workload, stage, newest=hours),
    )


# --- evaluations ------------------------------------------------------------------------------------------------------


def evaluations(
    s3: Any,
    names: Names,
    workload: str,
    stage: str,
    *,
    newest: int,
    known: MutableMapping[Known, Evaluation | None] | None = None,
) -> list[Evaluation]:
    """The reports of the newest evaluations of a stage, at most so many, oldest first.

    known: reports that were read before are not read again; new ones are added.
    """
    uri = f"{names.monitor_uri(workload, stage)}/evaluations/"
    there = list(islice(_newest_first(s3, uri, ".json"), newest))
    read: MutableMapping[Known, Evaluation | None] = {} if known is None else known

    def fetch(one: Known) -> Evaluation | None:
        body = s3.get_object(Bucket=names.bucket, Key=one[0])["Body"].read()
        return parse(f"s3://{names.bucket}/{one[0]}", workload, stage, body)

    missing = [one for one in there if one not in read]
    if missing:
        with ThreadPoolExecutor(_READERS) as readers:
            read.update(zip(missing, readers.map(fetch, missing), strict=True))
    return sorted((found for one in there if (found := read[one]) is not None), key=lambda one: one.time)


def evaluation_at(s3: Any, names: Names, workload: str, stage: str, time: datetime) -> Evaluation | None:
    """The report of the evaluation of a moment (aware); None when there is none."""
    at = time.astimezone(UTC)
    uri = f"{names.monitor_uri(workload, stage)}/evaluations/{at:%Y/%m/%d}/{at:%Y%m%dT%H%M%SZ}.json"
    place = urlsplit(uri)
    try:
        body = s3.get_object(Bucket=place.netloc, Key=place.path.lstrip("/"))["Body"].read()
    except s3.exceptions.NoSuchKey:
        return None
    return parse(uri, workload, stage, body)


def parse(uri: str, workload: str, stage: str, body: bytes) -> Evaluation | None:
    """An evaluation from its report; None for what is no report of a schema that is known here."""
    try:
        told = json.loads(body)
        if told["schema_version"] != _SCHEMA_VERSION:
            return None
        return Evaluation(
            uri=uri,
            workload=workload,
            stage=stage,
            time=_moment(told["evaluation_time"]),
            verdict=str(told["verdict"]),
            reason=str(told.get("reason") or ""),
            version=told.get("model_version"),
            endpoint_config=str(told.get("endpoint_config") or ""),
            metrics={name: number for name, value in told["metrics"].items() if (number := _number(value)) is not None},
            threshold=_number(told.get("threshold")),
            drift=[_detection(one) for one in told.get("drift") or ()],
            windows=_sections(told, "windows"),
            fields=_sections(told, "fields"),
            clusters=_sections(told, "clusters"),
            run_id=(told.get("mlflow") or {}).get("run_id"),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def _sections(told: Mapping[str, Any], name: str) -> tuple[Mapping[str, Any], ...]:
    found = tuple(told.get(name) or ())
    if not all(isinstance(one, Mapping) for one in found):
        raise TypeError(f"{name} has something that is no object")
    return found


def _detection(told: Mapping[str, Any]) -> Detection:
    return Detection(
        stream=str(told["stream"]),
        detector=str(told["detector"]),
        statistic=float(told["statistic"]),
        threshold=_number(told.get("threshold")),
        detected=bool(told["detected"]),
    )


def drift_reports(s3: Any, names: Names, workload: str, stage: str, *, newest: int) -> list[DriftReport]:
    """Evidently's newest reports of a stage, at most so many, oldest first."""
    uri = f"{names.monitor_uri(workload, stage)}/drift/"
    found = []
    for key, _ in islice(_newest_first(s3, uri, "/report.html"), newest):
        try:
            at = datetime.strptime(key.split("/")[-2], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError:
            continue  # no folder of ours
        found.append(DriftReport(at, f"s3://{names.bucket}/{key}"))
    return found[::-1]


def _newest_first(s3: Any, uri: str, ending: str) -> Iterator[Known]:
    """What lies below `uri`/yyyy/mm/dd/ with an ending, newest first; a listing for each folder that is looked into."""
    place = urlsplit(uri)
    bucket, prefix = place.netloc, place.path.lstrip("/")
    for year in _folders(s3, bucket, prefix):
        for month in _folders(s3, bucket, year):
            for day in _folders(s3, bucket, month):
                pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=day)
                found = [(one["Key"], one["ETag"]) for page in pages for one in page.get("Contents", [])]
                yield from sorted((one for one in found if one[0].endswith(ending)), reverse=True)


def _folders(s3: Any, bucket: str, prefix: str) -> list[str]:
    """The folders directly below a prefix, the last first; none where the bucket does not exist."""
    try:
        pages = list(s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/"))
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchBucket":
            return []
        raise
    return sorted((one["Prefix"] for page in pages for one in page.get("CommonPrefixes", [])), reverse=True)


# --- alarms -----------------------------------------------------------------------------------------------------------


def alarms(cloudwatch: Any, names: Names, workload: str, stage: str) -> dict[str, Alarm]:
    """The alarms of a stage by kind, those that exist, each with its history."""
    kinds = {names.monitor_alarm(workload, stage, kind): kind for kind in n.MONITOR_ALARMS}
    there = cloudwatch.describe_alarms(AlarmNames=list(kinds))["MetricAlarms"]
    found = {
        kinds[told["AlarmName"]]: _alarm(told, workload, stage, kinds[told["AlarmName"]], cloudwatch) for told in there
    }
    return {kind: found[kind] for kind in n.MONITOR_ALARMS if kind in found}


def _alarm(told: Mapping[str, Any], workload: str, stage: str, kind: str, cloudwatch: Any) -> Alarm:
    hours = int(told["EvaluationPeriods"])
    return Alarm(
        name=told["AlarmName"],
        workload=workload,
        stage=stage,
        kind=kind,
        state=told["StateValue"],
        reason=told.get("StateReason", ""),
        since=told.get("StateTransitionedTimestamp", told["StateUpdatedTimestamp"]).astimezone(UTC),
        level=told.get("Threshold"),
        breaches=int(told.get("DatapointsToAlarm", hours)),
        hours=hours,
        transitions=_history(cloudwatch, told["AlarmName"]),
    )


def _history(cloudwatch: Any, name: str) -> list[Transition]:
    pages = cloudwatch.get_paginator("describe_alarm_history").paginate(
        AlarmName=name, HistoryItemType="StateUpdate", ScanBy="TimestampDescending"
    )
    found = []
    for item in (item for page in islice(pages, _HISTORY_PAGES) for item in page["AlarmHistoryItems"]):
        data = json.loads(item["HistoryData"])
        before, after = data.get("oldState", {}), data["newState"]
        found.append(
            Transition(
                at=item["Timestamp"].astimezone(UTC),
                before=before.get("stateValue", INSUFFICIENT),
                state=after["stateValue"],
                reason=after.get("stateReason", ""),
            )
        )
    return sorted(found, key=lambda one: one.at)


def phases(transitions: Sequence[Transition], state: str, since: datetime) -> list[Phase]:
    """When an alarm was in ALARM. state, since: what it is now; its history may have been forgotten, or be cut."""
    found: list[Phase] = []
    start: datetime | None = None
    for change in transitions:
        if change.state == ALARM and start is None:
            start = change.at
        elif change.state != ALARM and start is not None:
            found.append(Phase(start, change.at))
            start = None
    if state == ALARM:
        found.append(Phase(start or since, None))
    return found


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _number(value: Any) -> float | None:
    """A finite number; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if value == value and abs(value) != float("inf") else None
