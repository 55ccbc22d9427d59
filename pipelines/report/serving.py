"""What serves where: for each stage the version, its endpoint and traffic, where its model comes from, and how it
compares with the package that the page is of; and which version served when.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from markupsafe import Markup

from pipelines import registry
from pipelines import stages as live
from pipelines.registry import Package
from pipelines.report.documents import instant, mapping, number_in, records
from pipelines.report.format import compact, moment
from pipelines.report.lineage import Link, mlflow_models, short_commit
from pipelines.report.measures import Measure, Measures
from pipelines.report.serving_chart import Failure, Lane, Period, timeline

__all__ = ["Deployment", "Stage", "View", "periods", "test_summary", "view"]

_TONES = {"InService": "good", "Failed": "bad", "OutOfService": "bad", "UpdateRollbackFailed": "bad"}
_RUNS = ("Executing", "Stopping")


@dataclass(frozen=True)
class Deployment:
    """An execution of a stage's deploy pipeline: the version that it was to bring there, and when it began and ended.

    `ended` is None while it runs. Times are aware.
    """

    arn: str
    version: int
    status: str
    started: datetime
    ended: datetime | None


@dataclass(frozen=True)
class Stage:
    """What was found of a stage: `package` is what it serves, `tests` the report of the golden requests that this was
    tested by, `deployments` the last executions of its deploy pipeline in any order.
    """

    name: str
    serving: live.Serving | None = None
    endpoint: live.Endpoint | None = None
    traffic: live.Traffic | None = None
    package: Package | None = None
    tests: Mapping[str, Any] | None = None
    deployments: Sequence[Deployment] = ()


@dataclass(frozen=True)
class _Figure:
    name: str
    value: str
    note: str = ""
    tone: str = ""


@dataclass(frozen=True)
class _Card:
    """A stage as it is shown. `remarks` say what of it is not as it should be; `command` is what brings a version to a
    stage that serves none.
    """

    stage: str
    tone: str
    status: str
    headline: str
    under: str
    figures: Sequence[_Figure]
    facts: Sequence[tuple[str, Sequence[Link], str]]
    """(name, texts with their links, the whole text where it was shortened)."""
    remarks: Sequence[str]
    command: str


@dataclass(frozen=True)
class _Cell:
    text: str
    difference: str = ""
    tone: str = ""


@dataclass(frozen=True)
class _Metrics:
    """Measures of what is served, a column for each version, and those of the page's own package before them."""

    own: str
    columns: Sequence[str]
    rows: Sequence[tuple[Measure, Sequence[_Cell]]]


@dataclass(frozen=True)
class View:
    """The section: its drawings (for wide and for narrow pages), a card for each stage, and the metrics' table."""

    timelines: Sequence[Markup]
    has_failures: bool
    cards: Sequence[_Card]
    metrics: _Metrics | None


def view(
    stages: Sequence[Stage],
    packages: Sequence[Package],
    own: Mapping[str, Any],
    measures: Measures,
    *,
    workload: str,
    made_at: datetime,
    mlflow_url: str | None,
    always_metrics: bool = False,
) -> View | None:
    """The section; None when nothing is known of the stages.

    own: DescribeModelPackage's answer for the page's own package, or nothing. always_metrics: show the metrics even if
    all of them are the own package's, which a page of a build has already.
    """
    if not stages:
        return None
    lanes = [_lane(stage, packages, made_at) for stage in stages]
    drawings = [timeline(lanes, made_at, narrow=narrow) for narrow in (False, True)]
    return View(
        timelines=[drawn for drawn in drawings if drawn is not None],
        has_failures=any(lane.failures for lane in lanes),
        cards=[_card(stage, stages, packages, own, workload, made_at, mlflow_url) for stage in stages],
        metrics=_metrics(stages, own, measures, always_metrics),
    )


# --- which version when -----------------------------------------------------------------------------------------------


