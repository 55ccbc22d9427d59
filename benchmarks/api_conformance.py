"""Whether the REST API ever answers outside its own document: thousands of requests that schemathesis makes of it.

    .venv/bin/python benchmarks/api_conformance.py [--seconds 420] [--seed 1]

On a stack of its own (temporary state, free ports, configs/local.yml) with both workloads' models in production and the
API in front of them, with limits that are not reached. schemathesis takes the document that callers are shown
(`mlops api`) and asks each operation by its examples, by the edges of its schema, and by random requests, right and
wrong ones, for as long as it is given. Every answer is held against the document: its status, content type, headers
and schema; and any 5xx is a failure.

Goal: 10,000 cases, no failure. The result is kept in benchmarks/results/api_conformance.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from peers.api_harness import Served, served
from peers.deployment_harness import keep
from rich.console import Console

from pipelines.api.deployment import read_document
from pipelines.api.document import public

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
GOAL_CASES = 10_000
# schemathesis takes longer to make a request than the API to answer it, most of all one with hundreds of records.
GROUPS = (("/predictions",), ("/feedback", "/forecasts", "/health"), ("/predictions:batch",))


def measure(here: Served, seconds: int, seed: int) -> dict[str, Any]:
    """Run schemathesis, a process for each group of paths, and give what their reports say."""
    context, folder = here.laptop.context, here.laptop.folder
    document = folder / "openapi.json"
    document.write_text(json.dumps(public(read_document(context.paths), here.access.url)))
    program = Path(sys.executable).with_name("schemathesis")
    words = ["run", str(document), "--url", here.access.url, "--seed", str(seed), "--max-time", str(seconds)]
    words += ["-H", f"Authorization: Bearer {here.access.token().value}"]
    words += ["--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing", "--max-examples", "1000"]
    words += ["--continue-on-failure", "--no-shrink", "--report", "json"]
    running = []
    for number, paths in enumerate(GROUPS):
        # It keeps files where it runs.
        own = folder / str(number)
        own.mkdir()
        report = ["--report-json-path", "report.json", *(word for path in paths for word in ("--include-path", path))]
        log = (own / "log").open("w")
        running.append((own, subprocess.Popen([str(program), *words, *report], cwd=own, stdout=log, stderr=log)))
    found = []
    for own, process in running:
        process.wait()
        found.append(json.loads((own / "report.json").read_text()))
    return {
        "schemathesis": found[0]["schemathesis_version"],
        "seed": seed,
        "seconds": round(max(one["running_time"] for one in found), 1),
        "cases": sum(one["test_cases"]["generated"] for one in found),
        "cases_by_path": {
            " ".join(paths): one["test_cases"]["generated"] for paths, one in zip(GROUPS, found, strict=True)
        },
        "operations": sum(one["operations"]["tested"] for one in found),
        "failures": [failure for one in found for failure in one["failures"]],
        "errors": [error for one in found for error in one["errors"]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=420)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    out = Console()
    with served(out) as here:
        found = measure(here, arguments.seconds, arguments.seed)
    keep("api_conformance", {"goal_cases": GOAL_CASES, "checks": CHECKS, **found})
    out.print(f"{found['cases']} cases in {found['seconds']} s: {len(found['failures'])} kinds of failures")


if __name__ == "__main__":
    main()
