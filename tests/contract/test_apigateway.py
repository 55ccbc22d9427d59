"""API Gateway: APIs that are imported, deployed and changed; keys and usage plans; and all of it in stacks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.contract.sagemaker_account import Account, error_of
from tests.contract.stacks import Stacks

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "apigateway.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}
NO_TRUST = {**TRUST, "Statement": [{**TRUST["Statement"][0], "Principal": {"Service": "lambda.amazonaws.com"}}]}  # type: ignore[dict-item]
OTHER_TRUST = {**TRUST, "Statement": [{**TRUST["Statement"][0], "Action": "sts:TagSession"}]}  # type: ignore[dict-item]
HEADERS = {"X-A": {"schema": {"type": "string"}}}
FORMAT = '{"id": "$context.requestId", "status": "$context.status"}'


def mock(status: int = 200, **members: Any) -> dict[str, Any]:
    """An operation with a fixed answer."""
    integration = {
        "type": "mock",
        "requestTemplates": {"application/json": json.dumps({"statusCode": status})},
        "responses": {
            "default": {"statusCode": str(status), "responseParameters": {"method.response.header.X-A": "'a'"}}
        },
    }
    return {
        "responses": {str(status): {"description": "d", "headers": HEADERS}},
        "x-amazon-apigateway-integration": integration,
        **members,
    }


def document(**paths: Any) -> dict[str, Any]:
    """A document with paths, each given without its slash."""
    found = {f"/{path}": item for path, item in paths.items()} or {"/a": {"get": mock()}}
    return {"openapi": "3.0.1", "info": {"title": "contract", "version": "1"}, "paths": found}


def replace(path: str, value: str) -> dict[str, str]:
    return {"op": "replace", "path": path, "value": value}


@pytest.fixture(scope="module")
def account(cloud: Any) -> Account:
    """The account under test."""
    return Account.of(cloud)


@pytest.fixture(scope="module")
def gateway(account: Account) -> Any:
    return account.client("apigateway")


@pytest.fixture
def new_api(gateway: Any) -> Iterator[Callable[..., str]]:
    """Imports a document; gives the API's id."""
    made: list[str] = []

    def make(given: dict[str, Any] | None = None) -> str:
        body = json.dumps(given or document()).encode()
        answer = gateway.import_rest_api(body=body, parameters={"endpointConfigurationTypes": "REGIONAL"})
        made.append(answer["id"])
        return made[-1]

    yield make
    for api_id in made:
        gateway.delete_rest_api(restApiId=api_id)


def role(account: Account, policy: dict[str, Any]) -> str:
    iam = account.client("iam")
    made = iam.create_role(RoleName=account.name("role"), AssumeRolePolicyDocument=json.dumps(policy))
    return str(made["Role"]["Arn"])


# --- APIs ------------------------------------------------------------------------------------------------------------


def test_an_imported_api_has_what_its_document_says(gateway: Any, new_api: Callable[..., str]) -> None:
    parameters = [{"name": "n", "in": "query", "required": True, "schema": {"type": "string"}}]
    given = document(**{"a/{id}": {"get": mock(parameters=parameters), "x-amazon-apigateway-any-method": mock(405)}})
    given["components"] = {"schemas": {"Thing": {"type": "object"}}}
    api_id = new_api(given)
    api = gateway.get_rest_api(restApiId=api_id)
    assert (api["name"], api["version"], api["endpointConfiguration"]["types"]) == ("contract", "1", ["REGIONAL"])
    found = {one["path"]: one for one in gateway.get_resources(restApiId=api_id, embed=["methods"])["items"]}
    assert set(found) == {"/", "/a", "/a/{id}"}
    assert found["/"]["id"] == api["rootResourceId"]
    assert set(found["/a/{id}"]["resourceMethods"]) == {"GET", "ANY"}
    resource = {"restApiId": api_id, "resourceId": found["/a/{id}"]["id"]}
    method = gateway.get_method(**resource, httpMethod="GET")
    assert method["requestParameters"] == {"method.request.querystring.n": True}
    assert gateway.get_integration(**resource, httpMethod="ANY")["type"] == "MOCK"
    assert gateway.get_resource(**resource)["pathPart"] == "{id}"
    assert error_of(gateway.get_method, **resource, httpMethod="PUT")[0] == "NotFoundException"
    assert [one["name"] for one in gateway.get_models(restApiId=api_id)["items"]] == ["Thing"]
    assert gateway.get_authorizers(restApiId=api_id)["items"] == []
    assert gateway.get_request_validators(restApiId=api_id)["items"] == []
    kinds = {one["responseType"]: one for one in gateway.get_gateway_responses(restApiId=api_id)["items"]}
    assert kinds["THROTTLED"]["defaultResponse"]
    assert kinds["THROTTLED"]["statusCode"] == "429"


