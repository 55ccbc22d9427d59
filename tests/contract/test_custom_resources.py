"""Custom resources: a function that makes, changes and deletes what a stack declares, and answers by an address."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.contract.lambda_account import Functions
from tests.contract.sagemaker_account import Account, error_of, until
from tests.contract.stacks import Stacks, template

# Does what its properties say: fails what `Fail` names, is silent where `Silent` does, is made anew with each `Name`.
SOURCE = """
import json, urllib.request

def handler(event, context):
    properties = event["ResourceProperties"]
    if event["RequestType"] in properties.get("Silent", ""):
        return
    name = "thing-" + properties.get("Name", "a")
    fails = event["RequestType"] in properties.get("Fail", "")
    answer = {
        "Status": "FAILED" if fails else "SUCCESS",
        "Reason": event["RequestType"] + " of " + event.get("PhysicalResourceId", "nothing"),
        "PhysicalResourceId": name if event["RequestType"] != "Delete" else event["PhysicalResourceId"],
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
        "Data": {"Event": json.dumps(event), "Name": name},
    }
    for member in properties.get("Without", []):
        del answer[member]
    if "Padding" in properties:
        answer["Data"]["Padding"] = "x" * int(properties["Padding"])
    request = urllib.request.Request(event["ResponseURL"], json.dumps(answer).encode(), method="PUT")
    request.add_header("Content-Type", "")
    urllib.request.urlopen(request)
