"""CloudFormation: stacks that are made, changed, rolled back and deleted, and what their resources then are."""

from __future__ import annotations

import io
import json
import urllib.parse
import urllib.request
import uuid
import zipfile
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud.cloudformation import syntax
from tests.contract.sagemaker_account import Account, error_of
from tests.contract.stacks import Stacks, body_of, template
from tests.roles import make_role

ALL_TYPES = Path(__file__).with_name("stack_of_all_types.yml")
NAMED_IAM = ["CAPABILITY_NAMED_IAM"]


@pytest.fixture(scope="module")
def account(cloud: Any) -> Account:
    """The account under test."""
    return Account.of(cloud)


def parameter(name: str, value: Any, **more: Any) -> tuple[str, dict[str, Any]]:
    return ("AWS::SSM::Parameter", {"Name": name, "Type": "String", "Value": value, **more})


def queue(**properties: Any) -> tuple[str, dict[str, Any]]:
    return ("AWS::SQS::Queue", properties)


def value_of(account: Account, name: str) -> str | None:
    ssm = account.client("ssm")
    try:
        return str(ssm.get_parameter(Name=name)["Parameter"]["Value"])
    except ssm.exceptions.ParameterNotFound:
        return None


# --- what a stack makes ----------------------------------------------------------------------------------------------


