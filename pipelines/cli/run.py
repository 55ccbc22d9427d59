"""`mlops run`"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from pipelines import definitions, deployment, executions, git, images, parameters, starter
from pipelines import names as n
from pipelines.cli import select, show
from pipelines.cli.context import Context
from pipelines.cli.options import PipelineArgument, WorkloadArgument
from pipelines.errors import ServiceError, UsageError, suggestion
from pipelines.report.format import duration
from pipelines.session import client


def command(
    workload: WorkloadArgument = None,
    pipeline: PipelineArgument = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", help="A file to run on. Without it: the data of the last execution, or the workload's own."
        ),
    ] = None,
    evaluation_time: Annotated[
        str | None,
        typer.Option(
            "--evaluation-time",
            help="The moment the execution is about, ISO 8601. Without it: the day's beginning, for the forecaster the "
            "hour's; in UTC.",
        ),
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help="A parameter of this execution alone.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the execution to its end.")] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the execution as JSON; progress goes to stderr.")
    ] = False,
) -> int:
    """Bring the working tree's image and pipeline into the account, start the pipeline, and follow it to its end.

    Runtime values that the account does not have are created from the configuration; others stay. What has not changed
    comes from the cache. Exit status 0 when the execution succeeded, 1 when it did not; Ctrl-C leaves it running.
    """
    workload, kind = select.pipeline(workload, pipeline)
    if kind in n.DEPLOY_KINDS.values():
        stage = kind.removeprefix("deploy-")
        raise UsageError(f"`{kind}` deploys a model package; `mlops deploy VERSION --stage {stage}` starts it")
    if kind == "monitor":
        raise UsageError(f"`{kind}` evaluates an hour of a stage; `mlops monitor {workload} --stage prod` starts it")
    context = Context.here()
    out = show.console(stderr=as_json)
    moment = moment_of(evaluation_time) if evaluation_time else usual_moment(context.now(), workload)
    overrides = parameters_of(param or [])
    _check(context, workload, overrides)
    # Before the rest: a path that is wrong should change nothing in the account.
    data_uri = _data(out, context, workload, kind, data, overrides)
    bring(out, context, workload, kind)
    if created := parameters.ensure(context.session, context.configuration):
        out.print(Text(f"made {len(created)} runtime values in Parameter Store", "bright_black"), soft_wrap=True)
    arn = starter.start(
        context.session,
        context.names,
        workload,
        kind,
        evaluation_time=moment,
        git_commit=git.commit(context.root),
        mlflow_tracking_uri=tracking_uri(),
        input_data_uri=data_uri,
        overrides=overrides,
    )
    sagemaker = client(context.session, "sagemaker")
    out.print(
        Text.assemble(
            ("started ", "bright_black"),
            arn.rsplit("/", 1)[-1],
            (f"  as of {moment:%Y-%m-%d %H:%M} UTC", "bright_black"),
        )
    )
    if not wait:
        execution = executions.read(sagemaker, arn)
        if as_json:
            typer.echo(json.dumps(show.execution_document(execution), indent=2))
        else:
            typer.echo("it runs; `mlops status` shows how far it is", err=True)
        return 0
    execution = watched(out, context, arn, workload, kind)
    if as_json:
        typer.echo(json.dumps(show.execution_document(execution), indent=2))
    return 0 if execution.status == "Succeeded" else 1


def bring(out: Console, context: Context, workload: str, kind: str) -> None:
    """Register the working tree's image and make the account's pipeline that of the working tree."""
    with _working(out, "rendering the definition"):
        image, request = tree(context, workload, kind)
    with _working(out, "registering the image"):
        registered = images.register(context.session, context.names, image)
        became = deployment.upsert(context.session, request)
    tag = registered.uri.rsplit(":", 1)[-1]
    out.print(
        Text(f"pipeline {request['PipelineName']} {became}, image {tag} {'new' if registered.new else 'unchanged'}"),
        soft_wrap=True,
    )


def tree(context: Context, workload: str, kind: str) -> tuple[images.Image, dict[str, Any]]:
    """The working tree's image, and the request that makes the pipeline with this very image.

    Both are read from files; an editor may save one between the two readings, and then they are read again.
    """
    for _ in range(5):
        image = images.read(context.root, workload)
        request = definitions.request(workload, kind, context.configuration, context.root)
        if context.names.image_uri(workload, image.digest) in request["PipelineDefinition"]:
            return image, request
    raise ServiceError(f"the files of the image `{workload}` keep changing; run again when they have settled")


def watched(out: Console, context: Context, arn: str, workload: str, kind: str) -> executions.Execution:
    """Follow an execution to its end and tell how it ended; with its reasons when it failed."""
    sagemaker = client(context.session, "sagemaker")
    ahead = context.now() - datetime.now(UTC)
    readings = executions.watch(sagemaker, arn, time.sleep, seconds_between=0.25)
    try:
        execution = show.follow(out, readings, lambda: datetime.now(UTC) + ahead)
    except KeyboardInterrupt:
        out.print()
        out.print(
            f"The execution goes on. `mlops status` shows how far it is; `mlops stop {workload} {kind}` stops it.",
            soft_wrap=True,
        )
        raise
    worked = [step for step in execution.steps if step.status not in {"Pending", "Skipped"}]
    cached = sum(1 for step in worked if step.cached_from)
    note = f", {cached} of {len(worked)} steps from the cache" if cached else ""
    style = "bold green" if execution.status == "Succeeded" else "bold red"
    out.print(Text.assemble((execution.status, style), f" in {duration(execution.seconds())}{note}"), soft_wrap=True)
    once = execution.step(n.ALREADY_REGISTERED)
    if once is not None and once.outcome:
        out.print(f"The newest model package is this very model (`mlops models {workload}`): nothing to register.")
    if execution.status != "Succeeded":
        show.describe_failures(out, execution, client(context.session, "logs"), workload, kind)
    return execution


def usual_moment(now: datetime, workload: str) -> datetime:
    """The evaluation time of an execution that is given none: the day's beginning, for the forecaster the hour's.

    Not the very second: an execution that is started again soon is about the same moment, and what has not changed
    since comes from the cache.
    """
    hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return hour if workload == n.MINUTES[0] else hour.replace(hour=0)


def moment_of(text: str, option: str = "--evaluation-time") -> datetime:
    """The time that an option gives, aware. Raises UsageError for what is no ISO 8601 time."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} is `{text}`, expected ISO 8601 such as 2014-07-01T00:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def parameters_of(pairs: list[str]) -> dict[str, str]:
    """`["A=1", "B=x=y"]` as `{"A": "1", "B": "x=y"}`. Raises UsageError for a pair without a name or an equals sign."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise UsageError(f"--param is `{pair}`, expected NAME=VALUE such as MinRocAuc=0.75")
        found[name] = value
    return found


def _check(context: Context, workload: str, overrides: Mapping[str, str]) -> None:
    """Find what is wrong with an execution's own parameters before anything is changed. Raises UsageError."""
    for name, value in overrides.items():
        if parameters.check(context.configuration, workload, name, value):
            continue
        if name not in n.EXECUTION_INPUTS:
            tunables = parameters.defaults(context.configuration.tunables(workload))
            raise UsageError(
                f"`{workload}` has no parameter `{name}`"
                f"{suggestion(name, (*n.EXECUTION_INPUTS, *tunables)) or '; expected one of ' + ', '.join(tunables)}"
            )
        if name == n.EVALUATION_TIME or (name == n.SNAPSHOT_TIME and value != n.NO_SNAPSHOT):
            try:
                datetime.fromisoformat(value)
            except ValueError:
                raise UsageError(f"`{name}`: found {value!r}, expected ISO 8601 such as 2026-11-22T04:00:00Z") from None


