"""The number of an endpoint's machines: fixed, or following its requests.

Source: "Automatic scaling of Amazon SageMaker AI models" in the SageMaker Developer Guide.
"""

from __future__ import annotations

from pipelines.carried.project import client
from pipelines.names import VARIANT

_DIMENSION = "sagemaker:variant:DesiredInstanceCount"
_METRIC = "SageMakerVariantInvocationsPerInstance"
_SCALE_IN_SECONDS, _SCALE_OUT_SECONDS = 300, 60


def set_scaling(endpoint: str, *, least: int, most: int, invocations_per_instance: int) -> None:
    """Let an endpoint's machines follow its requests, or with `most` not above `least` keep their number."""
    autoscaling = client("application-autoscaling")
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{endpoint}/variant/{VARIANT}",
        "ScalableDimension": _DIMENSION,
    }
    if most <= least:
        known = autoscaling.describe_scalable_targets(
            ServiceNamespace="sagemaker", ResourceIds=[target["ResourceId"]], ScalableDimension=_DIMENSION
        )["ScalableTargets"]
        if known:
            autoscaling.deregister_scalable_target(**target)
        return
    autoscaling.register_scalable_target(**target, MinCapacity=least, MaxCapacity=most)
    autoscaling.put_scaling_policy(
        **target,
        PolicyName=f"{endpoint}-invocations",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": float(invocations_per_instance),
            "PredefinedMetricSpecification": {"PredefinedMetricType": _METRIC},
            "ScaleInCooldown": _SCALE_IN_SECONDS,
            "ScaleOutCooldown": _SCALE_OUT_SECONDS,
        },
    )
