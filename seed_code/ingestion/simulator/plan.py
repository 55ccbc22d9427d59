"""What is switched on, from which minute on: kept in a file, so that a restarted simulator tells the same story."""

import json
import os
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seed_code.ingestion.simulator import faults, moments
from seed_code.ingestion.simulator.faults import Fault, FaultError


@dataclass(frozen=True)
class Switches:
    """What holds from a minute on.

    Attributes:
        drift_at: the first minute of the other market, counted from 1970; None when it does not come.
        faults: by name.
    """

    drift_at: int | None
    faults: dict[str, Fault]

    def document(self) -> dict[str, Any]:
        """As it is asked for, and answered."""
        drift = None if self.drift_at is None else moments.stamp(60 * self.drift_at)
        return {"drift_at": drift, "faults": {name: fault.document() for name, fault in self.faults.items()}}


NOTHING = Switches(None, {})


class Plan:
    """The switches by minute; the last ones hold on. `file` None: nothing is kept."""

    def __init__(self, file: Path | None, first: Switches) -> None:
        self._file = file
        kept = _read(file)
        self._begins = [begin for begin, _ in kept] or [0]
        self._switches = [switches(entry, NOTHING) for _, entry in kept] or [first]

    @property
    def latest(self) -> Switches:
        """What was asked for last."""
        return self._switches[-1]

    def at(self, minute: int) -> Switches:
        """What holds for the transactions of a minute, counted from 1970."""
        return self._switches[bisect_right(self._begins, minute) - 1]

    def change(self, wanted: Switches, minute: int) -> Switches:
        """Switch from `minute` on, which nobody has seen yet. A drift does not begin before it; gives what holds."""
        drift = wanted.drift_at
        if drift is not None and drift != self.latest.drift_at:
            drift = max(drift, minute)
        changed = Switches(drift, wanted.faults)
        while self._begins and self._begins[-1] >= minute:  # asked for within the same minute: it never held
            self._begins.pop()
            self._switches.pop()
        self._begins.append(minute if self._begins else 0)
        self._switches.append(changed)
        self._keep()
        return changed

    def _keep(self) -> None:
        if self._file is None:
            return
        entries = zip(self._begins, self._switches, strict=True)
        document = [(begin, switches.document()) for begin, switches in entries]
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps(document))
        os.replace(fresh, self._file)


def switches(document: Any, before: Switches) -> Switches:
    """What a document asks for; what it does not speak of stays. Raises FaultError."""
    if not isinstance(document, dict):
        raise FaultError(f"{document!r:.80} is no object with drift_at or faults")
    unknown = sorted(set(document) - {"drift_at", "faults"})
    if unknown:
        raise FaultError(f"`{unknown[0]}` cannot be switched; expected drift_at or faults")
    drift = before.drift_at
    if "drift_at" in document:
        drift = None if document["drift_at"] is None else _minute(document["drift_at"])
    return Switches(drift, faults.parse(document["faults"]) if "faults" in document else before.faults)


def _minute(text: Any) -> int:
    try:
        return moments.seconds(text) // 60
    except (AttributeError, TypeError, ValueError):
        raise FaultError(
            f"drift_at is {text!r:.80}; expected an ISO 8601 time such as 2026-11-22T00:00:00Z, or null"
        ) from None


def _read(file: Path | None) -> list[tuple[int, dict[str, Any]]]:
    if file is None or not file.exists():
        return []
    entries: list[tuple[int, dict[str, Any]]] = json.loads(file.read_text())
    return entries