def periods(stage: Stage, packages: Sequence[Package], now: datetime) -> list[Period]:
    """From when to when the stage served which version, as far as it is known; nothing if it serves none.

    A package remembers when it came to the stage last; an earlier time of a version that came back is that of the
    execution which brought it.
    """
    if stage.serving is None:
        return []
    begun = {
        (since, package.version)
        for package in packages
        if (since := instant(package.metadata.get(f"{stage.name}_since"))) is not None
    }
    begun.add((stage.serving.since, stage.serving.version))
    for deployment in stage.deployments:
        if deployment.status != "Succeeded" or deployment.ended is None:
            continue
        first = deployment.started.replace(microsecond=0)  # packages remember whole seconds
        if not any(
            version == deployment.version and first <= since <= deployment.ended for since, version in set(begun)
        ):
            begun.add((deployment.ended, deployment.version))
    # The stage's own word is the last one.
    marks = sorted(mark for mark in begun if mark[0] <= stage.serving.since)
    begins = [
        mark for at, mark in enumerate(marks) if at == 0 or marks[at - 1][1] != mark[1]
    ]  # not: deployed once more
    ends = [*(since for since, _ in begins[1:]), max(now, stage.serving.since)]
    last = len(begins) - 1
    return [
        Period(version, since, end, serves=at == last)
        for at, ((since, version), end) in enumerate(zip(begins, ends, strict=True))
    ]


def _lane(stage: Stage, packages: Sequence[Package], now: datetime) -> Lane:
    failures = [
        Failure(deployment.version, deployment.ended)
        for deployment in stage.deployments
        if deployment.status in ("Failed", "Stopped") and deployment.ended is not None
    ]
    return Lane(stage.name, periods(stage, packages, now), sorted(failures, key=lambda failure: failure.at))


# --- a stage ----------------------------------------------------------------------------------------------------------


def test_summary(tests: Mapping[str, Any] | None) -> str:
    """`12 of 12 golden requests, slowest 27.5 ms`; nothing without a report."""
    verdicts = records(mapping(tests).get("verdicts"))
    if not verdicts:
        return ""
    right = sum(1 for verdict in verdicts if not verdict.get("problem"))
    slowest = number_in(mapping(tests).get("slowest_milliseconds"))
    told = f"{right} of {len(verdicts)} golden requests answered rightly"
    return told if slowest is None else f"{told}, slowest {slowest:.1f} ms"


def _card(
    stage: Stage,
    stages: Sequence[Stage],
    packages: Sequence[Package],
    own: Mapping[str, Any],
    workload: str,
    now: datetime,
    mlflow_url: str | None,
) -> _Card:
    serving, endpoint = stage.serving, stage.endpoint
    remarks = _remarks(stage)
    tone, status = ("idle", "no endpoint") if endpoint is None else (_tone(endpoint.status), endpoint.status)
    if serving is None:
        return _Card(
            stage=stage.name,
            tone=tone,
            status=status,
            headline="Serves nothing yet",
            under="",
            figures=_figures(stage),
            facts=[],
            remarks=remarks,
            command=_command(stage.name, stages, packages, workload),
        )
    same = serving.model_package_arn == own.get("ModelPackageArn")
    return _Card(
        stage=stage.name,
        tone="bad" if endpoint is None else tone,
        status=status,
        headline=f"Version {serving.version}",
        under=f"since {moment(serving.since)}{'; the one that this page is of' if same else ''}",
        figures=_figures(stage),
        facts=_facts(stage, periods(stage, packages, now), serving, mlflow_url),
        remarks=remarks,
        command="",
    )


def _tone(status: str) -> str:
    return _TONES.get(status, "busy")


def _remarks(stage: Stage) -> list[str]:
    serving, endpoint = stage.serving, stage.endpoint
    found = []
    if endpoint is None:
        return [f"The endpoint {serving.endpoint} is gone; a new deployment makes it again."] if serving else []
    if serving is not None and serving.endpoint_config != endpoint.config:
        found.append(
            f"The endpoint has the configuration {endpoint.config}, not that of version {serving.version}: it is being "
            "deployed to, or was changed by other means."
        )
    if endpoint.failure_reason:
        found.append(f"Last update: {endpoint.failure_reason}")
    running = [deployment for deployment in stage.deployments if deployment.status in _RUNS]
    found += [f"Version {deployment.version} is being deployed." for deployment in running]
    return found


def _figures(stage: Stage) -> list[_Figure]:
    endpoint, traffic = stage.endpoint, stage.traffic
    if endpoint is None:
        return []
    if endpoint.instances is None:
        machines = _Figure("Machines", "serverless")
    else:
        changing = endpoint.desired not in (None, endpoint.instances)
        machines = _Figure("Machines", str(endpoint.instances), f"{endpoint.desired} wanted" if changing else "")
    if traffic is None:
        return [machines]
    errors = traffic.client_errors + traffic.server_errors
    kinds = (("4xx", traffic.client_errors), ("5xx", traffic.server_errors))
    return [
        machines,
        _Figure("Requests", compact(traffic.invocations)),
        _Figure(
            "Errors",
            compact(errors),
            ", ".join(f"{code}: {compact(number)}" for code, number in kinds if number),
            "bad" if traffic.server_errors else "",
        ),
        _Figure("Median", _milliseconds(traffic.median_milliseconds)),
        _Figure("99th percentile", _milliseconds(traffic.p99_milliseconds)),
    ]


