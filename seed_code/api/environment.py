"""What a function is told by its environment, which the stack sets."""

from __future__ import annotations

import os


class WrongEnvironment(Exception):
    """The function cannot start: a variable is missing or wrong."""


def read(*names: str) -> list[str]:
    """The values of environment variables, in the order of their names.

    Raises:
        WrongEnvironment: naming all that are missing or empty.
    """
    values = [os.environ.get(name, "") for name in names]
    missing = [name for name, value in zip(names, values, strict=True) if not value]
    if missing:
        raise WrongEnvironment(f"the function has no {', '.join(missing)} in its environment; the API's stack sets it")
    return values


def levels(name: str) -> tuple[str, ...]:
    """Quantile levels, such as `0.05,0.5,0.95`, as texts.

    Raises:
        WrongEnvironment: when the variable is missing, or holds anything else.
    """
    (value,) = read(name)
    found = tuple(part.strip() for part in value.split(","))
    try:
        if len(set(found)) == len(found) and all(0 < float(level) < 1 for level in found):
            return found
    except ValueError:
        pass
    raise WrongEnvironment(f"{name} is `{value}`; expected different numbers between 0 and 1, such as 0.05,0.5,0.95")
