"""`mlops monitor`"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.text import Text

from pipelines import monitoring
from pipelines.cli import select, show
from pipelines.cli.context import Context
from pipelines.cli.options import WorkloadArgument
from pipelines.cli.run import bring, moment_of, tracking_uri, watched
from pipelines.errors import ServiceError, UsageError
from pipelines.monitor.functions.start import KIND, start
from pipelines.monitoring import MEASURES, Evaluation
from pipelines.report.format import figure, moment
from pipelines.session import client

_BY_HAND = "by-hand"
# PutMetricData takes metrics of the last two weeks, and an hour's bear its beginning ("PutMetricData" in the CloudWatch
# API Reference).
_OLDEST = timedelta(days=14) - timedelta(hours=1)


def command(
    workload: WorkloadArgument = None,
    stage: Annotated[str, typer.Option("--stage", help="`staging` or `prod`.")] = "prod",
    evaluation_time: Annotated[
        str | None,
        typer.Option("--evaluation-time", help="The end of the hour, ISO 8601; the last full hour's when left away."),
    ] = None,
    report: Annotated[bool, typer.Option("--report", help="Make Evidently's report of drift, too.")] = False,
) -> int:
    """Evaluate an hour of a stage now, as it is by itself every hour, and show what was found.

    An hour that was evaluated before gives the same again. Exit status 1 when the evaluation failed.
    """
    workload = select.workload_of(workload)
    select.monitored_stage(workload, stage)
    context = Context.here()
    uri = tracking_uri()  # what is missing should change nothing in the account
    time = _moment(evaluation_time, context.now())
    out = show.console()
    bring(out, context, workload, KIND)
    why = _BY_HAND if report else None
    arn = start(context.session, context.names, workload, stage, time, tracking_uri=uri, report=why)
    execution = watched(out, context, arn, workload, KIND)
    if execution.status != "Succeeded":
        return 1
    s3 = client(context.session, "s3")
    found = monitoring.evaluation_at(s3, context.names, workload, stage, time)
    if found is None:
        raise ServiceError(
            f"the evaluation of {moment(time)} succeeded and left no report below "
            f"`{context.names.monitor_uri(workload, stage)}/evaluations/`; `mlops logs Evaluate` shows what it wrote"
        )
    for line in _lines(found):
        out.print(line, soft_wrap=True)
    if report:
        made = monitoring.drift_reports(s3, context.names, workload, stage, newest=50)
        out.print("\n".join(one.html_uri for one in made if one.time == time), soft_wrap=True)
    return 0


def _moment(text: str | None, now: datetime) -> datetime:
    """The evaluation time, aware, in whole seconds. Raises UsageError for what is no time, one to come, or too old."""
    if text is None:
        return now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    try:
        found = moment_of(text).astimezone(UTC).replace(microsecond=0)
    except OverflowError:
        raise UsageError(f"--evaluation-time is `{text}`, expected one of the last two weeks") from None
    if found > now:
        raise UsageError(f"--evaluation-time is {moment(found)}, expected none after now, {moment(now)}")
    if found < now - _OLDEST:
        raise UsageError(
            f"--evaluation-time is {moment(found)}, expected none before {moment(now - _OLDEST)}: CloudWatch takes no "
            f"metrics that are older than two weeks; `mlops report WORKLOAD monitor` shows what was evaluated then"
        )
    return found


def _lines(found: Evaluation) -> list[Text]:
    measured = MEASURES[found.workload]
    style = "green" if found.verdict == monitoring.SCORED else "yellow"
    told = [Text.assemble((found.verdict, f"bold {style}"), f": {found.reason}")]
    if found.loss is not None:
        against = ""
        if found.threshold is not None:
            against = f", {'above' if found.breaches else 'below'} the threshold of {figure(found.threshold)}"
        told.append(Text(f"{measured.words} {figure(found.loss)}{against}", "red" if found.breaches else ""))
    told += [
        Text(f"{name} {figure(value)}", "bright_black")
        for name, value in found.metrics.items()
        if name not in (measured.loss, "LossThreshold")
    ]
    told += [
        Text(f"drift: {seen.detector} on {seen.stream}, {figure(seen.statistic)}", "red")
        for seen in found.drift
        if seen.detected
    ]
    return [*told, Text(found.uri, "bright_black")]
