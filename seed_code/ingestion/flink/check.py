"""Whether the Flink job can run on this machine: Java, and an interpreter that has PyFlink.

    python -m seed_code.ingestion.flink.check PYTHON

Managed Service for Apache Flink runs FLINK-2_3 on Java 17; Flink 2.3 does not start with an older one, and says so in
a stack trace of Java's. This says it in a sentence.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["Unfit", "check", "java_version"]

JAVA = 17
PYFLINK = "2.3."
_SECONDS = 60
_ASK = "import importlib.metadata as metadata; print(metadata.version('apache-flink'))"


class Unfit(Exception):
    """The machine lacks something: the message says what, and how to get it."""


def check(python: Path, environ: Mapping[str, str]) -> None:
    """Raise Unfit, which names everything that is wrong at once, unless the job can run.

    Args:
        python: the interpreter with PyFlink.
        environ: JAVA_HOME in it goes before the PATH.
    """
    wrong = [problem for problem in (_java(environ), _pyflink(python)) if problem]
    if wrong:
        raise Unfit("; ".join(wrong))


def java_version(said: str) -> int | None:
    """The major version in what `java -version` says; None when there is none in it."""
    found = re.search(r'version "(?:1\.)?(\d+)', said)
    return int(found[1]) if found else None


def _java(environ: Mapping[str, str]) -> str | None:
    home = environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java", path=environ.get("PATH"))
    if java is None:
        return (
            f"there is no Java on the PATH; Flink needs Java {JAVA}: install it (Debian: openjdk-{JAVA}-jre-headless)"
        )
    said = _said([java, "-version"])
    version = java_version(said)
    if version is None:
        return f"{java} is no Java that works: `{java} -version` said {said.strip()[:200]!r}; Flink needs Java {JAVA}"
    if version < JAVA:
        return (
            f"{java} is Java {version}; Flink needs Java {JAVA}: install it (Debian: openjdk-{JAVA}-jre-headless) and "
            "name its folder in JAVA_HOME"
        )
    return None


def _pyflink(python: Path) -> str | None:
    version = _said([str(python), "-c", _ASK]).strip()
    if version.startswith(PYFLINK):
        return None
    last = version.splitlines()[-1][:200] if version else "nothing"
    return f"{python} has no PyFlink {PYFLINK}x ({last}); `make .venvs/flink/.installed` makes an environment that has"


def _said(command: list[str]) -> str:
    """What a program says on either stream; what is wrong with it when it cannot be started."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return done.stdout + done.stderr


def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    """The program; gives its exit code."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m seed_code.ingestion.flink.check PYTHON\n")
        return 2
    try:
        check(Path(arguments[0]), environ)
    except Unfit as error:
        sys.stderr.write(f"the Flink job cannot run here: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
