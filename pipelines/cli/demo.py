"""`mlops demo`: from nothing to two models in production on this machine, a bad one that comes back, and one that has
become worse and is retrained, in minutes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Annotated, Self

import typer
from rich.console import Console
from rich.text import Text

from pipelines import executions, git, ingest, provision, registry, stack, starter
from pipelines.api import deployment as api_deployment
from pipelines.cli import demo_loop, demo_stages, demo_stream, ending, environment, own_servers, show
from pipelines.cli.context import Context
from pipelines.cli.demo_world import Files
from pipelines.cli.report import write as write_report
from pipelines.cli.report import write_monitoring
from pipelines.cli.results import evaluation_line, evaluation_table
from pipelines.cli.run import bring, tracking_uri, uploaded, usual_moment, watched
from pipelines.cli.up import overrides_path, tell
from pipelines.config import find_root, load
from pipelines.errors import ProjectError, UsageError
from pipelines.executions import Execution
from pipelines.feature_groups import MINUTES
from pipelines.ingestion import control
from pipelines.ingestion.minutes import MINUTE, whole
from pipelines.names import LocalPaths
from pipelines.report.format import duration
from pipelines.session import client
from pipelines.stack import DEFAULT_PORT, Stack

RENDER = "from pipelines.cli.definition import render_all; render_all()"
KIND = "build"
_STREAM_STARTS_IN = timedelta(seconds=30)
CARDHOLDERS, FORECASTER = "cardholders", "forecaster"


class DemoError(ProjectError):
    """A part of the demo's preparation failed; the message has what it said."""


