"""Which server a request goes to."""

from __future__ import annotations

import threading

import pytest

from localcloud.sagemaker.endpoints.traffic import NoServer, NoSuchVariant, Route, TooMany, Traffic, Variant
from tests.localcloud.endpoints.servers import Cluster, FakeInstance


def variant(name: str, count: int = 1, weight: float = 1.0, concurrency: int | None = None) -> Variant:
    """A variant whose servers all serve."""
    traffic = Traffic()
    instances = [FakeInstance(Cluster(), f"{name}/{number}", traffic.changed) for number in range(count)]
    for instance in instances:
        instance.serving = True
    return Variant(name, weight, list(instances), concurrency=concurrency)


def picked(traffic: Traffic, count: int, name: str | None = None) -> list[Variant]:
    """The variants of so many requests."""
    found = []
    for _ in range(count):
        with traffic.pick(name, 0) as (chosen, _):
            found.append(chosen)
    return found


def test_parts_are_exact() -> None:
    old, new = variant("v"), variant("v")
    traffic = Traffic()
    traffic.route([Route(old, 0.9), Route(new, 0.1)])
    assert [picked(traffic, 10).count(new) for _ in range(5)] == [1] * 5
    assert picked(traffic, 20, "v").count(new) == 2


def test_weights_and_parts_multiply() -> None:
    a, b, c = variant("a", weight=3), variant("b"), variant("a", weight=3)
    traffic = Traffic()
    traffic.route([Route(a, 0.5), Route(b, 1.0), Route(c, 0.5)])
    found = picked(traffic, 8)
    assert (found.count(a), found.count(b), found.count(c)) == (3, 2, 3)


def test_the_least_busy_server_is_next_and_of_equals_the_one_that_rested_longest() -> None:
    three = variant("v", count=3)
    traffic = Traffic()
    traffic.route([Route(three, 1.0)])
    first, second, third = three.instances
    with traffic.pick(None, 0) as (_, one), traffic.pick(None, 0) as (_, two):
        assert (one, two) == (first, second)
        with traffic.pick(None, 0) as (_, other):
            assert other is third
        with traffic.pick(None, 0) as (_, other):
            assert other is third
    assert [instance.busy for instance in three.instances] == [0, 0, 0]
    with traffic.pick(None, 0) as (_, one):
        assert one is first


def test_a_fleet_without_servers_is_gone_round() -> None:
    old, new = variant("v"), variant("v")
    traffic = Traffic()
    traffic.route([Route(old, 0.0), Route(new, 1.0)])
    new.instances[0].serving = False
    assert picked(traffic, 3) == [old] * 3
    old.instances[0].serving = False
    with pytest.raises(NoServer):
        picked(traffic, 1)


def test_what_cannot_be_served_is_told_apart() -> None:
    traffic = Traffic()
    with pytest.raises(NoServer):
        picked(traffic, 1)
    one = variant("v", concurrency=1)
    traffic.route([Route(one, 1.0)])
    with pytest.raises(NoSuchVariant):
        picked(traffic, 1, "w")
    with traffic.pick(None, 0), pytest.raises(TooMany):
        picked(traffic, 1)
    assert picked(traffic, 1) == [one]


def test_requests_wait_for_servers_that_are_coming() -> None:
    traffic, one = Traffic(), variant("v")
    assert not traffic.is_open
    traffic.await_servers()
    assert traffic.is_open
    found: list[Variant] = []
    waiting = threading.Thread(target=lambda: found.extend(picked_in_time(traffic)))
    waiting.start()
    traffic.route([Route(one, 1.0)])
    waiting.join()
    assert found == [one]


def picked_in_time(traffic: Traffic) -> list[Variant]:
    with traffic.pick(None, 30) as (chosen, _):
        return [chosen]


def test_draining_waits_for_requests() -> None:
    traffic, one = Traffic(), variant("v")
    traffic.route([Route(one, 1.0)])
    gate, begun = threading.Event(), threading.Event()

    def request() -> None:
        with traffic.pick(None, 0):
            begun.set()
            gate.wait(30)

    thread = threading.Thread(target=request)
    thread.start()
    assert begun.wait(30)
    assert not traffic.drain(one.instances, 0)
    gate.set()
    assert traffic.drain(one.instances, 30)
    thread.join()
