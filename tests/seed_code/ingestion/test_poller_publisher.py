"""Publishing: every entry's result counts, nothing is lost, nothing waits for what will never go."""

import asyncio
import json
import threading

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from hypothesis import given, settings
from hypothesis import strategies as st

from seed_code.ingestion.poller.entries import Entry, of_observation
from seed_code.ingestion.poller.observation import Observation
from seed_code.ingestion.poller.publisher import Publisher
from seed_code.ingestion.poller.spool import Spool
from seed_code.ingestion.poller.tally import Tally
from tests.seed_code.ingestion.poller_doubles import NOW, Bus, Time, tx

DOWN = EndpointConnectionError(endpoint_url="https://events")


def entry(number, length=0):
    return Entry("T", json.dumps({"n": number, "fill": "x" * length}))


def numbers(taken):
    return [json.loads(one["Detail"])["n"] for one in taken]


def refused(code, status=400):
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "PutEvents")


@pytest.fixture
def spool(tmp_path):
    made = Spool(tmp_path, 50_000_000)
    yield made
    made.close()


def drained(bus, spool, *made):
    """What a publisher does with entries: its clock and its tally."""
    time, tally = Time(), Tally()
    spool.append(made)
    publisher = Publisher(bus, "the-bus", spool, tally, sleep=time.sleep, monotonic=time.monotonic)
    asyncio.run(publisher.drain())
    assert len(spool) == 0
    return time, tally


def test_entries_go_in_order_ten_at_a_time_and_within_a_requests_size(spool):
    bus = Bus()
    drained(bus, spool, *(entry(at) for at in range(12)), *(entry(at, 400_000) for at in range(12, 16)))
    assert numbers(bus.taken) == list(range(16))
    assert [len(request) for request in bus.requests] == [10, 4, 2]
    assert bus.requests[0][0] == {
        "EventBusName": "the-bus",
        "Source": "mlops.ingestion",
        "DetailType": "T",
        "Detail": entry(0).detail,
    }


def test_only_what_was_not_taken_is_sent_again(spool):
    bus = Bus({1: "ThrottlingException", 3: "InternalFailure"})
    time, _ = drained(bus, spool, *(entry(at) for at in range(5)))
    assert [numbers(request) for request in bus.requests] == [[0, 1, 2, 3, 4], [1, 3]]
    assert time.slept == [0.2]


def test_a_bus_that_takes_nothing_is_left_alone_for_longer_and_longer(spool, caplog):
    throttled = refused("ThrottlingException")
    bus = Bus(*[DOWN, throttled, refused("ResourceNotFoundException"), refused("AccessDeniedException", 403)] * 5)
    time, tally = drained(bus, spool, entry(1))
    assert numbers(bus.taken) == [1]
    assert len(time.slept) == 20
    assert all(wait <= min(5, 0.2 * 2**at) for at, wait in enumerate(time.slept))
    assert max(time.slept) > 1.5
    assert len(caplog.messages) == 2  # that it began, and that it ended
    assert "the bus the-bus takes nothing (An error occurred (ResourceNotFoundException)" in caplog.messages[0]
    assert "takes events again" in caplog.messages[1]
    assert tally.counts["Dropped"] == 0


def test_a_single_failure_is_nothing_to_speak_of(spool, caplog):
    drained(Bus(DOWN, {}, DOWN, DOWN), spool, entry(1), *(entry(at, 900_000) for at in range(2, 5)))
    assert caplog.messages == []


def test_a_request_whose_entries_all_fail_is_such_a_failure(spool):
    bus = Bus({0: "ThrottlingException", 1: "ThrottlingException"})
    time, _ = drained(bus, spool, entry(1), entry(2))
    assert [len(request) for request in bus.requests] == [2, 2]
    assert len(time.slept) == 1


def test_a_bus_that_takes_a_part_each_time_is_not_left_alone(spool):
    """Else its entries would come faster than they go."""
    bus = Bus(*[{at: "ThrottlingException" for at in range(1, 10)}] * 30)
    time, _ = drained(bus, spool, *(entry(at) for at in range(30)))
    assert set(time.slept) <= {0.2}


def test_results_that_are_not_one_for_each_entry_are_a_failure(spool):
    answers = [[], [{"EventId": "1"}]]
    drained(lambda batch: answers.pop(0), spool, entry(1))
    assert answers == []


