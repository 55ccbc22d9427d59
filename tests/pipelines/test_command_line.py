"""The command `mlops` as a whole: quick to help, clear about mistakes, and pointed at the right endpoint."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines import cli

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("sagemaker", "boto3", "botocore", "pydantic", "mlflow")


def _mlops(*arguments: str, cwd: Path = ROOT, code: str = "") -> subprocess.CompletedProcess[str]:
    program = f"import sys; from pipelines.cli import main\ntry: main()\nfinally:\n    pass\n    {code}\n"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_lists_every_verb_and_imports_none() -> None:
    done = _mlops("--help", code=f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)")
    assert done.returncode == 0
    assert done.stderr == "[]\n"
    listed = {line.split()[0] for line in done.stdout.split("Commands:")[1].splitlines() if line.strip()}
    assert listed == set(cli.VERBS)


def test_without_a_verb_the_help_is_shown(mlops: Callable[..., tuple[int, str, str]]) -> None:
    assert mlops(ROOT) == mlops(ROOT, "--help")


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_has_help_of_its_own(verb: str, mlops: Callable[..., tuple[int, str, str]]) -> None:
    status, out, _ = mlops(ROOT, verb, "--help")
    assert status == 0
    assert out.startswith(f"Usage: mlops {verb} ")


def test_no_verb_needs_the_sagemaker_sdk_to_start() -> None:
    modules = [f"pipelines.cli.{module}" for module, _ in cli.VERBS.values()]
    imports = "".join(f"importlib.import_module({name!r})\n" for name in modules)
    program = f"import importlib, sys\n{imports}print('sagemaker' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_verb_that_does_not_exist_gets_a_suggestion(mlops: Callable[..., tuple[int, str, str]]) -> None:
    status, out, err = mlops(ROOT, "difff")
    assert (status, out) == (2, "")
    assert err == "mlops: No such command `difff`; did you mean `diff`?\nTry `mlops --help`.\n"


def test_a_missing_argument_names_the_verbs_help(mlops: Callable[..., tuple[int, str, str]]) -> None:
    status, _, err = mlops(ROOT, "definition", "cardholders")
    assert status == 2
    assert "Missing argument" in err
    assert "Try `mlops definition --help`." in err


def test_outside_a_working_copy_that_is_said(tmp_path: Path, mlops: Callable[..., tuple[int, str, str]]) -> None:
    status, _, err = mlops(tmp_path, "definition", "cardholders", "build")
    assert status == 2
    assert "configs/project.yml" in err


def test_mistakes_of_the_configuration_are_printed_without_a_traceback(
    copy: Path, mlops: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLOPS_OVERRIDES", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    (copy / "configs" / "project.yml").write_text("name: Fraud\n")
    status, out, err = mlops(copy, "definition", "cardholders", "build")
    assert (status, out) == (2, "")
    assert err.startswith("mlops: the configuration has 7 mistakes:\n  configs/project.yml:1: name: ")
    assert "Traceback" not in err


@pytest.mark.parametrize("given", ["127.0.0.1:4610", "nonsense"])
def test_an_address_that_is_none_is_told(
    copy: Path, mlops: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", given)
    for verb in ("status", "api"):
        status, out, err = mlops(copy, verb)
        assert (status, out) == (2, "")
        assert f"AWS_ENDPOINT_URL is `{given}`, expected an address such as http://127.0.0.1:4610" in err


def test_a_bug_keeps_its_traceback(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verb = importlib.import_module("pipelines.cli.definition")

    def command() -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(verb, "command", command)
    monkeypatch.setattr("sys.argv", ["mlops", "definition"])
    monkeypatch.chdir(copy)
    with pytest.raises(ZeroDivisionError):
        cli.main()


def test_a_reader_that_has_gone_ends_the_command_quietly() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        done = subprocess.run(
            [sys.executable, "-c", "from pipelines.cli import main; main()", "--help"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "")


# --- which endpoint ---------------------------------------------------------------------------------------------------


@pytest.fixture
def up(copy: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working copy in which `mlops up` has left its variables, and an environment that names no endpoint."""
    (copy / ".mlops").mkdir()
    (copy / ".mlops" / "env").write_text("AWS_ENDPOINT_URL=http://127.0.0.1:4610\nAWS_ACCESS_KEY_ID=test\n")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone's own")
    return copy


def test_a_running_localcloud_is_used_from_any_folder_of_the_working_copy(
    up: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment: dict[str, str] = {"AWS_ACCESS_KEY_ID": "someone's own"}
    monkeypatch.setattr(os, "environ", environment)
    cli.use_local_environment(up / "configs" / "stages")
    assert environment == {"AWS_ENDPOINT_URL": "http://127.0.0.1:4610", "AWS_ACCESS_KEY_ID": "test"}


def test_overrides_of_the_environment_go_before_those_that_the_localcloud_was_started_with(
    up: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = up / ".mlops" / "env"
    file.write_text(f"{file.read_text()}MLOPS_OVERRIDES=configs/local.yml\n")
    environment = {"MLOPS_OVERRIDES": "mine.yml"}
    monkeypatch.setattr(os, "environ", environment)
    cli.use_local_environment(up)
    assert environment["MLOPS_OVERRIDES"] == "mine.yml"
    assert environment["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4610"
    del environment["MLOPS_OVERRIDES"], environment["AWS_ENDPOINT_URL"]
    cli.use_local_environment(up)
    assert environment["MLOPS_OVERRIDES"] == "configs/local.yml"


@pytest.mark.parametrize("given", ["http://127.0.0.1:9", ""])
def test_an_endpoint_of_the_environment_goes_before_it_even_empty(
    up: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    environment = {"AWS_ENDPOINT_URL": given, "AWS_ACCESS_KEY_ID": "mine"}
    monkeypatch.setattr(os, "environ", environment)
    cli.use_local_environment(up)
    assert environment.get("AWS_ENDPOINT_URL", "") == given
    assert environment["AWS_ACCESS_KEY_ID"] == "mine"
    assert "" not in environment.values()  # botocore would take an empty address for one


def test_outside_a_working_copy_and_without_the_file_nothing_changes(
    tmp_path: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {"PATH": "/bin"}
    monkeypatch.setattr(os, "environ", environment)
    cli.use_local_environment(tmp_path)
    cli.use_local_environment(copy)
    assert environment == {"PATH": "/bin"}