def test_every_type_is_made_as_declared_and_deleted_with_its_stack(account: Account, stacks: Stacks) -> None:
    project = account.name("p")
    stack_id = stacks.made(
        ALL_TYPES.read_text(),
        Capabilities=NAMED_IAM,
        Parameters=[{"ParameterKey": "Project", "ParameterValue": project}],
        Tags=[{"Key": "project", "Value": project}],
    )
    client = account.client
    bucket = f"{project}-{account.number}"
    s3 = client("s3")
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    rule = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"][0]
    assert (rule["ID"], rule["Expiration"], rule["Filter"]) == ("old", {"Days": 30}, {"Prefix": ""})
    encryption = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert encryption["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert all(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values())
    assert {"Key": "project", "Value": project} in s3.get_bucket_tagging(Bucket=bucket)["TagSet"]
    policy = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])
    assert policy["Version"] == "2012-10-17"
    assert policy["Statement"][0]["Resource"] == [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]

    iam = client("iam")
    assert iam.list_role_policies(RoleName=f"{project}-role")["PolicyNames"] == ["inline", "more"]
    assert value_of(account, f"/{project}/threshold") == "5"
    repositories = client("ecr").describe_repositories(repositoryNames=[f"{project}/cardholders"])["repositories"]
    assert repositories[0]["imageScanningConfiguration"] == {"scanOnPush": True}
    group = client("sagemaker").describe_feature_group(FeatureGroupName=f"{project}-minutes")
    assert group["FeatureGroupStatus"] == "Created"
    log_groups = client("logs").describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{project}-f")["logGroups"]
    assert log_groups[0]["retentionInDays"] == 14
    table = client("dynamodb").describe_time_to_live(TableName=f"{project}-seen")["TimeToLiveDescription"]
    assert table["AttributeName"] == "expires"

    answer = client("lambda").invoke(FunctionName=f"{project}-f", Payload=b'{"n": 1}')
    assert json.loads(answer["Payload"].read()) == {"got": {"n": 1}}
    assert client("events").list_targets_by_rule(Rule=f"{project}-rule")["Targets"][0]["Id"] == "f"
    assert client("events").describe_rule(Name=f"{project}-daily")["ScheduleExpression"] == "cron(0 6 * * ? *)"
    schedule = client("scheduler").get_schedule(Name=f"{project}-hourly", GroupName=f"{project}-schedules")
    assert (schedule["State"], schedule["Description"]) == ("DISABLED", "Once an hour")
    assert schedule["Target"]["RetryPolicy"] == {"MaximumRetryAttempts": 2, "MaximumEventAgeInSeconds": 600}
    alarms = client("cloudwatch").describe_alarms(
        AlarmNames=[f"{project}-{name}" for name in ("alarm", "any", "math")],
        AlarmTypes=["MetricAlarm", "CompositeAlarm"],
    )
    assert alarms["MetricAlarms"][0]["Threshold"] == 1.0
    assert alarms["MetricAlarms"][1]["Metrics"][0]["Expression"] == "loss - threshold"
    assert alarms["CompositeAlarms"][0]["AlarmRule"] == f'ALARM("{project}-alarm")'
    attributes = client("sqs").get_queue_attributes(QueueUrl=stacks.outputs(stack_id)["Url"], AttributeNames=["All"])
    assert attributes["Attributes"]["VisibilityTimeout"] == "180"
    assert json.loads(attributes["Attributes"]["RedrivePolicy"])["maxReceiveCount"] == 3
    subscriptions = client("sns").list_subscriptions_by_topic(TopicArn=stacks.physical(stack_id, "Topic"))
    assert {one["Protocol"] for one in subscriptions["Subscriptions"]} == {"sqs", "email"}
    body = client("cloudwatch").get_dashboard(DashboardName=f"{project}-board")["DashboardBody"]
    assert json.loads(body)["widgets"][0]["properties"]["region"] == client("cloudwatch").meta.region_name

    stage = client("apigateway").get_stage(restApiId=stacks.physical(stack_id, "Api"), stageName="prod")
    assert stage["deploymentId"] == stacks.physical(stack_id, "ApiDeployment")
    assert stage["methodSettings"]["*/*"]["throttlingRateLimit"] == 50
    statuses = {
        one["ResourceStatus"]
        for one in stacks.client.list_stack_resources(StackName=stack_id)["StackResourceSummaries"]
    }
    assert statuses == {"CREATE_COMPLETE"}

    assert stacks.delete(stack_id)["StackStatus"] == "DELETE_COMPLETE"
    for gone in (
        lambda: s3.head_bucket(Bucket=bucket),
        lambda: iam.get_role(RoleName=f"{project}-role"),
        lambda: client("lambda").get_function(FunctionName=f"{project}-f"),
        lambda: client("events").describe_rule(Name=f"{project}-rule"),
        lambda: client("cloudwatch").get_dashboard(DashboardName=f"{project}-board"),
        lambda: client("sagemaker").describe_model_package_group(ModelPackageGroupName=f"{project}-cardholders"),
        lambda: client("dynamodb").describe_table(TableName=f"{project}-seen"),
    ):
        with pytest.raises(ClientError):
            gone()
    left = client("cloudwatch").describe_alarms(AlarmNamePrefix=project, AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    assert not left["MetricAlarms"]
    assert not left["CompositeAlarms"]


def _allowing(*actions: str) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    return {"Version": "2012-10-17", "Statement": [statement]}


def test_every_type_is_changed_in_place_and_back(account: Account, stacks: Stacks) -> None:
    project = account.name("c")
    before, after = syntax.parse(ALL_TYPES.read_text()), syntax.parse(ALL_TYPES.read_text())
    common: dict[str, Any] = {
        "Capabilities": NAMED_IAM,
        "Parameters": [{"ParameterKey": "Project", "ParameterValue": project}],
    }
    # None takes a property away.
    differences: dict[str, dict[str, Any]] = {
        "Bucket": {"LifecycleConfiguration": None, "CorsConfiguration": None, "BucketEncryption": None},
        # Its mappings read a queue and a stream by it, before and after.
        "Role": {
            "Description": "changed",
            "Policies": [{"PolicyName": "changed", "PolicyDocument": _allowing("sqs:*", "kinesis:*")}],
            "MaxSessionDuration": 7200,
        },
        "RolePolicy": {"PolicyName": "other"},
        "Param": {"Value": "6", "Description": None, "Tags": {"own": "tag"}},
        "Repo": {"ImageTagMutability": "IMMUTABLE", "LifecyclePolicy": None},
        "Function": {"Timeout": 29, "Environment": None, "ReservedConcurrentExecutions": None},
        "FunctionLog": {"RetentionInDays": None},
        "Permission": {"Action": "lambda:*"},
        "Mapping": {"BatchSize": 5, "FunctionResponseTypes": None, "Enabled": False},
        "Invoke": {"MaximumRetryAttempts": 0, "DestinationConfig": None},
        "Rule": {"State": "DISABLED", "Description": "changed"},
        "ScheduledRule": {"ScheduleExpression": "rate(2 hours)"},
        "ScheduleGroup": {"Tags": [{"Key": "own", "Value": "tag"}]},
        "Schedule": {"Description": None, "ScheduleExpression": "rate(1 hour)"},
        "Queue": {"RedrivePolicy": None, "VisibilityTimeout": None, "DelaySeconds": 3},
        "QueuePolicy": {"Queues": [{"Ref": "Dead"}]},
        "Topic": {
            "DisplayName": "Changed",
            "Subscription": [{"Protocol": "sqs", "Endpoint": {"Fn::GetAtt": "Dead.Arn"}}],
        },
        "Subscription": {"FilterPolicy": {"kind": ["a"]}, "RawMessageDelivery": None},
        "Alarm": {"Threshold": 2, "AlarmActions": None, "Tags": [{"Key": "own", "Value": "tag"}]},
        "MathAlarm": {"DatapointsToAlarm": 1},
        "Dashboard": {"DashboardBody": '{"widgets": []}'},
        "Composite": {"AlarmRule": {"Fn::Sub": 'OK("${Alarm}")'}},
        "Table": {"TimeToLiveSpecification": None, "PointInTimeRecoverySpecification": None},
        "People": {"Policies": None, "UserPoolTags": {"own": "tag"}, "UserPoolName": "changed"},
        "PeopleApi": {"Name": "changed"},
        "PeopleClient": {"AccessTokenValidity": None, "TokenValidityUnits": None, "ClientName": "changed"},
        "Acl": {"Rules": None, "CustomResponseBodies": None, "Description": "changed"},
        "EncryptionKey": {"Description": None, "EnableKeyRotation": None, "Enabled": False},
        "EncryptionAlias": {"TargetKeyId": {"Fn::GetAtt": "EncryptionKey.Arn"}},
        "Network": {"SecurityGroupEgress": None, "Tags": [{"Key": "own", "Value": "tag"}]},
        "Deliveries": {"Tags": [{"Key": "own", "Value": "tag"}]},
        "NetworkIngress": {"FromPort": 80},
        "Line": {"ExecutionMode": None, "DisableInboundStageTransitions": None},
        "Catalog": {"Description": None, "DisplayName": "changed", "Tags": [{"Key": "own", "Value": "tag"}]},
        "Containers": {"DefaultCapacityProviderStrategy": None, "Tags": [{"Key": "own", "Value": "tag"}]},
    }
    for name, properties in differences.items():
        merged = {**after["Resources"][name]["Properties"], **properties}
        after["Resources"][name]["Properties"] = {key: value for key, value in merged.items() if value is not None}
    after["Resources"]["MonthlyBudget"]["Properties"]["Budget"]["BudgetLimit"]["Amount"] = 200
    added = {"FeatureName": "fee", "FeatureType": "Fractional"}
    after["Resources"]["Features"]["Properties"]["FeatureDefinitions"].append(added)

    stack_id = stacks.made(before, **common)
    bad = {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "no spaces"}, "DependsOn": list(after["Resources"])}
    failing = {**after, "Resources": {**after["Resources"], "Bad": bad}}
    stack = stacks.update(stack_id, failing, **common)
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert stacks.reasons(stack_id).keys() == {"Bad"}
    functions, iam = account.client("lambda"), account.client("iam")

    def now() -> list[Any]:
        settings = functions.get_function_configuration(FunctionName=f"{project}-f")
        alarm = account.client("cloudwatch").describe_alarms(AlarmNames=[f"{project}-alarm"])["MetricAlarms"][0]
        return [
            sorted(iam.list_role_policies(RoleName=f"{project}-role")["PolicyNames"]),
            settings["Timeout"],
            "Environment" in settings and bool(settings["Environment"]["Variables"]),
            functions.get_event_source_mapping(UUID=stacks.physical(stack_id, "Mapping"))["BatchSize"],
            account.client("events").describe_rule(Name=f"{project}-rule")["State"],
            alarm["Threshold"],
            value_of(account, f"/{project}/threshold"),
        ]

    assert now() == [["inline", "more"], 30, True, 1, "ENABLED", 1.0, "5"]
    stack = stacks.update(stack_id, after, **common)
    assert stack["StackStatus"] == "UPDATE_COMPLETE", stacks.reasons(stack_id)
    assert now() == [["changed", "other"], 29, False, 5, "DISABLED", 2.0, "6"]


