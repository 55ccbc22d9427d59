"""`mlops demo`: the whole life of a project on this machine, in minutes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Annotated, Self

import typer
from rich.console import Console
from rich.text import Text

from pipelines import ingest, provision, stack
from pipelines.cli import demo_delivery, demo_loop, demo_stages, demo_stream, ending, environment, own_servers, show
from pipelines.cli.context import Context
from pipelines.cli.demo_delivery import Repository
from pipelines.cli.demo_world import Files
from pipelines.cli.project import watch_project
from pipelines.cli.report import write as write_report
from pipelines.cli.report import write_monitoring
from pipelines.cli.up import overrides_path, tell
from pipelines.config import find_root, load
from pipelines.errors import ProjectError, ServiceError, UsageError
from pipelines.executions import Execution
from pipelines.feature_groups import MINUTES
from pipelines.ingestion import control
from pipelines.ingestion.minutes import MINUTE, whole
from pipelines.names import LocalPaths
from pipelines.projects import cloning, creation, destruction, reading
from pipelines.projects.creation import Wish
from pipelines.projects.things import Account
from pipelines.publishing import publish as publishing
from pipelines.report.format import duration
from pipelines.session import client
from pipelines.stack import DEFAULT_PORT, Stack

KIND = "build"
CARDHOLDERS, FORECASTER = "cardholders", "forecaster"
_POLL_SECONDS = 0.1
_STREAM_TAKES = timedelta(seconds=10)
_CARDS, _MINUTES, _CALLERS = "making card transactions", "making minutes", "making callers"
# What somebody changes first, by workload: file, the text there, the text instead, and why.
_CHANGES = {
    CARDHOLDERS: (
        "seed_code/cardholders/features.py",
        "RECENT_GAPS = 20",
        "RECENT_GAPS = 24",
        "Look at the last 24 purchases for a holder's rhythm",
    ),
    FORECASTER: (
        "seed_code/forecaster/train.py",
        "_BATCHES_PER_LOG_LINE = 5",
        "_BATCHES_PER_LOG_LINE = 10",
        "One log line for each epoch",
    ),
}


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
    fast: Annotated[bool, typer.Option("--fast", help="The cardholders alone, and no days of monitoring.")] = False,
    roll_back: Annotated[bool, typer.Option("--roll-back", help="Show a canary that goes bad, too.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the project and the servers as they are.")] = False,
) -> int:
    """The whole life of a project on this machine, on servers of its own: created from the template, pushed to,
    trained, approved, delivered to production, asked, watched while the data change, retrained, and destroyed.

    Two demos run beside each other on ports that differ by three or more.
    """
    began = time.monotonic()
    if data is not None and not data.is_file():
        raise UsageError(f"--data `{data}` is no file, expected a .csv or .csv.gz with card transactions")
    if minutes is not None and not minutes.is_file():
        raise UsageError(f"--minutes `{minutes}` is no file, expected a .csv, .csv.gz or .parquet with minutes")
    if minutes is not None:
        ingest.read(minutes)  # what is wrong with it should cost no minute
    paths = LocalPaths(find_root(Path.cwd()))
    overrides = overrides_path(paths)
    folder = paths.state / ("demo" if port == DEFAULT_PORT else f"demo-{port}")
    servers = Stack(folder, port, load(paths.root, overrides).names.region)
    out = show.console()
    with ending.in_order(), own_servers.only_one(folder, port):
        own_servers.clear(folder, servers)
        variables = environment.variables(servers, overrides)
        with stack.started(servers, lambda text: out.print(text)), _Helpers(paths.root, variables) as helpers:
            tell(out, servers)
            asked = _Asked(data, minutes, fast, roll_back)
            made = _Making(helpers, folder, asked)
            with out.status("starting localcloud", spinner="dots"):
                servers.wait(servers.localcloud)
            environment.use(variables)
            context = Context(paths.root)
            good = _life(out, context, servers, helpers, made)
            if keep:
                environment.keep(paths, variables)
            else:
                good = _destroyed(out, context) and good
                with out.status("stopping the servers", spinner="dots"):
                    servers.stop()
    _next(out, servers, keep, time.monotonic() - began)
    return 0 if good else 1


@dataclass(frozen=True)
class _Asked:
    """What the demo was asked to show, and on which data."""

    data: Path | None
    minutes: Path | None
    fast: bool
    roll_back: bool


class _Making:
    """The data, made up where they are nobody's own, by helpers that work while the servers start."""

    def __init__(self, helpers: _Helpers, folder: Path, asked: _Asked) -> None:
        self.asked, self._helpers = asked, helpers
        self.cards = asked.data or folder / "transactions.csv.gz"
        self.minutes = asked.minutes or folder / "minutes.parquet"
        if asked.data is None:
            helpers.start(_CARDS, "-m", "seed_code.cardholders.generate", "--out", str(self.cards))
        # From when on minutes come by the stream alone; known when it is at work.
        self.live_from: datetime | None = None

    @property
    def streamed(self) -> bool:
        """Whether minutes come by the stream: what comes after minutes that are somebody's own, nobody can make up."""
        return self.asked.minutes is None and not self.asked.fast

    def finish_cards(self, out: Console) -> None:
        self._helpers.finish(out, _CARDS)

    def make_minutes(self, now: datetime, history_days: int) -> None:
        """Make the minutes before those that the stream brings, which is at work at `now` (aware)."""
        self.live_from = whole(now + _STREAM_TAKES) + MINUTE
        self._helpers.start(
            _MINUTES,
            *("-m", "seed_code.forecaster.generate", "--out", str(self.minutes)),
            *("--end", f"{self.live_from:%Y-%m-%dT%H:%M:%SZ}", "--days", str(history_days)),
        )
        self._helpers.wait(_MINUTES)


