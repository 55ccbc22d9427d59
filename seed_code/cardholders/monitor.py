"""Monitor: judge an hour of a stage by what the endpoint was asked, what it answered, and what became of it.

python3 -m seed_code.cardholders.monitor ARGUMENTS    (pipelines/monitor/cardholders.py says which)

in    the endpoint's data capture                      answers.py
      ground truth that callers told                   outcomes.py
      the model package: where its training profile is, and that profile (profile.py); once a deployment
      the state of the evaluation before this one
out   {monitor}/{stage}/pending/…                      answers, until it is known what became of them (pending.py)
      report, joined answers, metrics, MLflow, state   seed_code/common/monitoring_publish.py
env   MLFLOW_TRACKING_URI

An answer about (t, t + k] is judged when that has passed, never earlier: of purchases one hears soon, and of their
absence only at the end, so that what is known early tells of purchases alone. Quality (Brier score, accuracy,
calibration error) is that of all answers that came due within the window, if there is enough feedback on them, and only
on answers of the deployment that is judged. The stream of their squared errors goes to the detectors of drift.

What was asked within the window is held against training, field by field, if there are enough requests. The fields that
every request has make the metrics and a finding of their own: drift, when a field's population stability index is above
--max-psi and above what chance brings among so few. Stored features, which some callers send, are in the report alone.

Where data are missing there is no score: the verdict and the reason say what is missing.
"""

from __future__ import annotations

import json
import math
import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError
from botocore.exceptions import ClientError as AwsError

from seed_code.cardholders import answers, outcomes, pending, window
from seed_code.cardholders.answers import FIELDS, Collected, Read
from seed_code.cardholders.pending import Waiting
from seed_code.cardholders.profile import Profile
from seed_code.cardholders.window import Shift, Window
from seed_code.common import captured, drift, monitoring, monitoring_publish, monitoring_store
from seed_code.common.arguments import ArgumentParser, whole_number
from seed_code.common.clients import client
from seed_code.common.drift import Finding
from seed_code.common.errors import ClientError
from seed_code.common.failure import reports_failure
from seed_code.common.monitoring import DAY, Evaluation, iso, moment
from seed_code.common.objects import Objects

WORKLOAD = "cardholders"
PROFILE_KEY = "profile_uri"  # of the model package's customer metadata
STREAM, INPUT, PSI = "error", "input", "psi"
_DIGITS = 6


@dataclass(frozen=True)
class Settings:
    """What the configuration says of the monitoring.

    Attributes:
        window_hours: that quality and requests are looked at over.
        min_feedback, min_requests: in the window, below which there is no verdict.
        max_psi: above which a field's distribution is another one.
    """

    ground_truth_uri: str
    window_hours: int
    min_feedback: int
    min_requests: int
    max_psi: float
    page_hinkley: drift.PageHinkley
    adwin: drift.Adwin


@dataclass(frozen=True)
class Clients:
    """boto3's clients.

    Attributes:
        sagemaker: makes one. Only the first evaluation of a deployment needs it, and making it takes as long as all
            that the others do.
    """

    s3: Any
    cloudwatch: Any
    sagemaker: Callable[[], Any]


@dataclass(frozen=True)
class Deployment:
    """What the evaluations of a deployment share.

    Attributes:
        since: the moment from which the endpoint's answers are this deployment's for certain.
        profile_uri: where the training profile is; None when the package names none, or does not say.
    """

    since: datetime
    profile_uri: str | None


@dataclass(frozen=True)
class Looked:
    """Answers that were looked at, as it is known what became of them.

    Attributes:
        waiting: those that came due, or came due a day ago without feedback.
        told: those of them that somebody told about, and whether there was a purchase.
        contradictory, unreadable: see `outcomes.Told`.
    """

    waiting: Sequence[Waiting]
    told: Sequence[tuple[Waiting, bool]]
    contradictory: int
    unreadable: int


class EndpointMissing(Exception):
    """There is no endpoint to judge, or it serves something else; the message says which."""


@reports_failure
def main() -> None:
    """Evaluate the hour that the arguments name."""
    arguments = _parser().parse_args()
    of = monitoring.evaluation(arguments, WORKLOAD)
    clients = Clients(client("s3"), client("cloudwatch"), lambda: client("sagemaker"))
    report = evaluate(of, _settings(arguments), clients)
    sys.stdout.write(f"monitor: {of.endpoint} at {iso(of.time)}: {report['verdict']}: {report['reason']}\n")