def test_a_document_in_place_of_another(gateway: Any, new_api: Callable[..., str]) -> None:
    api_id = new_api()
    before = {one["path"]: one["id"] for one in gateway.get_resources(restApiId=api_id)["items"]}
    body = json.dumps(document(a={"post": mock()}, b={"get": mock()})).encode()
    assert gateway.put_rest_api(restApiId=api_id, mode="overwrite", body=body)["id"] == api_id
    found = {one["path"]: one for one in gateway.get_resources(restApiId=api_id)["items"]}
    assert set(found) == {"/", "/a", "/b"}
    assert set(found["/a"]["resourceMethods"]) == {"POST"}
    assert {path: found[path]["id"] for path in before} == before


def test_a_wrong_document_is_refused_by_name(gateway: Any) -> None:
    given = document(a={"get": {"x-amazon-apigateway-integration": {"type": "http"}}})
    code, message = error_of(gateway.import_rest_api, body=json.dumps(given).encode())
    assert code == "BadRequestException"
    assert "paths./a.get.x-amazon-apigateway-integration.type: is 'http'" in message


def test_what_is_not_here_says_so(gateway: Any, localcloud_only: None) -> None:
    code, message = error_of(
        gateway.put_method, restApiId="a", resourceId="b", httpMethod="GET", authorizationType="NONE"
    )
    assert (code, message.startswith("localcloud does not implement the operation PutMethod")) == (
        "UnknownOperationException", True,
    )  # fmt: skip


# --- deployments and stages ------------------------------------------------------------------------------------------


def test_a_stage_moves_from_deployment_to_deployment(gateway: Any, new_api: Callable[..., str]) -> None:
    api_id = new_api()
    first = gateway.create_deployment(restApiId=api_id, description="first")["id"]
    stage = gateway.create_stage(
        restApiId=api_id, stageName="prod", deploymentId=first, variables={"a": "1"}, tags={"t": "1"}
    )
    assert stage["deploymentId"] == first
    second = gateway.create_deployment(restApiId=api_id)["id"]
    assert error_of(gateway.delete_deployment, restApiId=api_id, deploymentId=first) == (
        "BadRequestException", "Active stages pointing to this deployment must be moved or deleted",
    )  # fmt: skip
    patches = [
        replace("/deploymentId", second), replace("/*/*/throttling/rateLimit", "5"), replace("/variables/b", "2"),
        replace("/~1a/GET/caching/enabled", "true"), replace("/cacheClusterEnabled", "true"),
    ]  # fmt: skip
    stage = gateway.update_stage(restApiId=api_id, stageName="prod", patchOperations=patches)
    assert (stage["deploymentId"], stage["variables"]) == (second, {"a": "1", "b": "2"})
    assert stage["methodSettings"]["a/GET"]["cachingEnabled"]
    assert stage["methodSettings"]["*/*"]["throttlingRateLimit"] == 5
    assert stage["cacheClusterStatus"] == "AVAILABLE"
    gateway.delete_deployment(restApiId=api_id, deploymentId=first)
    patch = [replace("/description", "second")]
    gateway.update_deployment(restApiId=api_id, deploymentId=second, patchOperations=patch)
    assert gateway.get_deployment(restApiId=api_id, deploymentId=second)["description"] == "second"
    assert [one["id"] for one in gateway.get_deployments(restApiId=api_id)["items"]] == [second]
    gateway.flush_stage_cache(restApiId=api_id, stageName="prod")
    gateway.delete_stage(restApiId=api_id, stageName="prod")
    assert gateway.get_stages(restApiId=api_id)["item"] == []
    assert error_of(gateway.get_stage, restApiId=api_id, stageName="prod") == (
        "NotFoundException", "Invalid Stage identifier specified",
    )  # fmt: skip


