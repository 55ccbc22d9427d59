"""The parts of the monitor that need no account: profile, captured answers, window, and what other steps leave it."""

import base64
import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import brier_score_loss

from seed_code.cardholders import answers, judgement, profile, purchase, quality, traffic, window
from seed_code.cardholders.answers import Answer
from seed_code.cardholders.features import FIELDS, STORED_FEATURE_NAMES
from seed_code.cardholders.profile import Profile
from seed_code.common import captured
from seed_code.common.errors import ClientError
from tests.seed_code.cardholders.monitored_stage import HOUR, answer, line, record, training_profile

TIME = datetime(2026, 3, 4, 5, 30, tzinfo=UTC)
_MEMBERS = (
    *("captureData", "eventMetadata", "endpointInput", "endpointOutput", "data"),
    *("inferenceTime", "eventId", "encoding", "observedContentType"),
)
_DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=9),
    lambda one: st.dictionaries(st.sampled_from(_MEMBERS), one, max_size=4),
    max_leaves=8,
)


def field_of(values):
    return Profile.read(profile.document(profile.of_fields({"x": np.asarray(values)}), [1.0]), "it").fields["x"]


class TestProfile:
    def test_bins_hold_equal_counts_and_add_up(self):
        field = field_of(np.random.default_rng(0).lognormal(3, 2, 2000))
        assert len(field.edges) == 19
        assert field.counts.tolist() == [100] * 20

    def test_equal_values_are_never_split(self):
        field = field_of([0] * 60 + [1] * 30 + [2] * 10)
        assert field.edges.tolist() == [0, 1]
        assert field.counts.tolist() == [60, 30, 10]
        assert field.count([0, 0.5, 1, 7]) == [1, 2, 1]

    def test_a_constant_field_has_one_bin(self):
        field = field_of([4] * 10)
        assert field.counts.tolist() == [10]
        assert field.stability([100]) == field.distance([100]) == 0

    def test_the_missing_are_left_out_and_a_field_of_which_nothing_is_known(self):
        found = profile.of_fields({"some": np.array([np.nan, 1.0, 2.0]), "none": np.full(3, np.nan)})
        assert sum(found["some"]["counts"]) == 2
        assert "none" not in found

    def test_the_same_population_is_near_and_another_far(self):
        random = np.random.default_rng(1)
        field = field_of(random.lognormal(5, 1, 20_000))
        same, other = (field.count(random.lognormal(mean, 1, 2000)) for mean in (5, 5.8))
        assert field.stability(same) < 0.02 < 0.25 < field.stability(other)
        assert field.distance(same) < 0.05 < 0.25 < field.distance(other)

    def test_the_distance_is_that_of_kolmogorov_and_smirnov_but_for_what_lies_within_a_bin(self):
        random = np.random.default_rng(2)
        training, requests = random.normal(0, 1, 5000), random.normal(0.4, 1.2, 800)
        field = field_of(training)
        exact = stats.ks_2samp(training, requests).statistic
        assert exact - 0.05 < field.distance(field.count(requests)) <= exact + 1e-12

    @pytest.mark.parametrize("requests", [100, 1000])
    def test_chance_is_the_quantile_of_the_index_without_a_shift(self, requests):
        field = field_of(np.arange(10_000))
        assert field.chance(requests) == pytest.approx(stats.chi2.ppf(0.9999, 9) / requests, rel=0.02)
        random = np.random.default_rng(3)
        found = [field.stability(field.count(random.integers(0, 10_000, requests))) for _ in range(500)]
        assert max(found) < field.chance(requests)

    def test_an_empty_bin_is_finite(self):
        field = field_of(np.arange(100))
        assert np.isfinite(field.stability([50] + [0] * 19))

    def test_clusters_shift_by_what_has_moved(self):
        assert profile.cluster_shift([0.75, 0.25], {0: 75, 1: 25}) == 0
        assert profile.cluster_shift([0.75, 0.25], {0: 25, 1: 75}) == 0.5
        assert profile.cluster_shift([0.75, 0.25], {7: 3}) == 1

    @pytest.mark.parametrize(
        ("document", "said"),
        [
            ([], "it has schema_version None; expected 1"),
            ({"schema_version": 2}, "it has schema_version 2; expected 1"),
            ({"schema_version": 1, "fields": {"x": {}}}, "it holds no profile of training: KeyError: 'edges'"),
            (
                {"schema_version": 1, "fields": {"x": {"edges": [1], "counts": [2]}}, "clusters": []},
                r"it: x has 1 edges and counts \[2\]",
            ),
        ],
    )
    def test_what_is_no_profile_is_named(self, document, said):
        with pytest.raises(ClientError, match=said):
            Profile.read(document, "it")


