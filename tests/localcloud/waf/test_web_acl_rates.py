"""The counts of rate-based rules."""

from __future__ import annotations

import sys
import threading
from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from localcloud.waf import rates
from localcloud.waf.rates import MOST_KEYS, SLICES, Rate


def test_the_first_above_the_limit_exceeds_it_and_so_does_who_goes_on_asking() -> None:
    rate = Rate(limit=3, window_seconds=60)
    assert [rate.exceeded("a", 1000.0 + second) for second in range(6)] == [False] * 3 + [True] * 3
    assert not rate.exceeded("b", 1006.0)


def test_a_window_slides() -> None:
    rate = Rate(limit=2, window_seconds=60)
    assert not rate.exceeded("a", 1000.0)
    assert not rate.exceeded("a", 1030.0)
    assert rate.exceeded("a", 1059.9)
    # The first is out of the window, the one that was over the limit still counts.
    assert rate.exceeded("a", 1061.5)
    assert not rate.exceeded("a", 1200.0)


@given(
    st.lists(st.floats(0, 90, allow_nan=False), min_size=1, max_size=60),
    st.integers(1, 8),
    st.sampled_from([60, 120, 300, 600]),
)
def test_no_window_lets_more_than_the_limit_pass_and_none_is_a_slice_too_long(
    steps: list[float], limit: int, window: int
) -> None:
    rate, moment = Rate(limit, window), 0.0
    asked: deque[float] = deque()
    for step in steps:
        moment += step
        asked.append(moment)
        exceeded = rate.exceeded("a", moment)
        within = sum(one > moment - window for one in asked)
        within_longer = sum(one >= moment - window * (1 + 1 / SLICES) for one in asked)
        assert exceeded or within <= limit
        assert not exceeded or within_longer > limit


def test_callers_are_forgotten_from_the_one_that_has_not_asked_for_longest() -> None:
    rate = Rate(limit=1, window_seconds=600)
    rate.exceeded("first", 0.0)
    rate.exceeded("second", 0.0)
    for number in range(MOST_KEYS - 2):
        rate.exceeded(str(number), 1.0)
    assert rate.exceeded("first", 2.0)
    rate.exceeded("one more", 2.0)
    assert rate.exceeded("first", 3.0)
    assert not rate.exceeded("second", 3.0)


def test_what_a_caller_costs_does_not_grow_with_its_requests() -> None:
    count = rates._Count()
    for number in range(10_000):
        count.add(number // 50)
    assert len(count._slices) == SLICES + 1
    assert sys.getsizeof(count._slices) < 2_000


def test_threads_lose_no_request() -> None:
    rate, exceeded = Rate(limit=300, window_seconds=600), []
    barrier = threading.Barrier(4)

    def ask() -> None:
        barrier.wait()
        exceeded.extend(rate.exceeded("a", 5.0) for _ in range(100))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (exceeded.count(False), exceeded.count(True)) == (300, 100)
