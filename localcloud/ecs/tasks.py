"""The operations on tasks: RunTask, StopTask, DescribeTasks and ListTasks; and how services start theirs."""

from __future__ import annotations

import builtins
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from localcloud.context import Context, Request
from localcloud.ecs.clusters import Clusters
from localcloud.ecs.definitions import Definitions
from localcloud.ecs.errors import invalid, refused
from localcloud.ecs.names import Names, definition_key, key, short
from localcloud.ecs.pages import page
from localcloud.ecs.placement import PLATFORM_VERSION, Networks, assign, capacity, platform
from localcloud.ecs.records import Document, Records
from localcloud.ecs.running import Running
from localcloud.ecs.tags import Tag, merged
from localcloud.ecs.tags import Tags as TagStore

_TOKEN = "ecs/run-token"
_MOST_AT_ONCE = 10
_NOT_HONOURED = (
    "enableExecuteCommand", "placementConstraints", "placementStrategy", "referenceId", "volumeConfigurations",
)  # fmt: skip
_OVERRIDES = frozenset({"containerOverrides", "cpu", "executionRoleArn", "memory", "taskRoleArn"})
_CONTAINER_OVERRIDES = frozenset({"command", "cpu", "environment", "memory", "memoryReservation", "name"})

_PASSED = {"iam:PassedToService": "ecs-tasks.amazonaws.com"}


