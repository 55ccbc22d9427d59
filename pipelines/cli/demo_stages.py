"""What `mlops demo` shows of production: the REST API answers, and a bad model comes back by itself."""

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
from pipelines.cli.demo_delivery import WHO, approve_for_prod, approve_for_staging, newest, shortened
from pipelines.cli.demo_world import Files, callers
from pipelines.cli.deployment import deployments, follow_started
from pipelines.errors import ServiceError
from pipelines.registry import Package
from pipelines.session import client

CARDHOLDERS = "cardholders"
_PAUSE_SECONDS = 0.04
_SECONDS = 30


def show_roll_back(out: Console, context: Context, files: Files) -> bool:
    """Bring a defective package as far as the canary in production; whether the alarm has brought it back.

    files: of the callers who ask meanwhile.

    Its defect shows in ordinary requests only, and not in those that staging tests by.
    """
    _heading(out, f"{CARDHOLDERS}: a canary that goes bad")
    good = newest(context, CARDHOLDERS)
    bad = _register_spoiled(out, context, good)
    waiting = approve_for_staging(out, context, CARDHOLDERS, bad, "nobody has seen its defect")
    if waiting is None:
        return False
    with _requests(context, files) as seen:
        run = approve_for_prod(out, context, CARDHOLDERS, bad, waiting, "its tests in staging passed")
    out.print(Text(f"requests meanwhile: {seen.told()}"), soft_wrap=True)
    serving = stages.serving(client(context.session, "ssm"), context.names, CARDHOLDERS, "prod")
    came_back = run.status == "Failed" and serving is not None and serving.version == good.version
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
        out.print(Text.assemble((f"{label:<9}", "bright_black"), shortened(text)), soft_wrap=True)
    return answer.status_code == 200


def _reject(out: Console, context: Context, bad: Package, good: Package) -> None:
    """Reject the defective package; staging, which serves it, goes back by itself."""
    sagemaker = client(context.session, "sagemaker")
    before, now = deployments(context, CARDHOLDERS, "staging"), context.now()
    registry.decide(sagemaker, bad, registry.REJECTED, who=WHO, why="it answers 500 in production", now=now)
    out.print(Text.assemble(("rejected ", "bright_black"), f"version {bad.version}: staging goes back"), soft_wrap=True)
    follow_started(out, context, CARDHOLDERS, "staging", good.version, before)


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
    bad = newest(context, CARDHOLDERS)
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
