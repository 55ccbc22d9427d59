"""What a stage serves: kept in Parameter Store, on the endpoint's tags, with the package, and in MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines import names as n
from pipelines.carried import serving as kept
from pipelines.carried.project import client, log, names
from pipelines.carried.serving import Serving
from pipelines.deploy.functions import deployments, mlflow


@dataclass(frozen=True)
class Loss:
    """The loss that a workload's model is held against: keys of a package's customer metadata.

    Attributes:
        own: the model's, on the windows or the holdout that it was judged on.
        upper: the bounds below which a sound model's loss stays, of which the first counts that a package has: that of
            so few windows or answers as one evaluation sees goes before that of all.
        first: the runtime value that stands in for the threshold before the first deployment; empty for none.
    """

    own: str
    upper: tuple[str, ...]
    first: str = ""


LOSSES = {
    "forecaster": Loss("mean_wql", ("wql_hour_upper", "wql_upper"), "MaxWql"),
    "cardholders": Loss("brier", ("brier_upper",)),
}
_UPDATE_RATE = "UpdateRate"


def find(workload: str, stage: str) -> Serving | None:
    """What a stage serves; None before its first deployment."""
    return kept.find(client("ssm"), names().serving_parameter(workload, stage))


def mark(
    serving: Serving, package: Mapping[str, Any], workload: str, stage: str, tracking_uri: str, *, endpoint_arn: str
) -> None:
    """Make it known everywhere that a stage serves a package. The parameter comes last: what it does not name when this
    fails is rolled back.
    """
    if stage == "prod":
        _name_champion(package.get("CustomerMetadataProperties", {}), tracking_uri)
        _move_threshold(package.get("CustomerMetadataProperties", {}), workload, serving)
    since = serving.since.isoformat(timespec="seconds")
    sagemaker = client("sagemaker")
    sagemaker.add_tags(
        ResourceArn=endpoint_arn,
        Tags=[
            {"Key": "mlops:model-package", "Value": serving.model_package_arn},
            {"Key": "mlops:since", "Value": since},
        ],
    )
    client("ssm").put_parameter(
        Name=names().serving_parameter(workload, stage),
        Value=serving.text(),
        Type="String",
        Overwrite=True,
    )
    kept = {f"{stage}_since": since}
    if stage == "staging":
        kept[n.STAGING_REPORT_KEY] = serving.test_report_uri
    # After the parameter: it is an event, and who takes it looks there.
    sagemaker.update_model_package(ModelPackageArn=serving.model_package_arn, CustomerMetadataProperties=kept)


def _name_champion(metadata: Mapping[str, str], tracking_uri: str) -> None:
    """Give the alias `champion` to each MLflow version that the package was made of."""
    for key, model in metadata.items():
        if key.startswith("mlflow_") and key.endswith("_model"):
            version = metadata[f"{key.removesuffix('_model')}_version"]
            mlflow.set_alias(tracking_uri, model, "champion", version)


def lowered(threshold: float, loss: float, update_rate: float, upper: float) -> float:
    """The monitoring threshold after a deployment.

    It moves from `threshold` towards the new model's own loss by `update_rate` (0 leaves it, 1 takes the loss), only
    downwards, but is never below `upper`, the bound of the loss of so little as one evaluation sees, even if that
    raises it: a model that has just been deployed must not be taken for degraded because of how its loss scatters.
    """
    return max(upper, min(threshold, threshold - (threshold - loss) * update_rate))


def _move_threshold(metadata: Mapping[str, str], workload: str, serving: Serving) -> None:
    """Set the monitoring threshold of the workload, once for a deployment however often its last step is repeated."""
    loss, parameter = LOSSES.get(workload), names().monitoring_threshold(workload)
    upper = next((float(metadata[key]) for key in loss.upper if key in metadata), None) if loss else None
    if loss is None or upper is None or loss.own not in metadata:
        log.warning(
            "the package says too little of its loss for a threshold", extra={"package": serving.model_package_arn}
        )
        return
    ssm, path = client("ssm"), names().ssm_path(workload)
    wanted = [parameter, f"{path}{_UPDATE_RATE}", *([f"{path}{loss.first}"] if loss.first else [])]
    stored = {one["Name"]: float(one["Value"]) for one in ssm.get_parameters(Names=sorted(wanted))["Parameters"]}
    # Before the first deployment the model's own gate is the threshold, or its own bound.
    threshold = stored.get(parameter, stored.get(f"{path}{loss.first}", upper))
    own, rate = float(metadata[loss.own]), stored[f"{path}{_UPDATE_RATE}"]
    # Lambda calls a function again that was cut off: from the threshold that it has set, it would go on downwards.
    new = deployments.note_threshold(
        serving.endpoint, serving.execution_arn, repr(lowered(threshold, own, rate, upper))
    )
    log.info("monitoring threshold", extra={"before": threshold, "after": new, "loss": own, "upper": upper})
    ssm.put_parameter(Name=parameter, Value=new, Type="String", Overwrite=True)