def test_names_are_made_of_stack_and_logical_id_where_none_is_given(account: Account, stacks: Stacks) -> None:
    name = account.name("named")
    stack_id = stacks.made(
        template(Bucket=("AWS::S3::Bucket", {}), Queue=queue(FifoQueue=True), Topic=("AWS::SNS::Topic", {})), name=name
    )
    assert stacks.physical(stack_id, "Bucket").startswith(f"{name}-bucket-")
    url = stacks.physical(stack_id, "Queue")
    assert f"/{name}-Queue-" in url
    assert url.endswith(".fifo")
    assert url == account.client("sqs").get_queue_url(QueueName=url.rpartition("/")[2])["QueueUrl"]
    topic = stacks.physical(stack_id, "Topic").rpartition(":")[2]
    random = topic.removeprefix(f"{name}-Topic-")
    assert len(random) == 12
    assert random == random.upper()


def test_waiters_see_the_end(account: Account, stacks: Stacks) -> None:
    """boto3's waiters know no statuses but those of AWS."""
    soon = {"Delay": 0.05, "MaxAttempts": 400}
    name = account.name("waited")
    parameters = template(One=parameter(f"/{name}", "1"))
    stacks.create(parameters, name=name)
    stacks.client.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig=soon)
    stacks.client.update_stack(StackName=name, TemplateBody=body_of(template(One=parameter(f"/{name}", "2"))))
    stacks.client.get_waiter("stack_update_complete").wait(StackName=name, WaiterConfig=soon)
    stacks.client.delete_stack(StackName=name)
    stacks.client.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig=soon)
    code, message = error_of(stacks.client.describe_stacks, StackName=name)
    assert (code, message) == ("ValidationError", f"Stack with id {name} does not exist")


def test_events_tell_the_order(account: Account, stacks: Stacks) -> None:
    name = account.name("ordered")
    stack_id = stacks.made(
        template(
            Second=parameter(f"/{name}/second", {"Fn::GetAtt": ["First", "Value"]}),
            Third=(*parameter(f"/{name}/third", "3"), {"DependsOn": ["Second"]}),
            First=parameter(f"/{name}/first", "1"),
        ),
        name=name,
    )
    made = ["CREATE_IN_PROGRESS", "CREATE_IN_PROGRESS", "CREATE_COMPLETE"]
    assert stacks.events(stack_id) == [
        (name, "CREATE_IN_PROGRESS"),
        *(("First", status) for status in made),
        *(("Second", status) for status in made),
        *(("Third", status) for status in made),
        (name, "CREATE_COMPLETE"),
    ]
    stacks.delete(stack_id)
    gone = [one for one, status in stacks.events(stack_id) if status == "DELETE_COMPLETE"]
    assert gone == ["Third", "Second", "First", name]


def test_a_template_in_s3_is_fetched(account: Account, stacks: Stacks) -> None:
    name = account.name("url")
    body = body_of(template(One=parameter(f"/{name}", "from S3")))
    bucket, _, key = account.put(body, "stack.yml").removeprefix("s3://").partition("/")
    url = f"https://{bucket}.s3.{account.region}.amazonaws.com/{key}/stack.yml"
    stack_id = stacks.client.create_stack(StackName=name, TemplateURL=url)["StackId"]
    stacks.ids.append(stack_id)
    assert stacks.settled(stack_id)["StackStatus"] == "CREATE_COMPLETE"
    assert value_of(account, f"/{name}") == "from S3"
    code, message = error_of(stacks.client.validate_template, TemplateURL="https://example.org/stack.yml")
    assert code == "ValidationError"
    assert "https://example.org/stack.yml is not a valid S3 domain" in message


def test_the_calls_are_those_of_the_stacks_role(
    account: Account, stacks: Stacks, cloud: Any, localcloud_only: None
) -> None:
    name = account.name("role")
    role = make_role(account.client("iam"), name)
    stacks.made(template(One=parameter(f"/{name}", "1")), name=name, RoleARN=role)
    question = urllib.parse.urlencode({"principal": role})
    with urllib.request.urlopen(f"{cloud.endpoint_url}/_localcloud/calls?{question}") as answer:
        calls = json.load(answer)["calls"]
    assert {call["action"] for call in calls} == {"ssm:PutParameter"}