def evaluate(of: Evaluation, settings: Settings, clients: Clients) -> dict[str, Any]:
    """Evaluate an hour, publish what was found, and give the report.

    Raises:
        ClientError: when a service does not do as asked.
    """
    objects, cloudwatch = Objects(clients.s3), clients.cloudwatch
    before = _begun(monitoring_store.newest_state(objects, of, _checked))
    try:
        deployment = _deployment(objects, of, clients) if before is None else _known(before)
    except EndpointMissing as error:
        report = monitoring.report(of, monitoring.ENDPOINT_FAILED, f"{error}", {"LossThreshold": of.threshold})
        monitoring_publish.publish(of, report, [], {}, before=None, objects=objects, cloudwatch=cloudwatch)
        return report
    profile, without = _profile(objects, deployment.profile_uri)
    read = Read(of.begin, of.begin) if before is None else Read.of(before["read"])
    first = window.first_of(of.time, settings.window_hours)
    hours = Window.of(first, {} if before is None else before["hours"])

    collected = answers.collect(objects, of, read)
    hours.ask(collected.answers, profile)
    certain = [
        Waiting(answer, of.endpoint_config if answer.time >= deployment.since else None) for answer in collected.answers
    ]
    pending.put(objects, of, certain)
    looked = _look(objects, of, settings.ground_truth_uri, read.until)
    ours = [(one, bought) for one, bought in looked.told if one.endpoint_config == of.endpoint_config]
    hours.due([one.answer for one in looked.waiting if one.endpoint_config == of.endpoint_config and not one.late])
    hours.judge([(one.answer, bought) for one, bought in ours])
    new = [round((one.answer.probability - bought) ** 2, _DIGITS) for one, bought in ours]
    errors = drift.kept([*([] if before is None else before["errors"]), *new])

    newest = _newest(objects, of, before, collected)
    shifts = [] if profile is None else hours.shifts(profile, settings.min_requests)
    findings = [*_detect(errors, len(new), settings), *_input_drift(shifts, settings.max_psi)]
    enough = profile is not None and hours.requests >= settings.min_requests
    report = monitoring.report(
        of,
        *_verdict(hours, settings),
        {
            **(hours.quality() if hours.feedback >= settings.min_feedback else {}),
            "LossThreshold": of.threshold,
            "Feedback": hours.feedback,
            "FeedbackShare": hours.feedback / hours.came_due if hours.came_due else None,
            "Requests": collected.requests,
            "DataFreshnessMinutes": _minutes(of.time, newest),
            **_drift_metrics(shifts, findings),
            "ClusterShift": hours.cluster_shift(profile) if profile is not None and enough else None,
        },
        findings,
        fields=[
            {"name": one.name, "psi": one.psi, "ks": one.ks, "count": one.count, "request": one.name in FIELDS}
            for one in shifts
        ],
        clusters=_clusters(hours, profile),
        profile={"uri": deployment.profile_uri, **({"missing": without} if without else {})},
        answers={
            "collected": len(collected.answers),
            "unreadable": collected.unreadable,
            "repeated_ids": collected.repeated,
            "looked_at": len(looked.waiting),
            "told": len(looked.told),
            "contradictory": looked.contradictory,
            "unreadable_feedback": looked.unreadable,
        },
    )
    state = {
        "since": iso(deployment.since),
        "profile_uri": deployment.profile_uri,
        "read": collected.read.document(),
        "newest": None if newest is None else iso(newest),
        "hours": hours.document(),
        "errors": errors,
    }
    joined = [{**one.document(), "purchased": bought} for one, bought in looked.told]
    by_field = {
        name: {one.name: getattr(one, short) for one in shifts if one.name in FIELDS}
        for name, short in (("PopulationStabilityIndex", "psi"), ("KolmogorovSmirnov", "ks"))
    }
    monitoring_publish.publish(
        of, report, joined, state, before=before, objects=objects, cloudwatch=cloudwatch, by_field=by_field
    )
    return report


# --- the deployment ---------------------------------------------------------------------------------------------------


