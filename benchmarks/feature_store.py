"""The feature store: how many records a second localcloud takes and gives, with clients that wait for every answer.

    python benchmarks/feature_store.py [--clients 4] [--records 5000]

Starts a localcloud with temporary state and writes, reads and counts a group like the forecaster's:

    put_record              by boto3 clients, a process each, as a writer on AWS is
    put_record_plain_http   by clients that send the same with http.client, which shows what the server could take
    get_record              by boto3 clients
    batch_get_record        by boto3 clients, 100 records a call
    count_query             an Athena query right after the last record, which waits until all are in Parquet files in
                            S3, one for each hour of event time; and the same query again

The clients share the machine with the server, and a boto3 client's own work (serialising, signing, parsing) is several
times the server's. So the CPU time of both is given for each record, beside the rate, which can be no more than the
number of cores divided by the two together. On a busy machine the rate says little, the CPU times still something.
`server_afterwards` is what the server does for the offline store once the clients are done; a part of it may fall into
the time before. Figures go to `benchmarks/results`.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import psutil
from botocore.config import Config

from tests.roles import make_role

RESULT = Path(__file__).parent / "results" / "feature_store.json"
GROUP = "minutes"
BATCH = 100
_START = datetime(2024, 1, 1, tzinfo=UTC)


def client(service: str, port: int) -> Any:
    """A boto3 client of the localcloud at a port."""
    return boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-west-1").client(
        service, endpoint_url=f"http://127.0.0.1:{port}", config=Config(retries={"total_max_attempts": 1})
    )


def minute(number: int) -> str:
    """The minute of a number: its record's identifier."""
    return (_START + timedelta(minutes=number)).strftime("%Y-%m-%dT%H:%M:%SZ")


def record(number: int) -> list[dict[str, str]]:
    """One minute's record."""
    values = {
        "tx_minute": minute(number),
        "total_nb_trx_1min": str(200 + number % 97),
        "total_fee_1min": str(1_500_000.25 + number),
        "avg_fee_1min": str(7500.5 + number % 13),
        "event_time": minute(number),
    }
    return [{"FeatureName": name, "ValueAsString": value} for name, value in values.items()]


Call = Callable[[int], Any]
"""Puts or gets the record of a number (the hundred records from it on, in a batch)."""


def work(port: int, kind: str, first: int, count: int, step: int, ready: Any, go: Any, measured: Any) -> None:
    """One client: `count` calls, one after the other; gives each call's time, and its CPU time in all."""
    call = CLIENTS[kind](port)
    call(first)
    ready.put(first)
    go.wait()
    taken, cpu = [], time.process_time()
    for number in range(first, first + count * step, step):
        begun = time.perf_counter()
        call(number)
        taken.append(time.perf_counter() - begun)
    measured.put((taken, time.process_time() - cpu))


def _put(port: int) -> Call:
    runtime = client("sagemaker-featurestore-runtime", port)
    return lambda number: runtime.put_record(FeatureGroupName=GROUP, Record=record(number))


def _put_plain(port: int) -> Call:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    scope = "test/20240101/eu-west-1/sagemaker/aws4_request"
    headers = {
        "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0",
        "Content-Type": "application/json",
    }

    def put(number: int) -> None:
        connection.request("PUT", f"/FeatureGroup/{GROUP}", json.dumps({"Record": record(number)}), headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"PutRecord answers {answer.status}")

    return put


def _get(port: int) -> Call:
    runtime = client("sagemaker-featurestore-runtime", port)

    def get(number: int) -> None:
        answer = runtime.get_record(FeatureGroupName=GROUP, RecordIdentifierValueAsString=minute(number))
        if len(answer["Record"]) != 5:
            raise SystemExit(f"GetRecord gives {answer['Record']}")

    return get


def _batch_get(port: int) -> Call:
    runtime = client("sagemaker-featurestore-runtime", port)

    def get(first: int) -> None:
        wanted = [minute(number) for number in range(first, first + BATCH)]
        answer = runtime.batch_get_record(
            Identifiers=[{"FeatureGroupName": GROUP, "RecordIdentifiersValueAsString": wanted}]
        )
        if len(answer["Records"]) != BATCH:
            raise SystemExit(f"BatchGetRecord gives {len(answer['Records'])} of {BATCH} records")

    return get


CLIENTS: dict[str, Callable[[int], Call]] = {
    "put_record": _put,
    "put_record_plain_http": _put_plain,
    "get_record": _get,
    "batch_get_record": _batch_get,
}


