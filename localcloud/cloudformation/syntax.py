"""A template's text -> its document. YAML's short forms (`!Ref`, `!Sub`) are written out: both syntaxes are one then.

YAML is read as CloudFormation does: no aliases, a date is text (`Version: 2012-10-17`), and a name stands once.
"""

from __future__ import annotations

import json
from collections.abc import Hashable
from typing import Any

import yaml

from localcloud.cloudformation.errors import TemplateError
from localcloud.yaml_events import FastLoader, events

MOST_BYTES = 51_200
"""Of a template in the request."""
MOST_BYTES_IN_S3 = 1_000_000

_DEEPEST = 200

_AS_THEY_ARE = frozenset({"Ref", "Condition"})
_FUNCTIONS = frozenset(
    {
        "And", "Base64", "Cidr", "Contains", "EachMemberEquals", "EachMemberIn", "Equals", "FindInMap", "GetAtt",
        "GetAZs", "If", "ImportValue", "Join", "Length", "Not", "Or", "RefAll", "Select", "Split", "Sub",
        "ToJsonString", "Transform", "ValueOf", "ValueOfAll",
    }
)  # fmt: skip


def parse(text: str) -> dict[str, Any]:
    """The document of a template. Raises TemplateError for a text that is none."""
    found = _json(text) if text.lstrip().startswith("{") else _yaml(text)
    if not isinstance(found, dict):
        raise TemplateError("Template format error: unsupported structure.")
    return found


def _json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        raise TemplateError("Template format error: the template is nested too deeply.") from None
    except json.JSONDecodeError as error:
        try:
            # Flow style, and short forms in it, is YAML that begins like JSON.
            return _yaml(text)
        except TemplateError:
            where = f"(line {error.lineno}, column {error.colno})"
            raise TemplateError(f"Template format error: JSON not well-formed. {where}") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise TemplateError(f"Template format error: the key '{key}' stands twice in one object")
        found[key] = value
    return found


def _yaml(text: str) -> Any:
    loader = _Loader(text)
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in events(text, _DEEPEST)):
            raise TemplateError("Template error: YAML aliases are not allowed in CloudFormation templates")
        return loader.get_single_data()
    except RecursionError:
        raise TemplateError("Template format error: the template is nested too deeply.") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"(line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise TemplateError(f"Template format error: YAML not well-formed. {where} {error.problem}".rstrip()) from error
    except (yaml.YAMLError, ValueError) as error:
        raise TemplateError(f"Template format error: YAML not well-formed. {error}") from error
    finally:
        loader.dispose()


class _Loader(FastLoader):  # type: ignore[misc]
    """YAML as CloudFormation reads it."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        found: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.MarkedYAMLError(problem="a key is text", problem_mark=key_node.start_mark)
            # A mapping's keys are names (account ids and booleans among them), whatever YAML takes them for.
            key = key if isinstance(key, str) else str(key_node.value)
            if key in found:
                raise yaml.MarkedYAMLError(
                    problem=f"the key '{key}' stands twice in one mapping", problem_mark=key_node.start_mark
                )
            found[key] = self.construct_object(value_node, deep=deep)
        return found


def _short_form(loader: _Loader, suffix: str, node: Any) -> dict[str, Any]:
    if suffix not in _FUNCTIONS | _AS_THEY_ARE:
        raise yaml.MarkedYAMLError(problem=f"the tag !{suffix} is unknown", problem_mark=node.start_mark)
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        if suffix == "GetAtt":
            value = value.split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in _AS_THEY_ARE else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_form)
# Without the resolver of timestamps. The table is inherited, so that it is copied first.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
