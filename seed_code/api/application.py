"""What both functions have: routes, answers, errors and a log.

An answer is JSON. What goes wrong is answered as `Refused` says; whatever else is raised is a mistake of ours, which is
logged with its cause and answered without it. Requests and answers are never logged: they hold personal data.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.logging import correlation_paths

from seed_code.api import bodies
from seed_code.api.refusals import Refused

_JSON = "application/json"
# Beside those that every page may read.
_EXPOSED = "Allow,Retry-After,WWW-Authenticate,x-amzn-RequestId"


class Application:
    """One function's routes.

    Attributes:
        routes: of Powertools; handlers are put there by its decorators, and return `answer(…)`.
        log: one JSON object a line, with the request's id.
    """

    def __init__(self, service: str, origin: str) -> None:
        """origin: of the web pages that may read the answers."""
        self.log = Logger(service=service)
        self.routes = APIGatewayRestResolver()
        self._origin = origin
        self.routes.exception_handler(Refused)(self._refused)
        self.routes.exception_handler(Exception)(self._failed)
        self.routes.not_found(self._not_found)
        self._resolve: Callable[..., dict[str, Any]] = self.log.inject_lambda_context(
            self.routes.resolve, correlation_id_path=correlation_paths.API_GATEWAY_REST, clear_state=True
        )

    def handle(self, event: dict[str, Any], context: Any) -> dict[str, Any]:
        """Answer one proxy event of API Gateway."""
        # By the resource that API Gateway has found: the path is as the caller has spelt it (%3A for a colon), behind
        # the prefix of a custom domain. No resource here has parameters.
        return self._resolve({**event, "path": event["resource"]}, context)

    @property
    def now(self) -> datetime:
        """The moment of the request."""
        return datetime.fromtimestamp(self.routes.current_event.request_context.request_time_epoch / 1000, UTC)

    def body(self) -> Any:
        """The JSON document in the request. Raises Refused when there is none."""
        return bodies.read(self.routes.current_event.raw_event)

    def parameters(self, name: str) -> list[str]:
        """The values of a query parameter, as often as it is given."""
        given = self.routes.current_event.raw_event.get("multiValueQueryStringParameters") or {}
        return [value or "" for value in given.get(name) or []]

    def answer(
        self, document: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] | None = None
    ) -> Response[str]:
        """An answer."""
        return Response(
            status_code=status.value,
            content_type=_JSON,
            headers={
                "Access-Control-Allow-Origin": self._origin,
                "Access-Control-Expose-Headers": _EXPOSED,
                **(headers or {}),
            },
            body=json.dumps(document, separators=(",", ":"), allow_nan=False),
        )

    def _refused(self, refused: Refused) -> Response[str]:
        return self.answer(refused.document(), refused.status, refused.headers)

    def _failed(self, error: Exception) -> Response[str]:
        self.log.error("the request failed", exc_info=error)
        request_id = self.routes.current_event.request_context.request_id
        document = {"message": "Internal error", "request_id": request_id}
        return self.answer(document, HTTPStatus.INTERNAL_SERVER_ERROR)

    def _not_found(self, _: Exception) -> Response[str]:
        # API Gateway answers by itself for the paths that its document lacks.
        return self.answer({"message": "Not Found"}, HTTPStatus.NOT_FOUND)
