"""How quick and how small localcloud is: time to ready, idle memory, warm calls, sixteen clients at once.

    python benchmarks/localcloud.py [--calls 200] [--output benchmarks/results/localcloud.json]

Starts a localcloud of its own on a free port with a temporary state, and one with a kept state (whose calls are
journalled), measures both, prints a table and writes the figures as JSON. Calls are made by plain boto3 over HTTP, so
that botocore's own time (a good half of a small call) is inside. The sixteen clients at once are four processes of four
threads.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import psutil
from botocore.config import Config
from botocore.exceptions import ClientError

CLIENTS = 16
CLIENT_PROCESSES = 4
TARGETS = {
    "ready_seconds": 2.0,
    "idle_rss_megabytes": 300.0,
    "warm_call_milliseconds": 15.0,
    "server_errors": 0,
}


def _start(*arguments: str) -> tuple[subprocess.Popen[str], int, float]:
    """The process, its port, and the seconds from its start to its line that it is ready."""
    # Set, this would make every import compile again and hide what a user sees.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "localcloud", "up", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    seconds = time.perf_counter() - began
    return process, int(line.partition("http://127.0.0.1:")[2].split()[0]), seconds


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.wait(timeout=30)
    assert process.stdout is not None
    process.stdout.close()


def _client(port: int, service: str) -> Any:
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-west-1")
    return session.client(
        service, endpoint_url=f"http://127.0.0.1:{port}", config=Config(retries={"total_max_attempts": 1})
    )


def _settle(process: subprocess.Popen[str]) -> None:
    """Wait until the start's background work (imports, models) is over: no processor time for half a second."""
    watched = psutil.Process(process.pid)
    before = -1.0
    while (now := sum(watched.cpu_times()[:2])) - before > 0.02:
        before = now
        time.sleep(0.5)


