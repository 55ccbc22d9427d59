"""What a rule can lead to, and how each is called.

The role of a target makes the call. Functions and queues need none: there the resource's own policy must let
EventBridge in, and where it does not, the delivery fails as on AWS.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError, ParamValidationError

from localcloud.context import Context
from localcloud.errors import validation
from localcloud.events import inputs
from localcloud.resource_policies import allows

_PRINCIPAL = "events.amazonaws.com"
_KNOWN = (
    re.compile(r"arn:aws[a-z-]*:lambda:[^:]*:\d*:function:[^:]+(:\$LATEST)?"),
    re.compile(r"arn:aws[a-z-]*:sqs:[^:]*:\d*:[^:]+"),
    re.compile(r"arn:aws[a-z-]*:sns:[^:]*:\d*:[^:]+"),
    re.compile(r"arn:aws[a-z-]*:sagemaker:[^:]*:\d*:pipeline/[^/]+"),
    re.compile(r"arn:aws[a-z-]*:codepipeline:[^:]*:\d*:[A-Za-z0-9.@_-]+"),
    re.compile(r"arn:aws[a-z-]*:events:[^:]*:\d*:event-bus/.+"),
    re.compile(r"arn:aws[a-z-]*:logs:[^:]*:\d*:log-group:[^:]+(:\*)?"),
)
_OPTIONS = frozenset(
    {
        "Id",
        "Arn",
        "RoleArn",
        "Input",
        "InputPath",
        "InputTransformer",
        "SqsParameters",
        "SageMakerPipelineParameters",
        "DeadLetterConfig",
        "RetryPolicy",
    }
)
_STARTED_BY = "codepipeline/started-by"
_THROTTLED = frozenset(
    {
        "TooManyRequestsException",
        "ThrottlingException",
        "Throttling",
        "RequestThrottled",
        "ProvisionedThroughputExceeded",
    }
)


class DeliveryError(Exception):
    """A delivery that failed. `code` is the one that a dead letter bears, `again` whether another try may help."""

    def __init__(self, code: str, message: str, *, again: bool = False) -> None:
        super().__init__(message)
        self.code, self.again = code, again


@dataclass(frozen=True)
class Delivery:
    """One event on its way to one target."""

    key: str
    """The same for every try."""
    target: Mapping[str, Any]
    rule_arn: str
    event: Mapping[str, Any]
    text: str
    """What the target gets."""


def service_of(arn: str) -> str:
    """The service that an ARN is of, for example `sqs`."""
    return arn.split(":")[2]


def check(target: Mapping[str, Any]) -> None:
    """Raise ValidationException for a target that nothing can be delivered to, naming what is wrong."""
    arn, identifier = target["Arn"], target["Id"]
    if not any(pattern.fullmatch(arn) for pattern in _KNOWN):
        raise validation(
            "localcloud's targets are Lambda functions, SQS queues, SNS topics, SageMaker pipelines, CodePipeline's"
            f" pipelines, event buses and CloudWatch log groups; got the Arn {arn!r} for target {identifier}"
        )
    for member in target.keys() - _OPTIONS:
        raise validation(f"localcloud's targets have no {member}; got {target[member]!r} for target {identifier}")
    service = service_of(arn)
    if service in ("sagemaker", "codepipeline") and not target.get("RoleArn"):
        raise validation(f"RoleArn is required for target {arn}.")
    if target.get("SageMakerPipelineParameters") and service != "sagemaker":
        raise validation(f"SageMakerPipelineParameters do not apply to target {arn}.")
    group = target.get("SqsParameters", {}).get("MessageGroupId")
    if arn.endswith(".fifo") != bool(group) and service == "sqs":
        what = "is required for" if not group else "does not apply to"
        raise validation(f"Parameter(s) MessageGroupId {what} target {identifier} with the queue {arn}.")
    letters = target.get("DeadLetterConfig", {}).get("Arn")
    if letters and (service_of(letters) != "sqs" or letters.endswith(".fifo")):
        raise validation(f"DeadLetterConfig must name a standard SQS queue; got {letters!r} for target {identifier}")


class Targets:
    """Calls targets. `forward` takes an event for another bus: the bus's ARN and the event."""

    def __init__(self, context: Context, forward: Any) -> None:
        self._context, self._forward = context, forward

    def deliver(self, delivery: Delivery) -> None:
        """Make the call that a delivery is for. Raises DeliveryError."""
        service = service_of(delivery.target["Arn"])
        try:
            {
                "lambda": self._function,
                "sqs": self._queue,
                "sns": self._topic,
                "sagemaker": self._pipeline,
                "codepipeline": self._code_pipeline,
                "events": self._bus,
                "logs": self._log_group,
            }[service](delivery)
        except ClientError as error:
            raise delivery_error(error) from error
        except (ParamValidationError, inputs.InputError) as error:
            raise DeliveryError("INVALID_PARAMETER", str(error)) from error

    def dead_letter(self, delivery: Delivery, text: str, attributes: Mapping[str, str]) -> None:
        """Send what could not be delivered to the target's queue for that. Raises DeliveryError."""
        arn = delivery.target["DeadLetterConfig"]["Arn"]
        values = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items() if value}
        try:
            client = self._context.clients.of("sqs")
            url = self._queue_url(arn)
            self._let_in(client, url, arn, delivery.rule_arn)
            client.send_message(QueueUrl=url, MessageBody=text, MessageAttributes=values)
        except ClientError as error:
            raise delivery_error(error) from error

    def _client(self, service: str, delivery: Delivery) -> Any:
        return self._context.clients.of(service, delivery.target.get("RoleArn"))

    def _function(self, delivery: Delivery) -> None:
        arn = delivery.target["Arn"]
        client = self._client("lambda", delivery)
        # Asked for by localcloud itself: it stands for the check that Lambda makes on AWS.
        asking = self._context.clients.of("lambda")
        if not delivery.target.get("RoleArn"):
            try:
                policy = asking.get_policy(FunctionName=arn)["Policy"]
            except ClientError as error:
                if error.response["Error"]["Code"] != "ResourceNotFoundException":
                    raise
                asking.get_function_configuration(FunctionName=arn)
                policy = None
            self._check_policy(policy, "lambda:InvokeFunction", arn, delivery.rule_arn)
        client.invoke(FunctionName=arn, InvocationType="Event", Payload=delivery.text.encode())

    def _queue(self, delivery: Delivery) -> None:
        arn = delivery.target["Arn"]
        client = self._client("sqs", delivery)
        url = self._queue_url(arn)
        if not delivery.target.get("RoleArn"):
            self._let_in(client, url, arn, delivery.rule_arn)
        params = {"QueueUrl": url, "MessageBody": delivery.text}
        group = delivery.target.get("SqsParameters", {}).get("MessageGroupId")
        if group:
            params |= {"MessageGroupId": group, "MessageDeduplicationId": delivery.key}
        client.send_message(**params)

    def _topic(self, delivery: Delivery) -> None:
        arn = delivery.target["Arn"]
        let_in = self._context.authority.lets_in(_PRINCIPAL, "sns:Publish", arn, delivery.rule_arn)
        if not delivery.target.get("RoleArn") and not let_in:
            raise _not_let_in(arn, "sns:Publish", delivery.rule_arn)
        self._client("sns", delivery).publish(TopicArn=arn, Message=delivery.text)

    def _pipeline(self, delivery: Delivery) -> None:
        parameters = []
        for entry in delivery.target.get("SageMakerPipelineParameters", {}).get("PipelineParameterList", []):
            value = entry["Value"]
            if value.startswith("$."):
                value = inputs.text_at(value, delivery.event)
            parameters.append({"Name": entry["Name"], "Value": value})
        # Two tries of one delivery start one execution.
        self._client("sagemaker", delivery).start_pipeline_execution(
            PipelineName=delivery.target["Arn"], PipelineParameters=parameters, ClientRequestToken=delivery.key
        )

    def _code_pipeline(self, delivery: Delivery) -> None:
        """An input that is made for it may give variables and source revisions; of the event itself nothing is taken.
        Source: "CodeCommit source actions and EventBridge" (AWS CodePipeline User Guide)."""
        target = delivery.target
        given: dict[str, Any] = {}
        if target.get("Input") or target.get("InputTransformer"):
            try:
                found = json.loads(delivery.text)
            except ValueError as error:
                raise DeliveryError("INVALID_JSON", f"The input of {target['Arn']} is no JSON: {error}") from None
            if isinstance(found, dict):
                given = {name: found[name] for name in ("variables", "sourceRevisions") if name in found}
        # So that the execution can tell which rule started it: nothing of the request does.
        self._context.store.put(_STARTED_BY, delivery.key, {"RuleArn": delivery.rule_arn})
        try:
            # Two tries of one delivery start one execution.
            self._client("codepipeline", delivery).start_pipeline_execution(
                name=target["Arn"].rpartition(":")[2], clientRequestToken=delivery.key, **given
            )
        finally:
            self._context.store.delete(_STARTED_BY, delivery.key)

    def _bus(self, delivery: Delivery) -> None:
        self._forward(delivery.target["Arn"], delivery.event)

    def _log_group(self, delivery: Delivery) -> None:
        group = delivery.target["Arn"].partition(":log-group:")[2].removesuffix(":*")
        client = self._client("logs", delivery)
        client.create_log_stream(logGroupName=group, logStreamName=delivery.key)
        now = int(self._context.clock.now().timestamp() * 1000)
        client.put_log_events(
            logGroupName=group, logStreamName=delivery.key, logEvents=[{"timestamp": now, "message": delivery.text}]
        )

    def _queue_url(self, arn: str) -> str:
        # Not as a role, which need not be allowed it.
        url: str = self._context.clients.of("sqs").get_queue_url(QueueName=arn.rpartition(":")[2])["QueueUrl"]
        return url

    def _let_in(self, client: Any, url: str, arn: str, rule_arn: str) -> None:
        found = self._context.leaf.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])
        self._check_policy(found.get("Attributes", {}).get("Policy"), "sqs:SendMessage", arn, rule_arn)

    def _check_policy(self, policy: str | None, action: str, arn: str, rule_arn: str) -> None:
        account = self._context.account_id
        if not allows(policy, service=_PRINCIPAL, action=action, source_arn=rule_arn, account=account):
            raise _not_let_in(arn, action, rule_arn)


def _not_let_in(arn: str, action: str, rule_arn: str) -> DeliveryError:
    return DeliveryError(
        "NO_PERMISSIONS", f"The policy of {arn} does not let {_PRINCIPAL} do {action} for the rule {rule_arn}"
    )


def delivery_error(error: ClientError) -> DeliveryError:
    """What the error of a call means for a delivery."""
    code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
    status = error.response["ResponseMetadata"].get("HTTPStatusCode", 400)
    text = f"{code}: {message}"
    if code in _THROTTLED:
        return DeliveryError("THROTTLING", text, again=True)
    if status >= 500:
        return DeliveryError("INTERNAL_ERROR", text, again=True)
    if "NotFound" in code or "NonExistent" in code:
        return DeliveryError("NO_RESOURCE", text)
    if "AccessDenied" in code:
        return DeliveryError("NO_PERMISSIONS", text)
    return DeliveryError("SDK_CLIENT_ERROR", text)
