"""What is read of the monitoring: reports of any shape, an alarm's phases, the account's time, watching."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from pipelines.account_time import account_time
from pipelines.carried.retraining import State
from pipelines.cli import watch
from pipelines.errors import ServiceError
from pipelines.monitoring import ALARM, HOUR, OK, Alarm, Phase, Transition, parse, phases
from pipelines.retrainings import Retrainings
from pipelines.watching import Run, StageSeen, WorkloadSeen
from tests.pipelines import watched
from tests.pipelines.watched import FIRST, NAMES


def test_a_report_is_read() -> None:
    found = watched.evaluation(watched.document(32))
    assert (found.version, found.verdict, found.breaches) == (1, "scored", True)
    assert found.time == FIRST + 32 * HOUR
    assert found.spread == pytest.approx((0.3562, 0.5565), rel=1e-3)
    assert [one.detected for one in found.drift] == [True, False]
    assert found.run_id == "0123456789abcdef"
    unscored = watched.evaluation(watched.unscored(3))
    assert (unscored.loss, unscored.breaches, unscored.spread) == (None, False, None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no json",
        b"[]",
        b"{}",
        json.dumps({**watched.document(0), "schema_version": 2}).encode(),
        json.dumps({**watched.document(0), "evaluation_time": "soon"}).encode(),
        json.dumps({**watched.document(0), "drift": [{"stream": "loss"}]}).encode(),
        json.dumps({**watched.document(0), "metrics": None}).encode(),
        json.dumps({**watched.document(0), "windows": ["a", None]}).encode(),
        json.dumps({**watched.document(0), "fields": 3}).encode(),
        json.dumps({**watched.document(0), "evaluation_time": "0001-01-01T00:00:00+05:00"}).encode(),
        b"[" * 100_000,
    ],
)
def test_what_is_no_report_is_left_out(body: bytes) -> None:
    assert parse("s3://b/k", "forecaster", "prod", body) is None


def test_values_that_are_no_numbers_are_no_metrics() -> None:
    told = watched.document(0, metrics={"a": float("nan"), "b": True, "c": "1", "d": 2, "e": float("inf")})
    assert dict(watched.evaluation(told).metrics) == {"d": 2.0}


def test_phases_of_an_alarm() -> None:
    def change(hour: int, state: str) -> Transition:
        return Transition(FIRST + hour * HOUR, "", state, "")

    def hours(*changes: Transition, state: str = OK, since: int = 9) -> list[Phase]:
        return phases(changes, state, FIRST + since * HOUR)

    at = [FIRST + hour * HOUR for hour in range(10)]
    assert hours() == []
    assert hours(change(1, ALARM), change(3, OK), change(5, ALARM), change(6, OK)) == [
        Phase(at[1], at[3]),
        Phase(at[5], at[6]),
    ]
    assert hours(change(1, ALARM), change(3, "INSUFFICIENT_DATA")) == [Phase(at[1], at[3])]
    assert hours(change(1, ALARM), state=ALARM) == [Phase(at[1], None)]
    assert hours(state=ALARM, since=4) == [Phase(at[4], None)]  # its history is forgotten


def test_the_project_knows_its_alarms_by_name() -> None:
    assert NAMES.monitored_by("demo-forecaster-staging-drift") == ("forecaster", "staging", "drift")
    assert NAMES.monitored_by("demo-cardholders-staging-drift") is None
    assert NAMES.monitored_by("other-forecaster-prod-drift") is None


def _sts(**headers: str) -> Any:
    return SimpleNamespace(get_caller_identity=lambda: {"ResponseMetadata": {"HTTPHeaders": headers}})


def test_the_accounts_time_is_that_of_its_answers_or_of_what_was_seen_there() -> None:
    account = _sts(date="Sun, 22 Nov 2026 14:00:43 GMT")
    assert account_time(account) == datetime(2026, 11, 22, 14, 0, 43, tzinfo=UTC)
    later = datetime(2026, 11, 25, tzinfo=UTC)
    assert account_time(account, [FIRST, None, later]) == later
    for broken in (_sts(), _sts(date="yesterday")):
        with pytest.raises(ServiceError, match="expected one such as `Sun, 22 Nov 2026 14:00:00 GMT`"):
            account_time(broken)


# --- watching ---------------------------------------------------------------------------------------------------------


def _seen(
    hours: int = 40, alarms: Sequence[Alarm] = (), runs: Sequence[Run] = (), known: Retrainings | None = None
) -> WorkloadSeen:
    stage = StageSeen(
        stage="prod",
        serving=watched.stage_now(version=1).serving,
        evaluations=watched.monitored(hours=hours).evaluations[-24:],
        alarms={one.kind: one for one in alarms},
    )
    return WorkloadSeen("forecaster", FIRST + hours * HOUR, [stage], runs, known or Retrainings())


def _console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=160, color_system=None)


def _text(out: Console) -> str:
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


def test_on_a_pipe_every_change_is_a_line() -> None:
    run = Run("arn:r", "build", "retrain-1", "Executing", FIRST)
    readings = [
        _seen(30, [watched.alarm(state=OK, since=FIRST)]),
        _seen(30, [watched.alarm(state=OK, since=FIRST)]),
        _seen(34, [watched.firing()], [run], Retrainings(tuple([replace(watched.attempts()[0], outcome="")]))),
        _seen(34, [watched.firing()], [replace(run, status="Succeeded")], Retrainings(tuple(watched.attempts()))),
    ]
    out = _console(terminal=False)
    watch.follow(out, iter([[one] for one in readings]))
    assert _text(out).splitlines() == [
        "forecaster prod: version 1 since 2026-11-19 23:00 UTC",
        "forecaster prod: 2026-11-21 06:00 UTC wQL 0.1120, below the threshold of 0.2500",
        "forecaster prod: alarm quality OK since 2026-11-20 01:00 UTC",
        "forecaster prod: 2026-11-21 10:00 UTC wQL 0.4800, above the threshold of 0.2500; drift of loss",
        "forecaster prod: alarm quality ALARM since 2026-11-21 10:00 UTC",
        "forecaster build: retrain-1 is running, begun 2026-11-20 01:00 UTC",
        "forecaster retraining: retrain-1-demo-forecaster-prod-quality is under way, try 1",
        "forecaster build: retrain-1 succeeded, begun 2026-11-20 01:00 UTC",
    ]


def test_on_a_terminal_it_is_a_table() -> None:
    waits = State(FIRST, "wait", "not before then", "", FIRST + 2 * HOUR)
    run = Run("arn:r", "monitor", "prod-1", "Executing", FIRST)
    out = _console(terminal=True)
    watch.follow(out, iter([[_seen(40, [watched.firing()], [run], Retrainings(state=waits))]]))
    text = _text(out)
    for told in (
        "forecaster prod",
        "21 Nov 16:00",
        "0.4764",
        "3 min",
        "quality ALARM",
        "forecaster monitor prod-1 since",
        "`mlops explain demo-forecaster-prod-quality` says why",
        "forecaster retraining: not before then, until 2026-11-20 03:00 UTC",
        "as of 2026-11-21 17:00 UTC",
    ):
        assert told in text


def test_a_line_of_blocks_has_one_for_each_hour() -> None:
    told = [watched.evaluation(watched.document(hour)) for hour in (0, 32)]
    told.append(watched.evaluation(watched.unscored(33)))
    line = watch.sparkline(told)
    assert line.plain == "▂█·"
    assert [span.style for span in line.spans] == ["green", "red", "bright_black"]
    assert watch.sparkline([]).plain == ""


def test_a_stage_that_was_never_evaluated_is_shown() -> None:
    seen = WorkloadSeen("cardholders", FIRST, [StageSeen("prod", None, [], {})], [], Retrainings())
    out = _console(terminal=True)
    out.print(watch.shown([seen]))
    assert "cardholders prod  none     not yet" in _text(out)
    assert watch.facts_of([seen], {}) == {}
