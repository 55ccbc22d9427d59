"""What users reach by an address of its own, without AWS's protocol and without a signature: a REST API, a user
pool's keys and its token endpoint.

On AWS each of these has a host of its own (`{api}.execute-api.{region}.amazonaws.com`). Here it is a path:

    /_aws/{site}/{name}/…

Who may ask, and which pages of a browser, is the site's own matter.

What is too large to be held in memory is for a whole application of its own (ASGI), below a prefix of its own. Pages of
a browser are kept from it as from everything else.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace

from starlette.types import ASGIApp

from localcloud.protocols.http import HttpRequest, HttpResponse

_LOG = logging.getLogger(__name__)

PREFIX = "/_aws/"

Site = Callable[[str, HttpRequest], HttpResponse]
"""Answers a request to the thing of that name (an API's id, say); the request's path is what follows the name, with its
slash. It is called on a thread of a pool."""


class Web:
    """The sites of one localcloud. They are added before the services start."""

    def __init__(self, endpoint_url: str) -> None:
        self._endpoint_url = endpoint_url
        self._sites: dict[str, Site] = {}
        self._applications: dict[str, ASGIApp] = {}

    def mount(self, prefix: str, application: ASGIApp) -> None:
        """Let `application` answer whatever has a path with this prefix, which it gets whole."""
        self._applications[prefix] = application

    def mounted(self, path: str) -> ASGIApp | None:
        """What answers at a path, if an application of its own does."""
        return next((one for prefix, one in self._applications.items() if path.startswith(prefix)), None)

    def add(self, name: str, site: Site) -> None:
        """Let `site` answer below `/_aws/{name}/`."""
        self._sites[name] = site

    def url(self, site: str, name: str) -> str:
        """Where the thing of that name is reached, without a slash at its end."""
        return f"{self._endpoint_url}{PREFIX}{site}/{name}"

    def handle(self, request: HttpRequest) -> HttpResponse:
        """The answer to a request whose path begins with the prefix. It never raises."""
        site, _, rest = request.path.removeprefix(PREFIX).partition("/")
        name, slash, path = rest.partition("/")
        answer = self._sites.get(site)
        if answer is None or not name:
            known = ", ".join(f"{PREFIX}{one}/{{name}}" for one in sorted(self._sites))
            return _message(404, f"localcloud has nothing at {request.path}; it has {known}")
        try:
            return answer(name, replace(request, path=slash + path))
        except Exception:
            _LOG.exception("a bug in localcloud, while it answered %s %s", request.method, request.path)
            return _message(500, "a bug in localcloud; its log has the traceback")


def _message(status: int, text: str) -> HttpResponse:
    return HttpResponse(status, [("Content-Type", "application/json")], json.dumps({"message": text}).encode())
