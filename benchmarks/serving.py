"""How fast cardholders' model answers when it is served: by its image, by MLflow, and through localcloud's endpoint.

    .venv/bin/python benchmarks/serving.py [--rounds 5]

A build pipeline on a stack of its own (temporary state, free ports, little data) registers the model: the package that
the image's `serve` loads, and in MLflow's registry the pyfunc that `mlflow models serve` loads here (the purchase
model; `serve` answers with the cluster as well). Everybody gets the same records, one in each request, and has one
process and one thread for numerical libraries; both give the same probability, or the program ends.

    steady        `serve` asked 50 times a second (open loop, two connections): from when a request was due to its
                  answer. Goals: 3 ms at the median, 10 ms at the 99th percentile, on two cores
    clients       eight clients that ask again as soon as they are answered, two processes of four threads: requests a
                  second of `serve` and of MLflow, in turns. Goal: three times MLflow's
    endpoint      one client of localcloud's InvokeEndpoint (a real-time endpoint that captures everything), beside one
                  that asks the endpoint's very server; plain HTTP and boto3, in turns. What boto3 adds itself is told
                  apart by a server that answers both clients the same bytes at once. Goal: localcloud adds less than
                  5 ms at the median

Clients are plain http.client in processes of their own where not said otherwise, and share the cores with the servers:
of each request the processor time of both is given as well. Results are medians of the rounds, kept in
benchmarks/results/serving.json.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import psutil
from botocore.config import Config
from peers.deployment_harness import (
    CARDHOLDERS,
    JSON,
    ROOT,
    Laptop,
    free_port,
    invocation,
    keep,
    laptop,
    percentile,
    requests,
    serve,
)
from peers.load import Done, Generator, Load
from rich.console import Console
from rich.table import Table

from pipelines.session import client
from seed_code.cardholders.endpoint import Endpoint

GOALS = {"steady_p50_ms": 3, "steady_p99_ms": 10, "times_mlflow": 3, "localcloud_adds_ms": 5}
PER_SECOND, CONNECTIONS = 50, 2
STEADY_SECONDS, CLOSED_SECONDS = 8, 3
CLIENTS, CLIENT_PROCESSES = 8, 2
CALLS, WARM_CALLS = 100, 20
ENDPOINT = "bench-serving"
_START_SECONDS = 120
HEADERS = {"Content-Type": JSON}


def processor_seconds(process: psutil.Process) -> float:
    """Of a process and all below it."""
    return sum(sum(one.cpu_times()[:2]) for one in (process, *process.children(recursive=True)) if one.is_running())


# --- a steady rate, and clients that never rest -----------------------------------------------------------------------


def steady(port: int, bodies: list[str], seconds: float) -> dict[str, float]:
    """Latencies at a steady rate."""
    load = Load(port, "/invocations", HEADERS, bodies, CONNECTIONS, PER_SECOND, seconds)
    with Generator(load) as generator:
        generator.begin()
        done = _all_answered(generator.end())
    taken = [one.seconds * 1000 for one in done.requests]
    return {
        "p50_ms": statistics.median(taken),
        "p99_ms": percentile(taken, 99),
        "client_late_p99_ms": percentile([one.late * 1000 for one in done.requests], 99),
    }


def closed(process: psutil.Process, port: int, bodies: list[str], seconds: float) -> dict[str, float]:
    """Requests a second of clients that never rest, and what a request costs both sides."""
    load = Load(port, "/invocations", HEADERS, bodies, CLIENTS // CLIENT_PROCESSES, seconds=seconds)
    with ExitStack() as stack:
        generators = [stack.enter_context(Generator(load)) for _ in range(CLIENT_PROCESSES)]
        before = processor_seconds(process)
        for generator in generators:
            generator.begin()
        done = [_all_answered(generator.end()) for generator in generators]
        spent = processor_seconds(process) - before
    count = sum(len(one.requests) for one in done)
    return {
        "requests_per_second": sum(len(one.requests) / one.seconds for one in done),
        "p50_ms": statistics.median(one.seconds * 1000 for each in done for one in each.requests),
        "server_cpu_ms": spent / count * 1000,
        "client_cpu_ms": sum(one.cpu_seconds for one in done) / count * 1000,
    }


def _all_answered(done: Done) -> Done:
    bad = [one for one in done.requests if one.status != 200]
    if bad or not done.requests:
        raise RuntimeError(f"{len(bad)} of {len(done.requests)} requests failed, the first: {bad[:1]}")
    return done


# --- the servers ------------------------------------------------------------------------------------------------------


@contextmanager
def image_server(archive: Path) -> Iterator[tuple[psutil.Process, int]]:
    """The image's `serve` on a model package: its process and port."""
    with Endpoint(archive, "the package") as endpoint, endpoint.connection() as connection:
        yield _listener(connection.port), connection.port