# --- parameters, conditions, outputs ---------------------------------------------------------------------------------


def test_parameters_conditions_and_mappings_have_their_say(account: Account, stacks: Stacks) -> None:
    name = account.name("say")
    account.client("ssm").put_parameter(Name=f"/{name}/given", Value="stored", Type="String")
    body = {
        "Parameters": {
            "Stage": {"Type": "String", "AllowedValues": ["staging", "prod"]},
            "Secret": {"Type": "String", "NoEcho": True},
            "Stored": {"Type": "AWS::SSM::Parameter::Value<String>"},
            "Names": {"Type": "CommaDelimitedList", "Default": "a, b"},
        },
        "Mappings": {"Sizes": {"prod": {"count": 2}, "staging": {"count": 1}}},
        "Conditions": {"IsProd": {"Fn::Equals": [{"Ref": "Stage"}, "prod"]}},
        **template(
            Always=parameter(
                f"/{name}/always",
                {
                    "Fn::Join": [
                        "|",
                        [
                            {"Fn::FindInMap": ["Sizes", {"Ref": "Stage"}, "count"]},
                            {"Fn::Select": [1, {"Ref": "Names"}]},
                            {"Ref": "Stored"},
                            {"Fn::If": ["IsProd", "yes", {"Fn::Sub": "no in ${AWS::Region}"}]},
                            "{{resolve:ssm:/" + name + "/given}}",
                        ],
                    ]
                },
                Description={"Fn::If": ["IsProd", "production", {"Ref": "AWS::NoValue"}]},
            ),
            Sometimes=(*parameter(f"/{name}/prod", "1"), {"Condition": "IsProd"}),
        ),
        "Outputs": {"Prod": {"Condition": "IsProd", "Value": {"Ref": "Sometimes"}}, "Secret": {"Value": "s"}},
    }
    given = [
        {"ParameterKey": "Stage", "ParameterValue": "staging"},
        {"ParameterKey": "Secret", "ParameterValue": "hush"},
        {"ParameterKey": "Stored", "ParameterValue": f"/{name}/given"},
    ]
    stack_id = stacks.made(body, name=name, Parameters=given)
    assert value_of(account, f"/{name}/always") == f"1|b|stored|no in {account.region}|stored"
    assert value_of(account, f"/{name}/prod") is None
    assert stacks.outputs(stack_id) == {"Secret": "s"}
    shown = {one["ParameterKey"]: one for one in stacks.settled(stack_id)["Parameters"]}
    assert shown["Secret"]["ParameterValue"] == "****"
    assert shown["Stored"]["ResolvedValue"] == "stored"

    kept = [{"ParameterKey": key, "UsePreviousValue": True} for key in ("Secret", "Stored")]
    stack = stacks.update(stack_id, body, Parameters=[{"ParameterKey": "Stage", "ParameterValue": "prod"}, *kept])
    assert stack["StackStatus"] == "UPDATE_COMPLETE"
    assert value_of(account, f"/{name}/prod") == "1"
    assert value_of(account, f"/{name}/always") == "2|b|stored|yes|stored"
    assert stacks.outputs(stack_id)["Prod"] == f"/{name}/prod"


def test_exports_are_imported_and_kept_while_they_are(account: Account, stacks: Stacks) -> None:
    name, export = account.name("export"), account.name("value")
    giving = {
        **template(One=parameter(f"/{name}/one", "1")),
        "Outputs": {"Out": {"Value": {"Ref": "One"}, "Export": {"Name": export}}},
    }
    giver = stacks.made(giving, name=name)
    taking = template(Two=parameter(f"/{name}/two", {"Fn::ImportValue": export}))
    taker = stacks.made(taking, name=f"{name}-taker")
    assert value_of(account, f"/{name}/two") == f"/{name}/one"
    pages = stacks.client.get_paginator("list_exports").paginate()
    assert {"ExportingStackId": giver, "Name": export, "Value": f"/{name}/one"} in [
        one for page in pages for one in page["Exports"]
    ]
    assert stacks.client.list_imports(ExportName=export)["Imports"] == [f"{name}-taker"]

    stack = stacks.update(giver, template(One=parameter(f"/{name}/one", "2")))
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert value_of(account, f"/{name}/one") == "1"
    stack = stacks.delete(giver)
    assert stack["StackStatus"] == "DELETE_FAILED"
    assert f"Cannot delete export {export} as it is in use by {name}-taker" in stack["StackStatusReason"]
    stacks.delete(taker)
    assert stacks.delete(giver)["StackStatus"] == "DELETE_COMPLETE"

    stack = stacks.settled(stacks.create(taking, name=f"{name}-late"))
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert stacks.reasons(stack["StackId"])["Two"] == f"No export named {export} found."


# --- changes ---------------------------------------------------------------------------------------------------------


