"""The Lambda steps of the deploy pipelines (`pipelines/deploy/pipeline.py`), each by its `Action`.

An event has Action, ModelPackageArn, Stage, Workload, ExecutionArn, and what the action needs beside; Status and Reason
of the step before, where there is one that may have failed. The result has Status (`Ok` or `Failed`), Reason, and the
step's own outputs, all texts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from pipelines.carried.project import client, log, names
from pipelines.carried.serving import Serving
from pipelines.deploy.functions import deployments, endpoints, golden, packages, scaling, serving
from pipelines.deploy.functions.mlflow import MlflowError
from pipelines.deploy.functions.outcome import OK, Refused, failed, ok
from pipelines.names import DEPLOY_KINDS, GOLDEN_REQUESTS_KEY

Event = Mapping[str, Any]


@log.inject_lambda_context
def handler(event: dict[str, Any], _: LambdaContext) -> dict[str, str]:
    """Do what the event's Action says. A step whose predecessor failed passes that on.

    Raises Refused and what else keeps `mark` from its work: no step comes after it that could roll back.
    """
    action, outputs = ACTIONS[event["Action"]]
    empty = dict.fromkeys(outputs, "")
    if event.get("Status", OK) != OK:
        return failed(event["Reason"], **empty)
    if action is _mark:
        return {**empty, **action(event)}
    try:
        result = action(event)
    except Refused as error:
        result = failed(str(error))
    except ClientError as error:
        said = error.response["Error"]
        result = failed(f"AWS refused {error.operation_name}: {said['Code']}: {said['Message']}")
    except (BotoCoreError, MlflowError) as error:
        result = failed(str(error))
    log.info(event["Action"], extra={"package": event["ModelPackageArn"], "stage": event["Stage"], "result": result})
    return {**empty, **result}


def _verify(event: Event) -> dict[str, str]:
    """Hold the stage, and look whether the package may be deployed to it."""
    package, workload, stage = event["ModelPackageArn"], event["Workload"], event["Stage"]
    holder = deployments.hold(names().endpoint(workload, stage), event["ExecutionArn"], package)
    if holder is not None:
        raise Refused(f"{stage} is being deployed to by {holder}; deploy again when it has ended")
    described = packages.verify(package, workload, stage)
    container = described["InferenceSpecification"]["Containers"][0]
    return ok(ImageUri=container["Image"], ModelDataUrl=container["ModelDataUrl"])


def _update(event: Event) -> dict[str, str]:
    """Begin to bring the model to the endpoint."""
    begun = endpoints.update(event["Workload"], event["Stage"], event["ExecutionArn"], event["ModelName"], event)
    return ok(EndpointName=begun.endpoint, EndpointConfigName=begun.config, PreviousConfigName=begun.previous)


def _test(event: Event) -> dict[str, str]:
    """Ask the endpoint the golden requests, and keep what it said as a report."""
    workload, stage, package = event["Workload"], event["Stage"], event["ModelPackageArn"]
    described = packages.still_there(package)
    endpoint = names().endpoint(workload, stage)
    requests = golden.load(client("s3"), described["CustomerMetadataProperties"][GOLDEN_REQUESTS_KEY])
    verdicts = golden.test(client("sagemaker-runtime"), endpoint, requests)
    report = golden.report(endpoint, package, verdicts)
    uri = f"{names().outputs_uri(workload, DEPLOY_KINDS[stage])}/{event['ExecutionArn'].rpartition('/')[2]}/tests.json"
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    client("s3").put_object(
        Bucket=bucket, Key=key, Body=json.dumps(report, indent=2).encode(), ContentType="application/json"
    )
    wrong = [verdict for verdict in verdicts if verdict.problem]
    if wrong:
        told = "; ".join(f"{verdict.name}: {verdict.problem}" for verdict in wrong[:3])
        return failed(f"{len(wrong)} of {len(verdicts)} golden requests were answered wrongly: {told}", ReportUri=uri)
    return ok(ReportUri=uri)


def _scale(event: Event) -> dict[str, str]:
    """Fix the endpoint's size, or let it follow the requests."""
    scaling.set_scaling(
        names().endpoint(event["Workload"], event["Stage"]),
        least=event["MinInstances"],
        most=event["MaxInstances"],
        invocations_per_instance=event["InvocationsPerInstance"],
    )
    return ok()


def _mark(event: Event) -> dict[str, str]:
    """Make known what the stage serves, and give the stage back."""
    workload, stage, package = event["Workload"], event["Stage"], event["ModelPackageArn"]
    described = packages.still_there(package)
    endpoint = names().endpoint(workload, stage)
    there = client("sagemaker").describe_endpoint(EndpointName=endpoint)
    now = Serving(
        model_package_arn=package,
        version=described["ModelPackageVersion"],
        endpoint=endpoint,
        endpoint_config=event["EndpointConfigName"],
        # The account's own time, to which those of alarms and events compare: when the update was through.
        since=there["LastModifiedTime"].astimezone(UTC),
        execution_arn=event["ExecutionArn"],
        test_report_uri=event["ReportUri"],
    )
    serving.mark(now, described, workload, stage, event["MlflowTrackingUri"], endpoint_arn=there["EndpointArn"])
    deployments.release(endpoint, event["ExecutionArn"])
    return ok()


def _roll_back(event: Event) -> dict[str, str]:
    """Begin to undo the update."""
    endpoint = names().endpoint(event["Workload"], event["Stage"])
    awaited = endpoints.roll_back(endpoint, event["EndpointConfigName"], event["PreviousConfigName"])
    return ok(EndpointName=endpoint, EndpointConfigName=awaited)


# What each action does, and the outputs that it has beside Status and Reason.
ACTIONS: dict[str, tuple[Callable[[Event], dict[str, str]], tuple[str, ...]]] = {
    "verify": (_verify, ("ImageUri", "ModelDataUrl")),
    "update": (_update, ("EndpointName", "EndpointConfigName", "PreviousConfigName")),
    "test": (_test, ("ReportUri",)),
    "scale": (_scale, ()),
    "mark": (_mark, ()),
    "roll_back": (_roll_back, ("EndpointName", "EndpointConfigName")),
}
