"""What the contract's tests do with CodePipeline: pipelines whose source is a ZIP file in a bucket, their executions to
their end."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

from tests.contract.sagemaker_account import Account, until
from tests.declared_pipelines import Document, pipeline, stage, stored

OVER = ("Cancelled", "Stopped", "Succeeded", "Superseded", "Failed")
_KEY = "source.zip"


class Pipelines:
    """CodePipeline of an account. Pipelines are deleted by `close`."""

    def __init__(self, account: Account) -> None:
        self.account, self.client = account, account.client("codepipeline")
        self.made: list[str] = []
        self.bucket = account.name("source")
        place = {"LocationConstraint": account.region}
        account.s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration=place)
        account.s3.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"})
        self.version = self.put({"a.txt": "a"})

    def put(self, files: Mapping[str, str]) -> str:
        """Another version of the source; gives its id."""
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
        answer = self.account.s3.put_object(Bucket=self.bucket, Key=_KEY, Body=content.getvalue())
        return str(answer["VersionId"])

    def declared(self, *stages: Document, **members: Any) -> Document:
        """A pipeline with the source in its first stage; started by whoever wants it."""
        first = stage("Source", stored(self.bucket, _KEY, namespace="Source"))
        return pipeline(
            first,
            *stages,
            **{
                "name": self.account.name("pipeline"),
                "roleArn": self.account.role,
                "artifactStore": {"type": "S3", "location": self.account.bucket},
                # Without a default, so that nothing begins by itself.
                "variables": [{"name": "Reason"}],
                **members,
            },
        )

    def create(self, *stages: Document, **members: Any) -> str:
        """A pipeline; gives its name."""
        return self.created(self.declared(*stages, **members))

    def created(self, document: Document) -> str:
        self.client.create_pipeline(pipeline=document)
        self.made.append(document["name"])
        return str(document["name"])

    def start(self, name: str, **members: Any) -> str:
        """Start an execution; gives its id."""
        given = {"variables": [{"name": "Reason", "value": "test"}], **members}
        return str(self.client.start_pipeline_execution(name=name, **given)["pipelineExecutionId"])

    def get(self, name: str, execution_id: str) -> dict[str, Any]:
        answer = self.client.get_pipeline_execution(pipelineName=name, pipelineExecutionId=execution_id)
        return dict(answer["pipelineExecution"])

    def ended(self, name: str, execution_id: str) -> str:
        """The status of an execution when it is over."""

        def over() -> str | None:
            status = str(self.get(name, execution_id)["status"])
            return status if status in OVER else None

        return str(until(over, f"the execution {execution_id} of {name} is over"))

    def run(self, name: str, **members: Any) -> tuple[str, str]:
        """An execution from its start to its end: its id and its status."""
        execution_id = self.start(name, **members)
        return execution_id, self.ended(name, execution_id)

    def actions(self, name: str, execution_id: str) -> dict[str, dict[str, Any]]:
        """The latest run of each action of an execution."""
        found = self.client.list_action_executions(pipelineName=name, filter={"pipelineExecutionId": execution_id})[
            "actionExecutionDetails"
        ]
        return {run["actionName"]: run for run in reversed(found)}

    def failure(self, name: str, execution_id: str, action: str) -> tuple[str, str]:
        """Code and message of an action that has failed."""
        run = self.actions(name, execution_id)[action]
        assert run["status"] == "Failed", run
        details = run["output"]["executionResult"]["errorDetails"]
        return details["code"], details["message"]

    def state(self, name: str, stage_name: str) -> dict[str, Any]:
        """The state of a stage."""
        stages = self.client.get_pipeline_state(name=name)["stageStates"]
        return next(dict(one) for one in stages if one["stageName"] == stage_name)

    def token(self, name: str, stage_name: str = "Approve", action: str = "Approve", not_this: str = "") -> str:
        """The token of an approval that waits."""

        def waiting() -> str | None:
            states = self.state(name, stage_name)["actionStates"]
            (found,) = (one for one in states if one["actionName"] == action)
            token = found.get("latestExecution", {}).get("token")
            return token if token != not_this else None

        return str(until(waiting, f"the approval {action} of {name} waits"))

    def answer(self, name: str, status: str, token: str | None = None) -> None:
        """Approve or reject."""
        self.client.put_approval_result(
            pipelineName=name,
            stageName="Approve",
            actionName="Approve",
            result={"summary": f"it is {status}", "status": status},
            token=token or self.token(name),
        )

    def files(self, artifact: Mapping[str, Any]) -> dict[str, bytes]:
        """The files of an artifact of an action's run."""
        place = artifact["s3location"]
        body = self.account.s3.get_object(Bucket=place["bucket"], Key=place["key"])["Body"].read()
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    def events(self, name: str) -> str:
        """A queue that gets the events of a pipeline; gives its URL."""
        return listen(self.account, {"source": ["aws.codepipeline"], "detail": {"pipeline": [name]}})

    def close(self) -> None:
        """Delete the pipelines."""
        for name in self.made:
            self.client.delete_pipeline(name=name)


def listen(account: Account, pattern: Mapping[str, Any]) -> str:
    """A queue that gets the events of a pattern; gives its URL."""
    sqs, events, name = account.client("sqs"), account.client("events"), account.name("told")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allow = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
    policy = {"Version": "2012-10-17", "Statement": [{**allow, "Resource": arn}]}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn}])
    return str(url)


def heard(account: Account, url: str, count: int) -> list[dict[str, Any]]:
    """So many events from a queue, in the order of their moments."""
    sqs = account.client("sqs")
    got: list[dict[str, Any]] = []

    def enough() -> bool:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            got.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return len(got) >= count

    until(enough, f"{count} events have come")
    return got
