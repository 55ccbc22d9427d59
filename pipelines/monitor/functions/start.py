"""Starts evaluations. The function `evaluations` and `mlops monitor` use this same function.

What an evaluation is about is read here: what the stage serves, and the loss that the hour's is held against.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import boto3

from pipelines import names as n
from pipelines import starter
from pipelines.carried import serving
from pipelines.errors import ServiceError

KIND = "monitor"
# A threshold that nobody has set: the hour is scored, and held against nothing.
NO_THRESHOLD = "none"
_MAX_WQL = "MaxWql"


class NotServed(ServiceError):
    """There is nothing to evaluate: the stage serves no model."""


def start(
    session: boto3.Session,
    names: n.Names,
    workload: str,
    stage: str,
    moment: datetime,
    *,
    tracking_uri: str,
    report: str | None = None,
    token: str | None = None,
) -> str:
    """Start the evaluation of the hour before a moment, and return the execution's ARN.

    moment: the evaluation time, aware. tracking_uri: MLflow's. report: why people get a report of drift, too; None for
    none. token: as the starter's.

    Raises NotServed when the stage serves nothing, ServiceError when it is not monitored, and
    what `starter.start` raises, PipelineMissing among it.
    """
    if stage not in n.MONITORED.get(workload, ()):
        raise ServiceError(
            f"{workload} is not monitored in {stage}; monitored are "
            + ", ".join(f"{name} in {' and '.join(stages)}" for name, stages in n.MONITORED.items())
        )
    served = serving.find(session.client("ssm"), names.serving_parameter(workload, stage))
    if served is None:
        raise NotServed(f"{stage} serves no model of {workload} yet; `mlops deploy` brings one there")
    if not _exists(session.client("sagemaker"), served.endpoint):
        raise NotServed(f"the endpoint {served.endpoint} does not exist; `mlops deploy` makes it anew")
    return starter.start(
        session,
        names,
        workload,
        KIND,
        evaluation_time=moment,
        git_commit="unknown",
        mlflow_tracking_uri=tracking_uri,
        overrides={
            n.STAGE: stage,
            n.MODEL_PACKAGE_ARN: served.model_package_arn,
            n.MODEL_VERSION: str(served.version),
            n.ENDPOINT_CONFIG: served.endpoint_config,
            n.THRESHOLD: threshold(session.client("ssm"), names, workload),
            n.REPORT: n.NO if report is None else n.YES,
            n.REPORT_REASON: report or n.NO,
        },
        token=token,
        display_name=display_name(stage, moment),
        description=f"{workload} in {stage}, the hour before {moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        + (f", with a report of drift ({report})" if report else ""),
    )


def display_name(stage: str, moment: datetime) -> str:
    """What executions of an evaluation are called: `prod-20261122T140000Z`, by its time (aware)."""
    return f"{stage}-{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def threshold(ssm: Any, names: n.Names, workload: str) -> str:
    """The loss above which the model is taken for degraded, as it is kept: set by deployments to production. Before the
    first the forecaster's is that of its quality gate; cardholders, of whom only production is monitored, have none.
    """
    wanted = [names.monitoring_threshold(workload), names.ssm_parameter(workload, _MAX_WQL)]
    found: Mapping[str, str] = {one["Name"]: one["Value"] for one in ssm.get_parameters(Names=wanted)["Parameters"]}
    return next((found[name] for name in wanted if name in found), NO_THRESHOLD)


def _exists(sagemaker: Any, endpoint: str) -> bool:
    try:
        sagemaker.describe_endpoint(EndpointName=endpoint)
    except sagemaker.exceptions.ClientError as error:
        # SageMaker has no error of its own for what it cannot find.
        if "Could not find" in error.response["Error"]["Message"]:
            return False
        raise
    return True
