"""Starts an execution of a pipeline. `mlops run` and the Lambda functions use this same function.

A pipeline cannot read Parameter Store or the model registry, and takes its time from no clock: what it needs of them is
read here and passed as parameters. boto3 and this package's names only, so that a Lambda function can carry it.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.exceptions import ClientError

from pipelines import names as n
from pipelines import parameter_store, snapshot
from pipelines.carried import serving
from pipelines.errors import ParameterError, ServiceError, suggestion

_DESCRIPTION_LENGTH = 3072


class PipelineMissing(ServiceError):
    """The account has no such pipeline yet."""


def start(
    session: boto3.Session,
    names: n.Names,
    workload: str,
    kind: str,
    *,
    evaluation_time: datetime,
    git_commit: str,
    mlflow_tracking_uri: str,
    input_data_uri: str | None = None,
    overrides: Mapping[str, str] | None = None,
    token: str | None = None,
    display_name: str | None = None,
    description: str | None = None,
) -> str:
    """Start an execution and return its ARN.

    evaluation_time: the moment that the execution is about, aware; what runs never asks the clock of its machine.
    git_commit: the commit that is at work, for the lineage.
    mlflow_tracking_uri: an http(s) address, or the ARN of SageMaker's tracking server.
    input_data_uri: S3 prefix of the data; the workload's own when None.
    overrides: values for this execution alone, by parameter name, that go before all others.
    token: makes the call idempotent: with the same token (an event's id) AWS starts one execution. Any text; None for a
    fresh one.
    display_name: shown in the console. description: likewise, at most 3,072 characters of it.

    Raises PipelineMissing, a ServiceError, when the pipeline does not exist, and ParameterError when Parameter Store
    lacks a runtime value that the pipeline declares, or an override names a parameter that it does not declare.
    """
    if evaluation_time.tzinfo is None:
        raise ValueError(f"evaluation_time {evaluation_time.isoformat()} has no time zone; expected an aware datetime")
    sagemaker = session.client("sagemaker")
    pipeline = names.pipeline(workload, kind)
    declared = _declared_parameters(sagemaker, pipeline, workload, kind)
    given = dict(overrides or {})
    for name in given:
        if name not in declared:
            hint = suggestion(name, declared) or f"; expected one of {', '.join(declared)}"
            raise ParameterError(f"the pipeline `{pipeline}` has no parameter `{name}`{hint}")
    inputs = {
        n.INPUT_DATA_URI: input_data_uri or names.data_uri(workload),
        n.EVALUATION_TIME: evaluation_time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        n.GIT_COMMIT: git_commit,
        n.MLFLOW_TRACKING_URI: mlflow_tracking_uri,
    }
    if n.CHAMPION_MODEL_URI in declared and n.CHAMPION_MODEL_URI not in given:
        inputs[n.CHAMPION_MODEL_URI] = champion_model_uri(sagemaker, session.client("ssm"), names, workload)
    if n.REGISTERED_RUN_ID in declared and n.REGISTERED_RUN_ID not in given:
        inputs[n.REGISTERED_RUN_ID] = registered_run_id(sagemaker, names, workload)
    if n.REGISTERED_MODEL_URI in declared and n.REGISTERED_MODEL_URI not in given:
        inputs[n.REGISTERED_MODEL_URI] = registered_model_uri(sagemaker, names, workload)
    if n.SNAPSHOT_TIME in declared and n.SNAPSHOT_TIME not in given:
        inputs[n.SNAPSHOT_TIME] = snapshot.newest_record(session, names.feature_group(*n.MINUTES), names.queries_uri)
    runtime = [name for name in declared if name not in n.EXECUTION_INPUTS and name not in given]
    stored = parameter_store.read(session.client("ssm"), names.ssm_path(workload)) if runtime else {}
    missing = [name for name in runtime if name not in stored]
    if missing:
        raise ParameterError(
            f"Parameter Store has no {', '.join(missing)} below `{names.ssm_path(workload)}`; `mlops params "
            "create` creates what is missing from the configuration files"
        )
    values = {**stored, **inputs, **given}
    request: dict[str, Any] = {
        "PipelineName": pipeline,
        "PipelineParameters": [{"Name": name, "Value": values[name]} for name in declared],
        # AWS wants 32 to 128 characters, which an event's id need not have.
        "ClientRequestToken": hashlib.sha256((token or uuid.uuid4().hex).encode()).hexdigest(),
    }
    if display_name is not None:
        request["PipelineExecutionDisplayName"] = display_name
    if description is not None:
        request["PipelineExecutionDescription"] = description[:_DESCRIPTION_LENGTH]
    return str(sagemaker.start_pipeline_execution(**request)["PipelineExecutionArn"])


def champion_model_uri(sagemaker: Any, ssm: Any, names: n.Names, workload: str) -> str:
    """Where the model lies that new ones are measured against (`s3://…/model.tar.gz`): the one that production serves,
    before the first deployment that of the latest approved package; `none` when none was ever approved.
    """
    package = _served_package(sagemaker, ssm, names, workload)
    if package is None:
        package = _newest_package(sagemaker, names.package_group(workload), ModelApprovalStatus="Approved")
    return n.NO_CHAMPION if package is None else _model_uri(package)


def registered_run_id(sagemaker: Any, names: n.Names, workload: str) -> str:
    """The MLflow run of the newest package, whatever was decided about it, or `none` when there is none."""
    package = _newest_package(sagemaker, names.package_group(workload))
    return n.NO_RUN if package is None else package.get("CustomerMetadataProperties", {}).get(n.RUN_ID_KEY, n.NO_RUN)


def registered_model_uri(sagemaker: Any, names: n.Names, workload: str) -> str:
    """Where the model of the newest package lies, whatever was decided about it, or `none` when there is none."""
    package = _newest_package(sagemaker, names.package_group(workload))
    return n.NO_MODEL if package is None else _model_uri(package)


def _served_package(sagemaker: Any, ssm: Any, names: n.Names, workload: str) -> dict[str, Any] | None:
    """The model package that production serves; None when it serves none, or one that was deleted."""
    served = serving.find(ssm, names.serving_parameter(workload, "prod"))
    if served is None:
        return None
    try:
        described: dict[str, Any] = sagemaker.describe_model_package(ModelPackageName=served.model_package_arn)
    except ClientError as error:
        if "does not exist" in error.response.get("Error", {}).get("Message", ""):
            return None
        raise
    return described


def _model_uri(package: Mapping[str, Any]) -> str:
    containers = package.get("InferenceSpecification", {}).get("Containers", [])
    uri = containers[0].get("ModelDataUrl") if containers else None
    if not uri:
        raise ServiceError(
            f"the model package `{package['ModelPackageArn']}` names no model data; expected one container with a "
            "ModelDataUrl"
        )
    return str(uri)


def _newest_package(sagemaker: Any, group: str, **filters: str) -> dict[str, Any] | None:
    """The newest model package of a group that passes ListModelPackages' filters, described; None without one."""
    try:
        packages = sagemaker.list_model_packages(
            ModelPackageGroupName=group, SortBy="CreationTime", SortOrder="Descending", MaxResults=1, **filters
        )["ModelPackageSummaryList"]
    except ClientError as error:
        # The group is made by the first registration. AWS says so by either code, and by ValidationException for much
        # else.
        details = error.response.get("Error", {})
        if details.get("Code") == "ResourceNotFound" or "does not exist" in details.get("Message", ""):
            return None
        raise
    if not packages:
        return None
    described: dict[str, Any] = sagemaker.describe_model_package(ModelPackageName=packages[0]["ModelPackageArn"])
    return described


def _declared_parameters(sagemaker: Any, pipeline: str, workload: str, kind: str) -> list[str]:
    """The names of a pipeline's parameters, in its definition's order."""
    try:
        definition = json.loads(sagemaker.describe_pipeline(PipelineName=pipeline)["PipelineDefinition"])
    except sagemaker.exceptions.ResourceNotFound as error:
        verb = f"monitor {workload}" if kind == "monitor" else f"run {workload} {kind}"
        raise PipelineMissing(
            f"the pipeline `{pipeline}` does not exist; `mlops {verb}` creates it from the working tree"
        ) from error
    return [parameter["Name"] for parameter in definition.get("Parameters", [])]
