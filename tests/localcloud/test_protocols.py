"""The wire protocols, against botocore as the other end: its serializer before our parser, its parser after ours."""

from __future__ import annotations

import json
import string
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore import parsers
from botocore.awsrequest import HeadersDict, create_request_object, prepare_request_dict
from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape
from botocore.serialize import create_serializer
from botocore.utils import is_json_value_header
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localcloud.errors import ServiceError
from localcloud.protocols import fault, models, request, response, validation
from localcloud.protocols.http import HttpRequest, HttpResponse

# Text that XML can carry; the other protocols carry all of it too.
_CHARACTERS = st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff") | st.sampled_from(
    "\r\n\t"
)
_TEXT = st.text(_CHARACTERS, max_size=8)
_LABEL = st.text(string.ascii_letters + string.digits + " /+%:ä-_", min_size=1, max_size=8).filter(
    lambda s: s not in (".", "..")
)
_HEADER = st.text(string.ascii_letters + string.digits + "-_./", min_size=1, max_size=8)


def _moments(*, seconds_only: bool = False) -> st.SearchStrategy[datetime]:
    whole = st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1), timezones=st.just(UTC))
    precision = 1_000_000 if seconds_only else 1_000
    return whole.map(lambda moment: moment.replace(microsecond=moment.microsecond // precision * precision))


def _values(shape: Shape, protocol: str, depth: int = 0) -> st.SearchStrategy[Any]:
    """Values of a shape that the protocol can carry (query knows no empty structure and no empty map)."""
    location = shape.serialization.get("location")
    if is_json_value_header(shape):
        return st.dictionaries(_HEADER, st.integers(), max_size=2)
    if isinstance(shape, StructureShape):
        return _structures(shape, protocol, depth)
    if isinstance(shape, ListShape):
        least = 1 if location or (protocol == models.QUERY and shape.serialization.get("flattened")) else 0
        items = _HEADER if location in ("header", "querystring") else _values(shape.member, protocol, depth + 1)
        return st.lists(items, min_size=least, max_size=2)
    if isinstance(shape, MapShape):
        least = 1 if protocol == models.QUERY or location else 0
        plain = location in ("headers", "querystring")
        keys = _HEADER.map(str.lower) if plain else _values(shape.key, protocol, depth + 1)
        values = _HEADER if plain else _values(shape.value, protocol, depth + 1)
        return st.dictionaries(keys, values, min_size=least, max_size=2)
    if location == "uri" and shape.type_name == "string":
        return _LABEL
    if location in ("header", "querystring") and shape.type_name == "string":
        return _HEADER
    if shape.type_name == "float":
        return st.floats(allow_nan=False, width=32)
    return {
        "string": _TEXT,
        "character": _TEXT,
        "integer": st.integers(-(2**31), 2**31 - 1),
        "long": st.integers(-(2**63), 2**63 - 1),
        "double": st.floats(allow_nan=False),
        "boolean": st.booleans(),
        "timestamp": _moments(seconds_only=location == "header"),
        "blob": st.binary(max_size=8),
    }[shape.type_name]


@st.composite
def _structures(draw: st.DrawFn, shape: StructureShape, protocol: str, depth: int) -> Any:
    if shape.is_document_type:
        return draw(st.dictionaries(_TEXT, st.integers() | _TEXT, max_size=2))
    names = list(shape.members)
    payload = shape.serialization.get("payload")
    required = {name for name in names if shape.members[name].serialization.get("location") == "uri"}
    shallow = [name for name in names if depth < 3 or _is_scalar(shape.members[name])]
    nestable = shallow or (names if protocol == models.QUERY else [])
    if shape.is_tagged_union:
        chosen = {draw(st.sampled_from(names))}
    else:
        least = 1 if protocol == models.QUERY and depth and nestable else 0
        chosen = set(draw(st.lists(st.sampled_from(nestable), min_size=least, max_size=5))) if nestable else set()
    value = {}
    for name in sorted(chosen | required):
        if shape.members[name].serialization.get("eventstream"):
            continue
        item = draw(_values(shape.members[name], protocol, depth + 1))
        # An empty body and no body are the same on the wire.
        if name == payload and not item:
            continue
        value[name] = item
    return value


def _is_scalar(shape: Shape) -> bool:
    return shape.type_name not in ("structure", "list", "map")


def _as_sent(operation: OperationModel, protocol: str, params: dict[str, Any]) -> HttpRequest:
    """What a boto3 client would put on the wire."""
    serialised = create_serializer(protocol, include_validation=False).serialize_to_request(params, operation)
    prepare_request_dict(serialised, endpoint_url="http://127.0.0.1:4610", context={})
    prepared = create_request_object(serialised).prepare()
    url = urlsplit(prepared.url)
    headers = {
        name.lower(): value.decode() if isinstance(value, bytes) else str(value)
        for name, value in prepared.headers.items()
    }
    body = prepared.body or b""
    return HttpRequest(
        prepared.method, url.path, url.query, headers, body.encode() if isinstance(body, str) else bytes(body)
    )


def _as_read(operation: OperationModel, protocol: str, answer: HttpResponse) -> Any:
    """What a boto3 client would make of an answer."""
    parsed = parsers.create_parser(protocol).parse(
        {
            "status_code": answer.status,
            "headers": HeadersDict(dict(answer.headers)),
            "body": answer.body,
            "context": {},
        },
        operation.output_shape,
    )
    parsed.pop("ResponseMetadata")
    return parsed


_REQUESTS = [
    ("sagemaker", "json", "CreateTrainingJob"),
    ("sagemaker", "json", "CreateModelPackage"),
    ("sagemaker", "json", "ListModelPackages"),
    ("lambda", "rest-json", "CreateFunction"),
    ("lambda", "rest-json", "Invoke"),
    ("lambda", "rest-json", "ListFunctions"),
    ("lambda", "rest-json", "UntagResource"),
    ("apigateway", "rest-json", "ImportRestApi"),
    ("apigateway", "rest-json", "PutIntegration"),
    ("sagemaker-runtime", "rest-json", "InvokeEndpoint"),
    ("sagemaker-featurestore-runtime", "rest-json", "GetRecord"),
    ("scheduler", "rest-json", "CreateSchedule"),
    ("cloudformation", "query", "CreateStack"),
    ("cloudformation", "query", "SignalResource"),
    ("cloudwatch", "query", "PutMetricData"),
    ("cloudwatch", "smithy-rpc-v2-cbor", "PutMetricData"),
    ("cloudwatch", "smithy-rpc-v2-cbor", "PutMetricAlarm"),
    ("cloudwatch", "smithy-rpc-v2-cbor", "GetMetricData"),
    ("cloudwatch", "json", "PutMetricData"),
]
_RESPONSES = [
    ("sagemaker", "json", "DescribeTrainingJob"),
    ("sagemaker", "json", "ListPipelineExecutionSteps"),
    ("lambda", "rest-json", "GetFunction"),
    ("lambda", "rest-json", "CreateFunction"),
    ("apigateway", "rest-json", "GetRestApis"),
    ("apigateway", "rest-json", "GetStage"),
    ("scheduler", "rest-json", "GetSchedule"),
    ("cloudformation", "query", "DescribeStacks"),
    ("cloudformation", "query", "ListStackSetOperations"),
    ("cloudwatch", "query", "DescribeAlarms"),
    ("cloudwatch", "smithy-rpc-v2-cbor", "DescribeAlarms"),
    ("cloudwatch", "smithy-rpc-v2-cbor", "GetMetricData"),
    ("cloudwatch", "smithy-rpc-v2-cbor", "GetDashboard"),
]
_FEW = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize(("service", "protocol", "name"), _REQUESTS)
@_FEW
@given(data=st.data())
def test_our_parser_reads_what_botocore_sends(service: str, protocol: str, name: str, data: st.DataObject) -> None:
    operation = models.service_model(service).operation_model(name)
    params = data.draw(_values(operation.input_shape, protocol))
    sent = _as_sent(operation, protocol, params)
    assert models.protocol_of(sent) in (protocol, None)
    if protocol == models.REST_JSON:
        found = models.match_route(service, sent)
        assert found is not None
        assert found[0].operation == name
    else:
        assert models.operation_name(sent, protocol) == name
    assert request.parse(operation, protocol, sent) == params


@pytest.mark.parametrize(("service", "protocol", "name"), _RESPONSES)
@_FEW
@given(data=st.data())
def test_botocore_reads_what_our_serialiser_sends(service: str, protocol: str, name: str, data: st.DataObject) -> None:
    operation = models.service_model(service).operation_model(name)
    result = data.draw(_values(operation.output_shape, protocol))
    answer = response.serialise(operation, protocol, result, request_id="r")
    assert _as_read(operation, protocol, answer) == result


@pytest.mark.parametrize(
    ("service", "protocol", "code", "status"),
    [
        ("sagemaker", "json", "ResourceNotFound", 400),
        ("sagemaker", "json", "SomethingUnmodelled", 418),
        ("lambda", "rest-json", "ResourceNotFoundException", 404),
        ("cloudformation", "query", "AlreadyExistsException", 400),
        ("cloudwatch", "smithy-rpc-v2-cbor", "ResourceNotFound", 404),
        ("cloudwatch", "query", "ResourceNotFound", 404),
        ("s3", "rest-xml", "AccessDenied", 403),
    ],
)
def test_botocore_reads_an_error_with_its_code_message_and_status(
    service: str, protocol: str, code: str, status: int
) -> None:
    message = "no model 'a<b>&c' \x07 — expected one"
    error = ServiceError(code, message, 403 if service == "s3" else 418 if status == 418 else 400)
    answer = fault.serialise(error, protocol, request_id="r", model=models.service_model(service))
    parsed = parsers.create_parser(protocol).parse(
        {"status_code": answer.status, "headers": HeadersDict(dict(answer.headers)), "body": answer.body}, None
    )
    assert answer.status == status
    assert parsed["Error"]["Code"] == code
    # XML cannot hold the bell character: there the message is shown with it escaped.
    assert parsed["Error"]["Message"] == (message if protocol not in ("query", "rest-xml") else repr(message))


def test_a_modelled_error_carries_its_further_members() -> None:
    model = models.service_model("sagemaker-runtime")
    error = ServiceError("ModelError", "the model said no", 424, fields={"OriginalStatusCode": 500})
    answer = fault.serialise(error, models.REST_JSON, request_id="r", model=model)
    parsed = parsers.create_parser(models.REST_JSON).parse(
        {"status_code": answer.status, "headers": HeadersDict(dict(answer.headers)), "body": answer.body},
        model.shape_for_error_code("ModelError"),
    )
    assert parsed == {"Message": "the model said no", "OriginalStatusCode": 500}


@pytest.mark.parametrize(
    ("protocol", "service", "name", "body"),
    [
        ("json", "sagemaker", "CreateModel", b"{not json"),
        ("json", "sagemaker", "CreateModel", b"[1]"),
        ("smithy-rpc-v2-cbor", "cloudwatch", "PutMetricData", b"\xff\xff"),
    ],
)
def test_a_body_that_cannot_be_read_is_a_serialization_exception(
    protocol: str, service: str, name: str, body: bytes
) -> None:
    operation = models.service_model(service).operation_model(name)
    with pytest.raises(ServiceError) as raised:
        request.parse(operation, protocol, HttpRequest("POST", "/", body=body))
    assert raised.value.code == "SerializationException"


def test_a_query_field_that_is_no_parameter_is_named() -> None:
    operation = models.service_model("cloudformation").operation_model("DescribeStacks")
    sent = HttpRequest(
        "POST",
        "/",
        headers={"content-type": "application/x-www-form-urlencoded"},
        body=b"Action=DescribeStacks&Version=2010-05-15&StackName=a&Stacknam=b",
    )
    params = request.parse(operation, models.QUERY, sent)
    with pytest.raises(ServiceError, match='Unknown parameter in input: "Stacknam"'):
        validation.check_request(params, operation.input_shape)


def _check(params: dict[str, Any], name: str = "CreateModelPackageGroup") -> None:
    validation.check_request(params, models.service_model("sagemaker").operation_model(name).input_shape)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({}, 'Missing required parameter in input: "ModelPackageGroupName"'),
        ({"ModelPackageGroupName": 3}, "Invalid type for parameter ModelPackageGroupName, value: 3"),
        ({"ModelPackageGroupName": "a", "Colour": "red"}, 'Unknown parameter in input: "Colour"'),
        ({"ModelPackageGroupName": "under_score"}, "Value 'under_score' at 'modelPackageGroupName' failed to satisfy"),
        ({"ModelPackageGroupName": "a" * 64}, "length less than or equal to 63"),
        (
            {"ModelPackageGroupName": "a", "Tags": [{"Key": "k", "Value": "v" * 257}]},
            "at 'tags.1.member.value' failed to satisfy constraint: Member must have length less than or equal to 256",
        ),
    ],
)
def test_a_request_that_aws_refuses_is_refused_with_the_reason(params: dict[str, Any], said: str) -> None:
    with pytest.raises(ServiceError) as raised:
        _check(params)
    assert raised.value.code == "ValidationException"
    assert said in raised.value.message


