"""The program that computes minutes again from the archive, compares them with the store's, and mends those.

    python3 -m seed_code.ingestion.replay --from 2026-11-21T00:00:00Z --to 2026-11-22T00:00:00Z [--write] [--id NAME]
    python3 -m seed_code.ingestion.replay --last-hours 3 --at 2026-11-22T14:20:00Z --write [--id NAME]

The stream closes a minute when its lateness is over; the archive has what came after that, too. So the second form runs
every hour: it counts in what was late, and writes minutes that an interruption has left out. `--at` is the moment that
it is said to run at, and the event time of what it writes; without it, the account's clock.

Only minutes of which the archive has all are compared: Firehose gathers records before it writes them, so that what is
newer than the archive's newest record less two minutes is left for the next time. A minute of which the archive has
fewer transactions than the store (a file may still be on its way) is withheld in the second form, which nobody
watches; in the first, the archive is right.

The result is printed, and put to `RESULT_URI/{id}.json`:

    schema_version, id, from, to, at, write
    minutes        that the archive has, among them `quiet` ones; `transactions` in them
    same, different, missing    of these, against the store's newest versions
    only_in_store  minutes that the archive has no record of
    incomplete     minutes that were left for the next time
    withheld       of the different ones, see above
    written
    differing      the first ten that are different, missing or withheld: {minute, archive, store}
    archive        what was read: `archive.Reading`

Environment: ARCHIVE_URI, FEATURE_GROUP, RESULT_URI.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from seed_code.common import clients
from seed_code.common.arguments import ArgumentParser, whole_number
from seed_code.common.objects import Objects
from seed_code.ingestion import rows
from seed_code.ingestion.archive import HOUR, Archive
from seed_code.ingestion.functions import minutes
from seed_code.ingestion.functions.minutes import MINUTE, Minute
from seed_code.ingestion.programs import ID, moment, read_environment, run
from seed_code.ingestion.stored_minutes import Stored, StoredMinutes, between

SCHEMA_VERSION = 1
GATHERING = timedelta(minutes=2)
"""How long after a record's time the archive may lack others of that time."""

