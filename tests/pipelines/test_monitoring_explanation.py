"""An alarm in sentences: golden texts of what happened, what was done and what to do next, and their rarer parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.carried.retraining import NOT_BETTER, SENT, Notice, State, cause_of
from pipelines.explanation import Explanation, explain
from pipelines.monitoring import HOUR, INSUFFICIENT, Monitored
from pipelines.registry import WAITING
from pipelines.report.format import rounded
from pipelines.retrainings import Retrainings
from tests.pipelines import watched
from tests.pipelines.watched import CHANGED, DEPLOYED, FIRED, FIRST

GOLDEN = Path(__file__).parent / "golden"


def _told(kind: str = "quality", workload: str = "forecaster", fired: bool = False, **changes: Any) -> Explanation:
    """The explanation of an alarm: of one that is on, with the retraining that is under way, or of one that is over."""
    hours = CHANGED + 8 if fired else watched.HOURS
    now = FIRST + hours * HOUR
    attempts = watched.attempts(workload)
    if fired:
        attempts = [attempts[0]]
    alarm = (watched.firing if fired else watched.alarm)(kind, workload)
    if kind == "data" and fired:
        alarm = watched.firing("data", workload, breaches=1, hours=1, level=30.0)
    version = 1 if fired else 2
    given: dict[str, Any] = {
        "alarm": alarm,
        "monitored": watched.monitored(workload, hours=hours, alarms=[alarm]),
        "retrainings": Retrainings(tuple(attempts)),
        "serving": watched.stage_now(workload, version=version).serving,
        "packages": [watched.package(version, workload)],
        "now": now,
    }
    return explain(**{**given, **changes})


def _without_data() -> Monitored:
    told = [watched.document(CHANGED)]
    told += [watched.unscored(CHANGED + hour) for hour in range(1, 8)]
    return Monitored("forecaster", "prod", [watched.evaluation(one) for one in told])


CASES = {
    "quality-cleared": lambda: _told(),
    "quality-firing": lambda: _told(
        fired=True,
        retrainings=Retrainings(
            (watched.attempts()[0],),
            state=State(FIRED + 5 * HOUR, "wait", "the retraining before is failed", "", FIRED + 6 * HOUR),
        ),
    ),
    "drift-firing": lambda: _told("drift", "cardholders", fired=True),
    "data-firing": lambda: _told("data", fired=True, monitored=_without_data()),
}


@pytest.mark.parametrize("case", CASES)
def test_an_alarm_is_told_as_it_was_agreed(case: str, regenerate: bool) -> None:
    file = GOLDEN / f"explain-{case}.txt"
    text = CASES[case]().text()
    if regenerate:
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def test_an_alarm_that_never_fired_tells_of_the_newest_hour() -> None:
    alarm = watched.alarm("quality", transitions=[], since=FIRST)
    told = _told(alarm=alarm)
    assert "is OK since 2026-11-20 01:00 UTC; it has not fired as far back as CloudWatch remembers." in told.headline
    assert told.happened == [
        "In the newest hour, to 2026-11-22 12:00 UTC, the weighted quantile loss was 0.1103, its threshold 0.2500."
    ]
    assert told.done == ["Nothing: it has not fired."]
    nothing = _told(alarm=alarm, monitored=Monitored("forecaster", "prod"))
    assert nothing.happened == ["Nothing has been evaluated yet."]
    unscored = watched.evaluation(watched.unscored(0))
    told = _told(alarm=alarm, monitored=Monitored("forecaster", "prod", [unscored]))
    assert "has no verdict: no minute of the hour has come." in told.happened[0]


def test_an_alarm_with_too_few_data_and_one_whose_hours_are_gone() -> None:
    told = _told(alarm=watched.alarm("quality", state=INSUFFICIENT))
    assert "has too few data since" in told.headline
    gone = _told(monitored=Monitored("forecaster", "prod"))
    assert gone.happened == ["No evaluation of that time is among those that were read."]


def test_what_was_done_is_told_to_its_end() -> None:
    first = watched.attempts()[0]
    under_way = replace(first, outcome="", outcome_reason="", ended=None)
    told = _told(fired=True, retrainings=Retrainings((under_way,)))
    assert told.done[0].endswith("(execution ab1); it is under way.")
    assert ("mlops watch forecaster", "see the retraining go on") in told.next
    assert not any(command.startswith("mlops run") for command, _ in told.next)

    refused = replace(first, outcome=NOT_BETTER, outcome_reason="the champion is better")
    notice = Notice(cause_of(first.alarm, FIRED), SENT, FIRED + 2 * HOUR, "4 retrainings have not mended it")
    told = _told(fired=True, retrainings=Retrainings((refused,), (notice,)))
    assert "its model was not better after 20 min: the champion is better." in told.done[0]
    assert "A person was told 2026-11-21 12:00 UTC: 4 retrainings have not mended it." in told.done
    assert ("mlops report forecaster build --execution ab1", "see why it came to nothing") in told.next

    assert "No retraining has been begun for it." in _told(fired=True, retrainings=Retrainings()).done


def test_staging_and_data_lead_to_no_retraining() -> None:
    staging = watched.firing("quality", stage="staging")
    assert "It leads to no retraining: only production's alarms do." in _told(fired=True, alarm=staging).done
    assert "a model that learns from missing data is no better" in _told("data", fired=True).done[0]


def test_the_next_command_is_the_decision_that_is_waited_for() -> None:
    waiting = watched.package(2, approval=WAITING)
    commands = [command for command, _ in _told(fired=True, packages=[waiting, watched.package(1)]).next]
    assert commands == [
        'mlops approve 2 --workload forecaster --why "…"',
        "mlops report forecaster build --execution ab1",
        "mlops report forecaster monitor --open",
    ]
    tested = watched.package(2, metadata={"staging_test_report_uri": "s3://b/t"})
    commands = [command for command, _ in _told(fired=True, packages=[tested, watched.package(1)]).next]
    assert commands[0] == 'mlops approve 2 --workload forecaster --stage prod --why "…"'


def test_a_version_that_came_shortly_before_the_alarm_may_go_back() -> None:
    serving = watched.stage_now().serving
    assert serving is not None
    fresh = replace(serving, since=FIRED - 2 * HOUR, version=1)
    told = _told(fired=True, serving=fresh)
    assert 'mlops rollback --workload forecaster --stage prod --why "…"' in [command for command, _ in told.next]
    assert any("2 h before it fired" in sentence for sentence in told.done)
    assert DEPLOYED > CHANGED


def test_many_hours_are_summed_up() -> None:
    told = _told()
    assert len(told.hours) == 9
    assert told.hours[4] == "… 8 hours more …"


def test_what_a_pipeline_joined_into_a_sentence_is_rounded() -> None:
    said = "its loss 0.4515704433668202 (at most 0.4); the same less the champion's -0.0028951183569213 (at most -0.1)"
    assert rounded(said) == "its loss 0.4516 (at most 0.4); the same less the champion's -0.0029 (at most -0.1)"
    assert rounded("version 2.10.123 of 3.11") == "version 2.10.123 of 3.11"
