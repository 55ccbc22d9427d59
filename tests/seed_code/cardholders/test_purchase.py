"""The purchase model: order in k, certainty, degenerate training data, and what it must beat."""

import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seed_code.cardholders import baselines, calibration, frames, metrics, purchase
from seed_code.cardholders.baselines import GAP_FEATURES, Baselines
from seed_code.cardholders.features import STORED_FEATURE_NAMES, STORED_FEATURES
from seed_code.cardholders.purchase import CALENDAR, Columns
from seed_code.common import hyperparameters
from seed_code.common.errors import ClientError

SETTINGS = {**hyperparameters.parse({}, purchase.TUNABLES), "max_iterations": 15, "min_samples_leaf": 20}
COLUMNS = Columns(STORED_FEATURE_NAMES)


@pytest.fixture(scope="module")
def frames_of_three(synthetic):
    return tuple(
        synthetic.examples(200, 6, first, seed) for seed, first in enumerate(("2014-01-06", "2014-04-07", "2014-07-07"))
    )


@pytest.fixture(scope="module")
def fitted(frames_of_three):
    train, validation, _ = frames_of_three
    return purchase.fit(train, validation, STORED_FEATURE_NAMES, SETTINGS)


def _value(feature):
    low = feature.minimum if feature.minimum is not None else -1e6
    high = feature.maximum if feature.maximum is not None else 1e6
    known = st.integers(int(low), int(high)) if feature.kind == "int" else st.floats(low, high)
    return st.one_of(st.just(np.nan), known.map(float))


@settings(max_examples=60)
@given(
    fields=st.tuples(st.integers(0, 10**6), st.floats(0, 1e9), st.integers(0, 10**5)),
    stored=st.one_of(
        st.just([np.nan] * len(STORED_FEATURES)), st.tuples(*(_value(feature) for feature in STORED_FEATURES)).map(list)
    ),
)
def test_probability_never_falls_with_k_and_is_never_certain(scorer, fields, stored):
    days = np.arange(1, 31)
    probability = scorer._purchase.probability(
        np.tile(np.array(fields, float), (30, 1)), np.tile(stored, (30, 1)), days
    )
    assert (np.diff(probability) >= 0).all()
    assert (probability > 0).all()
    assert (probability < 1).all()


def test_probability_never_falls_with_k_on_real_shapes(fitted, frames_of_three):
    model, _ = fitted
    holdout = frames_of_three[2].iloc[:300]
    days = np.tile(np.arange(1, 31), len(holdout))
    for stored in (holdout[list(STORED_FEATURE_NAMES)].to_numpy(float), np.full((300, len(STORED_FEATURES)), np.nan)):
        probability = model.probability(np.repeat(frames.fields(holdout), 30, 0), np.repeat(stored, 30, 0), days)
        by_k = probability.reshape(-1, 30)
        assert (np.diff(by_k, axis=1) >= 0).all()
        assert (by_k[:, -1] > by_k[:, 0]).any()


def test_working_days_ahead_are_those_of_the_calendar():
    first = datetime.date(2024, 1, 1)  # a Monday
    for weekday in range(7):
        stored = np.full((60, len(STORED_FEATURES)), np.nan)
        stored[:, STORED_FEATURE_NAMES.index("weekday")] = weekday
        days = np.arange(1, 61)
        working = COLUMNS.inputs(np.zeros((60, 3)), stored, days)[:, -4]
        start = np.datetime64(first + datetime.timedelta(days=weekday))
        np.testing.assert_array_equal(working, np.busday_count(start + 1, start + 1 + days))


def test_expected_purchase_days_follow_the_holders_weekdays():
    stored = np.full((8, len(STORED_FEATURES)), np.nan)
    stored[:, STORED_FEATURE_NAMES.index("active_day_share")] = 2 / 7
    for day, share in enumerate([0, 0.5, 0, 0, 0.5, 0, 0], start=1):
        stored[:, STORED_FEATURE_NAMES.index(f"weekday_share_ahead_{day}")] = share
    expected = COLUMNS.inputs(np.zeros((8, 3)), stored, np.arange(1, 9))[:, -2]
    np.testing.assert_allclose(expected, [0, 1, 1, 1, 2, 2, 2, 2])


