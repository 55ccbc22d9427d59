"""Deployments: an API as it was at one moment. A stage answers by one of them, whatever becomes of the API."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any

from localcloud.apigateway.apis import Apis
from localcloud.apigateway.errors import bad_request, missing, new_id
from localcloud.apigateway.openapi.importer import ID_LENGTH, methods_of
from localcloud.apigateway.paging import page_of
from localcloud.apigateway.patches import patches_of
from localcloud.apigateway.stages import DEPLOYMENT, STAGE, Stages
from localcloud.context import Context, Request

Document = dict[str, Any]

_OF_STAGE = ("cacheClusterEnabled", "cacheClusterSize", "tracingEnabled", "variables")


class Deployments:
    """The operations on deployments."""

    def __init__(self, context: Context, apis: Apis, stages: Stages) -> None:
        self._context, self._apis, self._stages = context, apis, stages

    def create(self, request: Request) -> dict[str, Any]:
        """CreateDeployment, and the stage of the given name with it: a new one, or one that is there and moves."""
        params = request.params
        stage_name, api_id = params.get("stageName"), params["restApiId"]
        if params.get("canarySettings"):
            raise bad_request(f"localcloud's deployments have no canarySettings; got {params['canarySettings']}")
        if not stage_name and (given := [name for name in (*_OF_STAGE, "stageDescription") if params.get(name)]):
            raise bad_request(f"{', '.join(given)} can be given to a stage only; stageName is missing")
        with self._context.store.transaction():
            api = self._apis.named(api_id)
            document = self._deployed(api, params.get("description"))
            self._context.store.put(DEPLOYMENT, f"{api_id}/{document['id']}", document)
            if stage_name:
                members = {name: params[name] for name in _OF_STAGE if name in params}
                if params.get("stageDescription"):
                    members["description"] = params["stageDescription"]
                self._stages.point(api_id, stage_name, document["id"], members)
        self._stages.forget(api_id)
        return _described(document)

    def get(self, request: Request) -> dict[str, Any]:
        """GetDeployment; with what it has for each method, for who asks for it."""
        document = self._named(request)
        embedded = "apisummary" in (request.params.get("embed") or ())
        return {**_described(document), "apiSummary": document["apiSummary"] if embedded else None}

    def list(self, request: Request) -> dict[str, Any]:
        """GetDeployments."""
        api_id = self._apis.named(request.params["restApiId"])["id"]
        found = self._context.store.list(DEPLOYMENT, f"{api_id}/")
        return page_of(request, [_described(document) for _, document in found])

    def update(self, request: Request) -> dict[str, Any]:
        """UpdateDeployment: its description."""
        patches = builtins.list(patches_of(request))
        with self._context.store.transaction():
            document = self._named(request)
            for patch in patches:
                if (patch.op, patch.path) != ("replace", "/description"):
                    raise patch.unsupported("/description")
                document = {**document, "description": patch.value}
            self._context.store.put(DEPLOYMENT, f"{request.params['restApiId']}/{document['id']}", document)
        return _described(document)

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteDeployment: one that no stage answers by."""
        api_id = request.params["restApiId"]
        with self._context.store.transaction():
            identifier = self._named(request)["id"]
            if any(stage["deploymentId"] == identifier for _, stage in self._context.store.list(STAGE, f"{api_id}/")):
                raise bad_request("Active stages pointing to this deployment must be moved or deleted")
            self._context.store.delete(DEPLOYMENT, f"{api_id}/{identifier}")
        return {}

    def _named(self, request: Request) -> Document:
        api_id = self._apis.named(request.params["restApiId"])["id"]
        document = self._context.store.get(DEPLOYMENT, f"{api_id}/{request.params['deploymentId']}")
        if document is None:
            raise missing("Deployment")
        return document

    def _deployed(self, api: Mapping[str, Any], description: str | None) -> Document:
        found = builtins.list(methods_of(api["definition"]))
        if not found:
            raise bad_request("The REST API doesn't contain any methods")
        summary: dict[str, dict[str, Any]] = {}
        for resource, method in found:
            if "methodIntegration" not in method:
                at = f"{method['httpMethod']} {resource['path']}"
                raise bad_request(f"No integration defined for method {at}")
            summary.setdefault(resource["path"], {})[method["httpMethod"]] = {
                "authorizationType": method["authorizationType"],
                "apiKeyRequired": method["apiKeyRequired"],
            }
        return {
            "id": new_id(ID_LENGTH),
            "description": description,
            "createdDate": self._context.clock.now(),
            "apiSummary": summary,
            "definition": api["definition"],
            "binaryMediaTypes": api.get("binaryMediaTypes") or [],
        }


def _described(document: Document) -> dict[str, Any]:
    return {name: document.get(name) for name in ("id", "description", "createdDate")}
