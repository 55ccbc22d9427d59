"""Lambda functions: made, called, changed; their errors; events that are tried again; queues that feed them."""

from __future__ import annotations

import base64
import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import Cloud
from tests.contract.lambda_account import Functions, package
from tests.contract.sagemaker_account import error_of, until

ECHO = "def handler(event, context):\n    return event\n"
# Does what its event says, and sends what it is given to a queue.
ACT = """
import json, os, sys, time
seen = []

def send(value):
    import boto3
    boto3.client("sqs").send_message(QueueUrl=os.environ["OUT"], MessageBody=json.dumps(value))

def handler(event, context):
    seen.append(event)
    verb = event.get("do")
    if verb == "fail":
        raise ValueError("no " + event["what"])
    if verb == "exit":
        sys.exit(event["status"])
    if verb == "hang":
        print("hanging", flush=True)
        time.sleep(600)
    if verb == "print":
        print(event["text"])
    if verb == "send":
        send(event)
    if verb == "grow":
        held = bytearray(400 << 20)
        time.sleep(600)
    if verb == "object":
        return object()
    return {"calls": len(seen)}
"""


@pytest.fixture(scope="module")
def functions(cloud: Cloud) -> Functions:
    return Functions(cloud.client, cloud.role_arn)


@pytest.fixture(scope="module")
def act(functions: Functions) -> str:
    """A function that does what it is told; its process is the same from call to call."""
    return functions.create(ACT)


def advance(endpoint_url: str | None, seconds: float) -> None:
    """Let time pass at a localcloud."""
    assert endpoint_url is not None
    request = urllib.request.Request(f"{endpoint_url}/_localcloud/advance", str(seconds).encode(), method="POST")
    with urllib.request.urlopen(request) as response:
        assert response.status == 200


def test_a_function_is_described_as_it_was_made(functions: Functions, cloud: Cloud) -> None:
    client = cloud.client("lambda")
    arn = functions.create(ECHO, Description="says it again", Tags={"a": "b"}, Environment={"Variables": {"MINE": "1"}})
    name = arn.rpartition(":")[2]
    found = client.get_function(FunctionName=arn)
    configuration = found["Configuration"]
    assert found["Tags"] == {"a": "b"}
    assert (configuration["FunctionName"], configuration["Description"]) == (name, "says it again")
    assert (configuration["State"], configuration["LastUpdateStatus"]) == ("Active", "Successful")
    assert configuration["Environment"] == {"Variables": {"MINE": "1"}}
    assert configuration["CodeSize"] == len(package(ECHO))
    client.get_waiter("function_active_v2").wait(FunctionName=name)
    listed = [page["Functions"] for page in client.get_paginator("list_functions").paginate()]
    assert name in [entry["FunctionName"] for page in listed for entry in page]
    client.delete_function(FunctionName=name)
    assert error_of(client.get_function, FunctionName=name) == (
        "ResourceNotFoundException",
        f"Function not found: {arn}",
    )


@pytest.mark.parametrize(
    ("members", "code", "message"),
    [
        ({"Runtime": "nodejs22.x"}, "InvalidParameterValueException", "python3.11 and later; got 'nodejs22.x'"),
        (
            {"Layers": ["arn:aws:lambda:eu-west-1:123456789012:layer:a:1"]},
            "InvalidParameterValueException",
            "no Layers",
        ),
        ({"Environment": {"Variables": {"AWS_REGION": "x"}}}, "InvalidParameterValueException", "reserved keys"),
        (
            {"Environment": {"Variables": {"MINE": "x" * 4096}}},
            "InvalidParameterValueException",
            "exceeded the 4KB limit",
        ),
        ({"Timeout": 901}, "ValidationException", "less than or equal to 900"),
        ({"Code": {"ZipFile": b"no zip"}}, "InvalidParameterValueException", "Could not unzip uploaded file"),
        ({"Code": {}}, "InvalidParameterValueException", "Please provide a source for function code"),
        ({"LoggingConfig": {"LogFormat": "JSON"}}, "InvalidParameterValueException", "as Text; got LogFormat 'JSON'"),
    ],
)
def test_what_no_function_can_be_is_refused(
    functions: Functions, cloud: Cloud, members: dict[str, Any], code: str, message: str, localcloud_only: None
) -> None:
    params = {
        "FunctionName": functions.name(),
        "Runtime": "python3.11",
        "Handler": "index.handler",
        "Role": functions.role,
        "Code": {"ZipFile": package(ECHO)},
    }
    found = error_of(cloud.client("lambda").create_function, **{**params, **members})
    assert found[0] == code
    assert message in found[1]


