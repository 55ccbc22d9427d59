"""Where custom resources answer: each request has an address of its own, at which its answer may be PUT once.

On AWS the address is a pre-signed one of S3; here it is localcloud's own, and as secret.
Source: "Custom resource response objects" in the CloudFormation User Guide.
"""

from __future__ import annotations

import json
import secrets
import threading
from typing import Any

from localcloud.protocols.http import HttpRequest, HttpResponse
from localcloud.web import Web

_SITE = "cloudformation-response"
_MOST_BYTES = 4096
TOO_LONG: dict[str, Any] = {"Status": "FAILED", "Reason": "Response object is too long."}
NO_OBJECT: dict[str, Any] = {"Status": "FAILED", "Reason": "Invalid response object: it is no JSON object."}


class Answers:
    """The answers that are waited for. All methods may be called from any thread."""

    def __init__(self, web: Web) -> None:
        self._web, self._lock = web, threading.Lock()
        self._answers: dict[str, dict[str, Any] | None] = {}
        web.add(_SITE, self._put)

    def expect(self) -> tuple[str, str]:
        """A name for an answer, and the address at which it may be PUT."""
        name = secrets.token_urlsafe(24)
        with self._lock:
            self._answers[name] = None
        return name, self._web.url(_SITE, name)

    def of(self, name: str) -> dict[str, Any] | None:
        """The answer; None while there is none."""
        with self._lock:
            return self._answers.get(name)

    def forget(self, name: str) -> None:
        """Nobody waits for it any more."""
        with self._lock:
            self._answers.pop(name, None)

    def _put(self, name: str, request: HttpRequest) -> HttpResponse:
        if request.method != "PUT":
            return HttpResponse(405, [("Content-Type", "text/plain")], b"An answer is PUT here.\n")
        with self._lock:
            if name not in self._answers:
                return HttpResponse(403, [("Content-Type", "text/plain")], b"Nobody waits for this answer.\n")
            # The first counts.
            if self._answers[name] is None:
                self._answers[name] = _read(request.body)
        return HttpResponse(200, [], b"")


def _read(body: bytes) -> dict[str, Any]:
    if len(body) > _MOST_BYTES:
        return TOO_LONG
    try:
        found = json.loads(body)
    except ValueError:
        return NO_OBJECT
    return found if isinstance(found, dict) else NO_OBJECT
