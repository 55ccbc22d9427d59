"""The series on its grid, the rolling windows at its end, and the files that hand both on."""

import itertools
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seed_code.common.errors import ClientError
from seed_code.forecaster import grid, rolling
from seed_code.forecaster.frequency import Frequency
from seed_code.forecaster.grid import GridSeries

MINUTE = Frequency("min", 1)
NAN = np.nan
BEGIN = int(np.datetime64("2026-11-21T00:00", "m").astype(int))


def minutes(*at: int) -> np.ndarray:
    return BEGIN + np.array(at, np.int64)


def test_missing_minutes_become_nan():
    series = grid.series_of("avg_fee_1min", MINUTE, minutes(0, 1, 4), [np.array([1.0, NAN, 5.0])])
    assert series.start == BEGIN
    np.testing.assert_array_equal(series.values, [1, NAN, NAN, NAN, 5])
    assert series.time(4) == datetime(2026, 11, 21, 0, 4, tzinfo=UTC)
    assert series.record(1, 3)["start"] == "2026-11-21 00:01:00"


def test_an_average_over_more_minutes_weighs_each_by_its_transactions():
    fee, number = np.array([100.0, 0.0, 900.0, 50.0, 70.0, 1.0]), np.array([10.0, 0.0, 30.0, 5.0, 7.0, 1.0])
    series = grid.series_of("avg_fee_1min", Frequency("min", 5), minutes(0, 1, 4, 5, 9, 10), [fee, number])
    np.testing.assert_array_equal(series.values, [1000 / 40, 120 / 12])  # the third is not whole
    assert series.time(1) == datetime(2026, 11, 21, 0, 5, tzinfo=UTC)


def test_a_sum_over_more_minutes_needs_them_all():
    at = [*range(9), *range(10, 15)]
    series = grid.series_of("total_fee_1min", Frequency("min", 5), minutes(*at), [np.ones(len(at))])
    np.testing.assert_array_equal(series.values, [5, NAN, 5])


def test_steps_that_are_not_whole_are_left_out_at_both_ends():
    at = np.arange(30, 30 + 24 * 60)
    series = grid.series_of("total_nb_trx_1min", Frequency("H", 1), BEGIN + at, [np.ones(len(at))])
    assert series.time(0) == datetime(2026, 11, 21, 1, tzinfo=UTC)
    np.testing.assert_array_equal(series.values, np.full(23, 60.0))


def test_which_features_a_target_is_made_of():
    assert grid.features_for("anything", MINUTE) == ["anything"]
    assert grid.features_for("avg_fee_1min", Frequency("H", 2)) == ["total_fee_1min", "total_nb_trx_1min"]
    with pytest.raises(ClientError, match=r"--frequency is `5min` and --target `median_fee`; expected 1min, or one of"):
        grid.features_for("median_fee", Frequency("min", 5))


@given(st.sampled_from(["min", "7min", "H", "5H", "D", "W", "M"]), st.integers(0, 30_000_000))
def test_many_ordinals_are_the_ordinals_of_each(text, minute):
    frequency = Frequency.parse(text)
    moment = np.datetime64(minute, "m").astype("datetime64[us]").item()
    ordinal = frequency.ordinal(moment)
    assert frequency.ordinals(np.array([minute])).tolist() == [ordinal]
    assert frequency.starts_of(np.array([ordinal])).astype("datetime64[us]").tolist() == [frequency.start_of(ordinal)]


def series_of(values: np.ndarray) -> GridSeries:
    return GridSeries(MINUTE, BEGIN, np.asarray(values, np.float64))


def cut(series: GridSeries, **changes: int) -> rolling.Windows:
    asked = {"prediction_length": 5, "context_length": 10, "count": 3, "spacing": 7, **changes}
    return rolling.cut(series, "fee", **asked)


@given(st.integers(1, 30), st.integers(1, 12), st.integers(1, 40), st.integers(300, 700), st.sampled_from(["min", "D"]))
def test_windows_end_with_the_series_and_training_ends_before_them(horizon, count, spacing, trained, frequency):
    steps = trained + (count - 1) * spacing + horizon
    series = GridSeries(Frequency.parse(frequency), 1000, np.arange(steps, dtype=np.float64))
    windows = cut(series, prediction_length=horizon, count=count, spacing=spacing)
    assert len(windows.origins) == count
    assert windows.first_origin == trained
    assert windows.origins[-1] + horizon == steps
    assert set(np.diff(windows.origins)) <= {spacing}
    for origin, actual in zip(windows.origins, windows.actual(series.values), strict=True):
        assert actual.tolist() == list(range(origin, origin + horizon))


