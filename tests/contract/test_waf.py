"""WAF: web ACLs by the API and by stacks, the stages that have them, and what is measured."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import Cloud
from tests.contract.sagemaker_account import Account, error_of, until
from tests.contract.stacks import Stacks, template

VISIBILITY = {"SampledRequestsEnabled": False, "CloudWatchMetricsEnabled": True, "MetricName": "acl"}


@pytest.fixture(scope="module")
def account(cloud: Cloud) -> Account:
    return Account.of(cloud)


@pytest.fixture(scope="module")
def waf(cloud: Cloud) -> Any:
    return cloud.client("wafv2")


@pytest.fixture(scope="module")
def stage(cloud: Cloud) -> Iterator[tuple[str, str]]:
    """The ARN of a stage whose one method answers by itself, and its API's id."""
    gateway = cloud.client("apigateway")
    document = {
        "openapi": "3.0.1",
        "info": {"title": "guarded", "version": "1"},
        "paths": {
            "/health": {
                "get": {
                    "responses": {"200": {"description": "fine"}},
                    "x-amazon-apigateway-integration": {
                        "type": "mock",
                        "requestTemplates": {"application/json": '{"statusCode": 200}'},
                        "responses": {"default": {"statusCode": "200"}},
                    },
                }
            }
        },
    }
    api_id = gateway.import_rest_api(
        body=json.dumps(document).encode(), parameters={"endpointConfigurationTypes": "REGIONAL"}
    )["id"]
    gateway.create_deployment(restApiId=api_id, stageName="prod")
    yield f"arn:aws:apigateway:{cloud.region}::/restapis/{api_id}/stages/prod", api_id
    gateway.delete_rest_api(restApiId=api_id)


def _rate(limit: int = 10, **action: Any) -> dict[str, Any]:
    return {
        "Name": "rate",
        "Priority": 0,
        "Statement": {
            "RateBasedStatement": {"Limit": limit, "AggregateKeyType": "IP", "EvaluationWindowSec": 60},
        },
        "Action": {"Block": action},
        "VisibilityConfig": {**VISIBILITY, "MetricName": "rate"},
    }


def _group(name: str, priority: int, **members: Any) -> dict[str, Any]:
    return {
        "Name": name,
        "Priority": priority,
        "Statement": {"ManagedRuleGroupStatement": {"VendorName": "AWS", "Name": name, **members}},
        "OverrideAction": {"None": {}},
        "VisibilityConfig": {**VISIBILITY, "MetricName": name},
    }


def _counting_bodies() -> dict[str, Any]:
    counted = [{"Name": "SizeRestrictions_BODY", "ActionToUse": {"Count": {}}}]
    return _group("AWSManagedRulesCommonRuleSet", 1, RuleActionOverrides=counted)


def _declared(*rules: dict[str, Any], metric: str = "acl", **members: Any) -> dict[str, Any]:
    return {
        "Scope": "REGIONAL",
        "DefaultAction": {"Allow": {}},
        "VisibilityConfig": {**VISIBILITY, "MetricName": metric},
        "Rules": list(rules),
        **members,
    }


def test_a_web_acl_by_the_api(account: Account, waf: Any) -> None:
    name = account.name("acl")
    summary = waf.create_web_acl(
        Name=name, **_declared(_rate(), _counting_bodies()), Tags=[{"Key": "project", "Value": "p"}]
    )["Summary"]
    named = {"Name": name, "Id": summary["Id"], "Scope": "REGIONAL"}
    found = waf.get_web_acl(**named)
    assert found["WebACL"]["Rules"] == [_rate(), _counting_bodies()]
    assert found["WebACL"]["Capacity"] == 702
    assert waf.list_tags_for_resource(ResourceARN=summary["ARN"])["TagInfoForResource"]["TagList"] == [
        {"Key": "project", "Value": "p"}
    ]
    assert name in [one["Name"] for one in waf.list_web_acls(Scope="REGIONAL", Limit=100)["WebACLs"]]
    updated = waf.update_web_acl(**named, **_without_scope(_declared(_rate(20))), LockToken=found["LockToken"])
    code, message = error_of(waf.update_web_acl, **named, **_without_scope(_declared()), LockToken=found["LockToken"])
    assert (code, message) == (
        "WAFOptimisticLockException",
        "AWS WAF couldn’t save your changes because someone else changed the resource after you started to edit it."  # noqa: RUF001
        " Reapply your changes.",
    )
    waf.delete_web_acl(**named, LockToken=updated["NextLockToken"])
    assert error_of(waf.get_web_acl, **named)[0] == "WAFNonexistentItemException"


