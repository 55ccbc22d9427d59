"""From a schedule to its target: the next occurrence is planned; one that comes is stored, then delivered.

    planned ── its moment comes ──> stored, and the next one planned ──> attempt ── done ──> forgotten
                                                                          ├── failed ──> again, later and later
                                                                          └── hopeless, or too often ──> dead letters

What falls due at one moment is stored in one transaction, and then begun in the order of the schedules' ARNs. What is
stored outlives the process: an attempt whose end was not recorded is made again, as Scheduler invokes at least once. A
leap of the machine's clock (it slept) brings one occurrence of a schedule, not all that it has passed over.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from localcloud.context import Context
from localcloud.events.targets import DeliveryError
from localcloud.scheduler import expressions
from localcloud.scheduler.agenda import Agenda
from localcloud.scheduler.targets import Invocation, Targets

SCHEDULE = "scheduler/schedule"
_DELIVERY = "scheduler/delivery"
_LOG = logging.getLogger(__name__)
_FIRST_DELAY_SECONDS, _LONGEST_DELAY_SECONDS = 1.0, 600.0
_LEAST = timedelta(microseconds=1)
Document = dict[str, Any]


def key_of(group: str, name: str) -> str:
    """The key of a schedule in the store, and the end of its ARN."""
    return f"{group}/{name}"


class Firing:
    """Plans occurrences and delivers them. All methods may be called from any thread."""

    def __init__(self, context: Context, settle: Callable[[], None]) -> None:
        self._context, self._settle = context, settle
        self._agenda = Agenda(context, "scheduler/due", self._come, lambda: self._closing)
        self._targets = Targets(context)
        self._closing = False

    def start(self) -> None:
        """Take up what an earlier process has left."""
        for key, document in self._context.store.list(_DELIVERY, members=("DueAt",)):
            self._context.timetable.at(document["DueAt"], partial(self._attempt, key), f"deliver {key}")
        self._agenda.recover(self._replan)

    def stop(self) -> None:
        """Begin no more attempts; what is not delivered stays in the store."""
        self._closing = True

    def plan(self, key: str, document: Document) -> None:
        """Plan the first occurrence of a schedule that is new, or has changed; within the caller's transaction."""
        now = self._context.clock.now()
        recurs = isinstance(expressions.parse(document["ScheduleExpression"]), expressions.Calendar)
        anchor: datetime = document["Anchor"]
        # A rate begins where it is anchored, and what is asked for in this second is not over.
        self._plan(key, document, now if recurs or anchor < now.replace(microsecond=0) else anchor)

    def forget(self, key: str) -> None:
        """Plan nothing more for a schedule; within the caller's transaction."""
        self._agenda.forget(key)

    def _replan(self, key: str) -> None:
        document = self._context.store.get(SCHEDULE, key)
        if document is not None:
            self._plan(key, document, self._context.clock.now())

    def _plan(self, key: str, document: Document, start: datetime) -> None:
        moment = next_occurrence(document, start) if document["State"] == "ENABLED" else None
        if moment is None:
            self._agenda.forget(key)
        else:
            self._agenda.plan(key, moment, moment + _shift(document, moment))

    def _come(self, keys: Sequence[str], due: datetime) -> None:
        with self._context.store.transaction():
            deliveries = [found for key in keys if (found := self._take(key, due)) is not None]
        for name, delivery in deliveries:
            self._try(name, delivery)
        if not self._closing:
            self._settle()

    def _take(self, key: str, due: datetime) -> tuple[str, Document] | None:
        """Store an occurrence as one to be delivered, and plan the next one."""
        store, now = self._context.store, self._context.clock.now()
        planned, document = self._agenda.planned(key), store.get(SCHEDULE, key)
        if planned is None or document is None or planned.due != due:
            # The schedule was changed or deleted.
            return None
        delivery = {
            "Schedule": key,
            "ScheduleArn": document["Arn"],
            "Occurrence": planned.moment,
            "Target": document["Target"],
            "TakenAt": now,
            "DueAt": now,
            "Failures": 0,
        }
        name = f"{key} {planned.moment.isoformat()}"
        store.put(_DELIVERY, name, delivery)
        self._plan(key, document, max(planned.moment + _LEAST, now - _window(document)))
        return name, delivery

    def _attempt(self, name: str) -> None:
        delivery = self._context.store.get(_DELIVERY, name)
        if delivery is not None and not self._closing:
            with self._context.timetable.working():
                self._try(name, delivery)
                self._settle()

    def _try(self, name: str, delivery: Document) -> None:
        if self._closing:
            return
        context = self._context
        invocation = Invocation(
            delivery["ScheduleArn"],
            delivery["Occurrence"],
            delivery["Target"],
            delivery["Failures"] + 1,
            context.account_id,
            context.region,
        )
        try:
            self._targets.invoke(invocation)
        except DeliveryError as error:
            if not self._closing:
                self._failed(name, delivery, invocation, error)
            return
        except Exception:
            # It is in the store: the next start takes it up again.
            _LOG.exception("the schedule %s, due at %s", delivery["ScheduleArn"], invocation.scheduled_time)
            return
        self._end(name, delivery)

    def _failed(self, name: str, delivery: Document, invocation: Invocation, error: DeliveryError) -> None:
        policy = delivery["Target"]["RetryPolicy"]
        _LOG.info("the schedule %s, due at %s: %s", delivery["ScheduleArn"], invocation.scheduled_time, error)
        exhausted = ""
        if error.again:
            exhausted = "MaximumRetryAttempts"
            if delivery["Failures"] < policy["MaximumRetryAttempts"]:
                exhausted = "MaximumEventAgeInSeconds"
                delay = min(_FIRST_DELAY_SECONDS * 2 ** delivery["Failures"], _LONGEST_DELAY_SECONDS)
                due = self._context.clock.now() + timedelta(seconds=delay)
                if due <= delivery["TakenAt"] + timedelta(seconds=policy["MaximumEventAgeInSeconds"]):
                    again = {**delivery, "Failures": delivery["Failures"] + 1, "DueAt": due}
                    self._context.store.put(_DELIVERY, name, again)
                    self._context.timetable.at(due, partial(self._attempt, name), f"deliver {name} again")
                    return
        self._give_up(invocation, error, exhausted)
        self._end(name, delivery)

    def _give_up(self, invocation: Invocation, error: DeliveryError, exhausted: str) -> None:
        if not invocation.target.get("DeadLetterConfig", {}).get("Arn"):
            _LOG.warning(
                "%s is not delivered to %s at %s: %s",
                invocation.schedule_arn,
                invocation.target["Arn"],
                invocation.scheduled_time,
                error,
            )
            return
        try:
            self._targets.dead_letter(invocation, error, exhausted)
        except DeliveryError as refusal:
            _LOG.warning("the dead-letter queue of %s: %s", invocation.schedule_arn, refusal)

    def _end(self, name: str, delivery: Document) -> None:
        """Forget an occurrence, and the schedule if it was the last one of a schedule that wants that."""
        store, key = self._context.store, delivery["Schedule"]
        with store.transaction():
            store.delete(_DELIVERY, name)
            document = store.get(SCHEDULE, key) if self._agenda.planned(key) is None else None
            if document is not None and _is_complete(document, self._context.clock.now()):
                store.delete(SCHEDULE, key)


