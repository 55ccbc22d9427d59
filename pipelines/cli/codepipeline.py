"""What the verbs that follow a CodePipeline have in common: one line for each action as it ends."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console
from rich.text import Text

from pipelines import codepipelines
from pipelines.cli import show
from pipelines.cli.context import Context
from pipelines.codepipelines import RUNNING, Action, Run
from pipelines.errors import ServiceError
from pipelines.report.format import duration
from pipelines.session import client

__all__ = ["begun", "follow", "tell_action"]

_MARKS = {"Succeeded": "good", "Failed": "bad", RUNNING: "busy"}
_BEGIN_SECONDS, _LOOK_SECONDS = 120.0, 0.1


def begun(out: Console, find: Callable[[], str | None], what: str) -> str:
    """The execution that an event has started, as soon as `find` finds it. Raises ServiceError when none comes.

    what: what is waited for, in words.
    """
    deadline = time.monotonic() + _BEGIN_SECONDS
    with out.status(f"waiting for {what}", spinner="dots"):
        while time.monotonic() < deadline:
            execution = find()
            if execution is not None:
                return execution
            time.sleep(_LOOK_SECONDS)
    raise ServiceError(f"{what} has not begun within {_BEGIN_SECONDS:.0f} s; `mlops logs changes` may say why")


def follow(out: Console, context: Context, pipeline: str, execution: str, before: Run | None = None) -> Run:
    """Follow an execution until it has ended or waits for a person, and tell each action that has ended.

    before: how far it was when it was followed last.
    """
    ended = before.actions if before is not None else ()
    told = {(action.stage, action.name) for action in ended if action.status != RUNNING}
    codepipeline = client(context.session, "codepipeline")
    with out.status(pipeline, spinner="dots") as status:
        for run in codepipelines.watch(codepipeline, pipeline, execution, time.sleep):
            for action in run.actions:
                if action.status == RUNNING:
                    status.update(f"{pipeline}: {action.stage} / {action.name}")
                elif (action.stage, action.name) not in told:
                    told.add((action.stage, action.name))
                    tell_action(out, action)
    if run.status not in (RUNNING, "Succeeded"):
        out.print(Text(f"{pipeline} is {run.status}{f': {run.reason}' if run.reason else ''}", "red"), soft_wrap=True)
    return run


def tell_action(out: Console, action: Action) -> None:
    """One line of an action; of one that failed, with its reason and where its log is."""
    line = f" {action.stage:<10} {action.name:<14} {duration(action.seconds):>8}"
    out.print(Text.assemble(show.mark(_MARKS.get(action.status, "idle")), line), soft_wrap=True)
    if action.status == "Failed":
        out.print(Text(f"    {action.said or 'no reason was given'}", "red"), soft_wrap=True)
        if action.url:
            out.print(Text(f"    {action.url}", "bright_black"), soft_wrap=True)
