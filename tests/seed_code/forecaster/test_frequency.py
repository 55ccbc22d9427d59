"""Lags and calendar features against GluonTS's, and the grid against pandas' periods."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from gluonts.time_feature import get_lags_for_frequency, time_features_from_frequency_str
from hypothesis import given
from hypothesis import strategies as st

from seed_code.forecaster.frequency import Calendar, Frequency, parse_start

# What pandas calls each base frequency: as an offset, and as a period's.
PANDAS = {"M": ("ME", "M"), "W": ("W", "W"), "D": ("D", "D"), "H": ("h", "h"), "min": ("min", "min")}
BASES = st.sampled_from(sorted(PANDAS))


@given(BASES, st.integers(1, 2000))
def test_built_in_lags_are_gluonts(base, multiple):
    assert Frequency(base, multiple).lags() == get_lags_for_frequency(f"{multiple}{PANDAS[base][0]}")


@given(BASES, st.integers(1, 50), st.datetimes(datetime(1960, 1, 1), datetime(2090, 1, 1)))
def test_features_and_periods_are_gluonts_and_pandas(base, multiple, start):
    offset, period = PANDAS[base]
    index = pd.period_range(pd.Period(start, f"{multiple}{period}"), periods=400, freq=f"{multiple}{period}")
    expected = np.stack([np.asarray(f(index), float) for f in time_features_from_frequency_str(f"{multiple}{offset}")])
    frequency = Frequency(base, multiple)
    first = frequency.ordinal(start)
    ordinals = first + multiple * np.arange(400)
    np.testing.assert_allclose(frequency.features(ordinals), expected, atol=1e-6)
    assert frequency.start_of(first) == index[0].start_time


def test_centuries_give_the_same_as_years():
    days = Frequency("D", 1)
    years, centuries = Calendar(days, 0, 40_000), Calendar(days, -700_000, 2_900_000)
    ordinals = np.random.default_rng(0).integers(0, 40_000, (7, 90))
    np.testing.assert_array_equal(years.features(ordinals), centuries.features(ordinals))


@given(BASES, st.integers(1, 999_999), st.integers(1, 10**7))
def test_no_multiple_leads_out_of_the_calendar(base, multiple, steps):
    frequency = Frequency(base, multiple)
    first = frequency.ordinal(datetime(2026, 1, 1))
    if frequency.reaches(first, steps):
        assert frequency.start_of(first + steps * multiple).year <= 9999


def test_a_calendar_answers_any_shape_within_its_span():
    frequency = Frequency("H", 1)
    ordinals = np.arange(450_000, 450_240).reshape(12, 20)
    calendar = Calendar(frequency, 450_000, 460_000)
    assert calendar.features(ordinals).shape == (4, 12, 20)
    np.testing.assert_array_equal(calendar.features(ordinals).reshape(4, -1), frequency.features(ordinals.ravel()))


def test_seasonal_lags_add_the_day_and_the_week_where_series_are_long_enough():
    minutes = Frequency("min", 1)
    built_in = minutes.lags()
    assert max(built_in) == 182
    assert minutes.lags("daily") == [*built_in, 1439, 1440, 1441]
    assert minutes.lags("weekly") == [*built_in, 1439, 1440, 1441, 10079, 10080, 10081]
    assert minutes.lags("weekly", longest=10_081) == minutes.lags("daily")
    assert minutes.lags("weekly", longest=1000) == built_in
    assert Frequency("min", 7).lags("weekly")[-3:] == [1439, 1440, 1441]  # 1,440 min is no multiple of 7, a week is
    assert Frequency("H", 1).lags("weekly") == Frequency("H", 1).lags()
    assert Frequency("M", 1).lags("weekly") == Frequency("M", 1).lags()


@pytest.mark.parametrize(
    ("text", "season"), [("min", 1440), ("5min", 288), ("H", 24), ("7H", 1), ("D", 7), ("W", 52), ("M", 12), ("3M", 4)]
)
def test_season_lengths(text, season):
    assert Frequency.parse(text).season_length() == season


@pytest.mark.parametrize(
    "text", ["2026-01-31", "2026-01-31 10:20", "2026-01-31T10:20:30", "2026-01-31 10:20:30.123456789"]
)
def test_starts_in_any_precision(text):
    assert parse_start(text).date().isoformat() == "2026-01-31"


@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)))
def test_a_zone_is_refused_however_it_is_written(moment):
    assert parse_start(moment.isoformat()) == moment
    for zoned in (moment.replace(tzinfo=UTC).isoformat(), f"{moment}Z", f"{moment} UTC", f"{moment} America/New_York"):
        with pytest.raises(ValueError, match="no time zone"):
            parse_start(zoned)
