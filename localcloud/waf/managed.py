"""The managed rule groups of AWS, as far as AWS says what is in them.

AWS publishes the names of their rules, and of some what exactly they look at: these are evaluated. The patterns of the
others are AWS's secret, so that nobody can write around them; a localcloud that guessed them would let pass what AWS
blocks, and block what it lets pass. They are listed by `not_evaluated`, match nothing, and each web ACL that has some
says so in localcloud's log. Source: "Baseline rule groups" and "IP reputation rule groups" in the WAF developer guide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from localcloud.protocols.http import HttpRequest
from localcloud.waf.conditions import Matches

ALLOW, BLOCK, COUNT = "Allow", "Block", "Count"
"""The actions."""


@dataclass(frozen=True)
class GroupRule:
    """One rule of a group."""

    name: str
    matches: Matches | None
    """None: AWS does not say what it matches."""
    action: str = BLOCK


@dataclass(frozen=True)
class Group:
    """A managed rule group."""

    capacity: int
    """In web ACL capacity units."""
    rules: tuple[GroupRule, ...]
    """In the order in which they are looked at."""

    @property
    def not_evaluated(self) -> tuple[str, ...]:
        """The rules whose patterns only AWS knows."""
        return tuple(rule.name for rule in self.rules if rule.matches is None)


def _never(request: HttpRequest, now: float) -> bool:
    return False


def _longer_than(part: str, most: int) -> Matches:
    def matches(request: HttpRequest, now: float) -> bool:
        text = request.path if part == "path" else request.query if part == "query" else request.headers.get(part, "")
        # What is short in characters is looked at no further: none takes more than four bytes.
        return len(text) * 4 > most and len(text.encode()) > most

    return matches


def _secret(name: str, *parts: str) -> Iterator[GroupRule]:
    for part in parts:
        yield GroupRule(f"{name}_{part}", None)


_CORE = Group(
    700,
    (
        GroupRule("NoUserAgent_HEADER", lambda request, now: "user-agent" not in request.headers),
        *_secret("UserAgent_BadBots", "HEADER"),
        GroupRule("SizeRestrictions_QUERYSTRING", _longer_than("query", 2_048)),
        GroupRule("SizeRestrictions_Cookie_HEADER", _longer_than("cookie", 10_240)),
        GroupRule("SizeRestrictions_BODY", lambda request, now: len(request.body) > 8_192),
        GroupRule("SizeRestrictions_URIPATH", _longer_than("path", 1_024)),
        *_secret("EC2MetaDataSSRF", "BODY", "COOKIE", "URIPATH", "QUERYARGUMENTS"),
        *_secret("GenericLFI", "QUERYARGUMENTS", "URIPATH", "BODY"),
        *_secret("RestrictedExtensions", "URIPATH", "QUERYARGUMENTS"),
        *_secret("GenericRFI", "QUERYARGUMENTS", "BODY", "URIPATH"),
        *_secret("CrossSiteScripting", "COOKIE", "QUERYARGUMENTS", "BODY", "URIPATH"),
    ),
)
_BAD_INPUTS = Group(
    200,
    (
        *_secret("JavaDeserializationRCE", "HEADER", "BODY", "URIPATH", "QUERYSTRING"),
        # An API has a host of its own on AWS. Here all have localcloud's, which says nothing of what it would be there.
        *_secret("Host_localhost", "HEADER"),
        GroupRule("PROPFIND_METHOD", lambda request, now: request.method == "PROPFIND"),
        *_secret("ExploitablePaths", "URIPATH"),
        *_secret("Log4JRCE", "HEADER", "QUERYSTRING", "BODY", "URIPATH"),
        *_secret("ReactJSRCE", "BODY"),
    ),
)
# Only what runs on this machine reaches localcloud, and no list of addresses has a machine's own.
_REPUTATION = Group(
    25,
    (
        GroupRule("AWSManagedIPReputationList", _never),
        GroupRule("AWSManagedReconnaissanceList", _never),
        GroupRule("AWSManagedIPDDoSList", _never, COUNT),
    ),
)

GROUPS: Mapping[str, Group] = {
    "AWSManagedRulesCommonRuleSet": _CORE,
    "AWSManagedRulesKnownBadInputsRuleSet": _BAD_INPUTS,
    "AWSManagedRulesAmazonIpReputationList": _REPUTATION,
}
"""By name. AWS has more of them; localcloud has those that its users' templates name."""
