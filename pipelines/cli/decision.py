"""What `mlops approve` and `mlops reject` have in common."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from pipelines import git, registry, stages
from pipelines.cli import select, show
from pipelines.cli.context import Context
from pipelines.cli.deployment import bring_pipelines, deployments, follow_started
from pipelines.errors import UsageError
from pipelines.registry import Package
from pipelines.session import client


def approve(
    version: str, workload: str | None, stage: str, why: str, who: str | None, wait: bool, as_json: bool
) -> int:
    """Approve a version for a stage, and follow the deployment that this starts; gives the exit status."""
    case = _case(version, workload, who)
    stage = select.stage_of(stage)
    registry.signature(case.person, why)  # what cannot be kept should change nothing in the account
    out = show.console(stderr=as_json)
    if stage == "prod":
        registry.check_for_prod(case.package)
        _show_tests(out, case)
    # The approval's event starts a pipeline, which must be there, and be the working tree's.
    bring_pipelines(out, case.context, case.workload)
    before = deployments(case.context, case.workload, stage)
    decide = registry.approve_for_prod if stage == "prod" else _approve
    changed = decide(case.sagemaker, case.package, who=case.person, why=why, now=case.context.now())
    _tell(case, "Approved", f"approved for {stage}", why, changed, as_json)
    if not changed:
        if not as_json:
            typer.echo(f"`mlops deploy {case.package.version} --stage {stage}` deploys it again")
        return 0
    if not wait:
        if not as_json:
            typer.echo(f"the deployment to {stage} starts by itself; `mlops status` shows how far it is")
        return 0
    execution = follow_started(out, case.context, case.workload, stage, case.package.version, before)
    return 0 if execution.status == "Succeeded" else 1


def reject(version: str, workload: str | None, why: str, who: str | None, as_json: bool) -> None:
    """Reject a version."""
    case = _case(version, workload, who)
    now = case.context.now()
    changed = registry.decide(case.sagemaker, case.package, registry.REJECTED, who=case.person, why=why, now=now)
    _tell(case, registry.REJECTED, "rejected", why, changed, as_json)


@dataclass(frozen=True)
class _Case:
    """What is decided on, and who decides."""

    context: Context
    sagemaker: Any
    workload: str
    group: str
    package: Package
    person: str


def _case(version: str, workload: str | None, who: str | None) -> _Case:
    context = Context.here()
    sagemaker = client(context.session, "sagemaker")
    workload = select.workload_with_packages(context, sagemaker, workload)
    group = context.names.package_group(workload)
    package = registry.find(registry.packages(sagemaker, group), version, group)
    person = who if who is not None else git.user(context.root)
    if not person:
        raise UsageError("who decides is not known: neither Git nor the login has a name; expected --who NAME")
    return _Case(context, sagemaker, workload, group, package, person)


def _approve(sagemaker: Any, package: Package, *, who: str, why: str, now: datetime) -> bool:
    return registry.decide(sagemaker, package, registry.APPROVED, who=who, why=why, now=now)


def _tell(case: _Case, decision: str, word: str, why: str, changed: bool, as_json: bool) -> None:
    package = case.package
    if as_json:
        document = {"arn": package.arn, "version": package.version, "approval": decision, "changed": changed}
        typer.echo(json.dumps(document, indent=2))
    elif changed:
        typer.echo(f"version {package.version} of {case.group} is {word}, by {case.person}: {why.strip()}")
    else:
        by = f" (by {package.decided_by}: {package.why})" if package.decided_by else ""
        typer.echo(f"version {package.version} of {case.group} was {word} already{by}; nothing has changed")


def _show_tests(out: Console, case: _Case) -> None:
    """The report of the tests in staging, which the one who approves for production is to know."""
    uri = case.package.staging_report
    report = stages.tests_of(client(case.context.session, "s3"), uri) if uri else None
    if report is None:
        out.print(Text(f"the report of the tests in staging is not there any more: {uri}", "red"), soft_wrap=True)
        return
    wrong = sum(1 for verdict in report["verdicts"] if verdict["problem"])
    told = f"{report['requests'] - wrong} of {report['requests']} golden requests answered rightly"
    out.print(
        Text.assemble(
            ("tests in staging: ", "bright_black"),
            (told, "green" if report["passed"] else "red"),
            f", median {report['median_milliseconds']:.1f} ms, slowest {report['slowest_milliseconds']:.1f} ms",
        ),
        soft_wrap=True,
    )
    for verdict in report["verdicts"]:
        symbol = show.mark("bad" if verdict["problem"] else "good")
        line = f" {verdict['name']}: {verdict['status']}, {verdict['milliseconds']:.1f} ms"
        out.print(Text.assemble("  ", symbol, line, f"; {verdict['problem']}" if verdict["problem"] else ""))
