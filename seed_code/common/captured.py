"""What an endpoint's data capture kept of an hour: requests with their answers, as JSON Lines in S3.

    {"captureData": {"endpointInput":  {"observedContentType", "mode": "INPUT", "data", "encoding"},
                     "endpointOutput": {"observedContentType", "mode": "OUTPUT", "data", "encoding"}},
     "eventMetadata": {"eventId", "inferenceId", "inferenceTime"}, "eventVersion": "0"}

A line that is none of these is counted and left out: it ends no evaluation.

Source: "Capture data from real-time endpoint" in the SageMaker Developer Guide.
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from seed_code.common.monitoring import HOUR, Evaluation
from seed_code.common.objects import Objects


@dataclass(frozen=True)
class Captured:
    """One request, and its answer.

    Attributes:
        inference_id: the caller's name for it; SageMaker's own (`eventId`) when the caller gave none.
        time: when it was asked for, in UTC.
        request, answer: the bodies; None when that side was not captured.
    """

    inference_id: str
    time: datetime
    request_type: str
    request: bytes | None
    answer: bytes | None


@dataclass
class Capture:
    """A reader of captured requests; `unreadable` counts the lines that were left out."""

    objects: Objects
    unreadable: int = 0

    def between(self, of: Evaluation, begin: datetime, end: datetime) -> Iterator[Captured]:
        """What was asked from `begin` to before `end`, in the order of its files.

        Raises:
            ClientError: when S3 does not answer.
        """
        hour = begin.replace(minute=0, second=0, microsecond=0)
        while hour < end:
            for uri in self.objects.list(of.captured(hour)):
                for line in (self.objects.get(uri) or b"").splitlines():
                    one = self._read(line)
                    if one is not None and begin <= one.time < end:
                        yield one
            hour += HOUR

    def _read(self, line: bytes) -> Captured | None:
        if not line.strip():
            return None
        try:
            return of_line(line)
        except ValueError:
            self.unreadable += 1
            return None


def newest(objects: Objects, of: Evaluation, oldest: timedelta) -> datetime | None:
    """When the newest request before the evaluation was captured; None when there is none as young as `oldest`.

    Raises:
        ClientError: when S3 does not answer.
    """
    hour = of.time.replace(minute=0, second=0, microsecond=0)
    while hour > of.time - oldest - HOUR:
        times = [one.time for one in Capture(objects).between(of, hour, min(hour + HOUR, of.time))]
        if times:
            return max(times) if max(times) >= of.time - oldest else None
        hour -= HOUR
    return None


def of_line(line: bytes) -> Captured:
    """The request and answer of one line.

    Raises:
        ValueError: when the line is none of these.
    """
    try:
        return _captured(json.loads(line))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a captured request: {type(error).__name__}: {error}") from error


def _captured(document: Any) -> Captured:
    about, data = document["eventMetadata"], document["captureData"]
    time = datetime.fromisoformat(about["inferenceTime"])
    request, answer = data.get("endpointInput"), data.get("endpointOutput")
    return Captured(
        inference_id=str(about.get("inferenceId") or about["eventId"]),
        time=time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC),
        request_type=str((request or {}).get("observedContentType", "")),
        request=None if request is None else _body(request),
        answer=None if answer is None else _body(answer),
    )


def _body(side: Any) -> bytes:
    text = str(side["data"])
    return base64.b64decode(text, validate=True) if side.get("encoding") == "BASE64" else text.encode()