def _life(out: Console, context: Context, servers: Stack, helpers: _Helpers, made: _Making) -> bool:
    """The project's life but for its end; whether all went well."""
    asked, files = made.asked, Files(servers.state)
    repository = _created(out, context, servers.state)
    made.finish_cards(out)
    _upload(out, context, made.cards)
    with ThreadPoolExecutor(2) as threads, _ended_together() as go_on:
        # MLflow takes seconds to start, and is needed by Evaluate only.
        mlflow = threads.submit(servers.wait, servers.mlflow)
        # Minutes are written while the first pipeline mostly leaves one processor idle.
        minutes = None if asked.fast else threads.submit(_fed, context, made, go_on)
        first = _pushed(out, context, repository, CARDHOLDERS)
        with out.status("starting MLflow", spinner="dots"):
            mlflow.result()
        if first is None:
            return False
        helpers.start(_CALLERS, *files.making_holders(context, first))
        if not demo_delivery.deliver(out, context, CARDHOLDERS):
            return False
        if minutes is not None:
            with out.status("writing minutes to the feature store", spinner="dots"):
                minutes.result()
    builds = {CARDHOLDERS: first}
    good = demo_stages.show_api(out, context)
    helpers.finish(out, _CALLERS)
    if asked.roll_back:
        good = demo_stages.show_roll_back(out, context, files) and good
    if not asked.fast:
        second = _pushed(out, context, repository, FORECASTER)
        if second is None or not demo_delivery.deliver(out, context, FORECASTER):
            return False
        builds[FORECASTER] = second
        if made.live_from is not None:
            good = demo_stream.end(out, context, made.live_from) and good
            good = good and _loop(out, context, servers, helpers, files)
    _report(out, context, builds)
    return good


def _created(out: Console, context: Context, folder: Path) -> Repository:
    """Publish the template, create the project from it, and clone its repository."""
    session, names = context.session, context.names
    _heading(out, f"the project {names.project}, created from the template")
    with out.status("publishing the template", spinner="dots") as status:
        # `make lint` looks at the templates, and `mlops publish` does; a demo need not wait for that.
        release = publishing.prepare(context.configuration, context.root, checked=True)
        published = publishing.publish(session, release, context.root, poll_seconds=_POLL_SECONDS, tell=status.update)
    out.print(Text.assemble(("published ", "bright_black"), f"version {published.version}"), soft_wrap=True)
    overrides = creation.overrides_inside(context.root, os.environ)
    creation.begin(session, creation.plan(session, names, context.configuration, Wish(overrides=overrides)))
    watch_project(out, context, names, "made")
    project = reading.describe(session, names)
    if project is None:
        raise ServiceError(f"the project {names.project} was made, and is not there")
    cloning.clone(session, names, project, folder / "repository")
    out.print(Text.assemble(("git clone ", "bright_black"), str(reading.clone_url(session, project))), soft_wrap=True)
    return Repository(folder / "repository")


