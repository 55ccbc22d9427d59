"""The quick check of a shape says yes only where the slow one finds nothing wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.model import ListShape, MapShape, Shape, StructureShape
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localcloud.errors import ServiceError
from localcloud.protocols import fitness, models, validation

_OPERATIONS = [
    ("sagemaker-featurestore-runtime", "PutRecord"),
    ("sagemaker-featurestore-runtime", "BatchGetRecord"),
    ("sagemaker", "CreateFeatureGroup"),
    ("sagemaker", "CreateTransformJob"),
    ("sagemaker", "ListTransformJobs"),
    ("athena", "StartQueryExecution"),
    ("sagemaker-runtime", "InvokeEndpoint"),
]
_ANYTHING = st.none() | st.booleans() | st.integers(-2, 300) | st.floats() | st.text(max_size=5) | st.binary(max_size=2)


def values(shape: Shape, depth: int = 3) -> st.SearchStrategy[Any]:
    """Values that are mostly right, and now and then are not."""
    return st.one_of(_right(shape, depth), _right(shape, depth), _right(shape, depth), _ANYTHING)


def _right(shape: Shape, depth: int) -> st.SearchStrategy[Any]:
    low = shape.metadata.get("min", 0)
    if isinstance(shape, StructureShape):
        required = set(shape.metadata.get("required", ()))
        members = {name: values(member, depth - 1) for name, member in shape.members.items()}
        some = {name: value for name, value in members.items() if name in required or depth > 0}
        return st.fixed_dictionaries(
            {name: some[name] for name in required},
            optional={**{name: some[name] for name in some if name not in required}, "Unknown": st.just(1)},
        )
    if isinstance(shape, ListShape):
        return st.lists(values(shape.member, depth - 1), min_size=int(low), max_size=int(low) + 2)
    if isinstance(shape, MapShape):
        return st.dictionaries(st.text(max_size=3), values(shape.value, depth - 1), max_size=2)
    if shape.type_name == "string":
        if shape.metadata.get("enum"):
            return st.sampled_from(shape.metadata["enum"])
        return st.sampled_from(["a", "a-b", "s3://bucket/key", "2024-01-01T00:00:00Z", "x" * 70, ""])
    if shape.type_name in ("integer", "long"):
        return st.integers(int(low), int(low) + 5)
    return {
        "boolean": st.booleans(),
        "double": st.floats(0, 1),
        "float": st.floats(0, 1),
        "blob": st.binary(max_size=3),
        "timestamp": st.just(datetime(2024, 1, 1, tzinfo=UTC)),
    }[shape.type_name]


def _slow(value: Any, shape: StructureShape, *, limits: bool) -> bool:
    errors = validation._VALIDATOR.validate(value, shape)
    return not errors.has_errors() and not list(validation._constraint_failures(value, shape, "", patterns=limits))


@pytest.mark.parametrize(
    ("service", "operation", "limits"), [(*operation, True) for operation in _OPERATIONS] + [(*_OPERATIONS[0], False)]
)
@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_yes_means_that_nothing_is_wrong(service: str, operation: str, limits: bool, data: st.DataObject) -> None:
    shape = models.service_model(service).operation_model(operation).input_shape
    value = data.draw(_right(shape, 2))
    if fitness.compiled(shape, limits)(value):
        assert _slow(value, shape, limits=limits)


def test_what_is_right_is_found_right() -> None:
    shape = models.service_model("sagemaker-featurestore-runtime").operation_model("PutRecord").input_shape
    fits = fitness.compiled(shape, True)
    record = [{"FeatureName": "a", "ValueAsString": "1"}]
    assert fits({"FeatureGroupName": "group", "Record": record})
    assert fits({"FeatureGroupName": "group", "Record": record, "TargetStores": ["OnlineStore"]})


@pytest.mark.parametrize(
    "params",
    [
        {"FeatureGroupName": "group"},
        {"FeatureGroupName": "group", "Record": []},
        {"FeatureGroupName": "-", "Record": [{"FeatureName": "a"}]},
        {"FeatureGroupName": "group", "Record": [{"FeatureName": "a", "ValueAsString": 1}]},
        {"FeatureGroupName": "group", "Record": [{"FeatureName": "a", "Value": "1"}]},
        {"FeatureGroupName": "group", "Record": [{"FeatureName": "a"}], "TargetStores": ["Attic"]},
        {"FeatureGroupName": "group", "Record": [{"FeatureName": "a"}], "TargetStores": ["OnlineStore"] * 3},
        {"FeatureGroupName": "group", "Record": [{"FeatureName": "a", "ValueAsString": "x" * 358_401}]},
    ],
)
def test_what_is_wrong_is_still_refused_with_its_reason(params: dict[str, Any]) -> None:
    shape = models.service_model("sagemaker-featurestore-runtime").operation_model("PutRecord").input_shape
    with pytest.raises(ServiceError, match="validation"):
        validation.check_request(params, shape)
    # And again: nothing wrong is remembered as right.
    with pytest.raises(ServiceError, match="validation"):
        validation.check_request(params, shape)
