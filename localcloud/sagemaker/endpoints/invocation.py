"""The service sagemaker-runtime: InvokeEndpoint.

A request goes to a server and its answer back. What happens besides (metrics, data capture) costs the request
microseconds: nothing is read from the store, and connections to servers are kept.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from localcloud.context import Context, Request
from localcloud.errors import ServiceError
from localcloud.jobs.connections import Answer, NoAnswer, NoAnswerInTime, NotConnected
from localcloud.sagemaker.endpoints import reports
from localcloud.sagemaker.endpoints.capture import Invocation
from localcloud.sagemaker.endpoints.hosting import Hosted
from localcloud.sagemaker.endpoints.instance import LOG_GROUP, Instance
from localcloud.sagemaker.endpoints.operations import Endpoints
from localcloud.sagemaker.endpoints.traffic import NoServer, NoSuchVariant, TooMany, Variant
from localcloud.service import Handler

_MOST_BYTES = 6 * 1024 * 1024
_MOST_SERVERLESS_BYTES = 4 * 1024 * 1024
_TIMEOUT_SECONDS = 60.0
_SHOWN = 2048
_ATTEMPTS = 3
_CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
_HEADERS = {
    "ContentType": "Content-Type",
    "Accept": "Accept",
    "CustomAttributes": _CUSTOM_ATTRIBUTES,
    "InferenceId": "X-Amzn-SageMaker-Inference-Id",
}
_UNSUPPORTED = (
    "TargetModel",
    "TargetContainerHostname",
    "EnableExplanations",
    "InferenceComponentName",
    "SessionId",
    "PrefixAwareId",
)
_TIMED_OUT = (
    "Your invocation timed out while waiting for a response from container primary. Review the latency metrics for each"
    " container in Amazon CloudWatch, resolve the issue, and try again."
)


class SageMakerRuntime:
    """The service. Its endpoints are started and stopped by the service sagemaker."""

    name = "sagemaker-runtime"

    def __init__(self, context: Context, endpoints: Endpoints, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
        self._context, self._endpoints, self._timeout_seconds = context, endpoints, timeout_seconds
        self._operations: dict[str, Handler] = {"InvokeEndpoint": self.invoke}

    @property
    def operations(self) -> Mapping[str, Handler]:
        """What is implemented, by name."""
        return self._operations

    def start(self) -> None:
        """Nothing: the service sagemaker starts the endpoints."""

    def stop(self) -> None:
        """Nothing: the service sagemaker stops the endpoints."""

    def invoke(self, request: Request) -> dict[str, Any]:
        """InvokeEndpoint. Raises ModelError for whatever the model does other than answer with success."""
        begun = time.perf_counter()
        params = request.params
        for name in _UNSUPPORTED:
            if name in params:
                raise ServiceError("ValidationError", f"localcloud invokes no endpoint with {name}; leave it out")
        name = params["EndpointName"]
        hosted = self._endpoints.hosted(name)
        if hosted is None or not hosted.is_there:
            account = self._context.account_id
            raise ServiceError("ValidationError", f"Endpoint {name} of account {account} not found.")
        _check_size(params["Body"], _MOST_BYTES)
        with self._context.timetable.working():
            for _ in range(_ATTEMPTS):
                try:
                    return self._invoke_one(hosted, params, begun)
                except NotConnected:
                    # The server has ended this very moment, and has not seen the request: another one shall.
                    continue
        raise _unavailable()

    def _invoke_one(self, hosted: Hosted, params: Mapping[str, Any], begun: float) -> dict[str, Any]:
        """Give the request to one server. Raises NotConnected if there is none any more."""
        account = self._context.account_id
        try:
            with hosted.traffic.pick(params.get("TargetVariant"), self._timeout_seconds) as (variant, instance):
                return self._call(hosted, variant, instance, params, begun)
        except NoSuchVariant as error:
            message = f"Variant {error} not found on endpoint {hosted.name} of account {account}."
            raise ServiceError("ValidationError", message) from error
        except NoServer as error:
            raise _unavailable() from error
        except TooMany as error:
            raise ServiceError(
                "ThrottlingException",
                f"Rate exceeded: the serverless variant {error} of {hosted.name} has as many requests at once as its"
                " MaxConcurrency",
                429,
            ) from error

    def _call(
        self, hosted: Hosted, variant: Variant, instance: Instance, params: Mapping[str, Any], begun: float
    ) -> dict[str, Any]:
        body = params["Body"]
        if variant.concurrency is not None:
            _check_size(body, _MOST_SERVERLESS_BYTES)
        moment = self._context.clock.now()
        sent = time.perf_counter()
        answer: Answer | None = None
        said = ""
        try:
            headers = {header: params[member] for member, header in _HEADERS.items() if member in params}
            answer = instance.call(body, headers, self._timeout_seconds)
        except NotConnected:
            raise
        except NoAnswerInTime:
            said = _TIMED_OUT
        except NoAnswer as error:
            said = f"The connection to container primary was closed before it answered: {error}"
        took = time.perf_counter() - sent
        status = answer.status if answer is not None else 0
        call = reports.Call(
            hosted.name,
            variant.name,
            status,
            took,
            time.perf_counter() - begun,
            len(variant.instances) if variant.concurrency is None else None,
        )
        self._context.signals.measurements(reports.measured(call, moment))
        if answer is None or not 200 <= status < 300:
            raise self._model_error(hosted.name, status, answer.body.decode("utf-8", "replace") if answer else said)
        if len(answer.body) > _MOST_BYTES:
            said = f"The response of {len(answer.body)} bytes exceeds the limit of {_MOST_BYTES}."
            raise self._model_error(hosted.name, 500, said)
        answer_type = answer.headers.get("content-type", "application/octet-stream")
        if variant.capture is not None:
            variant.capture.add(
                Invocation(
                    moment,
                    params.get("ContentType", ""),
                    body,
                    answer_type,
                    answer.body,
                    params.get("InferenceId"),
                    params.get("CustomAttributes"),
                )
            )
        return {
            "Body": answer.body,
            "ContentType": answer_type,
            "InvokedProductionVariant": variant.name,
            "CustomAttributes": answer.headers.get(_CUSTOM_ATTRIBUTES.lower()),
        }

    def _model_error(self, endpoint: str, status: int, said: str) -> ServiceError:
        region, account = self._context.region, self._context.account_id
        group = f"{LOG_GROUP}/{endpoint}"
        whose = "client" if 400 <= status < 500 else "server"
        tail = (
            f'". See https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}#logEventViewer:group='
            f"{group} in account {account} for more information."
        )
        head = f'Received {whose} error ({status}) from primary with message "'
        return ServiceError(
            "ModelError",
            f"{head}{said[: _SHOWN - len(head) - len(tail)]}{tail}",
            424,
            fields={
                "OriginalStatusCode": status,
                "OriginalMessage": said[:_SHOWN],
                "LogStreamArn": f"arn:aws:logs:{region}:{account}:log-group:{group}",
            },
        )


def _check_size(body: bytes, most: int) -> None:
    if len(body) > most:
        raise ServiceError(
            "ValidationError",
            "1 validation error detected: Value at 'body' failed to satisfy constraint: Member must have length less"
            f" than or equal to {most}",
        )


def _unavailable() -> ServiceError:
    return ServiceError(
        "ServiceUnavailable",
        "A transient exception occurred while retrieving variant instances. Please try again later.",
        503,
    )
