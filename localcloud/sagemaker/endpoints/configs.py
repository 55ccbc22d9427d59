"""Endpoint configurations: what an endpoint shall serve, and what of it localcloud can do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localcloud.context import Context, Request
from localcloud.errors import validation
from localcloud.jobs import transfer
from localcloud.sagemaker.arns import Arns
from localcloud.sagemaker.crud import Kind, Resources
from localcloud.sagemaker.jobs import unsupported
from localcloud.sagemaker.models import Models

KIND = Kind(
    noun="EndpointConfig",
    resource="endpoint-config",
    missing=lambda name, arn: validation(f'Could not find endpoint configuration "{arn}".'),
    duplicate=lambda name, arn: validation(f'Cannot create already existing endpoint configuration "{arn}".'),
)
# Neither a volume nor a virtual private cloud is there to be honoured (KmsKeyId, VolumeSizeInGB, VpcConfig): they are
# shown as they were given, as they are for jobs.
_UNSUPPORTED = (
    "AsyncInferenceConfig",
    "ExplainerConfig",
    "ShadowProductionVariants",
    "ExecutionRoleArn",
    "MetricsConfig",
)
_UNSUPPORTED_IN_VARIANT = (
    "AcceleratorType",
    "CoreDumpConfig",
    "EnableSSMAccess",
    "InferenceAmiVersion",
    "InstancePools",
    "CapacityReservationConfig",
    "AcceleratorPartitionLayouts",
)
_ROUTING = ("LEAST_OUTSTANDING_REQUESTS", "RANDOM")
_MEMORY_STEP = 1024


class EndpointConfigs:
    """CreateEndpointConfig beyond the generic part: localcloud must be able to do what is asked for."""

    def __init__(self, context: Context, arns: Arns, models: Models) -> None:
        self._models = models
        self.resources = Resources(KIND, context, arns)

    def create(self, request: Request) -> dict[str, Any]:
        """CreateEndpointConfig. Raises ValidationException for what there cannot be, or localcloud does not serve."""
        params = request.params
        unsupported(params, _UNSUPPORTED, "endpoint")
        variants = params["ProductionVariants"]
        names = [variant["VariantName"] for variant in variants]
        if len(set(names)) < len(names):
            raise validation(f"Production variant names must be unique within an endpoint; got {', '.join(names)}")
        for variant in variants:
            self._check(variant)
        if not any(variant.get("InitialVariantWeight", 1.0) > 0 for variant in variants):
            raise validation("At least one production variant must have an InitialVariantWeight greater than 0")
        serverless = [variant for variant in variants if variant.get("ServerlessConfig")]
        if serverless and len(variants) > 1:
            raise validation(f"A serverless endpoint has one production variant; got {len(variants)}")
        capture = params.get("DataCaptureConfig")
        if capture is not None:
            _check_capture(capture, serverless=bool(serverless))
        return self.resources.create(request)

    def _check(self, variant: Mapping[str, Any]) -> None:
        name = variant["VariantName"]
        unsupported(variant, _UNSUPPORTED_IN_VARIANT, "production variant")
        if variant.get("ManagedInstanceScaling", {}).get("Status") == "ENABLED":
            raise validation(f"localcloud runs no production variant with ManagedInstanceScaling; got it in {name!r}")
        strategy = variant.get("RoutingConfig", {}).get("RoutingStrategy", _ROUTING[0])
        if strategy not in _ROUTING:
            raise validation(f"localcloud routes by {' or '.join(_ROUTING)}; got {strategy} in {name!r}")
        if not variant.get("ModelName"):
            raise validation(f"localcloud hosts no inference components: {name!r} needs a ModelName")
        self._models.container(variant["ModelName"])
        serverless = variant.get("ServerlessConfig")
        if serverless is None:
            if "InstanceType" not in variant or "InitialInstanceCount" not in variant:
                raise validation(
                    f"The production variant {name!r} needs an InstanceType and an InitialInstanceCount, or a"
                    " ServerlessConfig"
                )
            return
        if "InstanceType" in variant or "InitialInstanceCount" in variant:
            raise validation(
                f"The production variant {name!r} is serverless: leave InstanceType and InitialInstanceCount out"
            )
        if serverless["MemorySizeInMB"] % _MEMORY_STEP:
            raise validation(
                f"The MemorySizeInMB of {name!r} must be one of 1024, 2048, 3072, 4096, 5120, 6144; got"
                f" {serverless['MemorySizeInMB']}"
            )
        unsupported(serverless, ("ProvisionedConcurrency",), "serverless variant")


def _check_capture(capture: Mapping[str, Any], *, serverless: bool) -> None:
    if serverless:
        raise validation("Serverless endpoints do not support DataCaptureConfig; leave it out")
    try:
        transfer.parse_uri(capture["DestinationS3Uri"])
    except transfer.TransferError as error:
        raise validation(f"DataCaptureConfig.DestinationS3Uri: {error}") from error
