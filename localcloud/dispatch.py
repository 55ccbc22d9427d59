"""Answers one request: finds the service, checks what comes in and what goes out, and turns errors into answers."""

from __future__ import annotations

import errno
import logging
import random
import sqlite3
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from botocore.exceptions import ClientError
from botocore.model import OperationModel, ServiceModel

from localcloud import bucket_policies, chunked, queue_policies, routing, services
from localcloud.actions import Actions, members_of, operation_of, prefix_of
from localcloud.calls import Call
from localcloud.context import Context, Request
from localcloud.errors import ServiceError
from localcloud.expiry import Expiry
from localcloud.faults import Faults
from localcloud.iam import documents, objects
from localcloud.iam.encryption import Encryption
from localcloud.iam.facts import Asked
from localcloud.iam.sessions import Sessions
from localcloud.leaf import LeafUnavailable
from localcloud.notices.topics import Topics
from localcloud.protocols import fault, models, request, response, validation
from localcloud.protocols.http import HttpRequest, HttpResponse
from localcloud.queue_metrics import QueueMetrics
from localcloud.queue_waiting import LongPolling
from localcloud.routing import Target
from localcloud.service import Service

_LOG = logging.getLogger(__name__)

# What concerns one connection and not the request, or has been dealt with by the time moto sees the request.
_NOT_FOR_LEAF = frozenset(
    {"connection", "transfer-encoding", "expect", "keep-alive", "te", "upgrade", "content-length"}
)
_MOST_QUICK_BYTES = 16 * 1024


