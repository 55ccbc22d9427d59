"""Bringing a project to rest, so that nothing makes anew what is being deleted: schedules and rules first, then what
runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

from botocore.exceptions import ClientError

from pipelines.names import BUILD_PROJECTS, CODE_PIPELINES, KINDS
from pipelines.projects.reading import Stack
from pipelines.projects.things import WORKLOADS, Account, is_absent, unless_absent

__all__ = ["halt"]

_LONGEST_SECONDS = 600.0
_RUNNING = ("Executing", "Stopping")
_NEWEST = 100
# Of a schedule's description, what UpdateSchedule takes.
_OF_SCHEDULE = (
    "Name",
    "GroupName",
    "Description",
    "ScheduleExpression",
    "ScheduleExpressionTimezone",
    "StartDate",
    "EndDate",
    "FlexibleTimeWindow",
    "Target",
    "KmsKeyArn",
    "ActionAfterCompletion",
)


def halt(account: Account, stacks: list[Stack], tell: Callable[[str], None]) -> list[str]:
    """Disable what starts work, and stop the work; gives what was done. Waits until executions have ended."""
    done: list[str] = []
    for stack in stacks:
        tell(f"disabling the schedules and rules of {stack.name}")
        done += _disable(account, stack)
    tell("stopping what runs")
    done += [f"stopped the run {name}" for name in _stop_code_pipelines(account)]
    done += [f"stopped the build {build}" for build in _stop_builds(account)]
    stopped = list(_stop_executions(account))
    done += [f"stopped the execution {execution.rpartition('/')[2]}" for execution in stopped]
    _wait(account, stopped, tell)
    return done


def _disable(account: Account, stack: Stack) -> Iterator[str]:
    for found in account.pages("cloudformation", "list_stack_resources", "StackResourceSummaries", StackName=stack.id):
        name = found.get("PhysicalResourceId")
        if not name:
            continue
        with unless_absent():
            if found["ResourceType"] == "AWS::Events::Rule" and _disable_rule(account, name):
                yield f"disabled the rule {name}"
            elif found["ResourceType"] == "AWS::Scheduler::Schedule" and _disable_schedule(account, name):
                yield f"disabled the schedule {name}"


def _disable_rule(account: Account, physical_id: str) -> bool:
    """physical_id: a rule's name, after its bus and a `|` where that is not the account's own."""
    events = account.client("events")
    bus, _, name = physical_id.rpartition("|")
    where = {"EventBusName": bus} if bus else {}
    if events.describe_rule(Name=name, **where)["State"] == "DISABLED":
        return False
    events.disable_rule(Name=name, **where)
    return True


def _disable_schedule(account: Account, name: str) -> bool:
    scheduler = account.client("scheduler")
    schedule: dict[str, Any] = scheduler.get_schedule(Name=name)
    if schedule["State"] == "DISABLED":
        return False
    scheduler.update_schedule(**{key: schedule[key] for key in _OF_SCHEDULE if key in schedule}, State="DISABLED")
    return True


def _stop_code_pipelines(account: Account) -> Iterator[str]:
    codepipeline = account.client("codepipeline")
    for name in (account.names.code_pipeline(workload, kind) for workload in WORKLOADS for kind in CODE_PIPELINES):
        with unless_absent():
            listed = codepipeline.list_pipeline_executions(pipelineName=name, maxResults=_NEWEST)
            for found in listed["pipelineExecutionSummaries"]:
                if found["status"] != "InProgress":
                    continue
                with suppress(codepipeline.exceptions.PipelineExecutionNotStoppableException):
                    codepipeline.stop_pipeline_execution(
                        pipelineName=name,
                        pipelineExecutionId=found["pipelineExecutionId"],
                        abandon=True,
                        reason="the project is being destroyed",
                    )
                    yield f"{name} {found['pipelineExecutionId']}"


def _stop_builds(account: Account) -> Iterator[str]:
    codebuild = account.client("codebuild")
    for name in (account.names.build_project(project) for project in dict.fromkeys(BUILD_PROJECTS)):
        ids = list(islice(account.pages("codebuild", "list_builds_for_project", "ids", projectName=name), _NEWEST))
        if not ids:
            continue
        for build in codebuild.batch_get_builds(ids=ids)["builds"]:
            if build["buildStatus"] == "IN_PROGRESS":
                codebuild.stop_build(id=build["id"])
                yield str(build["id"])


def _stop_executions(account: Account) -> Iterator[str]:
    """SageMaker's executions that run, each told to stop."""
    sagemaker = account.client("sagemaker")
    for name in (account.names.pipeline(workload, kind) for workload in WORKLOADS for kind in KINDS):
        for found in account.pages(
            "sagemaker", "list_pipeline_executions", "PipelineExecutionSummaries", PipelineName=name
        ):
            if found["PipelineExecutionStatus"] not in _RUNNING:
                continue
            arn = str(found["PipelineExecutionArn"])
            try:
                sagemaker.stop_pipeline_execution(
                    PipelineExecutionArn=arn, ClientRequestToken=f"destroy-{arn[-64:]:0>32}"
                )
            except ClientError as error:  # has ended, or stops already
                if not is_absent(error) and not error.response["Error"]["Code"].startswith("Validation"):
                    raise
            yield arn


def _wait(account: Account, executions: list[str], tell: Callable[[str], None]) -> None:
    """Until executions have ended; what has not within ten minutes is left to the deletion to name."""
    sagemaker = account.client("sagemaker")
    deadline = time.monotonic() + _LONGEST_SECONDS
    for arn in executions:
        tell(f"waiting for the execution {arn.rpartition('/')[2]} to stop")
        while time.monotonic() < deadline:
            status = sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)["PipelineExecutionStatus"]
            if status not in _RUNNING:
                break
            time.sleep(account.poll_seconds)