def test_code_comes_from_s3_and_is_replaced(functions: Functions, cloud: Cloud) -> None:
    client, s3 = cloud.client("lambda"), cloud.client("s3")
    key = f"tests/{functions.name()}.zip"
    s3.put_object(Bucket=cloud.bucket, Key=key, Body=package("def handler(event, context):\n    return 1\n"))
    name = functions.name()
    client.create_function(
        FunctionName=name,
        Runtime="python3.12",
        Handler="index.handler",
        Role=functions.role,
        Code={"S3Bucket": cloud.bucket, "S3Key": key},
    )
    assert functions.call(name) == 1
    client.update_function_code(
        FunctionName=name,
        ZipFile=package("import other\nhandler = other.handler\n", other="def handler(e, c):\n    return 2\n"),
    )
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    assert functions.call(name) == 2
    code, message = error_of(client.update_function_code, FunctionName=name, S3Bucket=cloud.bucket, S3Key="nowhere")
    assert code == "InvalidParameterValueException"
    assert "S3 Error Code: NoSuchKey" in message


def test_a_process_has_its_own_environment_and_is_used_again(functions: Functions, cloud: Cloud) -> None:
    source = """
import os
calls = 0
def handler(event, context):
    global calls
    calls += 1
    return {"calls": calls, "env": dict(os.environ), "left": context.get_remaining_time_in_millis(),
            "context": [context.function_name, context.memory_limit_in_mb, context.invoked_function_arn,
                        context.log_group_name]}
"""
    arn = functions.create(source, MemorySize=256, Environment={"Variables": {"MINE": "1"}})
    name = arn.rpartition(":")[2]
    assert functions.call(arn)["calls"] == 1
    found = functions.call(arn, {})
    assert found["calls"] == 2
    assert found["context"] == [name, "256", arn, f"/aws/lambda/{name}"]
    assert 5_000 < found["left"] <= 10_000
    assert found["env"]["MINE"] == "1"
    assert found["env"]["AWS_REGION"] == found["env"]["AWS_DEFAULT_REGION"] == cloud.region
    assert not {"PYTHONPATH", "VIRTUAL_ENV", "USER"} & found["env"].keys()
    cloud.client("lambda").update_function_configuration(FunctionName=name, Environment={"Variables": {"MINE": "2"}})
    found = functions.call(arn)
    assert (found["calls"], found["env"]["MINE"]) == (1, "2")


def test_a_function_has_boto3_and_nothing_else_that_it_does_not_bring(functions: Functions) -> None:
    arn = functions.create("import boto3\ndef handler(event, context):\n    import numpy\n")
    error = functions.fail(arn)
    assert (error["errorType"], error["errorMessage"]) == ("ModuleNotFoundError", "No module named 'numpy'")


def test_an_error_is_told_with_its_place(functions: Functions, act: str) -> None:
    error = functions.fail(act, {"do": "fail", "what": "way"})
    assert (error["errorType"], error["errorMessage"]) == ("ValueError", "no way")
    assert "in handler" in error["stackTrace"][-1]
    assert error["requestId"]
    assert functions.fail(act, {"do": "object"})["errorType"] == "Runtime.MarshalError"


def test_a_process_that_exits_is_replaced(functions: Functions, act: str) -> None:
    error = functions.fail(act, {"do": "exit", "status": 3})
    assert error["errorType"] == "Runtime.ExitError"
    assert error["errorMessage"].endswith("Error: Runtime exited with error: exit status 3")
    assert functions.call(act, {}) == {"calls": 1}


def test_a_function_that_takes_too_long_is_killed(functions: Functions) -> None:
    arn = functions.create(ACT, Timeout=1)
    error = functions.fail(arn, {"do": "hang"})
    assert error["errorType"] == "Sandbox.Timedout"
    assert error["errorMessage"].endswith("Error: Task timed out after 1.00 seconds")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="memory is watched on Linux only")