def _milliseconds(value: float | None) -> str:
    return "\u2013" if value is None else f"{value:.1f} ms" if value < 100 else f"{value:,.0f} ms"


def _facts(
    stage: Stage, served: Sequence[Period], serving: live.Serving, mlflow_url: str | None
) -> list[tuple[str, Sequence[Link], str]]:
    metadata = stage.package.metadata if stage.package else {}
    commit, data = metadata.get("git_commit", ""), metadata.get("input_data_uri", "")
    models = mlflow_models(metadata, mlflow_url)
    before = served[-2] if len(served) > 1 else None
    lines: list[tuple[str, Sequence[Link], str]] = [
        ("Endpoint", [(serving.endpoint, None)], ""),
        ("Commit", [(short_commit(commit), None)], commit),
        ("Data", [(data, None)], ""),
        ("Data until", [(moment(metadata.get("snapshot_time", "")), None)], ""),
        ("MLflow", models, ""),
        ("Tests", [(test_summary(stage.tests) or "the report is gone", None)], serving.test_report_uri),
        ("Deployed by", [(f"execution {serving.execution_arn.rpartition('/')[2]}", None)], serving.execution_arn),
        ("Before", [(f"version {before.version} since {moment(before.start)}", None)] if before else [], ""),
    ]
    if stage.package is None:
        lines.append(("Package", [("was deleted", None)], serving.model_package_arn))
    return [(name, links, whole) for name, links, whole in lines if links and links[0][0]]


def _command(stage: str, stages: Sequence[Stage], packages: Sequence[Package], workload: str) -> str:
    """What a person types next for a stage that serves nothing."""
    if stage != "staging":
        tested = next((package for package in packages if package.staging_report), None)
        if tested is not None:
            return f'mlops approve {tested.version} --workload {workload} --stage {stage} --why "…"'
    waiting = next((package for package in packages if package.approval == registry.WAITING), None)
    if waiting is not None:
        return f'mlops approve {waiting.version} --workload {workload} --why "…"'
    approved = next((package for package in packages if package.approval == registry.APPROVED), None)
    if approved is not None:
        return f"mlops deploy {approved.version} --workload {workload} --stage staging"
    return f"mlops run {workload}"


# --- metrics ----------------------------------------------------------------------------------------------------------


def _metrics(stages: Sequence[Stage], own: Mapping[str, Any], measures: Measures, always: bool) -> _Metrics | None:
    """The table; None when no package has a measure, or only what the page shows anyway would stand in it."""
    served: dict[str, Package] = {}
    where: dict[str, list[str]] = {}
    for stage in stages:
        if stage.package is not None:
            served[stage.package.arn] = stage.package
            where.setdefault(stage.package.arn, []).append(stage.name)
    own_arn = str(own.get("ModelPackageArn", ""))
    others = {arn: package for arn, package in served.items() if arn != own_arn}
    if not others and not (always and served):
        return None
    metadata = mapping(own.get("CustomerMetadataProperties"))
    rows = []
    for measure in measures.metrics:
        value = number_in(metadata.get(measure.key))
        cells = [_Cell("\u2013" if value is None else measure.shown(value))] if own else []
        cells += [_cell(measure, value, package.figure(measure.key)) for package in others.values()]
        if any(cell.text != "\u2013" for cell in cells):
            rows.append((measure, cells))
    if not rows:
        return None
    title = ""
    if own:
        places = " and ".join(where.get(own_arn, []))
        title = f"Version {own.get('ModelPackageVersion', '')}{f', in {places}' if places else ', this one'}"
    return _Metrics(
        own=title,
        columns=[f"Version {package.version}, in {' and '.join(where[arn])}" for arn, package in others.items()],
        rows=rows,
    )


def _cell(measure: Measure, own: float | None, theirs: float | None) -> _Cell:
    """What a version reaches, and how much more or less the page's own package does."""
    if theirs is None:
        return _Cell("\u2013")
    if own is None:
        return _Cell(measure.shown(theirs))
    one, other = measure.badness(own), measure.badness(theirs)
    tone = "" if one is None or other is None or one == other else "good" if one < other else "bad"
    return _Cell(measure.shown(theirs), measure.difference(own - theirs), tone)
