"""`mlops watch`"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipelines import names as n
from pipelines.cli import select, show
from pipelines.cli.context import Context
from pipelines.cli.options import WorkloadArgument
from pipelines.monitoring import ALARM, MEASURES, OK, Alarm, Evaluation
from pipelines.report.format import figure, moment
from pipelines.session import client
from pipelines.watching import Clients, StageSeen, WorkloadSeen, look

_SECONDS = 2.0
_BLOCKS = "▁▂▃▄▅▆▇█"
_STATES = {OK: ("OK", "green"), ALARM: ("ALARM", "bold red")}

# What is seen, by what it is about: (workload, stage or pipeline, what).
Facts = dict[tuple[str, str, str], str]


def command(
    workload: WorkloadArgument = None,
    stage: Annotated[str | None, typer.Option("--stage", help="`staging` or `prod`; both when left away.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Show it once and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON, once.")] = False,
) -> None:
    """Watch the models: version, loss against its threshold, data, drift, alarms, executions, retraining.

    On a terminal a table that moves; on a pipe a line for every change. Ctrl-C ends it.
    """
    chosen = _chosen(workload, stage)
    context = Context.here()
    clients = Clients(
        *(client(context.session, name) for name in ("sagemaker", "s3", "ssm", "cloudwatch", "dynamodb", "sts"))
    )

    def see() -> list[WorkloadSeen]:
        return [look(clients, context.names, each, stages) for each, stages in chosen.items()]

    if as_json:
        typer.echo(json.dumps([_document(one) for one in see()], indent=2))
        return
    out = show.console()
    if once:
        out.print(shown(see()))
        return
    follow(out, _again(see, time.sleep))


def _chosen(workload: str | None, stage: str | None) -> dict[str, tuple[str, ...]]:
    """The stages to look at, by workload. Raises UsageError when the words name none."""
    if workload is not None:
        workload = select.workload_of(workload)
        return {workload: n.MONITORED[workload] if stage is None else (select.monitored_stage(workload, stage),)}
    if stage is None:
        return dict(n.MONITORED)
    select.stage_of(stage)
    return {each: (stage,) for each, stages in n.MONITORED.items() if stage in stages}


def _again(see: Callable[[], list[WorkloadSeen]], pause: Callable[[float], None]) -> Iterator[list[WorkloadSeen]]:
    while True:
        yield see()
        pause(_SECONDS)


def follow(out: Console, readings: Iterator[list[WorkloadSeen]]) -> None:
    """Show readings as long as they come."""
    if out.is_terminal:
        with Live(console=out, auto_refresh=False, screen=False) as live:
            for seen in readings:
                live.update(shown(seen), refresh=True)
        return
    known: Facts = {}
    for seen in readings:
        facts = facts_of(seen, known)
        for key, text in facts.items():
            if known.get(key) != text:
                out.print(text, soft_wrap=True)
        known.update(facts)


# --- on a terminal ----------------------------------------------------------------------------------------------------


def shown(seen: Sequence[WorkloadSeen]) -> Group:
    """The stages as a table, and below it what is running and what is being done about alarms."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bright_black")
    for heading in ("stage", "version", "evaluated", "loss", "threshold", "the last 24 hours", "data", "alarms"):
        table.add_column(heading, no_wrap=True, justify="right" if heading in ("loss", "threshold", "data") else "left")
    for one in seen:
        for stage in one.stages:
            table.add_row(*_row(one.workload, stage))
    below = [line for one in seen for line in _below(one)]
    now = Text(f"as of {moment(max(one.now for one in seen))}", "bright_black")
    return Group(table, *(below and [Text(""), *below]), Text(""), now)


def _row(workload: str, stage: StageSeen) -> list[Text]:
    newest = stage.newest
    name = Text(f"{workload} {stage.stage}")
    version = Text(f"{stage.serving.version}") if stage.serving else Text("none", "bright_black")
    if newest is None:
        nothing = (Text("-"), Text("-"), Text(""), Text("-"))
        return [name, version, Text("not yet", "bright_black"), *nothing, _alarms(stage)]
    age = newest.metrics.get("DataFreshnessMinutes")
    loss = Text(newest.verdict, "yellow")
    if newest.loss is not None:
        loss = Text(figure(newest.loss), "red" if newest.breaches else "")
    return [
        name,
        version,
        Text(f"{newest.time:%d %b %H:%M}"),
        loss,
        Text(figure(newest.threshold)),
        sparkline(stage.evaluations),
        Text("-" if age is None else f"{age:,.0f} min"),
        _alarms(stage),
    ]


def _alarms(stage: StageSeen) -> Text:
    if not stage.alarms:
        return Text("none", "bright_black")
    told = Text()
    for place, (kind, alarm) in enumerate(stage.alarms.items()):
        word, style = _STATES.get(alarm.state, ("too few data", "bright_black"))
        told.append("  " if place else "").append(f"{kind} ", "bright_black").append(word, style)
    return told


