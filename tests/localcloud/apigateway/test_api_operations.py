"""What all operations have in common: whatever is asked is answered or refused, and said in IAM's terms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localcloud.actions import Actions
from localcloud.apigateway.openapi.integrations import function_arn
from localcloud.apigateway.service import ApiGateway
from localcloud.context import Request
from localcloud.errors import ServiceError
from localcloud.protocols import models, validation
from localcloud.waf.service import Waf
from tests.surroundings import surroundings

MODEL = models.service_model("apigateway")
DOCUMENT = {
    "openapi": "3.0.1",
    "info": {"title": "t"},
    "paths": {
        "/a": {
            "get": {
                "responses": {"200": {"description": "d"}},
                "x-amazon-apigateway-integration": {
                    "type": "mock",
                    "requestTemplates": {"application/json": '{"statusCode": 200}'},
                    "responses": {"default": {"statusCode": "200"}},
                },
            }
        }
    },
}


class Gateway:
    """A gateway with one of everything; what it answers must fit the model, as it does behind the dispatcher."""

    def __init__(self, folder: Path) -> None:
        context = surroundings(folder)
        self.service = ApiGateway(context, _never, _never, Waf(context))
        self.api_id = self.call("ImportRestApi", body=json.dumps(DOCUMENT).encode())["id"]
        self.deployment = self.call("CreateDeployment", restApiId=self.api_id, stageName="prod")["id"]
        self.key = self.call("CreateApiKey", name="k", enabled=True)["id"]
        stages = [{"apiId": self.api_id, "stage": "prod"}]
        self.plan = self.call("CreateUsagePlan", name="p", apiStages=stages)["id"]
        self.call("CreateUsagePlanKey", usagePlanId=self.plan, keyId=self.key, keyType="API_KEY")

    def call(self, operation: str, **params: Any) -> dict[str, Any]:
        shape = MODEL.operation_model(operation)
        answer = self.service.operations[operation](Request("apigateway", operation, params))
        found = _without_none(answer)
        validation.check_response(found, shape.output_shape)
        return dict(found)

    def named(self, operation: str) -> dict[str, str]:
        """The members that name what an operation is about."""
        known = {
            "restApiId": self.api_id, "stageName": "prod", "deploymentId": self.deployment, "apiKey": self.key,
            "usagePlanId": self.plan, "keyId": self.key,
        }  # fmt: skip
        shape = MODEL.operation_model(operation).input_shape
        return {name: known[name] for name in shape.required_members if name in known} if shape else {}


def _never(*_: Any) -> Any:
    raise AssertionError("nobody calls a function, or shows a token")


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    return Gateway(tmp_path_factory.mktemp("gateway"))


_NAMES = st.sampled_from(
    [
        "*", "~1a", "a", "GET", "throttling", "rateLimit", "burstLimit", "caching", "enabled", "ttlInSeconds",
        "variables", "accessLogSettings", "format", "destinationArn", "deploymentId", "description", "name", "quota",
        "limit", "period", "offset", "throttle", "apiStages", "binaryMediaTypes", "cacheClusterSize",
        "cloudwatchRoleArn", "", "~", "~1", "x" * 300,
    ]
)  # fmt: skip
_PATCH = st.fixed_dictionaries(
    {
        "op": st.sampled_from(["add", "replace", "remove", "copy", "test"]),
        "path": st.lists(_NAMES, min_size=1, max_size=5).map(lambda parts: "/" + "/".join(parts)),
    },
    optional={
        "value": st.sampled_from(["", "true", "1", "-1", "1e400", "DAY", "a:b", "\x00", "🙂"]) | st.text(max_size=9)
    },
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    operation=st.sampled_from(
        ["UpdateStage", "UpdateRestApi", "UpdateUsagePlan", "UpdateApiKey", "UpdateDeployment", "UpdateAccount"]
    ),
    patches=st.lists(_PATCH, max_size=3),
)
def test_whatever_patch_is_made_or_refused(gateway: Gateway, operation: str, patches: list[dict[str, str]]) -> None:
    codes = []
    try:
        gateway.call(operation, **gateway.named(operation), patchOperations=patches)
    except ServiceError as error:
        codes.append(error.code)
    assert codes in ([], ["BadRequestException"], ["NotFoundException"], ["ConflictException"])
    # What is kept can be read: the stage answers by it, and a restart would find it.
    assert gateway.service._stages.deployed(gateway.api_id, "prod") is not None


def test_whatever_is_missing_is_said_so(gateway: Gateway) -> None:
    about = {"restApiId", "usagePlanId", "apiKey"}
    more: dict[str, Any] = {
        "body": json.dumps(DOCUMENT).encode(), "mode": "overwrite", "startDate": "2026-01-01", "endDate": "2026-01-01",
        "keyType": "API_KEY", "patchOperations": [],
    }  # fmt: skip
    asked = 0
    for operation in gateway.service.operations:
        shape = MODEL.operation_model(operation).input_shape
        required = set(shape.required_members) if shape is not None else set()
        if not required & about:
            continue
        asked += 1
        known = shape.members if shape is not None else {}
        params = {name: more.get(name, "nothing") for name in required | (more.keys() & known.keys())}
        with pytest.raises(ServiceError) as caught:
            gateway.call(operation, **params)
        assert (caught.value.code, caught.value.status) == ("NotFoundException", 404), operation
    assert asked > 30


@pytest.mark.parametrize(
    ("operation", "params", "expected"),
    [
        ("GetRestApis", {}, [("apigateway:GET", "/restapis")]),
        ("ImportRestApi", {"body": b""}, [("apigateway:POST", "/restapis")]),
        ("PutRestApi", {"restApiId": "a", "mode": "overwrite"}, [("apigateway:PUT", "/restapis/a")]),
        (
            "UpdateStage", {"restApiId": "a", "stageName": "prod", "patchOperations": []},
            [("apigateway:PATCH", "/restapis/a/stages/prod")],
        ),
        ("DeleteApiKey", {"apiKey": "k"}, [("apigateway:DELETE", "/apikeys/k")]),
        (
            "TagResource", {"resourceArn": "arn:aws:apigateway:eu-west-1::/restapis/a", "tags": {}},
            [("apigateway:PUT", "/tags/arn%3Aaws%3Aapigateway%3Aeu-west-1%3A%3A%2Frestapis%2Fa")],
        ),
    ],
)  # fmt: skip
def test_in_iams_terms_an_action_is_a_method_and_a_resource_an_address(
    operation: str, params: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    found = list(Actions("eu-west-1", "123456789012").of("apigateway", operation, params))
    assert found == [(action, f"arn:aws:apigateway:eu-west-1::{path}") for action, path in expected]


def test_who_sets_the_role_of_the_account_passes_it() -> None:
    arn = "arn:aws:iam::123456789012:role/writes-logs"
    patch = {"op": "replace", "path": "/cloudwatchRoleArn", "value": arn}
    found = list(Actions("eu-west-1", "123456789012").of("apigateway", "UpdateAccount", {"patchOperations": [patch]}))
    assert found == [
        ("apigateway:PATCH", "arn:aws:apigateway:eu-west-1::/account"), ("iam:PassRole", arn),
    ]  # fmt: skip


def test_a_function_may_be_named_by_stage_variables() -> None:
    arn = "arn:aws:lambda:eu-west-1:123456789012:function:${stageVariables.function}"
    uri = f"arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/{arn}/invocations"
    assert function_arn(uri) == arn
    assert function_arn("") == ""
