"""The servers of one configuration: all of its variants' instances, started and ended together, and made more or fewer.

What a fleet is made from is a *blueprint*: the variants of an endpoint configuration with the counts and weights that
they have at this endpoint, and its data capture. It is kept with the endpoint: the configuration may be deleted.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

from localcloud.errors import ServiceError
from localcloud.sagemaker.crud import Document
from localcloud.sagemaker.endpoints.capture import Capture
from localcloud.sagemaker.endpoints.instance import Host, Instance, InstanceError, PreparationError, described
from localcloud.sagemaker.endpoints.traffic import Route, Traffic, Variant
from localcloud.sagemaker.models import Container

_LOG = logging.getLogger(__name__)
_READY_LIMIT_SECONDS = 480.0
_DRAIN_SECONDS = 120.0
# Of a variant in a configuration, by the names that they have at an endpoint.
_PROPERTIES = {"InitialInstanceCount": "DesiredInstanceCount", "InitialVariantWeight": "DesiredWeight"}

Blueprint = Document


class FleetError(Exception):
    """Servers of a fleet did not come up; the message is the endpoint's FailureReason."""


def blueprint(
    config: Mapping[str, Any], before: Blueprint | None = None, keep: frozenset[str] = frozenset()
) -> Blueprint:
    """What an endpoint is to serve by a configuration. Of what it serves `before`, the properties in `keep`
    (DesiredInstanceCount, DesiredWeight, DataCaptureConfig) stay as they are."""
    old = {variant["VariantName"]: variant for variant in (before or {}).get("ProductionVariants", ())}
    variants = []
    for given in config["ProductionVariants"]:
        variant = {**given, "InitialVariantWeight": given.get("InitialVariantWeight", 1.0)}
        known = old.get(given["VariantName"], {})
        for member, name in _PROPERTIES.items():
            if name in keep and member in known and member in variant:
                variant[member] = known[member]
        variants.append(variant)
    capture = config.get("DataCaptureConfig")
    if before is not None and "DataCaptureConfig" in keep and not is_serverless(config):
        capture = before.get("DataCaptureConfig")
    return {
        "EndpointConfigName": config["EndpointConfigName"],
        "ProductionVariants": variants,
        **({"DataCaptureConfig": capture} if capture else {}),
    }


def counts(plan: Blueprint) -> Mapping[str, int]:
    """Instances by variant. What a serverless variant has counts as one."""
    return {variant["VariantName"]: variant.get("InitialInstanceCount", 1) for variant in plan["ProductionVariants"]}


def is_serverless(plan: Mapping[str, Any]) -> bool:
    """Whether it has a serverless variant, which then is its only one."""
    return any("ServerlessConfig" in variant for variant in plan["ProductionVariants"])


def captured(plan: Blueprint) -> dict[str, Any] | None:
    """The DataCaptureConfigSummary, of an endpoint that serves this."""
    config = plan.get("DataCaptureConfig")
    if not config:
        return None
    enabled = config.get("EnableCapture", True)
    return {
        "EnableCapture": enabled,
        "CaptureStatus": "Started" if enabled else "Stopped",
        "CurrentSamplingPercentage": config["InitialSamplingPercentage"],
        "DestinationS3Uri": config["DestinationS3Uri"],
        "KmsKeyId": config.get("KmsKeyId", ""),
    }


