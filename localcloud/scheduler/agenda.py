"""What occurs again and again: the next occurrence of each thing, in the store and in the timetable.

An occurrence that comes is handed on together with all others of its moment, in the order of their keys. Whoever takes
it plans the next one in the same transaction as whatever is to come of this one, so that a process that is killed loses
none: its successor takes up what was due at a moment that the timetable had reached. What falls between two processes
is left out, since nothing ran then that it was about.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from localcloud.context import Context


@dataclass(frozen=True)
class Occurrence:
    """One that is planned."""

    key: str
    moment: datetime
    """As its expression has it."""
    due: datetime
    """When it is handed on: later, where it has a flexible window."""


class Agenda:
    """The plan of one kind of thing. All methods may be called from any thread."""

    def __init__(
        self, context: Context, kind: str, come: Callable[[Sequence[str], datetime], None], closing: Callable[[], bool]
    ) -> None:
        """kind: of the documents in the store. come: takes the keys of what is due at a moment; it asks `planned` again
        within its transaction, as something may have changed. closing: whether nothing is to be begun any more."""
        self._context, self._kind, self._come, self._closing = context, kind, come, closing
        self._lock = threading.Lock()
        self._moments: dict[datetime, set[str]] = {}

    def recover(self, replan: Callable[[str], None]) -> None:
        """Take up the plan of an earlier process. `replan` plans anew what it has missed while nothing ran."""
        reached, now = self._context.timetable.reached_before, self._context.clock.now()
        for key, document in self._context.store.list(self._kind):
            missed = document["Due"] <= now and (reached is None or document["Due"] > reached)
            if missed:
                replan(key)
            else:
                self._enter(key, document["Due"])

    def plan(self, key: str, moment: datetime, due: datetime) -> None:
        """Plan the next occurrence, in place of another; within the caller's transaction, if there is one."""
        self._context.store.put(self._kind, key, {"Moment": moment, "Due": due})
        self._enter(key, due)

    def forget(self, key: str) -> None:
        """Plan nothing; within the caller's transaction, if there is one."""
        self._context.store.delete(self._kind, key)

    def planned(self, key: str) -> Occurrence | None:
        """The next occurrence, if there is one."""
        document = self._context.store.get(self._kind, key)
        return None if document is None else Occurrence(key, document["Moment"], document["Due"])

    def _enter(self, key: str, due: datetime) -> None:
        """One entry of the timetable for all that is due at a moment."""
        with self._lock:
            keys = self._moments.get(due)
            if keys is not None:
                keys.add(key)
                return
            self._moments[due] = {key}
        self._context.timetable.at(due, partial(self._arrive, due), self._kind)

    def _arrive(self, due: datetime) -> None:
        with self._lock:
            keys = sorted(self._moments.pop(due))
        if not self._closing():
            with self._context.timetable.working():
                self._come(keys, due)
