"""The verbs that bring model packages to stages and look after them."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.conftest import Project, make_copy, make_project
from tests.pipelines.deploy.loop import CARDHOLDERS, Loop, until

Verb = Callable[..., tuple[int, str, str]]
OF = ("--workload", CARDHOLDERS)


@pytest.fixture
def verb(loop: Loop, mlops: Verb, monkeypatch: pytest.MonkeyPatch) -> Verb:
    """The command line in the project: exit status, stdout, stderr."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", loop.mlflow.url)
    return lambda *arguments: mlops(loop.project.root, *arguments)


@pytest.fixture
def empty(loop: Loop, tmp_path: Path) -> Project:
    """Another project, of which nothing is there."""
    return make_project(make_copy(tmp_path / "copy"))


def test_deploy_says_at_once_what_the_pipeline_would_refuse(loop: Loop, verb: Verb) -> None:
    waiting, bare, untested = loop.package(), loop.approved(golden=False), loop.approved()
    for version, stage, said in (
        (waiting.version, "staging", "is `PendingManualApproval`, expected `Approved`; `mlops approve "),
        (bare.version, "staging", "has no golden requests, by which an endpoint is tested"),
        (untested.version, "prod", "was not tested in staging, which comes before prod; `mlops deploy "),
        (untested.version, "production", "there is no stage `production`"),
        (10_000, "staging", "has no version `10000`"),
    ):
        status, out, err = verb("deploy", *OF, str(version), "--stage", stage)
        assert (status, out) == (2, "")
        assert said in err


def test_deploy_follows_a_deployment_to_its_end(loop: Loop, verb: Verb) -> None:
    package = loop.approved()
    endpoint = loop.names.endpoint(CARDHOLDERS, "staging")
    status, out, err = verb("deploy", *OF, str(package.version))
    assert status == 0, err
    for step in ("VerifyPackage", "WaitForEndpoint", "MarkServing"):
        assert f"✓ {step}" in out
    assert f"staging serves version {package.version} of cardholders, at the endpoint {endpoint}" in out
    assert loop.answers(package, "staging")
    # Also one that was deployed before; as JSON, with all else on stderr.
    status, out, err = verb("deploy", *OF, "latest", "--json")
    assert status == 0, err
    document = json.loads(out)
    assert (document["status"], document["arn"]) == ("Succeeded", loop.started(package, "staging", 2))
    assert f"staging serves version {package.version}" in err


def test_deploy_ends_with_1_when_the_stage_was_rolled_back(loop: Loop, verb: Verb) -> None:
    package = loop.approved(wrong_at=[2])
    status, out, _ = verb("deploy", *OF, str(package.version))
    assert status == 1
    assert f"1 of 4 golden requests were answered wrongly: x is 2: answer.y is {2 * package.factor + 1}" in out


@pytest.mark.slow
def test_deploy_need_not_be_followed(loop: Loop, verb: Verb) -> None:
    package = loop.approved()
    status, out, _ = verb("deploy", *OF, str(package.version), "--no-wait")
    arn = loop.started(package, "staging")
    assert (status, out.splitlines()[-1]) == (0, f"started {arn}; `mlops status` shows how far it is")
    assert loop.end_of(arn, CARDHOLDERS, "staging").status == "Succeeded"
    status, out, _ = verb("deploy", *OF, str(package.version), "--no-wait", "--json")
    arn = loop.started(package, "staging", 2)
    assert (status, json.loads(out)) == (0, {"arn": arn})
    assert loop.end_of(arn, CARDHOLDERS, "staging").status == "Succeeded"


def test_a_version_goes_to_staging_to_production_and_back(loop: Loop, verb: Verb) -> None:
    before, package = loop.approved(), loop.package()
    assert verb("deploy", *OF, str(before.version))[0] == 0
    signed, version = ("--who", "Ada"), str(package.version)
    status, _, err = verb("approve", *OF, version, "--stage", "prod", "--why", "good", *signed)
    assert status == 1
    assert "it goes to staging before prod; `mlops approve " in err

    status, out, err = verb("approve", *OF, version, "--why", "good", "--wait", *signed)
    assert status == 0, err
    assert f"version {version} of {loop.names.package_group(CARDHOLDERS)} is approved for staging, by Ada: good" in out
    assert f"staging serves version {version} of cardholders" in out

    status, out, err = verb("approve", *OF, version, "--stage", "prod", "--why", "its tests passed", "--wait", *signed)
    assert status == 0, err
    assert "tests in staging: 4 of 4 golden requests answered rightly, median " in out
    assert "✓ x is 1: 200, " in out
    assert "✓ no x: 400, " in out
    assert f"prod serves version {version} of cardholders" in out
    assert loop.answers(package, "prod")

    status, out, _ = verb("approve", *OF, version, "--stage", "prod", "--why", "again", *signed)
    assert status == 0
    assert f"version {version} of {loop.names.package_group(CARDHOLDERS)} was approved for prod already" in out
    assert out.splitlines()[-1] == f"`mlops deploy {version} --stage prod` deploys it again"

    status, out, err = verb("rollback", *OF, "--stage", "staging", "--why", "it is odd")
    assert status == 0, err
    assert f"staging: from version {version} back to {before.version}, because: it is odd" in out
    assert f"staging serves version {before.version} of cardholders" in out
    assert loop.answers(before, "staging")
    assert loop.answers(package, "prod")


