"""What a job has written, read from the log groups that SageMaker uses."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.exceptions import ClientError

from localcloud.errors import LocalcloudError
from localcloud.server import default_region

_POLL_SECONDS = 0.5
_ENDED = frozenset({"Completed", "Failed", "Stopped"})


@dataclass(frozen=True)
class _Kind:
    """A kind of job: where its log is, and how its status is asked for."""

    group: str
    describe: str
    argument: str
    status: str


_KINDS = (
    _Kind("/aws/sagemaker/ProcessingJobs", "describe_processing_job", "ProcessingJobName", "ProcessingJobStatus"),
    _Kind("/aws/sagemaker/TrainingJobs", "describe_training_job", "TrainingJobName", "TrainingJobStatus"),
    _Kind("/aws/sagemaker/TransformJobs", "describe_transform_job", "TransformJobName", "TransformJobStatus"),
)


def job_lines(job: str, port: int, *, follow: bool) -> Iterator[str]:
    """The lines of a job's log streams, each stream in its order; with `follow` until the job has ended.

    Raises LocalcloudError for a job that there is not, or that has written nothing.
    """
    session = boto3.Session(
        aws_access_key_id="localcloud", aws_secret_access_key="localcloud", region_name=default_region()
    )
    endpoint = f"http://127.0.0.1:{port}"
    logs, sagemaker = session.client("logs", endpoint_url=endpoint), session.client("sagemaker", endpoint_url=endpoint)
    kind, status = _find(sagemaker, job)
    reader = _Reader(logs, kind.group, job)
    while True:
        # The status is asked for first: what the job wrote before it ended is then in what is read.
        yield from reader.new_lines()
        if not follow or status in _ENDED:
            break
        time.sleep(_POLL_SECONDS)
        status = _status(sagemaker, kind, job)
    if not reader.found:
        raise LocalcloudError(f"the job {job!r} is {status} and has written nothing to {kind.group}")


def _find(sagemaker: Any, job: str) -> tuple[_Kind, str]:
    for kind in _KINDS:
        try:
            return kind, _status(sagemaker, kind, job)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code not in ("ResourceNotFound", "ValidationException", "UnknownOperationException"):
                raise LocalcloudError(f"the job {job!r} cannot be looked up: {error}") from error
    kinds = ", ".join(kind.group.rpartition("/")[2] for kind in _KINDS)
    raise LocalcloudError(
        f"there is no job {job!r} ({kinds}). `aws sagemaker list-training-jobs` and its like list the names."
    )


def _status(sagemaker: Any, kind: _Kind, job: str) -> str:
    described = getattr(sagemaker, kind.describe)(**{kind.argument: job})
    return str(described[kind.status])


@dataclass
class _Reader:
    """Reads a job's streams, each from where it was left."""

    logs: Any
    group: str
    job: str
    tokens: dict[str, str] = field(default_factory=dict)
    found: bool = False

    def new_lines(self) -> Iterator[str]:
        for stream in self._streams():
            while True:
                token = self.tokens.get(stream)
                page = self.logs.get_log_events(
                    logGroupName=self.group,
                    logStreamName=stream,
                    startFromHead=True,
                    **({"nextToken": token} if token else {}),
                )
                self.found = self.found or bool(page["events"])
                yield from (event["message"].rstrip("\n") for event in page["events"])
                # CloudWatch Logs says "no more for now" by giving the token that it was given.
                if page["nextForwardToken"] == token or not page["events"]:
                    break
                self.tokens[stream] = page["nextForwardToken"]

    def _streams(self) -> list[str]:
        try:
            pages = self.logs.get_paginator("describe_log_streams").paginate(
                logGroupName=self.group, logStreamNamePrefix=f"{self.job}/"
            )
            return [stream["logStreamName"] for page in pages for stream in page["logStreams"]]
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return []
            raise
