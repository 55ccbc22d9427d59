"""An evaluation of the monitoring: which hour of which stage it is about, and where what it finds lies.

The evaluation time T is a parameter, never the machine's clock: the hour is that before it, [T - 1 h, T). Everything
lies below `{--monitor-uri}/{--stage}/`, in folders by the day of T:

    evaluations/YYYY/MM/DD/{T}.json       the hour's report
    joined/YYYY/MM/DD/{T}.jsonl           predictions, with what happened
    state/YYYY/MM/DD/{T}.json             what the next evaluation goes on from
    drift/YYYY/MM/DD/{T}/                 the report that people read

All names follow from T, so that an evaluation that is repeated writes the same once more.
"""

import math
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from seed_code.common.arguments import ArgumentParser
from seed_code.common.drift import Finding

SCHEMA_VERSION = 1
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
VARIANT = "AllTraffic"
STALEST_MINUTES = 1440.0  # DataFreshnessMinutes when a day has brought nothing
NO_THRESHOLD = "none"

# What an evaluation comes to.
SCORED = "scored"
NO_DATA = "no-data"
TOO_LITTLE_DATA = "too-little-data"
ENDPOINT_FAILED = "endpoint-failed"
NO_REQUESTS = "no-requests"
TOO_LITTLE_FEEDBACK = "too-little-feedback"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STAMP = "%Y%m%dT%H%M%SZ"


def iso(moment: datetime) -> str:
    """A moment as documents have it: `2026-11-22T00:00:00Z`."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def moment(text: str) -> datetime:
    """An argument's `type`: a moment in ISO 8601, in UTC unless it says otherwise, to the second."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError(f"`{text}` is no ISO 8601 time such as 2026-11-22T00:00:00Z") from error
    try:
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except OverflowError:
        found = _EPOCH - DAY
    if found < _EPOCH:
        raise ArgumentTypeError(f"`{text}` is no time since 1970")
    return found.replace(microsecond=0)


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation is about.

    Attributes:
        time: T, the end of the hour, in UTC.
        endpoint: the stage's.
        endpoint_config: which makes one deployment differ from the next.
        root: `s3://…`, below which all lies that the monitoring finds of the stage.
        capture_uri: below which the endpoint keeps requests and answers, in folders by the hour.
        experiment: MLflow's.
        threshold: the loss above which an hour is bad; None when none is set, or the program has no use for it.
    """

    project: str
    workload: str
    stage: str
    time: datetime
    endpoint: str
    endpoint_config: str
    model_package_arn: str
    model_version: int
    root: str
    capture_uri: str
    experiment: str
    threshold: float | None = None

    @property
    def begin(self) -> datetime:
        """The hour's beginning, which its metrics bear: the period that it lies in is over."""
        return self.time - HOUR

    @property
    def report_uri(self) -> str:
        return f"{self.place('evaluations')}.json"

    @property
    def joined_uri(self) -> str:
        return f"{self.place('joined')}.jsonl"

    @property
    def state_uri(self) -> str:
        return f"{self.place('state')}.json"

    @property
    def drift_uri(self) -> str:
        """The folder of the report that people read."""
        return self.place("drift")

    def place(self, kind: str) -> str:
        """Where an evaluation keeps something of a kind, without the ending."""
        return f"{self.root}/{kind}/{self.time:%Y/%m/%d}/{stamp(self.time)}"

    def document(self) -> dict[str, Any]:
        """What every document of the evaluation says of it, as JSON has it."""
        return {
            "project": self.project,
            "workload": self.workload,
            "stage": self.stage,
            "evaluation_time": iso(self.time),
            "endpoint": self.endpoint,
            "endpoint_config": self.endpoint_config,
            "model_package_arn": self.model_package_arn,
            "model_version": self.model_version,
        }

    def captured(self, hour: datetime) -> str:
        """The folder of what the endpoint captured in the hour that a moment lies in."""
        return f"{self.capture_uri}/{self.endpoint}/{VARIANT}/{hour:%Y/%m/%d/%H}"


