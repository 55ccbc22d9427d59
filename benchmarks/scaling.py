"""An endpoint that grows and shrinks with its load, and what its callers notice of that.

    .venv/bin/python benchmarks/scaling.py

On a localcloud of its own (temporary state, a free port), an endpoint of one machine whose server takes 5 ms for an
answer. Its scaling is set as deploy-prod sets it for a stage with `scaling:` (target tracking of invocations per
machine). All the while some callers ask it quietly; in the middle others ask much more:

    quiet       as many requests a minute as one machine is for
    busy        more than all machines are for, until all are there
    cut         all but one are taken away at once, by a smaller maximum, under the same load; then the maximum is back
    busy again  until all are there
    quiet again until the machines that were added are removed

A minute of these is a second of requests, sent at a steady rate by plain HTTP without retries from several connections
in processes of their own; then `localcloud advance` lets the rest of it pass, so that alarms and cooldowns take their
minutes. Requests go on meanwhile, and while machines are added and removed: those are counted by themselves, from the
last look at which the endpoint was not Updating yet until it is InService with another number of machines.

Goals: machines are added up to the most, and removed to the least again; not one request fails. The result, with the
number of machines at each minute, is kept in benchmarks/results/scaling.json.
"""

from __future__ import annotations

import io
import itertools
import os
import statistics
import subprocess
import sys
import tarfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from peers.deployment_harness import ROOT, keep, percentile, plain_environment
from peers.load import Asked, Generator, Load
from rich.console import Console
from rich.table import Table

from pipelines.carried.project import client
from pipelines.deploy.functions.scaling import set_scaling
from pipelines.names import VARIANT
from tests.contract import images
from tests.roles import make_role

REGION, ACCOUNT_ID, ENDPOINT, BUCKET = "eu-west-1", "123456789012", "bench-scaling", "bench-scaling"
LEAST, MOST, INVOCATIONS_PER_MACHINE = 1, 4, 30
QUIET_PER_SECOND, BUSY_PER_SECOND = 15.0, 85.0
QUIET_CONNECTIONS, BUSY_CONNECTIONS = 4, 8
QUIET_MINUTES, MOST_MINUTES = 4, 40
_MINUTE, _REQUESTS_SECONDS = 60, 1.0
_LOOK_SECONDS = 0.05
_START_SECONDS = 60
_SCOPE = f"bench/20240101/{REGION}/sagemaker/aws4_request"
# localcloud checks no signature.
_HEADERS = {
    "Content-Type": "text/plain",
    "Authorization": f"AWS4-HMAC-SHA256 Credential={_SCOPE}, SignedHeaders=host, Signature=0",
}
_SERVER = '''#!/usr/bin/env python3
"""Answers each request with its length, and takes its time."""

import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(0.005)
        self.answer(b"%d" % len(body))

    def log_message(self, *words):
        pass


ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
'''


@dataclass(frozen=True)
class Minute:
    """One minute of the clock: which load there was, when (seconds since the epoch), and the machines at its end."""

    load: str
    begin: float
    end: float
    machines: int

    def row(self, asked: Sequence[Asked]) -> tuple[str, int, int]:
        """Load, requests and machines."""
        return self.load, sum(self.begin <= one.at < self.end for one in asked), self.machines


@dataclass(frozen=True)
class Change:
    """One change of the number of machines: when, in seconds since the epoch."""

    begin: float
    end: float
    before: int
    after: int

    def meets(self, asked: Asked) -> bool:
        """Whether a request was under way meanwhile."""
        return self.begin <= asked.at + asked.seconds and asked.at <= self.end


# --- the endpoint -----------------------------------------------------------------------------------------------------


@contextmanager
def localcloud() -> Iterator[int]:
    """A localcloud with temporary state; gives its port, and leads all clients of this process to it."""
    plain_environment()
    command = [sys.executable, "-m", "localcloud", "up", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if "http://127.0.0.1:" not in line:
                raise SystemExit(f"localcloud did not start: {line!r}; its messages are above")
            port = int(line.partition("http://127.0.0.1:")[2].split()[0])
            os.environ.update(
                AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}",
                AWS_ACCESS_KEY_ID="bench",
                AWS_SECRET_ACCESS_KEY="bench",
                AWS_REGION=REGION,
                AWS_DEFAULT_REGION=REGION,
                PROJECT="bench",
                ACCOUNT_ID=ACCOUNT_ID,
            )
            yield port
        finally:
            process.terminate()


