"""Threads of work that the clock waits for when it is advanced, and that are all ended with localcloud."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack

from localcloud.timetable import Entry, Timetable

_LOG = logging.getLogger(__name__)


class Background:
    """Runs what takes long. Safe to call from any thread."""

    def __init__(self, timetable: Timetable) -> None:
        self._timetable = timetable
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._closing = False

    def run(self, name: str, action: Callable[[], None]) -> None:
        """Run `action` on a thread of its own; nothing happens when localcloud stops."""
        stack = ExitStack()
        # Entered here and not on the thread, before whose start the clock could go on.
        stack.enter_context(self._timetable.working())
        thread = threading.Thread(target=self._perform, args=(stack, name, action), name=name, daemon=True)
        with self._lock:
            if self._closing:
                stack.close()
                return
            self._threads.add(thread)
        thread.start()

    def later(self, seconds: float, name: str, action: Callable[[], None]) -> Entry:
        """Run `action` in so many seconds of the clock."""
        return self._timetable.after(seconds, lambda: self.run(name, action), name)

    def close(self) -> None:
        """Begin nothing more."""
        with self._lock:
            self._closing = True

    @property
    def closing(self) -> bool:
        return self._closing

    def join(self) -> None:
        """Wait for what runs."""
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join()

    def _perform(self, stack: ExitStack, name: str, action: Callable[[], None]) -> None:
        with stack:
            try:
                action()
            except Exception:
                if not self._closing:
                    _LOG.exception("%s", name)
            finally:
                with self._lock:
                    self._threads.discard(threading.current_thread())
