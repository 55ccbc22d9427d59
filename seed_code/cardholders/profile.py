"""How the fields of a request were distributed in training, and how far from that requests are.

A profile is made once, when the model is trained, and is small: of each field the edges of (up to) twenty bins of equal
counts, and the training examples in each. Requests are counted into the same bins, so that a window of hours is the sum
of its hours, and no request is needed twice. What is missing (a stored feature that the holder does not have) is not
counted.

    population stability index   sum over bins of (p - q) ln(p / q), p and q being the shares of the requests and of
                                 training; over ten bins, each of two of the profile's, as the usual marks (0.1: some
                                 shift, 0.25: another distribution) mean it
    Kolmogorov-Smirnov           the largest distance between the two distribution functions, looked at between the bins

Sources: Siddiqi, "Credit Risk Scorecards", 2006, chapter 9, for the index and its marks; Yurdakul, "Statistical
Properties of Population Stability Index", 2018, for its distribution where nothing has shifted.

Imports NumPy alone: the monitor reads profiles every hour, and is to start quickly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seed_code.common.errors import ClientError

SCHEMA_VERSION = 1
FILE = "profile.json"

BINS = 20
_BINS_OF_PSI = 10
# An empty bin would make the index infinite: each counts as half an example more than it holds.
_HALF = 0.5
_Z = 3.719  # of the normal distribution at 99.99 %: beyond it, chance is ruled out


@dataclass(frozen=True)
class Field:
    """A field's distribution in training.

    Attributes:
        edges: ascending, between the bins; a value that equals an edge is in the bin below it.
        counts: training examples in each bin, one more than there are edges.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]

    def count(self, values: Sequence[float]) -> list[int]:
        """How many of the values are in each bin."""
        bins = np.searchsorted(self.edges, np.asarray(values, np.float64), side="left")
        found: list[int] = np.bincount(bins, minlength=len(self.counts)).tolist()
        return found

    def stability(self, counts: Sequence[int]) -> float:
        """The population stability index of values that lie so in the bins."""
        expected, found = (_shares(_merged(np.asarray(one))) for one in (self.counts, counts))
        return float(((found - expected) * np.log(found / expected)).sum())

    def chance(self, requests: int) -> float:
        """The index that as many requests from the very distribution of training stay below, but for one in 10,000.

        Their index times their number has a chi-squared distribution (but for the noise of the training examples, of
        which there are many more); its quantile is Wilson's and Hilferty's.
        """
        freedom = max(len(_merged(self.counts)) - 1, 1)
        part = 2 / (9 * freedom)
        return float(freedom * (1 - part + _Z * math.sqrt(part)) ** 3 / requests)

    def distance(self, counts: Sequence[int]) -> float:
        """The Kolmogorov-Smirnov statistic of values that lie so in the bins."""
        expected, found = (np.cumsum(one) / np.sum(one) for one in (self.counts, np.asarray(counts)))
        return float(np.abs(found - expected).max())


@dataclass(frozen=True)
class Profile:
    """What training looked like.

    Attributes:
        fields: by name, first the fields that every request has, then the stored features.
        clusters: share of the training holders in each cluster.
    """

    fields: Mapping[str, Field]
    clusters: Sequence[float]

    @classmethod
    def read(cls, document: Any, source: str) -> Profile:
        """A profile from its document, called `source` in messages.

        Raises:
            ClientError: when the document is not one.
        """
        found = document.get("schema_version") if isinstance(document, dict) else None
        if found != SCHEMA_VERSION:
            raise ClientError(f"{source} has schema_version {found!r}; expected {SCHEMA_VERSION}")
        try:
            fields = {
                name: Field(np.array(one["edges"], np.float64), np.array(one["counts"], np.int64))
                for name, one in document["fields"].items()
            }
            clusters = [float(share) for share in document["clusters"]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ClientError(f"{source} holds no profile of training: {type(error).__name__}: {error}") from error
        for name, one in fields.items():
            if one.counts.shape != (len(one.edges) + 1,) or one.counts.sum() < 1:
                raise ClientError(f"{source}: {name} has {len(one.edges)} edges and counts {one.counts.tolist()}")
        return cls(fields, clusters)


def of_fields(columns: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """The `fields` of a profile's document, from the columns (n,) of the training examples; NaN is missing.

    A field of which nothing is known is left out.
    """
    fields = {}
    for name, column in columns.items():
        values = column.astype(np.float64)
        values = values[~np.isnan(values)]
        if not len(values):
            continue
        # Quantiles that are values: of a count, no bin begins in the middle between two whole numbers.
        inner = np.quantile(values, np.arange(1, BINS) / BINS, method="inverted_cdf")
        edges = np.unique(inner)
        edges = edges[edges < values.max()]  # or the bin above the last edge would be empty in training
        counts = Field(edges, np.zeros(len(edges) + 1, np.int64)).count(values.tolist())
        fields[name] = {"edges": edges.tolist(), "counts": counts}
    return fields


def document(fields: Mapping[str, Any], clusters: Sequence[float]) -> dict[str, Any]:
    """A profile's document. fields: `of_fields`. clusters: share of the training holders in each cluster."""
    return {"schema_version": SCHEMA_VERSION, "fields": dict(fields), "clusters": list(clusters)}


def cluster_shift(expected: Sequence[float], counts: Mapping[int, int]) -> float:
    """Half the sum of the absolute differences between shares of clusters: 0 the same, 1 nothing in common.

    counts: requests by cluster, of which there is one at least; those of a cluster that training did not have count.
    """
    total = sum(counts.values())
    known = range(len(expected))
    unknown = sum(count for cluster, count in counts.items() if cluster not in known)
    different = sum(abs(counts.get(cluster, 0) / total - expected[cluster]) for cluster in known)
    return (different + unknown / total) / 2


def together(bins: int) -> int:
    """How many neighbours of so many bins of a profile make one bin of the index, which has ten or fewer."""
    return -(-bins // _BINS_OF_PSI)


def _merged(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.add.reduceat(counts, np.arange(0, len(counts), together(len(counts))))


def _shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = (counts + _HALF) / (counts.sum() + _HALF * len(counts))
    return shares
