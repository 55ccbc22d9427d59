"""The intrinsic functions, and what can be known of a template before anything is made."""

from __future__ import annotations

import json
from typing import Any

import pytest

from localcloud.cloudformation import parameters, plan
from localcloud.cloudformation import template as templates
from localcloud.cloudformation.errors import TemplateError
from localcloud.cloudformation.values import UNKNOWN, Resolver
from localcloud.errors import ServiceError

REGION = "eu-west-1"
PSEUDO = {"AWS::Region": REGION, "AWS::StackName": "demo"}


def read(**sections: Any) -> templates.Template:
    resources = sections.pop("Resources", {"A": {"Type": "AWS::SQS::Queue"}, "B": {"Type": "AWS::SQS::Queue"}})
    return templates.read(json.dumps({"Resources": resources, **sections}), REGION)


def resolver(template: templates.Template, known: bool = True, **values: Any) -> Resolver:
    def resource(name: str, attribute: str | None) -> Any:
        return (f"{name}-id" if attribute is None else f"{name}.{attribute}") if known else UNKNOWN

    return Resolver(
        template,
        values,
        PSEUDO,
        resource=resource,
        imported=lambda name: f"imported {name}",
        read_ssm={"/there": "stored"}.get,
    )


TEMPLATE = read(
    Parameters={
        "Stage": {"Type": "String"},
        "Names": {"Type": "CommaDelimitedList"},
        "Count": {"Type": "Number"},
    },
    Mappings={"Sizes": {"prod": {"memory": 512, "zones": ["a", "b"]}}},
    Conditions={
        "IsProd": {"Fn::Equals": [{"Ref": "Stage"}, "prod"]},
        "Not": {"Fn::Not": [{"Condition": "IsProd"}]},
        "Both": {"Fn::And": [{"Condition": "IsProd"}, {"Fn::Equals": [{"Ref": "Count"}, 2]}]},
        "Either": {"Fn::Or": [{"Condition": "Not"}, {"Condition": "Both"}]},
    },
)
VALUES = {"Stage": "prod", "Names": ["x", "y"], "Count": "2"}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ({"Ref": "Stage"}, "prod"),
        ({"Ref": "AWS::Region"}, REGION),
        ({"Ref": "A"}, "A-id"),
        ({"Fn::GetAtt": ["A", "Arn"]}, "A.Arn"),
        ({"Fn::GetAtt": "A.Arn"}, "A.Arn"),
        ({"Fn::Sub": "${Stage}/${A}/${A.Arn}/${AWS::StackName}/${!Literal}"}, "prod/A-id/A.Arn/demo/${Literal}"),
        ({"Fn::Sub": ["${X}${Stage}", {"X": {"Ref": "Count"}}]}, "2prod"),
        ({"Fn::Join": ["-", ["a", 1, True, {"Ref": "Stage"}]]}, "a-1-true-prod"),
        ({"Fn::Join": [",", {"Ref": "Names"}]}, "x,y"),
        ({"Fn::Select": ["1", {"Ref": "Names"}]}, "y"),
        ({"Fn::Split": [":", "a:b"]}, ["a", "b"]),
        ({"Fn::FindInMap": ["Sizes", {"Ref": "Stage"}, "memory"]}, 512),
        ({"Fn::Select": [0, {"Fn::FindInMap": ["Sizes", "prod", "zones"]}]}, "a"),
        ({"Fn::If": ["Both", "both", "no"]}, "both"),
        ({"Fn::If": ["Not", "no", "yes"]}, "yes"),
        ({"Fn::If": ["Either", "either", "neither"]}, "either"),
        ({"a": {"Fn::If": ["Not", 1, {"Ref": "AWS::NoValue"}]}, "b": 2}, {"b": 2}),
        (["x", {"Ref": "AWS::NoValue"}], ["x"]),
        ({"Fn::Base64": "text"}, "dGV4dA=="),
        ({"Fn::ImportValue": {"Fn::Sub": "${Stage}-queue"}}, "imported prod-queue"),
        ("{{resolve:ssm:/there}}!", "stored!"),
        (
            {"Statement": [{"Condition": {"Bool": {"x": "true"}}}]},
            {"Statement": [{"Condition": {"Bool": {"x": "true"}}}]},
        ),
    ],
)
def test_a_function_has_its_value(expression: Any, expected: Any) -> None:
    assert resolver(TEMPLATE, **VALUES).value(expression) == expected


