"""`mlops rollback`"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from pipelines import registry, stages
from pipelines.cli import select, show
from pipelines.cli.context import Context
from pipelines.cli.deployment import begin, follow
from pipelines.cli.options import PackagesOption, StageOption
from pipelines.errors import UsageError
from pipelines.registry import Package
from pipelines.session import client


def command(
    why: Annotated[str, typer.Option("--why", help="The reason; kept with the execution.")],
    stage: StageOption = "prod",
    workload: PackagesOption = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the deployment to its end.")] = True,
) -> int:
    """Bring a stage back to the approved version before the one that it serves.

    The version that is left stays approved; `mlops reject` rolls back, too, and keeps it from being deployed again.
    """
    context = Context.here()
    sagemaker = client(context.session, "sagemaker")
    workload = select.workload_with_packages(context, sagemaker, workload)
    stage = select.stage_of(stage)
    now = stages.serving(client(context.session, "ssm"), context.names, workload, stage)
    if now is None:
        raise UsageError(f"{stage} serves no version of {workload} yet; `mlops deploy` brings one there")
    known = registry.packages(sagemaker, context.names.package_group(workload))
    target = _before(known, now.version, stage)
    if target is None:
        raise UsageError(
            f"{stage} serves version {now.version} of {workload}, and no approved version before it could be served; "
            "`mlops models` lists them"
        )
    out = show.console()
    out.print(Text(f"{stage}: from version {now.version} back to {target.version}, because: {why}"), soft_wrap=True)
    reason = f"rolled back from version {now.version}: {why}"
    arn = begin(out, context, workload, stage, target.arn, reason)
    if not wait:
        out.print(f"started {arn}; `mlops status` shows how far it is", soft_wrap=True)
        return 0
    return 0 if follow(out, context, workload, stage, arn).status == "Succeeded" else 1


def _before(known: list[Package], version: int, stage: str) -> Package | None:
    """The newest approved version below another that a stage may serve."""
    for package in known:
        tested = stage != "prod" or package.staging_report is not None
        if package.version < version and package.approval == registry.APPROVED and tested:
            return package
    return None
