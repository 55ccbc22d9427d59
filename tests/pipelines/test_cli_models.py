"""`models`, `approve` and `reject`, on packages in localcloud's registry."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.pipelines.test_registry import Group, group

__all__ = ["group"]
Mlops = Callable[..., tuple[int, str, str]]


@pytest.fixture
def project(project: Any) -> Any:
    """With what an approval brings to the account: pipelines, and the images that the monitor pipelines run."""
    names = project.names
    project.session.client("s3").create_bucket(
        Bucket=names.bucket, CreateBucketConfiguration={"LocationConstraint": names.region}
    )
    shutil.copytree(project.root / "seed_code" / "cardholders", project.root / "seed_code" / "forecaster")
    return project


@pytest.fixture
def root(project: Any) -> Any:
    return project.root


def test_models_shows_figures_beside_the_champions(group: Group, root: Any, mlops: Mlops) -> None:
    group.register(roc_auc="0.8000", brier="0.2000", mlflow_purchase_version="3", mlflow_purchase_model="m")
    group.register(roc_auc="0.8100", brier="0.2100")
    assert mlops(root, "approve", "1", "--why", "the first", "--who", "Ada")[0] == 0
    status, out, _ = mlops(root, "models")
    assert status == 0
    rows = out.splitlines()
    newest = next(row for row in rows if row.startswith("2"))
    assert "0.8100" in newest
    assert "waiting" in newest
    differences = rows[rows.index(newest) + 1]
    assert "+0.0100" in differences
    assert any(row.startswith("1 ★") and "approved" in row and "purchase 3" in row for row in rows)

    listed = json.loads(mlops(root, "models", "--json")[1])
    assert [(package["version"], package["champion"]) for package in listed] == [(2, False), (1, True)]
    assert listed[0]["champion_metrics"]["roc_auc"] == 0.8
    assert listed[1]["mlflow"] == {"purchase": {"name": "m", "version": "3"}}
    assert listed[1]["decided_by"] == "Ada"


def test_each_workload_has_its_own_columns(project: Any, mlops: Mlops) -> None:
    forecasts = Group(project.session.client("sagemaker"), project.names.package_group("forecaster"))
    more = {"coverage": "0.88", "rmse": "0.41", "seasonal_naive_wql": "0.2077"}
    forecasts.register(mean_wql="0.1300", wql_lower="0.12", wql_upper="0.14", **more)
    version = {"mlflow_forecast_model": "t-forecast", "mlflow_forecast_version": "2"}
    forecasts.register(mean_wql="0.1234", wql_lower="0.1127", wql_upper="0.1361", **more, **version)
    status, _, err = mlops(project.root, "approve", "1", "--why", "the first", "--who", "A", "--workload", "forecaster")
    assert status == 0, err
    status, out, err = mlops(project.root, "models", "forecaster")
    assert status == 0, err
    head, newest, interval, difference, *_ = out.splitlines()
    assert re.split(r"\s{2,}", head.strip())[1:5] == ["wQL ↓", "coverage →", "RMSE ↓", "naive wQL"]
    assert newest.split()[:6] == ["2", "0.1234", "88.0", "%", "0.4100", "0.2077"]
    assert "forecast 2" in newest
    assert interval.split()[:3] == ["0.1127", "to", "0.1361"]
    assert difference.split() == ["\u22120.0066"]
    listed = json.loads(mlops(project.root, "models", "forecaster", "--json")[1])
    assert listed[0]["metrics"] == {
        "mean_wql": 0.1234,
        "coverage": 0.88,
        "rmse": 0.41,
        "seasonal_naive_wql": 0.2077,
        "wql_lower": 0.1127,
        "wql_upper": 0.1361,
    }
    assert listed[0]["mlflow"] == {"forecast": {"name": "t-forecast", "version": "2"}}


def test_without_a_name_the_packages_of_every_workload_are_listed(group: Group, project: Any, mlops: Mlops) -> None:
    group.register(roc_auc="0.8000")
    status, out, err = mlops(project.root, "models")
    assert (status, out.splitlines()[0]) == (0, "cardholders")
    assert "-forecaster` has no model packages; `mlops run forecaster` registers one" in err
    Group(project.session.client("sagemaker"), project.names.package_group("forecaster")).register(mean_wql="0.1")
    out = mlops(project.root, "models")[1]
    assert out.index("cardholders\n") < out.index("0.8000") < out.index("forecaster\n") < out.index("0.1000")
    listed = json.loads(mlops(project.root, "models", "--json")[1])
    assert [package["workload"] for package in listed] == ["cardholders", "forecaster"]


def test_no_packages_is_said(group: Group, root: Any, mlops: Mlops) -> None:
    status, out, err = mlops(root, "models")
    assert (status, out) == (0, "")
    assert "has no model packages" in err
    status, _, err = mlops(root, "approve", "latest", "--why", "x")
    assert status == 2
    assert "has no model packages" in err


def test_decisions_from_the_command_line(group: Group, root: Any, mlops: Mlops) -> None:
    group.register()
    status, out, _ = mlops(root, "approve", "latest", "--why", "good", "--who", "Ada", "--json")
    assert (status, json.loads(out)["changed"]) == (0, True)
    status, out, _ = mlops(root, "approve", "latest", "--why", "again", "--who", "Bob")
    assert status == 0
    assert "was approved for staging already (by Ada: good); nothing has changed" in out
    status, out, _ = mlops(root, "reject", "1", "--why", "it drifted", "--who", "Bob")
    assert (status, group.known()[0].approval) == (0, "Rejected")
    assert "is rejected, by Bob: it drifted" in out


def test_who_is_the_one_that_git_knows(group: Group, root: Any, mlops: Mlops) -> None:
    group.register()
    for arguments in (("init", "-q"), ("config", "user.name", "Grace"), ("config", "user.email", "grace@example.org")):
        subprocess.run(["git", "-C", str(root), *arguments], check=True)
    mlops(root, "approve", "latest", "--why", "good")
    assert group.known()[0].decided_by == "Grace <grace@example.org>"


def test_a_decision_needs_a_reason(group: Group, root: Any, mlops: Mlops) -> None:
    group.register()
    status, _, err = mlops(root, "approve", "latest")
    assert status == 2
    assert "--why" in err
    status, _, err = mlops(root, "reject", "latest", "--why", " ")
    assert status == 2
    assert "needs its reason" in err
