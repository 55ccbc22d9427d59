"""Feedback: kept once, in Model Monitor's form, whatever comes again."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from seed_code.api import inference_ids
from seed_code.api.feedback import GroundTruth, Kept
from seed_code.api.refusals import Refused
from tests.seed_code.api.account import ApiAccount
from tests.seed_code.api.conftest import Start
from tests.seed_code.api.gateway import NOW, Answer, Function

MADE = datetime.fromisoformat("2026-11-01T09:59:59+00:00")


def tell(function: Function, inference_id: Any, purchased: Any = True, **members: Any) -> Answer:
    return function.ask("POST", "/feedback", {"inference_id": inference_id, "purchased": purchased}, **members)


@pytest.mark.parametrize("end", ["", "-0", "-499"])
def test_it_is_kept(predictions: Start, account: ApiAccount, end: str) -> None:
    name = inference_ids.make(MADE) + end
    answer = tell(predictions(), name)
    assert (answer.status, answer.document) == (201, {"message": "Received feedback successfully"})
    text = account.text(f"2026/11/01/09/{name}.jsonl")
    assert text.endswith("}\n")
    assert json.loads(text) == {
        "groundTruthData": {"data": "1", "encoding": "CSV"},
        "eventMetadata": {"eventId": name},
        "eventVersion": "0",
    }


def test_the_first_word_stands(predictions: Start, account: ApiAccount) -> None:
    function, name = predictions(), inference_ids.make(MADE)
    assert tell(function, name, False).status == 201
    assert [tell(function, name, said).status for said in (False, True, False)] == [200, 409, 200]
    assert tell(function, name, True).document == {"message": f"The feedback on {name} says the opposite, and stays"}
    assert json.loads(account.text(f"2026/11/01/09/{name}.jsonl"))["groundTruthData"]["data"] == "0"
    # Another prediction of the same batch is another prediction.
    assert tell(function, f"{name}-1", True).status == 201


def test_what_a_prediction_was_answered_with_is_taken(predictions: Start, account: ApiAccount) -> None:
    function = predictions()
    record = {"usage_freq": 1, "amount_spend": 2, "uniq_merchant": 3, "k": 4}
    (one,) = function.ask("POST", "/predictions:batch", {"inputs": [record]}).document["responses"]
    assert tell(function, one["inference_id"], at=NOW + timedelta(days=4)).status == 201
    assert account.text(f"2026/11/22/10/{one['inference_id']}.jsonl")


def test_many_at_once(predictions: Start, account: ApiAccount) -> None:
    """One is first; who says the same hears that, who says the opposite hears that."""
    predictions()
    truth = GroundTruth(f"s3://{account.bucket}/at-once", Logger(service="test"))
    name = inference_ids.make(MADE)
    together = threading.Barrier(6)

    def say(purchased: bool) -> Kept:
        together.wait()
        return truth.keep(name, MADE, purchased)

    words = [True, False] * 3
    with ThreadPoolExecutor(6) as threads:
        heard = list(threads.map(say, words))
    first = words[heard.index(Kept.NEW)]
    assert heard.count(Kept.NEW) == 1
    assert all((one is Kept.CONTRADICTS) is (word is not first) for word, one in zip(words, heard, strict=True))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "20261101T095959Z",
        "20261101T095959Z-0123456789ABCDEF",
        "20261101T095959Z-0123456789abcde",
        "20261101T095959Z-0123456789abcdef-500",
        "20261101T095959Z-0123456789abcdef-01",
        "20261101T095959Z-0123456789abcdef\n",
        "20261301T095959Z-0123456789abcdef",
        "20261101T246060Z-0123456789abcdef",
        "../../20261101T095959Z-0123456789abcdef",
        "\uff120261101T095959Z-0123456789abcdef",
        "x" * 5000,
    ],
)
def test_an_id_that_nobody_was_answered_with(predictions: Start, name: str) -> None:
    answer = tell(predictions(), name)
    assert (answer.status, answer.fields) == (
        400,
        {"inference_id": "is not an id that a prediction was answered with"},
    )


def test_an_id_of_the_future(predictions: Start) -> None:
    function = predictions()
    answer = tell(function, "20261122T101631Z-0123456789abcdef")
    assert (answer.status, answer.fields) == (
        400,
        {"inference_id": "is an id of 2026-11-22T10:16:31Z, which is in the future"},
    )
    # The clocks of two machines are never quite the same.
    assert tell(function, "20261122T101630Z-0123456789abcdef").status == 201


@pytest.mark.parametrize(
    ("at", "told"),
    [
        ("20260725T101529Z", "is an id of 2026-07-25T10:15:29Z, which is more than 120 days ago"),
        ("00010101T000000Z", "is an id of 0001-01-01T00:00:00Z, which is more than 120 days ago"),
    ],
)
def test_an_id_of_long_ago(predictions: Start, at: str, told: str) -> None:
    answer = tell(predictions(), f"{at}-0123456789abcdef")
    assert (answer.status, answer.fields) == (400, {"inference_id": told})


def test_an_id_that_is_just_not_too_old(predictions: Start, account: ApiAccount) -> None:
    name = inference_ids.make(NOW - timedelta(days=120))
    assert tell(predictions(), name).status == 201
    assert account.text(f"2026/07/25/10/{name}.jsonl")


def test_mistakes(predictions: Start) -> None:
    function = predictions()
    assert list(tell(function, 5, "yes").fields) == ["inference_id", "purchased"]
    assert tell(function, inference_ids.make(MADE), None).fields == {"purchased": "is null; expected true or false"}
    assert function.ask("POST", "/feedback", "{}").fields == {"inference_id": "is missing", "purchased": "is missing"}


def test_what_somebody_else_has_put_there_is_not_compared(predictions: Start, account: ApiAccount) -> None:
    name = inference_ids.make(MADE)
    key = f"cardholders/ground-truth/2026/11/01/09/{name}.jsonl"
    account.client("s3").put_object(Bucket=account.bucket, Key=key, Body=b"something else")
    assert tell(predictions(), name).status == 500
    assert account.text(f"2026/11/01/09/{name}.jsonl") == "something else"


class Flickering:
    """An S3 whose object is there to be written and gone to be read, so many times; then it fails or takes."""

    def __init__(self, times: int, then: str | None = None) -> None:
        self.left, self.then = times, then
        self.exceptions = self
        self.NoSuchKey = KeyError

    def put_object(self, **_: Any) -> None:
        if self.left:
            self.left -= 1
            raise self._error("ConditionalRequestConflict", 409)
        if self.then:
            raise self._error(self.then, 503)

    def get_object(self, **_: Any) -> None:
        raise KeyError

    def _error(self, code: str, status: int) -> ClientError:
        metadata: Any = {"HTTPStatusCode": status}
        return ClientError({"Error": {"Code": code}, "ResponseMetadata": metadata}, "PutObject")


def test_a_conflict_is_tried_again(predictions: Start) -> None:
    predictions()
    truth = GroundTruth("s3://bucket/prefix", Logger(service="test"))
    name = inference_ids.make(MADE)
    for s3, kept in ((Flickering(2), Kept.NEW), (Flickering(3), None), (Flickering(0, "SlowDown"), None)):
        truth._client = s3
        if kept:
            assert truth.keep(name, MADE, True) is kept
            continue
        with pytest.raises(Refused) as caught:
            truth.keep(name, MADE, True)
        assert (caught.value.status, caught.value.headers) == (503, {"Retry-After": "5"})
