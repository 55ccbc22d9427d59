"""Requests to a REST API: who gets through, what a function hears of them, and what becomes of its answer."""

from __future__ import annotations

import base64
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from tests.contract.conftest import Cloud
from tests.contract.lambda_account import Functions
from tests.contract.sagemaker_account import until

FUNCTION = """
import json, time
calls = []

def handler(event, context):
    calls.append(event["requestContext"]["requestId"])
    do = (event["queryStringParameters"] or {}).get("do")
    if do == "fail":
        raise ValueError("a secret of the function")
    if do == "rubbish":
        return {"status": 200}
    if do == "hang":
        time.sleep(1)
    if do == "grow":
        return {"statusCode": 200, "body": "x" * (7 << 20)}
    if do == "cookies":
        return {"statusCode": 201, "multiValueHeaders": {"Set-Cookie": ["a=1", "b=2"]}, "body": "made"}
    if do == "length":
        return {"statusCode": 200, "body": str(len(event["body"] or ""))}
    if do == "count":
        return {"statusCode": 200, "body": str(len(calls))}
    return {"statusCode": 200, "body": json.dumps(event)}
"""
CORS = {"gatewayresponse.header.Access-Control-Allow-Origin": "'*'"}
LOG_FORMAT = '{"id": "$context.requestId", "path": "$context.resourcePath", "status": "$context.status"}'
PASSWORD = "Sesame-0pen!"


@dataclass(frozen=True)
class Api:
    """A deployed API."""

    cloud: Cloud
    id: str
    function: str
    tokens: dict[str, str]

    def url(self, path: str) -> str:
        if self.cloud.endpoint_url is None:
            return f"https://{self.id}.execute-api.{self.cloud.region}.amazonaws.com{path}"
        return f"{self.cloud.endpoint_url}/_aws/execute-api/{self.id}{path}"

    def ask(self, path: str, verb: str = "GET", **members: Any) -> requests.Response:
        return requests.request(verb, self.url(f"/prod{path}"), timeout=60, **members)

    def said(self, path: str, **members: Any) -> tuple[int, Any]:
        """Status and message of an answer that is an error."""
        answer = self.ask(path, **members)
        return answer.status_code, answer.json()["message"]


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _document(cloud: Cloud, function: str, pool_arn: str) -> bytes:
    uri = f"arn:aws:apigateway:{cloud.region}:lambda:path/2015-03-31/functions/{function}/invocations"
    absent = function.rpartition(":")[0] + ":nothing-of-that-name"
    responses = {"200": {"description": "answered"}}

    def proxy(**members: Any) -> dict[str, Any]:
        integration = {"type": "aws_proxy", "httpMethod": "POST", "uri": uri, **members}
        return {"responses": responses, "x-amazon-apigateway-integration": integration}

    def mock(status: str, **members: str) -> dict[str, Any]:
        parameters = {
            f"method.response.header.{name.replace('_', '-')}": f"'{value}'" for name, value in members.items()
        }
        integration = {
            "type": "mock",
            "passthroughBehavior": "when_no_templates",
            "requestTemplates": {"application/json": f'{{"statusCode": {status}}}'},
            "responses": {"default": {"statusCode": status, "responseParameters": parameters}},
        }
        headers = {name.replace("_", "-"): {"schema": {"type": "string"}} for name in members}
        return {
            "responses": {status: {"description": "answered", "headers": headers}},
            "x-amazon-apigateway-integration": integration,
        }

    minutes = {"name": "minutes", "in": "query", "required": True, "schema": {"type": "string"}}
    document = {
        "openapi": "3.0.1",
        "info": {"title": "contract-requests", "version": "1"},
        "x-amazon-apigateway-request-validators": {
            "parameters": {"validateRequestBody": False, "validateRequestParameters": True},
            "bodies": {"validateRequestBody": True, "validateRequestParameters": False},
        },
        "paths": {
            "/open": {"get": proxy(), "post": proxy()},
            "/open/{id}": {
                "x-amazon-apigateway-any-method": {
                    **proxy(),
                    "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
                }
            },
            "/guarded": {
                "post": {**proxy(), "security": [{"cognito": ["api/predict", "aws.cognito.signin.user.admin"]}]},
                "options": mock("204", Access_Control_Allow_Origin="*", Access_Control_Max_Age="600"),
                "x-amazon-apigateway-any-method": mock("405", Allow="POST, OPTIONS"),
            },
            "/strict": {"get": {**proxy(), "security": [{"cognito": ["api/feedback"]}]}},
            "/keyed": {"get": {**proxy(), "security": [{"key": []}]}},
            "/slow": {"get": proxy(timeoutInMillis=100)},
            "/absent": {"get": proxy(uri=uri.replace(function, absent))},
            "/limited": {"get": proxy()},
            "/kept": {
                "get": {
                    **proxy(cacheKeyParameters=["method.request.querystring.minutes"]),
                    "parameters": [minutes],
                    "x-amazon-apigateway-request-validator": "parameters",
                }
            },
            "/checked": {
                "post": {
                    **proxy(),
                    "x-amazon-apigateway-request-validator": "bodies",
                    "requestBody": {
                        "required": True,
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}},
                    },
                }
            },
        },
        "components": {
            "schemas": {
                "Thing": {
                    "type": "object",
                    "required": ["k"],
                    "properties": {"k": {"type": "integer", "minimum": 1}},
                }
            },
            "securitySchemes": {
                "cognito": {
                    "type": "apiKey",
                    "name": "Authorization",
                    "in": "header",
                    "x-amazon-apigateway-authtype": "cognito_user_pools",
                    "x-amazon-apigateway-authorizer": {"type": "cognito_user_pools", "providerARNs": [pool_arn]},
                },
                "key": {"type": "apiKey", "name": "x-api-key", "in": "header"},
            },
        },
        "x-amazon-apigateway-gateway-responses": {
            "MISSING_AUTHENTICATION_TOKEN": {
                "statusCode": 404,
                "responseParameters": CORS,
                "responseTemplates": {"application/json": '{"message": "Not Found"}'},
            },
            "BAD_REQUEST_BODY": {
                "responseTemplates": {
                    "application/json": '{"message": $context.error.messageString,'
                    ' "error": "$context.error.validationErrorString"}'
                }
            },
            "DEFAULT_4XX": {"responseParameters": CORS},
        },
    }
    return json.dumps(document).encode()


