"""Whether a workload is retrained: the rules one by one, and over whatever may happen."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.carried.retraining import (
    FAILED,
    NOT_BETTER,
    REGISTERED,
    STOPPED,
    UNCHANGED,
    Attempt,
    Notice,
    State,
    cause_of,
)
from pipelines.errors import ServiceError
from pipelines.monitor.functions.decision import (
    NOTHING,
    NOTIFY,
    START,
    WAIT,
    Alarm,
    Decision,
    Settings,
    Situation,
    decide,
)

OUTCOMES = (REGISTERED, UNCHANGED, NOT_BETTER, FAILED, STOPPED)
SETTINGS = Settings(
    enabled=True,
    cooldown_hours=6,
    backoff_hours=4,
    min_improvement=0.03,
    max_attempts=3,
    daily_limit=4,
    approve_for_staging=False,
)
KEPT = json.dumps({"forecaster": asdict(SETTINGS)})
T0 = datetime(2026, 11, 22, 3, tzinfo=UTC)
QUALITY, DRIFT = "fraud-forecaster-prod-quality", "fraud-forecaster-prod-drift"
FIRING = (Alarm(QUALITY, T0),)
PACKAGE = "arn:aws:sagemaker:eu-west-1:123456789012:model-package/fraud-forecaster/4"


def test_settings_come_from_the_stacks_parameter() -> None:
    assert Settings.parse(KEPT, "forecaster") == SETTINGS


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", '{"forecaster": {}}', '{"forecaster": {"enable": true}}'])
def test_settings_that_are_none_are_refused_with_what_to_do(text: str) -> None:
    with pytest.raises(
        ServiceError, match=r"the stack's parameter Retraining is `.*`, expected .* the next deployment"
    ):
        Settings.parse(text, "forecaster")


def attempt(
    number: int = 1,
    *,
    alarm: str = QUALITY,
    since: datetime = T0,
    started: datetime = T0,
    outcome: str = FAILED,
    **more: Any,
) -> Attempt:
    fields: dict[str, Any] = {
        "number": number,
        "cause": cause_of(alarm, since),
        "alarm": alarm,
        "try_number": number,
        "started": started,
        "reason": "a test",
        "display_name": f"retrain-{number}",
        "outcome": outcome,
        "package_arn": PACKAGE if outcome == REGISTERED else "",
        "ended": started if outcome else None,
    }
    return Attempt(**{**fields, **more})


def at(hours: float, **situation: Any) -> Decision:
    """What is decided so many hours after the alarm has fired."""
    return decide(T0 + timedelta(hours=hours), SETTINGS, Situation(**{"firing": FIRING, **situation}))


def test_an_alarm_starts_a_retraining_that_names_it() -> None:
    decision = at(0)
    assert (decision.action, decision.cause, decision.try_number) == (START, f"{QUALITY}@2026-11-22T03:00:00Z", 1)
    assert decision.reason == f"the alarm {QUALITY} is on since 2026-11-22T03:00:00Z"


def test_without_an_alarm_and_when_it_is_switched_off_nothing_happens() -> None:
    assert at(0, firing=()).action == NOTHING
    off = decide(T0, replace(SETTINGS, enabled=False), Situation(firing=FIRING))
    assert off.action == NOTHING
    assert "monitoring.retraining.enabled" in off.reason


@pytest.mark.parametrize(
    ("situation", "because"),
    [
        ({"running": ["arn:…/execution/abc"]}, "arn:…/execution/abc is under way"),
        ({"undecided": 7}, "version 7 is newer than what production serves and waits for a decision"),
        (
            {"data_missing": "fraud-forecaster-prod-data"},
            "data are missing: the alarm fraud-forecaster-prod-data is on",
        ),
        ({"attempts": [attempt(outcome="", alarm=DRIFT)]}, "the retraining retrain-1 is under way"),
        (
            {"attempts": [attempt(number, alarm=f"other-{number}", started=T0) for number in range(1, 5)]},
            "there were 4 retrainings today, the daily limit",
        ),
    ],
)
def test_what_keeps_a_retraining_waiting(situation: dict[str, Any], because: str) -> None:
    decision = at(12, **situation)
    assert (decision.action, decision.reason) == (WAIT, because)
    assert decision.cause == cause_of(QUALITY, T0)


def test_the_daily_limit_ends_with_the_day() -> None:
    spent = [attempt(number, alarm=f"other-{number}") for number in range(1, 5)]
    assert at(20, attempts=spent).until == datetime(2026, 11, 23, tzinfo=UTC)
    assert at(21, attempts=spent).action == START


def test_another_cause_waits_for_the_cooldown() -> None:
    earlier = [attempt(alarm=DRIFT, since=T0 - timedelta(hours=2), started=T0 - timedelta(hours=2), outcome=REGISTERED)]
    decision = at(0, attempts=earlier)
    assert (decision.action, decision.until) == (WAIT, T0 + timedelta(hours=4))
    assert at(4, attempts=earlier).action == START


@pytest.mark.parametrize("outcome", [one for one in OUTCOMES if one != REGISTERED])
def test_what_did_not_help_is_tried_again_each_time_after_twice_as_long(outcome: str) -> None:
    tried = [attempt(1, outcome=outcome)]
    assert at(3.9, attempts=tried).until == T0 + timedelta(hours=4)
    again = at(4, attempts=tried)
    assert (again.action, again.try_number, again.cause) == (START, 2, cause_of(QUALITY, T0))
    assert f"the one before is {outcome}" in again.reason
    tried.append(attempt(2, outcome=outcome, started=T0 + timedelta(hours=4)))
    assert at(11.9, attempts=tried).action == WAIT
    assert at(12, attempts=tried).action == START


def test_a_registered_model_answers_its_cause_until_a_person_rejects_it() -> None:
    answered = [attempt(outcome=REGISTERED)]
    decision = at(500, attempts=answered)
    assert (decision.action, decision.reason) == (NOTHING, "version 4 was registered for it")
    rejected = at(500, attempts=answered, rejected=frozenset({PACKAGE}))
    assert (rejected.action, rejected.try_number) == (START, 2)
    assert "the one before is rejected" in rejected.reason


def test_a_person_is_told_once_after_the_last_try() -> None:
    tried = [attempt(number, outcome=NOT_BETTER, outcome_reason="worse by 0.1") for number in (1, 2, 3)]
    decision = at(48, attempts=tried, data_missing="data", running=["build"])
    assert decision.action == NOTIFY
    assert "3 retrainings have not mended it" in decision.reason
    assert "retrain-3, is not-better: worse by 0.1" in decision.reason
    assert f"`mlops explain {QUALITY}`" in decision.reason
    assert at(48, attempts=tried, told=frozenset({decision.cause})).action == NOTHING


def test_an_alarm_that_was_on_before_the_model_came_is_a_new_cause_after_a_while() -> None:
    served = T0 + timedelta(hours=10)
    answered = [attempt(outcome=REGISTERED)]
    waits = at(11, attempts=answered, served_since=served)
    assert (waits.action, waits.until, waits.cause) == (WAIT, served + timedelta(hours=6), cause_of(QUALITY, served))
    assert at(16, attempts=answered, served_since=served).action == START
    later = Alarm(QUALITY, served + timedelta(hours=1))
    assert at(11, firing=[later], attempts=answered, served_since=served).action == START


def test_the_cause_that_is_older_goes_first_and_one_that_can_start_before_one_that_waits() -> None:
    both = [Alarm(QUALITY, T0), Alarm(DRIFT, T0 - timedelta(hours=1))]
    assert at(0, firing=both).alarm == DRIFT
    done = [attempt(alarm=DRIFT, since=T0 - timedelta(hours=1), started=T0 - timedelta(hours=9), outcome=REGISTERED)]
    assert at(0, firing=both, attempts=done).alarm == QUALITY


# --- whatever may happen ----------------------------------------------------------------------------------------------


@dataclass
class World:
    """What happens to a workload in which every decision is carried out; a step is an hour."""

    settings: Settings
    now: datetime = T0
    since: dict[str, datetime] = field(default_factory=dict)
    data_missing: bool = False
    build_runs: bool = False
    undecided: bool = False
    served_since: datetime | None = None
    attempts: list[Attempt] = field(default_factory=list)
    rejected: set[str] = field(default_factory=set)
    told: list[str] = field(default_factory=list)

    def situation(self) -> Situation:
        return Situation(
            firing=[Alarm(name, since) for name, since in self.since.items()],
            data_missing="data" if self.data_missing else "",
            attempts=tuple(self.attempts),
            running=["build"] if self.build_runs else [],
            undecided=1 if self.undecided else None,
            rejected=frozenset(self.rejected),
            served_since=self.served_since,
            told=frozenset(self.told),
        )

    def happens(self, event: str) -> None:
        kind, _, what = event.partition(" ")
        if kind == "fires":
            self.since.setdefault(what, self.now)
        elif kind == "ends":
            self.since.pop(what, None)
        elif kind == "turns":
            setattr(self, what, not getattr(self, what))
        elif kind == "deployed":
            self.served_since = self.now
        elif kind == "settles" and self.attempts and not self.attempts[-1].outcome:
            package = f"package/{self.attempts[-1].number}" if what == REGISTERED else ""
            self.attempts[-1] = replace(self.attempts[-1], outcome=what, ended=self.now, package_arn=package)
        elif kind == "rejects" and self.attempts:
            self.rejected |= {self.attempts[-1].package_arn} - {""}

    def looks(self) -> None:
        """Decides, and does it; what must never be is asserted."""
        decision = decide(self.now, self.settings, self.situation())
        if decision.action == NOTIFY:
            assert decision.cause not in self.told
            tries = [one for one in self.attempts if one.cause == decision.cause]
            assert len(tries) == self.settings.max_attempts
            self.told.append(decision.cause)
        if decision.action == START:
            assert self.since
            assert not any((self.data_missing, self.build_runs, self.undecided))
            assert all(one.outcome for one in self.attempts)
            answered = [
                one
                for one in self.attempts
                if one.cause == decision.cause and one.outcome == REGISTERED and one.package_arn not in self.rejected
            ]
            assert not answered
            assert decision.cause not in self.told
            others = [one.started for one in self.attempts if one.cause != decision.cause]
            cooldown = timedelta(hours=self.settings.cooldown_hours)
            assert all(self.now - started >= cooldown for started in others)
            self.attempts.append(
                attempt(
                    len(self.attempts) + 1,
                    started=self.now,
                    outcome="",
                    cause=decision.cause,
                    try_number=decision.try_number,
                )
            )
        assert max(Counter(one.cause for one in self.attempts).values(), default=0) <= self.settings.max_attempts
        days = Counter(one.started.date() for one in self.attempts)
        assert max(days.values(), default=0) <= self.settings.daily_limit
        # To look again at once changes nothing but what a notice has changed.
        if decision.action in (WAIT, NOTHING):
            assert decide(self.now, self.settings, self.situation()) == decision


_EVENTS = [
    *(f"{verb} {alarm}" for verb in ("fires", "fires", "ends") for alarm in (QUALITY, DRIFT)),
    *(f"turns {what}" for what in ("data_missing", "build_runs", "undecided")),
    *(f"settles {outcome}" for outcome in (*OUTCOMES, FAILED, NOT_BETTER)),
    *("deployed", "rejects", "nothing", "nothing"),
]


@given(
    settings=st.builds(
        Settings,
        enabled=st.just(True),
        cooldown_hours=st.integers(1, 12),
        backoff_hours=st.integers(1, 6),
        min_improvement=st.just(0.03),
        max_attempts=st.integers(1, 3),
        daily_limit=st.integers(1, 4),
        approve_for_staging=st.booleans(),
    ),
    events=st.lists(st.tuples(st.sampled_from(_EVENTS), st.integers(0, 5)), max_size=80),
)
def test_whatever_happens_the_rules_hold(settings: Settings, events: list[tuple[str, int]]) -> None:
    world = World(settings)
    for event, hours in events:
        world.happens(event)
        for _ in range(2):  # events come twice
            world.looks()
        world.now += timedelta(hours=hours)


@given(
    hours=st.floats(0, 100, allow_nan=False),
    tries=st.lists(st.sampled_from([FAILED, NOT_BETTER]), max_size=3),
)
def test_what_is_waited_for_comes(hours: float, tries: list[str]) -> None:
    """A retraining that waits for a moment is started, or given up, at that moment, if nothing else comes between."""
    tried = [
        attempt(number, outcome=outcome, started=T0 + timedelta(hours=number))
        for number, outcome in enumerate(tries, 1)
    ]
    decision = at(hours, attempts=tried)
    if decision.action == WAIT and decision.until is not None:
        assert decision.until > T0 + timedelta(hours=hours)
        then = decide(decision.until, SETTINGS, Situation(firing=FIRING, attempts=tried))
        assert then.action in (START, NOTIFY)


# --- as it is kept ----------------------------------------------------------------------------------------------------


def test_what_is_kept_reads_as_it_was() -> None:
    full = attempt(12, outcome=REGISTERED, execution_arn="arn:x", git_commit="abc", outcome_reason="version 4")
    for one in (full, attempt(outcome="")):
        assert Attempt.parse(one.item("forecaster")) == one
    notice = Notice(cause_of(QUALITY, T0), "sent", T0, "a text")
    assert Notice.parse(notice.item("forecaster")) == notice
    for until in (None, T0):
        state = State(T0, WAIT, "why", "cause", until)
        assert State.parse(state.item("forecaster")) == state


def test_attempts_sort_by_their_number_and_are_forgotten_after_90_days() -> None:
    items = [attempt(number).item("forecaster") for number in (9, 10, 100)]
    names = [item["Item"]["S"] for item in items]
    assert names == sorted(names)
    assert int(items[0]["Expires"]["N"]) == int((T0 + timedelta(days=90)).timestamp())
