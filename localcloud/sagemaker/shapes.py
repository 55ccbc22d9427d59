"""botocore's model of SageMaker: what an operation takes and gives."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from botocore.model import OperationModel, StructureShape

from localcloud.protocols import models, validation


def operation(name: str) -> OperationModel:
    """One operation's model."""
    return models.service_model("sagemaker").operation_model(name)


@lru_cache(maxsize=256)
def members(shape: str) -> frozenset[str]:
    """The names of a structure's members."""
    return frozenset(models.service_model("sagemaker").shape_for(shape).members)


@lru_cache(maxsize=128)
def output_shape(operation_name: str) -> StructureShape:
    """The shape of an operation's response."""
    return operation(operation_name).output_shape


def project(document: dict[str, Any], shape: str) -> dict[str, Any]:
    """The members of a document that the shape knows, without those that are None."""
    known = members(shape)
    return {name: value for name, value in document.items() if name in known and value is not None}


def check_request(operation_name: str, params: dict[str, Any]) -> None:
    """Raise ValidationException, with every mistake, if AWS would refuse this request for its form."""
    validation.check_request(params, operation(operation_name).input_shape)
