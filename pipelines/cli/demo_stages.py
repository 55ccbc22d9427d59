"""The second part of `mlops demo`: a model goes to staging and to production, and one that is bad comes back.

A person's decisions are taken by the demo itself, by the functions that `mlops approve` and `mlops reject` call; all
the rest happens as it does every day, by events.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from urllib.parse import urlsplit

import requests
from rich.console import Console
from rich.text import Text

from pipelines import registry, stages
from pipelines.api import access
from pipelines.cli.api import EXAMPLE
from pipelines.cli.context import Context
from pipelines.cli.demo_world import Files, callers
from pipelines.cli.deployment import bring_pipelines, deployments, follow_started
from pipelines.cli.invoke import golden_request
from pipelines.errors import ServiceError
from pipelines.executions import Execution
from pipelines.names import STAGES
from pipelines.registry import Package
from pipelines.session import client

CARDHOLDERS = "cardholders"
WHO = "mlops demo"
_PAUSE_SECONDS = 0.04
_SECONDS = 30


def deploy(out: Console, context: Context, workload: str) -> bool:
    """Approve the newest package for staging and then for production; whether both went well. Ends with a request."""
    _heading(out, f"{workload}: staging, then production")
    bring_pipelines(out, context, workload)
    package = _newest(context, workload)
    for stage in STAGES:
        why = {"staging": "its figures are good enough", "prod": "its tests in staging passed"}[stage]
        if _decide(out, context, workload, package.version, stage, why).status != "Succeeded":
            return False
    _invoke(out, context, workload)
    return True


def show_roll_back(out: Console, context: Context, files: Files) -> bool:
    """Bring a defective package as far as the canary in production; whether the alarm has brought it back.

    files: of the callers who ask meanwhile.

    Its defect shows in ordinary requests only, and not in those that staging tests by.
    """
    _heading(out, f"{CARDHOLDERS}: a canary that goes bad")
    good = _newest(context, CARDHOLDERS)
    bad = _register_spoiled(out, context, good)
    if _decide(out, context, CARDHOLDERS, bad.version, "staging", "nobody has seen its defect").status != "Succeeded":
        return False
    with _requests(context, files) as seen:
        execution = _decide(out, context, CARDHOLDERS, bad.version, "prod", "its tests in staging passed")
    out.print(Text(f"requests meanwhile: {seen.told()}"), soft_wrap=True)
    serving = stages.serving(client(context.session, "ssm"), context.names, CARDHOLDERS, "prod")
    came_back = execution.status == "Failed" and serving is not None and serving.version == good.version
    _reject(out, context, bad, good)
    return came_back


def show_api(out: Console, context: Context) -> bool:
    """Ask the REST API, as an application would; whether it answered."""
    _heading(out, "the REST API")
    found = access.find(context.session, context.names)
    body = json.dumps(EXAMPLE)
    with out.status("asking the REST API", spinner="dots"):
        try:
            answer = requests.post(
                f"{found.url}/predictions",
                data=body,
                headers={"Authorization": f"Bearer {found.token().value}", "Content-Type": "application/json"},
                timeout=_SECONDS,
            )
        except requests.RequestException as error:
            raise ServiceError(f"the REST API at {found.url} did not answer: {error}") from None
    for label, text in (("POST", f"{found.url}/predictions"), ("request", body), ("answer", answer.text.strip())):
        out.print(Text.assemble((f"{label:<9}", "bright_black"), _short(text)), soft_wrap=True)
    return answer.status_code == 200


def _decide(out: Console, context: Context, workload: str, version: int, stage: str, why: str) -> Execution:
    """Approve a package for a stage, and follow the deployment that its event starts."""
    sagemaker = client(context.session, "sagemaker")
    group = context.names.package_group(workload)
    package = registry.find(registry.packages(sagemaker, group), str(version), group)
    before, now = deployments(context, workload, stage), context.now()
    if stage == "prod":
        registry.approve_for_prod(sagemaker, package, who=WHO, why=why, now=now)
    else:
        registry.decide(sagemaker, package, registry.APPROVED, who=WHO, why=why, now=now)
    out.print(Text.assemble(("approved ", "bright_black"), f"version {version} for {stage}: {why}"), soft_wrap=True)
    return follow_started(out, context, workload, stage, version, before)


def _reject(out: Console, context: Context, bad: Package, good: Package) -> None:
    """Reject the defective package; staging, which serves it, goes back by itself."""
    sagemaker = client(context.session, "sagemaker")
    before, now = deployments(context, CARDHOLDERS, "staging"), context.now()
    registry.decide(sagemaker, bad, registry.REJECTED, who=WHO, why="it answers 500 in production", now=now)
    out.print(Text.assemble(("rejected ", "bright_black"), f"version {bad.version}: staging goes back"), soft_wrap=True)
    follow_started(out, context, CARDHOLDERS, "staging", good.version, before)


def _newest(context: Context, workload: str) -> Package:
    known = registry.packages(client(context.session, "sagemaker"), context.names.package_group(workload))
    if not known:
        raise ServiceError(f"{workload} has no model package to deploy")
    return known[0]


def _invoke(out: Console, context: Context, workload: str) -> None:
    """Ask production one of the requests that it was tested by."""
    body = json.dumps(golden_request(context, workload, "prod"), separators=(",", ":"))
    answer = client(context.session, "sagemaker-runtime").invoke_endpoint(
        EndpointName=context.names.endpoint(workload, "prod"), ContentType="application/json", Body=body.encode()
    )
    out.print(Text.assemble(("request  ", "bright_black"), _short(body)), soft_wrap=True)
    out.print(Text.assemble(("answer   ", "bright_black"), _short(answer["Body"].read().decode())), soft_wrap=True)


def _register_spoiled(out: Console, context: Context, good: Package) -> Package:
    """Register a copy of a package with a defect, as a training that went wrong would have left it."""
    assert good.model_uri is not None
    sagemaker, s3 = client(context.session, "sagemaker"), client(context.session, "s3")
    location = urlsplit(good.model_uri)
    key = f"{location.path.lstrip('/').removesuffix('model.tar.gz')}spoiled/model.tar.gz"
    with tempfile.TemporaryDirectory() as folder, out.status("spoiling a copy of the model", spinner="dots"):
        model, spoiled = Path(folder) / "model.tar.gz", Path(folder) / "spoiled.tar.gz"
        s3.download_file(location.netloc, location.path.lstrip("/"), str(model))
        program = [sys.executable, "-m", "seed_code.cardholders.spoil", str(model), str(spoiled)]
        ended = subprocess.run(program, cwd=context.root, capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            raise ServiceError(f"the model could not be spoiled:\n{ended.stderr.strip()}")
        s3.upload_file(str(spoiled), location.netloc, key)
    described = sagemaker.describe_model_package(ModelPackageName=good.arn)
    [container] = described["InferenceSpecification"]["Containers"]
    specification = {
        **described["InferenceSpecification"],
        "Containers": [{"Image": container["Image"], "ModelDataUrl": f"s3://{location.netloc}/{key}"}],
    }
    kept = {
        key: value
        for key, value in good.metadata.items()
        if not key.startswith(("approved_", "prod_", "staging_", "mlflow_"))
    }
    sagemaker.create_model_package(
        ModelPackageGroupName=described["ModelPackageGroupName"],
        ModelPackageDescription="A copy with a defect, made by the demo.",
        InferenceSpecification=specification,
        ModelApprovalStatus=registry.WAITING,
        CustomerMetadataProperties=kept,
    )
    bad = _newest(context, CARDHOLDERS)
    out.print(Text(f"version {bad.version} is a copy of {good.version} with a defect"), soft_wrap=True)
    return bad


@dataclass
class _Seen:
    """What became of requests, by status."""

    statuses: Counter[int] = field(default_factory=Counter)

    def told(self) -> str:
        total = sum(self.statuses.values())
        bad = sum(count for status, count in self.statuses.items() if status >= 500)
        return f"{total}, of which {bad} were answered 5xx by the canary; the other machines answered all of theirs"


@contextmanager
def _requests(context: Context, files: Files) -> Iterator[_Seen]:
    """Ordinary requests to production, some 20 a second, as long as the block lasts."""
    seen, ended = _Seen(), Event()
    thread = Thread(target=_ask, args=(context, files, seen, ended), name="requests", daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def _ask(context: Context, files: Files, seen: _Seen, ended: Event) -> None:
    runtime = client(context.session, "sagemaker-runtime")
    numbers, holders = random.Random(1), callers(files.holders)
    while not ended.wait(_PAUSE_SECONDS):
        body = {**next(holders)["request"], "k": numbers.randint(1, 14)}
        try:
            runtime.invoke_endpoint(
                EndpointName=context.names.endpoint(CARDHOLDERS, "prod"),
                ContentType="application/json",
                Body=json.dumps(body).encode(),
            )
            seen.statuses[200] += 1
        except runtime.exceptions.ModelError as error:
            seen.statuses[int(error.response["OriginalStatusCode"])] += 1


def _heading(out: Console, what: str) -> None:
    out.print()
    out.print(Text(what, "bold"))


def _short(text: str) -> str:
    return text if len(text) <= 320 else f"{text[:317]}…"
