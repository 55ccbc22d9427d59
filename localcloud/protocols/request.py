"""HTTP request -> parameters, by the operation's input shape.

Values of a wrong type are left as they came: the validator names them. Unknown members are left in too, for the same
reason. Only what cannot be read at all raises, as SerializationException.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, unquote

import cbor2
from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape
from botocore.utils import is_json_value_header, parse_timestamp

from localcloud.errors import ServiceError
from localcloud.protocols import models
from localcloud.protocols.http import HttpRequest

# What a query request carries besides parameters: its own address and its authentication.
_QUERY_ENVELOPE = frozenset({"Action", "Version"})
_PLAIN = frozenset({"string", "integer", "long", "boolean"})
_GZIP = 16 + zlib.MAX_WBITS
_MOST_UNPACKED_BYTES = 16 * 1024 * 1024
_QUERY_AUTHENTICATION = ("X-Amz-", "AWSAccessKeyId", "Signature", "Timestamp", "SecurityToken")


def parse(operation: OperationModel, protocol: str, request: HttpRequest) -> dict[str, Any]:
    """The parameters that the client passed, as it passed them to boto3 (timestamps aware, blobs bytes).

    Raises ServiceError (SerializationException) for a body that is not in the protocol's format.
    """
    shape = operation.input_shape
    if shape is None:
        return {}
    if operation.request_compression and request.headers.get("content-encoding") == "gzip":
        request = replace(request, body=_unpacked(request.body))
    if protocol == models.JSON:
        return _object(_json_value(_json_body(request.body), shape), shape)
    if protocol == models.CBOR:
        return _object(_cbor_value(_cbor_body(request.body), shape), shape)
    if protocol == models.QUERY:
        return _Query(models.form(request)).parse(shape)
    if protocol == models.REST_JSON:
        return _rest_json(operation, shape, request)
    raise ValueError(f"no parser for the protocol {protocol!r}")


def _malformed(what: str) -> ServiceError:
    return ServiceError("SerializationException", what, 400)


def _unpacked(body: bytes) -> bytes:
    """What a client has compressed, as boto3 does with a PutMetricData of 10 kB and more."""
    unpacking = zlib.decompressobj(wbits=_GZIP)
    try:
        unpacked = unpacking.decompress(body, _MOST_UNPACKED_BYTES)
    except zlib.error as error:
        raise _malformed(f"the body is not gzip: {error}") from error
    if not unpacking.eof:
        raise _malformed(f"the body is not whole, or unpacked longer than {_MOST_UNPACKED_BYTES} bytes")
    return unpacked


def _object(value: Any, shape: Shape) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _malformed(f"the body is a {type(value).__name__}, expected an object with the members of {shape.name}")
    return value


# json ------------------------------------------------------------------------------------------------------------


def _json_body(body: bytes) -> Any:
    if not body:
        return {}
    try:
        value = json.loads(body)
        if b"\\ud" in body.lower():
            # Half a surrogate pair is JSON to Python and text to nobody: neither UTF-8 nor SQLite can hold it.
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise _malformed("the body is nested too deeply") from None
    except ValueError as error:
        raise _malformed(f"the body is not JSON: {error}") from error
    return value


def _json_value(value: Any, shape: Shape) -> Any:
    if isinstance(shape, StructureShape):
        if shape.is_document_type or not isinstance(value, dict):
            return value
        return _members(value, shape, _json_value)
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [_json_value(item, shape.member) for item in value]
    if isinstance(shape, MapShape) and isinstance(value, dict):
        return {key: _json_value(item, shape.value) for key, item in value.items() if item is not None}
    if shape.type_name == "timestamp":
        return _timestamp(value)
    if shape.type_name == "blob":
        return _base64(value, shape)
    if shape.type_name in ("float", "double") and isinstance(value, str):
        return _special_float(value)
    return value


def _members(value: Mapping[str, Any], shape: StructureShape, convert: Callable[[Any, Shape], Any]) -> dict[str, Any]:
    """The members under their own names; null means absent, unknown ones stay for the validator to name."""
    by_wire_name = _by_wire_name(shape)
    members: dict[str, Any] = {}
    for wire_name, item in value.items():
        if item is None:
            continue
        known = by_wire_name.get(wire_name)
        if known is None:
            members[wire_name] = item
        else:
            name, member, plain = known
            members[name] = item if plain else convert(item, member)
    return members


@cache
def _by_wire_name(shape: StructureShape) -> dict[str, tuple[str, Shape, bool]]:
    """A structure's members by their name on the wire: own name, shape, and whether the value is taken as it comes."""
    return {
        member.serialization.get("name", name): (name, member, member.type_name in _PLAIN)
        for name, member in shape.members.items()
    }


