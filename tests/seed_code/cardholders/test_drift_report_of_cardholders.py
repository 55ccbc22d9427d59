"""What cardholders' drift report holds against what, and when it says nothing."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from seed_code.cardholders import drift_report, profile, window
from seed_code.cardholders.answers import FIELDS, Answer
from seed_code.cardholders.profile import Profile
from seed_code.cardholders.window import Window
from seed_code.common import monitoring
from seed_code.common.drift_report import Classification, Drift, Part, Table

T = datetime(2026, 3, 9, 6, tzinfo=UTC)
HOURS = 72
URI = "s3://bucket/model/profile.json"
OF = monitoring.Evaluation(
    project="p",
    workload="cardholders",
    stage="prod",
    time=T,
    endpoint="p-cardholders-prod",
    endpoint_config="deployment-1",
    model_package_arn="arn",
    model_version=3,
    root="s3://bucket/monitor/prod",
    capture_uri="s3://bucket/capture",
    experiment="p-cardholders",
)


def trained():
    random = np.random.default_rng(0)
    columns = {
        "usage_freq": random.poisson(40, 5000),
        "amount_spend": random.lognormal(6, 1, 5000),
        "uniq_merchant": random.poisson(10, 5000),
        "gap_mean": np.where(random.random(5000) < 0.3, np.nan, random.exponential(5, 5000)),
    }
    return profile.document(profile.of_fields(columns), [0.5, 0.3, 0.2])


def asked(number, shift=0.0, will_spend=0.6, seed=1):
    """Answers of the last day, of a population that spends more by `shift` (in logarithms)."""
    random = np.random.default_rng(seed)
    answers = []
    for at in range(number):
        probability = float(random.uniform(0, 1))
        fields = (int(random.poisson(40)), float(random.lognormal(6 + shift, 1)), int(random.poisson(10)))
        answers.append(
            Answer(
                inference_id=f"id-{at}",
                time=T - timedelta(days=1, minutes=-at),
                k=1,
                fields=fields,
                features={"gap_mean": float(random.exponential(5))} if at % 2 else {},
                predicted_cluster=int(random.choice(3, p=[0.5, 0.3, 0.2])),
                will_spend=probability >= will_spend,
                probability=probability,
            )
        )
    return answers


def bought(answers, seed=2):
    random = np.random.default_rng(seed)
    return [(answer, bool(random.random() < answer.probability)) for answer in answers]


class Kept:
    """What evaluations left in S3."""

    def __init__(self):
        self.documents = {URI: trained()}

    def read(self, uri):
        return json.loads(json.dumps(self.documents.get(uri, {})))

    def evaluated(self, of, answers, told, verdict=monitoring.SCORED, names=(*FIELDS, "gap_mean"), about=None):
        hours = Window(window.first_of(of.time, HOURS))
        hours.ask(answers, Profile.read(trained(), URI))
        hours.judge([(replace(answer, time=answer.time - timedelta(days=1)), happened) for answer, happened in told])
        self.documents[of.report_uri] = monitoring.report(
            of,
            verdict,
            "12 of 40 answers have feedback; 200 are needed.",
            {"BrierScore": 0.2, "LossThreshold": 0.25},
            fields=[{"name": name, "psi": 0.1, "ks": 0.1, "count": 300, "request": True} for name in names],
            profile=about or {"uri": URI},
        )
        self.documents[of.state_uri] = {"endpoint_config": of.endpoint_config, "hours": hours.document()}


@pytest.fixture
def kept():
    return Kept()


def parts_of(kept):
    return {part.name: part for part in drift_report.verdicts(OF, HOURS, 0.25, kept.read)}


def shares(column):
    known = [value for value in column if value is not None]
    return {value: known.count(value) / len(known) for value in sorted(set(known))}


def test_requests_are_held_against_training_in_its_own_bins(kept):
    answers = asked(600)
    kept.evaluated(OF, answers, bought(answers))
    parts = parts_of(kept)
    fields = parts["fields"]
    assert isinstance(fields, Drift)
    assert "600 requests within 72 hours (current)" in fields.text
    assert list(fields.thresholds) == [*FIELDS, "gap_mean"] == list(fields.categories)
    expected = shares(fields.reference["amount_spend"])
    assert list(expected) == sorted(expected)
    assert len(expected) == 10
    assert list(expected.values()) == pytest.approx([0.1] * 10, abs=0.001)
    assert next(iter(expected)).startswith("01: to ")
    assert list(expected)[-1].startswith("10: above ")
    assert set(shares(fields.current["amount_spend"])) == set(expected)
    assert sum(value is not None for value in fields.current["gap_mean"]) == 300
    assert len({len(column) for column in fields.current.values()}) == 1
    clusters = parts["clusters"]
    assert shares(clusters.reference["cluster"]) == pytest.approx(
        {"cluster 0": 0.5, "cluster 1": 0.3, "cluster 2": 0.2}
    )
    assert len(clusters.current["cluster"]) == 600


def test_the_index_of_the_report_is_that_of_the_evaluation(kept):
    """Evidently's, over these rows, is the index that the alarm is about, but for how empty bins are counted."""
    answers = asked(600, shift=0.5)
    kept.evaluated(OF, answers, [])
    part = parts_of(kept)["fields"]
    known = Profile.read(trained(), URI).fields["amount_spend"]
    current, reference = (shares(one["amount_spend"]) for one in (part.current, part.reference))
    index = sum((current[name] - share) * np.log(current[name] / share) for name, share in reference.items())
    assert index == pytest.approx(known.stability(known.count([answer.fields[1] for answer in answers])), rel=0.05)


