"""What was served: the truth that a stream's minutes are held against.

One line of JSON for each transaction, when it is first served, {"hash", "time", "fee", "served_at"}, and one for the
first good answer in each minute, {"hash": null, "time": …, "fee": null, "served_at": …}, in the files of a folder:

    <folder>/served/2026-11-22T14.ndjson    by the hour of `time`; files of hours long past are deleted

`python -m seed_code.ingestion.simulator.ledger --from ISO --to ISO --ledger FOLDER` writes the minutes that follow, as
lines of the minutes stream:

    {"tx_minute": …, "total_nb_trx_1min": …, "total_fee_1min": …, "avg_fee_1min": …}

Every hash counts once in a minute, unknown fees in the count alone; the average is that of the known fees, and null if
there are none. A minute in which only answers were given is quiet, and has a row; a minute without even those has none.
A transaction from the future is in none: whoever observes it sets it aside.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from seed_code.common.arguments import ArgumentParser
from seed_code.common.errors import ClientError
from seed_code.common.failure import reports_failure
from seed_code.ingestion.simulator import moments
from seed_code.ingestion.simulator.faults import TOLERATED_SECONDS
from seed_code.ingestion.simulator.traffic import Transaction

_HOUR = 3600
_KEPT_HOURS = 8 * 24
_MOST_OPEN = 4  # files

Record = dict[str, Any]


class Ledger:
    """The folder of a running simulator. A record is written before the answer that it speaks of is sent."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "served"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._open: dict[int, int] = {}  # file descriptors by hour
        self._minute = -1
        self.served = 0

    def write(self, transactions: Iterable[Transaction], served_at: int) -> None:
        """Transactions that are part of a good answer, whose date is `served_at`, seconds since 1970."""
        lines: dict[int, list[str]] = {}
        for found in transactions:
            if not found.served:
                found.served = True
                self.served += 1
                fee = "null" if found.fee is None else found.fee
                line = f'{{"hash":"{found.hash}","time":{found.time},"fee":{fee},"served_at":{served_at}}}\n'
                lines.setdefault(found.time // _HOUR, []).append(line)
        if self._minute != served_at // 60:
            self._minute = served_at // 60
            line = f'{{"hash":null,"time":{served_at},"fee":null,"served_at":{served_at}}}\n'
            lines.setdefault(served_at // _HOUR, []).append(line)
        for hour, written in lines.items():
            os.write(self._file(hour), "".join(written).encode())

    def close(self) -> None:
        """Close its files."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def _file(self, hour: int) -> int:
        if hour not in self._open:
            for old in sorted(self._open)[: max(0, len(self._open) + 1 - _MOST_OPEN)]:
                os.close(self._open.pop(old))
            path = _path(self._folder, hour)
            _mend(path)
            self._open[hour] = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            self._forget(hour)
        return self._open[hour]

    def _forget(self, hour: int) -> None:
        oldest = _path(self._folder, hour - _KEPT_HOURS).name
        for path in self._folder.iterdir():
            if path.name < oldest:
                path.unlink(missing_ok=True)


def records(folder: Path, begin: int, end: int) -> Iterator[Record]:
    """What was served with a time from `begin` to before `end`, seconds since 1970: by hour, as it was served in it."""
    for hour in range(begin // _HOUR, -(-end // _HOUR)):
        yield from _records_of(folder, hour, begin, end)


def minutes(folder: Path, begin: int, end: int) -> Iterator[Record]:
    """The rows of the minutes from `begin` to before `end`, seconds since 1970, in order."""
    for hour in range(begin // _HOUR, -(-end // _HOUR)):
        yield from rows(_records_of(folder, hour, begin, end))


def rows(served: Iterable[Record]) -> Iterator[Record]:
    """The minutes' rows that follow from what was served, in order."""
    fees: dict[int, dict[str, int | None]] = {}
    for record in served:
        if record["time"] <= record["served_at"] + TOLERATED_SECONDS:
            of_minute = fees.setdefault(record["time"] // 60, {})
            if record["hash"] is not None:
                of_minute[record["hash"]] = record["fee"]
    for minute in sorted(fees):
        known = [fee for fee in fees[minute].values() if fee is not None]
        total = sum(known)
        yield {
            "tx_minute": moments.stamp(60 * minute),
            "total_nb_trx_1min": len(fees[minute]),
            "total_fee_1min": total,
            "avg_fee_1min": total / len(known) if known else None,
        }


def line(record: Record) -> bytes:
    """A record or row as a line."""
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def _records_of(folder: Path, hour: int, begin: int, end: int) -> Iterator[Record]:
    try:
        content = _path(folder / "served", hour).read_bytes()
    except FileNotFoundError:
        return
    complete = content[: content.rfind(b"\n") + 1]
    for text in complete.splitlines():
        record = json.loads(text)
        if begin <= record["time"] < end:
            yield record


def _path(folder: Path, hour: int) -> Path:
    return folder / f"{moments.stamp(_HOUR * hour)[:13]}.ndjson"


def _mend(path: Path) -> None:
    """Cut off a line that a killed simulator did not finish: its answer was never sent."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        content = file.read()
        if not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)


def _moment(text: str) -> int:
    try:
        return moments.seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


@reports_failure
def main() -> None:
    """Write the minutes of a span, as the command line says."""
    parser = ArgumentParser(prog="ledger", description="The minutes that follow from what the simulator has served.")
    parser.add_argument("--from", dest="begin", required=True, type=_moment, help="first moment, ISO 8601")
    parser.add_argument("--to", dest="end", required=True, type=_moment, help="the first moment left out, ISO 8601")
    parser.add_argument("--ledger", required=True, type=Path, help="the simulator's folder")
    arguments = parser.parse_args()
    if not (arguments.ledger / "served").is_dir():
        raise ClientError(
            f"--ledger is `{arguments.ledger}`, which has no `served` in it; give the folder that the simulator was "
            "started with"
        )
    for row in minutes(arguments.ledger, arguments.begin, arguments.end):
        sys.stdout.buffer.write(line(row))


if __name__ == "__main__":
    main()