@pytest.mark.parametrize(
    "expression",
    [
        {"Ref": "A"},
        {"Fn::Sub": "x${A}"},
        {"Fn::Join": ["", ["x", {"Ref": "A"}]]},
        {"Fn::Select": [0, {"Fn::Split": [":", {"Fn::GetAtt": ["A", "Arn"]}]}]},
        {"Fn::Base64": {"Ref": "A"}},
    ],
)
def test_what_is_made_of_an_unknown_value_is_unknown(expression: Any) -> None:
    assert resolver(TEMPLATE, known=False, **VALUES).value(expression) is UNKNOWN


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ({"Fn::Select": [5, {"Ref": "Names"}]}, "Fn::Select cannot select nonexistent value at index 5"),
        ({"Fn::FindInMap": ["Sizes", "staging", "memory"]}, "Unable to get mapping for Sizes::staging::memory"),
        ({"Fn::Join": ["-", "a"]}, "every Fn::Join object requires two parameters"),
        ({"Fn::Sub": "${Names}"}, "Fn::Sub's ${Names} needs a string"),
        ({"Fn::If": ["Both", "x"]}, "Fn::If requires a list argument with three elements"),
        ("{{resolve:ssm:/missing}}", "ssm:/missing"),
        ("{{resolve:secretsmanager:x}}", "localcloud resolves ssm references only"),
    ],
)
def test_what_has_no_value_is_told(expression: Any, said: str) -> None:
    with pytest.raises(TemplateError) as caught:
        resolver(TEMPLATE, **VALUES).value(expression)
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        (
            {"Conditions": {"C": {"Fn::Equals": [{"Ref": "A"}, "x"]}}},
            "Cannot reference resources in the Conditions block",
        ),
        ({"Conditions": {"C": "yes"}}, "Every Conditions member must be an object"),
        ({"Conditions": {"C": {"Condition": "C"}}}, "Circular dependency between conditions: [C]"),
        ({"Outputs": {"O": {"Value": {"Ref": "X"}}}}, "Unresolved resource dependencies [X] in the Outputs block"),
        (
            {"Outputs": {"O": {"Value": {"Fn::Sub": "${X.Arn}"}}}},
            "instance of Fn::GetAtt references undefined resource X",
        ),
        (
            {"Outputs": {"O": {"Value": {"Fn::If": ["X", 1, 2]}}}},
            "Unresolved condition dependency X in the Outputs block",
        ),
        ({"Outputs": {"O": {"Value": {"Fn::Nothing": 1}}}}, "localcloud has no function Fn::Nothing"),
        ({"Outputs": {"O": {"Value": {"Fn::ToJsonString": {}}}}}, "requires the transform AWS::LanguageExtensions"),
        ({"Outputs": {"O": {"Value": {"Fn::And": []}}}}, "Fn::And can be used in the Conditions section only"),
        ({"Outputs": {"O": {}}}, "Output O is malformed"),
        (
            {"Parameters": {"P": {"Type": "AWS::EC2::VPC::Id"}}},
            "localcloud has no parameters of type AWS::EC2::VPC::Id (P)",
        ),
        ({"Parameters": {"P": {"Type": "Strin"}}}, "Unrecognized parameter type: Strin"),
        ({"Resources": {"A": {"Type": "AWS::SQS::Queue", "Foo": 1}}}, "Invalid template resource property 'Foo'"),
        ({"Resources": {"A-B": {"Type": "AWS::SQS::Queue"}}}, "Resources name 'A-B' is non alphanumeric."),
        ({"Resources": {"A": {"Properties": {}}}}, "[/Resources/A] Every Resources object must contain a Type member."),
        (
            {"Resources": {"A": {"Type": "AWS::SQS::Queue", "DeletionPolicy": "Snapshot"}}},
            "DeletionPolicy Snapshot is not supported for AWS::SQS::Queue; the resource A has it",
        ),
        ({"Rules": {"R": {}}}, "Rule R needs Assertions"),
        ({"AWSTemplateFormatVersion": "2011-01-01"}, "2011-01-01 is not a supported value"),
    ],
)
def test_a_template_whose_references_do_not_hold_is_refused(sections: dict[str, Any], said: str) -> None:
    with pytest.raises(ServiceError) as caught:
        read(**sections)
    assert caught.value.code == "ValidationError"
    assert said in caught.value.message


