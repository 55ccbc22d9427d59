"""Faults on purpose: a share of the calls of an operation is throttled, fails, or is done in part.

They are set with `localcloud faults FILE`, or with a list of rules that is posted to `/_localcloud/faults`:

    [{"service": "kinesis", "operation": "PutRecords", "kind": "partial", "share": 0.05, "seed": 7}]

`service` is botocore's name. An `operation` of `*` is every one of the service. `kind` is one of

    throttle    refused, with the service's own code for that; nothing is done
    error       refused as if the service had failed (HTTP status 500); nothing is done
    partial     of PutRecords, PutEvents and BatchWriteItem: single entries are refused within the answer, and not done

`share`, from 0 to 1, is that of the calls that are hit, of `partial` that of the entries. Which ones follows from
`seed` and the order of the calls. The rules hold for calls that come by HTTP, and end with localcloud or with an empty
list: what localcloud's own services call is not theirs to disturb.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from localcloud import services
from localcloud.errors import ServiceError
from localcloud.protocols import models
from localcloud.protocols.http import HttpRequest, HttpResponse

THROTTLE, ERROR, PARTIAL = "throttle", "error", "partial"
_KINDS = (THROTTLE, ERROR, PARTIAL)
_EVERY = "*"
_MEMBERS = ("service", "operation", "kind", "share", "seed")

# Code and HTTP status; where a service's model knows the code, its own status wins.
# Sources: the "Common Errors" and the operations' own errors in each service's API reference.
_THROTTLING: Mapping[str, tuple[str, int]] = {
    "apigateway": ("TooManyRequestsException", 429),
    "application-autoscaling": ("ConcurrentUpdateException", 400),
    "athena": ("TooManyRequestsException", 400),
    "cloudformation": ("Throttling", 400),
    "cloudwatch": ("Throttling", 400),
    "cognito-idp": ("TooManyRequestsException", 400),
    "dynamodb": ("ProvisionedThroughputExceededException", 400),
    "ec2": ("RequestLimitExceeded", 503),
    "firehose": ("ServiceUnavailableException", 503),
    "iam": ("Throttling", 400),
    "kinesis": ("ProvisionedThroughputExceededException", 400),
    "lambda": ("TooManyRequestsException", 429),
    "s3": ("SlowDown", 503),
    "sns": ("Throttled", 429),
    "sqs": ("RequestThrottled", 400),
    "sts": ("Throttling", 400),
}
_DEFAULT_THROTTLING = ("ThrottlingException", 400)
_FAILING: Mapping[str, str] = {
    "dynamodb": "InternalServerError",
    "ecs": "ServerException",
    "kms": "KMSInternalException",
    "lambda": "ServiceException",
    "logs": "ServiceUnavailableException",
    "s3": "InternalError",
    "secretsmanager": "InternalServiceError",
    "sns": "InternalError",
    "ssm": "InternalServerError",
}
_DEFAULT_FAILING = "InternalFailure"
_MESSAGES = {
    THROTTLE: "Rate exceeded (a fault that was set in localcloud)",
    ERROR: "The request processing has failed (a fault that was set in localcloud)",
}


class FaultError(ValueError):
    """Rules that cannot be set; the message names every mistake."""


@dataclass
class _Rule:
    service: str
    operation: str
    kind: str
    share: float
    seed: int
    calls: int = 0
    faults: int = 0
    random: random.Random = field(default_factory=random.Random)

    def hits(self) -> bool:
        """Whether the next call, or the next entry of one, is hit."""
        self.calls += 1
        hit = self.random.random() < self.share
        self.faults += hit
        return hit

    def is_about(self, service: str, operation: str) -> bool:
        return self.service == service and self.operation in (operation, _EVERY)


class Faults:
    """The rules of one localcloud. All methods may be called from any thread."""

    def __init__(self) -> None:
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()

    @property
    def any(self) -> bool:
        """Whether there is a rule."""
        return bool(self._rules)

    def set(self, rules: Any) -> None:
        """Let these rules hold, and none that was set before; their counts begin at 0. Raises FaultError."""
        found = _parsed(rules)
        with self._lock:
            self._rules = found

    def described(self) -> list[dict[str, Any]]:
        """Every rule, with how many calls (of `partial`: entries) it has seen and how many of them it has hit."""
        with self._lock:
            return [
                {member: getattr(rule, member) for member in (*_MEMBERS, "calls", "faults")} for rule in self._rules
            ]

    def check(self, service: str, operation: str) -> None:
        """Raise the ServiceError of the first rule that hits a call."""
        with self._lock:
            kind = next(
                (
                    rule.kind
                    for rule in self._rules
                    if rule.kind != PARTIAL and rule.is_about(service, operation) and rule.hits()
                ),
                None,
            )
        if kind is not None:
            code, status = _code(service, kind)
            raise ServiceError(code, _MESSAGES[kind], status)

    def hit_entries(self, service: str, operation: str, count: int) -> frozenset[int]:
        """The places of those entries of a call that are to be refused."""
        with self._lock:
            rules = [rule for rule in self._rules if rule.kind == PARTIAL and rule.is_about(service, operation)]
            return frozenset(place for place in range(count) if any([rule.hits() for rule in rules]))

    def around(
        self, service: str, operation: str, params: Mapping[str, Any], call: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> dict[str, Any]:
        """What an operation answers: `call`, given the parameters, does it, for the entries that are not hit."""
        entries = _ENTRIES.get((service, operation))
        if entries is None:
            return call(dict(params))
        given = params[entries.asked]
        hit = self.hit_entries(service, operation, len(given))
        if not hit:
            return call(dict(params))
        left = [entry for place, entry in enumerate(given) if place not in hit]
        # A request without entries is none that a service takes.
        answer: dict[str, Any] = {entries.failed: 0, entries.answered: []}
        if left:
            answer = call({**params, entries.asked: left})
        done = iter(answer[entries.answered])
        code = _code(service, THROTTLE)[0]
        refused = {"ErrorCode": code, "ErrorMessage": _MESSAGES[THROTTLE]}
        answered = [dict(refused) if place in hit else next(done) for place in range(len(given))]
        return {**answer, entries.failed: answer.get(entries.failed, 0) + len(hit), entries.answered: answered}

    def around_leaf(
        self, service: str, operation: str, http: HttpRequest, call: Callable[[HttpRequest], HttpResponse]
    ) -> HttpResponse:
        """The same of a request that is not parsed: of DynamoDB's BatchWriteItem."""
        if (service, operation) != ("dynamodb", "BatchWriteItem"):
            return call(http)
        body = json.loads(http.body)
        writes = [(table, entry) for table, entries in body["RequestItems"].items() for entry in entries]
        hit = self.hit_entries(service, operation, len(writes))
        if not hit:
            return call(http)
        left = [write for place, write in enumerate(writes) if place not in hit]
        unprocessed = _by_table(write for place, write in enumerate(writes) if place in hit)
        if left:
            asked = {**body, "RequestItems": _by_table(left)}
            response = call(replace(http, body=json.dumps(asked).encode()))
        else:
            content_type = ("Content-Type", http.headers.get("content-type", "application/x-amz-json-1.0"))
            response = HttpResponse(200, [content_type], b"{}")
        if response.status >= 400:
            return response
        answer = json.loads(response.body)
        answer["UnprocessedItems"] = _by_table(
            [
                *((table, entry) for table, entries in answer.get("UnprocessedItems", {}).items() for entry in entries),
                *((table, entry) for table, entries in unprocessed.items() for entry in entries),
            ]
        )
        # The length and the checksum are those of the answer that it was.
        headers = [
            (name, value) for name, value in response.headers if name.lower() not in ("content-length", "x-amz-crc32")
        ]
        return HttpResponse(response.status, headers, json.dumps(answer).encode())


