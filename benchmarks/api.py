"""What a prediction through the REST API takes, from end to end.

    .venv/bin/python benchmarks/api.py [--rounds 5] [--calls 400]

On a stack of its own (temporary state, free ports, configs/local.yml) with cardholders' model in production: one client
with one connection asks `POST /predictions` for holders that the feature store has, one request after the other, in a
process of its own by plain HTTP. Each request goes through the firewall, API Gateway, the authorizer, the function (a
process), the online store and the endpoint (another process). Beside it, in turn, what the same client needs for

    function        InvokeFunction with a prediction's event, without API Gateway
    endpoint        InvokeEndpoint with the record, without all that
    forecasts       a forecast from the cache, which reaches no function

The first requests warm everything and are not counted. Goals: 30 ms at the median, 80 ms at the 99th percentile. The
result is kept in benchmarks/results/api.json.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from peers.api_harness import Served, served
from peers.deployment_harness import CARDHOLDERS, JSON, invocation, keep, percentile
from rich.console import Console
from rich.table import Table

from pipelines.names import Names

GOALS_MS = {"median": 30, "p99": 80}
WARM_CALLS = 50
# The synthetic data's holders have names of its vocabulary; this one is always among them.
NAME = "C_Mason"


def inputs(count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Ordinary requests for a holder that the feature store has."""
    numbers, found = random.Random(seed), []
    for _ in range(count):
        usage = numbers.randint(1, 60)
        spend = round(usage * numbers.uniform(5, 400), 2)
        merchants, days = numbers.randint(1, usage), numbers.randint(1, 14)
        record = {"usage_freq": usage, "amount_spend": spend, "uniq_merchant": merchants, "k": days, "name": NAME}
        found.append(record)
    return found


Ask = Callable[[dict[str, Any]], bytes]


def _asker(port: int, method: str, path: str, headers: dict[str, str], body_of: Callable[[Any], bytes | None]) -> Ask:
    """Asks over one connection. Raises RuntimeError for an answer other than 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def ask(record: dict[str, Any]) -> bytes:
        connection.request(method, path, body_of(record), headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{method} {path} was answered {answer.status}: {content[:300]!r}")
        return content

    return ask


def ways(here: Served) -> dict[str, Ask]:
    """The ways to ask, each over a connection of its own."""
    context, port = here.laptop.context, here.laptop.servers.port
    path = urlsplit(here.access.url).path
    # Without a User-Agent, AWS's common rules turn a request away.
    agent = {"User-Agent": "benchmark"}
    token = {**agent, "Authorization": f"Bearer {here.access.token().value}"}
    endpoint_path, signed = invocation(context, context.names.endpoint(CARDHOLDERS, "prod"))
    scope = signed["Authorization"].replace("/sagemaker/", "/lambda/")
    function_path = f"/2015-03-31/functions/{context.names.function('predictions')}/invocations"
    posted = {**token, "Content-Type": JSON}
    return {
        "prediction": _asker(port, "POST", f"{path}/predictions", posted, _prediction),
        "function": _asker(port, "POST", function_path, {"Authorization": scope}, _Event(context.names)),
        "endpoint": _asker(port, "POST", endpoint_path, signed, _record),
        "forecasts": _asker(port, "GET", f"{path}/forecasts?minutes=5", token, lambda _: None),
    }


def _prediction(record: dict[str, Any]) -> bytes:
    return json.dumps({"input": record}).encode()


def _record(record: dict[str, Any]) -> bytes:
    return json.dumps({key: value for key, value in record.items() if key != "name"}).encode()


class _Event:
    """What API Gateway sends the function."""

    def __init__(self, names: Names) -> None:
        self._account_id = names.account_id

    def __call__(self, record: dict[str, Any]) -> bytes:
        event = {
            "resource": "/predictions",
            "path": "/predictions",
            "httpMethod": "POST",
            "headers": {"Content-Type": JSON},
            "multiValueHeaders": {"Content-Type": [JSON]},
            "queryStringParameters": None,
            "multiValueQueryStringParameters": None,
            "pathParameters": None,
            "stageVariables": None,
            "requestContext": {
                "accountId": self._account_id,
                "path": "/prod/predictions",
                "resourcePath": "/predictions",
                "httpMethod": "POST",
                "requestId": "00000000-0000-4000-8000-000000000000",
                "requestTimeEpoch": int(time.time() * 1000),
                "stage": "prod",
            },
            "body": json.dumps({"input": record}),
            "isBase64Encoded": False,
        }
        return json.dumps(event).encode()


def milliseconds(ask: Ask, records: Sequence[dict[str, Any]]) -> list[float]:
    taken = []
    for record in records:
        begun = time.perf_counter()
        ask(record)
        taken.append((time.perf_counter() - begun) * 1000)
    return taken


def measure(here: Served, rounds: int, calls: int) -> dict[str, Any]:
    """The ways in turn, round by round."""
    asking = ways(here)
    for ask in asking.values():
        milliseconds(ask, inputs(WARM_CALLS))
    stored = json.loads(asking["prediction"](inputs(1)[0]))["response"]["stored_features"]
    if stored != "used":
        raise RuntimeError(f"the feature store was not asked as it should: stored_features is {stored}")
    taken: dict[str, list[list[float]]] = {name: [] for name in asking}
    for number in range(rounds):
        for name, ask in asking.items():
            taken[name].append(milliseconds(ask, inputs(calls, seed=number)))
    return {
        name: {
            "median_ms": round(statistics.median(statistics.median(one) for one in each), 2),
            "p99_ms": round(statistics.median(percentile(one, 99) for one in each), 2),
            "longest_ms": round(max(max(one) for one in each), 1),
        }
        for name, each in taken.items()
    }


def show(out: Console, found: dict[str, Any]) -> None:
    table = Table(title="Through the REST API, one client, warm")
    for heading in ("", "median ms", "99th percentile ms", "longest ms"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, figures in found.items():
        table.add_row(name, *(str(figure) for figure in figures.values()))
    out.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=400)
    arguments = parser.parse_args()
    out = Console()
    with served(out) as here:
        found = measure(here, arguments.rounds, arguments.calls)
    keep("api", {"rounds": arguments.rounds, "calls": arguments.calls, "goals_ms": GOALS_MS, "ways": found})
    show(out, found)


if __name__ == "__main__":
    main()
