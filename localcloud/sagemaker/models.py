"""Models: what an endpoint or a transform job is made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from localcloud.context import Context, Request
from localcloud.errors import validation
from localcloud.jobs import transfer
from localcloud.sagemaker import roles
from localcloud.sagemaker.arns import Arns
from localcloud.sagemaker.crud import Kind, Resources
from localcloud.sagemaker.model_registry import ModelRegistry

KIND = Kind(
    noun="Model",
    resource="model",
    missing=lambda name, arn: validation(f'Could not find model "{arn}".'),
    duplicate=lambda name, arn: validation(f'Cannot create already existing model "{arn}".'),
)


@dataclass(frozen=True)
class Container:
    """What serves a model: an image, its model.tar.gz in S3 (if it has one), its environment, and its role."""

    image: str
    model_uri: str | None
    environment: Mapping[str, str]
    role_arn: str


class Models:
    """CreateModel beyond the generic part: its containers must exist."""

    def __init__(self, context: Context, arns: Arns, registry: ModelRegistry) -> None:
        self._context, self._registry = context, registry
        self.resources = Resources(KIND, context, arns)

    def create(self, request: Request) -> dict[str, Any]:
        """CreateModel. Raises ValidationException if a container names a package or an artifact that is not there."""
        params = request.params
        if bool(params.get("PrimaryContainer")) == bool(params.get("Containers")):
            raise validation("Specify one of PrimaryContainer and Containers, not both and not neither")
        if not params.get("ExecutionRoleArn"):
            raise validation("ExecutionRoleArn is required: the role that the model's containers run as")
        roles.check(self._context, params["ExecutionRoleArn"])
        for container in _containers(params):
            package, image = container.get("ModelPackageName"), container.get("Image")
            if package:
                self._registry.package(package)
            elif not image:
                raise validation("Every container needs an Image or a ModelPackageName")
            if container.get("ModelDataUrl"):
                self._check_artifact(container["ModelDataUrl"], params["ExecutionRoleArn"])
        return self.resources.create(request)

    def container(self, name: str) -> Container:
        """What a server of the model runs. Raises ServiceError if there is no such model, or it is not one container.

        A model of a package has the package's container; the model's own environment stands above the package's.
        """
        model = self.resources.get(name)
        found = list(_containers(model))
        if len(found) != 1:
            raise validation(f"localcloud serves models of one container; the model {name!r} has {len(found)}")
        own = found[0]
        environment = dict(own.get("Environment") or {})
        if own.get("ModelPackageName"):
            specification = self._registry.package(own["ModelPackageName"]).get("InferenceSpecification") or {}
            containers: list[dict[str, Any]] = specification.get("Containers") or []
            if len(containers) != 1:
                raise validation(
                    f"localcloud serves packages of one container; {own['ModelPackageName']} has {len(containers)}"
                )
            own = containers[0]
            environment = {**(own.get("Environment") or {}), **environment}
        if own.get("ModelDataSource"):
            raise validation(f"localcloud serves models from a ModelDataUrl; {name!r} has a ModelDataSource")
        return Container(own["Image"], own.get("ModelDataUrl"), environment, model["ExecutionRoleArn"])

    def _check_artifact(self, uri: str, role_arn: str) -> None:
        try:
            transfer.etag(self._context.clients.of("s3", role_arn), uri)
        except transfer.TransferError as error:
            raise validation(f"Could not find model data at {uri}.") from error


def _containers(params: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if params.get("PrimaryContainer"):
        yield params["PrimaryContainer"]
    yield from params.get("Containers") or ()
