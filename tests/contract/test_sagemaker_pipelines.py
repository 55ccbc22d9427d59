"""Pipelines and their executions: what a definition means, and what an execution shows of itself."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from tests.contract.sagemaker_account import Account, definition, error_of, get, join, json_get, step, until


@pytest.fixture(scope="module")
def account(cloud: Any) -> Account:
    """The account under test."""
    return Account.of(cloud)


@pytest.fixture
def evaluate(account: Account) -> dict[str, Any]:
    """A step that writes {"auc": AUC, "by_k": [{"k": 1}]} to its property file."""
    arguments = account.processing(
        ProcessingOutputConfig=account.outputs(
            report=join(account.new_prefix(), "/", get("Execution.PipelineExecutionId"))
        )
    )
    arguments["AppSpecification"]["ContainerArguments"] = [
        join('write processing/report/evaluation.json {"auc":', get("Parameters.Auc"), ',"by_k":[{"k":1}]}')
    ]
    file = {"PropertyFileName": "Report", "OutputName": "report", "FilePath": "evaluation.json"}
    return step("Evaluate", "Processing", arguments, PropertyFiles=[file])


AUC = {"Name": "Auc", "Type": "Float", "DefaultValue": 0.9}


def test_an_execution_passes_data_from_step_to_step(account: Account) -> None:
    bucket, source = account.bucket, account.put("rows", "in.csv")
    prepare = account.processing(
        "copy processing/data/in.csv processing/train/part.csv",
        ProcessingInputs=[account.input("replaced")],
        ProcessingOutputConfig=account.outputs(
            train=join("s3:/", bucket, get("Execution.PipelineName"), get("Execution.PipelineExecutionId"), on="/")
        ),
    )
    prepare["ProcessingInputs"][0]["S3Input"]["S3Uri"] = get("Parameters.Input")
    train = account.training(
        "copy input/data/train/part.csv model/weights.bin",
        InputDataConfig=[
            {
                "ChannelName": "train",
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": get("Steps.Prepare.ProcessingOutputConfig.Outputs['train'].S3Output.S3Uri"),
                    }
                },
            }
        ],
    )
    model = {
        "ExecutionRoleArn": account.role,
        "PrimaryContainer": {
            "Image": account.image,
            "ModelDataUrl": get("Steps.Train.ModelArtifacts.S3ModelArtifacts"),
        },
    }
    group = account.name("group")
    register = {
        "ModelPackageGroupName": group,
        "InferenceSpecification": {
            "Containers": [
                {"Image": account.image, "ModelDataUrl": get("Steps.Train.ModelArtifacts.S3ModelArtifacts")}
            ],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
        "CustomerMetadataProperties": {
            "job": get("Steps.Train.TrainingJobName"),
            "epochs": join(get("Parameters.Epochs")),
        },
    }
    pipeline = account.create_pipeline(
        definition(
            step("Prepare", "Processing", prepare),
            step("Train", "Training", train),
            step("Create", "Model", model),
            step("Register", "RegisterModel", register),
            parameters=[{"Name": "Input", "Type": "String"}, {"Name": "Epochs", "Type": "Integer", "DefaultValue": 5}],
        )
    )
    execution = account.execute(pipeline, {"Input": source})
    arn = execution["PipelineExecutionArn"]
    steps = account.steps(arn)
    assert execution["PipelineExecutionStatus"] == "Succeeded", steps
    assert "FailureReason" not in execution
    assert set(steps) == {"Prepare", "Train", "Create", "Register"}
    assert list(steps)[:2] == ["Prepare", "Train"]
    assert all(
        entry["StepStatus"] == "Succeeded" and entry["StartTime"] <= entry["EndTime"] for entry in steps.values()
    )

    job = steps["Train"]["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
    assert job.startswith(f"pipelines-{arn.rpartition('/')[2]}-Train-")
    described = account.sagemaker.describe_training_job(TrainingJobName=job)
    assert described["TrainingJobStatus"] == "Completed"
    created = steps["Create"]["Metadata"]["Model"]["Arn"].rpartition("/")[2]
    container = account.sagemaker.describe_model(ModelName=created)["PrimaryContainer"]
    assert container["ModelDataUrl"] == described["ModelArtifacts"]["S3ModelArtifacts"]
    package = account.sagemaker.describe_model_package(
        ModelPackageName=steps["Register"]["Metadata"]["RegisterModel"]["Arn"]
    )
    assert package["CustomerMetadataProperties"] == {"job": job, "epochs": "5"}
    assert package["ModelApprovalStatus"] == "PendingManualApproval"
    assert package["MetadataProperties"]["GeneratedBy"] == arn
    parameters = account.sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=arn)
    assert parameters["PipelineParameters"] == [{"Name": "Input", "Value": source}, {"Name": "Epochs", "Value": "5"}]


@pytest.mark.parametrize(("auc", "taken", "left"), [("0.9", "Good", "Bad"), ("0.5", "Bad", "Good")])
def test_a_condition_takes_one_branch(
    account: Account, evaluate: dict[str, Any], auc: str, taken: str, left: str
) -> None:
    gate = {
        "Conditions": [
            {
                "Type": "GreaterThanOrEqualTo",
                "LeftValue": json_get("Evaluate", "Report", "auc"),
                "RightValue": get("Parameters.Least"),
            },
            {"Type": "Equals", "LeftValue": json_get("Evaluate", "Report", "by_k[0].k"), "RightValue": 1},
        ],
        "IfSteps": [step("Good", "Processing", account.processing("print good"))],
        "ElseSteps": [step("Bad", "Processing", account.processing("print bad"))],
    }
    after = [
        step(f"After{name}", "Processing", account.processing("print after"), DependsOn=[name])
        for name in ("Good", "Bad")
    ]
    last = step("Last", "Processing", account.processing("print last"), DependsOn=["AfterGood", "Gate"])
    least = {"Name": "Least", "Type": "Float", "DefaultValue": 0.7}
    pipeline = account.create_pipeline(
        definition(evaluate, step("Gate", "Condition", gate), *after, last, parameters=[AUC, least])
    )
    execution = account.execute(pipeline, {"Auc": auc})
    steps = account.steps(execution["PipelineExecutionArn"])
    assert execution["PipelineExecutionStatus"] == "Succeeded", steps
    assert steps["Gate"]["Metadata"]["Condition"]["Outcome"] == str(taken == "Good")
    assert {taken, f"After{taken}"} <= set(steps)
    assert not {left, f"After{left}"} & set(steps)
    assert ("Last" in steps) == (taken == "Good")


def test_a_fail_step_ends_the_execution_with_its_message(account: Account, evaluate: dict[str, Any]) -> None:
    auc = json_get("Evaluate", "Report", "auc")
    gate = {
        "Conditions": [{"Type": "GreaterThan", "LeftValue": auc, "RightValue": 0.95}],
        "IfSteps": [],
        "ElseSteps": [step("TooLow", "Fail", {"ErrorMessage": join("auc", auc, "is too low", on=" ")})],
    }
    never = step("Never", "Processing", account.processing("print never"), DependsOn=["TooLow"])
    pipeline = account.create_pipeline(definition(evaluate, step("Gate", "Condition", gate), never, parameters=[AUC]))
    execution = account.execute(pipeline)
    assert execution["PipelineExecutionStatus"] == "Failed"
    assert execution["FailureReason"] == "Step failure: One or multiple steps failed."
    steps = account.steps(execution["PipelineExecutionArn"])
    assert steps["TooLow"]["StepStatus"] == "Failed"
    assert steps["TooLow"]["Metadata"]["Fail"]["ErrorMessage"] == "auc 0.9 is too low"
    assert "Never" not in steps


def test_a_failed_step_keeps_its_reason_and_others_still_run(account: Account) -> None:
    pipeline = account.create_pipeline(
        definition(
            step("Broken", "Processing", account.processing("fail no such column")),
            step("Needs", "Processing", account.processing("print never"), DependsOn=["Broken"]),
            step("Other", "Processing", account.processing("print x")),
            step("More", "Processing", account.processing("print x"), DependsOn=["Other"]),
        )
    )
    execution = account.execute(pipeline)
    steps = account.steps(execution["PipelineExecutionArn"])
    assert execution["PipelineExecutionStatus"] == "Failed"
    assert steps["Broken"]["FailureReason"] == "AlgorithmError: no such column, exit code: 1"
    assert {name: entry["StepStatus"] for name, entry in steps.items()} == {
        "Broken": "Failed",
        "Other": "Succeeded",
        "More": "Succeeded",
    }


def test_independent_steps_overlap(account: Account) -> None:
    """Each writes an object and waits for the other's: they can only succeed if both run at once."""
    left, right = (f"meet/{uuid.uuid4().hex}" for _ in range(2))
    pipeline = account.create_pipeline(
        definition(
            step("Left", "Processing", account.processing(f"meet {account.bucket} {left} {right}")),
            step("Right", "Processing", account.processing(f"meet {account.bucket} {right} {left}")),
        )
    )
    assert account.execute(pipeline)["PipelineExecutionStatus"] == "Succeeded"