def test_a_function_that_takes_too_much_memory_is_killed(functions: Functions, act: str) -> None:
    error = functions.fail(act, {"do": "grow"})
    assert error["errorMessage"].endswith("signal: killed")


@pytest.mark.parametrize(
    ("source", "handler", "kind", "message"),
    [
        ("import nowhere\n", "index.handler", "Runtime.ImportModuleError", "Unable to import module 'index'"),
        ("def\n", "index.handler", "Runtime.UserCodeSyntaxError", "Syntax error in module 'index'"),
        ("x = 1\n", "index.handler", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'index'"),
        ("x = 1\n", "handler", "Runtime.MalformedHandlerName", "Bad handler 'handler'"),
        ("x = 1 / 0\n", "index.handler", "ZeroDivisionError", "division by zero"),
    ],
)
def test_a_handler_that_cannot_be_had(functions: Functions, source: str, handler: str, kind: str, message: str) -> None:
    error = functions.fail(functions.create(source, Handler=handler))
    assert error["errorType"] == kind
    assert message in error["errorMessage"]


def test_the_log_has_what_was_written_between_start_and_report(functions: Functions, act: str, cloud: Cloud) -> None:
    answer = cloud.client("lambda").invoke(
        FunctionName=act, Payload=json.dumps({"do": "print", "text": "a line"}).encode(), LogType="Tail"
    )
    lines = base64.b64decode(answer["LogResult"]).decode().splitlines()
    assert lines[0].startswith("START RequestId: ")
    assert lines[1] == "a line"
    assert lines[2].startswith("END RequestId: ")
    assert lines[3].startswith("REPORT RequestId: ")
    group = f"/aws/lambda/{act.rpartition(':')[2]}"
    logs = cloud.client("logs")
    until(
        lambda: any(event["message"] == "a line" for event in logs.filter_log_events(logGroupName=group)["events"]),
        "the line is in the log",
    )


def test_payloads_that_are_no_json_or_too_large_are_refused(act: str, cloud: Cloud) -> None:
    client = cloud.client("lambda")
    assert error_of(client.invoke, FunctionName=act, Payload=b"{")[0] == "InvalidRequestContentException"
    large = json.dumps("x" * 1_100_000).encode()
    code, _ = error_of(client.invoke, FunctionName=act, InvocationType="Event", Payload=large)
    assert code == "RequestTooLargeException"
    assert client.invoke(FunctionName=act, InvocationType="DryRun")["StatusCode"] == 204


def test_reserved_concurrency(functions: Functions, cloud: Cloud) -> None:
    client, arn = cloud.client("lambda"), functions.create(ECHO)
    assert client.put_function_concurrency(FunctionName=arn, ReservedConcurrentExecutions=0)
    assert client.get_function_concurrency(FunctionName=arn)["ReservedConcurrentExecutions"] == 0
    assert error_of(client.invoke, FunctionName=arn) == ("TooManyRequestsException", "Rate Exceeded.")
    client.delete_function_concurrency(FunctionName=arn)
    assert functions.call(arn, 1) == 1


def test_a_burst_of_calls_of_a_function_that_has_just_been_made(functions: Functions, localcloud_only: None) -> None:
    """More than run at once, and more than there are processes: they wait for each other, and none is refused."""
    source = "import boto3, os\ndef handler(event, context):\n    return [event, os.getpid()]\n"
    arn, count = functions.create(source, MemorySize=512), 60
    with ThreadPoolExecutor(count) as threads:
        answers = list(threads.map(partial(functions.call, arn), range(count)))
    assert [number for number, _ in answers] == list(range(count))
    assert len({process for _, process in answers}) < 16


def test_permissions(functions: Functions, cloud: Cloud) -> None:
    client, arn = cloud.client("lambda"), functions.create(ECHO)
    params = {"FunctionName": arn, "StatementId": "s", "Action": "lambda:InvokeFunction"}
    rule = "arn:aws:events:eu-west-1:123456789012:rule/r"
    client.add_permission(**params, Principal="events.amazonaws.com", SourceArn=rule)
    (statement,) = json.loads(client.get_policy(FunctionName=arn)["Policy"])["Statement"]
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert statement["Condition"] == {"ArnLike": {"AWS:SourceArn": rule}}
    again = error_of(client.add_permission, **params, Principal="events.amazonaws.com")
    assert again[0] == "ResourceConflictException"
    client.remove_permission(FunctionName=arn, StatementId="s")
    assert error_of(client.get_policy, FunctionName=arn)[0] == "ResourceNotFoundException"


def test_tags(functions: Functions, cloud: Cloud) -> None:
    client, arn = cloud.client("lambda"), functions.create(ECHO)
    client.tag_resource(Resource=arn, Tags={"a": "1", "b": "2"})
    client.untag_resource(Resource=arn, TagKeys=["a"])
    assert client.list_tags(Resource=arn)["Tags"] == {"b": "2"}


def test_an_event_that_succeeds_goes_to_its_destination(functions: Functions, cloud: Cloud) -> None:
    client, (url, queue) = cloud.client("lambda"), functions.queue()
    arn = functions.create(ECHO)
    config = {"OnSuccess": {"Destination": queue}}
    client.put_function_event_invoke_config(FunctionName=arn, DestinationConfig=config)
    answer = client.invoke(FunctionName=arn, InvocationType="Event", Payload=b'{"a": 1}')
    assert answer["StatusCode"] == 202
    (record,) = functions.bodies(url)
    assert record["requestContext"]["condition"] == "Success"
    assert record["requestContext"]["functionArn"] == f"{arn}:$LATEST"
    assert (record["requestPayload"], record["responsePayload"]) == ({"a": 1}, {"a": 1})


def test_an_event_that_fails_is_tried_three_times_and_then_given_up(
    functions: Functions, cloud: Cloud, localcloud_only: None
) -> None:
    client, (url, queue), (letters_url, letters) = cloud.client("lambda"), functions.queue(), functions.queue()
    tries_url, _ = functions.queue()
    source = ACT.replace('raise ValueError("no "', 'send(event); raise ValueError("no "')
    arn = functions.create(
        source, DeadLetterConfig={"TargetArn": letters}, Environment={"Variables": {"OUT": tries_url}}
    )
    client.put_function_event_invoke_config(
        FunctionName=arn, DestinationConfig={"OnFailure": {"Destination": queue}}, MaximumRetryAttempts=2
    )
    event = {"do": "fail", "what": "way"}
    client.invoke(FunctionName=arn, InvocationType="Event", Payload=json.dumps(event).encode())
    assert functions.bodies(tries_url) == [event]
    advance(cloud.endpoint_url, 61)
    assert functions.bodies(tries_url) == [event]
    assert functions.count(url) == 0
    advance(cloud.endpoint_url, 121)
    assert functions.bodies(tries_url) == [event]
    (record,) = functions.bodies(url)
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert record["responseContext"]["functionError"] == "Unhandled"
    assert record["responsePayload"]["errorType"] == "ValueError"
    (letter,) = functions.received(letters_url)
    assert json.loads(letter["Body"]) == event
    assert letter["MessageAttributes"]["ErrorMessage"]["StringValue"] == "no way"
    assert letter["MessageAttributes"]["ErrorCode"]["StringValue"] == "200"


def test_how_events_are_tried_is_kept_and_removed(functions: Functions, cloud: Cloud) -> None:
    client, arn = cloud.client("lambda"), functions.create(ECHO)
    client.put_function_event_invoke_config(FunctionName=arn, MaximumRetryAttempts=1)
    client.update_function_event_invoke_config(FunctionName=arn, MaximumEventAgeInSeconds=60)
    found = client.get_function_event_invoke_config(FunctionName=arn)
    assert (found["MaximumRetryAttempts"], found["MaximumEventAgeInSeconds"]) == (1, 60)
    assert len(client.list_function_event_invoke_configs(FunctionName=arn)["FunctionEventInvokeConfigs"]) == 1
    client.delete_function_event_invoke_config(FunctionName=arn)
    assert error_of(client.get_function_event_invoke_config, FunctionName=arn)[0] == "ResourceNotFoundException"


# Queues.

COLLECT = """
import json, os, boto3
sqs = boto3.client("sqs")

def handler(event, context):
    failed = []
    for record in event["Records"]:
        message = json.loads(record["body"])
        count = int(record["attributes"]["ApproximateReceiveCount"])
        sqs.send_message(QueueUrl=os.environ["OUT"], MessageBody=json.dumps([message, count, record["eventSourceARN"]]))
        if message == "bad":
            failed.append({"itemIdentifier": record["messageId"]})
        if message == "worse":
            raise RuntimeError("worse")
    return {"batchItemFailures": failed}
"""


def test_a_queue_feeds_a_function_and_what_is_handled_is_deleted(functions: Functions, cloud: Cloud) -> None:
    sqs, (url, queue), (out, _) = cloud.client("sqs"), functions.queue(), functions.queue()
    arn = functions.create(COLLECT, Environment={"Variables": {"OUT": out}})
    mapping = cloud.client("lambda").create_event_source_mapping(EventSourceArn=queue, FunctionName=arn, BatchSize=5)
    assert mapping["BatchSize"] == 5
    for number in range(12):
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps(number))
    found = functions.bodies(out, 12)
    assert sorted(message for message, _, _ in found) == list(range(12))
    assert {(count, source) for _, count, source in found} == {(1, queue)}
    until(lambda: functions.count(url) == 0, "the queue is empty")


