"""Patch operations: how API Gateway's Update… operations say what changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from localcloud.apigateway.errors import bad_request
from localcloud.context import Request


@dataclass(frozen=True)
class Patch:
    """One operation. `path` begins with a slash; `~1` stands for a slash within a name, `~0` for a tilde."""

    op: str
    path: str
    value: str

    @property
    def parts(self) -> list[str]:
        """The names in the path, unescaped."""
        return [unescaped(part) for part in self.path.split("/")[1:]]

    def unsupported(self, *expected: str) -> Exception:
        """The error for a path, or an operation at it, that is not there."""
        return bad_request(
            f"Invalid patch path '{self.path}' specified for op '{self.op}'. Must be one of: [{', '.join(expected)}]"
        )

    def boolean(self) -> bool:
        """The value as a truth value. Raises BadRequestException."""
        found = {"true": True, "false": False}.get(self.value.lower())
        if found is None:
            raise self._wrong("true or false")
        return found

    def integer(self, least: int, most: int) -> int:
        """The value as a whole number within limits. Raises BadRequestException."""
        if not self.value.isascii() or not self.value.isdigit() or not least <= int(self.value) <= most:
            raise self._wrong(f"a whole number from {least} to {most}")
        return int(self.value)

    def number(self, most: float) -> float:
        """The value as a number that is not negative. Raises BadRequestException."""
        try:
            found = float(self.value)
        except ValueError:
            raise self._wrong(f"a number from 0 to {most:g}") from None
        # A NaN compares with nothing, and so is refused, too.
        if not 0 <= found <= most:
            raise self._wrong(f"a number from 0 to {most:g}")
        return found

    def _wrong(self, expected: str) -> Exception:
        return bad_request(f"Invalid value for {self.path}: {self.value!r}; expected {expected}")


def patches_of(request: Request) -> Iterator[Patch]:
    """The operations of a request, in their order. Raises BadRequestException for those that no resource here has."""
    for given in request.params.get("patchOperations") or ():
        op, path = given.get("op"), given.get("path")
        if op not in ("add", "replace", "remove"):
            raise bad_request(f"Invalid patch operation specified: {op}; localcloud has add, replace and remove")
        if not path or not path.startswith("/"):
            raise bad_request(f"Invalid patch path {path!r}; it begins with a slash")
        if op == "replace" and given.get("value") is None:
            raise bad_request(f"Invalid patch operation specified: {op} of {path} has no value")
        yield Patch(op, path, given.get("value") or "")


def escaped(name: str) -> str:
    """A name as it is written in a path."""
    return name.replace("~", "~0").replace("/", "~1")


def unescaped(name: str) -> str:
    """A name as it is meant."""
    return name.replace("~1", "/").replace("~0", "~")
