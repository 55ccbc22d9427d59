"""A push starts what it concerns, with the commit that was pushed."""

from __future__ import annotations

import json

from tests.contract.sagemaker_account import until
from tests.pipelines.delivery.delivery import Delivery, told
from tests.pipelines.deploy.loop import CARDHOLDERS, FORECASTER
from tests.working_copy import WorkingCopy


def _started(fraud: Delivery, commit: str) -> set[str]:
    """What runs, or has run, for a commit."""
    pipelines = {
        what
        for what, executions in fraud.all_executions().items()
        if any(one["revisionId"] == commit for summary in executions for one in summary["sourceRevisions"])
    }
    checks = {"checks" for build in fraud.builds("checks") if build["sourceVersion"] == commit}
    return pipelines | checks


def test_a_push_starts_the_pipelines_that_it_concerns_with_its_commit(fraud: Delivery, clone: WorkingCopy) -> None:
    commit = clone.commit("better", **{"configs/workloads/cardholders.yml": "epochs: 2\n"})
    clone.push()
    run = fraud.run_of(CARDHOLDERS, "build", commit)
    assert run.status == "Succeeded", told(run)
    assert [action.name for action in run.actions] == ["Source", "Register", "Run"]
    described = fraud.codepipeline.get_pipeline_execution(pipelineName=run.pipeline, pipelineExecutionId=run.id)
    [variable] = described["pipelineExecution"]["variables"]
    assert variable["resolvedValue"] == f"push {commit[:12]}: configs/workloads/cardholders.yml"
    fraud.advance(0)
    assert _started(fraud, commit) == {"cardholders build", "cardholders monitor"}


def test_a_push_is_checked_as_it_is(fraud: Delivery, clone: WorkingCopy) -> None:
    commit = clone.commit("a test", **{"tests/test_it.py": "", "pipelines/monitor/graph.py": "hours = 2\n"})
    clone.push()
    for workload in (CARDHOLDERS, FORECASTER):
        assert fraud.run_of(workload, "monitor", commit).status == "Succeeded"
    fraud.advance(0)
    assert _started(fraud, commit) == {"cardholders monitor", "forecaster monitor", "checks"}
    [build] = [build for build in fraud.builds("checks") if build["sourceVersion"] == commit]
    assert (build["buildStatus"], build["resolvedSourceVersion"]) == ("SUCCEEDED", commit)


def test_a_push_that_concerns_nothing_starts_nothing(fraud: Delivery, clone: WorkingCopy) -> None:
    unconcerned = clone.commit("words", **{"README.md": "# Another\n"})
    clone.push()
    # The next event of the same repository: the one before was looked at by then.
    checked = clone.commit("another test", **{"tests/test_that.py": ""})
    clone.push()
    until(lambda: "checks" in _started(fraud, checked), "the checks run")
    fraud.advance(0)
    assert _started(fraud, checked) == {"checks"}
    assert _started(fraud, unconcerned) == set()


def test_the_stream_is_brought_before_the_forecaster_is_built(fraud: Delivery, clone: WorkingCopy) -> None:
    commit = clone.commit("faster", **{"configs/ingestion.yml": "running: true\n"})
    clone.push()
    run = fraud.run_of(FORECASTER, "build", commit)
    assert run.status == "Succeeded", told(run)
    assert [action.stage for action in run.actions] == ["Source", "Images", "Stream", "Build"]
    [stack] = fraud.client("cloudformation").describe_stacks(StackName=fraud.names.ingestion_stack)["Stacks"]
    assert stack["RoleARN"] == fraud.names.stacks_role_arn
    assert {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}["Boundary"] == fraud.names.boundary_arn
    assert _started(fraud, commit) == {"forecaster build"}


def test_a_failed_build_says_why_and_people_are_told(fraud: Delivery, clone: WorkingCopy) -> None:
    queue = _listening(fraud)
    commit = clone.commit("broken", **{"fails": "", "configs/workloads/cardholders.yml": "epochs: 0\n"})
    clone.push()
    run = fraud.run_of(CARDHOLDERS, "build", commit)
    assert run.status == "Failed"
    [failed] = run.failed
    assert "test ! -e fails" in failed.said
    assert failed.url
    told_of = until(lambda: _told(fraud, queue, run.id), "people are told")
    assert run.pipeline in told_of
    # Mended, the stage of that very execution would fail again: its commit is what it is. The next push builds.
    mended = clone.commit("mended", **{"fails": None, "configs/workloads/cardholders.yml": "epochs: 3\n"})
    clone.push()
    assert fraud.run_of(CARDHOLDERS, "build", mended).status == "Succeeded"


def _listening(fraud: Delivery) -> str:
    """A queue that hears the project's notices; gives its URL."""
    sqs, sns = fraud.client("sqs"), fraud.client("sns")
    url = str(sqs.create_queue(QueueName=f"{fraud.names.project}-listener")["QueueUrl"])
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    statement = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage"}
    policy = {"Version": "2012-10-17", "Statement": [{**statement, "Resource": arn}]}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    sns.subscribe(TopicArn=fraud.names.notices_topic_arn, Protocol="sqs", Endpoint=arn)
    return url


def _told(fraud: Delivery, url: str, what: str) -> str | None:
    """A notice that names something; those that do not are passed over."""
    for message in fraud.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
        if what in message["Body"]:
            return str(message["Body"])
    return None
