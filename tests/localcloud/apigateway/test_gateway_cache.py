"""Answers that are kept."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from localcloud.apigateway.deployed import MethodSettings
from localcloud.apigateway.gateway.cache import Cache
from localcloud.apigateway.gateway.exchange import Answer
from tests.localcloud.apigateway.answering import AUTHORIZER, Stage, method, proxy

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STAGE = ("api", "prod")
CACHED = MethodSettings(caching=True, cache_ttl_seconds=60)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    kept = proxy(cache_key_parameters=("method.request.querystring.minutes", "method.request.header.X-Kind"))
    stage = Stage(tmp_path, method("GET", "/things", kept), settings=CACHED, cache_bytes=1 << 29)
    count = iter(range(1, 1_000))
    stage.functions.answers = lambda event: b'{"statusCode": 200, "body": "%d"}' % next(count)
    return stage


def test_an_answer_is_kept_for_its_time(stage: Stage) -> None:
    first, second = stage.ask(query="minutes=30"), stage.ask(query="minutes=30")
    assert (first.body, second.body) == (b"1", b"1")
    assert first.header("x-amzn-requestid") != second.header("x-amzn-requestid")
    # No function was asked, so there is nothing to trace.
    assert second.header("x-amzn-trace-id") is None
    stage.wait(59)
    assert stage.ask(query="minutes=30").body == b"1"
    stage.wait(1)
    assert stage.ask(query="minutes=30").body == b"2"
    assert stage.measured("CacheHitCount") == [0, 1, 1, 0]
    assert stage.measured("CacheMissCount") == [1, 0, 0, 1]
    assert len(stage.measured("IntegrationLatency")) == 2


def test_parameters_of_the_key_tell_answers_apart_and_no_others(stage: Stage) -> None:
    assert stage.ask(query="minutes=30").body == b"1"
    assert stage.ask(query="minutes=31").body == b"2"
    assert stage.ask(query="minutes=30", x_kind="a").body == b"3"
    assert stage.ask(query="minutes=30&minutes=31").body == b"4"
    assert stage.ask().body == b"5"
    assert stage.ask(query="other=1&minutes=30", x_other="b").body == b"1"


def test_bad_answers_are_not_kept(stage: Stage) -> None:
    stage.functions.say("no", statusCode=404)
    assert stage.status() == 404
    stage.functions.say("yes")
    assert (stage.ask().body, stage.ask().body) == (b"yes", b"yes")
    stage.functions.say("no", statusCode=500)
    assert stage.status() == 200


def test_a_fresh_answer_is_for_who_may_ask(stage: Stage) -> None:
    assert stage.ask().body == b"1"
    # By default only a signature of IAM's may, and there is none.
    answer = stage.ask(cache_control="max-age=0")
    assert answer.body == b"1"
    assert answer.header("warning") == "199 Cache-control headers were ignored because the caller was unauthorized."
    settings = MethodSettings(caching=True, cache_ttl_seconds=60, cache_needs_authorization=False)
    stage.change(settings={("/things", "GET"): settings})
    answer = stage.ask(cache_control="no-transform, max-age=0")
    assert (answer.body, answer.header("warning")) == (b"2", None)
    # It takes the old one's place.
    assert stage.ask().body == b"2"
    assert stage.ask(cache_control="max-age=01").body == b"2"


def test_flushing_forgets_and_so_does_a_stage_without_cache(stage: Stage) -> None:
    stage.ask()
    stage.gateway.flush(stage.deployed.api_id, "other")
    assert stage.ask().body == b"1"
    stage.gateway.flush(stage.deployed.api_id, "prod")
    assert stage.ask().body == b"2"
    stage.change(cache_bytes=0)
    assert [stage.ask().body for _ in range(2)] == [b"3", b"4"]
    stage.change(cache_bytes=1 << 29)
    assert [stage.ask().body for _ in range(2)] == [b"5", b"5"]


@pytest.mark.parametrize("settings", [MethodSettings(caching=False), MethodSettings(caching=True, cache_ttl_seconds=0)])
def test_nothing_is_kept_where_the_stage_says_so(stage: Stage, settings: MethodSettings) -> None:
    stage.change(settings={("/things", "GET"): settings})
    assert [stage.ask().body for _ in range(2)] == [b"1", b"2"]
    assert not stage.measured("CacheMissCount")


def test_an_answer_in_the_cache_is_for_who_may_have_it(tmp_path: Path) -> None:
    kept = method("GET", "/things", authorizer=AUTHORIZER, scopes=("api/predict",))
    stage = Stage(tmp_path, kept, settings=CACHED, cache_bytes=1 << 29)
    assert stage.status(authorization="good") == 200
    assert stage.status(authorization="forged") == 401
    assert stage.status() == 401


def test_a_cache_has_an_end() -> None:
    cache = Cache()
    for number in range(10):
        cache.put(STAGE, number, Answer(200, (), b"x" * 1_000), NOW, 60, 6_000)
        assert cache.get(STAGE, 0, NOW) is not None, "it was asked for last"
    assert cache.get(STAGE, 1, NOW) is None
    assert cache.get(STAGE, 9, NOW) is not None
    # What is replaced does not count twice.
    for _ in range(10):
        cache.put(STAGE, 9, Answer(200, (), b"y" * 1_000), NOW, 60, 6_000)
    assert cache.get(STAGE, 0, NOW) is not None
    cache.put(STAGE, "big", Answer(200, (), b"x" * (1_048_576 + 1)), NOW, 60, 1 << 29)
    assert cache.get(STAGE, "big", NOW) is None
