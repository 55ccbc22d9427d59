"""Cardholders' drift report: who asked lately against who was trained on, and how good the answers were.

python3 -m seed_code.cardholders.drift_report --project … --stage … (as `seed_code/common/monitoring.py` has them)
    --window-hours 72 --max-psi 0.25 [--reason WHY]

in    the hours' reports and the states of the evaluations at --evaluation-time and before it; the training profile
out   {--monitor-uri}/{--stage}/drift/…/report.html, report.json; see `seed_code/common/drift_report.py`
env   MLFLOW_TRACKING_URI    the page also goes to the run of the deployment's evaluations

It is about what the evaluation at --evaluation-time was about: the window of --window-hours, and of it what there was
enough of for a verdict. Fields are held against training in the bins of the training profile, ten of them, as the
evaluation's own index is: a profile holds no values, and needs to hold none. A field has drifted from a population
stability index of --max-psi, or, where requests are few, from what chance alone would bring (`profile.Field.chance`).
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np

from seed_code.cardholders import quality, window
from seed_code.cardholders.profile import Field, Profile, together
from seed_code.cardholders.window import Hour
from seed_code.common import drift_report, monitoring, monitoring_store
from seed_code.common.arguments import whole_number
from seed_code.common.clients import client
from seed_code.common.drift_report import PSI, Classification, Columns, Drift, Part, Table, figure
from seed_code.common.failure import reports_failure
from seed_code.common.monitoring import DAY, SCORED, Evaluation, moment
from seed_code.common.objects import Objects

WORKLOAD = "cardholders"
MOST_ROWS = 2_000  # of a column, enough for shares: beyond it counts are made smaller, in proportion
LEAST_BEFORE = 50  # answers of the window before, below which there is no comparing with it

# Of the hours' metrics, those that the table has.
_SHOWN = {
    "Requests": "Requests",
    "Feedback": "Feedback",
    "Brier score": "BrierScore",
    "Threshold": "LossThreshold",
    "Accuracy": "Accuracy",
    "Calibration error": "CalibrationError",
    "Largest index": "PopulationStabilityIndex",
    "Shift of clusters": "ClusterShift",
}

Read = Callable[[str], Any]


@dataclass(frozen=True)
class Judged:
    """Answers of which it is known what became of them.

    Attributes:
        probability: that was answered.
        purchased: 0 or 1.
        threshold: the probability from which the answer was a yes.
    """

    probability: Sequence[float]
    purchased: Sequence[int]
    threshold: float

    @classmethod
    def of(cls, hours: Iterable[Hour]) -> "Judged":
        """What the hours hold of them."""
        judged = [one for hour in hours for one in hour.judged]
        said = [probability for probability, _, yes in judged if yes]
        return cls([one[0] for one in judged], [int(one[1]) for one in judged], min(said, default=1.0))

    @property
    def columns(self) -> Columns:
        return {"probability": self.probability, "purchased": self.purchased}

    @property
    def both(self) -> bool:
        """Whether there is a purchase among them and one that did not happen."""
        return len(set(self.purchased)) == 2


@reports_failure
def main() -> None:
    """Make the report that the arguments ask for."""
    parser = drift_report.parser("Makes cardholders' drift report.")
    parser.add_argument("--window-hours", required=True, type=whole_number(1, 24 * 366), help="of an evaluation")
    parser.add_argument("--max-psi", required=True, type=float, help="index from which a field has drifted")
    arguments = parser.parse_args()
    of = monitoring.evaluation(arguments, WORKLOAD)
    objects = Objects(client("s3"))

    def read(uri: str) -> Any:
        content = objects.get(uri)
        return {} if content is None else monitoring_store.document_of(uri, content)

    parts = [
        hours(drift_report.evaluations(objects, of, of.time - DAY)),
        *verdicts(of, arguments.window_hours, arguments.max_psi, read),
    ]
    drift_report.publish(of, arguments.reason, parts, objects)


def hours(reports: Sequence[Mapping[str, Any]]) -> Part:
    """The last day's hours as their evaluations found them."""
    return drift_report.hours(reports, "24 hours", _SHOWN)


def verdicts(of: Evaluation, window_hours: int, max_psi: float, read: Read) -> list[Part]:
    """What the evaluation's window holds.

    Args:
        read: gives the document at an address; an empty one when there is none.
    """
    report, state = read(of.report_uri), read(of.state_uri)
    if not report or state.get("endpoint_config") != of.endpoint_config:
        told = f"There is no evaluation of {of.endpoint_config} at {monitoring.iso(of.time)} that was finished."
        return [Part("evaluation", "The evaluation", told)]
    found = _within(state, window.first_of(of.time, window_hours))
    earlier = of.time - timedelta(hours=window_hours)
    state_before = read(f"{of.root}/state/{earlier:%Y/%m/%d}/{monitoring.stamp(earlier)}.json")
    same = state_before.get("endpoint_config") == of.endpoint_config
    before = _within(state_before, window.first_of(earlier, window_hours)) if same else []
    return [
        *fields(report, found, window_hours, max_psi, read),
        *answers(report, Judged.of(found), Judged.of(before), window_hours),
    ]


