"""What a project has in SageMaker: endpoints, models, pipelines, packages, feature groups."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from botocore.exceptions import ClientError

from pipelines.errors import ServiceError
from pipelines.names import ENDPOINT_CONFIG_DIGITS, HOLDERS, KINDS, MINUTES, STAGES, VARIANT
from pipelines.projects.things import WORKLOADS, Account, Kind, Thing, is_absent, unless_absent

__all__ = ["ENDPOINTS", "KINDS_OF_MODELS"]

_LONGEST_SECONDS = 1800.0
_IN_MOTION = ("Creating", "Updating", "SystemUpdating", "RollingBack")
# Executions of these make models: of a transform, and of an endpoint.
_MAKES_MODELS = ("build", *(f"deploy-{stage}" for stage in STAGES))


def _endpoints(account: Account) -> Iterator[Thing]:
    for name in _endpoint_names(account):
        if (found := _endpoint(account, name)) is not None:
            yield Thing("endpoint", name, found["EndpointStatus"])


def _remove_endpoint(account: Account, thing: Thing) -> None:
    """Once it stands still: SageMaker deletes no endpoint that is being updated."""
    with suppress(account.client("application-autoscaling").exceptions.ObjectNotFoundException):
        account.client("application-autoscaling").deregister_scalable_target(
            ServiceNamespace="sagemaker",
            ResourceId=f"endpoint/{thing.name}/variant/{VARIANT}",
            ScalableDimension="sagemaker:variant:DesiredInstanceCount",
        )
    _wait(account, thing.name, lambda found: found["EndpointStatus"] not in _IN_MOTION)
    with unless_absent():
        account.client("sagemaker").delete_endpoint(EndpointName=thing.name)
    _wait(account, thing.name, lambda found: False)


def _endpoint_names(account: Account) -> list[str]:
    return [account.names.endpoint(workload, stage) for workload in WORKLOADS for stage in STAGES]


def _endpoint(account: Account, name: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = account.client("sagemaker").describe_endpoint(EndpointName=name)
    except ClientError as error:
        if is_absent(error):
            return None
        raise
    return found


def _wait(account: Account, name: str, enough: Callable[[dict[str, Any]], bool]) -> None:
    """Until an endpoint is gone, or is as it is looked for."""
    deadline = time.monotonic() + _LONGEST_SECONDS
    while (found := _endpoint(account, name)) is not None and not enough(found):
        if time.monotonic() > deadline:
            status = found["EndpointStatus"]
            raise ServiceError(f"the endpoint `{name}` is {status} for half an hour; run this again later")
        time.sleep(account.poll_seconds)


def _configs(account: Account) -> Iterator[Thing]:
    """What a deployment names: the endpoint's name, and digits of its execution's digest."""
    endpoints = "|".join(map(re.escape, _endpoint_names(account)))
    ours = re.compile(f"({endpoints})-[0-9a-f]{{{ENDPOINT_CONFIG_DIGITS}}}")
    listed = account.pages(
        "sagemaker", "list_endpoint_configs", "EndpointConfigs", NameContains=f"{account.names.project}-"
    )
    for found in listed:
        if ours.fullmatch(found["EndpointConfigName"]):
            yield Thing("endpoint configuration", found["EndpointConfigName"])


def _remove_config(account: Account, thing: Thing) -> None:
    with unless_absent():
        account.client("sagemaker").delete_endpoint_config(EndpointConfigName=thing.name)


def _models(account: Account) -> Iterator[Thing]:
    """What the executions of its pipelines made; SageMaker names them, so that nothing else tells whose they are."""
    sagemaker = account.client("sagemaker")
    seen: set[str] = set()
    for pipeline in (account.names.pipeline(workload, kind) for workload in WORKLOADS for kind in _MAKES_MODELS):
        for execution in account.pages(
            "sagemaker", "list_pipeline_executions", "PipelineExecutionSummaries", PipelineName=pipeline
        ):
            for step in account.pages(
                "sagemaker",
                "list_pipeline_execution_steps",
                "PipelineExecutionSteps",
                PipelineExecutionArn=execution["PipelineExecutionArn"],
            ):
                arn = step.get("Metadata", {}).get("Model", {}).get("Arn")
                name = arn.rpartition("/")[2] if arn else ""
                if not name or name in seen:
                    continue
                seen.add(name)
                with unless_absent():
                    yield Thing("model", sagemaker.describe_model(ModelName=name)["ModelName"])


def _remove_model(account: Account, thing: Thing) -> None:
    with unless_absent():
        account.client("sagemaker").delete_model(ModelName=thing.name)


def _pipelines(account: Account) -> Iterator[Thing]:
    for workload in WORKLOADS:
        for kind in KINDS:
            name = account.names.pipeline(workload, kind)
            with unless_absent():
                account.client("sagemaker").describe_pipeline(PipelineName=name)
                yield Thing("pipeline", name)


def _remove_pipeline(account: Account, thing: Thing) -> None:
    with unless_absent():
        account.client("sagemaker").delete_pipeline(PipelineName=thing.name)


def _groups(account: Account) -> Iterator[Thing]:
    for workload in WORKLOADS:
        name = account.names.package_group(workload)
        with unless_absent():
            account.client("sagemaker").describe_model_package_group(ModelPackageGroupName=name)
            count = sum(1 for _ in _packages(account, name))
            yield Thing("model package group", name, f"{count} packages")


def _remove_group(account: Account, thing: Thing) -> None:
    sagemaker = account.client("sagemaker")
    for package in _packages(account, thing.name):
        with unless_absent():
            sagemaker.delete_model_package(ModelPackageName=package["ModelPackageArn"])
    with unless_absent():
        sagemaker.delete_model_package_group(ModelPackageGroupName=thing.name)


def _packages(account: Account, group: str) -> list[Any]:
    return list(
        account.pages("sagemaker", "list_model_packages", "ModelPackageSummaryList", ModelPackageGroupName=group)
    )


def _feature_groups(account: Account) -> Iterator[Thing]:
    for workload, features in (MINUTES, HOLDERS):
        name = account.names.feature_group(workload, features)
        with unless_absent():
            found = account.client("sagemaker").describe_feature_group(FeatureGroupName=name)
            yield Thing("feature group", name, found["FeatureGroupStatus"])


def _remove_feature_group(account: Account, thing: Thing) -> None:
    sagemaker = account.client("sagemaker")
    deadline = time.monotonic() + _LONGEST_SECONDS
    with unless_absent():
        sagemaker.delete_feature_group(FeatureGroupName=thing.name)
        while time.monotonic() < deadline:
            found = sagemaker.describe_feature_group(FeatureGroupName=thing.name)
            if found["FeatureGroupStatus"] == "DeleteFailed":
                raise ServiceError(
                    f"the feature group `{thing.name}` is DeleteFailed: {found.get('FailureReason', '')}"
                )
            time.sleep(account.poll_seconds)


ENDPOINTS = Kind("endpoints", _endpoints, _remove_endpoint)
KINDS_OF_MODELS = (
    Kind("endpoint configurations", _configs, _remove_config),
    Kind("models", _models, _remove_model),
    Kind("pipelines", _pipelines, _remove_pipeline),
    Kind("model packages", _groups, _remove_group, data=True),
    Kind("feature groups", _feature_groups, _remove_feature_group, data=True),
)