def test_only_what_a_function_reports_comes_back_and_at_last_goes_to_the_dead_letters(
    functions: Functions, cloud: Cloud, localcloud_only: None
) -> None:
    sqs, (letters_url, letters), (out, _) = cloud.client("sqs"), functions.queue(), functions.queue()
    policy = json.dumps({"deadLetterTargetArn": letters, "maxReceiveCount": 2})
    url, queue = functions.queue(VisibilityTimeout="30", RedrivePolicy=policy)
    arn = functions.create(COLLECT, Environment={"Variables": {"OUT": out}})
    cloud.client("lambda").create_event_source_mapping(
        EventSourceArn=queue, FunctionName=arn, FunctionResponseTypes=["ReportBatchItemFailures"]
    )
    sqs.send_message_batch(
        QueueUrl=url, Entries=[{"Id": word, "MessageBody": json.dumps(word)} for word in ("good", "bad")]
    )
    assert sorted(message for message, _, _ in functions.bodies(out, 2)) == ["bad", "good"]
    until(lambda: functions.count(url) == 1, "what was handled is deleted")
    advance(cloud.endpoint_url, 31)
    assert functions.bodies(out) == [["bad", 2, queue]]
    advance(cloud.endpoint_url, 31)
    (letter,) = functions.received(letters_url)
    assert letter["Body"] == '"bad"'


