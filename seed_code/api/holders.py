"""What the feature store has of holders: the stored features, which make a prediction better.

A holder's name leaves this module only as the identifier that the feature group has: the first 16 hexadecimal digits of
SHA-256 over a salt and the name (seed_code/cardholders/transactions.py makes the same). A prediction is never held up
by it: what is not there in a moment is done without.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from seed_code.api.clients import client

USED, UNKNOWN, UNAVAILABLE, NO_NAME = "used", "unknown holder", "unavailable", "no name"

Features = Mapping[str, int | float]

# Of a record of the feature group: what names it, and what the caller gives.
_NOT_FEATURES = frozenset({"holder", "event_time", "usage_freq", "amount_spend", "uniq_merchant"})
_MOST = 100  # of BatchGetRecord
_WHOLE = re.compile(r"[+-]?[0-9]{1,19}")


@dataclass(frozen=True)
class Stored:
    """What there is of a holder. `state`: one of the words above."""

    state: str
    features: Features = field(default_factory=dict)


class Holders:
    """A feature group's holders."""

    def __init__(self, group: str, salt: str, log: Logger) -> None:
        self._group, self._salt, self._log = group, salt, log
        self._client = client("sagemaker-featurestore-runtime", connect_seconds=0.5, read_seconds=1, attempts=1)

    def find(self, name: str | None) -> Stored:
        """What is stored of one holder."""
        if name is None:
            return Stored(NO_NAME)
        try:
            answer = self._client.get_record(
                FeatureGroupName=self._group, RecordIdentifierValueAsString=identifier(name, self._salt)
            )
        except (ClientError, BotoCoreError):
            self._log.warning("the feature store did not answer", exc_info=True)
            return Stored(UNAVAILABLE)
        return _stored(answer.get("Record"))

    def find_all(self, names: Sequence[str | None]) -> list[Stored]:
        """What is stored of each of many holders; after a call that failed no other is tried."""
        wanted = list(dict.fromkeys(identifier(name, self._salt) for name in names if name is not None))
        found: dict[str, Stored] = {}
        try:
            for start in range(0, len(wanted), _MOST):
                found |= self._batch(wanted[start : start + _MOST])
        except (ClientError, BotoCoreError):
            self._log.warning("the feature store did not answer", exc_info=True)
        nothing = Stored(UNAVAILABLE)
        return [Stored(NO_NAME) if name is None else found.get(identifier(name, self._salt), nothing) for name in names]

    def _batch(self, identifiers: list[str]) -> dict[str, Stored]:
        answer = self._client.batch_get_record(
            Identifiers=[{"FeatureGroupName": self._group, "RecordIdentifiersValueAsString": identifiers}]
        )
        records = {one["RecordIdentifierValueAsString"]: one["Record"] for one in answer["Records"]}
        left = {name for some in answer["UnprocessedIdentifiers"] for name in some["RecordIdentifiersValueAsString"]}
        if errors := answer["Errors"]:
            self._log.warning("the feature store has refused", extra={"count": len(errors), "first": errors[0]})
            left |= {error["RecordIdentifierValueAsString"] for error in errors}
        return {name: _stored(records.get(name)) for name in identifiers if name not in left}


def identifier(name: str, salt: str) -> str:
    """The identifier of a holder's record."""
    return hashlib.sha256(f"{salt}\x1f{name}".encode()).hexdigest()[:16]


def _stored(record: Sequence[Mapping[str, str]] | None) -> Stored:
    if not record:
        return Stored(UNKNOWN)
    values = {one["FeatureName"]: _number(one["ValueAsString"]) for one in record}
    return Stored(
        USED, {name: value for name, value in values.items() if value is not None and name not in _NOT_FEATURES}
    )


def _number(text: str) -> int | float | None:
    """A feature's value; None for what is no finite number, which the model takes for not known."""
    if _WHOLE.fullmatch(text):
        return int(text)
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
