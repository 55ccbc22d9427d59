"""What the gate asked and what it found, read from the pipeline's own Condition step.

The thresholds are not written down a second time: a condition compares a value in an evaluation file
(`Std:JsonGet`) with a parameter or a constant, and both are known once the execution has run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.executions import Execution
from pipelines.report.format import as_number, figure

__all__ = ["Check", "checks", "lookup"]

WORDS = {
    "Equals": "=",
    "GreaterThan": ">",
    "GreaterThanOrEqualTo": "≥",
    "LessThan": "<",
    "LessThanOrEqualTo": "≤",
}


@dataclass(frozen=True)
class Check:
    """One condition. `passed` is None when a side of it is not known (no evaluation was written); `bound` is the limit
    where it is a number.
    """

    subject: str
    measured: str
    relation: str
    limit: str
    limit_name: str
    passed: bool | None
    bound: float | None = None


def checks(execution: Execution, evaluation: Mapping[str, Any] | None) -> list[Check]:
    """Every condition of the execution's gates, in order: of the Condition steps that a Fail step hangs on."""
    found: list[Check] = []
    for node in execution.graph.nodes:
        arguments = node.document.get("Arguments", {})
        branches = [*arguments.get("IfSteps", ()), *arguments.get("ElseSteps", ())]
        if node.type == "Condition" and any(step.get("Type") == "Fail" for step in branches):
            for condition in arguments.get("Conditions", ()):
                found += _checks(condition, execution, evaluation or {}, negated=False)
    return found


def _checks(
    condition: Mapping[str, Any], execution: Execution, evaluation: Mapping[str, Any], negated: bool
) -> Iterator[Check]:
    kind = str(condition.get("Type", ""))
    if kind == "Not":
        yield from _checks(
            condition.get("Expression", condition.get("Condition", {})), execution, evaluation, not negated
        )
        return
    if kind == "Or":
        for one in condition.get("Conditions", ()):
            yield from _checks(one, execution, evaluation, negated)
        return
    left = condition.get("LeftValue", condition.get("QueryValue"))
    right = condition.get("RightValue", condition.get("Values"))
    measured, limit = _value(left, execution, evaluation), _value(right, execution, evaluation)
    relation = WORDS.get(kind, kind)
    passed = _compare(kind, measured, limit)
    if negated:
        relation = {"<": "≥", "≤": ">", ">": "≤", "≥": "<", "=": "≠"}.get(relation, f"not {relation}")
        passed = None if passed is None else not passed
    yield Check(_name(left), _text(measured), relation, _text(limit), _name(right), passed, as_number(limit))


def _compare(kind: str, left: Any, right: Any) -> bool | None:
    if left is None or right is None:
        return None
    if kind == "In":
        return left in right if isinstance(right, list) else None
    one, other = as_number(left), as_number(right)
    if one is None or other is None:
        return left == right if kind == "Equals" else None
    return {
        "Equals": one == other,
        "GreaterThan": one > other,
        "GreaterThanOrEqualTo": one >= other,
        "LessThan": one < other,
        "LessThanOrEqualTo": one <= other,
    }.get(kind)


def _value(operand: Any, execution: Execution, evaluation: Mapping[str, Any]) -> Any:
    """A side of a condition as a plain value; None when it cannot be known from here."""
    if isinstance(operand, list):
        return [_value(one, execution, evaluation) for one in operand]
    if not isinstance(operand, Mapping):
        return operand
    if "Std:JsonGet" in operand:
        return lookup(evaluation, str(operand["Std:JsonGet"].get("Path", "")))
    reference = operand.get("Get")
    if isinstance(reference, str) and reference.startswith("Parameters."):
        text = execution.parameters.get(reference.removeprefix("Parameters."))
        try:
            return None if text is None else float(text)
        except ValueError:
            return text
    return None


def lookup(document: Any, path: str) -> Any:
    """The value at a JsonGet path (`metrics.roc_auc`, `by_k[0]['roc_auc']`), or None."""
    for name, index, quoted in re.findall(r"([^.\[\]]+)|\[(\d+)\]|\[['\"]([^'\"]+)['\"]\]", path):
        if index:
            if not isinstance(document, list) or int(index) >= len(document):
                return None
            document = document[int(index)]
        elif isinstance(document, Mapping):
            document = document.get(name or quoted)
        else:
            return None
    return document


def _name(operand: Any) -> str:
    """What a side of a condition is called: its path or its parameter; nothing for a constant."""
    if isinstance(operand, Mapping):
        if "Std:JsonGet" in operand:
            return str(operand["Std:JsonGet"].get("Path", ""))
        if isinstance(operand.get("Get"), str):
            return str(operand["Get"]).removeprefix("Parameters.")
    return ""


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_text(one) for one in value)
    number = as_number(value)
    return figure(number) if number is not None or value is None else str(value)
