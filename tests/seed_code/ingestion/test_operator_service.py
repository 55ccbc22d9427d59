"""The operator as a service: all shards in one order, every row written, and nothing lost wherever it is cut off."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seed_code.common.errors import ClientError
from seed_code.common.objects import Objects
from seed_code.ingestion.operator import lines
from seed_code.ingestion.operator.__main__ import Settings
from seed_code.ingestion.operator.checkpoints import Checkpoint, Checkpoints
from seed_code.ingestion.operator.service import CHECKPOINT_SECONDS, POLL_SECONDS, Operator
from seed_code.ingestion.operator.shards import QUIET_EVERY, QUIET_TURNS, Shards
from seed_code.ingestion.operator.sink import Sink
from seed_code.ingestion.operator.windows import Event, Minutes
from tests.seed_code.ingestion.fake_kinesis import FakeKinesis, FakeS3

T = 1_763_820_180
URI = "s3://bucket/ingestion/operator"


def data(event: Event) -> bytes:
    name, time, fee = event
    return lines.encode({"hash": name, "time": time, "fee": fee})


def ramp(count: int, step: int = 7) -> list[Event]:
    return [(f"h{index}", T + index * step, index) for index in range(count)]


class Killed(BaseException):
    """The operator's process is no more."""


class Surroundings:
    """A clock that `wait` moves, and what was logged."""

    def __init__(self, kinesis: FakeKinesis, s3: FakeS3) -> None:
        self.kinesis, self.s3 = kinesis, s3
        self.now = 0.0
        self.end_at = self.kill_at = float("inf")
        self.told: list[tuple[str, dict[str, Any]]] = []

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        if self.now >= self.kill_at:
            raise Killed
        return self.now >= self.end_at

    def operator(self, created: str = "1") -> Operator:
        """An operator that goes on where the checkpoint says."""
        checkpoints = Checkpoints(Objects(self.s3), URI, "transactions", created)
        checkpoint, _ = checkpoints.load(30)
        tell: Callable[[str, dict[str, Any]], None] = lambda message, more: self.told.append((message, more))  # noqa: E731
        return Operator(
            Shards(self.kinesis, "transactions", checkpoint.position),
            Sink(self.kinesis, "minutes", self.wait, tell),
            checkpoints,
            checkpoint,
            seconds=lambda: self.now,
            wait=self.wait,
            tell=tell,
        )

    def live(self, seconds: float, killed: bool) -> None:
        """An operator for so long."""
        end = self.now + seconds
        self.end_at, self.kill_at = (float("inf"), end) if killed else (end, float("inf"))
        with contextlib.suppress(Killed):
            self.operator().run()

    def written(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.kinesis.written]


@pytest.fixture
def surroundings() -> Surroundings:
    return Surroundings(FakeKinesis(), FakeS3())


def test_rows_are_written_with_the_turn_that_reads_what_closes_them(surroundings: Surroundings) -> None:
    events = ramp(60)
    for event in events:
        surroundings.kinesis.put(data(event))
    assert surroundings.operator().turn()
    assert surroundings.written() == Minutes(30).feed(events)


def test_broken_lines_are_left_out_and_told(surroundings: Surroundings) -> None:
    for line in (b"{", data(("a", T, 1)), b"[]\n", data((None, T + 90, None))):
        surroundings.kinesis.put(line)
    assert surroundings.operator().turn()
    assert [found["total_nb_trx_1min"] for found in surroundings.written()] == [1]
    assert surroundings.told == [("lines that are no transactions were left out", {"lines": 2})]


def test_the_end_leaves_a_checkpoint_from_which_another_goes_on(surroundings: Surroundings) -> None:
    events = ramp(60)
    for event in events[:25]:
        surroundings.kinesis.put(data(event))
    surroundings.end_at = POLL_SECONDS
    surroundings.operator().run()
    for event in events[25:]:
        surroundings.kinesis.put(data(event))
    surroundings.operator().run()
    assert surroundings.written() == Minutes(30).feed(events)


def test_a_checkpoint_is_kept_every_few_seconds_and_only_when_something_came(surroundings: Surroundings) -> None:
    surroundings.kinesis.put(data(("a", T, 1)))
    surroundings.end_at = 2.5 * CHECKPOINT_SECONDS
    surroundings.operator().run()
    assert surroundings.s3.puts == 1


def test_a_checkpoint_that_fails_is_told_and_tried_again(surroundings: Surroundings) -> None:
    surroundings.kinesis.put(data(("a", T, 1)))
    surroundings.s3.failing = {1}
    surroundings.end_at = 2 * CHECKPOINT_SECONDS
    surroundings.operator().run()
    assert surroundings.s3.puts == 2
    assert [message for message, _ in surroundings.told] == ["a turn failed and is tried again"]


