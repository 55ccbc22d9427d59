"""What the verbs that deploy have in common: bringing a stage's pipeline, and following what an event has started."""

from __future__ import annotations

import time
import uuid
from typing import Any

from rich.console import Console
from rich.text import Text

from pipelines import definitions, deployment, images, stages
from pipelines.cli.context import Context
from pipelines.cli.run import tracking_uri, tree, watched
from pipelines.deploy.functions.start import start
from pipelines.errors import ServiceError
from pipelines.executions import Execution
from pipelines.monitor.functions.start import KIND as MONITOR
from pipelines.names import DEPLOY_KINDS
from pipelines.session import client

_LONGEST_SECONDS = 60.0


def bring_pipelines(out: Console, context: Context, workload: str) -> None:
    """Make the deploy pipelines of a workload those of the working tree, and the monitor pipeline, by which what they
    bring is looked after; with the image that this runs.
    """
    requests = [
        definitions.request(workload, kind, context.configuration, context.root) for kind in DEPLOY_KINDS.values()
    ]
    image, monitoring = tree(context, workload, MONITOR)
    images.register(context.session, context.names, image)
    for request in (*requests, monitoring):
        became = deployment.upsert(context.session, request)
        if became != "unchanged":
            out.print(Text(f"pipeline {request['PipelineName']} {became}", "bright_black"), soft_wrap=True)


def deployments(context: Context, workload: str, stage: str) -> frozenset[str]:
    """The ARNs of the last deployments to a stage, by which the one that a decision starts is told from them: this
    machine's clock and the account's are two.
    """
    return frozenset(str(summary["PipelineExecutionArn"]) for summary in _last(context, workload, stage))


def follow_started(
    out: Console, context: Context, workload: str, stage: str, version: int, before: frozenset[str]
) -> Execution:
    """Follow the execution that a decision starts by its event. before: the `deployments` when it was taken.

    Raises ServiceError when none begins within a minute.
    """
    with out.status(f"waiting for the deployment to {stage}", spinner="dots"):
        arn = _started(context, workload, stage, version, before)
    return follow(out, context, workload, stage, arn)


def begin(out: Console, context: Context, workload: str, stage: str, package: str, why: str) -> str:
    """Start the deployment of a package to a stage by hand; gives the execution's ARN."""
    uri = tracking_uri()  # what is missing should change nothing in the account
    bring_pipelines(out, context, workload)
    sagemaker = client(context.session, "sagemaker")
    token = uuid.uuid4().hex
    return start(sagemaker, context.names, workload, stage, package, tracking_uri=uri, token=token, why=why)


def follow(out: Console, context: Context, workload: str, stage: str, arn: str) -> Execution:
    """Follow a deployment to its end, and tell what the stage serves then."""
    execution = watched(out, context, arn, workload, DEPLOY_KINDS[stage])
    now = stages.serving(client(context.session, "ssm"), context.names, workload, stage)
    if now is not None:
        out.print(f"{stage} serves version {now.version} of {workload}, at the endpoint {now.endpoint}", soft_wrap=True)
    else:
        out.print(f"{stage} serves no version of {workload}", soft_wrap=True)
    return execution


def _last(context: Context, workload: str, stage: str) -> list[dict[str, Any]]:
    sagemaker: Any = client(context.session, "sagemaker")
    pipeline = context.names.pipeline(workload, DEPLOY_KINDS[stage])
    listed = sagemaker.list_pipeline_executions(PipelineName=pipeline, SortBy="CreationTime", MaxResults=10)
    return list(listed["PipelineExecutionSummaries"])


def _started(context: Context, workload: str, stage: str, version: int, before: frozenset[str]) -> str:
    deadline = time.monotonic() + _LONGEST_SECONDS
    while time.monotonic() < deadline:
        for summary in _last(context, workload, stage):
            named = summary.get("PipelineExecutionDisplayName") == f"version-{version}"
            if named and summary["PipelineExecutionArn"] not in before:
                return str(summary["PipelineExecutionArn"])
        time.sleep(0.1)
    raise ServiceError(
        f"no deployment of version {version} to {stage} has begun within {_LONGEST_SECONDS:.0f} s of the decision; "
        f"`mlops logs approvals` says why, `mlops deploy {version} --stage {stage}` deploys it without an "
        "event"
    )
