"""What `mlops approve` and `mlops reject` have in common."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import typer

from pipelines import git, registry
from pipelines.cli import select
from pipelines.cli.context import Context
from pipelines.errors import UsageError
from pipelines.registry import Decision
from pipelines.session import client


def take(decision: Decision, version: str, workload: str | None, why: str, who: str | None, as_json: bool) -> None:
    """Take a decision on a version and tell what became of it."""
    context = Context.here()
    sagemaker = client(context.session, "sagemaker")
    workload = select.workload_with_packages(context, sagemaker, workload)
    group = context.names.package_group(workload)
    package = registry.find(registry.packages(sagemaker, group), version, group)
    person = who if who is not None else git.user(context.root)
    if not person:
        raise UsageError("who decides is not known: neither Git nor the login has a name; expected --who NAME")
    changed = registry.decide(sagemaker, package, decision, who=person, why=why, now=datetime.now(UTC))
    word = decision.lower()
    if as_json:
        document = {"arn": package.arn, "version": package.version, "approval": decision, "changed": changed}
        typer.echo(json.dumps(document, indent=2))
    elif changed:
        typer.echo(f"version {package.version} of {group} is {word}, by {person}: {why.strip()}")
    else:
        by = f" (by {package.decided_by}: {package.why})" if package.decided_by else ""
        typer.echo(f"version {package.version} of {group} was {word} already{by}; nothing has changed")