def test_tags(gateway: Any, account: Account, new_api: Callable[..., str]) -> None:
    api_id = new_api()
    gateway.create_deployment(restApiId=api_id, stageName="prod")
    api_arn = f"arn:aws:apigateway:{account.region}::/restapis/{api_id}"
    for arn in (api_arn, f"{api_arn}/stages/prod"):
        gateway.tag_resource(resourceArn=arn, tags={"a": "1", "b": "2"})
        gateway.untag_resource(resourceArn=arn, tagKeys=["a", "c"])
        assert gateway.get_tags(resourceArn=arn)["tags"] == {"b": "2"}
    assert gateway.get_rest_api(restApiId=api_id)["tags"] == {"b": "2"}
    assert gateway.get_stage(restApiId=api_id, stageName="prod")["tags"] == {"b": "2"}
    code, message = error_of(gateway.get_tags, resourceArn=f"{api_arn}x")
    assert (code, message.endswith(f"{api_id}x")) == ("NotFoundException", True)
    wrong = f"arn:aws:apigateway:{account.region}::/domainnames/x"
    assert error_of(gateway.tag_resource, resourceArn=wrong, tags={})[0] == "BadRequestException"


def test_the_role_that_writes_access_logs(gateway: Any, account: Account, new_api: Callable[..., str]) -> None:
    api_id = new_api()
    gateway.create_deployment(restApiId=api_id, stageName="prod")
    group = f"arn:aws:logs:{account.region}:{account.number}:log-group:{account.name('access')}"
    log = [replace("/accessLogSettings/destinationArn", group), replace("/accessLogSettings/format", FORMAT)]
    asked = {"restApiId": api_id, "stageName": "prod", "patchOperations": log}
    gateway.update_account(patchOperations=[replace("/cloudwatchRoleArn", "")])
    assert "cloudwatchRoleArn" not in gateway.get_account()
    assert error_of(gateway.update_stage, **asked) == (
        "BadRequestException", "CloudWatch Logs role ARN must be set in account settings to enable logging",
    )  # fmt: skip
    missing = f"arn:aws:iam::{account.number}:role/{account.name('missing')}"
    for arn in (missing, role(account, NO_TRUST), role(account, OTHER_TRUST)):
        code, message = error_of(gateway.update_account, patchOperations=[replace("/cloudwatchRoleArn", arn)])
        assert code == "BadRequestException"
        assert message.startswith("The role ARN does not have required permissions configured")
    arn = role(account, TRUST)
    assert gateway.update_account(patchOperations=[replace("/cloudwatchRoleArn", arn)])["cloudwatchRoleArn"] == arn
    assert gateway.update_stage(**asked)["accessLogSettings"] == {"destinationArn": group, "format": FORMAT}


def test_keys_and_plans(gateway: Any, new_api: Callable[..., str]) -> None:
    api_id = new_api()
    gateway.create_deployment(restApiId=api_id, stageName="prod")
    key = gateway.create_api_key(name="contract", enabled=True)
    plan = gateway.create_usage_plan(
        name="contract",
        apiStages=[{"apiId": api_id, "stage": "prod"}],
        throttle={"rateLimit": 5, "burstLimit": 10},
        quota={"limit": 100, "period": "DAY"},
    )
    member = gateway.create_usage_plan_key(usagePlanId=plan["id"], keyId=key["id"], keyType="API_KEY")
    assert (member["id"], member["value"]) == (key["id"], key["value"])
    assert [one["id"] for one in gateway.get_usage_plans(keyId=key["id"])["items"]] == [plan["id"]]
    found = gateway.get_api_keys(nameQuery="contract", includeValues=True)["items"]
    assert key["value"] in [one["value"] for one in found]
    day = "2026-01-01"
    used = gateway.get_usage(usagePlanId=plan["id"], startDate=day, endDate=day)
    assert used["items"] == {key["id"]: [[0, 100]]}
    gateway.delete_usage_plan_key(usagePlanId=plan["id"], keyId=key["id"])
    stage = [{"op": "remove", "path": "/apiStages", "value": f"{api_id}:prod"}]
    gateway.update_usage_plan(usagePlanId=plan["id"], patchOperations=stage)
    gateway.delete_usage_plan(usagePlanId=plan["id"])
    gateway.delete_api_key(apiKey=key["id"])
    assert error_of(gateway.get_api_key, apiKey=key["id"])[0] == "NotFoundException"


# --- stacks ----------------------------------------------------------------------------------------------------------


