"""What the verbs put on the screen: a moving table on a terminal, plain lines elsewhere; the environment they keep."""

from __future__ import annotations

import io
import os
import re
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from dotenv import dotenv_values
from rich.console import Console

from pipelines.cli import environment, report, results, show
from pipelines.cli.context import Context
from pipelines.executions import Execution, StepRun
from pipelines.names import LocalPaths
from pipelines.stack import Stack
from tests.pipelines import samples


def _readings() -> list[Execution]:
    """An execution before, during and after its second step."""
    done = samples.execution()
    pending = [StepRun(step.name, step.type, "Pending") for step in done.steps]
    first, second = done.steps[:2]
    running = replace(second, status="Executing", ended=None)
    return [
        samples.execution(status="Executing", steps=tuple(pending)),
        samples.execution(status="Executing", steps=(first, running, *pending[2:])),
        done,
    ]


def _console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=80, color_system="standard" if terminal else None)


def _followed(out: Console) -> str:
    last = show.follow(out, _readings(), lambda: samples.BEGIN + timedelta(seconds=8))
    assert last.status == "Succeeded"
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


def test_on_a_pipe_every_change_is_one_plain_line() -> None:
    text = _followed(_console(terminal=False))
    assert "\x1b" not in text
    lines = text.splitlines()
    assert lines[0].split() == ["✓", "Prepare", "succeeded", "5.1", "s"]
    assert [line.split()[1:3] for line in lines[1:3]] == [
        ["TrainClusters", "executing"],
        ["TrainClusters", "succeeded"],
    ]
    assert len({line.index(line.split()[2]) for line in lines}) == 1  # one column, whatever the names' lengths
    rows = [line.split() for line in lines]
    assert ["↻", "Package", "cached", "3.0", "s"] in rows
    assert ["·", "QualityTooLow", "skipped"] in rows
    assert len(lines) == len(set(lines)) == 10  # nine steps, one of which was seen running


def test_on_a_terminal_the_table_moves_and_the_last_one_stays() -> None:
    text = _followed(_console(terminal=True))
    assert "\x1b[" in text
    last = text[text.rindex("Prepare") :]
    for step in samples.execution().steps[1:]:
        assert step.name in last


def test_a_running_steps_time_is_told_so_far() -> None:
    out = _console(terminal=False)
    out.print(show.steps_table(_readings()[1], samples.BEGIN + timedelta(seconds=8)))
    assert isinstance(out.file, io.StringIO)
    rows = [line.split() for line in out.file.getvalue().splitlines()]
    assert rows[1] == ["●", "TrainClusters", "executing", "2.6", "s"]
    assert rows[2] == ["·", "TrainPurchase", "pending"]


class _Logs:
    """CloudWatch Logs with one stream for any job."""

    class exceptions:
        class ResourceNotFoundException(Exception):
            pass

    def __init__(self, *lines: str) -> None:
        self.lines = lines

    def describe_log_streams(self, logGroupName: str, logStreamNamePrefix: str) -> dict[str, Any]:
        return {"logStreams": [{"logStreamName": f"{logStreamNamePrefix}algo-1"}]}

    def get_log_events(self, **_: Any) -> dict[str, Any]:
        return {"events": [{"timestamp": 0, "message": line} for line in self.lines]}


def _failed(*log: str, reason: str, step: int = 0) -> str:
    done = samples.execution()
    steps = [
        replace(each, status="Failed", failure_reason=reason) if at == step else each
        for at, each in enumerate(done.steps)
    ]
    out = Console(file=io.StringIO(), width=200, highlight=False, markup=False)
    show.describe_failures(
        out, samples.execution(status="Failed", steps=tuple(steps)), _Logs(*log), "cardholders", "build"
    )
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


def test_a_reason_is_told_once_and_what_to_do_next_fits_data_and_code() -> None:
    reason = "AlgorithmError: cards.csv is empty; expected a header and transactions, exit code: 1"
    said = _failed("error: cards.csv is empty; expected a header and transactions", reason, reason=reason)
    assert said.count("cards.csv is empty") == 1
    assert "the last lines of its log" not in said
    assert "mlops run cardholders build --data FILE" in said
    assert "mlops step Prepare" in said
    said = _failed("reading cards.csv", "error: cards.csv is empty", reason="AlgorithmError: cards.csv is empty")
    assert "  reading cards.csv" in said
    assert said.count("cards.csv is empty") == 1


def test_the_line_of_a_step_that_ran_no_job_has_no_job_to_run_again() -> None:
    steps = samples.execution().steps
    said = _failed(reason="the figures are too low", step=next(at for at, each in enumerate(steps) if each.job is None))
    assert "the figures are too low" in said
    assert "mlops step" not in said
    assert "`mlops report cardholders build`" in said


