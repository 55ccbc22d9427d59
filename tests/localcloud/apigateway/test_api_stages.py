"""Deployments and stages: what a stage answers by, and how its settings are changed."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from localcloud.apigateway.deployed import MethodSettings
from localcloud.apigateway.remembered import Remembered
from localcloud.apigateway.service import ApiGateway
from localcloud.context import Context, Request
from localcloud.errors import ServiceError
from localcloud.protocols.http import HttpRequest
from localcloud.waf.service import Waf
from localcloud.waf.verdict import PASSED
from tests.surroundings import StandingClock, surroundings

FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:f"
URI = f"arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/{FUNCTION}/invocations"
POOL = "arn:aws:cognito-idp:eu-west-1:123456789012:userpool/eu-west-1_abc123"
GROUP = "arn:aws:logs:eu-west-1:123456789012:log-group:/api/access"
ROLE = "arn:aws:iam::123456789012:role/writes-logs"
FORMAT = '{"id": "$context.requestId"}'


def document(*paths: str, **members: Any) -> bytes:
    integration = {"type": "aws_proxy", "httpMethod": "POST", "uri": URI}
    operation = {"x-amazon-apigateway-integration": integration, "responses": {}}
    found = {path: {"get": operation, "post": operation} for path in paths or ("/a", "/")}
    return json.dumps({"openapi": "3.0.1", "info": {"title": "demo"}, "paths": found, **members}).encode()


class Api:
    """A gateway in surroundings of its own, with an API."""

    def __init__(self, context: Context, firewall: Waf | None = None) -> None:
        self.context = context
        self.service = ApiGateway(context, _never, _never, firewall or Waf(context))
        self.stages, self.plans = self.service._stages, self.service._plans

    def call(self, operation: str, **params: Any) -> dict[str, Any]:
        return self.service.operations[operation](Request("apigateway", operation, params))

    def error(self, operation: str, **params: Any) -> tuple[str, str]:
        with pytest.raises(ServiceError) as caught:
            self.call(operation, **params)
        return caught.value.code, caught.value.message

    def made(self, body: bytes | None = None, stage: str = "prod") -> str:
        """The id of an API with a stage."""
        api_id = str(self.call("ImportRestApi", body=body or document())["id"])
        self.call("CreateDeployment", restApiId=api_id, stageName=stage)
        return api_id

    def patch(self, api_id: str, *patches: tuple[str, ...]) -> dict[str, Any]:
        return self.call("UpdateStage", **_patches(api_id, *patches))

    def refused(self, api_id: str, *patches: tuple[str, ...]) -> str:
        code, message = self.error("UpdateStage", **_patches(api_id, *patches))
        assert code == "BadRequestException"
        return message

    def settings(self, api_id: str, path: str = "/a", verb: str = "GET") -> MethodSettings:
        deployed = self.stages.deployed(api_id, "prod")
        assert deployed is not None
        return deployed.settings[path, verb]


def _never(*_: Any) -> Any:
    raise AssertionError("nobody calls a function, or shows a token")


def _patches(api_id: str, *patches: tuple[str, ...]) -> dict[str, Any]:
    members = ("op", "path", "value")
    return {
        "restApiId": api_id,
        "stageName": "prod",
        "patchOperations": [dict(zip(members, patch, strict=False)) for patch in patches],
    }


@pytest.fixture
def open_api(tmp_path: Path) -> Callable[[], Api]:
    """Opens a gateway over one and the same state."""
    return lambda: Api(surroundings(tmp_path, StandingClock()))


@pytest.fixture
def api(open_api: Callable[[], Api]) -> Api:
    return open_api()


# --- what a stage answers by -----------------------------------------------------------------------------------------


def test_a_stage_answers_by_what_the_api_was_when_it_was_deployed(api: Api) -> None:
    api_id = api.made()
    api.call("PutRestApi", restApiId=api_id, mode="overwrite", body=document("/other"))
    before = api.stages.deployed(api_id, "prod")
    assert before is not None
    assert {method.resource_path for method in before.methods} == {"/", "/a"}
    later = api.call("CreateDeployment", restApiId=api_id)
    still = api.stages.deployed(api_id, "prod")
    assert still is not None
    assert still.deployment_id == before.deployment_id
    api.patch(api_id, ("replace", "/deploymentId", later["id"]))
    after = api.stages.deployed(api_id, "prod")
    assert after is not None
    assert after.deployment_id == later["id"]
    assert {method.resource_path for method in after.methods} == {"/other"}


def test_all_that_a_stage_answers_by(api: Api) -> None:
    integration = {
        "type": "aws_proxy", "httpMethod": "POST", "uri": URI, "timeoutInMillis": 1500,
        "cacheKeyParameters": ["method.request.querystring.n"], "passthroughBehavior": "never",
    }  # fmt: skip
    mock = {
        "type": "mock",
        "requestTemplates": {"application/json": '{"statusCode": 200}'},
        "responses": {
            "404": {"statusCode": "404"},
            "default": {
                "statusCode": "200",
                "responseParameters": {"method.response.header.X-A": "'it''s'".replace("''", "")},
                "responseTemplates": {"application/json": "{}"},
            },
        },
    }
    validator = "x-amazon-apigateway-request-validator"
    paths = {
        "/a": {
            "get": {
                "operationId": "ask",
                "parameters": [{"name": "n", "in": "query", "required": True}, {"name": "m", "in": "query"}],
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/A"}}}},
                "security": [{"cognito": ["api/a"], "key": []}],
                validator: "both",
                "x-amazon-apigateway-integration": integration,
            },
            "x-amazon-apigateway-any-method": {
                "responses": {"200": {"headers": {"X-A": {}}}, "404": {}},
                "x-amazon-apigateway-integration": mock,
            },
        }
    }
    cognito = {
        "type": "apiKey", "name": "Authorization", "in": "header",
        "x-amazon-apigateway-authtype": "cognito_user_pools",
        "x-amazon-apigateway-authorizer": {"type": "cognito_user_pools", "providerARNs": [POOL]},
    }  # fmt: skip
    key = {"type": "apiKey", "name": "x-api-key", "in": "header"}
    api_id = api.made(
        json.dumps(
            {
                "openapi": "3.0.1",
                "info": {"title": "demo"},
                "paths": paths,
                "components": {
                    "schemas": {"A": {"type": "object"}}, "securitySchemes": {"cognito": cognito, "key": key},
                },
                f"{validator}s": {"both": {"validateRequestBody": True, "validateRequestParameters": True}},
                "x-amazon-apigateway-binary-media-types": ["image/png"],
                "x-amazon-apigateway-gateway-responses": {
                    "THROTTLED": {"responseParameters": {"gatewayresponse.header.Retry-After": "'1'"}}
                },
            }
        ).encode()
    )  # fmt: skip
    deployed = api.stages.deployed(api_id, "prod")
    assert deployed is not None
    assert (deployed.api_id, deployed.api_name, deployed.stage) == (api_id, "demo", "prod")
    assert deployed.stage_arn == f"arn:aws:apigateway:eu-west-1::/restapis/{api_id}/stages/prod"
    assert deployed.binary_media_types == ("image/png",)
    assert deployed.gateway_responses["THROTTLED"].headers == {"Retry-After": "1"}
    assert deployed.gateway_responses["THROTTLED"].status == 429
    assert (deployed.cache_bytes, deployed.access_log_group, deployed.tracing) == (0, None, False)
    get, anything = deployed.methods
    assert (get.verb, get.resource_path, get.operation_name) == ("GET", "/a", "ask")
    assert get.authorizer is not None
    assert (get.authorizer.provider_arns, get.authorizer.header) == ((POOL,), "authorization")
    assert (get.scopes, get.key_required) == (("api/a",), True)
    assert (get.validates_body, get.validates_parameters) == (True, True)
    assert get.required_parameters == ("method.request.querystring.n",)
    assert get.models == {"application/json": {"type": "object"}}
    assert (get.integration.type, get.integration.function_arn) == ("AWS_PROXY", FUNCTION)
    assert get.integration.timeout_seconds == 1.5
    assert get.integration.cache_key_parameters == ("method.request.querystring.n",)
    assert get.integration.passthrough == "NEVER"
    assert (anything.verb, anything.authorizer, anything.validates_body) == ("ANY", None, False)
    assert [response.status for response in anything.integration.responses] == [200, 404], "the default one comes first"
    assert anything.integration.responses[0].headers == {"X-A": "its"}
    assert anything.integration.responses[0].templates == {"application/json": "{}"}


def test_what_a_stage_answers_by_is_made_once_until_something_changes(api: Api) -> None:
    api_id, other = api.made(), api.made()
    first = api.stages.deployed(api_id, "prod")
    assert api.stages.deployed(api_id, "prod") is first
    api.patch(other, ("replace", "/description", "d"))
    assert api.stages.deployed(api_id, "prod") is first, "a change of another API"
    api.call("UpdateRestApi", restApiId=api_id, patchOperations=[{"op": "replace", "path": "/name", "value": "new"}])
    renamed = api.stages.deployed(api_id, "prod")
    assert renamed is not None
    assert renamed.api_name == "new"


def test_what_changes_while_it_is_made_is_not_kept() -> None:
    values = ["old", "new"]

    def make(key: str) -> str:
        value = values.pop(0)
        if value == "old":
            remembered.forget()
        return value

    remembered: Remembered[str, str] = Remembered(make)
    assert [remembered.get("k") for _ in range(3)] == ["old", "new", "new"]


def test_nothing_answers_where_there_is_no_stage(api: Api) -> None:
    api_id = api.made()
    assert api.stages.deployed(api_id, "test") is None
    assert api.stages.deployed("nothing", "prod") is None
    api.call("DeleteStage", restApiId=api_id, stageName="prod")
    assert api.stages.deployed(api_id, "prod") is None


def test_all_of_an_api_goes_with_it(api: Api) -> None:
    api_id = api.made()
    assert api.stages.deployed(api_id, "prod") is not None
    api.call("DeleteRestApi", restApiId=api_id)
    assert api.stages.deployed(api_id, "prod") is None
    assert api.error("GetRestApi", restApiId=api_id) == ("NotFoundException", "Invalid API identifier specified")
    assert api.context.store.list("apigateway/deployment") == []
    assert api.context.store.list("apigateway/stage") == []


def test_nothing_is_kept_in_memory_of_a_stage_that_is_gone(api: Api) -> None:
    api_id = api.made()
    path = f"/_aws/execute-api/{api_id}/prod/nothing"
    assert api.context.web.handle(HttpRequest("GET", path)).status == 403
    deployed = weakref.ref(api.stages.deployed(api_id, "prod"))
    assert deployed() is not None
    api.call("DeleteStage", restApiId=api_id, stageName="prod")
    gc.collect()
    assert deployed() is None


def test_what_is_kept_outlives_the_process(open_api: Callable[[], Api]) -> None:
    first = open_api()
    api_id = first.made()
    first.patch(api_id, ("replace", "/*/*/throttling/rateLimit", "5"))
    before = first.stages.deployed(api_id, "prod")
    first.context.store.close()
    assert open_api().stages.deployed(api_id, "prod") == before


# --- settings --------------------------------------------------------------------------------------------------------


def test_settings_of_all_methods_and_of_one(api: Api) -> None:
    api_id = api.made()
    assert api.settings(api_id) == MethodSettings()
    stage = api.patch(
        api_id,
        ("replace", "/*/*/throttling/rateLimit", "5.5"),
        ("replace", "/*/*/throttling/burstLimit", "10"),
        ("replace", "/*/*/metrics/enabled", "true"),
        ("replace", "/~1a/GET/caching/enabled", "true"),
        ("replace", "/~1a/GET/caching/ttlInSeconds", "60"),
        ("replace", "/~1a/GET/throttling/burstLimit", "2"),
        ("add", "/~1/POST/caching/requireAuthorizationForCacheControl", "false"),
    )
    assert api.settings(api_id) == MethodSettings(
        rate=5.5, burst=2, caching=True, cache_ttl_seconds=60, metrics=True
    )  # fmt: skip
    assert api.settings(api_id, verb="POST") == MethodSettings(rate=5.5, burst=10, metrics=True)
    assert api.settings(api_id, "/", "POST") == MethodSettings(
        rate=5.5, burst=10, metrics=True, cache_needs_authorization=False
    )
    assert set(stage["methodSettings"]) == {"*/*", "a/GET", "~1/POST"}
    assert stage["methodSettings"]["a/GET"]["cacheTtlInSeconds"] == 60
    api.patch(api_id, ("remove", "/~1a/GET"))
    assert api.settings(api_id) == MethodSettings(rate=5.5, burst=10, metrics=True)
    api.patch(api_id, ("remove", "/*/*"), ("remove", "/~1/POST"))
    assert api.settings(api_id, "/", "POST") == MethodSettings()


def test_caching_of_all_methods_is_of_get_only(api: Api) -> None:
    api_id = api.made()
    api.patch(api_id, ("replace", "/*/*/caching/enabled", "true"))
    assert [api.settings(api_id, verb=verb).caching for verb in ("GET", "POST")] == [True, False]
    api.patch(api_id, ("replace", "/~1a/POST/caching/enabled", "true"), ("replace", "/a/GET/caching/enabled", "false"))
    assert [api.settings(api_id, verb=verb).caching for verb in ("GET", "POST")] == [False, True]


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        (("replace", "/*/*/throttling/rateLimit", "fast"), "rateLimit: 'fast'; expected a number from 0 to 10000"),
        (("replace", "/*/*/throttling/rateLimit", "nan"), "expected a number from 0 to 10000"),
        (("replace", "/*/*/throttling/rateLimit", "-1"), "expected a number from 0 to 10000"),
        (("replace", "/*/*/throttling/burstLimit", "1.5"), "expected a whole number from 0 to 5000"),
        (("replace", "/*/*/throttling/burstLimit", "\u00b2"), "expected a whole number from 0 to 5000"),
        (("replace", "/*/*/caching/ttlInSeconds", "3601"), "expected a whole number from 0 to 3600"),
        (("replace", "/*/*/caching/enabled", "yes"), "expected true or false"),
        (("replace", "/*/*/logging/loglevel", "INFO"), "localcloud's stages have OFF for /*/*/logging/loglevel"),
        (("replace", "/*/*/logging/dataTrace", "true"), "localcloud writes no execution logs"),
        (
            ("replace", "/*/*/caching/unauthorizedCacheControlHeaderStrategy", "FAIL_WITH_403"),
            "localcloud's stages have SUCCEED_WITH_RESPONSE_HEADER",
        ),
        (("replace", "/*/*/throttling", "1"), "Invalid patch path '/*/*/throttling' specified for op 'replace'"),
        (("replace", "/*/*/speed/limit", "1"), "Must be one of: [/accessLogSettings, "),
        (("remove", "/*/*/throttling/rateLimit"), "specified for op 'remove'"),
        (("replace", "/~1a/*/metrics/enabled", "true"), "Only /*/* stands for more than one method"),
        (("replace", "/*/GET/metrics/enabled", "true"), "Only /*/* stands for more than one method"),
        (("replace", "/~1b/GET/metrics/enabled", "true"), "Invalid method identifier specified: the deployment has no"),
        (("replace", "/~1a/PUT/metrics/enabled", "true"), "has no method a/PUT"),
        (("replace", "/deploymentId", "nothing"), "Deployment id does not exist"),
        (("replace", "/cacheClusterSize", "1"), "Invalid cache cluster size specified: '1'; expected one of 0.5, 1.6"),
        (("replace", "/variables/a-b", "1"), "Stage variable name 'a-b' is not valid"),
        (("replace", "/variables/a", "x y"), "Stage variable value of a is not valid: 'x y'"),
        (("replace", "/clientCertificateId", "x"), "Invalid patch path '/clientCertificateId'"),
        (("replace", "/canarySettings/percentTraffic", "5"), "Invalid patch path '/canarySettings/percentTraffic'"),
        (("copy", "/deploymentId", "x"), "Invalid patch operation specified: copy"),
        (("replace", "deploymentId", "x"), "Invalid patch path 'deploymentId'; it begins with a slash"),
        (("replace", "/description"), "replace of /description has no value"),
    ],
)  # fmt: skip
def test_settings_that_are_refused(api: Api, patch: tuple[str, ...], expected: str) -> None:
    api_id = api.made()
    before = api.call("GetStage", restApiId=api_id, stageName="prod")
    assert expected in api.refused(api_id, ("replace", "/description", "not to be kept"), patch)
    assert api.call("GetStage", restApiId=api_id, stageName="prod") == before


def test_settings_of_a_method_that_a_new_deployment_has_not_stay_and_have_no_effect(api: Api) -> None:
    api_id = api.made()
    api.patch(api_id, ("replace", "/~1a/GET/metrics/enabled", "true"))
    api.call("PutRestApi", restApiId=api_id, mode="overwrite", body=document("/b"))
    api.call("CreateDeployment", restApiId=api_id, stageName="prod")
    assert api.settings(api_id, "/b") == MethodSettings()
    assert "a/GET" in api.call("GetStage", restApiId=api_id, stageName="prod")["methodSettings"]


def test_cache_variables_and_tracing(api: Api) -> None:
    api_id = api.made()
    stage = api.patch(
        api_id,
        ("replace", "/cacheClusterEnabled", "true"),
        ("replace", "/tracingEnabled", "true"),
        ("add", "/variables/a", "1"),
        ("replace", "/variables/b", "2"),
        ("remove", "/variables/a"),
    )
    assert (stage["cacheClusterStatus"], stage["cacheClusterSize"]) == ("AVAILABLE", "0.5")
    deployed = api.stages.deployed(api_id, "prod")
    assert deployed is not None
    assert (deployed.cache_bytes, deployed.tracing, deployed.variables) == (512 * 1024**2, True, {"b": "2"})
    api.patch(api_id, ("replace", "/cacheClusterEnabled", "false"))
    deployed = api.stages.deployed(api_id, "prod")
    assert deployed is not None
    assert deployed.cache_bytes == 0


def test_the_cache_is_flushed_of_the_stage_that_is_named(api: Api) -> None:
    api_id, flushed = api.made(), []
    api.stages.flushed(lambda *key: flushed.append(key))
    api.call("FlushStageCache", restApiId=api_id, stageName="prod")
    assert flushed == [(api_id, "prod")]
    assert api.error("FlushStageCache", restApiId=api_id, stageName="x")[0] == "NotFoundException"


def test_an_access_log_needs_the_role_of_the_account(api: Api) -> None:
    api_id = api.made()
    log = (
        ("replace", "/accessLogSettings/destinationArn", f"{GROUP}:*"),
        ("replace", "/accessLogSettings/format", FORMAT),
    )
    assert api.refused(api_id, *log) == "CloudWatch Logs role ARN must be set in account settings to enable logging"
    api.context.store.put("apigateway/account", "account", {"cloudwatchRoleArn": ROLE})
    stage = api.patch(api_id, *log)
    assert stage["accessLogSettings"] == {"destinationArn": GROUP, "format": FORMAT}
    deployed = api.stages.deployed(api_id, "prod")
    assert deployed is not None
    assert (deployed.access_log_group, deployed.access_log_format) == ("/api/access", FORMAT)
    api.patch(api_id, ("remove", "/accessLogSettings"))
    deployed = api.stages.deployed(api_id, "prod")
    assert deployed is not None
    assert (deployed.access_log_group, deployed.access_log_format) == (None, "")


@pytest.mark.parametrize(
    ("arn", "text", "expected"),
    [
        ("", FORMAT, "Invalid ARN specified in the request"),
        (
            "arn:aws:firehose:eu-west-1:123456789012:deliverystream/amazon-apigateway-x",
            FORMAT,
            "writes access logs to a",
        ),
        (GROUP.replace("eu-west-1", "us-east-1"), FORMAT, "Invalid ARN specified in the request"),
        (f"{GROUP}:log-stream:x", FORMAT, "Invalid ARN specified in the request"),
        (GROUP, "$context.status", "must contain at least $context.requestId"),
        (GROUP, "", "must contain at least $context.requestId"),
        (GROUP, f"{FORMAT}\n{FORMAT}", "must be single line"),
        (GROUP, f"{FORMAT} $context.nonsense", "$context.nonsense"),
    ],
)
def test_access_logs_that_are_refused(api: Api, arn: str, text: str, expected: str) -> None:
    api.context.store.put("apigateway/account", "account", {"cloudwatchRoleArn": ROLE})
    api_id = api.made()
    patches = (
        ("replace", "/accessLogSettings/destinationArn", arn),
        ("replace", "/accessLogSettings/format", text),
    )
    assert expected in api.refused(api_id, *patches)


# --- deployments -----------------------------------------------------------------------------------------------------


def test_a_web_acl_goes_with_its_stage(tmp_path: Path) -> None:
    context = surroundings(tmp_path)
    firewall = Waf(context)
    api = Api(context, firewall)

    def firewalls(operation: str, **params: Any) -> dict[str, Any]:
        return firewall.operations[operation](Request("wafv2", operation, params))

    visibility = {"CloudWatchMetricsEnabled": False, "SampledRequestsEnabled": False, "MetricName": "m"}
    acl = firewalls(
        "CreateWebACL", Name="a", Scope="REGIONAL", DefaultAction={"Block": {}}, VisibilityConfig=visibility
    )["Summary"]
    api_id = api.made()
    arn = f"arn:aws:apigateway:eu-west-1::/restapis/{api_id}/stages/prod"
    for delete, named in (("DeleteStage", {"stageName": "prod"}), ("DeleteRestApi", {})):
        firewalls("AssociateWebACL", WebACLArn=acl["ARN"], ResourceArn=arn)
        assert not firewall.inspect(arn, HttpRequest("GET", "/prod/a")).allowed
        api.call(delete, restApiId=api_id, **named)
        # Also for a stage of the same name, if one is made later.
        assert firewall.inspect(arn, HttpRequest("GET", "/prod/a")) is PASSED
        assert firewalls("ListResourcesForWebACL", WebACLArn=acl["ARN"], ResourceType="API_GATEWAY") == {
            "ResourceArns": []
        }
        if delete == "DeleteStage":
            api.call("CreateDeployment", restApiId=api_id, stageName="prod")
    firewalls("DeleteWebACL", Name="a", Scope="REGIONAL", Id=acl["Id"], LockToken=acl["LockToken"])


def test_a_deployment_that_a_stage_answers_by_is_not_deleted(api: Api) -> None:
    api_id = api.made()
    (deployment,) = api.call("GetDeployments", restApiId=api_id)["items"]
    named = {"restApiId": api_id, "deploymentId": deployment["id"]}
    assert api.error("DeleteDeployment", **named) == (
        "BadRequestException", "Active stages pointing to this deployment must be moved or deleted",
    )  # fmt: skip
    api.call("CreateDeployment", restApiId=api_id, stageName="prod")
    api.call("DeleteDeployment", **named)
    assert api.error("GetDeployment", **named) == ("NotFoundException", "Invalid Deployment identifier specified")


def test_what_cannot_be_deployed(api: Api) -> None:
    empty = api.call("CreateRestApi", name="empty")["id"]
    assert api.error("CreateDeployment", restApiId=empty)[1] == "The REST API doesn't contain any methods"
    body = json.dumps({"openapi": "3.0.1", "info": {"title": "t"}, "paths": {"/a": {"get": {}}}}).encode()
    api_id = api.call("ImportRestApi", body=body)["id"]
    assert api.error("CreateDeployment", restApiId=api_id)[1] == "No integration defined for method GET /a"
    whole = api.call("ImportRestApi", body=document())["id"]
    assert "stageName is missing" in api.error("CreateDeployment", restApiId=whole, tracingEnabled=True)[1]
    assert "canarySettings" in api.error("CreateDeployment", restApiId=whole, canarySettings={"percentTraffic": 5})[1]
    assert "only allows" in api.error("CreateDeployment", restApiId=whole, stageName="a/b")[1]
    assert api.call("GetDeployments", restApiId=whole)["items"] == [], "what is refused leaves nothing"


def test_a_stage_is_created_once(api: Api) -> None:
    api_id = api.made()
    deployment = api.call("GetStage", restApiId=api_id, stageName="prod")["deploymentId"]
    named = {"restApiId": api_id, "deploymentId": deployment}
    assert api.error("CreateStage", stageName="prod", **named) == ("ConflictException", "Stage already exists")
    api.call("CreateStage", stageName="test", cacheClusterEnabled=True, cacheClusterSize="1.6", **named)
    stages = api.call("GetStages", restApiId=api_id, deploymentId=deployment)["item"]
    assert [(stage["stageName"], stage.get("cacheClusterSize")) for stage in stages] == [
        ("prod", None),
        ("test", "1.6"),
    ]
    assert api.call("GetStages", restApiId=api_id, deploymentId="other") == {"item": []}
    assert "documentationVersion" in api.error("CreateStage", stageName="x", documentationVersion="1", **named)[1]


# --- APIs ------------------------------------------------------------------------------------------------------------


def test_lists_come_in_pages(api: Api) -> None:
    made = [api.call("CreateRestApi", name=f"api-{number}")["id"] for number in range(5)]
    first = api.call("GetRestApis", limit=3)
    second = api.call("GetRestApis", limit=3, position=first["position"])
    assert [one["id"] for one in (*first["items"], *second["items"])] == made
    assert second["position"] is None
    assert api.error("GetRestApis", position="nonsense") == ("BadRequestException", "Invalid position parameter")
    assert "limit" in api.error("GetRestApis", limit=501)[1]


@pytest.mark.parametrize(
    ("operation", "params", "expected"),
    [
        ("CreateRestApi", {"name": "a", "endpointConfiguration": {"types": ["EDGE"]}}, "are REGIONAL; got EDGE"),
        ("CreateRestApi", {"name": "a", "minimumCompressionSize": 0}, "have no minimumCompressionSize; got 0"),
        ("CreateRestApi", {"name": "a", "policy": "{}"}, "have no policy; got '{}'"),
        ("CreateRestApi", {"name": "a", "apiKeySource": "AUTHORIZER"}, "have no apiKeySource; got 'AUTHORIZER'"),
        ("ImportRestApi", {"body": document(), "parameters": {"ignore": "documentation"}}, "has no parameter ignore"),
        ("ImportRestApi", {"body": document(), "parameters": {"endpointConfigurationTypes": "EDGE"}}, "got EDGE"),
        ("PutRestApi", {"restApiId": "x", "body": document()}, "by mode=overwrite; got 'merge'"),
        ("PutRestApi", {"restApiId": "x", "body": document(), "mode": "merge"}, "by mode=overwrite; got 'merge'"),
    ],
)
def test_what_apis_have_not_is_refused(api: Api, operation: str, params: dict[str, Any], expected: str) -> None:
    code, message = api.error(operation, **params)
    assert (code, expected in message) == ("BadRequestException", True), message


def test_a_refused_document_leaves_the_api_as_it_was(api: Api) -> None:
    api_id = api.made()
    before = api.call("GetResources", restApiId=api_id, embed=["methods"])
    body = document("/b", **{"x-amazon-apigateway-policy": {}})
    assert "x-amazon-apigateway-policy" in api.error("PutRestApi", restApiId=api_id, mode="overwrite", body=body)[1]
    assert api.call("GetResources", restApiId=api_id, embed=["methods"]) == before


def test_binary_media_types_are_changed_one_by_one(api: Api) -> None:
    api_id = api.made()
    patches = [
        {"op": "add", "path": "/binaryMediaTypes/image~1png"},
        {"op": "add", "path": "/binaryMediaTypes/a~1b"},
        {"op": "replace", "path": "/binaryMediaTypes/a~1b", "value": "c/d"},
    ]
    found = api.call("UpdateRestApi", restApiId=api_id, patchOperations=patches)
    assert found["binaryMediaTypes"] == ["image/png", "c/d"]
    deployed = api.stages.deployed(api_id, "prod")
    assert deployed is not None
    assert deployed.binary_media_types == (), "until it is deployed"
    gone = [{"op": "remove", "path": "/binaryMediaTypes/c~1d"}]
    found = api.call("UpdateRestApi", restApiId=api_id, patchOperations=gone)
    assert found["binaryMediaTypes"] == ["image/png"]


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        (
            {"op": "replace", "path": "/policy", "value": "{}"},
            "Invalid patch path '/policy' specified for op 'replace'",
        ),
        ({"op": "replace", "path": "/minimumCompressionSize", "value": "0"}, "Must be one of: [/apiKeySource, "),
        ({"op": "remove", "path": "/description"}, "Invalid patch path '/description' specified for op 'remove'"),
        ({"op": "replace", "path": "/name", "value": ""}, "Invalid name specified: it is empty"),
        ({"op": "replace", "path": "/apiKeySource", "value": "AUTHORIZER"}, "have no apiKeySource; got 'AUTHORIZER'"),
    ],
)
def test_changes_of_an_api_that_are_refused(api: Api, patch: dict[str, str], expected: str) -> None:
    code, message = api.error("UpdateRestApi", restApiId=api.made(), patchOperations=[patch])
    assert (code, expected in message) == ("BadRequestException", True), message
