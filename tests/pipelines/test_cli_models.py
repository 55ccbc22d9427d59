"""`models`, `approve` and `reject`, on packages in localcloud's registry."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.pipelines.test_registry import Group, group

__all__ = ["group"]
Mlops = Callable[..., tuple[int, str, str]]


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
    assert "was approved already (by Ada: good); nothing has changed" in out
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
