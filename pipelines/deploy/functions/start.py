"""Starts deployments. The function `approvals` and `mlops deploy` use this same function."""

from __future__ import annotations

import hashlib
from typing import Any

from pipelines.names import DEPLOY_KINDS, MLFLOW_TRACKING_URI, MODEL_PACKAGE_ARN, Names


def start(
    sagemaker: Any,
    names: Names,
    workload: str,
    stage: str,
    package: str,
    *,
    tracking_uri: str,
    token: str,
    why: str,
) -> str:
    """Start the deploy pipeline of a stage with a model package, and return the execution's ARN.

    sagemaker: a boto3 client. tracking_uri: MLflow's, an http(s) address or an ARN. token: makes the call idempotent;
    with the same one AWS starts one execution. why: shown with the execution.
    """
    started = sagemaker.start_pipeline_execution(
        PipelineName=names.pipeline(workload, DEPLOY_KINDS[stage]),
        PipelineExecutionDisplayName=f"version-{package.rpartition('/')[2]}",
        PipelineExecutionDescription=why[:3000],
        PipelineParameters=[
            {"Name": MODEL_PACKAGE_ARN, "Value": package},
            {"Name": MLFLOW_TRACKING_URI, "Value": tracking_uri},
        ],
        ClientRequestToken=hashlib.sha256(token.encode()).hexdigest(),
    )
    return str(started["PipelineExecutionArn"])
