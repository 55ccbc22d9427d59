"""The values of a stack's parameters: given, kept from before, or the default, and whether they are allowed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from localcloud.cloudformation.errors import TemplateError, invalid
from localcloud.cloudformation.schemas import text_of

TYPES = ("String", "Number", "CommaDelimitedList", "List<Number>", "List<String>")
_SSM = re.compile(r"AWS::SSM::Parameter::Value<(String|List<String>|CommaDelimitedList)>")
_SSM_NAME = "AWS::SSM::Parameter::Name"
_MEMBERS = frozenset(
    {
        "Type", "Default", "AllowedValues", "AllowedPattern", "ConstraintDescription", "Description", "MaxLength",
        "MaxValue", "MinLength", "MinValue", "NoEcho",
    }
)  # fmt: skip

ReadSsm = Callable[[str], str | None]
"""The value of a parameter in SSM's store, or None if there is none."""


def check_declarations(declarations: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise TemplateError for a declaration that there cannot be, ValidationError for a type that localcloud lacks."""
    for name, declaration in declarations.items():
        if unknown := sorted(map(str, declaration.keys() - _MEMBERS)):
            raise TemplateError(f"Invalid template parameter property '{unknown[0]}'")
        kind = declaration.get("Type")
        if not isinstance(kind, str):
            raise TemplateError(f"Template format error: Every Parameters object must contain a Type member. ({name})")
        if kind not in TYPES and kind != _SSM_NAME and not _SSM.fullmatch(kind):
            if kind.startswith(("AWS::", "List<AWS::")):
                raise invalid(
                    f"localcloud has no parameters of type {kind} ({name}); it has {', '.join(TYPES)}, {_SSM_NAME},"
                    " AWS::SSM::Parameter::Value<String> and AWS::SSM::Parameter::Value<List<String>>"
                )
            raise TemplateError(f"Template format error: Unrecognized parameter type: {kind}")
        default = declaration.get("Default")
        if isinstance(default, dict | list):
            raise TemplateError(f"Template format error: Every Default member must be a string. ({name})")


def given_values(
    declarations: Mapping[str, Mapping[str, Any]], given: Sequence[Mapping[str, Any]], before: Mapping[str, str]
) -> dict[str, str]:
    """The texts of all parameters. `before` is what the stack has: a parameter that is not given again does not keep
    it, unless the request says UsePreviousValue. Raises ValidationError, with all that is missing at once."""
    wanted: dict[str, str] = {}
    for one in given:
        name = one.get("ParameterKey")
        if not name:
            raise invalid("Parameters: every parameter needs a ParameterKey")
        if name in wanted:
            raise invalid(f"Parameters: Duplicate parameter key {name}")
        if one.get("UsePreviousValue"):
            if one.get("ParameterValue") is not None:
                raise invalid(
                    f"Invalid input for parameter key {name}. Cannot specify usePreviousValue as true and a value"
                )
            if name not in before and name in declarations:
                raise invalid(
                    f"Invalid input for parameter key {name}. Cannot specify usePreviousValue as true"
                    " for a parameter key not in the previous template"
                )
            wanted[name] = before.get(name, "")
        elif one.get("ParameterValue") is None:
            raise invalid(
                f"Invalid input for parameter key {name}. Need to specify a value or usePreviousValue as true"
            )
        else:
            wanted[name] = one["ParameterValue"]
    if unknown := sorted(wanted.keys() - declarations.keys()):
        raise invalid(f"Parameters: [{', '.join(unknown)}] do not exist in the template")
    values = {}
    missing = []
    for name, declaration in declarations.items():
        if name in wanted:
            values[name] = wanted[name]
        elif "Default" in declaration:
            values[name] = text_of(declaration["Default"])
        else:
            missing.append(name)
    if missing:
        raise invalid(f"Parameters: [{', '.join(missing)}] must have values")
    return values


def resolved_values(
    declarations: Mapping[str, Mapping[str, Any]], texts: Mapping[str, str], read_ssm: ReadSsm
) -> tuple[dict[str, Any], dict[str, str]]:
    """What `Ref` gives for each parameter (a text or a list of texts), and the texts that came from SSM.

    Raises ValidationError for a value that its declaration does not allow.
    """
    values: dict[str, Any] = {}
    from_ssm: dict[str, str] = {}
    for name, declaration in declarations.items():
        text, kind = texts[name], declaration["Type"]
        _check(name, declaration, text)
        if found := _SSM.fullmatch(kind):
            stored = read_ssm(text)
            if stored is None:
                raise invalid(f"Unable to fetch parameters [{text}] from parameter store for this account.")
            from_ssm[name], text, kind = stored, stored, found[1]
        elif kind == _SSM_NAME and read_ssm(text) is None:
            raise invalid(f"Unable to fetch parameters [{text}] from parameter store for this account.")
        values[name] = [part.strip() for part in text.split(",")] if _is_list(kind) else text
    return values, from_ssm


def _is_list(kind: str) -> bool:
    return kind == "CommaDelimitedList" or kind.startswith("List<")


def _check(name: str, declaration: Mapping[str, Any], text: str) -> None:
    reason = next(iter(_reasons(name, declaration, text)), None)
    if reason is None:
        return
    described = declaration.get("ConstraintDescription")
    raise invalid(f"Parameter {name} failed to satisfy constraint: {described}" if described else reason)


def _reasons(name: str, declaration: Mapping[str, Any], text: str) -> list[str]:
    kind = declaration["Type"]
    parts = [part.strip() for part in text.split(",")] if _is_list(kind) else [text]
    reasons = []
    if kind in ("Number", "List<Number>"):
        if not all(_is_number(part) for part in parts):
            return [f"Parameter '{name}' must be a {'list of numbers' if _is_list(kind) else 'number'}"]
        low, high = declaration.get("MinValue"), declaration.get("MaxValue")
        if low is not None and any(float(part) < float(low) for part in parts):
            reasons.append(f"Parameter '{name}' must be a number not less than {low}")
        if high is not None and any(float(part) > float(high) for part in parts):
            reasons.append(f"Parameter '{name}' must be a number not greater than {high}")
    allowed = declaration.get("AllowedValues")
    if allowed is not None and any(part not in {text_of(value) for value in allowed} for part in parts):
        reasons.append(f"Parameter '{name}' must be one of AllowedValues")
    pattern = declaration.get("AllowedPattern")
    if pattern is not None and any(not re.fullmatch(pattern, part) for part in parts):
        reasons.append(f"Parameter '{name}' must match pattern {pattern}")
    shortest, longest = declaration.get("MinLength"), declaration.get("MaxLength")
    if shortest is not None and len(text) < int(shortest):
        reasons.append(f"Parameter '{name}' must contain at least {shortest} characters")
    if longest is not None and len(text) > int(longest):
        reasons.append(f"Parameter '{name}' must contain at most {longest} characters")
    return reasons


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
