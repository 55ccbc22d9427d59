"""The operations on services."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localcloud.context import Context, Request
from localcloud.ecs.clusters import SERVICE, Clusters
from localcloud.ecs.definitions import Definitions
from localcloud.ecs.deployments import Notices, new_deployment
from localcloud.ecs.errors import invalid, no_service, refused, service_not_active
from localcloud.ecs.keeper import Keeper
from localcloud.ecs.names import Names, key, short
from localcloud.ecs.pages import page
from localcloud.ecs.placement import Networks, capacity, platform
from localcloud.ecs.records import STOPPED, Records
from localcloud.ecs.tags import Tags

Document = dict[str, Any]

_NOT_HONOURED = (
    "enableExecuteCommand", "gatewayConnectors", "loadBalancers", "monitoring", "placementConstraints",
    "placementStrategy", "role", "serviceConnectConfiguration", "serviceRegistries", "volumeConfigurations",
    "vpcLatticeConfigurations",
)  # fmt: skip
_OF_A_DEPLOYMENT = frozenset({"deploymentCircuitBreaker", "maximumPercent", "minimumHealthyPercent", "strategy"})
_MOST_DESCRIBED = 10
# Ours, and not told of.
_OWN = ("Steady", "Completed", "Token")


class Services:
    """Services of clusters."""

    def __init__(
        self,
        context: Context,
        clusters: Clusters,
        definitions: Definitions,
        records: Records,
        keeper: Keeper,
        tags: Tags,
    ) -> None:
        self._context, self._store, self._clusters = context, context.store, clusters
        self._definitions, self._records, self._keeper, self._tags = definitions, records, keeper, tags
        self._names, self._networks, self._notices = Names.of(context), Networks(context), Notices(context)

    def create(self, request: Request) -> dict[str, Any]:
        """CreateService. The same clientToken gives the service that it made."""
        params = request.params
        _check(params)
        cluster = self._clusters.get(params.get("cluster"))
        name = key(cluster["clusterName"], params["serviceName"])
        there = self._store.get(SERVICE, name)
        if there is not None and params.get("clientToken") and there.get("Token") == params["clientToken"]:
            return {"service": self._shown(there, with_tags=True)}
        if params.get("desiredCount") is None:
            raise invalid("desiredCount is required for a service with schedulingStrategy REPLICA")
        if not params.get("taskDefinition"):
            raise invalid("TaskDefinition can not be blank.")
        definition = self._definitions.find(params["taskDefinition"])
        if definition["status"] != "ACTIVE":
            raise invalid(f"The task definition {definition['taskDefinitionArn']} is {definition['status']}")
        now = self._context.clock.now()
        arn = self._names.service_arn(cluster["clusterName"], params["serviceName"])
        document: Document = {
            "serviceArn": arn,
            "serviceName": params["serviceName"],
            "clusterArn": cluster["clusterArn"],
            "loadBalancers": [],
            "serviceRegistries": [],
            "status": "ACTIVE",
            "desiredCount": params["desiredCount"],
            **capacity(params, cluster),
            "platformVersion": platform(params),
            "platformFamily": "Linux",
            "taskDefinition": definition["taskDefinitionArn"],
            "deploymentConfiguration": _configuration(params.get("deploymentConfiguration") or {}),
            "roleArn": f"arn:aws:iam::{self._context.account_id}:role/aws-service-role/ecs.amazonaws.com"
            "/AWSServiceRoleForECS",
            "events": [],
            "createdAt": now,
            "createdBy": self._context.principals.of(request.access_key),
            "networkConfiguration": self._networks.check(params),
            "healthCheckGracePeriodSeconds": params.get("healthCheckGracePeriodSeconds", 0),
            "placementConstraints": [],
            "placementStrategy": [],
            "schedulingStrategy": "REPLICA",
            "deploymentController": {"type": "ECS"},
            "enableECSManagedTags": params.get("enableECSManagedTags", False),
            "propagateTags": params.get("propagateTags", "NONE"),
            "enableExecuteCommand": False,
            "availabilityZoneRebalancing": params.get("availabilityZoneRebalancing", "ENABLED"),
            "Steady": False,
            "Token": params.get("clientToken"),
        }
        document["deployments"] = [new_deployment(document, now)]
        with self._store.transaction():
            there = self._store.get(SERVICE, name)
            if there is not None and there["status"] == "DRAINING":
                raise invalid("Unable to Start a service that is still Draining.")
            if there is not None and there["status"] == "ACTIVE":
                raise invalid("Creation of service was not idempotent.")
            self._store.put(SERVICE, name, document)
            self._tags.put(arn, params.get("tags") or ())
        self._begin(name, document)
        return {"service": self._shown(document, with_tags=True)}

    def update(self, request: Request) -> dict[str, Any]:
        """UpdateService. What a deployment has of its own, when it changes, makes a new one; so does
        forceNewDeployment."""
        params = request.params
        _check(params)
        cluster = self._clusters.get(params.get("cluster"))
        name = key(cluster["clusterName"], short(params["service"]))
        before = self._active(name)
        members: Document = {
            member: params[member]
            for member in (
                "availabilityZoneRebalancing", "desiredCount", "enableECSManagedTags", "healthCheckGracePeriodSeconds",
                "propagateTags",
            )
            if member in params
        }  # fmt: skip
        deployed: Document = {}
        if params.get("taskDefinition"):
            deployed["taskDefinition"] = self._definitions.find(params["taskDefinition"])["taskDefinitionArn"]
        if params.get("networkConfiguration"):
            deployed["networkConfiguration"] = self._networks.check(params)
        if params.get("platformVersion"):
            deployed["platformVersion"] = platform(params)
        if "capacityProviderStrategy" in params:
            deployed |= capacity(params, cluster)
        if "deploymentConfiguration" in params:
            given = {**before["deploymentConfiguration"], **params["deploymentConfiguration"]}
            members["deploymentConfiguration"] = _configuration(given)
        anew = params.get("forceNewDeployment") or any(before.get(one) != value for one, value in deployed.items())

        def changed(there: Document) -> Document:
            if there["status"] != "ACTIVE":
                raise service_not_active()
            after = {**there, **members, **deployed, "Steady": False}
            if "capacityProviderStrategy" in deployed:
                after.pop("launchType", None)
            if anew:
                older = [{**one, "status": "ACTIVE"} for one in there["deployments"]]
                after["deployments"] = [new_deployment(after, self._context.clock.now()), *older]
            return after

        after = self._store.update(SERVICE, name, changed)
        if anew:
            self._keeper.forgive(name)
            self._begin(name, after)
        self._keeper.look(name)
        return {"service": self._shown(after)}

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteService: its tasks are stopped, and then it is INACTIVE."""
        params = request.params
        cluster = self._clusters.get(params.get("cluster"))
        name = key(cluster["clusterName"], short(params["service"]))
        before = self._active(name)
        if before["desiredCount"] and not params.get("force"):
            raise invalid("The service cannot be stopped while it is scaled above 0.")
        after = self._store.update(SERVICE, name, lambda there: {**there, "status": "DRAINING", "desiredCount": 0})
        self._keeper.look(name)
        return {"service": self._shown(after)}

    def describe(self, request: Request) -> dict[str, Any]:
        """DescribeServices."""
        params = request.params
        cluster = self._clusters.get(params.get("cluster"))["clusterName"]
        if not 1 <= len(params["services"]) <= _MOST_DESCRIBED:
            raise invalid(f"Services must be from 1 to {_MOST_DESCRIBED}; got {len(params['services'])}")
        with_tags = "TAGS" in (params.get("include") or ())
        found, failures = [], []
        for name in params["services"]:
            document = self._store.get(SERVICE, key(cluster, short(name)))
            if document is None:
                failures.append({"arn": self._names.service_arn(cluster, short(name)), "reason": "MISSING"})
            else:
                found.append(self._shown(document, with_tags=with_tags))
        return {"services": found, "failures": failures}

    def list(self, request: Request) -> dict[str, Any]:
        """ListServices."""
        params = request.params
        cluster = self._clusters.get(params.get("cluster"))["clusterName"]
        if params.get("schedulingStrategy", "REPLICA") != "REPLICA":
            return {"serviceArns": []}
        if params.get("resourceManagementType"):
            raise refused(["resourceManagementType"], "ListServices")
        arns = [
            document["serviceArn"]
            for _, document in self._store.list(SERVICE, f"{cluster}/", ("serviceArn", "status", "launchType"))
            if document["status"] != "INACTIVE"
            and params.get("launchType", document.get("launchType")) == document.get("launchType")
        ]
        # AWS's pages are of ten where nothing is said.
        return page(request.operation, arns, {"maxResults": 10, **params}, "serviceArns")

    def _active(self, name: str) -> Document:
        document = self._store.get(SERVICE, name)
        if document is None:
            raise no_service()
        if document["status"] != "ACTIVE":
            raise service_not_active()
        return document

    def _begin(self, name: str, service: Document) -> None:
        self._notices.deployment(service, service["deployments"][0], "SERVICE_DEPLOYMENT_IN_PROGRESS")
        self._keeper.look(name)

    def _shown(self, document: Document, *, with_tags: bool = False) -> Document:
        cluster, group = short(document["clusterArn"]), f"service:{document['serviceName']}"
        tasks = [
            task
            for task in self._records.of_cluster(cluster)
            if task["group"] == group and task["lastStatus"] != STOPPED
        ]
        shown = {name: value for name, value in document.items() if name not in _OWN}
        return {
            **shown,
            **_counts(tasks, lambda _: True),
            "deployments": [
                {
                    **one,
                    "desiredCount": document["desiredCount"] if one["status"] == "PRIMARY" else 0,
                    **_counts(tasks, lambda task, one=one: task.get("startedBy") == one["id"]),
                }
                for one in document["deployments"]
            ],
            "tags": self._tags.of(document["serviceArn"]) if with_tags else [],
        }


