"""The test of a live endpoint: the golden requests that were kept with the model package, asked again.

A golden request is a line of JSON:

    {"name": …, "content_type": …, "body": any JSON, "status": 200, "answer": …, "tolerance": 1e-6}

with `text` in place of `body` where the request is no JSON. The endpoint passes if it gives each one's status, and what
`answer` names: of objects its keys, of arrays every element, numbers within the relative tolerance.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from botocore.exceptions import ClientError

from pipelines.deploy.functions.outcome import Refused

_SHOWN = 300
_BUDGET_SECONDS = 40.0


@dataclass(frozen=True)
class Verdict:
    """How one golden request went. `problem` is empty when the answer is right."""

    name: str
    status: int
    milliseconds: float
    problem: str


def load(s3: Any, uri: str) -> list[dict[str, Any]]:
    """The golden requests of a package, by boto3's client. Raises Refused when they cannot be read."""
    try:
        lines = _read(s3, uri).splitlines()
        return [json.loads(line) for line in lines if line.strip()]
    except ValueError as error:
        raise Refused(f"the golden requests {uri} cannot be read: {error}") from error
    except ClientError as error:
        raise Refused(f"the golden requests {uri} cannot be read: {error.response['Error']['Message']}") from error


def test(runtime: Any, endpoint: str, requests: list[dict[str, Any]]) -> list[Verdict]:
    """Ask an endpoint all of them, by boto3's client of sagemaker-runtime. Raises Refused when there are none, or when
    it is too slow to be asked.
    """
    if not requests:
        raise Refused("the model package has no golden requests, expected at least one")
    verdicts: list[Verdict] = []
    begun = time.monotonic()
    for request in requests:
        if time.monotonic() - begun > _BUDGET_SECONDS:
            raise Refused(
                f"after {_BUDGET_SECONDS:.0f} s only {len(verdicts)} of {len(requests)} golden requests were answered"
            )
        verdicts.append(_ask(runtime, endpoint, request))
    return verdicts


def report(endpoint: str, package: str, verdicts: list[Verdict]) -> dict[str, Any]:
    """The test report as a document, which a person reads before the next stage is approved."""
    times = sorted(verdict.milliseconds for verdict in verdicts)
    return {
        "endpoint": endpoint,
        "model_package_arn": package,
        "passed": not any(verdict.problem for verdict in verdicts),
        "requests": len(verdicts),
        "median_milliseconds": round(times[len(times) // 2], 1),
        "slowest_milliseconds": round(times[-1], 1),
        "verdicts": [asdict(verdict) for verdict in verdicts],
    }


def _read(s3: Any, uri: str) -> str:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    content: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    return content.decode()


def _ask(runtime: Any, endpoint: str, request: Mapping[str, Any]) -> Verdict:
    body = request["text"] if "text" in request else json.dumps(request["body"], separators=(",", ":"))
    begun = time.monotonic()
    status, answer = _invoke(runtime, endpoint, request["content_type"], body.encode())
    milliseconds = (time.monotonic() - begun) * 1000
    problem = ""
    if status != request["status"]:
        problem = f"status {status}, expected {request['status']}: {answer[:_SHOWN]}"
    else:
        try:
            found = json.loads(answer)
        except ValueError:
            problem = f"the answer is no JSON: {answer[:_SHOWN]}"
        else:
            problem = next(differences(found, request["answer"], request["tolerance"]), "")
    return Verdict(request["name"], status, round(milliseconds, 1), problem)


def _invoke(runtime: Any, endpoint: str, content_type: str, body: bytes) -> tuple[int, str]:
    """The model's own status and answer."""
    try:
        answer = runtime.invoke_endpoint(EndpointName=endpoint, ContentType=content_type, Body=body)
    except runtime.exceptions.ModelError as error:
        said = error.response
        return int(said.get("OriginalStatusCode", 500)), str(said.get("OriginalMessage", ""))
    return 200, answer["Body"].read().decode("utf-8", "replace")


def differences(found: Any, expected: Any, tolerance: float, where: str = "answer") -> Iterator[str]:
    """What in an answer is not as expected, in words."""
    if isinstance(expected, dict):
        if not isinstance(found, dict):
            yield f"{where} is {_shown(found)}, expected an object"
            return
        for key, value in expected.items():
            if key not in found:
                yield f"{where}.{key} is missing, expected {_shown(value)}"
            else:
                yield from differences(found[key], value, tolerance, f"{where}.{key}")
    elif isinstance(expected, list):
        if not isinstance(found, list) or len(found) != len(expected):
            yield f"{where} is {_shown(found)}, expected a list of {len(expected)}"
            return
        for index, (one, other) in enumerate(zip(found, expected, strict=True)):
            yield from differences(one, other, tolerance, f"{where}[{index}]")
    elif _is_number(expected) and _is_number(found):
        if not abs(found - expected) <= tolerance * max(1.0, abs(expected)):
            yield f"{where} is {found}, expected {expected} within {tolerance:g}"
    elif found != expected or type(found) is not type(expected):
        yield f"{where} is {_shown(found)}, expected {_shown(expected)}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    return json.dumps(value)[:_SHOWN]
