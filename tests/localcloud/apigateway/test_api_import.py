"""What an OpenAPI document becomes, and what is refused of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from localcloud.apigateway.openapi import importer
from localcloud.errors import ServiceError

REGION = "eu-west-1"
FUNCTION = f"arn:aws:lambda:{REGION}:123456789012:function:f"
POOL = f"arn:aws:cognito-idp:{REGION}:123456789012:userpool/{REGION}_abc123"
URI = f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{FUNCTION}/invocations"
INTEGRATION = "x-amazon-apigateway-integration"


def proxy(**members: Any) -> dict[str, Any]:
    return {"type": "aws_proxy", "httpMethod": "POST", "uri": URI, **members}


def mock(**members: Any) -> dict[str, Any]:
    return {
        "type": "mock",
        "requestTemplates": {"application/json": '{"statusCode": 204}'},
        "responses": {"default": {"statusCode": "204"}},
        **members,
    }


def operation(integration: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    return {"responses": {"204": {"description": "d"}}, INTEGRATION: integration or proxy(), **members}


def document(paths: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    return {
        "openapi": "3.0.1",
        "info": {"title": "t", "version": "1"},
        "paths": paths if paths is not None else {"/a": {"get": operation()}},
        **members,
    }


def secured(*scopes: str, **scheme: Any) -> dict[str, Any]:
    cognito = {
        "type": "apiKey",
        "name": "Authorization",
        "in": "header",
        "x-amazon-apigateway-authtype": "cognito_user_pools",
        "x-amazon-apigateway-authorizer": {"type": "cognito_user_pools", "providerARNs": [POOL]},
        **scheme,
    }
    key = {"type": "apiKey", "name": "x-api-key", "in": "header"}
    return {
        "components": {"securitySchemes": {"cognito": cognito, "key": key}},
        "security": [{"cognito": list(scopes)}],
    }


def with_schemas(**schemas: Any) -> dict[str, Any]:
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/A"}}}}
    return document({"/a": {"post": operation(requestBody=body)}}, components={"schemas": schemas})


def read(given: dict[str, Any] | bytes, **options: Any) -> dict[str, Any]:
    body = given if isinstance(given, bytes) else json.dumps(given).encode()
    return importer.read(body, REGION, **options)


def method_of(definition: dict[str, Any], path: str, verb: str) -> dict[str, Any]:
    resource = next(one for one in definition["resources"] if one["path"] == path)
    found: dict[str, Any] = resource["resourceMethods"][verb]
    return found


def refusal(given: dict[str, Any] | bytes, **options: Any) -> str:
    with pytest.raises(ServiceError) as caught:
        read(given, **options)
    assert caught.value.code == "BadRequestException"
    return caught.value.message


# --- what is read ----------------------------------------------------------------------------------------------------


def test_paths_become_a_tree_of_resources() -> None:
    definition = read(document({"/a/b": {"get": operation()}, "/a/{id}/c:d": {"post": operation()}}))
    by_path = {one["path"]: one for one in definition["resources"]}
    assert list(by_path) == ["/", "/a", "/a/b", "/a/{id}", "/a/{id}/c:d"]
    assert by_path["/a/{id}"]["parentId"] == by_path["/a"]["id"]
    assert by_path["/a/{id}"]["pathPart"] == "{id}"
    assert by_path["/a"]["parentId"] == by_path["/"]["id"]
    assert by_path["/a"]["resourceMethods"] == {}
    assert "parentId" not in by_path["/"]


def test_yaml_and_json_are_the_same_document() -> None:
    given = document({"/a": {"get": operation(mock()), "x-amazon-apigateway-any-method": operation(mock())}})
    ids = read(given)
    text = yaml.safe_dump(given).replace("'204':", "204:").encode()
    assert read(text, before=ids) == read(given, before=ids)
    assert set(ids["resources"][1]["resourceMethods"]) == {"GET", "ANY"}


def test_what_stays_keeps_its_id() -> None:
    before = read(document({"/a": {"get": operation()}, "/b": {"get": operation()}}, **secured()))
    after = read(document({"/a": {"post": operation()}, "/c": {"get": operation()}}, **secured()), before=before)
    ids = {one["path"]: one["id"] for one in before["resources"]}
    assert {one["path"]: one["id"] == ids.get(one["path"]) for one in after["resources"]} == {
        "/": True, "/a": True, "/c": False,
    }  # fmt: skip
    assert after["authorizers"] == before["authorizers"]


def test_a_lambda_integration() -> None:
    parameters = [{"name": "minutes", "in": "query", "required": True, "schema": {"type": "integer"}}]
    integration = proxy(timeoutInMillis=5000, cacheKeyParameters=["method.request.querystring.minutes"])
    definition = read(document({"/a": {"get": operation(integration, parameters=parameters, operationId="ask")}}))
    method = method_of(definition, "/a", "GET")
    assert method["operationName"] == "ask"
    assert method["requestParameters"] == {"method.request.querystring.minutes": True}
    found = method["methodIntegration"]
    assert (found["type"], found["uri"], found["timeoutInMillis"]) == ("AWS_PROXY", URI, 5000)
    assert found["cacheKeyParameters"] == ["method.request.querystring.minutes"]


def test_parameters_of_a_path_are_those_of_its_operations_which_may_say_otherwise() -> None:
    shared = [{"name": "q", "in": "query"}, {"name": "id", "in": "path"}, {"name": "X-A", "in": "header"}]
    own = [{"$ref": "#/components/parameters/Q"}]
    definition = read(
        document(
            {"/a/{id}": {"parameters": shared, "get": operation(parameters=own), "post": operation()}},
            components={"parameters": {"Q": {"name": "q", "in": "query", "required": True}}},
        )
    )
    asked = {"method.request.path.id": True, "method.request.header.X-A": False}
    assert method_of(definition, "/a/{id}", "GET")["requestParameters"] == {
        **asked, "method.request.querystring.q": True,
    }  # fmt: skip
    assert method_of(definition, "/a/{id}", "POST")["requestParameters"] == {
        **asked, "method.request.querystring.q": False,
    }  # fmt: skip


def test_security_of_the_document_and_of_operations() -> None:
    paths = {
        "/a": {
            "get": operation(),
            "post": operation(security=[]),
            "put": operation(security=[{"cognito": ["api/write"], "key": []}]),
            "delete": operation(security=[{"key": []}]),
        }
    }
    definition = read(document(paths, **secured("api/read")))
    authorizer = definition["authorizers"][0]
    assert authorizer["providerARNs"] == [POOL]
    assert authorizer["identitySource"] == "method.request.header.Authorization"
    get, post, put, delete = (method_of(definition, "/a", verb) for verb in ("GET", "POST", "PUT", "DELETE"))
    assert (get["authorizationType"], get["authorizationScopes"]) == ("COGNITO_USER_POOLS", ["api/read"])
    assert get["authorizerId"] == put["authorizerId"] == authorizer["id"]
    assert (post["authorizationType"], post["apiKeyRequired"]) == ("NONE", False)
    assert (put["authorizationScopes"], put["apiKeyRequired"]) == (["api/write"], True)
    assert (delete["authorizationType"], delete["apiKeyRequired"]) == ("NONE", True)


def test_validators_of_the_document_and_of_operations() -> None:
    name = "x-amazon-apigateway-request-validator"
    definition = read(
        document(
            {"/a": {"get": operation(), "post": {**operation(), name: "all"}}},
            **{
                f"{name}s": {
                    "params": {"validateRequestBody": False, "validateRequestParameters": True},
                    "all": {"validateRequestBody": True, "validateRequestParameters": True},
                },
                name: "params",
            },
        )
    )
    ids = {one["name"]: one["id"] for one in definition["validators"]}
    assert method_of(definition, "/a", "GET")["requestValidatorId"] == ids["params"]
    assert method_of(definition, "/a", "POST")["requestValidatorId"] == ids["all"]


def test_models_have_their_references_resolved_and_openapis_own_words_left_out() -> None:
    definition = read(
        with_schemas(
            A={
                "type": "object",
                "required": ["b"],
                "additionalProperties": False,
                "properties": {"b": {"$ref": "#/components/schemas/B"}, "example": {"type": "string"}},
                "example": {"b": [1]},
            },
            B={"type": "array", "items": {"oneOf": [{"$ref": "#/components/schemas/C"}, {"type": "string"}]}},
            C={"type": "integer", "minimum": 1, "nullable": True},
        )
    )
    assert json.loads(definition["models"]["A"]) == {
        "type": "object",
        "required": ["b"],
        "additionalProperties": False,
        "properties": {
            "b": {"type": "array", "items": {"oneOf": [{"type": "integer", "minimum": 1}, {"type": "string"}]}},
            "example": {"type": "string"},
        },
    }
    assert method_of(definition, "/a", "POST")["requestModels"] == {"application/json": "A"}
    assert any("nullable is not supported" in warning for warning in definition["warnings"])


def test_a_schema_in_its_place_gets_a_model_of_its_own() -> None:
    body = {"content": {"application/json": {"schema": {"type": "object"}}}}
    definition = read(document({"/a": {"post": operation(requestBody=body)}}))
    (name,) = method_of(definition, "/a", "POST")["requestModels"].values()
    assert json.loads(definition["models"][name]) == {"type": "object"}


def test_a_mock_integration_with_headers() -> None:
    responses = {"204": {"description": "d", "headers": {"X-A": {"schema": {"type": "string"}}}}}
    headers = {"method.response.header.X-A": "'a, b'"}
    integration = mock(responses={"default": {"statusCode": 204, "responseParameters": headers}})
    definition = read(document({"/a": {"options": operation(integration, responses=responses)}}))
    found = method_of(definition, "/a", "OPTIONS")["methodIntegration"]["integrationResponses"]["204"]
    assert found["responseParameters"] == headers
    assert found["selectionPattern"] is None


def test_gateway_responses() -> None:
    given = {
        "UNAUTHORIZED": {"statusCode": 401, "responseParameters": {"gatewayresponse.header.X": "'*'"}},
        "DEFAULT_5XX": {"responseTemplates": {"application/json": '{"m": $context.error.messageString}'}},
        "THROTTLED": {},
    }
    found = read(document(**{"x-amazon-apigateway-gateway-responses": given}))["gatewayResponses"]
    assert found["UNAUTHORIZED"]["statusCode"] == "401"
    assert found["UNAUTHORIZED"]["responseTemplates"] == {
        "application/json": '{"message":$context.error.messageString}'
    }
    assert found["DEFAULT_5XX"]["statusCode"] is None
    assert found["THROTTLED"]["statusCode"] == "429"


def test_warnings_refuse_only_where_they_are_asked_to() -> None:
    parameters = [{"name": "session", "in": "cookie"}]
    given = document({"/a": {"get": operation(parameters=parameters)}})
    assert read(given)["warnings"] == [
        "paths./a.get.parameters.0: a parameter in a cookie is not supported and is left out"
    ]
    assert refusal(given, fail_on_warnings=True).startswith(
        "Warnings found during import:\n\tpaths./a.get.parameters.0"
    )


# --- what is refused -------------------------------------------------------------------------------------------------

Change = Callable[[dict[str, Any]], None]


def at(*path: str, value: Any) -> Change:
    """A change of a document: the value at a path."""

    def change(given: dict[str, Any]) -> None:
        for name in path[:-1]:
            given = given.setdefault(name, {})
        given[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "expected an object, got None"),
        (b"[1]", "expected an object, got [1]"),
        (b"{", "Invalid OpenAPI input: "),
        (b"\xff\xfe", "Invalid OpenAPI input: "),
        (b"a: [", "Invalid OpenAPI input: "),
        (b"a: 1\na: 2", "duplicate key 'a'"),
        (b'{"a": 1, "a": 2}', "duplicate key 'a'"),
        (b"{" + b'"a":{' * 100_000, "Invalid OpenAPI input: "),
        (b"a: " + b"[" * 100_000, "it is nested too deeply"),
        (b"a: " + b"[" * 150 + b"]" * 150, "it is nested too deeply"),
        (b'{"a":' + b"[" * 150 + b"]" * 150 + b"}", "it is nested too deeply"),
        (b"swagger: '2.0'", "localcloud imports OpenAPI 3.0 documents; got swagger: 2.0"),
        (b"openapi: 3.1.0", "got openapi: 3.1.0"),
        (b"openapi: 3.0.1\npaths: {}", "info.title is missing"),
        (b"openapi: 3.0.1\ninfo: {title: t}", "paths is missing"),
        (b"openapi: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        (b"x" * (6 * 1024 * 1024 + 1), "expected at most 6291456"),
    ],
)
def test_what_is_no_document_is_refused(body: bytes, expected: str) -> None:
    assert expected in refusal(body)


def test_aliases_of_aliases_do_not_fill_the_memory() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 10)}]" for number in range(1, 12)]
    assert "more than 500000 values" in refusal("\n".join(lines).encode())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (at("paths", "a", value={}), "paths.a: Resource's path part only allow"),
        (at("paths", "/a/", value={}), "paths./a/: Resource's path part only allow"),
        (at("paths", "/a b", value={}), "paths./a b: Resource's path part only allow"),
        (at("paths", "/{x}y", value={}), "paths./{x}y: Resource's path part only allow"),
        (at("paths", "/{p+}/x", value={}), "Cannot create a child of a resource with a greedy path variable"),
        (at("paths", "/a", "fetch", value={}), "paths./a: localcloud has no fetch there"),
        (at("paths", "/a", value=[]), "paths./a: expected an object, got []"),
        (at("paths", "/a", "x-amazon-apigateway-cors", value={}), "does not know the extension x-amazon-apigateway-c"),
        (at("x-amazon-apigateway-policy", value={}), "the document: localcloud does not know the extension"),
        (at("paths", "/a", "get", "x-amazon-apigateway-auth", value={}), "does not know the extension"),
        (at("components", "schemas", "A", "x-amazon-apigateway-x", value=1), "components.schemas.A: localcloud does"),
        (at("x-amazon-apigateway-api-key-source", value="AUTHORIZER"), "is 'AUTHORIZER'; expected HEADER"),
        (at("x-amazon-apigateway-binary-media-types", value="*/*"), "is '*/*'; expected a list of media types"),
        (at("x-amazon-apigateway-request-validator", value="no"), "is 'no'; expected one of x-amazon-apigateway-req"),
        (at("x-amazon-apigateway-gateway-responses", "TEAPOT", value={}), "TEAPOT: Invalid response type"),
        (
            at("x-amazon-apigateway-gateway-responses", "THROTTLED", value={"statusCode": "many"}),
            "THROTTLED.statusCode: is 'many'; expected a status of HTTP",
        ),
        (
            at("x-amazon-apigateway-gateway-responses", "THROTTLED", "responseTemplates", value={"text/plain": "$x.y"}),
            "THROTTLED.responseTemplates.text/plain: ",
        ),
        (
            at(
                "x-amazon-apigateway-gateway-responses", "THROTTLED", "responseParameters",
                value={"gatewayresponse.header.X": "method.request.header.Y"},
            ),
            "gatewayresponse.header.X: is 'method.request.header.Y'; expected a literal in single quotes",
        ),
        (at("paths", "/a", "get", "security", value=[{"nobody": []}]), "names 'nobody', which is no security scheme"),
        (at("paths", "/a", "get", "parameters", value=[{"name": "q", "in": "body"}]), "in 'body'; expected a name"),
        (at("paths", "/a", "get", "parameters", value=[{"$ref": "#/components/parameters/Q"}]), "names nothing"),
        (at("paths", "/a", "get", "parameters", value=[{"$ref": "other.yml#/Q"}]), "is not within the document"),
        (at("paths", "/a", "get", "parameters", value={"q": 1}), "parameters: is {'q': 1}; expected a list"),
    ],
)  # fmt: skip
def test_what_a_document_must_not_say(change: Change, expected: str) -> None:
    given = document()
    change(given)
    message = refusal(given)
    assert message.startswith("Errors found during import:\n\t")
    assert expected in message


@pytest.mark.parametrize(
    ("integration", "expected"),
    [
        ({"type": "http_proxy"}, "type: is 'http_proxy'; expected aws_proxy or mock"),
        (proxy(uri=FUNCTION), "expected arn:aws:apigateway:REGION:lambda:path/2015-03-31/functions/FUNCTION_ARN"),
        (proxy(uri=URI.replace(REGION, "us-east-1")), "of the region eu-west-1"),
        (proxy(httpMethod="GET"), "httpMethod: is 'GET'; expected POST"),
        (proxy(credentials="arn:aws:iam::123456789012:role/r"), "localcloud has no credentials there"),
        (proxy(contentHandling="CONVERT_TO_TEXT"), "localcloud has no contentHandling there"),
        (proxy(connectionType="VPC_LINK"), "connectionType: is 'VPC_LINK'; expected INTERNET"),
        (proxy(timeoutInMillis=29_001), "timeoutInMillis: is 29001; expected a whole number from 50 to 29000"),
        (proxy(timeoutInMillis=True), "timeoutInMillis: is True; expected"),
        (proxy(passthroughBehavior="sometimes"), "passthroughBehavior: is 'sometimes'; expected one of"),
        (proxy(responses={"default": {"statusCode": "200"}}), "Proxy integrations cannot be configured to transform"),
        (proxy(cacheKeyParameters=["method.request.querystring.x"]), "expected a parameter of the operation"),
        (mock(requestTemplates={}), "expected a template with a statusCode, which a mock answers by"),
        (mock(requestTemplates={"application/json": "#foreach($x in $y)"}), "requestTemplates.application/json: "),
        (mock(requestTemplates={"application/json": 5}), "is 5; expected text"),
        (mock(responses={"default": {"statusCode": "200"}}), "expected a status among the operation's responses"),
        (mock(responses={"204": {"statusCode": "204"}}), "expected a response named default"),
        (mock(responses={"4..": {"statusCode": "204"}}), "localcloud matches no other pattern"),
        (
            mock(
                responses={"default": {"statusCode": "204", "responseParameters": {"method.response.header.A": "'a'"}}}
            ),
            "expected a header that the operation's response 204 declares",
        ),
    ],
)  # fmt: skip
def test_integrations_that_are_refused(integration: dict[str, Any], expected: str) -> None:
    assert expected in refusal(document({"/a": {"get": operation(integration)}}))


@pytest.mark.parametrize(
    ("schemas", "expected"),
    [
        ({"A": {"$ref": "#/components/schemas/A"}}, "circular reference of schemas: A -> A"),
        (
            {
                "A": {"properties": {"b": {"$ref": "#/components/schemas/B"}}},
                "B": {"items": {"$ref": "#/components/schemas/A"}},
            },
            "circular reference of schemas: A -> B -> A",
        ),
        ({"A": {"$ref": "#/components/schemas/B"}}, "'#/components/schemas/B' names nothing in the document"),
        ({"B": {}}, "'#/components/schemas/A' names nothing in the document"),
        ({"A": {}, "my-model": {}}, "Model name must be alphanumeric: my-model"),
        ({"A": 5}, "components.schemas.A: expected a schema, got 5"),
        ({"A": {"type": "text"}}, "components.schemas.A.type: is 'text'; expected one of array"),
        ({"A": {"required": True}}, "components.schemas.A.required: is True; expected a list"),
        ({"A": {"pattern": "("}}, "components.schemas.A.pattern: is '('; expected a regular expression"),
        ({"A": {"maxLength": -1}}, "components.schemas.A.maxLength: is -1; expected a whole number"),
        ({"A": {"const": 1}}, "components.schemas.A: a schema of OpenAPI 3.0 has no const"),
        ({"A": {"properties": {"a": {"items": 7}}}}, "components.schemas.A.properties.a.items: expected a schema"),
    ],
)
def test_schemas_that_are_refused(schemas: dict[str, Any], expected: str) -> None:
    assert expected in refusal(with_schemas(**schemas))


def test_schemas_that_grow_with_each_reference_do_not_fill_the_memory() -> None:
    twice = {
        f"A{number}": {"properties": {name: {"$ref": f"#/components/schemas/A{number + 1}"} for name in ("b", "c")}}
        for number in range(40)
    }
    message = refusal(with_schemas(A={"$ref": "#/components/schemas/A0"}, **twice, A40={}))
    assert "the schemas have more than 50000 parts" in message


def test_a_long_list_of_mistakes_is_cut() -> None:
    lines = refusal(document({f"/a{number}": {"fetch": {}} for number in range(150)})).split("\n\t")
    assert (len(lines), lines[-1]) == (102, "and 50 more")


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        ({"in": "query"}, "expected type apiKey, in header"),
        ({"x-amazon-apigateway-authtype": "custom"}, "authtype: is 'custom'; localcloud has cognito_user_pools"),
        ({"x-amazon-apigateway-authorizer": {"type": "token"}}, "authorizer.type: is 'token'; localcloud has cognito"),
        (
            {"x-amazon-apigateway-authorizer": {"type": "cognito_user_pools", "providerARNs": ["x"]}},
            "providerARNs: is ['x']; expected the ARNs of user pools",
        ),
        (
            {
                "x-amazon-apigateway-authorizer": {
                    "type": "cognito_user_pools", "providerARNs": [POOL], "authorizerResultTtlInSeconds": 60,
                }
            },
            "localcloud has no authorizerResultTtlInSeconds there; got 60",
        ),
    ],
)  # fmt: skip
def test_security_schemes_that_are_refused(scheme: dict[str, Any], expected: str) -> None:
    assert expected in refusal(document(**secured(**scheme)))


def test_a_method_has_one_way_in() -> None:
    both = {"/a": {"get": operation(security=[{"cognito": []}, {"key": []}])}}
    assert "has 2 alternatives" in refusal(document(both, **secured()))


def test_two_variables_beside_each_other_are_refused() -> None:
    message = refusal(document({"/{a}": {"get": operation()}, "/{b}": {"get": operation()}}))
    assert "A sibling ({a}) of this resource already has a variable path part -- only one is allowed" in message


def test_all_mistakes_are_told_at_once() -> None:
    given = document({"/a": {"get": operation(proxy(uri="x", httpMethod="GET")), "put": operation({"type": "vpc"})}})
    lines = refusal(given).split("\n\t")
    assert len(lines) == 4


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=8), below, max_size=3),
    max_leaves=8,
)
_PLACES = (
    ("paths",), ("components",), ("security",), ("paths", "/a"), ("paths", "/a", "get"), ("paths", "/a", "parameters"),
    ("paths", "/a", "get", INTEGRATION), ("paths", "/a", "get", "parameters"), ("paths", "/a", "get", "security"),
    ("paths", "/a", "get", "requestBody"), ("paths", "/a", "get", "responses"), ("components", "schemas", "A"),
    ("components", "securitySchemes", "cognito"), ("components", "securitySchemes"), ("components", "schemas"),
    ("paths", "/a", "get", INTEGRATION, "responses"), ("paths", "/a", "get", INTEGRATION, "requestTemplates"),
    ("x-amazon-apigateway-gateway-responses",), ("x-amazon-apigateway-gateway-responses", "THROTTLED"),
    ("x-amazon-apigateway-request-validators",), ("x-amazon-apigateway-request-validator",),
    ("x-amazon-apigateway-binary-media-types",), ("info", "description"), ("info", "version"),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(place=st.sampled_from(_PLACES), value=_JSON)
def test_whatever_stands_anywhere_is_read_or_refused(place: tuple[str, ...], value: Any) -> None:
    given_document = document({"/a": {"get": operation(mock())}}, **secured("s"))
    at(*place, value=value)(given_document)
    codes = []
    try:
        read(given_document)
    except ServiceError as error:
        codes.append(error.code)
    assert codes in ([], ["BadRequestException"])