def test_calendar_alone_is_no_history():
    stored = np.full((2, len(STORED_FEATURES)), np.nan)
    for name in CALENDAR:
        stored[:, STORED_FEATURE_NAMES.index(name)] = 1
    stored[1, STORED_FEATURE_NAMES.index("recency_days")] = 3
    assert COLUMNS.without_history(stored).tolist() == [True, False]


def test_it_beats_the_base_rate_with_and_without_stored_features(fitted, frames_of_three):
    model, report = fitted
    holdout = frames_of_three[2]
    days = np.random.default_rng(0).integers(1, 31, len(holdout))
    labels = holdout["days_to_next"].to_numpy() <= days
    fields, stored = frames.fields(holdout), holdout[list(STORED_FEATURE_NAMES)].to_numpy(float)
    ours = metrics.probability_metrics(labels, model.probability(fields, stored, days))
    bare = metrics.probability_metrics(labels, model.probability(fields, np.full_like(stored, np.nan), days))
    base = Baselines.from_document(report["baselines"]).base_rate_probability(days)
    base = metrics.probability_metrics(labels, base)
    for found in (ours, bare):
        assert found["roc_auc"] > base["roc_auc"] + 0.1
        assert found["log_loss"] < base["log_loss"]
        assert found["calibration_error"] < 0.1


def test_the_same_examples_give_the_same_model(fitted, frames_of_three):
    train, validation, holdout = frames_of_three
    again, report = purchase.fit(train.copy(), validation.copy(), STORED_FEATURE_NAMES, SETTINGS)
    assert report == fitted[1]
    stored = holdout[list(STORED_FEATURE_NAMES)].to_numpy(float)
    days = np.full(len(holdout), 7)
    np.testing.assert_array_equal(
        again.probability(frames.fields(holdout), stored, days),
        fitted[0].probability(frames.fields(holdout), stored, days),
    )


@pytest.mark.parametrize(("to_next", "state"), [(np.nan, "no example has a purchase"), (1.0, "every example has")])
def test_one_class_is_refused_with_the_reason(frames_of_three, to_next, state):
    train, validation, _ = frames_of_three
    with pytest.raises(ClientError, match=rf"train: {state}.*only one class.*2014-01-06 to .*Bring transactions"):
        purchase.fit(train.assign(days_to_next=to_next), validation, STORED_FEATURE_NAMES, SETTINGS)
    with pytest.raises(ClientError, match=rf"validation: {state}"):
        purchase.fit(train, validation.assign(days_to_next=to_next), STORED_FEATURE_NAMES, SETTINGS)


def test_a_label_on_or_before_its_reference_date_is_refused(frames_of_three):
    train, validation, _ = frames_of_three
    leaking = train.assign(days_to_next=train["days_to_next"].where(train.index != 5, 0.0))
    with pytest.raises(ClientError, match=r"`days_to_next` is 0 in a row.*strictly after"):
        purchase.fit(leaking, validation, STORED_FEATURE_NAMES, SETTINGS)


def test_a_feature_that_nobody_has_does_not_matter(frames_of_three):
    train, validation, _ = frames_of_three
    model, _ = purchase.fit(train.assign(gap_std=np.nan), validation, STORED_FEATURE_NAMES, SETTINGS)
    stored = validation[list(STORED_FEATURE_NAMES)].to_numpy(float)
    assert np.isfinite(model.probability(frames.fields(validation), stored, np.full(len(stored), 3))).all()


def test_months_never_seen_do_not_matter(fitted, frames_of_three):
    model, _ = fitted
    fields, stored = frames.fields(frames_of_three[2]), frames_of_three[2][list(STORED_FEATURE_NAMES)].to_numpy(float)
    days, other = np.full(len(stored), 5), stored.copy()
    other[:, STORED_FEATURE_NAMES.index("month_of_year")] = 12
    np.testing.assert_array_equal(model.probability(fields, stored, days), model.probability(fields, other, days))


