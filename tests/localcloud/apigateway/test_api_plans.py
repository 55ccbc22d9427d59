"""Keys and usage plans: who may call what, and how much is left."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from localcloud.apigateway.deployed import KeyPlan
from localcloud.apigateway.service import ApiGateway
from localcloud.context import Request
from localcloud.errors import ServiceError
from localcloud.waf.service import Waf
from tests.surroundings import StandingClock, surroundings

VALUE = "a-key-of-twenty-characters"
# A Wednesday.
NOW = datetime(2026, 4, 15, 12, tzinfo=UTC)


class Plans:
    """A gateway with an API, and what is asked of its plans."""

    def __init__(self, folder: Path) -> None:
        self.clock = StandingClock(NOW)
        self.context = surroundings(folder, self.clock)
        service = ApiGateway(self.context, _never, _never, Waf(self.context))
        self.operations, self.plans = service.operations, service._plans
        mock = {
            "type": "mock",
            "requestTemplates": {"application/json": '{"statusCode": 200}'},
            "responses": {"default": {"statusCode": "200"}},
        }
        operation = {"responses": {"200": {}}, "x-amazon-apigateway-integration": mock}
        document = {"openapi": "3.0.1", "info": {"title": "t"}, "paths": {"/a": {"get": operation}}}
        self.api_id = self.call("ImportRestApi", body=json.dumps(document).encode())["id"]
        for stage in ("prod", "test"):
            self.call("CreateDeployment", restApiId=self.api_id, stageName=stage)

    def call(self, operation: str, **params: Any) -> dict[str, Any]:
        return self.operations[operation](Request("apigateway", operation, params))

    def error(self, operation: str, **params: Any) -> tuple[str, str]:
        with pytest.raises(ServiceError) as caught:
            self.call(operation, **params)
        return caught.value.code, caught.value.message

    def made(self, *stages: str, **params: Any) -> str:
        """The id of a plan of stages."""
        found = [{"apiId": self.api_id, "stage": stage} for stage in stages]
        return str(self.call("CreateUsagePlan", **{"name": "p", "apiStages": found, **params})["id"])

    def key(self, *plan_ids: str, value: str = VALUE, enabled: bool = True) -> str:
        """The id of a key that plans have."""
        key_id = str(self.call("CreateApiKey", name="k", value=value, enabled=enabled)["id"])
        for plan_id in plan_ids:
            self.call("CreateUsagePlanKey", usagePlanId=plan_id, keyId=key_id, keyType="API_KEY")
        return key_id

    def found(self, value: str = VALUE, stage: str = "prod") -> KeyPlan | None:
        return self.plans.plan_of(self.api_id, stage, value, "/a", "GET")

    def takes(self) -> bool:
        plan = self.found()
        assert plan is not None
        return self.plans.count(plan)

    def later(self, **time: float) -> None:
        self.clock.set(self.clock.now() + timedelta(**time))


def _never(*_: Any) -> Any:
    raise AssertionError("nobody calls a function, or shows a token")


@pytest.fixture
def plans(tmp_path: Path) -> Plans:
    return Plans(tmp_path)


def test_a_key_counts_at_the_stages_of_its_plans(plans: Plans) -> None:
    plan_id = plans.made("prod", throttle={"rateLimit": 2.5, "burstLimit": 5})
    key_id = plans.key(plan_id)
    assert plans.found() == KeyPlan(key_id, plan_id, rate=2.5, burst=5)
    assert plans.found(stage="test") is None
    assert plans.found(value="another-key-of-twenty-characters") is None
    assert plans.plans.plan_of("another", "prod", VALUE, "/a", "GET") is None


def test_a_key_does_not_count_without_a_plan_or_while_it_is_disabled(plans: Plans) -> None:
    key_id = plans.key()
    assert plans.found() is None
    plan_id = plans.made("prod")
    plans.call("CreateUsagePlanKey", usagePlanId=plan_id, keyId=key_id, keyType="API_KEY")
    assert plans.found() == KeyPlan(key_id, plan_id)
    for value, there in (("false", False), ("true", True)):
        patch = {"op": "replace", "path": "/enabled", "value": value}
        plans.call("UpdateApiKey", apiKey=key_id, patchOperations=[patch])
        assert (plans.found() is not None) == there
    plans.call("DeleteUsagePlanKey", usagePlanId=plan_id, keyId=key_id)
    assert plans.found() is None


def test_a_new_key_is_disabled_and_has_a_value_of_its_own(plans: Plans) -> None:
    made = plans.call("CreateApiKey", name="k")
    assert not made["enabled"]
    assert len(made["value"]) == 40
    assert plans.call("GetApiKey", apiKey=made["id"])["value"] is None
    assert plans.call("GetApiKey", apiKey=made["id"], includeValue=True)["value"] == made["value"]


def test_limits_of_a_method_win_over_those_of_the_plan(plans: Plans) -> None:
    plan_id = plans.made("prod", throttle={"rateLimit": 2.0, "burstLimit": 5})
    key_id, stage = plans.key(plan_id), f"{plans.api_id}:prod"

    def patch(op: str, path: str, value: str = "") -> None:
        operation = {"op": op, "path": f"/apiStages/{stage}/throttle/{path}", "value": value}
        plans.call("UpdateUsagePlan", usagePlanId=plan_id, patchOperations=[operation])

    patch("replace", "~1a/GET/rateLimit", "1")
    patch("replace", "~1a/GET/burstLimit", "3")
    own = f"{plans.api_id}/prod/a/GET"
    assert plans.found() == KeyPlan(key_id, plan_id, rate=1.0, burst=3, method=own)
    patch("remove", "~1a/GET")
    assert plans.found() == KeyPlan(key_id, plan_id, rate=2.0, burst=5)


def test_a_quota_is_used_up_and_comes_back_with_the_next_day(plans: Plans) -> None:
    plans.key(plans.made("prod", quota={"limit": 2, "period": "DAY"}))
    assert [plans.takes() for _ in range(4)] == [True, True, False, False]
    plans.later(hours=11.9)
    assert not plans.takes()
    plans.later(hours=0.2)
    assert [plans.takes() for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize(("period", "days"), [("WEEK", 4), ("MONTH", 16)])
def test_weeks_begin_on_sundays_and_months_on_the_first(plans: Plans, period: str, days: int) -> None:
    plans.key(plans.made("prod", quota={"limit": 1, "period": period}))
    assert [plans.takes(), plans.takes()] == [True, False]
    plans.later(days=days - 1)
    assert not plans.takes()
    plans.later(days=1)
    assert plans.takes()


def test_each_key_has_a_quota_of_its_own(plans: Plans) -> None:
    plan_id = plans.made("prod", quota={"limit": 1, "period": "DAY"})
    plans.key(plan_id)
    plans.key(plan_id, value="the-second-key-of-the-plan")
    assert [plans.takes(), plans.takes()] == [True, False]
    second = plans.found("the-second-key-of-the-plan")
    assert second is not None
    assert plans.plans.count(second)


def test_a_plan_without_a_quota_is_never_used_up_and_its_use_is_told(plans: Plans) -> None:
    plan_id = plans.made("prod")
    key_id = plans.key(plan_id)
    assert all(plans.takes() for _ in range(3))
    day = NOW.date().isoformat()
    used = plans.call("GetUsage", usagePlanId=plan_id, startDate=day, endDate=day)
    assert used["items"] == {key_id: [[3]]}


def test_usage_by_day(plans: Plans) -> None:
    plan_id = plans.made("prod", quota={"limit": 5, "period": "MONTH"})
    key_id = plans.key(plan_id)
    plans.takes()
    plans.later(days=2)
    plans.takes()
    plans.takes()
    asked = {"usagePlanId": plan_id, "startDate": "2026-04-14", "endDate": "2026-04-17"}
    assert plans.call("GetUsage", **asked)["items"] == {key_id: [[0, 5], [1, 4], [0, 4], [2, 2]]}
    assert plans.call("GetUsage", **asked, keyId="another")["items"] == {}
    wrong = {**asked, "endDate": "2026-04-13"}
    assert "got 2026-04-14 to 2026-04-13" in plans.error("GetUsage", **wrong)[1]
    assert "'today'; expected YYYY-MM-DD" in plans.error("GetUsage", **{**asked, "startDate": "today"})[1]


def test_what_is_counted_outlives_the_process(plans: Plans, tmp_path: Path) -> None:
    plans.key(plans.made("prod", quota={"limit": 1, "period": "DAY"}))
    assert plans.takes()
    again = ApiGateway(plans.context, _never, _never, Waf(plans.context))
    plan = again._plans.plan_of(plans.api_id, "prod", VALUE, "/a", "GET")
    assert plan is not None
    assert not again._plans.count(plan)


def test_a_key_is_of_one_plan_only_at_a_stage(plans: Plans) -> None:
    first, second = plans.made("prod"), plans.made("test")
    key_id = plans.key(first, second)
    third = plans.made("prod")
    member = {"usagePlanId": third, "keyId": key_id, "keyType": "API_KEY"}
    code, message = plans.error("CreateUsagePlanKey", **member)
    assert code == "ConflictException"
    assert f"cannot be of two usage plans of the stage {plans.api_id}:prod; it is of {first}" in message
    assert plans.call("GetUsagePlanKeys", usagePlanId=third)["items"] == []
    patch = {"op": "add", "path": "/apiStages", "value": f"{plans.api_id}:prod"}
    assert plans.error("UpdateUsagePlan", usagePlanId=second, patchOperations=[patch])[0] == "ConflictException"
    assert plans.found(stage="prod") == KeyPlan(key_id, first)


def test_what_is_deleted_goes_from_the_plans(plans: Plans) -> None:
    plan_id = plans.made("prod", "test")
    key_id = plans.key(plan_id)
    assert plans.found() is not None
    plans.call("DeleteStage", restApiId=plans.api_id, stageName="prod")
    assert plans.found() is None
    assert plans.found(stage="test") is not None
    plans.call("DeleteApiKey", apiKey=key_id)
    assert plans.found(stage="test") is None
    assert plans.call("GetUsagePlanKeys", usagePlanId=plan_id)["items"] == []
    plans.call("DeleteRestApi", restApiId=plans.api_id)
    assert plans.call("GetUsagePlan", usagePlanId=plan_id)["apiStages"] == []
    plans.call("DeleteUsagePlan", usagePlanId=plan_id)
    assert plans.error("GetUsagePlan", usagePlanId=plan_id)[0] == "NotFoundException"


def test_a_plan_with_stages_is_not_deleted(plans: Plans) -> None:
    plan_id = plans.made("prod")
    code, message = plans.error("DeleteUsagePlan", usagePlanId=plan_id)
    assert (code, message.endswith(f"remove them: {plans.api_id}:prod")) == ("BadRequestException", True)
    patch = {"op": "remove", "path": "/apiStages", "value": f"{plans.api_id}:prod"}
    plans.call("UpdateUsagePlan", usagePlanId=plan_id, patchOperations=[patch])
    plans.call("DeleteUsagePlan", usagePlanId=plan_id)


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        (("replace", "/name", "new"), None),
        (("replace", "/quota/limit", "7"), None),
        (("remove", "/quota", ""), None),
        (("remove", "/throttle", ""), None),
        (("replace", "/throttle/rateLimit", "x"), "expected a number from 0 to 10000"),
        (("replace", "/throttle/speed", "1"), "Invalid patch path '/throttle/speed'"),
        (("replace", "/quota/limit", "0"), "quota limit must be a positive number; got 0"),
        (("replace", "/quota/period", "YEAR"), "must be one of DAY, WEEK, MONTH; got YEAR"),
        (("replace", "/quota/offset", "1"), "have no quota offset, for periods that begin later; got 1"),
        (("add", "/apiStages", "nothing:prod"), "API Stage not found: nothing:prod"),
        (("remove", "/apiStages", "nothing:prod"), "API Stage not found: nothing:prod"),
        (("replace", "/apiStages/x:y/throttle/~1a/GET/rateLimit", "1"), "Invalid patch path '/apiStages/x:y/throttle"),
        (("replace", "/productCode", "x"), "Invalid patch path '/productCode'"),
    ],
)
def test_changes_of_a_plan(plans: Plans, patch: tuple[str, str, str], expected: str | None) -> None:
    plan_id = plans.made(
        "prod", quota={"limit": 5, "period": "DAY"}, throttle={"rateLimit": 2.0, "burstLimit": 5}
    )  # fmt: skip
    before = plans.call("GetUsagePlan", usagePlanId=plan_id)
    asked = {"usagePlanId": plan_id, "patchOperations": [dict(zip(("op", "path", "value"), patch, strict=True))]}
    if expected is None:
        assert plans.call("UpdateUsagePlan", **asked) == plans.call("GetUsagePlan", usagePlanId=plan_id) != before
    else:
        assert expected in plans.error("UpdateUsagePlan", **asked)[1]
        assert plans.call("GetUsagePlan", usagePlanId=plan_id) == before


@pytest.mark.parametrize(
    ("params", "code", "expected"),
    [
        ({"value": "short"}, "BadRequestException", "API Key value should be at least 20 characters"),
        ({"value": VALUE}, "ConflictException", "API Key already exists"),
        ({"stageKeys": [{"restApiId": "a", "stageName": "b"}]}, "BadRequestException", "by usage plans; got stageKeys"),
        ({"generateDistinctId": False}, "BadRequestException", "got generateDistinctId False"),
    ],
)
def test_keys_that_are_refused(plans: Plans, params: dict[str, Any], code: str, expected: str) -> None:
    plans.key()
    found = plans.error("CreateApiKey", **params)
    assert (found[0], expected in found[1]) == (code, True), found


def test_keys_are_listed_by_name_and_customer(plans: Plans) -> None:
    for name, customer in (("mobile-1", "a"), ("mobile-2", "b"), ("web", "a")):
        plans.call("CreateApiKey", name=name, customerId=customer)

    def names(**params: Any) -> list[str]:
        return [key["name"] for key in plans.call("GetApiKeys", **params)["items"]]

    assert names() == ["mobile-1", "mobile-2", "web"]
    assert names(nameQuery="mobile") == ["mobile-1", "mobile-2"]
    assert names(customerId="a", nameQuery="mobile") == ["mobile-1"]