def sparkline(evaluations: Sequence[Evaluation]) -> Text:
    """A block for each hour's loss, from zero to the highest of all losses and thresholds; a dot for none."""
    tops = [value for one in evaluations for value in (one.loss, one.threshold) if value is not None]
    top = max(tops, default=0.0) or 1.0
    told = Text()
    for one in evaluations:
        if one.loss is None:
            told.append("·", "bright_black")
        else:
            block = _BLOCKS[min(len(_BLOCKS) - 1, max(0, int(one.loss / top * len(_BLOCKS))))]
            told.append(block, "red" if one.breaches else "green")
    return told


def _below(seen: WorkloadSeen) -> list[Text]:
    lines = [
        Text.assemble(show.mark("busy"), f" {seen.workload} {run.kind} {run.name} since {moment(run.started)}")
        for run in seen.runs
        if run.running
    ]
    for stage in seen.stages:
        for alarm in stage.alarms.values():
            if alarm.state == ALARM:
                told = f" {alarm.name} since {moment(alarm.since)}; `mlops explain {alarm.name}` says why"
                lines.append(Text.assemble(show.mark("bad"), told))
    if told := _retraining(seen):
        lines.append(Text(told))
    return lines


def _retraining(seen: WorkloadSeen) -> str:
    """What is being done about the alarms, in a line; nothing before there was anything to decide."""
    state, attempts = seen.retrainings.state, seen.retrainings.attempts
    if attempts and not attempts[-1].outcome:
        return f"{seen.workload} retraining: {attempts[-1].display_name} is under way, try {attempts[-1].try_number}"
    if state is None:
        return ""
    until = f", until {moment(state.until)}" if state.until else ""
    return f"{seen.workload} retraining: {state.reason}{until}"


# --- on a pipe --------------------------------------------------------------------------------------------------------


def facts_of(seen: Sequence[WorkloadSeen], known: Facts) -> Facts:
    """What there is to tell, each as a line. known: what was told before; an execution that was running is told when it
    has ended.
    """
    facts: Facts = {}
    for one in seen:
        for stage in one.stages:
            place = f"{one.workload} {stage.stage}"
            if stage.serving:
                since = moment(stage.serving.since)
                facts[place, "", "version"] = f"{place}: version {stage.serving.version} since {since}"
            if stage.newest:
                facts[place, "", "evaluation"] = f"{place}: {_evaluated(stage.newest)}"
            for kind, alarm in stage.alarms.items():
                facts[place, kind, "alarm"] = f"{place}: {_alarm(alarm)}"
        for run in one.runs:
            key = (one.workload, run.arn, "run")
            if run.running or key in known:
                word = "is running" if run.running else run.status.lower()
                facts[key] = f"{one.workload} {run.kind}: {run.name} {word}, begun {moment(run.started)}"
        if told := _retraining(one):
            facts[one.workload, "", "retraining"] = told
    return facts


def _evaluated(one: Evaluation) -> str:
    if one.loss is None:
        return f"{moment(one.time)} {one.verdict}: {one.reason}"
    told = f"{moment(one.time)} {MEASURES[one.workload].short} {figure(one.loss)}"
    if one.threshold is not None:
        told += f", {'above' if one.breaches else 'below'} the threshold of {figure(one.threshold)}"
    drift = sorted({seen.stream for seen in one.drift if seen.detected})
    return told + (f"; drift of {' and '.join(drift)}" if drift else "")


def _alarm(alarm: Alarm) -> str:
    word = _STATES.get(alarm.state, ("too few data", ""))[0]
    return f"alarm {alarm.kind} {word} since {moment(alarm.since)}"


# --- as JSON ----------------------------------------------------------------------------------------------------------


def _document(seen: WorkloadSeen) -> dict[str, Any]:
    state = seen.retrainings.state
    return {
        "workload": seen.workload,
        "now": seen.now.isoformat(),
        "stages": [_stage(stage) for stage in seen.stages],
        "running": [
            {"kind": run.kind, "name": run.name, "arn": run.arn, "started": run.started.isoformat()}
            for run in seen.runs
            if run.running
        ],
        "retraining": None
        if state is None
        else {
            "decision": state.decision,
            "reason": state.reason,
            "at": state.at.isoformat(),
            "until": state.until.isoformat() if state.until else None,
            "attempts": len(seen.retrainings.attempts),
        },
    }


def _stage(stage: StageSeen) -> dict[str, Any]:
    newest = stage.newest
    return {
        "stage": stage.stage,
        "version": stage.serving.version if stage.serving else None,
        "since": stage.serving.since.isoformat() if stage.serving else None,
        "evaluation": None
        if newest is None
        else {
            "time": newest.time.isoformat(),
            "verdict": newest.verdict,
            "reason": newest.reason,
            "threshold": newest.threshold,
            "metrics": dict(newest.metrics),
            "drift": sorted({seen.stream for seen in newest.drift if seen.detected}),
        },
        "losses": [one.loss for one in stage.evaluations],
        "alarms": {
            kind: {"name": alarm.name, "state": alarm.state, "since": alarm.since.isoformat()}
            for kind, alarm in stage.alarms.items()
        },
    }
