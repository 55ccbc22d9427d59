"""AWS::ECS::Cluster, AWS::ECS::TaskDefinition and AWS::ECS::Service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from localcloud.cloudformation.errors import ResourceFailed
from localcloud.cloudformation.resources.kind import Call, Properties, ResourceType, changed, code_of, refuse_existing

_CLUSTER = ("CapacityProviders", "ClusterName", "ClusterSettings", "DefaultCapacityProviderStrategy")
_DEFINITION = (
    "ContainerDefinitions", "Cpu", "EphemeralStorage", "ExecutionRoleArn", "Family", "Memory", "NetworkMode",
    "RequiresCompatibilities", "RuntimePlatform", "TaskRoleArn", "Volumes",
)  # fmt: skip
_SERVICE = (
    "AvailabilityZoneRebalancing", "CapacityProviderStrategy", "Cluster", "DeploymentConfiguration", "DesiredCount",
    "EnableECSManagedTags", "HealthCheckGracePeriodSeconds", "LaunchType", "NetworkConfiguration", "PlatformVersion",
    "PropagateTags", "SchedulingStrategy", "ServiceName", "TaskDefinition",
)  # fmt: skip
# What is not named any more goes back to what it is in a service that is made without it.
_UPDATED: Mapping[str, Any] = {
    "AvailabilityZoneRebalancing": "ENABLED",
    "CapacityProviderStrategy": None,
    "DeploymentConfiguration": {
        "deploymentCircuitBreaker": {"enable": False, "rollback": False},
        "maximumPercent": 200,
        "minimumHealthyPercent": 100,
    },
    "DesiredCount": None,
    "EnableECSManagedTags": False,
    "HealthCheckGracePeriodSeconds": 0,
    "NetworkConfiguration": None,
    "PlatformVersion": "LATEST",
    "PropagateTags": "NONE",
    "TaskDefinition": None,
}
# Maps whose keys are the user's, and are not to be written otherwise.
_MAPS = frozenset({"Options", "DockerLabels"})
_NAMES = {"ClusterSettings": "settings", "EnableECSManagedTags": "enableECSManagedTags"}


class Cluster(ResourceType):
    name = "AWS::ECS::Cluster"
    name_property = "ClusterName"
    attributes = frozenset({"Arn"})
    honours = frozenset({*_CLUSTER, "Tags"})
    # On AWS settings are changed in place; nothing but their record depends on them here.
    replaced_by = frozenset({"ClusterSettings"})

    def create(self, call: Call, properties: Properties) -> str:
        ecs = call.client("ecs")
        name = properties.get("ClusterName") or call.new_name(255)
        found = ecs.describe_clusters(clusters=[name])["clusters"]
        # A stack does not take over what is there, as CreateCluster would.
        if found and found[0]["status"] == "ACTIVE":
            refuse_existing(self.name, name)
        ecs.create_cluster(**{**_members(properties, *_CLUSTER), "clusterName": name}, tags=_tags(call))
        return str(name)

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        if changed(before, after, "CapacityProviders", "DefaultCapacityProviderStrategy"):
            members = _members(after, "CapacityProviders", "DefaultCapacityProviderStrategy")
            call.client("ecs").put_cluster_capacity_providers(
                cluster=physical_id, **{"capacityProviders": [], "defaultCapacityProviderStrategy": [], **members}
            )
        _retag(call, self._arn(call, physical_id))

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        call.client("ecs").delete_cluster(cluster=physical_id)

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        return {"Arn": self._arn(call, physical_id)}

    def _arn(self, call: Call, physical_id: str) -> str:
        return call.arn("ecs", f"cluster/{physical_id}")


class TaskDefinition(ResourceType):
    name = "AWS::ECS::TaskDefinition"
    attributes = frozenset({"TaskDefinitionArn"})
    honours = frozenset({*_DEFINITION, "Tags"})

    def create(self, call: Call, properties: Properties) -> str:
        family = properties.get("Family") or call.new_name(255)
        members = {**_members(properties, *_DEFINITION), "family": family}
        answer = call.client("ecs").register_task_definition(**members, tags=_tags(call))
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        # All else makes a new revision.
        _retag(call, physical_id)

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        call.client("ecs").deregister_task_definition(taskDefinition=physical_id)

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        return {"TaskDefinitionArn": physical_id}


class Service(ResourceType):
    name = "AWS::ECS::Service"
    attributes = frozenset({"Name", "ServiceArn"})
    honours = frozenset({*_SERVICE, "Tags"})

    def create(self, call: Call, properties: Properties) -> str:
        ecs = call.client("ecs")
        name = properties.get("ServiceName") or call.new_name(255)
        found = ecs.describe_services(**_cluster(properties), services=[name])["services"]
        if found and found[0]["status"] != "INACTIVE":
            refuse_existing(self.name, f"{found[0]['serviceArn']}|{properties.get('Cluster', 'default')}")
        members = {"desiredCount": 1, **_members(properties, *_SERVICE), "serviceName": name}
        return str(ecs.create_service(**members, tags=_tags(call))["service"]["serviceArn"])

    def finish(self, call: Call, physical_id: str, properties: Properties) -> None:
        self._wait(call, physical_id, properties)

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        names = [name for name in _UPDATED if before.get(name) != after.get(name)]
        if names:
            defaults = {_name(name): _UPDATED[name] for name in names if _UPDATED[name] is not None}
            call.client("ecs").update_service(
                **_cluster(after), service=physical_id, **{**defaults, **_members(after, *names)}
            )
            self._wait(call, physical_id, after)
        _retag(call, physical_id)

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        ecs = call.client("ecs")
        cluster = _cluster(properties)
        try:
            ecs.delete_service(**cluster, service=physical_id, force=True)
        except ClientError as error:
            # It is being deleted already, or was.
            if code_of(error) != "ServiceNotActiveException":
                raise

        def gone() -> bool:
            found = ecs.describe_services(**cluster, services=[physical_id])["services"]
            return not found or found[0]["status"] == "INACTIVE"

        call.until(gone, f"the service {physical_id} is INACTIVE")

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        return {"Name": physical_id.rpartition("/")[2], "ServiceArn": physical_id}

    def _wait(self, call: Call, physical_id: str, properties: Properties) -> None:
        """Until the deployment is complete. A template says how long by a circuit breaker, or not at all."""
        ecs = call.client("ecs")

        def steady() -> bool:
            service = ecs.describe_services(**_cluster(properties), services=[physical_id])["services"][0]
            primary = next(one for one in service["deployments"] if one["status"] == "PRIMARY")
            if primary["rolloutState"] == "FAILED" or "rolling back" in primary["rolloutStateReason"]:
                events = [event["message"] for event in service["events"][:5]]
                raise ResourceFailed(
                    "Error occurred during operation 'ECS Deployment Circuit Breaker was triggered'."
                    f" The service's last events: {' '.join(events)}"
                )
            counts = service["runningCount"], service["pendingCount"]
            done = primary["rolloutState"] == "COMPLETED" and len(service["deployments"]) == 1
            return bool(done and counts == (service["desiredCount"], 0))

        call.until(steady, f"the service {physical_id} is steady")


def _members(properties: Properties, *names: str) -> dict[str, Any]:
    """Properties as parameters of ECS, whose names begin in lower case."""
    return {_name(name): _lower(properties[name]) for name in names if name in properties}


def _lower(value: Any) -> Any:
    if isinstance(value, list):
        return [_lower(item) for item in value]
    if isinstance(value, Mapping):
        return {_name(name): item if name in _MAPS else _lower(item) for name, item in value.items()}
    return value


def _name(name: str) -> str:
    return _NAMES.get(name, f"{name[0].lower()}{name[1:]}")


def _cluster(properties: Properties) -> dict[str, Any]:
    return {"cluster": properties["Cluster"]} if "Cluster" in properties else {}


def _tags(call: Call) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in call.tags.items()]


def _retag(call: Call, arn: str) -> None:
    ecs = call.client("ecs")
    call.retag(
        lambda tags: ecs.tag_resource(
            resourceArn=arn, tags=[{"key": key, "value": value} for key, value in tags.items()]
        ),
        lambda keys: ecs.untag_resource(resourceArn=arn, tagKeys=keys),
    )


TYPES = (Cluster(), TaskDefinition(), Service())
"""The resource types of Amazon ECS."""