def stamp(time: datetime) -> str:
    """A moment as names have it: `20261122T000000Z`."""
    return f"{time:{_STAMP}}"


def stamped(uri: str) -> datetime | None:
    """The evaluation time that an object's name begins with; None when it does with none."""
    try:
        return datetime.strptime(uri.rpartition("/")[2].partition(".")[0], _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None


def parser(prog: str, description: str, *, threshold: bool = True) -> ArgumentParser:
    """The command line that every program of the monitoring has; see `pipelines/monitor/steps.py`.

    threshold: whether it takes --threshold.
    """
    described = ArgumentParser(prog=prog, description=description)
    described.add_argument("--project", required=True)
    described.add_argument("--stage", required=True)
    described.add_argument("--evaluation-time", required=True, type=moment, help="the end of the hour, ISO 8601")
    described.add_argument("--model-package-arn", required=True, help="what the stage serves")
    described.add_argument("--model-version", required=True, type=int, help="the package's version")
    described.add_argument("--endpoint-config", required=True, help="of the deployment")
    described.add_argument("--monitor-uri", required=True, help="S3 URI; the stage is added")
    described.add_argument("--endpoint-prefix", required=True, help="the endpoint's name without -{stage}")
    described.add_argument("--capture-uri", required=True, help="S3 URI of what endpoints capture")
    described.add_argument("--experiment", required=True, help="MLflow experiment")
    if threshold:
        described.add_argument("--threshold", required=True, type=_threshold, help=f"a loss, or {NO_THRESHOLD}")
    return described


def evaluation(arguments: Namespace, workload: str) -> Evaluation:
    """What the arguments of `parser` say."""
    return Evaluation(
        project=arguments.project,
        workload=workload,
        stage=arguments.stage,
        time=arguments.evaluation_time,
        endpoint=f"{arguments.endpoint_prefix}-{arguments.stage}",
        endpoint_config=arguments.endpoint_config,
        model_package_arn=arguments.model_package_arn,
        model_version=arguments.model_version,
        root=f"{arguments.monitor_uri.rstrip('/')}/{arguments.stage}",
        capture_uri=arguments.capture_uri.rstrip("/"),
        experiment=arguments.experiment,
        threshold=getattr(arguments, "threshold", None),
    )


def number_of(text: str) -> float:
    """A number; NaN for a text that is none, so that whoever asks for a range says what was expected."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _threshold(text: str) -> float | None:
    if text == NO_THRESHOLD:
        return None
    number = number_of(text)
    if not 0 < number < math.inf:
        raise ArgumentTypeError(f"`{text}` is no loss; expected a number above 0, or {NO_THRESHOLD}")
    return number


def measured(values: Mapping[str, float | None]) -> dict[str, float]:
    """The metrics that have a value: what was not measured, or is no finite number, is left out."""
    return {name: float(value) for name, value in values.items() if value is not None and math.isfinite(value)}


def report(
    of: Evaluation,
    verdict: str,
    reason: str,
    metrics: Mapping[str, float | None],
    findings: Iterable[Finding] = (),
    **sections: Any,
) -> dict[str, Any]:
    """The hour's report.

    Args:
        verdict: one of the words above.
        reason: a sentence that says why.
        metrics: by CloudWatch's name; `DriftDetected` is added.
        findings: of the detectors.
        sections: what the workload has beside these, such as `windows`.
    """
    found = list(findings)
    fired = float(any(finding.detected for finding in found))
    return {
        "schema_version": SCHEMA_VERSION,
        **of.document(),
        "hour": {"from": iso(of.begin), "to": iso(of.time)},
        "verdict": verdict,
        "reason": reason,
        "metrics": measured({**metrics, "DriftDetected": fired}),
        "threshold": of.threshold,
        **sections,
        "drift": [finding.document() for finding in found],
    }
