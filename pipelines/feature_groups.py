"""The feature group of minutes: its features, for those who write records to it from here.

The groups themselves are made by the project's stack (template/project.yml), which has the same list; a test holds the
two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pipelines import names as n
from pipelines.names import Names

__all__ = ["MINUTES", "FeatureGroup"]

FeatureType = Literal["Integral", "Fractional", "String"]


@dataclass(frozen=True)
class FeatureGroup:
    """A feature group: whose it is, and what its records hold."""

    workload: str
    kind: str
    """What it holds, the end of its name."""
    record_identifier: str
    event_time: str
    features: Mapping[str, FeatureType]

    def name(self, names: Names) -> str:
        return names.feature_group(self.workload, self.kind)


MINUTES = FeatureGroup(
    *n.MINUTES,
    record_identifier="tx_minute",
    event_time="event_time",
    features={
        "tx_minute": "String",  # the minute's first moment, 2026-11-21T14:03:00Z
        "total_nb_trx_1min": "Integral",
        "total_fee_1min": "Fractional",  # satoshi
        "avg_fee_1min": "Fractional",  # satoshi; left away for a minute without transactions
        "event_time": "String",  # when this version of the minute was made; only a later one replaces it
    },
)
"""Per-minute aggregates of the blockchain's transactions."""
