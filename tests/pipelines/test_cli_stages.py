"""`deploy`, `approve --stage prod`, `rollback`, `endpoints` and `invoke` where they have nothing to do, or not yet."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines import registry
from pipelines.cli import deployment
from pipelines.names import GOLDEN_REQUESTS_KEY, STAGING_REPORT_KEY
from tests.pipelines.test_registry import Group, group

__all__ = ["group"]
Mlops = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("deploy", "1"), 'is `PendingManualApproval`, expected `Approved`; `mlops approve 1 --why "…"` approves it'),
        (("deploy", "7"), "has no version `7`; expected one of 1, or `latest`"),
        (("deploy", "1", "--stage", "production"), "there is no stage `production`; expected one of staging, prod"),
        (("approve", "1", "--stage", "prod", "--why", "x"), "expected `Approved`: it goes to staging before prod"),
        (("rollback", "--why", "x"), "prod serves no version of cardholders yet; `mlops deploy` brings one there"),
        (("rollback",), "Missing option '--why'"),
        (
            ("invoke", "cardholders", "{}"),
            "does not exist; `mlops deploy` and `mlops approve` bring a model package to",
        ),
        (("invoke", "cardholders", ""), "the request `` is empty; expected JSON"),
        (("invoke", "cardholders", "@/dev/null"), "the request `@/dev/null` is empty; expected JSON"),
        (("invoke", "cards"), "there is no workload `cards` with pipelines; did you mean `cardholders`?"),
        (("run", "cardholders", "deploy-prod"), "`mlops deploy VERSION --stage prod` starts it"),
        (("run", "cardholders", "deploy"), "there is no pipeline `cardholders deploy`"),
    ],
)
def test_what_cannot_be_done_is_said_with_what_to_do(
    group: Group, project: Any, mlops: Mlops, arguments: tuple[str, ...], said: str
) -> None:
    group.register()
    status, out, err = mlops(project.root, *arguments)
    assert status in (1, 2)
    assert out == ""
    assert said in err.replace("\n", " ")
    assert "Traceback" not in err


def test_a_package_that_no_endpoint_could_be_tested_by_is_not_deployed(
    group: Group, project: Any, mlops: Mlops
) -> None:
    group.decide(group.register(), registry.APPROVED)
    status, _, err = mlops(project.root, "deploy", "latest")
    assert (status, "has no golden requests" in err) == (2, True)
    group.decide(group.register(**{GOLDEN_REQUESTS_KEY: "s3://b/golden.jsonl"}), registry.APPROVED)
    status, _, err = mlops(project.root, "deploy", "latest", "--stage", "prod")
    assert (status, "was not tested in staging, which comes before prod" in err) == (2, True)
    status, _, err = mlops(project.root, "approve", "latest", "--stage", "prod", "--why", "x", "--who", "Ada")
    assert (status, "was not tested in staging" in err) == (1, True)


def test_production_is_approved_once_and_a_rejection_takes_it_back(group: Group) -> None:
    package = group.register(**{STAGING_REPORT_KEY: "s3://b/tests.json"})
    group.decide(package, registry.APPROVED)
    signed = {"who": "Ada", "why": "its tests passed", "now": package.created}
    assert registry.approve_for_prod(group.sagemaker, group.known()[0], **signed)
    approved = group.known()[0]
    assert approved.approved_for_prod
    assert approved.metadata["prod_approved_by"] == "Ada"
    assert not registry.approve_for_prod(group.sagemaker, approved, **signed)
    group.decide(approved, registry.REJECTED)
    rejected = group.known()[0]
    assert not rejected.approved_for_prod
    assert "prod_approved_by" not in rejected.metadata


def test_without_endpoints_the_table_says_so(project: Any, mlops: Mlops) -> None:
    status, out, err = mlops(project.root, "endpoints")
    assert status == 0
    assert out.count("none") == 4
    assert "no endpoint is there yet; `mlops approve` deploys a model package to staging" in err
    listed = json.loads(mlops(project.root, "endpoints", "cardholders", "--json")[1])
    assert [(one["stage"], one["endpoint"], one["serving"]) for one in listed] == [
        ("staging", None, None),
        ("prod", None, None),
    ]


def test_a_function_that_has_not_run_has_written_nothing(project: Any, mlops: Mlops) -> None:
    status, out, err = mlops(project.root, "logs", "approvals")
    assert (status, out) == (0, "")
    assert "nothing was written to" in err


def test_a_decision_follows_the_deployment_that_it_starts_whatever_the_clocks_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def execution(arn: str, year: int) -> dict[str, Any]:
        began = datetime(year, 1, 1, tzinfo=UTC)
        return {"PipelineExecutionArn": arn, "PipelineExecutionDisplayName": "version-1", "StartTime": began}

    old, new = execution("old", 2100), execution("new", 2000)
    listed = iter([[old], [old], [new, old]])
    sagemaker = SimpleNamespace(list_pipeline_executions=lambda **_: {"PipelineExecutionSummaries": next(listed)})
    monkeypatch.setattr(deployment, "client", lambda *_: sagemaker)
    context: Any = SimpleNamespace(session=None, names=SimpleNamespace(pipeline=lambda *_: "p"))
    before = deployment.deployments(context, "cardholders", "staging")
    assert deployment._started(context, "cardholders", "staging", 1, before) == "new"
