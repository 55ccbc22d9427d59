"""Features against a slow, obvious computation; and a planted leak, caught."""

import datetime
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seed_code.cardholders import leakage
from seed_code.cardholders.features import (
    FIELDS,
    STORED_FEATURE_NAMES,
    STORED_FEATURES,
    Activity,
    Histories,
    holder_features,
)

DAY_0 = (datetime.date(2014, 1, 1) - datetime.date(1970, 1, 1)).days

# (holder, day, vendor, cents); a few days and vendors only, so that days coincide and vendors come back
LINES = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.one_of(st.integers(0, 20), st.integers(0, 260)),
        st.integers(0, 4),
        st.integers(-500, 5_000).filter(bool),
    ),
    min_size=1,
    max_size=60,
)


def frame(lines: list[tuple[int, int, int, int]]) -> pd.DataFrame:
    data = pd.DataFrame(lines, columns=["holder", "day", "vendor", "cents"])
    return data.assign(day=data["day"] + DAY_0)


def activity(data: pd.DataFrame) -> Activity:
    bought, returned = data[data["cents"] > 0], data[data["cents"] < 0]
    days = bought.groupby(["holder", "vendor", "day"], as_index=False)["cents"].agg(["size", "sum"])
    days = days.sample(frac=1.0, random_state=0)  # any order will do
    refunds = returned.groupby(["holder", "day"], as_index=False).size()
    return Activity(
        *(days[name].to_numpy() for name in ("holder", "vendor", "day", "size", "sum")),
        *(refunds[name].to_numpy() for name in ("holder", "day", "size")),
    )


def obvious(data: pd.DataFrame, holder: int, t: int, window: int) -> dict[str, float]:
    """Every feature straight from its definition, one holder and one day at a time."""
    known = data[(data["holder"] == holder) & (data["day"] <= t)]
    bought, returned = known[known["cents"] > 0], known[known["cents"] < 0]

    def last(days: int, rows: pd.DataFrame = bought) -> pd.DataFrame:
        return rows[rows["day"] > t - days]

    recent = last(window)
    days = sorted(recent["day"].unique())
    gaps = np.diff(days)
    latest = gaps[-20:]
    recency = t - bought["day"].max()
    longer = latest[latest > recency]
    date = datetime.date(1970, 1, 1) + datetime.timedelta(days=int(t))
    following = (date.replace(day=28) + datetime.timedelta(days=4)).replace(day=1)
    nan = math.nan
    values = {
        "usage_freq": len(recent),
        "amount_spend": recent["cents"].sum() / 100,
        "uniq_merchant": recent["vendor"].nunique(),
        "recency_days": recency,
        "days_since_first": t - bought["day"].min(),
        "gap_mean": gaps.mean() if len(gaps) else nan,
        "gap_std": gaps.std() if len(gaps) else nan,
        "gap_median": np.median(latest) if len(gaps) else nan,
        "gap_last": gaps[-1] if len(gaps) else nan,
        "overdue": recency / np.median(latest) if len(gaps) else nan,
        "gap_end_share_7d": (longer <= recency + 7).mean() if len(longer) else nan,
        "merchants_90d": last(90)["vendor"].nunique(),
        "active_days_30d": last(30)["day"].nunique(),
        "active_day_share": len(days) / min(window, t - bought["day"].min() + 1),
        "mean_amount": recent["cents"].mean() / 100 if len(recent) else nan,
        "refunds_90d": len(last(90, returned)),
        "weekday": date.weekday(),
        "month_of_year": date.month,
        "days_to_month_end": (following - date).days - 1,
    }
    for number in (7, 30, 90):
        values[f"purchases_{number}d"] = len(last(number))
        values[f"spend_{number}d"] = last(number)["cents"].sum() / 100
    for ahead in range(1, 8):
        same = [day for day in days if (day - t - ahead) % 7 == 0]
        values[f"weekday_share_ahead_{ahead}"] = len(same) / len(days) if days else nan
    return values