def test_parallelism_limits_how_many_run_at_once(account: Account) -> None:
    pipeline = account.create_pipeline(
        definition(*(step(name, "Processing", account.processing("print x")) for name in "ABC"))
    )
    execution = account.execute(pipeline, ParallelismConfiguration={"MaxParallelExecutionSteps": 1})
    assert execution["ParallelismConfiguration"] == {"MaxParallelExecutionSteps": 1}
    steps = list(account.steps(execution["PipelineExecutionArn"]).values())
    assert len(steps) == 3
    assert all(before["EndTime"] <= after["StartTime"] for before, after in pairwise(steps))


def test_arguments_that_aws_would_refuse_fail_the_step_before_it_runs(account: Account) -> None:
    arguments = account.training("print x")
    arguments["HyperParameters"] = {"epochs": get("Parameters.Epochs")}
    pipeline = account.create_pipeline(
        definition(
            step("Train", "Training", arguments), parameters=[{"Name": "Epochs", "Type": "Integer", "DefaultValue": 5}]
        )
    )
    execution = account.execute(pipeline)
    failed = account.steps(execution["PipelineExecutionArn"])["Train"]
    assert failed["StepStatus"] == "Failed"
    assert failed["FailureReason"].startswith(
        "ClientError: Failed to invoke sagemaker:CreateTrainingJob. Error Details: "
    )
    assert "HyperParameters.epochs" in failed["FailureReason"]
    assert "Metadata" not in failed