@contextmanager
def mlflow_server(model: Path, folder: Path) -> Iterator[tuple[psutil.Process, int]]:
    """`mlflow models serve` on a model: its process, which has others below it, and port."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", str(model)]
    settings = ["--host", "127.0.0.1", "--port", str(port), "--env-manager", "local"]
    process = subprocess.Popen(
        [*command, *settings],
        cwd=folder,  # outside of the repository: the model brings its code
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # it starts `uvicorn`
            "OMP_NUM_THREADS": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait(f"http://127.0.0.1:{port}/ping", process)
        yield psutil.Process(process.pid), port
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"{process.args!r} does not answer; it ended with {process.poll()}")


def _listener(port: int) -> psutil.Process:
    """The child of this process that listens at a port."""
    for child in psutil.Process().children(recursive=True):
        if any(found.status == psutil.CONN_LISTEN and found.laddr.port == port for found in child.net_connections()):
            return child
    raise RuntimeError(f"no child of this process listens at port {port}")


def fetched(here: Laptop) -> tuple[Path, Path]:
    """The model package, and MLflow's purchase model, as files."""
    assert here.package.model_uri is not None
    archive, model = here.folder / "model.tar.gz", here.folder / "mlflow-model"
    location = urlsplit(here.package.model_uri)
    client(here.context.session, "s3").download_file(location.netloc, location.path.lstrip("/"), str(archive))
    registered = here.package.mlflow_model("purchase")
    uri = f"models:/{registered['name']}/{registered['version']}"
    command = [sys.executable, "-m", "mlflow", "artifacts", "download", "--artifact-uri", uri, "--dst-path", str(model)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return archive, model


def check_same(port: int, mlflow_port: int, body: str, mlflow_body: str) -> None:
    """Raise RuntimeError unless both servers give one record the same probability."""
    ours = json.loads(_post(port, body))["response"]["probability"]
    theirs = json.loads(_post(mlflow_port, mlflow_body))["predictions"][0]["probability"]
    if abs(ours - theirs) > 1e-9:
        raise RuntimeError(f"`serve` gives {body} the probability {ours}, MLflow {theirs}")


def _post(port: int, body: str) -> bytes:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", body.encode(), HEADERS)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return bytes(answer.read())


# --- through localcloud -----------------------------------------------------------------------------------------------


def deploy(here: Laptop) -> int:
    """A real-time endpoint that captures everything, as the stages' do; gives the port of its server."""
    serve(here.context, here.package.arn, CARDHOLDERS, ENDPOINT)
    process = next(child for child in psutil.Process().children() if _is_localcloud(child, here.servers.port))
    for child in process.children(recursive=True):
        if port := child.environ().get("SAGEMAKER_BIND_TO_PORT"):
            return int(port)
    raise RuntimeError("localcloud has no server of the endpoint's below it")


def _is_localcloud(process: psutil.Process, port: int) -> bool:
    words = process.cmdline()
    return "localcloud" in words and str(port) in words


def plain(port: int, path: str, headers: dict[str, str]) -> Callable[[bytes], None]:
    """A client by http.client, with one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(body: bytes) -> None:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"port {port} answers {path} with {answer.status}: {content[:300]!r}")

    return ask


def by_boto3(here: Laptop, port: int) -> Callable[[bytes], None]:
    """A client as programs on AWS have it."""
    runtime = boto3.Session(region_name=here.context.names.region).client(
        "sagemaker-runtime",
        endpoint_url=f"http://127.0.0.1:{port}",
        config=Config(retries={"total_max_attempts": 1}),
    )

    def ask(body: bytes) -> None:
        runtime.invoke_endpoint(EndpointName=ENDPOINT, ContentType=JSON, Body=body)["Body"].read()

    return ask


@contextmanager
def same_answer(answer: bytes) -> Iterator[int]:
    """A server that answers everything with the same bytes: its port."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "benchmarks/peers/same_answer.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(answer)
        process.stdin.close()
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def answer_bytes(port: int, path: str, headers: dict[str, str], body: str) -> bytes:
    """All that a server sends as its answer to one request, head and body."""
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n{head}\r\n{body}"
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(request.encode())
        received = b""
        while True:
            received += connection.recv(65536)
            start, whole, content = received.partition(b"\r\n\r\n")
            lengths = [line for line in start.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            if whole and len(content) >= int(lengths[0].partition(b":")[2]):
                return received


def through_localcloud(here: Laptop, bodies: list[str], rounds: int, calls: int) -> dict[str, Any]:
    """Milliseconds of one client, by whom it asks and how; medians of each round."""
    server_port, port = deploy(here), here.servers.port
    path, headers = invocation(here.context, ENDPOINT)
    sent = [body.encode() for body in bodies]
    with same_answer(answer_bytes(port, path, headers, bodies[0])) as same_port:
        clients = {
            "server": plain(server_port, "/invocations", HEADERS),
            "localcloud": plain(port, path, headers),
            "localcloud_boto3": by_boto3(here, port),
            "same_answer": plain(same_port, path, headers),
            "same_answer_boto3": by_boto3(here, same_port),
        }
        found: dict[str, list[float]] = {name: [] for name in clients}
        for _ in range(rounds):
            for name, ask in clients.items():
                found[name].append(_median_ms(ask, sent, calls))
    medians = {name: statistics.median(values) for name, values in found.items()}
    botocore = medians["same_answer_boto3"] - medians["same_answer"]
    added = medians["localcloud_boto3"] - medians["server"]
    return {
        "median_ms": _rounded(medians),
        "rounds_ms": {name: [round(value, 2) for value in values] for name, values in found.items()},
        "localcloud_adds_ms": round(medians["localcloud"] - medians["server"], 2),
        "with_boto3_adds_ms": round(added, 2),
        "of_which_botocore_ms": round(botocore, 2),
        "of_which_localcloud_ms": round(added - botocore, 2),
    }


def _median_ms(ask: Callable[[bytes], None], bodies: Sequence[bytes], calls: int) -> float:
    taken = []
    for number in range(WARM_CALLS + calls):
        begin = time.perf_counter()
        ask(bodies[number % len(bodies)])
        taken.append((time.perf_counter() - begin) * 1000)
    return statistics.median(taken[WARM_CALLS:])


# --- the whole --------------------------------------------------------------------------------------------------------


def measure_servers(out: Console, files: tuple[Path, Path], folder: Path, rounds: int) -> dict[str, Any]:
    """`serve` at a steady rate, and beside MLflow."""
    bodies = requests(500)
    mlflow_bodies = [json.dumps({"dataframe_records": [json.loads(body)]}) for body in bodies]
    at_rate: list[dict[str, float]] = []
    found: dict[str, list[dict[str, float]]] = {"serve": [], "mlflow": []}
    with image_server(files[0]) as (process, port):
        steady(port, bodies, 2)
        for number in range(rounds):
            out.print(f"steady, round {number + 1} of {rounds} …")
            at_rate.append(steady(port, bodies, STEADY_SECONDS))
        with mlflow_server(files[1], folder) as (mlflow_process, mlflow_port):
            check_same(port, mlflow_port, bodies[0], mlflow_bodies[0])
            servers = {"serve": (process, port, bodies), "mlflow": (mlflow_process, mlflow_port, mlflow_bodies)}
            for server in servers.values():
                closed(*server, 1)
            for number in range(rounds):
                out.print(f"eight clients, round {number + 1} of {rounds} …")
                for name, server in servers.items():
                    found[name].append(closed(*server, CLOSED_SECONDS))
    each = [
        ours["requests_per_second"] / theirs["requests_per_second"]
        for ours, theirs in zip(found["serve"], found["mlflow"], strict=True)
    ]
    return {
        "steady": {"requests_per_second": PER_SECOND, "connections": CONNECTIONS, **_medians(at_rate)},
        "steady_rounds": [_rounded(one) for one in at_rate],
        "eight_clients": {name: _medians(values) for name, values in found.items()},
        "eight_clients_rounds": {name: [_rounded(one) for one in values] for name, values in found.items()},
        "times_mlflow": {"median": round(statistics.median(each), 2), "all": [round(one, 2) for one in each]},
    }


def _medians(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    return _rounded({name: statistics.median(one[name] for one in rounds) for name in rounds[0]})


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 2) for name, value in figures.items()}


def show(out: Console, result: dict[str, Any]) -> None:
    steadily, clients, endpoint = result["steady"], result["eight_clients"], result["endpoint"]
    table = Table("figure", "median", "goal")
    table.add_row("`serve` at 50 a second, median", f"{steadily['p50_ms']:.2f} ms", "3 ms")
    table.add_row("`serve` at 50 a second, 99th percentile", f"{steadily['p99_ms']:.2f} ms", "10 ms")
    table.add_row("`serve`, eight clients", f"{clients['serve']['requests_per_second']:.0f} /s")
    table.add_row("MLflow, eight clients", f"{clients['mlflow']['requests_per_second']:.0f} /s")
    table.add_row("`serve` over MLflow", f"{result['times_mlflow']['median']:.1f} times", "3 times")
    table.add_row("localcloud adds, plain HTTP", f"{endpoint['localcloud_adds_ms']:.2f} ms", "< 5 ms")
    table.add_row("localcloud and boto3 add", f"{endpoint['with_boto3_adds_ms']:.2f} ms")
    table.add_row("  of which botocore's own", f"{endpoint['of_which_botocore_ms']:.2f} ms")
    table.add_row("  of which localcloud", f"{endpoint['of_which_localcloud_ms']:.2f} ms", "< 5 ms")
    out.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    out = Console()
    with laptop(out) as here:
        files = fetched(here)
        out.print("through localcloud …")
        endpoint = through_localcloud(here, requests(500), rounds, CALLS)
        here.servers.stop()  # what follows has both cores for itself
        result = {"rounds": rounds, "goals": GOALS, **measure_servers(out, files, here.folder, rounds)}
    result["endpoint"] = endpoint
    keep("serving", result)
    show(out, result)


if __name__ == "__main__":
    main()
