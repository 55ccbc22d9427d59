"""Holds a request against a web ACL, and measures what came of it.

Rules are looked at one after the other. The first that matches with an action that ends the look decides; those that
only count are noted on the way; what passes them all gets the default action.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from localcloud.protocols.http import HttpRequest
from localcloud.signals import Measurement
from localcloud.waf.managed import ALLOW, COUNT
from localcloud.waf.rules import Acl, Action, Metric, Part, Rule
from localcloud.waf.verdict import Verdict

NAMESPACE = "AWS/WAFV2"
_ALL, _DEFAULT = "ALL", "Default_Action"
_ALLOWED, _BLOCKED, _COUNTED = "AllowedRequests", "BlockedRequests", "CountedRequests"


def evaluate(acl: Acl, request: HttpRequest, now: datetime, region: str) -> tuple[Verdict, Sequence[Measurement]]:
    """The verdict, and the measurements of it."""
    seen = _Seen(acl, region)
    moment = now.timestamp()
    verdict = _decide(acl, request, moment, seen)
    return verdict, [Measurement(NAMESPACE, name, 1.0, "Count", now, dimensions) for name, dimensions in seen.found]


def _decide(acl: Acl, request: HttpRequest, moment: float, seen: _Seen) -> Verdict:
    for rule in acl.rules:
        if rule.scope is not None and not rule.scope(request, moment):
            continue
        for part in rule.parts:
            if not part.matches(request, moment):
                continue
            if part.action.kind == COUNT:
                seen.counted(rule, part)
                continue
            if rule.counts_only:
                seen.counted(rule)
                break
            seen.ended(rule, part.action)
            return part.action.verdict
    seen.defaulted()
    return acl.default.verdict


class _Seen:
    """What is to be measured of one request."""

    def __init__(self, acl: Acl, region: str) -> None:
        self._acl, self._region = acl, region
        self.found: list[tuple[str, Mapping[str, str]]] = []
        self._counts = False

    def counted(self, rule: Rule, part: Part | None = None) -> None:
        """A rule matched that only counts: one of the web ACL's own, or `part` of a managed group."""
        if not self._counts:
            # However many rules count it, it is one request.
            self._counts = True
            self._add(_COUNTED, self._acl.metric, Rule=_ALL)
        if rule.group and part is not None:
            self._add(_COUNTED, rule.metric, ManagedRuleGroup=rule.metric.name, ManagedRuleGroupRule=part.name)
        else:
            self._add(_COUNTED, rule.metric, Rule=rule.metric.name)

    def ended(self, rule: Rule, action: Action) -> None:
        """A rule decided."""
        self._decided(action, rule.metric, rule.metric.name)

    def defaulted(self) -> None:
        """No rule did."""
        self._decided(self._acl.default, self._acl.metric, _DEFAULT)

    def _decided(self, action: Action, metric: Metric, rule: str) -> None:
        name = _ALLOWED if action.kind == ALLOW else _BLOCKED
        self._add(name, self._acl.metric, Rule=_ALL)
        self._add(name, metric, Rule=rule)

    def _add(self, name: str, metric: Metric, **dimensions: str) -> None:
        """Nothing where what it is of has no metrics."""
        if metric.enabled:
            self.found.append((name, {"WebACL": self._acl.metric.name, "Region": self._region, **dimensions}))
