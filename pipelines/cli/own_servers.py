"""What a demo needs before it starts servers of its own: a state folder that nobody else uses, and empty."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.cli import show
from pipelines.errors import UsageError
from pipelines.stack import Stack


@contextmanager
def only_one(folder: Path, port: int) -> Iterator[None]:
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


def clear(folder: Path, servers: Stack) -> None:
    """Make the state folder empty. Raises UsageError while servers run on it."""
    recorded = Stack.recorded(folder)
    if recorded is not None and recorded.running():
        raise UsageError(
            f"the servers of an earlier demo still run at port {recorded.port}; stop them with "
            f"`mlops down --state {show.short(folder)}`, or choose another port with --port, e.g. --port "
            f"{servers.port + 100}"
        )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