class TestAnswers:
    def read(self, text):
        return answers.answers_of(captured.of_line(text.encode()))

    def test_one_record(self):
        stored = {"gap_mean": 3, "gap_std": None}
        (found,) = self.read(line("me", TIME, record(6, name="C_Mason", features=stored), answer(0.75, 2)))
        assert found == Answer("me", TIME, 6, (10, 100, 5), {"gap_mean": 3}, 2, True, 0.75)
        assert found.due == TIME + timedelta(days=6)
        assert Answer.of(json.loads(json.dumps(found.document()))) == found

    @pytest.mark.parametrize("kind", ["application/json", "application/jsonlines"])
    def test_the_records_of_a_batch_have_names_of_their_own(self, kind):
        found = self.read(line("me", TIME, [record(1), record(9)], [answer(0.1), answer(0.9)], kind=kind))
        assert [(one.inference_id, one.k, one.probability) for one in found] == [("me-0", 1, 0.1), ("me-1", 9, 0.9)]

    def test_without_a_name_of_the_callers_it_is_the_event_s(self):
        text = line(None, TIME)
        assert self.read(text)[0].inference_id == json.loads(text)["eventMetadata"]["eventId"]

    def test_what_is_captured_as_base64(self):
        document = json.loads(line("me", TIME))
        for side in document["captureData"].values():
            side.update(encoding="BASE64", data=base64.b64encode(side["data"].encode()).decode())
        assert self.read(json.dumps(document)) == self.read(line("me", TIME))

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "torn",
            "[]",
            '"text"',
            "null",
            "{}",
            "[" * 100_000,
            line("me", TIME, []),
            line("me", TIME, [record()], [answer(), answer()]),
            line("me", TIME, [record()]),
            line("me", TIME, record(k=0)),
            line("me", TIME, record(k=10**30)),
            line("me", TIME, record(k=True)),
            line("me", TIME, record(amount_spend="1")),
            line("me", TIME, record(usage_freq=10**400)),
            line("me", TIME, record(features=[1])),
            line("me", TIME, record(features={"gap_mean": "x"})),
            line("me", TIME, "text"),
            line("me", TIME, record(), {"predicted_cluster": 0}),
            line("me", TIME, record(), {**answer(), "probability": float("nan")}),
            line("me", TIME, record(), {**answer(), "probability": 1.5}),
            line("me", TIME, record(), {**answer(), "will_spend": 1}),
            line("me", TIME).replace("2026-03-04T05:30:00Z", "yesterday"),
            line("me", TIME).replace("endpointOutput", "elsewhere"),
            line("me", TIME).replace("application/json", "text/csv").replace('"data": "{', '"data": "'),
        ],
    )
    def test_what_is_no_answer(self, text):
        with pytest.raises(ValueError, match=r"\S"):
            self.read(text)

    @settings(max_examples=40)
    @given(_DOCUMENTS)
    def test_no_line_is_worse_than_no_answer(self, document):
        with pytest.raises(ValueError, match=r"\S"):
            self.read(json.dumps(document))


def asked(identity="me", time=TIME, k=1, probability=0.25, cluster=0, **features):
    return Answer(identity, time, k, (10, 100, 5), features, cluster, probability >= 0.5, probability)


class TestWindow:
    FIRST = datetime(2026, 3, 4, 0, tzinfo=UTC)

    def test_a_window_begins_at_a_full_hour(self):
        at = datetime(2026, 3, 4, 5, tzinfo=UTC)
        assert window.first_of(at, 3) == at - 3 * HOUR
        assert window.first_of(at + timedelta(minutes=1), 3) == at - 2 * HOUR
        assert window.first_of(at + timedelta(minutes=59), 1) == at

    def test_it_is_the_same_after_it_was_kept(self):
        known = Profile.read(training_profile(), "it")
        before = window.Window(self.FIRST)
        before.ask([asked(), asked(gap_mean=3.0, cluster=4)], known)
        before.due([asked()])
        before.judge([(asked(), True), (asked(probability=0.875), False)])
        after = window.Window.of(self.FIRST, json.loads(json.dumps(before.document())))
        assert after.document() == before.document()
        assert (after.requests, after.came_due, after.feedback) == (2, 1, 2)
        assert after.quality() == before.quality()
        assert after.quality()["BrierScore"] == pytest.approx((0.75**2 + 0.875**2) / 2)
        assert after.quality()["Accuracy"] == 0

    def test_what_has_left_it_is_forgotten(self):
        kept = window.Window(self.FIRST)
        kept.ask([asked(time=self.FIRST - timedelta(seconds=1))], None)
        kept.judge([(asked(time=self.FIRST - 2 * timedelta(days=1)), True)])
        assert (kept.requests, kept.feedback, kept.document()) == (0, 0, {})
        kept.ask([asked()], None)
        assert window.Window.of(TIME + HOUR, kept.document()).requests == 0

    def test_it_keeps_the_newest_of_very_many(self):
        full = window.Window(self.FIRST)
        full.judge([(asked(probability=0.0), True)] * 15_000)
        full.judge([(asked(time=TIME + HOUR, probability=1.0), True)] * 15_000)
        assert full.feedback == window.MOST_JUDGED
        assert full.quality()["Accuracy"] == 0.75

    def test_only_fields_that_enough_have_sent_are_held_against_training(self):
        known = Profile.read(training_profile(), "it")
        some = window.Window(self.FIRST)
        some.ask([asked()] * 9 + [asked(gap_mean=1.0)] * 11, known)
        assert {one.name: one.count for one in some.shifts(known, 20)} == dict.fromkeys(FIELDS, 20)
        assert [one.name for one in some.shifts(known, 11)] == [*FIELDS, "gap_mean"]
        assert some.shifts(known, 21) == []