def _timestamp(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return value
    if not isinstance(value, str):
        # What nearly all are, in a fraction of the time that the parser of all forms takes.
        try:
            return datetime.fromtimestamp(value, UTC)
        except (ValueError, OverflowError, OSError):
            pass
    try:
        moment: datetime = parse_timestamp(value)
    except (ValueError, OverflowError):
        return value
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _base64(value: Any, shape: Shape) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _malformed(f"a value of {shape.name} is not base64: {error}") from error


def _special_float(value: str) -> Any:
    """JSON has no NaN and infinity: the protocols send these three as text."""
    return float(value) if value in ("NaN", "Infinity", "-Infinity") else value


# rpc-v2-cbor -------------------------------------------------------------------------------------------------------


def _cbor_body(body: bytes) -> Any:
    if not body:
        return {}
    try:
        return cbor2.loads(body)
    except RecursionError:
        raise _malformed("the body is nested too deeply") from None
    except (cbor2.CBORDecodeError, ValueError) as error:
        raise _malformed(f"the body is not CBOR: {error}") from error


def _cbor_value(value: Any, shape: Shape) -> Any:
    if isinstance(shape, StructureShape):
        return _members(value, shape, _cbor_value) if isinstance(value, dict) else value
    if isinstance(shape, ListShape) and isinstance(value, list | tuple):
        return [_cbor_value(item, shape.member) for item in value]
    if isinstance(shape, MapShape) and isinstance(value, dict):
        return {key: _cbor_value(item, shape.value) for key, item in value.items() if item is not None}
    if shape.type_name == "timestamp":
        return value.astimezone(UTC) if isinstance(value, datetime) else _timestamp(value)
    return value


# query -----------------------------------------------------------------------------------------------------------


class _Query:
    """Reads flat fields such as `Tags.member.1.Key` back into a structure, and knows which ones it has read."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = fields
        self._read: set[str] = set(_QUERY_ENVELOPE)

    def parse(self, shape: StructureShape) -> dict[str, Any]:
        value = self._structure(shape, "")
        for field in self._fields:
            if field not in self._read and not field.startswith(_QUERY_AUTHENTICATION):
                value[field] = self._fields[field]
        return value

    def _present(self, prefix: str) -> bool:
        return prefix in self._fields or any(field.startswith(f"{prefix}.") for field in self._fields)

    def _value(self, shape: Shape, prefix: str) -> Any:
        if isinstance(shape, StructureShape):
            return self._structure(shape, prefix)
        if isinstance(shape, ListShape):
            return self._list(shape, prefix)
        if isinstance(shape, MapShape):
            return self._map(shape, prefix)
        self._read.add(prefix)
        return _text_value(self._fields.get(prefix, ""), shape)

    def _structure(self, shape: StructureShape, prefix: str) -> dict[str, Any]:
        self._read.add(prefix)
        value = {}
        for name, member in shape.members.items():
            member_prefix = ".".join(filter(None, (prefix, member.serialization.get("name", name))))
            if isinstance(member, ListShape) and (flat := _flat_list_prefix(member, member_prefix)) != member_prefix:
                if self._present(member_prefix) or self._present(flat):
                    value[name] = self._value(member, member_prefix)
            elif self._present(member_prefix):
                value[name] = self._value(member, member_prefix)
        return value

    def _list(self, shape: ListShape, prefix: str) -> list[Any]:
        self._read.add(prefix)
        if shape.serialization.get("flattened"):
            item_prefix = _flat_list_prefix(shape, prefix)
        else:
            item_prefix = f"{prefix}.{shape.member.serialization.get('name', 'member')}"
        items: list[Any] = []
        while self._present(f"{item_prefix}.{len(items) + 1}"):
            items.append(self._value(shape.member, f"{item_prefix}.{len(items) + 1}"))
        return items

    def _map(self, shape: MapShape, prefix: str) -> dict[Any, Any]:
        self._read.add(prefix)
        entry = prefix if shape.serialization.get("flattened") else f"{prefix}.entry"
        key_name = shape.key.serialization.get("name", "key")
        value_name = shape.value.serialization.get("name", "value")
        pairs: dict[Any, Any] = {}
        number = 1
        while self._present(f"{entry}.{number}.{key_name}"):
            key = self._value(shape.key, f"{entry}.{number}.{key_name}")
            pairs[key] = self._value(shape.value, f"{entry}.{number}.{value_name}")
            number += 1
        return pairs


def _flat_list_prefix(shape: ListShape, prefix: str) -> str:
    """A flattened list whose member has a name of its own is sent under that name, not under the list's."""
    name = shape.member.serialization.get("name")
    if not shape.serialization.get("flattened") or not name:
        return prefix
    return ".".join([*prefix.split(".")[:-1], name])


def _text_value(text: str, shape: Shape) -> Any:
    """A scalar that came as text; the text itself if it is none of its type."""
    try:
        if shape.type_name in ("integer", "long"):
            return int(text)
        if shape.type_name in ("float", "double"):
            return float(text)
    except ValueError:
        return text
    if shape.type_name == "boolean":
        return {"true": True, "false": False}.get(text.lower(), text)
    if shape.type_name == "timestamp":
        return _timestamp(text)
    if shape.type_name == "blob":
        return _base64(text, shape)
    return text


# rest-json -------------------------------------------------------------------------------------------------------


def _rest_json(operation: OperationModel, shape: StructureShape, request: HttpRequest) -> dict[str, Any]:
    found = models.match_route(operation.service_model.service_name, request)
    if found is None or found[0].operation != operation.name:
        raise ValueError(f"{request.method} {request.path} is not the address of {operation.name}")
    route, labels = found
    query: dict[str, list[str]] = {}
    for field, text in parse_qsl(request.query, keep_blank_values=True):
        if (field, text) not in route.query:
            query.setdefault(field, []).append(text)
    params: dict[str, Any] = {}
    query_map: tuple[str, MapShape] | None = None
    for name, member in shape.members.items():
        location, wire_name = member.serialization.get("location"), member.serialization.get("name", name)
        if location == "uri":
            if wire_name in labels:
                params[name] = _text_value(unquote(labels[wire_name]), member)
        elif location == "querystring":
            if isinstance(member, MapShape):
                query_map = (name, member)
            elif wire_name in query:
                texts = query.pop(wire_name)
                params[name] = (
                    [_text_value(text, member.member) for text in texts]
                    if isinstance(member, ListShape)
                    else _text_value(texts[-1], member)
                )
        elif location == "header":
            if (header := request.headers.get(wire_name.lower())) is not None:
                params[name] = _header_value(header, member)
        elif location == "headers" and (
            prefixed := {
                key[len(wire_name) :]: value
                for key, value in request.headers.items()
                if key.startswith(wire_name.lower())
            }
        ):
            params[name] = prefixed
    if query_map and query:
        name, member = query_map
        params[name] = {
            key: texts if isinstance(member.value, ListShape) else texts[-1] for key, texts in query.items()
        }
    params.update(_rest_json_body(shape, request))
    return params


def _rest_json_body(shape: StructureShape, request: HttpRequest) -> dict[str, Any]:
    payload = shape.serialization.get("payload")
    if payload is None:
        if all("location" in member.serialization for member in shape.members.values()):
            return {}
        return _object(_json_value(_json_body(request.body), shape), shape)
    member = shape.members[payload]
    if member.type_name == "blob":
        return {payload: request.body} if request.body else {}
    if member.type_name == "string":
        return {payload: request.body.decode()} if request.body else {}
    value = _json_value(_json_body(request.body), member) if request.body else None
    return {payload: value} if value is not None else {}


def _header_value(text: str, shape: Shape) -> Any:
    if is_json_value_header(shape):
        try:
            return json.loads(base64.b64decode(text))
        except ValueError as error:
            raise _malformed(f"a header with {shape.name} is not base64 of JSON: {error}") from error
    if isinstance(shape, ListShape):
        return [_text_value(item, shape.member) for item in _split_header(text)]
    return _text_value(text, shape)


def _split_header(text: str) -> list[str]:
    """The items of a comma-separated header, of which some are quoted with escaped quotes inside."""
    items, item, quoted, escaped = [], "", False, False
    for character in text:
        if escaped:
            item, escaped = item + character, False
        elif quoted and character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif character == "," and not quoted:
            items.append(item.strip())
            item = ""
        else:
            item += character
    return [*items, item.strip()]