def test_few_requests_are_drifted_only_beyond_chance(kept):
    answers = asked(60)
    kept.evaluated(OF, answers, [])
    assert parts_of(kept)["fields"].thresholds["amount_spend"] > 0.4


def test_answers_are_held_against_what_became_of_them_and_against_the_window_before(kept):
    answers = asked(300)
    kept.evaluated(OF, [], bought(answers), names=())
    alone = parts_of(kept)
    assert isinstance(alone["answers"], Classification)
    assert alone["answers"].reference is None
    assert "300 answers that came due within 72 hours and have feedback. An answer is a yes" in alone["answers"].text
    assert alone["answers"].threshold == pytest.approx(0.6, abs=0.02)
    assert isinstance(alone["calibration"], Table)
    assert sum(int(row[-1]) for row in alone["calibration"].rows) == 300

    earlier = replace(OF, time=T - timedelta(hours=HOURS))
    before = [replace(answer, time=answer.time - timedelta(hours=HOURS)) for answer in asked(80)]
    kept.evaluated(earlier, [], bought(before), names=())
    both = parts_of(kept)["answers"]
    assert len(both.reference["probability"]) == 80
    assert "against the 80 of the window before" in both.text

    kept.documents[earlier.state_uri]["endpoint_config"] = "deployment-0"
    assert parts_of(kept)["answers"].reference is None


@pytest.mark.parametrize(
    ("change", "part", "said"),
    [
        ({"names": ()}, "fields", "600 requests within 72 hours: they are too few to be compared."),
        (
            {"names": (), "about": {"uri": None, "missing": "the metadata has no `profile_uri`"}},
            "fields",
            "600 requests within 72 hours: the metadata has no `profile_uri`.",
        ),
        (
            {"verdict": monitoring.TOO_LITTLE_FEEDBACK},
            "answers",
            "12 answers with feedback within 72 hours. 12 of 40 answers have feedback; 200 are needed.",
        ),
        ({}, "answers", "12 answers with feedback within 72 hours. All of them had the same outcome."),
    ],
)
def test_too_little_is_said(kept, change, part, said):
    answers = asked(600)
    kept.evaluated(OF, answers, [(answer, True) for answer in answers[:12]], **change)
    found = parts_of(kept)[part]
    assert type(found) is Part
    assert found.text == said


def test_an_evaluation_that_was_not_finished_is_said(kept):
    (part,) = drift_report.verdicts(OF, HOURS, 0.25, kept.read)
    assert part.text == "There is no evaluation of deployment-1 at 2026-03-09T06:00:00Z that was finished."


def test_an_endpoint_that_was_not_there_is_no_failure(kept):
    kept.documents[OF.report_uri] = monitoring.report(OF, monitoring.ENDPOINT_FAILED, "There is no endpoint.", {})
    kept.documents[OF.state_uri] = {"endpoint_config": "deployment-1"}
    assert [(type(part), part.text) for part in parts_of(kept).values()] == [
        (Part, "0 requests within 72 hours: they are too few to be compared."),
        (Part, "0 answers with feedback within 72 hours. There is no endpoint."),
    ]


def test_the_table_has_the_hours(kept):
    kept.evaluated(OF, [], [])
    table = drift_report.hours([kept.read(OF.report_uri)])
    assert isinstance(table, Table)
    assert table.rows == [
        ("2026-03-09T05:00:00Z", 3, "scored", "", "", "0.2", "0.25", "", "", "", "", ""),
    ]
    assert drift_report.hours([]).text == "None of the last 24 hours was evaluated."


def test_many_rows_are_made_fewer_in_proportion():
    assert drift_report._expanded(["a", "b", "c"], [30_000, 1, 0]).count("a") == pytest.approx(2_000, abs=1)
    assert drift_report._expanded(["a", "b", "c"], [30_000, 1, 0]).count("b") == 1
    assert drift_report._expanded(["a", "b"], [2, 1]) == ["a", "a", "b"]
