"""EventBridge: rules and their targets, what reaches them and in which form, and what becomes of what cannot."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import Cloud, Running
from tests.contract.lambda_account import EVENTS, Functions
from tests.contract.sagemaker_account import Account, error_of, until
from tests.contract.test_functions import advance
from tests.roles import make_role

KEEP = """
import json, os, boto3
def handler(event, context):
    boto3.client("sqs").send_message(QueueUrl=os.environ["OUT"], MessageBody=json.dumps(event))
"""


@pytest.fixture(scope="module")
def functions(cloud: Cloud) -> Functions:
    return Functions(cloud.client, cloud.role_arn)


@pytest.fixture(scope="module")
def events(cloud: Cloud) -> Any:
    return cloud.client("events")


class Heard:
    """A rule for a source that nobody else has, and the queue that hears of it."""

    def __init__(self, functions: Functions, events: Any, **target: Any) -> None:
        self.functions, self.events = functions, events
        self.source, self.rule = functions.name("source"), functions.name("rule")
        self.url, self.queue = functions.queue()
        functions.let_events_in(self.url, self.queue)
        pattern = json.dumps({"source": [self.source]})
        self.rule_arn = events.put_rule(Name=self.rule, EventPattern=pattern)["RuleArn"]
        events.put_targets(Rule=self.rule, Targets=[{"Id": "1", "Arn": self.queue, **target}])

    def put(self, detail: dict[str, Any], **members: Any) -> str:
        entry = {"Source": self.source, "DetailType": "test", "Detail": json.dumps(detail), **members}
        answer = self.events.put_events(Entries=[entry])
        assert answer["FailedEntryCount"] == 0, answer
        return str(answer["Entries"][0]["EventId"])


def test_an_event_reaches_a_queue_as_it_is(functions: Functions, events: Any, cloud: Cloud) -> None:
    heard = Heard(functions, events)
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    identifier = heard.put({"a": [1, None]}, Time=moment, Resources=["arn:x"])
    assert heard.functions.bodies(heard.url) == [
        {
            "version": "0",
            "id": identifier,
            "detail-type": "test",
            "source": heard.source,
            "account": cloud.account_id,
            "time": "2026-01-02T03:04:05Z",
            "region": cloud.region,
            "resources": ["arn:x"],
            "detail": {"a": [1, None]},
        }
    ]


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ({"Input": '{"constant": 1}'}, {"constant": 1}),
        ({"InputPath": "$.detail"}, {"name": "n", "count": 2}),
        (
            {
                "InputTransformer": {
                    "InputPathsMap": {"n": "$.detail.name", "c": "$.detail.count"},
                    "InputTemplate": '{"said": "<n> has <c>", "count": <c>}',
                }
            },
            {"said": "n has 2", "count": 2},
        ),
    ],
)
def test_targets_get_what_they_ask_for(functions: Functions, events: Any, target: dict[str, Any], body: Any) -> None:
    heard = Heard(functions, events, **target)
    heard.put({"name": "n", "count": 2})
    assert functions.bodies(heard.url) == [body]


def test_a_function_needs_a_permission_to_be_a_target(functions: Functions, events: Any, cloud: Cloud) -> None:
    (out, _), (letters_url, letters) = functions.queue(), functions.queue()
    functions.let_events_in(letters_url, letters)
    arn = functions.create(KEEP, Environment={"Variables": {"OUT": out}})
    source, rule = functions.name("source"), functions.name("rule")
    rule_arn = events.put_rule(Name=rule, EventPattern=json.dumps({"source": [source]}))["RuleArn"]
    events.put_targets(Rule=rule, Targets=[{"Id": "f", "Arn": arn, "DeadLetterConfig": {"Arn": letters}}])
    entry = {"Source": source, "DetailType": "t", "Detail": '{"number": 1}'}
    events.put_events(Entries=[entry])
    (letter,) = functions.received(letters_url)
    assert json.loads(letter["Body"])["detail"] == {"number": 1}
    told = {name: value["StringValue"] for name, value in letter["MessageAttributes"].items()}
    assert (told["RULE_ARN"], told["TARGET_ARN"], told["ERROR_CODE"]) == (rule_arn, arn, "NO_PERMISSIONS")
    assert told["RETRY_ATTEMPTS"] == "0"
    cloud.client("lambda").add_permission(
        FunctionName=arn, StatementId="s", Action="lambda:InvokeFunction", Principal=EVENTS, SourceArn=rule_arn
    )
    events.put_events(Entries=[entry])
    assert functions.bodies(out)[0]["detail"] == {"number": 1}


def test_a_queue_needs_a_policy_and_a_disabled_rule_is_silent(functions: Functions, events: Any, cloud: Cloud) -> None:
    heard = Heard(functions, events)
    cloud.client("sqs").set_queue_attributes(QueueUrl=heard.url, Attributes={"Policy": ""})
    heard.put({"number": 1})
    events.disable_rule(Name=heard.rule)
    functions.let_events_in(heard.url, heard.queue)
    heard.put({"number": 2})
    events.enable_rule(Name=heard.rule)
    heard.put({"number": 3})
    assert [event["detail"] for event in functions.bodies(heard.url)] == [{"number": 3}]


def test_a_throttled_delivery_is_tried_again(
    functions: Functions, events: Any, cloud: Cloud, localcloud_only: None
) -> None:
    out, _ = functions.queue()
    arn = functions.create(KEEP, Environment={"Variables": {"OUT": out}})
    source, rule = functions.name("source"), functions.name("rule")
    rule_arn = events.put_rule(Name=rule, EventPattern=json.dumps({"source": [source]}))["RuleArn"]
    events.put_targets(Rule=rule, Targets=[{"Id": "f", "Arn": arn}])
    client = cloud.client("lambda")
    client.add_permission(
        FunctionName=arn, StatementId="s", Action="lambda:InvokeFunction", Principal=EVENTS, SourceArn=rule_arn
    )
    client.put_function_concurrency(FunctionName=arn, ReservedConcurrentExecutions=1)
    events.put_events(Entries=[{"Source": source, "DetailType": "t", "Detail": "{}"}] * 5)
    for _ in range(4):
        # Each second that is over lets what was throttled come again; what is done already is not repeated.
        advance(cloud.endpoint_url, 600)
    assert len(functions.bodies(out, 5)) == 5


def test_a_rule_starts_a_pipeline_with_values_of_the_event(functions: Functions, events: Any, cloud: Cloud) -> None:
    account = Account.of(cloud)
    fail = {"Name": "Say", "Type": "Fail", "Arguments": {"ErrorMessage": {"Get": "Parameters.Who"}}}
    pipeline = account.create_pipeline(
        {"Version": "2020-12-01", "Parameters": [{"Name": "Who", "Type": "String"}], "Steps": [fail]}
    )
    arn = account.sagemaker.describe_pipeline(PipelineName=pipeline)["PipelineArn"]
    source, rule = functions.name("source"), functions.name("rule")
    events.put_rule(Name=rule, EventPattern=json.dumps({"source": [source]}))
    parameters = {"PipelineParameterList": [{"Name": "Who", "Value": "$.detail.who"}]}
    target = {"Id": "p", "Arn": arn, "RoleArn": cloud.role_arn, "SageMakerPipelineParameters": parameters}
    events.put_targets(Rule=rule, Targets=[target])
    events.put_events(Entries=[{"Source": source, "DetailType": "t", "Detail": '{"who": "me"}'}])

    def started() -> list[Any]:
        found: list[Any] = account.sagemaker.list_pipeline_executions(PipelineName=pipeline)[
            "PipelineExecutionSummaries"
        ]
        return found

    (execution,) = until(started, "the pipeline has started")
    account.execution_end(execution["PipelineExecutionArn"])
    steps = account.sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=execution["PipelineExecutionArn"])
    assert steps["PipelineExecutionSteps"][0]["FailureReason"] == "me"


def test_an_approval_of_a_model_package_feeds_a_function_through_a_queue(
    functions: Functions, events: Any, cloud: Cloud
) -> None:
    """The way to a deployment: approval, event, rule, queue, function."""
    sagemaker, (url, queue), (out, _) = cloud.client("sagemaker"), functions.queue(), functions.queue()
    functions.let_events_in(url, queue)
    source = (
        'import os, boto3\ndef handler(event, context):\n    for record in event["Records"]:\n        boto3.client('
    )
    source += '"sqs").send_message(QueueUrl=os.environ["OUT"], MessageBody=record["body"])\n'
    arn = functions.create(source, Environment={"Variables": {"OUT": out}})
    cloud.client("lambda").create_event_source_mapping(EventSourceArn=queue, FunctionName=arn)
    group, rule = functions.name("group"), functions.name("rule")
    pattern = {
        "source": ["aws.sagemaker"],
        "detail-type": ["SageMaker Model Package State Change"],
        "detail": {"ModelPackageGroupName": [group], "ModelApprovalStatus": ["Approved"]},
    }
    events.put_rule(Name=rule, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=rule, Targets=[{"Id": "q", "Arn": queue}])
    sagemaker.create_model_package_group(ModelPackageGroupName=group)
    specification = {
        "Containers": [{"Image": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/a:b"}],
        "SupportedContentTypes": ["text/csv"],
        "SupportedResponseMIMETypes": ["text/csv"],
    }
    package = sagemaker.create_model_package(ModelPackageGroupName=group, InferenceSpecification=specification)
    sagemaker.update_model_package(
        ModelPackageArn=package["ModelPackageArn"],
        ModelApprovalStatus="Approved",
        ModelLifeCycle={"Stage": "Staging", "StageStatus": "Approved"},
    )
    (event,) = functions.bodies(out)
    detail = event["detail"]
    assert event["resources"] == [detail["ModelPackageArn"]] == [package["ModelPackageArn"]]
    assert (detail["ModelPackageVersion"], detail["ModelPackageStatus"]) == (1, "Completed")
    assert detail["ModelLifeCycle"] == {"Stage": "Staging", "StageStatus": "Approved"}
    assert detail["InferenceSpecification"]["SupportedContentTypes"] == ["text/csv"]
    assert detail["CreationTime"].endswith("Z")
    assert "ModelPackageName" not in detail


def test_another_bus_gets_what_a_rule_hands_on(functions: Functions, events: Any) -> None:
    bus = functions.name("bus")
    bus_arn = events.create_event_bus(Name=bus)["EventBusArn"]
    url, queue = functions.queue()
    functions.let_events_in(url, queue)
    source = functions.name("source")
    pattern = json.dumps({"source": [source]})
    events.put_rule(Name="on-bus", EventBusName=bus, EventPattern=pattern)
    events.put_targets(Rule="on-bus", EventBusName=bus, Targets=[{"Id": "q", "Arn": queue}])
    rule = functions.name("rule")
    events.put_rule(Name=rule, EventPattern=pattern)
    events.put_targets(Rule=rule, Targets=[{"Id": "b", "Arn": bus_arn}])
    events.put_events(Entries=[{"Source": source, "DetailType": "by default", "Detail": "{}"}])
    events.put_events(Entries=[{"Source": source, "DetailType": "directly", "Detail": "{}", "EventBusName": bus}])
    assert {event["detail-type"] for event in functions.bodies(url, 2)} == {"by default", "directly"}
    assert bus in [found["Name"] for found in events.list_event_buses()["EventBuses"]]
    assert error_of(events.delete_event_bus, Name=bus)[0] == "ValidationException"
    events.remove_targets(Rule="on-bus", EventBusName=bus, Ids=["q"])
    events.delete_rule(Name="on-bus", EventBusName=bus)
    events.delete_event_bus(Name=bus)
    assert error_of(events.describe_event_bus, Name=bus) == (
        "ResourceNotFoundException",
        f"Event bus {bus} does not exist.",
    )


def test_a_log_group_and_a_fifo_queue_as_targets(functions: Functions, events: Any, cloud: Cloud) -> None:
    logs, group = cloud.client("logs"), f"/aws/events/{functions.name()}"
    logs.create_log_group(logGroupName=group)
    url, queue = functions.queue(FifoQueue="true")
    functions.let_events_in(url, queue)
    source, rule = functions.name("source"), functions.name("rule")
    events.put_rule(Name=rule, EventPattern=json.dumps({"source": [source]}))
    log_arn = f"arn:aws:logs:{cloud.region}:{cloud.account_id}:log-group:{group}"
    fifo = {"Id": "q", "Arn": queue, "SqsParameters": {"MessageGroupId": "g"}}
    events.put_targets(Rule=rule, Targets=[{"Id": "l", "Arn": log_arn}, fifo])
    events.put_events(Entries=[{"Source": source, "DetailType": "t", "Detail": "{}"}])
    (message,) = functions.received(url)
    assert message["Attributes"]["MessageGroupId"] == "g"
    until(lambda: logs.filter_log_events(logGroupName=group)["events"], "the event is in the log")


def test_rules_and_targets_are_described_and_removed(functions: Functions, events: Any) -> None:
    heard = Heard(functions, events)
    found = events.describe_rule(Name=heard.rule)
    assert (found["State"], found["EventBusName"], found["Arn"]) == ("ENABLED", "default", heard.rule_arn)
    assert events.list_rule_names_by_target(TargetArn=heard.queue)["RuleNames"] == [heard.rule]
    assert [rule["Name"] for rule in events.list_rules(NamePrefix=heard.rule)["Rules"]] == [heard.rule]
    assert events.list_targets_by_rule(Rule=heard.rule)["Targets"] == [{"Id": "1", "Arn": heard.queue}]
    events.tag_resource(ResourceARN=heard.rule_arn, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    events.untag_resource(ResourceARN=heard.rule_arn, TagKeys=["a"])
    assert events.list_tags_for_resource(ResourceARN=heard.rule_arn)["Tags"] == [{"Key": "b", "Value": "2"}]
    assert error_of(events.delete_rule, Name=heard.rule) == (
        "ValidationException",
        "Rule can't be deleted since it has targets.",
    )
    assert events.remove_targets(Rule=heard.rule, Ids=["1", "2"])["FailedEntryCount"] == 1
    events.delete_rule(Name=heard.rule)
    assert error_of(events.describe_rule, Name=heard.rule) == (
        "ResourceNotFoundException",
        f"Rule {heard.rule} does not exist on EventBus default.",
    )


def test_wrong_entries_are_refused_one_by_one(functions: Functions, events: Any) -> None:
    good = {"Source": "s", "DetailType": "t", "Detail": "{}"}
    entries = [
        good,
        {**good, "Source": "aws.ec2"},
        {**good, "Detail": "[]"},
        {"Source": "s", "Detail": "{}"},
        {**good, "EventBusName": "nowhere"},
    ]
    answer = events.put_events(Entries=entries)
    assert answer["FailedEntryCount"] == 4
    assert [entry.get("ErrorCode") for entry in answer["Entries"]] == [
        None,
        "NotAuthorizedForSourceException",
        "MalformedDetail",
        "InvalidArgument",
        "ResourceNotFoundException",
    ]


def test_wrong_rules_and_targets_are_refused(functions: Functions, events: Any, localcloud_only: None) -> None:
    code, message = error_of(events.put_rule, Name="r", EventPattern='{"source": []}')
    assert code == "InvalidEventPatternException"
    assert message == "Event pattern is not valid. Reason: Empty arrays are not allowed at source"
    for expression, reason in (
        ("rate(1 hours)", "must be singular after 1"),
        ("rate(2 hour)", "plural after any other number"),
        ("cron(0 10 * * *)", "it has 5 fields"),
        ("at(2099-01-01T00:00:00)", "make a schedule of Scheduler"),
    ):
        _, message = error_of(events.put_rule, Name="r", ScheduleExpression=expression)
        assert message.startswith("Parameter ScheduleExpression is not valid.")
        assert reason in message
    heard = Heard(functions, events)

    def refusal(**target: Any) -> str:
        code, message = error_of(events.put_targets, Rule=heard.rule, Targets=[{"Id": "x", **target}])
        assert code == "ValidationException"
        return message

    assert "got the Arn 'arn:aws:kinesis:eu-west-1:123456789012:stream/a'" in refusal(
        Arn="arn:aws:kinesis:eu-west-1:123456789012:stream/a"
    )
    pipeline = "arn:aws:sagemaker:eu-west-1:123456789012:pipeline/p"
    assert refusal(Arn=pipeline) == f"RoleArn is required for target {pipeline}."
    assert "invalid placeholder x" in refusal(
        Arn=heard.queue, InputTransformer={"InputPathsMap": {"y": "$.id"}, "InputTemplate": '"<x>"'}
    )
    assert "MessageGroupId is required" in refusal(Arn=f"{heard.queue}.fifo")


def test_a_scheduled_rule_tells_its_targets_and_nobody_else(
    functions: Functions, events: Any, cloud: Cloud, localcloud_only: None
) -> None:
    url, queue = functions.queue()
    functions.let_events_in(url, queue)
    cron, rate = functions.name("a-cron"), functions.name("b-rate")
    arns = [events.put_rule(Name=cron, ScheduleExpression="cron(0 * * * ? *)")["RuleArn"]]
    arns += [events.put_rule(Name=rate, ScheduleExpression="rate(2 hours)", State="DISABLED")["RuleArn"]]
    assert "Targets" not in events.list_targets_by_rule(Rule=cron)
    for name in (cron, rate):
        events.put_targets(Rule=name, Targets=[{"Id": "q", "Arn": queue}])
    assert events.describe_rule(Name=rate)["ScheduleExpression"] == "rate(2 hours)"
    # A rule that reacts to all events of this source hears nothing of them.
    ear, ear_queue = functions.queue()
    functions.let_events_in(ear, ear_queue)
    events.put_rule(Name=f"{cron}-ear", EventPattern='{"source": ["aws.events"]}')
    events.put_targets(Rule=f"{cron}-ear", Targets=[{"Id": "q", "Arn": ear_queue}])

    advance(cloud.endpoint_url, 2 * 3600)
    hours = functions.bodies(url, 2)
    assert [event["resources"] for event in hours] == [[arns[0]]] * 2
    assert {(event["source"], event["detail-type"], str(event["detail"])) for event in hours} == {
        ("aws.events", "Scheduled Event", "{}")
    }
    moments = [datetime.fromisoformat(event["time"]) for event in hours]
    assert moments[1] - moments[0] == timedelta(hours=1)
    assert moments[0].minute == moments[0].second == 0

    events.disable_rule(Name=cron)
    events.enable_rule(Name=rate)
    advance(cloud.endpoint_url, 4 * 3600)
    assert [event["resources"] for event in functions.bodies(url, 2)] == [[arns[1]]] * 2
    for name in (cron, rate):
        events.remove_targets(Rule=name, Ids=["q"])
        events.delete_rule(Name=name)
    advance(cloud.endpoint_url, 4 * 3600)
    assert functions.count(url) == functions.count(ear) == 0
    bus = functions.name("bus")
    events.create_event_bus(Name=bus)
    _, message = error_of(events.put_rule, Name=rate, ScheduleExpression="rate(1 hour)", EventBusName=bus)
    assert message == "ScheduleExpression is supported only on the default event bus."


def test_patterns_can_be_tried(events: Any) -> None:
    event = {
        "id": "1",
        "account": "123456789012",
        "source": "s",
        "time": "2026-01-01T00:00:00Z",
        "region": "eu-west-1",
        "resources": [],
        "detail-type": "t",
        "detail": {"a": 5},
    }
    pattern = '{"detail": {"a": [{"numeric": [">", 4]}]}}'
    assert events.test_event_pattern(EventPattern=pattern, Event=json.dumps(event))["Result"] is True
    assert error_of(events.test_event_pattern, EventPattern=pattern, Event="{}")[0] == "ValidationException"


@pytest.mark.slow
def test_what_is_not_delivered_is_delivered_after_a_restart(
    tmp_path: Path, start_localcloud: Callable[[Path], Running], client_of: Callable[..., Any]
) -> None:
    first = start_localcloud(tmp_path)
    functions = Functions(lambda service: client_of(first, service), make_role(client_of(first, "iam"), "r"))
    out, _ = functions.queue()
    path = out.partition(str(first.port))[2]
    source = KEEP.replace('os.environ["OUT"]', 'os.environ["AWS_ENDPOINT_URL"] + os.environ["OUT"]')
    arn = functions.create(source, Environment={"Variables": {"OUT": path}})
    events, client = functions.client("events"), functions.client("lambda")
    rule_arn = events.put_rule(Name="r", EventPattern='{"source": ["s"]}')["RuleArn"]
    client.add_permission(
        FunctionName=arn, StatementId="s", Action="lambda:InvokeFunction", Principal=EVENTS, SourceArn=rule_arn
    )
    events.put_targets(Rule="r", Targets=[{"Id": "f", "Arn": arn}])
    events.put_events(Entries=[{"Source": "s", "DetailType": "t", "Detail": '{"number": 1}'}])
    # As a power cut would: between the answer and the delivery, or the delivery and the function's end.
    first.kill()
    second = start_localcloud(tmp_path)
    functions = Functions(lambda service: client_of(second, service), functions.role)
    assert functions.bodies(second.endpoint_url + path)[0]["detail"] == {"number": 1}