def test_an_update_changes_replaces_adds_and_removes(account: Account, stacks: Stacks) -> None:
    name = account.name("update")
    stack_id = stacks.made(
        template(
            Changed=queue(VisibilityTimeout=30),
            Replaced=queue(QueueName=f"{name}-before"),
            Watching=parameter(f"/{name}/watching", {"Fn::GetAtt": ["Replaced", "Arn"]}),
            Removed=parameter(f"/{name}/removed", "1"),
            Kept=(*parameter(f"/{name}/kept", "1"), {"DeletionPolicy": "Retain"}),
        ),
        name=name,
    )
    before = stacks.physical(stack_id, "Replaced")
    changed = stacks.physical(stack_id, "Changed")
    stack = stacks.update(
        stack_id,
        template(
            Changed=queue(VisibilityTimeout=60),
            Replaced=queue(QueueName=f"{name}-after"),
            Watching=parameter(f"/{name}/watching", {"Fn::GetAtt": ["Replaced", "Arn"]}),
            Added=parameter(f"/{name}/added", "1"),
        ),
        Tags=[{"Key": "stage", "Value": "prod"}],
    )
    assert stack["StackStatus"] == "UPDATE_COMPLETE", stacks.reasons(stack_id)
    sqs = account.client("sqs")
    assert stacks.physical(stack_id, "Changed") == changed
    attributes = sqs.get_queue_attributes(QueueUrl=changed, AttributeNames=["VisibilityTimeout"])["Attributes"]
    assert attributes == {"VisibilityTimeout": "60"}
    assert sqs.list_queue_tags(QueueUrl=changed)["Tags"]["stage"] == "prod"
    assert stacks.physical(stack_id, "Replaced").endswith(f"{name}-after")
    assert str(value_of(account, f"/{name}/watching")).endswith(f"{name}-after")
    with pytest.raises(ClientError):
        sqs.get_queue_attributes(QueueUrl=before, AttributeNames=["All"])
    assert value_of(account, f"/{name}/removed") is None
    assert value_of(account, f"/{name}/kept") == "1"
    assert value_of(account, f"/{name}/added") == "1"
    events = stacks.events(stack_id)
    end = events[events.index(("Added", "CREATE_COMPLETE")) :]
    assert ("Replaced", "DELETE_COMPLETE") in end
    assert ("Removed", "DELETE_COMPLETE") in end
    assert ("Kept", "DELETE_SKIPPED") in end
    account.client("ssm").delete_parameter(Name=f"/{name}/kept")


def test_an_update_without_a_difference_is_refused(account: Account, stacks: Stacks) -> None:
    name = account.name("same")
    body = template(One=parameter(f"/{name}", "1"))
    stack_id = stacks.made(body, name=name)
    assert error_of(stacks.client.update_stack, StackName=name, TemplateBody=body_of(body)) == (
        "ValidationError",
        "No updates are to be performed.",
    )
    stack = stacks.update(stack_id, {**body, "Outputs": {"New": {"Value": {"Ref": "One"}}}})
    assert stack["StackStatus"] == "UPDATE_COMPLETE"
    assert stacks.outputs(stack_id) == {"New": f"/{name}"}


def test_a_failed_creation_is_taken_back(account: Account, stacks: Stacks) -> None:
    name = account.name("failed")
    body = template(
        Good=parameter(f"/{name}/good", "1"),
        Bad=(*queue(QueueName="no spaces allowed"), {"DependsOn": "Good"}),
        Never=(*parameter(f"/{name}/never", "1"), {"DependsOn": "Bad"}),
    )
    stack_id = stacks.create(body, name=name)
    assert stacks.settled(stack_id)["StackStatus"] == "ROLLBACK_COMPLETE"
    assert value_of(account, f"/{name}/good") is None
    assert value_of(account, f"/{name}/never") is None
    rolling_back = next(
        event["ResourceStatusReason"]
        for event in stacks.client.describe_stack_events(StackName=stack_id)["StackEvents"]
        if event["ResourceStatus"] == "ROLLBACK_IN_PROGRESS"
    )
    assert rolling_back == "The following resource(s) failed to create: [Bad]. Rollback requested by user."
    assert "Can only include alphanumeric characters" in stacks.reasons(stack_id)["Bad"]
    code, message = error_of(stacks.client.update_stack, StackName=name, TemplateBody=body_of(body))
    assert code == "ValidationError"
    assert message == f"Stack:{stack_id} is in ROLLBACK_COMPLETE state and can not be updated."


def test_what_becomes_of_a_failed_creation_is_the_callers_choice(account: Account, stacks: Stacks) -> None:
    name = account.name("choice")
    body = template(
        Good=parameter(f"/{name}/good", "1"), Bad=(*queue(QueueName="no spaces allowed"), {"DependsOn": "Good"})
    )
    kept = stacks.settled(stacks.create(body, name=f"{name}-kept", DisableRollback=True))
    assert kept["StackStatus"] == "CREATE_FAILED"
    assert value_of(account, f"/{name}/good") == "1"
    assert stacks.delete(kept["StackId"])["StackStatus"] == "DELETE_COMPLETE"
    gone = stacks.settled(stacks.create(body, name=f"{name}-gone", OnFailure="DELETE"))
    assert gone["StackStatus"] == "DELETE_COMPLETE"
    assert value_of(account, f"/{name}/good") is None


