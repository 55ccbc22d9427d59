"""What is being deployed where, and which decisions were acted on: the table of deployments.

Two kinds of items, by the beginning of their key:

    stage#{endpoint}                       which execution deploys to it, what it changes, and who waits for that
    decision#{model package ARN}#{stage}   the decision that was acted on last

An execution holds its stage from its first step until it has ended, so that two deployments to one stage never mix.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pipelines.carried.project import client, names

_LIVE = ("Executing", "Stopping")
# DynamoDB reserves some words, `Token` among them: attributes are named by placeholders throughout.
_OWN = {"#execution": "Execution"}


@dataclass(frozen=True)
class Deployment:
    """What an execution does to a stage. Configurations are empty until UpdateEndpoint has begun."""

    endpoint: str
    execution: str
    package: str
    config: str = ""
    """The endpoint configuration that it brings."""
    previous: str = ""
    """The one that the endpoint had before; empty for an endpoint that there was not."""
    token: str = ""
    """The callback token of the step that waits, and what it waits for."""
    awaited: str = ""


def hold(endpoint: str, execution: str, package: str) -> str | None:
    """Take a stage for an execution; gives the execution that has it if it is another one that still runs."""
    values = {":execution": {"S": execution}, ":package": {"S": package}}
    table = client("dynamodb")
    for _ in range(3):
        try:
            table.update_item(
                TableName=names().deployments_table,
                Key=_stage(endpoint),
                UpdateExpression="SET #execution = :execution, #package = :package",
                ConditionExpression="attribute_not_exists(#execution) OR #execution = :execution",
                ExpressionAttributeNames={**_OWN, "#package": "Package"},
                ExpressionAttributeValues=values,
            )
            return None
        except table.exceptions.ConditionalCheckFailedException:
            holder = find(endpoint)
            if holder is None:
                continue
            if is_live(holder.execution):
                return holder.execution
            release(endpoint, holder.execution)
    return "another execution"


def release(endpoint: str, execution: str) -> None:
    """Give a stage back; nothing happens if the execution does not have it."""
    table = client("dynamodb")
    with suppress(table.exceptions.ConditionalCheckFailedException):
        table.delete_item(
            TableName=names().deployments_table,
            Key=_stage(endpoint),
            ConditionExpression="#execution = :execution",
            ExpressionAttributeNames=_OWN,
            ExpressionAttributeValues={":execution": {"S": execution}},
        )


def find(endpoint: str) -> Deployment | None:
    """What is being deployed to a stage; None when nothing is."""
    item = (
        client("dynamodb")
        .get_item(TableName=names().deployments_table, Key=_stage(endpoint), ConsistentRead=True)
        .get("Item")
    )
    if item is None or "Execution" not in item:
        return None
    texts = {name: value["S"] for name, value in item.items()}
    return Deployment(
        endpoint,
        texts["Execution"],
        texts["Package"],
        texts.get("Config", ""),
        texts.get("Previous", ""),
        texts.get("Token", ""),
        texts.get("Awaited", ""),
    )


def note_change(endpoint: str, execution: str, *, config: str, previous: str) -> None:
    """Keep what an execution is about to change, so that it can be undone whatever happens next."""
    _set(endpoint, execution, Config=config, Previous=previous)


def note_waiting(endpoint: str, execution: str, *, token: str, awaited: str) -> None:
    """Keep who waits for the endpoint, and for which configuration (empty: for its end)."""
    _set(endpoint, execution, Token=token, Awaited=awaited)


def note_threshold(endpoint: str, execution: str, threshold: str) -> str:
    """Keep the monitoring threshold that an execution sets; gives the one that it has kept first."""
    answer = client("dynamodb").update_item(
        TableName=names().deployments_table,
        Key=_stage(endpoint),
        UpdateExpression="SET #threshold = if_not_exists(#threshold, :threshold)",
        ConditionExpression="#execution = :execution",
        ExpressionAttributeNames={**_OWN, "#threshold": "Threshold"},
        ExpressionAttributeValues={":execution": {"S": execution}, ":threshold": {"S": threshold}},
        ReturnValues="ALL_NEW",
    )
    return str(answer["Attributes"]["Threshold"]["S"])


def is_live(execution: str) -> bool:
    """Whether an execution has not ended."""
    sagemaker = client("sagemaker")
    try:
        described = sagemaker.describe_pipeline_execution(PipelineExecutionArn=execution)
    except sagemaker.exceptions.ResourceNotFound:
        return False
    return described["PipelineExecutionStatus"] in _LIVE


def decision(package: str, stage: str) -> dict[str, str]:
    """The decision on a package that was acted on last, for a stage: its `Word` and `At`; empty when there is none."""
    item = (
        client("dynamodb")
        .get_item(TableName=names().deployments_table, Key=_decision(package, stage), ConsistentRead=True)
        .get("Item", {})
    )
    return {name: value["S"] for name, value in item.items() if name != "Key"}


def note_decision(package: str, stage: str, *, word: str, at: str) -> None:
    """Keep that a decision was acted on. at: the moment of the event, as a text that sorts by time."""
    client("dynamodb").put_item(
        TableName=names().deployments_table,
        Item={**_decision(package, stage), "Word": {"S": word}, "At": {"S": at}},
    )


def _set(endpoint: str, execution: str, **texts: str) -> None:
    expression = ", ".join(f"#{name} = :{name}" for name in texts)
    client("dynamodb").update_item(
        TableName=names().deployments_table,
        Key=_stage(endpoint),
        UpdateExpression=f"SET {expression}",
        ConditionExpression="#execution = :execution",
        ExpressionAttributeNames={**_OWN, **{f"#{name}": name for name in texts}},
        ExpressionAttributeValues={
            ":execution": {"S": execution},
            **{f":{name}": {"S": text} for name, text in texts.items()},
        },
    )


def _stage(endpoint: str) -> dict[str, Any]:
    return {"Key": {"S": f"stage#{endpoint}"}}


def _decision(package: str, stage: str) -> dict[str, Any]:
    return {"Key": {"S": f"decision#{package}#{stage}"}}
