"""The model's endpoint: one question, one answer, and no second try, for the caller waits."""

from __future__ import annotations

import json
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

from seed_code.api.clients import client
from seed_code.api.refusals import Refused, unavailable

_JSON = "application/json"
# Of InvokeEndpoint, beside the model's own errors. ValidationError: there is no such endpoint (what is sent is ours).
_NOT_NOW = frozenset(
    {
        "InternalDependencyException",
        "InternalFailure",
        "InternalServerException",
        "ModelNotReadyException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "ThrottlingException",
        "ValidationError",
    }
)


class ModelRefused(Exception):
    """The model's server takes the request for a mistaken one.

    Attributes:
        field: where it sees the mistake; None when in no single field.
        message: what it found and expected.
    """

    def __init__(self, field: str | None, message: str) -> None:
        super().__init__(message if field is None else f"{field}: {message}")
        self.field, self.message = field, message


class Endpoint:
    """An endpoint that answers JSON with JSON."""

    def __init__(self, name: str, log: Logger, patience_seconds: float = 2.5) -> None:
        self._name, self._log = name, log
        self._client = client("sagemaker-runtime", connect_seconds=1, read_seconds=patience_seconds, attempts=1)

    def ask(self, document: Any, inference_id: str | None = None) -> Any:
        """What the model answers.

        inference_id: kept by the endpoint's data capture.

        Raises:
            ModelRefused: when the model's server says what is wrong with the document.
            Refused: 503 when there is no answer now; why is logged.
        """
        try:
            answer = self._client.invoke_endpoint(
                EndpointName=self._name,
                ContentType=_JSON,
                Accept=_JSON,
                Body=json.dumps(document, separators=(",", ":"), allow_nan=False).encode(),
                **({} if inference_id is None else {"InferenceId": inference_id}),
            )
            body: bytes = answer["Body"].read()
        except ClientError as error:
            raise self._failure(error) from error
        except (ConnectionError, HTTPClientError) as error:
            raise self.no_answer("the endpoint did not answer", error) from error
        try:
            return json.loads(body)
        except ValueError as error:
            raise self.no_answer("the model's answer is not JSON", error) from error

    def no_answer(self, why: str, error: object = None) -> Refused:
        """The refusal of a request that the model does not answer; why is for the log only."""
        self._log.error(why, extra={"endpoint": self._name, **({"error": str(error)} if error else {})})
        return unavailable("The model cannot answer now; try again later")

    def _failure(self, error: ClientError) -> Exception:
        code = error.response["Error"]["Code"]
        if code == "ModelError":
            if error.response.get("OriginalStatusCode") == 400 and (refusal := _refusal(error)):
                return refusal
            return self.no_answer("the model failed", error)
        if code in _NOT_NOW or error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
            return self.no_answer("the endpoint cannot answer", error)
        # Not permitted, for instance: no second try will mend it.
        failure: Exception = error
        return failure


def _refusal(error: ClientError) -> ModelRefused | None:
    """What the model's server has said; None when it is not in the form of our servers."""
    try:
        said = json.loads(error.response["OriginalMessage"])["error"]
        field, message = said["field"], said["message"]
    except (KeyError, TypeError, ValueError):
        return None
    if not isinstance(message, str) or not isinstance(field, str | None):
        return None
    return ModelRefused(field, message)
