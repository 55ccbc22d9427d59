"""Values of a YAML text replaced or added, and every other character left as it is: comments, order, quotes.

PyYAML tells where each value begins and ends; a dump of the loaded document would lose what people wrote around it.
Values are looked for without being made, so that CloudFormation's short forms (`!Sub`) are no hindrance.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import yaml

from pipelines.errors import UsageError
from pipelines.yaml_files import KeyPath, dotted

__all__ = ["Scalar", "with_values"]

Scalar = str | int | bool


def with_values(text: str, values: Mapping[KeyPath, Scalar]) -> str:
    """The text with other scalars at paths of keys; a last key is added where its mapping has it not.

    Raises UsageError where there is no such mapping, and for a value in YAML that is no scalar on one line.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    edits = [_edit(root, path, json.dumps(value, ensure_ascii=False)) for path, value in values.items()]
    for start, end, written in sorted(edits, reverse=True):
        text = text[:start] + written + text[end:]
    return text


def _edit(root: yaml.Node | None, path: KeyPath, written: str) -> tuple[int, int, str]:
    """(from, to, what stands there afterwards)"""
    node = _at(root, path)
    if isinstance(node, yaml.ScalarNode) and node.style not in ("|", ">"):
        return node.start_mark.index, node.end_mark.index, written
    above = _at(root, path[:-1])
    if node is not None or not isinstance(above, yaml.MappingNode) or not above.value:
        found = "a value of several lines" if node is not None else "nothing"
        raise UsageError(f"{dotted(path)}: found {found}, expected a value on one line that can be replaced")
    # A new key comes second: after what says what the rest is about.
    (first, last), *rest = above.value
    entry = f"{path[-1]}: {written}"
    between = ", " if above.flow_style else "\n" + " " * first.start_mark.column
    if rest:
        place = rest[0][0].start_mark.index
        return place, place, entry + between
    place = last.end_mark.index
    return place, place, between + entry


def _at(node: yaml.Node | None, path: KeyPath) -> yaml.Node | None:
    for part in path:
        if not isinstance(node, yaml.MappingNode):
            return None
        node = next((value for key, value in node.value if key.value == str(part)), None)
    return node
