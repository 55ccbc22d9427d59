"""What a function, or a task, is told by its environment, which the stack sets."""

from __future__ import annotations

import os


class WrongEnvironment(Exception):
    """The program cannot start: a variable is missing or wrong."""


def read(*names: str) -> list[str]:
    """The values of environment variables, in the order of their names.

    Raises:
        WrongEnvironment: naming all that are missing or empty.
    """
    values = [os.environ.get(name, "") for name in names]
    missing = [name for name, value in zip(names, values, strict=True) if not value]
    if missing:
        raise WrongEnvironment(f"{', '.join(missing)} is not in the environment; template/ingestion.yml sets it")
    return values


def whole_number(name: str) -> int:
    """A variable's value as a whole number above 0.

    Raises:
        WrongEnvironment: when the variable is missing, or holds anything else.
    """
    (value,) = read(name)
    if not (value.isascii() and value.isdigit() and len(value) < 10 and int(value) > 0):
        raise WrongEnvironment(f"{name} is `{value}`; expected a whole number above 0")
    return int(value)