def test_an_enumeration_is_checked_both_ways() -> None:
    with pytest.raises(ServiceError, match="Member must satisfy enum value set"):
        _check({"SortBy": "Colour"}, "ListModelPackages")
    shape = models.service_model("sagemaker").operation_model("DescribePipelineExecution").output_shape
    validation.check_response({"PipelineExecutionStatus": "Executing"}, shape)
    with pytest.raises(validation.ResponseError, match="enum value set"):
        validation.check_response({"PipelineExecutionStatus": "Running"}, shape)


@pytest.mark.parametrize("result", [{"Colour": "red"}, {"PipelineArn": 3}])
def test_a_response_that_its_shape_does_not_allow_is_a_bug_of_ours(result: dict[str, Any]) -> None:
    shape = models.service_model("sagemaker").operation_model("CreatePipeline").output_shape
    with pytest.raises(validation.ResponseError):
        validation.check_response(result, shape)


def test_null_members_are_absent_members() -> None:
    operation = models.service_model("sagemaker").operation_model("CreateModelPackageGroup")
    body = json.dumps({"ModelPackageGroupName": "a", "ModelPackageGroupDescription": None}).encode()
    assert request.parse(operation, models.JSON, HttpRequest("POST", "/", body=body)) == {"ModelPackageGroupName": "a"}


