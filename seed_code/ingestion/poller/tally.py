"""What the poller counts, for CloudWatch: sums of a minute, each with the project as its only dimension.

Polls                  answers that were used             Transactions   new ones
DuplicatesAcrossPages  known from an earlier page         Gaps           answers that share nothing with the last
SetAside               what is no transaction             SourceErrors   answers that are none, or none at all
SpooledEntries         events that wait                   Dropped        events that were given up
SourceLagSeconds       the source's clock less its newest transaction's time
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from seed_code.ingestion.poller.observation import Failure, Observation

__all__ = ["NAMESPACE", "Tally"]

NAMESPACE = "MLOps/Ingestion"
_COUNTS = ("Polls", "Transactions", "DuplicatesAcrossPages", "Gaps", "SetAside", "SourceErrors", "Dropped")


@dataclass
class Tally:
    """Counts since it was made, or last emptied."""

    counts: Counter[str] = field(default_factory=Counter)
    lags: list[int] = field(default_factory=list)

    def count(self, name: str, more: int = 1) -> None:
        """Add to a count."""
        if name not in _COUNTS:
            raise ValueError(f"no count is called {name!r}; expected one of {', '.join(_COUNTS)}")
        self.counts[name] += more

    def observed(self, seen: Observation | Failure) -> None:
        """Count what the source gave."""
        self.count("SetAside", len(seen.set_aside))
        if isinstance(seen, Failure):
            self.count("SourceErrors")
            return
        self.count("Polls")
        self.count("Transactions", len(seen.transactions))
        self.count("DuplicatesAcrossPages", seen.duplicates)
        self.count("Gaps", int(seen.gap))
        if seen.newest is not None:
            self.lags.append(seen.observed_at - seen.newest)

    def empty(self) -> "Tally":
        """All counts, which begin anew here."""
        taken = Tally(self.counts, self.lags)
        self.counts, self.lags = Counter(), []
        return taken

    def add(self, other: "Tally") -> None:
        """Take counts back that could not be told."""
        self.counts.update(other.counts)
        self.lags = other.lags + self.lags

    def metrics(self, project: str, spooled: int, at: int | None) -> list[dict[str, Any]]:
        """PutMetricData's MetricData. What was not counted is 0: a metric that is missing says that nobody counts.

        Args:
            spooled: events that wait now.
            at: the source's clock, in seconds since 1970; None leaves the time to CloudWatch.
        """
        common: dict[str, Any] = {"Dimensions": [{"Name": "Project", "Value": project}]}
        if at is not None:
            common["Timestamp"] = at
        values = {**{name: self.counts[name] for name in _COUNTS}, "SpooledEntries": spooled}
        told = [
            {"MetricName": name, "Value": float(value), "Unit": "Count", **common} for name, value in values.items()
        ]
        if self.lags:
            lags = {
                "SampleCount": float(len(self.lags)),
                "Sum": float(sum(self.lags)),
                "Minimum": float(min(self.lags)),
                "Maximum": float(max(self.lags)),
            }
            told.append({"MetricName": "SourceLagSeconds", "StatisticValues": lags, "Unit": "Seconds", **common})
        return told
