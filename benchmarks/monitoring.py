"""A day of hourly monitoring of both workloads: how long localcloud takes to let it pass.

A laptop of its own with both workloads in staging and in production. Every hour the minutes and the callers of the hour
come (`pipelines/cli/demo_world.py`, not counted: they are the world, and take no part on AWS either), then the clock is
moved on by an hour, with all that it brings: a schedule for each monitored stage, the functions that start the
pipelines, an evaluation each in a process of its own (the forecaster's asks the live endpoint), metrics, alarms. The
goal: under 60 s for the 24 hours, on two cores. It also counts what was done, and what failed: nothing must. Beside
the time stands the processor time of localcloud and of all that it starts, which says more of a machine that has much
else to do.

    .venv/bin/python benchmarks/monitoring.py [--hours 24]

The result is kept in benchmarks/results/monitoring.json.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import psutil
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parent))

from peers.deployment_harness import CARDHOLDERS, ROOT, Laptop, built, keep, laptop

from localcloud import instance
from pipelines import executions, ingest, monitoring
from pipelines.cli import demo_loop, demo_stages
from pipelines.cli.demo_world import Files, World
from pipelines.feature_groups import MINUTES
from pipelines.names import MONITORED
from pipelines.session import client

FORECASTER = MINUTES.workload
HOUR = timedelta(hours=1)


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--hours", type=int, default=24)
    hours = arguments.parse_args().hours
    out = Console(stderr=True)
    with laptop(out) as there:
        world, begin = prepared(out, there, hours)
        # The first hour makes what is made once: the function's process, the detectors' history.
        let_pass(there, world, begin)
        took, processor, load = [], [], []
        for number in range(1, hours + 1):
            end = begin + number * HOUR
            seconds, of_processor = let_pass(there, world, end)
            took.append(seconds)
            processor.append(of_processor)
            load.append(os.getloadavg()[0])
            out.print(f"{end:%H:%M} {seconds:.1f} s, of the processor {of_processor:.1f} s")
        done = counted(there, hours)
    result = {
        "hours": hours,
        "seconds": round(sum(took), 1),
        "seconds_per_hour": {"median": round(statistics.median(took), 2), "most": round(max(took), 2)},
        "processor_seconds": round(sum(processor), 1),
        "processor_seconds_per_hour": {
            "median": round(statistics.median(processor), 2),
            "most": round(max(processor), 2),
        },
        "load": round(statistics.mean(load), 1),
        **done,
    }
    keep("monitoring", result)
    print(json.dumps(result, indent=2))


def prepared(out: Console, there: Laptop, hours: int) -> tuple[World, object]:
    """Both workloads in both stages, and the world of the hours to come."""
    context, made = there.context, there.folder
    now = context.now()
    begin = now.replace(minute=0, second=0, microsecond=0) + HOUR
    run("seed_code.forecaster.generate", "--out", str(made / "minutes.parquet"), "--days", "3", "--end", stamp(begin))
    ingest.write(context.session, MINUTES.name(context.names), ingest.read(made / "minutes.parquet"))
    built(out, context, FORECASTER)
    for workload in (CARDHOLDERS, FORECASTER):
        if not demo_stages.deploy(out, context, workload):
            raise SystemExit(f"{workload} could not be deployed")
    sagemaker = client(context.session, "sagemaker")
    first = executions.latest(sagemaker, context.names.pipeline(CARDHOLDERS, "build"))
    build = executions.read(sagemaker, first)
    files = Files(made)
    run(*files.making_minutes(context, begin + (hours + 1) * HOUR)[1:])
    run(*files.making_holders(context, build)[1:])
    return World(context, files), demo_loop.Timetable.after(context.now()).first


def run(module: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def stamp(moment: object) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def let_pass(there: Laptop, world: World, end: object) -> tuple[float, float]:
    """The seconds that localcloud takes for the hour that ends a minute after `end`, and those of the processor."""
    world.hour(end)
    left = end + timedelta(minutes=1) - there.context.now()
    localcloud = psutil.Process(instance.query(there.servers.port)["pid"])
    before, begin = processor_seconds(localcloud), time.perf_counter()
    there.servers.advance(left)
    return time.perf_counter() - begin, processor_seconds(localcloud) - before


def processor_seconds(localcloud: psutil.Process) -> float:
    """Of a process, of its children that have ended, and of those that run."""
    total = sum(localcloud.cpu_times()[:4])
    for child in localcloud.children():
        with contextlib.suppress(psutil.Error):
            total += sum(child.cpu_times()[:2])
    return total


def counted(there: Laptop, hours: int) -> dict[str, object]:
    """What became of the executions, and how many evaluations were scored."""
    context = there.context
    sagemaker, s3 = client(context.session, "sagemaker"), client(context.session, "s3")
    ended, verdicts = Counter(), Counter()
    for workload, stages in MONITORED.items():
        pages = sagemaker.get_paginator("list_pipeline_executions").paginate(
            PipelineName=context.names.pipeline(workload, "monitor")
        )
        ended.update(one["PipelineExecutionStatus"] for page in pages for one in page["PipelineExecutionSummaries"])
        for stage in stages:
            found = monitoring.evaluations(s3, context.names, workload, stage, newest=hours)
            verdicts.update(f"{workload} {stage}: {one.verdict}" for one in found)
    return {"executions": dict(ended), "verdicts": dict(sorted(verdicts.items()))}


if __name__ == "__main__":
    main()