"""


@pytest.fixture(scope="module")
def account(cloud: Any) -> Account:
    """The account under test."""
    return Account.of(cloud)


@pytest.fixture(scope="module")
def function(account: Account) -> str:
    """The ARN of the function behind the resources."""
    return Functions(account.client, account.role).create(SOURCE)


def custom(function: str, **properties: Any) -> dict[str, Any]:
    """A template of one custom resource, with its attributes as outputs."""
    return {
        **template(Thing=("Custom::Thing", {"ServiceToken": function, "ServiceTimeout": 20, **properties})),
        "Outputs": {
            "Id": {"Value": {"Ref": "Thing"}},
            "Name": {"Value": {"Fn::GetAtt": ["Thing", "Name"]}},
            "Event": {"Value": {"Fn::GetAtt": ["Thing", "Event"]}},
        },
    }


def test_a_function_makes_changes_and_deletes_it(account: Account, stacks: Stacks, function: str) -> None:
    stack_id = stacks.made(custom(function, Count=3, Deep={"On": True, "List": [1]}))
    outputs = stacks.outputs(stack_id)
    assert (outputs["Id"], outputs["Name"]) == ("thing-a", "thing-a")
    event = json.loads(outputs["Event"])
    assert (event["RequestType"], event["ResourceType"]) == ("Create", "Custom::Thing")
    assert (event["StackId"], event["LogicalResourceId"]) == (stack_id, "Thing")
    assert event["ServiceToken"] == function
    assert "PhysicalResourceId" not in event
    # Every scalar is text.
    assert event["ResourceProperties"]["Count"] == "3"
    assert event["ResourceProperties"]["Deep"] == {"On": "true", "List": ["1"]}

    stack = stacks.update(stack_id, custom(function, Count=4))
    assert stack["StackStatus"] == "UPDATE_COMPLETE", stacks.reasons(stack_id)
    event = json.loads(stacks.outputs(stack_id)["Event"])
    assert (event["RequestType"], event["PhysicalResourceId"]) == ("Update", "thing-a")
    assert event["ResourceProperties"]["Count"] == "4"
    assert event["OldResourceProperties"]["Count"] == "3"

    assert stacks.delete(stack_id)["StackStatus"] == "DELETE_COMPLETE"


def test_a_new_thing_takes_the_old_ones_place(stacks: Stacks, function: str) -> None:
    stack_id = stacks.made(custom(function, Name="a"))
    stack = stacks.update(stack_id, custom(function, Name="b"))
    assert stack["StackStatus"] == "UPDATE_COMPLETE", stacks.reasons(stack_id)
    assert stacks.outputs(stack_id)["Id"] == "thing-b"
    # The old one was deleted when all else had succeeded.
    found = stacks.client.describe_stack_events(StackName=stack_id)["StackEvents"]
    deleted = [one["PhysicalResourceId"] for one in found if one["ResourceStatus"] == "DELETE_COMPLETE"]
    assert deleted == ["thing-a"]

    # An update that fails afterwards is taken back: the new one goes, the old one stays.
    failing = custom(function, Name="c")
    failing["Resources"]["Bad"] = {
        "Type": "AWS::SQS::Queue",
        "Properties": {"QueueName": "no spaces"},
        "DependsOn": "Thing",
    }
    assert stacks.update(stack_id, failing)["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert stacks.physical(stack_id, "Thing") == "thing-b"
    found = stacks.client.describe_stack_events(StackName=stack_id)["StackEvents"]
    deleted = [one["PhysicalResourceId"] for one in found if one["ResourceStatus"] == "DELETE_COMPLETE"]
    assert "thing-c" in deleted


def test_what_failed_is_deleted_all_the_same(stacks: Stacks, function: str) -> None:
    stack_id = stacks.create(custom(function, Fail="Create"))
    assert stacks.settled(stack_id)["StackStatus"] == "ROLLBACK_COMPLETE"
    reason = stacks.reasons(stack_id)["Thing"]
    assert reason.startswith(
        "Received response status [FAILED] from custom resource. Message returned: Create of nothing (RequestId: "
    )
    assert ("Thing", "DELETE_COMPLETE") in stacks.events(stack_id)


def test_a_deletion_that_fails_keeps_the_stack(stacks: Stacks, function: str) -> None:
    stack_id = stacks.made(custom(function, Fail="Delete"))
    assert stacks.delete(stack_id)["StackStatus"] == "DELETE_FAILED"
    assert "Message returned: Delete of thing-a" in stacks.reasons(stack_id)["Thing"]
    assert stacks.delete(stack_id, RetainResources=["Thing"])["StackStatus"] == "DELETE_COMPLETE"


def test_an_update_that_fails_is_taken_back_by_another_one(stacks: Stacks, function: str) -> None:
    stack_id = stacks.made(custom(function, Count=1))
    stack = stacks.update(stack_id, custom(function, Count=2, Fail="Update"))
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert "Message returned: Update of thing-a" in stacks.reasons(stack_id)["Thing"]


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        (
            {"Silent": "Create", "ServiceTimeout": 1},
            "CloudFormation did not receive a response from your Custom Resource",
        ),
        ({"Without": ["PhysicalResourceId"]}, "Vendor response doesn't contain PhysicalResourceId key in object"),
        ({"Without": ["RequestId"]}, "its RequestId is None"),
        ({"Padding": 5000}, "Response object is too long"),
    ],
)
def test_an_answer_that_is_none_fails_it(stacks: Stacks, function: str, properties: dict[str, Any], said: str) -> None:
    stack_id = stacks.create(custom(function, **properties), OnFailure="DO_NOTHING")
    assert stacks.settled(stack_id)["StackStatus"] == "CREATE_FAILED"
    assert said in stacks.reasons(stack_id)["Thing"]
    stacks.client.delete_stack(StackName=stack_id)
    if stacks.settled(stack_id)["StackStatus"] == "DELETE_FAILED":
        stacks.delete(stack_id, RetainResources=["Thing"])


def test_a_stack_that_waits_for_an_answer_can_be_deleted(stacks: Stacks, function: str) -> None:
    stack_id = stacks.create(custom(function, Silent="Create", ServiceTimeout=3600))
    until(lambda: ("Thing", "CREATE_IN_PROGRESS") in stacks.events(stack_id), "the resource is being made")
    assert stacks.delete(stack_id)["StackStatus"] == "DELETE_COMPLETE"


def test_a_function_that_is_not_there_fails_it(account: Account, stacks: Stacks, function: str) -> None:
    missing = f"{function}-gone"
    stack_id = stacks.create(custom(missing))
    assert stacks.settled(stack_id)["StackStatus"] == "ROLLBACK_COMPLETE"
    assert f"The function {missing} of the custom resource could not be invoked" in stacks.reasons(stack_id)["Thing"]


def test_an_attribute_that_was_not_answered_fails_who_asks_for_it(stacks: Stacks, function: str) -> None:
    body = custom(function)
    body["Resources"]["Kept"] = {
        "Type": "AWS::SSM::Parameter",
        "Properties": {"Type": "String", "Value": {"Fn::GetAtt": ["Thing", "Colour"]}},
    }
    stack_id = stacks.create(body)
    assert stacks.settled(stack_id)["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "Vendor response doesn't contain Colour attribute" in stacks.reasons(stack_id)["Kept"]


def test_an_answer_is_put_by_its_address_only(cloud: Any, localcloud_only: None) -> None:
    url = f"{cloud.endpoint_url}/_aws/cloudformation-response/nobody"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(url, b"{}", method="PUT"))
    assert refused.value.code == 403
    refused.value.close()


def test_a_resource_keeps_its_function(stacks: Stacks, function: str, account: Account) -> None:
    other = Functions(account.client, account.role).create(SOURCE)
    stack_id = stacks.made(custom(function))
    assert stacks.update(stack_id, custom(other))["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert stacks.reasons(stack_id)["Thing"] == "Modifying service token is not allowed."


def test_a_service_token_that_is_no_function_is_refused(stacks: Stacks, localcloud_only: None) -> None:
    stack_id = stacks.create(custom("arn:aws:sns:eu-west-1:123456789012:topic"))
    assert stacks.settled(stack_id)["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "localcloud's custom resources are functions" in stacks.reasons(stack_id)["Thing"]


def test_what_is_under_way_in_a_project_is_not_disturbed(account: Account, function: str) -> None:
    """A project whose stack waits for an answer is busy for as long."""
    sagemaker, name = account.sagemaker, account.name("busy")
    body = {
        **custom(function, Silent="Create", ServiceTimeout=2),
        "Parameters": {"SageMakerProjectName": {"Type": "String"}, "SageMakerProjectId": {"Type": "String"}},
    }
    uri = account.put(json.dumps(body), "template.json").removeprefix("s3://")
    bucket, _, prefix = uri.partition("/")
    url = f"https://{bucket}.s3.{account.region}.amazonaws.com/{prefix}/template.json"
    provider = {"CfnTemplateProvider": {"TemplateName": "busy", "TemplateURL": url}}
    sagemaker.create_project(ProjectName=name, TemplateProviders=[provider])
    code, message = error_of(sagemaker.delete_project, ProjectName=name)
    assert code == "ConflictException"
    assert message.startswith("Cannot delete Project in ")
    code, _ = error_of(sagemaker.update_project, ProjectName=name, ProjectDescription="other")
    assert code == "ConflictException"
