"""How a step waits: for an answer from outside, or for a moment of the clock.

While a step works, the clock is not advanced past it (`Timetable.working`); while it waits, it is. Whoever ends a wait
makes it work again before it is woken, so that there is no moment in between at which nobody seems to have work.
"""

from __future__ import annotations

import secrets
import string
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from localcloud.errors import ServiceError
from localcloud.store import Store
from localcloud.timetable import Timetable

_TOKENS = "sagemaker/callback-token"
_ALPHABET = string.ascii_letters + string.digits
_TOKEN_LENGTH = 10


class Work:
    """Whether one step is at work. All methods may be called from any thread, and more than once."""

    def __init__(self, timetable: Timetable) -> None:
        self._timetable = timetable
        self._lock = threading.Lock()
        self._working: AbstractContextManager[None] | None = None

    def begin(self) -> None:
        """From here on the clock waits for the step."""
        with self._lock:
            if self._working is None:
                self._working = self._timetable.working()
                self._working.__enter__()

    def end(self) -> None:
        """It does not any more."""
        with self._lock:
            working, self._working = self._working, None
        if working is not None:
            working.__exit__(None, None, None)


class Wait:
    """One wait of one step. The first `end` counts."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._outcome: Any = None

    def end(self, outcome: Any = None) -> bool:
        """Let the step go on, with an outcome; whether it still waited."""
        with self._lock:
            if self._ended.is_set():
                return False
            self._outcome = outcome
            self._work.begin()
            self._ended.set()
            return True

    def until_ended(self, grace_seconds: float = 0.0) -> Any:
        """Wait, and for so long still count as working; gives the outcome."""
        if grace_seconds:
            self._ended.wait(grace_seconds)
        with self._lock:
            if not self._ended.is_set():
                self._work.end()
        self._ended.wait()
        return self._outcome


@dataclass(frozen=True)
class Answer:
    """What SendPipelineExecutionStepSuccess, or -Failure, says of a callback step. `reason` is None for a success."""

    outputs: dict[str, str] = field(default_factory=dict)
    reason: str | None = None


@dataclass(frozen=True)
class _Waiting:
    execution_arn: str
    answer: Callable[[Answer], bool]


class Callbacks:
    """The callback steps that wait for an answer, by their tokens. They end with the process, like executions."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, _Waiting] = {}

    def open(self, execution_arn: str, answer: Callable[[Answer], bool]) -> str:
        """A token for a step that begins to wait; `answer` takes what it is told, and says whether it still waited."""
        with self._lock:
            token = "".join(secrets.choice(_ALPHABET) for _ in range(_TOKEN_LENGTH))
            self._waiting[token] = _Waiting(execution_arn, answer)
            return token

    def close(self, token: str) -> None:
        """The step waits no more."""
        with self._lock:
            self._waiting.pop(token, None)

    def answer(self, store: Store, token: str, request_token: str | None, answer: Answer) -> str:
        """Tell a step what it waits for; gives its execution's ARN. The same request again changes nothing.

        Raises ResourceNotFound for a token that no step waits for, and ConflictException for one that was answered.
        """
        with self._lock:
            waiting = self._waiting.get(token)
        if waiting is not None:
            record = {"ExecutionArn": waiting.execution_arn, "RequestToken": request_token}
            # Noted before the step goes on: a repeated request that comes after that finds it.
            if store.put(_TOKENS, token, record, if_absent=True) and waiting.answer(answer):
                return waiting.execution_arn
        earlier = store.get(_TOKENS, token)
        if earlier is None:
            raise ServiceError("ResourceNotFound", f"Callback token '{token}' is not one that a step waits with.")
        if request_token is None or earlier["RequestToken"] != request_token:
            raise ServiceError(
                "ConflictException",
                f"Callback token '{token}' was answered already, in the execution {earlier['ExecutionArn']}.",
            )
        arn: str = earlier["ExecutionArn"]
        return arn