def test_what_somebody_else_made_is_not_taken_over(account: Account, stacks: Stacks) -> None:
    name = account.name("theirs")
    sqs = account.client("sqs")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    stack_id = stacks.create(template(Mine=queue(QueueName=name)))
    assert stacks.settled(stack_id)["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "already exists" in stacks.reasons(stack_id)["Mine"]
    assert sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    sqs.delete_queue(QueueUrl=url)


def test_a_failed_update_is_taken_back(account: Account, stacks: Stacks) -> None:
    name = account.name("back")
    body = template(
        Changed=queue(VisibilityTimeout=30),
        Replaced=queue(QueueName=f"{name}-before"),
        Removed=parameter(f"/{name}/removed", "1"),
    )
    stack_id = stacks.made({**body, "Outputs": {"Out": {"Value": "before"}}}, name=name)
    changed, replaced = (stacks.physical(stack_id, one) for one in ("Changed", "Replaced"))
    stack = stacks.update(
        stack_id,
        {
            **template(
                Changed=queue(VisibilityTimeout=60),
                Replaced=(*queue(QueueName=f"{name}-after"), {"DependsOn": "Changed"}),
                Added=(*parameter(f"/{name}/added", "1"), {"DependsOn": "Replaced"}),
                Bad=(*queue(QueueName="no spaces allowed"), {"DependsOn": "Added"}),
            ),
            "Outputs": {"Out": {"Value": "after"}},
        },
    )
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    sqs = account.client("sqs")
    attributes = sqs.get_queue_attributes(QueueUrl=changed, AttributeNames=["VisibilityTimeout"])["Attributes"]
    assert attributes == {"VisibilityTimeout": "30"}
    assert stacks.physical(stack_id, "Replaced") == replaced
    assert sqs.get_queue_url(QueueName=f"{name}-before")
    with pytest.raises(ClientError):
        sqs.get_queue_url(QueueName=f"{name}-after")
    assert value_of(account, f"/{name}/added") is None
    assert value_of(account, f"/{name}/removed") == "1"
    assert stacks.outputs(stack_id) == {"Out": "before"}
    listed = stacks.client.list_stack_resources(StackName=stack_id)["StackResourceSummaries"]
    assert {one["LogicalResourceId"] for one in listed} == {"Changed", "Replaced", "Removed"}
    assert (
        stacks.client.get_template(StackName=stack_id)["TemplateBody"]["Resources"].keys() == body["Resources"].keys()
    )

    stack = stacks.update(stack_id, template(Changed=queue(VisibilityTimeout=90)))
    assert stack["StackStatus"] == "UPDATE_COMPLETE"


def test_a_name_of_its_own_stands_in_the_way_of_a_replacement(account: Account, stacks: Stacks) -> None:
    name = account.name("custom")
    key = {"AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}], "BillingMode": "PAY_PER_REQUEST"}

    def table(kind: str) -> dict[str, Any]:
        definitions = [{"AttributeName": "id", "AttributeType": kind}]
        properties = {
            **key,
            "AttributeDefinitions": definitions,
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        }
        return template(Table=("AWS::DynamoDB::Table", {"TableName": name, **properties}))

    stack_id = stacks.made(table("S"))
    assert stacks.update(stack_id, table("N"))["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert stacks.reasons(stack_id)["Table"] == (
        "CloudFormation cannot update a stack when a custom-named resource requires replacing. Rename"
        f" {name} and update the stack again."
    )


def test_a_function_follows_its_code_and_its_settings(account: Account, stacks: Stacks) -> None:
    name = account.name("f")
    functions = account.client("lambda")

    def body(code: dict[str, Any], **properties: Any) -> dict[str, Any]:
        common = {"FunctionName": name, "Role": account.role, "Runtime": "python3.11", "Handler": "index.handler"}
        return template(F=("AWS::Lambda::Function", {**common, "Code": code, **properties}))

    def answer() -> Any:
        return json.loads(functions.invoke(FunctionName=name)["Payload"].read())

    source = "import os\ndef handler(event, context):\n    return [{!r}, os.environ.get('MODE')]\n"
    stack_id = stacks.made(body({"ZipFile": source.format("one")}, Environment={"Variables": {"MODE": "a"}}, Timeout=9))
    assert answer() == ["one", "a"]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as written:
        written.writestr("index.py", source.format("two"))
    key = f"tests/{uuid.uuid4()}.zip"
    account.s3.put_object(Bucket=account.bucket, Key=key, Body=archive.getvalue())
    stack = stacks.update(stack_id, body({"S3Bucket": account.bucket, "S3Key": key}))
    assert stack["StackStatus"] == "UPDATE_COMPLETE", stacks.reasons(stack_id)
    assert answer() == ["two", None]
    assert functions.get_function_configuration(FunctionName=name)["Timeout"] == 3


def test_a_rule_follows_its_targets(account: Account, stacks: Stacks) -> None:
    name = account.name("rule")
    events = account.client("events")

    def body(*targets: str, state: str = "ENABLED") -> dict[str, Any]:
        arn = {"Fn::GetAtt": ["Queue", "Arn"]}
        properties = {
            "Name": name,
            "State": state,
            "EventPattern": {"source": ["demo"]},
            "Targets": [{"Id": target, "Arn": arn} for target in targets],
        }
        return template(Queue=queue(), Rule=("AWS::Events::Rule", properties))

    stack_id = stacks.made(body("a", "b"))
    assert stacks.update(stack_id, body("b", "c", state="DISABLED"))["StackStatus"] == "UPDATE_COMPLETE"
    assert {one["Id"] for one in events.list_targets_by_rule(Rule=name)["Targets"]} == {"b", "c"}
    assert events.describe_rule(Name=name)["State"] == "DISABLED"


# --- deletion --------------------------------------------------------------------------------------------------------


def test_a_bucket_that_is_not_empty_keeps_its_stack(account: Account, stacks: Stacks) -> None:
    stack_id = stacks.made(
        template(
            Bucket=("AWS::S3::Bucket", {}),
            Policy=(
                "AWS::S3::BucketPolicy",
                {"Bucket": {"Ref": "Bucket"}, "PolicyDocument": {"Version": "2012-10-17", "Statement": []}},
            ),
        )
    )
    bucket = stacks.physical(stack_id, "Bucket")
    account.s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    stack = stacks.delete(stack_id)
    assert stack["StackStatus"] == "DELETE_FAILED"
    assert stack["StackStatusReason"] == "The following resource(s) failed to delete: [Bucket]. "
    assert "not empty" in stacks.reasons(stack_id)["Bucket"]
    assert stacks.delete(stack_id, RetainResources=["Bucket"])["StackStatus"] == "DELETE_COMPLETE"
    account.s3.delete_object(Bucket=bucket, Key="k")
    account.s3.delete_bucket(Bucket=bucket)


def test_a_protected_stack_is_not_deleted(account: Account, stacks: Stacks) -> None:
    name = account.name("safe")
    stacks.made(template(One=parameter(f"/{name}", "1")), name=name, EnableTerminationProtection=True)
    code, message = error_of(stacks.client.delete_stack, StackName=name)
    assert code == "ValidationError"
    assert message == f"Stack [{name}] cannot be deleted while TerminationProtection is enabled"


def test_deletion_of_what_is_not_there_succeeds(account: Account, stacks: Stacks) -> None:
    stacks.client.delete_stack(StackName=account.name("nobody"))


# --- change sets -----------------------------------------------------------------------------------------------------


def test_a_change_set_tells_what_it_would_do_and_does_it(account: Account, stacks: Stacks) -> None:
    name, client = account.name("set"), stacks.client
    body = {
        "Parameters": {"Wait": {"Type": "Number", "Default": 30}},
        **template(
            Queue=queue(VisibilityTimeout={"Ref": "Wait"}, QueueName=f"{name}-before"),
            Watching=parameter(f"/{name}/watching", {"Fn::GetAtt": ["Queue", "QueueName"]}),
            Removed=parameter(f"/{name}/removed", "1"),
        ),
    }
    made = client.create_change_set(
        StackName=name, ChangeSetName="first", ChangeSetType="CREATE", TemplateBody=body_of(body)
    )
    stacks.ids.append(made["StackId"])
    assert client.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"] == "REVIEW_IN_PROGRESS"
    client.get_waiter("change_set_create_complete").wait(ChangeSetName=made["Id"])
    shown = client.describe_change_set(ChangeSetName="first", StackName=name)
    assert {change["ResourceChange"]["Action"] for change in shown["Changes"]} == {"Add"}
    client.execute_change_set(ChangeSetName="first", StackName=name)
    assert stacks.settled(name)["StackStatus"] == "CREATE_COMPLETE"

    del body["Resources"]["Removed"]
    body["Resources"]["Queue"]["Properties"]["QueueName"] = f"{name}-after"
    second = client.create_change_set(
        StackName=name,
        ChangeSetName="second",
        TemplateBody=body_of(body),
        Parameters=[{"ParameterKey": "Wait", "ParameterValue": "60"}],
    )
    shown = client.describe_change_set(ChangeSetName=second["Id"], IncludePropertyValues=True)
    assert (shown["Status"], shown["ExecutionStatus"]) == ("CREATE_COMPLETE", "AVAILABLE")
    changes = {one["ResourceChange"]["LogicalResourceId"]: one["ResourceChange"] for one in shown["Changes"]}
    assert {name: change["Action"] for name, change in changes.items()} == {
        "Queue": "Modify",
        "Watching": "Modify",
        "Removed": "Remove",
    }
    assert changes["Queue"]["Replacement"] == "True"
    details = {detail["Target"]["Name"]: detail for detail in changes["Queue"]["Details"]}
    assert details["QueueName"]["Target"]["RequiresRecreation"] == "Always"
    assert details["QueueName"]["ChangeSource"] == "DirectModification"
    assert (details["VisibilityTimeout"]["ChangeSource"], details["VisibilityTimeout"]["CausingEntity"]) == (
        "ParameterReference",
        "Wait",
    )
    assert details["VisibilityTimeout"]["Target"]["BeforeValue"] == "30"
    assert changes["Watching"]["Replacement"] == "False"
    watching = changes["Watching"]["Details"][0]
    assert (watching["Evaluation"], watching["CausingEntity"]) == ("Dynamic", "Queue.QueueName")
    assert value_of(account, f"/{name}/removed") == "1"

    client.execute_change_set(ChangeSetName=second["Id"])
    stack = stacks.settled(name)
    assert (stack["StackStatus"], stack["ChangeSetId"]) == ("UPDATE_COMPLETE", second["Id"])
    assert value_of(account, f"/{name}/watching") == f"{name}-after"
    code, _ = error_of(client.execute_change_set, ChangeSetName=second["Id"])
    assert code == "InvalidChangeSetStatus"


def test_a_change_set_without_changes_fails(account: Account, stacks: Stacks) -> None:
    name, client = account.name("none"), stacks.client
    body = body_of(template(One=parameter(f"/{name}", "1")))
    stacks.made(body, name=name)
    client.create_change_set(StackName=name, ChangeSetName="empty", TemplateBody=body)
    shown = client.describe_change_set(StackName=name, ChangeSetName="empty")
    assert (shown["Status"], shown["ExecutionStatus"]) == ("FAILED", "UNAVAILABLE")
    assert shown["StatusReason"] == (
        "The submitted information didn't contain changes. Submit different information to create a change set."
    )
    assert [one["ChangeSetName"] for one in client.list_change_sets(StackName=name)["Summaries"]] == ["empty"]
    client.delete_change_set(StackName=name, ChangeSetName="empty")
    code, message = error_of(client.describe_change_set, StackName=name, ChangeSetName="empty")
    assert (code, message) == ("ChangeSetNotFound", "ChangeSet [empty] does not exist")


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"Resources": {}}, "Template format error: At least one Resources member must be defined."),
        (
            template(A=("AWS::Nothing::Here", {})),
            "Template format error: Unrecognized resource types: [AWS::Nothing::Here]",
        ),
        (template(A=queue(QueueName={"Ref": "B"})), "Unresolved resource dependencies [B] in the Resources block"),
        (
            template(A=queue(), B=queue(QueueName={"Fn::GetAtt": ["A", "Color"]})),
            "Template error: resource A does not support attribute type Color in Fn::GetAtt",
        ),
        (
            template(A=(*queue(), {"DependsOn": "B"}), B=(*queue(), {"DependsOn": "A"})),
            "Circular dependency between resources: [A, B]",
        ),
        ("Resources: [\n", "Template format error: YAML not well-formed. (line 2, column 1)"),
        ('{"Resources": ', "Template format error: JSON not well-formed. (line 1, column 15)"),
        ({**template(A=queue()), "Resourses": {}}, "Invalid template property or properties [Resourses]"),
    ],
)
def test_a_wrong_template_is_refused_before_anything_is_made(stacks: Stacks, body: Any, said: str) -> None:
    code, message = error_of(
        stacks.client.create_stack, StackName=stacks.account.name("wrong"), TemplateBody=body_of(body)
    )
    assert code == "ValidationError"
    assert said in message


