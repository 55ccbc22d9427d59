"""What is kept of the retrainings: the items of the table `{project}-retraining`.

The table's key is Workload (partition) and Item (sort). Kinds of items, by the beginning of `Item`:

    attempt#{number, 6 digits}   one retraining, numbered through for its workload. Writing it is what decides: of two
                                 invocations at once that both want to start, one writes the next number, and the other
                                 is refused.
    notice#{cause}               a person was told of a cause that was given up
    state                        what was decided last, for those who look

A `cause` is an alarm, and the moment since which it is on: `fraud-forecaster-prod-quality@2026-11-22T14:00:00Z`.
All attributes are texts, moments in ISO 8601 with a Z, but `Expires`, a number of seconds since 1970 after which
DynamoDB deletes attempts and notices (90 days). The standard library only: whoever reads it imports this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

KEPT = timedelta(days=90)
ATTEMPT, NOTICE, STATE = "attempt#", "notice#", "state"

# What became of an attempt; empty while it is under way.
REGISTERED = "registered"  # a package waits for approval, or was approved meanwhile
UNCHANGED = "unchanged"  # the newest package is this very model: nothing to register
NOT_BETTER = "not-better"  # the quality gate refused it: its limits, or the champion on the same windows
FAILED = "failed"
STOPPED = "stopped"

# Of a notice. One that was begun, and not sent within minutes, is sent by the next who looks.
BEGUN, SENT = "begun", "sent"


def text_of(moment: datetime) -> str:
    """An aware moment as it is kept: ISO 8601 in UTC, whole seconds, a Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def cause_of(alarm: str, since: datetime) -> str:
    """What a retraining answers: an alarm, and since when it is on (aware)."""
    return f"{alarm}@{text_of(since)}"


@dataclass(frozen=True)
class Attempt:
    """One retraining. `started` and `ended` are aware."""

    number: int
    """Through all of the workload's."""
    cause: str
    alarm: str
    """The alarm's name."""
    try_number: int
    """The first for its cause is 1."""
    started: datetime
    reason: str
    """Why, in a sentence."""
    display_name: str
    """The execution's, which no other has."""
    input_data_uri: str = ""
    git_commit: str = ""
    execution_arn: str = ""
    """Empty until the build pipeline was started."""
    outcome: str = ""
    outcome_reason: str = ""
    package_arn: str = ""
    """What it registered."""
    ended: datetime | None = None

    def item(self, workload: str) -> dict[str, Any]:
        """As DynamoDB's client takes it."""
        texts = {
            "Cause": self.cause,
            "Alarm": self.alarm,
            "Try": str(self.try_number),
            "Started": text_of(self.started),
            "Reason": self.reason,
            "DisplayName": self.display_name,
            "InputDataUri": self.input_data_uri,
            "GitCommit": self.git_commit,
            "Execution": self.execution_arn,
            "Outcome": self.outcome,
            "OutcomeReason": self.outcome_reason,
            "Package": self.package_arn,
            "Ended": "" if self.ended is None else text_of(self.ended),
        }
        return {
            **attempt_key(workload, self.number),
            **{name: {"S": text} for name, text in texts.items()},
            **_expires(self.started),
        }

    @staticmethod
    def parse(item: Mapping[str, Any]) -> Attempt:
        """From what DynamoDB's client gives."""
        texts = {name: value.get("S", "") for name, value in item.items()}
        return Attempt(
            number=int(texts["Item"].removeprefix(ATTEMPT)),
            cause=texts["Cause"],
            alarm=texts["Alarm"],
            try_number=int(texts["Try"]),
            started=datetime.fromisoformat(texts["Started"]),
            reason=texts["Reason"],
            display_name=texts["DisplayName"],
            input_data_uri=texts["InputDataUri"],
            git_commit=texts["GitCommit"],
            execution_arn=texts["Execution"],
            outcome=texts["Outcome"],
            outcome_reason=texts["OutcomeReason"],
            package_arn=texts["Package"],
            ended=datetime.fromisoformat(texts["Ended"]) if texts["Ended"] else None,
        )


@dataclass(frozen=True)
class Notice:
    """That a person was told. `at` is aware."""

    cause: str
    status: str
    """`begun` or `sent`."""
    at: datetime
    text: str

    def item(self, workload: str) -> dict[str, Any]:
        """As DynamoDB's client takes it."""
        return {
            **notice_key(workload, self.cause),
            "Status": {"S": self.status},
            "At": {"S": text_of(self.at)},
            "Text": {"S": self.text},
            **_expires(self.at),
        }

    @staticmethod
    def parse(item: Mapping[str, Any]) -> Notice:
        """From what DynamoDB's client gives."""
        cause = item["Item"]["S"].removeprefix(NOTICE)
        return Notice(cause, item["Status"]["S"], datetime.fromisoformat(item["At"]["S"]), item["Text"]["S"])


@dataclass(frozen=True)
class State:
    """What was decided when it was looked last. `at` and `until` are aware."""

    at: datetime
    decision: str
    """`start`, `wait`, `notify` or `nothing`."""
    reason: str
    cause: str = ""
    until: datetime | None = None
    """When that what is waited for is over, where it is known."""

    def item(self, workload: str) -> dict[str, Any]:
        """As DynamoDB's client takes it."""
        return {
            **state_key(workload),
            "At": {"S": text_of(self.at)},
            "Decision": {"S": self.decision},
            "Reason": {"S": self.reason},
            "Cause": {"S": self.cause},
            "Until": {"S": "" if self.until is None else text_of(self.until)},
        }

    @staticmethod
    def parse(item: Mapping[str, Any]) -> State:
        """From what DynamoDB's client gives."""
        texts = {field.name: item[field.name.capitalize()]["S"] for field in fields(State)}
        return State(
            at=datetime.fromisoformat(texts["at"]),
            decision=texts["decision"],
            reason=texts["reason"],
            cause=texts["cause"],
            until=datetime.fromisoformat(texts["until"]) if texts["until"] else None,
        )


def attempt_key(workload: str, number: int) -> dict[str, Any]:
    return _key(workload, f"{ATTEMPT}{number:06d}")


def notice_key(workload: str, cause: str) -> dict[str, Any]:
    return _key(workload, f"{NOTICE}{cause}")


def state_key(workload: str) -> dict[str, Any]:
    return _key(workload, STATE)


def _key(workload: str, item: str) -> dict[str, Any]:
    return {"Workload": {"S": workload}, "Item": {"S": item}}


def _expires(moment: datetime) -> dict[str, Any]:
    return {"Expires": {"N": str(int((moment + KEPT).timestamp()))}}
