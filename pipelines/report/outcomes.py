"""What became of steps that call a function or wait for an answer, which SageMaker alone cannot tell.

From its second step on, a deploy pipeline has no step that fails: a step that could not do its work says `Failed` in
its output `Status`, with the `Reason`, and those after it pass both on without doing theirs
(`pipelines/deploy/pipeline.py`). SageMaker calls all of them succeeded. Here they read as what they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pipelines.executions import Execution, StepRun
from pipelines.graph import Graph
from pipelines.report.documents import mapping, records

__all__ = ["NOT_DONE", "called", "outputs", "understood"]

NOT_DONE = "Not done"
"""The status of a step that passed on what failed before it."""


def outputs(step: StepRun) -> dict[str, str]:
    """What a Lambda or Callback step gave, by name, in order; nothing for other steps."""
    given = [output for kind in ("Lambda", "Callback") for output in records(_of(step, kind).get("OutputParameters"))]
    return {str(output.get("Name", "")): str(output.get("Value", "")) for output in given}


def called(step: StepRun) -> tuple[str, str] | None:
    """(what, its name) of whom a step called: `("Function", …)` or `("Queue", …)`; None for other steps."""
    function, queue = _of(step, "Lambda").get("Arn"), _of(step, "Callback").get("SqsQueueUrl")
    if function:
        return "Function", str(function).rpartition(":")[2]
    return ("Queue", str(queue).rpartition("/")[2]) if queue else None


def understood(execution: Execution) -> Execution:
    """The execution with every step that said it failed as failed, with its reason, and those that passed this on as
    not done.
    """
    reasons = {
        step.name: said.get("Reason", "")
        for step in execution.steps
        if step.status == "Succeeded" and (said := outputs(step)).get("Status", "Ok") != "Ok"
    }
    if not reasons:
        return execution
    before = _before(execution.graph)

    def seen(step: StepRun) -> StepRun:
        if step.name not in reasons:
            return step
        passed_on = any(reasons[step.name] == reasons.get(other) for other in before.get(step.name, ()))
        if passed_on:
            return replace(step, status=NOT_DONE)
        return replace(step, status="Failed", failure_reason=reasons[step.name] or None)

    return replace(execution, steps=tuple(map(seen, execution.steps)))


def _before(graph: Graph) -> dict[str, set[str]]:
    """The steps that each waits for, and those that they wait for."""
    found: dict[str, set[str]] = {name: set() for name in graph.names}
    for name in graph.names:  # in an order in which every step stands after those that it waits for
        for edge in graph.edges:
            if edge.target == name:
                found[name] |= {edge.source} | found[edge.source]
    return found


def _of(step: StepRun, kind: str) -> Mapping[str, object]:
    return mapping(step.metadata.get(kind))
