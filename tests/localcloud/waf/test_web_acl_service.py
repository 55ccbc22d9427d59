"""Web ACLs as a service: what is kept, whom it is for, and what a restart leaves of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from localcloud.actions import Actions
from localcloud.context import Context, Request
from localcloud.errors import ServiceError
from localcloud.protocols import models
from localcloud.signals import Measurement
from localcloud.waf.service import Waf
from localcloud.waf.verdict import PASSED
from tests.localcloud.waf.web_acls import STAGE, acl, group, path_is, rate, request, rule
from tests.surroundings import StandingClock, surroundings


class Account:
    """A WAF and calls of it."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.clock = context.clock
        assert isinstance(self.clock, StandingClock)
        self.restart()
        self.told: list[Measurement] = []
        context.signals.on_measurement(self.told.extend)

    def restart(self) -> None:
        self.waf = Waf(self.context)
        self.waf.connect(lambda api_id, stage: (api_id, stage) in (("abc123", "prod"), ("abc123", "test")))
        self.waf.start()

    def call(self, operation: str, **params: Any) -> dict[str, Any]:
        answer = self.waf.operations[operation](Request("wafv2", operation, params))
        known = models.service_model("wafv2").operation_model(operation).output_shape
        assert answer.keys() <= (known.members.keys() if known is not None else set())
        return answer

    def refused(self, operation: str, **params: Any) -> tuple[str, str]:
        with pytest.raises(ServiceError) as caught:
            self.call(operation, **params)
        return caught.value.code, caught.value.message

    def made(self, *rules: dict[str, Any], **members: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.call("CreateWebACL", **acl(*rules, **members))["Summary"]
        return found

    def associated(self, *rules: dict[str, Any], **members: Any) -> dict[str, Any]:
        summary = self.made(*rules, **members)
        self.call("AssociateWebACL", WebACLArn=summary["ARN"], ResourceArn=STAGE)
        return summary


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return Account(surroundings(tmp_path))


def _named(summary: dict[str, Any]) -> dict[str, Any]:
    return {"Name": summary["Name"], "Id": summary["Id"], "Scope": "REGIONAL"}


def test_a_web_acl_is_kept_as_declared(account: Account) -> None:
    declared = acl(rate(), group("AWSManagedRulesCommonRuleSet", 1), Description="of the API")
    summary = account.call("CreateWebACL", **declared)["Summary"]
    found = account.call("GetWebACL", **_named(summary))
    assert found["LockToken"] == summary["LockToken"]
    web_acl = found["WebACL"]
    assert {name: web_acl[name] for name in declared if name != "Scope"} == {
        name: value for name, value in declared.items() if name != "Scope"
    }
    assert web_acl["ARN"] == f"arn:aws:wafv2:eu-west-1:123456789012:regional/webacl/acl/{summary['Id']}"
    assert (web_acl["Capacity"], web_acl["LabelNamespace"]) == (702, "awswaf:123456789012:webacl:acl:")
    assert account.call("GetWebACL", ARN=summary["ARN"]) == found
    assert account.call("ListWebACLs", Scope="REGIONAL")["WebACLs"] == [summary]
    assert account.call("CheckCapacity", Scope="REGIONAL", Rules=declared["Rules"]) == {"Capacity": 702}


def test_the_capacity_of_rules_whose_web_acl_is_not_known(account: Account) -> None:
    slow = {"CustomResponse": {"ResponseCode": 429, "CustomResponseBodyKey": "slow"}}
    rules = [{**rate(), "Action": {"Block": slow}}]
    assert account.call("CheckCapacity", Scope="REGIONAL", Rules=rules) == {"Capacity": 2}
    assert account.refused("CheckCapacity", Scope="REGIONAL", Rules=[rate(AggregateKeyType="CONSTANT")])[0] == (
        "WAFInvalidParameterException"
    )


def test_an_update_takes_the_last_token_and_replaces_everything(account: Account) -> None:
    summary = account.made(rate(), Description="before")
    changed = {**acl(), **_named(summary)}
    token = account.call("UpdateWebACL", **changed, LockToken=summary["LockToken"])["NextLockToken"]
    found = account.call("GetWebACL", **_named(summary))
    assert found["LockToken"] == token != summary["LockToken"]
    assert (found["WebACL"]["Rules"], found["WebACL"]["Capacity"], "Description" in found["WebACL"]) == ([], 0, False)
    code, _ = account.refused("UpdateWebACL", **changed, LockToken=summary["LockToken"])
    assert code == "WAFOptimisticLockException"
    code, _ = account.refused("DeleteWebACL", **_named(summary), LockToken=summary["LockToken"])
    assert code == "WAFOptimisticLockException"
    account.call("DeleteWebACL", **_named(summary), LockToken=token)
    code, _ = account.refused("GetWebACL", **_named(summary))
    assert code == "WAFNonexistentItemException"


def test_an_update_that_is_refused_changes_nothing(account: Account) -> None:
    summary = account.associated(rate())
    wrong = {**acl(rate(), rate("other")), **_named(summary)}
    assert account.refused("UpdateWebACL", **wrong, LockToken=summary["LockToken"])[0] == "WAFDuplicateItemException"
    assert account.call("GetWebACL", **_named(summary))["LockToken"] == summary["LockToken"]


@pytest.mark.parametrize(
    ("operation", "params", "code", "said"),
    [
        ("CreateWebACL", {**acl(), "Scope": "CLOUDFRONT"}, "WAFInvalidParameterException", "parameter: CLOUDFRONT"),
        ("ListWebACLs", {"Scope": "CLOUDFRONT"}, "WAFInvalidParameterException", "The scope is not valid."),
        ("CreateWebACL", acl(TokenDomains=["a.b"]), "WAFInvalidParameterException", "have no TokenDomains"),
        (
            "CreateWebACL",
            acl(AssociationConfig={"RequestBody": {"API_GATEWAY": {"DefaultSizeInspectionLimit": "KB_16"}}}),
            "WAFInvalidParameterException",
            "have no AssociationConfig",
        ),
        ("GetWebACL", {"Name": "a"}, "WAFInvalidParameterException", "by its ARN, or by Name, Id and Scope"),
        ("GetWebACL", {"ARN": "arn:aws:wafv2:eu-west-1:1:regional/webacl/a/b"}, "WAFNonexistentItemException", "a/b"),
        (
            "AssociateWebACL",
            {"WebACLArn": "arn:aws:wafv2:eu-west-1:1:regional/webacl/a/b", "ResourceArn": STAGE},
            "WAFNonexistentItemException",
            "a/b",
        ),
        ("GetWebACLForResource", {"ResourceArn": f"{STAGE}2"}, "WAFUnavailableEntityException", "stages/prod2"),
        (
            "GetWebACLForResource",
            {"ResourceArn": "arn:aws:cognito-idp:eu-west-1:123456789012:userpool/eu-west-1_a"},
            "WAFInvalidParameterException",
            "stages of REST APIs",
        ),
        ("ListTagsForResource", {"ResourceARN": STAGE}, "WAFNonexistentItemException", STAGE),
    ],
)
def test_refusals(account: Account, operation: str, params: dict[str, Any], code: str, said: str) -> None:
    found, message = account.refused(operation, **params)
    assert (found, said in message) == (code, True), message


def test_names_are_one_web_acls(account: Account) -> None:
    account.made()
    code, message = account.refused("CreateWebACL", **acl())
    assert (code, message.endswith("there is a web ACL acl.")) == ("WAFDuplicateItemException", True)


def test_what_has_no_web_acl_passes_and_is_not_measured(account: Account) -> None:
    account.made(rule("all", 1, path_is("/")))
    assert account.waf.inspect(STAGE, request()) is PASSED
    assert account.told == []


def test_a_stage_has_one_web_acl_the_last(account: Account) -> None:
    first = account.associated(rule("all", 1, path_is("/")), name="first")
    assert not account.waf.inspect(STAGE, request()).allowed
    assert [one.name for one in account.told] == ["BlockedRequests", "BlockedRequests"]
    assert account.waf.inspect(STAGE.replace("prod", "test"), request()) is PASSED
    second = account.associated(name="second")
    assert account.waf.inspect(STAGE, request()).allowed
    assert account.call("GetWebACLForResource", ResourceArn=STAGE)["WebACL"]["Name"] == "second"
    listed = account.call("ListResourcesForWebACL", WebACLArn=first["ARN"], ResourceType="API_GATEWAY")
    assert listed == {"ResourceArns": []}
    listed = account.call("ListResourcesForWebACL", WebACLArn=second["ARN"], ResourceType="API_GATEWAY")
    assert listed == {"ResourceArns": [STAGE]}
    assert account.call("ListResourcesForWebACL", WebACLArn=second["ARN"]) == {"ResourceArns": []}
    code, message = account.refused("DeleteWebACL", **_named(second), LockToken=second["LockToken"])
    assert (code, STAGE in message) == ("WAFAssociatedItemException", True)
    account.call("DisassociateWebACL", ResourceArn=STAGE)
    assert account.waf.inspect(STAGE, request()) is PASSED
    assert account.call("GetWebACLForResource", ResourceArn=STAGE) == {"WebACL": None}
    account.call("DeleteWebACL", **_named(second), LockToken=second["LockToken"])


def test_the_association_of_a_stage_that_is_gone_is_gone(account: Account) -> None:
    summary = account.associated(rule("all", 1, path_is("/")))
    with account.context.store.transaction():
        account.waf.release(STAGE)
    account.waf.load()
    listed = account.call("ListResourcesForWebACL", WebACLArn=summary["ARN"], ResourceType="API_GATEWAY")
    assert listed == {"ResourceArns": []}
    assert account.waf.inspect(STAGE, request()) is PASSED
    account.call("DeleteWebACL", **_named(summary), LockToken=summary["LockToken"])


def test_a_restart_keeps_web_acls_and_associations(account: Account) -> None:
    account.associated(rate(), rule("health", 1, path_is("/prod/health")))
    account.restart()
    assert account.waf.inspect(STAGE, request("/prod/health")).rule == "health"
    assert [account.waf.inspect(STAGE, request()).allowed for _ in range(11)] == [True] * 9 + [False] * 2


def test_an_update_keeps_the_counts_of_rules_that_stay(account: Account) -> None:
    summary = account.associated(rate("stays"), rate("changes", 1, Limit=12))
    asked = [account.waf.inspect(STAGE, request()).rule for _ in range(10)]
    assert asked == [None] * 10
    changed = {**acl(rate("stays"), rate("changes", 1, Limit=10)), **_named(summary)}
    token = account.call("UpdateWebACL", **changed, LockToken=summary["LockToken"])["NextLockToken"]
    assert account.waf.inspect(STAGE, request()).rule == "stays"
    only = {**acl(rate("changes", 1, Limit=10)), **_named(summary)}
    token = account.call("UpdateWebACL", **only, LockToken=token)["NextLockToken"]
    assert account.waf.inspect(STAGE, request()).rule is None
    account.call("UpdateWebACL", **{**acl(), **_named(summary)}, LockToken=token)
    assert account.waf.inspect(STAGE, request()) == PASSED


def test_rates_follow_the_clock(account: Account) -> None:
    account.associated(rate())
    assert [account.waf.inspect(STAGE, request()).allowed for _ in range(11)] == [True] * 10 + [False]
    account.clock.set(account.clock.now() + timedelta(seconds=62))  # type: ignore[attr-defined]
    assert account.waf.inspect(STAGE, request()).allowed


def test_pages(account: Account) -> None:
    for number in range(5):
        account.made(name=f"acl-{number}")
    names, marker = [], None
    for _ in range(3):
        page = account.call("ListWebACLs", Scope="REGIONAL", Limit=2, **({"NextMarker": marker} if marker else {}))
        names += [summary["Name"] for summary in page["WebACLs"]]
        marker = page["NextMarker"]
    assert (names, marker) == ([f"acl-{number}" for number in range(5)], None)


def test_tags(account: Account) -> None:
    arn = account.made(Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])["ARN"]
    account.call("TagResource", ResourceARN=arn, Tags=[{"Key": "a", "Value": "3"}])
    account.call("UntagResource", ResourceARN=arn, TagKeys=["b", "c"])
    assert account.call("ListTagsForResource", ResourceARN=arn)["TagInfoForResource"] == {
        "ResourceARN": arn,
        "TagList": [{"Key": "a", "Value": "3"}],
    }