def _operations(port: int) -> dict[str, Callable[[], object]]:
    s3, ssm, sts, logs, sagemaker = (_client(port, name) for name in ("s3", "ssm", "sts", "logs", "sagemaker"))
    s3.create_bucket(Bucket="bench", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_object(Bucket="bench", Key="k", Body=b"x" * 10_000)
    ssm.put_parameter(Name="/bench", Value="1", Type="String")
    sagemaker.create_model_package_group(ModelPackageGroupName="bench")
    logs.create_log_group(logGroupName="bench")
    logs.create_log_stream(logGroupName="bench", logStreamName="s")
    event = [{"timestamp": int(time.time() * 1000), "message": "a line"}]
    counter = iter(range(10**9))
    return {
        "s3 PutObject 10 kB": lambda: s3.put_object(Bucket="bench", Key="k", Body=b"x" * 10_000),
        "s3 GetObject 10 kB": lambda: s3.get_object(Bucket="bench", Key="k")["Body"].read(),
        "ssm PutParameter": lambda: ssm.put_parameter(Name="/bench", Value="2", Type="String", Overwrite=True),
        "ssm GetParameter": lambda: ssm.get_parameter(Name="/bench"),
        "sts GetCallerIdentity": lambda: sts.get_caller_identity(),
        "logs PutLogEvents": lambda: logs.put_log_events(logGroupName="bench", logStreamName="s", logEvents=event),
        "sagemaker CreateModelPackageGroup": lambda: sagemaker.create_model_package_group(
            ModelPackageGroupName=f"bench-{next(counter)}"
        ),
        "sagemaker DescribeModelPackageGroup": lambda: sagemaker.describe_model_package_group(
            ModelPackageGroupName="bench"
        ),
        "sagemaker ListModelPackageGroups": lambda: sagemaker.list_model_package_groups(MaxResults=10),
    }


def _median_milliseconds(call: Callable[[], object], calls: int) -> float:
    for _ in range(10):
        call()
    times = []
    for _ in range(calls):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


def _client_process(port: int, first: int, threads: int, rounds: int) -> tuple[int, int, float, float]:
    """Calls made, server errors, and the begin and end of the work of some clients, in one process."""
    clients = [[_client(port, name) for name in ("s3", "ssm", "sagemaker")] for _ in range(threads)]
    errors: list[int] = []

    def work(number: int) -> None:
        s3, ssm, sagemaker = clients[number]
        for turn in range(rounds):
            key = f"{first + number}/{turn}"
            for call in (
                lambda key=key: s3.put_object(Bucket="bench", Key=key, Body=b"y" * 1000),
                lambda key=key: s3.get_object(Bucket="bench", Key=key)["Body"].read(),
                lambda: ssm.get_parameter(Name="/bench"),
                lambda: sagemaker.describe_model_package_group(ModelPackageGroupName="bench"),
            ):
                try:
                    call()
                except ClientError as error:
                    errors.append(error.response["ResponseMetadata"]["HTTPStatusCode"])

    began = time.time()
    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return threads * rounds * 4, sum(1 for status in errors if status >= 500), began, time.time()


def _many_clients(port: int, rounds: int) -> dict[str, float]:
    each = CLIENTS // CLIENT_PROCESSES
    with ProcessPoolExecutor(CLIENT_PROCESSES) as pool:
        jobs = [pool.submit(_client_process, port, index * each, each, rounds) for index in range(CLIENT_PROCESSES)]
        done = [job.result() for job in jobs]
    seconds = max(end for *_, end in done) - min(begin for *_, begin, _ in done)
    calls = sum(entry[0] for entry in done)
    return {
        "clients": CLIENTS,
        "calls": calls,
        "calls_per_second": round(calls / seconds, 1),
        "server_errors": sum(entry[1] for entry in done),
    }


def _measure(calls: int, *arguments: str) -> dict[str, Any]:
    process, port, ready = _start(*arguments)
    try:
        _settle(process)
        idle = psutil.Process(process.pid).memory_info().rss / 1e6
        medians = {name: round(_median_milliseconds(call, calls), 2) for name, call in _operations(port).items()}
        return {
            "ready_seconds": round(ready, 2),
            "idle_rss_megabytes": round(idle, 1),
            "warm_call_milliseconds": medians,
            "sixteen_clients": _many_clients(port, max(1, calls // 10)),
        }
    finally:
        _stop(process)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=200, help="calls per operation")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "localcloud.json")
    arguments = parser.parse_args()
    # Byte code is written by this first start, as it is by a user's.
    _stop(_start()[0])
    with tempfile.TemporaryDirectory() as folder:
        results = {
            "temporary state": _measure(arguments.calls),
            "kept state": _measure(arguments.calls, "--state", str(Path(folder) / "state")),
        }
    machine = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(
        json.dumps({"machine": machine, "targets": TARGETS, "results": results}, indent=2) + "\n"
    )
    _print(results)


def _print(results: dict[str, dict[str, Any]]) -> None:
    rows: list[tuple[str, list[str], str]] = [
        ("ready", [f"{result['ready_seconds']:.2f} s" for result in results.values()], "< 2 s"),
        ("idle memory", [f"{result['idle_rss_megabytes']:.0f} MB" for result in results.values()], "< 300 MB"),
    ]
    for name in next(iter(results.values()))["warm_call_milliseconds"]:
        figures = [f"{result['warm_call_milliseconds'][name]:.1f} ms" for result in results.values()]
        rows.append((name, figures, "< 15 ms"))
    many = [result["sixteen_clients"] for result in results.values()]
    rows.append(("16 clients", [f"{entry['calls_per_second']:.0f}/s" for entry in many], ""))
    rows.append(("16 clients, 5xx", [str(entry["server_errors"]) for entry in many], "0"))
    print(f"{'':38}" + "".join(f"{name:>18}" for name in results) + f"{'target':>12}")
    for label, figures, target in rows:
        print(f"{label:38}" + "".join(f"{figure:>18}" for figure in figures) + f"{target:>12}")


if __name__ == "__main__":
    main()
