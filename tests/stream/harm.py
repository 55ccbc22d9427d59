"""What can befall the chain: used by its tests and its benchmark."""

from __future__ import annotations

import random
from collections import Counter
from datetime import datetime
from typing import Any

from tests.stream.chain import FUNCTIONS, OPERATOR, POLLER, Chain

LOCALCLOUD = "localcloud"

BAD_DAY: dict[str, Any] = {
    "malformed": {"share": 0.05},
    "throttle": {"share": 0.03},
    "error": {"share": 0.05},
    "date": {"share": 0.03},
    "late": {"share": 0.02, "seconds": 20},  # less than a minute is waited for
    "skew": {"share": 0.005},
    "huge_fee": {"share": 0.02},
}
"""Everything that a source can be, for some time: as often as a bad day has it, or more."""

BAD_SERVICES: list[dict[str, Any]] = [
    {"service": service, "operation": operation, "kind": kind, "share": 0.1, "seed": number}
    for number, (service, operation, kind) in enumerate(
        [
            ("events", "PutEvents", "throttle"),
            ("events", "PutEvents", "error"),
            ("events", "PutEvents", "partial"),
            ("kinesis", "PutRecords", "throttle"),
            ("kinesis", "PutRecords", "error"),
            ("kinesis", "PutRecords", "partial"),
            ("kinesis", "GetRecords", "throttle"),
            ("dynamodb", "BatchGetItem", "throttle"),
            ("dynamodb", "PutItem", "throttle"),
            ("s3", "PutObject", "error"),
            ("sagemaker-featurestore-runtime", "PutRecord", "throttle"),
            ("sagemaker-featurestore-runtime", "PutRecord", "error"),
        ]
    )
]
"""A tenth of the calls throttled, a tenth failed, a tenth of the entries of a call not taken."""


def harm(chain: Chain, first: datetime, end: datetime, times: int, seed: int = 3) -> Counter[str]:
    """Let a span of the source's time pass, with a bad source and bad services, and kill -9 of each program, and of
    localcloud, `times` times at random moments. Gives how many processes of each were killed.
    """
    chance = random.Random(seed)
    victims = times * [POLLER, OPERATOR, *FUNCTIONS, LOCALCLOUD]
    chance.shuffle(victims)
    moments = sorted(first + (end - first) * chance.random() for _ in victims)
    killed: Counter[str] = Counter()
    chain.control(faults=BAD_DAY)
    chain.faults(*BAD_SERVICES)
    for moment, victim in zip(moments, victims, strict=True):
        chain.pass_until(moment)
        if victim == LOCALCLOUD:
            chain.kill_localcloud()
            chain.faults(*BAD_SERVICES)
            killed[victim] += 1
        else:
            killed[victim] += chain.kill(victim)
    chain.pass_until(end)
    chain.faults()
    chain.control(faults={})
    return killed
