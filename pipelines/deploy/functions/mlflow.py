"""MLflow's registry over HTTP, for the one call that a function makes: MLflow itself is too large to carry.

The tracking server is an http(s) address, or the ARN of one of SageMaker's, whose requests are signed as AWS's own are.

Source: "REST API" in the MLflow documentation, "Set Registered Model Alias".
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.httpsession import URLLib3Session

_PATH = "/api/2.0/mlflow/registered-models/alias"
_SECONDS = 20
# By the kind of resource in the ARN, as AWS's own plugin for MLflow has it: the address, the name that a request is
# signed for, and the header that says which server it is for.
_OF_AWS = {
    "mlflow-tracking-server": (
        "https://{region}.experiments.sagemaker.aws",
        "sagemaker-mlflow",
        "x-mlflow-sm-tracking-server-arn",
    ),
    "mlflow-app": ("https://mlflow.sagemaker.{region}.app.aws", "sagemaker", "x-sm-mlflow-app-arn"),
}


class MlflowError(Exception):
    """MLflow refused, or is not there; the message says why."""


def set_alias(tracking_uri: str, model: str, alias: str, version: str) -> None:
    """Give a version of a registered model an alias, which it takes away from the version that had it.

    Raises MlflowError.
    """
    body = json.dumps({"name": model, "alias": alias, "version": version})
    request = _request(tracking_uri, body)
    try:
        answer = URLLib3Session(timeout=_SECONDS).send(request.prepare())
    except Exception as error:
        raise MlflowError(f"MLflow at {tracking_uri} cannot be reached: {error}") from error
    if answer.status_code != 200:
        said = answer.content[:300].decode("utf-8", "replace")
        raise MlflowError(f"MLflow at {tracking_uri} answers {answer.status_code} to {model} {alias}: {said}")


def _request(tracking_uri: str, body: str) -> AWSRequest:
    headers = {"Content-Type": "application/json"}
    if not tracking_uri.startswith("arn:"):
        return AWSRequest("POST", f"{tracking_uri.rstrip('/')}{_PATH}", headers, body)
    _, _, _, region, _, resource = tracking_uri.split(":", 5)
    kind = resource.partition("/")[0]
    if kind not in _OF_AWS:
        raise MlflowError(f"{tracking_uri} is a {kind}, expected one of {', '.join(_OF_AWS)}")
    address, service, header = _OF_AWS[kind]
    url = f"{address.format(region=region)}{_PATH}"
    request = AWSRequest("POST", url, {**headers, header: tracking_uri}, body)
    request.headers["X-Amz-Content-SHA256"] = hashlib.sha256(body.encode()).hexdigest()
    credentials: Any = boto3.Session().get_credentials()
    SigV4Auth(credentials, service, region).add_auth(request)
    return request
