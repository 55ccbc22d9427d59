"""The section Rules: assertions on parameters."""

from __future__ import annotations

import json
from typing import Any

import pytest

from localcloud.cloudformation import rules
from localcloud.cloudformation import template as templates
from localcloud.errors import ServiceError

REGION = "eu-west-1"
PARAMETERS = {
    "Kind": {"Type": "String"},
    "Other": {"Type": "String"},
    "Zones": {"Type": "CommaDelimitedList"},
}
VALUES = {"Kind": "big", "Other": "big", "Zones": ["a", "b"]}


def read(rule: Any) -> templates.Template:
    resources = {"Queue": {"Type": "AWS::SQS::Queue"}}
    return templates.read(json.dumps({"Parameters": PARAMETERS, "Rules": {"R": rule}, "Resources": resources}), REGION)


def holds(assertion: Any, **more: Any) -> bool:
    """Whether a rule of one assertion is fulfilled by VALUES."""
    found = read({"Assertions": [{"Assert": assertion}], **more})
    try:
        rules.check(found.rules, VALUES)
    except ServiceError:
        return False
    return True


@pytest.mark.parametrize(
    ("assertion", "expected"),
    [
        ({"Fn::Equals": [{"Ref": "Kind"}, "big"]}, True),
        ({"Fn::Equals": [{"Ref": "Kind"}, {"Ref": "Other"}]}, True),
        ({"Fn::Equals": [{"Ref": "Kind"}, "small"]}, False),
        ({"Fn::Not": [{"Fn::Equals": [{"Ref": "Kind"}, "small"]}]}, True),
        ({"Fn::Contains": [["big", "small"], {"Ref": "Kind"}]}, True),
        ({"Fn::Contains": [["small"], {"Ref": "Kind"}]}, False),
        ({"Fn::EachMemberIn": [{"Ref": "Zones"}, ["a", "b", "c"]]}, True),
        ({"Fn::EachMemberIn": [{"Ref": "Zones"}, ["a"]]}, False),
        ({"Fn::EachMemberEquals": [{"Ref": "Zones"}, "a"]}, False),
        ({"Fn::And": [{"Fn::Equals": [1, "1"]}, {"Fn::Equals": [True, "true"]}]}, True),
        ({"Fn::Or": [{"Fn::Equals": [1, "2"]}, {"Fn::Equals": [{"Ref": "Kind"}, "big"]}]}, True),
    ],
)
def test_an_assertion_holds_or_not(assertion: Any, expected: bool) -> None:
    assert holds(assertion) is expected


def test_a_rule_whose_condition_does_not_hold_says_nothing() -> None:
    fails = {"Fn::Equals": [{"Ref": "Other"}, "small"]}
    assert holds(fails, RuleCondition={"Fn::Equals": [{"Ref": "Kind"}, "small"]})
    assert not holds(fails, RuleCondition={"Fn::Equals": [{"Ref": "Kind"}, "big"]})


def test_all_that_does_not_hold_is_told() -> None:
    fails = {"Fn::Equals": [{"Ref": "Kind"}, "small"]}
    found = read({"Assertions": [{"Assert": fails, "AssertDescription": "Must be small"}, {"Assert": fails}]})
    with pytest.raises(ServiceError) as refused:
        rules.check(found.rules, VALUES)
    assert refused.value.code == "ValidationError"
    assert refused.value.message == "Template error: Rule R: Must be small; Rule R: an assertion does not hold"


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"Assertions": []}, "Rule R needs Assertions, a list"),
        ({"Assertions": [{"Assert": "true"}]}, "Rule R takes Fn::And"),
        ({"Assertions": [{"Asserts": {}}]}, "has an Assert"),
        ({"Assert": []}, "Rule R has the unknown member 'Assert'"),
        ({"Assertions": [{"Assert": {"Fn::Equals": [{"Ref": "Queue"}, "a"]}}]}, "refers to parameters of the template"),
        ({"Assertions": [{"Assert": {"Fn::Equals": ["a"]}}]}, "Fn::Equals object requires two parameters"),
        ({"Assertions": [{"Assert": {"Fn::Contains": [{"Fn::RefAll": "AWS::EC2::VPC::Id"}, "a"]}}]}, "no Fn::RefAll"),
        ({"Assertions": [{"Assert": {"Fn::Not": []}}]}, "requires one boolean parameter"),
        ({"Assertions": [{"Assert": {"Fn::Or": [{"Fn::Equals": [1, 1]}]}}]}, "at least 2 and at most 10"),
    ],
)
def test_a_rule_that_is_none_is_refused(rule: Any, said: str) -> None:
    with pytest.raises(ServiceError) as refused:
        read(rule)
    assert said in refused.value.message
