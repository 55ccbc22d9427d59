"""The holdout as questions to a server, and the truth to hold its answers against.

Where there are more examples than may be asked about with every k from 1 to the model's horizon, an example is asked
about with one k of every two or three: the questions of one example hang together, so the same number of them says more
when it is about more examples.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from seed_code.cardholders import example_requests, frames
from seed_code.cardholders.baselines import GAP_FEATURES, Baselines
from seed_code.common.errors import ClientError

_SEED = 0
_MOST_SKIPPED = 3


@dataclass(frozen=True)
class Holdout:
    """Questions (one an example and k) and their truth; the arrays have one element a question.

    Attributes:
        requests: records with `k` and with the stored features.
        labels: whether the holder purchased within k days.
        days: k.
        known: baselines.GAP_FEATURES of each question's example (n, 2).
        examples: number of examples that the questions are about.
    """

    requests: list[dict[str, Any]]
    labels: NDArray[np.bool_]
    days: NDArray[np.int64]
    known: NDArray[np.float64]
    examples: int

    @classmethod
    def of(cls, frame: pd.DataFrame, features: Sequence[str], max_days: int, max_records: int) -> "Holdout":
        """The questions of `frame`, or of a random part of it (always the same) that stays within `max_records`.

        Raises:
            ClientError: when the answers are all the same, so that nothing could be ranked.
        """
        stride = int(np.clip(len(frame) * max_days // max_records, 1, min(_MOST_SKIPPED, max_days)))
        size = max(max_records * stride // max_days, 1)
        random = np.random.default_rng(_SEED)
        if len(frame) > size:
            chosen = np.sort(random.choice(len(frame), size, replace=False))
            frame = frame.iloc[chosen].reset_index(drop=True)
        blocks = np.arange(0, max_days, stride)
        days = 1 + blocks + random.integers(0, stride, (len(frame), len(blocks)))
        row, _ = np.nonzero(days <= max_days)
        days = days[days <= max_days]
        labels = frame[frames.DAYS_TO_NEXT].to_numpy(np.float64)[row] <= days
        if labels.all() or not labels.any():
            state = "a purchase in every" if labels.all() else "no purchase in any"
            raise ClientError(
                f"holdout: {state} window of 1 to {max_days} days of {len(frame)} examples, so there is only one class "
                "and nothing to judge by. Bring transactions of a longer period or of more holders"
            )
        asked = example_requests.of(frame, features)
        requests = [{**asked[at], "k": k} for at, k in zip(row.tolist(), days.tolist(), strict=True)]
        known = frame[list(GAP_FEATURES)].to_numpy(np.float64)[row]
        return cls(requests, labels, days, known, len(frame))

    def fields_only(self) -> list[dict[str, Any]]:
        """The questions of a caller who knows no stored feature."""
        return [{name: value for name, value in request.items() if name != "features"} for request in self.requests]

    def for_model(self, features: Collection[str], max_days: int) -> tuple[list[dict[str, Any]], NDArray[np.bool_]]:
        """The questions that a model of these features and this horizon can answer, and which of all they are."""
        asked = self.days <= max_days
        requests = [
            {**request, "features": {name: value for name, value in request["features"].items() if name in features}}
            for request, kept in zip(self.requests, asked, strict=True)
            if kept
        ]
        return requests, asked

    def baselines(self, fitted: Baselines) -> dict[str, NDArray[np.float64]]:
        """What each baseline answers."""
        return {
            "base_rate": fitted.base_rate_probability(self.days),
            "gap_model": fitted.gap_model_probability(self.known, self.days),
        }
