"""Answers that wait until it is known what became of them.

    {monitor}/{stage}/pending/YYYY/MM/DD/HH/{T}.jsonl         by the hour in which they come due
    {monitor}/{stage}/pending/YYYY/MM/DD/HH/{T}-late.jsonl    by the hour in which they are looked at once more

An evaluation writes the answers that it has collected, and finds those to look at in the files of the hours that it is
about: the same evaluation, made again, writes the same files, and no file is ever changed by another one.

An answer is looked at when it comes due. If nobody has told by then what became of it, it is looked at once more, a day
later, and then no more: what is told later counts for nothing.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentTypeError
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from seed_code.cardholders.answers import Answer
from seed_code.common.monitoring import DAY, HOUR, Evaluation, stamp
from seed_code.common.monitoring_store import encoded
from seed_code.common.objects import Objects

PATIENCE = timedelta(hours=24)
_LATE = "-late"
_HOURS, _DAYS = "%Y/%m/%d/%H", "%Y/%m/%d"
_PAUSE = 3 * HOUR


@dataclass(frozen=True)
class Waiting:
    """An answer that waits.

    Attributes:
        endpoint_config: of the deployment that gave it; None where that is not certain.
        late: whether it was looked at before.
    """

    answer: Answer
    endpoint_config: str | None
    late: bool = False

    @property
    def look_at(self) -> datetime:
        """When it is to be looked at."""
        return self.answer.due + (PATIENCE if self.late else timedelta(0))

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**self.answer.document(), "endpoint_config": self.endpoint_config, "late": self.late}

    @classmethod
    def of(cls, document: dict[str, Any]) -> Waiting:
        """From its document."""
        return cls(Answer.of(document), document["endpoint_config"], document["late"])


def put(objects: Objects, of: Evaluation, waiting: Iterable[Waiting]) -> None:
    """Write answers to the hours in which they are to be looked at.

    Raises:
        ClientError: when S3 does not answer.
    """
    files: dict[str, list[bytes]] = defaultdict(list)
    for one in waiting:
        files[f"{_folder(of, one.look_at)}/{stamp(of.time)}{_LATE if one.late else ''}.jsonl"].append(
            encoded(one.document())
        )
    for uri, lines in files.items():
        objects.put(uri, b"".join(lines), "application/jsonlines")


def take(objects: Objects, of: Evaluation, since: datetime) -> list[Waiting]:
    """The answers to be looked at from `since` to before the evaluation's time, by that moment and id, each once.

    A line that is damaged is passed over, with a warning: it would otherwise end every evaluation from then on.

    Raises:
        ClientError: when S3 does not answer.
    """
    found: dict[tuple[datetime, str], Waiting] = {}
    for uri in _uris(objects, of, since):
        for line in (objects.get(uri) or b"").splitlines():
            one = _read(uri, line)
            if one is not None and since <= one.look_at < of.time:
                found.setdefault((one.look_at, one.answer.inference_id), one)
    return [found[key] for key in sorted(found)]


def _uris(objects: Objects, of: Evaluation, since: datetime) -> Iterator[str]:
    """The files of the hours from that of `since` to that of the evaluation's time, in their order."""
    # An hour's folder as a rule, since a day's holds much that comes later; after a long pause days, which are fewer.
    name, step = (_HOURS, HOUR) if of.time - since <= _PAUSE else (_DAYS, DAY)
    begin, end = _folder(of, since), f"{_folder(of, of.time)}0"  # `0` follows `/`
    folder = since.replace(minute=0, second=0, microsecond=0)
    if step == DAY:
        folder = folder.replace(hour=0)
    while folder < of.time:
        yield from (uri for uri in objects.list(f"{of.root}/pending/{folder:{name}}") if begin <= uri < end)
        folder += step


def _read(uri: str, line: bytes) -> Waiting | None:
    try:
        one = Waiting.of(json.loads(line))
        one.look_at  # noqa: B018 - raises for a `k` or a time that is none
        one.document()
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, ArgumentTypeError) as error:
        sys.stdout.write(f"warning: a line of {uri} is damaged, and passed over: {type(error).__name__}: {error}\n")
        return None
    return one


def _folder(of: Evaluation, moment: datetime) -> str:
    return f"{of.root}/pending/{moment:{_HOURS}}"
