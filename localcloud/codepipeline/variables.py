"""References to variables in the configuration of actions: `#{namespace.key}`.

Values come from the execution (`#{codepipeline.PipelineExecutionId}`), from the pipeline's own variables
(`#{variables.Reason}`) and from actions that ran before, under the namespace that each of them has.

Source: "Variables reference" (AWS CodePipeline User Guide).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

EXECUTION, PIPELINE = "codepipeline", "variables"
"""The namespaces that no action may have."""
EXECUTION_KEYS = frozenset({"PipelineExecutionId"})

_REFERENCE = re.compile(r"#\{([^{}]*)\}")
_NAMED = re.compile(r"([A-Za-z0-9@\-_]+)\.([A-Za-z0-9@\-_]+)")
_JSON_KEYS = frozenset({"EnvironmentVariables", "ParameterOverrides"})

Namespaces = Mapping[str, Mapping[str, str]]


class Unresolved(Exception):
    """A reference to a variable that has no value; the message names it."""


def references(text: str) -> Iterator[tuple[str, str, str]]:
    """The references in a text: as written, namespace and key; both empty for one that is none."""
    for found in _REFERENCE.finditer(text):
        named = _NAMED.fullmatch(found[1])
        yield found[0], named[1] if named else "", named[2] if named else ""


def resolved(configuration: Mapping[str, str], namespaces: Namespaces) -> dict[str, str]:
    """The configuration with every reference replaced by its value. Raises Unresolved.

    Within configuration that is JSON a value stands in a string: a commit's message may hold quotation marks.
    """
    return {key: _filled(key, text, namespaces) for key, text in configuration.items()}


def _filled(key: str, text: str, namespaces: Namespaces) -> str:
    def value(found: re.Match[str]) -> str:
        namespace, _, name = found[1].partition(".")
        known = namespaces.get(namespace, {}).get(name)
        if known is None:
            there = sorted(f"{space}.{name}" for space, names in namespaces.items() for name in names)
            raise Unresolved(
                f"The variable {found[0]} in {key} has no value when the action begins; there are {', '.join(there)}"
            )
        return json.dumps(known, ensure_ascii=False)[1:-1] if key in _JSON_KEYS else known

    return _REFERENCE.sub(value, text)