def command(
    data: Annotated[
        Path | None, typer.Option("--data", help="Your own card data, .csv or .csv.gz; without it, data is made up.")
    ] = None,
    minutes: Annotated[
        Path | None,
        typer.Option("--minutes", help="Your own minutes, as `mlops ingest` takes them; without it, data is made up."),
    ] = None,
    port: Annotated[
        int,
        typer.Option("--port", help="Of localcloud; MLflow and the simulator take the next two.", min=1024, max=65533),
    ] = DEFAULT_PORT,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the servers running.")] = False,
) -> int:
    """Run both workloads from data to models in production, on servers of their own; a bad canary comes back; and hours
    pass in which the data change, until a better model serves.

    They are stopped at the end; their state stays. Two demos run beside each other on ports that differ by three or
    more.
    """
    began = time.monotonic()
    if data is not None and not data.is_file():
        raise UsageError(f"--data `{data}` is no file, expected a .csv or .csv.gz with card transactions")
    if minutes is not None and not minutes.is_file():
        raise UsageError(f"--minutes `{minutes}` is no file, expected a .csv, .csv.gz or .parquet with minutes")
    if minutes is not None:
        ingest.read(minutes)  # what is wrong with it should cost no minute
    made_up = minutes is None
    paths = LocalPaths(find_root(Path.cwd()))
    overrides = overrides_path(paths)
    configuration = load(paths.root, overrides)
    moment = datetime.now(UTC)
    # From when on minutes come by the stream alone: it is at work by then, and sees the whole of that minute.
    live_from = whole(moment + _STREAM_STARTS_IN) + MINUTE
    folder = paths.state / ("demo" if port == DEFAULT_PORT else f"demo-{port}")
    servers = Stack(folder, port, configuration.names.region)
    out = show.console()
    with ending.in_order(), own_servers.only_one(folder, port):
        own_servers.clear(folder, servers)
        variables = environment.variables(servers, overrides)
        with stack.started(servers, lambda text: out.print(text)), _Helpers(paths.root, variables) as helpers:
            tell(out, servers)
            helpers.start("rendering the definitions", "-c", RENDER)
            if data is None:
                data = folder / "transactions.csv.gz"
                helpers.start("making card transactions", "-m", "seed_code.cardholders.generate", "--out", str(data))
            if minutes is None:
                minutes = folder / "minutes.parquet"
                helpers.start(
                    "making minutes",
                    *("-m", "seed_code.forecaster.generate", "--out", str(minutes)),
                    *("--end", f"{live_from:%Y-%m-%dT%H:%M:%SZ}"),
                    *("--days", str(configuration.workloads.forecaster.data.history_days)),
                )
            with out.status("starting localcloud", spinner="dots"):
                servers.wait(servers.localcloud)
            environment.use(variables)
            context = Context(paths.root)
            with out.status("deploying the stack, creating parameters and images", spinner="dots"):
                provision.provision(
                    context.session,
                    # What comes after minutes that are somebody's own, nobody can make up.
                    control.configured(context.configuration, running=made_up),
                    context.root,
                    tracking_uri=tracking_uri(),
                    poll_seconds=0.1,
                )
            helpers.finish(out, "making card transactions", "making minutes")
            data_uri = uploaded(out, context, CARDHOLDERS, data)
            helpers.finish(out, "rendering the definitions")
            with ThreadPoolExecutor(2) as threads, _ended_together() as go_on:
                # MLflow takes seconds to start, and is needed by Evaluate only.
                mlflow = threads.submit(servers.wait, servers.mlflow)
                # Writing the minutes takes one processor for as long as the first pipeline mostly leaves one idle.
                group = MINUTES.name(context.names)
                ingested = threads.submit(ingest.write, context.session, group, ingest.read(minutes), go_on)
                api = threads.submit(
                    api_deployment.deploy, context.session, context.configuration, paths, poll_seconds=0.1
                )
                first = _build(out, context, CARDHOLDERS, moment, data_uri)
                with out.status("writing minutes to the feature store", spinner="dots"):
                    mlflow.result(), ingested.result(), api.result()
            second = _build(out, context, FORECASTER, moment, None)
            good = first.status == second.status == "Succeeded"
            files = Files(servers.state)
            if good:
                helpers.start("making callers", *files.making_holders(context, first))
                deployed = [demo_stages.deploy(out, context, workload) for workload in (CARDHOLDERS, FORECASTER)]
                helpers.finish(out, "making callers")
                good = all(deployed) and demo_stages.show_roll_back(out, context, files)
                good = good and demo_stages.show_api(out, context)
            if made_up:
                good = demo_stream.end(out, context, live_from) and good
            if good and made_up:
                good = _loop(out, context, servers, helpers, files)
            _report(out, context, {CARDHOLDERS: first, FORECASTER: second})
            if keep:
                environment.keep(paths, variables)
            else:
                with out.status("stopping the servers", spinner="dots"):
                    servers.stop()
    _next(out, servers, keep, good, time.monotonic() - began)
    return 0 if good else 1


def _build(out: Console, context: Context, workload: str, moment: datetime, data_uri: str | None) -> Execution:
    """Run a workload's build pipeline, and tell what came of it."""
    out.print()
    out.print(Text(workload, "bold"))
    bring(out, context, workload, KIND)
    arn = starter.start(
        context.session,
        context.names,
        workload,
        KIND,
        evaluation_time=usual_moment(moment, workload),
        git_commit=git.commit(context.root),
        mlflow_tracking_uri=tracking_uri(),
        input_data_uri=data_uri,
    )
    execution = watched(out, context, arn, workload, KIND)
    _results(out, context, execution, workload)
    return execution


def _loop(out: Console, context: Context, servers: Stack, helpers: _Helpers, files: Files) -> bool:
    """Let hours pass, in which other minutes come than the forecaster has learned from."""
    timetable, making = demo_loop.Timetable.after(context.now()), "making the minutes to come"
    helpers.start(making, *files.making_minutes(context, timetable.last, timetable.drift_at))
    helpers.finish(out, making)
    return demo_loop.show(out, context, servers, timetable, files)


# --- what it starts ---------------------------------------------------------------------------------------------------


@contextmanager
def _ended_together() -> Iterator[Callable[[object], None]]:
    """A function that a thread calls while it works, and that ends it once the block was left by an exception."""
    ended = Event()

    def go_on(_: object) -> None:
        if ended.is_set():
            raise DemoError("the demo was ended")

    try:
        yield go_on
    except BaseException:
        ended.set()
        raise


