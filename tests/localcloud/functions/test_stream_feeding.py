"""From streams to functions: which batches there are, what becomes of those that fail, and where it goes on."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localcloud.context import Context
from localcloud.errors import ServiceError
from localcloud.functions.batches import lane_of
from localcloud.functions.invocation import Outcome
from localcloud.functions.poller import MAPPING
from localcloud.functions.positions import Positions, forget
from localcloud.functions.sources import KinesisStreams
from localcloud.functions.streams import START_AFTER, StreamPoller
from localcloud.kinesis.shards import Stream, even_shards
from localcloud.kinesis.streams import Put, Streams
from localcloud.protocols.http import HttpRequest, HttpResponse
from localcloud.store import Store
from tests.surroundings import surroundings

ARN = "arn:aws:kinesis:eu-west-1:123456789012:stream/s"
FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:f"
DEAD = "arn:aws:sqs:eu-west-1:123456789012:dead"
ROLE = "arn:aws:iam::123456789012:role/r"


class Function:
    """A function as the poller sees it: who is asked for its role, and who calls it."""

    def __init__(self, handle: Callable[[Sequence[str]], Any]) -> None:
        """handle: gets the texts of a batch; it raises, or gives the numbers of records that it reports as failed."""
        self._handle = handle
        self.given: list[list[str]] = []
        self.ages: list[float] = []
        self.lock = threading.Lock()

    def named(self, name: str) -> dict[str, str]:
        return {"FunctionArn": FUNCTION, "FunctionName": "f", "Role": ROLE}

    def measure(self, name: str, *values: tuple[str, float, str]) -> None:
        self.ages += [value for metric, value, _ in values if metric == "IteratorAge"]

    def invoke(self, name: str, payload: bytes) -> Outcome:
        records = json.loads(payload)["Records"]
        texts = [base64.b64decode(record["kinesis"]["data"]).decode() for record in records]
        with self.lock:
            self.given.append(texts)
        try:
            failed = self._handle(texts) or []
        except ValueError:
            return Outcome("id", b"{}", "Unhandled", b"")
        entries = [{"itemIdentifier": records[number]["kinesis"]["sequenceNumber"]} for number in failed]
        return Outcome("id", json.dumps({"batchItemFailures": entries}).encode(), None, b"")


@dataclass
class Feeding:
    """A stream of one shard, a function, and a mapping between them."""

    context: Context
    streams: Streams
    function: Function
    poller: StreamPoller
    kind: KinesisStreams
    told: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, folder: Path, handle: Callable[[Sequence[str]], Any]) -> Feeding:
        context = surroundings(folder)
        streams = Streams(context)
        if not streams.all():
            streams.create(Stream("s", ARN, streams.new_position(), context.clock.now(), even_shards(1, 0, 0)))
        function = Function(handle)
        poller = StreamPoller(context, function, function, streams)  # type: ignore[arg-type]
        feeding = cls(context, streams, function, poller, KinesisStreams(context, streams))
        context.clients.connect(feeding.answer)
        return feeding

    def answer(self, request: HttpRequest) -> HttpResponse:
        """The queue of what is given up."""
        body = json.loads(request.body)
        if "MessageBody" in body:
            self.told.append(json.loads(body["MessageBody"]))
        return HttpResponse(200, [], json.dumps({"QueueUrl": "http://q", "MessageId": "m"}).encode())

    def map(self, **settings: Any) -> dict[str, Any]:
        document = {
            **self.kind.defaults, "UUID": "u", "EventSourceArn": ARN, "FunctionArn": FUNCTION, "FunctionName": "f",
            "State": "Enabled", "StartingPosition": "TRIM_HORIZON", **settings,
        }  # fmt: skip
        document = {**document, **self.kind.begin(document)}
        self.context.store.put(MAPPING, "u", document)
        self.poller.set(document)
        return document

    def put(self, *texts: str, keys: Sequence[str] = ("k",)) -> None:
        self.streams.put(ARN, [Put(text.encode(), keys[number % len(keys)]) for number, text in enumerate(texts)])

    def pass_time(self, seconds: float = 0) -> None:
        """Let what is under way end, and what falls due in some time."""
        self.context.timetable.advance(seconds)

    def close(self) -> None:
        self.poller.close()
        self.poller.join()
        self.streams.close()


@pytest.fixture
def make(tmp_path: Path) -> Any:
    made: list[Feeding] = []

    def feeding(handle: Callable[[Sequence[str]], Any] = lambda texts: None, folder: Path = tmp_path) -> Feeding:
        made.append(Feeding.of(folder, handle))
        return made[-1]

    yield feeding
    for one in made:
        one.close()


def test_batches_are_as_long_as_they_may_be(make: Callable[..., Feeding]) -> None:
    feeding = make()
    feeding.put(*"abcdefg")
    feeding.map(BatchSize=3)
    feeding.pass_time()
    assert feeding.function.given == [["a", "b", "c"], ["d", "e", "f"], ["g"]]
    assert feeding.function.ages == [0, 0, 0]


def test_a_batch_fits_into_an_event(make: Callable[..., Feeding]) -> None:
    feeding = make()
    feeding.put(*["x" * 1_000_000] * 6)
    feeding.map()
    feeding.pass_time()
    assert [len(texts) for texts in feeding.function.given] == [4, 2]


def test_a_failed_batch_holds_up_what_follows_and_is_tried_again_as_it_was(make: Callable[..., Feeding]) -> None:
    answers = iter([False, False, True])

    def handle(texts: Sequence[str]) -> None:
        if texts == ["a", "b"] and not next(answers):
            raise ValueError

    feeding = make(handle)
    feeding.map()
    feeding.put("a", "b")
    feeding.pass_time()
    feeding.put("c")
    feeding.pass_time()
    assert feeding.function.given == [["a", "b"]]
    feeding.pass_time(10)
    assert feeding.function.given == [["a", "b"]] * 3 + [["c"]]
    assert feeding.function.ages[-1] > 0
    stored = feeding.context.store.get(MAPPING, "u")
    assert stored is not None
    assert stored["LastProcessingResult"] == "OK"


def test_without_limits_a_batch_is_tried_until_its_time_is_over(make: Callable[..., Feeding]) -> None:
    def fail(texts: Sequence[str]) -> None:
        if "a" in texts:
            raise ValueError

    feeding = make(fail)
    feeding.map()
    feeding.put("a")
    feeding.pass_time(23 * 3600)
    feeding.put("b")
    assert set(map(tuple, feeding.function.given)) == {("a",)}
    feeding.pass_time(2 * 3600)
    assert feeding.function.given[-1] == ["b"]


def test_a_function_that_cannot_be_called_uses_up_no_retry(make: Callable[..., Feeding]) -> None:
    feeding = make()
    calls = iter(range(100))

    class Throttled(Function):
        def invoke(self, name: str, payload: bytes) -> Outcome:
            if next(calls) < 5:
                raise ServiceError("TooManyRequestsException", "Rate Exceeded.", 429)
            return super().invoke(name, payload)

    function = Throttled(lambda texts: None)
    poller = StreamPoller(feeding.context, function, function, feeding.streams)  # type: ignore[arg-type]
    feeding.poller, feeding.function = poller, function
    feeding.map(MaximumRetryAttempts=0)
    feeding.put("a")
    feeding.pass_time(60)
    assert function.given == [["a"]]
    assert feeding.told == []


def test_a_changed_mapping_goes_on_where_it_was(make: Callable[..., Feeding]) -> None:
    feeding = make()
    document = feeding.map(BatchSize=2)
    feeding.put(*"abc")
    feeding.pass_time()
    feeding.poller.set({**document, "State": "Disabled"})
    feeding.put("d")
    feeding.pass_time()
    assert feeding.function.given == [["a", "b"], ["c"]]
    feeding.poller.set({**document, "BatchSize": 1})
    feeding.put("e")
    feeding.pass_time()
    assert feeding.function.given == [["a", "b"], ["c"], ["d"], ["e"]]
    feeding.poller.drop("u")
    feeding.put("f")
    feeding.pass_time()
    assert feeding.function.given[-1] == ["e"]


def test_a_mapping_that_is_changed_within_a_batch_waits_for_its_end(make: Callable[..., Feeding]) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def handle(texts: Sequence[str]) -> None:
        begun.set()
        assert may_end.wait(30)

    feeding = make(handle)
    document = feeding.map()
    feeding.put("a")
    assert begun.wait(30)
    for size in (5, 6, 7):
        feeding.poller.set({**document, "BatchSize": size})
    feeding.put("b")
    assert feeding.function.given == [["a"]]
    may_end.set()
    feeding.pass_time()
    assert feeding.function.given == [["a"], ["b"]]


def test_the_next_localcloud_goes_on_after_the_last_batch(make: Callable[..., Feeding], tmp_path: Path) -> None:
    first = make()
    document = first.map()
    first.put("a", "b")
    first.pass_time()
    first.close()
    second = make(folder=tmp_path)
    second.poller.set(document)
    second.put("c")
    second.pass_time()
    assert second.function.given == [["c"]]


def test_more_lanes_begin_where_the_last_of_them_was(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.sqlite")
    one = Positions(store, "u", 5, 1)
    assert one.get(0, 0) == 5
    one.put(0, 0, 20)
    three = Positions(store, "u", 5, 3)
    assert [three.get(0, lane) for lane in range(3)] == [20, 20, 20]
    three.put(0, 0, 30)
    three.put(0, 2, 25)
    assert [Positions(store, "u", 5, 3).get(0, lane) for lane in range(3)] == [30, 20, 25]
    assert [Positions(store, "u", 5, 2).get(0, lane) for lane in range(2)] == [20, 20]
    assert Positions(store, "uu", 7, 2).get(0, 0) == 7
    forget(store, "u")
    assert Positions(store, "u", 5, 2).get(0, 0) == 5
    store.close()


def test_a_lane_without_a_position_counts_from_the_start(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.sqlite")
    Positions(store, "u", 5, 2).put(0, 1, 20)
    assert Positions(store, "u", 5, 1).get(0, 0) == 5
    store.close()


def test_a_key_s_lane_is_always_the_same() -> None:
    keys = [str(number) for number in range(200)]
    assert {lane_of(key, 1) for key in keys} == {0}
    assert {lane_of(key, 10) for key in keys} == set(range(10))
    assert [lane_of(key, 10) for key in keys] == [lane_of(key, 10) for key in keys]


@settings(max_examples=30)
@given(data=st.data())
def test_what_is_not_handled_is_given_up_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever fails, however often, however records come and shards are divided: each record is handled once at
    least, or told of, and their order is kept."""
    count = data.draw(st.integers(min_value=1, max_value=25), label="records")
    poison = data.draw(st.sets(st.integers(min_value=0, max_value=count - 1), max_size=3), label="poison")
    reports = data.draw(st.booleans(), label="reports")
    handled: list[int] = []

    def handle(texts: Sequence[str]) -> Sequence[int]:
        numbers = [int(text) for text in texts]
        bad = [place for place, number in enumerate(numbers) if number in poison]
        if bad and not reports:
            raise ValueError
        handled.extend(numbers[: bad[0]] if bad else numbers)
        return bad

    feeding = Feeding.of(tmp_path_factory.mktemp("feeding"), handle)
    bisect = data.draw(st.booleans(), label="bisect")
    members = {
        "BatchSize": data.draw(st.integers(min_value=1, max_value=10), label="size"),
        "BisectBatchOnFunctionError": bisect,
        "MaximumRetryAttempts": data.draw(st.integers(min_value=0, max_value=2), label="retries"),
        "MaximumBatchingWindowInSeconds": data.draw(st.sampled_from([0, 5]), label="window"),
        "FunctionResponseTypes": ["ReportBatchItemFailures"] if reports else [],
        "DestinationConfig": {"OnFailure": {"Destination": DEAD}},
    }
    feeding.map(**members)
    sizes = data.draw(st.lists(st.integers(min_value=1, max_value=8), min_size=1, max_size=10), label="puts")
    numbers, number = [str(one) for one in range(count)], 0
    while numbers:
        size = sizes[number % len(sizes)]
        feeding.put(*numbers[:size])
        numbers, number = numbers[size:], number + 1
        stream = feeding.streams.named(ARN)
        if number % 3 == 0 and len(stream.open_shards) < 4:
            shard = stream.open_shards[0]
            middle = (shard.first_hash + shard.last_hash) // 2
            position = feeding.streams.new_position()
            feeding.streams.change(ARN, lambda one, s=shard, m=middle, p=position: one.split(s, m, p, 0))  # type: ignore[misc]
    feeding.pass_time(3600)
    feeding.close()
    given_up = sum(told["KinesisBatchInfo"]["batchSize"] for told in feeding.told)
    assert handled == sorted(handled)
    assert len(handled) == len(set(handled)) == count - given_up
    assert not poison & set(handled)
    if bisect:
        assert given_up == len(poison)