def _destroyed(out: Console, context: Context) -> bool:
    """Destroy the project; whether nothing of it is left."""
    _heading(out, f"the project {context.names.project}, destroyed")
    with out.status("destroying", spinner="dots") as status:
        account = Account(context.session, context.names, _POLL_SECONDS)
        outcome = destruction.destroy(account, tell=status.update)
    for one in outcome.remaining:
        out.print(Text(f"{one.what} remains: {one.reason}", "red"), soft_wrap=True)
    if not outcome.remaining:
        out.print(Text(f"{outcome.removed} things are gone, and nothing remains", "bold green"), soft_wrap=True)
    return not outcome.remaining


def _upload(out: Console, context: Context, cards: Path) -> None:
    """Put card transactions where the cardholders' data are looked for."""
    bucket, key = context.names.bucket, f"{context.names.data_prefix(CARDHOLDERS)}/{cards.name}"
    with out.status("uploading card transactions", spinner="dots"):
        client(context.session, "s3").upload_file(str(cards), bucket, key)
    out.print(Text.assemble(("data      ", "bright_black"), f"s3://{bucket}/{key}"), soft_wrap=True)


def _fed(context: Context, made: _Making, go_on: Callable[[object], None]) -> None:
    """Set the stream going, and write the minutes before it."""
    provision.register_images(context.session, context.names, context.root)
    control.bring(
        context.session,
        control.configured(context.configuration, running=made.streamed),
        context.root,
        poll_seconds=_POLL_SECONDS,
    )
    if made.streamed:
        made.make_minutes(context.now(), context.configuration.workloads.forecaster.data.history_days)
    ingest.write(context.session, MINUTES.name(context.names), ingest.read(made.minutes), go_on)


def _pushed(out: Console, context: Context, repository: Repository, workload: str) -> Execution | None:
    """Push a change of a workload's configuration, and follow what is built of it; None when that failed."""
    _heading(out, f"{workload}: pushed, and trained")
    file, before, after, message = _CHANGES[workload]
    commit = repository.push(file, before, after, message)
    told = f"git push  {commit[:8]} {message} ({file})"
    out.print(Text(told, "bright_black"), soft_wrap=True)
    return demo_delivery.built(out, context, workload, commit)


def _heading(out: Console, what: str) -> None:
    out.print()
    out.print(Text(what, "bold"))


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
                    self.wait(name)

    def wait(self, name: str) -> None:
        """Wait for one. Raises DemoError with what it said when it failed."""
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


def _next(out: Console, servers: Stack, keep: bool, seconds: float) -> None:
    """What to do now."""
    out.print()
    state = show.short(servers.state)
    if not keep:
        out.print(
            f"{duration(seconds)} in all. The servers are stopped; what they wrote is in {state}.", soft_wrap=True
        )
        steps = [("make demo KEEP=1", "the same, and leave the project there to look around")]
    else:
        out.print(f"{duration(seconds)} in all. The servers run on; `mlops down` stops them.", soft_wrap=True)
        steps = [] if shutil.which("mlops") else [("source .venv/bin/activate", "so that `mlops` is found")]
        steps += [
            ("mlops endpoints", "what the stages serve, and how it does"),
            ("mlops watch --once", "how the models do, hour by hour"),
            ("mlops explain quality --workload forecaster", "what an alarm was about, and what was done"),
            ("mlops invoke cardholders", "ask production"),
            ('mlops rollback --workload cardholders --stage staging --why "…"', "go back by hand"),
            ("mlops project list", "the projects of the account"),
        ]
    width = max(len(what) for what, _ in steps) + 2
    for what, why in steps:
        out.print(Text.assemble("  ", f"{what:<{width}}", (why, "bright_black")), soft_wrap=True)