def _counts(tasks: list[Document], belongs: Any) -> dict[str, int]:
    own = [task["lastStatus"] for task in tasks if belongs(task)]
    return {
        "runningCount": sum(status in ("RUNNING", "DEPROVISIONING") for status in own),
        "pendingCount": sum(status in ("PROVISIONING", "PENDING") for status in own),
    }


def _check(params: Mapping[str, Any]) -> None:
    """Raise InvalidParameterException for what localcloud does not honour, naming it."""
    if names := [name for name in _NOT_HONOURED if params.get(name)]:
        raise refused(names, "service")
    if params.get("schedulingStrategy", "REPLICA") != "REPLICA":
        raise invalid(f"localcloud has the scheduling strategy REPLICA; got {params['schedulingStrategy']}")
    controller = (params.get("deploymentController") or {}).get("type", "ECS")
    if controller != "ECS":
        raise invalid(f"localcloud has the deployment controller ECS; got {controller}")
    configuration = params.get("deploymentConfiguration") or {}
    if names := sorted(name for name, value in configuration.items() if name not in _OF_A_DEPLOYMENT and value):
        raise refused([f"deploymentConfiguration.{name}" for name in names], "service")
    if configuration.get("strategy", "ROLLING") != "ROLLING":
        raise invalid(f"localcloud has the deployment strategy ROLLING; got {configuration['strategy']}")
    if params.get("desiredCount", 0) < 0:
        raise invalid("Invalid desired count. Desired count must be greater than or equal to 0.")


def _configuration(given: Mapping[str, Any]) -> Document:
    least, most = given.get("minimumHealthyPercent", 100), given.get("maximumPercent", 200)
    if not 0 <= least <= 100 or most < 100 or least >= most:
        raise invalid(
            "Both maximumPercent and minimumHealthyPercent cannot be 100 as this will block deployments."
            if least == most == 100
            else f"minimumHealthyPercent must be from 0 to 100, and maximumPercent above; got {least} and {most}"
        )
    return {
        "strategy": "ROLLING",
        "maximumPercent": most,
        "minimumHealthyPercent": least,
        "deploymentCircuitBreaker": {
            "enable": False, "rollback": False, **(given.get("deploymentCircuitBreaker") or {}),
        },
    }  # fmt: skip
