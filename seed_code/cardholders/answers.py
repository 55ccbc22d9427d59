"""What the endpoint answered, record by record, from its data capture.

    {capture}/{endpoint}/AllTraffic/yyyy/mm/dd/hh/{name}.jsonl    written once, by the answers' hour

An object is written some time after its first line, so that the newest hour may be incomplete when it is looked at:
hours that have been read are therefore listed again, and objects that were not there come late, but once.

Who captures a part of the requests only has a sample of them here. What is no request with its answer (other software's
lines, torn ones, requests of which no answer was captured) is counted and left alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from seed_code.common import captured
from seed_code.common.captured import Captured
from seed_code.common.monitoring import HOUR, Evaluation, iso, moment
from seed_code.common.objects import Objects

# Of a request, in the order in which an answer has them. Not imported from features.py, which makes them of
# transactions.
FIELDS = ("usage_freq", "amount_spend", "uniq_merchant")
LATE = 2 * HOUR  # for so long an hour is listed again
_LONGEST_DAYS = 365  # no model's horizon is longer
_JSON_LINES = "application/jsonlines"


@dataclass(frozen=True)
class Answer:
    """One record and what was answered to it.

    Attributes:
        inference_id: of a record in a batch, the batch's and its place (seed_code/api/inference_ids.py names them so).
        time: of the request, in whole seconds. It is the t of (t, t + k].
        fields: as FIELDS.
        features: stored features that the caller sent, but for those that are null.
    """

    inference_id: str
    time: datetime
    k: int
    fields: tuple[float, ...]
    features: Mapping[str, float]
    predicted_cluster: int
    will_spend: bool
    probability: float

    @property
    def due(self) -> datetime:
        """When it is known what became of it: (t, t + k] has passed."""
        return self.time + timedelta(days=self.k)

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "inference_id": self.inference_id,
            "time": iso(self.time),
            "k": self.k,
            **dict(zip(FIELDS, self.fields, strict=True)),
            "features": dict(self.features),
            "predicted_cluster": self.predicted_cluster,
            "will_spend": self.will_spend,
            "probability": self.probability,
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Answer:
        """From its document."""
        return cls(
            document["inference_id"],
            moment(document["time"]),
            document["k"],
            tuple(document[name] for name in FIELDS),
            document["features"],
            document["predicted_cluster"],
            document["will_spend"],
            document["probability"],
        )


@dataclass(frozen=True)
class Read:
    """What has been read of the capture: to be kept for the next reading.

    Attributes:
        begin: the moment from which answers count; those before are another deployment's.
        until: the moment up to which answers were read; `begin` before the first reading.
        whole: objects of the newest hours that were read to the end.
        partly: objects of which the lines before `until` were read; they go on beyond it.
    """

    begin: datetime
    until: datetime
    whole: Sequence[str] = ()
    partly: Sequence[str] = ()

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "begin": iso(self.begin),
            "until": iso(self.until),
            "whole": list(self.whole),
            "partly": list(self.partly),
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Read:
        """From its document."""
        return cls(moment(document["begin"]), moment(document["until"]), document["whole"], document["partly"])


@dataclass
class Collected:
    """What a reading brought.

    Attributes:
        answers: those not read before, by time and id; of several with one id the first.
        requests: records asked about in the evaluation's hour, whether or not they were read before.
        unreadable: lines that are no request with its answer.
        repeated: answers under an id that another had already.
        newest: time of the newest answer seen; None if there is none.
        read: for the next reading.
    """

    read: Read
    answers: list[Answer] = field(default_factory=list)
    requests: int = 0
    unreadable: int = 0
    repeated: int = 0
    newest: datetime | None = None


def collect(objects: Objects, of: Evaluation, read: Read) -> Collected:
    """The answers up to the evaluation's time that have not been read. read: what has been read before.

    Raises:
        ClientError: when S3 does not answer.
    """
    whole, partly = set(read.whole), set(read.partly)
    complete: list[str] = []
    torn: list[str] = []
    found: dict[str, Answer] = {}
    brought = Collected(read)
    for uri in _uris(objects, of, min(of.begin, max(read.until - LATE, read.begin))):
        known = uri in whole
        if known and uri < of.captured(of.begin):
            complete.append(uri)  # nothing of it lies in the hour
            continue
        goes_on = False
        for one in _requests(objects, uri):
            if isinstance(one, ValueError):
                brought.unreadable += not known
                continue
            time = one[0].time
            if time >= of.time:
                goes_on = True
                continue
            brought.newest = time if brought.newest is None else max(brought.newest, time)
            brought.requests += len(one) * (time >= of.begin)
            if known or time < read.begin or (uri in partly and time < read.until):
                continue
            for answer in one:
                other = found.get(answer.inference_id)
                brought.repeated += other is not None
                if other is None or answer.time < other.time:
                    found[answer.inference_id] = answer
        (torn if goes_on else complete).append(uri)
    brought.answers = sorted(found.values(), key=lambda answer: (answer.time, answer.inference_id))
    brought.read = Read(read.begin, of.time, complete, torn)
    return brought


def _uris(objects: Objects, of: Evaluation, first: datetime) -> Iterator[str]:
    """The captured objects from the hour that `first` lies in to that of the evaluation, in their order."""
    folder, last = of.captured(first).rsplit("/", 4)[0], of.captured(of.time)
    # What comes after the folder of the hour before: `0` follows `/`.
    for uri in objects.list(folder, after=f"{of.captured(first - HOUR)}0"):
        if uri > f"{last}0":
            return
        if uri.endswith(".jsonl"):
            yield uri


def _requests(objects: Objects, uri: str) -> Iterator[list[Answer] | ValueError]:
    """What each line of an object holds: answers, one or a batch's; or why it is none."""
    for line in (objects.get(uri) or b"").splitlines():
        if line.strip():
            try:
                yield answers_of(captured.of_line(line))
            except ValueError as error:
                yield error


