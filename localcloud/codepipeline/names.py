"""What a call of CodePipeline is about, in IAM's terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_OF_STAGE = frozenset({"DisableStageTransition", "EnableStageTransition", "RetryStageExecution"})


def in_policies(operation: str, params: Mapping[str, Any]) -> list[str]:
    """The last parts of the ARNs that a policy names: a pipeline's name, with stage and action where the call is about
    them. A call about a job names none. Source: "Actions, resources, and condition keys for AWS CodePipeline" (Service
    Authorization Reference)."""
    declared = params.get("pipeline")
    if params.get("resourceArn"):
        return [str(params["resourceArn"]).split(":", 5)[-1]]
    name = declared.get("name") if isinstance(declared, Mapping) else params.get("pipelineName") or params.get("name")
    if not name:
        return []
    if operation in _OF_STAGE:
        return [f"{name}/{params.get('stageName')}"]
    if operation == "PutApprovalResult":
        return [f"{name}/{params.get('stageName')}/{params.get('actionName')}"]
    return [str(name)]