def test_a_rejection_is_told_and_kept(loop: Loop, verb: Verb) -> None:
    package = loop.package()
    status, out, _ = verb("reject", *OF, str(package.version), "--why", "it is very odd", "--who", "Ada")
    assert status == 0
    assert "is rejected, by Ada: it is very odd" in out
    assert loop.metadata(package)["rejected_by"] == "Ada"
    status, _, err = verb("deploy", *OF, str(package.version))
    assert status == 2
    assert "is `Rejected`, expected `Approved`" in err


def test_an_approval_for_production_is_refused_before_the_tests_in_staging(loop: Loop, verb: Verb) -> None:
    package = loop.approved()
    status, _, err = verb("approve", *OF, str(package.version), "--stage", "prod", "--why", "good", "--who", "Ada")
    assert status == 1
    assert f"version {package.version} was not tested in staging, which comes before prod" in err
    assert loop.deployments(package, "prod") == []


def test_rollback_says_what_it_cannot_go_back_to(loop: Loop, verb: Verb, empty: Project, mlops: Verb) -> None:
    status, _, err = mlops(empty.root, "rollback", *OF, "--why", "x")
    assert status == 2
    assert "prod serves no version of cardholders yet; `mlops deploy` brings one there" in err
    package = loop.good("staging")
    loop.reject_all_but(package)
    status, _, err = verb("rollback", *OF, "--stage", "staging", "--why", "x")
    assert status == 2
    assert f"staging serves version {package.version} of cardholders, and no approved version before it" in err


def test_endpoints_shows_what_is_served(loop: Loop, verb: Verb) -> None:
    package = loop.good("staging")
    status, out, err = verb("endpoints", CARDHOLDERS)
    assert (status, err) == (0, "")
    assert out.splitlines()[0].split()[:4] == ["endpoint", "status", "version", "since"]
    row = out.splitlines()[1].split()
    assert row[:4] == [CARDHOLDERS, "staging", "InService", str(package.version)]
    assert "AllTraffic" in row

    def staging() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(verb("endpoints", CARDHOLDERS, "--json")[1])[0]
        return found

    until(lambda: staging()["last_hour"]["invocations"], "its requests are counted")
    now = staging()
    assert (now["workload"], now["stage"]) == (CARDHOLDERS, "staging")
    assert now["endpoint"]["instances"] == 1
    assert now["serving"]["model_package_arn"] == package.arn


def test_endpoints_says_that_there_are_none(empty: Project, mlops: Verb) -> None:
    status, out, err = mlops(empty.root, "endpoints")
    assert status == 0
    assert [line.split() for line in out.splitlines()[1:]] == [
        [workload, stage, "none"] for workload in ("cardholders", "forecaster") for stage in ("staging", "prod")
    ]
    assert "no endpoint is there yet; `mlops approve` deploys a model package to staging" in err
    listed = json.loads(mlops(empty.root, "endpoints", CARDHOLDERS, "--json")[1])
    assert [(one["stage"], one["endpoint"], one["serving"], one["last_hour"]) for one in listed] == [
        ("staging", None, None, None),
        ("prod", None, None, None),
    ]


def test_invoke_asks_an_endpoint(loop: Loop, verb: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    factor = loop.good("staging").factor
    asked = ("invoke", CARDHOLDERS, "--stage", "staging")
    status, out, err = verb(*asked, '{"x": 5}', "--inference-id", "mine")
    assert (status, json.loads(out), err) == (0, {"y": 5 * factor}, "")
    file = tmp_path / "request.json"
    file.write_text('{"x": 6}')
    assert json.loads(verb(*asked, f"@{file}")[1]) == {"y": 6 * factor}
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"x": 7}')))
    assert json.loads(verb(*asked, "-")[1]) == {"y": 7 * factor}
    # Without a request: the first that it was tested by.
    status, out, err = verb(*asked)
    assert (status, json.loads(out), err) == (0, {"y": factor}, 'request {"x":1}\n')


def test_invoke_tells_what_the_model_says(loop: Loop, verb: Verb, empty: Project, mlops: Verb) -> None:
    loop.good("staging")
    status, out, err = verb("invoke", CARDHOLDERS, "{}", "--stage", "staging")
    assert (status, out, err) == (1, "", '400: {"error": "x is missing"}\n')
    status, _, err = verb("invoke", CARDHOLDERS, "@no-such-file", "--stage", "staging")
    assert status == 2
    assert "`no-such-file` cannot be read: No such file or directory" in err
    status, _, err = mlops(empty.root, "invoke", CARDHOLDERS, "{}")
    assert status == 2
    assert f"the endpoint `{empty.names.endpoint(CARDHOLDERS, 'prod')}` does not exist" in err


def test_logs_prints_what_a_function_wrote(loop: Loop, verb: Verb) -> None:
    loop.good("staging")
    status, out, err = verb("logs", "deploy-steps")
    assert (status, err) == (0, "")
    assert '"message":"mark"' in out or '"message":"verify"' in out


def test_logs_says_that_a_function_has_not_run(empty: Project, mlops: Verb) -> None:
    status, out, err = mlops(empty.root, "logs", "approvals")
    assert (status, out) == (0, "")
    assert f"nothing was written to `/aws/lambda/{empty.names.function('approvals')}` yet" in err


def test_run_does_not_deploy(verb: Verb) -> None:
    status, _, err = verb("run", "cardholders", "deploy-prod")
    assert status == 2
    assert "`deploy-prod` deploys a model package; `mlops deploy VERSION --stage prod` starts it" in err
