"""Paths, expressions, conditions, durations and retry delays: the values within a definition."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.errors import ServiceError
from localcloud.sagemaker.pipelines import cache, conditions, paths, retry
from localcloud.sagemaker.pipelines.duration import DurationError, before, parse_duration
from localcloud.sagemaker.pipelines.resolve import ResolveError, Scope

DESCRIPTION = {
    "ProcessingJobName": "job",
    "ProcessingOutputConfig": {"Outputs": [{"OutputName": "a", "S3Output": {"S3Uri": "s3://b/a"}}]},
    "CreationTime": datetime(2026, 1, 2, tzinfo=UTC),
}
FILES = {"s3://b/a/e.json": {"auc": 0.75, "by k": [{"k": 1}, {"k": 2}], "none": None}}


@pytest.fixture
def scope() -> Scope:
    def read(uri: str) -> Any:
        if uri not in FILES:
            raise ResolveError(f"no {uri}")
        return FILES[uri]

    return Scope(
        parameters={"Epochs": 5, "Rate": 0.1, "Dry": True, "Name": "x"},
        execution={"PipelineName": "p"},
        describe=lambda step: {"A": DESCRIPTION}[step],
        read_json=read,
        property_file=lambda step, name: f"s3://b/a/{name}",
    )


def json_get(path: str) -> dict[str, Any]:
    return {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.A.PropertyFiles.e.json"}, "Path": path}}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ({"Get": "Parameters.Epochs"}, 5),
        ({"Get": "Execution.PipelineName"}, "p"),
        ({"Get": "Steps.A.ProcessingJobName"}, "job"),
        ({"Get": "Steps.A.ProcessingOutputConfig.Outputs['a'].S3Output.S3Uri"}, "s3://b/a"),
        ({"Get": 'Steps.A.ProcessingOutputConfig.Outputs["a"].S3Output.S3Uri'}, "s3://b/a"),
        ({"Get": "Steps.A.ProcessingOutputConfig.Outputs[0].OutputName"}, "a"),
        ({"Get": "Steps.A.CreationTime"}, "2026-01-02T00:00:00+00:00"),
        ({"Std:Join": {"On": "/", "Values": ["s3:/", {"Get": "Parameters.Name"}, 1, 0.5, True]}}, "s3://x/1/0.5/true"),
        (
            {
                "Std:Join": {
                    "On": "-",
                    "Values": [{"Std:Join": {"On": "", "Values": ["a", "b"]}}, {"Get": "Parameters.Rate"}],
                }
            },
            "ab-0.1",
        ),
        ({"a": [{"b": {"Get": "Parameters.Dry"}}]}, {"a": [{"b": True}]}),
        ({"Get": "x", "Other": 1}, {"Get": "x", "Other": 1}),
    ],
)
def test_expressions(scope: Scope, expression: Any, value: Any) -> None:
    assert scope.resolve(expression) == value


def test_json_get(scope: Scope) -> None:
    def read(path: str) -> Any:
        source = {"S3Uri": {"Std:Join": {"On": "/", "Values": ["s3://b/a", "e.json"]}}, "Path": path}
        return scope.resolve({"Std:JsonGet": source})

    assert read("auc") == 0.75
    assert read("$.auc") == 0.75
    assert read("['by k'][1].k") == 2
    assert read("by k[0].k") == 1
    assert read("none") is None


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ({"Get": "Steps.A.Nothing"}, ["Steps.A.Nothing", "'Nothing'"]),
        ({"Get": "Steps.A.ProcessingOutputConfig.Outputs['b'].S3Output"}, ["'b'", "a list of 1 (a)"]),
        ({"Std:JsonGet": {"S3Uri": "s3://b/a/e.json", "Path": "f1"}}, ["'f1'", "auc"]),
        ({"Std:JsonGet": {"S3Uri": "s3://b/none", "Path": "f1"}}, ["s3://b/none"]),
    ],
)
def test_what_leads_nowhere_is_named(scope: Scope, expression: Any, words: list[str]) -> None:
    with pytest.raises(ResolveError) as raised:
        scope.resolve(expression)
    for word in words:
        assert word in str(raised.value)


@given(st.lists(st.one_of(st.integers(0, 9), st.text("abc xyz", min_size=1)), min_size=1, max_size=6))
def test_a_path_leads_where_it_was_made_for(parts: list[str | int]) -> None:
    text = "".join(f"[{part}]" if isinstance(part, int) else f"['{part}']" for part in parts)
    assert paths.parse(text) == tuple(parts)
    document: Any = "there"
    for part in reversed(parts):
        document = [None] * part + [document] if isinstance(part, int) else {part: document}
    assert paths.follow(document, paths.parse(text), "it") == "there"


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_comparisons_agree_with_each_other(left: float, right: float) -> None:
    def holds(kind: str, a: Any = left, b: Any = right) -> bool:
        return conditions.evaluate({"Type": kind, "LeftValue": a, "RightValue": b})

    assert holds("LessThan") == (left < right) == holds("GreaterThan", right, left)
    assert holds("LessThanOrEqualTo") == (holds("LessThan") or holds("Equals"))
    assert holds("GreaterThanOrEqualTo") != holds("LessThan")
    # A number that came as text compares as a number.
    assert holds("LessThan", repr(left)) == holds("LessThan")


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"Type": "Equals", "LeftValue": "a", "RightValue": "a"}, True),
        ({"Type": "Equals", "LeftValue": True, "RightValue": 1}, False),
        ({"Type": "Equals", "LeftValue": "a", "RightValue": 1}, False),
        ({"Type": "Equals", "LeftValue": "10", "RightValue": "9"}, False),
        ({"Type": "In", "QueryValue": 2, "Values": [1, "2"]}, True),
        ({"Type": "In", "QueryValue": "c", "Values": ["a", "b"]}, False),
        ({"Type": "Not", "Condition": {"Type": "Equals", "LeftValue": 1, "RightValue": 2}}, True),
        (
            {
                "Type": "Or",
                "Conditions": [
                    {"Type": "Equals", "LeftValue": 1, "RightValue": 2},
                    {"Type": "LessThan", "LeftValue": 1, "RightValue": 2},
                ],
            },
            True,
        ),
    ],
)
def test_conditions(condition: dict[str, Any], holds: bool) -> None:
    assert conditions.evaluate(condition) is holds


def test_what_cannot_be_compared_is_named() -> None:
    with pytest.raises(conditions.ConditionError, match="cannot compare 'high' with 1"):
        conditions.evaluate({"Type": "LessThan", "LeftValue": "high", "RightValue": 1})


NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("P30D", NOW - timedelta(days=30)),
        ("PT1H30M", NOW - timedelta(minutes=90)),
        ("P1W", NOW - timedelta(days=7)),
        ("P1M", datetime(2026, 2, 28, 12, tzinfo=UTC)),
        ("P1Y", datetime(2025, 3, 31, 12, tzinfo=UTC)),
        ("30d", NOW - timedelta(days=30)),
        ("T16m", NOW - timedelta(minutes=16)),
        ("30dT5h", NOW - timedelta(days=30, hours=5)),
        ("P9999Y", datetime.min.replace(tzinfo=UTC)),
    ],
)
def test_durations(text: str, moment: datetime) -> None:
    assert before(NOW, text) == moment


@pytest.mark.parametrize("text", ["", "P", "PT", "30", "a day", "P1H", 30, None])
def test_no_durations(text: Any) -> None:
    with pytest.raises(DurationError):
        parse_duration(text)


ARGUMENTS = {
    "ProcessingJobName": "a",
    "AppSpecification": {"ImageUri": "i", "ContainerArguments": ["x"]},
    "ProcessingInputs": [{"InputName": "in", "S3Input": {"S3Uri": "s3://b/x"}}],
    "ProcessingOutputConfig": {"Outputs": [{"S3Output": {"S3Uri": "s3://b/execution-1"}}]},
    "RoleArn": "r",
    "ProcessingResources": {"ClusterConfig": {"InstanceCount": 1}},
}


@pytest.mark.parametrize(
    ("member", "value", "same"),
    [
        ("ProcessingJobName", "b", True),
        ("ProcessingOutputConfig", {"Outputs": []}, True),
        ("RoleArn", "other", True),
        ("Environment", {}, True),
        ("Environment", {"A": "1"}, False),
        ("AppSpecification", {"ImageUri": "i", "ContainerArguments": ["y"]}, False),
        ("ProcessingInputs", [], False),
    ],
)
def test_cache_keys(member: str, value: Any, same: bool) -> None:
    changed = {**ARGUMENTS, member: value}
    assert (cache.key("Processing", changed) == cache.key("Processing", ARGUMENTS)) is same


@given(st.permutations(list(ARGUMENTS)))
def test_a_cache_key_knows_no_order(order: list[str]) -> None:
    assert cache.key("Processing", {name: ARGUMENTS[name] for name in order}) == cache.key("Processing", ARGUMENTS)


def policy(**members: Any) -> retry.Policy:
    return retry.read({"ExceptionType": ["Step.SERVICE_FAULT"], "IntervalSeconds": 2, "BackoffRate": 3, **members})


def test_retry_delays() -> None:
    counted, timed = policy(MaxAttempts=3), policy(ExpireAfterMin=1)
    assert [counted.delay_seconds(number, 0) for number in range(4)] == [2, 6, 18, None]
    assert timed.delay_seconds(0, 57) == 2
    assert timed.delay_seconds(0, 59) is None


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"MaxAttempts": 0},
        {"MaxAttempts": 21},
        {"MaxAttempts": True},
        {"ExpireAfterMin": 14_401},
        {"MaxAttempts": 1, "BackoffRate": -1},
        {"MaxAttempts": 1, "ExceptionType": "Step.SERVICE_FAULT"},
    ],
)
def test_bad_retry_policies(members: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        policy(**members)


def test_what_is_tried_again() -> None:
    assert retry.classify_error(ServiceError("ThrottlingException", "slow down")) == retry.THROTTLING
    assert retry.classify_error(ServiceError("ResourceLimitExceeded", "full")) == retry.RESOURCE_LIMIT
    assert retry.classify_error(ServiceError("InternalFailure", "x", 500)) == retry.SERVICE_FAULT
    assert retry.classify_error(ServiceError("ValidationException", "x")) is None
    assert retry.classify_error(OSError("x")) == retry.SERVICE_FAULT
    assert retry.classify_reason("InternalServerError: x") == retry.INTERNAL_ERROR
    assert retry.classify_reason("CapacityError: Unable to provision") == retry.CAPACITY_ERROR
    assert retry.classify_reason("AlgorithmError: x, exit code: 1") is None
    assert json.dumps(retry.EXCEPTION_TYPES).count("SageMaker.") == 3