def tracking_uri() -> str:
    """MLflow's address for the jobs, from MLFLOW_TRACKING_URI. Raises UsageError when it is not set."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        raise UsageError(
            "MLFLOW_TRACKING_URI is not set; `mlops up` sets it on this machine, on AWS it is the ARN of the managed "
            "tracking server"
        )
    return uri


def _data(
    out: Console, context: Context, workload: str, kind: str, data: Path | None, overrides: dict[str, str]
) -> str | None:
    """Where the execution's data lies; None when the starter is to decide, or an override does."""
    if workload == n.MINUTES[0]:
        if data is not None:
            raise UsageError(
                f"`{workload}` reads the feature store, not a file; load the file with `mlops ingest {data}` and run "
                "without --data"
            )
        return None
    if n.INPUT_DATA_URI in overrides:
        if data is not None:
            raise UsageError(f"expected --data or --param {n.INPUT_DATA_URI}=…, not both")
        return None
    if data is not None:
        return uploaded(out, context, workload, data)
    sagemaker = client(context.session, "sagemaker")
    last = executions.latest(sagemaker, context.names.pipeline(workload, kind))
    if last is None:
        return None
    uri = executions.read(sagemaker, last).parameters.get(n.INPUT_DATA_URI)
    if uri:
        out.print(Text(f"data {uri}, as in the last execution", style="bright_black"), soft_wrap=True)
    return uri


def uploaded(out: Console, context: Context, workload: str, data: Path) -> str:
    """Upload a data file, with progress; gives its folder's S3 URI."""
    with _working(out, f"uploading {data.name}"):
        uri = deployment.upload(context.session, context.names, workload, data)
    out.print(Text(f"data {data} is {uri}", style="bright_black"), soft_wrap=True)
    return uri


def _working(out: Console, what: str) -> Any:
    """Something that moves while work takes time; on a pipe, nothing."""
    return out.status(what, spinner="dots")
