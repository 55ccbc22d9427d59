"""What the monitor knows of the newest hours: a sum for each hour, of which the state of an evaluation is made.

Requests belong to the hour in which they were asked; what became of answers, whenever it was told, to the hour in which
they came due. An hour that has left the window is forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from seed_code.cardholders import profile, quality
from seed_code.cardholders.answers import FIELDS, Answer
from seed_code.cardholders.profile import Profile
from seed_code.common.monitoring import HOUR, iso, moment

MOST_JUDGED = 20_000  # answers that a window keeps: beyond it the newest hours suffice, and the state stays small
_DIGITS = 6


@dataclass
class Hour:
    """One hour's sums.

    Attributes:
        requests: records asked about.
        counts: of each profiled field that was sent, the requests in each of its bins.
        clusters: requests by predicted cluster.
        due: answers of this deployment that came due.
        judged: of those whose outcome was told: probability, whether there was a purchase, and `will_spend`.
    """

    requests: int = 0
    counts: dict[str, list[int]] = field(default_factory=dict)
    clusters: dict[int, int] = field(default_factory=dict)
    due: int = 0
    judged: list[tuple[float, bool, bool]] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "requests": self.requests,
            "counts": self.counts,
            "clusters": {str(cluster): count for cluster, count in sorted(self.clusters.items())},
            "due": self.due,
            "judged": [[probability, int(bought), int(said)] for probability, bought, said in self.judged],
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Hour:
        """From its document."""
        return cls(
            document["requests"],
            {name: list(counts) for name, counts in document["counts"].items()},
            {int(cluster): count for cluster, count in document["clusters"].items()},
            document["due"],
            [(probability, bool(bought), bool(said)) for probability, bought, said in document["judged"]],
        )


@dataclass(frozen=True)
class Shift:
    """How far the requests of the window are from training in one field."""

    name: str
    count: int
    psi: float
    ks: float
    chance: float


class Window:
    """The hours that begin at `first` or later."""

    def __init__(self, first: datetime, hours: Mapping[datetime, Hour] | None = None) -> None:
        """first: the beginning of the oldest hour. hours: by their beginnings; older ones are left out."""
        self._first = first
        self._hours = {begin: hour for begin, hour in (hours or {}).items() if begin >= first}

    @classmethod
    def of(cls, first: datetime, document: Mapping[str, Any]) -> Window:
        """From its document, as far as it is still in the window."""
        return cls(first, {moment(begin): Hour.of(hour) for begin, hour in document.items()})

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {iso(begin): hour.document() for begin, hour in sorted(self._hours.items())}

    # --- what comes in --------------------------------------------------------------------------------------------

    def ask(self, answers: Sequence[Answer], known: Profile | None) -> None:
        """Count requests. known: the training profile, if there is one."""
        for begin, asked in self._by_hour([(answer.time, answer) for answer in answers]).items():
            hour = self._hours.setdefault(begin, Hour())
            hour.requests += len(asked)
            for answer in asked:
                hour.clusters[answer.predicted_cluster] = hour.clusters.get(answer.predicted_cluster, 0) + 1
            for name, one in (known.fields if known else {}).items():
                values = _values(name, asked)
                if values:
                    before = hour.counts.get(name, [0] * len(one.counts))
                    hour.counts[name] = [a + b for a, b in zip(before, one.count(values), strict=True)]

    def due(self, answers: Sequence[Answer]) -> None:
        """Count answers that came due."""
        for begin, asked in self._by_hour([(answer.due, answer) for answer in answers]).items():
            self._hours.setdefault(begin, Hour()).due += len(asked)

    def judge(self, answers: Sequence[tuple[Answer, bool]]) -> None:
        """Take up what became of answers: whether there was a purchase."""
        for begin, told in self._by_hour([(answer.due, (answer, bought)) for answer, bought in answers]).items():
            self._hours.setdefault(begin, Hour()).judged += [
                (round(answer.probability, _DIGITS), bought, answer.will_spend) for answer, bought in told
            ]
        left = MOST_JUDGED
        for _, hour in sorted(self._hours.items(), reverse=True):
            hour.judged = hour.judged[-left:] if left else []
            left -= len(hour.judged)

    def _by_hour(self, entries: Sequence[tuple[datetime, Any]]) -> dict[datetime, list[Any]]:
        hours: dict[datetime, list[Any]] = {}
        for time, entry in entries:
            begin = time.replace(minute=0, second=0)
            if begin >= self._first:
                hours.setdefault(begin, []).append(entry)
        return hours

    # --- what comes of it -----------------------------------------------------------------------------------------

    @property
    def requests(self) -> int:
        """Records asked about in the window."""
        return sum(hour.requests for hour in self._hours.values())

    @property
    def came_due(self) -> int:
        """Answers that came due in the window."""
        return sum(hour.due for hour in self._hours.values())

    @property
    def feedback(self) -> int:
        """Answers that came due in the window and of which it was told what became of them."""
        return sum(len(hour.judged) for hour in self._hours.values())

    def quality(self) -> dict[str, float]:
        """Brier score, accuracy and calibration error, by CloudWatch's names; of one answer at least."""
        judged = [one for _, hour in sorted(self._hours.items()) for one in hour.judged]
        probability = np.array([one[0] for one in judged], np.float64)
        labels, said = (np.array([one[place] for one in judged], np.bool_) for place in (1, 2))
        return {
            "BrierScore": quality.brier(labels, probability),
            "Accuracy": quality.accuracy(labels, said),
            "CalibrationError": quality.calibration_error(quality.calibration_bins(labels, probability)),
        }

    def shifts(self, known: Profile, least: int) -> list[Shift]:
        """How far each field is from training that at least `least` requests of the window sent."""
        found = []
        for name, one in known.fields.items():
            sent = [hour.counts[name] for hour in self._hours.values() if name in hour.counts]
            counts = np.sum(sent, axis=0).tolist() if sent else [0]
            if (total := sum(counts)) >= least:
                found.append(Shift(name, total, one.stability(counts), one.distance(counts), one.chance(total)))
        return found

    def clusters(self) -> dict[int, int]:
        """Requests of the window by predicted cluster."""
        found: dict[int, int] = {}
        for hour in self._hours.values():
            for cluster, count in hour.clusters.items():
                found[cluster] = found.get(cluster, 0) + count
        return found

    def cluster_shift(self, known: Profile) -> float:
        """See `profile.cluster_shift`; of one request at least."""
        return profile.cluster_shift(known.clusters, self.clusters())


def first_of(time: datetime, hours: int) -> datetime:
    """The beginning of the oldest hour of a window of so many hours that ends at a time."""
    newest = (time - timedelta(seconds=1)).replace(minute=0, second=0, microsecond=0)
    return newest - (hours - 1) * HOUR


def _values(name: str, answers: Sequence[Answer]) -> list[float]:
    if name in FIELDS:
        place = FIELDS.index(name)
        return [answer.fields[place] for answer in answers]
    return [answer.features[name] for answer in answers if name in answer.features]
