"""What rules do with requests, and which declarations are refused."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from localcloud.errors import ServiceError
from localcloud.protocols.http import HttpRequest
from localcloud.waf.evaluation import evaluate
from localcloud.waf.rates import Rate
from localcloud.waf.rules import read_acl
from localcloud.waf.verdict import PASSED, Verdict
from tests.localcloud.waf.web_acls import acl, group, path_is, rate, request, rule, visibility

NOW = datetime(2026, 1, 1, tzinfo=UTC)
COMMON, BAD_INPUTS = "AWSManagedRulesCommonRuleSet", "AWSManagedRulesKnownBadInputsRuleSet"
REPUTATION = "AWSManagedRulesAmazonIpReputationList"


class Firewall:
    """A web ACL, a clock, and what was measured."""

    def __init__(self, *rules: dict[str, Any], **members: Any) -> None:
        self.acl = read_acl(acl(*rules, **members), lambda name, statement, limit, window: Rate(limit, window))
        self.now = NOW
        self.measured: list[tuple[str, Mapping[str, str]]] = []

    def ask(self, http: HttpRequest | None = None) -> Verdict:
        verdict, measured = evaluate(self.acl, http or request(), self.now, "eu-west-1")
        assert {(one.namespace, one.value, one.unit, one.time) for one in measured} <= {
            ("AWS/WAFV2", 1.0, "Count", self.now)
        }
        self.measured = [(one.name, one.dimensions) for one in measured]
        return verdict

    def seen(self) -> list[tuple[str, str]]:
        return [(name, dimensions["Rule"]) for name, dimensions in self.measured if "Rule" in dimensions]


def refused(*rules: dict[str, Any], **members: Any) -> tuple[str, str]:
    with pytest.raises(ServiceError) as caught:
        Firewall(*rules, **members)
    return caught.value.code, caught.value.message


def test_the_default_action_is_what_no_rule_decides() -> None:
    allows, blocks = Firewall(), Firewall(default="Block")
    assert allows.ask() == PASSED
    assert allows.seen() == [("AllowedRequests", "ALL"), ("AllowedRequests", "Default_Action")]
    assert blocks.ask() == Verdict(False)
    assert blocks.seen() == [("BlockedRequests", "ALL"), ("BlockedRequests", "Default_Action")]


def test_the_first_rule_by_priority_that_matches_decides() -> None:
    firewall = Firewall(
        rule("second", 2, path_is("/prod")), rule("first", 1, path_is("/prod/health", "EXACTLY"), "Allow")
    )
    assert firewall.ask(request("/prod/health")) == Verdict(True, "first")
    assert firewall.ask() == Verdict(False, "second")
    assert firewall.measured == [
        ("BlockedRequests", {"WebACL": "acl-metric", "Region": "eu-west-1", "Rule": "ALL"}),
        ("BlockedRequests", {"WebACL": "acl-metric", "Region": "eu-west-1", "Rule": "second-metric"}),
    ]


def test_what_counts_goes_on() -> None:
    firewall = Firewall(
        rule("one", 1, path_is("/"), "Count"), rule("two", 2, path_is("/p"), "Count"), rule("three", 3, path_is("/x"))
    )
    assert firewall.ask() == PASSED
    assert firewall.seen() == [
        ("CountedRequests", "ALL"),
        ("CountedRequests", "one-metric"),
        ("CountedRequests", "two-metric"),
        ("AllowedRequests", "ALL"),
        ("AllowedRequests", "Default_Action"),
    ]


def test_metrics_are_of_what_has_them_switched_on() -> None:
    quiet = {"VisibilityConfig": visibility("quiet", enabled=False)}
    firewall = Firewall(rule("a", 1, path_is("/prod"), **quiet), VisibilityConfig=visibility("whole"))
    firewall.ask()
    assert firewall.seen() == [("BlockedRequests", "ALL")]
    firewall = Firewall(rule("a", 1, path_is("/prod")), **quiet)
    firewall.ask()
    assert firewall.measured == [
        ("BlockedRequests", {"WebACL": "quiet", "Region": "eu-west-1", "Rule": "a-metric"}),
    ]


@pytest.mark.parametrize(
    ("statement", "matching", "other"),
    [
        (path_is("/prod/a", "EXACTLY"), request("/prod/a"), request("/prod/ab")),
        (path_is("/b", "ENDS_WITH"), request("/a/b"), request("/b/a")),
        (path_is("x", "CONTAINS"), request("/axb"), request("/aXb")),
        (path_is("x", "CONTAINS", "LOWERCASE"), request("/aXb"), request("/a")),
        (path_is("/a b", "EXACTLY", "URL_DECODE", "LOWERCASE"), request("/A%20B"), request("/ab")),
        ({"NotStatement": {"Statement": path_is("/a")}}, request("/b"), request("/a")),
        ({"AndStatement": {"Statements": [path_is("/a"), path_is("c", "ENDS_WITH")]}}, request("/ac"), request("/a")),
        ({"OrStatement": {"Statements": [path_is("/a"), path_is("/b")]}}, request("/b"), request("/c")),
        (
            {
                "ByteMatchStatement": {
                    **path_is("POST", "EXACTLY")["ByteMatchStatement"],
                    "FieldToMatch": {"Method": {}},
                }
            },
            request(method="POST"),
            request(),
        ),
        (
            {"ByteMatchStatement": {**path_is("b=1")["ByteMatchStatement"], "FieldToMatch": {"QueryString": {}}}},
            request(query="b=1&c=2"),
            request(query="c=2"),
        ),
        (
            {
                "ByteMatchStatement": {
                    **path_is("bot", "CONTAINS")["ByteMatchStatement"],
                    "FieldToMatch": {"SingleHeader": {"Name": "User-Agent"}},
                }
            },
            request(headers={"user-agent": "a bot"}),
            request(headers={}),
        ),
    ],
)
def test_conditions(statement: dict[str, Any], matching: HttpRequest, other: HttpRequest) -> None:
    firewall = Firewall(rule("r", 1, statement))
    assert not firewall.ask(matching).allowed
    assert firewall.ask(other).allowed


# --- rates ------------------------------------------------------------------------------------------------------------


def test_a_rate_blocks_each_address_by_itself_until_it_asks_less() -> None:
    firewall = Firewall(rate())
    assert all(firewall.ask(request(client="10.0.0.1")).allowed for _ in range(10))
    assert firewall.ask(request(client="10.0.0.1")) == Verdict(False, "rate")
    assert firewall.ask(request(client="10.0.0.2")).allowed
    firewall.now += timedelta(seconds=30)
    assert not firewall.ask(request(client="10.0.0.1")).allowed
    firewall.now += timedelta(seconds=62)
    assert firewall.ask(request(client="10.0.0.1")).allowed


def test_a_custom_response_says_what_is_answered() -> None:
    blocking = rate()
    blocking["Action"] = {
        "Block": {
            "CustomResponse": {
                "ResponseCode": 429,
                "CustomResponseBodyKey": "slow",
                "ResponseHeaders": [{"Name": "Retry-After", "Value": "60"}],
            }
        }
    }
    bodies = {"slow": {"ContentType": "APPLICATION_JSON", "Content": '{"message": "Slow down"}'}}
    firewall = Firewall(blocking, CustomResponseBodies=bodies)
    verdicts = [firewall.ask() for _ in range(11)]
    assert verdicts[-1] == Verdict(
        False,
        "rate",
        429,
        b'{"message": "Slow down"}',
        (("Retry-After", "60"), ("Content-Type", "application/json")),
    )
    blocking["Action"] = {"Block": {"CustomResponse": {"ResponseCode": 403}}}
    firewall = Firewall(blocking)
    assert [firewall.ask() for _ in range(11)][-1] == Verdict(False, "rate", 403, b"")


def test_a_rate_counts_what_its_scope_names() -> None:
    firewall = Firewall(rate(ScopeDownStatement=path_is("/prod/slow")))
    assert all(firewall.ask().allowed for _ in range(20))
    assert [firewall.ask(request("/prod/slow")).allowed for _ in range(11)] == [True] * 10 + [False]


def test_a_rate_may_count_all_together() -> None:
    firewall = Firewall(rate(AggregateKeyType="CONSTANT", ScopeDownStatement=path_is("/")))
    assert all(firewall.ask(request(client=f"10.0.0.{number}")).allowed for number in range(10))
    assert not firewall.ask(request(client="10.0.0.99")).allowed


@pytest.mark.parametrize(("fallback", "allowed"), [("MATCH", False), ("NO_MATCH", True)])
def test_a_rate_by_forwarded_addresses(fallback: str, allowed: bool) -> None:
    def asked(value: str | None) -> bool:
        headers = {"user-agent": "test"} if value is None else {"x-forwarded-for": value}
        return firewall.ask(request(headers=headers)).allowed

    configuration = {"HeaderName": "X-Forwarded-For", "FallbackBehavior": fallback}
    firewall = Firewall(rate(AggregateKeyType="FORWARDED_IP", ForwardedIPConfig=configuration))
    assert all(asked("192.0.2.1, 10.0.0.1") for _ in range(10))
    assert not asked("192.0.2.1, 10.0.0.2")
    assert asked("2001:db8::1")
    assert asked(None), "without the header the rule does not apply"
    assert asked("not an address") is allowed


# --- managed groups ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule_name", "http", "longest"),
    [
        ("NoUserAgent_HEADER", request(headers={}), request(headers={"user-agent": ""})),
        ("SizeRestrictions_QUERYSTRING", request(query="a" * 2049), request(query="a" * 2048)),
        (
            "SizeRestrictions_Cookie_HEADER",
            request(headers={"user-agent": "t", "cookie": "a" * 10_241}),
            request(headers={"user-agent": "t", "cookie": "a" * 10_240}),
        ),
        ("SizeRestrictions_BODY", request(body=b"a" * 8193), request(body=b"a" * 8192)),
        ("SizeRestrictions_URIPATH", request("/" + "a" * 1024), request("/" + "a" * 1023)),
        ("SizeRestrictions_URIPATH", request("/" + "ü" * 512), request("/" + "ü" * 511)),
    ],
)
def test_the_published_limits_of_the_core_rules(rule_name: str, http: HttpRequest, longest: HttpRequest) -> None:
    firewall = Firewall(group(COMMON))
    assert firewall.ask(http) == Verdict(False, COMMON)
    assert firewall.seen()[-1] == ("BlockedRequests", f"{COMMON}-metric")
    assert firewall.ask(longest).allowed
    counting = Firewall(group(COMMON, RuleActionOverrides=[{"Name": rule_name, "ActionToUse": {"Count": {}}}]))
    assert counting.ask(http).allowed
    within = {"ManagedRuleGroup": f"{COMMON}-metric", "ManagedRuleGroupRule": rule_name}
    assert counting.measured[1] == (
        "CountedRequests",
        {"WebACL": "acl-metric", "Region": "eu-west-1", **within},
    )
    excluding = Firewall(group(COMMON, ExcludedRules=[{"Name": rule_name}]))
    assert excluding.ask(http).allowed


def test_a_group_may_count_only() -> None:
    firewall = Firewall(group(BAD_INPUTS, override="Count"))
    assert firewall.ask(request(method="PROPFIND")).allowed
    assert firewall.seen()[1] == ("CountedRequests", f"{BAD_INPUTS}-metric")
    assert not Firewall(group(BAD_INPUTS)).ask(request(method="PROPFIND")).allowed


def test_a_rule_of_a_group_may_allow_or_answer_otherwise() -> None:
    large = request(body=b"a" * 9000)
    allowing = {"Name": "SizeRestrictions_BODY", "ActionToUse": {"Allow": {}}}
    firewall = Firewall(group(COMMON, RuleActionOverrides=[allowing]), default="Block")
    assert firewall.ask(large) == Verdict(True, COMMON)
    answering = {
        "Name": "SizeRestrictions_BODY",
        "ActionToUse": {"Block": {"CustomResponse": {"ResponseCode": 413, "CustomResponseBodyKey": "long"}}},
    }
    bodies = {"long": {"ContentType": "TEXT_PLAIN", "Content": "too long"}}
    firewall = Firewall(group(COMMON, RuleActionOverrides=[answering]), CustomResponseBodies=bodies)
    assert firewall.ask(large) == Verdict(False, COMMON, 413, b"too long", (("Content-Type", "text/plain"),))


def test_a_group_looks_at_what_its_scope_names() -> None:
    firewall = Firewall(group(COMMON, ScopeDownStatement=path_is("/prod/strict")))
    assert firewall.ask(request(body=b"a" * 9000)).allowed
    assert not firewall.ask(request("/prod/strict", body=b"a" * 9000)).allowed


def test_no_list_of_addresses_has_this_machine() -> None:
    assert Firewall(group(REPUTATION)).ask().allowed


def test_a_group_says_which_of_its_rules_only_aws_knows() -> None:
    [found] = Firewall(group(BAD_INPUTS)).acl.rules
    assert "Log4JRCE_BODY" in found.not_evaluated
    assert "PROPFIND_METHOD" not in found.not_evaluated
    assert Firewall(group(REPUTATION)).acl.rules[0].not_evaluated == ()


# --- capacity, and what is refused ------------------------------------------------------------------------------------


def test_capacity() -> None:
    firewall = Firewall(rate(), group(COMMON, 1), group(BAD_INPUTS, 2), group(REPUTATION, 3))
    assert firewall.acl.capacity == 2 + 700 + 200 + 25
    scope = {"AndStatement": {"Statements": [path_is("a", "CONTAINS", "LOWERCASE"), path_is("/b")]}}
    assert Firewall(rate(ScopeDownStatement=scope)).acl.capacity == 2 + (10 + 10) + 2
    groups = [{**group(COMMON, number), "Name": f"g{number}"} for number in range(8)]
    code, message = refused(*groups)
    assert code == "WAFLimitsExceededException"
    assert message.endswith("the rules take 5600 web ACL capacity units of at most 5000.")


def _without(declared: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in declared.items() if name not in names}


def _action(declared: dict[str, Any]) -> dict[str, Any]:
    return rule("r", 1, path_is("/"), Action=declared)


@pytest.mark.parametrize(
    ("declared", "field", "said"),
    [
        (_without(rate(), "Action"), "RULE", "You have used none or multiple values"),
        ({**rate(), "OverrideAction": {"None": {}}}, "RULE", "You have used none or multiple values"),
        (_without(group(COMMON), "OverrideAction"), "RULE", "You have used none or multiple values"),
        ({**group(COMMON), "Action": {"Block": {}}}, "RULE", "You have used none or multiple values"),
        (rule("r", 1, {}), "STATEMENT", "You have used none or multiple values"),
        (rule("r", 1, {**path_is("/"), "GeoMatchStatement": {}}), "STATEMENT", "You have used none or multiple"),
        (_action({"Block": {}, "Count": {}}), "RULE_ACTION", "You have used none or multiple values"),
        (rate(EvaluationWindowSec=90), "RATE_BASED_STATEMENT", "one of 60, 120, 300, 600 seconds, not 90"),
        (rate(AggregateKeyType="CONSTANT"), "RATE_BASED_STATEMENT", "takes a scope-down statement"),
        (rate(AggregateKeyType="FORWARDED_IP"), "FORWARDED_IP_CONFIG", "belongs to AggregateKeyType FORWARDED_IP"),
        (
            rate(ForwardedIPConfig={"HeaderName": "X-Forwarded-For", "FallbackBehavior": "MATCH"}),
            "FORWARDED_IP_CONFIG",
            "belongs to AggregateKeyType FORWARDED_IP",
        ),
        (rate(AggregateKeyType="CUSTOM_KEYS"), "CUSTOM_KEYS", "have no AggregateKeyType CUSTOM_KEYS"),
        (rate(ScopeDownStatement=rate()["Statement"]), "STATEMENT", "A reference in your rule statement is not valid."),
        (group("AWSManagedRulesPHPRuleSet"), "MANAGED_RULE_SET_STATEMENT", "AWS AWSManagedRulesPHPRuleSet"),
        (group(COMMON, VendorName="Somebody"), "MANAGED_RULE_SET_STATEMENT", f"Somebody {COMMON}"),
        (group(COMMON, Version="Version_1.0"), "MANAGED_RULE_SET_STATEMENT", "have no Version of managed rule groups"),
        (group(COMMON, ExcludedRules=[{"Name": "Nothing"}]), "EXCLUDED_RULE", f"{COMMON} has no rule Nothing."),
        (
            group(COMMON, RuleActionOverrides=[{"Name": "GenericLFI_BODY", "ActionToUse": {"Captcha": {}}}]),
            "RULE_ACTION",
            "have no action Captcha",
        ),
        (_action({"Challenge": {}}), "RULE_ACTION", "have no action Challenge"),
        (
            _action({"Allow": {"CustomRequestHandling": {"InsertHeaders": [{"Name": "a", "Value": "b"}]}}}),
            "CUSTOM_REQUEST_HANDLING",
            "have no CustomRequestHandling",
        ),
        (_action({"Block": {"CustomResponse": {"ResponseCode": 418}}}), "CUSTOM_RESPONSE", "418 is not a status code"),
        (
            _action({"Block": {"CustomResponse": {"ResponseCode": 429, "CustomResponseBodyKey": "none"}}}),
            "CUSTOM_RESPONSE_BODY",
            "has no custom response body none",
        ),
        (
            _action(
                {
                    "Block": {
                        "CustomResponse": {
                            "ResponseCode": 429,
                            "ResponseHeaders": [{"Name": "Content-Type", "Value": "text/plain"}],
                        }
                    }
                }
            ),
            "CUSTOM_RESPONSE",
            "none is content-type",
        ),
        ({**rate(), "RuleLabels": [{"Name": "a"}]}, "RULE", "have no RuleLabels"),
        ({**rate(), "VisibilityConfig": visibility("Default_Action")}, "METRIC_NAME", "keeps the metric names"),
        (rule("r", 1, {"GeoMatchStatement": {"CountryCodes": ["DE"]}}), "STATEMENT", "have no GeoMatchStatement"),
        (rule("r", 1, {"AndStatement": {"Statements": [path_is("/")]}}), "AND_STATEMENT", "a minimum requirement"),
        (rule("r", 1, path_is("/", "CONTAINS_WORD")), "BYTE_MATCH_STATEMENT", "PositionalConstraint CONTAINS_WORD"),
        (rule("r", 1, path_is("/", "EXACTLY", "BASE64_DECODE")), "TEXT_TRANSFORMATION", "BASE64_DECODE"),
        (rule("r", 1, path_is("")), "BYTE_MATCH_STATEMENT", "has 0 bytes; it must have 1 to 200"),
        (rule("r", 1, path_is("a" * 201)), "BYTE_MATCH_STATEMENT", "has 201 bytes"),
        (
            rule(
                "r",
                1,
                {"ByteMatchStatement": {**path_is("a")["ByteMatchStatement"], "FieldToMatch": {"Body": {}}}},
            ),
            "FIELD_TO_MATCH",
            "have no FieldToMatch Body",
        ),
    ],
)
def test_what_is_not_valid_or_not_here_is_refused_by_name(declared: dict[str, Any], field: str, said: str) -> None:
    code, message = refused(declared)
    assert code == "WAFInvalidParameterException"
    assert said in message
    assert f", field: {field}, parameter: " in message


def test_rules_have_names_and_priorities_of_their_own() -> None:
    code, message = refused(rate("a", 1), rate("b", 1))
    assert code == "WAFDuplicateItemException"
    assert message.endswith("the rules a and b have the priority 1.")
    code, message = refused(rate("a", 1), rate("a", 2))
    assert code == "WAFDuplicateItemException"
    assert message.endswith("two rules have the name a.")
    code, _ = refused(
        group(
            COMMON,
            ExcludedRules=[{"Name": "GenericLFI_BODY"}],
            RuleActionOverrides=[{"Name": "GenericLFI_BODY", "ActionToUse": {"Block": {}}}],
        )
    )
    assert code == "WAFDuplicateItemException"


def test_a_web_acl_has_one_default_action() -> None:
    code, message = refused(DefaultAction={"Allow": {}, "Block": {}})
    assert (code, "field: DEFAULT_ACTION" in message) == ("WAFInvalidParameterException", True)
