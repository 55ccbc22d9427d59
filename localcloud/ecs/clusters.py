"""Clusters: names with capacity providers, which on Fargate are FARGATE and FARGATE_SPOT. Spot tasks are never
interrupted here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from localcloud.context import Context, Request
from localcloud.ecs.errors import invalid, no_cluster, refused
from localcloud.ecs.names import DEFAULT_CLUSTER, Names, short
from localcloud.ecs.pages import page
from localcloud.ecs.tags import Tags
from localcloud.errors import ServiceError

KIND, SERVICE, TASK = "ecs/cluster", "ecs/service", "ecs/task"
"""Where the store keeps clusters, services and tasks."""
PROVIDERS = ("FARGATE", "FARGATE_SPOT")
Document = dict[str, Any]


class Clusters:
    """The operations on clusters."""

    def __init__(self, context: Context, tags: Tags) -> None:
        self._context, self._store, self._tags = context, context.store, tags
        self._names = Names.of(context)

    def create(self, request: Request) -> dict[str, Any]:
        """CreateCluster. One that is there, and ACTIVE, is given as it is, as AWS does."""
        params = request.params
        name = params.get("clusterName", DEFAULT_CLUSTER)
        if names := [member for member in ("configuration", "serviceConnectDefaults") if params.get(member)]:
            raise refused(names, "cluster")
        document: Document = {
            "clusterArn": self._names.cluster_arn(name),
            "clusterName": name,
            "status": "ACTIVE",
            "settings": list(params.get("settings") or [{"name": "containerInsights", "value": "disabled"}]),
            "capacityProviders": list(params.get("capacityProviders") or ()),
            "defaultCapacityProviderStrategy": list(params.get("defaultCapacityProviderStrategy") or ()),
        }
        _check_providers(document)
        with self._store.transaction():
            there = self._store.get(KIND, name)
            if there is None or there["status"] != "ACTIVE":
                self._store.put(KIND, name, document)
                self._tags.put(document["clusterArn"], params.get("tags") or ())
        return {"cluster": self._shown(self.get(name), with_tags=True)}

    def get(self, cluster: str | None) -> Document:
        """An ACTIVE cluster by its name or ARN; `default` where none is named. Raises ClusterNotFoundException."""
        found = self._store.get(KIND, short(cluster or DEFAULT_CLUSTER))
        if found is None or found["status"] != "ACTIVE":
            raise no_cluster()
        return found

    def describe(self, request: Request) -> dict[str, Any]:
        """DescribeClusters. A deleted one is shown as INACTIVE."""
        params = request.params
        include = params.get("include") or ()
        if unknown := sorted(set(include) - {"TAGS", "SETTINGS", "STATISTICS"}):
            raise refused([f"include {name}" for name in unknown], "DescribeClusters")
        found, failures = [], []
        for name in params.get("clusters") or [DEFAULT_CLUSTER]:
            document = self._store.get(KIND, short(name))
            if document is None:
                failures.append({"arn": self._names.cluster_arn(short(name)), "reason": "MISSING"})
            else:
                found.append(self._shown(document, with_tags="TAGS" in include))
        return {"clusters": found, "failures": failures}

    def list(self, request: Request) -> dict[str, Any]:
        """ListClusters."""
        arns = [document["clusterArn"] for _, document in self._store.list(KIND) if document["status"] == "ACTIVE"]
        return page(request.operation, arns, request.params, "clusterArns")

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteCluster. Raises ClusterContainsServicesException, ClusterContainsTasksException."""
        name = short(request.params["cluster"])
        with self._store.transaction():
            document = self._shown(self.get(name))
            if document["activeServicesCount"]:
                raise ServiceError(
                    "ClusterContainsServicesException",
                    "The Cluster cannot be deleted while Services are active.",
                )
            if document["runningTasksCount"] or document["pendingTasksCount"]:
                raise ServiceError(
                    "ClusterContainsTasksException", "The Cluster cannot be deleted while Tasks are active."
                )
            changed = self._store.update(KIND, name, lambda there: {**there, "status": "INACTIVE"})
        return {"cluster": self._shown(changed)}

    def put_providers(self, request: Request) -> dict[str, Any]:
        """PutClusterCapacityProviders."""
        params = request.params
        members = {
            "capacityProviders": list(params["capacityProviders"]),
            "defaultCapacityProviderStrategy": list(params["defaultCapacityProviderStrategy"]),
        }
        _check_providers(members)
        with self._store.transaction():
            name = self.get(params["cluster"])["clusterName"]
            changed = self._store.update(KIND, name, lambda there: {**there, **members})
        return {"cluster": self._shown(changed)}

    def _shown(self, document: Document, *, with_tags: bool = False) -> Document:
        name = document["clusterName"]
        tasks = [task for _, task in self._store.list(TASK, f"{name}/", ("lastStatus", "desiredStatus"))]
        services = [service for _, service in self._store.list(SERVICE, f"{name}/", ("status",))]
        return {
            **document,
            "registeredContainerInstancesCount": 0,
            "runningTasksCount": sum(task["lastStatus"] == "RUNNING" for task in tasks),
            "pendingTasksCount": sum(task["lastStatus"] in ("PROVISIONING", "PENDING") for task in tasks),
            "activeServicesCount": sum(service["status"] == "ACTIVE" for service in services),
            "statistics": [],
            "tags": self._tags.of(document["clusterArn"]) if with_tags else [],
        }


def _check_providers(members: Mapping[str, Any]) -> None:
    providers: Sequence[str] = members["capacityProviders"]
    if unknown := sorted(set(providers) - set(PROVIDERS)):
        raise invalid(f"localcloud has the capacity providers {' and '.join(PROVIDERS)}; got {', '.join(unknown)}")
    check_strategy(members["defaultCapacityProviderStrategy"], providers)


def check_strategy(strategy: Sequence[Mapping[str, Any]], providers: Sequence[str]) -> None:
    """Raise InvalidParameterException for a strategy with a provider that is not the cluster's, or without weight."""
    for item in strategy:
        if item["capacityProvider"] not in providers:
            raise invalid(
                "The specified capacity provider strategy cannot contain a capacity provider that is not associated"
                f" with the cluster. Associate the capacity provider {item['capacityProvider']} with the cluster and"
                " try again."
            )
    if strategy and not any(item.get("weight") for item in strategy) and not any(item.get("base") for item in strategy):
        raise invalid("A capacity provider strategy must have a provider with a weight greater than 0.")
    if sum(bool(item.get("base")) for item in strategy) > 1:
        raise invalid("Only one capacity provider in a capacity provider strategy can have a base.")
