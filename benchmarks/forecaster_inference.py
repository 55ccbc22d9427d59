"""How fast the image answers: the server as a process, asked over HTTP, and what it takes to start.

    .venv/bin/python benchmarks/forecaster_inference.py [--rounds 200]

For prediction_length 5 and 30, two layers of forty cells, student-T, 100 samples: milliseconds from request to answer
of one series and of 100, each with three hours of minutes, and of one without HTTP; seconds from start to the first
answered ping (median of five starts); resident memory when ready and after all requests. Beside each latency its
processor time, which a busy machine disturbs less.
Goals: one series under 2 ms at 5 and 10 ms at 30; 100 series under 100 ms and 800 ms; ready under 1 s, under 120 MB.
"""

import argparse
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from peers.forecaster_harness import ROOT, keep, minutes

from seed_code.forecaster import artifact, hyperparameters, train
from seed_code.forecaster.forecasts import Forecaster
from seed_code.forecaster.records import Series

GOALS_MS = {(5, 1): 2, (5, 100): 100, (30, 1): 10, (30, 100): 800}
STARTS = 5


def model(folder: Path, horizon: int) -> None:
    """A model trained just enough to have weights of a usual size."""
    settings = hyperparameters.parse(
        {"time_freq": "1min", "context_length": f"{horizon}", "prediction_length": f"{horizon}", "epochs": "5"}
    )
    data = train.Data.of([Series(29_000_000, minutes(7), (), np.zeros((0, 0), np.float32))], settings)
    fitted = train.fit(data, lambda _: None)
    artifact.save(folder / "model", train.export(data, fitted.model), {})


def start(folder: Path) -> tuple[subprocess.Popen[bytes], int, float]:
    """A server, its port, and the seconds until it answered."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "SAGEMAKER_BASE_DIR": str(folder),
        "SAGEMAKER_BIND_TO_PORT": str(port),
    }
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "seed_code.forecaster.serve"], env=environment, stderr=subprocess.DEVNULL
    )
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request("GET", "/ping")
            assert connection.getresponse().status == 200
            return process, port, time.perf_counter() - begin
        except ConnectionError:
            time.sleep(0.005)


def memory_mb(process: subprocess.Popen[bytes], field: str = "VmRSS") -> float:
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith(field):
            return round(int(line.split()[1]) / 1024, 1)
    raise RuntimeError(f"no {field} of process {process.pid}")


def cpu_s(process: subprocess.Popen[bytes]) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def request(count: int) -> dict[str, object]:
    history = [None if np.isnan(value) else round(float(value), 2) for value in minutes(1)[-220:]]
    return {"instances": [{"start": "2026-01-01 00:00:00", "target": history}] * count}


def without_http_ms(folder: Path, rounds: int) -> float:
    """The same answer to one series, in this process."""
    forecaster, asked, taken = Forecaster(artifact.load(folder / "model")), request(1), []
    for _ in range(rounds + 3):
        begin = time.perf_counter()
        forecaster.answer(asked)
        taken.append((time.perf_counter() - begin) * 1000)
    return round(statistics.median(taken[3:]), 2)


def latencies(process: subprocess.Popen[bytes], port: int, count: int, rounds: int) -> dict[str, float]:
    body = json.dumps(request(count))
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    taken = []
    for attempt in range(rounds + 3):
        if attempt == 3:  # the first ones warm up
            before = cpu_s(process)
        begin = time.perf_counter()
        connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        if attempt >= 3:
            taken.append((time.perf_counter() - begin) * 1000)
        assert answer.status == 200, content[:300]
    ordered = sorted(taken)
    return {
        "p50_ms": round(statistics.median(ordered), 2),
        "p99_ms": round(ordered[int(0.99 * (len(ordered) - 1))], 2),
        "least_ms": round(ordered[0], 2),
        "cpu_ms": round((cpu_s(process) - before) / rounds * 1000, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    arguments = parser.parse_args()
    result: dict[str, object] = {"samples": 100, "rounds": arguments.rounds}
    for horizon in (5, 30):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            model(folder, horizon)
            ready = []
            for attempt in range(STARTS):
                process, port, seconds = start(folder)
                ready.append(seconds)
                if attempt < STARTS - 1:
                    process.terminate()
                    process.wait()
            at_start = memory_mb(process)
            figures = {
                f"{count}_series": latencies(process, port, count, arguments.rounds if count == 1 else 20)
                | {"goal_ms": GOALS_MS[horizon, count]}
                for count in (1, 100)
            }
            result[f"prediction_length_{horizon}"] = {
                **figures,
                "1_series_without_http_ms": without_http_ms(folder, arguments.rounds),
                "ready_s": round(statistics.median(ready), 3),
                "memory_ready_mb": at_start,
                "memory_peak_mb": memory_mb(process, "VmHWM"),
            }
            process.terminate()
            process.wait()
    keep("forecaster_inference", result)


if __name__ == "__main__":
    main()
