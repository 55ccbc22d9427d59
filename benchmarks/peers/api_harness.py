"""What the benchmarks of the REST API share: a stack of their own in which both workloads' models serve production, and
the API in front of them, with limits that a benchmark does not reach."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from peers.deployment_harness import CARDHOLDERS, ROOT, Laptop, built, laptop, serve
from rich.console import Console

from pipelines import ingest
from pipelines.api import access, deployment
from pipelines.api.access import Access
from pipelines.cli.run import usual_moment
from pipelines.config import Configuration
from pipelines.feature_groups import MINUTES

FORECASTER = MINUTES.workload
_DAYS = 2


@dataclass(frozen=True)
class Served:
    """A stack whose API answers."""

    laptop: Laptop
    access: Access


@contextmanager
def served(out: Console) -> Iterator[Served]:
    """Both models in production, and the API."""
    with laptop(out) as here:
        context = here.context
        serve(context, here.package.arn, CARDHOLDERS, context.names.endpoint(CARDHOLDERS, "prod"))
        with out.status("writing minutes"):
            _write_minutes(here)
        package = built(out, context, FORECASTER)
        serve(context, package.arn, FORECASTER, context.names.endpoint(FORECASTER, "prod"))
        with out.status("deploying the API"):
            deployment.deploy(context.session, _unlimited(context.configuration), context.paths, poll_seconds=0.2)
        yield Served(here, access.find(context.session, context.names))


def _write_minutes(here: Laptop) -> None:
    file, end = here.folder / "minutes.parquet", usual_moment(datetime.now(UTC), FORECASTER)
    words = ["--out", str(file), "--end", f"{end:%Y-%m-%dT%H:%M:%SZ}", "--days", str(_DAYS)]
    subprocess.run(
        [sys.executable, "-m", "seed_code.forecaster.generate", *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )
    ingest.write(here.context.session, MINUTES.name(here.context.names), ingest.read(file))


def _unlimited(configuration: Configuration) -> Configuration:
    limits = {"requests_per_second": 10_000, "burst": 5_000, "requests_per_address": 1_000_000}
    api = configuration.project.api.model_copy(update=limits)
    return configuration.model_copy(update={"project": configuration.project.model_copy(update={"api": api})})
