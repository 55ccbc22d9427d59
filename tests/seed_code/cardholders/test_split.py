"""The split by time, and which examples are drawn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seed_code.cardholders.split import PARTS, Span, days_needed, draw_examples, split
from seed_code.common.errors import ClientError

IDENTITY = np.random.default_rng(0).integers(0, 2**63, 200).astype(np.uint64)


@given(window=st.integers(1, 400), horizon=st.integers(1, 60), step=st.integers(1, 31), more=st.integers(0, 1500))
def test_label_windows_never_reach_the_next_part(window: int, horizon: int, step: int, more: int) -> None:
    period = Span(16_000, 16_000 + days_needed(window, horizon, step) + more - 1)
    parts = split(period, window, horizon, step)
    assert parts.train.first == period.first + window - 1  # the window before it is full
    assert parts.train.last + horizon < parts.validation.first
    assert parts.validation.last + horizon < parts.holdout.first
    assert parts.holdout.last + horizon == period.last  # every label is known, and no day is wasted
    assert all(parts.part(name).days >= step for name in PARTS)
    assert parts.validation.days == parts.holdout.days <= parts.train.days + step


def test_one_year_gives_every_part_a_month_or_more() -> None:
    parts = split(Span(0, 364), window_days=120, max_horizon=30, step=7)
    assert (parts.train.days, parts.validation.days, parts.holdout.days) == (94, 31, 31)


def test_a_day_too_few_is_refused_with_both_numbers() -> None:
    assert days_needed(120, 30, 7) == 230
    split(Span(0, 229), 120, 30, 7)
    with pytest.raises(ClientError, match=r"cover 229 days \(1970-01-01 to 1970-08-17\); expected at least 230"):
        split(Span(0, 228), 120, 30, 7)


@given(first=st.lists(st.integers(0, 130), min_size=1, max_size=40), step=st.integers(1, 10))
def test_every_known_holder_has_its_dates_and_no_other(first: list[int], step: int) -> None:
    part = Span(100, 120)
    known = np.array(first)
    holder, day = draw_examples(known, IDENTITY[: len(first)], part, step, limit=10**9)
    assert ((day >= part.first) & (day <= part.last) & (day >= known[holder])).all()
    for index, since in enumerate(first):
        own = day[holder == index]
        assert (np.diff(own) == step).all()
        possible = part.last - max(part.first, since) + 1
        assert max(0, possible // step) <= len(own) <= max(0, -(-possible // step))


def test_offsets_make_every_weekday_a_reference_date() -> None:
    _, day = draw_examples(np.zeros(200, int), IDENTITY, Span(100, 120), 7, limit=10**9)
    assert set(day) == set(range(100, 121))


@given(limit=st.integers(1, 700), at_once=st.integers(1, 250))
def test_a_limited_draw_is_a_fixed_part_of_the_whole(limit: int, at_once: int) -> None:
    def drawn(most: int, holders_at_once: int) -> set[tuple[int, int]]:
        holder, day = draw_examples(np.zeros(200, int), IDENTITY, Span(0, 20), 7, most, holders_at_once)
        order = np.lexsort((day, holder))
        assert (order == np.arange(len(order))).all()
        return set(zip(holder.tolist(), day.tolist(), strict=True))

    few = drawn(limit, at_once)
    assert len(few) == min(limit, 600)
    assert few == drawn(limit, 10**6)
    assert few <= drawn(limit + 50, at_once)


def test_a_draw_is_fair_to_early_and_late_dates_and_to_all_holders() -> None:
    holder, day = draw_examples(np.zeros(200, int), IDENTITY, Span(0, 699), 7, limit=4_000)
    assert 300 < day.mean() < 400
    assert len(set(holder)) == 200


def test_the_draw_follows_the_holder_not_its_number() -> None:
    holder, day = draw_examples(np.zeros(200, int), IDENTITY, Span(0, 50), 7, limit=300)
    turned = IDENTITY[::-1].copy()
    other, other_day = draw_examples(np.zeros(200, int), turned, Span(0, 50), 7, limit=300)
    one = set(zip(IDENTITY[holder].tolist(), day.tolist(), strict=True))
    assert one == set(zip(turned[other].tolist(), other_day.tolist(), strict=True))