class Dispatcher:
    """The one way to a service. `handle` may be called from any thread and never raises."""

    def __init__(
        self,
        context: Context,
        implemented: Iterable[Service],
        topics: Topics | None = None,
        expiry: Expiry | None = None,
        queue_metrics: QueueMetrics | None = None,
    ) -> None:
        """What is done beside moto, or else not at all: `topics` delivers what is published, `expiry` deletes items
        that have ended, `queue_metrics` measures queues."""
        self._context, self._topics, self._expiry, self._queue_metrics = context, topics, expiry, queue_metrics
        self._queues = LongPolling(context.leaf)
        self._actions = Actions(context.region, context.account_id)
        self._encryption = Encryption(context.authority, lambda name: context.leaf.client(name), context.region)
        self._sessions = Sessions(context.authority, context.principals, lambda: context.leaf.client("iam"))
        self._services: Mapping[str, Service] = {service.name: service for service in implemented}
        if unknown := self._services.keys() - set(services.OWNED):
            raise ValueError(f"{', '.join(sorted(unknown))}: not among localcloud.services.OWNED")

    def handle(self, http: HttpRequest, faults: Faults | None = None) -> HttpResponse:
        """The answer, an error's included. faults: those that the caller may meet."""
        target = _unknown_target(http)
        try:
            target = routing.find_target(http)
        except Exception as error:
            return self._failed(error, target, http, _request_id())
        return self._answer(target, http, faults)

    def handle_quick(self, http: HttpRequest, faults: Faults | None = None) -> HttpResponse | None:
        """The answer to a request of `services.QUICK`, on the event loop's thread; None for every other one."""
        try:
            target = routing.find_target(http)
        except ServiceError:
            return None
        quick = services.QUICK.get(target.service)
        if quick is None or target.service not in self._services:
            return None
        if target.protocol == models.REST_JSON:
            found = models.match_route(target.service, http)
            operation = found[0].operation if found is not None else ""
        else:
            # A long one of these would keep all others waiting.
            plain = target.protocol == models.JSON and "content-encoding" not in http.headers
            short = plain and len(http.body) <= _MOST_QUICK_BYTES
            operation = models.operation_name(http, target.protocol) if short else ""
        if operation not in quick:
            return None
        # Policies that have not been read yet are moto's to tell, which may be busy.
        caller = self._context.principals.caller(target.access_key)
        return self._answer(target, http, faults) if self._context.authority.is_at_hand(caller) else None

    def _answer(self, target: Target, http: HttpRequest, faults: Faults | None) -> HttpResponse:
        request_id = _request_id()
        faults = faults if faults is not None and faults.any else None
        try:
            routing.check_access_key(target, self._context.leaf.issued)
            if target.service in services.LEAF:
                return self._leaf(target, http, faults)
            if target.service in services.OWNED:
                return self._owned(target, http, request_id, faults)
            raise ServiceError("UnknownOperationException", _unknown_service(target))
        except Exception as error:
            return self._failed(error, target, http, request_id)

    def _failed(self, error: Exception, target: Target, http: HttpRequest, request_id: str) -> HttpResponse:
        if isinstance(error, ServiceError):
            return _failed(error, target, http, request_id)
        if isinstance(error, LeafUnavailable):
            return _failed(ServiceError("ServiceUnavailable", str(error), 503), target, http, request_id)
        if isinstance(error, OSError | sqlite3.OperationalError) and _is_full(error):
            message = f"there is no room left in the state folder {self._context.state_dir}: {error}"
            return _failed(ServiceError("ServiceUnavailable", message, 503), target, http, request_id)
        return self._bug(error, target, http, request_id)

    def _bug(self, error: Exception, target: Target, http: HttpRequest, request_id: str) -> HttpResponse:
        _LOG.error(
            "a bug in localcloud, while it answered %s %s %s", target.service, http.method, http.path, exc_info=error
        )
        message = f"a bug in localcloud, its log has the traceback: {type(error).__name__}: {error}"
        return _failed(ServiceError("InternalFailure", message, 500), target, http, request_id)

    def _leaf(self, target: Target, http: HttpRequest, faults: Faults | None) -> HttpResponse:
        part = services.IN_PART.get(target.service)
        if part is not None and operation_of(target.service, http) not in part:
            raise _unknown_operation(target.service, operation_of(target.service, http))
        if faults is None:
            return self._stored(target, http)
        operation = operation_of(target.service, routing.path_style(http) if target.service == "s3" else http)
        try:
            faults.check(target.service, operation)
        except ServiceError as refused:
            self._record(self._unjudged(target, self._actions.of_request(target.service, http)), refused.code)
            raise
        return faults.around_leaf(target.service, operation, http, lambda passed_on: self._stored(target, passed_on))

    def _stored(self, target: Target, http: HttpRequest) -> HttpResponse:
        if target.service == "s3":
            http = routing.path_style(http)
            if chunked.is_chunked(http):
                http = chunked.decode(http)
        operation = operation_of(target.service, http)
        if target.service == "sts" and operation in self._sessions.operations:
            return self._session(target, http, operation)
        params = members_of(http) if target.service != "s3" else {}
        caller = self._context.principals.caller(target.access_key)
        asked = Asked(target.service, operation, params, http.headers, http.query, http.client)
        authority, pairs = self._context.authority, list(self._actions.of_request(target.service, http))
        deletion = None
        if (target.service, operation) == ("s3", "DeleteObjects"):
            deletion, calls = objects.Deletion.judged(authority, caller, asked, http, pairs)
            left = deletion.request()
            if left is None:
                return deletion.response(None)
            http = left
        else:
            calls = authority.authorise(caller, target.service, target.protocol, asked, pairs)
        if target.service == "s3":
            calls = [*calls, *self._encryption.check_writing(caller, operation, _bucket(http), http)]
        documents.check(target.service, operation, params, http.body, lambda: self._context.leaf.client("iam"))
        headers = {name: value for name, value in http.headers.items() if name not in _NOT_FOR_LEAF}
        passed_on = HttpRequest(http.method, http.path, http.query, headers, http.body)
        if target.service == "sqs":
            passed_on = queue_policies.to_leaf(passed_on, self._queue_policy)
        if target.service == "s3" and bucket_policies.is_policy(http):
            passed_on = bucket_policies.to_leaf(passed_on)
            response = bucket_policies.from_leaf(self._context.leaf.handle(target.service, passed_on))
        elif target.service == "sns" and self._topics is not None:
            response = self._topics.handle(passed_on)
        elif target.service == "dynamodb" and self._expiry is not None:
            response = self._expiry.handle(passed_on)
        elif target.service == "sqs":
            response = self._queues.handle(passed_on)
        else:
            response = self._context.leaf.handle(target.service, passed_on)
        if target.service in ("sqs", "sns") and self._queue_metrics is not None:
            self._queue_metrics.stirred()
        error = str(response.status) if response.status >= 400 else ""
        if target.service == "s3" and response.status == 404:
            calls = [*calls, *objects.check_missing(authority, caller, asked, pairs[0][1], response)]
        elif target.service == "s3":
            calls = [*calls, *self._encryption.check_reading(caller, operation, _bucket(http), response)]
            self._encryption.called(operation)
        self._record(calls, error)
        authority.called(target.service, operation, params)
        return deletion.response(response) if deletion is not None else response

    def _queue_policy(self, url: str) -> str | None:
        sqs = self._context.leaf.client("sqs")
        try:
            found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"]).get("Attributes", {})
        except ClientError:
            return None
        policy: str | None = found.get("Policy")
        return policy

    def _owned(self, target: Target, http: HttpRequest, request_id: str, faults: Faults | None) -> HttpResponse:
        model = models.service_model(target.service)
        operation = _operation(model, target, http)
        service = self._services.get(target.service)
        handler = service.operations.get(operation.name) if service is not None else None
        if handler is None:
            raise _unknown_operation(target.service, operation.name)
        called = self._called(target, http, operation, model)
        params = called.params
        pairs = self._actions.of(target.service, operation.name, params)
        if target.access_key is None:
            # Who signs in has no credentials yet: no policy is about them.
            calls = self._unjudged(target, pairs)
        else:
            caller = self._context.principals.caller(target.access_key)
            asked = Asked(prefix_of(target.service), operation.name, params, http.headers, http.query, http.client)
            calls = self._context.authority.authorise(caller, target.service, target.protocol, asked, pairs)
        error = "InternalFailure"
        try:
            if faults is None:
                answer = handler(called)
            else:
                faults.check(target.service, operation.name)
                answer = faults.around(
                    target.service, operation.name, params, lambda left: handler(replace(called, params=left))
                )
            result = _without_none(answer)
            error = ""
        except ServiceError as refused:
            error = refused.code
            raise
        finally:
            self._record(calls, error)
        self._context.authority.called(target.service, operation.name, params)
        validation.check_response(result, operation.output_shape)
        return response.serialise(
            operation, target.protocol, result, request_id=request_id, json_version=_json_version(http)
        )

    def _session(self, target: Target, http: HttpRequest, name: str) -> HttpResponse:
        """What STS answers about roles: it records itself what it was asked."""
        model = models.service_model("sts")
        operation = model.operation_model(name)
        called = self._called(target, http, operation, model)
        result = _without_none(self._sessions.operations[name](called))
        validation.check_response(result, operation.output_shape)
        return response.serialise(operation, target.protocol, result, request_id=_request_id())

    def _called(self, target: Target, http: HttpRequest, operation: OperationModel, model: ServiceModel) -> Request:
        params = request.parse(operation, target.protocol, http)
        validation.check_request(params, operation.input_shape, code=_validation_code(model))
        return Request(
            service=target.service,
            operation=operation.name,
            params=params,
            region=target.region or self._context.region,
            access_key=target.access_key,
            headers=http.headers,
        )

    def _unjudged(self, target: Target, pairs: Iterable[tuple[str, str]]) -> Sequence[Call]:
        principal = self._context.principals.of(target.access_key)
        return [Call(principal, action, resource) for action, resource in pairs]

    def _record(self, calls: Sequence[Call], error: str) -> None:
        for call in calls:
            self._context.calls.add(replace(call, error=error) if error else call)


