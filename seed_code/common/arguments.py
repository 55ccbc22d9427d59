"""Command-line arguments of an image's programs, whose mistakes end like any other mistake of the user's."""

import argparse
from typing import NoReturn

from seed_code.common.errors import ClientError


class ArgumentParser(argparse.ArgumentParser):
    """argparse, but a bad argument is a `ClientError`: argparse's own exit would leave a job without a reason."""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse found wrong, with the usage line that says what was expected."""
        raise ClientError(f"{self.prog}: {message}; {' '.join(self.format_usage().split())}")
