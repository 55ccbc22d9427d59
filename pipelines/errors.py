"""The errors that a user of the project can cause or meet.

Exception
└── ProjectError            one clear message: the thing, the value found, what was expected, the next command
    ├── ConfigurationError  `configs/` or the overrides file (lists every mistake; `pipelines/config.py`)
    ├── UsageError          the command line asks for something that does not exist
    ├── ImageError          a Dockerfile that cannot be registered (`pipelines/images.py`)
    ├── ParameterError      a runtime value in SSM Parameter Store (`pipelines/parameters.py`, `pipelines/starter.py`)
    └── ServiceError        AWS, or localcloud, refused or could not be reached

The command line prints the message to stderr and ends with `exit_status`; everything else is a bug and keeps its
traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ProjectError(Exception):
    """A mistake that its message explains. `exit_status`: 1 when the work failed, 2 when it was asked for wrongly."""

    exit_status = 1


class ConfigurationError(ProjectError):
    exit_status = 2


class UsageError(ProjectError):
    exit_status = 2


class ImageError(ProjectError):
    pass


class ParameterError(ProjectError):
    pass


class ServiceError(ProjectError):
    pass


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """`; did you mean `x`?` when a known word is close to the wrong one, else an empty string."""
    by_lower = {word.lower(): word for word in known}
    close = difflib.get_close_matches(wrong.lower(), by_lower, n=3, cutoff=0.6)
    if not close:
        return ""
    return "; did you mean " + " or ".join(f"`{by_lower[word]}`" for word in close) + "?"
