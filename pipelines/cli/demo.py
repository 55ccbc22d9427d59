"""`mlops demo`: from nothing to a model package that waits for approval, on this machine, in a minute."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines import definitions, executions, git, provision, registry, stack, starter
from pipelines.cli import environment, show
from pipelines.cli.context import Context
from pipelines.cli.report import write as write_report
from pipelines.cli.run import bring, moment_of, tracking_uri, uploaded, watched
from pipelines.cli.up import overrides_path, tell
from pipelines.config import find_root, load
from pipelines.errors import ProjectError, UsageError
from pipelines.executions import Execution
from pipelines.names import LocalPaths
from pipelines.report.format import duration, figure, percent
from pipelines.report.measures import METRICS
from pipelines.session import client
from pipelines.stack import DEFAULT_PORT, Stack

WORKLOAD, KIND = "cardholders", "build"


class DemoError(ProjectError):
    """A part of the demo's preparation failed; the message has what it said."""


def command(
    data: Annotated[
        Path | None, typer.Option("--data", help="Your own card data, .csv or .csv.gz; without it, data is made up.")
    ] = None,
    port: Annotated[
        int, typer.Option("--port", help="Of localcloud; MLflow takes the next one.", min=1024, max=65534)
    ] = DEFAULT_PORT,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the servers running.")] = False,
) -> int:
    """Run the cardholders build pipeline from data to a model package, on servers of its own.

    They are stopped at the end; their state stays. Two demos run beside each other on ports that differ by two or more.
    """
    began = time.monotonic()
    if data is not None and not data.is_file():
        raise UsageError(f"--data `{data}` is no file, expected a .csv or .csv.gz with card transactions")
    paths = LocalPaths(find_root(Path.cwd()))
    overrides = overrides_path(paths)
    configuration = load(paths.root, overrides)
    definitions.check(WORKLOAD, KIND)
    folder = paths.state / ("demo" if port == DEFAULT_PORT else f"demo-{port}")
    servers = Stack(folder, port, configuration.names.region)
    out = show.console()
    with _ending_in_order(), _only_one(folder, port):
        _clear(folder, servers)
        variables = environment.variables(servers, overrides)
        with (
            stack.started(servers, lambda text: out.print(text)),
            _helpers(paths.root, variables, data, folder) as (rendered, file),
        ):
            tell(out, servers)
            with out.status("starting localcloud", spinner="dots"):
                servers.wait(servers.localcloud)
            environment.use(variables)
            context = Context(paths.root)
            with out.status("making bucket, role and parameters", spinner="dots"):
                provision.provision(context.session, context.configuration)
            with out.status("making card transactions", spinner="dots"):
                source = file()
            data_uri = uploaded(out, context, WORKLOAD, source)
            with out.status("rendering the pipeline definition", spinner="dots"):
                rendered()
            bring(out, context, WORKLOAD, KIND)
            out.print()
            arn = starter.start(
                context.session,
                context.names,
                WORKLOAD,
                KIND,
                evaluation_time=moment_of(None, datetime.now(UTC)),
                git_commit=git.commit(paths.root),
                mlflow_tracking_uri=tracking_uri(),
                input_data_uri=data_uri,
            )
            with ThreadPoolExecutor(1) as threads:
                # MLflow takes seconds to start, and is needed by Evaluate only.
                mlflow = threads.submit(servers.wait, servers.mlflow)
                execution = watched(out, context, arn, WORKLOAD, KIND)
                mlflow.result()
            _results(out, context, execution)
            report = write_report(context, execution, WORKLOAD, KIND)
            out.print(f"Report         {show.short(report)}", soft_wrap=True)
            if keep:
                environment.keep(paths, variables)
            else:
                with out.status("stopping the servers", spinner="dots"):
                    servers.stop()
    _next(out, servers, keep, execution.status == "Succeeded", time.monotonic() - began)
    return 0 if execution.status == "Succeeded" else 1