def test_where_a_report_cuts_a_batch_the_rest_is_tried_before_it_is_given_up(tmp_path: Path) -> None:
    """Without any retry: one record fails, and the one after it is handled."""
    handled: list[str] = []

    def handle(texts: Sequence[str]) -> Sequence[int]:
        bad = [place for place, text in enumerate(texts) if text == "bad"]
        handled.extend(texts[: bad[0]] if bad else texts)
        return bad

    feeding = Feeding.of(tmp_path, handle)
    feeding.map(
        BatchSize=3,
        BisectBatchOnFunctionError=True,
        MaximumRetryAttempts=0,
        FunctionResponseTypes=["ReportBatchItemFailures"],
        DestinationConfig={"OnFailure": {"Destination": DEAD}},
    )
    feeding.put("a", "bad", "b")
    feeding.pass_time(60)
    feeding.close()
    assert handled == ["a", "b"]
    assert [told["KinesisBatchInfo"]["batchSize"] for told in feeding.told] == [1]


class Mortal:
    """Handles so many batches, and then localcloud stops: what a kill cuts off ends as a failed call."""

    def __init__(self, batches: int, handled: list[list[str]]) -> None:
        self._left, self._handled = batches, handled
        self.die: Callable[[], None] = lambda: None

    def __call__(self, texts: Sequence[str]) -> None:
        if not self._left:
            self.die()
            raise ValueError
        self._left -= 1
        self._handled.append(list(texts))


