"""EventBridge Scheduler: schedules and groups as they are described, and what reaches their targets, and when."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import Cloud, Running
from tests.contract.lambda_account import Functions
from tests.contract.sagemaker_account import Account, error_of, until
from tests.contract.test_eventbridge import KEEP
from tests.contract.test_functions import advance
from tests.roles import make_role

OFF = {"Mode": "OFF"}
TIME = '"<aws.scheduler.scheduled-time>"'
HOUR, DAY = 3600, 86_400
SERVICE = "scheduler.amazonaws.com"


def trust(**condition: Any) -> str:
    """A trust policy that lets Scheduler in."""
    statement = {"Effect": "Allow", "Principal": {"Service": SERVICE}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement | condition]})


class Desk:
    """What the tests do with schedules. Those that are left are deleted at the end."""

    def __init__(self, client: Callable[[str], Any], functions: Functions) -> None:
        self.client, self.functions = client("scheduler"), functions
        self.of = client
        self.role = make_role(client("iam"), functions.name("scheduler"), assumed_by=trust())
        self.made: list[tuple[str, str]] = []

    def create(self, expression: str, arn: str, name: str = "", group: str = "default", **members: Any) -> str:
        """A schedule; gives its name. `target_…` are members of the target."""
        name = name or self.functions.name("schedule")
        self.client.create_schedule(**self.params(expression, arn, name, group, **members))
        self.made.append((group, name))
        return name

    def params(self, expression: str, arn: str, name: str, group: str = "default", **members: Any) -> dict[str, Any]:
        target = {key.removeprefix("target_"): value for key, value in members.items() if key.startswith("target_")}
        return {
            "Name": name,
            "GroupName": group,
            "ScheduleExpression": expression,
            "FlexibleTimeWindow": OFF,
            "Target": {"Arn": arn, "RoleArn": self.role, "Input": TIME, **target},
            **{key: value for key, value in members.items() if not key.startswith("target_")},
        }

    def now(self) -> datetime:
        """The present of the account, in whole seconds: another test may have let its clock run ahead."""
        name = self.functions.name("group")
        self.client.create_schedule_group(Name=name)
        moment: datetime = self.client.get_schedule_group(Name=name)["CreationDate"]
        self.client.delete_schedule_group(Name=name)
        return moment.astimezone(UTC).replace(microsecond=0)

    def state(self, name: str) -> str:
        return str(self.client.get_schedule(Name=name)["State"])


@pytest.fixture(scope="module")
def functions(cloud: Cloud) -> Functions:
    return Functions(cloud.client, cloud.role_arn)


@pytest.fixture
def desk(cloud: Cloud, functions: Functions) -> Iterator[Desk]:
    found = Desk(cloud.client, functions)
    yield found
    for group, name in found.made:
        with contextlib.suppress(found.client.exceptions.ResourceNotFoundException):
            found.client.delete_schedule(Name=name, GroupName=group)


def moments(bodies: list[Any]) -> list[datetime]:
    return [datetime.fromisoformat(body) for body in bodies]


def test_a_schedule_is_described_as_it_was_made(desk: Desk, cloud: Cloud) -> None:
    _, queue = desk.functions.queue()
    start = datetime(2099, 1, 1, tzinfo=UTC)
    name = desk.create(
        "cron(0 8 * * ? *)", queue, StartDate=start, Description="d", ScheduleExpressionTimezone="Asia/Kolkata"
    )
    found = desk.client.get_schedule(Name=name)
    arn = f"arn:aws:scheduler:{cloud.region}:{cloud.account_id}:schedule/default/{name}"
    assert found.pop("CreationDate") == found.pop("LastModificationDate")
    del found["ResponseMetadata"]
    assert found == {
        "ActionAfterCompletion": "NONE",
        "Arn": arn,
        "Description": "d",
        "FlexibleTimeWindow": OFF,
        "GroupName": "default",
        "Name": name,
        "ScheduleExpression": "cron(0 8 * * ? *)",
        "ScheduleExpressionTimezone": "Asia/Kolkata",
        "StartDate": start,
        "State": "ENABLED",
        "Target": {
            "Arn": queue,
            "RoleArn": desk.role,
            "Input": TIME,
            "RetryPolicy": {"MaximumEventAgeInSeconds": DAY, "MaximumRetryAttempts": 185},
        },
    }
    (listed,) = desk.client.list_schedules(NamePrefix=name)["Schedules"]
    assert (listed["Arn"], listed["Target"], listed["State"]) == (arn, {"Arn": queue}, "ENABLED")
    assert not desk.client.list_schedules(NamePrefix=name, State="DISABLED")["Schedules"]

    # An update gives what it leaves out its default again.
    desk.client.update_schedule(**desk.params("rate(5 days)", queue, name, State="DISABLED"))
    found = desk.client.get_schedule(Name=name)
    assert not {"Description", "StartDate"} & found.keys()
    assert (found["State"], found["ScheduleExpressionTimezone"]) == ("DISABLED", "UTC")
    assert found["LastModificationDate"] >= found["CreationDate"]

    desk.client.delete_schedule(Name=name)
    missing = ("ResourceNotFoundException", f"Schedule {name} does not exist.")
    assert error_of(desk.client.get_schedule, Name=name) == missing
    assert error_of(desk.client.delete_schedule, Name=name) == missing
    assert error_of(desk.client.update_schedule, **desk.params("rate(1 day)", queue, name)) == missing


def test_requests_that_are_repeated_with_their_token_are_done_once(desk: Desk) -> None:
    _, queue = desk.functions.queue()
    token, name = uuid.uuid4().hex, desk.functions.name("schedule")
    params = desk.params("rate(9 days)", queue, name, State="DISABLED")
    first = desk.client.create_schedule(**params, ClientToken=token)["ScheduleArn"]
    assert desk.client.create_schedule(**params, ClientToken=token)["ScheduleArn"] == first
    exists = ("ConflictException", f"Schedule {name} already exists.")
    assert error_of(desk.client.create_schedule, **params) == exists
    assert error_of(desk.client.create_schedule, **{**params, "Description": "other"}, ClientToken=token) == exists
    desk.client.delete_schedule(Name=name, ClientToken=token)
    desk.client.delete_schedule(Name=name, ClientToken=token)
    assert error_of(desk.client.delete_schedule, Name=name)[0] == "ResourceNotFoundException"


def test_groups_hold_schedules_and_tags(desk: Desk, cloud: Cloud) -> None:
    client, group = desk.client, desk.functions.name("group")
    arn = client.create_schedule_group(Name=group, Tags=[{"Key": "a", "Value": "1"}])["ScheduleGroupArn"]
    assert arn == f"arn:aws:scheduler:{cloud.region}:{cloud.account_id}:schedule-group/{group}"
    assert error_of(client.create_schedule_group, Name=group)[0] == "ConflictException"
    client.tag_resource(ResourceArn=arn, Tags=[{"Key": "b", "Value": "2"}, {"Key": "a", "Value": "3"}])
    client.untag_resource(ResourceArn=arn, TagKeys=["b", "c"])
    assert client.list_tags_for_resource(ResourceArn=arn)["Tags"] == [{"Key": "a", "Value": "3"}]
    assert client.get_schedule_group(Name=group)["State"] == "ACTIVE"
    assert {"default", group} <= {one["Name"] for one in client.list_schedule_groups()["ScheduleGroups"]}

    _, queue = desk.functions.queue()
    for name in ("b", "a"):
        client.create_schedule(**desk.params("rate(1 day)", queue, name, group, State="DISABLED"))
    pages = client.get_paginator("list_schedules").paginate(GroupName=group, PaginationConfig={"PageSize": 1})
    assert [page["Schedules"][0]["Name"] for page in pages if page["Schedules"]] == ["a", "b"]
    client.delete_schedule_group(Name=group)
    missing = ("ResourceNotFoundException", f"Schedule group {group} does not exist.")
    assert error_of(client.get_schedule_group, Name=group) == missing
    assert error_of(client.get_schedule, Name="a", GroupName=group) == missing
    assert error_of(client.create_schedule, **desk.params("rate(1 day)", queue, "c", group)) == missing
    assert error_of(client.list_tags_for_resource, ResourceArn=arn) == missing
    assert error_of(client.delete_schedule_group, Name="default")[0] == "ValidationException"
    # What was in it does not come back with its name.
    client.create_schedule_group(Name=group)
    assert not client.list_schedules(GroupName=group)["Schedules"]
    client.delete_schedule_group(Name=group)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"ScheduleExpression": "cron(0 8 * * *)"}, "Invalid Schedule Expression cron(0 8 * * *)."),
        ({"ScheduleExpression": "rate(0 hours)"}, "Invalid Schedule Expression rate(0 hours)."),
        ({"ScheduleExpressionTimezone": "Europe/Atlantis"}, "Invalid ScheduleExpressionTimezone"),
        ({"FlexibleTimeWindow": {"Mode": "FLEXIBLE"}}, "MaximumWindowInMinutes is required"),
        ({"StartDate": datetime(2020, 1, 1, tzinfo=UTC)}, "cannot be earlier than 5 minutes ago."),
        (
            {"StartDate": datetime(2099, 1, 2, tzinfo=UTC), "EndDate": datetime(2099, 1, 1, tzinfo=UTC)},
            "must come before the EndDate",
        ),
        ({"target_Arn": "arn:aws:scheduler:::aws-sdk:sqs:sendMessage"}, "have no universal targets"),
        ({"target_Arn": "arn:aws:ecs:eu-west-1:123456789012:cluster/c"}, "EcsParameters is required"),
        ({"target_Arn": "nonsense"}, "localcloud's schedules reach Lambda"),
        ({"target_KinesisParameters": {"PartitionKey": "k"}}, "have no KinesisParameters"),
        ({"target_SqsParameters": {"MessageGroupId": "g"}}, "MessageGroupId does not apply to"),
        ({"target_EventBridgeParameters": {"Source": "s", "DetailType": "d"}}, "EventBridgeParameters does not apply"),
        (
            {"target_Arn": "arn:aws:events:eu-west-1:123456789012:event-bus/default"},
            "EventBridgeParameters is required",
        ),
        (
            {"target_Arn": "arn:aws:lambda:eu-west-1:123456789012:function:f", "target_Input": "{"},
            "must be well-formed JSON",
        ),
        (
            {"target_RoleArn": "arn:aws:iam::123456789012:role/nobody"},
            "The execution role you provide must allow AWS EventBridge Scheduler to assume the role.",
        ),
    ],
)
def test_what_could_never_be_delivered_is_refused(
    desk: Desk, localcloud_only: None, members: dict[str, Any], message: str
) -> None:
    arn = "arn:aws:sqs:eu-west-1:123456789012:q"
    params = desk.params("rate(1 day)", arn, desk.functions.name("bad"), **members)
    code, told = error_of(desk.client.create_schedule, **params)
    assert code == "ValidationException"
    assert message in told


def test_a_role_must_let_scheduler_in_for_the_group(desk: Desk, cloud: Cloud) -> None:
    _, queue = desk.functions.queue()
    name = desk.functions.name("schedule")
    other = cloud.client("iam").create_role(
        RoleName=desk.functions.name("role"),
        AssumeRolePolicyDocument=trust(Condition={"StringEquals": {"aws:SourceArn": "arn:aws:scheduler:of:another"}}),
    )["Role"]
    params = desk.params("rate(1 day)", queue, name, target_RoleArn=other["Arn"], State="DISABLED")
    assert error_of(desk.client.create_schedule, **params)[0] == "ValidationException"
    group = f"arn:aws:scheduler:{cloud.region}:{cloud.account_id}:schedule-group/default"
    policy = trust(Condition={"StringEquals": {"aws:SourceArn": group, "aws:SourceAccount": cloud.account_id}})
    cloud.client("iam").update_assume_role_policy(RoleName=other["RoleName"], PolicyDocument=policy)
    desk.client.create_schedule(**params)
    desk.client.delete_schedule(Name=name)


def test_a_day_of_hours_reaches_a_queue_in_order(desk: Desk, cloud: Cloud, localcloud_only: None) -> None:
    url, queue = desk.functions.queue()
    input_text = f'{{"at": {TIME}, "of": "<aws.scheduler.schedule-arn>", "n": <aws.scheduler.attempt-number>}}'
    one, two = (desk.functions.name(letter) for letter in "ab")
    for name in (two, one):
        desk.create("cron(0 * * * ? *)", queue, name, target_Input=input_text)
    before = desk.now()
    advance(cloud.endpoint_url, DAY)
    bodies = desk.functions.bodies(url, 48)
    first = before.replace(minute=0, second=0) + timedelta(hours=1)
    assert [(body["at"], body["of"].rpartition("/")[2], body["n"]) for body in bodies] == [
        (f"{first + timedelta(hours=hour):%Y-%m-%dT%H:%M:%SZ}", name, 1) for hour in range(24) for name in (one, two)
    ]


def test_a_rate_begins_at_once_and_ends_at_its_end(desk: Desk, cloud: Cloud, localcloud_only: None) -> None:
    url, queue = desk.functions.queue()
    now = desk.now()
    desk.create("rate(90 minutes)", queue, EndDate=now + timedelta(hours=5))
    begun = moments(desk.functions.bodies(url))[0]
    assert now - timedelta(seconds=2) <= begun <= now + timedelta(seconds=10)
    advance(cloud.endpoint_url, DAY)
    assert moments(desk.functions.bodies(url, 3)) == [begun + n * timedelta(minutes=90) for n in (1, 2, 3)]
    assert desk.functions.count(url) == 0


def test_a_rate_counts_from_its_start_whatever_else_is_changed(desk: Desk, cloud: Cloud, localcloud_only: None) -> None:
    url, queue = desk.functions.queue()
    start = desk.now() + timedelta(hours=2)
    name = desk.create("rate(1 hour)", queue, StartDate=start)
    advance(cloud.endpoint_url, 2 * HOUR + 60)
    assert moments(desk.functions.bodies(url)) == [start]
    params = desk.params("rate(1 hour)", queue, name, StartDate=start, Description="new")
    desk.client.update_schedule(**params)
    advance(cloud.endpoint_url, HOUR)
    assert moments(desk.functions.bodies(url)) == [start + timedelta(hours=1)]
    desk.client.update_schedule(**params, State="DISABLED")
    advance(cloud.endpoint_url, 2 * HOUR)
    assert desk.functions.count(url) == 0
    desk.client.update_schedule(**params)
    advance(cloud.endpoint_url, HOUR)
    assert moments(desk.functions.bodies(url)) == [start + timedelta(hours=4)]


def test_one_moment_comes_once_and_the_schedule_may_go_with_it(desk: Desk, cloud: Cloud, localcloud_only: None) -> None:
    url, queue = desk.functions.queue()
    moment = desk.now() + timedelta(hours=1)
    expression = f"at({moment:%Y-%m-%dT%H:%M:%S})"
    stays, goes = desk.create(expression, queue), desk.create(expression, queue, ActionAfterCompletion="DELETE")
    past = desk.create("at(2020-01-01T00:00:00)", queue, ActionAfterCompletion="DELETE")
    advance(cloud.endpoint_url, DAY)
    assert moments(desk.functions.bodies(url, 2)) == [moment, moment]
    assert desk.functions.count(url) == 0
    assert desk.state(stays) == desk.state(past) == "ENABLED"
    assert error_of(desk.client.get_schedule, Name=goes)[0] == "ResourceNotFoundException"


def test_a_flexible_window_moves_the_invocation_and_not_the_scheduled_time(
    desk: Desk, cloud: Cloud, localcloud_only: None
) -> None:
    url, queue = desk.functions.queue()
    desk.create("cron(0 * * * ? *)", queue, FlexibleTimeWindow={"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15})
    # A window longer: the last of the day may be late, too.
    advance(cloud.endpoint_url, DAY + 15 * 60)
    messages = desk.functions.received(url, 24)
    sent = [int(message["Attributes"]["SentTimestamp"]) / 1000 for message in messages]
    planned = [datetime.fromisoformat(json.loads(message["Body"])).timestamp() for message in messages]
    late = [at - hour for at, hour in zip(sent, planned, strict=True)]
    assert all(0 <= seconds <= 15 * 60 for seconds in late)
    assert len({round(seconds) for seconds in late}) > 10


def test_without_input_a_target_gets_a_notification(desk: Desk, cloud: Cloud, localcloud_only: None) -> None:
    topic_url, topic_queue = desk.functions.queue()
    desk.functions.let_events_in(topic_url, topic_queue)
    arn = f"arn:aws:events:{cloud.region}:{cloud.account_id}:event-bus/default"
    source = desk.functions.name("source")
    cloud.client("events").put_rule(Name=source, EventPattern=json.dumps({"source": [source]}))
    cloud.client("events").put_targets(Rule=source, Targets=[{"Id": "q", "Arn": topic_queue}])
    params = desk.params(
        "rate(30 days)", arn, source, target_EventBridgeParameters={"Source": source, "DetailType": "Told"}
    )
    del params["Target"]["Input"]
    desk.client.create_schedule(**params)
    (event,) = desk.functions.bodies(topic_url)
    desk.client.delete_schedule(Name=source)
    assert (event["source"], event["detail-type"]) == (source, "Told")
    detail = event["detail"]
    schedule = f"arn:aws:scheduler:{cloud.region}:{cloud.account_id}:schedule/default/{source}"
    assert (detail["source"], detail["detail-type"], detail["resources"], detail["detail"]) == (
        "aws.scheduler",
        "Scheduled Event",
        [schedule],
        "{}",
    )


def test_a_function_is_invoked_as_the_role_without_a_policy_of_its_own(desk: Desk, cloud: Cloud) -> None:
    url, _ = desk.functions.queue()
    function = desk.functions.create(KEEP, Environment={"Variables": {"OUT": url}})
    desk.create("rate(30 days)", function, target_Input='{"time": "<aws.scheduler.scheduled-time>"}')
    (event,) = desk.functions.bodies(url)
    assert datetime.fromisoformat(event["time"]) <= desk.now() + timedelta(seconds=10)


def test_a_topic_is_told(desk: Desk, cloud: Cloud, localcloud_only: None) -> None:
    url, queue = desk.functions.queue()
    sns = cloud.client("sns")
    topic = sns.create_topic(Name=desk.functions.name("topic"))["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue, Attributes={"RawMessageDelivery": "true"})
    desk.create("rate(30 days)", topic, target_Input="plain")
    assert [message["Body"] for message in desk.functions.received(url)] == ["plain"]


def test_a_pipeline_is_started_with_its_parameters(desk: Desk, cloud: Cloud) -> None:
    account = Account.of(cloud)
    sagemaker, name = account.sagemaker, account.name("scheduled")
    definition = {
        "Version": "2020-12-01",
        "Parameters": [{"Name": "Stage", "Type": "String", "DefaultValue": "none"}],
        "Steps": [{"Name": "End", "Type": "Fail", "Arguments": {"ErrorMessage": {"Get": "Parameters.Stage"}}}],
    }
    arn = sagemaker.create_pipeline(
        PipelineName=name,
        PipelineDefinition=json.dumps(definition),
        ClientRequestToken=uuid.uuid4().hex,
        RoleArn=cloud.role_arn,
    )["PipelineArn"]
    parameters = {"PipelineParameterList": [{"Name": "Stage", "Value": "prod"}]}
    params = desk.params("rate(30 days)", arn, name, target_SageMakerPipelineParameters=parameters)
    del params["Target"]["Input"]
    desk.client.create_schedule(**params)

    def started() -> Any:
        return sagemaker.list_pipeline_executions(PipelineName=name)["PipelineExecutionSummaries"]

    (execution,) = until(started, "the execution has begun")
    desk.client.delete_schedule(Name=name)
    found = sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=execution["PipelineExecutionArn"])
    assert found["PipelineParameters"] == [{"Name": "Stage", "Value": "prod"}]


def test_what_cannot_be_delivered_goes_to_the_dead_letters(desk: Desk, cloud: Cloud, localcloud_only: None) -> None:
    url, letters = desk.functions.queue()
    missing = f"arn:aws:sqs:{cloud.region}:{cloud.account_id}:{desk.functions.name('gone')}"
    name = desk.create("rate(30 days)", missing, target_DeadLetterConfig={"Arn": letters}, target_Input='{"n": 1}')
    (letter,) = desk.functions.received(url)
    assert json.loads(letter["Body"]) == {"n": 1}
    attributes = {key: value["StringValue"] for key, value in letter["MessageAttributes"].items()}
    assert attributes["TARGET_ARN"] == missing
    assert attributes["SCHEDULE_ARN"].endswith(f":schedule/default/{name}")
    assert attributes["ERROR_CODE"] == "NO_RESOURCE"
    assert attributes["RETRY_ATTEMPTS"] == "0"
    assert len(attributes["EXECUTION_ID"]) == 16


@pytest.mark.slow
def test_a_kill_loses_no_occurrence_that_was_reached_and_makes_up_none_that_was_not(
    start_localcloud: Callable[[Path], Running], client_of: Callable[..., Any], tmp_path: Path
) -> None:
    running = start_localcloud(tmp_path)
    functions = Functions(lambda service: client_of(running, service), make_role(client_of(running, "iam"), "r"))
    desk = Desk(lambda service: client_of(running, service), functions)
    url, queue = functions.queue()
    desk.create("cron(0 * * * ? *)", queue, "hourly")
    advance(running.endpoint_url, 3 * HOUR)
    before = moments(functions.bodies(url, 3))
    running.kill()

    running = start_localcloud(tmp_path)
    functions = Functions(lambda service: client_of(running, service), make_role(client_of(running, "iam"), "r"))
    assert functions.count(url) == 0
    advance(running.endpoint_url, 2 * HOUR)
    after = moments(functions.bodies(url, 2))
    assert before + after == [before[0] + timedelta(hours=hour) for hour in range(5)]