def test_a_batch_that_fails_comes_back_whole(functions: Functions, cloud: Cloud, localcloud_only: None) -> None:
    sqs, (url, queue), (out, _) = cloud.client("sqs"), functions.queue(VisibilityTimeout="30"), functions.queue()
    arn = functions.create(COLLECT, Environment={"Variables": {"OUT": out}})
    client = cloud.client("lambda")
    mapping = client.create_event_source_mapping(EventSourceArn=queue, FunctionName=arn)["UUID"]
    sqs.send_message(QueueUrl=url, MessageBody='"worse"')
    assert functions.bodies(out) == [["worse", 1, queue]]
    advance(cloud.endpoint_url, 31)
    assert functions.bodies(out) == [["worse", 2, queue]]
    until(
        lambda: (
            client.get_event_source_mapping(UUID=mapping).get("LastProcessingResult") == "PROBLEM: Function call failed"
        ),
        "the mapping says so",
    )
    client.update_event_source_mapping(UUID=mapping, Enabled=False)
    advance(cloud.endpoint_url, 31)
    assert functions.count(out) == 0
    assert client.delete_event_source_mapping(UUID=mapping)["State"] == "Deleting"
    assert error_of(client.get_event_source_mapping, UUID=mapping)[0] == "ResourceNotFoundException"


