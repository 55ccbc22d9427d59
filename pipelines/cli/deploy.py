"""`mlops deploy`"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from pipelines import registry
from pipelines.cli import select, show
from pipelines.cli.context import Context
from pipelines.cli.deployment import begin, follow
from pipelines.cli.options import PackagesOption, StageOption, VersionArgument
from pipelines.errors import UsageError
from pipelines.names import GOLDEN_REQUESTS_KEY
from pipelines.session import client


def command(
    version: VersionArgument,
    stage: StageOption = "staging",
    workload: PackagesOption = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the deployment to its end.")] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the execution as JSON; progress goes to stderr.")
    ] = False,
) -> int:
    """Deploy an approved model package to a stage, also one that was deployed before.

    An approval does this by itself (`mlops approve`). Exit status 0 when the stage serves it, 1 when it was rolled
    back.
    """
    context = Context.here()
    sagemaker = client(context.session, "sagemaker")
    workload = select.workload_with_packages(context, sagemaker, workload)
    stage = select.stage_of(stage)
    group = context.names.package_group(workload)
    package = registry.find(registry.packages(sagemaker, group), version, group)
    _check(package, stage)
    out = show.console(stderr=as_json)
    arn = begin(out, context, workload, stage, package.arn, "mlops deploy")
    if not wait:
        typer.echo(json.dumps({"arn": arn}) if as_json else f"started {arn}; `mlops status` shows how far it is")
        return 0
    execution = follow(out, context, workload, stage, arn)
    if as_json:
        typer.echo(json.dumps(show.execution_document(execution), indent=2))
    return 0 if execution.status == "Succeeded" else 1


def _check(package: registry.Package, stage: str) -> None:
    """Say at once what the pipeline's first step would say in half a minute. Raises UsageError."""
    if package.approval != registry.APPROVED:
        raise UsageError(
            f"version {package.version} is `{package.approval}`, expected `Approved`; "
            f'`mlops approve {package.version} --why "…"` approves it'
        )
    if GOLDEN_REQUESTS_KEY not in package.metadata:
        raise UsageError(
            f"version {package.version} has no golden requests, by which an endpoint is tested; `mlops run` "
            "registers a package that has"
        )
    if stage == "prod" and package.staging_report is None:
        raise UsageError(
            f"version {package.version} was not tested in staging, which comes before prod; "
            f"`mlops deploy {package.version} --stage staging` does it"
        )
