"""The intrinsic functions: from an expression of a template to its value.

A value may be unknown while a change is only planned: that of a resource which is not there yet. Whatever is made of an
unknown value is unknown.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any

from localcloud.cloudformation import template as templates
from localcloud.cloudformation.errors import TemplateError
from localcloud.cloudformation.schemas import text_of
from localcloud.cloudformation.template import Template


class _Symbol:
    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


UNKNOWN: Any = _Symbol("{{changeSet:KNOWN_AFTER_APPLY}}")
"""A value that comes to be only when the change is carried out. It reads as AWS shows it in a change set."""
_NOTHING: Any = _Symbol("AWS::NoValue")
_DYNAMIC = re.compile(r"\{\{resolve:([a-z-]+):([^}]*)\}\}")

ResourceValue = Callable[[str, str | None], Any]
"""What a resource gives for Ref (None) or for an attribute; UNKNOWN if it is not there yet."""


class Resolver:
    """The values of one template for one stack."""

    def __init__(
        self,
        template: Template,
        parameters: Mapping[str, Any],
        pseudo: Mapping[str, Any],
        *,
        resource: ResourceValue,
        imported: Callable[[str], str],
        read_ssm: Callable[[str], str | None],
    ) -> None:
        self._template = template
        self._parameters, self._pseudo = parameters, pseudo
        self._resource, self._imported, self._read_ssm = resource, imported, read_ssm
        self._conditions: dict[str, bool] = {}
        self.imports: set[str] = set()
        """The names of the exports that were read."""

    def condition(self, name: str | None) -> bool:
        """Whether a condition holds; none always does."""
        if name is None:
            return True
        if name not in self._conditions:
            self._conditions[name] = self._boolean(self._template.conditions[name])
        return self._conditions[name]

    def value(self, node: Any) -> Any:
        """The value of an expression; None for one that is AWS::NoValue as a whole. Raises TemplateError."""
        found = self._value(node)
        return None if found is _NOTHING else found

    def needed(self, node: Any) -> set[str]:
        """The resources that an expression refers to, in the branches that its conditions take."""
        resources = self._template.resources
        return {
            name
            for kind, name, _ in templates.references(self.taken(node))
            if kind != "Condition" and name in resources
        }

    def taken(self, node: Any) -> Any:
        """An expression with each Fn::If replaced by the branch that is taken."""
        if isinstance(node, list):
            return [self.taken(item) for item in node]
        if not isinstance(node, dict):
            return node
        if templates.function_of(node) == "Fn::If":
            return self.taken(self._branch(node["Fn::If"]))
        return {key: self.taken(item) for key, item in node.items()}

    def _value(self, node: Any) -> Any:
        if isinstance(node, list):
            return [value for item in node if (value := self._value(item)) is not _NOTHING]
        if isinstance(node, str):
            return self._dynamic(node)
        if not isinstance(node, dict):
            return node
        name = templates.function_of(node)
        if name == "Ref":
            return self._ref(node["Ref"])
        if name is not None and name.startswith("Fn::"):
            return self._function(name, node[name])
        return {key: value for key, item in node.items() if (value := self._value(item)) is not _NOTHING}

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return _NOTHING
        if name in self._pseudo:
            return self._pseudo[name]
        if name in self._parameters:
            return self._parameters[name]
        return self._of_resource(name, None)

    def _of_resource(self, name: str, attribute: str | None) -> Any:
        if not self.condition(self._template.resources[name].condition):
            raise TemplateError(
                f"Template format error: Unresolved resource dependencies [{name}] in the Resources block of the"
                " template"
            )
        return self._resource(name, attribute)

    def _function(self, name: str, argument: Any) -> Any:
        if name == "Fn::GetAtt":
            return self._of_resource(*templates.attribute_of(argument))
        if name == "Fn::Sub":
            return self._sub(argument)
        if name == "Fn::If":
            return self._value(self._branch(argument))
        if name in ("Fn::Equals", "Fn::And", "Fn::Or", "Fn::Not"):
            return self._boolean({name: argument})
        values = self._value(argument)
        if name == "Fn::Base64":
            return values if values is UNKNOWN else base64.b64encode(_text(values, name).encode()).decode()
        if name == "Fn::ImportValue":
            if values is UNKNOWN:
                return UNKNOWN
            self.imports.add(_text(values, name))
            return self._imported(_text(values, name))
        arguments = values if isinstance(values, list) else [values]
        if name == "Fn::FindInMap":
            return self._find(arguments)
        if len(arguments) != 2:
            raise TemplateError(f"Template error: every {name} object requires two parameters; got {len(arguments)}")
        return {"Fn::Join": _join, "Fn::Select": _select, "Fn::Split": _split}[name](*arguments)

    def _branch(self, argument: Any) -> Any:
        if not isinstance(argument, list) or len(argument) != 3 or not isinstance(argument[0], str):
            raise TemplateError("Template error: Fn::If requires a list argument with three elements")
        return argument[1] if self.condition(argument[0]) else argument[2]

    def _boolean(self, node: Any) -> bool:
        name = templates.function_of(node)
        argument = node[name] if name else None
        if name == "Condition":
            return self.condition(argument)
        if not isinstance(argument, list):
            raise TemplateError(f"Template error: {name or 'a condition'} takes a list; got {argument!r}"[:500])
        if name == "Fn::Equals":
            if len(argument) != 2:
                raise TemplateError("Template error: every Fn::Equals object requires a list of two string parameters.")
            first, second = (self.value(item) for item in argument)
            return bool(_plain(first) == _plain(second))
        if name == "Fn::Not" and len(argument) != 1:
            raise TemplateError("Template error: every Fn::Not object requires one boolean parameter.")
        if name in ("Fn::And", "Fn::Or") and not 2 <= len(argument) <= 10:
            raise TemplateError(
                f"Template error: every {name} object requires a list of at least 2 and at most 10 boolean parameters."
            )
        results = [self._boolean(item) for item in argument]
        if name == "Fn::Not":
            return not results[0]
        return all(results) if name == "Fn::And" else any(results)

    def _sub(self, argument: Any) -> Any:
        text, own = templates.substitution(argument)
        values: dict[str, Any] = {}
        for placeholder in templates.placeholders(text):
            if placeholder in own:
                found = self._value(own[placeholder])
            elif "." in placeholder:
                found = self._of_resource(*templates.attribute_of(placeholder))
            else:
                found = self._ref(placeholder)
            if found is UNKNOWN:
                return UNKNOWN
            values[placeholder] = _text(found, f"Fn::Sub's ${{{placeholder}}}")
        filled = templates.PLACEHOLDER.sub(lambda found: values[found[1].strip()], text)
        return self._dynamic(filled.replace("${!", "${"))

    def _find(self, arguments: list[Any]) -> Any:
        if len(arguments) != 3 or any(not isinstance(part, str | int) for part in arguments):
            raise TemplateError(
                "Template error: every Fn::FindInMap object requires three parameters, the map name, map key and the"
                " attribute for return value"
            )
        name, top, second = (text_of(part) for part in arguments)
        if name not in self._template.mappings:
            raise TemplateError(
                f"Template error: Mapping named '{name}' is not present in the 'Mappings' section of template."
            )
        try:
            return self._template.mappings[name][top][second]
        except KeyError:
            raise TemplateError(f"Template error: Unable to get mapping for {name}::{top}::{second}") from None

    def _dynamic(self, text: str) -> str:
        """A text with its dynamic references (`{{resolve:ssm:/name}}`) replaced."""
        if "{{resolve:" not in text:
            return text

        def read(found: re.Match[str]) -> str:
            if found[1] != "ssm":
                raise TemplateError(f"localcloud resolves ssm references only; got {found[0]}")
            stored = self._read_ssm(found[2])
            if stored is None:
                raise TemplateError(f"Parameters: [ssm:{found[2]}] cannot be found in the parameter store: {found[0]}")
            return stored

        return _DYNAMIC.sub(read, text)


def is_known(value: Any) -> bool:
    """Whether no part of a value is unknown."""
    if isinstance(value, dict):
        return all(is_known(item) for item in value.values())
    if isinstance(value, list):
        return all(is_known(item) for item in value)
    return value is not UNKNOWN


def _join(delimiter: Any, parts: Any) -> Any:
    if not isinstance(delimiter, str) or (not isinstance(parts, list) and parts is not UNKNOWN):
        raise TemplateError(
            "Template error: every Fn::Join object requires two parameters, (1) a string delimiter and (2) a list of"
            " strings to be joined or a function that returns a list of strings (such as Fn::GetAZs) to be joined."
        )
    if parts is UNKNOWN or not is_known(parts):
        return UNKNOWN
    return delimiter.join(_text(part, "Fn::Join") for part in parts)


def _select(index: Any, items: Any) -> Any:
    if items is UNKNOWN or index is UNKNOWN:
        return UNKNOWN
    try:
        number = int(index)
    except (TypeError, ValueError):
        raise TemplateError("Template error: every Fn::Select object requires an integer index and a list") from None
    if not isinstance(items, list) or not 0 <= number < len(items):
        raise TemplateError(f"Template error: Fn::Select cannot select nonexistent value at index {number}")
    return items[number]


def _split(delimiter: Any, text: Any) -> Any:
    if text is UNKNOWN:
        return UNKNOWN
    if not isinstance(delimiter, str) or not delimiter or not isinstance(text, str):
        raise TemplateError(
            "Template error: every Fn::Split object requires two parameters, (1) a string delimiter and (2) a string to"
            " be split or a function that returns a string to be split."
        )
    return text.split(delimiter)


def _text(value: Any, where: str) -> str:
    if isinstance(value, str | bool | int | float):
        return text_of(value)
    raise TemplateError(f"Template error: {where} needs a string; got {value!r}"[:500])


def _plain(value: Any) -> Any:
    """Values as Fn::Equals compares them: as texts."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return text_of(value) if isinstance(value, bool | int | float) else value