def test_a_missing_property_file_fails_the_condition(account: Account) -> None:
    file = {"PropertyFileName": "Report", "OutputName": "report", "FilePath": "nothing.json"}
    arguments = account.processing("print x", ProcessingOutputConfig=account.outputs(report=account.new_prefix()))
    gate = {
        "Conditions": [{"Type": "Equals", "LeftValue": json_get("Evaluate", "Report", "auc"), "RightValue": 1}],
        "IfSteps": [],
        "ElseSteps": [],
    }
    pipeline = account.create_pipeline(
        definition(step("Evaluate", "Processing", arguments, PropertyFiles=[file]), step("Gate", "Condition", gate))
    )
    steps = account.steps(account.execute(pipeline)["PipelineExecutionArn"])
    assert steps["Gate"]["StepStatus"] == "Failed"
    assert "nothing.json" in steps["Gate"]["FailureReason"]


def cached_chain(account: Account) -> dict[str, Any]:
    """Prepare (cached, writes to a folder of the execution's own) and Train (cached, reads it)."""
    target = join(account.new_prefix(), "/", get("Execution.PipelineExecutionId"))
    prepare = account.processing("write processing/r/x y", ProcessingOutputConfig=account.outputs(r=target))
    prepare["Environment"] = {"SEED": get("Parameters.Seed")}
    train = account.training(
        "copy input/data/r/x model/x",
        InputDataConfig=[
            {
                "ChannelName": "r",
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": get('Steps.Prepare.ProcessingOutputConfig.Outputs["r"].S3Output.S3Uri'),
                    }
                },
            }
        ],
    )
    cache = {"Enabled": True, "ExpireAfter": "P30D"}
    return definition(
        step("Prepare", "Processing", prepare, CacheConfig=cache),
        step("Train", "Training", train, CacheConfig=cache),
        parameters=[{"Name": "Seed", "Type": "String", "DefaultValue": "1"}],
    )


