"""A thread that does one thing after the other, in the order in which they were asked for."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

from localcloud.timetable import Timetable

_LOG = logging.getLogger(__name__)

Task = Callable[[], None]


class Worker:
    """While there are tasks, the timetable knows that work is under way. What is left at the end is not done: who needs
    it done keeps it in the store."""

    def __init__(self, name: str, timetable: Timetable) -> None:
        self._name, self._timetable = name, timetable
        self._tasks: queue.SimpleQueue[tuple[Task, AbstractContextManager[None]] | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def submit(self, task: Task) -> None:
        """Have a task done. May be called from any thread, also before the start."""
        work = self._timetable.working()
        work.__enter__()
        self._tasks.put((task, work))

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the task that is being done."""
        self._closing.set()
        self._tasks.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while (found := self._tasks.get()) is not None:
            task, work = found
            try:
                if not self._closing.is_set():
                    task()
            except Exception:
                _LOG.exception("a task of %s", self._name)
            finally:
                work.__exit__(None, None, None)
