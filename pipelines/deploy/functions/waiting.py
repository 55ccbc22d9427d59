"""Goes on with executions that wait for an endpoint.

Two things start it: a Callback step, by its message in the queue, and an endpoint, by the event that it has changed.
Whichever comes last finds the other: the message's token is kept in the table of deployments until the endpoint has
settled. The message stays in the queue as long, and comes again after a minute: the net below an event that is lost.

Source: "Callback step" in the SageMaker Developer Guide.
"""

from __future__ import annotations

import json
from typing import Any

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from pipelines.carried.project import NotYet, client, each_record, log
from pipelines.deploy.functions import deployments, endpoints
from pipelines.deploy.functions.outcome import FAILED, OK, REASON_LENGTH


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Take a batch of messages, or an event of an endpoint."""
    if "Records" in event:
        return each_record(event, context, _message)
    _endpoint_changed(event["detail"]["EndpointName"])
    return {}


def _message(record: SQSRecord) -> None:
    body = json.loads(record.body)
    token, arguments = body["token"], body["arguments"]
    if body["status"] == "Stopping":
        # An execution is stopped only when its Callback step has been told so.
        _give_up(token)
        return
    if arguments["Status"] != OK:
        _go_on(token, False, arguments["Reason"])
        return
    endpoint, awaited = arguments["EndpointName"], arguments["EndpointConfigName"]
    held = deployments.find(endpoint)
    if held is None or held.execution != body["pipelineExecutionArn"]:
        _go_on(token, False, f"the deployment to {endpoint} was ended by another")
        return
    # Kept before it is looked: an event between the two would find nobody waiting.
    deployments.note_waiting(endpoint, held.execution, token=token, awaited=awaited)
    outcome = endpoints.settled(endpoint, awaited)
    if outcome is None:
        raise NotYet(f"the endpoint {endpoint} is still changing")
    _go_on(token, *outcome)


def _endpoint_changed(endpoint: str) -> None:
    held = deployments.find(endpoint)
    if held is None or not held.token:
        return
    outcome = endpoints.settled(endpoint, held.awaited)
    if outcome is not None:
        _go_on(held.token, *outcome)


def _give_up(token: str) -> None:
    client("sagemaker").send_pipeline_execution_step_failure(
        CallbackToken=token, FailureReason="the execution was stopped while it waited for the endpoint"
    )


def _go_on(token: str, good: bool, reason: str) -> None:
    """Complete a Callback step. It succeeds either way: what comes of it is the pipeline's to decide."""
    sagemaker = client("sagemaker")
    try:
        sagemaker.send_pipeline_execution_step_success(
            CallbackToken=token,
            OutputParameters=[
                {"Name": "Status", "Value": OK if good else FAILED},
                {"Name": "Reason", "Value": reason[:REASON_LENGTH]},
            ],
        )
        log.info("went on", extra={"good": good, "reason": reason})
    except sagemaker.exceptions.ClientError as error:
        # Somebody else was faster, or the execution has ended.
        if error.response["Error"]["Code"] not in ("ConflictException", "ResourceNotFound", "ValidationException"):
            raise
        log.info("nobody waits any more", extra={"said": error.response["Error"]["Message"]})
