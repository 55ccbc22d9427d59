"""What a schedule can reach, and how each is called: as the schedule's role, with the schedule's input.

Sources: "Using templated targets in EventBridge Scheduler", "Adding context attributes in EventBridge Scheduler" and
"Configuring a schedule's dead-letter queue" (EventBridge Scheduler User Guide).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from botocore.exceptions import ClientError, ParamValidationError

from localcloud.context import Context
from localcloud.errors import validation
from localcloud.events.targets import DeliveryError, delivery_error, service_of

_KNOWN = {
    "lambda": re.compile(r"arn:aws[a-z-]*:lambda:[^:]*:\d*:function:[^:]+(:\$LATEST)?"),
    "sqs": re.compile(r"arn:aws[a-z-]*:sqs:[^:]*:\d*:[^:]+"),
    "sns": re.compile(r"arn:aws[a-z-]*:sns:[^:]*:\d*:[^:]+"),
    "events": re.compile(r"arn:aws[a-z-]*:events:[^:]*:\d*:event-bus/.+"),
    "sagemaker": re.compile(r"arn:aws[a-z-]*:sagemaker:[^:]*:\d*:pipeline/[^/]+"),
    "ecs": re.compile(r"arn:aws[a-z-]*:ecs:[^:]*:\d*:cluster/[^/]+"),
}
_UNIVERSAL = re.compile(r"arn:aws[a-z-]*:scheduler:::aws-sdk:.*", re.DOTALL)
# The service that a member of a target belongs to, and whether a target of it must have the member.
_OPTIONS = {
    "SqsParameters": "sqs",
    "EventBridgeParameters": "events",
    "SageMakerPipelineParameters": "sagemaker",
    "EcsParameters": "ecs",
}
_REQUIRED = {"events": "EventBridgeParameters", "ecs": "EcsParameters"}
_REFUSED = ("KinesisParameters",)
_JSON = ("lambda", "events", "ecs")
# Members of RunTask by their names in EcsParameters.
_RUN_TASK = {
    "CapacityProviderStrategy": "capacityProviderStrategy",
    "EnableECSManagedTags": "enableECSManagedTags",
    "EnableExecuteCommand": "enableExecuteCommand",
    "Group": "group",
    "LaunchType": "launchType",
    "PlacementConstraints": "placementConstraints",
    "PlacementStrategy": "placementStrategy",
    "PlatformVersion": "platformVersion",
    "PropagateTags": "propagateTags",
    "ReferenceId": "referenceId",
    "TaskCount": "count",
    "TaskDefinitionArn": "taskDefinition",
}
_STARTED_BY_CHARACTERS = 128
_MESSAGE_CHARACTERS = 1024


@dataclass(frozen=True)
class Invocation:
    """One occurrence of a schedule on its way to the target."""

    schedule_arn: str
    scheduled: datetime
    """The occurrence, which a flexible window may have moved the invocation away from."""
    target: Mapping[str, Any]
    attempt: int
    """From 1."""
    account_id: str
    region: str

    @cached_property
    def token(self) -> str:
        """The same for every attempt, before and after a restart: 64 characters."""
        return hashlib.sha256(f"{self.schedule_arn} {self.scheduled_time}".encode()).hexdigest()

    @property
    def execution_id(self) -> str:
        """As context attributes and dead letters tell it: 16 characters."""
        return self.token[:16]

    @property
    def scheduled_time(self) -> str:
        """UTC, in whole seconds."""
        return f"{self.scheduled.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"

    @cached_property
    def text(self) -> str:
        """What the target gets: its input with the context attributes filled in, or a notification."""
        given = self.target.get("Input")
        if given is None:
            return json.dumps(self._notification())
        for name, value in (
            ("schedule-arn", self.schedule_arn),
            ("scheduled-time", self.scheduled_time),
            ("execution-id", self.execution_id),
            ("attempt-number", str(self.attempt)),
        ):
            given = given.replace(f"<aws.scheduler.{name}>", value)
        return str(given)

    def _notification(self) -> dict[str, Any]:
        token = self.token
        return {
            "version": "0",
            "id": f"{token[:8]}-{token[8:12]}-{token[12:16]}-{token[16:20]}-{token[20:32]}",
            "detail-type": "Scheduled Event",
            "source": "aws.scheduler",
            "account": self.account_id,
            "time": self.scheduled_time,
            "region": self.region,
            "resources": [self.schedule_arn],
            "detail": "{}",
        }


def check(target: Mapping[str, Any]) -> None:
    """Raise ValidationException for a target that nothing can be delivered to, naming what is wrong."""
    arn = target["Arn"]
    if _UNIVERSAL.fullmatch(arn):
        raise validation(
            f"localcloud's schedules have no universal targets; got {arn!r}. Name a Lambda function, an SQS queue, an"
            " SNS topic, an event bus, a SageMaker pipeline or an ECS cluster."
        )
    for member in _REFUSED:
        if target.get(member) is not None:
            raise validation(f"localcloud's schedules have no {member}; got {target[member]!r} for the target {arn}")
    service = service_of(arn) if arn.count(":") >= 5 else ""
    if service not in _KNOWN or not _KNOWN[service].fullmatch(arn):
        raise validation(
            "localcloud's schedules reach Lambda functions, SQS queues, SNS topics, event buses, SageMaker pipelines"
            f" and ECS clusters; got the target {arn!r}"
        )
    for member, owner in _OPTIONS.items():
        if target.get(member) is not None and service != owner:
            raise validation(f"{member} does not apply to the target {arn}")
    needed = _REQUIRED.get(service)
    if needed and not target.get(needed):
        raise validation(f"{needed} is required for the target {arn}")
    if (target.get("EcsParameters") or {}).get("Tags"):
        raise validation(f"localcloud's schedules give no Tags to tasks; use PropagateTags for the target {arn}")
    group = target.get("SqsParameters", {}).get("MessageGroupId")
    if service == "sqs" and arn.endswith(".fifo") != bool(group):
        what = "is required for" if not group else "does not apply to"
        raise validation(f"MessageGroupId {what} the queue {arn}")
    if service in _JSON and target.get("Input") is not None:
        _check_json(target["Input"], arn)


def _check_json(text: str, arn: str) -> None:
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        raise validation(f"Invalid Input for the target {arn}: it must be well-formed JSON: {error}") from error


class Targets:
    """Calls targets. All methods may be called from any thread."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._calls: Mapping[str, Callable[[Invocation], None]] = {
            "lambda": self._function,
            "sqs": self._queue,
            "sns": self._topic,
            "events": self._bus,
            "sagemaker": self._pipeline,
            "ecs": self._task,
        }
        self._queue_urls: dict[str, str] = {}

    def invoke(self, invocation: Invocation) -> None:
        """Make the call that an invocation is for. Raises DeliveryError."""
        try:
            self._calls[service_of(invocation.target["Arn"])](invocation)
        except ClientError as error:
            raise delivery_error(error) from error
        except ParamValidationError as error:
            raise DeliveryError("INVALID_PARAMETER", str(error)) from error

    def dead_letter(self, invocation: Invocation, error: DeliveryError, exhausted: str) -> None:
        """Send what could not be delivered to the target's queue for that, as the role. Raises DeliveryError."""
        attributes = {
            "ERROR_CODE": error.code,
            "ERROR_MESSAGE": str(error)[:_MESSAGE_CHARACTERS],
            "EXECUTION_ID": invocation.execution_id,
            "EXHAUSTED_RETRY_CONDITION": exhausted,
            "IS_PAYLOAD_TRUNCATED": "false",
            "RETRY_ATTEMPTS": str(invocation.attempt - 1),
            "SCHEDULED_TIME": invocation.scheduled_time,
            "SCHEDULE_ARN": invocation.schedule_arn,
            "TARGET_ARN": invocation.target["Arn"],
        }
        values = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items() if value}
        try:
            client = self._client("sqs", invocation)
            url = self._queue_url(invocation.target["DeadLetterConfig"]["Arn"])
            client.send_message(QueueUrl=url, MessageBody=invocation.text, MessageAttributes=values)
        except ClientError as refusal:
            raise delivery_error(refusal) from refusal

    def _client(self, service: str, invocation: Invocation) -> Any:
        return self._context.clients.of(service, invocation.target["RoleArn"])

    def _function(self, invocation: Invocation) -> None:
        self._client("lambda", invocation).invoke(
            FunctionName=invocation.target["Arn"], InvocationType="Event", Payload=invocation.text.encode()
        )

    def _queue(self, invocation: Invocation) -> None:
        client = self._client("sqs", invocation)
        params = {"QueueUrl": self._queue_url(invocation.target["Arn"]), "MessageBody": invocation.text}
        group = invocation.target.get("SqsParameters", {}).get("MessageGroupId")
        if group:
            params |= {"MessageGroupId": group, "MessageDeduplicationId": invocation.token}
        client.send_message(**params)

    def _queue_url(self, arn: str) -> str:
        """Asked for once: a queue that is made anew has the same. Not as the role, which need not be allowed it."""
        url = self._queue_urls.get(arn)
        if url is None:
            client = self._context.clients.of("sqs")
            url = self._queue_urls[arn] = str(client.get_queue_url(QueueName=arn.rpartition(":")[2])["QueueUrl"])
        return url

    def _topic(self, invocation: Invocation) -> None:
        self._client("sns", invocation).publish(TopicArn=invocation.target["Arn"], Message=invocation.text)

    def _bus(self, invocation: Invocation) -> None:
        parameters = invocation.target["EventBridgeParameters"]
        entry = {
            "Source": parameters["Source"],
            "DetailType": parameters["DetailType"],
            "Detail": invocation.text,
            "EventBusName": invocation.target["Arn"],
        }
        (result,) = self._client("events", invocation).put_events(Entries=[entry])["Entries"]
        if result.get("ErrorCode"):
            raise DeliveryError(result["ErrorCode"], f"{result['ErrorCode']}: {result.get('ErrorMessage', '')}")

    def _pipeline(self, invocation: Invocation) -> None:
        parameters = invocation.target.get("SageMakerPipelineParameters", {}).get("PipelineParameterList", [])
        # Two attempts at one occurrence start one execution.
        self._client("sagemaker", invocation).start_pipeline_execution(
            PipelineName=invocation.target["Arn"],
            PipelineParameters=[dict(entry) for entry in parameters],
            ClientRequestToken=invocation.token,
        )

    def _task(self, invocation: Invocation) -> None:
        """RunTask, with the input as its overrides. Two attempts at one occurrence start one task."""
        parameters = invocation.target["EcsParameters"]
        given = {member: parameters[name] for name, member in _RUN_TASK.items() if name in parameters}
        vpc = (parameters.get("NetworkConfiguration") or {}).get("awsvpcConfiguration")
        if vpc:
            given["networkConfiguration"] = {
                "awsvpcConfiguration": {f"{name[0].lower()}{name[1:]}": value for name, value in vpc.items()}
            }
        if invocation.target.get("Input") is not None:
            given["overrides"] = json.loads(invocation.text)
        name = invocation.schedule_arn.rpartition("/")[2]
        answer = self._client("ecs", invocation).run_task(
            cluster=invocation.target["Arn"],
            clientToken=invocation.token,
            startedBy=f"chronos-schedule/{name}"[:_STARTED_BY_CHARACTERS],
            **given,
        )
        for failure in answer.get("failures") or ():
            raise DeliveryError("SDK_CLIENT_ERROR", f"{failure.get('arn')}: {failure.get('reason')}")
