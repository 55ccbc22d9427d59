"""Pipeline steps that call a Lambda function, and that wait for the answer to a message; the events of executions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import Cloud, Running
from tests.contract.lambda_account import Functions
from tests.contract.sagemaker_account import Account, error_of, get, until
from tests.contract.test_functions import COLLECT, advance


@pytest.fixture(scope="module")
def account(cloud: Cloud) -> Account:
    return Account.of(cloud)


@pytest.fixture(scope="module")
def functions(cloud: Cloud) -> Functions:
    return Functions(cloud.client, cloud.role_arn)


@pytest.fixture(scope="module")
def giver(functions: Functions) -> str:
    """A function that answers with what it is given, beside its caller's count."""
    source = "count = 0\ndef handler(event, context):\n    global count\n    count += 1\n"
    source += "    if event.get('fail'):\n        raise ValueError(event['fail'])\n"
    return functions.create(source + "    return {**event, 'count': count}\n")


def definition(*steps: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"Version": "2020-12-01", "Steps": list(steps), **members}


def call(
    name: str, function: Any, arguments: dict[str, Any], outputs: dict[str, str], **members: Any
) -> dict[str, Any]:
    """A Lambda step, as the SDK renders it."""
    declared = [{"OutputName": key, "OutputType": kind} for key, kind in outputs.items()]
    step = {"Name": name, "Type": "Lambda", "Arguments": arguments, "FunctionArn": function}
    return {**step, "OutputParameters": declared, **members}


def ask(name: str, queue: str, arguments: dict[str, Any], outputs: dict[str, str], **members: Any) -> dict[str, Any]:
    """A Callback step, as the SDK renders it."""
    declared = [{"OutputName": key, "OutputType": kind} for key, kind in outputs.items()]
    step = {"Name": name, "Type": "Callback", "Arguments": arguments, "SqsQueueUrl": queue}
    return {**step, "OutputParameters": declared, **members}


def run(account: Account, document: dict[str, Any], **members: Any) -> tuple[str, dict[str, dict[str, Any]]]:
    """Run a definition to its end; gives the status and the steps by name."""
    arn = account.start(account.create_pipeline(document), **members)
    return end(account, arn)


def end(account: Account, arn: str) -> tuple[str, dict[str, dict[str, Any]]]:
    def ended() -> str | None:
        status: str = account.sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)["PipelineExecutionStatus"]
        return status if status in ("Succeeded", "Failed", "Stopped") else None

    status = until(ended, f"{arn} has ended")
    return status, steps(account, arn)


def steps(account: Account, arn: str) -> dict[str, dict[str, Any]]:
    found = account.sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)["PipelineExecutionSteps"]
    return {step["StepName"]: step for step in found}


def test_a_lambda_step_hands_typed_outputs_to_others(account: Account, giver: str) -> None:
    arguments = {"text": "a", "number": 3, "ratio": 0.5, "yes": True, "nested": {"a": 1}, "given": get("Parameters.P")}
    types = {"text": "String", "number": "Integer", "ratio": "Float", "yes": "Boolean", "nested": "String"}
    taken = {key: get(f"Steps.First.OutputParameters['{key}']") for key in types}
    condition = {"Type": "Equals", "LeftValue": taken["number"], "RightValue": 3}
    document = definition(
        call("First", get("Parameters.F"), arguments, {**types, "given": "String"}),
        {
            "Name": "Check",
            "Type": "Condition",
            "Arguments": {
                "Conditions": [condition],
                "IfSteps": [call("Second", giver, taken, types)],
                "ElseSteps": [],
            },
        },
        Parameters=[{"Name": "P", "Type": "String"}, {"Name": "F", "Type": "String", "DefaultValue": giver}],
    )
    status, found = run(account, document, parameters={"P": "given"})
    assert (status, {name: step["StepStatus"] for name, step in found.items()}) == (
        "Succeeded",
        {"First": "Succeeded", "Check": "Succeeded", "Second": "Succeeded"},
    )
    assert found["First"]["Metadata"]["Lambda"] == {
        "Arn": giver,
        "OutputParameters": [
            {"Name": "text", "Value": "a"},
            {"Name": "number", "Value": "3"},
            {"Name": "ratio", "Value": "0.5"},
            {"Name": "yes", "Value": "true"},
            {"Name": "nested", "Value": '{"a": 1}'},
            {"Name": "given", "Value": "given"},
        ],
    }
    assert found["Second"]["Metadata"]["Lambda"]["OutputParameters"][3] == {"Name": "yes", "Value": "true"}


