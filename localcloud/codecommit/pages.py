"""Lists cut into pages, and tokens that lead from one to the next."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import TypeVar

from localcloud.errors import ServiceError

_T = TypeVar("_T")


def page(what: str, items: Sequence[_T], token: str | None, most: int) -> tuple[Sequence[_T], str | None]:
    """One page of `items`, and the token of the next. `what` says which list it is of: a token of another list, or of
    one with other contents asked for, is refused with InvalidContinuationTokenException."""
    start = _position(what, token) if token else 0
    end = start + most
    return items[start:end], _token(what, end) if end < len(items) else None


def _token(what: str, position: int) -> str:
    return base64.urlsafe_b64encode(json.dumps([what, position]).encode()).decode()


def _position(what: str, token: str) -> int:
    try:
        given_for, position = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, TypeError, RecursionError, binascii.Error):
        given_for, position = None, None
    if given_for != what or type(position) is not int or position < 1:
        raise ServiceError("InvalidContinuationTokenException", f"The continuation token is not valid: {token}")
    return position