def test_a_branch_that_is_not_taken_needs_nothing() -> None:
    found = read(
        Conditions={"Never": {"Fn::Equals": ["a", "b"]}},
        Resources={
            "A": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": {"Fn::If": ["Never", {"Ref": "B"}, "a"]}}},
            "B": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": {"Ref": "A"}}},
            "C": {"Type": "AWS::SQS::Queue", "Condition": "Never"},
            "D": {"Type": "AWS::SQS::Queue", "DependsOn": ["C", "B"]},
        },
    )
    assert list(plan.active(found, resolver(found))) == ["A", "B", "D"]


def test_a_value_of_a_resource_whose_condition_does_not_hold_is_none() -> None:
    found = read(
        Conditions={"Never": {"Fn::Equals": ["a", "b"]}},
        Resources={"A": {"Type": "AWS::SQS::Queue", "Condition": "Never"}},
    )
    with pytest.raises(TemplateError, match="Unresolved resource dependencies"):
        resolver(found).value({"Ref": "A"})


def test_parameters_take_their_value_from_the_request_the_stack_or_the_default() -> None:
    declarations = {name: {"Type": "String", "Default": 7} for name in ("Given", "Kept", "Left")}
    given = [
        {"ParameterKey": "Given", "ParameterValue": "new"},
        {"ParameterKey": "Kept", "UsePreviousValue": True},
    ]
    before = {"Given": "old", "Kept": "old", "Left": "old"}
    assert parameters.given_values(declarations, given, before) == {"Given": "new", "Kept": "old", "Left": "7"}
    with pytest.raises(ServiceError, match="Cannot specify usePreviousValue as true"):
        parameters.given_values(declarations, given, {})


@pytest.mark.parametrize(
    ("declaration", "value", "said"),
    [
        ({"Type": "Number"}, "x", "Parameter 'P' must be a number"),
        ({"Type": "Number", "MinValue": 2}, "1", "Parameter 'P' must be a number not less than 2"),
        ({"Type": "List<Number>"}, "1,x", "Parameter 'P' must be a list of numbers"),
        ({"Type": "String", "MinLength": 2}, "a", "Parameter 'P' must contain at least 2 characters"),
        ({"Type": "String", "MaxLength": "2"}, "abc", "Parameter 'P' must contain at most 2 characters"),
        ({"Type": "String", "AllowedPattern": "[a-z]+"}, "a1", "Parameter 'P' must match pattern [a-z]+"),
        ({"Type": "CommaDelimitedList", "AllowedValues": ["a"]}, "a,b", "Parameter 'P' must be one of AllowedValues"),
        (
            {"Type": "AWS::SSM::Parameter::Value<String>"},
            "/no",
            "Unable to fetch parameters [/no] from parameter store",
        ),
    ],
)
def test_a_parameter_that_is_not_allowed_is_told(declaration: dict[str, Any], value: str, said: str) -> None:
    with pytest.raises(ServiceError) as caught:
        parameters.resolved_values({"P": declaration}, {"P": value}, lambda name: None)
    assert said in caught.value.message
