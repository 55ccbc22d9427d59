"""localcloud killed in the middle of a step. These tests start and kill a localcloud of their own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.contract.sagemaker_account import Account, definition, step, until

Start = Callable[[Path], Any]
"""Starts a localcloud over a state folder."""


@pytest.fixture
def account_of(client_of: Callable[..., Any]) -> Callable[[Any], Account]:
    """The account that a running localcloud answers for."""
    return lambda running: Account(lambda service: client_of(running, service), "eu-west-1")


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_killed_in_the_middle_of_a_step(
    start_localcloud: Start, account_of: Callable[[Any], Account], tmp_path: Path
) -> None:
    state = tmp_path / "state"
    running = start_localcloud(state)
    account = account_of(running)
    pids = [tmp_path / "child", tmp_path / "daemon"]
    gate = tmp_path / "gate"
    # The step hangs until the file is there, which is after the restart.
    places = {"GATE": str(gate), "CHILD": str(pids[0]), "DAEMON": str(pids[1])}
    waits = account.processing(Environment=places)
    waits["AppSpecification"] |= {
        "ContainerEntrypoint": ["/bin/sh", "-c"],
        "ContainerArguments": ['test -e "$GATE" || exec act "child $CHILD" "daemon $DAEMON" hang; echo resumed'],
    }
    pipeline = account.create_pipeline(
        definition(
            step("First", "Processing", account.processing("print x")),
            step("Waits", "Processing", waits, DependsOn=["First"]),
            step("Last", "Processing", account.processing("print x"), DependsOn=["Waits"]),
        )
    )
    arn = account.start(pipeline)
    until(lambda: all(path.exists() and path.read_text() for path in pids), "the step's processes run")
    before = account.steps(arn)
    job = before["Waits"]["Metadata"]["ProcessingJob"]["Arn"].rpartition("/")[2]
    assert before["Waits"]["StepStatus"] == "Executing"
    child, daemon = (int(path.read_text()) for path in pids)

    running.kill()
    # The watchdog ends the job's group at once; what left the group is found at the next start.
    until(lambda: gone(child), "the step's process is gone")

    account = account_of(start_localcloud(state))
    until(lambda: gone(daemon), "the step's daemon is gone")
    execution = account.execution_end(arn)
    assert execution["PipelineExecutionStatus"] == "Failed"
    assert "localcloud stopped while step 'Waits' ran" in execution["FailureReason"]
    steps = account.steps(arn)
    assert steps["First"] == before["First"]
    assert steps["Waits"]["StepStatus"] == "Failed"
    assert "localcloud stopped" in steps["Waits"]["FailureReason"]
    cut_off = account.sagemaker.describe_processing_job(ProcessingJobName=job)
    assert cut_off["ProcessingJobStatus"] == "Failed"
    assert "localcloud stopped" in cut_off["FailureReason"]
    jobs = state / "jobs"
    assert not jobs.exists() or not list(jobs.iterdir())

    gate.touch()
    account.sagemaker.retry_pipeline_execution(PipelineExecutionArn=arn)
    assert account.execution_end(arn)["PipelineExecutionStatus"] == "Succeeded"
    resumed = account.steps(arn)
    assert resumed["First"] == before["First"]
    assert list(resumed) == ["First", "Waits", "Last"]


def test_no_process_outlives_its_job_nor_a_polite_stop_in_the_middle_of_a_step(
    start_localcloud: Start, account_of: Callable[[Any], Account], tmp_path: Path
) -> None:
    state = tmp_path / "state"
    running = start_localcloud(state)
    account = account_of(running)
    pids = [tmp_path / "child", tmp_path / "daemon"]
    job = account.run_processing(account.processing(f"child {pids[0]}", f"daemon {pids[1]}", "print done"))
    assert job["ProcessingJobStatus"] == "Completed"
    until(lambda: all(gone(int(path.read_text())) for path in pids), "the job's processes are gone")
    with contextlib.suppress(FileNotFoundError):
        assert not list((state / "jobs").iterdir())

    pid_file = tmp_path / "pid"
    pipeline = account.create_pipeline(
        definition(step("Hangs", "Processing", account.processing(f"child {pid_file}", "stubborn")))
    )
    arn = account.start(pipeline)
    until(lambda: pid_file.exists() and pid_file.read_text(), "the step runs")
    running.process.terminate()
    running.process.wait()
    until(lambda: gone(int(pid_file.read_text())), "the step's child is gone")
    assert not list((state / "jobs").iterdir())
    execution = account_of(start_localcloud(state)).execution_end(arn)
    assert execution["PipelineExecutionStatus"] == "Failed"
    assert "RetryPipelineExecution resumes" in execution["FailureReason"]