def next_occurrence(document: Document, start: datetime) -> datetime | None:
    """The first occurrence of a schedule at a moment or after it, within its own start and end.

    Start and end mean nothing to a schedule that occurs once.
    """
    expression = expressions.parse(document["ScheduleExpression"])
    zone = expressions.zone_of(document["ScheduleExpressionTimezone"])
    anchor = document.get("StartDate") or document["Anchor"]
    if isinstance(expression, expressions.Once):
        return expression.first_from(start, anchor, zone)
    found = expression.first_from(max(start, document.get("StartDate") or start), anchor, zone)
    end = document.get("EndDate")
    return None if found is None or (end is not None and found > end) else found


def _is_complete(document: Document, now: datetime) -> bool:
    return (
        document["ActionAfterCompletion"] == "DELETE"
        and document["State"] == "ENABLED"
        and next_occurrence(document, now + _LEAST) is None
    )


def _window(document: Document) -> timedelta:
    return timedelta(minutes=document["FlexibleTimeWindow"].get("MaximumWindowInMinutes") or 0)


def _shift(document: Document, occurrence: datetime) -> timedelta:
    """By how much later than the occurrence its target is invoked: anywhere in the flexible window, as it seems, and
    always the same for one schedule and one occurrence."""
    seconds = int(_window(document).total_seconds())
    if not seconds:
        return timedelta()
    digest = hashlib.sha256(f"{document['Arn']} {occurrence.isoformat()}".encode()).digest()
    return timedelta(seconds=int.from_bytes(digest[:8], "big") % seconds)
