"""`run`, `step`, `logs`, `stop`, `status` and `report`: from the command line to what localcloud really does."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines import executions
from pipelines.account_time import account_time
from pipelines.cli.run import moment_of, parameters_of, usual_moment
from pipelines.errors import UsageError
from pipelines.session import client
from tests.conftest import Localcloud, point_at
from tests.pipelines.conftest import Project, make_copy, make_project
from tests.pipelines.furnished import furnish
from tests.pipelines.small import Small, small

__all__ = ["small"]
Mlops = Callable[..., tuple[int, str, str]]
PREPARE = """\
import sys
from pathlib import Path
files = sorted(Path(sys.argv[0]).parents[0].glob("*.py"))
print("arguments", len(sys.argv))
print("prepared", flush=True)
"""


@pytest.fixture
def brought(project: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A project with bucket, role and runtime values, and an address for MLflow where nobody listens."""
    furnish(project.session, project.configuration)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    return project


@pytest.fixture(scope="module")
def provisioned(localcloud: Localcloud, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project like `brought`, for tests that run nothing in it."""
    with pytest.MonkeyPatch.context() as patch:
        point_at(localcloud, patch)
        made = make_project(make_copy(tmp_path_factory.mktemp("untouched") / "copy"))
        furnish(made.session, made.configuration)
    _program(made.root, PREPARE)
    return made


@pytest.fixture
def untouched(provisioned: Project, aws: object, monkeypatch: pytest.MonkeyPatch) -> Project:
    """That project, in this process's environment."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    return provisioned


def _program(root: Path, text: str) -> None:
    """Give the copy's image a `seed_code.cardholders.prepare`."""
    folder = root / "seed_code" / "cardholders"
    (folder / "prepare.py").write_text(text)
    (folder / "Dockerfile").write_text(
        "FROM python:3.11-slim\nENV PYTHONPATH=/opt/program\n"
        "COPY seed_code/cardholders/prepare.py /opt/program/seed_code/cardholders/prepare.py\n"
    )


def test_a_failed_run_tells_why_and_step_repairs_it(brought: Any, tmp_path: Path, mlops: Mlops) -> None:
    data = tmp_path / "mine.csv"
    data.write_text("a,b\n1,2\n")
    _program(brought.root, "import sys\nprint('working')\nsys.exit('the third column is missing')\n")
    status, out, _ = mlops(brought.root, "run", "cardholders", "build", "--data", str(data))
    assert status == 1
    assert "pipeline" in out
    assert "created" in out
    assert "✗ Prepare" in out
    assert ["·", "Package", "skipped"] in [line.split() for line in out.splitlines()]
    assert "Failed in" in out
    assert "  the third column is missing" in out  # the end of the job's log
    assert "  mlops step Prepare " in out

    _program(brought.root, PREPARE)
    status, out, err = mlops(brought.root, "step", "prepare")
    assert (status, out.splitlines()[-1]) == (0, "prepared")
    assert "Completed" in err
    assert "/scratch/step-Prepare-" in err

    _program(brought.root, "raise SystemExit(4)\n")
    status, _, err = mlops(brought.root, "step", "Prepare")
    assert status == 1
    assert "Failed" in err


def test_a_run_as_json_uses_the_data_of_the_last_one(brought: Any, tmp_path: Path, mlops: Mlops) -> None:
    data = tmp_path / "mine.csv"
    data.write_text("a,b\n1,2\n")
    _program(brought.root, "raise SystemExit('no')\n")
    status, out, err = mlops(
        brought.root, "run", "cardholders", "--json", "--data", str(data), "--evaluation-time", "2014-07-01"
    )
    first = json.loads(out)
    assert status == 1
    assert first["status"] == "Failed"
    assert first["parameters"]["EvaluationTime"] == "2014-07-01T00:00:00Z"
    assert first["parameters"]["InputDataUri"].startswith(f"s3://{brought.names.bucket}/cardholders/uploads/sha256-")
    assert next(step for step in first["steps"] if step["name"] == "Prepare")["failure_reason"]
    assert "✗ Prepare" in err

    # The account's clock, which other tests may have moved ahead.
    sts = client(brought.session, "sts")
    before = account_time(sts)
    status, out, _ = mlops(brought.root, "run", "cardholders", "--json", "--param", "MinRocAuc=0.123")
    second = json.loads(out)
    assert second["parameters"]["InputDataUri"] == first["parameters"]["InputDataUri"]
    assert second["parameters"]["MinRocAuc"] == "0.123"
    days = {f"{day:%Y-%m-%d}T00:00:00Z" for day in (before, account_time(sts))}
    assert second["parameters"]["EvaluationTime"] in days


def test_a_path_that_is_wrong_changes_nothing_in_the_account(untouched: Project, tmp_path: Path, mlops: Mlops) -> None:
    for wrong, said in ((tmp_path, "is a folder"), (tmp_path / "nope.csv", "cannot be read")):
        status, out, err = mlops(untouched.root, "run", "cardholders", "--data", str(wrong))
        assert (status, out, said in err) == (2, "", True)
    # Other tests' projects live in the same account.
    ours = untouched.names.pipeline("cardholders", "build")
    found = untouched.session.client("sagemaker").list_pipelines(PipelineNamePrefix=ours)
    assert found["PipelineSummaries"] == []


def test_without_waiting_the_execution_is_only_started(brought: Any, mlops: Mlops) -> None:
    _program(brought.root, PREPARE)
    status, out, _ = mlops(
        brought.root, "run", "cardholders", "--no-wait", "--json", "--param", "InputDataUri=s3://nowhere/"
    )
    assert status == 0
    assert json.loads(out)["arn"]
    status, out, err = mlops(brought.root, "stop")
    assert status == 0
    assert "is being stopped" in out or "already" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "nothing"), "there is no workload `nothing`"),
        (("run",), "expected a workload: one of cardholders, forecaster"),
        (("run", "forecaster", "--data", "fees.csv"), "load the file with `mlops ingest fees.csv`"),
        (("logs", "Train", "--workload", "forcaster"), "did you mean `forecaster`"),
        (("report", "forecaster", "deploy"), "there is no pipeline `forecaster deploy`"),
        (("run", "cardholders", "biuld"), "did you mean `cardholders build`"),
        (("run", "cardholders", "--data", "/no/such/file.csv"), "`/no/such/file.csv` cannot be read"),
        (("run", "cardholders", "--data", "/"), "is a folder"),
        (("run", "cardholders", "--param", "MinRocAuc"), "expected NAME=VALUE"),
        (
            ("run", "cardholders", "--param", "MinRocAcu=1", "--param", "InputDataUri=s3://x/"),
            "did you mean `MinRocAuc`",
        ),
        (("run", "cardholders", "--evaluation-time", "yesterday"), "expected ISO 8601"),
        (("step", "Prepare"), "has not been run yet"),
        (("logs", "Prepare"), "has not been run yet"),
        (("report",), "has not been run yet"),
        (("report", "--execution", "abcd"), "no execution `abcd`"),
        (("stop",), "has not been run yet"),
    ],
)
def test_mistakes_are_explained(untouched: Project, mlops: Mlops, arguments: tuple[str, ...], said: str) -> None:
    status, _, err = mlops(untouched.root, *arguments)
    assert status in {1, 2}
    assert said in err
    assert "Traceback" not in err


