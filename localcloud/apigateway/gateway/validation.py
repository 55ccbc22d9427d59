"""Request validation: parameters that must be there, and bodies that must fit a model.

What is wrong with a body is said in the words of the JSON schema validator that API Gateway uses
(`$context.error.validationErrorString`), as far as models are written; other rules are said in this validator's own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from localcloud.apigateway.deployed import Method
from localcloud.apigateway.gateway.exchange import Exchange
from localcloud.apigateway.gateway.refusals import Refused

if TYPE_CHECKING:
    from jsonschema import Draft4Validator, ValidationError  # type: ignore[import-untyped]

_TYPES = ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (list, "array"), (dict, "object"))


class Validation:
    """Validates the requests of one deployed API. Safe to call from any thread."""

    def __init__(self) -> None:
        self._validators: dict[tuple[str, str, str], Draft4Validator] = {}

    def check(self, exchange: Exchange, method: Method) -> None:
        """Raise Refused (BAD_REQUEST_PARAMETERS, BAD_REQUEST_BODY) for a request that the method does not take."""
        if method.validates_parameters:
            _check_parameters(exchange, method)
        if method.validates_body:
            self._check_body(exchange, method)

    def _check_body(self, exchange: Exchange, method: Method) -> None:
        # A body of a type that has no model is not looked at.
        media_type = exchange.media_type if exchange.media_type in method.models else "$default"
        model = method.models.get(media_type)
        if model is None:
            return
        try:
            body = json.loads(exchange.request.body or b"null", parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise _invalid(f"[Invalid JSON: {error}]") from error
        validator = self._validator((method.resource_path, method.verb, media_type), model)
        try:
            errors = sorted(validator.iter_errors(body), key=lambda error: [str(part) for part in error.absolute_path])
        except RecursionError as error:
            raise _invalid("[the body is nested too deeply]") from error
        if errors:
            # All that is missing from an object is said once, where there is an error for each.
            raise _invalid("[" + ", ".join(dict.fromkeys(_said(error) for error in errors)) + "]")

    def _validator(self, key: tuple[str, str, str], model: Mapping[str, Any]) -> Draft4Validator:
        found = self._validators.get(key)
        if found is None:
            # It takes longer to import than most of localcloud, and few APIs have a model that is asked for.
            from jsonschema import Draft4Validator

            found = self._validators[key] = Draft4Validator(model)
        return found


def _check_parameters(exchange: Exchange, method: Method) -> None:
    missing = [
        expression.partition(".request.")[2].partition(".")[2]
        for expression in method.required_parameters
        if not any(value.strip() for value in exchange.parameter(expression))
    ]
    if missing:
        raise Refused("BAD_REQUEST_PARAMETERS", f"Missing required request parameters: [{', '.join(missing)}]")


def _invalid(said: str) -> Refused:
    return Refused("BAD_REQUEST_BODY", "Invalid request body", validation=said, detail=said)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _said(error: ValidationError) -> str:
    words = _WORDS.get(str(error.validator))
    return words(error) if words is not None else str(error.message)


def _names(values: Any) -> str:
    return ",".join(json.dumps(value) for value in values)


def _type(error: ValidationError) -> str:
    allowed = [error.validator_value] if isinstance(error.validator_value, str) else error.validator_value
    found = next((name for kind, name in _TYPES if isinstance(error.instance, kind)), "null")
    return f"instance type ({found}) does not match any allowed primitive type (allowed: [{_names(sorted(allowed))}])"


def _required(error: ValidationError) -> str:
    missing = [name for name in error.validator_value if name not in error.instance]
    return f"object has missing required properties ([{_names(missing)}])"


def _additional(error: ValidationError) -> str:
    known = error.schema.get("properties", {})
    extra = sorted(name for name in error.instance if name not in known)
    return f"object instance has properties which are not allowed by the schema: [{_names(extra)}]"


def _bound(kind: str, relation: str) -> Callable[[ValidationError], str]:
    return lambda error: (
        f"numeric instance is {relation} than the required {kind} ({kind}: {json.dumps(error.validator_value)},"
        f" found: {json.dumps(error.instance)})"
    )


def _length(adjective: str, limit: str) -> Callable[[ValidationError], str]:
    return lambda error: (
        f"string {json.dumps(error.instance)} is too {adjective} (length: {len(error.instance)}, {limit}:"
        f" {error.validator_value})"
    )


def _items(adjective: str, most: str) -> Callable[[ValidationError], str]:
    return lambda error: (
        f"array is too {adjective}: must have at {most} {error.validator_value} elements but instance has"
        f" {len(error.instance)} elements"
    )


def _enum(error: ValidationError) -> str:
    return (
        f"instance value ({json.dumps(error.instance)}) not found in enum (possible values:"
        f" [{_names(error.validator_value)}])"
    )


def _pattern(error: ValidationError) -> str:
    return (
        f"ECMA 262 regex {json.dumps(error.validator_value)} does not match input string {json.dumps(error.instance)}"
    )


_WORDS: Mapping[str, Callable[[ValidationError], str]] = {
    "type": _type,
    "required": _required,
    "additionalProperties": _additional,
    "minimum": _bound("minimum", "lower"),
    "maximum": _bound("maximum", "greater"),
    "minLength": _length("short", "required minimum"),
    "maxLength": _length("long", "maximum allowed"),
    "minItems": _items("short", "least"),
    "maxItems": _items("long", "most"),
    "enum": _enum,
    "pattern": _pattern,
}