def _without_scope(declared: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in declared.items() if name != "Scope"}


def test_an_error_tells_field_and_parameter(account: Account, waf: Any) -> None:
    wrong = {**_rate(), "OverrideAction": {"None": {}}}
    with pytest.raises(waf.exceptions.WAFInvalidParameterException) as caught:
        waf.create_web_acl(Name=account.name("wrong"), **_declared(wrong))
    assert caught.value.response["Field"] == "RULE"
    assert error_of(waf.create_web_acl, Name="n", **{**_declared(), "Scope": "CLOUDFRONT"}) == (
        "WAFInvalidParameterException",
        "Error reason: The scope is not valid., field: SCOPE_VALUE, parameter: CLOUDFRONT",
    )


def test_what_the_model_forbids_is_refused_first(waf: Any) -> None:
    code, message = error_of(waf.create_web_acl, Name="with spaces", **_declared())
    assert (code, "'with spaces' at 'name' failed" in message) == ("ValidationException", True), message


def test_a_stage_is_guarded(
    account: Account, waf: Any, stage: tuple[str, str], cloud: Cloud, localcloud_only: None
) -> None:
    arn, api_id = stage
    slow = {"ResponseCode": 429, "CustomResponseBodyKey": "slow"}
    bodies = {"slow": {"ContentType": "APPLICATION_JSON", "Content": '{"message": "Slow down"}'}}
    metric = account.name("guard")
    summary = waf.create_web_acl(
        Name=account.name("guard"),
        **_declared(_rate(10, CustomResponse=slow), _counting_bodies(), metric=metric, CustomResponseBodies=bodies),
    )["Summary"]
    waf.associate_web_acl(WebACLArn=summary["ARN"], ResourceArn=arn)
    try:
        assert waf.get_web_acl_for_resource(ResourceArn=arn)["WebACL"]["Id"] == summary["Id"]
        named = {"Name": summary["Name"], "Id": summary["Id"], "Scope": "REGIONAL"}
        code, message = error_of(waf.delete_web_acl, **named, LockToken=summary["LockToken"])
        assert (code, arn in message) == ("WAFAssociatedItemException", True)
        url = f"{cloud.endpoint_url}/_aws/execute-api/{api_id}/prod/health"
        answers = [_ask(url) for _ in range(11)]
        assert [status for status, _ in answers] == [200] * 10 + [429]
        assert answers[-1][1] == {"message": "Slow down"}
        measured = until(lambda: _measured(cloud, metric), "the requests are measured")
        assert measured == {"AllowedRequests": 10.0, "BlockedRequests": 1.0}
    finally:
        waf.disassociate_web_acl(ResourceArn=arn)
        waf.delete_web_acl(**named, LockToken=summary["LockToken"])
    assert _ask(url)[0] == 200
    assert "WebACL" not in waf.get_web_acl_for_resource(ResourceArn=arn)


def _ask(url: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers={"User-Agent": "test"})) as answer:
            return answer.status, None
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def _measured(cloud: Cloud, metric: str) -> dict[str, float]:
    watch, now = cloud.client("cloudwatch"), datetime.now(UTC)
    dimensions = {"WebACL": metric, "Region": cloud.region, "Rule": "ALL"}
    found = {}
    for name in ("AllowedRequests", "BlockedRequests"):
        points = watch.get_metric_statistics(
            Namespace="AWS/WAFV2",
            MetricName=name,
            Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
            StartTime=now - timedelta(days=1),
            EndTime=now + timedelta(days=366),  # other tests let time pass
            Period=86_400,
            Statistics=["Sum"],
        )["Datapoints"]
        if points:
            found[name] = sum(point["Sum"] for point in points)
    return found


def test_a_stage_that_is_not_there_has_no_web_acl(waf: Any, stage: tuple[str, str]) -> None:
    code, message = error_of(waf.get_web_acl_for_resource, ResourceArn=f"{stage[0]}2")
    assert (code, message.endswith("stages/prod2.")) == ("WAFUnavailableEntityException", True)


# --- stacks -----------------------------------------------------------------------------------------------------------


def _stack(rules: list[dict[str, Any]], **members: Any) -> dict[str, Any]:
    declared = {**_declared(*rules), **members}
    outputs = {name: {"Value": {"Fn::GetAtt": f"Acl.{name}"}} for name in ("Arn", "Id", "Capacity", "LabelNamespace")}
    return {**template(Acl=("AWS::WAFv2::WebACL", declared)), "Outputs": outputs}


