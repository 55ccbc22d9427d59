"""The templates as plain data: a short form such as `!Ref Bucket` is what it stands for, {"Ref": "Bucket"}."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from pipelines.errors import UsageError

__all__ = ["described", "names", "read", "resources"]


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML with CloudFormation's short forms; ten times faster where PyYAML was built with libyaml."""


def _short_form(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_form)
# A date without quotes, such as a policy's version, is text in CloudFormation.
_Loader.add_constructor("tag:yaml.org,2002:timestamp", lambda loader, node: loader.construct_scalar(node))


def names(folder: Path) -> list[str]:
    """The templates of a folder, by name, sorted."""
    return sorted(file.stem for file in folder.glob("*.yml") if "Resources:" in file.read_text(encoding="utf-8"))


def read(folder: Path, name: str) -> dict[str, Any]:
    """template/{name}.yml. Raises UsageError when it does not exist or is no YAML."""
    file = folder / f"{name}.yml"
    try:
        document = yaml.load(file.read_text(encoding="utf-8"), _Loader)
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(f"the template `{file}` cannot be read: {error}") from error
    if not isinstance(document, dict) or "Resources" not in document:
        raise UsageError(f"`{file}` is no template: expected a mapping with `Resources`")
    return document


def resources(template: Mapping[str, Any], kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The resources of one type: logical id and properties, in the template's order."""
    for logical, resource in template["Resources"].items():
        if resource["Type"] == kind:
            yield logical, resource.get("Properties", {})


def described(value: Any) -> str:
    """A value as a reader sees it: `{SageMakerProjectName}-fraud` for a Sub, a parameter's name for a Ref."""
    if isinstance(value, dict) and len(value) == 1:
        [(function, argument)] = value.items()
        if function == "Ref":
            return f"`{argument}`"
        if function == "Fn::Sub":
            text = argument if isinstance(argument, str) else argument[0]
            return text.replace("${", "{")
        if function == "Fn::GetAtt":
            return f"{argument[0]}.{argument[1]}"
        if function == "Fn::If":
            return f"{described(argument[1])} if {argument[0]}, else {described(argument[2])}"
        if function == "Fn::Join":
            return described(argument[0]).join(described(part) for part in argument[1])
        if function == "Fn::Select":
            return f"part {argument[0]} of {described(argument[1])}"
        if function == "Fn::Split":
            return described(argument[1])
    if isinstance(value, list):
        return ", ".join(described(part) for part in value)
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
