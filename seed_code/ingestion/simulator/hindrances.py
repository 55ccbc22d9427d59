"""What comes between a question and its answer, when a fault is switched on."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.responses import Response

from seed_code.ingestion.simulator.clock import Clock
from seed_code.ingestion.simulator.faults import Fault
from seed_code.ingestion.simulator.plan import Plan

Pause = Callable[[float], Awaitable[None]]

_OF_ANSWERS = ("throttle", "error", "slow", "malformed", "date")
_STEP_SECONDS = 0.25  # of a silence: how soon it is noticed that it is over


@dataclass(frozen=True)
class Turn:
    """One answer to come: its number, and the fault that hits it."""

    number: int
    fault: Fault | None

    @property
    def malformed(self) -> Fault | None:
        """The fault, if it is that the answer is malformed."""
        return self.fault if self.fault is not None and self.fault.name == "malformed" else None

    @property
    def date_ahead(self) -> int:
        """Seconds by which the answer's Date is wrong."""
        return int(self.fault.options["seconds"]) if self.fault is not None and self.fault.name == "date" else 0


class Hindrances:
    """Decides of every answer what hits it.

    Attributes:
        counts: how often each fault did.
    """

    def __init__(self, switches: Plan, clock: Clock, pause: Pause = asyncio.sleep) -> None:
        self._plan = switches
        self._clock = clock
        self._pause = pause
        self._number = 0
        self.counts: Counter[str] = Counter()

    def turn(self) -> Turn:
        """The next answer's."""
        self._number += 1
        fault = self.outage()
        if fault is None:
            switched = self._plan.latest.faults
            hitting = (switched[name] for name in _OF_ANSWERS if name in switched and switched[name].hits(self._number))
            fault = next(hitting, None)
        if fault is not None:
            self.counts[fault.name] += 1
        return Turn(self._number, fault)

    def outage(self) -> Fault | None:
        """The outage that there is now, if there is one."""
        fault = self._plan.latest.faults.get("outage")
        minute = int(self._clock.now() // 60)
        return fault if fault is not None and fault.hits_minute(minute) else None

    async def met(self, turn: Turn, gone: Callable[[], Awaitable[bool]]) -> Response | None:
        """The answer that is given instead of a good one, if one is; waits when that is the fault.

        gone: whether the other side has hung up.
        """
        fault = turn.fault
        if fault is None or fault.name in ("malformed", "date"):
            return None
        if fault.name == "slow":
            await self._pause(fault.options["seconds"])
            return Response(status_code=503) if await gone() else None
        if fault.name == "outage":
            await self._silence(fault, gone)
            return Response("The source is down", 503)
        if fault.name == "throttle":
            return Response("Too many requests", 429, headers={"Retry-After": str(fault.options["retry_after"])})
        status = (500, 502, 503)[int(3 * fault.fraction(turn.number, "status"))]
        return Response("The source has an error", status)

    async def _silence(self, fault: Fault, gone: Callable[[], Awaitable[bool]]) -> None:
        """Wait as long as the outage lasts, the other side waits, and the fault says."""
        waited, hang = 0.0, float(fault.options["hang_seconds"])
        while waited < hang and self.outage() is not None and not await gone():
            step = min(_STEP_SECONDS, hang - waited)
            await self._pause(step)
            waited += step
