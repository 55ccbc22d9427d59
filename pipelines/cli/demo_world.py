"""What goes on around the project while `mlops demo` lets days pass: minutes that come in, and callers who ask for
predictions and tell later what became of them. All of it made up, all of it by the calls that the real ones make.

Hours pass in seconds, in which the simulated API could not serve a million transactions; so the minutes enter where the
stream has made them of transactions: on its Kinesis stream of minutes.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipelines import ingest
from pipelines.cli.context import Context
from pipelines.errors import ServiceError
from pipelines.executions import Execution
from pipelines.feature_groups import MINUTES
from pipelines.ingest import Record
from pipelines.ingestion import minutes
from pipelines.names import HOLDERS, MINUTES_STREAM
from pipelines.session import client

CARDHOLDERS, _ = HOLDERS
ASKED_AN_HOUR = 100
_DAYS_AHEAD = 1  # the k of every request: what became of it is known a day later
_WRITERS = 4
_MOST_ROWS = 500  # that PutRecords takes
_PATIENCE_SECONDS, _LOOK_SECONDS = 60.0, 0.05
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
        self._minutes = self._to_come(files.minutes)
        self._holders = callers(files.holders)
        self._names = random.Random(0)
        self._asked: list[_Asked] = []
        self._read = 0

    def hour(self, end: datetime) -> None:
        """All that happens in the hour before `end` (aware)."""
        self._bring_minutes(end)
        self._ask(end)
        self._tell(end)

    def _to_come(self, file: Path) -> list[Record]:
        """The minutes after the newest that there is, in order; of several versions of one the last."""
        begin = minutes.whole(self._context.now()) - _HOUR
        known = minutes.latest(minutes.read(self._runtime, self._context.names, begin, 2 * 60))
        after = "" if known is None else f"{known.time:%Y-%m-%dT%H:%M:%SZ}"
        versions = sorted(ingest.read(file).records, key=lambda record: record[MINUTES.event_time])
        newest = {record[MINUTES.record_identifier]: record for record in versions}
        return [record for minute, record in sorted(newest.items()) if minute > after]

    def _bring_minutes(self, end: datetime) -> None:
        """Put the minutes that are over at `end` on the stream of minutes, and wait until the store has them."""
        begin, ended = self._read, f"{end.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        while self._read < len(self._minutes) and self._minutes[self._read][MINUTES.record_identifier] < ended:
            self._read += 1
        rows = self._minutes[begin : self._read]
        kinesis: Any = client(self._context.session, "kinesis")
        stream = self._context.names.stream(MINUTES_STREAM)
        for first in range(0, len(rows), _MOST_ROWS):
            some = [{"Data": _row(one), "PartitionKey": MINUTES_STREAM} for one in rows[first : first + _MOST_ROWS]]
            answer = kinesis.put_records(StreamName=stream, Records=some)
            if answer["FailedRecordCount"]:
                raise ServiceError(f"the stream {stream} refused {answer['FailedRecordCount']} of {len(some)} minutes")
        if rows:
            self._wait_for(datetime.fromisoformat(rows[-1][MINUTES.record_identifier]))

    def _wait_for(self, minute: datetime) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while minutes.read(self._runtime, self._context.names, minute, 1)[0].missing:
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"the minute {minute:%Y-%m-%d %H:%M} was put on the stream {_PATIENCE_SECONDS:.0f} s ago and is "
                    "not in the feature store; `mlops logs write-minutes` says why"
                )
            time.sleep(_LOOK_SECONDS)

    @property
    def _runtime(self) -> Any:
        return client(self._context.session, "sagemaker-featurestore-runtime")

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


def _row(record: Record) -> bytes:
    """A minute as the stream has it. Its average has all digits, which a file rounds."""
    count, total = int(record["total_nb_trx_1min"]), int(float(record["total_fee_1min"]))
    row = {
        "tx_minute": record["tx_minute"],
        "total_nb_trx_1min": count,
        "total_fee_1min": total,
        "avg_fee_1min": total / count if count else None,
    }
    return json.dumps(row, separators=(",", ":")).encode() + b"\n"


def _purchased(holder: Mapping[str, Any]) -> bool:
    days = holder["days_to_purchase"]
    return days is not None and days <= _DAYS_AHEAD


def callers(file: Path) -> Iterator[Mapping[str, Any]]:
    """The holders of a file, over and over: each with its `request`, without `k`, and `days_to_purchase`."""
    holders: Sequence[Mapping[str, Any]] = [json.loads(line) for line in file.read_text().splitlines()]
    while True:
        yield from holders
