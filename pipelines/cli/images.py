"""`mlops images`"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer

from pipelines import docker, images
from pipelines.cli import select
from pipelines.cli.context import Context
from pipelines.images import Image, LayersMissing, Registered
from pipelines.names import INGESTION, MINUTES
from pipelines.session import client


def command(
    workload: Annotated[
        str | None, typer.Argument(help="Of which workload, with the stream's if it has one; all when left away.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list instead.")] = False,
    allow_findings: Annotated[
        bool, typer.Option("--allow-findings", help="Let images through whose scan has critical findings.")
    ] = False,
) -> None:
    """Register the image of each folder of `seed_code/` that has a Dockerfile, by the digest of its content.

    On AWS Docker builds what ECR does not have; ECR scans it, and it is signed where configs/project.yml names a
    profile.
    """
    context = Context.here()
    wanted = images.discover(context.root) if workload is None else _of(select.workload_of(workload))
    read = [images.read(context.root, each) for each in wanted]
    documents = [_bring(context, image, allow_findings=allow_findings) for image in read]
    if as_json:
        typer.echo(json.dumps(documents, indent=2))
        return
    for document in documents:
        typer.echo("  ".join((document["uri"], "new" if document["new"] else "unchanged", *_checked(document))))
    if not documents:
        typer.echo("no folder of `seed_code/` has a Dockerfile", err=True)


def _of(workload: str) -> list[str]:
    """The images that a workload's pipelines and stacks run."""
    return [workload, INGESTION] if workload == MINUTES[0] else [workload]


def _bring(context: Context, image: Image, *, allow_findings: bool) -> dict[str, Any]:
    """Register one image, or build it."""
    ecr = client(context.session, "ecr")
    try:
        registered = images.register(context.session, context.names, image)
    except LayersMissing:
        docker.build(ecr, context.names, image, context.root)
        uri = context.names.image_uri(image.workload, image.digest)
        registered = Registered(image.workload, uri, new=True, built=True)
    if not registered.built:
        return asdict(registered)
    checked = docker.check(
        ecr,
        context.names,
        image,
        allow_findings=allow_findings,
        signing_profile_arn=context.configuration.project.images.signing_profile_arn,
    )
    return {**asdict(registered), **asdict(checked)}


def _checked(document: dict[str, Any]) -> list[str]:
    """What is known of an image that Docker has built."""
    if not document["built"]:
        return []
    findings = ", ".join(f"{count} {severity.lower()}" for severity, count in document["findings"].items())
    return [document["digest"], f"findings: {findings or 'none'}", *(["signed"] if document["signed"] else [])]
