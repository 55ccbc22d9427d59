"""Command-line arguments of an image's programs, whose mistakes end like any other mistake of the user's."""

import argparse
from collections.abc import Callable
from typing import NoReturn

from seed_code.common.errors import ClientError


class ArgumentParser(argparse.ArgumentParser):
    """argparse, but a bad argument is a `ClientError`: argparse's own exit would leave a job without a reason."""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse found wrong, with the usage line that says what was expected."""
        raise ClientError(f"{self.prog}: {message}; {' '.join(self.format_usage().split())}")


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """An argument's `type`: a whole number from `low` to `high`."""

    def parse(text: str) -> int:
        number = int(text)
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"{number} is not from {low} to {high}")
        return number

    parse.__name__ = "whole number"  # argparse's word for a text that int() refuses
    return parse
