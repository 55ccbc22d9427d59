"""Streams made to make two implementations of the minutes disagree, as lines of JSON; the same seed, the same lines.

On every machine: nothing is drawn by way of a float that a library of mathematics computes.

A moment goes on from line to line, slowly or by leaps, and each line's time lies around it:

    in order, out of order by some seconds or by more than the lateness, ahead
    on the edge: on a minute's first or last second, or where its end is just, or is not yet, the watermark
    hashes that come again: in the same minute at a smaller, an equal or a greater time, with another fee; in the next
    minute; after their minute was written
    fees that are null, missing, 0, and as large as there can be
    heartbeats, stretches with nothing else, busy and sparse ones, outages of minutes and of hours
    lines that are broken, that have no time, and members that nobody asked for
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from random import Random

BEGIN = 1_763_820_180  # 2025-11-22T14:03:00Z
LARGEST_FEE = 2_100_000_000_000_000
_BUSY, _SPARSE, _QUIET = 1, 18, 30  # seconds from line to line at most; where it is quiet, all of them are heartbeats
_BROKEN = (
    '{"hash":"b","time":17638',
    "not JSON at all",
    "[]",
    '{"hash":"no time","fee":1}',
    '{"hash":"null time","time":null,"fee":1}',
    '{"hash":"words","time":"yesterday","fee":1}',
    "<html><body>502 Bad Gateway</body></html>",
    "",
)


def lines(count: int, seed: int, lateness: int) -> Iterator[str]:
    """So many lines, without their ends.

    lateness: in seconds, of the watermark whose edges are sought.
    """
    random = Random(seed)
    recent: deque[tuple[str, int]] = deque(maxlen=400)
    now = newest = BEGIN
    pace, left = _BUSY, 500
    for number in range(count):
        if not left:
            pace, left = random.choice((_BUSY, _SPARSE, _QUIET)), random.randrange(1, 60)
            left *= 20 if pace is _BUSY else 1
        left -= 1
        now = max(now + _step(random, pace), newest - lateness // 2)  # what is ahead is soon the present
        kind = 0.05 if pace is _QUIET else random.random()
        if kind < 0.01:
            yield random.choice(_BROKEN)
            continue
        time = max(_time(random, now, newest, lateness), 1)
        name: str | None = f"{number:x}"
        if kind < 0.06:
            name = None
        elif kind < 0.22 and recent:
            name, before = recent[random.randrange(len(recent))]
            time = max(before + random.choice((-70, -61, -1, -1, 0, 0, 0, 1, 59, 60)), 1)
        elif kind < 0.24 and recent:
            name = recent[-1][0]
        if name is not None:
            recent.append((name, time))
        newest = max(newest, time)
        yield _line(random, name, time)


def _step(random: Random, pace: int) -> int:
    """Seconds that pass before a line; pace: at most, but for the leaps."""
    draw = random.random()
    if draw < 0.998:
        return random.randrange(pace + 1)
    if draw < 0.9995:
        return random.randrange(2, 90)
    return random.choice((60, 120, 600, 7200))


def _time(random: Random, now: int, newest: int, lateness: int) -> int:
    draw = random.random()
    if draw < 0.70:
        return now
    if draw < 0.85:
        return now - random.randrange(1 + random.randrange(40))
    if draw < 0.90:
        return now - random.randrange(lateness + 200)
    if draw < 0.93:
        return now + random.randrange(4)
    minute = now - now % 60
    if draw < 0.96:
        return minute + random.choice((-61, -60, -1, 0, 1, 59))
    # A minute's end that the watermark has just reached, or has not.
    end = (newest - lateness) // 60 * 60
    return end + random.choice((-60, -1, 0, 1, lateness, 59, 60 + lateness - 1))


def _line(random: Random, name: str | None, time: int) -> str:
    record: dict[str, object] = {"hash": name, "time": time}
    draw = random.random()
    if name is None or draw < 0.05:
        record["fee"] = None
    elif draw < 0.97:
        record["fee"] = random.randrange(1 << random.randrange(5, 20)) if draw > 0.08 else 0
    elif draw < 0.985:
        record["fee"] = LARGEST_FEE - random.randrange(1000)
    if draw > 0.95:
        record = {"ver": 2, "inputs": [{"prev_out": {"value": 1, "hash": "another", "time": 5}}], **record, "rbf": True}
    return json.dumps(record, separators=(",", ":"))
