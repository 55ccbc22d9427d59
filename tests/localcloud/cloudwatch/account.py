"""An account with CloudWatch and Application Auto Scaling in it, and stand-ins for what they call."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from localcloud.autoscaling.service import ApplicationAutoScaling
from localcloud.clients import in_process_client
from localcloud.cloudwatch.service import CloudWatch
from localcloud.context import Context, Request
from localcloud.dispatch import Dispatcher
from localcloud.errors import ServiceError, validation
from localcloud.protocols.http import HttpRequest, HttpResponse
from localcloud.service import Service
from localcloud.signals import Event
from tests.surroundings import ACCOUNT_ID, REGION, StandingClock, surroundings

FUNCTION_ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT_ID}:function:retrain"
TOPIC_ARN = f"arn:aws:sns:{REGION}:{ACCOUNT_ID}:alarms"


class Stub:
    """A service that answers what it is told to."""

    def __init__(self, name: str, operations: Mapping[str, Callable[[Request], dict[str, Any]]]) -> None:
        self.name, self.operations = name, operations

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass


class Functions(Stub):
    """Lambda, with one function that alarms may call unless `policy` is None."""

    def __init__(self) -> None:
        self.payloads: list[dict[str, Any]] = []
        self.policy: dict[str, Any] | None = {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.alarms.cloudwatch.amazonaws.com"},
            "Action": "lambda:InvokeFunction",
            "Condition": {"StringEquals": {"AWS:SourceAccount": ACCOUNT_ID}},
        }
        operations = {"GetPolicy": self._get_policy, "GetFunctionConfiguration": self._get, "Invoke": self._invoke}
        super().__init__("lambda", operations)

    def _get_policy(self, request: Request) -> dict[str, Any]:
        if self.policy is None:
            raise ServiceError("ResourceNotFoundException", "The resource you requested does not exist.", 404)
        return {"Policy": json.dumps({"Version": "2012-10-17", "Statement": [self.policy]})}

    def _get(self, request: Request) -> dict[str, Any]:
        return {"FunctionName": "retrain"}

    def _invoke(self, request: Request) -> dict[str, Any]:
        assert request.params["InvocationType"] == "Event"
        self.payloads.append(json.loads(request.params["Payload"]))
        return {"StatusCode": 202}


class Endpoints(Stub):
    """SageMaker, with one endpoint. Changes are done when `finish` is called, or at once."""

    def __init__(self) -> None:
        self.counts = {"AllTraffic": 1}
        self.status, self.at_once = "InService", True
        self.calls: list[int] = []
        self.signals: Any = None
        super().__init__(
            "sagemaker", {"DescribeEndpoint": self._describe, "UpdateEndpointWeightsAndCapacities": self._update}
        )

    def finish(self) -> None:
        self.status = "InService"
        detail = {"EndpointName": "e", "EndpointStatus": "IN_SERVICE"}
        self.signals.event(Event("aws.sagemaker", "SageMaker Endpoint State Change", detail, StandingClock().now()))

    def _describe(self, request: Request) -> dict[str, Any]:
        if request.params["EndpointName"] != "e":
            raise validation("Could not find endpoint")
        now = StandingClock().now()
        return {
            "EndpointName": "e",
            "EndpointArn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT_ID}:endpoint/e",
            "EndpointConfigName": "c",
            "EndpointStatus": self.status,
            "CreationTime": now,
            "LastModifiedTime": now,
            "ProductionVariants": [
                {"VariantName": name, "CurrentInstanceCount": count, "DesiredInstanceCount": count}
                for name, count in self.counts.items()
            ],
        }

    def _update(self, request: Request) -> dict[str, Any]:
        if self.status != "InService":
            raise validation("Cannot update in-progress endpoint")
        (wanted,) = request.params["DesiredWeightsAndCapacities"]
        self.calls.append(wanted["DesiredInstanceCount"])
        self.counts[wanted["VariantName"]] = wanted["DesiredInstanceCount"]
        if not self.at_once:
            self.status = "Updating"
        return {"EndpointArn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT_ID}:endpoint/e"}


class Clients:
    """Clients that are made once for all tests, since that takes longer than most of them. They are the clients of the
    account that was made last."""

    _made: ClassVar[dict[str, Any]] = {}
    _send: ClassVar[Callable[[HttpRequest], HttpResponse]]

    def connect(self, send: Callable[[HttpRequest], HttpResponse]) -> None:
        Clients._send = send

    def of(self, service: str, role_arn: str | None = None) -> Any:
        if service not in self._made:
            self._made[service] = in_process_client(service, REGION, lambda http: Clients._send(http))
        return self._made[service]


class Topics:
    """The leaf: takes what is published."""

    def __init__(self) -> None:
        self.published: list[str] = []

    def issued(self, key: str) -> bool:
        return False

    def handle(self, service: str, http: HttpRequest) -> HttpResponse:
        self.published.append(http.body.decode())
        body = (
            '<PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishResult><MessageId>1</MessageId>'
            "</PublishResult></PublishResponse>"
        )
        return HttpResponse(200, [("Content-Type", "text/xml")], body.encode())


class Account:
    """The account over a folder. `restart` ends it, and begins a new one over the same folder and clock."""

    def __init__(self, folder: Path, clock: StandingClock | None = None) -> None:
        self._folder = folder
        self.clock = clock or StandingClock()
        self.topics, self.functions, self.endpoints = Topics(), Functions(), Endpoints()
        self.events: list[Event] = []
        self.context: Context = dataclasses.replace(
            surroundings(folder, self.clock),
            leaf=self.topics,  # type: ignore[arg-type]
            clients=Clients(),  # type: ignore[arg-type]
        )
        self.endpoints.signals = self.context.signals
        self.context.signals.on_event(self.events.append)
        autoscaling = ApplicationAutoScaling(self.context)
        self._services: list[Service] = [CloudWatch(self.context, autoscaling.run_policy), autoscaling]
        dispatcher = Dispatcher(self.context, [*self._services, self.functions, self.endpoints])
        self.context.clients.connect(dispatcher.handle)
        self.context.timetable.start()
        for service in self._services:
            service.start()

    def client(self, service: str) -> Any:
        return self.context.clients.of(service)

    def advance(self, seconds: float = 0) -> None:
        """Let time pass, and all that comes of it happen."""
        self.context.timetable.advance(seconds)

    def state(self, name: str, alarm_type: str = "MetricAlarm") -> str:
        found = self.client("cloudwatch").describe_alarms(AlarmNames=[name], AlarmTypes=[alarm_type])
        return str(found[f"{alarm_type}s"][0]["StateValue"])

    def put(self, value: float, name: str = "Errors", **members: Any) -> None:
        datum = {"MetricName": name, "Value": value, "Timestamp": self.clock.now(), **members}
        self.client("cloudwatch").put_metric_data(Namespace="Demo", MetricData=[datum])

    def put_alarm(self, name: str = "errors", **members: Any) -> None:
        defaults = {
            "Namespace": "Demo",
            "MetricName": "Errors",
            "Statistic": "Sum",
            "Period": 60,
            "EvaluationPeriods": 1,
            "Threshold": 0,
            "ComparisonOperator": "GreaterThanThreshold",
        }
        wanted = {member: value for member, value in {**defaults, **members}.items() if value is not None}
        self.client("cloudwatch").put_metric_alarm(AlarmName=name, **wanted)

    def changes(self) -> list[tuple[str, str, str]]:
        """The changes of state that events told: name, before, after."""
        return [
            (event.detail["alarmName"], event.detail["previousState"]["value"], event.detail["state"]["value"])
            for event in self.events
            if event.detail_type == "CloudWatch Alarm State Change"
        ]

    def stop(self) -> None:
        self.context.timetable.stop()
        for service in reversed(self._services):
            service.stop()
        self.context.calls.close()
        self.context.store.close()

    def restart(self) -> Account:
        self.stop()
        return Account(self._folder, self.clock)
