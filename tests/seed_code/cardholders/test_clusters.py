"""The clustering: how many clusters, how they are numbered, what they are called, and what cannot be clustered."""

import numpy as np
import pytest

from seed_code.cardholders import clusters, frames
from seed_code.common import hyperparameters
from seed_code.common.errors import ClientError

DEFAULTS = hyperparameters.parse({}, clusters.TUNABLES)


@pytest.fixture(scope="module")
def values(synthetic):
    return frames.fields(synthetic.holders(300))


@pytest.fixture(scope="module")
def fitted(values):
    return clusters.fit(values, DEFAULTS)


def test_three_kinds_of_holders_make_three_clusters(values, fitted):
    model, report = fitted
    assert report["chosen_k"] == 3
    assert [entry["k"] for entry in report["range"]] == list(range(2, 9))
    best = max(report["range"], key=lambda entry: entry["silhouette"])
    assert best["k"] == 3
    assert report["silhouette"] == best["silhouette"] > 0.6
    # The maker's kinds come in turn: 0, 1, 2, 0, 1, 2, …
    assert model.predict(values).tolist() == [0, 1, 2] * 100


def test_clusters_are_numbered_by_median_spend_whatever_the_seed(values):
    for seed in range(3):
        model, report = clusters.fit(values, {**DEFAULTS, "seed": seed, "min_clusters": 4, "max_clusters": 6})
        medians = [profile["amount_spend"]["median"] for profile in report["profiles"]]
        assert medians == sorted(medians)
        assert np.median(values[model.predict(values) == 0, 1]) == medians[0]


def test_profiles_account_for_every_holder_and_have_names_of_their_own(values, fitted):
    _, report = fitted
    assert sum(profile["holders"] for profile in report["profiles"]) == len(values)
    assert sum(profile["share"] for profile in report["profiles"]) == pytest.approx(1)
    assert len({profile["name"] for profile in report["profiles"]}) == 3
    assert report["profiles"][0]["name"] == "rare use, very low spend"
    for profile in report["profiles"]:
        assert profile["usage_freq"]["p10"] <= profile["usage_freq"]["median"] <= profile["usage_freq"]["p90"]
        assert f"{profile['share']:.0%}" in profile["description"]


def test_an_outlier_counts_as_the_quantile_at_which_values_are_cut(values, fitted):
    model, _ = fitted
    extreme = np.array([[1e15, 1e15, 1e15], *np.expm1(model.upper)[None, :]])
    standardised = model.standardise(extreme)
    np.testing.assert_allclose(standardised[0], standardised[1])
    assert model.predict(extreme)[0] == 2


def test_one_wild_holder_does_not_move_the_clusters(values, fitted):
    wild = np.vstack([values, [[1e12, 1e15, 1e12]]])
    model, report = clusters.fit(wild, DEFAULTS)
    assert report["chosen_k"] == 3
    assert model.predict(values).tolist() == fitted[0].predict(values).tolist()


def test_the_same_holders_give_the_same_model(values, fitted):
    again, _ = clusters.fit(values.copy(), DEFAULTS)
    np.testing.assert_array_equal(again.centres, fitted[0].centres)


def test_every_holder_belongs_to_the_nearest_centre(values, fitted):
    model, _ = fitted
    points = model.standardise(values)
    distances = np.linalg.norm(points[:, None, :] - model.centres[None, :, :], axis=2)
    np.testing.assert_array_equal(model.predict(values), distances.argmin(axis=1))


def test_one_holder_cannot_be_clustered():
    with pytest.raises(ClientError, match=r"more than 2 \(min_clusters\) different.*found 1 among 1 holders"):
        clusters.fit(np.array([[1.0, 2.0, 1.0]]), DEFAULTS)


def test_equal_holders_cannot_be_clustered():
    with pytest.raises(ClientError, match="found 1 among 50 holders"):
        clusters.fit(np.full((50, 3), 7.0), DEFAULTS)


def test_few_different_holders_shorten_the_range():
    model, report = clusters.fit(np.array([[1.0, 1, 1], [50, 900, 9], [700, 1e6, 90], [710, 1.1e6, 91]]), DEFAULTS)
    assert [entry["k"] for entry in report["range"]] == [2, 3]
    assert model.centres.shape == (report["chosen_k"], 3)


def test_an_empty_range_is_refused(values):
    with pytest.raises(ClientError, match="`min_clusters` is 5 and `max_clusters` 3"):
        clusters.fit(values, {**DEFAULTS, "min_clusters": 5, "max_clusters": 3})


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_impossible_values_are_refused(values, bad):
    spoilt = values.copy()
    spoilt[7, 1] = bad
    with pytest.raises(ClientError, match="finite and not negative"):
        clusters.fit(spoilt, DEFAULTS)


def test_a_holdout_in_one_cluster_never_passes_a_silhouette_threshold(fitted, values):
    _, report = fitted
    assert clusters.holdout_scores(report["scale"], values[:5], np.zeros(5, np.int64))["silhouette"] == -1.0
