"""How steps wait: the clock passes them by while they do, and stands while they work."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from localcloud.context import Context, Request
from localcloud.errors import ServiceError
from localcloud.sagemaker.arns import Arns
from localcloud.sagemaker.crud import Resources
from localcloud.sagemaker.model_registry import ModelRegistry
from localcloud.sagemaker.models import Models
from localcloud.sagemaker.pipelines.cache import Cache
from localcloud.sagemaker.pipelines.executor import EXECUTION, Executor
from localcloud.sagemaker.pipelines.operations import Pipelines
from localcloud.sagemaker.pipelines.steps import Services
from localcloud.sagemaker.pipelines.waiting import Answer, Callbacks, Wait, Work
from localcloud.sagemaker.processing import KIND as PROCESSING
from tests.surroundings import ACCOUNT_ID, REGION, surroundings


def test_the_clock_passes_a_step_that_waits_and_stands_while_it_works(tmp_path: Path) -> None:
    context = surroundings(tmp_path)
    begun, began = context.clock.now(), threading.Event()
    work, moments = Work(context.timetable), []
    wait = Wait(work)
    work.begin()

    def step() -> None:
        began.wait(10)
        wait.until_ended()
        moments.append((context.clock.now() - begun).total_seconds())
        work.end()

    def end() -> None:
        wait.end("late")

    thread = threading.Thread(target=step)
    thread.start()
    context.timetable.after(100, end, "the end")
    context.timetable.after(200, lambda: moments.append(200), "later")
    advancing = threading.Thread(target=context.timetable.advance, args=(300,))
    advancing.start()
    assert context.clock.now() == begun, "the step works still"
    began.set()
    for one in (thread, advancing):
        one.join(10)
    assert moments == [100, 200]
    assert not wait.end("again")


class _Jobs:
    """Processing jobs of which the first one fails for a reason that a retry mends."""

    kind = PROCESSING

    def __init__(self, context: Context, arns: Arns) -> None:
        self.resources = Resources(PROCESSING, context, arns)
        self.ran = threading.Semaphore(0)
        self.outcomes = [{"FailureReason": "InternalServerError: x", "ProcessingJobStatus": "Failed"}]

    def add(self, params: dict[str, Any]) -> str:
        return str(self.resources.add(params)["ProcessingJobArn"])

    def run(self, name: str) -> dict[str, Any]:
        outcome = self.outcomes.pop() if self.outcomes else {"ProcessingJobStatus": "Completed"}
        self.ran.release()
        return self.resources.change(name, lambda document: {**document, **outcome})

    def end(self, name: str) -> None:
        """Nothing runs for long enough to be ended."""


@pytest.mark.parametrize("stopped", [False, True])
def test_a_retry_waits_for_its_moment_of_the_clock_or_for_a_stop(tmp_path: Path, stopped: bool) -> None:
    context, arns = surroundings(tmp_path), Arns(REGION, ACCOUNT_ID)
    jobs: Any = _Jobs(context, arns)
    registry = ModelRegistry(context, arns, lambda: pytest.fail("no image is asked for"))
    services = Services(context, jobs, jobs, jobs, Models(context, arns, registry), registry, Cache(context.store))
    executor = Executor(services)
    pipelines = Pipelines(context, arns, services, executor)
    cluster = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
    step = {
        "Name": "A",
        "Type": "Processing",
        "Arguments": {
            "RoleArn": "arn:aws:iam::123456789012:role/x",
            "AppSpecification": {"ImageUri": "image"},
            "ProcessingResources": {"ClusterConfig": cluster},
        },
        "RetryPolicies": [
            {"ExceptionType": ["SageMaker.JOB_INTERNAL_ERROR"], "IntervalSeconds": 600, "MaxAttempts": 2}
        ],
    }
    definition = json.dumps({"Version": "2020-12-01", "Steps": [step]})
    given = {"PipelineName": "p", "PipelineDefinition": definition, "RoleArn": "arn:aws:iam::123456789012:role/x"}
    pipelines.create(Request("sagemaker", "CreatePipeline", given))
    arn = pipelines.start(Request("sagemaker", "StartPipelineExecution", {"PipelineName": "p"}))["PipelineExecutionArn"]
    begun = context.clock.now()
    assert jobs.ran.acquire(timeout=10)
    if stopped:
        pipelines.stop(Request("sagemaker", "StopPipelineExecution", {"PipelineExecutionArn": arn}))
    else:
        context.timetable.advance(3600)
    executor.join_one(arn)
    document = context.store.get(EXECUTION, arn)
    assert document is not None
    if stopped:
        assert document["PipelineExecutionStatus"] == "Stopped"
    else:
        assert document["PipelineExecutionStatus"] == "Succeeded"
        assert document["LastModifiedTime"] == begun + timedelta(seconds=600)


def test_a_callback_is_answered_once(tmp_path: Path) -> None:
    store, callbacks = surroundings(tmp_path).store, Callbacks()
    given: list[Answer] = []

    def take(answer: Answer) -> bool:
        given.append(answer)
        return True

    token = callbacks.open("arn", take)
    assert len(token) == 10
    first = Answer({"a": "1"})
    assert callbacks.answer(store, token, "one", first) == "arn"
    assert callbacks.answer(store, token, "one", Answer({"a": "2"})) == "arn"
    with pytest.raises(ServiceError, match="was answered already, in the execution arn"):
        callbacks.answer(store, token, "two", first)
    callbacks.close(token)
    assert callbacks.answer(store, token, "one", first) == "arn"
    assert given == [first]
    with pytest.raises(ServiceError, match="is not one that a step waits with"):
        callbacks.answer(store, "0123456789", None, first)
