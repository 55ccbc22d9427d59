"""The operations on task definitions."""

from __future__ import annotations

from typing import Any

from localcloud.context import Context, Request
from localcloud.ecs import fargate
from localcloud.ecs.errors import no_definition, refused
from localcloud.ecs.names import Names, definition_key
from localcloud.ecs.pages import page
from localcloud.ecs.tags import Tags

_KIND, _FAMILY = "ecs/task-definition", "ecs/family"
Document = dict[str, Any]


class Definitions:
    """Task definitions by family and revision."""

    def __init__(self, context: Context, tags: Tags) -> None:
        self._context, self._store, self._tags = context, context.store, tags
        self._names = Names.of(context)

    def register(self, request: Request) -> dict[str, Any]:
        """RegisterTaskDefinition: the next revision of its family."""
        params = request.params
        fargate.check(params)
        family = params["family"]
        with self._store.transaction():
            counter = self._store.get(_FAMILY, family) or {"Revision": 0}
            revision = counter["Revision"] + 1
            arn = self._names.definition_arn(family, revision)
            document: Document = {
                **{name: value for name, value in params.items() if name != "tags"},
                "taskDefinitionArn": arn,
                "containerDefinitions": [fargate.complete(one) for one in params["containerDefinitions"]],
                "volumes": [{"host": {}, **volume} for volume in params.get("volumes") or ()],
                "revision": revision,
                "status": "ACTIVE",
                "requiresAttributes": [],
                "placementConstraints": [],
                "compatibilities": ["EC2", "FARGATE"],
                "registeredAt": self._context.clock.now(),
                "registeredBy": self._context.principals.of(request.access_key),
            }
            self._store.put(_FAMILY, family, {"Revision": revision})
            self._store.put(_KIND, f"{family}:{revision}", document)
            self._tags.put(arn, params.get("tags") or ())
        return {"taskDefinition": document, "tags": self._tags.of(arn)}

    def find(self, text: str) -> Document:
        """A definition by ARN, `family:revision`, or `family`: its newest ACTIVE one. Raises ClientException."""
        key = definition_key(text)
        if ":" not in key:
            active = [found for _, found in self._store.list(_KIND, f"{key}:") if found["status"] == "ACTIVE"]
            if not active:
                raise no_definition()
            return active[-1]
        document = self._store.get(_KIND, key)
        if document is None or (text.startswith("arn:") and document["taskDefinitionArn"] != text):
            raise no_definition()
        return document

    def describe(self, request: Request) -> dict[str, Any]:
        """DescribeTaskDefinition."""
        document = self.find(request.params["taskDefinition"])
        with_tags = "TAGS" in (request.params.get("include") or ())
        return {
            "taskDefinition": document,
            "tags": self._tags.of(document["taskDefinitionArn"]) if with_tags else None,
        }

    def deregister(self, request: Request) -> dict[str, Any]:
        """DeregisterTaskDefinition: tasks and services that have it go on."""
        document = self.find(request.params["taskDefinition"])
        key = f"{document['family']}:{document['revision']}"
        moment = self._context.clock.now()
        changed = self._store.update(
            _KIND, key, lambda there: {**there, "status": "INACTIVE", "deregisteredAt": moment}
        )
        return {"taskDefinition": changed}

    def list(self, request: Request) -> dict[str, Any]:
        """ListTaskDefinitions, by family and revision."""
        params = request.params
        if params.get("status") == "DELETE_IN_PROGRESS":
            raise refused(["status DELETE_IN_PROGRESS"], "ListTaskDefinitions")
        found = [
            document
            for _, document in self._store.list(_KIND, members=("taskDefinitionArn", "family", "revision", "status"))
            if document["status"] == params.get("status", "ACTIVE")
            and document["family"] == params.get("familyPrefix", document["family"])
        ]
        found.sort(key=lambda one: (one["family"], one["revision"]), reverse=params.get("sort") == "DESC")
        arns = [document["taskDefinitionArn"] for document in found]
        return page(request.operation, arns, params, "taskDefinitionArns")