def test_what_failed_for_lack_of_minutes_is_told_how_they_come_in() -> None:
    done = samples.forecaster_execution()
    failed = replace(done.steps[0], status="Failed", failure_reason="ClientError: 12 observations, 390 needed")
    out = Console(file=io.StringIO(), width=200, highlight=False, markup=False)
    execution = samples.forecaster_execution(status="Failed", steps=(failed, *done.steps[1:]))
    show.describe_failures(out, execution, _Logs(), "forecaster", "build")
    assert isinstance(out.file, io.StringIO)
    said = out.file.getvalue()
    assert "mlops ingest FILE" in said
    assert "--data" not in said


def _table(evaluation: dict[str, Any]) -> list[list[str]]:
    out = Console(file=io.StringIO(), width=200, highlight=False, markup=False)
    out.print(results.evaluation_table(evaluation))
    assert isinstance(out.file, io.StringIO)
    return [re.split(r"\s{2,}", line.strip()) for line in out.file.getvalue().splitlines()]


def test_metrics_stand_beside_the_baselines_of_their_workload() -> None:
    head, first, *_ = _table(samples.evaluation(champion=False))
    assert head == ["on the same holdout", "model", "base rate", "gap model"]
    assert first == ["ROC AUC ↑", "0.8312", "0.5000", "0.7792"]
    assert _table(samples.forecaster_evaluation()) == [
        ["on the same test windows", "model", "seasonal naive", "champion"],
        ["Mean wQL ↓", "0.1234", "0.2077", "0.1312"],
        ["Coverage → 90 %", "88.2 %", "72.3 %", "84.2 %"],
        ["RMSE ↓", "0.4127", "0.6911", "0.4411"],
    ]
    assert _table({"workload": "forecaster"}) == [[""]]
    assert _table({}) == [[""]]


def test_one_line_says_what_the_metrics_do_not() -> None:
    said = results.evaluation_line(samples.evaluation())
    assert said.startswith("5 clusters: Dormant 11.0 %, Occasional 27.0 %")
    assert results.evaluation_line(samples.forecaster_evaluation()) == (
        "better than seasonal naive in 18 of 20 windows; 90 % interval of wQL 0.1127 to 0.1361; trained 52 of 60 epochs"
    )
    assert results.evaluation_line({"workload": "forecaster"}) == ""
    assert results.evaluation_line({}) == ""


def test_the_report_knows_what_the_files_say_without_a_laptops_overrides(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLOPS_OVERRIDES", str(copy / "configs" / "local.yml"))
    context = Context(copy)
    told = report.file_values(context, "forecaster")
    assert told["Epochs"] == "253"
    assert context.configuration.workloads.forecaster.tunables.epochs < 253


def test_a_pipe_has_no_edge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert show.console().width == 200


@pytest.mark.parametrize("folder", ["state", "with space", "it's", 'quo"te', "dollar $HOME", "back\\slash", "ünï"])
def test_the_kept_environment_reads_the_same_in_a_shell_and_in_python(tmp_path: Path, folder: str) -> None:
    paths = LocalPaths(tmp_path)
    overrides = tmp_path / "configs" / "local.yml"
    given = environment.variables(Stack(tmp_path / folder, 4610, "eu-west-1"), overrides)
    environment.keep(paths, given)
    assert dotenv_values(paths.environment) == given
    script = 'set -a; . "$1"; printf %s "$MLOPS_STATE"'
    shell = subprocess.run(["sh", "-c", script, "sh", paths.environment], capture_output=True, check=True)
    assert shell.stdout.decode() == str(tmp_path / folder)
    assert environment.state_in_use(paths) == tmp_path / folder


def test_only_the_stack_in_use_is_forgotten(tmp_path: Path) -> None:
    paths = LocalPaths(tmp_path)
    environment.keep(paths, environment.variables(Stack(tmp_path / "a", 4610, "eu-west-1"), tmp_path / "o.yml"))
    environment.forget(paths, tmp_path / "b")
    assert environment.state_in_use(paths) == tmp_path / "a"
    environment.forget(paths, tmp_path / "a")
    assert environment.state_in_use(paths) is None
    environment.forget(paths, tmp_path / "a")


def test_stacks_take_the_place_of_other_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "mine")
    given = environment.variables(Stack(tmp_path, 4610, "eu-west-1"), tmp_path / "o.yml")
    for name in given:
        monkeypatch.setenv(name, "before")
    environment.use(given)
    assert {name: os.environ.get(name) for name in given} == given
    assert "AWS_PROFILE" not in os.environ
    assert "AWS_SESSION_TOKEN" not in os.environ