def test_validation_without_features_is_refused(frames_of_three):
    train, validation, _ = frames_of_three
    bare = validation.assign(**dict.fromkeys(STORED_FEATURE_NAMES, np.nan))
    with pytest.raises(ClientError, match="no example has a stored feature"):
        purchase.fit(train, bare, STORED_FEATURE_NAMES, SETTINGS)


def test_features_that_the_model_builds_on_must_be_there(frames_of_three):
    train, validation, _ = frames_of_three
    with pytest.raises(ClientError, match="lack weekday, month"):
        purchase.fit(train, validation, STORED_FEATURE_NAMES[:-3], SETTINGS)


def test_an_example_is_asked_about_different_days(frames_of_three):
    rows, days = purchase._expand(frames_of_three[0], 30, 3, 10**6, np.random.default_rng(0))
    by_example = days.reshape(-1, 3)
    assert rows.tolist() == np.repeat(np.arange(len(frames_of_three[0])), 3).tolist()
    assert ((by_example >= [1, 11, 21]) & (by_example <= [10, 20, 30])).all()
    assert set(days.tolist()) == set(range(1, 31))
    rows, days = purchase._expand(frames_of_three[0], 30, 3, 300, np.random.default_rng(0))
    assert len(rows) == len(days) == 300


class TestCalibration:
    def test_it_finds_the_map_that_distorted_the_scores(self):
        random = np.random.default_rng(0)
        score = random.normal(0, 2, 20000)
        labels = random.random(20000) < 1 / (1 + np.exp(-(0.5 * score - 1)))
        probability = calibration.fit(score, labels).probability(score)
        assert metrics.calibration_error(metrics.calibration_bins(labels, probability)) < 0.015

    def test_it_increases_even_where_the_labels_fall(self):
        random = np.random.default_rng(0)
        score = random.normal(0, 2, 2000)
        labels = random.random(2000) < 1 / (1 + np.exp(score))
        fitted = calibration.fit(score, labels)
        assert (np.diff(fitted.probability(np.linspace(-20, 20, 400))) > 0).all()

    @given(st.floats(-1e6, 1e6))
    def test_it_is_never_certain(self, log_odds):
        probability = calibration.BetaCalibration(3.0, 2.0, 1.0).probability(np.array([log_odds]))
        assert 0 < probability[0] < 1

    def test_one_class_is_refused(self):
        with pytest.raises(ClientError, match="all labels are the same"):
            calibration.fit(np.zeros(5), np.ones(5, bool))


@pytest.fixture(scope="module")
def population():
    """20,000 holders whose daily rates are gamma (shape 2, rate 20 days), seen for 120 days."""
    random = np.random.default_rng(0)
    rate = random.gamma(2, 1 / 20, 20000)
    to_next = np.ceil(random.exponential(1 / rate))
    known = np.column_stack([random.poisson(rate * 120) / 120, np.full(20000, 200.0)])
    return np.where(to_next <= 30, to_next, np.nan), known


