"""The project's feature groups: their features, as CreateFeatureGroup has them, and their making.

The programs of the images, and whoever else writes or reads records, agree with this list; a group of other features is
refused by them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pipelines import names as n
from pipelines.errors import ServiceError
from pipelines.names import Names

__all__ = ["FEATURE_GROUPS", "HOLDERS", "MINUTES", "FeatureGroup", "ensure"]

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

HOLDERS = FeatureGroup(
    *n.HOLDERS,
    record_identifier="holder",
    event_time="event_time",
    features={
        "holder": "String",  # a salted hash of the name
        "event_time": "String",  # the end of the data that the features were made of
        # What a request has too, over the behaviour window.
        "usage_freq": "Integral",
        "amount_spend": "Fractional",
        "uniq_merchant": "Integral",
        # The stored features that sharpen a prediction: meaning and bounds are in seed_code/cardholders/features.py.
        "recency_days": "Integral",
        "days_since_first": "Integral",
        "gap_mean": "Fractional",
        "gap_std": "Fractional",
        "gap_median": "Fractional",
        "gap_last": "Fractional",
        "overdue": "Fractional",
        "gap_end_share_7d": "Fractional",
        "purchases_7d": "Integral",
        "purchases_30d": "Integral",
        "purchases_90d": "Integral",
        "spend_7d": "Fractional",
        "spend_30d": "Fractional",
        "spend_90d": "Fractional",
        "merchants_90d": "Integral",
        "active_days_30d": "Integral",
        "active_day_share": "Fractional",
        "refunds_90d": "Integral",
        "mean_amount": "Fractional",
        "weekday": "Integral",
        "month_of_year": "Integral",
        "days_to_month_end": "Integral",
        **{f"weekday_share_ahead_{day}": "Fractional" for day in range(1, 8)},
    },
)
"""The latest features of every cardholder."""

FEATURE_GROUPS = (MINUTES, HOLDERS)


def ensure(sagemaker: Any, names: Names, group: FeatureGroup, pause: Callable[[float], None] = time.sleep) -> list[str]:
    """Make a feature group with online and offline store when it is missing; gives what was made.

    Raises ServiceError when SageMaker fails to make it.
    """
    name = group.name(names)
    try:
        sagemaker.describe_feature_group(FeatureGroupName=name)
        return []
    except sagemaker.exceptions.ResourceNotFound:
        pass
    sagemaker.create_feature_group(
        FeatureGroupName=name,
        RecordIdentifierFeatureName=group.record_identifier,
        EventTimeFeatureName=group.event_time,
        FeatureDefinitions=[{"FeatureName": key, "FeatureType": value} for key, value in group.features.items()],
        OnlineStoreConfig={"EnableOnlineStore": True},
        OfflineStoreConfig={"S3StorageConfig": {"S3Uri": names.feature_store_uri}, "DisableGlueTableCreation": False},
        RoleArn=names.role_arn,
    )
    while (described := sagemaker.describe_feature_group(FeatureGroupName=name))["FeatureGroupStatus"] == "Creating":
        pause(0.1)
    if described["FeatureGroupStatus"] != "Created":
        reason = described.get("FailureReason", "SageMaker gives no reason")
        raise ServiceError(f"the feature group `{name}` is {described['FeatureGroupStatus']}: {reason}")
    return [f"feature group {name}"]