@pytest.mark.parametrize(
    ("arguments", "outputs", "reason"),
    [
        ({"fail": "no way"}, {}, "Error Details: ValueError: no way"),
        ({}, {"missing": "String"}, "has no output parameter 'missing'; it has count"),
        ({"a": "text"}, {"a": "Integer"}, 'is of type Integer; the Lambda function gave "text"'),
    ],
)
def test_a_lambda_step_that_fails_says_why(
    account: Account, giver: str, arguments: dict[str, Any], outputs: dict[str, str], reason: str
) -> None:
    status, found = run(account, definition(call("Only", giver, arguments, outputs)))
    assert status == "Failed"
    assert reason in found["Only"]["FailureReason"]


def test_a_lambda_step_of_a_function_that_is_not_there_fails(account: Account, giver: str) -> None:
    status, found = run(account, definition(call("Only", f"{giver}x", {}, {})))
    assert status == "Failed"
    assert "Failed to invoke lambda:InvokeFunction. Error Details: Function not found" in found["Only"]["FailureReason"]


def test_a_lambda_step_is_found_in_the_cache(account: Account, giver: str) -> None:
    cached = {"CacheConfig": {"Enabled": True, "ExpireAfter": "P1D"}}
    document = definition(call("Only", giver, {"a": account.name()}, {"count": "Integer"}, **cached))
    pipeline = account.create_pipeline(document)
    first_arn = account.start(pipeline)
    first = end(account, first_arn)[1]["Only"]
    second = end(account, account.start(pipeline))[1]["Only"]
    assert second["CacheHitResult"]["SourcePipelineExecutionArn"] == first_arn
    assert second["Metadata"]["Lambda"] == first["Metadata"]["Lambda"]


def test_a_definition_with_wrong_outputs_is_refused(account: Account, giver: str, localcloud_only: None) -> None:
    use = call("Use", giver, {"a": get("Steps.Make.OutputParameters['b']")}, {})
    wrong = definition(call("Make", giver, {}, {"a": "Text"}), use, ask("Ask", "", {}, {}))
    del wrong["Steps"][2]["SqsQueueUrl"]
    code, message = error_of(
        account.sagemaker.create_pipeline,
        PipelineName=account.name(),
        RoleArn=account.role,
        PipelineDefinition=json.dumps(wrong),
        ClientRequestToken="x" * 32,
    )
    assert code == "ValidationException"
    assert "the OutputType of 'a' is 'Text'; expected String, Integer, Float, Boolean" in message
    assert "is no output parameter of step 'Make', as OutputParameters['NAME'] would be; it has: a" in message
    assert "step 'Ask' needs SqsQueueUrl" in message


