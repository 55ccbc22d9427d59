"""Requests made of the examples that Prepare leaves, as a caller with a feature store would send them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd


def of(frame: pd.DataFrame, features: Sequence[str]) -> list[dict[str, Any]]:
    """A request without `k` for each example: the three fields and the stored features (NaN as null)."""
    counts = frame[["usage_freq", "uniq_merchant"]].to_numpy(np.int64).tolist()
    amounts = frame["amount_spend"].to_numpy(np.float64).tolist()
    stored = frame[list(features)].to_numpy(np.float64)
    values = np.where(np.isnan(stored), None, stored.astype(object)).tolist()
    return [
        {
            "usage_freq": usage,
            "amount_spend": amount,
            "uniq_merchant": merchants,
            "features": dict(zip(features, row, strict=True)),
        }
        for (usage, merchants), amount, row in zip(counts, amounts, values, strict=True)
    ]
