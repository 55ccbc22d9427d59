"""`mlops down`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli import environment, show
from pipelines.config import find_root
from pipelines.names import LocalPaths
from pipelines.stack import Stack


def command(
    state: Annotated[
        Path | None,
        typer.Option("--state", help="The stack's folder; the one this working copy uses when left away."),
    ] = None,
) -> None:
    """Stop localcloud and MLflow, with every job that runs, and wait until they are gone. Their state stays."""
    paths = LocalPaths(find_root(Path.cwd()))
    folder = (state or environment.state_in_use(paths) or paths.state / "state").expanduser().resolve()
    servers = Stack.recorded(folder)
    out = show.console()
    stopped: set[str] = set()
    if servers is not None:
        with out.status("stopping", spinner="dots"):
            stopped = servers.stop()
    environment.forget(paths, folder)
    if stopped:
        out.print(f"stopped {' and '.join(sorted(stopped))}; the state stays in {folder}", soft_wrap=True)
    else:
        out.print(f"nothing runs in {folder}", soft_wrap=True)