class Fleet:
    """The servers of a blueprint. `start`, `scale` and `stop` are called one at a time, `kill` at any time.

    Raises FleetError for a model that is not there, or is not one that localcloud serves.
    """

    def __init__(self, host: Host, endpoint: str, plan: Blueprint, traffic: Traffic, chance: Random) -> None:
        self.plan = plan
        self._host, self._endpoint, self._traffic = host, endpoint, traffic
        self._lock = threading.Lock()
        self._killed = False
        self._given = {given["VariantName"]: given for given in plan["ProductionVariants"]}
        self._containers = {name: self._container(given) for name, given in self._given.items()}
        self.variants = [self._variant(given, chance) for given in plan["ProductionVariants"]]

    @property
    def instances(self) -> Sequence[Instance]:
        return [instance for variant in self.variants for instance in variant.instances]

    def routes(self, share: Mapping[str, float]) -> list[Route]:
        """The variants, with the fleet's parts of the traffic."""
        return [Route(variant, share.get(variant.name, 0.0)) for variant in self.variants]

    def start(self) -> None:
        """Start all servers, and wait until they are well. Raises FleetError, and ends them all, if one is not."""
        wanted = counts(self.plan)
        self._grow([(variant, wanted[variant.name]) for variant in self.variants])

    def scale(self, plan: Blueprint) -> None:
        """Have the counts, weights and concurrency of another blueprint. Raises FleetError, and leaves all as it was,
        if a server does not come up."""
        wanted = counts(plan)
        given = {variant["VariantName"]: variant for variant in plan["ProductionVariants"]}
        more = [(variant, wanted[variant.name] - len(variant.instances)) for variant in self.variants]
        self._grow([(variant, count) for variant, count in more if count > 0])
        surplus: list[Instance] = []
        for variant in self.variants:
            surplus += variant.instances[wanted[variant.name] :]
            variant.instances = variant.instances[: wanted[variant.name]]
            variant.weight = given[variant.name]["InitialVariantWeight"]
            variant.concurrency = given[variant.name].get("ServerlessConfig", {}).get("MaxConcurrency")
        self.plan = plan
        self._end(surplus)

    def check(self) -> bool:
        """Ask all servers how they are; whether one of them leaves doubts."""
        for instance in self.instances:
            instance.check()
        return any(instance.is_doubtful for instance in self.instances)

    def flush(self) -> None:
        """Write what was captured."""
        for variant in self.variants:
            if variant.capture is not None:
                variant.capture.flush()

    def kill(self) -> None:
        """Make a start that is under way fail, and end all servers; `stop` must follow."""
        with self._lock:
            self._killed = True
            instances = list(self.instances)
        for instance in instances:
            instance.kill()

    def stop(self) -> None:
        """Let requests under way end, then the servers. No new ones come in: traffic goes elsewhere by now."""
        self._end(self.instances)
        self.flush()

    def images(self, now: Any) -> Mapping[str, list[dict[str, Any]]]:
        """DeployedImages by variant."""
        return {
            variant.name: [described(variant.instances[0].image, self._containers[variant.name].image, now)]
            for variant in self.variants
            if variant.instances
        }

    def _grow(self, wanted: Sequence[tuple[Variant, int]]) -> None:
        fresh: list[tuple[Variant, Instance]] = []
        with self._lock:
            if self._killed:
                raise FleetError("The deployment was ended before its servers were ready.")
            for variant, count in wanted:
                fresh += [(variant, self._instance(variant.name)) for _ in range(count)]
            # Among the variant's from the start, so that a kill reaches them; they serve when they are ready.
            for variant, instance in fresh:
                variant.instances = [*variant.instances, instance]
        if not fresh:
            return
        with ThreadPoolExecutor(len(fresh), thread_name_prefix="instance") as threads:
            failures = [failure for failure in threads.map(_started, fresh) if failure is not None]
        if failures:
            gone = {instance for _, instance in fresh}
            for variant, _ in wanted:
                variant.instances = [one for one in variant.instances if one not in gone]
            for instance in gone:
                instance.kill()
            self._end(list(gone))
            raise FleetError(failures[0])

    def _variant(self, given: Mapping[str, Any], chance: Random) -> Variant:
        name = given["VariantName"]
        config = self.plan.get("DataCaptureConfig")
        capture = None
        if config and config.get("EnableCapture", True):
            capture = Capture(self._endpoint, name, config, self._s3(name), self._host.background, chance)
        return Variant(
            name,
            given["InitialVariantWeight"],
            capture=capture,
            concurrency=given.get("ServerlessConfig", {}).get("MaxConcurrency"),
        )

    def _s3(self, variant: str) -> Callable[[], Any]:
        # Captured data is written by the role that the model runs as, which therefore needs the right to do so.
        clients, role = self._host.context.clients, self._containers[variant].role_arn
        return lambda: clients.of("s3", role)

    def _container(self, given: Mapping[str, Any]) -> Container:
        try:
            return self._host.models.container(given["ModelName"])
        except ServiceError as error:
            raise FleetError(error.message) from error

    def _instance(self, variant: str) -> Instance:
        limit = self._given[variant].get("ContainerStartupHealthCheckTimeoutInSeconds", _READY_LIMIT_SECONDS)
        container = self._containers[variant]
        return self._host.make(self._host, self._endpoint, variant, container, float(limit), self._traffic.changed)

    def _end(self, instances: Sequence[Instance]) -> None:
        if not instances:
            return
        self._traffic.drain(instances, _DRAIN_SECONDS)
        with ThreadPoolExecutor(len(instances), thread_name_prefix="instance") as threads:
            list(threads.map(lambda instance: instance.stop(), instances))


def _started(fresh: tuple[Variant, Instance]) -> str | None:
    """None, or why the instance did not come up."""
    variant, instance = fresh
    try:
        instance.start()
    except PreparationError as error:
        return f"The container for production variant {variant.name} could not be prepared: {error}"
    except InstanceError as error:
        return (
            f"The primary container for production variant {variant.name} did not pass the ping health check. Please"
            f" check CloudWatch logs for this endpoint. ({error})"
        )
    except Exception as error:  # a bug or a broken leaf: the endpoint must still come to a state, and say why
        _LOG.exception("an instance of the variant %s", variant.name)
        return f"InternalServerError: {type(error).__name__}: {error}"
    return None
