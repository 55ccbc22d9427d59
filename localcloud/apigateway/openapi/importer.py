"""An OpenAPI document as an API: resources, methods, authorizers, models, validators and gateway responses.

The result is kept, and is in the terms of API Gateway's own operations (GetResources, GetModels, …). What the document
says that has no effect here is an error that names it; all errors are told at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from localcloud.apigateway.errors import new_id
from localcloud.apigateway.openapi import gateway_responses
from localcloud.apigateway.openapi.document import Document, Findings, Node, parse, shown
from localcloud.apigateway.openapi.integrations import Integrations
from localcloud.apigateway.openapi.schemas import Schemas
from localcloud.apigateway.openapi.security import Security

Definition = dict[str, Any]

ROOT_ID_LENGTH, ID_LENGTH = 10, 6
_VALIDATORS, _VALIDATOR = "x-amazon-apigateway-request-validators", "x-amazon-apigateway-request-validator"
_ANY = "x-amazon-apigateway-any-method"
_VERBS = ("delete", "get", "head", "options", "patch", "post", "put")
_BESIDE_VERBS = {"description", "parameters", "servers", "summary", _ANY}
_PART = re.compile(r"[a-zA-Z0-9._:,-]+|\{[a-zA-Z0-9._:-]+\+?\}")
_PLACES = {"header": "header", "path": "path", "query": "querystring"}
_STATUS = re.compile(r"[1-5]\d\d")


def read(body: bytes, region: str, *, before: Definition | None = None, fail_on_warnings: bool = False) -> Definition:
    """What a document says. What `before` has at the same place keeps its id.

    Raises BadRequestException for a document that is none, that API Gateway would not take, or that asks for what is
    not here.
    """
    return _Import(parse(body), region, before or {}, fail_on_warnings).definition()


class _Import:
    def __init__(self, root: Node, region: str, before: Definition, fail_on_warnings: bool) -> None:
        self._findings, self._fail_on_warnings = Findings(), fail_on_warnings
        self._document = Document(root, self._findings)
        authorizers = {one["name"]: one["id"] for one in before.get("authorizers", [])}
        self._resource_ids = {one["path"]: one["id"] for one in before.get("resources", [])}
        self._validator_ids = {one["name"]: one["id"] for one in before.get("validators", [])}
        self._schemas = Schemas(self._document)
        self._security = Security(self._document, authorizers, lambda: new_id(ID_LENGTH))
        self._integrations = Integrations(self._document, region)
        self._validators: dict[str, dict[str, Any]] = {}
        self._resources: dict[str, dict[str, Any]] = {}

    def definition(self) -> Definition:
        root = self._document.root
        self._document.check_extensions()
        self._schemas.read()
        self._security.read()
        self._read_validators()
        self._resource("/")
        for path in root["paths"]:
            if not path.startswith("x-"):
                self._path(path, self._document.members(root["paths"], path, "paths"))
        responses = gateway_responses.read(self._document, self._integrations)
        binary = self._binary_media_types()
        self._findings.check(self._fail_on_warnings)
        info = root["info"]
        return {
            "title": info["title"],
            "description": info.get("description"),
            "version": None if info.get("version") is None else str(info["version"]),
            "binaryMediaTypes": binary,
            "resources": list(self._resources.values()),
            "authorizers": list(self._security.authorizers.values()),
            "validators": list(self._validators.values()),
            "models": {name: json.dumps(schema) for name, schema in self._schemas.models.items()},
            "gatewayResponses": responses,
            "warnings": list(dict.fromkeys(self._findings.warnings)),
        }

    # Resources and methods.

    def _path(self, path: str, item: Node) -> None:
        place = f"paths.{path}"
        if not self._is_path(path):
            return
        self._document.unknown(
            {name: value for name, value in item.items() if not name.startswith("x-")},
            {*_VERBS, *_BESIDE_VERBS},
            place,
        )
        resource = self._resource(path)
        for name in (*_VERBS, _ANY):
            if name in item:
                verb = "ANY" if name == _ANY else name.upper()
                operation = self._document.resolve(item[name], f"{place}.{name}")
                resource["resourceMethods"][verb] = self._method(verb, resource, operation, item, f"{place}.{name}")

    def _is_path(self, path: str) -> bool:
        parts = path.split("/")[1:]
        if not path.startswith("/") or (path != "/" and not all(_PART.fullmatch(part) for part in parts)):
            self._findings.errors.append(
                f"paths.{path}: Resource's path part only allow a-zA-Z0-9._-:, or a valid greedy path variable and"
                " curly braces at the beginning and the end"
            )
            return False
        if any(part.endswith("+}") for part in parts[:-1]):
            self._findings.errors.append(
                f"paths.{path}: Cannot create a child of a resource with a greedy path variable"
            )
            return False
        return True

    def _resource(self, path: str) -> dict[str, Any]:
        """The resource at a path, made with those above it."""
        if path in self._resources:
            return self._resources[path]
        made: dict[str, Any] = {"path": path, "resourceMethods": {}}
        if path == "/":
            made["id"] = self._resource_ids.get(path) or new_id(ROOT_ID_LENGTH)
        else:
            above, _, part = path.rpartition("/")
            parent = self._resource(above or "/")["id"]
            self._check_siblings(parent, part, path)
            made |= {"id": self._resource_ids.get(path) or new_id(ID_LENGTH), "parentId": parent, "pathPart": part}
        self._resources[path] = made
        return made

    def _check_siblings(self, parent: str, part: str, path: str) -> None:
        if not part.startswith("{"):
            return
        for other in self._resources.values():
            if other.get("parentId") == parent and other["pathPart"].startswith("{"):
                self._findings.errors.append(
                    f"paths.{path}: A sibling ({other['pathPart']}) of this resource already has a variable path part"
                    " -- only one is allowed"
                )

    def _method(self, verb: str, resource: Node, operation: Node, item: Node, place: str) -> dict[str, Any]:
        method: dict[str, Any] = {
            "httpMethod": verb,
            **self._security.of(operation, place),
            "operationName": operation.get("operationId"),
            "requestValidatorId": self._validator_of(operation, place),
            "requestParameters": self._parameters(operation, item, place) or None,
            "requestModels": self._request_models(operation, place) or None,
            "methodResponses": self._method_responses(operation, place) or None,
        }
        method["methodIntegration"] = self._integrations.of(operation, method, resource["id"], place)
        return {name: value for name, value in method.items() if value is not None}

    def _parameters(self, operation: Node, item: Node, place: str) -> dict[str, bool]:
        found: dict[str, bool] = {}
        for node in (item, operation):
            given = node.get("parameters") or []
            if not isinstance(given, list):
                self._findings.errors.append(f"{place}.parameters: is {shown(given)}; expected a list")
                continue
            for number, one in enumerate(given):
                where = f"{place}.parameters.{number}"
                parameter = self._document.resolve(one, where)
                name, location = parameter.get("name"), parameter.get("in")
                if location == "cookie":
                    self._findings.warnings.append(f"{where}: a parameter in a cookie is not supported and is left out")
                elif not isinstance(name, str) or location not in _PLACES:
                    self._findings.errors.append(
                        f"{where}: has name {shown(name)} and in {shown(location)}; expected a name, and query, header"
                        " or path"
                    )
                else:
                    required = bool(parameter.get("required", False)) or location == "path"
                    found[f"method.request.{_PLACES[location]}.{name}"] = required
        return found

    def _request_models(self, operation: Node, place: str) -> dict[str, str]:
        body = self._document.members(operation, "requestBody", place)
        return self._models_of(body, f"{place}.requestBody")

    def _models_of(self, node: Node, place: str) -> dict[str, str]:
        content = self._document.members(node, "content", place)
        found = {}
        for media_type in content:
            media = self._document.members(content, media_type, f"{place}.content")
            if "schema" in media:
                found[media_type] = self._schemas.name_of(media["schema"], f"{place}.content.{media_type}.schema")
        return found

    def _method_responses(self, operation: Node, place: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        given = self._document.members(operation, "responses", place)
        for status in given:
            where = f"{place}.responses.{status}"
            if not _STATUS.fullmatch(status):
                self._findings.warnings.append(f"{where}: a response that is no status is left out")
                continue
            response = self._document.members(given, status, f"{place}.responses")
            headers = {
                f"method.response.header.{name}": False for name in self._document.members(response, "headers", where)
            }
            found[status] = {
                "statusCode": status,
                **({"responseParameters": headers} if headers else {}),
                **({"responseModels": models} if (models := self._models_of(response, where)) else {}),
            }
        return found

    # Validators, and what else the document's root has.

    def _read_validators(self) -> None:
        given = self._document.members(self._document.root, _VALIDATORS, "")
        for name in given:
            place = f"{_VALIDATORS}.{name}"
            node = self._document.members(given, name, _VALIDATORS)
            flags = {flag: node.get(flag, False) for flag in ("validateRequestBody", "validateRequestParameters")}
            self._document.unknown(node, set(flags), place)
            for flag, value in flags.items():
                if not isinstance(value, bool):
                    self._findings.errors.append(f"{place}.{flag}: is {shown(value)}; expected true or false")
            identifier = self._validator_ids.get(name) or new_id(ID_LENGTH)
            self._validators[name] = {"id": identifier, "name": name, **flags}

    def _validator_of(self, operation: Node, place: str) -> str | None:
        """The operation's validator, or the document's."""
        for node, where in ((operation, place), (self._document.root, "")):
            name = node.get(_VALIDATOR)
            if name is None:
                continue
            if isinstance(name, str) and name in self._validators:
                return str(self._validators[name]["id"])
            at = f"{where}.{_VALIDATOR}".lstrip(".")
            known = ", ".join(self._validators) or "none"
            self._findings.errors.append(f"{at}: is {shown(name)}; expected one of {_VALIDATORS}: {known}")
            return None
        return None

    def _binary_media_types(self) -> list[str]:
        root, name = self._document.root, "x-amazon-apigateway-binary-media-types"
        given = root.get(name, [])
        if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
            self._findings.errors.append(f"{name}: is {shown(given)}; expected a list of media types")
            return []
        source = root.get("x-amazon-apigateway-api-key-source", "HEADER")
        if source != "HEADER":
            self._findings.errors.append(
                f"x-amazon-apigateway-api-key-source: is {shown(source)}; expected HEADER, which is what localcloud has"
            )
        return given


def methods_of(definition: Definition) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Each resource with each of its methods."""
    for resource in definition["resources"]:
        for method in resource["resourceMethods"].values():
            yield resource, method