class TestBaselines:
    def test_the_gap_model_recovers_the_population_and_is_calibrated(self, population):
        to_next, known = population
        fitted = baselines.fit(to_next, known, 30, 120)
        assert fitted.alpha == pytest.approx(2, rel=0.1)
        assert fitted.beta_days == pytest.approx(20, rel=0.1)
        probability = fitted.gap_model_probability(known, np.full(len(known), 10))
        assert metrics.calibration_error(metrics.calibration_bins(to_next <= 10, probability)) < 0.02

    def test_the_base_rate_is_the_share_of_training_examples(self, population):
        to_next, known = population
        fitted = baselines.fit(to_next, known, 30, 120)
        assert fitted.base_rate_probability(np.array([7]))[0] == pytest.approx((to_next <= 7).mean(), abs=1e-4)
        assert list(fitted.base_rate) == sorted(fitted.base_rate)
        assert Baselines.from_document(fitted.document()) == fitted

    def test_a_holder_known_for_few_days_is_shrunk_to_the_others(self, population):
        fitted = baselines.fit(*population, 30, 120)
        share = 0.5
        new, old = fitted.gap_model_probability(np.array([[share, 3.0], [share, 300.0]]), np.array([5, 5]))
        assert new < old

    def test_holders_without_differences_get_the_rate_of_all(self):
        known = np.column_stack([np.full(50, 0.1), np.full(50, 119.0)])
        fitted = baselines.fit(np.full(50, 5.0), known, 30, 120)
        assert fitted.gap_model_probability(known, np.full(50, 10))[0] == pytest.approx(1 - np.exp(-1), abs=0.01)

    def test_they_use_features_that_callers_can_send(self):
        assert set(GAP_FEATURES) <= set(STORED_FEATURE_NAMES)


class TestMetrics:
    def test_figures_of_a_small_example_by_hand(self):
        labels = np.array([False, False, True, True])
        found = metrics.probability_metrics(labels, np.array([0.1, 0.6, 0.4, 0.9]))
        assert found["roc_auc"] == 0.75
        assert found["brier"] == pytest.approx((0.01 + 0.36 + 0.36 + 0.01) / 4)
        assert found["log_loss"] == pytest.approx(-np.log([0.9, 0.4, 0.4, 0.9]).mean())
        assert found["calibration_error"] == pytest.approx((0.1 + 0.6 + 0.6 + 0.1) / 4)

    def test_calibration_error_of_equal_probabilities_is_their_distance_from_the_share(self):
        labels = np.arange(100) < 30
        assert metrics.probability_metrics(labels, np.full(100, 0.5))["calibration_error"] == pytest.approx(0.2)

    @pytest.mark.parametrize("label", [True, False])
    def test_ranking_one_class_is_not_defined(self, label):
        found = metrics.probability_metrics(np.full(9, label), np.linspace(0.1, 0.9, 9))
        assert found["roc_auc"] is None
        assert (found["pr_auc"] is None) is (not label)

    def test_bins_hold_every_example_once(self):
        random = np.random.default_rng(0)
        probability = np.round(random.random(1003), 2)
        bins = metrics.calibration_bins(random.random(1003) < probability, probability)
        assert sum(entry["count"] for entry in bins) == 1003
        assert len(bins) == 10
        assert all(entry["lower"] <= entry["mean_predicted"] <= entry["upper"] for entry in bins)


def test_hyperparameter_mistakes_are_named_all_at_once():
    given = {"max_iterations": "many", "learning_rate": "7", "depth": "3", "mask_share": "nan"}
    with pytest.raises(ClientError) as raised:
        hyperparameters.parse(given, purchase.TUNABLES)
    message = str(raised.value)
    assert "`max_iterations` is `many`; expected a whole number from 1 to 2000" in message
    assert "`learning_rate` is `7`; expected a number from 0.001 to 1.0" in message
    assert "`depth` is unknown; expected one of days_per_example" in message
    assert "`mask_share` is `nan`" in message


def test_frames_name_the_column_that_is_missing(tmp_path):
    pd.DataFrame({"usage_freq": [1]}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(ClientError, match=r"x.parquet lacks amount_spend; it has usage_freq"):
        frames.read(tmp_path / "x.parquet", ["usage_freq", "amount_spend"])
    with pytest.raises(ClientError, match="there is no"):
        frames.read(tmp_path / "y.parquet", ["usage_freq"])
    (tmp_path / "z.parquet").write_text("no parquet")
    with pytest.raises(ClientError, match="not readable as Parquet"):
        frames.read(tmp_path / "z.parquet", ["usage_freq"])
    pd.DataFrame({"usage_freq": []}).to_parquet(tmp_path / "e.parquet")
    with pytest.raises(ClientError, match="has no rows"):
        frames.read(tmp_path / "e.parquet", ["usage_freq"])
