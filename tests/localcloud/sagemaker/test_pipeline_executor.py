"""The executor over jobs that do what the test says: retries, caching and its expiry, skips, stops."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
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
from localcloud.sagemaker.pipelines.definition import parse
from localcloud.sagemaker.pipelines.executor import EXECUTION, Executor
from localcloud.sagemaker.pipelines.operations import Pipelines
from localcloud.sagemaker.pipelines.steps import Services
from localcloud.sagemaker.processing import KIND as PROCESSING
from localcloud.sagemaker.training import KIND as TRAINING
from localcloud.sagemaker.transform import KIND as TRANSFORM
from tests.surroundings import StandingClock, surroundings

ROLE = "arn:aws:iam::123456789012:role/x"


class FakeJobs:
    """Jobs that end as `ends` says for the step whose name is in their own; Completed where it says nothing."""

    def __init__(self, kind: Any, context: Context, arns: Arns) -> None:
        self.kind = kind
        self.resources = Resources(kind, context, arns)
        self.ends: dict[str, list[Any]] = {}
        self.started: list[str] = []
        self.ended: list[str] = []
        self.running = threading.Event()
        self.release = threading.Event()

    def add(self, params: dict[str, Any]) -> str:
        name = params[self.kind.name_member]
        step = name.split("-")[2]
        self.started.append(step)
        outcome = self._next(step)
        if isinstance(outcome, Exception):
            raise outcome
        self.resources.add(params, Outcome=outcome)
        return self.resources.arn(name)

    def run(self, name: str) -> dict[str, Any]:
        outcome = self.resources.get(name)["Outcome"]
        if outcome == "wait":
            self.running.set()
            assert self.release.wait(30)
            outcome = "Stopped" if name in self.ended else "Completed"
        status, _, reason = outcome.partition("|")
        members = {self.kind.status: status, **({"FailureReason": reason} if reason else {})}
        return self.resources.change(name, lambda document: {**document, **members})

    def end(self, name: str) -> None:
        self.ended.append(name)
        self.release.set()

    def _next(self, step: str) -> Any:
        outcomes = self.ends.get(step, ["Completed"])
        return outcomes.pop(0) if len(outcomes) > 1 else outcomes[0]


class World:
    """Pipelines over fake jobs, a fake clock, and pauses that take no time."""

    def __init__(self, folder: Path) -> None:
        self.clock = StandingClock()
        context = surroundings(folder, self.clock)
        self.store = context.store
        arns = Arns("eu-west-1", "123456789012")
        self.processing = FakeJobs(PROCESSING, context, arns)
        registry = ModelRegistry(context, arns, lambda: pytest.fail("no image is asked for"))
        self.pauses: list[float] = []
        services = Services(
            context,
            self.processing,  # type: ignore[arg-type]
            FakeJobs(TRAINING, context, arns),  # type: ignore[arg-type]
            FakeJobs(TRANSFORM, context, arns),  # type: ignore[arg-type]
            Models(context, arns, registry),
            registry,
            Cache(self.store),
        )
        self.executor = Executor(services, self._pause)
        self.pipelines = Pipelines(context, arns, services, self.executor)

    def _pause(self, _: threading.Event, seconds: float) -> bool:
        self.pauses.append(seconds)
        self.clock.moment += timedelta(seconds=seconds)
        return False

    def call(self, operation: str, handler: Callable[[Request], dict[str, Any]], **params: Any) -> dict[str, Any]:
        return handler(Request("sagemaker", operation, params))

    def create(self, *steps: dict[str, Any], **members: Any) -> None:
        document = {"Version": "2020-12-01", "Steps": list(steps), **members}
        self.call(
            "CreatePipeline",
            self.pipelines.create,
            PipelineName="p",
            RoleArn=ROLE,
            PipelineDefinition=json.dumps(document),
        )

    def start(self) -> str:
        return str(self.call("StartPipelineExecution", self.pipelines.start, PipelineName="p")["PipelineExecutionArn"])

    def end(self, arn: str) -> str:
        self.executor.join_one(arn)
        document = self.store.get(EXECUTION, arn)
        assert document is not None
        return str(document["PipelineExecutionStatus"])

    def run(self) -> tuple[str, dict[str, dict[str, Any]]]:
        arn = self.start()
        return self.end(arn), self.steps(arn)

    def steps(self, arn: str) -> dict[str, dict[str, Any]]:
        return {record["StepName"]: record for record in self.executor.records.of(arn)}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def job(name: str, **members: Any) -> dict[str, Any]:
    arguments = {
        "RoleArn": ROLE,
        "AppSpecification": {"ImageUri": "image"},
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        },
    }
    return {"Name": name, "Type": "Processing", "Arguments": arguments, **members}


def policies(*types: str, **limits: Any) -> dict[str, Any]:
    return {"RetryPolicies": [{"ExceptionType": list(types), "IntervalSeconds": 2, "BackoffRate": 3, **limits}]}


def test_a_fault_is_tried_again_until_it_passes(world: World) -> None:
    world.processing.ends["A"] = [
        "Failed|InternalServerError: x",
        ServiceError("InternalFailure", "y", 500),
        "Completed",
    ]
    world.create(job("A", **policies("SageMaker.JOB_INTERNAL_ERROR", "Step.SERVICE_FAULT", MaxAttempts=5)))
    status, steps = world.run()
    assert status == "Succeeded"
    assert steps["A"]["AttemptCount"] == 3
    assert "FailureReason" not in steps["A"]
    assert world.pauses == [2, 6]


def test_attempts_end(world: World) -> None:
    world.processing.ends["A"] = [ServiceError("ThrottlingException", "slow down")]
    world.create(job("A", **policies("Step.THROTTLING", MaxAttempts=2)))
    status, steps = world.run()
    assert status == "Failed"
    assert world.processing.started == ["A"] * 3
    assert "slow down" in steps["A"]["FailureReason"]


def test_time_for_retries_ends(world: World) -> None:
    world.processing.ends["A"] = [ServiceError("ResourceLimitExceeded", "full")]
    world.create(job("A", **policies("SageMaker.RESOURCE_LIMIT", ExpireAfterMin=1)))
    assert world.run()[0] == "Failed"
    assert world.pauses == [2, 6, 18]


@pytest.mark.parametrize("outcome", ["Failed|AlgorithmError: x", ServiceError("ValidationException", "x")])
def test_a_mistake_is_not_tried_again(world: World, outcome: Any) -> None:
    world.processing.ends["A"] = [outcome]
    world.create(job("A", **policies("Step.SERVICE_FAULT", "SageMaker.JOB_INTERNAL_ERROR", MaxAttempts=5)))
    assert world.run()[0] == "Failed"
    assert world.processing.started == ["A"]


def test_the_cache_expires(world: World) -> None:
    world.create(job("A", CacheConfig={"Enabled": True, "ExpireAfter": "PT1H"}))
    first = world.start()
    assert world.end(first) == "Succeeded"
    world.clock.moment += timedelta(minutes=59)
    hit = world.run()[1]["A"]
    assert hit["CacheHitResult"] == {"SourcePipelineExecutionArn": first}
    # Fifty-nine and two minutes after the run; a hit in between made it no younger.
    world.clock.moment += timedelta(minutes=2)
    assert "CacheHitResult" not in world.run()[1]["A"]
    assert world.processing.started == ["A", "A"]


def test_a_failed_run_is_no_hit(world: World) -> None:
    world.processing.ends["A"] = ["Failed|AlgorithmError: x", "Completed"]
    world.create(job("A", CacheConfig={"Enabled": True}))
    assert [world.run()[0] for _ in range(3)] == ["Failed", "Succeeded", "Succeeded"]
    assert world.processing.started == ["A", "A"]


def test_a_deleted_pipeline_takes_its_cache_along(world: World) -> None:
    step = job("A", CacheConfig={"Enabled": True})
    world.create(step)
    world.run()
    world.call("DeletePipeline", world.pipelines.delete, PipelineName="p")
    world.create(step)
    assert "CacheHitResult" not in world.run()[1]["A"]


def test_skips_spread_through_nested_conditions(world: World) -> None:
    def gate(name: str, value: int, *if_steps: Any, otherwise: Any = ()) -> dict[str, Any]:
        condition = {"Type": "Equals", "LeftValue": value, "RightValue": 1}
        arguments = {"Conditions": [condition], "IfSteps": list(if_steps), "ElseSteps": list(otherwise)}
        return {"Name": name, "Type": "Condition", "Arguments": arguments}

    inner = gate("Inner", 1, job("Deep"))
    world.create(
        gate("Outer", 2, inner, otherwise=[job("Else")]),
        job("AfterDeep", DependsOn=["Deep"]),
        job("AfterInner", DependsOn=["Inner"]),
        job("AfterAll", DependsOn=["AfterDeep", "Else"]),
        job("AfterElse", DependsOn=["Else", "Outer"]),
    )
    status, steps = world.run()
    assert status == "Succeeded"
    assert set(steps) == {"Outer", "Else", "AfterElse"}


def test_a_fail_step_stops_what_runs_beside_it(world: World) -> None:
    world.processing.ends["Long"] = ["wait"]
    fail = {"Name": "Fail", "Type": "Fail", "Arguments": {"ErrorMessage": "enough"}, "DependsOn": ["First"]}
    world.create(job("Long"), job("First"), fail, job("Later", DependsOn=["Long"]))
    status, steps = world.run()
    assert status == "Failed"
    assert {name: step["StepStatus"] for name, step in steps.items()} == {
        "Long": "Stopped",
        "First": "Succeeded",
        "Fail": "Failed",
    }


def test_what_was_cut_off_is_ended_and_resumed(world: World, tmp_path: Path) -> None:
    world.processing.ends["B"] = ["wait"]
    world.create(job("A"), job("B", DependsOn=["A"]))
    arn = world.start()
    assert world.processing.running.wait(30)
    # As after a crash: another localcloud over the same store.
    world.executor.begin_closing()
    later = World(tmp_path)
    later.executor.recover()
    document = later.store.get(EXECUTION, arn)
    assert document is not None
    assert document["PipelineExecutionStatus"] == "Failed"
    assert "localcloud stopped while step 'B' ran" in document["FailureReason"]
    later.call("RetryPipelineExecution", later.pipelines.retry, PipelineExecutionArn=arn)
    assert later.end(arn) == "Succeeded"
    assert later.processing.started == ["B"]
    # The first one's thread comes to its end, and records nothing.
    world.processing.release.set()
    world.executor.join()
    assert later.steps(arn)["B"]["StepStatus"] == "Succeeded"


def test_a_bug_in_a_step_ends_the_execution(world: World) -> None:
    world.processing.ends["A"] = [RuntimeError("a bug")]
    world.create(job("A"), job("B", DependsOn=["A"]))
    status, steps = world.run()
    assert status == "Failed"
    assert steps["A"]["FailureReason"] == "InternalServerError: RuntimeError: a bug"


def test_a_stop_that_comes_before_the_first_step_is_heeded(world: World) -> None:
    world.processing.ends["A"] = ["Failed|AlgorithmError: x"]
    world.create(job("A"))
    arn = world.start()
    assert world.end(arn) == "Failed"
    # As in the middle of a retry: stored, stopped, and only then begun.
    document = world.store.update(EXECUTION, arn, lambda stored: {**stored, "PipelineExecutionStatus": "Stopping"})
    text = world.pipelines._stored_definition(arn)["PipelineDefinition"]
    world.executor.begin(world.pipelines._facts(document, parse(text)), None)
    assert world.end(arn) == "Stopped"
    assert world.processing.started == ["A"]


def test_an_execution_whose_definition_is_read_no_more_is_not_left_executing(world: World) -> None:
    world.processing.ends["A"] = ["Failed|AlgorithmError: x"]
    world.create(job("A"))
    arn = world.start()
    assert world.end(arn) == "Failed"
    # As if an older localcloud, less strict, had stored it.
    world.store.update("sagemaker/pipeline-definition", arn, lambda stored: {**stored, "PipelineDefinition": "{}"})
    with pytest.raises(ServiceError, match="Version must be"):
        world.call("RetryPipelineExecution", world.pipelines.retry, PipelineExecutionArn=arn)
    assert world.end(arn) == "Failed"
