"""MLflow's tracking server over HTTP, for programs that have no time for MLflow itself: its import takes 3 s.

The server is an http(s) address, or the ARN of one of SageMaker's, whose requests are signed as AWS's own are.

Source: "REST API" in the MLflow documentation: Get Experiment By Name, Create Experiment, Search Runs, Create Run, Log
Batch, Set Tag, Get Run; and "MLflow Tracking Server", for what a server that keeps files itself is sent.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.httpsession import URLLib3Session

from seed_code.common import clients

_SECONDS = 10
_BATCH = 1000  # metrics that a server takes in one call
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
_NOT_THERE, _ALREADY = "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"


class MlflowError(Exception):
    """MLflow refused, or is not there; the message says why."""


class NotThere(MlflowError):
    """MLflow has no such experiment or run."""


class _AlreadyThere(MlflowError):
    pass


class Server:
    """A tracking server."""

    def __init__(self, uri: str) -> None:
        """uri: as MLFLOW_TRACKING_URI has it; "" is no server, and whatever is asked of it raises MlflowError."""
        self._uri = uri
        self._session = URLLib3Session(timeout=_SECONDS)

    def run_of(
        self, experiment: str, *, tag: tuple[str, str], name: str, started: datetime, tags: Mapping[str, str]
    ) -> str:
        """The id of an experiment's run that has a tag; the run, and the experiment, are made when there are none.

        Two that ask for the first time at once may make two runs; from then on all get the older one.

        Args:
            name, started, tags: of a new run.

        Raises:
            MlflowError: when the server refuses or does not answer.
        """
        found = self.find_run(experiment, tag)
        if found is not None:
            return found
        run = {
            "experiment_id": self._experiment(experiment),
            "run_name": name,
            "start_time": _milliseconds(started),
            "tags": [{"key": key, "value": value} for key, value in {**tags, tag[0]: tag[1]}.items()],
        }
        return str(self._call("POST", "runs/create", run)["run"]["info"]["run_id"])

    def find_run(self, experiment: str, tag: tuple[str, str]) -> str | None:
        """The id of an experiment's oldest run that has a tag; None when there is none.

        Raises:
            MlflowError: when the server refuses or does not answer.
        """
        try:
            found = self._call("GET", "experiments/get-by-name", {"experiment_name": experiment})
        except NotThere:
            return None
        wanted = {
            "experiment_ids": [found["experiment"]["experiment_id"]],
            "filter": f"tags.`{tag[0]}` = '{tag[1]}'",
            "max_results": 1,
            "order_by": ["attributes.start_time ASC"],
        }
        runs = self._call("POST", "runs/search", wanted).get("runs", [])
        return str(runs[0]["info"]["run_id"]) if runs else None

    def log_metrics(self, run_id: str, metrics: Mapping[str, float], *, time: datetime, step: int) -> None:
        """Log metrics of one moment; those that are there already, to the last digit, stay as they are.

        Raises:
            NotThere: when there is no such run.
            MlflowError: when the server refuses or does not answer.
        """
        entries = [
            {"key": key, "value": value, "timestamp": _milliseconds(time), "step": step}
            for key, value in metrics.items()
        ]
        for start in range(0, len(entries), _BATCH):
            self._call("POST", "runs/log-batch", {"run_id": run_id, "metrics": entries[start : start + _BATCH]})

    def set_tag(self, run_id: str, key: str, value: str) -> None:
        """Set a run's tag.

        Raises:
            NotThere: when there is no such run.
            MlflowError: when the server refuses or does not answer.
        """
        self._call("POST", "runs/set-tag", {"run_id": run_id, "key": key, "value": value})

    def artifact_uri(self, run_id: str) -> str:
        """Where a run keeps its files: `s3://…`, or `mlflow-artifacts:/…` when the server keeps them itself.

        Raises:
            NotThere: when there is no such run.
            MlflowError: when the server refuses or does not answer.
        """
        return str(self._call("GET", "runs/get", {"run_id": run_id})["run"]["info"]["artifact_uri"])

    def put_artifact(self, place: str, content: bytes, content_type: str) -> None:
        """Have the server keep a file, over the one that may be there.

        Args:
            place: `mlflow-artifacts:/…`, below a run's `artifact_uri`.

        Raises:
            MlflowError: when the server refuses or does not answer.
        """
        # The host that such an address may name is the server's own.
        path = urlsplit(place).path.lstrip("/")
        url = f"{self._uri.rstrip('/')}/api/2.0/mlflow-artifacts/artifacts/{quote(path)}"
        self._send(path, lambda: AWSRequest("PUT", url, {"Content-Type": content_type}, content))

    def _experiment(self, name: str) -> str:
        """The id of an experiment, made if there is none."""
        try:
            return str(self._call("POST", "experiments/create", {"name": name})["experiment_id"])
        except _AlreadyThere:
            found = self._call("GET", "experiments/get-by-name", {"experiment_name": name})
            return str(found["experiment"]["experiment_id"])

    def _call(self, method: str, path: str, document: Mapping[str, Any]) -> dict[str, Any]:
        if not self._uri:
            raise MlflowError("MLFLOW_TRACKING_URI is not set")
        content = self._send(path, lambda: _request(self._uri, method, f"/api/2.0/mlflow/{path}", document))
        try:
            read: dict[str, Any] = json.loads(content)
        except ValueError as error:
            # A proxy's page, or another server's.
            raise MlflowError(f"MLflow at {self._uri} answers no JSON to {path}: {_beginning(content)}") from error
        return read

    def _send(self, path: str, make: Callable[[], AWSRequest]) -> bytes:
        """What the server answers to a request; `path` is its name in messages. Raises MlflowError."""
        try:
            answer = self._session.send(make().prepare())
        except MlflowError:
            raise
        except Exception as error:
            raise MlflowError(f"MLflow at {self._uri} cannot be reached: {error}") from error
        content: bytes = answer.content
        if answer.status_code == 200:
            return content
        raise _refusal(content)(f"MLflow at {self._uri} answers {answer.status_code} to {path}: {_beginning(content)}")


def _beginning(content: bytes) -> str:
    return content[:300].decode("utf-8", "replace")


def _refusal(content: bytes) -> type[MlflowError]:
    try:
        code = json.loads(content)["error_code"]
    except (ValueError, KeyError, TypeError):
        return MlflowError
    return {_NOT_THERE: NotThere, _ALREADY: _AlreadyThere}.get(code, MlflowError)


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _request(uri: str, method: str, path: str, document: Mapping[str, Any]) -> AWSRequest:
    body, params = (json.dumps(document, allow_nan=False), {}) if method == "POST" else ("", dict(document))
    headers = {"Content-Type": "application/json"}
    if not uri.startswith("arn:"):
        return AWSRequest(method, f"{uri.rstrip('/')}{path}", headers, body, params)
    parts = uri.split(":", 5)
    kind = parts[-1].partition("/")[0]
    if len(parts) < 6 or kind not in _OF_AWS:
        raise MlflowError(f"MLFLOW_TRACKING_URI is {uri}; expected an ARN of one of {', '.join(_OF_AWS)}")
    region = parts[3]
    address, service, header = _OF_AWS[kind]
    request = AWSRequest(method, f"{address.format(region=region)}{path}", {**headers, header: uri}, body, params)
    request.headers["X-Amz-Content-SHA256"] = hashlib.sha256(body.encode()).hexdigest()
    SigV4Auth(clients.session().get_credentials(), service, region).add_auth(request)
    return request
