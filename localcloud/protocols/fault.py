"""An error -> HTTP response, in the protocol of the client that shall read it."""

from __future__ import annotations

import json

from botocore.model import ServiceModel, StructureShape

from localcloud.errors import ServiceError
from localcloud.protocols import models
from localcloud.protocols.http import HttpResponse
from localcloud.protocols.response import encode_cbor, escape_xml
from localcloud.protocols.validation import ResponseError


def serialise(
    error: ServiceError,
    protocol: str,
    *,
    request_id: str,
    model: ServiceModel | None = None,
    json_version: str = "1.1",
) -> HttpResponse:
    """The answer that botocore raises as a ClientError with the error's code and message.

    With the service's `model`, an error that it knows gets the status and the member names that the model gives it.
    """
    shape = model.shape_for_error_code(error.code) if model is not None else None
    status = int(shape.metadata.get("error", {}).get("httpStatusCode", error.status)) if shape else error.status
    fields = {**error.fields, _message_member(shape): error.message}
    identity = [("x-amzn-RequestId", request_id)]
    if protocol == models.JSON:
        headers = [("Content-Type", f"application/x-amz-json-{json_version}"), *identity]
        headers += _query_error(error, model)
        name = shape.name if shape is not None and _is_query_compatible(model) else error.code
        return HttpResponse(status, headers, json.dumps({"__type": name, **fields}).encode())
    if protocol == models.CBOR:
        headers = [("Content-Type", "application/cbor"), ("smithy-protocol", "rpc-v2-cbor"), *identity]
        headers += _query_error(error, model)
        name = shape.name if shape is not None else error.code
        return HttpResponse(status, headers, encode_cbor({"__type": name, **fields}))
    if protocol == models.REST_JSON:
        headers = [("Content-Type", "application/json"), ("x-amzn-ErrorType", error.code), *identity]
        return HttpResponse(status, headers, json.dumps({"__type": error.code, **fields}).encode())
    if protocol == models.REST_XML:
        body = (
            f"<Error><Code>{escape_xml(error.code)}</Code><Message>{_safe(error.message)}</Message>"
            f"<RequestId>{request_id}</RequestId></Error>"
        )
        return _xml_response(status, body, [*identity, ("x-amz-request-id", request_id)])
    kind = "Receiver" if status >= 500 else "Sender"
    namespace = model.metadata.get("xmlNamespace", "") if model is not None else ""
    body = (
        f'<ErrorResponse xmlns="{namespace}"><Error><Type>{kind}</Type><Code>{escape_xml(error.code)}</Code>'
        f"<Message>{_safe(error.message)}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    )
    return _xml_response(status, body, identity)


def _xml_response(status: int, body: str, headers: list[tuple[str, str]]) -> HttpResponse:
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n{body}'
    return HttpResponse(status, [("Content-Type", "text/xml"), *headers], text.encode())


def _safe(message: str) -> str:
    """A message quotes what the client sent, which may hold what XML cannot: it is shown escaped then."""
    try:
        return escape_xml(message)
    except ResponseError:
        return escape_xml(repr(message))


def _message_member(shape: StructureShape | None) -> str:
    """`message`, or `Message` where the error's shape spells it so: botocore's modelled exceptions read only that."""
    for name, member in (shape.members if shape is not None else {}).items():
        if name.lower() == "message":
            return str(member.serialization.get("name", name))
    return "message"


def _is_query_compatible(model: ServiceModel | None) -> bool:
    return model is not None and "awsQueryCompatible" in model.metadata


def _query_error(error: ServiceError, model: ServiceModel | None) -> list[tuple[str, str]]:
    """Services that once spoke query keep its error codes, beside the new names, in a header."""
    if not _is_query_compatible(model):
        return []
    return [("x-amzn-query-error", f"{error.code};{'Receiver' if error.status >= 500 else 'Sender'}")]
