"""The JSON document in a request, read strictly: what one parser takes and another refuses is refused here."""

from __future__ import annotations

import base64
import binascii
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NoReturn

from seed_code.api.refusals import Refused, shown

MOST_BYTES = 2**20  # a full batch has up to 500 records of some 1.4 KB

_JSON = "application/json"
_CHARSETS = ("utf-8", "us-ascii")
_DEEPEST = 20  # no document of this API nests deeper than 3


def read(event: Mapping[str, Any]) -> Any:
    """The document in the body of a proxy event.

    Raises:
        Refused: 415 when it is not declared as JSON, or is compressed, 413 when it is too large, 400 when it is none.
    """
    _check_type(event)
    text = _text(event)
    if not text.strip():
        raise Refused("The request has no body; expected a JSON object")
    try:
        document = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_members)
    except RecursionError:
        raise Refused("The body is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise Refused(f"The body is not JSON: {error}") from None
    except _Unfit as error:
        raise Refused(f"The body is not JSON as it is expected here: {error}") from None
    except ValueError:
        # Of int(), with advice on Python.
        raise Refused("The body holds a number of too many digits") from None
    if _nests_deeper(document, _DEEPEST):
        raise Refused("The body is nested too deeply")
    return document


class _Unfit(ValueError):
    """Something that Python's parser takes."""


def _refuse_constant(name: str) -> NoReturn:
    raise _Unfit(f"{name} is no JSON value; expected finite numbers")


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise _Unfit(f"the member {shown(twice)} is given twice in one object")
    return members


def _check_type(event: Mapping[str, Any]) -> None:
    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    encoding = _header(event, "content-encoding")
    if encoding.strip().lower() not in ("", "identity"):
        raise Refused(f"Content-Encoding is {shown(encoding)}; expected none", status=status)
    given = _header(event, "content-type")
    # API Gateway, too, takes a body that is not declared for JSON.
    media_type, *parameters = (given or _JSON).lower().split(";")
    named = [(name.strip(), value.strip().strip('"')) for name, _, value in (one.partition("=") for one in parameters)]
    if media_type.strip() != _JSON or any(name == "charset" and value not in _CHARSETS for name, value in named):
        raise Refused(f"Content-Type is {shown(given)}; expected {_JSON}, in UTF-8", status=status)


def _header(event: Mapping[str, Any], wanted: str) -> str:
    """A header of the request; empty where there is none."""
    headers = event.get("headers") or {}
    return next((str(value or "") for name, value in headers.items() if name.lower() == wanted), "")


def _text(event: Mapping[str, Any]) -> str:
    body = str(event.get("body") or "")
    if not event.get("isBase64Encoded"):
        _check_size(len(body.encode(errors="surrogatepass")))
        return body
    try:
        content = base64.b64decode(body, validate=True)
        _check_size(len(content))
        return content.decode()
    except binascii.Error:
        raise Refused("The body is not JSON: it is declared as base64, and is not that") from None
    except UnicodeDecodeError as error:
        raise Refused(f"The body is not JSON: it is not UTF-8 at byte {error.start}") from None


def _check_size(size: int) -> None:
    # What is larger would keep the function busy with reading it, for nothing.
    if size > MOST_BYTES:
        status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        raise Refused(f"The body has {size} bytes; expected at most {MOST_BYTES}", status=status)


def _nests_deeper(document: Any, levels: int) -> bool:
    """Whether there are more levels of objects and lists in a document. It does not recurse."""
    layer: Sequence[Any] = [document]
    for _ in range(levels + 1):
        layer = [
            child
            for one in layer
            if isinstance(one, dict | list)
            for child in (one.values() if isinstance(one, dict) else one)
        ]
        if not layer:
            return False
    return True