def test_a_training_step_that_runs_out_of_time_fails(account: Account) -> None:
    arguments = account.training("hang", StoppingCondition={"MaxRuntimeInSeconds": 1})
    arn = account.start(account.create_pipeline(definition(step("Train", "Training", arguments))))
    assert account.execution_end(arn)["PipelineExecutionStatus"] == "Failed"
    assert "ended as MaxRuntimeExceeded" in account.steps(arn)["Train"]["FailureReason"]


def test_an_unchanged_execution_is_all_cache_hits(account: Account) -> None:
    pipeline = account.create_pipeline(cached_chain(account))
    first = account.execute(pipeline)["PipelineExecutionArn"]
    second = account.execute(pipeline)["PipelineExecutionArn"]
    ran, hit = account.steps(first), account.steps(second)
    assert all("CacheHitResult" not in entry for entry in ran.values())
    assert [entry["CacheHitResult"] for entry in hit.values()] == [{"SourcePipelineExecutionArn": first}] * 2
    assert [entry["Metadata"] for entry in hit.values()] == [entry["Metadata"] for entry in ran.values()]
    # A hit of a hit leads to the execution that ran the step.
    third = account.steps(account.execute(pipeline)["PipelineExecutionArn"])
    assert third["Train"]["CacheHitResult"] == {"SourcePipelineExecutionArn": first}


def test_changed_arguments_run_again_with_all_that_depends_on_them(account: Account) -> None:
    pipeline = account.create_pipeline(cached_chain(account))
    account.execute(pipeline)
    changed = account.steps(account.execute(pipeline, {"Seed": "2"})["PipelineExecutionArn"])
    assert all("CacheHitResult" not in entry for entry in changed.values())


def test_the_cache_is_one_pipelines_own_and_knows_no_failures(account: Account) -> None:
    document = cached_chain(account)
    first, other = account.create_pipeline(document), account.create_pipeline(document)
    account.execute(first)
    assert all(
        "CacheHitResult" not in entry
        for entry in account.steps(account.execute(other)["PipelineExecutionArn"]).values()
    )
    broken = definition(step("Broken", "Processing", account.processing("fail"), CacheConfig={"Enabled": True}))
    pipeline = account.create_pipeline(broken)
    for _ in range(2):
        steps = account.steps(account.execute(pipeline)["PipelineExecutionArn"])
        assert steps["Broken"]["StepStatus"] == "Failed"


def test_stop_ends_what_runs_and_retry_goes_on_from_there(account: Account) -> None:
    marker = f"go/{uuid.uuid4().hex}"
    waits = account.processing(f"meet {account.bucket} {marker}-there {marker}")
    pipeline = account.create_pipeline(
        definition(
            step("First", "Processing", account.processing("print x")),
            step("Waits", "Processing", waits, DependsOn=["First"]),
            step("Last", "Processing", account.processing("print x"), DependsOn=["Waits"]),
        )
    )
    arn = account.start(pipeline)
    until(lambda: account.keys(f"s3://{account.bucket}/{marker}-there"), "the second step runs")
    code, _ = error_of(account.sagemaker.retry_pipeline_execution, PipelineExecutionArn=arn)
    assert code == "ConflictException"
    account.sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn)
    assert account.execution_end(arn)["PipelineExecutionStatus"] == "Stopped"
    stopped = account.steps(arn)
    assert {name: entry["StepStatus"] for name, entry in stopped.items()} == {"First": "Succeeded", "Waits": "Stopped"}

    account.s3.put_object(Bucket=account.bucket, Key=marker, Body=b"go")
    account.sagemaker.retry_pipeline_execution(PipelineExecutionArn=arn)
    assert account.execution_end(arn)["PipelineExecutionStatus"] == "Succeeded"
    resumed = account.steps(arn)
    assert list(resumed) == ["First", "Waits", "Last"]
    assert resumed["First"] == stopped["First"]
    assert resumed["Waits"]["Metadata"] != stopped["Waits"]["Metadata"]