class _Helpers:
    """Work in processes of its own, while the servers start.

    All of it takes seconds of processor time, most of it in imports: in threads it would wait for each other.
    """

    def __init__(self, root: Path, variables: dict[str, str]) -> None:
        self.root = root
        self.environment = {**os.environ, **variables}
        self.running: dict[str, subprocess.Popen[str]] = {}

    def start(self, what: str, *arguments: str) -> None:
        """Run Python with these arguments."""
        self.running[what] = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, out: Console, *what: str) -> None:
        """Wait for those that were started. Raises DemoError with what one said when it failed."""
        for name in what:
            if name in self.running:
                with out.status(name, spinner="dots"):
                    _, said = self.running[name].communicate()
                if self.running[name].returncode != 0:
                    raise DemoError(f"{name} failed (exit status {self.running[name].returncode}):\n{said.strip()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.running.values():
            if process.poll() is None:
                process.kill()
            process.communicate() if process.returncode is None else process.wait()
            if process.stderr is not None:
                process.stderr.close()


def _report(out: Console, context: Context, builds: dict[str, Execution]) -> None:
    """Write the report of each build; what its model has come to by now is in it. And that of the hours since."""
    out.print()
    for workload, execution in builds.items():
        report = write_report(context, execution, workload, KIND)
        out.print(f"Report         {show.short(report)}", soft_wrap=True)
    for workload in builds:
        report = write_monitoring(context, workload)
        out.print(f"Monitoring     {show.short(report)}", soft_wrap=True)


# --- what it tells ----------------------------------------------------------------------------------------------------


def _results(out: Console, context: Context, execution: Execution, workload: str) -> None:
    """The evaluation against its baselines, the package, and MLflow's versions."""
    sagemaker = client(context.session, "sagemaker")
    evaluation = executions.evaluation_of(sagemaker, client(context.session, "s3"), execution)
    if evaluation is not None:
        out.print()
        out.print(evaluation_table(evaluation))
        out.print(Text(evaluation_line(evaluation)), soft_wrap=True)
    known = registry.packages(sagemaker, context.names.package_group(workload))
    out.print()
    if known:
        newest = known[0]
        out.print(f"Model package  {newest.arn}", soft_wrap=True)
        out.print(f"               version {newest.version}, waiting for approval", soft_wrap=True)
        for part in newest.mlflow_versions:
            model = newest.mlflow_model(part)
            address = f"{tracking_uri()}/#/models/{model['name']}/versions/{model['version']}"
            out.print(f"MLflow         {model['name']} version {model['version']}  {address}", soft_wrap=True)


def _next(out: Console, servers: Stack, keep: bool, good: bool, seconds: float) -> None:
    """What to do now."""
    out.print()
    state = show.short(servers.state)
    if keep:
        out.print(f"{duration(seconds)} in all. The servers run on; `mlops down` stops them.", soft_wrap=True)
    else:
        out.print(f"{duration(seconds)} in all. The servers are stopped, their state stays in {state}.", soft_wrap=True)
    steps = [] if shutil.which("mlops") else [("source .venv/bin/activate", "so that `mlops` is found")]
    if not keep:
        steps.append((f"mlops up --state {state}", "bring the servers back"))
    if good:
        steps.append(("mlops endpoints", "what the stages serve, and how it does"))
        steps.append(("mlops watch --once", "how the models do, hour by hour"))
        steps.append(("mlops explain quality --workload forecaster", "what an alarm was about, and what was done"))
        steps.append(("mlops invoke cardholders", "ask production"))
        steps.append(("mlops api", "the REST API: its URL, a token, and a page to try it on"))
        steps.append(('mlops rollback --workload cardholders --stage staging --why "…"', "go back by hand"))
    steps.append(("mlops run cardholders build", "run again: what has not changed comes from the cache"))
    width = max(len(what) for what, _ in steps) + 2
    for what, why in steps:
        out.print(Text.assemble("  ", f"{what:<{width}}", (why, "bright_black")), soft_wrap=True)
