"""Buildspecs as they are read, and what is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from localcloud.codebuild import buildspec
from localcloud.codebuild.buildspec import ArtifactFiles, Phase, ReportFiles, parse
from localcloud.codebuild.errors import PhaseError

BUILDSPECS = Path(__file__).resolve().parents[3] / "buildspecs"
WHOLE = """
version: 0.2
env:
  shell: bash
  variables: {STAGE: staging, COUNT: 010}
  parameter-store: {THRESHOLD: /demo/threshold}
  secrets-manager: {TOKEN: "demo/token:value"}
  exported-variables: [REPORT_URL]
  git-credential-helper: yes
proxy: {logs: no}
phases:
  install:
    runtime-versions: {python: 3.10}
    commands: [make requirements]
  build:
    on-failure: ABORT
    commands:
      - |
        first
        second
      - third
    finally: [tidy]
  post_build:
reports:
  tests:
    files: ["**/*.xml"]
    base-directory: reports
    discard-paths: yes
  coverage: {files: [coverage.xml], file-format: CoberturaXml}
artifacts:
  files: ["**/*"]
  name: it
  base-directory: dist
  exclude-paths: ["**/*.pyc"]
  secondary-artifacts:
    template: {files: [template.yml], discard-paths: "yes"}
cache:
  paths: [".venv/**/*"]
"""


def refusal(text: str) -> str:
    with pytest.raises(PhaseError) as caught:
        parse(text)
    assert caught.value.code == "YAML_FILE_ERROR"
    return caught.value.message


def test_everything_that_a_buildspec_may_say() -> None:
    spec = parse(WHOLE)
    assert spec.shell == "bash"
    # As it is written: an octal number is text here.
    assert spec.variables == {"STAGE": "staging", "COUNT": "010"}
    assert spec.parameter_store == {"THRESHOLD": "/demo/threshold"}
    assert spec.secrets_manager == {"TOKEN": "demo/token:value"}
    assert spec.exported_variables == ("REPORT_URL",)
    assert spec.runtimes == {"python": "3.10"}
    assert spec.phases == {
        "install": Phase(("make requirements",)),
        "build": Phase(("first\nsecond\n", "third"), ("tidy",), "ABORT"),
    }
    assert spec.reports == (
        ReportFiles("tests", ("**/*.xml",), "reports", True),
        ReportFiles("coverage", ("coverage.xml",), file_format="COBERTURAXML"),
    )
    assert [report.is_coverage for report in spec.reports] == [False, True]
    assert spec.artifacts == ArtifactFiles(("**/*",), "it", "dist", exclude_paths=("**/*.pyc",))
    assert spec.secondary_artifacts == {"template": ArtifactFiles(("template.yml",), discard_paths=True)}
    assert spec.cache_paths == (".venv/**/*",)


def test_secondary_artifacts_alone() -> None:
    spec = parse(
        "{version: 0.2, phases: {}, artifacts: {secondary-artifacts: {a: {files: [x]}}}}".replace("{}", "{build: }")
    )
    assert spec.artifacts is None
    assert list(spec.secondary_artifacts) == ["a"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("a: [", "no YAML"),
        ("just text", "Expected the buildspec to be a map"),
        ("version: 0.1\nphases: {build: {commands: [x]}}", "0.1"),
        ("phases: {build: {commands: [x]}}", "version"),
        ("version: 0.2", "phases is missing"),
        ("version: 0.2\nphases:\n  biuld: {commands: [x]}", "'biuld'"),
        ("version: 0.2\nphases:\n  build:\n    comands: [x]", "unknown key 'comands' in phases/build at line 4"),
        ("version: 0.2\nphases: {build: {commands: x}}", "phases/build/commands"),
        (
            'version: 0.2\nphases:\n  build:\n    commands:\n      - echo "Hello: world"',
            "Expected Commands[0] to be of string type: found subkeys instead at line 5",
        ),
        ("version: 0.2\nrun-as: root\nphases: {build: {commands: [x]}}", "'run-as'"),
        ("version: 0.2\nphases: {build: {run-as: root, commands: [x]}}", "run-as in phases/build"),
        ("version: 0.2\nbatch: {fast-fail: true}\nphases: {build: {commands: [x]}}", "'batch'"),
        ("version: 0.2\nphases: {build: {on-failure: RETRY, commands: [x]}}", "'RETRY'"),
        ("version: 0.2\nphases: {build: {commands: [x]}, build: {commands: [y]}}", "'build' stands twice"),
        ("version: 0.2\nenv: {shell: zsh}\nphases: {build: {commands: [x]}}", "'zsh'"),
        ("version: 0.2\nenv: {variables: {a-b: c}}\nphases: {build: {commands: [x]}}", "'a-b'"),
        ("version: 0.2\nphases: {build: {commands: [x]}}\nreports: {r: {files: [a], file-format: TRX}}", "TRX"),
        ("version: 0.2\nphases: {build: {commands: [x]}}\nreports: {r: {base-directory: a}}", "reports/r/files"),
        ("version: 0.2\nphases: {build: {commands: [x]}}\nartifacts: {base-directory: a}", "artifacts/files"),
        ("version: 0.2\nphases: {build: {commands: [x]}}\nartifacts: {files: [a], discard-paths: ok}", "'ok'"),
        ("version: 0.2\nphases: {build: {commands: [x]}}\ncache: {key: a, paths: [b]}", "'key'"),
        ("version: 0.2\nproxy: {logs: yes}\nphases: {build: {commands: [x]}}", "proxy/logs"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(text: str, said: str) -> None:
    assert said in refusal(text)


@pytest.mark.parametrize("path", sorted(BUILDSPECS.glob("*.yml")), ids=lambda path: path.name)
def test_the_repositorys_own(path: Path) -> None:
    assert parse(path.read_text(encoding="utf-8")).phases["build"].commands


def test_a_buildspec_is_told_from_a_path() -> None:
    assert buildspec.is_inline("version: 0.2\nphases: {}")
    assert buildspec.is_inline('{"version": "0.2"}')
    assert not buildspec.is_inline("buildspecs/build.yml")
    assert not buildspec.is_inline("arn:aws:s3:::bucket/buildspec.yml")
