"""What is told of requests: metrics and access logs."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from localcloud.apigateway.deployed import MethodSettings
from localcloud.apigateway.gateway.access_log import AccessLog
from localcloud.clock import SystemClock
from localcloud.timetable import Timetable
from localcloud.waf.verdict import Verdict
from tests.localcloud.apigateway.answering import AUTHORIZER, Stage, method

FORMAT = json.dumps(
    {
        name: f"$context.{variable}"
        for name, variable in {
            "id": "requestId",
            "time": "requestTime",
            "verb": "httpMethod",
            "resource": "resourcePath",
            "status": "status",
            "length": "responseLength",
            "type": "error.responseType",
            "integration": "integration.status",
            "invocation": "integration.integrationStatus",
            "latency": "integrationLatency",
            "firewall": "wafResponseCode",
            "who": "authorizer.claims.sub",
            "authorizer": "authorizer.status",
            "agent": "identity.userAgent",
        }.items()
    }
)


def test_metrics_by_api_stage_and_method(tmp_path: Path) -> None:
    stage = Stage(tmp_path, method("ANY", "/things"), method("GET", "/others"), settings=MethodSettings(metrics=True))
    stage.ask()
    stage.functions.say("no", statusCode=404)
    stage.ask("PUT")
    stage.functions.answers = lambda event: b""
    stage.ask(path="/others")
    stage.ask(path="/nothing")
    assert stage.measured("Count") == [1, 1, 1, 1]
    assert stage.measured("4XXError") == [0, 1, 0, 1]
    assert stage.measured("5XXError") == [0, 0, 1, 0]
    assert len(stage.measured("Latency")) == 4
    assert len(stage.measured("IntegrationLatency")) == 3
    assert stage.measured("CacheHitCount") == []
    assert stage.measured("Count", ApiName="things") == [1, 1, 1, 1]
    by_method = {"ApiName": "things", "Stage": "prod", "Resource": "/things", "Method": "PUT"}
    assert stage.measured("4XXError", **by_method) == [1]
    assert {one.unit for one in stage.measurements if "Latency" in one.name} == {"Milliseconds"}
    assert {one.namespace for one in stage.measurements} == {"AWS/ApiGateway"}
    assert {one.time for one in stage.measurements} == {stage.clock.now()}


def test_without_detail_there_is_nothing_by_method(tmp_path: Path) -> None:
    stage = Stage(tmp_path, method("GET", "/things"))
    stage.ask()
    assert {len(one.dimensions) for one in stage.measurements} == {1, 2}


def test_each_request_has_a_line(tmp_path: Path) -> None:
    stage = Stage(
        tmp_path,
        method("GET", "/things", authorizer=AUTHORIZER, scopes=("api/predict",)),
        access_log_group="requests",
        access_log_format=FORMAT,
    )
    stage.functions.say("four", statusCode=201)
    answers = [stage.ask(authorization="good", user_agent='say "hi"'), stage.ask(), stage.ask(path="/nothing")]
    stage.verdict = Verdict(False, "rate")
    answers.append(stage.ask())
    stage.gateway.stop()
    assert {(group, stream) for group, stream, _ in stage.lines} == {("requests", stage.lines[0][1])}
    lines = [json.loads(line) for _, _, line in stage.lines]
    assert [line.pop("id") for line in lines] == [answer.header("x-amzn-requestid") for answer in answers]
    assert lines[0].pop("latency").isdigit()
    empty = dict.fromkeys(("integration", "invocation", "firewall", "who", "authorizer", "agent", "type"), "-")
    assert lines == [
        {
            **empty,
            "time": "01/Jan/2026:00:00:00 +0000",
            "verb": "GET",
            "resource": "/things",
            "status": "201",
            "length": "4",
            "integration": "201",
            "invocation": "200",
            "who": "me",
            "authorizer": "200",
            "agent": 'say "hi"',
        },
        {
            **empty,
            "time": "01/Jan/2026:00:00:00 +0000",
            "verb": "GET",
            "resource": "/things",
            "status": "401",
            "length": str(len(answers[1].body)),
            "latency": "-",
            "authorizer": "401",
            "type": "UNAUTHORIZED",
        },
        {
            **empty,
            "time": "01/Jan/2026:00:00:00 +0000",
            "verb": "GET",
            "resource": "-",
            "status": "403",
            "length": str(len(answers[2].body)),
            "latency": "-",
            "type": "MISSING_AUTHENTICATION_TOKEN",
        },
        {
            **empty,
            "time": "01/Jan/2026:00:00:00 +0000",
            "verb": "GET",
            "resource": "-",
            "status": "403",
            "length": str(len(answers[3].body)),
            "latency": "-",
            "firewall": "WAF_BLOCK",
            "type": "WAF_FILTERED",
        },
    ]


def test_without_a_log_there_is_no_line(tmp_path: Path) -> None:
    stage = Stage(tmp_path, method("GET", "/things"))
    stage.ask()
    stage.gateway.stop()
    assert stage.lines == []


class Written:
    """A log that is slow when told so."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, str, list[str]]] = []
        self.open, self.begun = threading.Event(), threading.Event()
        self.open.set()

    def write(self, group: str, stream: str, lines: Sequence[str]) -> None:
        self.begun.set()
        self.open.wait(30)
        self.batches.append((group, stream, list(lines)))


def test_no_request_waits_for_its_line_and_lines_go_together() -> None:
    written = Written()
    log = AccessLog(Timetable(SystemClock()), written.write)
    written.open.clear()
    log.add("a", "s", "1")
    assert written.begun.wait(30)
    for number in range(2, 102):
        log.add("a", "s", str(number))
    log.add("b", "s", "other")
    written.open.set()
    log.stop()
    assert written.batches[0] == ("a", "s", ["1"])
    assert [line for group, _, lines in written.batches if group == "a" for line in lines] == [
        str(number) for number in range(1, 102)
    ]
    assert len(written.batches) == 3


def test_time_waits_until_lines_are_written() -> None:
    written = Written()
    timetable = Timetable(SystemClock())
    log = AccessLog(timetable, written.write)
    written.open.clear()
    log.add("a", "s", "1")
    advancing = threading.Thread(target=timetable.advance, args=(60,))
    advancing.start()
    assert written.begun.wait(30)
    assert advancing.is_alive()
    assert written.batches == []
    written.open.set()
    advancing.join(30)
    assert written.batches == [("a", "s", ["1"])]
    log.stop()


def test_a_log_that_cannot_be_written_does_not_end_it(caplog: pytest.LogCaptureFixture) -> None:
    written = Written()

    def write(group: str, stream: str, lines: Sequence[str]) -> None:
        if lines == ["1"]:
            written.begun.set()
            raise OSError("no more disk")
        written.write(group, stream, lines)

    log = AccessLog(Timetable(SystemClock()), write)
    log.add("g", "s", "1")
    assert written.begun.wait(30)
    log.add("g", "s", "2")
    log.stop()
    assert written.batches == [("g", "s", ["2"])]
    assert "no more disk" in caplog.text
