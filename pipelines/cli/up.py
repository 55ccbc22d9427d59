"""`mlops up`"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from pipelines import provision, stack
from pipelines.cli import environment, show
from pipelines.cli.context import Context
from pipelines.cli.run import tracking_uri
from pipelines.config import find_root, load, overrides_from
from pipelines.errors import UsageError
from pipelines.ingestion import control
from pipelines.names import LocalPaths
from pipelines.stack import DEFAULT_PORT, Stack

_POLL_SECONDS = 0.1


def command(
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            help=f"Of localcloud; MLflow and the simulator take the next two. {DEFAULT_PORT}, or the state's own.",
            min=1024,
            max=65533,
        ),
    ] = None,
    state: Annotated[
        Path | None, typer.Option("--state", help="The folder that keeps everything; `.mlops/state` when left away.")
    ] = None,
) -> None:
    """Start localcloud, MLflow and a simulated source of transactions, and make what a pipeline needs there.

    From then on every verb of this working copy speaks to them, until `mlops down`. What runs already is left alone.
    """
    paths = LocalPaths(find_root(Path.cwd()))
    folder = (state or paths.state / "state").expanduser().resolve()
    overrides = overrides_path(paths)
    region = load(paths.root, overrides).names.region
    recorded = Stack.recorded(folder)
    servers = Stack(folder, port or (recorded.port if recorded else DEFAULT_PORT), region)
    in_use = environment.state_in_use(paths)
    if in_use is not None and in_use != folder and (other := Stack.recorded(in_use)) and other.running():
        raise UsageError(
            f"this working copy already uses the stack of `{in_use}` (port {other.port}); `mlops down` stops it"
        )
    out = show.console()
    with stack.started(servers, lambda text: out.print(text)) as fresh:
        with out.status(f"starting {' and '.join(sorted(fresh)) or 'nothing'}", spinner="dots"):
            made = prepare(servers, paths, overrides)
        environment.keep(paths, environment.variables(servers, overrides))
    if not fresh:
        out.print(f"already up, with its state in {show.short(folder)}", soft_wrap=True)
    for what in made:
        out.print(Text(f"made {what}", style="bright_black"), soft_wrap=True)
    tell(out, servers)


def prepare(servers: Stack, paths: LocalPaths, overrides: Path) -> list[str]:
    """Wait until the servers answer, and make what is missing in the account; gives what was made."""
    servers.wait(servers.localcloud)
    environment.use(environment.variables(servers, overrides))
    context = Context(paths.root)
    made = provision.provision(
        context.session,
        control.left_going(context.session, context.configuration),
        context.root,
        tracking_uri=tracking_uri(),
        poll_seconds=_POLL_SECONDS,
    )
    servers.wait(servers.mlflow)
    servers.wait(servers.simulator)
    return made


def tell(out: Console, servers: Stack) -> None:
    """Where things are."""
    out.print(f"AWS     {servers.localcloud.url}  (localcloud)", soft_wrap=True)
    out.print(f"MLflow  {servers.mlflow.url}", soft_wrap=True)
    out.print(f"source  {servers.simulator.url}  (simulated transactions)", soft_wrap=True)
    logs = ", ".join(server.log.name for server in servers.servers)
    out.print(f"state   {show.short(servers.state)}  (logs in it: {logs})", soft_wrap=True)


def overrides_path(paths: LocalPaths) -> Path:
    """The overrides file of a laptop: the one that the environment names, else the project's own."""
    return overrides_from(os.environ) or paths.local_overrides
