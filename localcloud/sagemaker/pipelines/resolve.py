"""From expressions to values, when a step is about to run and everything that it refers to is known."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from localcloud.sagemaker.pipelines import paths


class ResolveError(Exception):
    """An expression that has no value; the message gives the expression and what is missing."""


@dataclass(frozen=True)
class Scope:
    """What expressions can refer to."""

    parameters: Mapping[str, Any]
    execution: Mapping[str, Any]
    """Values of `Execution.NAME`."""
    describe: Callable[[str], Mapping[str, Any]]
    """The description of what a step made, by the step's name."""
    read_json: Callable[[str], Any]
    """The content of a JSON file in S3, by its URI. Raises ResolveError."""
    property_file: Callable[[str, str], str]
    """The S3 URI of a property file, by step and name."""

    def resolve(self, value: Any) -> Any:
        """The value with every expression in it replaced. Raises ResolveError."""
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (key, item) = next(iter(value.items()))
            if key == "Get" and isinstance(item, str):
                return self._get(item)
            if key == "Std:Join":
                return self._join(item)
            if key == "Std:JsonGet":
                return self._json_get(item)
        return {key: self.resolve(item) for key, item in value.items()}

    def _get(self, target: str) -> Any:
        try:
            head, name, *rest = paths.parse(target)
            if head == "Parameters":
                return self.parameters[str(name)]
            if head == "Execution":
                return self.execution[str(name)]
            found = paths.follow(self.describe(str(name)), tuple(rest), f"step {name!r}")
        except (KeyError, ValueError, paths.PathError) as error:
            raise ResolveError(f"cannot resolve {target!r}: {error}") from error
        return found.isoformat() if isinstance(found, datetime) else found

    def _join(self, item: Mapping[str, Any]) -> str:
        on = self.resolve(item["On"])
        parts: list[str] = []
        for value in self.resolve(item["Values"]):
            # A list parameter's values are joined like those around them.
            parts += [text(entry) for entry in value] if isinstance(value, list) else [text(value)]
        return str(on).join(parts)

    def _json_get(self, item: Mapping[str, Any]) -> Any:
        if "S3Uri" in item:
            uri = self.resolve(item["S3Uri"])
        else:
            _, step, _, name = paths.parse(item["PropertyFile"]["Get"])
            uri = self.property_file(str(step), str(name))
        try:
            return paths.follow(self.read_json(uri), paths.parse(item["Path"]), uri)
        except paths.PathError as error:
            raise ResolveError(f"cannot resolve Std:JsonGet of {item['Path']!r}: {error}") from error


def text(value: Any) -> str:
    """A value as it stands in a joined text: JSON's own form, and text as it is."""
    return value if isinstance(value, str) else json.dumps(value)
