"""One update by blue/green: new servers start, and traffic is shifted to them stage by stage, or back by an alarm.

    run ── new servers start ── shift ── bake ── shift ── bake ── … ── finish: the old servers end
              │                   └─ an alarm in ALARM, or the deployment takes too long ──> roll back: the new ones end
              └─ they do not come up ──> roll back

A bake is an entry in the timetable, nothing that waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from localcloud.sagemaker.endpoints.background import Background
from localcloud.sagemaker.endpoints.fleet import FleetError
from localcloud.sagemaker.endpoints.policy import Stage
from localcloud.timetable import Entry

AlarmStates = Callable[[Sequence[str]], Mapping[str, str]]
"""The states of CloudWatch alarms, by name; those that there are not are left out."""

ALARM = "ALARM"


class Endpoint(Protocol):
    """What a deployment does to its endpoint."""

    def launch(self) -> None:
        """Start the new servers, and wait until they are well. Raises FleetError."""
        ...

    def abandon(self) -> None:
        """End the new servers, which came up after it was rolled back."""
        ...

    def activate(self, stage: Stage) -> None:
        """Give the new servers this part of the traffic."""
        ...

    def bake(self, stage: Stage) -> None:
        """Say that it is waited."""
        ...

    def complete(self) -> None:
        """The new servers are the endpoint's; the old ones end."""
        ...

    def roll_back(self, reason: str) -> None:
        """All traffic goes to the old servers; the new ones end."""
        ...


class Deployment:
    """An update under way. `fail` may be called at any time, from any thread."""

    def __init__(
        self,
        endpoint: Endpoint,
        stages: Sequence[Stage],
        background: Background,
        *,
        alarms: Sequence[str] = (),
        states: AlarmStates,
        limit_seconds: int | None = None,
    ) -> None:
        self.alarms = frozenset(alarms)
        self._endpoint, self._stages, self._background = endpoint, stages, background
        self._states, self._limit_seconds = states, limit_seconds
        # Held while traffic is shifted, so that a roll-back comes before or after, but not in between.
        self._lock = threading.Lock()
        self._over = False
        self._entries: list[Entry] = []

    def run(self) -> None:
        """Begin; returns at the first bake, or at the end."""
        if self._limit_seconds is not None:
            reason = f"The deployment took longer than its MaximumExecutionTimeoutInSeconds of {self._limit_seconds}."
            self._entries.append(
                self._background.later(self._limit_seconds, "deployment time limit", lambda: self.fail(reason))
            )
        if self._is_alarmed():
            return
        try:
            self._endpoint.launch()
        except FleetError as error:
            self.fail(str(error))
            return
        if self._over:
            self._endpoint.abandon()
        elif not self._is_alarmed():
            self._shift(0)

    def on_alarm(self, name: str) -> None:
        """An alarm has gone off."""
        if name in self.alarms and not self._over:
            self._background.run(f"roll-back by {name}", lambda: self.fail(_alarmed([name])))

    def fail(self, reason: str) -> None:
        """Roll back; nothing happens if the deployment is over."""
        if self._end():
            self._endpoint.roll_back(reason)

    def _shift(self, number: int) -> None:
        stage = self._stages[number]
        with self._lock:
            if self._over:
                return
            self._endpoint.activate(stage)
            if stage.bake_seconds:
                self._endpoint.bake(stage)
                self._entries.append(self._background.later(stage.bake_seconds, "bake", lambda: self._baked(number)))
                return
        self._baked(number)

    def _baked(self, number: int) -> None:
        if number + 1 < len(self._stages):
            self._shift(number + 1)
        elif self._end():
            self._endpoint.complete()

    def _is_alarmed(self) -> bool:
        """Whether an alarm is in ALARM already, in which case it was rolled back."""
        if not self.alarms:
            return False
        found = [name for name, state in self._states(sorted(self.alarms)).items() if state == ALARM]
        if found:
            self.fail(_alarmed(found))
        return bool(found)

    def _end(self) -> bool:
        """Whether it was under way until now."""
        with self._lock:
            if self._over:
                return False
            self._over = True
            entries, self._entries = self._entries, []
        for entry in entries:
            entry.cancel()
        return True


def _alarmed(names: Sequence[str]) -> str:
    plural = len(names) > 1
    return (
        f"The deployment was rolled back: the CloudWatch alarm{'s' if plural else ''} {', '.join(names)}"
        f" {'are' if plural else 'is'} in the ALARM state."
    )
