"""Whether values fit a shape: botocore's own validator, and then the constraints that AWS checks beyond it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape
from botocore.validate import ParamValidator

from localcloud.errors import ServiceError
from localcloud.protocols import fitness

_VALIDATOR = ParamValidator()
_SHOWN_CHARACTERS = 200


class ResponseError(Exception):
    """A handler gave a response that its own service's model does not allow: a bug in localcloud."""


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
    errors = _VALIDATOR.validate(result, shape)
    if errors.has_errors():
        raise ResponseError(errors.generate_report())
    if failures := list(_constraint_failures(result, shape, "", patterns=False)):
        raise ResponseError("; ".join(failures))


def _constraint_failures(value: Any, shape: Shape, path: str, *, patterns: bool) -> Iterator[str]:
    if isinstance(shape, StructureShape):
        if not shape.is_document_type:
            for name, item in value.items():
                yield from _constraint_failures(item, shape.members[name], _member(path, name), patterns=patterns)
        return
    if isinstance(shape, ListShape):
        yield from _size_failures(value, shape, path, patterns)
        for number, item in enumerate(value, 1):
            yield from _constraint_failures(item, shape.member, f"{path}.{number}.member", patterns=patterns)
        return
    if isinstance(shape, MapShape):
        yield from _size_failures(value, shape, path, patterns)
        for key, item in value.items():
            yield from _constraint_failures(key, shape.key, f"{path}.key", patterns=patterns)
            yield from _constraint_failures(item, shape.value, f"{path}.{key}.member", patterns=patterns)
        return
    if isinstance(value, str) and shape.type_name == "string":
        choices = shape.metadata.get("enum")
        if choices and value not in choices:
            yield _failure(value, path, f"Member must satisfy enum value set: [{', '.join(choices)}]")
        yield from _size_failures(value, shape, path, patterns)
        if patterns and (pattern := shape.metadata.get("pattern")):
            compiled = fitness.compile_pattern(pattern)
            if compiled is not None and not compiled.fullmatch(value):
                yield _failure(value, path, f"Member must satisfy regular expression pattern: {pattern}")
    elif patterns and isinstance(value, int | float) and "max" in shape.metadata and value > shape.metadata["max"]:
        yield _failure(value, path, f"Member must have value less than or equal to {shape.metadata['max']}")


def _size_failures(value: Any, shape: Shape, path: str, limits: bool) -> Iterator[str]:
    if limits and "max" in shape.metadata and len(value) > shape.metadata["max"]:
        yield _failure(value, path, f"Member must have length less than or equal to {shape.metadata['max']}")


def _member(path: str, name: str) -> str:
    """AWS names members in lower camel case: `trainingJobName`, `tags.1.member.key`."""
    name = name[:1].lower() + name[1:]
    return f"{path}.{name}" if path else name


def _failure(value: Any, path: str, constraint: str) -> str:
    shown = str(value)
    if len(shown) > _SHOWN_CHARACTERS:
        shown = f"{shown[:_SHOWN_CHARACTERS]}…"
    return f"Value '{shown}' at '{path}' failed to satisfy constraint: {constraint}"