def make_group(port: int) -> str:
    """A feature group like the forecaster's; gives its table."""
    client("s3", port).create_bucket(Bucket="bench", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    sagemaker = client("sagemaker", port)
    types = {
        "tx_minute": "String",
        "total_nb_trx_1min": "Integral",
        "total_fee_1min": "Fractional",
        "avg_fee_1min": "Fractional",
        "event_time": "String",
    }
    sagemaker.create_feature_group(
        FeatureGroupName=GROUP,
        RecordIdentifierFeatureName="tx_minute",
        EventTimeFeatureName="event_time",
        FeatureDefinitions=[{"FeatureName": name, "FeatureType": kind} for name, kind in types.items()],
        OnlineStoreConfig={"EnableOnlineStore": True},
        OfflineStoreConfig={"S3StorageConfig": {"S3Uri": "s3://bench/offline"}},
        RoleArn=make_role(client("iam", port), "bench"),
    )
    while True:
        group = sagemaker.describe_feature_group(FeatureGroupName=GROUP)
        if group["FeatureGroupStatus"] != "Creating":
            return str(group["OfflineStoreConfig"]["DataCatalogConfig"]["TableName"])
        time.sleep(0.05)


def count_rows(port: int, table: str) -> tuple[int, float]:
    """How many records the offline store has, and how long the query took."""
    athena = client("athena", port)
    begun = time.perf_counter()
    execution = athena.start_query_execution(
        QueryString=f'SELECT count(DISTINCT tx_minute) FROM "{table}"',
        QueryExecutionContext={"Database": "sagemaker_featurestore"},
        ResultConfiguration={"OutputLocation": "s3://bench/queries/"},
    )["QueryExecutionId"]
    while True:
        status = athena.get_query_execution(QueryExecutionId=execution)["QueryExecution"]["Status"]
        if status["State"] not in ("QUEUED", "RUNNING"):
            break
        time.sleep(0.01)
    if status["State"] != "SUCCEEDED":
        raise SystemExit(f"the query failed: {status['StateChangeReason']}")
    rows = athena.get_query_results(QueryExecutionId=execution)["ResultSet"]["Rows"]
    return int(rows[1]["Data"][0]["VarCharValue"]), time.perf_counter() - begun


def _settle(pid: int) -> None:
    """Wait until localcloud has done what it does after its start: it loads the leaf services in the background."""
    server = psutil.Process(pid)
    server.cpu_percent()
    while True:
        time.sleep(1)
        if server.cpu_percent() < 8:
            return


def _loop_seconds() -> float:
    """How long a fixed piece of Python takes here and now: 0.25 s on an idle core of the usual kind."""
    begun, total = time.process_time(), 0
    for number in range(5_000_000):
        total += number
    return time.process_time() - begun


def measure(port: int, pid: int, clients: int, kind: str, firsts: Sequence[int], calls: int) -> dict[str, Any]:
    """Let so many clients call at once; each begins with a number of its own."""
    step = BATCH if kind == "batch_get_record" else 1
    context = multiprocessing.get_context("spawn")
    ready, go, measured = context.Queue(), context.Event(), context.Queue()
    workers = [
        context.Process(target=work, args=(port, kind, first, calls, step, ready, go, measured)) for first in firsts
    ]
    for worker in workers:
        worker.start()
    for _ in workers:
        ready.get()
    _settle(pid)
    before, begun = _cpu(pid), time.perf_counter()
    go.set()
    results = [measured.get() for _ in workers]
    wall, cpu = time.perf_counter() - begun, _cpu(pid) - before
    for worker in workers:
        worker.join()
    _settle(pid)
    total = clients * calls * step
    ordered = sorted(value for taken, _ in results for value in taken)
    return {
        "records": total,
        "records_per_second": round(total / wall),
        "cpu_ms_per_record": {
            "server": round(1000 * cpu / total, 3),
            "server_afterwards": round(1000 * (_cpu(pid) - before - cpu) / total, 3),
            "client": round(1000 * sum(used for _, used in results) / total, 3),
        },
        "call_ms": {
            "p50": round(1000 * statistics.median(ordered), 2),
            "p99": round(1000 * ordered[int(len(ordered) * 0.99)], 2),
            "max": round(1000 * ordered[-1], 2),
        },
    }


def _cpu(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def main() -> None:
    """Start a localcloud, measure, and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--records", type=int, default=5000, help="of each client")
    options = parser.parse_args()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "localcloud", "up", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env={**environment, "AWS_DEFAULT_REGION": "eu-west-1"},
    )
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline().partition("http://127.0.0.1:")[2].split()[0])
        load, loop = os.getloadavg()[0], _loop_seconds()
        table = make_group(port)
        total = options.clients * options.records
        own = [number * options.records for number in range(options.clients)]
        result: dict[str, Any] = {"clients": options.clients}
        for kind, firsts, calls in (
            ("put_record", own, options.records),
            ("get_record", own, options.records),
            ("batch_get_record", own, options.records // BATCH),
            ("put_record_plain_http", [total + first for first in own], options.records),
        ):
            result[kind] = measure(port, process.pid, options.clients, kind, firsts, calls)
        # What nobody has waited for, so that the query has to: as many records again, in one burst.
        put = _put_plain(port)
        for number in range(2 * total, 3 * total):
            put(number)
        rows, seconds = count_rows(port, table)
        if rows != 3 * total:
            raise SystemExit(f"{3 * total} records were accepted, Athena finds {rows}")
        result["count_query"] = {
            "rows": rows,
            "seconds": round(seconds, 3),
            "seconds_again": round(count_rows(port, table)[1], 3),
        }
    finally:
        process.terminate()
        process.wait()
    result["machine"] = {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_before": round(load, 1),
        "loop_cpu_seconds": round(loop, 2),
        "python": platform.python_version(),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
