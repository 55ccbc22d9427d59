"""The environment of a stack in this process and in `.mlops/env`, which every later verb of this working copy reads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pipelines.names import OVERRIDES_VARIABLE, LocalPaths
from pipelines.stack import Stack

__all__ = ["STATE_VARIABLE", "Environment", "forget", "keep", "state_in_use", "use", "variables"]

STATE_VARIABLE = "MLOPS_STATE"
# What would lead clients past the stack, or stop them: credentials' other sources.
_MISLEADING = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN")

Environment = Mapping[str, str]


def variables(stack: Stack, overrides: Path) -> dict[str, str]:
    """The variables of a stack, with the overrides that its configuration was read with."""
    return {
        **stack.environment(),
        OVERRIDES_VARIABLE: str(overrides.resolve()),
        STATE_VARIABLE: str(stack.state.resolve()),
    }


def use(environment: Environment) -> None:
    """Point this process at a stack."""
    for name in _MISLEADING:
        os.environ.pop(name, None)
    os.environ.update(environment)


def keep(paths: LocalPaths, environment: Environment) -> None:
    """Write `.mlops/env`. Values are quoted, so that a shell can source the file as it is."""
    paths.environment.parent.mkdir(parents=True, exist_ok=True)
    lines = ["# Written by `mlops up`, read by every verb of `mlops`; in a shell: set -a; . .mlops/env; set +a"]
    lines += [f"{name}={_quoted(value)}" for name, value in environment.items()]
    partial = paths.environment.with_suffix(".partial")
    partial.write_text("\n".join(lines) + "\n")
    partial.replace(paths.environment)


def forget(paths: LocalPaths, state: Path) -> None:
    """Remove `.mlops/env` when it points at the stack of this state folder."""
    if state_in_use(paths) == state.resolve():
        paths.environment.unlink(missing_ok=True)


def state_in_use(paths: LocalPaths) -> Path | None:
    """The state folder that `.mlops/env` points at, or None."""
    if not paths.environment.is_file():
        return None
    from dotenv import dotenv_values

    state = dotenv_values(paths.environment).get(STATE_VARIABLE)
    return Path(state) if state else None


def _quoted(value: str) -> str:
    """A value as both a shell and dotenv read it."""
    if "'" not in value and "\\" not in value:
        return f"'{value}'"  # nothing inside means anything
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