def _tokens(cloud: Cloud, name: str) -> tuple[str, dict[str, str]]:
    """A user pool's ARN, and tokens of a user of it."""
    cognito = cloud.client("cognito-idp")
    pool = cognito.create_user_pool(PoolName=name)["UserPool"]
    client = cognito.create_user_pool_client(
        UserPoolId=pool["Id"],
        ClientName="people",
        ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
    )["UserPoolClient"]
    cognito.admin_create_user(UserPoolId=pool["Id"], Username="somebody", MessageAction="SUPPRESS")
    cognito.admin_set_user_password(UserPoolId=pool["Id"], Username="somebody", Password=PASSWORD, Permanent=True)
    found = cognito.initiate_auth(
        ClientId=client["ClientId"],
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": "somebody", "PASSWORD": PASSWORD},
    )["AuthenticationResult"]
    return pool["Arn"], {"access": found["AccessToken"], "identity": found["IdToken"]}


@pytest.fixture(scope="module")
def functions(cloud: Cloud) -> Functions:
    return Functions(cloud.client, cloud.role_arn)


@pytest.fixture(scope="module")
def api(cloud: Cloud, functions: Functions) -> Iterator[Api]:
    function = functions.create(FUNCTION)
    pool_arn, tokens = _tokens(cloud, functions.name("pool"))
    gateway = cloud.client("apigateway")
    api_id = gateway.import_rest_api(body=_document(cloud, function, pool_arn), failOnWarnings=True)["id"]
    cloud.client("lambda").add_permission(
        FunctionName=function,
        StatementId="api",
        Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
        SourceArn=f"arn:aws:execute-api:{cloud.region}:{cloud.account_id}:{api_id}/*",
    )
    gateway.create_deployment(restApiId=api_id, stageName="prod")
    yield Api(cloud, api_id, function, tokens)
    gateway.delete_rest_api(restApiId=api_id)