# --- what it starts ---------------------------------------------------------------------------------------------------


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """Make SIGTERM and SIGHUP (the terminal is closed) end this like Ctrl-C: with everything stopped."""

    def end(number: int, _: Any) -> None:
        sys.exit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _only_one(folder: Path, port: int) -> Iterator[None]:
    """Keep another demo from the same state folder. The lock lies beside it: the folder itself is made anew."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"another demo runs at port {port}; choose another port with --port, e.g. --port {port + 100}"
            ) from None
        yield


def _clear(folder: Path, servers: Stack) -> None:
    """Make the state folder empty. Raises UsageError while servers run on it."""
    recorded = Stack.recorded(folder, servers.region)
    if recorded is not None and recorded.running():
        raise UsageError(
            f"the servers of an earlier demo still run at port {recorded.port}; stop them with "
            f"`mlops down --state {show.short(folder)}`, or choose another port with --port, e.g. --port "
            f"{servers.port + 100}"
        )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


@contextmanager
def _helpers(
    root: Path, variables: dict[str, str], data: Path | None, folder: Path
) -> Iterator[tuple[Callable[[], None], Callable[[], Path]]]:
    """Render the definition and make up data in processes of their own, while the servers start.

    Gives two functions that wait: until the definition is in the cache, and until the data file is there.
    """
    # Both take seconds of processor time, most of it in imports: in threads they would wait for each other.
    verb = "from pipelines.cli import main; main()"
    running = {
        "rendering the definition": subprocess.Popen(
            [sys.executable, "-c", verb, "definition", WORKLOAD, KIND],
            cwd=root,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
    }
    file = data if data is not None else folder / "transactions.csv.gz"
    if data is None:
        running["making card transactions"] = subprocess.Popen(
            [sys.executable, "-m", f"seed_code.{WORKLOAD}.generate", "--out", str(file)],
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait(what: str) -> None:
        process = running.get(what)
        if process is None:
            return
        _, said = process.communicate()
        if process.returncode != 0:
            raise DemoError(f"{what} failed (exit status {process.returncode}):\n{said.strip()}")

    def made() -> Path:
        wait("making card transactions")
        return file

    try:
        yield lambda: wait("rendering the definition"), made
    finally:
        for process in running.values():
            if process.poll() is None:
                process.kill()
            process.communicate() if process.returncode is None else process.wait()
            if process.stderr is not None:
                process.stderr.close()


# --- what it tells ----------------------------------------------------------------------------------------------------


def _results(out: Console, context: Context, execution: Execution) -> None:
    """The evaluation against its baselines, the package, and MLflow's versions."""
    sagemaker = client(context.session, "sagemaker")
    evaluation = executions.evaluation_of(sagemaker, client(context.session, "s3"), execution)
    if evaluation is not None:
        out.print()
        out.print(_metrics_table(evaluation))
        out.print(Text(_clusters_line(evaluation)), soft_wrap=True)
    known = registry.packages(sagemaker, context.names.package_group(WORKLOAD))
    out.print()
    if known:
        newest = known[0]
        out.print(f"Model package  {newest.arn}", soft_wrap=True)
        out.print(f"               version {newest.version}, waiting for approval", soft_wrap=True)
        for part in newest.mlflow_versions:
            model = newest.mlflow_model(part)
            address = f"{tracking_uri()}/#/models/{model['name']}/versions/{model['version']}"
            out.print(f"MLflow         {model['name']} version {model['version']}  {address}", soft_wrap=True)


def _metrics_table(evaluation: dict[str, Any]) -> Table:
    baselines = {name: values for name, values in evaluation.get("baselines", {}).items() if isinstance(values, dict)}
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="bright_black")
    table.add_column("on the same holdout")
    for name in ("model", *baselines):
        table.add_column(name.replace("_", " "), justify="right")
    for measure in METRICS:
        value = evaluation.get("metrics", {}).get(measure.key)
        if value is None:
            continue
        others = [values.get(measure.key) for values in baselines.values()]
        cells = [figure(other) if other is not None else "" for other in others]
        table.add_row(f"{measure.name} {measure.arrow}", Text(figure(value), "bold"), *cells)
    return table


def _clusters_line(evaluation: dict[str, Any]) -> str:
    profiles = evaluation.get("clusters", {}).get("profiles", [])
    shares = ", ".join(f"{profile.get('name')} {percent(profile.get('share'))}" for profile in profiles)
    return f"{len(profiles)} clusters: {shares}" if profiles else ""


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
        steps.append(("mlops models", "the package with its metrics"))
        steps.append(('mlops approve latest --why "…"', "let it become the champion"))
    steps.append(("mlops run cardholders build", "run again: what has not changed comes from the cache"))
    for what, why in steps:
        out.print(Text.assemble("  ", f"{what:<34}", (why, "bright_black")), soft_wrap=True)
