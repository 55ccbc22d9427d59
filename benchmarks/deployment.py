"""From a person's approval to a model that is served, and what the callers notice of it.

    .venv/bin/python benchmarks/deployment.py [--rounds 3]

On a stack of its own (temporary state, free ports, configs/local.yml), with one package that cardholders' build
pipeline has registered from little data. Every round registers a copy of it as a new version, so that each deployment
is an update of an endpoint:

    staging      seconds from the approval (UpdateModelPackage) until the execution of deploy-staging has Succeeded: all
                 at once, and tested by the golden requests
    prod         seconds from the approval for production until deploy-prod has Succeeded: a canary of half of the
                 machines, the bake, the rest, the tests; and the same less the bake, which is configured waiting

Both by the times that localcloud gives, of one clock. Each step's own seconds are in the result.

Then production is asked 50 times a second, at a steady rate from two connections in a process of its own, by plain HTTP
(no retries), with requests that a sound model answers, all the while that it is

    updated      by a canary: no request may fail
    rolled back  because the canary, a spoiled package, answers some of them 500: no other may fail

Goals: 8 s to staging; 15 s to production; no request lost. The result is kept in benchmarks/results/deployment.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from peers.deployment_harness import CARDHOLDERS, ROOT, Laptop, invocation, keep, laptop, packages, percentile, requests
from peers.load import Asked, Generator, Load
from rich.console import Console
from rich.table import Table

from pipelines import executions, registry, stages
from pipelines.cli.context import Context
from pipelines.cli.deployment import bring_pipelines
from pipelines.executions import Execution
from pipelines.names import DEPLOY_KINDS
from pipelines.registry import Package
from pipelines.session import client

GOALS_SECONDS = {"staging": 8, "prod": 15}
WHO = "benchmark"
REQUESTS_PER_SECOND, CONNECTIONS = 50, 2
_BEFORE_SECONDS, _AFTER_SECONDS = 2, 3
_POLL_SECONDS = 0.1
_LONGEST_SECONDS = 120


@dataclass(frozen=True)
class Deployed:
    """One deployment by an approval; all in seconds."""

    status: str
    seconds: float
    before_start: float
    """From the approval until its event has started the execution."""
    steps: dict[str, float]


def deployed(context: Context, version: int, stage: str) -> Deployed:
    """Approve a version for a stage, and wait until the deployment that this starts has ended."""
    sagemaker, group = client(context.session, "sagemaker"), context.names.package_group(CARDHOLDERS)
    package = registry.find(packages(context), str(version), group)
    approved = datetime.now(UTC)
    if stage == "prod":
        registry.approve_for_prod(sagemaker, package, who=WHO, why="measured", now=approved)
    else:
        registry.decide(sagemaker, package, registry.APPROVED, who=WHO, why="measured", now=approved)
    execution = _ended(sagemaker, context.names.pipeline(CARDHOLDERS, DEPLOY_KINDS[stage]), version, approved)
    return Deployed(
        status=execution.status,
        seconds=round((execution.modified - approved).total_seconds(), 2),
        before_start=round((execution.started - approved).total_seconds(), 2),
        steps={step.name: round(seconds, 2) for step in execution.steps if (seconds := step.seconds()) is not None},
    )


def _ended(sagemaker: Any, pipeline: str, version: int, since: datetime) -> Execution:
    """The execution for a version that was started since then, once it has ended."""
    deadline, arn = time.monotonic() + _LONGEST_SECONDS, None
    while time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        if arn is None:
            listed = sagemaker.list_pipeline_executions(PipelineName=pipeline, SortBy="CreationTime", MaxResults=5)
            for summary in listed["PipelineExecutionSummaries"]:
                named = summary.get("PipelineExecutionDisplayName") == f"version-{version}"
                if named and summary["StartTime"] >= since:
                    arn = summary["PipelineExecutionArn"]
        elif (
            sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)["PipelineExecutionStatus"]
            in executions.FINISHED
        ):
            return executions.read(sagemaker, arn)
    raise RuntimeError(f"the deployment of version {version} by {pipeline} has not ended in {_LONGEST_SECONDS} s")


def succeeded(context: Context, version: int, stage: str) -> Deployed:
    """As `deployed`. Raises RuntimeError when it did not succeed."""
    found = deployed(context, version, stage)
    if found.status != "Succeeded":
        raise RuntimeError(f"the deployment of version {version} to {stage} ended as {found.status}: {found.steps}")
    return found


def copied(context: Context, original: Package, model_uri: str | None = None) -> int:
    """Register a package again as a new version, be it with another model; gives the version."""
    sagemaker = client(context.session, "sagemaker")
    described = sagemaker.describe_model_package(ModelPackageName=original.arn)
    [container] = described["InferenceSpecification"]["Containers"]
    model = {"Image": container["Image"], "ModelDataUrl": model_uri or container["ModelDataUrl"]}
    sagemaker.create_model_package(
        ModelPackageGroupName=described["ModelPackageGroupName"],
        InferenceSpecification={**described["InferenceSpecification"], "Containers": [model]},
        ModelApprovalStatus=registry.WAITING,
        # Of before any approval: what a deployment adds to it is not there yet.
        CustomerMetadataProperties=dict(original.metadata),
    )
    return packages(context)[0].version


def spoiled(here: Laptop) -> str:
    """Put a spoiled copy of the package's model into S3; gives its URI."""
    assert here.package.model_uri is not None
    s3, location = client(here.context.session, "s3"), urlsplit(here.package.model_uri)
    good, bad = here.folder / "model.tar.gz", here.folder / "spoiled.tar.gz"
    s3.download_file(location.netloc, location.path.lstrip("/"), str(good))
    command = [sys.executable, "-m", "seed_code.cardholders.spoil", str(good), str(bad)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    key = f"{Path(location.path.lstrip('/')).parent}/spoiled/model.tar.gz"
    s3.upload_file(str(bad), location.netloc, key)
    return f"s3://{location.netloc}/{key}"


# --- callers meanwhile ------------------------------------------------------------------------------------------------


@contextmanager
def asking(here: Laptop, endpoint: str) -> Iterator[list[Asked]]:
    """Ask an endpoint, from before the block until after it; the requests are in the list once it has ended."""
    path, headers = invocation(here.context, endpoint)
    load = Load(here.servers.port, path, headers, requests(500), threads=CONNECTIONS, per_second=REQUESTS_PER_SECOND)
    found: list[Asked] = []
    with Generator(load) as generator:
        generator.begin()
        time.sleep(_BEFORE_SECONDS)
        yield found
        time.sleep(_AFTER_SECONDS)
        found += generator.end().requests


def told(asked: Sequence[Asked]) -> dict[str, Any]:
    """What became of requests. An answer 424 is InvokeEndpoint's for an error of the model, whose own status it has."""
    by_model, otherwise = 0, Counter[str]()
    for one in asked:
        if one.status == 424 and _original_status(one.said) == 500:
            by_model += 1
        elif one.status != 200:
            otherwise[f"{one.status or 'no answer'}: {one.said[:200]}"] += 1
    taken = [one.seconds * 1000 for one in asked if one.status == 200]
    bad = [one.at for one in asked if one.status != 200]
    return {
        "requests": len(asked),
        "seconds": round(asked[-1].at - asked[0].at, 1),
        "answered_500_by_the_model": by_model,
        "failed_otherwise": sum(otherwise.values()),
        "failures": dict(otherwise.most_common(5)),
        "first_and_last_failure_at_seconds": [round(one - asked[0].at, 2) for one in (bad[0], bad[-1])] if bad else [],
        "p50_ms": round(statistics.median(taken), 2),
        "p99_ms": round(percentile(taken, 99), 2),
        "longest_ms": round(max(taken), 1),
    }


def _original_status(said: str) -> int | None:
    try:
        return int(json.loads(said)["OriginalStatusCode"])
    except (ValueError, KeyError):
        # Shortened: the status is in the message, which comes first.
        return 500 if "Received server error (500)" in said else None


# --- the whole --------------------------------------------------------------------------------------------------------


def measure(out: Console, here: Laptop, rounds: int) -> dict[str, Any]:
    context = here.context
    endpoint = context.names.endpoint(CARDHOLDERS, "prod")
    deployment = context.configuration.stages.prod.deployment
    bake = deployment.wait_seconds + deployment.termination_wait_seconds
    bring_pipelines(out, context, CARDHOLDERS)
    out.print("the first deployment, of new endpoints …")
    new = {stage: succeeded(context, here.package.version, stage) for stage in GOALS_SECONDS}
    updates: dict[str, list[Deployed]] = {stage: [] for stage in GOALS_SECONDS}
    for number in range(rounds):
        out.print(f"round {number + 1} of {rounds} …")
        version = copied(context, here.package)
        for stage, found in updates.items():
            found.append(succeeded(context, version, stage))
    out.print("an update under load …")
    good = copied(context, here.package)
    succeeded(context, good, "staging")
    with asking(here, endpoint) as during_update:
        loaded = succeeded(context, good, "prod")
    out.print("a roll-back under load …")
    bad = copied(context, here.package, spoiled(here))
    succeeded(context, bad, "staging")
    with asking(here, endpoint) as during_roll_back:
        rolled_back = deployed(context, bad, "prod")
    serving = stages.serving(client(context.session, "ssm"), context.names, CARDHOLDERS, "prod")
    if rolled_back.status != "Failed" or serving is None or serving.version != good:
        raise RuntimeError(f"the spoiled version {bad} was not rolled back: {rolled_back}, {serving}")
    return {
        "rounds": rounds,
        "goals_seconds": GOALS_SECONDS,
        "bake_seconds": bake,
        **{f"{stage}_seconds": _figures([one.seconds for one in found]) for stage, found in updates.items()},
        "prod_seconds_less_bake": _figures([one.seconds - bake for one in updates["prod"]]),
        "approval_to_start_seconds": _figures([one.before_start for found in updates.values() for one in found]),
        "steps_seconds": {
            stage: {step: statistics.median(one.steps[step] for one in found) for step in found[0].steps}
            for stage, found in updates.items()
        },
        "new_endpoint_seconds": {stage: one.seconds for stage, one in new.items()},
        "load": {"requests_per_second": REQUESTS_PER_SECOND, "connections": CONNECTIONS},
        **{
            f"{what}_under_load": {"deployment_seconds": one.seconds, "steps_seconds": one.steps, **told(asked)}
            for what, one, asked in (("update", loaded, during_update), ("roll_back", rolled_back, during_roll_back))
        },
    }


def _figures(values: Sequence[float]) -> dict[str, Any]:
    return {"median": round(statistics.median(values), 2), "all": [round(value, 2) for value in values]}


def show(out: Console, result: dict[str, Any]) -> None:
    table = Table("from the approval", "median, s", "each, s", "goal, s")
    for stage, goal in GOALS_SECONDS.items():
        found = result[f"{stage}_seconds"]
        table.add_row(f"to {stage}", f"{found['median']:.1f}", str(found["all"]), str(goal))
    found = result["prod_seconds_less_bake"]
    table.add_row(f"to prod, less the bake of {result['bake_seconds']} s", f"{found['median']:.1f}", str(found["all"]))
    out.print(table)
    table = Table(
        "at 50 requests a second", "requests", "500 by the canary", "failed otherwise", "median, ms", "p99, ms"
    )
    for what in ("update_under_load", "roll_back_under_load"):
        found = result[what]
        names = ("requests", "answered_500_by_the_model", "failed_otherwise", "p50_ms", "p99_ms")
        table.add_row(what.replace("_under_load", ""), *(str(found[name]) for name in names))
    out.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    out = Console()
    with laptop(out) as here:
        result = measure(out, here, rounds)
    keep("deployment", result)
    show(out, result)
    lost = result["update_under_load"]
    if lost["answered_500_by_the_model"] or lost["failed_otherwise"]:
        sys.exit(f"requests failed during the update: {lost}")
    if result["roll_back_under_load"]["failed_otherwise"]:
        sys.exit(
            f"requests failed during the roll-back that the canary did not answer: {result['roll_back_under_load']}"
        )


if __name__ == "__main__":
    main()
