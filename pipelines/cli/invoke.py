"""`mlops invoke`"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from pipelines import registry, stages
from pipelines.cli import select
from pipelines.cli.context import Context
from pipelines.cli.options import StageOption
from pipelines.errors import ServiceError, UsageError
from pipelines.names import GOLDEN_REQUESTS_KEY
from pipelines.session import client

_SHOWN = 300


def command(
    workload: Annotated[str, typer.Argument(help="e.g. `cardholders`")],
    body: Annotated[
        str | None,
        typer.Argument(help="The request as JSON, @FILE, or - for standard input. Without it: one that was tested."),
    ] = None,
    stage: StageOption = "prod",
    content_type: Annotated[str, typer.Option("--content-type", help="Of the request.")] = "application/json",
    inference_id: Annotated[
        str | None, typer.Option("--inference-id", help="Kept with what is captured, to be joined with what came true.")
    ] = None,
) -> int:
    """Ask a stage's endpoint, and print its answer.

    Exit status 0 for an answer, 1 when the model refuses or fails: its own words go to stderr.
    """
    context = Context.here()
    workload, stage = select.workload_of(workload), select.stage_of(stage)
    given = None if body is None else _read(body)
    endpoint = context.names.endpoint(workload, stage)
    if stages.endpoint(client(context.session, "sagemaker"), context.names, workload, stage) is None:
        raise UsageError(
            f"the endpoint `{endpoint}` does not exist; `mlops deploy` and `mlops approve` bring a model package to "
            f"{stage}"
        )
    request: dict[str, Any] = {"EndpointName": endpoint, "ContentType": content_type}
    if inference_id is not None:
        request["InferenceId"] = inference_id
    request["Body"] = _example(context, workload, stage) if given is None else given
    runtime = client(context.session, "sagemaker-runtime")
    try:
        answer = runtime.invoke_endpoint(**request)
    except runtime.exceptions.ModelError as error:
        said = error.response
        typer.echo(f"{said['OriginalStatusCode']}: {said['OriginalMessage']}", err=True)
        return 1
    text = answer["Body"].read().decode("utf-8", "replace")
    try:
        typer.echo(json.dumps(json.loads(text), indent=2))
    except ValueError:
        typer.echo(text)
    return 0


def _read(body: str) -> bytes:
    """The request that a word of the command line means. Raises UsageError for a file that cannot be read, and for a
    request that is empty.
    """
    try:
        if body == "-":
            read = sys.stdin.buffer.read()
        else:
            read = Path(body[1:]).read_bytes() if body.startswith("@") else body.encode()
    except OSError as error:
        raise UsageError(f"`{body[1:]}` cannot be read: {error.strerror}; expected a file with the request") from None
    if not read:
        raise UsageError(f"the request `{body}` is empty; expected JSON, or no request at all for one that was tested")
    return read


def _example(context: Context, workload: str, stage: str) -> bytes:
    """The first of the requests that the package which a stage serves was tested by; it is shown."""
    found = golden_request(context, workload, stage)
    body = json.dumps(found, separators=(",", ":"))
    typer.echo(f"request {body if len(body) <= _SHOWN else body[:_SHOWN] + '…'}", err=True)
    return body.encode()


def golden_request(context: Context, workload: str, stage: str) -> Any:
    """The body of the first golden request of what a stage serves. Raises ServiceError when it cannot be found."""
    serving = stages.serving(client(context.session, "ssm"), context.names, workload, stage)
    if serving is None:
        raise ServiceError(f"{stage} serves no version of {workload} that is known; give the request")
    group = context.names.package_group(workload)
    known = registry.packages(client(context.session, "sagemaker"), group)
    package = registry.find(known, serving.model_package_arn, group)
    location = urlsplit(package.metadata[GOLDEN_REQUESTS_KEY])
    content = client(context.session, "s3").get_object(Bucket=location.netloc, Key=location.path.lstrip("/"))
    for line in content["Body"].read().decode().splitlines():
        request = json.loads(line)
        if request["status"] == 200:
            return request["body"]
    raise ServiceError(f"{location.geturl()} has no request that is answered; give the request")