def advance(port: int, seconds: float) -> None:
    """Let time pass, as `localcloud advance` does."""
    address = f"http://127.0.0.1:{port}/_localcloud/advance"
    request = urllib.request.Request(address, data=str(seconds).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=120) as answer:
        answer.read()


def serve() -> None:
    """The endpoint with its scaling, in service."""
    s3, sagemaker = client("s3"), client("sagemaker")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    image = images.register(
        s3, client("ecr"), BUCKET, account=ACCOUNT_ID, region=REGION, repository=ENDPOINT, content=_layer()
    )
    role = make_role(client("iam"), ENDPOINT)
    sagemaker.create_model(ModelName=ENDPOINT, PrimaryContainer={"Image": image}, ExecutionRoleArn=role)
    variant = {"VariantName": VARIANT, "ModelName": ENDPOINT, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName=ENDPOINT, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=ENDPOINT, EndpointConfigName=ENDPOINT)
    waiter = sagemaker.get_waiter("endpoint_in_service")
    waiter.wait(EndpointName=ENDPOINT, WaiterConfig={"Delay": 1, "MaxAttempts": _START_SECONDS})
    set_scaling(ENDPOINT, least=LEAST, most=MOST, invocations_per_instance=INVOCATIONS_PER_MACHINE)


def limit(most: int) -> None:
    """Let the endpoint have at most so many machines from now on."""
    client("application-autoscaling").register_scalable_target(
        ServiceNamespace="sagemaker",
        ResourceId=f"endpoint/{ENDPOINT}/variant/{VARIANT}",
        ScalableDimension="sagemaker:variant:DesiredInstanceCount",
        MinCapacity=LEAST,
        MaxCapacity=most,
    )


def _layer() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz", compresslevel=1) as archive:
        entry = tarfile.TarInfo("opt/program/bin/serve")
        entry.size, entry.mode = len(_SERVER.encode()), 0o755
        archive.addfile(entry, io.BytesIO(_SERVER.encode()))
    return content.getvalue()


def look() -> tuple[bool, int]:
    """Whether the endpoint is changing, and its machines. Raises RuntimeError when it has failed."""
    found = client("sagemaker").describe_endpoint(EndpointName=ENDPOINT)
    if found["EndpointStatus"] == "Failed":
        raise RuntimeError(f"the endpoint has failed: {found['FailureReason']}")
    count = int(found["ProductionVariants"][0]["CurrentInstanceCount"])
    return found["EndpointStatus"] != "InService", count


@contextmanager
def watched() -> Iterator[list[Change]]:
    """Look at the endpoint again and again; the changes are all in the list when the block has ended."""
    over, found = threading.Event(), list[Change]()

    def watch() -> None:
        still, count = time.time(), look()[1]
        while not over.wait(_LOOK_SECONDS):
            asked = time.time()
            changing, now = look()
            # From the last look before it was changing to the first after it.
            if not changing:
                if now != count:
                    found.append(Change(still, time.time(), count, now))
                still, count = asked, now

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


# --- the load ---------------------------------------------------------------------------------------------------------


@contextmanager
def asking(port: int, per_second: float, connections: int, into: list[Asked]) -> Iterator[None]:
    """Ask while the block lasts; the requests are in the list once it has ended."""
    path = f"/endpoints/{ENDPOINT}/invocations"
    load = Load(port, path, _HEADERS, ["one", "three", "seventeen"], connections, per_second)
    with Generator(load) as generator:
        generator.begin()
        yield
        into += generator.end().requests


def minutes_of(port: int, load: str, until: Callable[[int, int], bool]) -> Iterator[Minute]:
    """Let minutes pass until one's number and its machines are enough, or it has been too many."""
    for number in range(1, MOST_MINUTES + 1):
        began = time.time()
        time.sleep(_REQUESTS_SECONDS)
        advance(port, _MINUTE)
        _, count = look()
        yield Minute(load, began, time.time(), count)
        if until(number, count):
            return


def cut() -> Iterator[Minute]:
    """Take all machines but one away; it is over when they are gone and a while has passed without them."""
    began = time.time()
    limit(LEAST)
    while look() != (False, LEAST):
        if time.time() > began + _START_SECONDS:
            raise RuntimeError(f"the endpoint has not shrunk to {LEAST} machines in {_START_SECONDS} s")
        time.sleep(_LOOK_SECONDS)
    time.sleep(_REQUESTS_SECONDS)
    yield Minute("cut", began, time.time(), look()[1])
    limit(MOST)