def test_an_entry_that_is_malformed_goes_without_what_nobody_needs(spool, caplog):
    (whole,) = of_observation(Observation(NOW, [tx(1)]))
    bus = Bus({1: "MalformedDetail"})
    _, tally = drained(bus, spool, entry(1), whole, entry(2))
    assert [len(request) for request in bus.requests] == [3, 1]
    assert json.loads(bus.taken[-1]["Detail"])["transactions"] == [
        {"hash": tx(1)["hash"], "time": NOW, "fee": 1000, "trimmed": True}
    ]
    assert tally.counts["Dropped"] == 0
    assert "the bus refuses an entry (MalformedDetail: as told)" in caplog.text


def test_an_entry_that_is_malformed_for_good_is_given_up_and_counted(spool, caplog):
    (whole,) = of_observation(Observation(NOW, [tx(1)]))
    bus = Bus({0: "MalformedDetail"}, {0: "InvalidArgument"})
    _, tally = drained(bus, spool, whole)
    assert bus.taken == []
    assert tally.counts["Dropped"] == 1
    assert f'which is given up: {{"schema_version":1,"observed_at":{NOW}' in caplog.text


def test_a_request_that_is_refused_for_one_entry_is_sent_one_by_one_until_it_is_found(spool):
    def picky(batch):
        if "poison" in json.dumps(batch):
            raise refused("ValidationException")
        return {}

    bus = Bus(*[picky] * 9)
    _, tally = drained(bus, spool, entry(1), entry("poison"), entry(2), entry(3))
    assert numbers(bus.taken) == [1, 2, 3]
    assert tally.counts["Dropped"] == 1


def test_a_request_that_is_too_large_is_sent_one_by_one(spool):
    bus = Bus(refused("RequestEntityTooLargeException", 413))
    drained(bus, spool, entry(1), entry(2))
    assert [len(request) for request in bus.requests] == [2, 1, 1]


@settings(max_examples=30)
@given(st.lists(st.one_of(st.just(DOWN), st.dictionaries(st.integers(0, 9), st.just("InternalFailure"))), max_size=15))
def test_whatever_fails_each_entry_is_taken_exactly_once(tmp_path_factory, plans):
    spool = Spool(tmp_path_factory.mktemp("spool"), 50_000_000)
    bus = Bus(*plans)
    drained(bus, spool, *(entry(at) for at in range(25)))
    assert sorted(numbers(bus.taken)) == list(range(25))
    spool.close()


def test_it_runs_until_cancelled_and_wakes_for_what_comes(spool):
    async def run():
        bus = Bus()
        publisher = Publisher(bus, "bus", spool, Tally())
        running = asyncio.create_task(publisher.run())
        for number in range(3):
            spool.append([entry(number)])
            publisher.wake()
            while len(spool):
                await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return bus

    assert numbers(asyncio.run(run()).taken) == [0, 1, 2]


def test_a_backlog_goes_slowly_so_that_its_order_is_kept_but_not_at_the_end(spool):
    """What is on the bus at the same time overtakes each other."""
    bus, time = Bus(), Time()
    spool.append([entry(at) for at in range(35)])
    publisher = Publisher(bus, "the-bus", spool, Tally(), sleep=time.sleep, monotonic=time.monotonic)

    async def drained_twice():
        await publisher.drain(1.0)
        assert time.slept == [1.0, 1.0], "none before the last request"
        spool.append([entry(at) for at in range(35, 70)])
        await publisher.drain()

    asyncio.run(drained_twice())
    assert numbers(bus.taken) == list(range(70))
    assert time.slept == [1.0, 1.0]


def test_a_request_under_way_when_it_is_told_to_stop_is_not_sent_again(spool):
    async def run():
        begun, go_on = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()
        bus = Bus()

        def slow(batch):
            loop.call_soon_threadsafe(begun.set)
            assert go_on.wait(60)
            return bus(batch)

        publisher = Publisher(slow, "bus", spool, Tally())
        spool.append([entry(1), entry(2)])
        running = asyncio.create_task(publisher.run())
        await begun.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        draining = asyncio.create_task(publisher.drain())
        await asyncio.sleep(0)
        go_on.set()
        await draining
        return bus

    assert [numbers(request) for request in asyncio.run(run()).requests] == [[1, 2]]


def test_what_an_earlier_process_left_goes_first(tmp_path):
    before = Spool(tmp_path, 1_000_000)
    before.append([entry(1)])
    before.close()
    bus, spool = Bus(), Spool(tmp_path, 1_000_000)
    drained(bus, spool, entry(2))
    assert numbers(bus.taken) == [1, 2]
    spool.close()
