"""What changed between two definitions of a pipeline: parameter by parameter, step by step, argument by argument.

Pure functions of two JSON documents. Steps inside a condition are compared like those outside it; lists whose entries
have a name (inputs, outputs, channels) are compared by that name, so that an entry that was added does not shift all
after it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Change = Literal["added", "removed", "changed"]

# The key by which the entries of a list of mappings are told apart, where there is one.
_NAME_KEYS = ("InputName", "OutputName", "ChannelName", "PropertyFileName", "Name", "Key")
_ARMS = ("IfSteps", "ElseSteps")


class _Absent:
    def __repr__(self) -> str:
        return "(absent)"


ABSENT = _Absent()


@dataclass(frozen=True)
class ValueChange:
    """A value that differs. `old` or `new` is ABSENT where it was added or removed."""

    path: str
    old: Any
    new: Any


@dataclass(frozen=True)
class ItemChange:
    """A parameter or a step that differs. `values` is empty for one that was added or removed whole."""

    name: str
    type: str
    change: Change
    values: tuple[ValueChange, ...] = ()


@dataclass(frozen=True)
class DefinitionDiff:
    """The differences of two definitions; false when there are none."""

    pipeline: str
    exists: bool
    """Whether the account has the pipeline at all."""
    parameters: tuple[ItemChange, ...]
    steps: tuple[ItemChange, ...]
    rest: tuple[ValueChange, ...]
    """Differences outside parameters and steps (version, metadata)."""

    def __bool__(self) -> bool:
        return bool(not self.exists or self.parameters or self.steps or self.rest)


def compare(pipeline: str, account: str | None, tree: str) -> DefinitionDiff:
    """Compare the definition in the account (None: it has none) with that of the working tree, both JSON text."""
    old: dict[str, Any] = {} if account is None else json.loads(account)
    new: dict[str, Any] = json.loads(tree)
    return DefinitionDiff(
        pipeline=pipeline,
        exists=account is not None,
        parameters=tuple(_items(_named(old.get("Parameters", [])), _named(new.get("Parameters", [])))),
        steps=tuple(_items(steps(old), steps(new))),
        rest=() if account is None else tuple(_values(_rest(old), _rest(new), "")),
    )


def steps(definition: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """All steps of a definition by name, those inside conditions too; a condition names its arms' steps in place of
    holding them.
    """
    found: dict[str, dict[str, Any]] = {}
    waiting = list(definition.get("Steps", []))
    while waiting:
        step = dict(waiting.pop(0))
        arguments = dict(step.get("Arguments") or {})
        inside = {arm: arguments[arm] for arm in _ARMS if isinstance(arguments.get(arm), list)}
        waiting = [each for arm in inside.values() for each in arm] + waiting
        arguments |= {arm: [each.get("Name") for each in held] for arm, held in inside.items()}
        step["Arguments"] = arguments
        found[str(step.get("Name"))] = step
    return found


def _rest(definition: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in definition.items() if key not in ("Parameters", "Steps")}


def _named(items: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {str(item.get("Name")): item for item in items}


def _items(old: dict[str, dict[str, Any]], new: dict[str, dict[str, Any]]) -> Iterator[ItemChange]:
    for name in [*new, *(name for name in old if name not in new)]:
        kind = str((new.get(name) or old[name]).get("Type", ""))
        if name not in old:
            yield ItemChange(name, kind, "added")
        elif name not in new:
            yield ItemChange(name, kind, "removed")
        elif values := tuple(_values(old[name], new[name], "")):
            yield ItemChange(name, kind, "changed", values)


def _values(old: Any, new: Any, path: str) -> Iterator[ValueChange]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*new, *(key for key in old if key not in new)]:
            yield from _values(old.get(key, ABSENT), new.get(key, ABSENT), f"{path}.{key}" if path else str(key))
    elif isinstance(old, list) and isinstance(new, list):
        yield from _list_values(old, new, path)
    elif not _same(old, new):
        yield ValueChange(path, old, new)


def _list_values(old: list[Any], new: list[Any], path: str) -> Iterator[ValueChange]:
    key = _name_key([*old, *new])
    if key is not None:
        before, after = {each[key]: each for each in old}, {each[key]: each for each in new}
        if len(before) == len(old) and len(after) == len(new):
            for name in [*after, *(name for name in before if name not in after)]:
                yield from _values(before.get(name, ABSENT), after.get(name, ABSENT), f"{path}['{name}']")
            return
    for index in range(max(len(old), len(new))):
        yield from _values(
            old[index] if index < len(old) else ABSENT, new[index] if index < len(new) else ABSENT, f"{path}[{index}]"
        )


def _name_key(entries: list[Any]) -> str | None:
    for key in _NAME_KEYS:
        if entries and all(isinstance(entry, dict) and isinstance(entry.get(key), str) for entry in entries):
            return key
    return None


def _same(old: Any, new: Any) -> bool:
    # JSON's 1 and true are equal in Python, and are not the same here.
    return type(old) is type(new) and bool(old == new)


def as_json(diff: DefinitionDiff) -> dict[str, Any]:
    """For machines: `old` or `new` is left out where a value was added or removed."""

    def value(change: ValueChange) -> dict[str, Any]:
        sides = {"old": change.old, "new": change.new}
        return {"path": change.path, **{side: found for side, found in sides.items() if found is not ABSENT}}

    def item(change: ItemChange) -> dict[str, Any]:
        values = [value(each) for each in change.values]
        return {"name": change.name, "type": change.type, "change": change.change, "values": values}

    return {
        "pipeline": diff.pipeline,
        "exists": diff.exists,
        "differs": bool(diff),
        "parameters": [item(change) for change in diff.parameters],
        "steps": [item(change) for change in diff.steps],
        "rest": [value(change) for change in diff.rest],
    }


def as_markdown(diff: DefinitionDiff) -> str:
    """For a pull request: a heading, then a list of what was added and removed and a table of what changed."""
    lines = [f"### Pipeline `{diff.pipeline}`", ""]
    if not diff:
        return "\n".join([*lines, "No change.", ""])
    if not diff.exists:
        lines += ["New: the account does not have it.", ""]
    for title, changes in (("Step", diff.steps), ("Parameter", diff.parameters)):
        for change in changes:
            lines.append(f"- {title} `{change.name}` ({change.type}) {change.change}")
    rows = [(f"{change.name}", value) for change in (*diff.steps, *diff.parameters) for value in change.values]
    rows += [("", value) for value in diff.rest]
    if rows:
        lines += ["", "| where | argument | in the account | in the working tree |", "|---|---|---|---|"]
        for where, value in rows:
            cells = (where, f"`{value.path}`", _cell(value.old), _cell(value.new))
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def short(value: Any) -> str:
    """A value on one line: texts as they are, the rest as JSON, references in the words of the definition language."""
    if value is ABSENT:
        return "—"
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        if set(value) == {"Get"}:
            return f"${{{value['Get']}}}"
        if set(value) == {"Std:Join"}:
            join = value["Std:Join"]
            return str(join.get("On", "")).join(short(part) for part in join.get("Values", []))
        if set(value) == {"Std:JsonGet"}:
            get = value["Std:JsonGet"]
            return f"${{{short(get.get('PropertyFile')).strip('${}')}:{get.get('Path')}}}"
    return json.dumps(value, ensure_ascii=False)


def _cell(value: Any) -> str:
    if value is ABSENT:
        return "—"
    # A pipe would end the cell, a line break the table; a backtick the code span.
    text = short(value).replace("\n", " ").replace("|", "\\|")
    return f"`` {text} ``" if "`" in text else f"`{text}`"