def test_retry_of_a_failed_execution_runs_the_failed_step_again(account: Account) -> None:
    source = account.new_prefix()
    reads = account.processing("list processing/data", ProcessingInputs=[account.input(source)])
    pipeline = account.create_pipeline(
        definition(
            step("First", "Processing", account.processing("print x")),
            step("Reads", "Processing", reads, DependsOn=["First"]),
        )
    )
    failed = account.execute(pipeline)
    arn = failed["PipelineExecutionArn"]
    assert failed["PipelineExecutionStatus"] == "Failed"
    bucket, _, prefix = source.removeprefix("s3://").partition("/")
    account.s3.put_object(Bucket=bucket, Key=f"{prefix}/now.txt", Body=b"x")
    account.sagemaker.retry_pipeline_execution(PipelineExecutionArn=arn)
    end = account.execution_end(arn)
    assert end["PipelineExecutionStatus"] == "Succeeded"
    assert "FailureReason" not in end


def test_a_token_starts_one_execution(account: Account) -> None:
    pipeline = account.create_pipeline(definition(step("A", "Processing", account.processing("print x"))))
    token = uuid.uuid4().hex
    first = account.start(pipeline, ClientRequestToken=token)
    assert account.start(pipeline, ClientRequestToken=token) == first
    code, _ = error_of(
        account.sagemaker.start_pipeline_execution,
        PipelineName=pipeline,
        ClientRequestToken=token,
        PipelineExecutionDescription="another request",
    )
    assert code == "ConflictException"
    account.execution_end(first)
    executions = account.sagemaker.list_pipeline_executions(PipelineName=pipeline)["PipelineExecutionSummaries"]
    assert [entry["PipelineExecutionArn"] for entry in executions] == [first]


def test_parameters_are_checked_at_the_start(account: Account) -> None:
    parameters = [
        {"Name": "Count", "Type": "Integer"},
        {"Name": "Rate", "Type": "Float", "DefaultValue": 0.5},
        {"Name": "Mode", "Type": "String", "DefaultValue": "fast", "EnumValues": ["fast", "slow"]},
        {"Name": "Dry", "Type": "Boolean", "DefaultValue": False},
    ]
    pipeline = account.create_pipeline(
        definition(step("A", "Processing", account.processing("print x")), parameters=parameters)
    )
    given = {"Rate": "fast", "Mode": "medium", "Dry": "maybe", "Other": "1"}
    code, message = error_of(
        account.sagemaker.start_pipeline_execution,
        PipelineName=pipeline,
        PipelineParameters=[{"Name": name, "Value": value} for name, value in given.items()],
    )
    assert code == "ValidationException"
    for name in ("Rate", "Mode", "Dry", "Other", "Count"):
        assert f"'{name}'" in message