def fields(
    report: Mapping[str, Any], found: Sequence[Hour], window_hours: int, max_psi: float, read: Read
) -> list[Part]:
    """Requests against training: the fields, and the clusters."""
    title = "Requests against training"
    requests = sum(hour.requests for hour in found)
    about = report.get("profile", {})
    names = [one["name"] for one in report.get("fields", ())]
    if not names:
        why = about.get("missing") or "they are too few to be compared"
        return [Part("fields", title, f"{requests} requests within {window_hours} hours: {why}.")]
    profile = Profile.read(read(about["uri"]), about["uri"])
    counts = {name: _summed(hour.counts[name] for hour in found if name in hour.counts) for name in names}
    text = (
        f"{requests} requests within {window_hours} hours (current) against the examples that the model was trained on "
        "(reference), counted into ten bins of as many examples each."
    )
    clusters = _clusters(found)
    shares = [round(MOST_ROWS * share) for share in profile.clusters]
    labels = [f"cluster {number}" for number in range(max(len(shares), max(clusters, default=-1) + 1))]
    return [
        Drift(
            "fields",
            title,
            text,
            _padded({name: _binned(profile.fields[name], counts[name]) for name in names}),
            _padded({name: _binned(profile.fields[name], profile.fields[name].counts.tolist()) for name in names}),
            {name: max(max_psi, profile.fields[name].chance(sum(counts[name]))) for name in names},
            PSI,
            categories=names,
        ),
        Drift(
            "clusters",
            "Clusters against training",
            "The clusters of those requests (current) against those of the holders that were trained on (reference).",
            {"cluster": _expanded(labels, [clusters.get(number, 0) for number in range(len(labels))])},
            {"cluster": _expanded(labels, [*shares, *[0] * (len(labels) - len(shares))])},
            {"cluster": max_psi},
            PSI,
            categories=("cluster",),
        ),
    ]


def answers(report: Mapping[str, Any], found: Judged, before: Judged, window_hours: int) -> list[Part]:
    """The answers that came due against what became of them."""
    title, count = "Answers against what became of them", len(found.probability)
    if report["verdict"] != SCORED or not found.both:
        why = report["reason"] if report["verdict"] != SCORED else "All of them had the same outcome."
        return [Part("answers", title, f"{count} answers with feedback within {window_hours} hours. {why}")]
    told = f"{count} answers that came due within {window_hours} hours and have feedback"
    compared = len(before.probability) >= LEAST_BEFORE and before.both
    if compared:
        told += f" (current), against the {len(before.probability)} of the window before (reference)"
    bins = quality.calibration_bins(np.array(found.purchased, np.bool_), np.array(found.probability))
    return [
        Classification(
            "answers",
            title,
            f"{told}. An answer is a yes from a probability of {found.threshold:.4g}.",
            found.columns,
            before.columns if compared else None,
            "probability",
            "purchased",
            found.threshold,
        ),
        Table(
            "calibration",
            "Calibration",
            "Those answers in bins of as many each, by probability: what was predicted, and what happened.",
            ("From", "To", "Predicted", "Happened", "Answers"),
            [
                tuple(figure(one[name]) for name in ("lower", "upper", "mean_predicted", "observed", "count"))
                for one in bins
            ],
        ),
    ]


def _within(state: Mapping[str, Any], first: Any) -> list[Hour]:
    """The hours of a state that begin at `first` or later."""
    return [Hour.of(hour) for begin, hour in sorted(state.get("hours", {}).items()) if moment(begin) >= first]


def _clusters(found: Iterable[Hour]) -> dict[int, int]:
    clusters: dict[int, int] = {}
    for hour in found:
        for cluster, count in hour.clusters.items():
            clusters[cluster] = clusters.get(cluster, 0) + count
    return clusters


def _summed(counts: Iterable[Sequence[int]]) -> list[int]:
    return [int(sum(column)) for column in zip(*counts, strict=True)]


def _binned(field: Field, counts: Sequence[int]) -> list[str]:
    """A row for each value, named by its bin: neighbours of the profile's bins together, so that there are ten."""
    step = together(len(counts))
    edges = [f"{edge:.4g}" for edge in field.edges[step - 1 :: step]]
    # Numbered, so that they stand in their order wherever they are sorted.
    named = [*(f"to {edge}" for edge in edges), f"above {edges[-1]}" if edges else "all"]
    labels = [f"{number:02}: {name}" for number, name in enumerate(named, 1)]
    return _expanded(labels, [sum(counts[start : start + step]) for start in range(0, len(counts), step)])


def _expanded(labels: Sequence[str], counts: Sequence[int]) -> list[str]:
    """A row for each one counted, at most MOST_ROWS of them (and one where there is one)."""
    scale = min(1.0, MOST_ROWS / max(sum(counts), 1))
    return [label for label, count in zip(labels, counts, strict=True) for _ in range(math.ceil(count * scale))]


def _padded(columns: Mapping[str, list[str]]) -> dict[str, list[str | None]]:
    """Columns of one length: what is missing at the end counts nowhere."""
    length = max(map(len, columns.values()))
    return {name: [*values, *[None] * (length - len(values))] for name, values in columns.items()}


if __name__ == "__main__":
    main()
