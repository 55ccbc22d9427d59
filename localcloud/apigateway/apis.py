"""REST APIs as they are described: imported, changed, looked at and deleted. Callers see it with a deployment only.

Resources and methods come from an OpenAPI document only; the operations that make them one by one are not here.
All APIs are REGIONAL, also those of which nobody says so (on AWS these are EDGE).
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping
from typing import Any

from localcloud.apigateway.errors import bad_request, missing, new_id
from localcloud.apigateway.openapi import gateway_responses, importer
from localcloud.apigateway.paging import page_of
from localcloud.apigateway.patches import Patch, patches_of
from localcloud.context import Context, Request
from localcloud.protocols import models

API = "apigateway/api"
Document = dict[str, Any]

_ID_LENGTH = 10
_PATHS = ("/apiKeySource", "/binaryMediaTypes/{mediaType}", "/description", "/name", "/version")
# Members of a request that ask for what is not here, and the values that ask for nothing.
_NOT_HERE: Mapping[str, tuple[Any, ...]] = {
    "apiKeySource": ("HEADER",),
    "cloneFrom": ("",),
    "disableExecuteApiEndpoint": (False,),
    "endpointAccessMode": (),
    "minimumCompressionSize": (),
    "policy": ("",),
    "securityPolicy": (),
}


class Apis:
    """The operations on APIs."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._on_change: Callable[[str], None] = lambda api_id: None
        self._on_delete: Callable[[str], None] = lambda api_id: None

    def listen(self, changed: Callable[[str], None], deleted: Callable[[str], None]) -> None:
        """Whom to tell that an API has changed; and whom, within the transaction, that it goes."""
        self._on_change, self._on_delete = changed, deleted

    def arn(self, api_id: str) -> str:
        """The ARN of an API, whether there is one or not."""
        return f"arn:aws:apigateway:{self._context.region}::/restapis/{api_id}"

    def named(self, api_id: str) -> Document:
        """The stored document of an API. Raises NotFoundException."""
        document = self._context.store.get(API, api_id)
        if document is None:
            raise missing("API")
        return document

    def import_api(self, request: Request) -> dict[str, Any]:
        """ImportRestApi."""
        given = dict(request.params.get("parameters") or {})
        _check_endpoint({"types": given.pop("endpointConfigurationTypes", "REGIONAL").split(",")})
        if given:
            raise bad_request(f"localcloud's import has no parameter {', '.join(sorted(given))}; got {given}")
        definition = self._read(request, None)
        return self._made({"name": definition["title"], **_about(definition)}, definition)

    def create(self, request: Request) -> dict[str, Any]:
        """CreateRestApi: an API with nothing in it but its root. PutRestApi fills it."""
        params = request.params
        _check_not_here(params)
        _check_endpoint(params.get("endpointConfiguration") or {})
        known = ("binaryMediaTypes", "description", "name", "tags", "version")
        root = {"id": new_id(importer.ROOT_ID_LENGTH), "path": "/", "resourceMethods": {}}
        definition = {
            **{name: [] for name in ("authorizers", "validators", "warnings")},
            **{name: {} for name in ("gatewayResponses", "models")},
            "resources": [root],
        }
        return self._made({name: params[name] for name in known if params.get(name)}, definition)

    def put(self, request: Request) -> dict[str, Any]:
        """PutRestApi: the document in place of what the API was."""
        params = request.params
        if params.get("mode", "merge") != "overwrite":
            raise bad_request(f"localcloud replaces an API by mode=overwrite; got {params.get('mode', 'merge')!r}")
        if params.get("parameters"):
            raise bad_request(f"localcloud's PutRestApi has no parameters; got {params['parameters']}")
        definition = self._read(request, self.named(params["restApiId"])["definition"])
        members = {"name": definition["title"], "description": None, "version": None, **_about(definition)}
        return self._changed(params["restApiId"], lambda stored: {**stored, **members, "definition": definition})

    def get(self, request: Request) -> dict[str, Any]:
        """GetRestApi."""
        return described(self.named(request.params["restApiId"]))

    def list(self, request: Request) -> dict[str, Any]:
        """GetRestApis."""
        return page_of(request, [described(document) for _, document in self._context.store.list(API)])

    def update(self, request: Request) -> dict[str, Any]:
        """UpdateRestApi."""
        patches = builtins.list(patches_of(request))

        def changed(stored: Document) -> Document:
            for patch in patches:
                stored = _patched(stored, patch)
            return stored

        return self._changed(request.params["restApiId"], changed)

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteRestApi, with its deployments and its stages."""
        api_id = request.params["restApiId"]
        with self._context.store.transaction():
            self.named(api_id)
            self._context.store.delete(API, api_id)
            self._on_delete(api_id)
        self._on_change(api_id)
        return {}

    # What is in an API.

    def resources(self, request: Request) -> dict[str, Any]:
        """GetResources."""
        embedded = "methods" in (request.params.get("embed") or ())
        found = self.named(request.params["restApiId"])["definition"]["resources"]
        return page_of(request, [_resource(one, embedded) for one in sorted(found, key=lambda one: str(one["path"]))])

    def resource(self, request: Request) -> dict[str, Any]:
        """GetResource."""
        return _resource(self._resource(request), "methods" in (request.params.get("embed") or ()))

    def method(self, request: Request) -> dict[str, Any]:
        """GetMethod."""
        found: dict[str, Any] | None = self._resource(request)["resourceMethods"].get(request.params["httpMethod"])
        if found is None:
            raise missing("Method")
        return found

    def integration(self, request: Request) -> dict[str, Any]:
        """GetIntegration."""
        found: dict[str, Any] | None = self.method(request).get("methodIntegration")
        if found is None:
            raise missing("Integration")
        return found

    def authorizers(self, request: Request) -> dict[str, Any]:
        """GetAuthorizers."""
        return page_of(request, self.named(request.params["restApiId"])["definition"]["authorizers"])

    def models(self, request: Request) -> dict[str, Any]:
        """GetModels."""
        found = self.named(request.params["restApiId"])["definition"]["models"]
        items = [
            {"id": name, "name": name, "contentType": "application/json", "schema": schema}
            for name, schema in found.items()
        ]
        return page_of(request, items)

    def validators(self, request: Request) -> dict[str, Any]:
        """GetRequestValidators."""
        return page_of(request, self.named(request.params["restApiId"])["definition"]["validators"])

    def gateway_responses(self, request: Request) -> dict[str, Any]:
        """GetGatewayResponses."""
        changed = self.named(request.params["restApiId"])["definition"]["gatewayResponses"]
        return page_of(request, gateway_responses.listed(changed), "responseType")

    def _read(self, request: Request, before: Document | None) -> Document:
        return importer.read(
            request.params["body"],
            self._context.region,
            before=before,
            fail_on_warnings=request.params.get("failOnWarnings", False),
        )

    def _made(self, members: Document, definition: Document) -> dict[str, Any]:
        document = {
            **members,
            "id": new_id(_ID_LENGTH),
            "createdDate": self._context.clock.now(),
            "apiKeySource": "HEADER",
            "disableExecuteApiEndpoint": False,
            "endpointConfiguration": {"types": ["REGIONAL"], "ipAddressType": "ipv4"},
            "definition": definition,
        }
        self._context.store.put(API, document["id"], document)
        return described(document)

    def _changed(self, api_id: str, function: Callable[[Document], Document]) -> dict[str, Any]:
        try:
            document = self._context.store.update(API, api_id, function)
        except KeyError:
            raise missing("API") from None
        self._on_change(api_id)
        return described(document)

    def _resource(self, request: Request) -> Document:
        found = self.named(request.params["restApiId"])["definition"]["resources"]
        resource: Document | None = next((one for one in found if one["id"] == request.params["resourceId"]), None)
        if resource is None:
            raise missing("Resource")
        return resource


def described(document: Document) -> dict[str, Any]:
    """A stored API as GetRestApi gives it."""
    known = models.service_model("apigateway").shape_for("RestApi").members
    definition = document["definition"]
    root = next(one["id"] for one in definition["resources"] if one["path"] == "/")
    found = {name: value for name, value in document.items() if name in known and value}
    return found | {
        "rootResourceId": root,
        "warnings": definition["warnings"] or None,
        "disableExecuteApiEndpoint": document["disableExecuteApiEndpoint"],
    }


def _about(definition: Document) -> Document:
    """What a document says of the API as a whole, as far as it does."""
    return {
        name: definition[name]
        for name in ("binaryMediaTypes", "description", "version")
        if definition[name] is not None
    }


def _resource(resource: Mapping[str, Any], embedded: bool) -> dict[str, Any]:
    methods = resource["resourceMethods"]
    shown = methods if embedded else {verb: {} for verb in methods}
    return {**resource, "resourceMethods": shown or None}


def _check_not_here(params: Mapping[str, Any]) -> None:
    for name, nothing in _NOT_HERE.items():
        if name in params and params[name] not in nothing:
            raise bad_request(f"localcloud's APIs have no {name}; got {params[name]!r}")


def _check_endpoint(given: Mapping[str, Any]) -> None:
    types = given.get("types") or ["REGIONAL"]
    if types != ["REGIONAL"]:
        raise bad_request(f"localcloud's APIs are REGIONAL; got {', '.join(types)}")
    if given.get("vpcEndpointIds"):
        raise bad_request(f"localcloud's APIs have no vpcEndpointIds; got {given['vpcEndpointIds']}")
    if given.get("ipAddressType", "ipv4") != "ipv4":
        raise bad_request(f"localcloud's APIs have the ipAddressType ipv4; got {given['ipAddressType']!r}")


def _patched(document: Document, patch: Patch) -> Document:
    parts = patch.parts
    if len(parts) == 2 and parts[0] == "binaryMediaTypes":
        types = [one for one in document.get("binaryMediaTypes") or [] if one != parts[1]]
        # The new type of a replacement is the value; that of an addition is in the path.
        added = {"add": [parts[1]], "replace": [patch.value], "remove": []}[patch.op]
        return {**document, "binaryMediaTypes": types + added}
    if patch.op != "replace" or len(parts) != 1 or patch.path not in _PATHS:
        raise patch.unsupported(*_PATHS)
    if parts[0] == "name" and not patch.value:
        raise bad_request("Invalid name specified: it is empty")
    if parts[0] == "apiKeySource":
        _check_not_here({"apiKeySource": patch.value})
    return {**document, parts[0]: patch.value}
