"""`serve`: the model behind SageMaker's hosting contract, speaking the built-in DeepAR algorithm's formats.

    GET  /ping                   200 as soon as the model is loaded (the port is not open before)
    GET  /execution-parameters   what batch transform should use where its job does not say
    POST /invocations            application/json: a request with `instances` (forecasts.py says what it holds)
                                 application/jsonlines: one instance a line, one prediction a line, for batch transform

What every model server has, errors among it, is in seed_code/common/server.py.

Environment: DEEPAR_INFERENCE_CONFIG, the configuration of JSON Lines requests; MODEL_SERVER_WORKERS, how many requests
are worked on at once (by default one per core); SAGEMAKER_MAX_PAYLOAD_IN_MB, the largest body.

Nothing here imports PyTorch, pandas or GluonTS: that is what makes the server ready in a fraction of a second.
"""

import os

# Before NumPy starts its threads: one request is worked on by one core.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

from dataclasses import dataclass  # noqa: E402
from typing import Any  # noqa: E402

import orjson  # noqa: E402
from starlette.applications import Starlette  # noqa: E402
from starlette.responses import Response  # noqa: E402

from seed_code.common import paths, server  # noqa: E402
from seed_code.common.errors import ClientError  # noqa: E402
from seed_code.common.failure import reports_failure  # noqa: E402
from seed_code.common.request_errors import RequestError  # noqa: E402
from seed_code.common.server import JSON, JSON_LINES  # noqa: E402
from seed_code.forecaster import artifact, records  # noqa: E402
from seed_code.forecaster.forecasts import CONFIGURATION_VARIABLE, DEFAULT, Configuration, Forecaster  # noqa: E402

WORKERS_VARIABLE = "MODEL_SERVER_WORKERS"
PAYLOAD_VARIABLE = "SAGEMAKER_MAX_PAYLOAD_IN_MB"
DEFAULT_PAYLOAD_MB = 25  # what an endpoint passes on; batch transform's jobs set theirs
_MOST_PAYLOAD_MB = 100


@dataclass(frozen=True)
class Settings:
    """The server's environment, checked."""

    batch_configuration: Configuration = DEFAULT
    workers: int = 1
    payload_mb: int = DEFAULT_PAYLOAD_MB

    @classmethod
    def read(cls) -> "Settings":
        """The settings of this process.

        Raises:
            ClientError: naming the variable that is wrong.
        """
        configuration = DEFAULT
        if text := os.environ.get(CONFIGURATION_VARIABLE):
            try:
                configuration = Configuration.parse(records.loads(text.encode()), CONFIGURATION_VARIABLE)
            except (ValueError, RequestError) as error:
                raise ClientError(f"{CONFIGURATION_VARIABLE} is `{text}`: {error}") from error
        workers = _whole(WORKERS_VARIABLE, len(os.sched_getaffinity(0)), 1024)
        return cls(configuration, workers, _whole(PAYLOAD_VARIABLE, DEFAULT_PAYLOAD_MB, _MOST_PAYLOAD_MB))


def _whole(variable: str, default: int, most: int) -> int:
    text = os.environ.get(variable) or str(default)
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= most):
        raise ClientError(f"{variable} is `{text}`; expected a whole number from 1 to {most}")
    return int(text)


@reports_failure
def main() -> None:
    """Load the model and serve it until told to stop (SIGTERM)."""
    settings = Settings.read()
    server.run(lambda: application(Forecaster(artifact.load(paths.model_dir())), settings))


def application(forecaster: Forecaster, settings: Settings) -> Starlette:
    """The ASGI application around a loaded model."""

    def answer(kind: str, body: bytes) -> Response:
        if kind == JSON:
            return Response(_encode(forecaster.answer(_parse(body))), media_type=JSON)
        predictions = forecaster.predict(_parse_lines(body), settings.batch_configuration, "line")
        lines = b"".join(_encode(prediction) + b"\n" for prediction in predictions)
        return Response(lines, media_type=JSON_LINES)

    execution_parameters = {
        "MaxConcurrentTransforms": settings.workers,
        "BatchStrategy": "SINGLE_RECORD",
        "MaxPayloadInMB": min(6, settings.payload_mb),
    }
    return server.application(
        answer,
        most_bytes=settings.payload_mb * 1024 * 1024,
        workers=settings.workers,
        documents={"/execution-parameters": execution_parameters},
    )


def _parse(body: bytes) -> Any:
    try:
        return records.loads(body)
    except ValueError as error:
        raise RequestError(f"the body is {error}") from None


def _parse_lines(body: bytes) -> list[Any]:
    instances = []
    for number, line in enumerate(body.split(b"\n"), start=1):
        if line.strip():
            try:
                instances.append(records.loads(line))
            except ValueError as error:
                raise RequestError(f"line {number} is {error}", f"line[{number - 1}]") from None
    if not instances:
        raise RequestError("the body holds no line; expected one series a line")
    return instances


def _encode(document: Any) -> bytes:
    # orjson writes 32-bit floats with as many digits as they have, and what is no number as null.
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


if __name__ == "__main__":
    main()