def test_a_request_needs_no_more_than_its_lags_and_the_season():
    year = cut(series_of(np.ones(525_600)))
    assert year.tail == cut(series_of(np.ones(10_000))).tail == 10 + 1440
    assert rolling.tail(MINUTE, 10, "weekly", 525_600) == 10 + 10_081
    assert rolling.tail(Frequency("D", 1), 10, "none", 500) == 10 + max(Frequency("D", 1).lags())


def test_too_few_observations_say_how_many_and_how_many_are_needed():
    values = np.ones(400)
    values[:85] = NAN
    with pytest.raises(ClientError) as refused:
        cut(series_of(values))
    assert str(refused.value).startswith(
        "315 observations of `fee` (400 steps of 1min, 2026-11-21T00:00:00Z to 2026-11-21T06:39:00Z), 296 of them "
        "before the test windows; 319 needed: 300 before the windows to train on"
    )
    assert "19 for 3 windows of 5, one every 7. `mlops ingest FILE` brings more" in str(refused.value)
    with pytest.raises(ClientError, match=r"^3 observations of .*, 0 of them before the test windows; 319 needed"):
        cut(series_of(np.ones(3)))
    with pytest.raises(ClientError, match=r"410 needed: 400 before the windows to train on .*, 390 \+ 10"):
        cut(series_of(np.ones(405)), context_length=390, prediction_length=10, count=1)
    values[80:85] = 1
    assert cut(series_of(values)).first_origin == 381


def test_windows_that_were_hardly_observed_are_refused():
    """Each window counts from half of its five steps on, that is three."""
    values = np.ones(400)
    values[381:] = NAN
    values[399] = 1
    with pytest.raises(ClientError) as refused:
        cut(series_of(values))
    assert str(refused.value) == (
        "0 of 3 test windows (2026-11-21T06:21:00Z to 2026-11-21T06:39:00Z) hold an observation of `fee` at half of "
        "their 5 steps or more; 3 such windows needed to judge a model. 1 of the windows' 15 steps were observed; the "
        "longest outage is 18 steps of 1min, 2026-11-21T06:21:00Z to 2026-11-21T06:38:00Z. `mlops ingest FILE` brings "
        "minutes that are missing, or later ones; or configure more test windows, so that they begin earlier"
    )
    for origin in (381, 388):
        values[origin : origin + 3] = 1
    values[395:397] = 1
    assert cut(series_of(values)).origins == (381, 388, 395)
    values[381] = NAN
    with pytest.raises(ClientError, match=r"^2 of 3 test windows"):
        cut(series_of(values))


@pytest.mark.parametrize("count", [20, 21, 48])
def test_twenty_observed_windows_are_enough(count):
    values = np.ones(300 + 7 * 48)
    first = len(values) - 7 * (count - 1) - 5
    values[first : first + 7 * (count - 20)] = NAN
    assert len(cut(series_of(values), count=count).origins) == count
    values[-5:] = NAN
    with pytest.raises(ClientError, match=f"^19 of {count} test windows .*; 20 such windows needed"):
        cut(series_of(values), count=count)


def test_a_mean_beyond_64_bits_is_no_warning():
    series = grid.series_of(
        "avg_fee_1min", Frequency("min", 2), minutes(0, 1), [np.full(2, 3e38), np.array([1e-300, 0.0])]
    )
    assert series.values.tolist() == [np.inf]


@given(st.lists(st.booleans(), max_size=50))
def test_gaps_are_the_runs_of_what_is_missing(missing):
    flags = np.array(missing, bool)
    found = rolling.gaps(flags)
    rebuilt = np.zeros(len(flags), bool)
    for begin, end in found:
        assert begin < end
        rebuilt[begin:end] = True
    np.testing.assert_array_equal(rebuilt, flags)
    assert all(first[1] < second[0] for first, second in itertools.pairwise(found))


@pytest.mark.parametrize("frequency", ["min", "5min", "H", "W", "M"])
def test_what_is_written_is_read(tmp_path, frequency):
    values = np.where(np.arange(400) % 9 == 0, NAN, np.arange(400))
    series = GridSeries(Frequency.parse(frequency), 1200, values)
    windows = cut(series)
    rolling.write(tmp_path, series, windows)
    again, found = rolling.read(tmp_path)
    assert (again.frequency, again.start, found) == (series.frequency, series.start, windows)
    np.testing.assert_array_equal(again.values, values)


def test_files_that_are_not_there_are_named(tmp_path):
    with pytest.raises(ClientError, match=r"there is no .*windows.json"):
        rolling.read(tmp_path)
    rolling.write(tmp_path, series_of(np.ones(400)), cut(series_of(np.ones(400))))
    (tmp_path / "series.parquet").write_bytes(b"PAR1")
    with pytest.raises(ClientError, match=r"series.parquet is not a Parquet file"):
        rolling.read(tmp_path)
    (tmp_path / "series.parquet").unlink()
    with pytest.raises(ClientError, match=r"there is no .*series.parquet"):
        rolling.read(tmp_path)