def test_rows_that_fail_alone_are_tried_again_and_the_others_are_not(surroundings: Surroundings) -> None:
    for event in ramp(60):
        surroundings.kinesis.put(data(event))
    surroundings.kinesis.partial = [2, 1]
    assert surroundings.operator().turn()
    rows = surroundings.written()
    assert len(rows) == len({found["tx_minute"] for found in rows}) == len(Minutes(30).feed(ramp(60)))
    assert [message for message, _ in surroundings.told] == ["rows could not be written yet"] * 2
    assert surroundings.told[0][1]["reason"] == "ProvisionedThroughputExceededException: slow down"


def test_no_checkpoint_forgets_a_minute_whose_row_was_not_written(surroundings: Surroundings) -> None:
    for event in ramp(60):
        surroundings.kinesis.put(data(event))
    surroundings.kinesis.faults["PutRecords"] = ["InternalFailure"] * 1000
    surroundings.end_at = 100.0
    surroundings.operator().run()
    assert surroundings.s3.puts == 0
    assert surroundings.written() == []
    surroundings.kinesis.faults.clear()
    surroundings.operator().run()
    assert surroundings.written() == Minutes(30).feed(ramp(60))


@pytest.mark.parametrize("code", ["ExpiredIteratorException", "ProvisionedThroughputExceededException"])
def test_an_iterator_that_expired_and_a_throttle_cost_a_turn(surroundings: Surroundings, code: str) -> None:
    surroundings.kinesis.page = 20
    for event in ramp(60):
        surroundings.kinesis.put(data(event))
    surroundings.kinesis.faults["GetRecords"] = [None, code, code, None]
    surroundings.end_at = 20 * POLL_SECONDS
    surroundings.operator().run()
    assert surroundings.written() == Minutes(30).feed(ramp(60))
    assert surroundings.told == []


def test_other_errors_are_told_and_tried_again_more_and_more_slowly(surroundings: Surroundings) -> None:
    surroundings.kinesis.put(data(("a", T, 1)))
    surroundings.kinesis.faults["GetRecords"] = ["InternalFailure", "AccessDeniedException"]
    surroundings.end_at = 5.0
    surroundings.operator().run()
    assert [more["seconds"] for _, more in surroundings.told] == [2 * POLL_SECONDS, 4 * POLL_SECONDS]
    assert "AccessDeniedException" in surroundings.told[1][1]["reason"]
    assert surroundings.s3.puts == 1


def test_children_of_a_split_and_of_a_merge_come_after_their_parents(surroundings: Surroundings) -> None:
    kinesis = surroundings.kinesis
    kinesis.page = 5
    events = ramp(90)
    for event in events[:30]:
        kinesis.put(data(event))
    kinesis.reshard(("shardId-0",), ("shardId-1", "shardId-2"))
    for number, event in enumerate(events[30:60]):
        kinesis.put(data(event), f"shardId-{1 + number % 2}")
    kinesis.reshard(("shardId-1", "shardId-2"), ("shardId-3",))
    for event in events[60:]:
        kinesis.put(data(event), "shardId-3")
    surroundings.end_at = 60 * POLL_SECONDS
    surroundings.operator().run()
    assert surroundings.written() == Minutes(30).feed(events)


def test_shards_that_the_stream_no_longer_has_are_forgotten() -> None:
    kinesis = FakeKinesis(shards={})
    kinesis.reshard((), ("shardId-7",))
    kinesis.put(b"one", "shardId-7")
    shards = Shards(kinesis, "transactions", {"shardId-1": "ended", "shardId-2": "0000000003"})
    assert shards.read() == [b"one"]
    assert shards.position == {"shardId-7": "0000000000"}


def test_a_shard_that_is_behind_holds_back_those_that_may_be_ahead_of_it() -> None:
    kinesis = FakeKinesis(page=2, shards={})
    kinesis.reshard((), ("a", "b"))
    for second in (0, 2, 4, 6):
        kinesis.put(b"a%d" % second, "a", second)
    for second in (1, 3):
        kinesis.put(b"b%d" % second, "b", second)
    shards = Shards(kinesis, "transactions", {})
    assert shards.read() == [b"a0", b"b1", b"a2"]
    assert shards.position == {"a": "0000000001", "b": "0000000004"}
    assert shards.read() == [b"b3", b"a4", b"a6"]
    assert shards.behind_ms == 0