def test_a_function_hears_of_a_request(api: Api) -> None:
    headers = {"X-Mine": "yes", "User-Agent": "contract", "Content-Type": "application/json"}
    answer = api.ask("/open/a%20b", "PUT", params={"x": ["1", "2"]}, data='{"k": "é"}'.encode(), headers=headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    event = answer.json()
    assert (event["httpMethod"], event["resource"], event["pathParameters"]) == ("PUT", "/open/{id}", {"id": "a b"})
    assert event["multiValueQueryStringParameters"] == {"x": ["1", "2"]}
    assert (event["body"], event["isBase64Encoded"]) == ('{"k": "é"}', False)
    assert {name.lower(): value for name, value in event["headers"].items()}["x-mine"] == "yes"
    assert event["headers"]["User-Agent"] == "contract"
    context = event["requestContext"]
    assert (context["apiId"], context["stage"], context["resourcePath"]) == (api.id, "prod", "/open/{id}")
    assert context["requestId"] == answer.headers["x-amzn-RequestId"]
    assert abs(context["requestTimeEpoch"] / 1000 - datetime.now(UTC).timestamp()) < 366 * 86_400
    assert "authorizer" not in context


def test_a_function_says_the_answer(api: Api) -> None:
    answer = api.ask("/open?do=cookies", "POST")
    assert (answer.status_code, answer.text) == (201, "made")
    assert answer.raw.headers.getlist("set-cookie") == ["a=1", "b=2"]
    # Of the answer to HEAD there is no body.
    answer = api.ask("/open/7?do=count", "HEAD")
    assert (answer.status_code, answer.content) == (200, b"")


def test_a_token_opens_what_its_scope_is_for(api: Api) -> None:
    answer = api.ask("/guarded", "POST", headers=_bearer(api.tokens["access"]))
    assert answer.status_code == 200
    claims = answer.json()["requestContext"]["authorizer"]["claims"]
    assert (claims["token_use"], claims["username"]) == ("access", "somebody")
    assert claims["exp"].split()[4] == "UTC"
    # Without `Bearer` it is the same token.
    assert api.ask("/guarded", "POST", headers={"Authorization": api.tokens["access"]}).status_code == 200
    answer = api.ask("/strict", headers=_bearer(api.tokens["access"]))
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (403, "*")


def test_no_token_that_counts_opens_nothing(api: Api) -> None:
    head, payload, signature = api.tokens["access"].split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    forged = base64.urlsafe_b64encode(json.dumps({**claims, "scope": "api/feedback"}).encode()).decode().rstrip("=")
    none = base64.urlsafe_b64encode(b'{"alg": "none"}').decode().rstrip("=")
    for token in (
        f"{head}.{forged}.{signature}",
        f"{none}.{payload}.",
        api.tokens["identity"],
        api.tokens["access"][:-9],
        "x" * 5_000,
    ):
        assert api.said("/guarded", verb="POST", headers=_bearer(token)) == (401, "Unauthorized")
    assert api.said("/guarded", verb="POST") == (401, "Unauthorized")


def test_paths_and_methods_that_are_not_there(api: Api) -> None:
    answer = api.ask("/nothing")
    assert (answer.status_code, answer.json()) == (404, {"message": "Not Found"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["x-amzn-ErrorType"] == "MissingAuthenticationTokenException"
    assert api.ask("/open", "DELETE").status_code == 404
    # With a header that would be a signature's, AWS looks for the signature first.
    assert api.ask("/nothing", headers=_bearer(api.tokens["access"])).status_code == 403
    answer = requests.get(api.url("/dev/open"), timeout=60)
    assert (answer.status_code, answer.json()) == (403, {"message": "Forbidden"})


def test_what_is_written_in_the_api(api: Api) -> None:
    answer = api.ask("/guarded", "OPTIONS", headers={"Origin": "https://example.org"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert (answer.headers["access-control-allow-origin"], answer.headers["access-control-max-age"]) == ("*", "600")
    answer = api.ask("/guarded", "DELETE")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST, OPTIONS")
    assert api.ask("/guarded", "PUT", data="x", headers={"Content-Type": "text/plain"}).status_code == 415


def test_a_function_that_fails_says_nothing_to_the_caller(api: Api) -> None:
    for do in ("fail", "rubbish", "grow"):
        assert api.said("/open", params={"do": do}) == (502, "Internal server error")


def test_a_slow_function_is_not_waited_for(api: Api) -> None:
    assert api.said("/slow", params={"do": "hang"}) == (504, "Endpoint request timed out")


def test_a_function_that_is_not_there_or_lets_nobody_in(api: Api, functions: Functions) -> None:
    assert api.said("/absent") == (500, "Internal server error")
    client = api.cloud.client("lambda")
    statement = json.loads(json.loads(json.dumps(client.get_policy(FunctionName=api.function)["Policy"])))["Statement"][
        0
    ]
    client.remove_permission(FunctionName=api.function, StatementId="api")
    try:
        assert api.said("/open") == (500, "Internal server error")
    finally:
        client.add_permission(
            FunctionName=api.function,
            StatementId="api",
            Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com",
            SourceArn=statement["Condition"]["ArnLike"]["AWS:SourceArn"],
        )
    assert api.ask("/open").status_code == 200


def test_large_bodies(api: Api) -> None:
    answer = api.ask("/open?do=length", "POST", data=b"x" * 5_000_000)
    assert (answer.status_code, answer.text) == (200, "5000000")
    # Lambda takes 6 MB, API Gateway 10.
    for size in (7, 11):
        assert api.said("/open", verb="POST", data=b"x" * (size << 20)) == (413, "Request Too Long")


def test_requests_are_validated(api: Api) -> None:
    assert api.said("/kept") == (400, "Missing required request parameters: [minutes]")
    answer = api.ask("/checked", "POST", json={"k": 0})
    assert (answer.status_code, answer.json()) == (
        400,
        {
            "message": "Invalid request body",
            "error": "[numeric instance is lower than the required minimum (minimum: 1, found: 0)]",
        },
    )
    assert api.ask("/checked", "POST", json={"k": 1}).status_code == 200


def test_keys_and_their_plans(api: Api) -> None:
    gateway = api.cloud.client("apigateway")
    assert api.said("/keyed") == (403, "Forbidden")
    key = gateway.create_api_key(name="contract-requests", enabled=True)
    plan = gateway.create_usage_plan(
        name="contract-requests",
        apiStages=[{"apiId": api.id, "stage": "prod"}],
        quota={"limit": 2, "period": "MONTH"},
    )
    try:
        headers = {"x-api-key": key["value"]}
        assert api.said("/keyed", headers=headers) == (403, "Forbidden")
        gateway.create_usage_plan_key(usagePlanId=plan["id"], keyId=key["id"], keyType="API_KEY")
        answer = api.ask("/keyed", headers=headers)
        assert answer.json()["requestContext"]["identity"]["apiKeyId"] == key["id"]
        assert api.ask("/keyed", headers=headers).status_code == 200
        assert api.said("/keyed", headers=headers) == (429, "Limit Exceeded")
        assert api.said("/keyed", headers={"x-api-key": "nobody's key at all"}) == (403, "Forbidden")
    finally:
        stage = {"op": "remove", "path": "/apiStages", "value": f"{api.id}:prod"}
        gateway.update_usage_plan(usagePlanId=plan["id"], patchOperations=[stage])
        gateway.delete_usage_plan(usagePlanId=plan["id"])
        gateway.delete_api_key(apiKey=key["id"])


def test_a_limit_and_a_cache_by_the_stages_settings(api: Api) -> None:
    gateway = api.cloud.client("apigateway")

    def change(**patches: str) -> None:
        operations = [{"op": "replace", "path": path, "value": value} for path, value in patches.items()]
        gateway.update_stage(restApiId=api.id, stageName="prod", patchOperations=operations)

    change(**{"/~1limited/GET/throttling/rateLimit": "0.001", "/~1limited/GET/throttling/burstLimit": "2"})
    assert [api.ask("/limited").status_code for _ in range(4)] == [200, 200, 429, 429]
    assert api.said("/limited") == (429, "Too Many Requests")
    change(
        **{
            "/cacheClusterEnabled": "true",
            "/cacheClusterSize": "0.5",
            "/~1kept/GET/caching/enabled": "true",
            "/~1kept/GET/caching/ttlInSeconds": "300",
        }
    )
    first = api.ask("/kept?minutes=30&do=count").text
    assert api.ask("/kept?minutes=30&do=count").text == first
    second = api.ask("/kept?minutes=31&do=count").text
    assert second != first
    gateway.flush_stage_cache(restApiId=api.id, stageName="prod")
    assert api.ask("/kept?minutes=30&do=count").text not in (first, second)
    change(**{"/cacheClusterEnabled": "false"})
    third = api.ask("/kept?minutes=30&do=count").text
    assert api.ask("/kept?minutes=30&do=count").text != third


def test_requests_are_measured_and_logged(api: Api, functions: Functions) -> None:
    cloud = api.cloud
    gateway, logs, iam = cloud.client("apigateway"), cloud.client("logs"), cloud.client("iam")
    name = functions.name("writes-logs")
    trust = {"Effect": "Allow", "Principal": {"Service": "apigateway.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(
        RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )["Role"]["Arn"]
    statement = {"Effect": "Allow", "Action": "logs:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_role_policy(RoleName=name, PolicyName="logs", PolicyDocument=policy)
    gateway.update_account(patchOperations=[{"op": "replace", "path": "/cloudwatchRoleArn", "value": role}])
    logs.create_log_group(logGroupName=name)
    arn = f"arn:aws:logs:{cloud.region}:{cloud.account_id}:log-group:{name}"
    gateway.update_stage(
        restApiId=api.id,
        stageName="prod",
        patchOperations=[
            {"op": "replace", "path": "/accessLogSettings/destinationArn", "value": arn},
            {"op": "replace", "path": "/accessLogSettings/format", "value": LOG_FORMAT},
        ],
    )
    answers = [api.ask("/open"), api.ask("/nothing"), api.ask("/open?do=fail")]

    def lines() -> list[Any]:
        events = logs.filter_log_events(logGroupName=name)["events"]
        return [json.loads(event["message"]) for event in events]

    until(lambda: len(lines()) == 3, "a line of each request")
    wanted = [("/open", "200"), ("-", "404"), ("/open", "502")]
    assert lines() == [
        {"id": answer.headers["x-amzn-RequestId"], "path": path, "status": status}
        for answer, (path, status) in zip(answers, wanted, strict=True)
    ]
    now = datetime.now(UTC)

    def total(metric: str) -> float:
        points = cloud.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/ApiGateway",
            MetricName=metric,
            Dimensions=[{"Name": "ApiName", "Value": "contract-requests"}, {"Name": "Stage", "Value": "prod"}],
            StartTime=now - timedelta(days=400),
            EndTime=now + timedelta(days=400),
            Period=86_400,
            Statistics=["Sum"],
        )["Datapoints"]
        return float(sum(point["Sum"] for point in points))

    assert total("Count") >= 3
    assert total("4XXError") >= 1
    assert total("5XXError") >= 1


def test_many_at_once(api: Api) -> None:
    found: list[tuple[int, str]] = []

    def ask(number: int) -> None:
        answer = api.ask(f"/open/{number}")
        found.append((number, answer.json()["pathParameters"]["id"]))

    api.ask("/open/0")
    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [(number, str(number)) for number in range(8)]


def test_a_page_of_any_origin_may_ask_and_a_badly_encoded_path_may_not(api: Api, localcloud_only: None) -> None:
    assert api.ask("/open", headers={"Origin": "https://example.org"}).status_code == 200
    request = urllib.request.Request(api.url("/prod/open/%zz"))
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=60)
    assert (refused.value.code, json.load(refused.value)) == (400, {"message": "Bad Request"})
    refused.value.close()


def test_a_web_acl_stands_before_it_all(api: Api, functions: Functions) -> None:
    waf = api.cloud.client("wafv2")
    visibility = {"SampledRequestsEnabled": False, "CloudWatchMetricsEnabled": False, "MetricName": "contract"}
    group = {"VendorName": "AWS", "Name": "AWSManagedRulesCommonRuleSet"}
    acl = waf.create_web_acl(
        Name=functions.name("acl"),
        Scope="REGIONAL",
        DefaultAction={"Allow": {}},
        VisibilityConfig=visibility,
        Rules=[
            {
                "Name": "common",
                "Priority": 0,
                "Statement": {"ManagedRuleGroupStatement": group},
                "OverrideAction": {"None": {}},
                "VisibilityConfig": visibility,
            }
        ],
    )["Summary"]
    stage = f"arn:aws:apigateway:{api.cloud.region}::/restapis/{api.id}/stages/prod"
    waf.associate_web_acl(WebACLArn=acl["ARN"], ResourceArn=stage)
    try:
        # More than a query may have.
        assert api.said("/open", params={"x": "y" * 3_000}) == (403, "Forbidden")
        assert api.ask("/open").status_code == 200
    finally:
        waf.disassociate_web_acl(ResourceArn=stage)
        waf.delete_web_acl(Name=acl["Name"], Scope="REGIONAL", Id=acl["Id"], LockToken=acl["LockToken"])