def api_stack(body: dict[str, Any], number: int = 1, **stage: Any) -> dict[str, Any]:
    """A template of an API with a stage; a new number is a new deployment."""
    name = f"Deployment{number}"
    settings: dict[str, Any] = {
        "RestApiId": {"Ref": "Api"},
        "DeploymentId": {"Ref": name},
        "StageName": "prod",
        **stage,
    }
    return {
        "Resources": {
            "Api": {
                "Type": "AWS::ApiGateway::RestApi",
                "Properties": {
                    "Name": "from-a-stack", "Body": body, "EndpointConfiguration": {"Types": ["REGIONAL"]},
                    "BinaryMediaTypes": ["image/png"], "FailOnWarnings": True, "Tags": [{"Key": "a", "Value": "1"}],
                },
            },
            name: {
                "Type": "AWS::ApiGateway::Deployment",
                "Properties": {"RestApiId": {"Ref": "Api"}, "Description": "d"},
            },
            "Stage": {"Type": "AWS::ApiGateway::Stage", "Properties": settings},
        },
        "Outputs": {
            "Api": {"Value": {"Fn::GetAtt": ["Api", "RestApiId"]}},
            "Root": {"Value": {"Fn::GetAtt": ["Api", "RootResourceId"]}},
            "Deployment": {"Value": {"Fn::GetAtt": [name, "DeploymentId"]}},
            "Stage": {"Value": {"Ref": "Stage"}},
        },
    }  # fmt: skip


