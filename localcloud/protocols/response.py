"""A handler's result -> HTTP response, by the operation's output shape."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import cbor2
from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape
from botocore.utils import is_json_value_header, parse_to_aware_datetime

from localcloud.protocols import models
from localcloud.protocols.http import HttpResponse
from localcloud.protocols.validation import ResponseError

_ILLEGAL_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def serialise(
    operation: OperationModel,
    protocol: str,
    result: dict[str, Any],
    *,
    request_id: str,
    json_version: str | None = None,
) -> HttpResponse:
    """The response that botocore's parser reads back as `result`. The result must be valid (`check_response`).

    `json_version` is the one that the client asked in (`1.0` or `1.1`); by default the model's.
    Raises ResponseError for text that the protocol cannot carry.
    """
    if protocol == models.JSON:
        version = json_version or operation.metadata.get("jsonVersion", "1.1")
        body = json.dumps(_json_value(result, operation.output_shape)) if operation.output_shape else "{}"
        headers = [("Content-Type", f"application/x-amz-json-{version}"), ("x-amzn-RequestId", request_id)]
        return HttpResponse(200, headers, body.encode())
    if protocol == models.CBOR:
        headers = [
            ("Content-Type", "application/cbor"),
            ("smithy-protocol", "rpc-v2-cbor"),
            ("x-amzn-RequestId", request_id),
        ]
        value = _cbor_value(result, operation.output_shape) if operation.output_shape else {}
        return HttpResponse(200, headers, encode_cbor(value))
    if protocol == models.QUERY:
        headers = [("Content-Type", "text/xml"), ("x-amzn-RequestId", request_id)]
        return HttpResponse(200, headers, _query(operation, result, request_id))
    if protocol == models.REST_JSON:
        return _rest_json(operation, result, request_id)
    raise ValueError(f"no serialiser for the protocol {protocol!r}")


def encode_cbor(value: Any) -> bytes:
    """CBOR with timestamps as tag 1, which is what the protocol prescribes."""
    return bytes(cbor2.dumps(value, datetime_as_timestamp=True, timezone=UTC))


def _epoch(value: Any) -> int | float:
    """Seconds since 1970, to the millisecond, as AWS sends them."""
    seconds = round(_moment(value).timestamp(), 3)
    return int(seconds) if seconds.is_integer() else seconds


def _moment(value: Any) -> datetime:
    moment: datetime = parse_to_aware_datetime(value)
    return moment


def _iso(value: Any) -> str:
    return _moment(value).astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _formatted(value: Any, form: str) -> str | int | float:
    if form == "unixTimestamp":
        return _epoch(value)
    if form == "rfc822":
        return format_datetime(_moment(value).astimezone(UTC), usegmt=True)
    return _iso(value)


def _present(result: dict[str, Any], shape: StructureShape, convert: Callable[[Any, Shape], Any]) -> dict[str, Any]:
    return {
        shape.members[name].serialization.get("name", name): convert(value, shape.members[name])
        for name, value in result.items()
    }


def _json_value(value: Any, shape: Shape) -> Any:
    if isinstance(shape, StructureShape):
        return value if shape.is_document_type else _present(value, shape, _json_value)
    if isinstance(shape, ListShape):
        return [_json_value(item, shape.member) for item in value]
    if isinstance(shape, MapShape):
        return {key: _json_value(item, shape.value) for key, item in value.items()}
    if shape.type_name == "timestamp":
        return _formatted(value, shape.serialization.get("timestampFormat", "unixTimestamp"))
    if shape.type_name == "blob":
        return base64.b64encode(_bytes(value)).decode()
    if shape.type_name in ("float", "double"):
        return _json_float(float(value))
    return value


def _json_float(value: float) -> float | str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def _bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


def _cbor_value(value: Any, shape: Shape) -> Any:
    if isinstance(shape, StructureShape):
        return _present(value, shape, _cbor_value)
    if isinstance(shape, ListShape):
        return [_cbor_value(item, shape.member) for item in value]
    if isinstance(shape, MapShape):
        return {key: _cbor_value(item, shape.value) for key, item in value.items()}
    if shape.type_name == "timestamp":
        return cbor2.CBORTag(1, _epoch(value))
    if shape.type_name == "blob":
        return _bytes(value)
    if shape.type_name in ("float", "double"):
        return float(value)
    return value


# query -----------------------------------------------------------------------------------------------------------


def escape_xml(text: str) -> str:
    """The text as XML content. Raises ResponseError for characters that XML cannot hold at all."""
    if found := _ILLEGAL_IN_XML.search(text):
        raise ResponseError(f"XML cannot carry the character {found[0]!r} of {text[:80]!r}")
    # A parser turns a bare carriage return into a line feed; a reference keeps it.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")


def _query(operation: OperationModel, result: dict[str, Any], request_id: str) -> bytes:
    name = operation.name
    namespace = operation.metadata.get("xmlNamespace", "")
    inner = ""
    if operation.output_shape is not None:
        inner = "".join(_xml_members(result, operation.output_shape))
        if wrapper := operation.output_shape.serialization.get("resultWrapper"):
            inner = f"<{wrapper}>{inner}</{wrapper}>"
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<{name}Response xmlns="{namespace}">{inner}'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{name}Response>"
    ).encode()


def _xml_members(result: dict[str, Any], shape: StructureShape) -> list[str]:
    return [
        _xml(value, shape.members[name], shape.members[name].serialization.get("name", name))
        for name, value in result.items()
    ]


def _xml(value: Any, shape: Shape, tag: str) -> str:
    flattened = shape.serialization.get("flattened")
    if isinstance(shape, StructureShape):
        return f"<{tag}>{''.join(_xml_members(value, shape))}</{tag}>"
    if isinstance(shape, ListShape):
        if flattened:
            own = shape.member.serialization.get("name", tag)
            return "".join(_xml(item, shape.member, own) for item in value)
        own = shape.member.serialization.get("name", "member")
        return f"<{tag}>{''.join(_xml(item, shape.member, own) for item in value)}</{tag}>"
    if isinstance(shape, MapShape):
        key_tag, value_tag = shape.key.serialization.get("name", "key"), shape.value.serialization.get("name", "value")
        entries = [_xml(key, shape.key, key_tag) + _xml(item, shape.value, value_tag) for key, item in value.items()]
        if flattened:
            return "".join(f"<{tag}>{entry}</{tag}>" for entry in entries)
        return f"<{tag}>{''.join(f'<entry>{entry}</entry>' for entry in entries)}</{tag}>"
    return f"<{tag}>{escape_xml(_text(value, shape, 'iso8601'))}</{tag}>"


def _text(value: Any, shape: Shape, timestamp_format: str) -> str:
    """A scalar as text, in an XML element or a header."""
    if shape.type_name == "boolean":
        return "true" if value else "false"
    if shape.type_name == "timestamp":
        return str(_formatted(value, shape.serialization.get("timestampFormat", timestamp_format)))
    if shape.type_name == "blob":
        return base64.b64encode(_bytes(value)).decode()
    if shape.type_name in ("float", "double"):
        return str(_json_float(float(value)))
    return str(value)


# rest-json -------------------------------------------------------------------------------------------------------


def _rest_json(operation: OperationModel, result: dict[str, Any], request_id: str) -> HttpResponse:
    status = int(operation.http.get("responseCode", 200))
    headers = [("x-amzn-RequestId", request_id)]
    shape = operation.output_shape
    if shape is None:
        return HttpResponse(status, headers)
    in_body: dict[str, Any] = {}
    for name, value in result.items():
        member = shape.members[name]
        location, wire_name = member.serialization.get("location"), member.serialization.get("name", name)
        if location == "statusCode":
            status = value
        elif location == "header":
            headers.append((wire_name, _header_text(value, member)))
        elif location == "headers":
            headers.extend((f"{wire_name}{key}", item) for key, item in value.items())
        else:
            in_body[name] = value
    content_type, body = _rest_json_body(shape, in_body)
    if content_type and all(name.lower() != "content-type" for name, _ in headers):
        headers.append(("Content-Type", content_type))
    return HttpResponse(status, headers, body)


def _rest_json_body(shape: StructureShape, members: dict[str, Any]) -> tuple[str | None, bytes]:
    payload = shape.serialization.get("payload")
    if payload is None:
        # Members with a location of their own are not in `members` any more.
        return "application/json", json.dumps(_present(members, shape, _json_value)).encode()
    if payload not in members:
        return None, b""
    member = shape.members[payload]
    if member.type_name in ("blob", "string"):
        return "application/octet-stream", _bytes(members[payload])
    return "application/json", json.dumps(_json_value(members[payload], member)).encode()


def _header_text(value: Any, shape: Shape) -> str:
    if is_json_value_header(shape):
        return base64.b64encode(json.dumps(value, separators=(",", ":")).encode()).decode()
    if isinstance(shape, ListShape):
        return ",".join(_text(item, shape.member, "rfc822") for item in value)
    return _text(value, shape, "rfc822")