def test_what_localcloud_does_not_have_is_refused_by_name(stacks: Stacks, localcloud_only: None) -> None:
    for body, said in (
        (template(A=("AWS::EC2::Instance", {})), "localcloud has no resource types [AWS::EC2::Instance]"),
        (
            template(A=("AWS::S3::Bucket", {"LoggingConfiguration": {}})),
            "localcloud does not honour LoggingConfiguration of AWS::S3::Bucket (resource A)",
        ),
        ({**template(A=queue()), "Transform": "AWS::Serverless-2016-10-31"}, "localcloud has no Transform"),
        (template(A=queue(QueueName={"Fn::GetAZs": ""})), "localcloud has no function Fn::GetAZs"),
    ):
        code, message = error_of(
            stacks.client.create_stack, StackName=stacks.account.name("lacking"), TemplateBody=body_of(body)
        )
        assert code == "ValidationError"
        assert said in message


def test_an_unknown_property_fails_its_resource(account: Account, stacks: Stacks) -> None:
    stack_id = stacks.create(template(A=queue(Colour="red", DelaySeconds="soon")))
    assert stacks.settled(stack_id)["StackStatus"] == "ROLLBACK_COMPLETE"
    reason = stacks.reasons(stack_id)["A"]
    assert reason.startswith("Properties validation failed for resource A with message:\n")
    assert "extraneous key [Colour] is not permitted" in reason
    assert "#/DelaySeconds: expected type: Integer, found: String" in reason