def _begun(state: dict[str, Any] | None) -> dict[str, Any] | None:
    """A state, unless it is of an evaluation that found no endpoint."""
    return state if state is not None and "since" in state else None


def _checked(state: dict[str, Any]) -> None:
    """Raise what `monitoring_store.newest_state` names for a state that is none of ours."""
    if _begun(state) is None:
        return
    _known(state)
    Read.of(state["read"])
    Window.of(datetime.min.replace(tzinfo=UTC), state["hours"])
    if state["newest"] is not None:
        moment(state["newest"])
    if not all(math.isfinite(error) for error in state["errors"]):
        raise ValueError("an error is no number")


def _known(before: Mapping[str, Any]) -> Deployment:
    return Deployment(moment(before["since"]), before["profile_uri"])


def _deployment(objects: Objects, of: Evaluation, clients: Clients) -> Deployment:
    """The deployment whose first evaluation this is: as an earlier try of the same has found it, or as it is now.

    Raises:
        EndpointMissing: when it does not serve it.
        ClientError: when a service does not answer.
    """
    content = objects.get(of.state_uri)
    own = None if content is None else _begun(monitoring_store.state_of(of.state_uri, content, _checked))
    if own is not None and own["endpoint_config"] == of.endpoint_config:
        return _known(own)
    return _described(of, clients.sagemaker())


def _described(of: Evaluation, sagemaker: Any) -> Deployment:
    """What SageMaker says of a deployment.

    Raises:
        EndpointMissing: when it does not serve it.
        ClientError: when SageMaker does not answer.
    """
    try:
        endpoint = sagemaker.describe_endpoint(EndpointName=of.endpoint)
    except AwsError as error:
        if error.response["Error"]["Code"] == "ValidationException":
            raise EndpointMissing(
                f"There is no endpoint {of.endpoint}: {error.response['Error']['Message']}"
            ) from error
        raise ClientError(f"the endpoint {of.endpoint} could not be described: {error}") from error
    except BotoCoreError as error:
        raise ClientError(f"the endpoint {of.endpoint} could not be described: {error}") from error
    serves = endpoint.get("EndpointConfigName")
    if serves != of.endpoint_config:
        raise EndpointMissing(f"{of.endpoint} is {endpoint['EndpointStatus']} with {serves}, not {of.endpoint_config}.")
    try:
        package = sagemaker.describe_model_package(ModelPackageName=of.model_package_arn)
    except (AwsError, BotoCoreError) as error:
        raise ClientError(f"the model package {of.model_package_arn} could not be described: {error}") from error
    # An update of the endpoint ends with this time. Until then some of the answers are its predecessor's.
    since = moment(iso(endpoint["LastModifiedTime"]))
    return Deployment(since, package.get("CustomerMetadataProperties", {}).get(PROFILE_KEY))


def _profile(objects: Objects, uri: str | None) -> tuple[Profile | None, str]:
    """The training profile, or why there is none."""
    if uri is None:
        return None, f"the model package's metadata has no `{PROFILE_KEY}`; packages of today's build pipeline have it"
    content = objects.get(uri)
    if content is None:
        return None, f"there is no {uri}"
    try:
        return Profile.read(json.loads(content), uri), ""
    except (ClientError, ValueError) as error:
        return None, f"{uri} is no profile: {error}"


# --- what the hour has brought ----------------------------------------------------------------------------------------


def _look(objects: Objects, of: Evaluation, ground_truth_uri: str, since: datetime) -> Looked:
    """Look at the answers that have come due since a moment, and let those wait once more that nobody told about."""
    waiting = pending.take(objects, of, since)
    told = outcomes.told_of(objects, ground_truth_uri, [one.answer for one in waiting])
    open_ones = [one for one in waiting if one.answer.inference_id not in told.purchased and not one.late]
    pending.put(objects, of, [Waiting(one.answer, one.endpoint_config, late=True) for one in open_ones])
    return Looked(
        waiting,
        [
            (one, told.purchased[one.answer.inference_id])
            for one in waiting
            if one.answer.inference_id in told.purchased
        ],
        len(told.contradictory),
        told.unreadable,
    )


