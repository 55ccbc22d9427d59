"""`mlops explain`"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from pipelines import monitoring, registry, retrainings, stages
from pipelines import names as n
from pipelines.cli import select
from pipelines.cli.context import Context
from pipelines.errors import UsageError, suggestion
from pipelines.explanation import Explanation, explain
from pipelines.session import client

# As far back as CloudWatch remembers an alarm's history.
_HOURS = 30 * 24


def command(
    alarm: Annotated[str, typer.Argument(help="An alarm's name, or `quality`, `data` or `drift`.")],
    workload: Annotated[str | None, typer.Option("--workload", help="Whose, unless the name says it.")] = None,
    stage: Annotated[str, typer.Option("--stage", help="`staging` or `prod`, unless the name says it.")] = "prod",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Say in sentences what an alarm is about, or was last: since when, by how much, what was done, what to do next."""
    context = Context.here()
    told = explanation(context, *_meant(context, alarm, workload, stage))
    typer.echo(json.dumps(asdict(told), indent=2, ensure_ascii=False) if as_json else told.text(), nl=as_json)


def explanation(context: Context, workload: str, stage: str, kind: str) -> Explanation:
    """An alarm in sentences. Raises UsageError when there is no such alarm yet."""
    names = context.names
    cloudwatch = client(context.session, "cloudwatch")
    found = monitoring.monitored(client(context.session, "s3"), cloudwatch, names, workload, stage, hours=_HOURS)
    if kind not in found.alarms:
        raise UsageError(
            f"there is no alarm `{names.monitor_alarm(workload, stage, kind)}`; the project's stack makes it, on this "
            "machine `mlops up` does"
        )
    return explain(
        found.alarms[kind],
        found,
        retrainings.read(client(context.session, "dynamodb"), names, workload),
        stages.serving(client(context.session, "ssm"), names, workload, stage),
        registry.packages(client(context.session, "sagemaker"), names.package_group(workload)),
        context.now(),
    )


def _meant(context: Context, alarm: str, workload: str | None, stage: str) -> tuple[str, str, str]:
    """(workload, stage, kind) of the alarm that the words mean. Raises UsageError when there is none."""
    named = context.names.monitored_by(alarm)
    if named is not None:
        return named
    if alarm not in n.MONITOR_ALARMS:
        known = [
            context.names.monitor_alarm(each, one, kind)
            for each, monitored in n.MONITORED.items()
            for one in monitored
            for kind in n.MONITOR_ALARMS
        ]
        raise UsageError(
            f"there is no alarm `{alarm}` of the monitoring"
            f"{suggestion(alarm, (*known, *n.MONITOR_ALARMS)) or '; expected one of ' + ', '.join(known)}"
        )
    chosen = select.workload_of(workload)
    select.monitored_stage(chosen, stage)
    return chosen, stage, alarm
