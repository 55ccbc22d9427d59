"""What a stage serves: kept in Parameter Store, on the endpoint's tags, with the package, and in MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines import names as n
from pipelines.deploy.functions import mlflow
from pipelines.deploy.functions.project import client, log, names
from pipelines.deploy.functions.record import Serving

FORECASTER, _ = n.MINUTES


def find(workload: str, stage: str) -> Serving | None:
    """What a stage serves; None before its first deployment."""
    ssm = client("ssm")
    try:
        value = ssm.get_parameter(Name=names().serving_parameter(workload, stage))["Parameter"]["Value"]
    except ssm.exceptions.ParameterNotFound:
        return None
    return Serving.parse(value)


def mark(serving: Serving, package: Mapping[str, Any], workload: str, stage: str, tracking_uri: str) -> None:
    """Make it known everywhere that a stage serves a package. The parameter comes last: what it does not name when this
    fails is rolled back.
    """
    if stage == "prod":
        _name_champion(package.get("CustomerMetadataProperties", {}), tracking_uri)
        _lower_threshold(package.get("CustomerMetadataProperties", {}), workload)
    since = serving.since.isoformat(timespec="seconds")
    sagemaker = client("sagemaker")
    described = sagemaker.describe_endpoint(EndpointName=serving.endpoint)
    sagemaker.add_tags(
        ResourceArn=described["EndpointArn"],
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


def lowered(threshold: float, wql: float, update_rate: float, upper: float) -> float:
    """The monitoring threshold after a deployment.

    It moves from `threshold` towards the new model's own loss by `update_rate` (0 leaves it, 1 takes the loss), only
    downwards, and never below `upper`, the upper bound of the loss: a model must not be taken for degraded because of
    how its loss scatters.
    """
    return min(threshold, max(threshold - (threshold - wql) * update_rate, upper))


def _lower_threshold(metadata: Mapping[str, str], workload: str) -> None:
    if workload != FORECASTER:
        return
    ssm = client("ssm")
    path = names().ssm_path(workload)
    wanted = {f"{path}MaxWql", f"{path}UpdateRate", names().monitoring_threshold(workload)}
    stored = {one["Name"]: float(one["Value"]) for one in ssm.get_parameters(Names=sorted(wanted))["Parameters"]}
    # Before the first deployment the model's own gate is the threshold.
    threshold = stored.get(names().monitoring_threshold(workload), stored[f"{path}MaxWql"])
    wql, upper = float(metadata["mean_wql"]), float(metadata["wql_upper"])
    new = lowered(threshold, wql, stored[f"{path}UpdateRate"], upper)
    log.info("monitoring threshold", extra={"before": threshold, "after": new, "wql": wql, "upper": upper})
    ssm.put_parameter(Name=names().monitoring_threshold(workload), Value=repr(new), Type="String", Overwrite=True)
