"""The frame of an image's model server: SageMaker's hosting contract around one function that answers.

    GET  /ping           200 as soon as the model is loaded (the port is not open before)
    POST /invocations    application/json, application/jsonlines, or no content type, which is JSON

A request that cannot be answered gets {"error": {"message": …, "field": …}} with status 400, 413 (too large) or 415
(content type). An error of the server's own gets 500 and an id, which is in the log beside the traceback. Requests are
never logged.

Source: "Use Your Own Inference Code with Hosting Services" in the SageMaker Developer Guide.
"""

import json
import logging
import sys
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import anyio
import anyio.to_thread
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from seed_code.common import paths
from seed_code.common.request_errors import RequestError, error_document, shown

JSON = "application/json"
JSON_LINES = "application/jsonlines"

# A body that is too large is read to its end, up to this size, and dropped: most clients look for the answer only when
# all is sent, and a connection that is closed before that is all they would see.
_DROPPED_BYTES = 64 * 1024 * 1024

log = logging.getLogger(__name__)

Answer = Callable[[str, bytes], Response]


def run(load: Callable[[], Starlette]) -> None:
    """Load the application and serve it until told to stop (SIGTERM), on the contract's address."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    port = paths.port()
    application = load()
    log.info("model loaded from %s; listening on port %d", paths.model_dir(), port)
    uvicorn.run(application, host=paths.host(), port=port, access_log=False, log_config=None, workers=1)


def application(
    answer: Answer,
    *,
    most_bytes: int,
    inline_bytes: int = 0,
    workers: int | None = None,
    documents: Mapping[str, Any] | None = None,
) -> Starlette:
    """The ASGI application around a loaded model.

    Args:
        answer: makes the response to a body of content type `JSON` or `JSON_LINES`; raises RequestError.
        most_bytes: of a body.
        inline_bytes: bodies up to this are answered at once, larger ones in a thread, so that /ping, which must
            answer within 2 s, does not wait for them. For small work the thread would cost more than the work.
        workers: how many are answered in threads at once; as many as anyio allows (40) when None.
        documents: JSON that further GET paths give.
    """
    limiters: list[anyio.CapacityLimiter | None] = []  # made inside the event loop that it belongs to

    async def ping(_: Request) -> Response:
        return Response(status_code=200)

    async def document(request: Request) -> Response:
        return json_response((documents or {})[request.url.path])

    async def invocations(request: Request) -> Response:
        if not limiters:
            limiters.append(None if workers is None else anyio.CapacityLimiter(workers))
        try:
            kind = _kind(request.headers.get("content-type"))
            body = await _body(request, most_bytes)
            if len(body) <= inline_bytes:
                return answer(kind, body)
            return await anyio.to_thread.run_sync(answer, kind, body, limiter=limiters[0])
        except RequestError as error:
            return json_response(error.document(), error.status)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is left to read it
        except Exception:
            identifier = uuid.uuid4().hex
            log.exception("error %s while answering a request", identifier)
            message = f"the server failed to answer; its log has the details under {identifier}"
            return json_response(error_document(message), 500)

    reads = ["/ping", *(documents or {})]

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        known = ", ".join(f"GET {path}" for path in reads)
        return json_response(
            error_document(f"{error.detail}; expected {known} or POST /invocations"), error.status_code
        )

    return Starlette(
        routes=[
            *(Route(path, ping if path == "/ping" else document, methods=["GET"]) for path in reads),
            Route("/invocations", invocations, methods=["POST"]),
        ],
        exception_handlers={HTTPException: refused},
    )


def json_response(document: Any, status: int = 200) -> Response:
    """A JSON document as an answer.

    Raises:
        ValueError: when it holds NaN or an infinity, which JSON does not know: no client could read it.
    """
    return Response(json.dumps(document, separators=(",", ":"), allow_nan=False), status, media_type=JSON)


def _kind(content_type: str | None) -> str:
    # The platform sends none when its caller gave none.
    kind = (content_type or JSON).partition(";")[0].strip().lower()
    if kind not in (JSON, JSON_LINES):
        raise RequestError(f"content type {shown(content_type)}; expected {JSON} or {JSON_LINES}", status=415)
    return kind


async def _body(request: Request, most: int) -> bytes:
    dropped = max(_DROPPED_BYTES, most)
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > dropped:
        raise _too_large(announced, most)
    received = bytearray()
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= most:
            received += chunk
        elif size > dropped:
            raise _too_large(f"more than {dropped}", most)
    if size > most:
        raise _too_large(str(size), most)
    return bytes(received)


def _too_large(found: str, most: int) -> RequestError:
    return RequestError(f"the body has {found} bytes; expected at most {most}", status=413)
