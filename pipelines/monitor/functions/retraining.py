"""Starts the build pipeline when production's model has become bad, and tells a person when that does not help.

It is called when something may have changed, and then looks at all there is (`decision.decide` says what follows):

    CloudWatch Alarm State Change                    of production's quality or drift
    SageMaker Model Building Pipeline Execution …    a build has ended
    {"check": true, "time": …}                       every hour, for what nobody sends an event of: a time that has
                                                     passed, an invocation that was cut off

It may be cut off anywhere, and called twice at once. What it is about to do is written before it is done, under a
number that only one can write; whoever finds something begun and not finished goes on with it (`_settle`). The
execution's token and its name are made of what was written, so that a second start finds the first.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from pipelines import names as n
from pipelines.carried import retraining as kept
from pipelines.carried import serving
from pipelines.carried.project import client, log, moment_of, names
from pipelines.carried.retraining import Attempt, Notice, State
from pipelines.monitor.functions import builds, registered, table
from pipelines.monitor.functions.decision import NOTIFY, START, Alarm, Decision, Settings, Situation, decide

SETTINGS_VARIABLE = "RETRAINING"
STAGE = "prod"
_CAUSES = (n.QUALITY, n.DRIFT)
# A notice for each cause, then a start: more can never follow from one look.
_ROUNDS = len(_CAUSES) + 1


@log.inject_lambda_context
def handler(event: dict[str, Any], _: LambdaContext) -> dict[str, str]:
    """Look at the workloads that an event is about; gives the last decision for each.

    One that cannot be looked at fails the call, after the others: its fault is not theirs.
    """
    now = moment_of(event)
    decided: dict[str, str] = {}
    failed: list[Exception] = []
    for workload in _workloads(event):
        try:
            decided[workload] = _control(workload, now).action
        except Exception as error:
            log.exception("a workload cannot be looked at", extra={"workload": workload})
            failed.append(error)
    if failed:
        raise failed[0]
    return decided


def _workloads(event: dict[str, Any]) -> list[str]:
    """Those that an event is about, of those whose production is watched."""
    watched = [workload for workload, stages in n.MONITORED.items() if STAGE in stages]
    detail = event.get("detail")
    if detail is None:
        return watched
    if "alarmName" in detail:
        return [workload for workload in watched if detail["alarmName"] in _alarms(workload, _CAUSES)]
    pipeline = detail["pipelineArn"].rpartition("/")[2]
    return [workload for workload in watched if pipeline == names().pipeline(workload, builds.KIND)]


def _control(workload: str, now: datetime) -> Decision:
    """Do what is to be done in a workload at a moment."""
    settings = Settings.parse(os.environ[SETTINGS_VARIABLE], workload)
    for _ in range(_ROUNDS):
        attempts = _settle(workload, settings, table.attempts(workload))
        decision = decide(now, settings, _situation(workload, now, attempts))
        state = State(now, decision.action, decision.reason, decision.cause, decision.until)
        table.note_state(workload, state)
        log.info("decided", extra={"workload": workload, "decision": decision.action, "because": decision.reason})
        if decision.action == START:
            _start(workload, now, settings, attempts, decision)
            return decision
        if decision.action != NOTIFY:
            return decision
        _notify(workload, now, decision)
    return decision


# --- what is the case -------------------------------------------------------------------------------------------------


def _situation(workload: str, now: datetime, attempts: Sequence[Attempt]) -> Situation:
    firing = _firing(workload)
    causes = [alarm for name, alarm in firing.items() if name in _alarms(workload, _CAUSES)]
    if not causes:
        return Situation(attempts=attempts)
    missing = names().monitor_alarm(workload, STAGE, n.DATA)
    served = serving.find(client("ssm"), names().serving_parameter(workload, STAGE))
    ours = {attempt.package_arn for attempt in attempts if attempt.package_arn and attempt.alarm in firing}
    return Situation(
        firing=causes,
        data_missing=missing if missing in firing else "",
        attempts=attempts,
        running=builds.under_way(workload),
        undecided=registered.undecided(workload, served.version if served else 0),
        rejected=registered.rejected(ours),
        served_since=served.since if served else None,
        told=table.told(workload, now),
    )


def _firing(workload: str) -> dict[str, Alarm]:
    """Those of production's alarms that are on, by name."""
    found = client("cloudwatch").describe_alarms(
        AlarmNames=_alarms(workload, n.MONITOR_ALARMS), AlarmTypes=["MetricAlarm"], StateValue="ALARM"
    )["MetricAlarms"]
    return {
        alarm["AlarmName"]: Alarm(
            alarm["AlarmName"], alarm.get("StateTransitionedTimestamp") or alarm["StateUpdatedTimestamp"]
        )
        for alarm in found
    }


