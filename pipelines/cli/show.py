"""How the verbs show things: consoles, the marks of states, the table of an execution's steps as it goes on.

Colour and movement are for terminals: rich leaves them out of a file or a pipe, and the table becomes one line for each
change.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipelines import executions
from pipelines.executions import Execution, StepRun
from pipelines.names import MINUTES
from pipelines.report.flow import state_class, state_word
from pipelines.report.format import duration
from pipelines.report.outcomes import understood

__all__ = ["console", "describe_failures", "execution_document", "follow", "mark", "short", "steps_table"]

_MARKS = {
    "good": ("✓", "green"),
    "cached": ("↻", "magenta"),
    "bad": ("✗", "red"),
    "busy": ("●", "cyan"),
    "idle": ("·", "bright_black"),
}


def console(*, stderr: bool = False) -> Console:
    """A console that marks up nothing by itself: figures and paths stay as they are."""
    out = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not out.is_terminal and "COLUMNS" not in os.environ:
        out.width = 200  # a file or a pipe has no edge that a table must keep to
    return out


def short(path: Path) -> str:
    """A path as it is typed here: from the working directory, where that is above it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def mark(state: str) -> Text:
    symbol, style = _MARKS[state]
    return Text(symbol, style=style)


def steps_table(execution: Execution, now: datetime) -> Table:
    """The steps with their states and times as of `now`."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False, show_edge=False)
    table.add_column()
    table.add_column()
    table.add_column()
    table.add_column(justify="right", no_wrap=True)
    for step in execution.steps:
        state = state_class(step)
        style = _MARKS[state][1]
        seconds = None if step.type in {"Condition", "Fail"} else step.seconds(now)
        quiet = step.status in {"Pending", "Skipped"}
        table.add_row(
            mark(state),
            Text(step.name, style="bright_black" if quiet else ""),
            Text(state_word(step), style=style),
            "" if seconds is None else duration(seconds),
        )
    return table


def follow(out: Console, readings: Iterable[Execution], clock: Callable[[], datetime]) -> Execution:
    """Show an execution until it is finished; gives the last reading. clock: the account's time.

    On a terminal a table that moves; else one line for every step that begins, ends or is skipped.
    """
    last: Execution | None = None
    if out.is_terminal:
        with Live(console=out, refresh_per_second=8, transient=False) as live:
            for execution in map(understood, readings):
                last = execution
                live.update(steps_table(execution, clock()))
    else:
        known: dict[str, str] = {}
        for execution in map(understood, readings):
            last = execution
            width = max((len(step.name) for step in execution.steps), default=0)
            for step in execution.steps:
                if step.status not in {"Pending", known.get(step.name)}:
                    known[step.name] = step.status
                    _line(out, step, width)
    assert last is not None, "an execution has one reading at least"
    return last


def _line(out: Console, step: StepRun, width: int) -> None:
    seconds = step.seconds() if step.type not in {"Condition", "Fail"} else None
    took = f"  {duration(seconds)}" if seconds is not None and step.ended else ""
    out.print(f"{mark(state_class(step)).plain} {step.name:<{width}}  {state_word(step)}{took}", soft_wrap=True)


def describe_failures(out: Console, execution: Execution, logs: Any, workload: str, kind: str) -> None:
    """For every failed step the reason and the end of its log; then what to do next."""
    failed = [step for step in execution.steps if step.status == "Failed"]
    for step in failed:
        out.print()
        out.print(Text(f"{step.name} failed", style="bold red"), soft_wrap=True)
        reason = step.failure_reason or "no reason was given"
        out.print(Text(reason), soft_wrap=True)
        if step.job is None:
            continue
        # A program's last words are the reason, which stands above already.
        lines = [line for line in executions.log_tail(logs, step.job) if line.removeprefix("error: ") not in reason]
        if lines:
            out.print(Text(f"the last lines of its log (`mlops logs {step.name}` shows all):", style="bright_black"))
            for line in lines:
                out.print(Text(f"  {line}"), soft_wrap=True)
    jobs = [step.name for step in failed if step.job is not None]
    if jobs:
        out.print()
        ways = [
            (f"mlops step {jobs[0]}", "run this step alone, after a change of the code"),
            (f"mlops run {workload} {kind}", "go on from it: what has not changed comes from the cache"),
        ]
        if workload != MINUTES[0]:
            ways.insert(0, (f"mlops run {workload} {kind} --data FILE", "run on other data"))
        elif jobs[0] == "Prepare":  # reads the feature store, not a file
            ways.insert(0, ("mlops ingest FILE", "bring other minutes, then run again"))
        for what, why in ways:
            out.print(Text.assemble("  ", f"{what:<42}  ", (why, "bright_black")), soft_wrap=True)
    elif failed:
        out.print(f"\n`mlops report {workload} {kind}` shows the figures in full.", soft_wrap=True)
    if not failed and execution.failure_reason:
        out.print(Text(execution.failure_reason, style="red"), soft_wrap=True)


def execution_document(execution: Execution) -> dict[str, Any]:
    """An execution as `--json` gives it. Times are ISO 8601, durations seconds."""
    return {
        "arn": execution.arn,
        "pipeline": execution.pipeline,
        "status": execution.status,
        "started": execution.started.astimezone(UTC).isoformat(),
        "seconds": round(execution.seconds(), 3) if execution.finished else None,
        "failure_reason": execution.failure_reason,
        "parameters": dict(execution.parameters),
        "steps": [
            {
                "name": step.name,
                "type": step.type,
                "status": step.status,
                "seconds": None if (seconds := step.seconds()) is None else round(seconds, 3),
                "cached_from": step.cached_from,
                "failure_reason": step.failure_reason,
                "job": step.job[1] if step.job else None,
            }
            for step in execution.steps
        ],
    }
