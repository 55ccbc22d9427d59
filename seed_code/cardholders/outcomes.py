"""What became of answers: the ground truth that callers told (seed_code/api/feedback.py keeps it).

    {ground truth}/yyyy/mm/dd/hh/{inference id}.jsonl    by the hour of the request

    {"groundTruthData": {"data": "1", "encoding": "CSV"}, "eventMetadata": {"eventId": …}, "eventVersion": "0"}

Files of other names in an hour's folder are read as well: who tells much at once writes many lines to one. What is told
of an id that was never answered is never looked up, and counts for nothing; what is told twice counts once; and where
two lines say the opposite of each other, none is believed.

Source: "Ingest ground truth labels and merge them with predictions" in the SageMaker Developer Guide.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from seed_code.cardholders.answers import Answer
from seed_code.common.objects import Objects

# An id as the REST API makes it (seed_code/api/inference_ids.py). It says the hour, which may be the one before that of
# the request itself.
_MADE = re.compile(r"([0-9]{8}T[0-9]{6}Z)-[0-9a-f]{16}(?:-[0-9]{1,3})?")


@dataclass
class Told:
    """What is known of some answers.

    Attributes:
        purchased: by inference id.
        contradictory: ids of which both was told.
        unreadable: lines that are no ground truth.
    """

    purchased: dict[str, bool]
    contradictory: set[str]
    unreadable: int


def told_of(objects: Objects, uri: str, answers: Iterable[Answer]) -> Told:
    """What was told of these answers. uri: `s3://bucket/prefix`, where ground truth is kept.

    Raises:
        ClientError: when S3 does not answer.
    """
    wanted: dict[str, set[str]] = defaultdict(set)
    for answer in answers:
        wanted[f"{_asked(answer):%Y/%m/%d/%H}"].add(answer.inference_id)
    told = Told({}, set(), 0)
    for hour, ids in sorted(wanted.items()):
        for line in _lines(objects, f"{uri.rstrip('/')}/{hour}", ids):
            _note(line, ids, told)
    for identity in told.contradictory:
        del told.purchased[identity]
    return told


def _lines(objects: Objects, folder: str, ids: set[str]) -> Iterator[bytes]:
    named = ((uri, uri.rpartition("/")[2].removesuffix(".jsonl")) for uri in objects.list(folder))
    wanted = [uri for uri, name in named if name in ids or not _MADE.fullmatch(name)]
    return (line for line in objects.lines(wanted) if line.strip())


def _note(line: bytes, ids: set[str], told: Told) -> None:
    try:
        document = json.loads(line)
        identity = document["eventMetadata"]["eventId"]
        purchased = {"0": False, "1": True}[document["groundTruthData"]["data"].strip()]
        wanted = identity in ids
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        told.unreadable += 1
        return
    if wanted and told.purchased.setdefault(identity, purchased) != purchased:
        told.contradictory.add(identity)


def _asked(answer: Answer) -> datetime:
    """The moment by whose hour the answer's ground truth is kept."""
    made = _MADE.fullmatch(answer.inference_id)
    if made is not None:
        try:
            return datetime.strptime(made[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError:
            pass  # of the form, but no date: not one that the API made
    return answer.time
