"""CodePipeline's calls in IAM's terms."""

from __future__ import annotations

from typing import Any

import pytest

from localcloud.actions import Actions

ROLE = "arn:aws:iam::123456789012:role/r"
ARN = "arn:aws:codepipeline:eu-west-1:123456789012:{}"


@pytest.mark.parametrize(
    ("operation", "params", "resource"),
    [
        ("StartPipelineExecution", {"name": "p"}, ARN.format("p")),
        ("GetPipelineState", {"name": "p"}, ARN.format("p")),
        ("StopPipelineExecution", {"pipelineName": "p", "pipelineExecutionId": "e"}, ARN.format("p")),
        ("RetryStageExecution", {"pipelineName": "p", "stageName": "s"}, ARN.format("p/s")),
        ("DisableStageTransition", {"pipelineName": "p", "stageName": "s"}, ARN.format("p/s")),
        ("PutApprovalResult", {"pipelineName": "p", "stageName": "s", "actionName": "a"}, ARN.format("p/s/a")),
        ("TagResource", {"resourceArn": ARN.format("p")}, ARN.format("p")),
        ("PutJobSuccessResult", {"jobId": "j"}, "*"),
        ("ListPipelines", {}, "*"),
    ],
)
def test_what_a_call_is_about(operation: str, params: dict[str, Any], resource: str) -> None:
    found = list(Actions("eu-west-1", "123456789012").of("codepipeline", operation, params))
    assert found == [(f"codepipeline:{operation}", resource)]


def test_roles_are_passed_to_pipelines() -> None:
    configuration = {"RoleArn": "arn:aws:iam::123456789012:role/of-the-stack"}
    action = {"name": "a", "configuration": configuration, "roleArn": f"{ROLE}2"}
    declared = {"name": "p", "roleArn": ROLE, "stages": [{"name": "s", "actions": [action]}]}
    found = list(Actions("eu-west-1", "123456789012").of("codepipeline", "CreatePipeline", {"pipeline": declared}))
    assert found == [
        ("codepipeline:CreatePipeline", ARN.format("p")),
        ("iam:PassRole", ROLE),
        ("iam:PassRole", f"{ROLE}2"),
    ]
