"""The one place where an image's programs get hold of MLflow's tracking server.

`MLFLOW_TRACKING_URI` says where it is: `http://…` for a server, or on AWS the ARN of a managed one, which the package
sagemaker-mlflow understands.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import mlflow
from mlflow.exceptions import MlflowException

from seed_code.common.errors import ClientError

URI_VARIABLE = "MLFLOW_TRACKING_URI"
# MLflow retries for minutes, which helps in the middle of a run, but not when the address is wrong.
_PROBE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}


def connect() -> mlflow.MlflowClient:
    """A client of the tracking server, once it has answered.

    Raises:
        ClientError: when no server is named, or it does not answer within seconds.
    """
    uri = os.environ.get(URI_VARIABLE)
    if not uri:
        raise ClientError(
            f"{URI_VARIABLE} is not set; expected the address of an MLflow tracking server (http://host:port) or the "
            "ARN of a managed one"
        )
    if not uri.startswith("arn:"):
        # sagemaker-mlflow, once installed, takes every address for an ARN and logs a warning per request when it is
        # none (0.5.0); only that is silenced here.
        logging.getLogger("mlflow.tracking.request_header.registry").setLevel(logging.ERROR)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # a job's log is no terminal
    mlflow.set_tracking_uri(uri)
    with _environment(_PROBE):
        try:
            client = mlflow.MlflowClient()
            client.search_experiments(max_results=1)
        except (MlflowException, OSError) as error:
            reason = str(error).splitlines()[0][:300]
            raise ClientError(f"the MLflow tracking server {uri} ({URI_VARIABLE}) does not answer: {reason}") from error
    return client


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
