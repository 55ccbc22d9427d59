"""The templates as plain data: a short form such as `!Ref Bucket` is what it stands for, {"Ref": "Bucket"}.

And as they are for certain parameters: `resources`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml

from tests.pipelines.conftest import ROOT


@cache
def read(name: str = "project") -> dict[str, Any]:
    """template/{name}.yml."""
    return parse((ROOT / "template" / f"{name}.yml").read_text())


def parse(text: str) -> dict[str, Any]:
    """A template's text."""
    document: dict[str, Any] = yaml.load(text, _Loader)
    return document


_PSEUDO = {
    "AWS::AccountId": "123456789012", "AWS::Partition": "aws", "AWS::Region": "eu-west-1",
    "AWS::StackId": "arn:aws:cloudformation:eu-west-1:123456789012:stack/stack/id", "AWS::StackName": "stack",
}  # fmt: skip
# The property that is a resource's Ref; of others it is the logical id.
_REFERENCES = {
    "AWS::DynamoDB::Table": "TableName",
    "AWS::ECS::Cluster": "ClusterName",
    "AWS::Events::EventBus": "Name",
    "AWS::Kinesis::Stream": "Name",
    "AWS::KinesisFirehose::DeliveryStream": "DeliveryStreamName",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::SageMaker::FeatureGroup": "FeatureGroupName",
}
_NOTHING = object()


def resources(name: str, parameters: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The resources of template/{name}.yml that there are with these parameters, by logical id, without conditions.

    Attributes (`Fn::GetAtt`) are the text `{logical id}.{attribute}`.
    """
    found = _Resolving(read(name), parameters)
    return {
        logical: found.value(resource)
        for logical, resource in found.template["Resources"].items()
        if found.holds(resource.get("Condition"))
    }


class _Resolving:
    """One template with parameters."""

    def __init__(self, template: dict[str, Any], parameters: Mapping[str, str]) -> None:
        self.template = template
        unknown = parameters.keys() - template["Parameters"].keys()
        assert not unknown, unknown
        defaults = {key: value["Default"] for key, value in template["Parameters"].items() if "Default" in value}
        self._parameters = _PSEUDO | defaults | parameters

    def holds(self, condition: str | None) -> bool:
        """Whether a condition is true; none is."""
        return condition is None or self._truth(self.template["Conditions"][condition])

    def value(self, value: Any) -> Any:
        """A value without what CloudFormation would replace."""
        if isinstance(value, list):
            return [found for found in map(self.value, value) if found is not _NOTHING]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            [(key, argument)] = value.items()
            if key == "Ref":
                return self._reference(argument)
            if key == "Fn::GetAtt":
                return argument if isinstance(argument, str) else ".".join(argument)
            if key == "Fn::Sub":
                return re.sub(r"\$\{([\w:.]+)\}", lambda match: self._named(match[1]), argument)
            if key == "Fn::If":
                condition, yes, no = argument
                return self.value(yes if self.holds(condition) else no)
            if key == "Fn::Join":
                separator, parts = argument
                return separator.join(str(part) for part in self.value(parts))
            if key == "Fn::Split":
                return self.value(argument[1]).split(argument[0])
            if key == "Fn::Select":
                return self.value(argument[1])[int(argument[0])]
        found = {key: self.value(item) for key, item in value.items()}
        return {key: item for key, item in found.items() if item is not _NOTHING}

    def _named(self, name: str) -> str:
        return name if "." in name else str(self._reference(name))

    def _reference(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return _NOTHING
        if name in self._parameters:
            value = self._parameters[name]
            kind = self.template["Parameters"].get(name, {}).get("Type")
            return value.split(",") if kind == "CommaDelimitedList" else value
        resource = self.template["Resources"][name]
        named = _REFERENCES.get(resource["Type"])
        return self.value(resource["Properties"][named]) if named else name

    def _truth(self, expression: dict[str, Any]) -> bool:
        [(key, argument)] = expression.items()
        if key == "Fn::Equals":
            first, second = (self.value(one) for one in argument)
            return str(first) == str(second)
        if key == "Condition":
            return self.holds(argument)
        if key in ("Fn::And", "Fn::Or"):
            return (all if key == "Fn::And" else any)(self._truth(one) for one in argument)
        assert key == "Fn::Not", key
        return not self._truth(argument[0])


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms."""


def _short_form(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_form)
