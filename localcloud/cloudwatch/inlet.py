"""Where the measurements of localcloud's own services come in: taken over at once, and written together a little later.

An endpoint tells of seven values with every request. They are gathered for a few milliseconds and written in one
transaction, so that a busy endpoint costs no more than a quiet one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from localcloud.signals import Measurement
from localcloud.timetable import Timetable

_LOG = logging.getLogger(__name__)
_GATHER_SECONDS = 0.02


class Inlet:
    """Hands measurements to `take`, on a thread of its own. All methods may be called from any thread.

    While some wait the timetable knows that work is under way.
    """

    def __init__(self, timetable: Timetable, take: Callable[[Sequence[Measurement]], None]) -> None:
        self._timetable, self._take = timetable, take
        self._waiting: list[Measurement] = []
        self._work: AbstractContextManager[None] | None = None
        self._changed = threading.Condition()
        self._taking = threading.RLock()
        self._closing, self._closed = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="measurements", daemon=True)

    def put(self, measurements: Sequence[Measurement]) -> None:
        """Take over measurements. What is told after the end is not kept."""
        with self._changed:
            if self._closed:
                return
            if self._work is None:
                self._work = self._timetable.working()
                self._work.__enter__()
                self._changed.notify_all()
            self._waiting.extend(measurements)

    def drain(self) -> None:
        """Return when everything that was put is taken: who reads the metrics sees what was told before."""
        with self._taking:
            with self._changed:
                taken, self._waiting = self._waiting, []
                work, self._work = self._work, None
            if work is None:
                return
            try:
                self._take(taken)
            except Exception:
                _LOG.exception("%d measurements are lost", len(taken))
            finally:
                work.__exit__(None, None, None)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Take what waits, and end."""
        self._closing.set()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        self.drain()

    def _run(self) -> None:
        while not self._closing.is_set():
            with self._changed:
                self._changed.wait_for(lambda: self._work is not None or self._closing.is_set())
            self._closing.wait(_GATHER_SECONDS)
            self.drain()
