"""CodePipeline: pipelines and their executions, with real sources, builds, approvals, functions and stacks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.codebuild_account import Workshop
from tests.contract.codepipeline_account import Pipelines, heard, listen
from tests.contract.conftest import Cloud, Running
from tests.contract.lambda_account import Functions
from tests.contract.sagemaker_account import Account, error_of, until
from tests.contract.stacks import Stacks
from tests.declared_pipelines import action, approval, build, connected, source, stage
from tests.roles import make_role
from tests.working_copy import WorkingCopy

GUARD = """
import boto3, json

def handler(event, context):
    job = event["CodePipeline.job"]
    asked = json.loads(job["data"]["actionConfiguration"]["configuration"]["UserParameters"])
    client = boto3.client("codepipeline")
    if asked["do"] == "fail":
        details = {"type": "JobFailed", "message": "not approved any more"}
        client.put_job_failure_result(jobId=job["id"], failureDetails=details)
    elif asked["do"] == "continue" and "continuationToken" not in job["data"]:
        client.put_job_success_result(jobId=job["id"], continuationToken="more")
    else:
        variables = {"Said": asked["reason"], "Token": job["data"].get("continuationToken", "none")}
        client.put_job_success_result(jobId=job["id"], outputVariables=variables)
"""

BUILDSPEC = """
version: 0.2
env: {exported-variables: [REPORT_URL]}
phases:
  build:
    commands:
      - export REPORT_URL="https://report/$COMMIT/$CODEBUILD_INITIATOR"
      - test "$(cat a.txt)" = a
      - echo "$REASON" > made.txt
