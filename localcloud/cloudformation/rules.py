"""The section Rules: what the values of a stack's parameters must hold together, before anything is made.

Source: "Rules" and "Rule-specific intrinsic functions" in the CloudFormation User Guide. Fn::RefAll, Fn::ValueOf and
Fn::ValueOfAll ask for the account's own things by the types of parameters that localcloud does not have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localcloud.cloudformation.errors import TemplateError, invalid
from localcloud.cloudformation.schemas import text_of

_LOGIC = ("Fn::And", "Fn::Contains", "Fn::EachMemberEquals", "Fn::EachMemberIn", "Fn::Equals", "Fn::Not", "Fn::Or")
_NOT_HERE = ("Fn::RefAll", "Fn::ValueOf", "Fn::ValueOfAll")
Values = Mapping[str, Any]
"""What Ref gives for each parameter: a text or a list of texts."""


def check_declarations(rules: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
    """Raise TemplateError for a rule that there cannot be, ValidationError for a function that localcloud lacks."""
    for name, rule in rules.items():
        if unknown := sorted(map(str, rule.keys() - {"Assertions", "RuleCondition"})):
            raise TemplateError(f"Template format error: Rule {name} has the unknown member '{unknown[0]}'")
        assertions = rule.get("Assertions")
        if not isinstance(assertions, list) or not assertions:
            raise TemplateError(f"Template format error: Rule {name} needs Assertions, a list")
        for assertion in assertions:
            if not isinstance(assertion, dict) or not {"Assert"} <= assertion.keys() <= {"Assert", "AssertDescription"}:
                raise TemplateError(
                    f"Template format error: Every assertion of rule {name} has an Assert, and may have an"
                    " AssertDescription"
                )
            _check(name, assertion["Assert"], parameters)
        if "RuleCondition" in rule:
            _check(name, rule["RuleCondition"], parameters)


def check(rules: Mapping[str, Any], values: Values) -> None:
    """Raise ValidationError, with every assertion that does not hold, unless all do."""
    failed = [
        f"Rule {name}: {assertion.get('AssertDescription') or 'an assertion does not hold'}"
        for name, rule in rules.items()
        if "RuleCondition" not in rule or _holds(rule["RuleCondition"], values)
        for assertion in rule["Assertions"]
        if not _holds(assertion["Assert"], values)
    ]
    if failed:
        raise invalid(f"Template error: {'; '.join(failed)}")


def _check(rule: str, node: Any, parameters: Mapping[str, Any]) -> None:
    function, argument = _call(node)
    if function in _NOT_HERE:
        raise invalid(f"localcloud has no {function} in Rules; rule {rule} uses it")
    if function not in _LOGIC or not isinstance(argument, list):
        raise TemplateError(
            f"Template format error: Rule {rule} takes {', '.join(_LOGIC)} with a list; got {node!r}"[:500]
        )
    if function == "Fn::Not" and len(argument) != 1:
        raise TemplateError(f"Template error: every Fn::Not object requires one boolean parameter. (Rule {rule})")
    if function in ("Fn::And", "Fn::Or"):
        if not 2 <= len(argument) <= 10:
            raise TemplateError(
                f"Template error: every {function} object requires a list of at least 2 and at most 10 boolean"
                f" parameters. (Rule {rule})"
            )
    elif function != "Fn::Not" and len(argument) != 2:
        raise TemplateError(f"Template error: every {function} object requires two parameters. (Rule {rule})")
    for item in argument:
        if function in ("Fn::And", "Fn::Or", "Fn::Not"):
            _check(rule, item, parameters)
        else:
            _check_value(rule, item, parameters)


def _check_value(rule: str, node: Any, parameters: Mapping[str, Any]) -> None:
    if isinstance(node, list):
        for item in node:
            _check_value(rule, item, parameters)
    elif isinstance(node, dict):
        function, argument = _call(node)
        if function in _NOT_HERE:
            raise invalid(f"localcloud has no {function} in Rules; rule {rule} uses it")
        if function != "Ref" or argument not in parameters:
            raise TemplateError(
                f"Template format error: Rule {rule} refers to parameters of the template only; got {node!r}"[:500]
            )


def _holds(node: Any, values: Values) -> bool:
    function, argument = _call(node)
    if function == "Fn::Not":
        return not _holds(argument[0], values)
    if function == "Fn::And":
        return all(_holds(item, values) for item in argument)
    if function == "Fn::Or":
        return any(_holds(item, values) for item in argument)
    first, second = (_value(item, values) for item in argument)
    if function == "Fn::Equals":
        return bool(first == second)
    if function == "Fn::Contains":
        return second in _list(first)
    if function == "Fn::EachMemberEquals":
        return all(item == second for item in _list(first))
    return all(item in _list(second) for item in _list(first))


def _value(node: Any, values: Values) -> Any:
    if isinstance(node, list):
        return [_value(item, values) for item in node]
    if isinstance(node, dict):
        return values[node["Ref"]]
    return text_of(node) if isinstance(node, bool | int | float) else node


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _call(node: Any) -> tuple[str, Any]:
    if not isinstance(node, dict) or len(node) != 1:
        return "", None
    (name,) = node
    return str(name), node[name]
