"""YAML from users, looked at before it is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

# libyaml's, ten times as fast, where PyYAML was built with it.
FastLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def events(text: str, deepest: int) -> Iterator[Any]:
    """The events of a text. Raises RecursionError for one of more levels, and yaml.YAMLError for what is no YAML.

    libyaml's composer calls itself for every level: what is nested too deeply overflows the stack, and ends the
    process. Its parser has a stack of its own.
    """
    depth = 0
    for event in yaml.parse(text, FastLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > deepest:
            raise RecursionError
        yield event
