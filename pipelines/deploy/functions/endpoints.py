"""An endpoint: updated to a model, rolled back, and looked at.

Source of the settings' meaning: "Deployment guardrails for updating models in production" in the SageMaker Developer
Guide.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.carried.project import client, names
from pipelines.deploy.functions import deployments
from pipelines.deploy.functions.outcome import Refused
from pipelines.names import VARIANT

_SETTLED = ("InService", "Failed", "OutOfService", "UpdateRollbackFailed")


@dataclass(frozen=True)
class Deployed:
    """What an update has begun: the configuration that it brings, and the one before (empty for a new endpoint)."""

    endpoint: str
    config: str
    previous: str


def update(workload: str, stage: str, execution: str, model: str, settings: Mapping[str, Any]) -> Deployed:
    """Begin to bring a model to a stage's endpoint, which is made if it is missing.

    settings: the stage's, by the names of the pipeline's parameters. Called again for the same execution it goes on
    with what it began. Raises Refused when the endpoint cannot be updated now.
    """
    sagemaker = client("sagemaker")
    endpoint = names().endpoint(workload, stage)
    config = names().endpoint_config(workload, stage, hashlib.sha256(execution.encode()).hexdigest())
    there = describe(endpoint)
    if there is not None and there["EndpointStatus"] == "Failed":
        _remove(endpoint)
        there = None
    known = deployments.find(endpoint)
    previous = known.previous if known is not None and known.config == config else _config_of(there)
    deployments.note_change(endpoint, execution, config=config, previous=previous)
    _create_config(config, workload, stage, model, settings)
    if there is None:
        sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=config, Tags=_tags(workload, stage))
    elif there["EndpointStatus"] != "InService":
        raise Refused(f"the endpoint {endpoint} is {there['EndpointStatus']}, expected InService; deploy again later")
    elif there["EndpointConfigName"] != config:
        sagemaker.update_endpoint(
            EndpointName=endpoint, EndpointConfigName=config, **_guardrails(workload, stage, settings)
        )
    return Deployed(endpoint, config, previous)


def roll_back(endpoint: str, config: str, previous: str) -> str:
    """Begin to undo an update; gives the configuration to wait for, empty for none: the endpoint is removed.

    Nothing happens where SageMaker's own guardrails have rolled back already. Raises Refused when the endpoint cannot
    be changed now.
    """
    there = describe(endpoint)
    if there is None or not config:
        return previous
    if not previous:
        if there["EndpointConfigName"] == config and there["EndpointStatus"] != "Deleting":
            client("sagemaker").delete_endpoint(EndpointName=endpoint)
        return ""
    if there["EndpointStatus"] == "InService" and there["EndpointConfigName"] == config:
        # All at once: what served before needs no canary, and every further minute costs requests.
        client("sagemaker").update_endpoint(EndpointName=endpoint, EndpointConfigName=previous)
    elif there["EndpointStatus"] in ("Failed", "OutOfService", "UpdateRollbackFailed"):
        raise Refused(
            f"the endpoint {endpoint} is {there['EndpointStatus']} and cannot be rolled back: "
            f"{there.get('FailureReason', 'SageMaker gives no reason')}"
        )
    return previous


def settled(endpoint: str, awaited: str) -> tuple[bool, str] | None:
    """Whether an endpoint serves the configuration that is waited for, and why not; None while it is still changing.

    awaited: empty when the endpoint's end is waited for.
    """
    there = describe(endpoint)
    if there is None:
        return (
            (True, f"the endpoint {endpoint} was removed")
            if not awaited
            else (
                False,
                f"the endpoint {endpoint} was deleted while it was deployed to",
            )
        )
    status = there["EndpointStatus"]
    if status not in _SETTLED:
        return None
    reason = there.get("FailureReason", "SageMaker gives no reason")
    if status != "InService":
        return False, f"the endpoint {endpoint} is {status}: {reason}"
    if not awaited:
        return False, f"the endpoint {endpoint} is InService, and was to be removed"
    if there["EndpointConfigName"] != awaited:
        return False, f"SageMaker rolled the endpoint {endpoint} back: {reason}"
    return True, f"the endpoint {endpoint} serves {awaited}"


def describe(endpoint: str) -> dict[str, Any] | None:
    """An endpoint, or None if there is none."""
    sagemaker = client("sagemaker")
    try:
        described: dict[str, Any] = sagemaker.describe_endpoint(EndpointName=endpoint)
    except sagemaker.exceptions.ClientError as error:
        if "Could not find" in error.response["Error"]["Message"]:
            return None
        raise
    return described


def _config_of(endpoint: Mapping[str, Any] | None) -> str:
    return str(endpoint["EndpointConfigName"]) if endpoint is not None else ""


def _create_config(config: str, workload: str, stage: str, model: str, settings: Mapping[str, Any]) -> None:
    variant: dict[str, Any] = {"VariantName": VARIANT, "ModelName": model}
    if settings["Mode"] == "serverless":
        variant["ServerlessConfig"] = {
            "MemorySizeInMB": settings["MemoryMb"],
            "MaxConcurrency": settings["MaxConcurrency"],
        }
    else:
        variant |= {
            "InstanceType": settings["InstanceType"],
            "InitialInstanceCount": settings["InstanceCount"],
            "InitialVariantWeight": 1.0,
        }
    request: dict[str, Any] = {
        "EndpointConfigName": config,
        "ProductionVariants": [variant],
        "Tags": _tags(workload, stage),
    }
    if settings["CapturePercent"]:
        request["DataCaptureConfig"] = {
            "EnableCapture": True,
            "InitialSamplingPercentage": settings["CapturePercent"],
            "DestinationS3Uri": names().capture_uri(workload),
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json", "application/jsonlines"]},
        }
    sagemaker = client("sagemaker")
    try:
        sagemaker.create_endpoint_config(**request)
    except sagemaker.exceptions.ClientError as error:
        # This execution has made it, in a try that was cut off.
        if "already existing" not in error.response["Error"]["Message"]:
            raise


def _guardrails(workload: str, stage: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of UpdateEndpoint beyond the configuration."""
    if settings["Mode"] == "serverless":
        return {}
    routing: dict[str, Any] = {
        "Type": settings["Traffic"],
        "WaitIntervalInSeconds": settings["WaitSeconds"],
    }
    if settings["StepPercent"]:
        size = {"CANARY": "CanarySize", "LINEAR": "LinearStepSize"}[settings["Traffic"]]
        routing[size] = {"Type": "CAPACITY_PERCENT", "Value": settings["StepPercent"]}
    return {
        # Or the update would undo what auto-scaling did. A stage of a fixed size takes the size of its configuration.
        "RetainAllVariantProperties": settings["MaxInstances"] > settings["MinInstances"],
        "DeploymentConfig": {
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": routing,
                "TerminationWaitInSeconds": settings["TerminationWaitSeconds"],
                "MaximumExecutionTimeoutInSeconds": settings["TimeoutSeconds"],
            },
            "AutoRollbackConfiguration": {
                "Alarms": [{"AlarmName": alarm} for alarm in names().rollback_alarms(workload, stage)]
            },
        },
    }


def _remove(endpoint: str) -> None:
    """Delete an endpoint that never came up, which cannot be updated, and wait until it is gone: seconds."""
    sagemaker = client("sagemaker")
    sagemaker.delete_endpoint(EndpointName=endpoint)
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=endpoint, WaiterConfig={"Delay": 1, "MaxAttempts": 30})


def _tags(workload: str, stage: str) -> list[dict[str, str]]:
    return [
        {"Key": "mlops:project", "Value": names().project},
        {"Key": "mlops:workload", "Value": workload},
        {"Key": "mlops:stage", "Value": stage},
    ]
