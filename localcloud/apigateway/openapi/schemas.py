"""The document's schemas as models: JSON schemas of draft 4 with their references resolved.

OpenAPI's own keywords go. Those that change what is valid (`nullable`, `discriminator`, `readOnly`, `writeOnly`) and
those that API Gateway drops (`exclusiveMinimum`, `exclusiveMaximum`) are warned of.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from localcloud.apigateway.errors import bad_request
from localcloud.apigateway.openapi.document import Document, shown

_REFERENCE = "#/components/schemas/"
_NAME = re.compile(r"[a-zA-Z0-9]+")
_MOST_NODES = 50_000
_SILENT = frozenset({"deprecated", "example", "externalDocs", "xml"})
_WARNED = frozenset({"discriminator", "exclusiveMaximum", "exclusiveMinimum", "nullable", "readOnly", "writeOnly"})
_KEPT = frozenset(
    {
        "additionalProperties", "allOf", "anyOf", "default", "description", "enum", "format", "items", "maxItems",
        "maxLength", "maxProperties", "maximum", "minItems", "minLength", "minProperties", "minimum", "multipleOf",
        "not", "oneOf", "pattern", "properties", "required", "title", "type", "uniqueItems",
    }
)  # fmt: skip
_TYPES = ("array", "boolean", "integer", "number", "object", "string")


class Schemas:
    """The schemas of one document."""

    def __init__(self, document: Document) -> None:
        self._document, self._findings = document, document.findings
        self.models: dict[str, dict[str, Any]] = {}
        """By name: those of `components.schemas`, and those that are written where they are used."""
        self._nodes = 0

    def read(self) -> None:
        """Take up `components.schemas`."""
        components = self._document.members(self._document.root, "components", "")
        for name, node in self._document.members(components, "schemas", "components").items():
            if not _NAME.fullmatch(name):
                self._findings.errors.append(
                    f"components.schemas.{name}: Model name must be alphanumeric: {name}",
                )
            self.models[name] = self._schema(node, f"components.schemas.{name}", (f"{_REFERENCE}{name}",))

    def name_of(self, node: Any, place: str) -> str:
        """The name of the model that a place has; a model of its own for a schema that is written there."""
        reference = node.get("$ref") if isinstance(node, Mapping) else None
        if isinstance(reference, str) and reference.startswith(_REFERENCE):
            name = reference.removeprefix(_REFERENCE)
            if name not in self.models:
                self._findings.errors.append(f"{place}: $ref {reference!r} names nothing in the document")
            return name
        name = f"MODEL{len(self.models):06}"
        self.models[name] = self._schema(node, place, ())
        return name

    def _schema(self, node: Any, place: str, above: tuple[str, ...]) -> dict[str, Any]:
        # A few schemas that each refer to the next one twice are, written out, more than any memory holds.
        self._nodes += 1
        if self._nodes > _MOST_NODES:
            raise bad_request(
                f"{place}: with their references written out, the schemas have more than {_MOST_NODES} parts"
            )
        if not isinstance(node, Mapping):
            self._findings.errors.append(f"{place}: expected a schema, got {shown(node)}")
            return {}
        if "$ref" in node:
            reference = node["$ref"]
            if reference in above:
                names = [str(one).removeprefix(_REFERENCE) for one in (*above[above.index(reference) :], reference)]
                self._findings.errors.append(f"{place}: circular reference of schemas: {' -> '.join(names)}")
                return {}
            target = self._document.target(reference, place)
            # With a reference, OpenAPI 3.0 takes nothing that stands beside it.
            return {} if target is None else self._schema(target, place, (*above, reference))
        found = {}
        for name, value in node.items():
            if name in _WARNED:
                self._findings.warnings.append(f"{place}: {name} is not supported in a model and is left out")
            elif name in _KEPT:
                found[name] = self._keyword(name, value, f"{place}.{name}", above)
            elif name not in _SILENT and not name.startswith("x-"):
                self._findings.errors.append(f"{place}: a schema of OpenAPI 3.0 has no {name}; got {shown(value)}")
        return found

    def _keyword(self, name: str, value: Any, place: str, above: tuple[str, ...]) -> Any:
        if name in ("items", "not") or (name == "additionalProperties" and not isinstance(value, bool)):
            return self._schema(value, place, above)
        if name in ("allOf", "anyOf", "oneOf") and isinstance(value, list):
            return [self._schema(item, f"{place}.{number}", above) for number, item in enumerate(value)]
        if name == "properties" and isinstance(value, Mapping):
            return {key: self._schema(item, f"{place}.{key}", above) for key, item in value.items()}
        if wrong := _wrong(name, value):
            self._findings.errors.append(f"{place}: is {shown(value)}; expected {wrong}")
        return value


def _wrong(name: str, value: Any) -> str:
    """What a keyword must be, if it is not."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if name == "type":
        return "" if value in _TYPES else f"one of {', '.join(_TYPES)}"
    if name in ("enum", "required", "allOf", "anyOf", "oneOf"):
        return "" if isinstance(value, list) and value else "a list with something in it"
    if name == "properties":
        return "an object"
    if name == "uniqueItems":
        return "" if isinstance(value, bool) else "true or false"
    if name in ("maximum", "minimum", "multipleOf"):
        return "" if number else "a number"
    if name.startswith(("max", "min")):
        return "" if number and isinstance(value, int) and value >= 0 else "a whole number that is not negative"
    if name == "pattern":
        return "" if isinstance(value, str) and _compiles(value) else "a regular expression"
    return ""


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True