def _alarms(workload: str, kinds: Iterable[str]) -> list[str]:
    return [names().monitor_alarm(workload, STAGE, kind) for kind in kinds]


# --- what follows -----------------------------------------------------------------------------------------------------


def _settle(workload: str, settings: Settings, attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    """Go on with the attempt that is not over: start what was not started, and keep what became of it."""
    if not attempts or attempts[-1].outcome:
        return attempts
    attempt = attempts[-1]
    if not attempt.execution_arn:
        attempt = _begin(workload, settings, attempt)
    if not attempt.outcome:
        attempt = builds.outcome(attempt)
        if attempt.outcome:
            _end(workload, settings, attempt)
    return (*attempts[:-1], attempt)


def _start(workload: str, now: datetime, settings: Settings, attempts: Sequence[Attempt], decision: Decision) -> None:
    inputs = builds.last_inputs(workload)
    kind = decision.alarm.removeprefix(f"{names().project}-")
    attempt = Attempt(
        number=attempts[-1].number + 1 if attempts else 1,
        cause=decision.cause,
        alarm=decision.alarm,
        try_number=decision.try_number,
        started=now.replace(microsecond=0),
        reason=decision.reason,
        display_name=f"retrain-{kind}-{now:%Y%m%d%H%M%S}-{decision.try_number}",
        input_data_uri=inputs.input_data_uri,
        git_commit=inputs.git_commit,
    )
    if not table.reserve(workload, attempt):
        log.info("another invocation starts", extra={"workload": workload, "number": attempt.number})
        return
    _begin(workload, settings, attempt)


def _begin(workload: str, settings: Settings, attempt: Attempt) -> Attempt:
    begun = builds.begin(workload, attempt, settings.min_improvement)
    table.keep(workload, begun)
    if begun.outcome:
        log.error("the retraining cannot be started", extra={"cause": begun.cause, "because": begun.outcome_reason})
    else:
        log.info("started", extra={"execution": begun.execution_arn, "cause": begun.cause, "because": begun.reason})
    return begun


def _end(workload: str, settings: Settings, attempt: Attempt) -> None:
    """Keep what became of an attempt. What follows from it is done before: whoever is cut off does it again."""
    if attempt.outcome == kept.REGISTERED and settings.approve_for_staging:
        registered.approve_for_staging(attempt.package_arn, f"Retraining: {attempt.reason}")
    table.keep(workload, attempt)
    extra = {"cause": attempt.cause, "outcome": attempt.outcome, "because": attempt.outcome_reason}
    log.info("a retraining is over", extra=extra)


def _notify(workload: str, now: datetime, decision: Decision) -> None:
    """Tell a person of a cause that was given up, once. Cut off between the two last calls, it tells a second time."""
    notice = Notice(decision.cause, kept.BEGUN, now, decision.reason)
    if not table.begin_notice(workload, notice):
        return
    client("sns").publish(
        TopicArn=names().notices_topic_arn,
        Subject=f"{names().project}: retraining of {workload} was given up"[:100],
        Message=decision.reason,
    )
    table.note_sent(workload, notice)
    log.warning("a person was told", extra={"cause": decision.cause, "text": decision.reason})
