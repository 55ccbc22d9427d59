"""What is looked at with every request to an API: made from the store once, and forgotten with any change."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Remembered(Generic[Key, Value]):
    """Values by key. A value that was being made while a change came is given once, and not kept."""

    def __init__(self, make: Callable[[Key], Value | None]) -> None:
        self._make = make
        self._values: dict[Key, Value] = {}
        self._changes = 0
        self._lock = threading.Lock()

    def get(self, key: Key) -> Value | None:
        """The value, or None. That there is none is not remembered: whoever asks for what is not there, and with how
        many names, must not fill the memory."""
        found = self._values.get(key)
        if found is not None:
            return found
        changes = self._changes
        made = self._make(key)
        if made is not None:
            with self._lock:
                if changes == self._changes:
                    self._values[key] = made
        return made

    def forget(self, concerned: Callable[[Key], bool] = lambda key: True) -> None:
        """Forget what concerns a change. Called when that is committed."""
        with self._lock:
            self._changes += 1
            self._values = {key: value for key, value in self._values.items() if not concerned(key)}