@settings(max_examples=20)
@given(data=st.data())
def test_after_kills_nothing_is_lost(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """A process that ends within a batch: the next one begins with that batch, and with nothing before it."""
    folder = tmp_path_factory.mktemp("feeding")
    count = data.draw(st.integers(min_value=1, max_value=30), label="records")
    kills = data.draw(st.lists(st.integers(min_value=1, max_value=4), max_size=4), label="batches before each kill")
    size = data.draw(st.integers(min_value=1, max_value=7), label="size")
    handled: list[list[str]] = []
    document: dict[str, Any] = {}
    for number, batches in enumerate([*kills, 1000]):
        mortal = Mortal(batches, handled)
        feeding = Feeding.of(folder, mortal)
        mortal.die = feeding.poller.close
        if number == 0:
            document = feeding.map(BatchSize=size, MaximumRetryAttempts=0)
            feeding.put(*(str(one) for one in range(count)))
        else:
            feeding.poller.set(document)
        feeding.pass_time(60)
        feeding.close()
    assert [int(text) for batch in handled for text in batch] == list(range(count))


def test_what_is_told_of_what_is_given_up(make: Callable[..., Feeding]) -> None:
    def fail(texts: Sequence[str]) -> None:
        raise ValueError

    feeding = make(fail)
    feeding.map(MaximumRetryAttempts=2, DestinationConfig={"OnFailure": {"Destination": DEAD}})
    feeding.put("a", "b")
    feeding.pass_time(60)
    first, last = feeding.streams.read(ARN, 0)
    (told,) = feeding.told
    assert told.pop("timestamp") > "2026-01-01T00:00:00.250Z"
    assert told == {
        "requestContext": {
            "requestId": "id",
            "functionArn": FUNCTION,
            "condition": "RetryAttemptsExhausted",
            "approximateInvokeCount": 3,
        },
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "version": "1.0",
        "KinesisBatchInfo": {
            "shardId": "shardId-000000000000",
            "startSequenceNumber": f"4965{first.position:052d}",
            "endSequenceNumber": f"4965{last.position:052d}",
            "approximateArrivalOfFirstRecord": "2026-01-01T00:00:00.000Z",
            "approximateArrivalOfLastRecord": "2026-01-01T00:00:00.000Z",
            "batchSize": 2,
            "streamArn": ARN,
        },
    }


def test_where_mappings_begin(make: Callable[..., Feeding]) -> None:
    feeding = make()
    feeding.put("a")
    begin = feeding.kind.begin
    document = {"EventSourceArn": ARN}
    assert begin({**document, "StartingPosition": "TRIM_HORIZON"}) == {START_AFTER: 0}
    assert begin({**document, "StartingPosition": "LATEST"}) == {START_AFTER: feeding.streams.latest}
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    since = {**document, "StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": moment}
    (record,) = feeding.streams.read(ARN, begin(since)[START_AFTER])
    assert record.data == b"a"
    with pytest.raises(ServiceError, match="must not be in the future"):
        begin({**since, "StartingPositionTimestamp": moment.replace(year=2027)})


def test_a_deleted_stream_is_a_problem_and_no_end(make: Callable[..., Feeding]) -> None:
    feeding = make()
    feeding.map()
    stream = feeding.streams.named(ARN)
    feeding.streams.delete(ARN)
    feeding.pass_time(10)
    stored = feeding.context.store.get(MAPPING, "u")
    assert stored is not None
    assert stored["LastProcessingResult"] == "PROBLEM: Stream s under account 123456789012 not found."
    feeding.streams.create(replace(stream, table=feeding.streams.new_position()))
    feeding.put("a")
    feeding.pass_time()
    assert feeding.function.given == [["a"]]
