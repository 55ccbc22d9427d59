"""An OpenAPI document as it is read: its text, its references, and what is found wrong with it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import yaml

from localcloud.apigateway.errors import bad_request
from localcloud.yaml_events import FastLoader, events

Node = Mapping[str, Any]

_MOST_BYTES = 6 * 1024 * 1024
_MOST_NODES = 500_000
_DEEPEST = 100
_MOST_TOLD = 100
_EXTENSION = "x-amazon-apigateway-"

# Where each of API Gateway's extensions may stand. What is not among them has no effect here, and is refused.
_AT_ROOT = frozenset(
    {"request-validators", "request-validator", "gateway-responses", "binary-media-types", "api-key-source"}
)
_AT_PATH = frozenset({"any-method"})
_AT_OPERATION = frozenset({"integration", "request-validator"})
_AT_SCHEME = frozenset({"authorizer", "authtype"})


class _Loader(FastLoader):  # type: ignore[misc]
    """YAML without its surprises: a name that stands twice in an object is an error."""


def _construct_mapping(loader: Any, node: Any) -> dict[Any, Any]:
    seen = set()
    for key, _ in node.value:
        if key.value in seen:
            raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key.value!r}", key.start_mark)
        seen.add(key.value)
    found: dict[Any, Any] = loader.construct_mapping(node, deep=True)
    return found


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_mapping)


class Findings:
    """What is wrong with a document. All of it is told at once."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []

    def check(self, fail_on_warnings: bool) -> None:
        """Raises BadRequestException where there are errors, and for warnings where they are to be taken as such."""
        if self.errors:
            raise bad_request(_listed("Errors found during import", self.errors))
        if self.warnings and fail_on_warnings:
            raise bad_request(_listed("Warnings found during import", self.warnings))


class Document:
    """A document whose members are looked up by place."""

    def __init__(self, root: Node, findings: Findings) -> None:
        self.root, self.findings = root, findings

    def resolve(self, node: Any, place: str) -> Node:
        """The object at a place, its reference followed. An empty one, and an error, if there is none."""
        seen: list[str] = []
        while isinstance(node, Mapping) and "$ref" in node:
            reference = node["$ref"]
            if reference in seen:
                self.findings.errors.append(f"{place}: circular reference: {' -> '.join([*seen, reference])}")
                return {}
            seen.append(reference)
            node = self.target(reference, place)
            if node is None:
                return {}
        if not isinstance(node, Mapping):
            self.findings.errors.append(f"{place}: expected an object, got {shown(node)}")
            return {}
        return node

    def target(self, reference: Any, place: str) -> Any:
        """What a reference names; None, and an error, if there is nothing. Only the document itself is looked into."""
        if not isinstance(reference, str) or not reference.startswith("#/"):
            self.findings.errors.append(f"{place}: $ref {reference!r} is not within the document (#/components/…)")
            return None
        node: Any = self.root
        for name in reference[2:].split("/"):
            name = name.replace("~1", "/").replace("~0", "~")
            node = node.get(name) if isinstance(node, Mapping) else None
        if node is None:
            self.findings.errors.append(f"{place}: $ref {reference!r} names nothing in the document")
        return node

    def members(self, node: Node, name: str, place: str) -> Node:
        """A member that is an object; an empty one where it is missing."""
        value = node.get(name)
        return {} if value is None else self.resolve(value, f"{place}.{name}" if place else name)

    def unknown(self, node: Node, known: frozenset[str] | set[str], place: str) -> None:
        """An error for each member that is not known."""
        for name in sorted(node.keys() - known):
            self.findings.errors.append(f"{place}: localcloud has no {name} there; got {shown(node[name])}")

    def check_extensions(self) -> None:
        """An error for each extension of API Gateway's that has no effect at its place."""
        for place, name, allowed in _extensions(self.root, ()):
            if name not in allowed:
                where = ".".join(place) or "the document"
                self.findings.errors.append(f"{where}: localcloud does not know the extension {name} there")


