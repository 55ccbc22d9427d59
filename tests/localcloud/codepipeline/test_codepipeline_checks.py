"""Which pipelines can be, and what is said of those that cannot."""

from __future__ import annotations

import json
from typing import Any

import pytest

from localcloud.codepipeline import checks
from localcloud.errors import ServiceError
from tests.declared_pipelines import action, approval, build, connected, pipeline, source, stage

REGION = "eu-west-1"
STRUCTURE, ACTION, STAGE = (
    "InvalidStructureException",
    "InvalidActionDeclarationException",
    "InvalidStageDeclarationException",
)
VARIABLES = [{"name": "Reason", "defaultValue": "none"}, {"name": "Version"}]


def environment(value: str) -> dict[str, str]:
    return {"EnvironmentVariables": json.dumps([{"name": "A", "value": value}])}


def stack(mode: str = "CREATE_UPDATE", **configuration: str) -> dict[str, Any]:
    given = {"ActionMode": mode, "StackName": "s", **configuration}
    return action("Deploy", "CloudFormation", "Deploy", configuration=given, inputs=["Source"])


def test_a_whole_one() -> None:
    template = {"TemplatePath": "Built::t.yml", "RoleArn": "arn:aws:iam::123456789012:role/r"}
    document = pipeline(
        stage("Source", source(namespace="Source")),
        stage(
            "Build",
            build("First", outputs=["Built"], namespace="Built", configuration=environment("#{Source.CommitId}")),
            build(
                "Second", category="Test", inputs=["Source", "Built"], runOrder=2,
                configuration={"PrimarySource": "Built", **environment("#{Built.X} #{variables.Reason}")},
            ),
        ),
        stage("Approve", approval(timeoutInMinutes=60, configuration={"ExternalEntityLink": "#{Built.REPORT}"})),
        stage(
            "Deploy",
            action(
                "Deploy", "CloudFormation", "Stack", inputs=["Built"], outputs=["Outputs"],
                configuration={**template, "ActionMode": "CREATE_UPDATE", "StackName": "s", "OutputFileName": "o.json"},
            ),
            action(
                "Invoke", "Lambda", "Guard", runOrder=2,
                configuration={"FunctionName": "f", "UserParameters": "#{codepipeline.PipelineExecutionId}"},
            ),
        ),
        variables=VARIABLES,
        executionMode="QUEUED",
    )  # fmt: skip
    found = checks.checked(document, REGION)
    assert [[one.name for one in group] for group in found.stages[1].groups()] == [["First"], ["Second"]]
    assert found.variables == {"Reason": "none", "Version": None}
    assert found.mode == "QUEUED"


