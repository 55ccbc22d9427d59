"""`serve`: the model behind SageMaker's hosting contract.

    GET  /ping           200 as soon as the model is loaded (the port is not open before)
    POST /invocations    application/json: a record, or an array of records (records.py says what one is)
                         application/jsonlines: a record a line, answered line by line, for batch transform

    {"usage_freq": 1, "amount_spend": 40000, "uniq_merchant": 89, "k": 6}
    → {"response": {"predicted_cluster": 4, "will_spend": true, "probability": 0.93}}

    an array → {"response": [{…}, {…}]}, in the array's order

A request that cannot be answered gets {"error": {"message": …, "field": …}} with status 400, 413 (too large) or 415
(content type). An error of the server's own gets 500 and an id, which is in the log beside the traceback. Requests
are never logged.
"""

import json
import logging
import sys
import uuid
from collections.abc import Callable
from typing import Any, NoReturn

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from threadpoolctl import threadpool_limits

from seed_code.cardholders.scorer import Scorer
from seed_code.common import paths
from seed_code.common.failure import reports_failure
from seed_code.common.request_errors import RequestError, error_document, shown

MAX_BODY_BYTES = 6 * 1024 * 1024  # what SageMaker itself passes on
# A body that is too large is read to its end, up to this size, and dropped: most clients look for the answer only when
# all is sent, and a connection that is closed before that is all they would see.
_DROPPED_BYTES = 64 * 1024 * 1024
# Larger bodies are answered in a thread, so that /ping (which must answer within 2 s) does not wait for them. For
# small ones the thread would cost more than the work.
_INLINE_BYTES = 64 * 1024

JSON = "application/json"
JSON_LINES = "application/jsonlines"

log = logging.getLogger(__name__)


@reports_failure
def main() -> None:
    """Load the model and serve it until told to stop (SIGTERM)."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # One process on one core an answer: OpenMP threads that wait for each other cost a factor of 17 on busy cores.
    threadpool_limits(1)
    scorer = Scorer.load(paths.model_dir())
    port = paths.port()
    log.info("model loaded from %s; listening on port %d", paths.model_dir(), port)
    uvicorn.run(application(scorer), host=paths.host(), port=port, access_log=False, log_config=None, workers=1)


def application(scorer: Scorer) -> Starlette:
    """The ASGI application around a loaded model."""

    async def ping(_: Request) -> Response:
        return Response(status_code=200)

    async def invocations(request: Request) -> Response:
        try:
            decode, encode = _formats(request.headers.get("content-type"))
            body = await _body(request)
            if len(body) <= _INLINE_BYTES:
                return encode(scorer.answer(decode(body)))
            return await run_in_threadpool(lambda: encode(scorer.answer(decode(body))))
        except RequestError as error:
            return _json_response(error.document(), error.status)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is left to read it
        except Exception:
            identifier = uuid.uuid4().hex
            log.exception("error %s while answering a request", identifier)
            message = f"the server failed to answer; its log has the details under {identifier}"
            return _json_response(error_document(message), 500)

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        message = f"{error.detail}; expected GET /ping or POST /invocations"
        return _json_response(error_document(message), error.status_code)

    return Starlette(
        routes=[Route("/ping", ping, methods=["GET"]), Route("/invocations", invocations, methods=["POST"])],
        exception_handlers={HTTPException: refused},
    )


async def _body(request: Request) -> bytes:
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > _DROPPED_BYTES:
        raise _too_large(announced)
    received = bytearray()
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= MAX_BODY_BYTES:
            received += chunk
        elif size > _DROPPED_BYTES:
            raise _too_large(f"more than {_DROPPED_BYTES}")
    if size > MAX_BODY_BYTES:
        raise _too_large(str(size))
    return bytes(received)


def _too_large(found: str) -> RequestError:
    return RequestError(f"the body has {found} bytes; expected at most {MAX_BODY_BYTES}", status=413)


def _formats(content_type: str | None) -> tuple[Callable[[bytes], Any], Callable[[Any], Response]]:
    # Without a content type, JSON: the platform sends none when its caller gave none.
    kind = (content_type or JSON).partition(";")[0].strip().lower()
    if kind == JSON:
        return _parse, lambda response: _json_response({"response": response}, 200)
    if kind == JSON_LINES:
        return _parse_lines, _lines_response
    raise RequestError(f"content type {shown(content_type)}; expected {JSON} or {JSON_LINES}", status=415)


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the body is not JSON: {_reason(error)}") from None


def _parse_lines(body: bytes) -> Any:
    records = []
    for number, line in enumerate(body.splitlines()):
        if line.strip():
            try:
                records.append(json.loads(line, parse_constant=_refuse_constant))
            except (ValueError, RecursionError) as error:
                raise RequestError(f"line {number + 1} is not JSON: {_reason(error)}", f"[{number}]") from None
    return records


def _reason(error: Exception) -> str:
    # A UnicodeDecodeError's text would quote the body, and a RecursionError has nothing to say to a caller.
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 at byte {error.start}"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, json.JSONDecodeError | _NoJsonValue):
        return str(error)
    return f"a number has more than {sys.get_int_max_str_digits()} digits"  # of int(), with advice on Python


class _NoJsonValue(ValueError):
    """A word that Python's parser takes and JSON does not have."""


def _refuse_constant(name: str) -> NoReturn:
    raise _NoJsonValue(f"{name} is no JSON value; expected finite numbers")


def _json_response(document: Any, status: int) -> Response:
    return Response(json.dumps(document, separators=(",", ":")), status, media_type=JSON)


def _lines_response(answers: list[Any]) -> Response:
    lines = "".join(json.dumps({"response": answer}, separators=(",", ":")) + "\n" for answer in answers)
    return Response(lines, media_type=JSON_LINES)


if __name__ == "__main__":
    main()
