"""What a configuration class expects, said in words: read from the JSON schema that pydantic derives from it."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]


@cache
def _schema(model: type[BaseModel]) -> Schema:
    return model.model_json_schema()


def schema_at(model: type[BaseModel], path: tuple[str | int, ...]) -> Schema:
    """The schema of the value at a key path; an empty one where the class knows no such key."""
    root = _schema(model)
    here = root
    for part in path:
        here = _resolved(root, here)
        here = here.get("items", {}) if isinstance(part, int) else here.get("properties", {}).get(part, {})
    return _resolved(root, here)


def property_names(model: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    return list(schema_at(model, path).get("properties", {}))


def meaning(model: type[BaseModel], field: str) -> str:
    """What a field means, on one line."""
    return " ".join((model.model_fields[field].description or "").split())


def words(text: str) -> dict[str, Any]:
    """For `Field(json_schema_extra=...)`: what is expected, where a pattern would say it worse."""
    return {"words": text}


def expectation(schema: Schema) -> str:
    """A schema in words, with its limits: `an integer from 1 to 100`."""
    if "words" in schema:
        return str(schema["words"])
    if "anyOf" in schema:
        return " or ".join(expectation(option) for option in schema["anyOf"])
    if "enum" in schema:
        return "one of " + ", ".join(str(value) for value in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    if "properties" in schema:
        return "a mapping with " + ", ".join(schema["properties"])
    kind = {
        "integer": "an integer",
        "number": "a number",
        "string": "text",
        "boolean": "true or false",
        "array": "a list",
        "null": "nothing",
    }.get(schema.get("type", ""), "a value")
    if schema.get("type") == "array" and "items" in schema:
        count = f" of at least {schema['minItems']}" if "minItems" in schema else ""
        return f"{kind}{count}, each {expectation(schema['items'])}"
    if "pattern" in schema:
        return f"{kind} that matches {schema['pattern']}"
    return kind + _limits(schema)


def _limits(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    parts = []
    if low is not None and high is not None:
        parts.append(f"from {_number(low)} to {_number(high)}")
    else:
        parts += [f"of at least {_number(low)}"] if low is not None else []
        parts += [f"above {_number(above)}"] if above is not None else []
        parts += [f"of at most {_number(high)}"] if high is not None else []
        parts += [f"below {_number(below)}"] if below is not None else []
    if schema.get("minLength"):
        longest = schema.get("maxLength")
        parts.append(f"of {schema['minLength']} to {longest} characters" if longest else "that is not empty")
    return "".join(f" {part}" for part in parts[:1]) + "".join(f" and {part}" for part in parts[1:])


def _number(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _resolved(root: Schema, schema: Schema) -> Schema:
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        # A field's own text goes before its class's.
        return {**root["$defs"][name], **{key: value for key, value in schema.items() if key != "$ref"}}
    return schema
