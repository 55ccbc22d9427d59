"""Whether values fit a shape: botocore's own validator, and then the constraints that AWS checks beyond it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape
from botocore.validate import ParamValidator, ValidationErrors

from localcloud.errors import ServiceError
from localcloud.protocols import fitness

_SHOWN_CHARACTERS = 200
_HIDDEN = "****"
"""In place of what the model marks as sensitive: what is said of a mistake ends in logs."""


class ResponseError(Exception):
    """A handler gave a response that its own service's model does not allow: a bug in localcloud."""


class _Report(ValidationErrors):  # type: ignore[misc]
    is_sensitive = False

    def report(self, name: str, reason: str, **about: Any) -> None:
        super().report(name, reason, is_sensitive=self.is_sensitive, **about)

    def _format_error(self, error: tuple[str, str, dict[str, Any]]) -> str:
        text, about = str(super()._format_error(error)), error[2]
        return text.replace(f"value: {about.get('param')}", f"value: {_HIDDEN}", 1) if about["is_sensitive"] else text


class _Validator(ParamValidator):  # type: ignore[misc]
    # A list's members are looked at one by one only where there is something to look at.
    VALIDATED_METADATA_ATTRS = frozenset({*ParamValidator.VALIDATED_METADATA_ATTRS, "sensitive"})

    def validate(self, params: Any, shape: Shape) -> _Report:
        errors = _Report()
        self._validate(params, shape, errors, name="")
        return errors

    def _validate(self, params: Any, shape: Shape, errors: _Report, name: str) -> None:
        outer = errors.is_sensitive
        errors.is_sensitive = outer or _is_sensitive(shape)
        super()._validate(params, shape, errors, name)
        errors.is_sensitive = outer


class _ResponseValidator(_Validator):
    def _validate_list(self, param: Any, shape: Shape, errors: _Report, name: str) -> None:
        # A list that a request may not leave empty (CodeBuild's BuildIds) is empty in many an answer of AWS.
        if param != []:
            super()._validate_list(param, shape, errors, name)


_VALIDATOR, _RESPONSE_VALIDATOR = _Validator(), _ResponseValidator()


def check_request(params: dict[str, Any], shape: StructureShape | None, *, code: str = "ValidationException") -> None:
    """Raise ServiceError with `code` unless the parameters are ones that AWS accepts for this shape.

    The message is botocore's report (missing, unknown, wrong type, too small) or, when that finds nothing, AWS's own
    wording of what botocore leaves to the service: enumerations, patterns and upper limits.
    """
    if shape is None or fitness.compiled(shape, True)(params):
        return
    errors = _VALIDATOR.validate(params, shape)
    if errors.has_errors():
        raise ServiceError(code, f"Parameter validation failed:\n{errors.generate_report()}")
    failures = list(_constraint_failures(params, shape, "", patterns=True))
    if failures:
        plural = "s" if len(failures) > 1 else ""
        raise ServiceError(code, f"{len(failures)} validation error{plural} detected: " + "; ".join(failures))


def check_response(result: dict[str, Any], shape: StructureShape | None) -> None:
    """Raise ResponseError unless a handler's response fits its shape (types, members, enumerations)."""
    if shape is None:
        if result:
            raise ResponseError(f"the operation has no output, the handler gave {sorted(result)}")
        return
    if fitness.compiled(shape, False)(result):
        return
    errors = _RESPONSE_VALIDATOR.validate(result, shape)
    if errors.has_errors():
        raise ResponseError(errors.generate_report())
    if failures := list(_constraint_failures(result, shape, "", patterns=False)):
        raise ResponseError("; ".join(failures))


def _constraint_failures(value: Any, shape: Shape, path: str, *, patterns: bool, hidden: bool = False) -> Iterator[str]:
    hidden = hidden or _is_sensitive(shape)
    if isinstance(shape, StructureShape):
        if not shape.is_document_type:
            for name, item in value.items():
                member, place = shape.members[name], _member(path, name)
                yield from _constraint_failures(item, member, place, patterns=patterns, hidden=hidden)
        return
    for constraint in _unmet(value, shape, patterns):
        yield _failure(_HIDDEN if hidden else str(_redacted(value, shape)), path, constraint)
    if isinstance(shape, ListShape):
        for number, item in enumerate(value, 1):
            place = f"{path}.{number}.member"
            yield from _constraint_failures(item, shape.member, place, patterns=patterns, hidden=hidden)
    elif isinstance(shape, MapShape):
        for key, item in value.items():
            yield from _constraint_failures(key, shape.key, f"{path}.key", patterns=patterns, hidden=hidden)
            yield from _constraint_failures(item, shape.value, f"{path}.{key}.member", patterns=patterns, hidden=hidden)


def _unmet(value: Any, shape: Shape, patterns: bool) -> Iterator[str]:
    """The constraints that a value itself does not meet. `patterns`: whether upper limits and patterns count."""
    about = shape.metadata
    is_text = isinstance(value, str) and shape.type_name == "string"
    if is_text and about.get("enum") and value not in about["enum"]:
        yield f"Member must satisfy enum value set: [{', '.join(about['enum'])}]"
    if not patterns:
        return
    if "max" in about and (is_text or isinstance(shape, ListShape | MapShape)) and len(value) > about["max"]:
        yield f"Member must have length less than or equal to {about['max']}"
    if "max" in about and isinstance(value, int | float) and value > about["max"]:
        yield f"Member must have value less than or equal to {about['max']}"
    if is_text and "pattern" in about:
        compiled = fitness.compile_pattern(about["pattern"])
        if compiled is not None and not compiled.fullmatch(value):
            yield f"Member must satisfy regular expression pattern: {about['pattern']}"


def _is_sensitive(shape: Shape) -> bool:
    return bool(shape.metadata.get("sensitive"))


def _redacted(value: Any, shape: Shape) -> Any:
    """The same without what is sensitive in it."""
    if _is_sensitive(shape):
        return _HIDDEN
    if isinstance(shape, ListShape):
        return [_redacted(item, shape.member) for item in value]
    if isinstance(shape, MapShape):
        return {_redacted(key, shape.key): _redacted(item, shape.value) for key, item in value.items()}
    if isinstance(shape, StructureShape) and not shape.is_document_type:
        return {name: _redacted(item, shape.members[name]) for name, item in value.items()}
    return value


def _member(path: str, name: str) -> str:
    """AWS names members in lower camel case: `trainingJobName`, `tags.1.member.key`."""
    name = name[:1].lower() + name[1:]
    return f"{path}.{name}" if path else name


def _failure(shown: str, path: str, constraint: str) -> str:
    if len(shown) > _SHOWN_CHARACTERS:
        shown = f"{shown[:_SHOWN_CHARACTERS]}…"
    return f"Value '{shown}' at '{path}' failed to satisfy constraint: {constraint}"