def measure(out: Console, port: int) -> dict[str, Any]:
    asked: list[Asked] = []
    minutes: list[Minute] = []
    with watched() as changes, asking(port, QUIET_PER_SECOND, QUIET_CONNECTIONS, asked):
        out.print("quiet …")
        minutes += minutes_of(port, "quiet", lambda number, _: number == QUIET_MINUTES)
        out.print("busy …")
        with asking(port, BUSY_PER_SECOND, BUSY_CONNECTIONS, asked):
            minutes += minutes_of(port, "busy", lambda _, count: count == MOST)
            minutes += cut()
            minutes += minutes_of(port, "busy again", lambda _, count: count == MOST)
        out.print("quiet again …")
        minutes += minutes_of(port, "quiet again", lambda _, count: count == LEAST)
        # What is removed is seen to be gone by requests that come afterwards.
        minutes += minutes_of(port, "quiet again", lambda number, _: number == 2)
    asked.sort(key=lambda one: one.at)
    return {
        "scaling": {"least": LEAST, "most": MOST, "invocations_per_machine_and_minute": INVOCATIONS_PER_MACHINE},
        "load": {
            "quiet_per_second": QUIET_PER_SECOND,
            "busy_per_second": QUIET_PER_SECOND + BUSY_PER_SECOND,
            "connections": {"quiet": QUIET_CONNECTIONS, "busy": QUIET_CONNECTIONS + BUSY_CONNECTIONS},
            "seconds_of_requests_in_a_minute": "at least 1",
        },
        "most_machines": max(minute.machines for minute in minutes),
        "machines_afterwards": minutes[-1].machines,
        "minutes_until_all_were_added": _passed(minutes, "busy", MOST),
        "minutes_until_all_were_removed": _passed(minutes, "quiet again", LEAST),
        "changes": [[change.before, change.after, round(change.end - change.begin, 2)] for change in changes],
        "all": told(asked),
        "while_growing": told(_during([one for one in changes if one.after > one.before], asked)),
        "while_shrinking": told(_during([one for one in changes if one.after < one.before], asked)),
        "minutes": [minute.row(asked) for minute in minutes],
    }


def _during(changes: Sequence[Change], asked: Sequence[Asked]) -> list[Asked]:
    return [one for one in asked if any(change.meets(one) for change in changes)]


def _passed(minutes: Sequence[Minute], load: str, count: int) -> int | None:
    """The minutes of a load after which there were so many machines."""
    counts = [minute.machines for minute in minutes if minute.load == load]
    return counts.index(count) + 1 if count in counts else None


def told(asked: Sequence[Asked]) -> dict[str, Any]:
    """What became of requests."""
    failures = Counter(f"{one.status or 'no answer'}: {one.said[:200]}" for one in asked if one.status != 200)
    taken = [one.seconds * 1000 for one in asked if one.status == 200]
    return {
        "requests": len(asked),
        "failed": failures.total(),
        "failures": dict(failures.most_common(5)),
        "p50_ms": round(statistics.median(taken), 2) if taken else None,
        "p99_ms": round(percentile(taken, 99), 2) if taken else None,
        "longest_ms": round(max(taken), 1) if taken else None,
    }


def show(out: Console, result: dict[str, Any]) -> None:
    table = Table("load", "minutes", "requests", "machines, minute by minute")
    for load, group in itertools.groupby(result["minutes"], key=lambda minute: minute[0]):
        found = list(group)
        counts = " ".join(str(machines) for _, _, machines in found)
        table.add_row(load, str(len(found)), str(sum(requests for _, requests, _ in found)), counts)
    out.print(table)
    table = Table("", "requests", "failed", "median, ms", "p99, ms", "longest, ms")
    for what in ("all", "while_growing", "while_shrinking"):
        found = result[what]
        names = ("requests", "failed", "p50_ms", "p99_ms", "longest_ms")
        table.add_row(what.replace("_", " "), *(str(found[name]) for name in names))
    out.print(table)


def main() -> None:
    out = Console()
    with localcloud() as port:
        with out.status("setting up"):
            serve()
        result = measure(out, port)
    keep("scaling", result)
    show(out, result)
    if result["all"]["failed"]:
        sys.exit(f"requests failed: {result['all']['failures']}")
    if (result["most_machines"], result["machines_afterwards"]) != (MOST, LEAST):
        sys.exit(f"the endpoint did not grow to {MOST} machines and shrink to {LEAST} again: {result['minutes']}")


if __name__ == "__main__":
    main()
