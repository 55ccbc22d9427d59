"""Who gets through: the firewall, tokens, API keys, and limits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from localcloud.apigateway.deployed import GatewayResponse, KeyPlan, MethodSettings
from localcloud.waf.verdict import Verdict
from tests.localcloud.apigateway.answering import AUTHORIZER, Stage, message, method

SCOPES = ("api/predict", "aws.cognito.signin.user.admin")


@pytest.fixture
def guarded(tmp_path: Path) -> Stage:
    return Stage(
        tmp_path,
        method("GET", "/things", authorizer=AUTHORIZER, scopes=SCOPES),
        method("GET", "/mine", authorizer=AUTHORIZER),
    )


@pytest.mark.parametrize("header", ["good", "Bearer good", "bearer  good "])
def test_a_token_with_the_scope_gets_through(guarded: Stage, header: str) -> None:
    assert guarded.status(authorization=header) == 200
    claims = guarded.event["requestContext"]["authorizer"]["claims"]
    assert claims == {
        "token_use": "access",
        "scope": "api/predict api/other",
        "sub": "me",
        # As API Gateway writes it.
        "exp": "Thu Jan 01 01:00:00 UTC 2026",
        "ok": "true",
    }


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "forged", "Bearer good,Bearer good", "identity"])
def test_no_token_that_counts_is_unauthorized(guarded: Stage, header: str | None) -> None:
    answer = guarded.ask(**({} if header is None else {"authorization": header}))
    assert (answer.status, message(answer)) == (401, "Unauthorized")
    assert answer.header("x-amzn-errortype") == "UnauthorizedException"
    assert not guarded.functions.events


def test_an_old_token_is_said_to_be_old(guarded: Stage) -> None:
    answer = guarded.ask(authorization="Bearer old")
    assert (answer.status, message(answer)) == (401, "The incoming token has expired")


def test_a_token_without_the_scope_is_denied(guarded: Stage) -> None:
    answer = guarded.ask(authorization="Bearer poor")
    assert (answer.status, message(answer)) == (403, "User is not authorized to access this resource")
    assert answer.header("x-amzn-errortype") == "AccessDeniedException"


def test_without_scopes_an_identity_token_is_asked_for(guarded: Stage) -> None:
    assert guarded.status(path="/mine", authorization="identity") == 200
    assert guarded.event["requestContext"]["authorizer"]["claims"]["cognito:groups"] == "a,b"
    assert guarded.status(path="/mine", authorization="good") == 401


def test_the_firewall_comes_first(guarded: Stage) -> None:
    guarded.verdict = Verdict(False, "no-agent")
    for path in ("/things", "/nothing"):
        answer = guarded.ask(path=path)
        assert (answer.status, message(answer)) == (403, "Forbidden")
        assert answer.header("x-amzn-errortype") == "ForbiddenException"
    guarded.change(gateway_responses={"WAF_FILTERED": GatewayResponse(418)})
    assert guarded.status() == 418
    # A response of the firewall's own goes before the API's.
    guarded.verdict = Verdict(False, "rate", 429, b"slower", (("Content-Type", "text/plain"), ("Retry-After", "60")))
    answer = guarded.ask()
    assert (answer.status, answer.body, answer.header("retry-after")) == (429, b"slower", "60")
    guarded.verdict = Verdict(True, "counted")
    assert guarded.status(authorization="good") == 200
    assert guarded.measured("4XXError") == [1, 1, 1, 1, 0]


def test_a_burst_is_let_through_and_the_clock_brings_more(tmp_path: Path) -> None:
    settings = MethodSettings(rate=2.0, burst=3)
    stage = Stage(tmp_path, method("GET", "/things"), method("GET", "/others"), settings=settings)
    assert [stage.status() for _ in range(5)] == [200, 200, 200, 429, 429]
    answer = stage.ask()
    assert message(answer) == "Too Many Requests"
    assert answer.header("x-amzn-errortype") == "TooManyRequestsException"
    # Another method has a limit of its own.
    assert stage.status(path="/others") == 200
    stage.wait(0.5)
    assert [stage.status() for _ in range(2)] == [200, 429]
    stage.wait(3600)
    assert [stage.status() for _ in range(4)] == [200, 200, 200, 429]


def test_a_method_without_a_burst_lets_nobody_through(tmp_path: Path) -> None:
    stage = Stage(tmp_path, method("GET", "/things"), settings=MethodSettings(rate=0.0, burst=0))
    assert stage.status() == 429
    stage.wait(3600)
    assert stage.status() == 429


def test_a_limit_survives_a_new_deployment_and_can_be_raised(tmp_path: Path) -> None:
    stage = Stage(tmp_path, method("GET", "/things"), settings=MethodSettings(rate=1.0, burst=1))
    assert [stage.status() for _ in range(2)] == [200, 429]
    stage.change(deployment_id="another")
    assert stage.status() == 429
    stage.change(settings={("/things", "GET"): MethodSettings(rate=100.0, burst=50)})
    stage.wait(0.1)
    assert [stage.status() for _ in range(11)] == [200] * 10 + [429]


@pytest.fixture
def keyed(tmp_path: Path) -> Stage:
    stage = Stage(tmp_path, method("GET", "/things", key_required=True))
    stage.plans.keys = {"k1": KeyPlan("key1", "plan1", 1.0, 2), "k2": KeyPlan("key2", "plan1", 1.0, 2)}
    return stage


def test_a_key_is_asked_for(keyed: Stage) -> None:
    for headers in ({}, {"x_api_key": ""}, {"x_api_key": "nobody"}):
        answer = keyed.ask(**headers)
        assert (answer.status, message(answer)) == (403, "Forbidden")
        assert answer.header("x-amzn-errortype") == "ForbiddenException"
    assert keyed.status(x_api_key="k1") == 200
    identity = keyed.event["requestContext"]["identity"]
    assert (identity["apiKey"], identity["apiKeyId"]) == ("k1", "key1")


def test_each_key_has_a_limit_of_its_own(keyed: Stage) -> None:
    assert [keyed.status(x_api_key="k1") for _ in range(3)] == [200, 200, 429]
    assert keyed.status(x_api_key="k2") == 200
    # What a plan says of one method is counted apart, also where the numbers are the same.
    keyed.plans.keys["k1"] = replace(keyed.plans.keys["k1"], method="api/prod/things/GET")
    assert [keyed.status(x_api_key="k1") for _ in range(3)] == [200, 200, 429]
    keyed.wait(1)
    assert keyed.status(x_api_key="k1") == 200


def test_a_plan_of_less_than_one_a_second_lets_one_through(keyed: Stage) -> None:
    keyed.plans.keys["k3"] = KeyPlan("key3", "plan2", 0.5)
    keyed.plans.keys["k4"] = KeyPlan("key4", "plan3")
    assert [keyed.status(x_api_key="k3") for _ in range(2)] == [200, 429]
    keyed.wait(2)
    assert keyed.status(x_api_key="k3") == 200
    assert [keyed.status(x_api_key="k4") for _ in range(5)] == [200] * 5


def test_a_quota_ends(keyed: Stage) -> None:
    keyed.plans.left["key1"] = 1
    assert keyed.status(x_api_key="k1") == 200
    answer = keyed.ask(x_api_key="k1")
    assert (answer.status, message(answer)) == (429, "Limit Exceeded")
    assert answer.header("x-amzn-errortype") == "LimitExceededException"


def test_a_throttled_request_takes_nothing_of_the_quota(keyed: Stage) -> None:
    keyed.plans.left["key1"] = 3
    assert [keyed.status(x_api_key="k1") for _ in range(5)] == [200, 200, 429, 429, 429]
    assert keyed.plans.left["key1"] == 1