def answers_of(one: Captured) -> list[Answer]:
    """The answers of a captured request: one, or those of a batch.

    Raises:
        ValueError: when there is none, or one that no model of ours gives.
    """
    if one.request is None or one.answer is None:
        raise ValueError("either the request or its answer was not captured")
    kind = one.request_type.partition(";")[0].strip().lower()
    try:
        records, answers, batch = _pairs(kind, one.request.decode(), one.answer.decode())
        if not records or len(records) != len(answers):
            raise ValueError(f"{len(records)} records and {len(answers)} answers")
        time = one.time.replace(microsecond=0)
        return [
            _answer(f"{one.inference_id}-{place}" if batch else one.inference_id, time, record, answer)
            for place, (record, answer) in enumerate(zip(records, answers, strict=True))
        ]
    except (KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise ValueError(f"not a record with its answer: {type(error).__name__}: {error}") from error


def _pairs(kind: str, request: str, answer: str) -> tuple[list[Any], list[Any], bool]:
    """Records, what was answered to each, and whether they are a batch."""
    if kind == _JSON_LINES:
        records, answers = (
            [json.loads(line) for line in text.splitlines() if line.strip()] for text in (request, answer)
        )
        return records, [one["response"] for one in answers], True
    document, response = json.loads(request), json.loads(answer)["response"]
    return (document, response, True) if isinstance(document, list) else ([document], [response], False)


def _answer(identity: str, time: datetime, record: Mapping[str, Any], answer: Mapping[str, Any]) -> Answer:
    k, cluster, will_spend = record["k"], answer["predicted_cluster"], answer["will_spend"]
    if type(k) is not int or not 1 <= k <= _LONGEST_DAYS:
        raise ValueError(f"k is {k!r}")
    if type(cluster) is not int or type(will_spend) is not bool:
        raise ValueError(f"the answer is cluster {cluster!r} and will_spend {will_spend!r}")
    probability = _number(answer["probability"])
    if not 0 <= probability <= 1:
        raise ValueError(f"the probability is {probability}")
    fields = tuple(_number(record[name]) for name in FIELDS)
    features = {name: _number(value) for name, value in (record.get("features") or {}).items() if value is not None}
    return Answer(identity, time, k, fields, features, cluster, will_spend, probability)


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no finite number")
    number: float = value
    return number