@pytest.mark.parametrize(
    ("document", "code", "told"),
    [
        (pipeline(stage("Source", source())), STRUCTURE, "minimum of 2"),
        (pipeline(stage("A", source()), stage("A", build())), STRUCTURE, "'A' has been used more than once"),
        (pipeline(stage("A", source(), build()), stage("B", build())), STRUCTURE, "only contains source actions"),
        (pipeline(stage("A", source()), stage("B", source("Two"))), STRUCTURE, "Only the first stage"),
        (pipeline(stage("A", source()), stage("B")), STAGE, "has no actions"),
        (pipeline(stage("A", source()), stage("B", build(), build())), STAGE, "'Build' has been used more than once"),
        (
            pipeline(stage("A", source()), stage("B", build(), onFailure={"result": "ROLLBACK"})),
            STAGE,
            "localcloud honours no onFailure; stage 'B'",
        ),
        (pipeline(artifactStore=None), STRUCTURE, "Exactly one of artifactStore"),
        (
            pipeline(stage("A", source()), stage("B", build(inputs=["Other"]))),
            STRUCTURE,
            "Bundle Other in action Build",
        ),
        (
            pipeline(stage("A", source()), stage("B", build(outputs=["X"]), build("Two", inputs=["X"]))),
            STRUCTURE,
            "Bundle X in action Two is not the output of an action that runs before it",
        ),
        (
            pipeline(stage("A", source()), stage("B", build(outputs=["X"]), build("Two", outputs=["X"]))),
            STRUCTURE,
            "X has been used more than once",
        ),
        (
            pipeline(stage("A", source()), stage("B", action("Deploy", "ECS", "Two", inputs=["Source"]))),
            ACTION,
            "Provider: 'ECS'",
        ),
        (
            pipeline(stage("A", source(configuration={"PollForSourceChanges": "true"})), stage("B", build())),
            ACTION,
            "PollForSourceChanges only as false; got 'true'",
        ),
        (pipeline(stage("A", source(outputs=[])), stage("B", approval())), ACTION, "declares 0 output artifacts"),
        (
            pipeline(stage("A", source()), stage("B", build(configuration={"Nope": "x"}))),
            ACTION,
            "unknown configuration 'Nope'",
        ),
        (
            pipeline(stage("A", source()), stage("B", build(configuration={"BatchEnabled": "true"}))),
            ACTION,
            "BatchEnabled only as false",
        ),
        (
            pipeline(stage("A", source(), source("Two")), stage("B", build(inputs=["Source", "Two"]))),
            ACTION,
            "'PrimarySource'",
        ),
        (
            pipeline(stage("A", source()), stage("B", build(configuration={"EnvironmentVariables": "[{}]"}))),
            ACTION,
            "must be a list of objects with name, value and type",
        ),
        (pipeline(stage("A", source()), stage("B", build(timeoutInMinutes=5))), ACTION, "manual approvals only"),
        (pipeline(stage("A", source()), stage("B", build(region="us-east-1"))), ACTION, "not eu-west-1"),
        (pipeline(stage("A", source()), stage("B", stack())), ACTION, "missing required configuration 'RoleArn'"),
        (
            pipeline(stage("A", source()), stage("B", stack("REPLACE_ON_FAILURE"))),
            ACTION,
            "ActionMode only as CREATE_UPDATE",
        ),
        (
            pipeline(stage("A", source()), stage("B", stack(TemplatePath="t.yml", RoleArn="r"))),
            ACTION,
            "two colons and a path",
        ),
        (
            pipeline(stage("A", source()), stage("B", build(configuration=environment("#{Nope.X}")))),
            ACTION,
            "ActionConfigurationKey=[EnvironmentVariables], VariableReferenceText=[#{Nope.X}]",
        ),
        (
            pipeline(stage("A", source()), stage("B", build(configuration=environment("#{nothing}")))),
            ACTION,
            "separated by a period",
        ),
        (
            pipeline(
                stage("A", source()),
                stage("B", build(namespace="N"), build("Two", configuration=environment("#{N.X}"))),
            ),
            ACTION,
            "does not exist",
        ),
        (pipeline(stage("A", source(namespace="variables")), stage("B", build())), ACTION, "is reserved"),
        (
            pipeline(stage("A", source(namespace="N")), stage("B", build(namespace="N"))),
            ACTION,
            "Namespace must be unique",
        ),
        (pipeline(pipelineType="V1", variables=VARIABLES), "ValidationException", "V1, which has no variables"),
        (
            pipeline(triggers=[{"providerType": "X", "gitConfiguration": {"sourceActionName": "Source"}}]),
            "ValidationException",
            "is no source action with the provider CodeStarSourceConnection",
        ),
        (
            pipeline(
                stage("A", connected()),
                stage("B", build()),
                triggers=[{"gitConfiguration": {"sourceActionName": "Source", "pullRequest": [{"events": ["OPEN"]}]}}],
            ),
            "ValidationException",
            "no pull requests",
        ),
        (
            pipeline(
                stage("A", connected()),
                stage("B", build()),
                triggers=[
                    {"gitConfiguration": {"sourceActionName": "Source", "push": [{"filePaths": {"includes": ["a"]}}]}}
                ],
            ),
            "ValidationException",
            "has filePaths; it may have tags, branches, or branches and filePaths",
        ),
    ],
)
def test_what_cannot_be(document: dict[str, Any], code: str, told: str) -> None:
    with pytest.raises(ServiceError) as raised:
        checks.checked(document, REGION)
    assert (raised.value.code, told in raised.value.message) == (code, True), raised.value.message
