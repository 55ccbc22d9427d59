"""What the stream's one-off programs have in common: their environment, their times, and how they end.

A mistake that somebody can mend is a `ClientError`: one line on standard error, and exit status 1. Everything else
keeps its traceback.
"""

import argparse
import functools
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime

from seed_code.common.errors import ClientError
from seed_code.ingestion.functions import environment

ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
"""What may name a result in S3."""


def run(program: Callable[[], None]) -> Callable[[], None]:
    """Wrap a program's `main`."""

    @functools.wraps(program)
    def main() -> None:
        try:
            program()
        except ClientError as error:
            sys.stderr.write(f"error: {error}\n")
            sys.exit(1)

    return main


def read_environment(*names: str) -> list[str]:
    """The values of environment variables, in the order of their names.

    Raises:
        ClientError: naming all that are missing or empty.
    """
    try:
        return environment.read(*names)
    except environment.WrongEnvironment as error:
        raise ClientError(str(error)) from error


def moment(text: str) -> datetime:
    """An argument's `type`: an ISO 8601 time, in UTC unless it says otherwise.

    Raises:
        argparse.ArgumentTypeError: when it is none.
    """
    try:
        found = datetime.fromisoformat(text.strip())
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        if found.year < 1970:
            raise ValueError
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"`{text}` is no time such as 2026-11-22T14:00:00Z") from None
    return found