def test_pipelines_are_described_listed_updated_and_deleted(account: Account) -> None:
    first = definition(step("A", "Processing", account.processing("print x")))
    name = account.create_pipeline(first)
    code, message = error_of(
        account.sagemaker.create_pipeline, PipelineName=name, RoleArn=account.role, PipelineDefinition=json.dumps(first)
    )
    assert code == "ValidationException"
    assert "must be unique" in message
    execution = account.execute(name)["PipelineExecutionArn"]

    second = json.dumps(definition(step("B", "Processing", account.processing("print y"))))
    location = account.put(second, "definition.json").removeprefix("s3://") + "/definition.json"
    bucket, _, key = location.partition("/")
    account.sagemaker.update_pipeline(
        PipelineName=name, PipelineDefinitionS3Location={"Bucket": bucket, "ObjectKey": key}, PipelineDescription="new"
    )
    described = account.sagemaker.describe_pipeline(PipelineName=name)
    assert json.loads(described["PipelineDefinition"]) == json.loads(second)
    assert (described["PipelineDescription"], described["PipelineStatus"]) == ("new", "Active")
    assert described["CreationTime"] <= described["LastModifiedTime"] + timedelta(0)
    assert account.sagemaker.describe_pipeline(PipelineName=described["PipelineArn"])["PipelineName"] == name
    # An execution keeps the definition that it was started with.
    kept = account.sagemaker.describe_pipeline_definition_for_execution(PipelineExecutionArn=execution)
    assert json.loads(kept["PipelineDefinition"]) == first

    listed = account.sagemaker.list_pipelines(PipelineNamePrefix=name)["PipelineSummaries"]
    assert [entry["PipelineName"] for entry in listed] == [name]
    account.sagemaker.delete_pipeline(PipelineName=name)
    for call, params in (
        (account.sagemaker.describe_pipeline, {"PipelineName": name}),
        (account.sagemaker.start_pipeline_execution, {"PipelineName": name}),
        (account.sagemaker.update_pipeline, {"PipelineName": name}),
        (account.sagemaker.list_pipeline_execution_steps, {"PipelineExecutionArn": execution}),
    ):
        assert error_of(call, **params)[0] == "ResourceNotFound"


def test_a_pipeline_that_runs_is_not_deleted(account: Account) -> None:
    name = account.create_pipeline(definition(step("A", "Processing", account.processing("hang"))))
    arn = account.start(name)
    assert error_of(account.sagemaker.delete_pipeline, PipelineName=name)[0] == "ConflictException"
    account.sagemaker.update_pipeline_execution(PipelineExecutionArn=arn, PipelineExecutionDescription="why")
    account.sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn)
    end = account.execution_end(arn)
    assert (end["PipelineExecutionStatus"], end["PipelineExecutionDescription"]) == ("Stopped", "why")
    account.sagemaker.delete_pipeline(PipelineName=name)


def test_executions_are_listed_the_latest_first(account: Account) -> None:
    name = account.create_pipeline(definition(step("A", "Fail", {"ErrorMessage": "no"})))
    arns = [
        account.execute(name, PipelineExecutionDisplayName=f"run-{number}")["PipelineExecutionArn"]
        for number in range(3)
    ]
    pages = account.sagemaker.get_paginator("list_pipeline_executions").paginate(
        PipelineName=name, PaginationConfig={"PageSize": 2}
    )
    entries = [entry for page in pages for entry in page["PipelineExecutionSummaries"]]
    assert [entry["PipelineExecutionArn"] for entry in entries] == arns[::-1]
    assert entries[0]["PipelineExecutionDisplayName"] == "run-2"
    assert entries[0]["PipelineExecutionFailureReason"] == "Step failure: One or multiple steps failed."


def test_a_bad_definition_is_refused_with_every_mistake(account: Account) -> None:
    bad = definition(
        step("A", "Clarify", {}),
        step("B", "Processing", account.processing("print x"), DependsOn=["Nowhere"]),
        step("C", "Processing", account.processing(get("Parameters.Missing"))),
        parameters=[{"Name": "N", "Type": "Integer", "DefaultValue": "five"}],
    )
    good = account.create_pipeline(definition(step("A", "Fail", {"ErrorMessage": "no"})))
    for call, name in ((account.sagemaker.create_pipeline, account.name()), (account.sagemaker.update_pipeline, good)):
        code, message = error_of(call, PipelineName=name, RoleArn=account.role, PipelineDefinition=json.dumps(bad))
        assert code == "ValidationException"
        for word in ("'Clarify'", "'Nowhere'", "'Missing'", "'five'"):
            assert word in message
    assert "Clarify" not in account.sagemaker.describe_pipeline(PipelineName=good)["PipelineDefinition"]
