"""The CodePipelines that deploy: an approval starts one, which waits for a person before production.

The package that an execution is about is its variable `ModelPackageArn`. Source: "CodePipeline pipeline structure
reference" and "PutApprovalResult" in the CodePipeline documentation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipelines.names import DEPLOY, MODEL_PACKAGE_ARN, PACKAGE_VERSION, Names

__all__ = ["APPROVAL", "PROD", "Decision", "Standing", "answer", "decided_by", "standing", "start"]

# Stages and actions, as template/project.yml names them.
APPROVAL, PROD, APPROVE = "Approval", "Prod", "Approve"
_RUNNING = "InProgress"
_LONGEST_SUMMARY = 512


@dataclass(frozen=True)
class Standing:
    """An execution about a package that has not ended.

    Attributes:
        execution: its id.
        stage: which it is in; empty while it waits before one.
        token: of the approval that it waits for.
        ahead: of the approval that another execution waits for, which keeps this one from its own.
    """

    execution: str
    stage: str
    token: str | None = None
    ahead: str | None = None


@dataclass(frozen=True)
class Decision:
    """Who gave an approval in CodePipeline (an ARN, as far as it is known), what they wrote, and when (aware)."""

    who: str
    why: str
    at: datetime


def start(codepipeline: Any, names: Names, workload: str, package: str, *, token: str) -> str:
    """Start a workload's deploy pipeline with a package; gives the execution's id. token: makes the call idempotent."""
    started = codepipeline.start_pipeline_execution(
        name=names.code_pipeline(workload, DEPLOY),
        variables=[
            {"name": MODEL_PACKAGE_ARN, "value": package},
            {"name": PACKAGE_VERSION, "value": package.rpartition("/")[2]},
        ],
        clientRequestToken=hashlib.sha256(token.encode()).hexdigest(),
    )
    return str(started["pipelineExecutionId"])


def standing(codepipeline: Any, names: Names, workload: str, package: str) -> Standing | None:
    """Where the execution about a package is, also one that waits behind another; None when none is under way."""
    pipeline = names.code_pipeline(workload, DEPLOY)
    stages = codepipeline.get_pipeline_state(name=pipeline)["stageStates"]
    for execution in _running(codepipeline, pipeline):
        described = codepipeline.get_pipeline_execution(pipelineName=pipeline, pipelineExecutionId=execution)
        variables = {one["name"]: one["resolvedValue"] for one in described["pipelineExecution"].get("variables", [])}
        if variables.get(MODEL_PACKAGE_ARN) != package:
            continue
        for stage in stages:
            latest = stage.get("latestExecution", {})
            if (latest.get("pipelineExecutionId"), latest.get("status")) == (execution, _RUNNING):
                return Standing(execution, stage["stageName"], _token(stage))
        behind = [stage for stage in stages if _waits_before(stage, execution)]
        return Standing(execution, "", ahead=_token(behind[0]) if behind else None)
    return None


def answer(codepipeline: Any, names: Names, workload: str, token: str, *, approved: bool, summary: str) -> bool:
    """Give a waiting approval its result; False when somebody else has given it meanwhile."""
    errors = codepipeline.exceptions
    try:
        codepipeline.put_approval_result(
            pipelineName=names.code_pipeline(workload, DEPLOY),
            stageName=APPROVAL,
            actionName=APPROVE,
            token=token,
            result={"status": "Approved" if approved else "Rejected", "summary": summary[:_LONGEST_SUMMARY]},
        )
    except (errors.ApprovalAlreadyCompletedException, errors.InvalidApprovalTokenException):
        return False
    return True


def decided_by(codepipeline: Any, pipeline: str, execution: str) -> Decision:
    """How an execution's approval came about. Raises LookupError when it had none."""
    found = codepipeline.list_action_executions(pipelineName=pipeline, filter={"pipelineExecutionId": execution})
    for action in found["actionExecutionDetails"]:
        if action["actionName"] == APPROVE:
            result = action.get("output", {}).get("executionResult", {})
            summary = str(result.get("externalExecutionSummary", ""))
            return Decision(str(action.get("updatedBy", "")), summary, action["lastUpdateTime"])
    raise LookupError(f"the execution {execution} of {pipeline} has no action {APPROVE}")


def _running(codepipeline: Any, pipeline: str) -> Iterator[str]:
    """The newest first."""
    for page in codepipeline.get_paginator("list_pipeline_executions").paginate(pipelineName=pipeline):
        for summary in page["pipelineExecutionSummaries"]:
            if summary["status"] == _RUNNING:
                yield summary["pipelineExecutionId"]


def _waits_before(stage: dict[str, Any], execution: str) -> bool:
    return any(one["pipelineExecutionId"] == execution for one in stage.get("inboundExecutions", []))


def _token(stage: dict[str, Any]) -> str | None:
    for action in stage.get("actionStates", []):
        latest = action.get("latestExecution", {})
        if stage["stageName"] == APPROVAL and latest.get("status") == _RUNNING:
            token: str | None = latest.get("token")
            return token
    return None
