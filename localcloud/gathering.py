"""What many tell and nobody waits for: taken over at once, and handed on together a little later.

An endpoint tells of seven values with every request, an API's stage of a line for its log. They are gathered for some
milliseconds and written together, so that a busy one costs no more than a quiet one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Generic, TypeVar

from localcloud.timetable import Timetable

_LOG = logging.getLogger(__name__)

Item = TypeVar("Item")


class Gathering(Generic[Item]):
    """Hands items to `take`, on a thread of its own. All methods may be called from any thread.

    While some wait the timetable knows that work is under way.
    """

    def __init__(
        self, name: str, timetable: Timetable, take: Callable[[Sequence[Item]], None], *, seconds: float
    ) -> None:
        """name: of the items, in the plural. seconds: how long they are gathered."""
        self._name, self._timetable, self._take, self._seconds = name, timetable, take, seconds
        self._waiting: list[Item] = []
        self._work: AbstractContextManager[None] | None = None
        self._changed = threading.Condition()
        self._taking = threading.RLock()
        self._closing, self._closed = threading.Event(), False
        self._thread: threading.Thread | None = None

    def put(self, items: Sequence[Item]) -> None:
        """Take over items. What is told after the end is not kept."""
        with self._changed:
            if self._closed:
                return
            if self._work is None:
                self._work = self._timetable.working()
                self._work.__enter__()
                self._changed.notify_all()
            self._waiting.extend(items)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def drain(self) -> None:
        """Return when everything that was put is taken: who looks at it then sees what was told before."""
        with self._taking:
            with self._changed:
                taken, self._waiting = self._waiting, []
                work, self._work = self._work, None
            if work is None:
                return
            try:
                self._take(taken)
            except Exception:
                _LOG.exception("%d %s are lost", len(taken), self._name)
            finally:
                work.__exit__(None, None, None)

    def stop(self) -> None:
        """Hand on what waits, and end."""
        self._closing.set()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        self.drain()

    def _run(self) -> None:
        while not self._closing.is_set():
            with self._changed:
                self._changed.wait_for(lambda: self._work is not None or self._closing.is_set())
            # Who advances the clock waits for them: what one puts then is not held back for the sake of the next.
            self._closing.wait(0 if self._timetable.advancing else self._seconds)
            self.drain()