def _bucket(http: HttpRequest) -> str:
    """Of a request to S3 in path style."""
    return http.path.lstrip("/").partition("/")[0]


def _request_id() -> str:
    # A name, no secret: the machine's own source of randomness is a system call away, with every request.
    return str(uuid.UUID(int=random.getrandbits(128), version=4))


def _unknown_target(http: HttpRequest) -> Target:
    """Where an error goes of a request that does not say where it goes."""
    guess = models.REST_XML if http.method in ("GET", "HEAD") else models.REST_JSON
    return Target("", models.protocol_of(http) or guess, None, None)


def _operation(model: ServiceModel, target: Target, http: HttpRequest) -> OperationModel:
    if target.protocol == models.REST_JSON:
        found = models.match_route(target.service, http)
        name = found[0].operation if found else f"{http.method} {http.path}"
    else:
        name = models.operation_name(http, target.protocol)
    if name not in model.operation_names:
        raise _unknown_operation(target.service, name)
    return model.operation_model(name)


def _is_full(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


def _unknown_operation(service: str, operation: str) -> ServiceError:
    return ServiceError(
        "UnknownOperationException",
        f"localcloud does not implement the operation {operation or '(none named)'} of {service}",
    )


def _unknown_service(target: Target) -> str:
    known = ", ".join(sorted({*services.OWNED, *services.LEAF}))
    return f"localcloud does not have the service {target.service!r}; it has {known}"


def _validation_code(model: ServiceModel) -> str:
    """ValidationError where the model has an error of that name, and of services that speak, or spoke, query."""
    if model.shape_for_error_code("ValidationError") is not None:
        return "ValidationError"
    protocols = model.metadata.get("protocols") or [model.metadata["protocol"]]
    return "ValidationError" if models.QUERY in protocols else "ValidationException"


def _json_version(http: HttpRequest) -> str | None:
    _, marker, version = http.headers.get("content-type", "").partition("application/x-amz-json-")
    return version if marker else None


def _failed(error: ServiceError, target: Target, http: HttpRequest, request_id: str) -> HttpResponse:
    model = models.service_model(target.service) if models.is_service(target.service) else None
    return fault.serialise(
        error, target.protocol, request_id=request_id, model=model, json_version=_json_version(http) or "1.1"
    )


def _without_none(value: Any) -> Any:
    """A response without the members that are None: a handler may name every member and leave some empty."""
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_none(item) for item in value]
    return value