def test_a_web_acl_says_once_what_it_does_not_look_for(account: Account, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    summary = account.associated(group("AWSManagedRulesKnownBadInputsRuleSet"))
    account.made(name="other")
    changed = {**acl(group("AWSManagedRulesKnownBadInputsRuleSet"), rate(priority=1)), **_named(summary)}
    account.call("UpdateWebACL", **changed, LockToken=summary["LockToken"])
    [message] = [record.getMessage() for record in caplog.records]
    assert message.startswith(
        "the web ACL acl has rules that match nothing here, since only AWS knows their patterns: "
    )
    assert "AWSManagedRulesKnownBadInputsRuleSet: JavaDeserializationRCE_HEADER, " in message
    assert "PROPFIND_METHOD" not in message


def test_calls_in_iams_terms() -> None:
    def actions(operation: str, params: dict[str, Any]) -> list[tuple[str, str]]:
        return list(Actions("eu-west-1", "123456789012").of("wafv2", operation, params))

    arn: Callable[[str], str] = "arn:aws:wafv2:eu-west-1:123456789012:regional/{}".format
    assert actions("CreateWebACL", acl(rate())) == [("wafv2:CreateWebACL", arn("webacl/acl/*"))]
    assert actions("CreateWebACL", acl(rate(), group("AWSManagedRulesCommonRuleSet", 1)))[1:] == [
        ("wafv2:CreateWebACL", arn("managedruleset/*/*"))
    ]
    assert actions("AssociateWebACL", {"WebACLArn": arn("webacl/a/b"), "ResourceArn": STAGE}) == [
        ("wafv2:AssociateWebACL", arn("webacl/a/b")),
        ("apigateway:SetWebACL", STAGE),
    ]
    assert actions("ListWebACLs", {"Scope": "REGIONAL"}) == [("wafv2:ListWebACLs", "*")]
