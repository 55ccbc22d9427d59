"""What goes on around the project while `mlops demo` lets days pass: minutes that come in, and callers who ask for
predictions and tell later what became of them. All of it made up, all of it by the calls that the real ones make.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipelines import ingest
from pipelines.cli.context import Context
from pipelines.executions import Execution
from pipelines.feature_groups import MINUTES
from pipelines.names import HOLDERS
from pipelines.session import client

CARDHOLDERS, _ = HOLDERS
ASKED_AN_HOUR = 100
_DAYS_AHEAD = 1  # the k of every request: what became of it is known a day later
_WRITERS = 4
_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Files:
    """What the world is made of. `minutes` is a file as `mlops ingest` takes it, with those that are to come; `holders`
    are requests, and what became of them.
    """

    folder: Path

    @property
    def minutes(self) -> Path:
        return self.folder / "minutes-to-come.parquet"

    @property
    def holders(self) -> Path:
        return self.folder / "callers.jsonl"

    def making_minutes(self, context: Context, last: datetime, drift_at: datetime | None = None) -> tuple[str, ...]:
        """The arguments of Python that make the minutes until `last`, of another kind from `drift_at` on (aware).

        They begin before now, so that none is missing between what there is and what comes.
        """
        days = 1 + math.ceil((last - context.now()) / timedelta(days=1))
        drift = () if drift_at is None else ("--drift-at", f"{drift_at:%Y-%m-%dT%H:%M:%SZ}")
        program = ("-m", "seed_code.forecaster.generate", "--out", str(self.minutes), "--days", str(days))
        return (*program, "--end", f"{last:%Y-%m-%dT%H:%M:%SZ}", *drift)

    def making_holders(self, context: Context, build: Execution) -> tuple[str, ...]:
        """The arguments of Python that make callers of the holdout of a build of cardholders."""
        examples = self.folder / "holdout.parquet"
        outputs = context.names.outputs_uri(CARDHOLDERS, "build")
        bucket, _, key = f"{outputs}/{build.id}/Prepare/holdout/examples.parquet".removeprefix("s3://").partition("/")
        client(context.session, "s3").download_file(bucket, key, str(examples))
        return ("-m", "seed_code.cardholders.traffic", "--examples", str(examples), "--out", str(self.holders))


@dataclass(frozen=True)
class _Asked:
    """A prediction that somebody waits to tell about."""

    name: str
    moment: datetime
    purchased: bool


class World:
    """The minutes and the callers. Time comes from who calls."""

    def __init__(self, context: Context, files: Files) -> None:
        self._context = context
        self._minutes = sorted(ingest.read(files.minutes).records, key=lambda record: record[MINUTES.event_time])
        self._holders = callers(files.holders)
        self._names = random.Random(0)
        self._asked: list[_Asked] = []
        self._read = 0

    def hour(self, end: datetime) -> None:
        """All that happens in the hour before `end` (aware)."""
        self._bring_minutes(end)
        self._ask(end)
        self._tell(end)

    def _bring_minutes(self, end: datetime) -> None:
        """Write the minutes whose records are made before `end`."""
        ended = f"{end.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        begin = self._read
        while self._read < len(self._minutes) and self._minutes[self._read][MINUTES.event_time] <= ended:
            self._read += 1
        if self._read > begin:
            group = MINUTES.name(self._context.names)
            ingest.write(self._context.session, group, ingest.Minutes(self._minutes[begin : self._read], ()))

    def _ask(self, end: datetime) -> None:
        """Ask production for an hour's predictions: one batch, as a nightly job would."""
        moment = end - _HOUR / 2
        holders = [next(self._holders) for _ in range(ASKED_AN_HOUR)]
        name = f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}-{self._names.getrandbits(64):016x}"
        client(self._context.session, "sagemaker-runtime").invoke_endpoint(
            EndpointName=self._context.names.endpoint(CARDHOLDERS, "prod"),
            ContentType="application/json",
            InferenceId=name,
            Body=json.dumps([{**holder["request"], "k": _DAYS_AHEAD} for holder in holders]).encode(),
        )
        self._asked += [_Asked(f"{name}-{place}", moment, _purchased(holder)) for place, holder in enumerate(holders)]

    def _tell(self, end: datetime) -> None:
        """Tell what became of the predictions whose days are over, where the REST API's feedback goes."""
        due = [asked for asked in self._asked if asked.moment + timedelta(days=_DAYS_AHEAD) <= end]
        self._asked = self._asked[len(due) :]
        if not due:
            return
        s3: Any = client(self._context.session, "s3")
        bucket, _, prefix = self._context.names.ground_truth_uri(CARDHOLDERS).removeprefix("s3://").partition("/")

        def put(asked: _Asked) -> None:
            document = {
                "groundTruthData": {"data": str(int(asked.purchased)), "encoding": "CSV"},
                "eventMetadata": {"eventId": asked.name},
                "eventVersion": "0",
            }
            key = f"{prefix}/{asked.moment:%Y/%m/%d/%H}/{asked.name}.jsonl"
            s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(document, separators=(",", ":")).encode() + b"\n")

        with ThreadPoolExecutor(_WRITERS) as threads:
            list(threads.map(put, due))


def _purchased(holder: Mapping[str, Any]) -> bool:
    days = holder["days_to_purchase"]
    return days is not None and days <= _DAYS_AHEAD


def callers(file: Path) -> Iterator[Mapping[str, Any]]:
    """The holders of a file, over and over: each with its `request`, without `k`, and `days_to_purchase`."""
    holders: Sequence[Mapping[str, Any]] = [json.loads(line) for line in file.read_text().splitlines()]
    while True:
        yield from holders