def test_a_callback_step_waits_for_the_answer_to_its_message(
    account: Account, functions: Functions, giver: str
) -> None:
    queue, _ = functions.queue()
    document = definition(
        ask("Ask", queue, {"number": 5, "text": "some"}, {"answer": "String", "share": "Float"}),
        call("Use", giver, {"got": get("Steps.Ask.OutputParameters['share']")}, {"got": "Float"}),
    )
    arn = account.start(account.create_pipeline(document))
    (message,) = functions.bodies(queue)
    token = message.pop("token")
    assert message == {
        "pipelineExecutionArn": arn,
        "arguments": {"number": 5, "text": "some"},
        "status": "Executing",
    }
    until(lambda: "Metadata" in steps(account, arn)["Ask"], "the step says what it waits with")
    assert steps(account, arn)["Ask"]["Metadata"]["Callback"] == {"CallbackToken": token, "SqsQueueUrl": queue}
    outputs = [{"Name": "answer", "Value": "yes"}, {"Name": "share", "Value": "0.25"}]
    send = account.sagemaker.send_pipeline_execution_step_success
    answer = {"CallbackToken": token, "OutputParameters": outputs, "ClientRequestToken": "1" * 32}
    assert send(**answer)["PipelineExecutionArn"] == arn
    assert send(**answer)["PipelineExecutionArn"] == arn
    assert error_of(send, CallbackToken=token, OutputParameters=[])[0] == "ConflictException"
    status, found = end(account, arn)
    assert status == "Succeeded"
    assert found["Ask"]["Metadata"]["Callback"]["OutputParameters"] == outputs
    assert found["Use"]["Metadata"]["Lambda"]["OutputParameters"] == [{"Name": "got", "Value": "0.25"}]


def test_a_callback_that_fails_or_says_too_little_fails_the_step(account: Account, functions: Functions) -> None:
    queue, _ = functions.queue()
    pipeline = account.create_pipeline(definition(ask("Ask", queue, {}, {"answer": "Integer"})))
    reasons = []
    for reply in ({"FailureReason": "out of stock"}, None, [{"Name": "answer", "Value": "many"}]):
        arn = account.start(pipeline)
        token = functions.bodies(queue)[0]["token"]
        if isinstance(reply, dict):
            account.sagemaker.send_pipeline_execution_step_failure(CallbackToken=token, **reply)
        else:
            account.sagemaker.send_pipeline_execution_step_success(CallbackToken=token, OutputParameters=reply or [])
        status, found = end(account, arn)
        assert status == "Failed"
        reasons.append(found["Ask"]["FailureReason"])
    assert reasons == [
        "out of stock",
        "ClientError: The callback gave no output parameter 'answer'; it gave none",
        "ClientError: The output parameter 'answer' is of type Integer; the callback gave 'many'",
    ]
    code, _ = error_of(account.sagemaker.send_pipeline_execution_step_failure, CallbackToken="0123456789")
    assert code == "ResourceNotFound"


def test_a_stopped_callback_step_ends_when_its_second_message_is_answered(
    account: Account, functions: Functions
) -> None:
    queue, _ = functions.queue()
    arn = account.start(account.create_pipeline(definition(ask("Ask", queue, {"a": 1}, {}))))
    first = functions.bodies(queue)[0]
    account.sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken="x" * 32)
    second = functions.bodies(queue)[0]
    assert second == {**first, "status": "Stopping"}
    status = account.sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)["PipelineExecutionStatus"]
    assert status == "Stopping"
    account.sagemaker.send_pipeline_execution_step_success(CallbackToken=first["token"])
    status, found = end(account, arn)
    assert (status, found["Ask"]["StepStatus"]) == ("Stopped", "Stopped")


@pytest.mark.slow
def test_a_callback_step_gives_up_after_a_week(
    account: Account, functions: Functions, cloud: Cloud, localcloud_only: None
) -> None:
    queue, _ = functions.queue()
    arn = account.start(account.create_pipeline(definition(ask("Ask", queue, {}, {}))))
    functions.bodies(queue)
    until(lambda: "Metadata" in steps(account, arn)["Ask"], "the step waits")
    advance(cloud.endpoint_url, 7 * 86_400 + 1)
    status, found = end(account, arn)
    assert status == "Failed"
    assert found["Ask"]["FailureReason"] == "ClientError: The callback step was not answered within 7 days"