def test_shards_that_stay_quiet_are_asked_less_often_and_still_heard() -> None:
    kinesis = FakeKinesis(shards={})
    kinesis.reshard((), ("a", "b"))
    shards = Shards(kinesis, "transactions", {})
    for _ in range(QUIET_TURNS):
        assert shards.read() == []
    asked = kinesis.calls
    for turn in range(10 * QUIET_EVERY):
        kinesis.put(b"%d" % turn, "a")
        shards.read()
    assert kinesis.calls - asked <= 10 * QUIET_EVERY + 10
    kinesis.put(b"heard", "b")
    assert b"heard" in [data for _ in range(QUIET_EVERY) for data in shards.read()]


def test_a_stream_made_anew_is_read_from_its_beginning(surroundings: Surroundings) -> None:
    surroundings.kinesis.put(data(("a", T, 1)))
    surroundings.end_at = POLL_SECONDS
    surroundings.operator().run()
    another = Surroundings(FakeKinesis(), surroundings.s3)
    for event in (("b", T + 1, 2), (None, T + 90, None)):
        another.kinesis.put(data(event))
    assert another.operator(created="2").turn()
    assert [found["total_nb_trx_1min"] for found in another.written()] == [2]


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"version": 2}', b'{"version": 1}'])
def test_an_object_that_is_no_checkpoint_is_refused_with_what_to_do(content: bytes) -> None:
    s3 = FakeS3()
    s3.put_object(Bucket="bucket", Key="ingestion/operator/checkpoint.json", Body=content)
    with pytest.raises(ClientError, match=r"is no checkpoint of the operator: .*`aws s3 rm s3://bucket/.*`"):
        Checkpoints(Objects(s3), URI, "transactions", "1").load(30)


def test_a_checkpoint_comes_back_as_it_was() -> None:
    s3 = FakeS3()
    checkpoints = Checkpoints(Objects(s3), URI, "transactions", "1")
    minutes = Minutes(30)
    minutes.feed(ramp(20))
    checkpoints.save(Checkpoint({"shardId-0": "7"}, minutes))
    loaded, found = checkpoints.load(30)
    assert found
    assert loaded.position == {"shardId-0": "7"}
    assert loaded.minutes.snapshot() == minutes.snapshot()


@settings(max_examples=40, deadline=None)
@given(
    behind=st.lists(st.sampled_from([0, 0, 20, 200]), min_size=60, max_size=60),
    errors=st.lists(st.sampled_from([None, None, "ExpiredIteratorException", "InternalFailure"]), max_size=12),
    refusals=st.lists(st.sampled_from([None, "InternalFailure"]), max_size=4),
    partial=st.lists(st.integers(0, 2), max_size=4),
    lives=st.lists(st.tuples(st.floats(0.1, 20), st.booleans(), st.integers(0, 20)), max_size=6),
)
def test_wherever_it_is_cut_off_the_rows_are_those_of_one_that_never_was(
    behind: list[int],
    errors: list[str | None],
    refusals: list[str | None],
    partial: list[int],
    lives: list[tuple[float, bool, int]],
) -> None:
    """Killed without a word or ended, with throttles and failures between: rows repeat, and none differs.

    lives: of one operator after the other: seconds, whether it is killed after them, and how many records come.
    """
    events: list[Event] = [(f"h{number}", T + 9 * number - late, number) for number, late in enumerate(behind)]
    around = Surroundings(FakeKinesis(page=7), FakeS3())
    around.kinesis.faults = {"GetRecords": errors, "PutRecords": refusals}
    around.kinesis.partial = partial
    left = iter(events)
    for seconds, killed, count in lives:
        for event in itertools.islice(left, count):
            around.kinesis.put(data(event))
        around.live(seconds, killed)
    for event in left:
        around.kinesis.put(data(event))
    around.live(120, False)
    expected = Minutes(30).feed(events)
    assert {json.dumps(found) for found in around.written()} == {json.dumps(found) for found in expected}


def test_all_that_is_wrong_with_the_environment_is_said_at_once() -> None:
    with pytest.raises(
        ClientError, match=r"MINUTES_STREAM is not set; LATENESS_SECONDS is `-1`.*CHECKPOINT_URI: `file"
    ):
        Settings.of({"TRANSACTIONS_STREAM": "t", "LATENESS_SECONDS": "-1", "CHECKPOINT_URI": "file:///x"})


def test_the_environment_is_what_the_contract_says() -> None:
    environ = {
        "TRANSACTIONS_STREAM": "p-transactions",
        "MINUTES_STREAM": "p-minutes",
        "LATENESS_SECONDS": "30",
        "CHECKPOINT_URI": URI,
    }
    assert Settings.of(environ) == Settings("p-transactions", "p-minutes", 30, URI)
