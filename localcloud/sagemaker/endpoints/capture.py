"""Data capture: a part of an endpoint's requests and answers, as JSON Lines in S3.

    s3://DESTINATION/ENDPOINT/VARIANT/yyyy/mm/dd/hh/MM-SS-mmm-UUID.jsonl

Lines are kept for a few seconds of the clock and written together. A line says what AWS's says:

    {"captureData": {"endpointInput":  {"observedContentType", "mode": "INPUT", "data", "encoding"},
                     "endpointOutput": {"observedContentType", "mode": "OUTPUT", "data", "encoding"}},
     "eventMetadata": {"eventId", "inferenceId", "customAttributes", "inferenceTime"}, "eventVersion": "0"}
"""

from __future__ import annotations

import base64
import json
import logging
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from localcloud.jobs import transfer
from localcloud.sagemaker.endpoints.background import Background
from localcloud.timetable import Entry

_LOG = logging.getLogger(__name__)
_WAIT_SECONDS = 3.0
_MOST_BYTES = 4 * 1024 * 1024
_SHOWN_SECONDS = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Invocation:
    """One request that was answered well."""

    moment: datetime
    content_type: str
    body: bytes
    answer_type: str
    answer: bytes
    inference_id: str | None = None
    custom_attributes: str | None = None


class Capture:
    """What is captured of one variant. Safe to call from any thread.

    config: the DataCaptureConfig. `client` gives the S3 client of the role that the model runs as.
    """

    def __init__(
        self,
        endpoint: str,
        variant: str,
        config: Mapping[str, Any],
        client: Callable[[], Any],
        background: Background,
        chance: Random,
    ) -> None:
        self._bucket, prefix = transfer.parse_uri(config["DestinationS3Uri"])
        self._prefix = "/".join(part for part in (prefix.rstrip("/"), endpoint, variant) if part)
        self._part = config["InitialSamplingPercentage"] / 100
        modes = {option["CaptureMode"] for option in config["CaptureOptions"]}
        self._input, self._output = bool(modes - {"Output"}), bool(modes - {"Input"})
        types = config.get("CaptureContentTypeHeader") or {}
        self._encodings = {
            **{name.lower(): "CSV" for name in types.get("CsvContentTypes", ())},
            **{name.lower(): "JSON" for name in types.get("JsonContentTypes", ())},
        }
        self._key_id = config.get("KmsKeyId")
        self._client, self._background, self._chance = client, background, chance
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._lines: list[tuple[datetime, str]] = []
        self._bytes = 0
        self._due: Entry | None = None

    def add(self, invocation: Invocation) -> None:
        """Capture an invocation, if chance will have it."""
        if self._chance.random() >= self._part:
            return
        line = json.dumps(self._record(invocation), separators=(",", ":"))
        with self._lock:
            self._lines.append((invocation.moment, line))
            self._bytes += len(line)
            full = self._bytes >= _MOST_BYTES
            if self._due is None or full:
                if self._due is not None:
                    self._due.cancel()
                self._due = self._background.later(0 if full else _WAIT_SECONDS, "data capture", self.flush)

    def flush(self) -> None:
        """Write what waits; it is in S3 when this returns. What S3 refuses is lost, and logged."""
        with self._writing:
            with self._lock:
                lines, self._lines, self._bytes = self._lines, [], 0
                due, self._due = self._due, None
            if due is not None:
                due.cancel()
            hours: dict[str, list[tuple[datetime, str]]] = defaultdict(list)
            for moment, line in lines:
                hours[f"{moment:%Y/%m/%d/%H}"].append((moment, line))
            for hour, found in hours.items():
                self._write(hour, found)

    def _write(self, hour: str, lines: list[tuple[datetime, str]]) -> None:
        first = min(moment for moment, _ in lines)
        name = f"{first:%M-%S}-{first.microsecond // 1000:03}-{uuid.uuid4()}.jsonl"
        encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self._key_id} if self._key_id else {}
        try:
            self._client().put_object(
                Bucket=self._bucket,
                Key=f"{self._prefix}/{hour}/{name}",
                Body="".join(f"{line}\n" for _, line in lines).encode(),
                **encryption,
            )
        except (ClientError, BotoCoreError) as error:
            # As on AWS, requests are answered whether or not they can be captured.
            _LOG.warning("data capture: %d lines for s3://%s/%s: %s", len(lines), self._bucket, self._prefix, error)

    def _record(self, invocation: Invocation) -> dict[str, Any]:
        data: dict[str, Any] = {}
        if self._input:
            data["endpointInput"] = self._data("INPUT", invocation.content_type, invocation.body)
        if self._output:
            data["endpointOutput"] = self._data("OUTPUT", invocation.answer_type, invocation.answer)
        metadata: dict[str, Any] = {"eventId": str(uuid.uuid4())}
        if invocation.inference_id is not None:
            metadata["inferenceId"] = invocation.inference_id
        if invocation.custom_attributes is not None:
            metadata["customAttributes"] = [invocation.custom_attributes]
        metadata["inferenceTime"] = invocation.moment.strftime(_SHOWN_SECONDS)
        return {"captureData": data, "eventMetadata": metadata, "eventVersion": "0"}

    def _data(self, mode: str, content_type: str, body: bytes) -> dict[str, str]:
        encoding = self._encodings.get(content_type.partition(";")[0].strip().lower()) or self._encodings.get(
            content_type.lower(), "BASE64"
        )
        try:
            text = body.decode() if encoding != "BASE64" else base64.b64encode(body).decode()
        except UnicodeDecodeError:
            encoding, text = "BASE64", base64.b64encode(body).decode()
        return {"observedContentType": content_type, "mode": mode, "data": text, "encoding": encoding}
