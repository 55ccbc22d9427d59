"""What CodePipeline is doing for a project: its executions, action by action. Nothing here changes anything.

Source: "ListActionExecutions" and "ListPipelineExecutions" in the CodePipeline API Reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipelines.carried.delivery import APPROVE

__all__ = ["Action", "Run", "latest", "of_commit", "of_package", "read", "watch"]

ENDED = ("Succeeded", "Failed", "Stopped", "Superseded", "Cancelled")
RUNNING = "InProgress"


@dataclass(frozen=True)
class Action:
    """One action of an execution. Times are aware; `ended` is None while it runs."""

    stage: str
    name: str
    status: str
    started: datetime
    ended: datetime | None
    said: str
    """What it says of itself, or why it failed."""
    url: str | None
    """Where its work is looked at: a build's log, say."""
    variables: dict[str, str]

    @property
    def seconds(self) -> float | None:
        return None if self.ended is None else (self.ended - self.started).total_seconds()


@dataclass(frozen=True)
class Run:
    """An execution of a CodePipeline, with the actions that it has come to, in the order in which they began."""

    pipeline: str
    id: str
    status: str
    reason: str
    actions: tuple[Action, ...]

    @property
    def waits(self) -> Action | None:
        """The approval that it waits for."""
        return next((one for one in self.actions if one.name == APPROVE and one.status == RUNNING), None)

    @property
    def failed(self) -> tuple[Action, ...]:
        return tuple(action for action in self.actions if action.status == "Failed")

    def variable(self, name: str) -> str | None:
        """What an action gave out under a name; the last one that did."""
        return next((one.variables[name] for one in reversed(self.actions) if name in one.variables), None)


def read(codepipeline: Any, pipeline: str, execution: str) -> Run:
    """An execution as it is now. Raises botocore's ClientError where there is none."""
    described = codepipeline.get_pipeline_execution(pipelineName=pipeline, pipelineExecutionId=execution)
    pages = codepipeline.get_paginator("list_action_executions").paginate(
        pipelineName=pipeline, filter={"pipelineExecutionId": execution}
    )
    details = [detail for page in pages for detail in page["actionExecutionDetails"]]
    actions = sorted((_action(detail) for detail in details), key=lambda action: action.started)
    found = described["pipelineExecution"]
    return Run(pipeline, execution, found["status"], found.get("statusSummary", ""), tuple(actions))


def watch(
    codepipeline: Any, pipeline: str, execution: str, pause: Callable[[float], None], *, seconds_between: float = 0.25
) -> Iterator[Run]:
    """An execution again and again, until it has ended, or waits for a person."""
    while True:
        run = read(codepipeline, pipeline, execution)
        yield run
        if run.status in ENDED or run.waits is not None:
            return
        pause(seconds_between)


def latest(codepipeline: Any, pipeline: str) -> str | None:
    """The newest execution's id; None where there was none, or no such pipeline."""
    return next(_ids(codepipeline, pipeline, lambda _: True), None)


def of_commit(codepipeline: Any, pipeline: str, commit: str) -> str | None:
    """The newest execution that builds a commit."""

    def builds(summary: dict[str, Any]) -> bool:
        return any(one.get("revisionId") == commit for one in summary.get("sourceRevisions", []))

    return next(_ids(codepipeline, pipeline, builds), None)


def of_package(codepipeline: Any, pipeline: str, package: str, variable: str) -> str | None:
    """The newest execution whose variable of that name is a model package's ARN."""

    def concerns(summary: dict[str, Any]) -> bool:
        described = codepipeline.get_pipeline_execution(
            pipelineName=pipeline, pipelineExecutionId=summary["pipelineExecutionId"]
        )
        variables = described["pipelineExecution"].get("variables", [])
        return any((one["name"], one["resolvedValue"]) == (variable, package) for one in variables)

    return next(_ids(codepipeline, pipeline, concerns), None)


def _ids(codepipeline: Any, pipeline: str, wanted: Callable[[dict[str, Any]], bool]) -> Iterator[str]:
    try:
        for page in codepipeline.get_paginator("list_pipeline_executions").paginate(pipelineName=pipeline):
            for summary in page["pipelineExecutionSummaries"]:
                if wanted(summary):
                    yield summary["pipelineExecutionId"]
    except codepipeline.exceptions.PipelineNotFoundException:
        return


def _action(detail: dict[str, Any]) -> Action:
    output = detail.get("output", {})
    result = output.get("executionResult", {})
    wrong = result.get("errorDetails", {}).get("message")
    ended = detail["status"] != RUNNING
    return Action(
        stage=detail["stageName"],
        name=detail["actionName"],
        status=detail["status"],
        started=detail["startTime"],
        ended=detail["lastUpdateTime"] if ended else None,
        said=wrong or result.get("externalExecutionSummary", ""),
        url=result.get("externalExecutionUrl"),
        variables=dict(output.get("outputVariables", {})),
    )
