"""The timetable, by a clock that stands and by the machine's own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from localcloud.clock import SystemClock
from localcloud.timetable import Reached, Timetable
from tests.surroundings import StandingClock

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock(START)


@pytest.fixture
def timetable(clock: StandingClock) -> Iterator[Timetable]:
    timetable = Timetable(clock)
    yield timetable
    timetable.stop()


def test_all_that_falls_due_happens_in_order_and_at_its_moment(clock: StandingClock, timetable: Timetable) -> None:
    seen: list[tuple[str, float]] = []

    def note(name: str) -> None:
        seen.append((name, (clock.now() - START).total_seconds()))

    def repeat() -> None:
        note("again")
        timetable.after(20, repeat, "again")

    timetable.after(30, lambda: note("late"), "late")
    timetable.after(10, lambda: note("early"), "early")
    timetable.after(20, repeat, "again")
    timetable.after(10, lambda: note("cancelled"), "cancelled").cancel()
    timetable.after(61, lambda: note("beyond"), "beyond")
    assert timetable.advance(60) == START + timedelta(seconds=60)
    assert seen == [("early", 10), ("again", 20), ("late", 30), ("again", 40), ("again", 60)]
    assert clock.now() == START + timedelta(seconds=60)


def test_the_clock_stands_while_work_is_under_way(clock: StandingClock, timetable: Timetable) -> None:
    begun, may_end = threading.Event(), threading.Event()
    seen: list[str] = []

    def work() -> None:
        with timetable.working():
            begun.set()
            assert may_end.wait(10)
            seen.append(f"worked until {(clock.now() - START).total_seconds():.0f}")

    def start_work() -> None:
        thread = threading.Thread(target=work)
        thread.start()
        assert begun.wait(10)
        threads.append(thread)
        threading.Timer(0.01, may_end.set).start()

    threads: list[threading.Thread] = []
    timetable.after(10, start_work, "work")
    timetable.after(20, lambda: seen.append("next"), "next")
    timetable.advance(30)
    assert seen == ["worked until 10", "next"]
    threads[0].join()


def test_what_fails_does_not_keep_the_rest_from_happening(
    timetable: Timetable, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []
    timetable.after(1, lambda: 1 / 0, "broken")  # type: ignore[arg-type,return-value]
    timetable.after(2, lambda: seen.append("whole"), "whole")
    timetable.advance(5)
    assert seen == ["whole"]
    assert "broken" in caplog.text


def test_time_does_not_go_back(timetable: Timetable) -> None:
    with pytest.raises(ValueError, match="time does not go back: -1 s"):
        timetable.advance(-1)


def test_the_machines_clock_reaches_what_is_due_by_itself_and_goes_on_after_an_advance() -> None:
    clock = SystemClock()
    timetable = Timetable(clock)
    timetable.start()
    done, jumped = threading.Event(), threading.Event()
    timetable.after(0.01, done.set, "soon")
    timetable.after(3600, jumped.set, "in an hour")
    assert done.wait(10)
    before = clock.now()
    timetable.advance(3600)
    assert jumped.is_set()
    assert clock.now() - before >= timedelta(hours=1)
    again = threading.Event()
    timetable.after(0.01, again.set, "after the jump")
    assert again.wait(10)
    timetable.stop()


def test_a_set_clock_stands_until_it_is_released() -> None:
    clock = SystemClock()
    held = clock.hold()
    assert clock.now() == clock.now() == held
    clock.set(held + timedelta(days=1))
    assert clock.now() == held + timedelta(days=1)
    with pytest.raises(ValueError, match="cannot be set back"):
        clock.set(held)
    clock.release()
    assert clock.now() >= held + timedelta(days=1)


def test_all_that_is_due_at_one_moment_is_begun_before_what_came_of_it_is_waited_for(
    clock: StandingClock, timetable: Timetable
) -> None:
    both = threading.Barrier(2, timeout=10)
    seen: list[str] = []

    def work(name: str) -> None:
        with timetable.working():
            begun.release()
            both.wait()
            seen.append(name)

    def begin(name: str) -> None:
        thread = threading.Thread(target=work, args=(name,))
        thread.start()
        assert begun.acquire(timeout=10)
        threads.append(thread)

    begun, threads = threading.Semaphore(0), []  # type: ignore[var-annotated]
    timetable.after(10, lambda: begin("one"), "one")
    timetable.after(10, lambda: begin("two"), "two")
    timetable.after(11, lambda: seen.append("later"), "later")
    timetable.advance(20)
    assert (sorted(seen[:2]), seen[2]) == (["one", "two"], "later")
    for thread in threads:
        thread.join()


def test_each_moment_is_kept_before_anything_happens_at_it(clock: StandingClock) -> None:
    kept: list[tuple[float, bool]] = []

    def keep(reached: Reached) -> None:
        assert reached.moment >= clock.now(), "it is told before the clock is there"
        kept.append(((reached.moment - START).total_seconds(), reached.standing))

    timetable = Timetable(clock, keep)
    seen: list[tuple[float, bool]] = []
    for seconds in (10, 10, 30):
        timetable.after(seconds, lambda: seen.append(kept[-1]), "entry")
    timetable.advance(60)
    assert seen == [(10, True), (10, True), (30, True)]
    # At the end the clock goes on by itself.
    assert kept == [(10, True), (30, True), (60, False)]
    # Where nothing is due and nothing under way, where it stands need not be kept.
    timetable.advance(60)
    assert kept[3:] == [(120, False)]
    with timetable.working():
        advancing = threading.Thread(target=timetable.advance, args=(60,))
        advancing.start()
        while len(kept) < 5:
            advancing.join(0.01)
    advancing.join()
    assert kept[4:] == [(120, True), (180, False)]
    timetable.stop()


def test_moments_that_come_by_themselves_are_kept_too() -> None:
    kept: list[Reached] = []
    clock = SystemClock()
    timetable = Timetable(clock, kept.append)
    timetable.start()
    done = threading.Event()
    moment = clock.now() + timedelta(milliseconds=10)
    timetable.at(moment, done.set, "soon")
    assert done.wait(10)
    timetable.stop()
    assert [(one.moment, one.standing) for one in kept] == [(moment, False)]
