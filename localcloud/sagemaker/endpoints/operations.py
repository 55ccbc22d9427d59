"""The API of endpoints: what is asked for is checked and stored here, and done by `hosting`."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import partial
from random import Random
from typing import Any

from botocore.exceptions import ClientError

from localcloud.context import Context, Request
from localcloud.errors import ServiceError, validation
from localcloud.sagemaker import shapes
from localcloud.sagemaker.arns import Arns
from localcloud.sagemaker.crud import Document, Kind, Resources
from localcloud.sagemaker.endpoints import policy, reports
from localcloud.sagemaker.endpoints.background import Background
from localcloud.sagemaker.endpoints.configs import EndpointConfigs
from localcloud.sagemaker.endpoints.deployment import ALARM, AlarmStates
from localcloud.sagemaker.endpoints.fleet import Blueprint, blueprint, counts, is_serverless
from localcloud.sagemaker.endpoints.hosting import Hosted
from localcloud.sagemaker.endpoints.instance import Host, Instance, MakeInstance
from localcloud.sagemaker.jobs import Runtime
from localcloud.sagemaker.models import Models
from localcloud.sagemaker.tags import Tags
from localcloud.signals import Event

KIND = Kind(
    noun="Endpoint",
    resource="endpoint",
    status="EndpointStatus",
    missing=lambda name, arn: validation(f'Could not find endpoint "{arn}".'),
    duplicate=lambda name, arn: validation(f'Cannot create already existing endpoint "{arn}".'),
)
_STEADY = ("InService", "Failed")
_SERVING = ("InService", "Updating", "RollingBack")
_PROPERTIES = frozenset({"DesiredInstanceCount", "DesiredWeight", "DataCaptureConfig"})


class Endpoints:
    """The endpoints of a localcloud. `chance` decides which requests are captured, `states` tells of alarms,
    `make_instance` makes servers, which are asked how they are no sooner than after `ping_rest_seconds` of
    real time."""

    def __init__(
        self,
        context: Context,
        arns: Arns,
        runtime: Runtime,
        models: Models,
        *,
        chance: Random | None = None,
        states: AlarmStates | None = None,
        make_instance: MakeInstance = Instance,
        ping_rest_seconds: float = 4.0,
    ) -> None:
        self.configs = EndpointConfigs(context, arns, models)
        self.resources = Resources(KIND, context, arns)
        self.background = Background(context.timetable)
        self._context, self._tags = context, Tags(context)
        self._host = Host(context, runtime, models, self.background, make_instance, ping_rest_seconds)
        self._chance = chance or Random()
        self._states = states or self._alarm_states
        self._lock = threading.Lock()
        self._hosted: dict[str, Hosted] = {}
        context.signals.on_event(self._on_event)

    def hosted(self, name: str) -> Hosted | None:
        """The live part of an endpoint, or None if there is no such endpoint."""
        return self._hosted.get(name)

    def create(self, request: Request) -> dict[str, Any]:
        """CreateEndpoint: it is Creating, and servers start in the background."""
        params = request.params
        plan = blueprint(self.configs.resources.get(params["EndpointConfigName"]))
        config = params.get("DeploymentConfig")
        self._check_deployment(config, plan, None)
        members = {name: value for name, value in params.items() if name != "DeploymentConfig"}
        document = self.resources.add(
            members,
            EndpointStatus="Creating",
            ProductionVariants=reports.summaries(
                plan, current=None, images={}, statuses={}, now=self._context.clock.now()
            ),
            LastDeploymentConfig=config,
            Wanted=plan,
        )
        self._tell(document)
        hosted = self._add(params["EndpointName"])
        self.background.run(f"create {hosted.name}", hosted.create)
        return {"EndpointArn": document["EndpointArn"]}

    def update(self, request: Request) -> dict[str, Any]:
        """UpdateEndpoint: it is Updating, and served without interruption meanwhile."""
        params = request.params
        name = params["EndpointName"]
        document = self._steady(name)
        keep: frozenset[str] = frozenset()
        if params.get("RetainAllVariantProperties"):
            excluded = params.get("ExcludeRetainedVariantProperties", ())
            keep = _PROPERTIES - {one["VariantPropertyType"] for one in excluded}
        served = document["Served"]
        plan = blueprint(self.configs.resources.get(params["EndpointConfigName"]), served, keep)
        config = params.get("DeploymentConfig")
        if config is None and params.get("RetainDeploymentConfig"):
            config = document.get("LastDeploymentConfig")
        self._check_deployment(config, plan, served)
        if keep or len(policy.stages(config, counts(plan))) > 1:
            _check_names(plan, served)
        document = self._begin(name, Wanted=plan, LastDeploymentConfig=config, FailureReason=None)
        hosted = self._hosted[name]
        self.background.run(f"update {name}", lambda: hosted.update(config))
        return {"EndpointArn": document["EndpointArn"]}

    def scale(self, request: Request) -> dict[str, Any]:
        """UpdateEndpointWeightsAndCapacities."""
        params = request.params
        name = params["EndpointName"]
        plan = _scaled(self._steady(name)["Served"], params["DesiredWeightsAndCapacities"])
        document = self._begin(name, Wanted=plan, FailureReason=None)
        hosted = self._hosted[name]
        self.background.run(f"scale {name}", hosted.scale)
        return {"EndpointArn": document["EndpointArn"]}

    def describe(self, request: Request) -> dict[str, Any]:
        """DescribeEndpoint."""
        return shapes.project(self.resources.get(request.params["EndpointName"]), "DescribeEndpointOutput")

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteEndpoint: it is Deleting, and gone when its servers have ended."""
        name = request.params["EndpointName"]
        self._begin(name, status="Deleting")
        self._take_down(name)
        return {}

    def start(self) -> None:
        """Take up what an earlier localcloud left: what was InService is again, and what was cut off is made good."""
        documents = self._context.store.list(KIND.store, members=("EndpointName", "EndpointStatus"))
        for name, document in documents:
            status = document["EndpointStatus"]
            hosted = self._add(name)
            if status in _SERVING:
                hosted.traffic.await_servers()
            self.background.run(f"recover {name}", partial(hosted.recover, status))
            if status == "Deleting":
                self._take_down(name)

    def stop(self) -> None:
        """Write what was captured, and end all servers; endpoints stay as they are in the store."""
        self.background.close()
        endpoints = list(self._hosted.values())
        for hosted in endpoints:
            hosted.flush()
            hosted.kill()
        self.background.join()
        for hosted in endpoints:
            hosted.close()

    def _take_down(self, name: str) -> None:
        hosted = self._hosted[name]

        def take_down() -> None:
            hosted.delete()
            with self._lock:
                if self._hosted.get(name) is hosted:
                    del self._hosted[name]

        self.background.run(f"delete {name}", take_down)

    def _add(self, name: str) -> Hosted:
        hosted = Hosted(name, self._host, self.resources, self._tags, self._states, self._chance)
        with self._lock:
            self._hosted[name] = hosted
        return hosted

    def _steady(self, name: str) -> Document:
        """The document of an endpoint that can be changed. Raises ValidationException for another."""
        document = self.resources.get(name)
        if document["EndpointStatus"] not in _STEADY:
            raise validation(f'Cannot update in-progress endpoint "{document["EndpointArn"]}".')
        if document["EndpointStatus"] == "Failed":
            raise validation(
                f'Cannot update endpoint "{document["EndpointArn"]}" in status Failed: it can only be deleted.'
            )
        return document

    def _begin(self, name: str, status: str = "Updating", **members: Any) -> Document:
        """Mark an endpoint as changing. Raises ValidationException if it is already."""

        def begun(document: Document) -> Document:
            if document["EndpointStatus"] not in _STEADY:
                raise validation(f'Cannot update in-progress endpoint "{document["EndpointArn"]}".')
            return {**document, "EndpointStatus": status, **members}

        document = self.resources.change(name, begun)
        self._tell(document)
        return document

    def _tell(self, document: Document) -> None:
        now = self._context.clock.now()
        self._context.signals.event(reports.state_event(document, self._tags.of(document["EndpointArn"]), now))

    def _check_deployment(
        self, config: policy.DeploymentConfig | None, plan: Blueprint, served: Blueprint | None
    ) -> None:
        """Raise ValidationException for a DeploymentConfig that these variants cannot be updated by."""
        if not config:
            return
        if is_serverless(plan) or (served is not None and is_serverless(served)):
            raise validation("DeploymentConfig is not supported for serverless endpoints; leave it out")
        policy.check(config, counts(plan))
        names = [alarm["AlarmName"] for alarm in config.get("AutoRollbackConfiguration", {}).get("Alarms", ())]
        if names:
            missing = sorted(set(names) - set(self._states(names)))
            if missing:
                raise validation(
                    f"AutoRollbackConfiguration names CloudWatch alarms that there are not: {', '.join(missing)}"
                )

    def _alarm_states(self, names: Sequence[str]) -> Mapping[str, str]:
        try:
            answer = self._context.clients.of("cloudwatch").describe_alarms(
                AlarmNames=list(names), AlarmTypes=["MetricAlarm", "CompositeAlarm"]
            )
        except ClientError as error:
            raise ServiceError("ValidationException", f"CloudWatch does not tell of the alarms: {error}") from error
        alarms = [*answer.get("MetricAlarms", ()), *answer.get("CompositeAlarms", ())]
        return {alarm["AlarmName"]: alarm["StateValue"] for alarm in alarms}

    def _on_event(self, event: Event) -> None:
        if event.source != "aws.cloudwatch" or event.detail_type != "CloudWatch Alarm State Change":
            return
        if event.detail["state"]["value"] == ALARM:
            for hosted in list(self._hosted.values()):
                hosted.on_alarm(event.detail["alarmName"])


