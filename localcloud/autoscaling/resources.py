"""What can be scaled: the instances of a variant of an endpoint. Everything else is refused by its name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from localcloud.errors import ServiceError, validation

NAMESPACE, DIMENSION = "sagemaker", "sagemaker:variant:DesiredInstanceCount"
_RESOURCE = re.compile(r"endpoint/([^/]+)/variant/([^/]+)")


@dataclass(frozen=True)
class Variant:
    """A variant of an endpoint."""

    endpoint: str
    name: str

    @property
    def resource_id(self) -> str:
        return f"endpoint/{self.endpoint}/variant/{self.name}"


def check_scope(params: Mapping[str, Any]) -> None:
    """Raise ValidationException unless the request is about SageMaker's variants, as far as it says."""
    if params["ServiceNamespace"] != NAMESPACE:
        raise validation(
            f"localcloud scales the namespace {NAMESPACE}; got ServiceNamespace {params['ServiceNamespace']}"
        )
    if params.get("ScalableDimension", DIMENSION) != DIMENSION:
        raise validation(
            f"localcloud scales the dimension {DIMENSION}; got ScalableDimension {params['ScalableDimension']}"
        )


def variant_of(params: Mapping[str, Any]) -> Variant:
    """The variant that a request names. Raises ValidationException for anything else."""
    check_scope(params)
    return read(params["ResourceId"])


def read(resource_id: str) -> Variant:
    """The variant of a resource id."""
    found = _RESOURCE.fullmatch(resource_id)
    if found is None:
        raise validation(
            "Unsupported service namespace, resource type or scalable dimension: the resource ID of"
            f" {DIMENSION} is endpoint/NAME/variant/NAME; got {resource_id!r}"
        )
    return Variant(found[1], found[2])


def described(variant: Variant) -> str:
    """A variant as AWS's errors name it."""
    return f"service namespace: {NAMESPACE}, resource ID: {variant.resource_id}, scalable dimension: {DIMENSION}"


def object_not_found(message: str) -> ServiceError:
    """A target or a policy that is not there."""
    return ServiceError("ObjectNotFoundException", message)
