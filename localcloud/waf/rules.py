"""A web ACL as it is declared, read into what a request is held against; what is not valid, or not here, is refused.

Reading is all the checking there is: CreateWebACL, UpdateWebACL and CheckCapacity read what they are given and keep the
declaration; what is kept can be read again after a restart.
"""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from localcloud.protocols.http import HttpRequest
from localcloud.waf.conditions import ONE_OF, Condition, Matches, Statement, only, read
from localcloud.waf.errors import duplicate, invalid, lacking, over_limit
from localcloud.waf.managed import ALLOW, BLOCK, COUNT, GROUPS, Group
from localcloud.waf.rates import Rate
from localcloud.waf.verdict import Verdict

MOST_CAPACITY = 5_000
"""Of a web ACL, in its units."""
Bodies = Mapping[str, Any] | None
"""The custom response bodies of a web ACL by their keys; None where they are not known."""
RateOf = Callable[[str, Statement, int, int], Rate]
"""The counts of the rule of a name: with its statement, its limit and the seconds of its window."""

_RULE, _RATE, _MANAGED = "RULE", "RATE_BASED_STATEMENT", "MANAGED_RULE_SET_STATEMENT"
_RATE_CAPACITY = 2
_WINDOWS_SECONDS = (60, 120, 300, 600)
_DEFAULT_WINDOW_SECONDS = 300
_RESERVED_METRICS = ("All", "Default_Action")
_CONTENT_TYPES = {"TEXT_PLAIN": "text/plain", "TEXT_HTML": "text/html", "APPLICATION_JSON": "application/json"}
# "Supported status codes for custom response" in the developer guide.
_STATUS_CODES = frozenset(
    {
        200, 201, 202, 204, 206, 300, 301, 302, 303, 304, 307, 308, 400, 401, 402, 403, 404, 405, 408, 409, 411, 412,
        413, 414, 415, 416, 421, 429, 500, 501, 502, 503, 504, 505,
    }
)  # fmt: skip


@dataclass(frozen=True)
class Metric:
    """What measurements of a web ACL, or of a rule, are called."""

    name: str
    enabled: bool


@dataclass(frozen=True)
class Action:
    """What becomes of a request that matches."""

    kind: str
    """ALLOW, BLOCK or COUNT."""
    verdict: Verdict
    """Of the first two."""


@dataclass(frozen=True)
class Part:
    """A test of a request, and what follows if it holds: a rule of the web ACL, or one within a managed group."""

    name: str
    matches: Matches
    action: Action


@dataclass(frozen=True)
class Rule:
    """One rule of a web ACL. A rule of its own has one part, a managed group those of its rules that are known."""

    name: str
    metric: Metric
    parts: tuple[Part, ...]
    scope: Matches | None = None
    """What a request must match to be looked at by a managed group."""
    group: str = ""
    """The managed group's name."""
    counts_only: bool = False
    """Whether a group's verdict is counted, and not acted upon."""
    capacity: int = 0
    not_evaluated: tuple[str, ...] = ()
    """Rules of the group whose patterns only AWS knows."""


@dataclass(frozen=True)
class Acl:
    """A web ACL."""

    metric: Metric
    default: Action
    rules: tuple[Rule, ...] = ()
    """In the order in which they are looked at."""

    @property
    def capacity(self) -> int:
        """In web ACL capacity units."""
        return sum(rule.capacity for rule in self.rules)


def read_acl(declared: Mapping[str, Any], rate_of: RateOf) -> Acl:
    """The web ACL of a declaration. Raises a ServiceError that names what is wrong, or not here."""
    bodies = declared.get("CustomResponseBodies") or {}
    default = declared["DefaultAction"]
    only(default, "DEFAULT_ACTION", "DefaultAction")
    rules = read_rules(declared.get("Rules") or (), rate_of, bodies)
    acl = Acl(_metric(declared["VisibilityConfig"]), _action(default, None, bodies), rules)
    if acl.capacity > MOST_CAPACITY:
        raise over_limit(f"the rules take {acl.capacity} web ACL capacity units of at most {MOST_CAPACITY}")
    return acl


def read_rules(declared: Sequence[Mapping[str, Any]], rate_of: RateOf, bodies: Bodies = None) -> tuple[Rule, ...]:
    """The rules of a declaration, by their priorities. Without `bodies`, what the web ACL that they are for has of
    custom response bodies is not known, and they may name any. Raises a ServiceError as `read_acl`."""
    _refuse_twins(declared)
    ordered = sorted(declared, key=lambda rule: int(rule["Priority"]))
    return tuple(_rule(rule, rate_of, bodies) for rule in ordered)


