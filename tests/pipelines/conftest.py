"""Working copies, and a session for each, against the running localcloud."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest

from pipelines.config import Configuration, load
from pipelines.names import Names
from pipelines.session import boto_session

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = """\
FROM python:3.11-slim
ENV PYTHONPATH=/opt/program
COPY seed_code/cardholders/program.py /opt/program/program.py
"""

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Project:
    """A project of its own in the running localcloud."""

    root: Path
    configuration: Configuration
    session: boto3.Session

    @property
    def names(self) -> Names:
        return self.configuration.names


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A working copy: the repository's configuration, and an image that does not change with the workloads."""
    return make_copy(tmp_path / "copy")


def make_copy(folder: Path) -> Path:
    """`copy` in a folder that there is not yet."""
    shutil.copytree(ROOT / "configs", folder / "configs")
    image = folder / "seed_code" / "cardholders"
    image.mkdir(parents=True)
    (image / "Dockerfile").write_text(DOCKERFILE)
    (image / "program.py").write_text("print('hello')\n")
    return folder


@pytest.fixture
def project(aws: object, copy: Path) -> Project:
    """A project of a name that no other test of this run has; neither its bucket nor anything else of it exists yet."""
    return make_project(copy)


def make_project(copy: Path) -> Project:
    """`project` in a working copy."""
    file = copy / "configs" / "project.yml"
    text = file.read_text().replace("name: mlops-demo", f"name: t{os.getpid()}-{next(_numbers)}")
    file.write_text(text.replace("111122223333", "123456789012"))
    # No test asks the true API, and what makes no use of the stream needs none at work.
    stream = copy / "configs" / "ingestion.yml"
    text = stream.read_text().replace("running: true", "running: false")
    stream.write_text(text.replace("https://blockchain.info", "http://127.0.0.1:9"))
    configuration = load(copy, environ={})
    return Project(copy, configuration, boto_session(configuration.names))


@pytest.fixture
def mlops(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """The command line, in this process: takes the working copy and the arguments, gives exit status, stdout and
    stderr.
    """
    from pipelines import cli

    def run(root: Path, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.chdir(root)
        monkeypatch.setattr("sys.argv", ["mlops", *arguments])
        monkeypatch.delenv("COLUMNS", raising=False)  # the width of whatever terminal the tests were started from
        capsys.readouterr()
        before = dict(os.environ)
        try:
            with pytest.raises(SystemExit) as ended:
                cli.main()
        finally:  # a command may have pointed its process at a localcloud
            os.environ.clear()
            os.environ.update(before)
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run
