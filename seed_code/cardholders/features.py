"""What is known of a cardholder at the end of a day: one function for training, evaluation and serving.

Everything is as of a *reference date* t: only transactions dated t or earlier count, and all of day t counts. Labels
lie strictly later: `days_to_next` is 1 when the next purchase is on the day after t.

Two groups of features:

- the three *behaviour fields* of a request, over the behaviour window of W days, that is (t - W, t]:
  `usage_freq`, `amount_spend`, `uniq_merchant`;
- the *stored features* (`STORED_FEATURES`), which a caller who knows the holder sends along.

Days are integers (days since 1970-01-01), amounts are integer hundredths of the currency, so that every sum is exact
and does not depend on the order of the lines. A *purchase day* is a day with at least one purchase; a *gap* is the
number of days from one purchase day to the holder's next.

How it works: a holder and a day make one sortable number, `key = holder * span + day`. The events of all holders, in
the order of their keys, carry running totals, so that any window of any holder is the difference of two totals found
by binary search. The cost is O(n log n) in the transactions and O(log n) for each question; nothing is as large as
holders x days. Distinct merchants within a window are counted the same way: a purchase from a vendor without one in
the W days before opens an interval, which the first W days without another close; open intervals at t are what is
asked for.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

FIELDS = ("usage_freq", "amount_spend", "uniq_merchant")
DEFAULT_WINDOW_DAYS = 120
"""The longest behaviour window that leaves one year of data a month or more of reference dates in each part."""

RECENT_GAPS = 20
"""How many of the latest gaps the order statistics look at: enough for a median, and bounded for busy holders."""

LONGEST_FIXED_WINDOW = 90
AHEAD = range(1, 8)


@dataclass(frozen=True)
class Feature:
    """One stored feature: what a caller sends and what a column of the examples holds.

    Attributes:
        name: key in a request's `features`, and column.
        kind: `int` or `float`; a float may be NaN (in JSON: null or absent) when `optional`.
        unit: of the value.
        minimum, maximum: inclusive bounds of what is possible; None is unbounded.
        optional: whether a holder may have no value (for instance no gap after a single purchase day).
        description: in words, for the documentation and for error messages.
    """

    name: str
    kind: Literal["int", "float"]
    unit: str
    description: str
    minimum: float | None = 0
    maximum: float | None = None
    optional: bool = False


def _stored_features() -> tuple[Feature, ...]:
    def gap(name: str, description: str) -> Feature:
        return Feature(name, "float", "days", f"{description}, within the behaviour window", optional=True)

    features = [
        Feature("recency_days", "int", "days", "days since the last purchase day (0: purchased on t)"),
        Feature("days_since_first", "int", "days", "days since the first purchase"),
        gap("gap_mean", "mean gap"),
        gap("gap_std", "standard deviation of the gaps (0 for a single gap)"),
        gap("gap_median", f"median of the latest {RECENT_GAPS} gaps"),
        gap("gap_last", "latest gap"),
        Feature("overdue", "float", "ratio", "recency_days / gap_median", optional=True),
        Feature(
            "gap_end_share_7d",
            "float",
            "share",
            f"of the latest {RECENT_GAPS} gaps that exceed recency_days, how many ended within 7 more days",
            maximum=1,
            optional=True,
        ),
    ]
    for days in (7, 30, 90):
        features.append(Feature(f"purchases_{days}d", "int", "purchases", f"purchases in the last {days} days"))
    for days in (7, 30, 90):
        features.append(
            Feature(f"spend_{days}d", "float", "currency", f"amount of the purchases in the last {days} days")
        )
    features += [
        Feature("merchants_90d", "int", "vendors", "distinct vendors in the last 90 days"),
        Feature("active_days_30d", "int", "days", "purchase days in the last 30 days", maximum=30),
        Feature(
            "active_day_share",
            "float",
            "share",
            "purchase days in the behaviour window, per day of it since the first purchase",
            maximum=1,
        ),
        Feature("mean_amount", "float", "currency", "mean amount of a purchase in the behaviour window", optional=True),
        Feature("refunds_90d", "int", "refunds", "refunds in the last 90 days"),
    ]
    for ahead in AHEAD:
        features.append(
            Feature(
                f"weekday_share_ahead_{ahead}",
                "float",
                "share",
                f"share of the window's purchase days that fall on the weekday of t + {ahead}",
                maximum=1,
                optional=True,
            )
        )
    features += [
        Feature("weekday", "int", "weekday", "weekday of t, Monday is 0", maximum=6),
        # Not `month`: a feature group cannot hold it, its table is partitioned by a column of that name.
        Feature("month_of_year", "int", "month", "month of t", minimum=1, maximum=12),
        Feature("days_to_month_end", "int", "days", "days left in the month after t", maximum=30),
    ]
    return tuple(features)


STORED_FEATURES: tuple[Feature, ...] = _stored_features()
STORED_FEATURE_NAMES: tuple[str, ...] = tuple(feature.name for feature in STORED_FEATURES)


@dataclass(frozen=True)
class Activity:
    """Transactions of holders 0 … n-1, aggregated; each group of arrays is in any order.

    Attributes:
        holder, vendor, day, purchases, cents: purchases, one element for each holder, vendor and day. `vendor` is any
            integer that tells vendors apart; `purchases` is at least 1; `cents` is the sum of their amounts.
        refund_holder, refund_day, refunds: refunds, one element for each holder and day.
    """

    holder: Array
    vendor: Array
    day: Array
    purchases: Array
    cents: Array
    refund_holder: Array
    refund_day: Array
    refunds: Array

    def until(self, day: int) -> Activity:
        """The same without what is dated later than `day`."""
        kept, refund_kept = self.day <= day, self.refund_day <= day
        return Activity(
            *(array[kept] for array in (self.holder, self.vendor, self.day, self.purchases, self.cents)),
            *(array[refund_kept] for array in (self.refund_holder, self.refund_day, self.refunds)),
        )

    def of(self, holders: Array) -> Activity:
        """The same without other holders than these."""
        kept, refund_kept = np.isin(self.holder, holders), np.isin(self.refund_holder, holders)
        return Activity(
            *(array[kept] for array in (self.holder, self.vendor, self.day, self.purchases, self.cents)),
            *(array[refund_kept] for array in (self.refund_holder, self.refund_day, self.refunds)),
        )


class Histories:
    """The activity of many holders, arranged so that any window of any holder is two binary searches.

    Args:
        activity: what happened. Need not be sorted; it is faster if it is, by holder, vendor and day.
        window_days: the behaviour window W.

    Raises:
        ValueError: when `window_days` is below 1, or a count of purchases is.
    """

    def __init__(self, activity: Activity, window_days: int = DEFAULT_WINDOW_DAYS) -> None:
        if window_days < 1:
            raise ValueError(f"window_days is {window_days}; expected at least 1")
        if len(activity.purchases) and activity.purchases.min() < 1:
            raise ValueError("an element of activity.purchases is below 1; leave out what is no purchase")
        self.window_days = window_days
        holder, day = activity.holder.astype(np.int64), activity.day.astype(np.int64)
        refund_day = activity.refund_day.astype(np.int64)
        days = np.concatenate([day, refund_day])
        self._origin = int(days.min()) if len(days) else 0
        self._last_day = int(days.max()) if len(days) else 0
        # Room on either side of a holder's days, so that no window's end reaches into a neighbour's keys.
        self._margin = max(window_days, LONGEST_FIXED_WINDOW) + 1
        self._span = self._last_day - self._origin + 2 * self._margin

        self._opened, self._closed = {}, {}
        order = _sorted_order(holder, activity.vendor, day)
        by_vendor = (holder, activity.vendor, day)
        if order is not None:
            by_vendor = (holder[order], activity.vendor[order], day[order])
        for window in {window_days, 90}:
            self._opened[window], self._closed[window] = self._vendor_intervals(*by_vendor, window)

        key = self._key(holder, day)
        order = np.argsort(key, kind="stable")
        key = key[order]
        first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]])) if len(key) else np.zeros(0, np.int64)
        self._day_key = key[first]
        self._day = self._day_key % self._span + self._origin - self._margin
        # Totals up to each purchase day are the totals up to the line before the next day's first.
        ends = np.append(first[1:], len(key)) if len(key) else first
        self._purchases = _running(activity.purchases[order])[np.append(0, ends)]
        self._cents = _running(activity.cents[order])[np.append(0, ends)]
        gaps = np.diff(self._day_key, prepend=self._day_key[:1])
        gaps[np.diff(self._day_key // self._span, prepend=-1) != 0] = 0  # before a holder's first day there is no gap
        self._gap = gaps
        self._gap_squares = _running(gaps * gaps)
        weekday = _weekday(self._day)
        self._weekday = [_running(weekday == number) for number in range(7)]

        refund_key = self._key(activity.refund_holder.astype(np.int64), refund_day)
        order = np.argsort(refund_key, kind="stable")
        self._refund_key = refund_key[order]
        self._refunds = _running(activity.refunds[order].astype(np.int64))

    def _key(self, holder: Array, day: Array) -> Array:
        return np.asarray(holder * self._span + (day - self._origin + self._margin))

    def _vendor_intervals(self, holder: Array, vendor: Array, day: Array, window: int) -> tuple[Array, Array]:
        """Keys, sorted, at which a vendor comes into a holder's window, and at which it leaves it."""
        if not len(day):
            return day, day
        same = (holder[1:] == holder[:-1]) & (vendor[1:] == vendor[:-1]) & (day[1:] - day[:-1] < window)
        opens = np.concatenate([[True], ~same])
        closes = np.concatenate([~same, [True]])
        return (
            np.sort(self._key(holder[opens], day[opens])),
            np.sort(self._key(holder[closes], day[closes] + window)),
        )

    def _distinct_vendors(self, key: Array, window: int) -> Array:
        opened = np.searchsorted(self._opened[window], key, side="right")
        return np.asarray(opened - np.searchsorted(self._closed[window], key, side="right"))

    def days_to_next(self, holder: Array, day: Array, max_horizon: int) -> Array:
        """The label: days from each reference date to the holder's next purchase, NaN beyond `max_horizon`."""
        key = self._key(holder.astype(np.int64), self._within_keys(day))
        index = np.searchsorted(self._day_key, key, side="right")
        following = np.append(self._day_key, np.iinfo(np.int64).max)[index]
        ahead = following - key
        known = (following // self._span == holder) & (ahead <= max_horizon)
        return np.where(known, ahead, np.nan)

    def fields(self, holder: Array, day: Array) -> dict[str, Array]:
        """The three behaviour fields of each holder as of each day: `usage_freq`, `amount_spend`, `uniq_merchant`."""
        key = self._key(holder.astype(np.int64), self._within_keys(day))
        stop = np.searchsorted(self._day_key, key, side="right")
        start = np.searchsorted(self._day_key, key - self.window_days, side="right")
        return {
            "usage_freq": self._purchases[stop] - self._purchases[start],
            "amount_spend": (self._cents[stop] - self._cents[start]) / 100,
            "uniq_merchant": self._distinct_vendors(key, self.window_days),
        }

    def _within_keys(self, day: Array) -> Array:
        """Days for which keys can be made: one before all events or long after them has the same (empty) windows as the
        nearest day that the keys' margin leaves room for."""
        return np.clip(day.astype(np.int64), self._origin - 1, self._last_day + self._margin - 1)

    def features(self, holder: Array, day: Array) -> dict[str, Array]:
        """The behaviour fields and the stored features of each holder as of the end of each day.

        Args:
            holder, day: same shape (n,); each holder has a purchase on or before its day.

        Returns:
            An array of shape (n,) for each name in `FIELDS` and `STORED_FEATURE_NAMES`, in that order.

        Raises:
            ValueError: when a holder has no purchase by then.
        """
        t, within = day.astype(np.int64), self._within_keys(day)
        key = self._key(holder.astype(np.int64), within)
        stop = np.searchsorted(self._day_key, key, side="right")
        start = {window: np.searchsorted(self._day_key, key - window, side="right") for window in (7, 30, 90)}
        window_start = np.searchsorted(self._day_key, key - self.window_days, side="right")
        holder_start = np.searchsorted(self._day_key, key - (within - self._origin + self._margin), side="right")
        if (stop == holder_start).any():
            raise ValueError("a holder has no purchase on or before its reference date: there is nothing to tell")
        last_day, first_day = self._day[stop - 1], self._day[holder_start]
        recency = t - last_day
        active_days = stop - window_start
        columns = self.fields(holder, day)
        columns["recency_days"] = recency
        columns["days_since_first"] = t - first_day
        columns |= self._gap_features(stop, active_days, recency)
        for window, begin in start.items():
            columns[f"purchases_{window}d"] = self._purchases[stop] - self._purchases[begin]
        for window, begin in start.items():
            columns[f"spend_{window}d"] = (self._cents[stop] - self._cents[begin]) / 100
        columns["merchants_90d"] = self._distinct_vendors(key, 90)
        columns["active_days_30d"] = stop - start[30]
        columns["active_day_share"] = active_days / np.minimum(self.window_days, t - first_day + 1)
        columns["mean_amount"] = _ratio(columns["amount_spend"], columns["usage_freq"])
        refund_stop = np.searchsorted(self._refund_key, key, side="right")
        refund_start = np.searchsorted(self._refund_key, key - 90, side="right")
        columns["refunds_90d"] = self._refunds[refund_stop] - self._refunds[refund_start]
        by_weekday = np.stack([counts[stop] - counts[window_start] for counts in self._weekday])
        weekday = _weekday(t)
        for ahead in AHEAD:
            on_that_day = np.take_along_axis(by_weekday, ((weekday + ahead) % 7)[np.newaxis], axis=0)[0]
            columns[f"weekday_share_ahead_{ahead}"] = _ratio(on_that_day, active_days)
        dates = t.astype("datetime64[D]")
        months = dates.astype("datetime64[M]")
        columns["weekday"] = weekday
        columns["month_of_year"] = months.astype(np.int64) % 12 + 1
        columns["days_to_month_end"] = ((months + 1).astype("datetime64[D]") - dates).astype(np.int64) - 1
        return {name: columns[name] for name in (*FIELDS, *STORED_FEATURE_NAMES)}

    def _gap_features(self, stop: Array, active_days: Array, recency: Array) -> dict[str, Array]:
        """Features of the gaps between the last `active_days` purchase days before row `stop`."""
        gaps = np.maximum(active_days - 1, 0)
        newest = stop - 1
        oldest = np.minimum(stop - active_days, newest)
        total = self._day[newest] - self._day[oldest]
        squares = self._gap_squares[newest + 1] - self._gap_squares[oldest + 1]
        mean = _ratio(np.where(gaps > 0, total, 0), gaps)
        variance = _ratio(np.where(gaps > 0, squares, 0), gaps) - mean * mean

        back = np.arange(RECENT_GAPS)
        known = back < np.minimum(gaps, RECENT_GAPS)[:, np.newaxis]
        # A row number that would precede the first is only ever looked up where `known` is false.
        recent = np.where(known, self._gap[np.maximum(newest[:, np.newaxis] - back, 0)], np.iinfo(np.int64).max)
        longer = known & (recent > recency[:, np.newaxis])
        ended = longer & (recent <= recency[:, np.newaxis] + 7)
        ascending = np.sort(recent, axis=1)
        count = known.sum(axis=1)
        rows = np.arange(len(stop))
        middle = np.maximum(count - 1, 0)
        low, high = ascending[rows, middle // 2], ascending[rows, (middle + 1) // 2]
        median = np.where(count > 0, (low.astype(np.float64) + high) / 2, np.nan)
        return {
            "gap_mean": mean,
            "gap_std": np.sqrt(np.maximum(variance, 0)),
            "gap_median": median,
            "gap_last": np.where(gaps > 0, recent[:, 0].astype(np.float64), np.nan),
            "overdue": recency / median,
            "gap_end_share_7d": _ratio(ended.sum(axis=1), longer.sum(axis=1)),
        }


def holder_features(
    transactions: Iterable[tuple[datetime.date, float, str]],
    as_of: datetime.date,
    window_days: int = DEFAULT_WINDOW_DAYS,
) -> Mapping[str, int | float]:
    """What to send for one holder: the behaviour fields and the stored features, by the code that trained the model.

    Args:
        transactions: date, amount (negative: a refund; zero: ignored) and vendor of each of the holder's transactions.
            Those after `as_of` are left out.
        as_of: the reference date; all of it counts.
        window_days: the behaviour window of the model's manifest.

    Returns:
        Value by name, NaN where an optional feature has none.

    Raises:
        ValueError: when there is no purchase on or before `as_of`.
    """
    rows = [(day.toordinal() - _EPOCH, round(amount * 100), vendor) for day, amount, vendor in transactions]
    rows = [row for row in rows if row[0] <= as_of.toordinal() - _EPOCH]
    bought = [row for row in rows if row[1] > 0]
    returned = [row for row in rows if row[1] < 0]
    if not bought:
        raise ValueError(f"the holder has no purchase on or before {as_of}: there is nothing to tell")
    number = {vendor: index for index, vendor in enumerate(sorted({vendor for _, _, vendor in bought}))}
    zeros = np.zeros(len(bought), np.int64)
    history = Histories(
        Activity(
            holder=zeros,
            vendor=np.array([number[vendor] for _, _, vendor in bought]),
            day=np.array([day for day, _, _ in bought]),
            purchases=zeros + 1,
            cents=np.array([cents for _, cents, _ in bought]),
            refund_holder=np.zeros(len(returned), np.int64),
            refund_day=np.array([day for day, _, _ in returned], np.int64),
            refunds=np.ones(len(returned), np.int64),
        ),
        window_days,
    )
    columns = history.features(np.zeros(1, np.int64), np.array([as_of.toordinal() - _EPOCH]))
    return {name: column[0].item() for name, column in columns.items()}


_EPOCH = datetime.date(1970, 1, 1).toordinal()


def _sorted_order(holder: Array, vendor: Array, day: Array) -> Array | None:
    """The order by holder, vendor, day; None when that is the order already."""
    same_holder = holder[1:] == holder[:-1]
    same_vendor = same_holder & (vendor[1:] == vendor[:-1])
    ascending = (holder[1:] > holder[:-1]) | (same_holder & (vendor[1:] > vendor[:-1]))
    if (ascending | (same_vendor & (day[1:] >= day[:-1]))).all():
        return None
    return np.lexsort((day, vendor, holder))


def _running(values: Array) -> Array:
    """Running totals with a leading zero; shape (n + 1,)."""
    totals = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, dtype=np.int64, out=totals[1:])
    return totals


def _ratio(part: Array, whole: Array) -> Array:
    """part / whole, NaN where whole is zero."""
    return np.asarray(np.divide(part, whole, out=np.full(len(part), np.nan), where=whole != 0))


def _weekday(day: Array) -> Array:
    return np.asarray((day + 3) % 7)  # 1970-01-01 was a Thursday
