"""Rules with a schedule: when each is due next.

Source: "Creating a rule that runs on a schedule in Amazon EventBridge" (EventBridge User Guide). A rate counts from the
moment at which the rule was made, and has its first event one period later; cron is in UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from localcloud.context import Context
from localcloud.errors import ServiceError, validation
from localcloud.scheduler import expressions
from localcloud.scheduler.agenda import Agenda

RULE = "events/rule"
_LEAST = timedelta(microseconds=1)
Document = dict[str, Any]


class Timer:
    """The plan of the rules. `come` gets the keys of the rules that are due at a moment, in their order, and asks
    `take` for them. All methods may be called from any thread."""

    def __init__(self, context: Context, come: Callable[[Sequence[str], datetime], None]) -> None:
        self._context, self._closing = context, False
        self._agenda = Agenda(context, "events/due", come, lambda: self._closing)

    def start(self) -> None:
        """Take up the plan of an earlier process."""
        self._agenda.recover(self._replan)

    def stop(self) -> None:
        """Begin nothing more."""
        self._closing = True

    def plan(self, key: str, rule: Document) -> None:
        """Plan for a rule that is new, or has changed; within the caller's transaction."""
        self._plan(key, rule, self._context.clock.now())

    def forget(self, key: str) -> None:
        """Plan nothing more for a rule; within the caller's transaction."""
        self._agenda.forget(key)

    def take(self, keys: Sequence[str], due: datetime) -> list[Document]:
        """Those of the rules that are due indeed, each planned anew; within the caller's transaction."""
        taken = []
        for key in keys:
            planned, rule = self._agenda.planned(key), self._context.store.get(RULE, key)
            # Else it was changed or deleted.
            if planned is not None and rule is not None and planned.due == due:
                # A leap of the machine's clock brings one event, not all that it has passed over.
                self._plan(key, rule, max(due, self._context.clock.now() - _LEAST))
                taken.append(rule)
        return taken

    def _replan(self, key: str) -> None:
        rule = self._context.store.get(RULE, key)
        if rule is not None:
            self.plan(key, rule)

    def _plan(self, key: str, rule: Document, after: datetime) -> None:
        moment = None
        if rule.get("ScheduleExpression") and rule["State"] == "ENABLED":
            anchor: datetime = rule["Anchor"]
            expression = expressions.parse(rule["ScheduleExpression"])
            moment = expression.first_from(max(after, anchor) + _LEAST, anchor, UTC)
        if moment is None:
            self._agenda.forget(key)
        else:
            self._agenda.plan(key, moment, moment)


def check(text: str) -> None:
    """Raise ValidationException for an expression that rules do not take: rules do not occur once, and are particular
    about the plural."""
    try:
        expression = expressions.parse(text)
    except expressions.ExpressionError as error:
        raise _invalid(str(error)) from error
    if isinstance(expression, expressions.Once):
        raise _invalid("a rule has a rate or a cron expression; for a single occurrence make a schedule of Scheduler")
    if isinstance(expression, expressions.Rate) and expression.plural == text.startswith("rate(1 "):
        raise _invalid(f"the unit of {text!r} must be singular after 1, and plural after any other number")


def _invalid(reason: str) -> ServiceError:
    return validation(f"Parameter ScheduleExpression is not valid. Reason: {reason}")
