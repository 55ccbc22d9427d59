"""How a program of an image ends when something went wrong.

SageMaker shows a user one line: a training job's `FailureReason`, from `/opt/ml/output/failure`, or a processing
job's `ExitMessage`, from `/opt/ml/output/message`. `reports_failure` writes both (a program need not know which kind
of job it runs in), logs the error to standard error, and exits with status 1.

A mistake of the caller's (bad data, a bad hyperparameter) is a `ClientError` (seed_code/common/errors.py): its message
says all, and no traceback is logged. Everything else is a bug, and keeps its traceback in the log.
"""

import functools
import sys
import traceback
from collections.abc import Callable

from seed_code.common import paths
from seed_code.common.errors import ClientError

REASON_CHARACTERS = 1024


def reports_failure(program: Callable[[], None]) -> Callable[[], None]:
    """Wrap a program's `main`, so that an exception becomes a failure file, a log entry and exit status 1.

    `SystemExit` and `KeyboardInterrupt` pass through: whoever raised them has said what there is to say.
    """

    @functools.wraps(program)
    def main() -> None:
        try:
            program()
        except ClientError as error:
            _report(f"{error}", details=None)
            sys.exit(1)
        except Exception as error:
            _report(f"InternalError: {type(error).__name__}: {error}", details=traceback.format_exc())
            sys.exit(1)

    return main


def _report(reason: str, details: str | None) -> None:
    sys.stderr.write(f"{details or ''}error: {reason}\n")
    for file in (paths.failure_file(), paths.exit_message_file()):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(reason[:REASON_CHARACTERS], encoding="utf-8")
        except OSError as error:  # a full disk must not hide what filled it
            sys.stderr.write(f"warning: {file} could not be written: {error}\n")