def test_the_measures_are_those_of_scikit_learn():
    random = np.random.default_rng(4)
    labels, probability = random.random(500) < 0.4, random.random(500)
    assert quality.brier(labels, probability) == pytest.approx(brier_score_loss(labels, probability))
    assert quality.accuracy(labels, labels) == 1


class TestBound:
    def bound(self, feedback, spread=0.5):
        random = np.random.default_rng(5)
        probability = np.clip(random.random(4000) * spread, 0.01, 0.99)
        labels = random.random(4000) < probability
        found = judgement.brier_bound(labels, probability, np.full(4000, labels.mean()), feedback)
        return labels, probability, found

    def test_few_scores_of_so_many_answers_lie_above_it(self):
        labels, probability, found = self.bound(200)
        errors = (probability - labels) ** 2
        scores = np.random.default_rng(6).choice(errors, (20_000, 200)).mean(axis=1)
        assert np.mean(scores > found["with_features"]) == pytest.approx(1 - found["share"], abs=0.0007)

    def test_it_is_that_of_the_callers_who_are_answered_less_well(self):
        *_, found = self.bound(200, spread=1.0)
        assert found["with_features"] < found["fields_only"] == found["upper"]

    def test_it_nears_the_score_with_more_of_them(self):
        labels, probability, many = self.bound(100_000)
        score = quality.brier(labels, probability)
        assert (
            score < many["with_features"] < self.bound(1000)[2]["with_features"] < self.bound(200)[2]["with_features"]
        )
        assert many["with_features"] == pytest.approx(score, abs=0.003)


class TestPackaged:
    def test_the_manifest_has_the_profile_and_it_lies_beside_the_model(self, packaged, prepared):
        beside = json.loads((packaged / "profile.json").read_text())
        assert beside == json.loads((packaged / "manifest.json").read_text())["profile"]
        found = Profile.read(beside, "it")
        assert tuple(found.fields)[:3] == FIELDS
        assert set(found.fields) == {*FIELDS, *STORED_FEATURE_NAMES} - {*purchase.CALENDAR, "days_since_first"}
        assert sum(found.clusters) == pytest.approx(1)
        train = pd.read_parquet(prepared / "train" / "examples.parquet")
        uses = found.fields["usage_freq"]
        assert uses.counts.tolist() == uses.count(train["usage_freq"].tolist())


class TestTraffic:
    def test_the_same_arguments_give_the_same_callers(self, synthetic):
        examples = synthetic.examples(40, 2, "2014-05-05")
        first = traffic.traffic(examples, 100, 9, 0, drifted=False)
        assert first == traffic.traffic(examples, 100, 9, 0, drifted=False)
        assert first != traffic.traffic(examples, 100, 9, 1, drifted=False)
        assert {one["request"]["k"] for one in first} == set(range(1, 10))

    def test_requests_are_answerable_and_right(self, scorer, synthetic):
        examples = synthetic.examples(200, 3, "2014-05-05")
        score = {}
        for drifted in (False, True):
            callers = traffic.traffic(examples, 600, 30, 0, drifted=drifted)
            said = scorer.answer([one["request"] for one in callers])
            bought = [(one["days_to_purchase"] or 99) <= one["request"]["k"] for one in callers]
            score[drifted] = brier_score_loss(bought, [one["probability"] for one in said])
        assert score[False] < 0.2 < 0.3 < score[True]

    def test_drifted_holders_are_others(self, synthetic):
        examples = synthetic.examples(200, 3, "2014-05-05")
        known = Profile.read(
            profile.document(profile.of_fields({name: examples[name].to_numpy() for name in FIELDS}), [1.0]), "it"
        )
        for drifted in (False, True):
            callers = traffic.traffic(examples, 600, 30, 0, drifted=drifted)
            for name, field in known.fields.items():
                found = field.stability(field.count([one["request"][name] for one in callers]))
                assert (found > 0.25) == drifted, name