artifacts: {files: [made.txt]}
"""


@pytest.fixture(scope="module")
def account(cloud: Any) -> Account:
    """The account under test."""
    return Account.of(cloud)


@pytest.fixture(scope="module")
def pipelines(account: Account) -> Iterator[Pipelines]:
    found = Pipelines(account)
    yield found
    found.close()


@pytest.fixture(scope="module")
def workshop(account: Account) -> Iterator[Workshop]:
    found = Workshop(account)
    yield found
    found.close()


@pytest.fixture(scope="module")
def functions(cloud: Cloud) -> Functions:
    return Functions(cloud.client, cloud.role_arn)


def invoke(function: str, **asked: str) -> dict[str, Any]:
    asked.setdefault("reason", "#{variables.Reason}")
    configuration = {"FunctionName": function.rpartition(":")[2], "UserParameters": json.dumps(asked)}
    return action("Invoke", "Lambda", "Guard", configuration=configuration, namespace="Guard")


# --- pipelines --------------------------------------------------------------------------------------------------------


def test_a_pipeline_is_described_as_it_was_declared(pipelines: Pipelines) -> None:
    client = pipelines.client
    document = pipelines.declared(stage("Approve", approval()))
    made = client.create_pipeline(pipeline=document, tags=[{"key": "project", "value": "demo"}])
    name = document["name"]
    assert made["tags"] == [{"key": "project", "value": "demo"}]
    found = client.get_pipeline(name=name)
    assert found["pipeline"] == made["pipeline"]
    assert (found["pipeline"]["version"], found["pipeline"]["executionMode"]) == (1, "SUPERSEDED")
    assert found["pipeline"]["stages"][1]["actions"][0]["runOrder"] == 1
    arn = found["metadata"]["pipelineArn"]
    assert arn.endswith(f":{name}")
    updated = client.update_pipeline(pipeline={**document, "executionMode": "QUEUED"})["pipeline"]
    assert updated["version"] == 2
    assert client.get_pipeline(name=name, version=1)["pipeline"] == made["pipeline"]
    assert error_of(client.get_pipeline, name=name, version=3)[0] == "PipelineVersionNotFoundException"
    summaries = [one for page in client.get_paginator("list_pipelines").paginate() for one in page["pipelines"]]
    (summary,) = (one for one in summaries if one["name"] == name)
    assert (summary["version"], summary["pipelineType"], summary["executionMode"]) == (2, "V2", "QUEUED")
    client.tag_resource(resourceArn=arn, tags=[{"key": "more", "value": "1"}])
    client.untag_resource(resourceArn=arn, tagKeys=["project"])
    assert client.list_tags_for_resource(resourceArn=arn)["tags"] == [{"key": "more", "value": "1"}]
    assert error_of(client.create_pipeline, pipeline=document)[0] == "PipelineNameInUseException"
    # It has a variable that whoever starts it must give.
    assert client.list_pipeline_executions(pipelineName=name)["pipelineExecutionSummaries"] == []
    assert error_of(client.start_pipeline_execution, name=name)[0] == "ValidationException"
    client.delete_pipeline(name=name)
    client.delete_pipeline(name=name)
    assert error_of(client.get_pipeline, name=name)[0] == "PipelineNotFoundException"
    assert error_of(client.list_tags_for_resource, resourceArn=arn)[0] == "ResourceNotFoundException"


def test_a_role_that_codepipeline_cannot_take_on(pipelines: Pipelines) -> None:
    account = pipelines.account
    closed = account.client("iam").create_role(
        RoleName=account.name("closed"),
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": []}),
    )["Role"]["Arn"]
    for role in (closed, f"arn:aws:iam::{account.number}:role/{account.name('nobody')}"):
        document = pipelines.declared(stage("Approve", approval()), roleArn=role)
        code, told = error_of(pipelines.client.create_pipeline, pipeline=document)
        assert (code, told) == (
            "InvalidStructureException", f"CodePipeline is not authorized to perform AssumeRole on role {role}",
        )  # fmt: skip


def test_a_new_pipeline_is_started_if_it_can_be(pipelines: Pipelines) -> None:
    name = pipelines.create(stage("Approve", approval()), variables=[{"name": "Reason", "defaultValue": "none"}])
    (execution,) = pipelines.client.list_pipeline_executions(pipelineName=name)["pipelineExecutionSummaries"]
    assert execution["trigger"]["triggerType"] == "CreatePipeline"
    # It begins a moment later.
    assert pipelines.state(name, "Source")["inboundExecution"]["status"] == "InProgress"
    pipelines.answer(name, "Rejected")
    assert pipelines.ended(name, execution["pipelineExecutionId"]) == "Failed"


# --- executions -------------------------------------------------------------------------------------------------------


def test_source_and_approval_and_their_events(pipelines: Pipelines) -> None:
    custom = {"CustomData": "version #{Source.VersionId}", "ExternalEntityLink": "https://example.com/#{Source.ETag}"}
    name = pipelines.create(stage("Approve", approval(configuration=custom)))
    url = pipelines.events(name)
    execution_id = pipelines.start(name)
    token = pipelines.token(name)
    where = {"pipelineName": name, "stageName": "Approve", "actionName": "Approve"}
    result = {"summary": "fine", "status": "Approved"}
    wrong = error_of(
        pipelines.client.put_approval_result, **where, result=result, token="00000000-0000-0000-0000-000000000000"
    )
    assert wrong[0] == "InvalidApprovalTokenException"
    missing = {**where, "actionName": "Nope"}
    assert error_of(pipelines.client.put_approval_result, **missing, result=result, token=token)[0] == (
        "ActionNotFoundException"
    )
    state = pipelines.state(name, "Approve")
    assert state["latestExecution"] == {
        "pipelineExecutionId": execution_id, "status": "InProgress", "type": "STANDARD",
    }  # fmt: skip
    assert state["actionStates"][0]["entityUrl"].startswith("https://example.com/")
    assert "approvedAt" in pipelines.client.put_approval_result(**where, result=result, token=token)
    again = error_of(pipelines.client.put_approval_result, **where, result=result, token=token)
    assert again[0] == "ApprovalAlreadyCompletedException"
    assert pipelines.ended(name, execution_id) == "Succeeded"

    found = pipelines.get(name, execution_id)
    assert found["variables"] == [{"name": "Reason", "resolvedValue": "test"}]
    (revision,) = found["artifactRevisions"]
    assert (revision["name"], revision["revisionId"]) == ("Source", pipelines.version)
    runs = pipelines.actions(name, execution_id)
    assert runs["Approve"]["input"]["configuration"] == custom
    assert runs["Approve"]["input"]["resolvedConfiguration"]["CustomData"] == f"version {pipelines.version}"
    assert runs["Approve"]["output"]["executionResult"]["externalExecutionSummary"] == "fine"
    (artifact,) = runs["Source"]["output"]["outputArtifacts"]
    folder, middle, end = artifact["s3location"]["key"].split("/")
    assert (folder, middle, end[7:]) == (name[:20], "Source", ".zip")
    assert pipelines.files(artifact) == {"a.txt": b"a"}
    (summary,) = pipelines.client.list_pipeline_executions(
        pipelineName=name, filter={"succeededInStage": {"stageName": "Approve"}}
    )["pipelineExecutionSummaries"]
    assert summary["sourceRevisions"][0]["revisionId"] == pipelines.version

    events = heard(pipelines.account, url, 10)
    states = [
        (event["detail-type"].split()[1], event["detail"].get("action", event["detail"].get("stage")), state)
        for event in events
        for state in [event["detail"]["state"]]
    ]
    assert sorted(map(str, states)) == sorted(
        str((kind, what, state))
        for kind, what in (
            ("Pipeline", None), ("Stage", "Source"), ("Action", "Source"), ("Stage", "Approve"), ("Action", "Approve"),
        )
        for state in ("STARTED", "SUCCEEDED")
    )  # fmt: skip
    (started,) = (one for one in events if one["detail-type"].split()[1] == "Pipeline" and "STARTED" in str(one))
    assert started["detail"]["execution-trigger"]["trigger-type"] == "StartPipelineExecution"
    assert started["detail"]["execution-id"] == execution_id
    (ended,) = (one for one in events if one["detail"].get("action") == "Source" and "SUCCEEDED" in str(one))
    assert ended["detail"]["output-artifacts"][0]["s3location"] == artifact["s3location"]
    assert ended["detail"]["type"]["provider"] == "S3"


def test_a_rejection_is_told_to_a_topic_and_tried_again(pipelines: Pipelines, functions: Functions) -> None:
    sns, (url, arn) = pipelines.account.client("sns"), functions.queue()
    topic = sns.create_topic(Name=functions.name("approvals"))["TopicArn"]
    statement = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [{**statement, "Resource": arn}]})
    pipelines.account.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    configuration = {"NotificationArn": topic, "CustomData": "look", "ExternalEntityLink": "https://example.com"}
    name = pipelines.create(stage("Approve", approval(configuration=configuration)))
    execution_id = pipelines.start(name)
    token = pipelines.token(name)
    (body,) = functions.bodies(url)
    assert body["Subject"] == f"APPROVAL NEEDED: AWS CodePipeline {name} for action Approve"[:100]
    told = json.loads(body["Message"])["approval"]
    assert {key: told[key] for key in ("pipelineName", "stageName", "token", "customData", "externalEntityLink")} == {
        "pipelineName": name, "stageName": "Approve", "token": token, "customData": "look",
        "externalEntityLink": "https://example.com",
    }  # fmt: skip
    pipelines.answer(name, "Rejected", token)
    assert pipelines.ended(name, execution_id) == "Failed"
    assert pipelines.failure(name, execution_id, "Approve") == ("JobFailed", "it is Rejected")
    client = pipelines.client
    where = {"pipelineName": name, "pipelineExecutionId": execution_id, "retryMode": "FAILED_ACTIONS"}
    assert error_of(client.retry_stage_execution, stageName="Source", **where)[0] == "StageNotRetryableException"
    assert error_of(client.retry_stage_execution, stageName="Nope", **where)[0] == "StageNotFoundException"
    assert client.retry_stage_execution(stageName="Approve", **where)["pipelineExecutionId"] == execution_id
    pipelines.answer(name, "Approved", pipelines.token(name, not_this=token))
    assert pipelines.ended(name, execution_id) == "Succeeded"
    assert pipelines.state(name, "Approve")["retryStageMetadata"]["manualStageRetryAttempt"] == 1


def test_superseded_stopped_and_held_back(pipelines: Pipelines) -> None:
    client = pipelines.client
    name = pipelines.create(stage("Approve", approval()))
    client.disable_stage_transition(
        pipelineName=name, stageName="Approve", transitionType="Inbound", reason="not on Fridays"
    )
    first = pipelines.start(name)
    until(lambda: pipelines.state(name, "Approve").get("inboundExecution"), "the first waits")
    second = pipelines.start(name)
    assert pipelines.ended(name, first) == "Superseded"
    state = pipelines.state(name, "Approve")
    assert state["inboundTransitionState"]["disabledReason"] == "not on Fridays"
    assert state["inboundExecution"]["pipelineExecutionId"] == second
    where = {"pipelineName": name, "stageName": "Source", "transitionType": "Outbound"}
    client.enable_stage_transition(**where)
    pipelines.token(name)
    stop = {"pipelineName": name, "pipelineExecutionId": second}
    client.stop_pipeline_execution(**stop, reason="enough")
    assert pipelines.get(name, second)["status"] == "Stopping"
    assert error_of(client.stop_pipeline_execution, **stop)[0] == "DuplicatedStopRequestException"
    client.stop_pipeline_execution(**stop, abandon=True)
    assert pipelines.ended(name, second) == "Stopped"
    assert pipelines.actions(name, second)["Approve"]["status"] == "Abandoned"
    assert error_of(client.stop_pipeline_execution, **stop)[0] == "PipelineExecutionNotStoppableException"


def test_a_changed_pipeline_cancels_what_is_under_way(pipelines: Pipelines) -> None:
    document = pipelines.declared(stage("Approve", approval()))
    name = pipelines.created(document)
    execution_id = pipelines.start(name)
    token = pipelines.token(name)
    # The same again is no other structure.
    pipelines.client.update_pipeline(pipeline=document)
    assert pipelines.get(name, execution_id)["status"] == "InProgress"
    other = {
        **document,
        "stages": [document["stages"][0], stage("Approve", approval(configuration={"CustomData": "x"}))],
    }
    pipelines.client.update_pipeline(pipeline=other)
    assert pipelines.ended(name, execution_id) == "Cancelled"
    assert pipelines.actions(name, execution_id)["Approve"]["status"] == "Abandoned"
    result = {"summary": "", "status": "Approved"}
    late = error_of(
        pipelines.client.put_approval_result, pipelineName=name, stageName="Approve", actionName="Approve",
        result=result, token=token,
    )  # fmt: skip
    assert late[0] == "ApprovalAlreadyCompletedException"


def test_a_revision_that_is_asked_for(pipelines: Pipelines) -> None:
    client, older = pipelines.client, pipelines.version
    name = pipelines.create(stage("Approve", approval()))
    pipelines.put({"a.txt": "newer"})
    try:
        revision = {"actionName": "Source", "revisionType": "S3_OBJECT_VERSION_ID", "revisionValue": older}
        execution_id = pipelines.start(name, sourceRevisions=[revision], clientRequestToken="one")
        assert pipelines.start(name, sourceRevisions=[revision], clientRequestToken="one") == execution_id
        pipelines.token(name)
        (artifact,) = pipelines.actions(name, execution_id)["Source"]["output"]["outputArtifacts"]
        assert pipelines.files(artifact) == {"a.txt": b"a"}
    finally:
        pipelines.version = pipelines.put({"a.txt": "a"})
    wrong = {**revision, "revisionType": "COMMIT_ID"}
    code, told = error_of(
        client.start_pipeline_execution,
        name=name,
        variables=[{"name": "Reason", "value": "x"}],
        sourceRevisions=[wrong],
    )
    assert (code, "S3_OBJECT_VERSION_ID" in told) == ("ValidationException", True)


def test_a_source_that_is_not_there(pipelines: Pipelines) -> None:
    document = pipelines.declared(stage("Approve", approval()))
    document["stages"][0]["actions"][0]["configuration"]["S3ObjectKey"] = "nothing.zip"
    name = pipelines.created(document)
    execution_id, status = pipelines.run(name)
    code, told = pipelines.failure(name, execution_id, "Source")
    assert (status, code, "nothing.zip: NoSuchKey" in told) == ("Failed", "ConfigurationError", True), told


def test_an_actions_own_role(pipelines: Pipelines) -> None:
    account = pipelines.account
    poor = make_role(account.client("iam"), account.name("poor"), [])
    document = pipelines.declared(stage("Approve", approval()))
    document["stages"][0]["actions"][0]["roleArn"] = poor
    name = pipelines.created(document)
    execution_id, status = pipelines.run(name)
    code, _ = pipelines.failure(name, execution_id, "Source")
    assert (status, code) == ("Failed", "PermissionError")
    assert pipelines.actions(name, execution_id)["Source"]["input"]["roleArn"] == poor


def test_artifacts_under_a_key_and_what_a_role_needs(pipelines: Pipelines, workshop: Workshop) -> None:
    account = pipelines.account
    key = account.client("kms").create_key(Description="artifacts")["KeyMetadata"]
    spec = json.dumps({"version": "0.2", "phases": {"build": {"commands": ["ls"]}}})
    project = workshop.project(source={"type": "CODEPIPELINE", "buildspec": spec}, artifacts={"type": "CODEPIPELINE"})
    source_arn, artifacts = f"arn:aws:s3:::{pipelines.bucket}", f"arn:aws:s3:::{account.bucket}/*"
    builds = f"arn:aws:codebuild:{account.region}:{account.number}:project/{project}"
    needed = [
        {"Effect": "Allow", "Action": ["s3:GetBucketVersioning"], "Resource": source_arn},
        {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": f"{source_arn}/*"},
        {"Effect": "Allow", "Action": ["codebuild:StartBuild", "codebuild:BatchGetBuilds"], "Resource": builds},
        {"Effect": "Allow", "Action": ["s3:PutObject"], "Resource": artifacts},
        {"Effect": "Allow", "Action": ["kms:GenerateDataKey"], "Resource": key["Arn"]},
    ]
    for count, action_name in ((4, "Source"), (5, None)):
        role = make_role(account.client("iam"), account.name("pipeline"), needed[:count])
        name = pipelines.create(
            stage("Build", build(configuration={"ProjectName": project})),
            roleArn=role,
            artifactStore={
                "type": "S3", "location": account.bucket, "encryptionKey": {"id": key["Arn"], "type": "KMS"},
            },
        )  # fmt: skip
        execution_id, status = pipelines.run(name)
        if action_name is None:
            assert status == "Succeeded"
        else:
            code, told = pipelines.failure(name, execution_id, action_name)
            assert (status, code, "kms:GenerateDataKey" in told) == ("Failed", "PermissionError", True)
    (artifact,) = pipelines.actions(name, execution_id)["Source"]["output"]["outputArtifacts"]
    place = artifact["s3location"]
    head = account.s3.head_object(Bucket=place["bucket"], Key=place["key"])
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", key["Arn"])


# --- functions --------------------------------------------------------------------------------------------------------


def test_a_function_says_how_it_went(pipelines: Pipelines, functions: Functions, cloud: Cloud) -> None:
    guard = functions.create(GUARD)
    told = {"CustomData": "#{Guard.Said} #{Guard.Token}"}
    name = pipelines.create(
        stage("Guard", invoke(guard, do="continue")), stage("Approve", approval(configuration=told))
    )
    execution_id = pipelines.start(name, variables=[{"name": "Reason", "value": "drift"}])
    key = {"pipelineName": name, "filter": {"pipelineExecutionId": execution_id}}

    def called_once() -> bool:
        found = pipelines.client.list_action_executions(**key)["actionExecutionDetails"]
        return any(run["actionName"] == "Guard" for run in found)

    until(called_once, "the function is called")
    if cloud.endpoint_url is not None:
        _advance(cloud.endpoint_url, 31)
    pipelines.token(name)
    configuration = pipelines.actions(name, execution_id)["Approve"]["input"]["resolvedConfiguration"]
    assert configuration == {"CustomData": "drift more"}


def test_a_function_that_fails_the_action(pipelines: Pipelines, functions: Functions) -> None:
    name = pipelines.create(stage("Guard", invoke(functions.create(GUARD), do="fail")))
    execution_id, status = pipelines.run(name)
    assert (status, pipelines.failure(name, execution_id, "Guard")) == (
        "Failed", ("JobFailed", "not approved any more"),
    )  # fmt: skip
    missing = pipelines.create(stage("Guard", invoke("nobody", do="x")))
    execution_id, status = pipelines.run(missing)
    code, told = pipelines.failure(missing, execution_id, "Guard")
    assert (status, code, "invoking the function nobody" in told) == ("Failed", "ConfigurationError", True)
    assert error_of(pipelines.client.put_job_success_result, jobId=execution_id)[0] == "JobNotFoundException"


# --- builds -----------------------------------------------------------------------------------------------------------


def test_builds_with_artifacts_and_variables(pipelines: Pipelines, workshop: Workshop) -> None:
    spec = {"type": "CODEPIPELINE", "buildspec": BUILDSPEC}
    project = workshop.project(source=spec, artifacts={"type": "CODEPIPELINE"})
    several = workshop.project(
        source={
            "type": "CODEPIPELINE",
            "buildspec": json.dumps(
                {
                    "version": "0.2",
                    "phases": {
                        "build": {"commands": ['cp "$CODEBUILD_SRC_DIR_Built/made.txt" .', "cp made.txt b.txt"]}
                    },
                    "artifacts": {
                        "files": ["**/*"],
                        "secondary-artifacts": {"One": {"files": ["made.txt"]}, "Two": {"files": ["b.txt"]}},
                    },
                }
            ),
        },
        artifacts={"type": "CODEPIPELINE"},
    )
    variables = [{"name": "REASON", "value": "#{variables.Reason}"}, {"name": "COMMIT", "value": "#{Source.ETag}"}]
    first = {"ProjectName": project, "EnvironmentVariables": json.dumps(variables)}
    name = pipelines.create(
        stage("Build", build(configuration=first, outputs=["Built"], namespace="Tests")),
        stage(
            "Test",
            build(
                "Both", category="Test", inputs=["Source", "Built"], outputs=["One", "Two"],
                configuration={"ProjectName": several, "PrimarySource": "Source"},
            ),
        ),
        stage("Approve", approval(configuration={"ExternalEntityLink": "#{Tests.REPORT_URL}"})),
    )  # fmt: skip
    execution_id = pipelines.start(name)
    pipelines.token(name)
    runs = pipelines.actions(name, execution_id)
    assert pipelines.files(runs["Build"]["output"]["outputArtifacts"][0]) == {"made.txt": b"test\n"}
    made = {one["name"]: pipelines.files(one) for one in runs["Both"]["output"]["outputArtifacts"]}
    assert made == {"One": {"made.txt": b"test\n"}, "Two": {"b.txt": b"test\n"}}
    result = runs["Build"]["output"]["executionResult"]
    assert result["externalExecutionId"].startswith(f"{project}:")
    assert result["externalExecutionId"] in result["externalExecutionUrl"]
    link = runs["Approve"]["input"]["resolvedConfiguration"]["ExternalEntityLink"]
    etag = runs["Source"]["output"]["outputVariables"]["ETag"]
    assert link == f"https://report/{etag}/codepipeline/{name}"


def test_a_build_that_fails(pipelines: Pipelines, workshop: Workshop) -> None:
    spec = json.dumps({"version": "0.2", "phases": {"build": {"commands": ["exit 3"]}}})
    project = workshop.project(source={"type": "CODEPIPELINE", "buildspec": spec}, artifacts={"type": "CODEPIPELINE"})
    name = pipelines.create(stage("Build", build(configuration={"ProjectName": project})))
    execution_id, status = pipelines.run(name)
    assert (status, pipelines.failure(name, execution_id, "Build")) == (
        "Failed",
        (
            "JobFailed",
            "Build terminated with state: FAILED. Phase: BUILD, Code: COMMAND_EXECUTION_ERROR, Message: Error while"
            " executing command: exit 3. Reason: exit status 3",
        ),
    )
    missing = pipelines.create(stage("Build", build(configuration={"ProjectName": "nobodys-project"})))
    execution_id, status = pipelines.run(missing)
    code, told = pipelines.failure(missing, execution_id, "Build")
    assert (status, code, "Error calling startBuild" in told) == ("Failed", "ConfigurationError", True)


def test_an_abandoned_build_is_stopped(pipelines: Pipelines, workshop: Workshop) -> None:
    spec = json.dumps({"version": "0.2", "phases": {"build": {"commands": ["sleep 600"]}}})
    project = workshop.project(source={"type": "CODEPIPELINE", "buildspec": spec}, artifacts={"type": "CODEPIPELINE"})
    name = pipelines.create(stage("Build", build(configuration={"ProjectName": project})))
    execution_id = pipelines.start(name)
    (build_id,) = until(
        lambda: workshop.client.list_builds_for_project(projectName=project)["ids"], "the build is started"
    )
    pipelines.client.stop_pipeline_execution(pipelineName=name, pipelineExecutionId=execution_id, abandon=True)
    assert pipelines.ended(name, execution_id) == "Stopped"
    assert workshop.ended(build_id)["buildStatus"] == "STOPPED"


# --- stacks -----------------------------------------------------------------------------------------------------------


def stack_action(mode: str, name: str, role: str, run_order: int = 1, **configuration: str) -> dict[str, Any]:
    given = {"ActionMode": mode, "StackName": name, **configuration}
    if mode != "CHANGE_SET_EXECUTE":
        given["RoleArn"] = role
    has_outputs = "OutputFileName" in given
    return action(
        "Deploy", "CloudFormation", mode.replace("_", ""), configuration=given, runOrder=run_order, namespace=mode,
        inputs=["Source"], outputs=["Outputs"] if has_outputs else [],
    )  # fmt: skip


def test_stacks_are_made_changed_and_deleted(pipelines: Pipelines) -> None:
    account = pipelines.account
    stack, parameter = account.name("stack"), f"/{account.name('parameter')}"
    template = {
        "Parameters": {"Name": {"Type": "String"}, "Value": {"Type": "String"}, "Key": {"Type": "String"}},
        "Resources": {
            "One": {
                "Type": "AWS::SSM::Parameter",
                "Properties": {"Name": {"Ref": "Name"}, "Type": "String", "Value": {"Ref": "Value"}},
            }
        },
        "Outputs": {"Made": {"Value": {"Ref": "One"}}, "Key": {"Value": {"Ref": "Key"}}},
    }
    files = {
        "template/t.json": json.dumps(template),
        "values.json": json.dumps({"Value": "from the file"}),
        "configuration.json": json.dumps(
            {"Parameters": {"Value": "c", "Name": parameter}, "Tags": {"project": "demo"}}
        ),
        "large.json": json.dumps({**template, "Metadata": {"Padding": "x" * 60_000}}),
    }
    pipelines.put(files)
    role = account.role
    overrides = {
        "Value": {"Fn::GetParam": ["Source", "values.json", "Value"]},
        "Key": {"Fn::GetArtifactAtt": ["Source", "ObjectKey"]},
    }
    common = {"TemplateConfiguration": "Source::configuration.json", "ParameterOverrides": json.dumps(overrides)}
    changed = {**common, "ParameterOverrides": json.dumps({**overrides, "Value": "by the change set"})}
    name = pipelines.create(
        stage(
            "Make",
            stack_action(
                "CREATE_UPDATE", stack, role, TemplatePath="Source::template/t.json", OutputFileName="o.json",
                Capabilities="CAPABILITY_IAM,CAPABILITY_NAMED_IAM", **common,
            ),
        ),
        stage(
            "Change",
            stack_action(
                "CHANGE_SET_REPLACE", stack, role, TemplatePath="Source::large.json", ChangeSetName="changes", **changed
            ),
            stack_action("CHANGE_SET_EXECUTE", stack, role, 2, ChangeSetName="changes"),
        ),
        stage("Approve", approval(configuration={"CustomData": "#{CREATE_UPDATE.Made}"})),
        stage("Delete", stack_action("DELETE_ONLY", stack, role)),
    )  # fmt: skip
    try:
        for first in (True, False):
            execution_id = pipelines.start(name)
            pipelines.token(name)
            ssm = account.client("ssm")
            assert ssm.get_parameter(Name=parameter)["Parameter"]["Value"] == "by the change set"
            runs = pipelines.actions(name, execution_id)
            (outputs,) = runs["CREATEUPDATE"]["output"]["outputArtifacts"]
            made = json.loads(pipelines.files(outputs)["o.json"])
            (artifact,) = runs["Source"]["output"]["outputArtifacts"]
            assert made == {"Made": parameter, "Key": artifact["s3location"]["key"]}
            assert runs["Approve"]["input"]["resolvedConfiguration"] == {"CustomData": parameter}
            (found,) = account.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
            assert found["RoleARN"] == role
            assert {tag["Key"]: tag["Value"] for tag in found["Tags"]} == {"project": "demo"}
            if first:
                # The next one finds the stack there.
                pipelines.answer(name, "Rejected")
                pipelines.ended(name, execution_id)
        pipelines.answer(name, "Approved")
        assert pipelines.ended(name, execution_id) == "Succeeded", pipelines.actions(name, execution_id)["DELETEONLY"]
        assert error_of(account.client("cloudformation").describe_stacks, StackName=stack)[0] == "ValidationError"
        assert pipelines.client.list_pipeline_executions(pipelineName=name)["pipelineExecutionSummaries"]
    finally:
        pipelines.version = pipelines.put({"a.txt": "a"})


def test_a_stack_that_fails(pipelines: Pipelines) -> None:
    account = pipelines.account
    template = {"Resources": {"Bad": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "x"}}}}
    template["Resources"]["Bad"]["Properties"]["Name"] = "aws/reserved name!"  # type: ignore[index]
    pipelines.put({"t.json": json.dumps(template)})
    try:
        action_of = stack_action("CREATE_UPDATE", account.name("stack"), account.role, TemplatePath="Source::t.json")
        name = pipelines.create(stage("Make", action_of))
        execution_id, status = pipelines.run(name)
        code, told = pipelines.failure(name, execution_id, "CREATEUPDATE")
        assert (status, code, "First failed resource Bad (AWS::SSM::Parameter)" in told) == (
            "Failed",
            "JobFailed",
            True,
        )
        missing = stack_action("CREATE_UPDATE", account.name("stack"), account.role, TemplatePath="Source::nope.json")
        name = pipelines.create(stage("Make", missing))
        execution_id, status = pipelines.run(name)
        assert pipelines.failure(name, execution_id, "CREATEUPDATE") == (
            "ConfigurationError", "File [nope.json] does not exist in artifact [Source]",
        )  # fmt: skip
    finally:
        pipelines.version = pipelines.put({"a.txt": "a"})


def test_a_pipeline_of_a_stack(pipelines: Pipelines, stacks: Stacks) -> None:
    account = pipelines.account
    document = pipelines.declared(stage("Approve", approval()))

    def upper(value: Any) -> Any:
        if isinstance(value, list):
            return [upper(item) for item in value]
        if isinstance(value, dict):
            return {
                f"{key[0].upper()}{key[1:]}": item if key == "configuration" else upper(item)
                for key, item in value.items()
            }
        return value

    properties = {**upper(document), "Tags": [{"Key": "project", "Value": "demo"}]}
    properties["DisableInboundStageTransitions"] = [{"StageName": "Approve", "Reason": "not yet"}]
    properties["Variables"] = [{"Name": "Reason", "DefaultValue": "none"}]
    properties["Stages"][0]["Actions"][0]["Configuration"]["PollForSourceChanges"] = False

    def template() -> dict[str, Any]:
        return {
            "Resources": {"Pipeline": {"Type": "AWS::CodePipeline::Pipeline", "Properties": properties}},
            "Outputs": {
                "Name": {"Value": {"Ref": "Pipeline"}},
                "Version": {"Value": {"Fn::GetAtt": ["Pipeline", "Version"]}},
            },
        }

    stack = stacks.made(template())
    name = document["name"]
    assert stacks.outputs(stack) == {"Name": name, "Version": "1"}
    client = pipelines.client
    (first,) = client.list_pipeline_executions(pipelineName=name)["pipelineExecutionSummaries"]
    until(lambda: pipelines.state(name, "Approve").get("inboundExecution"), "it waits where nobody is let in")
    arn = f"arn:aws:codepipeline:{account.region}:{account.number}:{name}"
    tags = {tag["key"]: tag["value"] for tag in client.list_tags_for_resource(resourceArn=arn)["tags"]}
    assert tags["project"] == "demo"
    properties["DisableInboundStageTransitions"] = []
    properties["RestartExecutionOnUpdate"] = True
    properties["ExecutionMode"] = "QUEUED"
    assert stacks.update(stack, template())["StackStatus"] == "UPDATE_COMPLETE"
    assert stacks.outputs(stack)["Version"] == "2"
    second, cancelled = client.list_pipeline_executions(pipelineName=name)["pipelineExecutionSummaries"]
    assert (cancelled["pipelineExecutionId"], cancelled["status"]) == (first["pipelineExecutionId"], "Cancelled")
    pipelines.token(name)
    assert second["trigger"]["triggerType"] == "StartPipelineExecution"
    properties["Stages"][1]["OnFailure"] = {"Result": "ROLLBACK"}
    assert "OnFailure" in error_of(stacks.client.update_stack, StackName=stack, TemplateBody=json.dumps(template()))[1]
    stacks.delete(stack)
    assert error_of(client.get_pipeline, name=name)[0] == "PipelineNotFoundException"


# --- what starts pipelines --------------------------------------------------------------------------------------------


def test_a_repository_of_codecommit_and_a_rule(pipelines: Pipelines, tmp_path: Path) -> None:
    account = pipelines.account
    codecommit, events = account.client("codecommit"), account.client("events")
    repository = account.name("code")
    url = codecommit.create_repository(repositoryName=repository)["repositoryMetadata"]["cloneUrlHttp"]
    given = source(configuration={"RepositoryName": repository}, namespace="Git")
    told = {"CustomData": "#{Git.BranchName} #{Git.CommitMessage} #{variables.Reason}"}
    document = pipelines.declared(stage("Approve", approval(configuration=told)))
    document["stages"][0] = stage("Source", given)
    name = pipelines.created(document)
    arn = f"arn:aws:codepipeline:{account.region}:{account.number}:{name}"
    rule = account.name("rule")
    pattern = {"source": ["aws.codecommit"], "detail": {"repositoryName": [repository], "referenceName": ["main"]}}
    rule_arn = events.put_rule(Name=rule, EventPattern=json.dumps(pattern))["RuleArn"]
    template = {
        "sourceRevisions": [{"actionName": "Source", "revisionType": "COMMIT_ID", "revisionValue": "<commit>"}],
        "variables": [{"name": "Reason", "value": "push"}],
    }
    transformer = {"InputPathsMap": {"commit": "$.detail.commitId"}, "InputTemplate": json.dumps(template)}
    target = {"Id": "pipeline", "Arn": arn, "RoleArn": account.role, "InputTransformer": transformer}
    events.put_targets(Rule=rule, Targets=[target])
    try:
        copy = WorkingCopy.new(url, tmp_path / "copy")
        commit = copy.commit('says "hello"', **{"a.txt": "a"})
        copy.push()
        pipelines.token(name)
        (execution,) = pipelines.client.list_pipeline_executions(pipelineName=name)["pipelineExecutionSummaries"]
        assert execution["trigger"] == {"triggerType": "CloudWatchEvent", "triggerDetail": rule_arn}
        assert execution["sourceRevisions"][0]["revisionId"] == commit
        runs = pipelines.actions(name, execution["pipelineExecutionId"])
        assert runs["Approve"]["input"]["resolvedConfiguration"]["CustomData"] == 'main says "hello" push'
        assert pipelines.files(runs["Source"]["output"]["outputArtifacts"][0]) == {"a.txt": b"a"}
        state = pipelines.state(name, "Source")["actionStates"][0]
        assert (state["currentRevision"]["revisionId"], commit in state["revisionUrl"]) == (commit, True)
    finally:
        events.remove_targets(Rule=rule, Ids=["pipeline"])
        events.delete_rule(Name=rule)
        codecommit.delete_repository(repositoryName=repository)


def test_pushes_to_a_connection(pipelines: Pipelines, cloud: Cloud, tmp_path: Path, localcloud_only: None) -> None:
    account = pipelines.account
    connection = account.client("codeconnections").create_connection(
        ConnectionName=account.name("c")[:32], ProviderType="GitHub"
    )["ConnectionArn"]
    repository = f"owner/{account.name('repo')}"
    document = pipelines.declared(stage("Approve", approval(configuration={"CustomData": "#{Git.CommitMessage}"})))
    given = connected(ConnectionArn=connection, FullRepositoryId=repository, DetectChanges="false")
    document["stages"][0] = stage("Source", {**given, "namespace": "Git"})
    push = {"branches": {"includes": ["main"]}, "filePaths": {"includes": ["pipelines/**"]}}
    document["triggers"] = [
        {"providerType": "CodeStarSourceConnection", "gitConfiguration": {"sourceActionName": "Source", "push": [push]}}
    ]
    document["variables"] = [{"name": "Reason", "defaultValue": "push"}]
    name = pipelines.created(document)
    (made,) = pipelines.client.list_pipeline_executions(pipelineName=name)["pipelineExecutionSummaries"]
    # There is nothing to read yet.
    assert pipelines.ended(name, made["pipelineExecutionId"]) == "Failed"
    url = listen(account, {"source": ["aws.codepipeline"], "detail": {"pipeline": [name], "state": ["STARTED"]}})
    copy = WorkingCopy.new(f"{cloud.endpoint_url}/_aws/connections/{repository}.git", tmp_path / "copy")
    copy.commit("docs", **{"docs__a.md": "a"})
    copy.push()
    commit = copy.commit("pipelines", **{"pipelines__a.py": "a"})
    copy.push()
    pipelines.token(name)
    started = pipelines.client.list_pipeline_executions(pipelineName=name)["pipelineExecutionSummaries"]
    assert [one["trigger"]["triggerType"] for one in started] == ["WebhookV2", "CreatePipeline"]
    assert started[0]["sourceRevisions"][0]["revisionId"] == commit
    runs = pipelines.actions(name, started[0]["pipelineExecutionId"])
    assert runs["Approve"]["input"]["resolvedConfiguration"] == {"CustomData": "pipelines"}
    assert set(pipelines.files(runs["Source"]["output"]["outputArtifacts"][0])) == {"docs/a.md", "pipelines/a.py"}
    triggers = [event["detail"].get("execution-trigger") for event in heard(account, url, 1)]
    (facts,) = (found for found in triggers if found)
    assert (facts["branch-name"], facts["commit-id"]) == ("main", commit)


# --- restarts ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_approval_outlives_a_kill(
    start_localcloud: Callable[..., Running], client_of: Callable[..., Any], tmp_path: Path
) -> None:
    """And a build that was killed with localcloud fails its action, with a reason."""

    def opened() -> tuple[Running, Pipelines]:
        running = start_localcloud(tmp_path / "state")
        account = Account(lambda service: client_of(running, service), "eu-west-1", given_role=role)
        found = object.__new__(Pipelines)
        found.account, found.client, found.made = account, account.client("codepipeline"), []
        return running, found

    role = "arn:aws:iam::123456789012:role/pipeline"
    running = start_localcloud(tmp_path / "state")
    make_role(client_of(running, "iam"), "pipeline")
    account = Account(lambda service: client_of(running, service), "eu-west-1", given_role=role)
    pipelines = Pipelines(account)
    waiting = pipelines.create(stage("Approve", approval()))
    first = pipelines.start(waiting)
    token = pipelines.token(waiting)
    workshop = Workshop(account)
    spec = json.dumps({"version": "0.2", "phases": {"build": {"commands": ["sleep 600"]}}})
    project = workshop.project(source={"type": "CODEPIPELINE", "buildspec": spec}, artifacts={"type": "CODEPIPELINE"})
    building = pipelines.create(stage("Build", build(configuration={"ProjectName": project})))
    second = pipelines.start(building)
    (build_id,) = until(
        lambda: workshop.client.list_builds_for_project(projectName=project)["ids"], "the build is started"
    )
    # One that waits for its turn would be run again.
    until(lambda: workshop.get(build_id)["currentPhase"] == "BUILD", "it runs its commands")
    running.kill()
    _, pipelines = opened()
    assert pipelines.ended(building, second) == "Failed"
    code, told = pipelines.failure(building, second, "Build")
    assert (code, told.startswith("Build terminated with state:")) == ("JobFailed", True)
    assert pipelines.token(waiting) == token
    pipelines.answer(waiting, "Approved", token)
    assert pipelines.ended(waiting, first) == "Succeeded"


def _advance(endpoint_url: str, seconds: float) -> None:
    from localcloud import instance

    instance.advance(int(endpoint_url.rpartition(":")[2]), seconds)