def test_timestamps_are_read_as_numbers_and_as_text() -> None:
    operation = models.service_model("sagemaker").operation_model("ListModelPackages")
    moment = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
    for written in (moment.timestamp(), "2026-05-01T12:00:00Z", "2026-05-01T14:00:00+02:00"):
        body = json.dumps({"CreationTimeAfter": written}).encode()
        assert request.parse(operation, models.JSON, HttpRequest("POST", "/", body=body)) == {
            "CreationTimeAfter": moment
        }


def test_digits_of_a_pattern_are_those_of_ascii() -> None:
    shape = models.service_model("sagemaker").operation_model("CreateModel").input_shape
    arn = "arn:aws:iam::{}:role/x"
    validation.check_request({"ModelName": "m", "ExecutionRoleArn": arn.format("123456789012")}, shape)
    with pytest.raises(ServiceError, match="regular expression pattern"):
        validation.check_request({"ModelName": "m", "ExecutionRoleArn": arn.format("\u0661" * 12)}, shape)


@pytest.mark.parametrize(
    ("operation", "params", "said"),
    [
        ("SignUp", {"ClientId": "c", "Username": "u", "Password": " hunter2"}, "Value '****' at 'password'"),
        ("SignUp", {"ClientId": "c", "Username": "u", "Password": ["hunter2"]}, "Password, value: ****, type: <class"),
        (
            "InitiateAuth",
            {"AuthFlow": "USER_PASSWORD_AUTH", "ClientId": "c", "AuthParameters": {"PASSWORD": ["hunter2"]}},
            "AuthParameters.PASSWORD, value: ****, type: <class 'list'>",
        ),
        (
            "AdminCreateUser",
            {"UserPoolId": "r_1", "Username": "u", "UserAttributes": [{"Name": "a", "Value": "hunter2" * 300}]},
            "Value '****' at 'userAttributes.1.member.value'",
        ),
    ],
)
def test_what_is_sensitive_is_not_shown(operation: str, params: dict[str, Any], said: str) -> None:
    shape = models.service_model("cognito-idp").operation_model(operation).input_shape
    with pytest.raises(ServiceError) as caught:
        validation.check_request(params, shape)
    assert said in caught.value.message
    assert "hunter2" not in caught.value.message