def _newest(
    objects: Objects, of: Evaluation, before: Mapping[str, Any] | None, collected: Collected
) -> datetime | None:
    """When the newest request came, if there was one in the last day."""
    if before is None:
        return collected.newest or captured.newest(objects, of, DAY)
    earlier = None if before["newest"] is None else moment(before["newest"])
    return max((one for one in (earlier, collected.newest) if one is not None), default=None)


def _minutes(time: datetime, newest: datetime | None) -> float:
    """How old the newest request is, in minutes, or a day's when there was none."""
    if newest is None:
        return monitoring.STALEST_MINUTES
    return min((time - newest).total_seconds() / 60, monitoring.STALEST_MINUTES)


def _verdict(hours: Window, settings: Settings) -> tuple[str, str]:
    told = (
        f"{hours.feedback} of {hours.came_due} answers that came due within {settings.window_hours} hours have feedback"
    )
    if hours.feedback >= settings.min_feedback:
        return monitoring.SCORED, f"{told}."
    needed = f"{told}; {settings.min_feedback} are needed."
    if not hours.requests and not hours.came_due:
        return monitoring.NO_REQUESTS, f"Nobody asked within {settings.window_hours} hours; {needed}"
    return monitoring.TOO_LITTLE_FEEDBACK, needed


# --- drift ------------------------------------------------------------------------------------------------------------


def _detect(errors: Sequence[float], new: int, settings: Settings) -> list[Finding]:
    if not errors:
        return []
    return [drift.detect(STREAM, errors, one, new) for one in (settings.page_hinkley, settings.adwin)]


def _input_drift(shifts: Sequence[Shift], max_psi: float) -> list[Finding]:
    """The finding on the fields that every request has: that of the field that is farthest from training."""
    found = [one for one in shifts if one.name in FIELDS]
    if not found:
        return []
    worst = max(found, key=lambda one: one.psi - max(one.chance, max_psi))
    limit = max(worst.chance, max_psi)
    return [Finding(INPUT, PSI, worst.psi, limit, worst.psi > limit)]


def _drift_metrics(shifts: Sequence[Shift], findings: Sequence[Finding]) -> dict[str, float | None]:
    statistics = {one.detector: one.statistic for one in findings if one.stream == STREAM}
    fields = [one for one in shifts if one.name in FIELDS]
    return {
        "PageHinkleyStatistic": statistics.get(drift.PAGE_HINKLEY),
        "AdwinWidth": statistics.get(drift.ADWIN),
        "PopulationStabilityIndex": max((one.psi for one in fields), default=None),
        "KolmogorovSmirnov": max((one.ks for one in fields), default=None),
    }


def _clusters(hours: Window, profile: Profile | None) -> list[dict[str, Any]]:
    """Expected and found share of each cluster; the expected one is None where training had no such cluster."""
    counts, total = hours.clusters(), hours.requests
    expected = {} if profile is None else dict(enumerate(profile.clusters))
    return [
        {
            "cluster": cluster,
            "expected": expected.get(cluster),
            "found": counts.get(cluster, 0) / total if total else None,
        }
        for cluster in sorted({*expected, *counts})
    ]


# --- the command line -------------------------------------------------------------------------------------------------


def _parser() -> ArgumentParser:
    described = monitoring.parser("monitor", "Judge an hour of a stage.")
    described.add_argument("--ground-truth-uri", required=True, help="S3 URI of what callers told")
    described.add_argument("--window-hours", required=True, type=whole_number(1, 720))
    described.add_argument("--min-feedback", required=True, type=whole_number(1, 1_000_000))
    described.add_argument("--min-requests", required=True, type=whole_number(1, 1_000_000))
    described.add_argument("--max-psi", required=True, type=_positive)
    drift.add_arguments(described)
    return described


def _positive(text: str) -> float:
    number = monitoring.number_of(text)
    if not 0 < number < math.inf:
        raise ArgumentTypeError(f"`{text}` is no limit; expected a number above 0")
    return number


def _settings(arguments: Namespace) -> Settings:
    return Settings(
        arguments.ground_truth_uri,
        arguments.window_hours,
        arguments.min_feedback,
        arguments.min_requests,
        arguments.max_psi,
        drift.page_hinkley_of(arguments),
        drift.adwin_of(arguments),
    )


if __name__ == "__main__":
    main()
