"""Reading executions, of a small pipeline that really runs on localcloud."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

from pipelines import executions
from tests.pipelines.small import Small, small

__all__ = ["small"]


def _states(execution: executions.Execution) -> dict[str, str]:
    return {step.name: step.status for step in execution.steps}


def test_a_good_execution(small: Small) -> None:
    done = small.run()
    assert done.status == "Succeeded"
    assert done.finished
    assert _states(done) == {"Work": "Succeeded", "Gate": "Succeeded", "After": "Succeeded", "TooLow": "Skipped"}
    assert done.parameters == {"Status": "0", "MinRocAuc": "0.7", "InputDataUri": "s3://nowhere/"}
    work = done.step("Work")
    assert work is not None
    assert work.job is not None
    assert work.job[0] == "ProcessingJob"
    assert work.seconds() is not None
    assert done.step("Gate").outcome is True  # type: ignore[union-attr]
    assert executions.job_status(small.sagemaker, work.job) == "Completed"
    assert executions.evaluation_of(small.sagemaker, small.s3, done) == {"metrics": {"roc_auc": 0.8}}
    assert executions.latest(small.sagemaker, small.name) == done.arn


def test_the_second_time_is_a_cache_hit_that_still_has_its_evaluation(small: Small) -> None:
    first, second = small.run(), small.run()
    work = second.step("Work")
    assert work is not None
    assert work.cached_from == first.arn
    assert executions.evaluation_of(small.sagemaker, small.s3, second) == {"metrics": {"roc_auc": 0.8}}
    worked = executions.run_that_worked(small.sagemaker, second, "Work")
    assert worked is not None
    assert worked.job == first.step("Work").job  # type: ignore[union-attr]


def test_a_model_below_the_limit_fails_with_the_messages_text(small: Small) -> None:
    done = small.run(MinRocAuc="0.9")
    assert done.status == "Failed"
    assert _states(done) == {"Work": "Succeeded", "Gate": "Succeeded", "TooLow": "Failed", "After": "Skipped"}
    assert done.step("TooLow").failure_reason == "the model is too weak"  # type: ignore[union-attr]
    assert done.step("Gate").outcome is False  # type: ignore[union-attr]


def test_a_failed_job_has_its_reason_its_log_and_no_evaluation(small: Small) -> None:
    done = small.run(Status="3")
    work = done.step("Work")
    assert work is not None
    assert work.job is not None
    assert work.status == "Failed"
    assert "it ended with 3" in (work.failure_reason or "")
    assert _states(done)["After"] == _states(done)["TooLow"] == "Skipped"
    assert executions.evaluation_of(small.sagemaker, small.s3, done) is None
    tail = executions.log_tail(small.logs, work.job)
    assert "last line" in tail
    assert tail.index("first line") < tail.index("status 3")
    assert executions.log_tail(small.logs, work.job, lines=1) == tail[-1:]


def test_a_follower_hands_out_every_line_once(small: Small) -> None:
    work = small.run().step("Work")
    assert work is not None
    assert work.job is not None
    follower = executions.LogFollower(small.logs, work.job)
    lines = follower.new_lines()
    assert sorted(lines) == ["first line", "last line", "status 0"]
    assert follower.new_lines() == []


def test_a_follower_of_a_group_begins_with_its_last_lines_and_hands_out_every_line_once(small: Small) -> None:
    logs, group = small.logs, "/ecs/a-program"
    follower = executions.GroupFollower(logs, group, lines=2)
    assert follower.new_lines() == []
    logs.create_log_group(logGroupName=group)
    for stream in ("a", "b"):
        logs.create_log_stream(logGroupName=group, logStreamName=stream)

    def put(stream: str, second: int, message: str) -> None:
        event = {"timestamp": (begin + second) * 1000, "message": message}
        logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=[event])

    date = logs.describe_log_groups()["ResponseMetadata"]["HTTPHeaders"]["date"]
    begin = int(parsedate_to_datetime(date).timestamp())
    put("a", 0, "one")
    put("b", 1, "two")
    put("a", 2, "three")
    assert follower.new_lines() == ["two", "three"]
    assert follower.new_lines() == []
    put("b", 3, "four")
    assert follower.new_lines() == ["four"]


def test_while_it_runs_later_steps_are_pending(small: Small) -> None:
    arn = small.start(Status="waits")
    first = executions.read(small.sagemaker, arn)
    assert {step.name for step in first.steps} == {"Work", "Gate", "After", "TooLow"}
    assert first.step("TooLow").status == "Pending"  # type: ignore[union-attr]
    small.sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken="x" * 32)
    *_, last = executions.watch(small.sagemaker, arn, lambda _: None)
    assert last.finished


def test_what_does_not_exist_is_none(small: Small) -> None:
    assert executions.latest(small.sagemaker, small.name) is None
    assert executions.latest(small.sagemaker, "no-such-pipeline") is None
    for kind in ("ProcessingJob", "TrainingJob"):
        assert executions.describe_job(small.sagemaker, (kind, "nothing")) is None
        assert executions.log_tail(small.logs, (kind, "nothing")) == []
