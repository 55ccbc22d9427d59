"""`mlops publish`"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from pipelines.cli import show
from pipelines.cli.context import Context
from pipelines.publishing import publish as publishing
from pipelines.publishing.publish import Published
from pipelines.publishing.release import Release

_POLL_SECONDS = 0.5


def command(
    route: Annotated[
        str, typer.Option("--route", help="`s3` (Studio reads a bucket), `catalog` (Service Catalog) or `both`.")
    ] = publishing.BOTH,
    tracking_uri: Annotated[
        str | None,
        typer.Option(
            "--mlflow-tracking-uri",
            help="MLflow for the projects; MLFLOW_TRACKING_URI when left away, one of a project's own when empty.",
        ),
    ] = None,
    version: Annotated[str | None, typer.Option("--version", help="Its name; setup.py's when left away.")] = None,
    check_only: Annotated[bool, typer.Option("--check-only", help="Pack and check; call nothing.")] = False,
) -> None:
    """Make this working copy the template that the account's projects are made from.

    Checks the templates, packs the functions and the seed of a repository, deploys what the account needs once
    (template/admin.yml), and uploads. What is published stays: a changed tree gets a version of its own.
    """
    context = Context.here()
    out = show.console()
    with out.status("checking and packing", spinner="dots"):
        release = publishing.prepare(context.configuration, context.root, tracking_uri)
    if check_only:
        _tell_checked(out, release)
        return
    with out.status("publishing", spinner="dots") as status:
        published = publishing.publish(
            context.session,
            release,
            context.root,
            route=route,
            version=version,
            poll_seconds=_POLL_SECONDS,
            tell=status.update,
        )
    _tell(out, release, published)


def _tell_checked(out: Console, release: Release) -> None:
    out.print("the templates are in order: cfn-lint finds nothing, and every parameter has a value")
    out.print(_seed_line(release), soft_wrap=True)
    out.print(f"functions  {_kilobytes(release.code)}", soft_wrap=True)


def _tell(out: Console, release: Release, published: Published) -> None:
    for change in published.account_changes:
        out.print(Text(change, style="bright_black"), soft_wrap=True)
    said = "published" if published.new else "is published already, and the same: nothing was uploaded"
    out.print(f"version {published.version} {said}", soft_wrap=True)
    out.print(f"template   {published.template_url}", soft_wrap=True)
    out.print(_seed_line(release), soft_wrap=True)
    if published.product_id is not None:
        out.print(f"catalog    product {published.product_id}, version {published.version}", soft_wrap=True)
    if published.studio is not None:
        for domain in published.studio.domains:
            out.print(f"studio     domain {domain} shows it: Deployments > Projects > Create project", soft_wrap=True)
        for domain, location in published.studio.elsewhere:
            out.print(f"studio     domain {domain} shows {location} instead, and was left so", soft_wrap=True)
        if not (published.studio.domains or published.studio.elsewhere):
            out.print("studio     the account has no domain yet; publish again when it has one", soft_wrap=True)
    out.print(Text("mlops project create NAME makes a project from it", style="bright_black"), soft_wrap=True)


def _seed_line(release: Release) -> str:
    return f"seed       {len(release.seed.entries)} files, {_kilobytes(release.seed.archive)}"


def _kilobytes(content: bytes) -> str:
    return f"{len(content) / 1024:,.0f} KiB"
