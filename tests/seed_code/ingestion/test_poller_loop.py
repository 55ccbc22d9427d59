"""The poller as a whole: its loop in this process, and its program in one of its own."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError

from seed_code.common.errors import ClientError
from seed_code.ingestion.poller import settings
from seed_code.ingestion.poller.alive import Alive
from seed_code.ingestion.poller.loop import Poller
from seed_code.ingestion.poller.observation import Failure, Observation, SetAside, SourceFailure
from seed_code.ingestion.poller.publisher import Publisher
from seed_code.ingestion.poller.spool import Spool
from seed_code.ingestion.poller.tally import Tally
from tests.seed_code.ingestion.poller_doubles import NOW, Bus, Script, Time, date, tx

ROOT = Path(__file__).resolve().parents[3]
HEALTHY = ROOT / "seed_code" / "ingestion" / "bin" / "healthy"
ENVIRONMENT = {
    "PROJECT": "fraud",
    "SOURCE_PROTOCOL": "rest",
    "SOURCE_URL": "http://source",
    "WEBSOCKET_URL": "ws://source/inv",
    "REQUESTS_PER_5_MINUTES": "500",
    "BUS": "fraud-ingestion",
    "SPOOL_FOLDER": "/spool",
    "SPOOL_MEGABYTES": "200",
}


class Rig:
    """A poller on a script, in a folder. It stops when the script is at its end and all is published."""

    def __init__(self, folder, observations, *, bus=None, spool_bytes=1_000_000, drain_seconds=6.0):
        self.source, self.bus, self.tally = Script(observations), bus or Bus(), Tally()
        self.spool = Spool(folder, spool_bytes)
        self.told, self.telling_fails = [], False
        self.time = Time()
        publisher = Publisher(self.bus, "bus", self.spool, self.tally, sleep=self.sleep, monotonic=self.time.monotonic)
        self.poller = Poller(
            self.source,
            publisher,
            self.spool,
            self.tally,
            Alive(folder),
            self.tell,
            "fraud",
            sleep=self.never,
            monotonic=self.time.monotonic,
            drain_seconds=drain_seconds,
        )

    async def sleep(self, seconds):
        await self.time.sleep(seconds)

    async def never(self, seconds):
        await asyncio.Event().wait()

    def tell(self, data):
        if self.telling_fails:
            raise EndpointConnectionError(endpoint_url="https://monitoring")
        self.told.append(data)

    def run(self, until):
        async def running():
            stop = asyncio.Event()
            task = asyncio.create_task(self.poller.run(stop))
            while not until() and not task.done():
                await asyncio.sleep(0)
            stop.set()
            await task

        asyncio.run(running())
        self.spool.close()

    def details(self, kind="Unconfirmed Transactions"):
        return [json.loads(one["Detail"]) for one in self.bus.taken if one["DetailType"] == kind]

    def values(self):
        """What was told at the end, by metric."""
        (data,) = self.told
        return {one["MetricName"]: one.get("Value", one.get("StatisticValues")) for one in data}


def test_what_the_source_says_is_published_and_counted(tmp_path):
    aside = SetAside("the hash is null", "{}")
    rig = Rig(
        tmp_path,
        [
            Observation(NOW, [tx(1), tx(2, NOW - 4)], newest=NOW),
            SourceFailure("no JSON", observed_at=NOW + 1, item="<html>"),
            Observation(NOW + 4, [tx(3)], gap=True, duplicates=2, newest=NOW, set_aside=(aside,)),
            Observation(NOW + 6, []),
        ],
    )
    rig.run(lambda: rig.tally.counts["Polls"] == 3)
    assert [(one["observed_at"], len(one["transactions"])) for one in rig.details()] == [
        (NOW, 2),
        (NOW + 4, 1),
        (NOW + 6, 0),
    ]
    assert [one["items"] for one in rig.details("Transactions Set Aside")] == [
        [{"reason": "no JSON", "item": "<html>"}],
        [{"reason": "the hash is null", "item": "{}"}],
    ]
    assert rig.values() == {
        "Polls": 3,
        "Transactions": 3,
        "DuplicatesAcrossPages": 2,
        "Gaps": 1,
        "SetAside": 2,
        "SourceErrors": 1,
        "Dropped": 0,
        "SpooledEntries": 0,
        "SourceLagSeconds": {"SampleCount": 2, "Sum": 4, "Minimum": 0, "Maximum": 4},
    }
    (data,) = rig.told
    assert all(one["Dimensions"] == [{"Name": "Project", "Value": "fraud"}] for one in data)
    assert {one["Timestamp"] for one in data} == {NOW + 6}
    assert {one["MetricName"] for one in data if one["Unit"] == "Seconds"} == {"SourceLagSeconds"}
    assert rig.source.closed
    assert (tmp_path / "alive").exists()


def test_a_failure_is_no_heartbeat(tmp_path):
    rig = Rig(tmp_path, [SourceFailure("down")] * 3)
    rig.run(lambda: rig.tally.counts["SourceErrors"] == 3)
    assert rig.bus.taken == []
    assert rig.values()["Polls"] == 0
    assert "Timestamp" not in rig.told[0][0]  # nobody ever said what time it is


def test_the_loop_says_what_changes_and_not_what_goes_on(tmp_path, caplog):
    rig = Rig(tmp_path, [*[SourceFailure("down")] * 5, Observation(NOW, []), Observation(NOW, [tx(1)], gap=True)])
    rig.run(lambda: rig.tally.counts["Polls"] == 2)
    said = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert [message.partition(":")[0].partition(",")[0] for message in said] == [
        "the source fails",
        "the source answers again",
        "a gap",
    ]


def test_what_cannot_be_published_waits_on_disk_for_the_next_process(tmp_path, caplog):
    down = EndpointConnectionError(endpoint_url="https://events")
    rig = Rig(tmp_path, [Observation(NOW, [tx(1)])], bus=Bus(*[down] * 100_000), drain_seconds=0.05)
    rig.run(lambda: rig.tally.counts["Polls"] == 1)
    assert rig.bus.taken == []
    assert rig.values()["SpooledEntries"] == 1
    assert "1 events stay in the spool" in caplog.text
    later = Rig(tmp_path, [])
    later.run(lambda: bool(later.bus.taken))
    assert [one["transactions"] for one in later.details()] == [[tx(1)]]
    assert tx(1)["hash"] in later.source.known


def test_what_it_has_is_published_when_it_is_told_to_stop(tmp_path):
    down = EndpointConnectionError(endpoint_url="https://events")
    rig = Rig(tmp_path, [Observation(NOW + at, [tx(at)]) for at in range(30)], bus=Bus(*[down] * 3))
    rig.run(lambda: rig.tally.counts["Polls"] == 30)
    assert [one["observed_at"] for one in rig.details()] == [NOW + at for at in range(30)]


def test_a_full_spool_gives_up_the_oldest_and_says_so(tmp_path, caplog):
    down = EndpointConnectionError(endpoint_url="https://events")
    seen = [Observation(NOW + at, [tx(at)]) for at in range(10)]
    rig = Rig(tmp_path, seen, bus=Bus(*[down] * 100_000), spool_bytes=1200, drain_seconds=0.05)
    rig.run(lambda: rig.tally.counts["Polls"] == 10)
    values = rig.values()
    assert values["Dropped"] + values["SpooledEntries"] == 10
    assert 3 <= values["SpooledEntries"] <= 6
    assert caplog.text.count("the spool is full; of its oldest events") == 1
    later = Rig(tmp_path, [])
    later.run(lambda: len(later.spool) == 0 and bool(later.bus.taken))
    assert [one["observed_at"] for one in later.details()][-1] == NOW + 9


def test_a_transaction_is_known_only_once_it_is_on_disk(tmp_path):
    rig = Rig(tmp_path, [Observation(NOW, [tx(1)])])
    rig.spool.close()
    with pytest.raises(Exception, match="closed database"):
        rig.run(lambda: False)
    assert tx(1)["hash"] not in rig.source.known


def test_counts_that_could_not_be_told_are_kept(tmp_path, caplog):
    rig = Rig(tmp_path, [Observation(NOW, [tx(1)], newest=NOW)])
    rig.telling_fails = True
    rig.run(lambda: rig.tally.counts["Polls"] == 1)
    assert rig.tally.counts["Polls"] == 1
    assert rig.tally.lags == [0]
    assert "the counts could not be told, and are kept" in caplog.text


def test_the_counts_are_told_once_a_minute_with_the_sources_time(tmp_path):
    rig = Rig(tmp_path, [Observation(NOW, [tx(1)], newest=NOW - 2)])
    minutes = []

    async def minute(seconds):
        minutes.append(seconds)
        while len(minutes) == 1 and rig.tally.counts["Polls"] == 0:
            await asyncio.sleep(0)
        if len(minutes) > 2:
            await asyncio.Event().wait()
        rig.time.now += seconds

    rig.poller._sleep = minute
    rig.run(lambda: len(minutes) == 3)
    assert minutes == [60.0] * 3
    first, second, _ = ({one["MetricName"]: one for one in data} for data in rig.told)
    assert (first["Polls"]["Value"], first["Polls"]["Timestamp"]) == (1, NOW + 60)
    assert (second["Polls"]["Value"], second["Polls"]["Timestamp"]) == (0, NOW + 120)
    assert "SourceLagSeconds" not in second


def test_a_count_that_nobody_knows_is_refused():
    with pytest.raises(ValueError, match="no count is called 'Pols'; expected one of Polls, Transactions"):
        Tally().count("Pols")


def test_tallies_add_up():
    first, second = Tally(), Tally()
    first.observed(Observation(NOW, [tx(1)], newest=NOW - 1))
    second.observed(Failure("down"))
    first.add(second)
    assert (first.counts["Polls"], first.counts["SourceErrors"], first.lags) == (1, 1, [1])


# --- settings and signs of life ---------------------------------------------------------------------------------------


def test_the_environment_says_everything(tmp_path):
    found = settings.read(ENVIRONMENT)
    assert (found.project, found.protocol, found.bus) == ("fraud", "rest", "fraud-ingestion")
    assert (found.requests_per_5_minutes, found.spool_bytes) == (500, 200_000_000)
    assert found.spool_folder == Path("/spool")


def test_all_mistakes_of_the_environment_are_told_at_once():
    wrong = {**ENVIRONMENT, "SOURCE_PROTOCOL": "ftp", "SOURCE_URL": "source", "SPOOL_MEGABYTES": "0", "BUS": ""}
    del wrong["REQUESTS_PER_5_MINUTES"]
    with pytest.raises(ClientError) as refused:
        settings.read(wrong)
    assert str(refused.value) == (
        "the poller's environment: BUS is not set; SOURCE_PROTOCOL is 'ftp'; expected rest or websocket; SOURCE_URL is "
        "'source'; expected an address that begins with http or https; REQUESTS_PER_5_MINUTES is ''; expected a whole "
        "number from 1 to 100000; SPOOL_MEGABYTES is '0'; expected a whole number from 1 to 200000"
    )


def test_a_long_sleep_gives_signs_of_life(tmp_path):
    time, touched = Time(), []
    alive = Alive(tmp_path, time.sleep)
    alive.beat = lambda: touched.append(time.now)
    asyncio.run(alive.sleep(40))
    assert time.slept == [15, 15, 10]
    assert touched == [100, 115, 130, 140]


def _healthy(folder, *arguments):
    return subprocess.run(
        [HEALTHY, *arguments],
        env={"SPOOL_FOLDER": str(folder), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )


def test_a_poller_is_healthy_while_its_sign_of_life_is_fresh(tmp_path):
    missing = _healthy(tmp_path)
    assert (missing.returncode, missing.stderr) == (
        1,
        f"there is no {tmp_path}/alive: the program has not begun its work\n",
    )
    Alive(tmp_path).beat()
    assert _healthy(tmp_path).returncode == 0
    os.utime(tmp_path / "alive", (1_000_000_000, 1_000_000_000))
    stale = _healthy(tmp_path)
    assert stale.returncode == 1
    assert "seconds old; expected less than 60" in stale.stderr
    assert _healthy(tmp_path, "4000000000").returncode == 0
    assert "SPOOL_FOLDER" in subprocess.run([HEALTHY], env={}, capture_output=True, text=True).stderr


# --- the program ------------------------------------------------------------------------------------------------------


@contextmanager
def account(page, down=None) -> Iterator[tuple[str, list[tuple[str, bytes]], threading.Event]]:
    """The source and AWS on one port: its address, the calls of AWS, and a sign of the first PutEvents.

    down: while this is set, PutEvents is answered with 500.
    """
    calls: list[tuple[str, bytes]] = []
    put = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def date_time_string(self, timestamp=None):
            return date()["Date"]

        def do_GET(self):
            self.answer(200, json.dumps(page).encode())

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            target = self.headers.get("X-Amz-Target", self.path)
            calls.append((target, body))
            if target == "AWSEvents.PutEvents" and down is not None and down.is_set():
                self.answer(500, b'{"__type": "InternalFailure"}')
                put.set()
            elif target == "AWSEvents.PutEvents":
                count = len(json.loads(body)["Entries"])
                self.answer(200, json.dumps({"FailedEntryCount": 0, "Entries": [{"EventId": "1"}] * count}).encode())
                put.set()
            else:
                self.answer(200, b"{}")

        def answer(self, status, content):
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", calls, put
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _started(folder, address, **change):
    return subprocess.Popen(
        [sys.executable, "-m", "seed_code.ingestion.poller"],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "AWS_ENDPOINT_URL": address,
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "PYTHONWARNINGS": "error::DeprecationWarning:seed_code",
            **ENVIRONMENT,
            "SOURCE_URL": address,
            "SPOOL_FOLDER": str(folder / "spool"),
            **change,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_program_publishes_until_it_is_told_to_stop(tmp_path):
    with account({"txs": [tx(2), tx(1, NOW - 1), {"hash": None}]}) as (address, calls, put):
        process = _started(tmp_path, address)
        assert put.wait(60)
        assert _healthy(tmp_path / "spool").returncode == 0
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output
    lines = [json.loads(line) for line in output.splitlines()]
    assert lines[0]["message"] == f"polling {address} for the bus fraud-ingestion; 0 events wait from before"
    assert lines[-1]["message"] == "stopped; nothing is left to publish"
    sent = [entry for target, body in calls if target == "AWSEvents.PutEvents" for entry in json.loads(body)["Entries"]]
    detail = json.loads(sent[0]["Detail"])
    assert (detail["observed_at"], detail["transactions"]) == (NOW, [tx(1, NOW - 1), tx(2)])
    assert sent[1]["DetailType"] == "Transactions Set Aside"
    assert any(target != "AWSEvents.PutEvents" for target, _ in calls)  # its last counts


def _transactions(calls):
    sent = (json.loads(body)["Entries"] for target, body in calls if target == "AWSEvents.PutEvents")
    return [json.loads(entry["Detail"])["transactions"] for batch in sent for entry in batch]


def test_a_program_that_is_killed_while_the_bus_is_down_loses_nothing(tmp_path):
    down, page = threading.Event(), {"txs": [tx(1)]}
    down.set()
    with account(page, down) as (address, calls, put):
        first = _started(tmp_path, address)
        assert put.wait(60)
        first.kill()
        first.communicate()
        calls.clear()
        put.clear()
        down.clear()
        page["txs"] = [tx(2)]
        second = _started(tmp_path, address)
        assert put.wait(60)
        second.send_signal(signal.SIGTERM)
        output, _ = second.communicate(timeout=30)
    assert second.returncode == 0, output
    assert _transactions(calls)[0] == [tx(1)]
    # Its own first page, if it came that far, shares nothing with what the first process saw.
    assert [tx(2)] not in _transactions(calls) or "a gap: nothing in the answer" in output


def test_a_mistake_in_the_settings_ends_the_program_with_one_line(tmp_path):
    process = _started(tmp_path, "http://127.0.0.1:1", SOURCE_PROTOCOL="", BUS="")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    (line,) = output.splitlines()
    assert json.loads(line)["message"].startswith("the poller's environment: BUS is not set; SOURCE_PROTOCOL is ''")