def test_roles_ask_for_a_capability(account: Account, stacks: Stacks) -> None:
    trust = {"Version": "2012-10-17", "Statement": []}
    named = body_of(template(R=("AWS::IAM::Role", {"RoleName": "r", "AssumeRolePolicyDocument": trust})))
    plain = body_of(template(R=("AWS::IAM::Role", {"AssumeRolePolicyDocument": trust})))
    for body, needed, given in (
        (named, "CAPABILITY_NAMED_IAM", ["CAPABILITY_IAM"]),
        (plain, "CAPABILITY_IAM", []),
    ):
        code, message = error_of(
            stacks.client.create_stack, StackName=account.name("iam"), TemplateBody=body, Capabilities=given
        )
        assert (code, message) == ("InsufficientCapabilitiesException", f"Requires capabilities : [{needed}]")
    summary = stacks.client.get_template_summary(TemplateBody=named)
    assert summary["Capabilities"] == ["CAPABILITY_NAMED_IAM"]
    assert summary["ResourceTypes"] == ["AWS::IAM::Role"]


def test_parameters_are_checked_before_anything_is_made(account: Account, stacks: Stacks) -> None:
    body = body_of(
        {
            "Parameters": {
                "Stage": {"Type": "String", "AllowedValues": ["a", "b"], "Description": "which"},
                "Count": {"Type": "Number", "Default": 1, "MaxValue": 3},
                "Name": {"Type": "String", "AllowedPattern": "[a-z]+", "ConstraintDescription": "lower case"},
            },
            **template(A=queue()),
        }
    )

    def refused(**given: str) -> str:
        parameters = [{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()]
        code, message = error_of(
            stacks.client.create_stack, StackName=account.name("p"), TemplateBody=body, Parameters=parameters
        )
        assert code == "ValidationError"
        return message

    assert refused() == "Parameters: [Stage, Name] must have values"
    assert refused(Stage="a", Name="x", Other="o") == "Parameters: [Other] do not exist in the template"
    assert refused(Stage="c", Name="x") == "Parameter 'Stage' must be one of AllowedValues"
    assert refused(Stage="a", Name="x", Count="4") == "Parameter 'Count' must be a number not greater than 3"
    assert refused(Stage="a", Name="X") == "Parameter Name failed to satisfy constraint: lower case"
    declared = stacks.client.validate_template(TemplateBody=body)["Parameters"]
    assert {"ParameterKey": "Stage", "NoEcho": False, "Description": "which"} in declared


def test_a_name_is_one_stacks(account: Account, stacks: Stacks) -> None:
    name = account.name("twice")
    body = template(One=parameter(f"/{name}", "1"))
    stacks.made(body, name=name)
    code, message = error_of(stacks.client.create_stack, StackName=name, TemplateBody=body_of(body))
    assert (code, message) == ("AlreadyExistsException", f"Stack [{name}] already exists")
