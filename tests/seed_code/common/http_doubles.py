"""Servers on loopback for MLflow and an endpoint: they keep what they were told, and fail when told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Answer = tuple[int, bytes]


@contextmanager
def serving(answer: Callable[[str, str, dict[str, str], bytes], Answer]) -> Iterator[str]:
    """A server at the address that it gives; `answer(method, path with query, headers, body)`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, content = answer(self.command, self.path, dict(self.headers), body)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content)
            self.close_connection = True

        do_POST = do_GET

        def log_message(self, *words: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Mlflow:
    """MLflow's REST API, as far as the monitoring asks.

    Attributes:
        runs: by id, as runs/create has them.
        metrics: of each run, as a set: MLflow keeps the same metric of the same moment once.
        calls: the paths that were asked for.
        failing: answers 503 to everything while it is true.
    """

    experiments: dict[str, str] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    metrics: dict[str, set[tuple[str, float, int, int]]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    failing: bool = False

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if self.failing:
            return 503, b"not now"
        parts = urlsplit(path)
        operation = parts.path.removeprefix("/api/2.0/mlflow/")
        self.calls.append(operation)
        told = json.loads(body) if method == "POST" else {key: one for key, (one,) in parse_qs(parts.query).items()}
        status, document = getattr(self, operation.replace("/", "_").replace("-", "_"))(told)
        return status, json.dumps(document).encode()

    def experiments_get_by_name(self, told: dict[str, Any]) -> tuple[int, Any]:
        if told["experiment_name"] not in self.experiments:
            return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none"}
        return 200, {"experiment": {"experiment_id": self.experiments[told["experiment_name"]]}}

    def experiments_create(self, told: dict[str, Any]) -> tuple[int, Any]:
        if told["name"] in self.experiments:
            return 400, {"error_code": "RESOURCE_ALREADY_EXISTS", "message": "there"}
        self.experiments[told["name"]] = str(len(self.experiments) + 1)
        return 200, {"experiment_id": self.experiments[told["name"]]}

    def runs_search(self, told: dict[str, Any]) -> tuple[int, Any]:
        key, _, value = told["filter"].removeprefix("tags.").partition(" = ")
        wanted = {"key": key.strip("`"), "value": value.strip("'")}
        found = [{"info": {"run_id": name}} for name, run in self.runs.items() if wanted in run["tags"]]
        return 200, {"runs": found[: told["max_results"]]}

    def runs_create(self, told: dict[str, Any]) -> tuple[int, Any]:
        name = f"run-{len(self.runs) + 1}"
        self.runs[name] = told
        return 200, {"run": {"info": {"run_id": name}}}

    def runs_log_batch(self, told: dict[str, Any]) -> tuple[int, Any]:
        if told["run_id"] not in self.runs:
            return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none"}
        kept = self.metrics.setdefault(told["run_id"], set())
        kept |= {(one["key"], one["value"], one["timestamp"], one["step"]) for one in told["metrics"]}
        return 200, {}

    def runs_set_tag(self, told: dict[str, Any]) -> tuple[int, Any]:
        self.runs[told["run_id"]]["tags"].append({"key": told["key"], "value": told["value"]})
        return 200, {}
