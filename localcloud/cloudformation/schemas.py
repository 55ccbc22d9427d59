"""What CloudFormation itself knows of a resource type: the schemas of its providers, as cfn-lint ships them.

Of cfn-lint only the files are read: its import takes a second.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_WHERE = "/properties/"
CUSTOM = "AWS::CloudFormation::CustomResource"
_CUSTOM_PREFIX = "Custom::"
_KINDS = {"string": "String", "integer": "Integer", "number": "Number", "boolean": "Boolean"}


@dataclass(frozen=True)
class Schema:
    """One resource type."""

    type_name: str
    document: Mapping[str, Any]
    """The JSON schema of its properties; those that only the service sets are not in it."""
    create_only: frozenset[str]
    """Paths (`OnlineStoreConfig.EnableOnlineStore`) that cannot be changed in place."""

    @property
    def properties(self) -> frozenset[str]:
        """The properties of the first level that a template may set."""
        return frozenset(self.document["properties"])

    def coerce(self, value: Any) -> Any:
        """The properties with scalars of the types that the schema asks for: CloudFormation takes "5" for 5, and false
        for "false". What does not fit is left as it is."""
        return _coerce(value, self.document, self.document)

    def violations(self, properties: Any) -> list[str]:
        """What is wrong with resolved properties, in CloudFormation's words."""
        return sorted({text for error in self._validator().iter_errors(properties) for text in _told(error)})

    def replaced(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
        """The create-only paths whose values differ."""
        return sorted(path for path in self.create_only if _at(before, path) != _at(after, path))

    def _validator(self) -> Any:
        # Imported here because localcloud is ready sooner without it, and most never make a stack.
        from jsonschema import Draft7Validator  # type: ignore[import-untyped]

        return Draft7Validator(dict(self.document))


@cache
def known_types(region: str) -> Mapping[str, str]:
    """The resource types of a region, with the name of each one's schema. Those of eu-west-1 for an unknown one."""
    file = _folder() / "providers" / f"{region}.json"
    if not file.exists():
        file = _folder() / "providers" / "eu-west-1.json"
    types: dict[str, str] = json.loads(file.read_text())
    return types


def schema_name(type_name: str) -> str:
    """The name by which a type's schema is known: of all custom resources it is one."""
    return CUSTOM if type_name.startswith(_CUSTOM_PREFIX) else type_name


@cache
def schema(type_name: str, region: str) -> Schema:
    """The schema of a type. Raises KeyError for one that the region does not have."""
    name = known_types(region)[schema_name(type_name)]
    document = json.loads((_folder() / "resources" / f"{name}.json").read_text())
    read_only = {path.removeprefix(_WHERE) for path in document.get("readOnlyProperties") or ()}
    create_only = {
        path.removeprefix(_WHERE).replace("/", ".")
        for member in ("createOnlyProperties", "conditionalCreateOnlyProperties")
        for path in document.get(member) or ()
        if "*" not in path
    }
    document["properties"] = {name: node for name, node in document["properties"].items() if name not in read_only}
    _drop_patterns(document)
    if schema_name(type_name) == CUSTOM:
        # Its own properties are for its function. That another one cannot take over, the type itself says.
        document["additionalProperties"] = True
        create_only = set()
    return Schema(type_name, document, frozenset(create_only - read_only))


def _folder() -> Path:
    found = importlib.util.find_spec("cfnlint")
    if found is None or not found.submodule_search_locations:
        raise RuntimeError("cfn-lint is not installed; its schemas tell localcloud what CloudFormation's types are")
    return Path(found.submodule_search_locations[0]) / "data" / "schemas"


def _drop_patterns(node: Any) -> None:
    """Leave out the patterns that are no Python patterns: some are Java's. Names that one of them is for may be any."""
    if isinstance(node, dict):
        pattern = node.get("pattern")
        if isinstance(pattern, str) and not _is_pattern(pattern):
            del node["pattern"]
        named = node.get("patternProperties")
        if isinstance(named, dict):
            node["patternProperties"] = {key if _is_pattern(key) else "": item for key, item in named.items()}
        for item in node.values():
            _drop_patterns(item)
    elif isinstance(node, list):
        for item in node:
            _drop_patterns(item)


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True


def _coerce(value: Any, node: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    node = _followed(node, root)
    if isinstance(value, dict):
        members: Mapping[str, Any] = node.get("properties") or {}
        patterns: Mapping[str, Any] = node.get("patternProperties") or {}
        rest = next(iter(patterns.values()), node.get("additionalProperties"))
        rest = rest if isinstance(rest, dict) else {}
        return {key: _coerce(item, members.get(key, rest), root) for key, item in value.items()}
    if isinstance(value, list):
        items = node.get("items")
        return [_coerce(item, items if isinstance(items, dict) else {}, root) for item in value]
    kinds = node.get("type")
    if isinstance(kinds, list) and "string" in kinds:
        kinds = "string"
    return _as_kind(value, kinds if isinstance(kinds, str) else None)


def _followed(node: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    while isinstance(reference := node.get("$ref"), str):
        found: Any = root
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


def _as_kind(value: Any, kind: str | None) -> Any:
    if kind == "string" and isinstance(value, bool | int | float):
        return text_of(value)
    if not isinstance(value, str):
        return value
    if kind == "boolean" and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if kind in ("integer", "number"):
        try:
            return int(value)
        except ValueError:
            pass
        if kind == "number":
            try:
                return float(value)
            except ValueError:
                return value
    return value


def text_of(value: Any) -> str:
    """A scalar as CloudFormation writes it in a text."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _at(value: Any, path: str) -> Any:
    for part in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


def _told(error: Any) -> Iterator[str]:
    place = "/".join(("#", *(str(part) for part in error.absolute_path)))
    if error.validator == "additionalProperties" and error.validator_value is False:
        allowed = set(error.schema.get("properties") or ())
        patterns = error.schema.get("patternProperties") or ()
        for key in error.instance:
            if key not in allowed and not any(re.search(pattern, key) for pattern in patterns):
                yield f"{place}: extraneous key [{key}] is not permitted"
    elif error.validator == "required":
        for key in error.validator_value:
            if key not in error.instance:
                yield f"{place}: required key [{key}] not found"
    elif error.validator == "type":
        wanted = error.validator_value if isinstance(error.validator_value, str) else "/".join(error.validator_value)
        yield f"{place}: expected type: {_KINDS.get(wanted, wanted)}, found: {_kind_of(error.instance)}"
    elif error.validator == "enum":
        choices = ", ".join(map(str, error.validator_value))
        yield f"{place}: {_shown(error.instance)} is not a valid enum value; expected one of {choices}"
    elif error.validator == "pattern":
        yield f"{place}: string [{_shown(error.instance)}] does not match pattern {error.validator_value}"
    elif error.validator in ("anyOf", "oneOf", "allOf"):
        yield f"{place}: #: no subschema matched out of the total {len(error.validator_value)} subschemas"
    else:
        yield f"{place}: failed validation constraint for keyword [{error.validator}]: {_shown(error.message)}"


def _kind_of(value: Any) -> str:
    names = {dict: "JSONObject", list: "JSONArray", bool: "Boolean", int: "Integer", float: "Double", str: "String"}
    return names.get(type(value), "null")


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
