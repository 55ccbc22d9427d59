"""`serve`: the model behind SageMaker's hosting contract.

    GET  /ping           200 as soon as the model is loaded (the port is not open before)
    POST /invocations    application/json: a record, or an array of records (records.py says what one is)
                         application/jsonlines: a record a line, answered line by line, for batch transform

    {"usage_freq": 1, "amount_spend": 40000, "uniq_merchant": 89, "k": 6}
    → {"response": {"predicted_cluster": 4, "will_spend": true, "probability": 0.93}}

    an array → {"response": [{…}, {…}]}, in the array's order

What every model server has, errors among it, is in seed_code/common/server.py.
"""

import json
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from starlette.applications import Starlette
from starlette.responses import Response
from threadpoolctl import threadpool_limits

from seed_code.cardholders.scorer import Scorer
from seed_code.common import paths, server
from seed_code.common.failure import reports_failure
from seed_code.common.request_errors import RequestError
from seed_code.common.server import JSON, JSON_LINES

MAX_BODY_BYTES = 6 * 1024 * 1024  # what SageMaker itself passes on
_INLINE_BYTES = 64 * 1024


@reports_failure
def main() -> None:
    """Load the model and serve it until told to stop (SIGTERM)."""
    # One process on one core an answer: OpenMP threads that wait for each other cost a factor of 17 on busy cores.
    threadpool_limits(1)
    server.run(lambda: application(Scorer.load(paths.model_dir())))


def application(scorer: Scorer) -> Starlette:
    """The ASGI application around a loaded model."""

    def answer(kind: str, body: bytes) -> Response:
        decode, encode = _FORMATS[kind]
        return encode(scorer.answer(decode(body)))

    return server.application(answer, most_bytes=MAX_BODY_BYTES, inline_bytes=_INLINE_BYTES)


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


def _one_response(answer: Any) -> Response:
    return server.json_response({"response": answer})


def _lines_response(answers: list[Any]) -> Response:
    lines = (json.dumps({"response": answer}, separators=(",", ":"), allow_nan=False) for answer in answers)
    return Response("".join(f"{line}\n" for line in lines), media_type=JSON_LINES)


_FORMATS: dict[str, tuple[Callable[[bytes], Any], Callable[[Any], Response]]] = {
    JSON: (_parse, _one_response),
    JSON_LINES: (_parse_lines, _lines_response),
}


if __name__ == "__main__":
    main()
