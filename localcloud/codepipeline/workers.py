"""The threads that carry out actions, one for each run that somebody is at work for.

A run that waits for an approval, or for a function's answer, has none.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from localcloud.codepipeline import records
from localcloud.codepipeline.actions.kind import Kind
from localcloud.codepipeline.records import Records
from localcloud.codepipeline.refusals import REFUSALS, failure
from localcloud.codepipeline.runs import action_of
from localcloud.codepipeline.turn import CONFIGURATION, SYSTEM, ActionFailed, Closing, Halted, Outcome, Turn
from localcloud.context import Context

_LOG = logging.getLogger(__name__)


@dataclass
class _Work:
    """A thread at work for a run."""

    thread: threading.Thread
    wake: threading.Event


class Workers:
    """Carries out runs. All methods may be called from any thread."""

    def __init__(
        self,
        context: Context,
        found: Records,
        kinds: Mapping[tuple[str, str], Kind],
        lock: threading.RLock,
        ended: Callable[[str, Outcome], object],
    ) -> None:
        """kinds: what carries out an action, by its category and provider. lock: the one under which runs are changed.
        ended: is told how a run, by its key, has ended."""
        self._context, self._records, self._kinds, self._lock, self._ended = context, found, kinds, lock, ended
        self._working: dict[str, _Work] = {}
        self._closing = threading.Event()

    @property
    def is_closing(self) -> bool:
        """Whether nothing is begun any more."""
        return self._closing.is_set()

    def close(self) -> None:
        """Let every thread leave its run as it is, for the next localcloud, and wait until all have."""
        self._closing.set()
        with self._lock:
            working = list(self._working.values())
        for work in working:
            work.wake.set()
        for work in working:
            work.thread.join()

    def wake(self, key: str) -> None:
        """Let the thread of a run look whether it is still wanted."""
        with self._lock:
            if key in self._working:
                self._working[key].wake.set()

    def wake_all(self) -> None:
        """Let all look at what they wait for. Takes no lock: whoever calls may hold one of its own."""
        for work in list(self._working.values()):
            work.wake.set()

    def begin(self, key: str) -> None:
        """Let a thread carry out a run. The clock waits for it, from here on."""
        with self._lock:
            if self._closing.is_set() or key in self._working:
                return
            stack = ExitStack()
            stack.enter_context(self._context.timetable.working())
            wake = threading.Event()
            thread = threading.Thread(target=self._carry_out, args=(key, wake, stack), name="action", daemon=True)
            self._working[key] = _Work(thread, wake)
            thread.start()

    def _carry_out(self, key: str, wake: threading.Event, stack: ExitStack) -> None:
        with stack:
            try:
                outcome = self._outcome(key, wake)
                if outcome is not None and not self._closing.is_set():
                    self._ended(key, outcome)
            except Exception:
                # On a full disk, say. It is in the store as it was: the next start takes it up again.
                _LOG.exception("ending the action %s", key)
            finally:
                with self._lock:
                    self._working.pop(key, None)

    def _outcome(self, key: str, wake: threading.Event) -> Outcome | None:
        """How a run ended; None if somebody is to answer later, or if nobody waits for it."""
        try:
            turn = self._turn(key, wake)
            if turn is None:
                return None
            self._take_role(turn)
            return self._kinds[turn.action.category, turn.action.provider].run(turn)
        except ActionFailed as error:
            return Outcome.failed(error.code, error.message, **error.external)
        except (Closing, Halted):
            return None
        except Exception as error:  # a bug or a broken leaf: the execution must still end, and say why
            if self._closing.is_set():
                return None
            _LOG.exception("the action %s", key)
            return Outcome.failed(SYSTEM, f"InternalError: {type(error).__name__}: {error}")

    def _turn(self, key: str, wake: threading.Event) -> Turn | None:
        """What the action is given; None if nobody waits for the run. Raises ActionFailed."""
        with self._lock:
            run = self._records.run(key)
            if run is None or run["status"] != records.IN_PROGRESS:
                return None
            execution = self._records.execution(run["pipelineName"], run["pipelineExecutionId"])
            pipeline = self._records.read(run["pipelineName"], run["pipelineVersion"])
        action = action_of(pipeline, run)
        if "unresolved" in run["input"]:
            raise ActionFailed(CONFIGURATION, run["input"]["unresolved"])
        return Turn(
            context=self._context,
            pipeline=pipeline,
            execution_id=run["pipelineExecutionId"],
            action=action,
            run=run,
            configuration=run["input"]["resolvedConfiguration"],
            role_arn=action.role_arn or pipeline.role_arn,
            inputs={name: execution["artifacts"][name] for name in action.inputs},
            outputs=run["outputs"],
            overriding=execution["overriding"].get(action.name, {}),
            note=partial(self._note, key),
            ended=partial(self._is_over, key),
            closing=self._closing,
            wake=wake,
        )

    def _note(self, key: str, **members: Any) -> None:
        with self._lock:
            run = self._records.run(key)
            if run is not None:
                self._records.change_run(key, progress={**run["progress"], **members})

    def _is_over(self, key: str) -> bool:
        run = self._records.run(key)
        return run is None or run["status"] != records.IN_PROGRESS

    def _take_role(self, turn: Turn) -> None:
        """An action's own role is taken on by the pipeline's."""
        if turn.action.role_arn is None:
            return
        sts = self._context.clients.of("sts", turn.pipeline.role_arn)
        try:
            sts.assume_role(RoleArn=turn.action.role_arn, RoleSessionName=turn.id)
        except REFUSALS as error:
            raise failure(error, f"taking on the role {turn.action.role_arn}") from error
