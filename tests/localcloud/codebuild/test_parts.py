"""The smaller parts of CodeBuild: caches, runtimes, secrets in logs, resources in policies."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from localcloud.codebuild.cache import Cache
from localcloud.codebuild.console import Console
from localcloud.codebuild.environment import Machine
from localcloud.codebuild.errors import PhaseError
from localcloud.codebuild.names import in_policies
from tests.surroundings import StandingClock


class Lines:
    """In place of a log stream."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, chunk: bytes) -> None:
        self.written += chunk

    def idle(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (".venv/**/*", "src/.venv"),
        ("./a/b/*", "src/a/b"),
        ("node_modules", "src/node_modules"),
        ("/root/.cache/pip/**/*", "home/.cache/pip"),
        ("~/.m2/**", "home/.m2"),
    ],
)
def test_cached_folders_are_linked(tmp_path: Path, path: str, place: str) -> None:
    for number in (1, 2):
        source, home = tmp_path / str(number) / "src", tmp_path / str(number) / "home"
        source.mkdir(parents=True)
        (linked,) = Cache(tmp_path / "cache").link([path], source, home)
        assert linked == tmp_path / str(number) / place
        (linked / "file").open("a").close()
    assert len(list((tmp_path / "cache").glob("*/file"))) == 1


def test_what_the_source_has_itself_stays(tmp_path: Path) -> None:
    (tmp_path / ".venv").mkdir()
    assert Cache(tmp_path / "cache").link([".venv/**/*"], tmp_path, tmp_path) == []
    assert not (tmp_path / ".venv").is_symlink()


@pytest.mark.parametrize("path", ["**/*", "/var/lib/**/*", "../x", "a/*/b", "$X/y"])
def test_what_is_no_folder_of_the_source_is_not_cached(tmp_path: Path, path: str) -> None:
    with pytest.raises(PhaseError, match="cache path"):
        Cache(tmp_path / "cache").link([path], tmp_path, tmp_path)


@pytest.mark.parametrize("version", ["3.x", "latest", "3", f"{sys.version_info.major}.{sys.version_info.minor}"])
def test_this_machines_python(version: str) -> None:
    Machine({}).check_runtime("python", version)


@pytest.mark.parametrize(
    ("language", "version", "said"),
    [("python", "3.1", "version named '3.1' of python"), ("cobol", "1", "runtime named 'cobol'"), ("python", "", "''")],
)
def test_runtimes_that_are_not_here(language: str, version: str, said: str) -> None:
    with pytest.raises(PhaseError, match=said):
        Machine({"PATH": "/nowhere"}).check_runtime(language, version)


def test_a_runtime_is_asked_for_its_version(tmp_path: Path) -> None:
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"17.0.2\"' >&2\n")
    java.chmod(0o755)
    machine = Machine({"PATH": str(tmp_path)})
    machine.check_runtime("java", "corretto17")
    with pytest.raises(PhaseError, match=r"17\.0"):
        machine.check_runtime("java", "corretto21")


def test_secrets_are_hidden_wherever_they_are_cut() -> None:
    lines = Lines()
    console = Console(lines, StandingClock(), "b")  # type: ignore[arg-type]
    console.output(b"before secret\n")
    console.hide(["secret", "first\nlines", ""])
    for chunk in (b"a sec", b"ret and ", b"first\nnot lines", b" secret"):
        console.output(chunk)
    console.close()
    assert lines.written == b"before secret\na *** and ***\nnot *** ***"


@pytest.mark.parametrize(
    ("operation", "params", "found"),
    [
        ("CreateProject", {"name": "p"}, ["project/p"]),
        ("BatchGetProjects", {"names": ["p", "arn:aws:codebuild:r:1:project/q"]}, ["project/p", "project/q"]),
        ("StartBuild", {"projectName": "p"}, ["project/p"]),
        ("BatchGetBuilds", {"ids": ["p:1", "p:2", "arn:aws:codebuild:r:1:build/q:1"]}, ["project/p", "project/q"]),
        ("StopBuild", {"id": "p:1"}, ["project/p"]),
        ("ListBuilds", {}, []),
        ("CreateReportGroup", {"name": "g"}, ["report-group/g"]),
        ("DeleteReportGroup", {"arn": "arn:aws:codebuild:r:1:report-group/g"}, ["report-group/g"]),
        ("BatchGetReports", {"reportArns": ["arn:aws:codebuild:r:1:report/g:1"]}, ["report-group/g"]),
        ("DeleteReport", {"arn": "arn:aws:codebuild:r:1:report/g:1"}, ["report-group/g"]),
        ("DescribeTestCases", {"reportArn": "arn:aws:codebuild:r:1:report/g:1"}, ["report-group/g"]),
        ("ListReportsForReportGroup", {"reportGroupArn": "arn:aws:codebuild:r:1:report-group/g"}, ["report-group/g"]),
    ],
)
def test_what_policies_name(operation: str, params: dict[str, object], found: list[str]) -> None:
    assert in_policies(operation, params) == found