@dataclass(frozen=True)
class _Entries:
    """The members of an operation that takes entries: those of the request, and of the answer."""

    asked: str
    answered: str
    failed: str


_ENTRIES: Mapping[tuple[str, str], _Entries] = {
    ("kinesis", "PutRecords"): _Entries("Records", "Records", "FailedRecordCount"),
    ("events", "PutEvents"): _Entries("Entries", "Entries", "FailedEntryCount"),
}
_IN_PARTS = (*_ENTRIES, ("dynamodb", "BatchWriteItem"))


def _by_table(writes: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for table, entry in writes:
        found.setdefault(table, []).append(entry)
    return found


def _code(service: str, kind: str) -> tuple[str, int]:
    if kind == THROTTLE:
        return _THROTTLING.get(service, _DEFAULT_THROTTLING)
    return _FAILING.get(service, _DEFAULT_FAILING), 500


def _parsed(rules: Any) -> list[_Rule]:
    if not isinstance(rules, list):
        raise FaultError(f"expected a list of rules, as in `[]`; got {_shown(rules)}")
    mistakes = [
        f"rule {number}: {mistake}" for number, rule in enumerate(rules, start=1) for mistake in _mistakes(rule)
    ]
    if mistakes:
        raise FaultError("; ".join(mistakes))
    return [_Rule(**{"seed": 0, **rule}, random=random.Random(rule.get("seed", 0))) for rule in rules]


def _mistakes(rule: Any) -> list[str]:
    if not isinstance(rule, dict):
        return [f"expected an object, got {_shown(rule)}"]
    found = [f"there is no member {name!r}; there are {', '.join(_MEMBERS)}" for name in sorted(rule.keys() - _MEMBERS)]
    found += [f"{name} is missing" for name in _MEMBERS if name != "seed" and name not in rule]
    service, operation, kind = (rule.get(name) for name in ("service", "operation", "kind"))
    known = (*services.OWNED, *services.LEAF)
    if "service" in rule and service not in known:
        found.append(f"localcloud does not have the service {_shown(service)}; it has {', '.join(sorted(known))}")
    elif "operation" in rule and "service" in rule and operation not in (_EVERY, *_operations(str(service))):
        found.append(f"{service} has no operation {_shown(operation)}; expected one as in PutRecords, or *")
    if "kind" in rule and kind not in _KINDS:
        found.append(f"the kind is {_shown(kind)}, expected one of {', '.join(_KINDS)}")
    if kind == PARTIAL and (service, operation) not in _IN_PARTS:
        ways = ", ".join(f"{operation} of {service}" for service, operation in _IN_PARTS)
        found.append(f"{operation} of {service} is not done in part; these are: {ways}")
    share = rule.get("share", 0)
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        found.append(f"the share is {_shown(share)}, expected a number from 0 to 1")
    seed = rule.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int):
        found.append(f"the seed is {_shown(seed)}, expected a whole number")
    return found


def _operations(service: str) -> list[str]:
    found: list[str] = models.service_model(service).operation_names
    return found


def _shown(value: Any) -> str:
    return json.dumps(value)[:100]