def test_executions_and_steps_tell_of_themselves(account: Account, functions: Functions, giver: str) -> None:
    events, (url, queue) = account.client("events"), functions.queue()
    functions.let_events_in(url, queue)
    pipeline = account.create_pipeline(definition(call("Only", giver, {}, {})))
    pipeline_arn = account.sagemaker.describe_pipeline(PipelineName=pipeline)["PipelineArn"]
    pattern = {"source": ["aws.sagemaker"], "detail": {"pipelineArn": [pipeline_arn]}}
    rule = functions.name("rule")
    events.put_rule(Name=rule, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=rule, Targets=[{"Id": "1", "Arn": queue}])
    arn = account.start(pipeline)
    end(account, arn)
    told = functions.bodies(url, 4)
    assert {tuple(event["resources"]) for event in told} == {(pipeline_arn, arn)}
    details = {(event["detail-type"].split()[-3], _status(event["detail"])): event["detail"] for event in told}
    assert set(details) == {
        ("Execution", "Executing"),
        ("Execution", "Succeeded"),
        ("Step", "Executing"),
        ("Step", "Succeeded"),
    }
    last = details["Execution", "Succeeded"]
    assert last["previousPipelineExecutionStatus"] == "Executing"
    assert last["pipelineExecutionArn"] == arn
    assert {"executionStartTime", "executionEndTime", "pipelineExecutionDisplayName"} <= last.keys()
    step = details["Step", "Succeeded"]
    assert (step["stepName"], step["stepType"], step["previousStepStatus"]) == ("Only", "Lambda", "Executing")
    assert step["metadata"] == {"lambda": {"arn": giver}}


def _status(detail: dict[str, Any]) -> str:
    return str(detail.get("currentPipelineExecutionStatus") or detail["currentStepStatus"])


@pytest.mark.slow
def test_what_a_restart_ends_and_what_it_goes_on_with(
    tmp_path: Path, start_localcloud: Callable[[Path], Running], client_of: Callable[..., Any]
) -> None:
    """Executions end, and can be retried; functions, mappings and events that were accepted go on."""
    first = start_localcloud(tmp_path)
    account = Account(lambda service: client_of(first, service), "eu-west-1")
    functions = Functions(account.client, account.role)
    asking, fed, out = functions.queue()[0], functions.queue(), functions.queue()[0]
    called, handled = tmp_path / "called", tmp_path / "handled"
    # Where localcloud is reached is not the same after the restart.
    fed_path, out_path = (url.partition(str(first.port))[2] for url in (fed[0], out))
    source = COLLECT.replace('os.environ["OUT"]', 'os.environ["AWS_ENDPOINT_URL"] + os.environ["OUT"]')
    collecting = functions.create(source, Environment={"Variables": {"OUT": out_path}})
    functions.client("lambda").create_event_source_mapping(EventSourceArn=fed[1], FunctionName=collecting)
    slow = "def handler(event, context):\n    open({!r}, 'a').write('x')\n    __import__('time').sleep(300)\n"
    calling = functions.create(slow.format(str(called)), Timeout=600)
    handling = functions.create(slow.format(str(handled)), Timeout=600)
    functions.client("lambda").invoke(FunctionName=handling, InvocationType="Event", Payload=b"{}")
    document = definition(ask("Ask", asking, {}, {}), call("Call", calling, {}, {}))
    arn = account.start(account.create_pipeline(document))
    token = functions.bodies(asking)[0]["token"]
    until(lambda: called.exists() and handled.exists(), "both functions run")
    first.process.terminate()
    first.process.wait()

    second = start_localcloud(tmp_path)
    account = Account(lambda service: client_of(second, service), "eu-west-1")
    functions = Functions(account.client, functions.role)
    status, found = end(account, arn)
    assert status == "Failed"
    assert {name: step["FailureReason"] for name, step in found.items()} == {
        name: f"localcloud stopped while step {name!r} ran. RetryPipelineExecution resumes from it"
        for name in ("Ask", "Call")
    }
    code, _ = error_of(account.sagemaker.send_pipeline_execution_step_success, CallbackToken=token)
    assert code == "ResourceNotFound"
    account.client("sqs").send_message(QueueUrl=second.endpoint_url + fed_path, MessageBody='"hello"')
    assert functions.bodies(second.endpoint_url + out_path) == [["hello", 1, fed[1]]]
    until(lambda: handled.read_text() == "xx", "the event is handled again")
    assert called.read_text() == "x"