def parse(body: bytes) -> Node:
    """The document in JSON or YAML. Raises BadRequestException."""
    if len(body) > _MOST_BYTES:
        raise bad_request(f"Invalid OpenAPI input: {len(body)} bytes; expected at most {_MOST_BYTES}")
    try:
        text = body.decode()
        found = json.loads(text, object_pairs_hook=_once) if text.lstrip().startswith("{") else _yaml(text)
        root = _plain(found, [0], _DEEPEST)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise bad_request(f"Invalid OpenAPI input: {reason}") from None
    if not isinstance(root, Mapping):
        raise bad_request(f"Invalid OpenAPI input: expected an object, got {shown(root)}")
    version = root.get("openapi")
    if not isinstance(version, str) or not version.startswith("3.0."):
        given = f"openapi: {version}" if "openapi" in root else f"swagger: {root.get('swagger')}"
        raise bad_request(f"Invalid OpenAPI input: localcloud imports OpenAPI 3.0 documents; got {given}")
    if not isinstance(root.get("info"), Mapping) or not isinstance(root["info"].get("title"), str):
        raise bad_request("Invalid OpenAPI input: info.title is missing")
    if not isinstance(root.get("paths"), Mapping):
        raise bad_request("Invalid OpenAPI input: paths is missing")
    return root


def shown(value: Any) -> str:
    """A value as a message shows it."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _extensions(node: Any, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str, frozenset[str]]]:
    if isinstance(node, list):
        for number, item in enumerate(node):
            yield from _extensions(item, (*place, str(number)))
    if not isinstance(node, Mapping):
        return
    allowed = _allowed(place)
    for name, item in node.items():
        if name.startswith("x-amazon-") and (place[:1] != ("paths",) or len(place) != 1):
            yield place, name, allowed
            if name != f"{_EXTENSION}any-method":
                continue
        # Examples and schemas hold what their author likes.
        if name not in ("example", "examples", "default", "enum"):
            yield from _extensions(item, (*place, name))


def _allowed(place: tuple[str, ...]) -> frozenset[str]:
    names: frozenset[str] = frozenset()
    if not place:
        names = _AT_ROOT
    elif place[0] == "paths" and len(place) == 2:
        names = _AT_PATH
    elif place[0] == "paths" and len(place) == 3:
        names = _AT_OPERATION
    elif place[:2] == ("components", "securitySchemes") and len(place) == 3:
        names = _AT_SCHEME
    return frozenset(f"{_EXTENSION}{name}" for name in names)


def _yaml(text: str) -> Any:
    for _ in events(text, _DEEPEST):
        pass
    return yaml.load(text, _Loader)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError(f"duplicate key {Counter(name for name, _ in pairs).most_common(1)[0][0]!r}")
    return found


def _plain(value: Any, count: list[int], deeper: int) -> Any:
    """A value as JSON has it: keys are text (YAML reads `200:` as a number), and dates, too.

    It is a tree: what YAML's aliases share is copied, so the nodes are counted.
    """
    if deeper < 0:
        raise RecursionError
    count[0] += 1
    if count[0] > _MOST_NODES:
        raise ValueError(f"it has more than {_MOST_NODES} values")
    if isinstance(value, dict):
        return {_key(key): _plain(item, count, deeper - 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, count, deeper - 1) for item in value]
    if isinstance(value, date):
        return value.isoformat()
    if value is None or isinstance(value, str | int | float):
        return value
    raise ValueError(f"{shown(value)} is no value of JSON")


def _key(key: Any) -> str:
    if isinstance(key, bool):
        return str(key).lower()
    if isinstance(key, str | int | float):
        return str(key)
    raise ValueError(f"the key {shown(key)} is no text")


def _listed(title: str, lines: list[str]) -> str:
    told = list(dict.fromkeys(lines))
    rest = [f"and {len(told) - _MOST_TOLD} more"] if len(told) > _MOST_TOLD else []
    return "\n\t".join([f"{title}:", *told[:_MOST_TOLD], *rest])
