"""Destroying a project: all of it, nothing of another, again, and after a part of it is gone."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from pipelines.names import Names
from pipelines.projects import creation, destruction, reading
from pipelines.projects.things import Account
from tests.contract.sagemaker_account import Account as ContractAccount

Mlops = Callable[..., tuple[int, str, str]]
CONFIG_DIGITS = "0123456789"
ROLE = "arn:aws:iam::123456789012:role/mlops-launch"


def _furnish(session: boto3.Session, names: Names) -> None:
    """What work leaves behind, beside the stack."""
    s3, sagemaker, ssm = session.client("s3"), session.client("sagemaker"), session.client("ssm")
    s3.put_bucket_versioning(Bucket=names.bucket, VersioningConfiguration={"Status": "Enabled"})
    for body in (b"one", b"two"):
        s3.put_object(Bucket=names.bucket, Key="cardholders/data/a.csv", Body=body)
    s3.delete_object(Bucket=names.bucket, Key="cardholders/data/a.csv")
    for bucket in (names.code_bucket, names.artifacts_bucket):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": names.region})
        s3.put_object(Bucket=bucket, Key="some/file.zip", Body=b"zip")
    ssm.put_parameter(Name=f"/{names.project}/cardholders/MinRocAuc", Value="0.7", Type="String")
    sagemaker.create_model_package_group(ModelPackageGroupName=names.package_group("cardholders"))
    session.client("ecr").create_repository(repositoryName=names.image_repository("cardholders"))
    session.client("logs").create_log_group(logGroupName=f"/aws/lambda/{names.function('approvals')}")
    sagemaker.create_pipeline(
        PipelineName=names.pipeline("cardholders", "build"),
        PipelineDefinition=json.dumps({"Version": "2020-12-01", "Steps": [_FAIL]}),
        RoleArn=ROLE,
        ClientRequestToken=f"{names.project:0>32}",
    )
    session.client("kms").create_key(
        Description="of the stream", Tags=[{"TagKey": "sagemaker:project-name", "TagValue": names.project}]
    )


_FAIL = {"Name": "Stop", "Type": "Fail", "Arguments": {"ErrorMessage": "never run"}}


def _account(session: boto3.Session, names: Names) -> Account:
    return Account(session, names, 0.05)


def _found(session: boto3.Session, names: Names) -> dict[str, list[str]]:
    """What there is of a project, by kind."""
    found = destruction.look(_account(session, names))
    return {kind.title: [thing.name for thing in things] for kind, things in found.things if things}


def test_everything_is_listed_then_deleted_and_nothing_of_a_neighbour(
    session: boto3.Session, create: Callable[..., Names], mlops: Mlops, tree: Path
) -> None:
    names = create()
    neighbour = create(f"{names.project}-x")
    for one in (names, neighbour):
        _furnish(session, one)
    before = _found(session, neighbour)
    assert set(_found(session, names)) == {
        "what CodePipeline's actions hand on", "code of functions", "images", "repository", "data", "parameters",
        "logs", "keys, deleted after the days that KMS waits", "pipelines", "model packages",
    }  # fmt: skip
    assert _found(session, names)["parameters"] == [
        f"/{names.project}/{name}" for name in ("cardholders/MinRocAuc", "given", "greeting")
    ]

    status, out, err = mlops(tree, "project", "destroy", names.project)
    assert (status, "say --yes" in err) == (2, True)
    assert f"{names.bucket}  (3 objects)" in out
    assert names.pipeline("cardholders", "build") in out

    status, out, err = mlops(tree, "project", "destroy", names.project, "--yes")
    assert status == 0, err
    assert "nothing remains" in out
    assert f"disabled the rule {names.project}-hourly" in out
    assert destruction.look(_account(session, names)).empty
    assert reading.describe(session, names) is None
    with pytest.raises(ClientError):
        session.client("s3").head_bucket(Bucket=names.bucket)

    assert _found(session, neighbour) == before
    status, out, _ = mlops(tree, "project", "destroy", names.project, "--yes")
    assert (status, out) == (0, f"there is nothing of a project `{names.project}`\n")
    assert names.project not in [one.name for one in reading.list_all(session)]

    create(names.project)  # its name is free
    for one in (names, neighbour):
        assert destruction.destroy(_account(session, one)).remaining == ()


@pytest.mark.slow
def test_data_are_kept_when_they_are_to_be(
    session: boto3.Session, create: Callable[..., Names], mlops: Mlops, tree: Path
) -> None:
    names = create()
    _furnish(session, names)
    status, out, err = mlops(tree, "project", "destroy", names.project, "--yes", "--keep-data")
    assert status == 0, err
    assert names.pipeline("cardholders", "build") in out
    assert reading.describe(session, names) is None
    left = _found(session, names)
    assert left["data"] == [names.bucket]
    assert left["model packages"] == [names.package_group("cardholders")]
    assert "pipelines" not in left
    assert mlops(tree, "project", "destroy", names.project, "--yes")[0] == 0
    assert _found(session, names) == {}


def test_what_an_interruption_left_is_found_without_its_stack(
    session: boto3.Session, create: Callable[..., Names]
) -> None:
    names = create()
    _furnish(session, names)
    account = _account(session, names)

    class Interrupted(Exception):
        pass

    def interrupt(text: str) -> None:
        if text.startswith("removing the pipeline"):
            raise Interrupted

    with pytest.raises(Interrupted):
        destruction.destroy(account, tell=interrupt)
    assert reading.describe(session, names) is None
    assert _found(session, names)["data"] == [names.bucket]
    assert destruction.destroy(account).remaining == ()


def test_what_cannot_be_removed_is_named_and_the_rest_is_removed(
    session: boto3.Session, create: Callable[..., Names], mlops: Mlops, tree: Path
) -> None:
    names = create()
    _furnish(session, names)
    cloudformation: Any = session.client("cloudformation")
    [stack] = reading.stacks_of(session, names)
    cloudformation.update_termination_protection(StackName=stack.name, EnableTerminationProtection=True)
    status, _, err = mlops(tree, "project", "destroy", names.project, "--yes")
    assert status == 1
    assert f"stack {stack.name}" in err
    assert "TerminationProtection" in err
    assert "pipelines" not in _found(session, names)
    cloudformation.update_termination_protection(StackName=stack.name, EnableTerminationProtection=False)
    status, _, err = mlops(tree, "project", "destroy", names.project, "--yes")
    assert status == 0, err


def test_a_project_that_mlops_up_has_made_is_destroyed_too(
    session: boto3.Session, tree: Path, made: Names, mlops: Mlops, configuration: Any
) -> None:
    names = creation.project_names(f"alone-{os.getpid()}", configuration)
    [pattern] = reading.stacks_of(session, made)
    cloudformation: Any = session.client("cloudformation")
    cloudformation.create_stack(
        StackName=names.stack,
        TemplateBody=cloudformation.get_template(StackName=pattern.name)["TemplateBody"],
        Parameters=[
            {"ParameterKey": "SageMakerProjectName", "ParameterValue": names.project},
            {"ParameterKey": "RepositoryProvider", "ParameterValue": "None"},
        ],
    )
    cloudformation.get_waiter("stack_create_complete").wait(StackName=names.stack, WaiterConfig={"Delay": 0.1})
    listed = {one.name: one for one in reading.list_all(session)}
    assert listed[names.project].status == reading.NO_PROJECT
    status, out, err = mlops(tree, "project", "destroy", names.project, "--yes")
    assert status == 0, err
    assert f"stack {names.stack} (CREATE_COMPLETE)" in out
    assert destruction.look(_account(session, names)).empty


def test_what_runs_is_stopped_first(session: boto3.Session, create: Callable[..., Names]) -> None:
    names, sagemaker = create(), session.client("sagemaker")
    account = ContractAccount(session.client, names.region)
    job = {
        "AppSpecification": {
            "ImageUri": account.image,
            "ContainerEntrypoint": ["act"],
            "ContainerArguments": ["hang"],
        },
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        },
        "RoleArn": account.role,
    }
    pipeline = names.pipeline("cardholders", "build")
    sagemaker.create_pipeline(
        PipelineName=pipeline,
        PipelineDefinition=json.dumps(
            {"Version": "2020-12-01", "Steps": [{"Name": "Hang", "Type": "Processing", "Arguments": job}]}
        ),
        RoleArn=account.role,
        ClientRequestToken=f"{names.project:0>32}",
    )
    execution = sagemaker.start_pipeline_execution(PipelineName=pipeline)["PipelineExecutionArn"]
    endpoint = names.endpoint("cardholders", "prod")
    config = f"{endpoint}-{CONFIG_DIGITS}"
    container = {"Image": account.image}
    sagemaker.create_model(ModelName=endpoint, PrimaryContainer=container, ExecutionRoleArn=account.role)
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": endpoint,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    for name in (config, f"{endpoint}-x-{CONFIG_DIGITS}"):  # the second could be a neighbour's
        sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=config)

    outcome = destruction.destroy(_account(session, names))
    assert outcome.remaining == ()
    assert f"stopped the execution {execution.rpartition('/')[2]}" in outcome.halted
    kept = sagemaker.list_endpoint_configs(NameContains=endpoint)["EndpointConfigs"]
    assert [one["EndpointConfigName"] for one in kept] == [f"{endpoint}-x-{CONFIG_DIGITS}"]
    for missing in (
        lambda: sagemaker.describe_endpoint(EndpointName=endpoint),
        lambda: sagemaker.describe_pipeline(PipelineName=pipeline),
    ):
        with pytest.raises(ClientError):
            missing()
    sagemaker.delete_endpoint_config(EndpointConfigName=f"{endpoint}-x-{CONFIG_DIGITS}")
    sagemaker.delete_model(ModelName=endpoint)


def test_a_project_that_is_being_made_is_made_first(
    session: boto3.Session, configuration: Any, mlops: Mlops, tree: Path
) -> None:
    names = creation.project_names(f"early-{os.getpid()}", configuration)
    assert mlops(tree, "project", "create", names.project, "--no-wait")[0] == 0
    assert destruction.destroy(_account(session, names)).remaining == ()
    assert destruction.look(_account(session, names)).empty