def test_a_fifo_queue_is_handled_in_its_order(functions: Functions, cloud: Cloud) -> None:
    sqs, (url, queue), (out, _) = cloud.client("sqs"), functions.queue(FifoQueue="true"), functions.queue()
    arn = functions.create(COLLECT, Environment={"Variables": {"OUT": out}})
    cloud.client("lambda").create_event_source_mapping(EventSourceArn=queue, FunctionName=arn, BatchSize=1)
    for number in range(4):
        body = json.dumps(number)
        sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId="g", MessageDeduplicationId=body)
    assert [message for message, _, _ in functions.bodies(out, 4)] == [0, 1, 2, 3]


def test_an_event_that_gets_too_old_is_given_up(functions: Functions, cloud: Cloud, localcloud_only: None) -> None:
    client, (url, queue) = cloud.client("lambda"), functions.queue()
    arn = functions.create(ACT)
    client.put_function_event_invoke_config(
        FunctionName=arn, MaximumEventAgeInSeconds=60, DestinationConfig={"OnFailure": {"Destination": queue}}
    )
    event = json.dumps({"do": "fail", "what": "way"}).encode()
    client.invoke(FunctionName=arn, InvocationType="Event", Payload=event)
    advance(cloud.endpoint_url, 61)
    (record,) = functions.bodies(url)
    assert record["requestContext"]["condition"] == "EventAgeExceeded"
    assert record["requestContext"]["approximateInvokeCount"] >= 1


def test_a_filter_drops_what_a_function_does_not_want(functions: Functions, cloud: Cloud) -> None:
    sqs, (url, queue), (out, _) = cloud.client("sqs"), functions.queue(), functions.queue()
    arn = functions.create(COLLECT, Environment={"Variables": {"OUT": out}})
    criteria = {"Filters": [{"Pattern": '{"body": {"kind": ["mine"]}}'}]}
    cloud.client("lambda").create_event_source_mapping(EventSourceArn=queue, FunctionName=arn, FilterCriteria=criteria)
    for kind in ("others", "mine"):
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"kind": kind}))
    assert [message for message, _, _ in functions.bodies(out)] == [{"kind": "mine"}]
    until(lambda: functions.count(url) == 0, "the other one is gone, too")


def test_a_batching_window_gathers(functions: Functions, cloud: Cloud, localcloud_only: None) -> None:
    sqs, (url, queue), (out, _) = cloud.client("sqs"), functions.queue(), functions.queue()
    source = 'import os, json, boto3\ndef handler(event, context):\n    boto3.client("sqs").send_message('
    source += 'QueueUrl=os.environ["OUT"], MessageBody=json.dumps(len(event["Records"])))\n'
    arn = functions.create(source, Environment={"Variables": {"OUT": out}})
    cloud.client("lambda").create_event_source_mapping(
        EventSourceArn=queue, FunctionName=arn, MaximumBatchingWindowInSeconds=300
    )
    for _ in range(3):
        sqs.send_message(QueueUrl=url, MessageBody="m")

    def is_over() -> bool:
        advance(cloud.endpoint_url, 301)
        return functions.count(out) > 0

    until(is_over, "the window is over")
    assert functions.bodies(out) == [3]


def test_mappings_that_cannot_work_are_refused(functions: Functions, cloud: Cloud, localcloud_only: None) -> None:
    create, (_, queue) = cloud.client("lambda").create_event_source_mapping, functions.queue(VisibilityTimeout="5")
    arn = functions.create(ECHO)
    code, message = error_of(create, EventSourceArn=queue, FunctionName=arn)
    assert code == "InvalidParameterValueException"
    assert message == "Queue visibility timeout: 5 seconds is less than Function timeout: 10 seconds"
    table = "arn:aws:dynamodb:eu-west-1:123456789012:table/t/stream/2026-01-01T00:00:00.000"
    _, message = error_of(create, EventSourceArn=table, FunctionName=arn)
    assert "event sources are SQS queues and Kinesis streams" in message
    _, message = error_of(create, EventSourceArn=f"{queue}x", FunctionName=arn)
    assert "AWS.SimpleQueueService.NonExistentQueue" in message
    _, good = functions.queue()
    create(EventSourceArn=good, FunctionName=arn)
    assert error_of(create, EventSourceArn=good, FunctionName=arn)[0] == "ResourceConflictException"
    _, other = functions.queue()
    assert "Maximum batch window" in error_of(create, EventSourceArn=other, FunctionName=arn, BatchSize=11)[1]