def _refuse_twins(declared: Sequence[Mapping[str, Any]]) -> None:
    for one, other in itertools.combinations(declared, 2):
        if one["Name"] == other["Name"]:
            raise duplicate(f"two rules have the name {one['Name']}")
        if one["Priority"] == other["Priority"]:
            raise duplicate(f"the rules {one['Name']} and {other['Name']} have the priority {one['Priority']}")


def _rule(declared: Mapping[str, Any], rate_of: RateOf, bodies: Bodies) -> Rule:
    for member in ("CaptchaConfig", "ChallengeConfig", "RuleLabels"):
        if declared.get(member):
            raise lacking(member, _RULE, member)
    kind = only(declared["Statement"], "STATEMENT", "Statement")
    statement, metric = declared["Statement"][kind], _metric(declared["VisibilityConfig"])
    if kind == "ManagedRuleGroupStatement":
        return _group(declared, statement, metric, bodies)
    if "OverrideAction" in declared or "Action" not in declared:
        raise invalid(f"{ONE_OF} A rule has an Action, a rule group an OverrideAction.", _RULE, declared["Name"])
    name = str(declared["Name"])
    rate_based = kind == "RateBasedStatement"
    condition = _rate_based(name, statement, rate_of) if rate_based else read(declared["Statement"])
    part = Part(name, condition.matches, _action(declared["Action"], name, bodies))
    return Rule(name, metric, (part,), capacity=condition.capacity)


def _metric(visibility: Mapping[str, Any]) -> Metric:
    name = str(visibility["MetricName"])
    if name in _RESERVED_METRICS:
        raise invalid(f"AWS WAF keeps the metric names {' and '.join(_RESERVED_METRICS)}.", "METRIC_NAME", name)
    return Metric(name, bool(visibility["CloudWatchMetricsEnabled"]))


# --- rates ------------------------------------------------------------------------------------------------------------


def _rate_based(name: str, statement: Statement, rate_of: RateOf) -> Condition:
    window = statement.get("EvaluationWindowSec", _DEFAULT_WINDOW_SECONDS)
    if window not in _WINDOWS_SECONDS:
        allowed = ", ".join(map(str, _WINDOWS_SECONDS))
        raise invalid(f"The evaluation window is one of {allowed} seconds, not {window}.", _RATE, "EvaluationWindowSec")
    aggregate = statement["AggregateKeyType"]
    scope = read(statement["ScopeDownStatement"]) if statement.get("ScopeDownStatement") else None
    if aggregate == "CUSTOM_KEYS" or statement.get("CustomKeys"):
        raise lacking("AggregateKeyType CUSTOM_KEYS", "CUSTOM_KEYS", "CustomKeys")
    if aggregate == "CONSTANT" and scope is None:
        raise invalid("To count all requests together takes a scope-down statement.", _RATE, "ScopeDownStatement")
    if (aggregate == "FORWARDED_IP") != bool(statement.get("ForwardedIPConfig")):
        raise invalid(
            "ForwardedIPConfig belongs to AggregateKeyType FORWARDED_IP, and only to it.",
            "FORWARDED_IP_CONFIG",
            "ForwardedIPConfig",
        )
    caller = _caller(aggregate, statement.get("ForwardedIPConfig") or {})
    rate = rate_of(name, statement, int(statement["Limit"]), int(window))

    def matches(request: HttpRequest, now: float) -> bool:
        if scope is not None and not scope.matches(request, now):
            return False
        key = caller(request)
        return key if isinstance(key, bool) else rate.exceeded(key, now)

    return Condition(matches, _RATE_CAPACITY + (scope.capacity if scope is not None else 0))


def _caller(aggregate: str, forwarded: Mapping[str, Any]) -> Callable[[HttpRequest], str | bool]:
    """What requests are counted by; or, for one that is not counted, whether the rule matches it."""
    if aggregate == "IP":
        return lambda request: request.client
    if aggregate == "CONSTANT":
        return lambda request: ""
    header, fallback = str(forwarded["HeaderName"]).lower(), bool(forwarded["FallbackBehavior"] == "MATCH")

    def first_address(request: HttpRequest) -> str | bool:
        found = request.headers.get(header)
        if found is None:
            # Without the header the rule does not apply; the fallback is for one that is no address.
            return False
        first = found.partition(",")[0].strip()
        try:
            return str(ipaddress.ip_address(first))
        except ValueError:
            return fallback

    return first_address


# --- managed groups ---------------------------------------------------------------------------------------------------