def test_a_run_without_mlflow_says_where_its_address_comes_from(
    untouched: Project, mlops: Mlops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    status, _, err = mlops(untouched.root, "run", "cardholders", "--param", "InputDataUri=s3://x/")
    assert status == 2
    assert "MLFLOW_TRACKING_URI is not set; `mlops up` sets it" in err


def test_an_execution_is_told_by_status_logs_and_report(small: Small, tmp_path: Path, mlops: Mlops) -> None:
    root = small.project.root
    done = small.run()
    status, out, _ = mlops(root, "status", "--json")
    told = json.loads(out)
    assert status == 0
    assert told["services"]["AWS"]["answers"] is True
    assert told["pipelines"][small.name]["status"] == "Succeeded"
    assert [step["name"] for step in told["pipelines"][small.name]["steps"]] == ["Work", "Gate", "After", "TooLow"]
    assert told["waiting"] == {"cardholders": [], "forecaster": []}
    status, out, _ = mlops(root, "status")
    assert done.id in out
    assert "Succeeded" in out

    status, out, _ = mlops(root, "logs", "work")
    assert (status, sorted(out.splitlines())) == (0, ["first line", "last line", "status 0"])
    job = done.step("Work").job  # type: ignore[union-attr]
    assert job is not None
    assert mlops(root, "logs", job[1], "--follow")[1] == out
    status, _, err = mlops(root, "logs", "Gate")
    assert status == 2
    assert "runs no job" in err
    status, _, err = mlops(root, "logs", "Wrok")
    assert "did you mean `Work`" in err

    page = tmp_path / "deep" / "page.html"
    status, out, _ = mlops(root, "report", "--out", str(page))
    assert (status, out.strip()) == (0, str(page))
    assert "Succeeded, without registering a model" in page.read_text()
    status, out, _ = mlops(root, "report", "--execution", done.id)
    assert Path(out.strip()).parent == root / ".mlops" / "reports"
    status, _, err = mlops(root, "report", "--out", "/proc/nothing/page.html")
    assert status == 2
    assert "name another file with --out" in err


def _ask(project: Project, workload: str, outcome: str, **parameters: str) -> str:
    """Run a pipeline that is nothing but the condition whether its model is registered; gives the execution's id."""
    sagemaker = project.session.client("sagemaker")
    name = project.names.pipeline(workload, "build")
    asked = {"Type": "Equals", "LeftValue": "yes", "RightValue": outcome}
    definition = {
        "Version": "2020-12-01",
        "Parameters": [{"Name": key, "Type": "String", "DefaultValue": value} for key, value in parameters.items()],
        "Steps": [
            {
                "Name": "AlreadyRegistered",
                "Type": "Condition",
                "Arguments": {"Conditions": [asked], "IfSteps": [], "ElseSteps": []},
            }
        ],
    }
    sagemaker.create_pipeline(
        PipelineName=name,
        PipelineDefinition=json.dumps(definition),
        RoleArn=project.names.role_arn,
        ClientRequestToken="0" * 32,
    )
    arn = sagemaker.start_pipeline_execution(PipelineName=name)["PipelineExecutionArn"]
    ended = list(executions.watch(sagemaker, arn, lambda _: None))[-1]
    return ended.id


def test_of_several_pipelines_the_execution_that_was_started_last_is_meant(
    brought: Project, tmp_path: Path, mlops: Mlops
) -> None:
    first = _ask(brought, "forecaster", "yes")
    second = _ask(brought, "cardholders", "no")
    page = tmp_path / "page.html"
    for words, expected in (((), second), (("forecaster",), first), (("--execution", first), first)):
        assert mlops(brought.root, "report", *words, "--out", str(page))[0] == 0
        assert expected in page.read_text()
    status, _, err = mlops(brought.root, "report", "--execution", "abcd")
    assert status == 2
    assert "no execution `abcd` of" in err


def test_the_report_of_a_model_that_was_registered_before_shows_its_package(
    brought: Project, tmp_path: Path, mlops: Mlops
) -> None:
    bucket, key = brought.names.bucket, "evaluation.json"
    evaluation = {"workload": "forecaster", "metrics": {"mean_wql": 0.123456}}
    brought.session.client("s3").put_object(Bucket=bucket, Key=key, Body=json.dumps(evaluation))
    brought.session.client("sagemaker").create_model_package(
        ModelPackageGroupName=brought.names.package_group("forecaster"),
        ModelApprovalStatus="PendingManualApproval",
        CustomerMetadataProperties={"evaluation_uri": f"s3://{bucket}/{key}"},
        InferenceSpecification={
            "Containers": [{"Image": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/m:1", "ModelDataUrl": "s3://b/m"}],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
    )
    _ask(brought, "forecaster", "yes", RegisteredModelUri="s3://b/m")
    page = tmp_path / "page.html"
    mlops(brought.root, "report", "--out", str(page))
    text = page.read_text()
    assert "the model was registered already" in text
    assert "Version 1 waits for approval" in text
    assert "0.1235" in text


def test_the_report_of_a_failure_has_its_log(small: Small, tmp_path: Path, mlops: Mlops) -> None:
    small.run(Status="3")
    page = tmp_path / "page.html"
    mlops(small.project.root, "report", "--out", str(page))
    text = page.read_text()
    assert "Failed at Work" in text
    assert "it ended with 3" in text
    assert "last line" in text


def test_the_moment_is_the_days_or_the_hours_beginning_unless_given() -> None:
    now = datetime(2026, 11, 22, 13, 14, 15, tzinfo=UTC)
    assert usual_moment(now, "cardholders") == datetime(2026, 11, 22, tzinfo=UTC)
    assert usual_moment(now, "forecaster") == datetime(2026, 11, 22, 13, tzinfo=UTC)
    assert moment_of("2014-07-01") == datetime(2014, 7, 1, tzinfo=UTC)
    assert moment_of("2014-07-01T02:00:00+02:00") == datetime(2014, 7, 1, tzinfo=UTC)
    with pytest.raises(UsageError, match="`soon`"):
        moment_of("soon")


def test_parameters_are_names_and_values() -> None:
    assert parameters_of(["A=1", "B=x=y", "C="]) == {"A": "1", "B": "x=y", "C": ""}
    with pytest.raises(UsageError, match="`=1`"):
        parameters_of(["=1"])