def references(data: pd.DataFrame, step: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Every holder on every step-th day from the first purchase until well after the last transaction."""
    bought = data[data["cents"] > 0].groupby("holder")["day"].min()
    pairs = [
        (holder, day) for holder, first in bought.items() for day in range(first, int(data["day"].max()) + 300, step)
    ]
    return np.array([holder for holder, _ in pairs]), np.array([day for _, day in pairs])


@settings(max_examples=40, deadline=None)
@given(lines=LINES, window=st.sampled_from([1, 14, 90, 120, 200]), data=st.data())
def test_equals_the_obvious_computation(lines: list[Any], window: int, data: st.DataObject) -> None:
    transactions = frame(lines)
    holder, day = references(transactions)
    if not len(holder):
        return
    chosen = data.draw(st.lists(st.integers(0, len(holder) - 1), min_size=1, max_size=8))
    holder, day = holder[chosen], day[chosen]
    columns = Histories(activity(transactions), window).features(holder, day)
    assert tuple(columns) == (*FIELDS, *STORED_FEATURE_NAMES)
    for row in range(len(holder)):
        expected = obvious(transactions, holder[row], day[row], window)
        assert set(expected) == set(columns)
        found = {name: float(column[row]) for name, column in columns.items()}
        assert found == pytest.approx({name: float(expected[name]) for name in found}, rel=1e-9, abs=1e-6, nan_ok=True)


@settings(max_examples=40, deadline=None)
@given(lines=LINES, horizon=st.sampled_from([1, 7, 30, 300]))
def test_days_to_next_is_the_first_later_purchase(lines: list[Any], horizon: int) -> None:
    transactions = frame(lines)
    holder, day = references(transactions, step=31)
    if not len(holder):
        return
    found = Histories(activity(transactions)).days_to_next(holder, day, horizon)
    bought = transactions[transactions["cents"] > 0]
    for row in range(len(holder)):
        later = bought[(bought["holder"] == holder[row]) & (bought["day"] > day[row])]["day"] - day[row]
        expected = later.min() if len(later) and later.min() <= horizon else math.nan
        assert found[row] == pytest.approx(expected, nan_ok=True)


def compute(known: Activity, holder: np.ndarray, day: np.ndarray) -> Mapping[str, np.ndarray]:
    return Histories(known).features(holder, day)


@settings(max_examples=25, deadline=None)
@given(lines=LINES)
def test_nothing_changes_when_the_future_is_deleted(lines: list[Any]) -> None:
    transactions = frame(lines)
    holder, day = references(transactions, step=29)
    if len(holder):
        assert leakage.leaking_features(compute, activity(transactions), holder, day) == []


@pytest.mark.parametrize("off_by_one", [False, True])
def test_a_planted_leak_is_caught_by_name(off_by_one: bool) -> None:
    rng = np.random.default_rng(0)
    lines = [(0, int(day), int(day) % 3, 100) for day in rng.integers(0, 100, 60)]
    transactions = frame(lines)

    def leaking(known: Activity, holder: np.ndarray, day: np.ndarray) -> Mapping[str, np.ndarray]:
        columns = dict(compute(known, holder, day))
        if off_by_one:  # the window ends a day late, in one feature only
            columns["spend_7d"] = Histories(known).features(holder, day + 1)["spend_7d"]
        else:  # a statistic over everything known, as normalization before the split would do
            columns["mean_amount"] = columns["mean_amount"] / known.purchases.sum()
        return columns

    holder, day = np.zeros(5, int), DAY_0 + np.array([40, 50, 60, 70, 80])
    found = leakage.leaking_features(leaking, activity(transactions), holder, day)
    assert found == (["spend_7d"] if off_by_one else ["mean_amount"])


@settings(max_examples=25, deadline=None)
@given(lines=LINES, ahead=st.integers(0, 400))
def test_one_holder_gets_in_a_request_what_it_gets_in_training(lines: list[Any], ahead: int) -> None:
    transactions = frame(lines)
    bought = transactions[transactions["cents"] > 0]
    if bought.empty:
        return
    holder = int(bought["holder"].iloc[0])
    t = int(bought[bought["holder"] == holder]["day"].min()) + ahead
    columns = Histories(activity(transactions)).features(np.array([holder]), np.array([t]))
    epoch = datetime.date(1970, 1, 1)
    own = [
        (epoch + datetime.timedelta(days=int(row.day)), row.cents / 100, f"vendor {row.vendor}")
        for row in transactions[transactions["holder"] == holder].itertuples()
    ]
    sent = holder_features(own, epoch + datetime.timedelta(days=t))
    assert sent == pytest.approx({name: column[0].item() for name, column in columns.items()}, nan_ok=True)


def test_values_keep_to_what_is_declared() -> None:
    rng = np.random.default_rng(1)
    lines = [
        (int(h), int(d), int(v), int(c))
        for h, d, v, c in rng.integers((0, 0, 0, -400), (5, 400, 9, 9_000), (800, 4))
        if c
    ]
    holder, day = references(frame(lines), step=11)
    columns = Histories(activity(frame(lines))).features(holder, day)
    missing = set()
    for feature in STORED_FEATURES:
        column = columns[feature.name]
        assert (column.dtype.kind == "i") == (feature.kind == "int"), feature.name
        if np.isnan(column.astype(float)).any():
            missing.add(feature.name)
            assert feature.optional, feature.name
        assert np.nanmin(column) >= (-math.inf if feature.minimum is None else feature.minimum), feature.name
        assert np.nanmax(column) <= (math.inf if feature.maximum is None else feature.maximum), feature.name
    assert missing == {feature.name for feature in STORED_FEATURES if feature.optional}


def test_a_holder_without_a_purchase_is_refused() -> None:
    transactions = frame([(0, 5, 0, 100), (1, 9, 0, 100)])
    histories = Histories(activity(transactions))
    with pytest.raises(ValueError, match="no purchase on or before its reference date"):
        histories.features(np.array([0, 1]), np.array([DAY_0 + 6, DAY_0 + 6]))
    with pytest.raises(ValueError, match="no purchase on or before its reference date"):
        histories.features(np.array([0]), np.array([DAY_0 - 5_000]))
    before = histories.fields(np.array([0, 1]), np.array([DAY_0 - 5_000, DAY_0 + 8]))
    assert [column.tolist() for column in before.values()] == [[0, 0]] * 3
    with pytest.raises(ValueError, match="no purchase on or before 2014-01-01"):
        holder_features([(datetime.date(2014, 1, 2), 5.0, "x")], datetime.date(2014, 1, 1))


def test_what_is_no_purchase_does_not_belong_into_an_activity() -> None:
    one = np.ones(1, np.int64)
    none = np.zeros(0, np.int64)
    with pytest.raises(ValueError, match=r"activity\.purchases is below 1"):
        Histories(Activity(one, one, one, one * 0, one, none, none, none))
    with pytest.raises(ValueError, match="window_days is 0"):
        Histories(Activity(one, one, one, one, one, none, none, none), 0)