def _check_names(plan: Blueprint, served: Blueprint) -> None:
    """Raise ValidationException unless two blueprints have the same variants, which share traffic or hand it over."""
    wanted, present = ({variant["VariantName"] for variant in one["ProductionVariants"]} for one in (plan, served))
    if wanted != present:
        raise validation(
            "The production variants of the new endpoint configuration must have the names of those that are served,"
            f" for traffic to be shifted or properties to be retained: expected {', '.join(sorted(present))}; got"
            f" {', '.join(sorted(wanted))}"
        )


def _scaled(served: Blueprint, desired: Sequence[Mapping[str, Any]]) -> Blueprint:
    """A blueprint with other weights and counts. Raises ValidationException for a variant that there is not."""
    variants = {variant["VariantName"]: dict(variant) for variant in served["ProductionVariants"]}
    for wanted in desired:
        name = wanted["VariantName"]
        variant = variants.get(name)
        if variant is None:
            raise validation(f'The variant name(s) "{name}" is/are not present within endpoint configuration.')
        if "DesiredWeight" in wanted:
            variant["InitialVariantWeight"] = wanted["DesiredWeight"]
        if "DesiredInstanceCount" in wanted:
            _count(variant, wanted["DesiredInstanceCount"])
        if "ServerlessUpdateConfig" in wanted:
            _concurrency(variant, wanted["ServerlessUpdateConfig"])
    if not any(variant["InitialVariantWeight"] > 0 for variant in variants.values()):
        raise validation("At least one production variant must have a DesiredWeight greater than 0")
    return {**served, "ProductionVariants": list(variants.values())}


def _count(variant: dict[str, Any], count: int) -> None:
    if "ServerlessConfig" in variant:
        raise validation(f"DesiredInstanceCount is not for serverless variants; got it for {variant['VariantName']!r}")
    if count < 1:
        raise validation(
            f"The DesiredInstanceCount of {variant['VariantName']!r} must be at least 1: only endpoints of inference"
            f" components scale to zero; got {count}"
        )
    variant["InitialInstanceCount"] = count


def _concurrency(variant: dict[str, Any], config: Mapping[str, Any]) -> None:
    if "ServerlessConfig" not in variant:
        raise validation(f"ServerlessUpdateConfig is for serverless variants; {variant['VariantName']!r} has instances")
    if "ProvisionedConcurrency" in config:
        raise validation("localcloud runs no serverless variant with ProvisionedConcurrency; leave it out")
    variant["ServerlessConfig"] = {**variant["ServerlessConfig"], **config}
