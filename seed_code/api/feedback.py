"""What became of predictions, kept where SageMaker Model Monitor looks for ground truth.

One object for each prediction, `{place}/YYYY/MM/DD/HH/{inference id}.jsonl` by the hour of the prediction, so that the
same word twice is one, and whoever asks twice at once is answered as if one after the other: S3 writes an object only
if there is none.

Nobody looks up here whether a prediction was made: any id of the right form is kept. What was told is to be joined with
what the endpoint captured, and what matches nothing there counts for nothing. The answers of a batch are named by the
id of the capture and `-0`, `-1`, …, their places in it, so that whoever joins them takes these ends off first.

Source: "Ingest ground truth labels and merge them with predictions" in the SageMaker Developer Guide.
"""

from __future__ import annotations

import json
from datetime import datetime
from enum import Enum

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

from seed_code.api.clients import client
from seed_code.api.refusals import Refused, unavailable

_TRIES = 3
# There is an object, or somebody is writing it this very moment.
_THERE = ("PreconditionFailed", "ConditionalRequestConflict")


class Kept(Enum):
    """What became of a word: it is new, was there already, or says the opposite of the one that was there."""

    NEW = "new"
    KNOWN = "known"
    CONTRADICTS = "contradicts"


class GroundTruth:
    """A place in S3 for ground truth."""

    def __init__(self, uri: str, log: Logger) -> None:
        """uri: `s3://bucket/prefix`. Raises ValueError for anything else."""
        scheme, _, place = uri.partition("://")
        self._bucket, _, prefix = place.partition("/")
        self._prefix = prefix.rstrip("/")
        if scheme != "s3" or not self._bucket or not self._prefix:
            raise ValueError(f"GROUND_TRUTH_URI is `{uri}`; expected s3://bucket/prefix")
        self._log = log
        self._client = client("s3", connect_seconds=1, read_seconds=2, attempts=2)

    def keep(self, inference_id: str, asked_for: datetime, purchased: bool) -> Kept:
        """Keep what became of a prediction, unless something is kept of it already.

        Raises:
            Refused: 503 when S3 does not answer; why is logged.
        """
        key = f"{self._prefix}/{asked_for:%Y/%m/%d/%H}/{inference_id}.jsonl"
        try:
            for _ in range(_TRIES):
                if self._put(key, _line(inference_id, purchased)):
                    return Kept.NEW
                if (there := self._get(key)) is not None:
                    return self._compare(there, inference_id, purchased)
        except (ClientError, ConnectionError, HTTPClientError) as error:
            if isinstance(error, ClientError) and error.response["ResponseMetadata"]["HTTPStatusCode"] < 500:
                raise
            raise self._not_now("S3 did not answer", error=str(error)) from error
        raise self._not_now("an object is there, and is not", key=key)

    def _not_now(self, why: str, **about: str) -> Refused:
        self._log.error(why, extra=about)
        return unavailable("The feedback cannot be kept now; try again later")

    def _put(self, key: str, line: bytes) -> bool:
        """Write an object; False if there is one."""
        try:
            self._client.put_object(Bucket=self._bucket, Key=key, Body=line, IfNoneMatch="*")
        except ClientError as error:
            if error.response["Error"]["Code"] in _THERE:
                return False
            raise
        return True

    def _get(self, key: str) -> bytes | None:
        try:
            content: bytes = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except self._client.exceptions.NoSuchKey:
            return None
        return content

    def _compare(self, there: bytes, inference_id: str, purchased: bool) -> Kept:
        if there == _line(inference_id, purchased):
            return Kept.KNOWN
        if there == _line(inference_id, not purchased):
            return Kept.CONTRADICTS
        raise ValueError(
            f"the ground truth of {inference_id} in {self._bucket} is not in the form that is written here"
        )


def _line(inference_id: str, purchased: bool) -> bytes:
    """The object's content. It is compared as bytes."""
    document = {
        "groundTruthData": {"data": str(int(purchased)), "encoding": "CSV"},
        "eventMetadata": {"eventId": inference_id},
        "eventVersion": "0",
    }
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"
