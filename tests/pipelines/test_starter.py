"""The starter: what an execution cannot read for itself, it is given."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from pipelines import parameters, starter
from pipelines.carried.serving import Serving
from pipelines.errors import ParameterError, ServiceError
from tests.pipelines.furnished import furnish

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def _create_pipeline(project: Any, *declared: str) -> None:
    """A pipeline that declares these parameters, and does nothing."""
    definition = {
        "Version": "2020-12-01",
        "Parameters": [{"Name": name, "Type": "String"} for name in declared],
        "Steps": [{"Name": "Stop", "Type": "Fail", "Arguments": {"ErrorMessage": "nothing to do"}}],
    }
    project.session.client("sagemaker").create_pipeline(
        PipelineName=project.names.pipeline("cardholders", "build"),
        PipelineDefinition=json.dumps(definition),
        RoleArn=project.names.role_arn,
        ClientRequestToken="0" * 32,
    )


def _start(project: Any, **more: Any) -> str:
    given = {"evaluation_time": NOON, "git_commit": "abc123", "mlflow_tracking_uri": "http://127.0.0.1:4611", **more}
    return starter.start(project.session, project.names, "cardholders", "build", **given)


def _passed(project: Any, execution: str) -> dict[str, str]:
    found = project.session.client("sagemaker").list_pipeline_parameters_for_execution(PipelineExecutionArn=execution)
    return {parameter["Name"]: parameter["Value"] for parameter in found["PipelineParameters"]}


def _approve(project: Any, uri: str, status: str = "Approved") -> str:
    sagemaker = project.session.client("sagemaker")
    group = project.names.package_group("cardholders")
    if not sagemaker.list_model_package_groups(NameContains=group)["ModelPackageGroupSummaryList"]:
        sagemaker.create_model_package_group(ModelPackageGroupName=group)
    made = sagemaker.create_model_package(
        ModelPackageGroupName=group,
        ModelApprovalStatus=status,
        InferenceSpecification={
            "Containers": [{"Image": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/model:1", "ModelDataUrl": uri}],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
    )
    return str(made["ModelPackageArn"])


def test_an_execution_gets_its_inputs_and_the_runtime_values(project: Any) -> None:
    parameters.ensure(project.session, project.configuration)
    parameters.set_value(project.session, project.configuration, "cardholders", "MinRocAuc", "0.8")
    _create_pipeline(
        project,
        "InputDataUri",
        "EvaluationTime",
        "GitCommit",
        "ChampionModelUri",
        "MlflowTrackingUri",
        "MinRocAuc",
        "Seed",
    )
    assert _passed(project, _start(project)) == {
        "InputDataUri": project.names.data_uri("cardholders"),
        "EvaluationTime": "2026-11-20T12:00:00Z",
        "GitCommit": "abc123",
        "ChampionModelUri": "none",
        "MlflowTrackingUri": "http://127.0.0.1:4611",
        "MinRocAuc": "0.8",
        "Seed": "0",
    }


def test_only_what_the_pipeline_declares_is_passed(project: Any) -> None:
    _create_pipeline(project, "GitCommit")
    assert _passed(project, _start(project)) == {"GitCommit": "abc123"}


def test_overrides_go_before_all_others_for_one_execution(project: Any) -> None:
    parameters.ensure(project.session, project.configuration)
    _create_pipeline(project, "InputDataUri", "ChampionModelUri", "Seed")
    execution = _start(project, input_data_uri="s3://b/data", overrides={"Seed": "5", "ChampionModelUri": "s3://b/m"})
    assert _passed(project, execution) == {"InputDataUri": "s3://b/data", "ChampionModelUri": "s3://b/m", "Seed": "5"}
    assert _passed(project, _start(project))["Seed"] == "0"


def test_the_champion_is_the_package_that_was_approved_last(project: Any) -> None:
    _create_pipeline(project, "ChampionModelUri")
    for uri, status in (
        ("s3://b/1/model.tar.gz", "Approved"),
        ("s3://b/2/model.tar.gz", "Approved"),
        ("s3://b/3/model.tar.gz", "Rejected"),
        ("s3://b/4/model.tar.gz", "PendingManualApproval"),
    ):
        _approve(project, uri, status)
    assert _passed(project, _start(project)) == {"ChampionModelUri": "s3://b/2/model.tar.gz"}


def test_there_is_no_champion_while_nothing_was_approved(project: Any) -> None:
    sagemaker, ssm = project.session.client("sagemaker"), project.session.client("ssm")
    assert starter.champion_model_uri(sagemaker, ssm, project.names, "cardholders") == "none"
    _approve(project, "s3://b/1/model.tar.gz", "PendingManualApproval")
    assert starter.champion_model_uri(sagemaker, ssm, project.names, "cardholders") == "none"


def test_the_champion_is_what_production_serves_not_what_was_approved_last(project: Any) -> None:
    sagemaker, ssm = project.session.client("sagemaker"), project.session.client("ssm")
    served = _approve(project, "s3://b/1/model.tar.gz", "Approved")
    _approve(project, "s3://b/2/model.tar.gz", "Approved")
    ssm.put_parameter(
        Name=project.names.serving_parameter("cardholders", "prod"),
        Value=Serving(served, 1, "e", "c", datetime(2026, 1, 2, tzinfo=UTC), "arn:e", "s3://b/t").text(),
        Type="String",
    )
    assert starter.champion_model_uri(sagemaker, ssm, project.names, "cardholders") == "s3://b/1/model.tar.gz"
    sagemaker.delete_model_package(ModelPackageName=served)
    assert starter.champion_model_uri(sagemaker, ssm, project.names, "cardholders") == "s3://b/2/model.tar.gz"


def test_the_registered_model_is_that_of_the_newest_package_whatever_was_decided(project: Any) -> None:
    _create_pipeline(project, "RegisteredModelUri")
    assert _passed(project, _start(project)) == {"RegisteredModelUri": "none"}
    for uri, status in (("s3://b/1/model.tar.gz", "Approved"), ("s3://b/2/model.tar.gz", "Rejected")):
        _approve(project, uri, status)
    assert _passed(project, _start(project)) == {"RegisteredModelUri": "s3://b/2/model.tar.gz"}


def test_the_snapshot_is_asked_for_when_the_pipeline_declares_it_and_it_is_not_given(project: Any) -> None:
    _create_pipeline(project, "SnapshotTime")
    given = _start(project, overrides={"SnapshotTime": "2026-11-20T11:00:00Z"})
    assert _passed(project, given) == {"SnapshotTime": "2026-11-20T11:00:00Z"}
    with pytest.raises(ServiceError, match="-forecaster-minutes` does not exist"):
        _start(project)
    furnish(project.session, project.configuration)
    assert _passed(project, _start(project)) == {"SnapshotTime": "none"}


def test_the_same_token_starts_one_execution_and_none_starts_another_each_time(project: Any) -> None:
    _create_pipeline(project, "GitCommit")
    assert _start(project, token="event-1") == _start(project, token="event-1")
    assert _start(project, token="event-2") != _start(project, token="event-1")
    assert _start(project) != _start(project)


def test_times_are_utc(project: Any) -> None:
    _create_pipeline(project, "EvaluationTime")
    elsewhere = NOON.astimezone(timezone(timedelta(hours=-5)))
    assert _passed(project, _start(project, evaluation_time=elsewhere))["EvaluationTime"] == "2026-11-20T12:00:00Z"
    with pytest.raises(ValueError, match="no time zone"):
        _start(project, evaluation_time=datetime(2026, 11, 20))


def test_a_pipeline_that_does_not_exist_is_named_with_the_command_that_makes_it(project: Any) -> None:
    with pytest.raises(ServiceError, match=r"-cardholders-build` does not exist; `mlops run cardholders build`"):
        _start(project)


def test_missing_runtime_values_are_all_named(project: Any) -> None:
    _create_pipeline(project, "GitCommit", "MinRocAuc", "Seed")
    with pytest.raises(ParameterError) as raised:
        _start(project)
    assert "has no MinRocAuc, Seed below" in str(raised.value)
    assert "`mlops params create`" in str(raised.value)


def test_an_override_of_a_parameter_that_is_not_declared_is_refused(project: Any) -> None:
    _create_pipeline(project, "MinRocAuc")
    with pytest.raises(ParameterError, match="no parameter `MinRocAcu`; did you mean `MinRocAuc`"):
        _start(project, overrides={"MinRocAcu": "1"})
