"""The agenda: what a process that is killed leaves behind, and what its successor makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from localcloud.context import Context
from localcloud.scheduler.agenda import Agenda
from localcloud.timetable import Reached, Timetable
from tests.surroundings import StandingClock, surroundings

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


class Process:
    """A localcloud with an hourly thing, which notes each occurrence in one transaction with the plan of the next."""

    def __init__(self, context: Context, kept: list[Reached], fail: Callable[[str], None]) -> None:
        before = kept[-1].moment if kept else None
        clock: StandingClock = context.clock  # type: ignore[assignment]
        self.timetable = Timetable(clock, kept.append, before)
        # The context is frozen: the parts that a new process makes anew are replaced as a whole.
        self.context = Context(**{**vars(context), "timetable": self.timetable})
        self.fail, self.came = fail, []  # type: ignore[var-annotated]
        self.agenda = Agenda(self.context, "test/due", self.come, lambda: False)

    def come(self, keys: Sequence[str], due: datetime) -> None:
        self.fail("reached")
        with self.context.store.transaction():
            for key in keys:
                planned = self.agenda.planned(key)
                if planned is not None and planned.due == due:
                    self.context.store.put("test/noted", f"{key} {due.isoformat()}", {})
                    self.agenda.plan(key, due + HOUR, due + HOUR)
            self.fail("stored")
        self.fail("committed")
        self.came.extend((key, due) for key in keys)

    def replan(self, key: str) -> None:
        now = self.context.clock.now()
        moment = START + ((now - START) // HOUR + 1) * HOUR
        self.agenda.plan(key, moment, moment)

    def noted(self) -> list[str]:
        return sorted(key for key, _ in self.context.store.list("test/noted"))


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    found = surroundings(tmp_path)
    yield found
    found.calls.close()
    found.store.close()


def nothing(_: str) -> None:
    pass


def test_what_is_due_at_one_moment_comes_together_in_order(context: Context) -> None:
    process = Process(context, [], nothing)
    for key in ("b", "c", "a"):
        process.agenda.plan(key, START + HOUR, START + HOUR)
    process.agenda.plan("c", START + 2 * HOUR, START + 2 * HOUR)
    process.agenda.forget("b")
    process.timetable.advance(HOUR.total_seconds())
    assert process.came == [("a", START + HOUR), ("b", START + HOUR), ("c", START + HOUR)]
    assert process.noted() == [f"a {(START + HOUR).isoformat()}"]


@pytest.mark.parametrize("place", ["reached", "stored", "committed"])
def test_a_kill_at_any_point_loses_no_moment_that_was_reached(context: Context, place: str) -> None:
    kept: list[Reached] = []

    def fail(where: str) -> None:
        if where == place and context.clock.now() == START + 2 * HOUR:
            raise Killed

    process = Process(context, kept, fail)
    process.agenda.plan("a", START + HOUR, START + HOUR)
    with pytest.raises(Killed):
        process.timetable.advance(5 * HOUR.total_seconds())
    # The clock was kept where it stood, and not where it was to go.
    assert (kept[-1].moment, kept[-1].standing) == (START + 2 * HOUR, True)

    successor = Process(context, kept, nothing)
    successor.agenda.recover(successor.replan)
    successor.timetable.advance(HOUR.total_seconds())
    assert successor.noted() == [f"a {(START + hours * HOUR).isoformat()}" for hours in (1, 2, 3)]


def test_what_falls_due_between_two_processes_is_left_out(context: Context) -> None:
    kept: list[Reached] = []
    process = Process(context, kept, nothing)
    process.agenda.plan("a", START + HOUR, START + HOUR)
    process.timetable.advance(HOUR.total_seconds())
    context.clock.set(START + timedelta(hours=7, minutes=30))  # type: ignore[attr-defined]

    successor = Process(context, kept, nothing)
    successor.agenda.recover(successor.replan)
    successor.timetable.advance(HOUR.total_seconds())
    assert successor.noted() == [f"a {(START + hours * HOUR).isoformat()}" for hours in (1, 8)]