class Tasks:
    """Tasks of clusters."""

    def __init__(
        self,
        context: Context,
        clusters: Clusters,
        definitions: Definitions,
        records: Records,
        running: Running,
        tags: TagStore,
    ) -> None:
        self._context, self._clusters, self._definitions = context, clusters, definitions
        self._records, self._running, self._tags = records, running, tags
        self._names, self._networks = Names.of(context), Networks(context)

    def run(self, request: Request) -> dict[str, Any]:
        """RunTask. The same clientToken gives the same tasks, for as long as they are known."""
        params = request.params
        if names := [name for name in _NOT_HONOURED if params.get(name)]:
            raise refused(names, "task")
        cluster = self._clusters.get(params.get("cluster"))
        token = key(cluster["clusterName"], params.get("clientToken", ""))
        if params.get("clientToken") and (known := self._of_token(token)):
            return {"tasks": known, "failures": []}
        count = params.get("count", 1)
        if not 1 <= count <= _MOST_AT_ONCE:
            raise invalid(f"Count must be from 1 to {_MOST_AT_ONCE}; got {count}")
        definition = self._definitions.find(params["taskDefinition"])
        overrides = params.get("overrides") or {}
        _check_overrides(overrides, definition)
        self._check_roles(request, definition, overrides)
        placed = capacity(params, cluster)
        network = self._networks.check(params)
        tags = list(params.get("tags") or ())
        if params.get("propagateTags") == "TASK_DEFINITION":
            tags = merged(self._tags.of(definition["taskDefinitionArn"]), tags)
        elif params.get("propagateTags") == "SERVICE":
            raise invalid("propagateTags SERVICE is for tasks of services; expected TASK_DEFINITION or NONE")
        if params.get("enableECSManagedTags"):
            tags = merged(tags, [{"key": "aws:ecs:clusterName", "value": cluster["clusterName"]}])
        platform(params)
        documents = [
            self.launch(
                cluster["clusterName"],
                definition,
                placed,
                network,
                group=params.get("group", f"family:{definition['family']}"),
                started_by=params.get("startedBy"),
                overrides=overrides,
                tags=tags,
                others=number,
            )
            for number in range(count)
        ]
        if params.get("clientToken"):
            self._keep_token(token, documents)
        return {"tasks": [{**one, "tags": tags} for one in documents], "failures": []}

    def launch(
        self,
        cluster: str,
        definition: Document,
        placed: Mapping[str, Any],
        network: Mapping[str, Any],
        *,
        group: str,
        started_by: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        tags: Sequence[Tag] = (),
        others: int = 0,
    ) -> Document:
        """Start one task; gives it as it is at first.

        placed: a launch type or a strategy. others: how many of the same strategy there are already.
        """
        overrides = overrides or {}
        task_id, now = uuid.uuid4().hex, self._context.clock.now()
        arn = self._names.task_arn(cluster, task_id)
        document: Document = {
            "taskArn": arn,
            "clusterArn": self._names.cluster_arn(cluster),
            "taskDefinitionArn": definition["taskDefinitionArn"],
            "group": group,
            "startedBy": started_by,
            "launchType": "FARGATE",
            "platformVersion": PLATFORM_VERSION,
            "platformFamily": "Linux",
            "availabilityZone": f"{self._context.region}a",
            "cpu": overrides.get("cpu") or definition["cpu"],
            "memory": overrides.get("memory") or definition["memory"],
            "createdAt": now,
            "desiredStatus": "RUNNING",
            "lastStatus": "PROVISIONING",
            "healthStatus": "UNKNOWN",
            "version": 1,
            "overrides": {"containerOverrides": [], "inferenceAcceleratorOverrides": [], **overrides},
            "attachments": [_attachment(network)],
            "attributes": [],
            "enableExecuteCommand": False,
            "containers": [self._container(one, cluster, task_id) for one in definition["containerDefinitions"]],
        }
        if strategy := placed.get("capacityProviderStrategy"):
            spread: dict[str, int] = {}
            for _ in range(others + 1):
                chosen = assign(strategy, spread)
                spread[chosen] = spread.get(chosen, 0) + 1
            document["capacityProviderName"] = chosen
        document = {name: value for name, value in document.items() if value is not None}
        self._records.add(document, list(tags))
        self._running.begin(key(cluster, task_id), document)
        return document

    def stop(self, request: Request) -> dict[str, Any]:
        """StopTask: SIGTERM now, SIGKILL when a container's stopTimeout has passed."""
        params = request.params
        cluster = self._clusters.get(params.get("cluster"))["clusterName"]
        name = key(cluster, short(params["task"]))
        if self._records.get(name) is None:
            raise invalid("The referenced task was not found.")
        return {"task": self._running.stop(name, "UserInitiated", params.get("reason", "Task stopped by user"))}

    def describe(self, request: Request) -> dict[str, Any]:
        """DescribeTasks."""
        params = request.params
        cluster = self._clusters.get(params.get("cluster"))["clusterName"]
        with_tags = "TAGS" in (params.get("include") or ())
        found, failures = [], []
        for name in params["tasks"]:
            document = self._records.get(key(cluster, short(name)))
            if document is None:
                failures.append({"arn": self._names.task_arn(cluster, short(name)), "reason": "MISSING"})
            else:
                found.append({**document, "tags": self._records.tags(document) if with_tags else []})
        return {"tasks": found, "failures": failures}

    def list(self, request: Request) -> dict[str, Any]:
        """ListTasks; those that are to run, where no desiredStatus is named."""
        params = request.params
        if names := [name for name in ("containerInstance", "daemonName") if params.get(name)]:
            raise refused(names, "ListTasks")
        cluster = self._clusters.get(params.get("cluster"))["clusterName"]
        wanted = params.get("desiredStatus", "RUNNING")
        service, family = params.get("serviceName"), params.get("family")
        found = [
            document["taskArn"]
            for document in self._records.of_cluster(cluster)
            if document["desiredStatus"] == wanted
            and (not service or document["group"] == f"service:{short(service)}")
            and (not family or definition_key(document["taskDefinitionArn"]).partition(":")[0] == family)
            and params.get("startedBy", document.get("startedBy")) == document.get("startedBy")
            and params.get("launchType", "FARGATE") == "FARGATE"
        ]
        return page(request.operation, found, params, "taskArns")

    def _container(self, definition: Mapping[str, Any], cluster: str, task_id: str) -> Document:
        found = {
            "containerArn": self._names.container_arn(cluster, task_id, str(uuid.uuid4())),
            "taskArn": self._names.task_arn(cluster, task_id),
            "name": definition["name"],
            "image": definition["image"],
            "lastStatus": "PENDING",
            "networkInterfaces": [],
            "cpu": str(definition["cpu"]),
        }
        if (definition.get("healthCheck") or {"command": ["NONE"]})["command"][0] != "NONE":
            found["healthStatus"] = "UNKNOWN"
        return found

    def _keep_token(self, token: str, documents: Sequence[Document]) -> None:
        store = self._context.store
        with store.transaction():
            for old, _ in store.list(_TOKEN):
                if not self._of_token(old):
                    store.delete(_TOKEN, old)
            store.put(_TOKEN, token, {"Tasks": [short(one["taskArn"]) for one in documents]})

    def _of_token(self, token: str) -> builtins.list[Document]:
        found = self._context.store.get(_TOKEN, token) or {"Tasks": []}
        cluster = token.partition("/")[0]
        known = [self._records.get(key(cluster, name)) for name in found["Tasks"]]
        return [document for document in known if document is not None]

    def _check_roles(self, request: Request, definition: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
        """Who runs a task passes its roles on, though the request does not name them. Raises ServiceError."""
        caller = self._context.principals.of(request.access_key)
        for member in ("taskRoleArn", "executionRoleArn"):
            if role := overrides.get(member) or definition.get(member):
                self._context.authority.check(caller, "iam:PassRole", role, _PASSED)


def _check_overrides(overrides: Mapping[str, Any], definition: Mapping[str, Any]) -> None:
    if unknown := sorted(name for name, value in overrides.items() if name not in _OVERRIDES and value):
        raise refused(unknown, "task")
    names = {container["name"] for container in definition["containerDefinitions"]}
    for container in overrides.get("containerOverrides") or ():
        name = container.get("name")
        if name not in names:
            raise invalid(f"Override for container named {name} is not a container in the TaskDefinition.")
        if unknown := sorted(
            member for member, value in container.items() if member not in _CONTAINER_OVERRIDES and value
        ):
            raise refused(unknown, f"container {name}")


def _attachment(network: Mapping[str, Any]) -> Document:
    """The network interface, of which only the subnet is true here: all tasks are on this machine's loopback."""
    return {
        "id": str(uuid.uuid4()),
        "type": "ElasticNetworkInterface",
        "status": "ATTACHED",
        "details": [{"name": "subnetId", "value": network["awsvpcConfiguration"]["subnets"][0]}],
    }
