"""The operator's program: `python3 -m seed_code.ingestion.operator`, a service of its own on ECS.

Environment: TRANSACTIONS_STREAM and MINUTES_STREAM (names), LATENESS_SECONDS, and CHECKPOINT_URI (`s3://…/operator`).
SIGTERM ends it, with a checkpoint. Its log is lines of JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError
from botocore.exceptions import ClientError as AwsError

from seed_code.common.clients import client
from seed_code.common.errors import ClientError
from seed_code.common.objects import Objects, split
from seed_code.ingestion.operator.checkpoints import Checkpoints
from seed_code.ingestion.operator.service import Operator
from seed_code.ingestion.operator.shards import Shards
from seed_code.ingestion.operator.sink import Sink


@dataclass(frozen=True)
class Settings:
    """What the environment says."""

    transactions_stream: str
    minutes_stream: str
    lateness_seconds: int
    checkpoint_uri: str

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Settings:
        """The settings. Raises ClientError, which names everything that is missing or wrong at once."""
        names = ("TRANSACTIONS_STREAM", "MINUTES_STREAM", "LATENESS_SECONDS", "CHECKPOINT_URI")
        wrong = [f"{name} is not set" for name in names if not environ.get(name)]
        lateness = environ.get("LATENESS_SECONDS", "")
        if lateness and not (lateness.isascii() and lateness.isdigit()):
            wrong.append(f"LATENESS_SECONDS is `{lateness}`; expected whole seconds, 0 or more")
        if uri := environ.get("CHECKPOINT_URI"):
            try:
                split(uri)
            except ClientError as error:
                wrong.append(f"CHECKPOINT_URI: {error}")
        if wrong:
            raise ClientError(f"the environment of the operator: {'; '.join(wrong)}")
        return cls(environ["TRANSACTIONS_STREAM"], environ["MINUTES_STREAM"], int(lateness), environ["CHECKPOINT_URI"])


def main() -> int:
    """Run until SIGTERM; gives the exit code: 1 for a mistake that can be mended, which the log names."""
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    try:
        operator = _operator(Settings.of(os.environ), ending)
    except (ClientError, BotoCoreError, AwsError) as error:
        _tell("the operator could not begin", {"reason": str(error)})
        return 1
    operator.run()
    _tell("the operator has ended", {})
    return 0


def _operator(settings: Settings, ending: threading.Event) -> Operator:
    kinesis = client("kinesis")
    stream = settings.transactions_stream
    described = kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]
    created = str(described["StreamCreationTimestamp"].timestamp())
    checkpoints = Checkpoints(Objects(client("s3")), settings.checkpoint_uri, stream, created)
    checkpoint, found = checkpoints.load(settings.lateness_seconds)
    _tell("the operator begins", {"stream": stream, "checkpoint": checkpoints.uri if found else None})
    return Operator(
        Shards(kinesis, stream, checkpoint.position),
        Sink(kinesis, settings.minutes_stream, ending.wait, _tell),
        checkpoints,
        checkpoint,
        seconds=time.monotonic,
        wait=ending.wait,
        tell=_tell,
    )


def _tell(message: str, more: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"message": message, **more}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
