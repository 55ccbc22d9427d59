"""What every verb begins with: the working copy, its configuration, and a session for it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

import boto3

from pipelines.account_time import account_time
from pipelines.config import Configuration, find_root, load, overrides_from
from pipelines.names import LocalPaths, Names
from pipelines.session import boto_session, client


@dataclass(frozen=True)
class Context:
    """A working copy and what is known of it. Nothing is read before it is asked for."""

    root: Path

    @staticmethod
    def here() -> Context:
        """The working copy of the working directory. Raises UsageError when there is none."""
        return Context(find_root(Path.cwd()))

    @cached_property
    def configuration(self) -> Configuration:
        """Raises ConfigurationError, which lists every mistake."""
        return load(self.root, overrides_from(os.environ))

    @property
    def names(self) -> Names:
        return self.configuration.names

    @property
    def paths(self) -> LocalPaths:
        return LocalPaths(self.root)

    @cached_property
    def session(self) -> boto3.Session:
        return boto_session(self.names)

    def now(self) -> datetime:
        """The account's time, which need not be this machine's (`pipelines.account_time`)."""
        return account_time(client(self.session, "sts"))