def test_a_web_acl_of_a_stack(account: Account, waf: Any, stacks: Stacks) -> None:
    stack_id = stacks.made(_stack([_rate()]), Tags=[{"Key": "project", "Value": "p"}])
    outputs = stacks.outputs(stack_id)
    found = waf.get_web_acl(ARN=outputs["Arn"])["WebACL"]
    assert (found["Id"], found["LabelNamespace"]) == (outputs["Id"], outputs["LabelNamespace"])
    assert outputs["Capacity"] == "2"
    assert stacks.physical(stack_id, "Acl") == f"{found['Name']}|{found['Id']}|REGIONAL"
    scope = {
        "ByteMatchStatement": {
            "SearchStringBase64": "L3Byb2Q=",
            "FieldToMatch": {"UriPath": {}},
            "PositionalConstraint": "STARTS_WITH",
            "TextTransformations": [{"Priority": 0, "Type": "NONE"}],
        }
    }
    narrowed = _rate()
    narrowed["Statement"]["RateBasedStatement"]["ScopeDownStatement"] = scope
    after = _stack([narrowed, _counting_bodies()], Description="after", Tags=[{"Key": "own", "Value": "tag"}])
    stack = stacks.update(stack_id, after, Tags=[])
    assert stack["StackStatus"] == "UPDATE_COMPLETE", stacks.reasons(stack_id)
    assert stacks.outputs(stack_id) == {**outputs, "Capacity": "704"}
    found = waf.get_web_acl(ARN=outputs["Arn"])["WebACL"]
    read = found["Rules"][0]["Statement"]["RateBasedStatement"]["ScopeDownStatement"]["ByteMatchStatement"]
    assert (read["SearchString"], found["Description"]) == (b"/prod", "after")
    tags = waf.list_tags_for_resource(ResourceARN=outputs["Arn"])["TagInfoForResource"]["TagList"]
    assert tags == [{"Key": "own", "Value": "tag"}]
    assert stacks.delete(stack_id)["StackStatus"] == "DELETE_COMPLETE"
    assert error_of(waf.get_web_acl, ARN=outputs["Arn"])[0] == "WAFNonexistentItemException"


def test_a_wrong_web_acl_fails_its_stack(stacks: Stacks, localcloud_only: None) -> None:
    stack_id = stacks.create(_stack([{**_rate(), "RuleLabels": [{"Name": "a"}]}]))
    assert stacks.settled(stack_id)["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "localcloud's web ACLs have no RuleLabels." in stacks.reasons(stack_id)["Acl"]
    code, message = error_of(
        stacks.client.create_stack,
        StackName=stacks.account.name("lacking"),
        TemplateBody=json.dumps(_stack([], TokenDomains=["a.b"])),
    )
    assert (code, "does not honour TokenDomains" in message) == ("ValidationError", True)


def test_an_association_of_a_stack_moves_to_another_web_acl(
    account: Account, waf: Any, stacks: Stacks, stage: tuple[str, str]
) -> None:
    def declared(acl: str) -> dict[str, Any]:
        return template(
            One=("AWS::WAFv2::WebACL", _declared()),
            Two=("AWS::WAFv2::WebACL", _declared()),
            Guard=(
                "AWS::WAFv2::WebACLAssociation",
                {"ResourceArn": stage[0], "WebACLArn": {"Fn::GetAtt": f"{acl}.Arn"}},
            ),
        )

    stack_id = stacks.made(declared("One"))
    stack = stacks.update(stack_id, declared("Two"))
    assert stack["StackStatus"] == "UPDATE_COMPLETE", stacks.reasons(stack_id)
    name = stacks.physical(stack_id, "Two").partition("|")[0]
    found = until(lambda: waf.get_web_acl_for_resource(ResourceArn=stage[0]).get("WebACL"), "the stage has a web ACL")
    assert found["Name"] == name
    assert stacks.delete(stack_id)["StackStatus"] == "DELETE_COMPLETE"
    assert "WebACL" not in waf.get_web_acl_for_resource(ResourceArn=stage[0])


def test_a_restart_keeps_web_acls(start_localcloud: Any, client_of: Any, tmp_path: Path) -> None:
    running = start_localcloud(tmp_path)
    summary = client_of(running, "wafv2").create_web_acl(Name="kept", **_declared(_rate()))["Summary"]
    running.kill()
    waf = client_of(start_localcloud(tmp_path), "wafv2")
    found = waf.get_web_acl(ARN=summary["ARN"])
    assert (found["LockToken"], found["WebACL"]["Rules"]) == (summary["LockToken"], [_rate()])
