"""Where the record of an asynchronous invocation goes: a dead-letter queue, or a destination, in AWS's shapes."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from localcloud.context import Context
from localcloud.functions.invocation import Outcome

_LOG = logging.getLogger(__name__)
SERVICES = ("sqs", "sns", "lambda", "events")
_MESSAGE_BYTES = 1024


class Destinations:
    """Sends records, as the role of the function that they are about."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def send(self, target_arn: str, role_arn: str, record: Mapping[str, Any]) -> bool:
        """Send an invocation's record; whether that worked. It is logged if not."""
        text = json.dumps(record, ensure_ascii=False)
        service = service_of(target_arn)
        client = self._context.clients.of(service, role_arn)
        try:
            if service == "sqs":
                client.send_message(QueueUrl=queue_url(self._context.clients.of("sqs"), target_arn), MessageBody=text)
            elif service == "sns":
                client.publish(TopicArn=target_arn, Message=text)
            elif service == "lambda":
                client.invoke(FunctionName=target_arn, InvocationType="Event", Payload=text.encode())
            else:
                self._put_event(client, target_arn, record, text)
        except ClientError as error:
            _LOG.warning("the destination %s of %s: %s", target_arn, record["requestContext"]["functionArn"], error)
            return False
        return True

    def dead_letter(self, target_arn: str, role_arn: str, payload: bytes, attributes: Mapping[str, str]) -> bool:
        """Send an event that could not be handled; whether that worked. It is logged if not."""
        values = {
            name: {"DataType": "Number" if name == "ErrorCode" else "String", "StringValue": value}
            for name, value in attributes.items()
        }
        service = service_of(target_arn)
        client = self._context.clients.of(service, role_arn)
        try:
            if service == "sqs":
                url = queue_url(self._context.clients.of("sqs"), target_arn)
                client.send_message(QueueUrl=url, MessageBody=payload.decode(), MessageAttributes=values)
            else:
                client.publish(TopicArn=target_arn, Message=payload.decode(), MessageAttributes=values)
        except ClientError as error:
            _LOG.warning("the dead-letter queue %s: %s", target_arn, error)
            return False
        return True

    def _put_event(self, client: Any, bus_arn: str, record: Mapping[str, Any], text: str) -> None:
        succeeded = record["requestContext"]["condition"] == "Success"
        entry = {
            "Source": "lambda",
            "DetailType": f"Lambda Function Invocation Result - {'Success' if succeeded else 'Failure'}",
            "Detail": text,
            "Resources": [bus_arn, record["requestContext"]["functionArn"]],
            "EventBusName": bus_arn,
        }
        answer = client.put_events(Entries=[entry])
        if answer["FailedEntryCount"]:
            _LOG.warning("the destination %s: %s", bus_arn, answer["Entries"][0].get("ErrorMessage"))


def service_of(arn: str) -> str:
    """The service that an ARN is of, for example `sqs`."""
    parts = arn.split(":")
    return parts[2] if len(parts) > 5 else ""


def queue_url(client: Any, queue_arn: str) -> str:
    """The URL of a queue, by a client that is no role's: Lambda does not ask the role for it. Raises ClientError for
    a queue that is not there."""
    url: str = client.get_queue_url(QueueName=queue_arn.rpartition(":")[2])["QueueUrl"]
    return url


def record_of(
    arn: str, request_id: str, payload: bytes, condition: str, count: int, now: datetime, outcome: Outcome | None
) -> dict[str, Any]:
    """The record of an invocation, as destinations get it. `outcome` is None where the function never ran."""
    record: dict[str, Any] = {
        "version": "1.0",
        "timestamp": f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03}Z",
        "requestContext": {
            "requestId": request_id,
            "functionArn": f"{arn}:$LATEST",
            "condition": condition,
            "approximateInvokeCount": count,
        },
        "requestPayload": json.loads(payload),
    }
    if outcome is not None:
        response: dict[str, Any] = {"statusCode": 200, "executedVersion": "$LATEST"}
        if outcome.error is not None:
            response["functionError"] = outcome.error
        record |= {"responseContext": response, "responsePayload": json.loads(outcome.payload)}
    return record


def dead_letter_attributes(request_id: str, outcome: Outcome | None, reason: str) -> dict[str, str]:
    """The attributes of a dead letter: which request, and what was wrong with it."""
    message, code = reason, "429"
    if outcome is not None:
        code = "200"
        message = str(json.loads(outcome.payload).get("errorMessage", reason))
    cut = message.encode()[:_MESSAGE_BYTES].decode(errors="ignore")
    return {"RequestID": request_id, "ErrorCode": code, "ErrorMessage": cut or "Unhandled"}