_SHOWN = 10
_MOST_HOURS = 24 * 366


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        begin: the first minute (aware).
        end: the first minute that is left out.
        at: the event time of what is written; the account's clock when None.
        watched: whether somebody looks at the result.
    """

    id: str
    begin: datetime
    end: datetime
    at: datetime | None
    write: bool
    watched: bool


@dataclass
class Findings:
    """The figures of the result, see above."""

    minutes: int = 0
    quiet: int = 0
    transactions: int = 0
    same: int = 0
    different: int = 0
    missing: int = 0
    only_in_store: int = 0
    incomplete: int = 0
    withheld: int = 0
    written: int = 0
    differing: list[dict[str, Any]] = field(default_factory=list)


def replay(request: Request, archive: Archive, store: StoredMinutes) -> dict[str, Any]:
    """Compare, and write if that is asked for; gives the result.

    Raises:
        ClientError: when S3 or the store do not do as asked.
    """
    findings = Findings()
    at = request.at
    for starts, found, complete in _parts(request, archive):
        findings.incomplete += sum(start >= complete for start in found)
        starts = [start for start in starts if start < complete]
        stored = store.read(starts)
        at = at or store.now or request.end
        changes = _compare(findings, starts, found, stored, watched=request.watched)
        if request.write:
            findings.written += store.write(changes, at)
    return {
        "schema_version": SCHEMA_VERSION,
        "id": request.id,
        "from": minutes.iso(request.begin),
        "to": minutes.iso(request.end),
        "at": minutes.iso(at) if at else None,
        "write": request.write,
        **asdict(findings),
        "archive": {**asdict(archive.reading), "newest": _iso(archive.reading.newest)},
    }


def _compare(
    findings: Findings,
    starts: Sequence[datetime],
    found: dict[datetime, Minute],
    stored: dict[datetime, Stored],
    *,
    watched: bool,
) -> list[tuple[Minute, Stored | None]]:
    """Count some minutes; gives those to be written, each with what is there."""
    changes = []
    for start in starts:
        minute, there = found.get(start), stored.get(start)
        if minute is None:
            findings.only_in_store += there is not None
            continue
        findings.minutes += 1
        findings.quiet += minute.quiet
        findings.transactions += minute.count
        if there is not None and there.says(minute):
            findings.same += 1
            continue
        fewer = there is not None and minute.count < (there.row()[minutes.COUNT] or 0)
        findings.missing += there is None
        findings.different += there is not None
        if len(findings.differing) < _SHOWN:
            shown = {name: value for name, value in minute.row().items() if name != minutes.IDENTIFIER}
            findings.differing.append(
                {"minute": minutes.iso(start), "archive": shown, "store": there.row() if there else None}
            )
        if fewer and not watched:
            findings.withheld += 1
            continue
        changes.append((minute, there))
    return changes


_Part = tuple[list[datetime], dict[datetime, Minute], datetime]


def _parts(request: Request, archive: Archive) -> Iterator[_Part]:
    """The span by its hours: their minutes, those that the archive has, and the first of which it has not all.

    An hour waits until the archive is known to be complete beyond it, which a later hour tells, or its end.
    """
    waiting: list[tuple[list[datetime], dict[datetime, Minute]]] = []
    hour = request.begin.replace(minute=0)
    last = hour
    while hour < request.end:
        found = rows.of(archive.hour(hour))
        starts = list(between(max(hour, request.begin), min(hour + HOUR, request.end)))
        waiting.append((starts, {start: found[start] for start in starts if start in found}))
        complete = _complete(archive)
        while waiting and waiting[0][0][-1] < complete:
            yield (*waiting.pop(0), complete)
        last, hour = hour, hour + HOUR
    if waiting:
        archive.reaches(waiting[-1][0][-1] + MINUTE + GATHERING, after=last)
    complete = _complete(archive)
    for starts, found in waiting:
        yield starts, found, complete


def _complete(archive: Archive) -> datetime:
    """The first minute of which the archive may lack something."""
    newest = archive.reading.newest
    if newest is None:
        return datetime.min.replace(tzinfo=UTC)
    moment = datetime.fromtimestamp(newest, UTC) - GATHERING
    return moment.replace(second=0)


def _iso(seconds: int | None) -> str | None:
    return None if seconds is None else minutes.iso(datetime.fromtimestamp(seconds, UTC))


def requested(arguments: Sequence[str] | None = None) -> Request:
    """What the command line asks for.

    Raises:
        ClientError: for a mistake in it.
    """
    parser = ArgumentParser(prog="replay", description="Computes minutes again from the archive.")
    parser.add_argument("--from", dest="begin", type=moment, help="the first minute, ISO 8601, in UTC unless it says")
    parser.add_argument("--to", dest="end", type=moment, help="the first minute that is left out")
    parser.add_argument("--last-hours", type=whole_number(1, 24 * 7), help="so many before --at, instead of a span")
    parser.add_argument("--at", type=moment, help="the moment of the replay")
    parser.add_argument("--write", action="store_true", help="write minutes that differ from the store's")
    parser.add_argument("--id", help="names the result")
    given = parser.parse_args(arguments)
    if given.last_hours:
        if given.begin or given.end or not given.at:
            parser.error("--last-hours goes with --at, and without --from and --to")
        end = given.at.replace(second=0, microsecond=0)
        begin = end - given.last_hours * HOUR
        name = given.id or f"reconcile-{minutes.iso(end)}"
    else:
        if not (given.begin and given.end):
            parser.error("expected --from and --to, or --last-hours and --at")
        begin, end = given.begin, given.end
        name = given.id or f"replay-{minutes.iso(begin)}-{minutes.iso(end)}"
    if any(time.second or time.microsecond for time in (begin, end)):
        parser.error("--from and --to are whole minutes, such as 2026-11-22T14:03:00Z")
    if not begin < end <= begin + _MOST_HOURS * HOUR:
        parser.error(
            f"--from is {minutes.iso(begin)} and --to {minutes.iso(end)}; expected it later, by a year at most"
        )
    if not ID.fullmatch(name):
        parser.error(f"--id is `{name[:140]}`; expected up to 128 letters, digits and any of _ . : -")
    return Request(name, begin, end, given.at, given.write, watched=not given.last_hours)


@run
def main() -> None:
    """Do what the command line asks for."""
    request = requested()
    archive_uri, group, result_uri = read_environment("ARCHIVE_URI", "FEATURE_GROUP", "RESULT_URI")
    objects = Objects(clients.client("s3", read_seconds=60))
    store = StoredMinutes(clients.client("sagemaker-featurestore-runtime"), group)
    result = replay(request, Archive(objects, archive_uri), store)
    objects.put(f"{result_uri.rstrip('/')}/{request.id}.json", json.dumps(result, indent=2).encode())
    json.dump(result, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
