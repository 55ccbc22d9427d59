"""From an alarm to a build, and what becomes of it: over HTTP, by the events of a running localcloud."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from pipelines import names as n
from pipelines.carried.retraining import BEGUN, FAILED, NOT_BETTER, REGISTERED, SENT, STOPPED, Attempt, Notice
from tests.pipelines.monitor.watched import CARDHOLDERS, FORECASTER, Watched, until


def test_an_alarm_of_production_retrains_the_model_once_and_says_why(watched: Watched) -> None:
    before = len(watched.builds())
    alarm = watched.alarm(n.QUALITY)
    watched.quiet()
    [build] = watched.builds()[before:]
    [attempt] = watched.kept().attempts
    cause = watched.cause(alarm)
    assert (attempt.cause, attempt.alarm, attempt.execution_arn) == (cause, alarm, build["PipelineExecutionArn"])
    assert build["PipelineExecutionDisplayName"].startswith("retrain-forecaster-prod-quality-")
    described = watched.loop.sagemaker.describe_pipeline_execution(PipelineExecutionArn=attempt.execution_arn)
    assert described["PipelineExecutionDescription"] == f"Retraining: {attempt.reason}"
    assert alarm in attempt.reason
    tags = watched.loop.sagemaker.list_tags(ResourceArn=attempt.execution_arn)["Tags"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {
        "mlops:alarm": alarm,
        "mlops:cause": cause,
        "mlops:try": "1",
    }
    given = watched.parameters(build)
    assert given[n.EVALUATION_TIME] == attempt.started.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert given[n.SNAPSHOT_TIME] == n.NO_SNAPSHOT
    # Stricter than a person's build: to be as good as the champion is not enough.
    assert given["MaxChampionDifference"] == "-0.03"
    # The build's own end has told what became of it.
    assert (attempt.outcome, attempt.ended is not None) == (REGISTERED, True)
    package = watched.loop.sagemaker.describe_model_package(ModelPackageName=attempt.package_arn)
    assert package["ModelApprovalStatus"] == "PendingManualApproval"
    assert watched.check()[FORECASTER] == "nothing"
    assert watched.check(watched.now() + timedelta(hours=30))[FORECASTER] == "nothing"
    assert len(watched.builds()) == before + 1
    state = watched.kept().state
    assert state is not None
    assert state.reason == f"version {package['ModelPackageVersion']} was registered for it"


def test_other_alarms_retrain_nothing(watched: Watched) -> None:
    before = len(watched.builds())
    watched.alarm(n.QUALITY, stage="staging")
    watched.alarm(n.DATA)
    watched.quiet()
    assert len(watched.builds()) == before
    assert watched.check() == {FORECASTER: "nothing", CARDHOLDERS: "nothing"}


def test_the_same_event_many_times_at_once_starts_one_build(watched: Watched) -> None:
    before = len(watched.builds())
    watched.ends_as("waits")
    alarm = watched.alarm(n.DRIFT)
    event = {"time": watched.now().isoformat(), "detail": {"alarmName": alarm, "state": {"value": "ALARM"}}}
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(watched.invoke, [event] * 8))
    until(lambda: len(watched.builds()) > before, "a build was started")
    assert watched.check()[FORECASTER] == "wait"
    assert len(watched.builds()) == before + 1
    assert len(watched.kept().attempts) == 1
    watched.answer_builds()


def test_a_model_that_is_refused_is_tried_again_later_and_then_a_person_is_told(watched: Watched) -> None:
    before = len(watched.builds())
    watched.ends_as("refused")
    alarm = watched.alarm(n.QUALITY)
    watched.quiet()
    [first] = watched.kept().attempts
    assert (first.outcome, first.outcome_reason) == (NOT_BETTER, "worse than the champion by 0.1")
    assert watched.check()[FORECASTER] == "wait"
    watched.ends_as("fails")
    watched.check(watched.now() + timedelta(hours=6))  # the back-off is over
    watched.quiet()
    first, second = watched.kept().attempts
    assert (second.try_number, second.outcome, second.outcome_reason) == (2, FAILED, "Train: there are no data")
    assert second.started - first.started >= timedelta(hours=6)
    watched.check(second.started)  # its end came with an earlier time than it has begun at here
    told = [text for text in watched.notices() if "retrainings have not mended it" in text]
    assert len(told) == 1
    assert alarm in told[0]
    assert "Train: there are no data" in told[0]
    assert watched.check(second.started + timedelta(hours=40))[FORECASTER] == "nothing"
    assert watched.notices() == []
    assert len(watched.builds()) == before + 2
    [notice] = watched.kept().notices
    assert (notice.status, notice.cause) == (SENT, watched.cause(alarm))


def test_nothing_is_started_while_data_are_missing_a_build_runs_or_a_model_waits(watched: Watched) -> None:
    before = len(watched.builds())
    watched.alarm(n.DATA)
    watched.alarm(n.QUALITY)
    watched.quiet()
    assert watched.check()[FORECASTER] == "wait"
    state = watched.kept().state
    assert state is not None
    assert (
        state.reason == f"data are missing: the alarm {watched.names.monitor_alarm(FORECASTER, 'prod', n.DATA)} is on"
    )
    package = watched.loop.package(FORECASTER)
    watched.alarm(n.DATA, "OK")
    assert watched.check()[FORECASTER] == "wait"
    state = watched.kept().state
    assert state is not None
    assert f"version {package.version} is newer" in state.reason
    watched.loop.sagemaker.update_model_package(ModelPackageArn=package.arn, ModelApprovalStatus="Rejected")
    by_hand = watched.build("waits", **{n.SNAPSHOT_TIME: n.NO_SNAPSHOT})
    assert watched.check()[FORECASTER] == "wait"
    until(lambda: watched.loop.visible_in("builds"), "it waits")
    watched.answer_builds()
    # Its end is an event: nobody waits for the hour.
    until(lambda: len(watched.builds()) == before + 2, "the retraining begins")
    watched.quiet()
    [attempt] = watched.kept().attempts
    assert attempt.execution_arn != by_hand
    assert attempt.outcome == REGISTERED


def test_an_alarm_that_was_on_before_a_new_model_came_has_time_to_go_out(watched: Watched) -> None:
    alarm = watched.alarm(n.QUALITY)
    watched.quiet()
    [first] = watched.kept().attempts
    watched.loop.sagemaker.update_model_package(ModelPackageArn=first.package_arn, ModelApprovalStatus="Rejected")
    name, now = watched.names.serving_parameter(FORECASTER, "prod"), watched.now() + timedelta(hours=1)
    ssm = watched.client("ssm")
    before = json.loads(ssm.get_parameter(Name=name)["Parameter"]["Value"])
    ssm.put_parameter(Name=name, Value=json.dumps({**before, "since": now.isoformat()}), Type="String", Overwrite=True)
    assert watched.check(now + timedelta(hours=5))[FORECASTER] == "wait"
    assert watched.check(now + timedelta(hours=7))[FORECASTER] == "start"
    watched.quiet()
    ssm.put_parameter(Name=name, Value=json.dumps(before), Type="String", Overwrite=True)
    _, second = watched.kept().attempts
    assert second.alarm == alarm
    assert second.cause != first.cause


def test_a_workload_is_retrained_with_the_data_and_the_commit_of_its_last_build(watched: Watched) -> None:
    data = watched.loop.uri("cardholders/uploads/abc/")
    watched.build("fails", CARDHOLDERS, **{n.INPUT_DATA_URI: data, n.GIT_COMMIT: "c0ffee"})
    watched.quiet()
    watched.alarm(n.DRIFT, workload=CARDHOLDERS)
    watched.quiet()
    found = watched.parameters(watched.builds(CARDHOLDERS)[-1])
    assert (found[n.INPUT_DATA_URI], found[n.GIT_COMMIT], found["Outcome"]) == (data, "c0ffee", "good")


# --- cut off ----------------------------------------------------------------------------------------------------------


def _cut_off_after(watched: Watched, *, reserved: bool = True) -> Attempt:
    """A retraining that was begun, and is known up to some point."""
    watched.ends_as("waits")
    watched.alarm(n.QUALITY)
    watched.quiet()
    [attempt] = watched.kept().attempts
    assert attempt.outcome == ""
    return attempt


def test_cut_off_before_the_build_was_started_it_is_started_with_what_was_kept(watched: Watched) -> None:
    alarm = watched.alarm(n.DATA)  # so that nothing else begins
    before = len(watched.builds())
    name = f"retrain-forecaster-prod-quality-{watched.now():%Y%m%d%H%M%S}-1"
    reserved = Attempt(
        1, f"{alarm}@x", alarm, 1, watched.now().replace(microsecond=0), "a test", name, git_commit="c0ffee"
    )
    watched.write(reserved)
    watched.check()
    watched.quiet()
    [build] = watched.builds()[before:]
    assert build["PipelineExecutionDisplayName"] == name
    assert watched.parameters(build)[n.GIT_COMMIT] == "c0ffee"
    [attempt] = watched.kept().attempts
    assert attempt.outcome == REGISTERED


def test_cut_off_after_the_build_was_started_it_is_found_again(watched: Watched) -> None:
    before = len(watched.builds())
    attempt = _cut_off_after(watched)
    watched.write(replace(attempt, execution_arn=""))
    watched.ends_as("good")  # another runtime value: the start would not be the same one
    assert watched.check()[FORECASTER] == "wait"
    assert watched.kept().attempts == (attempt,)
    assert len(watched.builds()) == before + 1
    watched.answer_builds()


def test_cut_off_when_the_build_has_ended_what_became_of_it_is_found(watched: Watched) -> None:
    attempt = _cut_off_after(watched)
    with watched.loop.without_events("ended-builds"):
        watched.loop.sagemaker.stop_pipeline_execution(PipelineExecutionArn=attempt.execution_arn)
        watched.answer_builds()
        until(lambda: watched.builds()[-1]["PipelineExecutionStatus"] == "Stopped", "it is stopped")
    assert watched.kept().attempts == (attempt,)
    assert watched.check()[FORECASTER] == "wait"
    [ended] = watched.kept().attempts
    assert ended.outcome == STOPPED


def test_cut_off_while_a_person_was_told_the_next_one_tells(watched: Watched) -> None:
    alarm = watched.alarm(n.DATA)
    watched.alarm(n.QUALITY)
    watched.quiet()
    cause = watched.cause(watched.names.monitor_alarm(FORECASTER, "prod", n.QUALITY))
    now = watched.now().replace(microsecond=0)
    for number in (1, 2):
        watched.write(Attempt(number, cause, alarm, number, now, "a test", f"r-{number}", outcome=FAILED, ended=now))
    begun = Notice(cause, BEGUN, now, "a test")
    watched.client("dynamodb").put_item(TableName=watched.names.retraining_table, Item=begun.item(FORECASTER))
    watched.notices()
    assert watched.check()[FORECASTER] == "nothing"  # somebody is at it
    assert watched.notices() == []
    assert watched.check(now + timedelta(minutes=6))[FORECASTER] == "nothing"
    assert len([text for text in watched.notices() if "have not mended it" in text]) == 1
    assert watched.kept().notices[0].status == SENT


def test_a_build_that_cannot_be_started_counts_as_a_failed_try(watched: Watched) -> None:
    watched.client("ssm").delete_parameter(Name=watched.names.ssm_parameter(FORECASTER, "Outcome"))
    watched.alarm(n.QUALITY)
    watched.quiet()
    [attempt] = watched.kept().attempts
    assert (attempt.outcome, attempt.execution_arn) == (FAILED, "")
    assert "Parameter Store has no Outcome" in attempt.outcome_reason
    assert watched.check()[FORECASTER] == "wait"


@pytest.mark.parametrize("value", ["", "2026-11-22T14:00:00"])
def test_an_event_without_a_time_of_the_world_is_refused(watched: Watched, value: str) -> None:
    answer = watched.client("lambda").invoke(
        FunctionName=watched.names.function("retraining"),
        Payload=json.dumps({"check": True, "time": value}).encode(),
    )
    assert answer["FunctionError"] == "Unhandled"


def test_a_workload_that_cannot_be_looked_at_is_no_hindrance_to_the_other(watched: Watched) -> None:
    before = len(watched.builds())
    name, ssm = watched.names.serving_parameter(CARDHOLDERS, "prod"), watched.client("ssm")
    ssm.put_parameter(Name=name, Value="?", Type="String")
    with watched.loop.without_events("retraining-alarms"):
        watched.alarm(n.QUALITY, workload=CARDHOLDERS)
        watched.alarm(n.QUALITY)
        watched.quiet()
    event = {"check": True, "time": f"{watched.now():%Y-%m-%dT%H:%M:%SZ}"}
    answer = watched.client("lambda").invoke(
        FunctionName=watched.names.function("retraining"), Payload=json.dumps(event).encode()
    )
    assert f"the parameter `{name}` is `?`" in json.loads(answer["Payload"].read())["errorMessage"]
    ssm.delete_parameter(Name=name)
    watched.quiet()
    assert len(watched.builds()) == before + 1