def test_a_stack_with_an_api_is_made_changed_and_deleted(gateway: Any, account: Account, stacks: Stacks) -> None:
    all_methods = {
        "ResourcePath": "/*", "HttpMethod": "*", "ThrottlingRateLimit": 5, "ThrottlingBurstLimit": 10,
        "MetricsEnabled": True,
    }  # fmt: skip
    cached = {
        "ResourcePath": "/~1a", "HttpMethod": "GET", "CachingEnabled": True, "CacheTtlInSeconds": 60,
        "CacheDataEncrypted": True,
    }  # fmt: skip
    stack_id = stacks.made(
        api_stack(
            document(),
            CacheClusterEnabled=True,
            CacheClusterSize="0.5",
            TracingEnabled=True,
            Description="first",
            Variables={"a": "1", "b": "2"},
            MethodSettings=[all_methods, cached],
            Tags=[{"Key": "s", "Value": "1"}],
        )
    )
    outputs = stacks.outputs(stack_id)
    api_id = outputs["Api"]
    api = gateway.get_rest_api(restApiId=api_id)
    assert (api["name"], api["rootResourceId"], api["binaryMediaTypes"]) == (
        "from-a-stack", outputs["Root"], ["image/png"],
    )  # fmt: skip
    assert api["tags"]["a"] == "1"
    stage = gateway.get_stage(restApiId=api_id, stageName=outputs["Stage"])
    assert (stage["deploymentId"], stage["tracingEnabled"], stage["cacheClusterSize"]) == (
        outputs["Deployment"], True, "0.5",
    )  # fmt: skip
    assert stage["variables"] == {"a": "1", "b": "2"}
    assert stage["tags"]["s"] == "1"
    settings = stage["methodSettings"]
    assert settings["*/*"]["throttlingBurstLimit"] == 10
    assert (settings["a/GET"]["cachingEnabled"], settings["a/GET"]["cacheTtlInSeconds"]) == (True, 60)
    assert settings["a/GET"]["cacheDataEncrypted"]

    group = {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": account.name("access")}}
    changed = api_stack(
        document(a={"get": mock()}, b={"post": mock()}),
        number=2,
        Variables={"b": "3"},
        MethodSettings=[{**all_methods, "ThrottlingRateLimit": 7}],
        AccessLogSetting={"DestinationArn": {"Fn::GetAtt": ["Group", "Arn"]}, "Format": FORMAT},
        Tags=[{"Key": "s", "Value": "2"}],
    )
    changed["Resources"]["Group"] = group
    gateway.update_account(patchOperations=[replace("/cloudwatchRoleArn", role(account, TRUST))])
    assert stacks.update(stack_id, changed)["StackStatus"] == "UPDATE_COMPLETE", stacks.reasons(stack_id)
    assert stacks.outputs(stack_id)["Api"] == api_id
    stage = gateway.get_stage(restApiId=api_id, stageName="prod")
    assert (stage["deploymentId"], stage["variables"]) == (stacks.outputs(stack_id)["Deployment"], {"b": "3"})
    assert (stage["cacheClusterEnabled"], stage["tracingEnabled"], stage["tags"]["s"]) == (False, False, "2")
    assert set(stage["methodSettings"]) == {"*/*"}
    assert stage["methodSettings"]["*/*"]["throttlingRateLimit"] == 7
    assert stage["accessLogSettings"]["destinationArn"].endswith(group["Properties"]["LogGroupName"])  # type: ignore[index]
    deployments = gateway.get_deployments(restApiId=api_id)["items"]
    assert [one["id"] for one in deployments] == [stage["deploymentId"]], "the first one is deleted"
    named = {"restApiId": api_id, "deploymentId": stage["deploymentId"]}
    assert set(gateway.get_deployment(**named, embed=["apisummary"])["apiSummary"]) == {"/a", "/b"}
    assert "apiSummary" not in gateway.get_deployment(**named)
    assert gateway.get_rest_api(restApiId=api_id)["name"] == "from-a-stack"

    assert stacks.delete(stack_id)["StackStatus"] == "DELETE_COMPLETE"
    assert error_of(gateway.get_rest_api, restApiId=api_id)[0] == "NotFoundException"


def test_a_stack_whose_change_fails_is_as_before(gateway: Any, stacks: Stacks) -> None:
    first = api_stack(document(), Variables={"a": "1"}, TracingEnabled=True)
    stack_id = stacks.made(first)
    api_id = stacks.outputs(stack_id)["Api"]

    def state() -> Any:
        stage = gateway.get_stage(restApiId=api_id, stageName="prod")
        resources = gateway.get_resources(restApiId=api_id)["items"]
        paths = {one["path"]: set(one.get("resourceMethods", ())) for one in resources}
        return {**stage, "lastUpdatedDate": None, "ResponseMetadata": None}, paths

    before = state()
    setting = {"ResourcePath": "/~1nothing", "HttpMethod": "GET", "MetricsEnabled": True}
    wrong = api_stack(document(b={"get": mock()}), number=2, Variables={"b": "1"}, MethodSettings=[setting])
    assert stacks.update(stack_id, wrong)["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert "Invalid method identifier specified" in stacks.reasons(stack_id)["Stage"]
    assert state() == before


@pytest.mark.parametrize(
    ("body", "stage", "where", "expected"),
    [
        ({"openapi": "3.0.1"}, {}, "Api", "Invalid OpenAPI input: info.title is missing"),
        (document(a={"get": {}}), {}, "Deployment1", "No integration defined for method GET /a"),
        (document(), {"CacheClusterSize": "7", "CacheClusterEnabled": True}, "Stage", "at 'cacheClusterSize'"),
    ],
)
def test_a_stack_that_cannot_be_made_leaves_nothing(
    gateway: Any, stacks: Stacks, body: dict[str, Any], stage: dict[str, Any], where: str, expected: str
) -> None:
    before = {one["id"] for one in gateway.get_rest_apis(limit=500)["items"]}
    stack_id = stacks.create(api_stack(body, **stage))
    assert stacks.settled(stack_id)["StackStatus"] == "ROLLBACK_COMPLETE"
    assert expected in stacks.reasons(stack_id)[where]
    assert {one["id"] for one in gateway.get_rest_apis(limit=500)["items"]} == before


@pytest.mark.parametrize(
    ("resource", "properties", "expected"),
    [
        ("Api", {"MinimumCompressionSize": 0}, "MinimumCompressionSize"),
        ("Api", {"Policy": {}}, "Policy"),
        ("Stage", {"CanarySetting": {"PercentTraffic": 5}}, "CanarySetting"),
        ("Deployment1", {"StageName": "prod"}, "StageName"),
    ],
)
def test_properties_without_effect_are_refused(
    account: Account, stacks: Stacks, localcloud_only: None, resource: str, properties: dict[str, Any], expected: str
) -> None:
    given = api_stack(document())
    given["Resources"][resource]["Properties"] |= properties
    stack = {"StackName": account.name("stack"), "TemplateBody": json.dumps(given)}
    code, message = error_of(stacks.client.create_stack, **stack)
    assert (code, expected in message) == ("ValidationError", True), message


def test_the_account_keeps_its_role_when_the_stack_goes(gateway: Any, account: Account, stacks: Stacks) -> None:
    arn = role(account, TRUST)
    properties = {"CloudWatchRoleArn": arn}
    stack_id = stacks.made({"Resources": {"A": {"Type": "AWS::ApiGateway::Account", "Properties": properties}}})
    assert gateway.get_account()["cloudwatchRoleArn"] == arn
    stacks.delete(stack_id)
    assert gateway.get_account()["cloudwatchRoleArn"] == arn