def _group(declared: Mapping[str, Any], statement: Statement, metric: Metric, bodies: Bodies) -> Rule:
    name = str(declared["Name"])
    if "Action" in declared or "OverrideAction" not in declared:
        raise invalid(f"{ONE_OF} A rule has an Action, a rule group an OverrideAction.", _RULE, name)
    for member in ("Version", "ManagedRuleGroupConfigs"):
        if statement.get(member):
            raise lacking(f"{member} of managed rule groups", _MANAGED, member)
    group_name = str(statement["Name"])
    group = GROUPS.get(group_name)
    if statement["VendorName"] != "AWS" or group is None:
        known = ", ".join(GROUPS)
        raise lacking(
            f"managed rule group {statement['VendorName']} {group_name}, but those of AWS that are called {known}",
            _MANAGED,
            group_name,
        )
    scope = read(statement["ScopeDownStatement"]) if statement.get("ScopeDownStatement") else None
    override = only(declared["OverrideAction"], "OVERRIDE_ACTION", "OverrideAction")
    _refuse_insertion(declared["OverrideAction"][override])
    return Rule(
        name,
        metric,
        tuple(_parts(name, group, _overrides(group_name, group, statement), bodies)),
        scope=scope.matches if scope is not None else None,
        group=group_name,
        counts_only=override == COUNT,
        capacity=group.capacity + (scope.capacity if scope is not None else 0),
        not_evaluated=group.not_evaluated,
    )


def _overrides(group_name: str, group: Group, statement: Statement) -> dict[str, Mapping[str, Any]]:
    """The actions that rules of the group get instead of their own."""
    given = [
        *((str(one["Name"]), {COUNT: {}}) for one in statement.get("ExcludedRules") or ()),
        *((str(one["Name"]), one["ActionToUse"]) for one in statement.get("RuleActionOverrides") or ()),
    ]
    known = {rule.name for rule in group.rules}
    for name, _ in given:
        if name not in known:
            raise invalid(f"{group_name} has no rule {name}.", "EXCLUDED_RULE", name)
    found = dict(given)
    if len(found) < len(given):
        raise duplicate(f"a rule of {group_name} is named twice in ExcludedRules and RuleActionOverrides")
    return found


def _parts(rule_name: str, group: Group, overrides: Mapping[str, Mapping[str, Any]], bodies: Bodies) -> Iterator[Part]:
    for rule in group.rules:
        # Every override is read, so that a wrong one is refused whatever it is for.
        action = _action(overrides.get(rule.name) or {rule.action: {}}, rule_name, bodies)
        if rule.matches is not None:
            yield Part(rule.name, rule.matches, action)


# --- actions ----------------------------------------------------------------------------------------------------------


def _action(declared: Mapping[str, Any], rule: str | None, bodies: Bodies) -> Action:
    kind = only(declared, "RULE_ACTION", "RuleAction")
    if kind not in (ALLOW, BLOCK, COUNT):
        raise lacking(f"action {kind}", "RULE_ACTION", kind)
    _refuse_insertion(declared[kind])
    response = declared[kind].get("CustomResponse")
    if response:
        return Action(kind, _custom(response, rule, bodies))
    return Action(kind, Verdict(kind == ALLOW, rule))


def _refuse_insertion(settings: Mapping[str, Any]) -> None:
    if settings.get("CustomRequestHandling"):
        raise lacking("CustomRequestHandling", "CUSTOM_REQUEST_HANDLING", "CustomRequestHandling")


def _custom(response: Mapping[str, Any], rule: str | None, bodies: Bodies) -> Verdict:
    status = int(response["ResponseCode"])
    if status not in _STATUS_CODES:
        raise invalid(f"{status} is not a status code that a custom response may have.", "CUSTOM_RESPONSE", status)
    headers = [(str(one["Name"]), str(one["Value"])) for one in response.get("ResponseHeaders") or ()]
    names = [name.lower() for name, _ in headers]
    if "content-type" in names or len(set(names)) < len(names):
        raise invalid(
            "The headers of a custom response have a name of their own each, and none is content-type.",
            "CUSTOM_RESPONSE",
            ", ".join(name for name, _ in headers),
        )
    key = response.get("CustomResponseBodyKey")
    if key is None or bodies is None:
        return Verdict(False, rule, status, b"", tuple(headers))
    if key not in bodies:
        raise invalid(f"The web ACL has no custom response body {key}.", "CUSTOM_RESPONSE_BODY", key)
    headers.append(("Content-Type", _CONTENT_TYPES[bodies[key]["ContentType"]]))
    return Verdict(False, rule, status, str(bodies[key]["Content"]).encode(), tuple(headers))
