"""Stops an execution of a pipeline before it costs more than `budget.execution_dollars` of configs/project.yml.

It is called when a step begins whose job costs money, and every quarter of an hour for those that run on:

    SageMaker Model Building Pipeline Execution Step Status Change
    Scheduled Event                     all executions that run

Each time it adds up what the execution's jobs have cost and what those that run may still cost
(`pipelines.cost.spending`), by the prices that it carries. Above the cap it tells a person, and stops the execution,
which stops its jobs. What it cannot price, it stops as well: a cap that cannot be reckoned is not kept.

The notice comes first: cut off in between, the next call tells a second time, and stops it.

Source: "Events that Amazon SageMaker AI sends to Amazon EventBridge" in the SageMaker AI Developer Guide.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from pipelines import names as n
from pipelines.carried.project import client, log, moment_of, names
from pipelines.cost import price_list
from pipelines.cost.price_list import PriceMissing
from pipelines.cost.spending import Job, Sum, sum_up

CAP_VARIABLE = "EXECUTION_DOLLARS"
# What SageMaker stops a processing job after that names no limit.
_LONGEST_PROCESSING_SECONDS = 86_400
_BUSY = ("InProgress", "Stopping")


@log.inject_lambda_context
def handler(event: dict[str, Any], _: LambdaContext) -> dict[str, str]:
    """Look at the executions that an event is about; gives what became of each, by its ARN.

    One that cannot be looked at fails the call, after the others: its fault is not theirs.
    """
    cap = float(os.environ[CAP_VARIABLE])
    outcomes: dict[str, str] = {}
    failed: list[Exception] = []
    if cap <= 0:
        return outcomes
    now = moment_of(event)
    for execution in _executions(event.get("detail") or {}):
        try:
            outcomes[execution] = _look_at(execution, cap, now)
        except Exception as error:
            log.exception("an execution cannot be looked at", extra={"execution": execution})
            failed.append(error)
    if failed:
        raise failed[0]
    return outcomes


def _executions(detail: Mapping[str, Any]) -> Iterator[str]:
    """The ARNs of the executions that an event is about: its own, or all of this project's that run."""
    pipelines = {names().pipeline(workload, kind) for workload in n.MONITORED for kind in n.KINDS}
    given = detail.get("pipelineExecutionArn")
    if given:
        if detail["pipelineArn"].rpartition("/")[2] in pipelines:
            yield given
        return
    sagemaker = client("sagemaker")
    for pipeline in sorted(pipelines):
        pages = sagemaker.get_paginator("list_pipeline_executions").paginate(
            PipelineName=pipeline, SortBy="CreationTime", SortOrder="Descending"
        )
        try:
            for page in pages:
                running = [
                    found["PipelineExecutionArn"]
                    for found in page["PipelineExecutionSummaries"]
                    if found["PipelineExecutionStatus"] == "Executing"
                ]
                yield from running
                if not running:  # the older ones have ended: an execution lives for 28 days at most
                    break
        except sagemaker.exceptions.ResourceNotFound:
            continue


def _look_at(execution: str, cap: float, now: datetime) -> str:
    """Let an execution go on, or stop it; gives `ended`, `within` or `stopped`."""
    sagemaker = client("sagemaker")
    described = sagemaker.describe_pipeline_execution(PipelineExecutionArn=execution)
    if described["PipelineExecutionStatus"] != "Executing":
        return "ended"
    jobs = list(_jobs(execution, now))
    try:
        found = sum_up(jobs, price_list.read(names().region))
    except PriceMissing as error:
        return _stop(execution, f"What it costs cannot be reckoned: {error}. It was stopped, for it has a cap.")
    figures = {"spent": round(found.spent, 4), "at_most": round(found.at_most, 4), "cap": cap}
    log.info("reckoned", extra={"execution": execution, **figures})
    if found.at_most <= cap:
        return "within"
    return _stop(execution, _message(found, jobs, cap))


