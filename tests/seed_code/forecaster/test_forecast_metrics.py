"""Measures against their definitions, worked by hand or by a slower road."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from seed_code.forecaster import metrics

QUANTILES = (0.1, 0.5, 0.9)


def test_the_weighted_quantile_loss_by_hand():
    actual = np.array([[10.0, np.nan], [20.0, 30.0]])
    forecast = np.array([[[8.0, 1.0], [22.0, 30.0]], [[10.0, 1.0], [20.0, 33.0]]])
    score = metrics.score(actual, forecast, (0.1, 0.5), forecast[1])
    # Quantile 0.1: 2 * (0.1 * 2 + 0.9 * 2 + 0) over 60; quantile 0.5: 2 * 0.5 * 3 over 60.
    assert score.quantile_losses == {0.1: pytest.approx(4 / 60), 0.5: pytest.approx(3 / 60)}
    assert score.mean_quantile_loss == pytest.approx(3.5 / 60)
    assert score.mean_absolute_quantile_loss == pytest.approx(3.5)
    assert score.coverage == {0.1: pytest.approx(2 / 3), 0.5: pytest.approx(1.0)}
    assert score.rmse == pytest.approx(math.sqrt(9 / 3))
    assert score.points == 3


def test_sums_come_before_the_ratio():
    """A quiet window's bad ratio does not count as much as a busy window's."""
    actual = np.array([[1.0], [1000.0]])
    forecast = np.array([[[2.0], [1000.0]]])
    assert metrics.score(actual, forecast, (0.5,), forecast[0]).mean_quantile_loss == pytest.approx(1 / 1001)


def test_nothing_observed_has_no_score_and_zeros_have_a_perfect_or_an_infinite_one():
    nothing = np.full((2, 3), np.nan)
    with pytest.raises(ValueError, match="no point of the test windows was observed"):
        metrics.score(nothing, np.zeros((1, 2, 3)), (0.5,), nothing)
    zeros = np.zeros((2, 3))
    assert metrics.score(zeros, np.zeros((1, 2, 3)), (0.5,), zeros).mean_quantile_loss == 0
    assert metrics.score(zeros, np.ones((1, 2, 3)), (0.5,), zeros).mean_quantile_loss == math.inf
    with pytest.raises(ValueError, match="nothing but zeros"):
        metrics.bootstrap_interval(zeros, np.ones((1, 2, 3)), (0.5,))


@given(npst.arrays(np.float32, (2, 7, 3), elements=st.floats(-1e6, 1e6, width=32)), st.floats(0.01, 0.99))
def test_quantiles_are_numpys(samples, level):
    np.testing.assert_allclose(
        metrics.quantiles_of(samples, (level,))[0],
        np.quantile(samples.astype(float), level, axis=1),
        rtol=1e-6,
        atol=1e-3,
    )


def test_the_interval_holds_the_loss_and_narrows_with_more_windows():
    rng = np.random.default_rng(0)
    widths = []
    for windows in (20, 2000):
        actual = 10 + rng.normal(size=(windows, 5))
        forecast = np.stack([np.full_like(actual, 10 + z) for z in (-1.2816, 0, 1.2816)])
        loss = metrics.score(actual, forecast, QUANTILES, forecast[1]).mean_quantile_loss
        low, high = metrics.bootstrap_interval(actual, forecast, QUANTILES)
        assert low < loss < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 5
    assert metrics.bootstrap_interval(actual, forecast, QUANTILES) == (low, high)


def test_the_bootstrap_interval_covers_the_true_loss_as_often_as_it_says():
    """200 experiments: the share whose 90 % interval holds the loss on endless data."""
    rng = np.random.default_rng(1)
    forecast_of = lambda shape: np.stack([np.full(shape, 10 + z) for z in (-1.2816, 0, 1.2816)])  # noqa: E731
    endless = 10 + rng.normal(size=(100_000, 4))
    true = metrics.score(endless, forecast_of(endless.shape), QUANTILES, endless).mean_quantile_loss
    held = 0
    for experiment in range(200):
        actual = 10 + rng.normal(size=(60, 4))
        low, high = metrics.bootstrap_interval(
            actual, forecast_of(actual.shape), QUANTILES, resamples=300, seed=experiment
        )
        held += low <= true <= high
    assert 0.82 < held / 200 < 0.96


def test_interval_coverage_counts_observed_points():
    actual = np.array([[1.0, 5.0, np.nan, 2.0]])
    assert metrics.interval_coverage(actual, np.full((1, 4), 1.0), np.full((1, 4), 2.0)) == pytest.approx(2 / 3)


def test_the_naive_forecast_repeats_the_last_season_that_was_observed():
    history = np.float32([1, 2, 3, 4, 5, np.nan, 7, 8])  # season 4; the second step of the last one is missing
    forecast = metrics.seasonal_naive(history, 4, 6, (0.5,))
    np.testing.assert_array_equal(forecast[0], [5, 2, 7, 8, 5, 2])


def test_the_naive_forecasts_spread_is_that_of_its_own_errors():
    rng = np.random.default_rng(0)
    history = (np.tile([10.0, 20.0], 2000) + rng.normal(size=4000)).astype(np.float32)
    low, middle, high = metrics.seasonal_naive(history, 2, 4, (0.05, 0.5, 0.95))
    np.testing.assert_allclose(middle, np.tile(history[-2:], 2), atol=0.1)
    np.testing.assert_allclose(high - low, 2 * 1.645 * math.sqrt(2), rtol=0.05)


def test_a_step_never_observed_has_no_naive_forecast():
    forecast = metrics.seasonal_naive(np.float32([np.nan, 1, np.nan, 2]), 2, 2, (0.5,))
    assert np.isnan(forecast[0, 0])
    assert forecast[0, 1] == 2
