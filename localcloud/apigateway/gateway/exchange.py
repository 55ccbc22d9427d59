"""One request to a stage, with all that becomes known of it while it is answered."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from urllib.parse import unquote_plus

from localcloud.apigateway.deployed import Deployed, Method
from localcloud.apigateway.gateway.refusals import Refused
from localcloud.protocols.http import HttpRequest

JSON = "application/json"


@dataclass(frozen=True)
class Answer:
    """What is answered, before what the gateway adds to every answer."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass
class Exchange:
    """A request and what is known of it so far. Used by one thread."""

    deployed: Deployed
    request: HttpRequest
    path: str
    """Without the stage; begins with a slash, percent-encoded as it came."""
    moment: datetime
    account_id: str
    request_id: str
    extended_request_id: str
    trace_id: str
    begun: float = field(default_factory=time.perf_counter)

    method: Method | None = None
    path_parameters: Mapping[str, str] = field(default_factory=dict)
    claims: Mapping[str, str] | None = None
    authorizer_status: int | None = None
    api_key: str | None = None
    api_key_id: str | None = None
    firewall: str | None = None
    """What the firewall has said: WAF_ALLOW or WAF_BLOCK."""
    is_cached: bool | None = None
    """Whether the answer is from the cache; None where there is none for the method."""
    integration_seconds: float | None = None
    integration_status: int | None = None
    """What the function answers with; None where there was no answer of it."""
    integration_request_id: str | None = None
    refused: Refused | None = None
    """Why the gateway answers itself."""
    status: int = 0
    length: int = 0
    seconds: float = 0.0
    """How long all of it took."""

    @property
    def domain(self) -> str:
        """The host that was asked. On AWS that is the API's own name, or a custom one."""
        return self.request.headers.get("host", "")

    @property
    def epoch_milliseconds(self) -> int:
        """When the request came."""
        return int(self.moment.timestamp() * 1000)

    @property
    def media_type(self) -> str:
        """The body's media type, without its parameters; JSON where none is said, as everywhere in API Gateway."""
        return self.request.headers.get("content-type", "").partition(";")[0].strip().lower() or JSON

    @cached_property
    def query(self) -> Mapping[str, Sequence[str]]:
        """The values of each query parameter, decoded, in their order."""
        found: dict[str, list[str]] = {}
        # A semicolon divides parameters, too.
        for part in self.request.query.replace(";", "&").split("&"):
            name, _, value = part.partition("=")
            if name:
                found.setdefault(unquote_plus(name), []).append(unquote_plus(value))
        return found

    def finish(self, answer: Answer) -> None:
        """Note what was answered, and how long it took."""
        self.status, self.length = answer.status, len(answer.body)
        self.seconds = time.perf_counter() - self.begun

    def parameter(self, expression: str) -> tuple[str, ...]:
        """The values at a place such as `method.request.querystring.minutes`; none where the request has none."""
        place, _, name = expression.partition(".request.")[2].partition(".")
        if place in ("querystring", "multivaluequerystring"):
            return tuple(self.query.get(name, ()))
        source = self.path_parameters if place == "path" else self.request.headers
        value = source.get(name if place == "path" else name.lower())
        return () if value is None else (value,)
