"""What the benchmarks of deployed models share: a stack of their own with a package of cardholders, and requests."""

from __future__ import annotations

import json
import os
import platform
import random
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from pipelines import git, registry, starter  # noqa: E402
from pipelines.cli import ending, environment, up  # noqa: E402
from pipelines.cli.context import Context  # noqa: E402
from pipelines.cli.run import bring, tracking_uri, uploaded, usual_moment, watched  # noqa: E402
from pipelines.config import load  # noqa: E402
from pipelines.names import VARIANT, LocalPaths  # noqa: E402
from pipelines.registry import Package  # noqa: E402
from pipelines.session import client  # noqa: E402
from pipelines.stack import Stack  # noqa: E402

CARDHOLDERS = "cardholders"
# As few as the quality gate lets through: the served model has the demo's number of trees and leaves all the same.
TRANSACTIONS, HOLDERS = 120_000, 1_500
JSON = "application/json"
_START_SECONDS = 60


@dataclass(frozen=True)
class Laptop:
    """A working stack. `package` is the one that the build pipeline has registered."""

    context: Context
    servers: Stack
    folder: Path
    package: Package


def plain_environment() -> None:
    """Leave out of this process's environment what leads elsewhere, or keeps servers from writing byte code."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "MLFLOW_", "MLOPS_")) or name == "PYTHONDONTWRITEBYTECODE":
            del os.environ[name]


@contextmanager
def laptop(out: Console) -> Iterator[Laptop]:
    """localcloud and MLflow on free ports with a temporary state, set up by configs/local.yml, and a build's package.

    The working copy's own stack, if there is one, is left alone.
    """
    plain_environment()
    paths = LocalPaths(ROOT)
    configuration = load(ROOT, paths.local_overrides)
    with ending.in_order(), tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        servers = Stack(folder / "state", _free_ports(), configuration.names.region)
        environment.use(environment.variables(servers, paths.local_overrides))
        try:
            with out.status("setting up"):
                servers.start()
                data = _transactions(folder)
                up.prepare(servers, paths, paths.local_overrides)
            context = Context(ROOT)
            package = built(out, context, CARDHOLDERS, uploaded(out, context, CARDHOLDERS, data))
            yield Laptop(context, servers, folder, package)
        finally:
            servers.stop()


def packages(context: Context, workload: str = CARDHOLDERS) -> list[Package]:
    """Newest first."""
    group = context.names.package_group(workload)
    return registry.packages(client(context.session, "sagemaker"), group)


def serve(context: Context, package_arn: str, workload: str, endpoint: str) -> None:
    """A real-time endpoint of one machine that captures everything, as the stages' do; in service."""
    sagemaker, names = client(context.session, "sagemaker"), context.names
    sagemaker.create_model(
        ModelName=endpoint, ExecutionRoleArn=names.role_arn, Containers=[{"ModelPackageName": package_arn}]
    )
    sagemaker.create_endpoint_config(
        EndpointConfigName=endpoint,
        ProductionVariants=[
            {
                "VariantName": VARIANT,
                "ModelName": endpoint,
                "InstanceType": "ml.m5.large",
                "InitialInstanceCount": 1,
                "InitialVariantWeight": 1.0,
            }
        ],
        DataCaptureConfig={
            "EnableCapture": True,
            "InitialSamplingPercentage": 100,
            "DestinationS3Uri": names.capture_uri(workload),
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            "CaptureContentTypeHeader": {"JsonContentTypes": [JSON]},
        },
    )
    sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=endpoint)
    waiter = sagemaker.get_waiter("endpoint_in_service")
    waiter.wait(EndpointName=endpoint, WaiterConfig={"Delay": 1, "MaxAttempts": _START_SECONDS})


def built(out: Console, context: Context, workload: str, data_uri: str | None = None) -> Package:
    """The package that a workload's build pipeline registers."""
    bring(out, context, workload, "build")
    arn = starter.start(
        context.session,
        context.names,
        workload,
        "build",
        evaluation_time=usual_moment(datetime.now(UTC), workload),
        git_commit=git.commit(ROOT),
        mlflow_tracking_uri=tracking_uri(),
        input_data_uri=data_uri,
    )
    execution = watched(out, context, arn, workload, "build")
    known = packages(context, workload)
    if execution.status != "Succeeded" or not known:
        raise SystemExit(f"the build ended as {execution.status} and registered {len(known)} packages")
    return known[0]


def requests(count: int, seed: int = 1) -> list[str]:
    """Ordinary requests, all of which a sound model answers."""
    numbers, bodies = random.Random(seed), []
    for _ in range(count):
        usage = numbers.randint(1, 60)
        body = {
            "usage_freq": usage,
            "amount_spend": round(usage * numbers.uniform(5, 400), 2),
            "uniq_merchant": numbers.randint(1, usage),
            "k": numbers.randint(1, 14),
        }
        bodies.append(json.dumps(body, separators=(",", ":")))
    return bodies


def invocation(context: Context, endpoint: str) -> tuple[str, dict[str, str]]:
    """Path and headers of InvokeEndpoint, for a client that does not sign: localcloud checks no signature."""
    scope = f"localcloud/20240101/{context.names.region}/sagemaker/aws4_request"
    authorization = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"
    return f"/endpoints/{endpoint}/invocations", {"Content-Type": JSON, "Authorization": authorization}


def percentile(values: list[float], percent: float) -> float:
    """Of at least one value: the smallest that so many percent do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def keep(name: str, result: dict[str, Any]) -> None:
    """Write a result beside the others, with the machine that it is of."""
    machine = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_afterwards": round(os.getloadavg()[0], 2),
    }
    file = ROOT / "benchmarks/results" / f"{name}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"machine": machine, **result}, indent=1) + "\n")


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _free_ports() -> int:
    """The first of two neighbouring ports that nobody listens at."""
    while True:
        port = free_port()
        try:
            with socket.create_server(("127.0.0.1", port + 1)):
                return port
        except (OSError, OverflowError):
            continue


def _transactions(folder: Path) -> Path:
    file = folder / "transactions.csv.gz"
    sizes = ["--transactions", str(TRANSACTIONS), "--holders", str(HOLDERS)]
    command = [sys.executable, "-m", "seed_code.cardholders.generate", "--out", str(file), *sizes]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return file