def _stop(execution: str, why: str) -> str:
    pipeline = execution.split(":pipeline/")[1].partition("/")[0]
    try:
        client("sns").publish(
            TopicArn=names().notices_topic_arn,
            Subject=f"{pipeline}: execution stopped, its cap is reached"[:100],
            Message=f"{execution}\n{why}",
        )
    finally:  # that nobody hears of it is no reason to let it spend on
        client("sagemaker").stop_pipeline_execution(PipelineExecutionArn=execution)
    log.warning("stopped", extra={"execution": execution, "because": why})
    return "stopped"


def _message(found: Sum, jobs: list[Job], cap: float) -> str:
    running = ", ".join(
        f"{job.step} on {job.instance_count} x {job.instance_type}"
        + ("" if job.limit_seconds is None else f" for up to {job.limit_seconds} s")
        for job in jobs
        if job.running
    )
    return (
        f"Its jobs have cost ${found.spent:.2f}, and what runs may cost ${found.ahead:.2f} more ({running}): together "
        f"${found.at_most:.2f}, above the cap of ${cap:.2f} on an execution. It was stopped. To let such executions go "
        "on, raise `budget.execution_dollars` in configs/project.yml, or lower `max_runtime_seconds` or the machine of "
        "the step in configs/workloads."
    )


def _jobs(execution: str, now: datetime) -> Iterator[Job]:
    """The jobs of an execution that cost money. A step whose job is not there yet has an event of its own to come."""
    sagemaker = client("sagemaker")
    pages = sagemaker.get_paginator("list_pipeline_execution_steps").paginate(PipelineExecutionArn=execution)
    for page in pages:
        for step in page["PipelineExecutionSteps"]:
            if step.get("CacheHitResult") or step.get("SelectiveExecutionResult"):
                continue
            for kind, read in (
                ("ProcessingJob", _processing),
                ("TrainingJob", _training),
                ("TransformJob", _transform),
            ):
                arn = step.get("Metadata", {}).get(kind, {}).get("Arn")
                if arn:
                    yield read(step["StepName"], arn.rpartition("/")[2], now)


def _processing(step: str, name: str, now: datetime) -> Job:
    found = client("sagemaker").describe_processing_job(ProcessingJobName=name)
    cluster = found["ProcessingResources"]["ClusterConfig"]
    return Job(
        step,
        "processing",
        cluster["InstanceType"],
        cluster["InstanceCount"],
        cluster["VolumeSizeInGB"],
        _seconds(found.get("ProcessingStartTime"), found.get("ProcessingEndTime"), now),
        found["ProcessingJobStatus"] in _BUSY,
        found.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", _LONGEST_PROCESSING_SECONDS),
    )


def _training(step: str, name: str, now: datetime) -> Job:
    found = client("sagemaker").describe_training_job(TrainingJobName=name)
    resources = found["ResourceConfig"]
    seconds = found.get("BillableTimeInSeconds")
    return Job(
        step,
        "training",
        resources["InstanceType"],
        resources["InstanceCount"],
        resources["VolumeSizeInGB"],
        _seconds(found.get("TrainingStartTime"), found.get("TrainingEndTime"), now) if seconds is None else seconds,
        found["TrainingJobStatus"] in _BUSY,
        found["StoppingCondition"]["MaxRuntimeInSeconds"],
    )


def _transform(step: str, name: str, now: datetime) -> Job:
    found = client("sagemaker").describe_transform_job(TransformJobName=name)
    resources = found["TransformResources"]
    return Job(
        step,
        "transform",
        resources["InstanceType"],
        resources["InstanceCount"],
        0,
        _seconds(found.get("TransformStartTime"), found.get("TransformEndTime"), now),
        found["TransformJobStatus"] in _BUSY,
        None,
    )


def _seconds(start: datetime | None, end: datetime | None, now: datetime) -> float:
    """How long a job has had its machines; 0 before it has. `now` may lie before its start: it is the event's."""
    return 0.0 if start is None else max(0.0, ((end or now) - start).total_seconds())
