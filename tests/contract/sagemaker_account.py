"""What the SageMaker contract tests need of an account: clients, a bucket, a role, an image, and ways to wait."""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from botocore.exceptions import ClientError

from tests.contract import images
from tests.roles import make_role

INSTANCE = os.environ.get("CONTRACT_INSTANCE_TYPE", "ml.m5.large")
DEADLINE_SECONDS = float(os.environ.get("CONTRACT_DEADLINE_SECONDS", "60"))
ENDED = ("Completed", "Failed", "Stopped", "Succeeded")


def until(ask: Callable[[], Any], what: str) -> Any:
    """The first true answer to a question that is asked again and again; fails when the deadline is over."""
    started = time.monotonic()
    never = threading.Event()
    while True:
        answer = ask()
        if answer:
            return answer
        waited = time.monotonic() - started
        assert waited < DEADLINE_SECONDS, f"after {DEADLINE_SECONDS:g} s still not: {what}"
        never.wait(min(max(0.02, waited / 8), 0.1))  # less often the longer it takes: asking is work, too


def error_of(call: Callable[..., Any], **params: Any) -> tuple[str, str]:
    """Code and message of the error that a call must give."""
    try:
        answer = call(**params)
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["Error"]["Message"]
    raise AssertionError(f"the call was expected to fail; it answered {answer}")


@dataclass(frozen=True)
class Account:
    """An account that the tests may use. Names are made new for every test, so that it need not be empty.

    Bucket, role and image are made here where they are not given.
    """

    client: Callable[[str], Any]
    region: str
    given_bucket: str | None = None
    given_role: str | None = None
    given_image: str | None = None

    @classmethod
    def of(cls, cloud: Any) -> Account:
        """The account that `conftest.py` has opened."""
        return cls(cloud.client, cloud.region, cloud.bucket, cloud.role_arn, cloud.image_uri)

    @cached_property
    def sagemaker(self) -> Any:
        return self.client("sagemaker")

    @cached_property
    def s3(self) -> Any:
        return self.client("s3")

    @cached_property
    def logs(self) -> Any:
        return self.client("logs")

    @cached_property
    def number(self) -> str:
        return str(self.client("sts").get_caller_identity()["Account"])

    @cached_property
    def role(self) -> str:
        return self.given_role or make_role(self.client("iam"), "execution")

    @cached_property
    def bucket(self) -> str:
        if self.given_bucket:
            return self.given_bucket
        name = f"contract-{uuid.uuid4().hex[:12]}"
        self.s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": self.region})
        return name

    @cached_property
    def image(self) -> str:
        if self.given_image:
            return self.given_image
        return images.register(self.s3, self.client("ecr"), self.bucket, account=self.number, region=self.region)

    def name(self, what: str = "test") -> str:
        """A name that nobody else has."""
        return f"{what}-{uuid.uuid4().hex[:10]}"

    def put(self, text: str, *path: str) -> str:
        """An object with a text under a new prefix; gives the prefix's URI."""
        prefix = f"tests/{uuid.uuid4().hex}"
        self.s3.put_object(Bucket=self.bucket, Key="/".join((prefix, *path)), Body=text.encode())
        return f"s3://{self.bucket}/{prefix}"

    def new_prefix(self) -> str:
        """The URI of a prefix with nothing below it."""
        return f"s3://{self.bucket}/tests/{uuid.uuid4().hex}"

    def text(self, uri: str) -> str:
        """The content of an object."""
        return self.content(uri).decode()

    def content(self, uri: str) -> bytes:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return bytes(self.s3.get_object(Bucket=bucket, Key=key)["Body"].read())

    def keys(self, uri: str) -> list[str]:
        """What is under a prefix, after it."""
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        found = self.s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
        return sorted(entry["Key"].removeprefix(prefix).lstrip("/") for entry in found)

    def processing(self, *lines: str, **members: Any) -> dict[str, Any]:
        """CreateProcessingJob's parameters, without a name."""
        return {
            "RoleArn": self.role,
            "AppSpecification": {
                "ImageUri": self.image,
                "ContainerEntrypoint": ["act"],
                **({"ContainerArguments": list(lines)} if lines else {}),
            },
            "ProcessingResources": {
                "ClusterConfig": {"InstanceCount": 1, "InstanceType": INSTANCE, "VolumeSizeInGB": 1}
            },
            **members,
        }

    def input(self, uri: str, name: str = "data") -> dict[str, Any]:
        """An entry of ProcessingInputs, at /opt/ml/processing/NAME."""
        place = {"S3Uri": uri, "LocalPath": f"/opt/ml/processing/{name}"}
        return {"InputName": name, "S3Input": {**place, "S3DataType": "S3Prefix", "S3InputMode": "File"}}

    def outputs(self, **uris: Any) -> dict[str, Any]:
        """ProcessingOutputConfig: each name's folder /opt/ml/processing/NAME goes to its URI."""
        return {
            "Outputs": [
                {
                    "OutputName": name,
                    "S3Output": {
                        "S3Uri": uri,
                        "LocalPath": f"/opt/ml/processing/{name}",
                        "S3UploadMode": "EndOfJob",
                    },
                }
                for name, uri in uris.items()
            ]
        }

    def training(self, *lines: str, output: str | None = None, **members: Any) -> dict[str, Any]:
        """CreateTrainingJob's parameters, without a name."""
        return {
            "RoleArn": self.role,
            "AlgorithmSpecification": {"TrainingImage": self.image, "TrainingInputMode": "File"},
            "HyperParameters": {f"{number:03}": line for number, line in enumerate(lines)},
            "OutputDataConfig": {"S3OutputPath": output or self.new_prefix()},
            "ResourceConfig": {"InstanceCount": 1, "InstanceType": INSTANCE, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
            **members,
        }

    def run_processing(self, params: dict[str, Any]) -> dict[str, Any]:
        """Start a job and wait for its end; gives its description."""
        name = self.name("job")
        self.sagemaker.create_processing_job(ProcessingJobName=name, **params)
        return self.processing_end(name)

    def processing_end(self, name: str) -> dict[str, Any]:
        """Wait for a job's end; gives its description."""
        return self._ended(
            lambda: self.sagemaker.describe_processing_job(ProcessingJobName=name), "ProcessingJobStatus"
        )

    def run_training(self, params: dict[str, Any]) -> dict[str, Any]:
        """Start a job and wait for its end; gives its description."""
        name = self.name("job")
        self.sagemaker.create_training_job(TrainingJobName=name, **params)
        return self.training_end(name)

    def training_end(self, name: str) -> dict[str, Any]:
        """Wait for a job's end; gives its description."""
        return self._ended(lambda: self.sagemaker.describe_training_job(TrainingJobName=name), "TrainingJobStatus")

    def lines(self, job: str, group: str = "/aws/sagemaker/ProcessingJobs") -> list[str]:
        """What a job has written."""
        try:
            streams = self.logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{job}/")["logStreams"]
        except self.logs.exceptions.ResourceNotFoundException:
            return []
        messages: list[str] = []
        for stream in streams:
            token: dict[str, str] = {}
            while True:
                page = self.logs.get_log_events(
                    logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True, **token
                )
                messages += [event["message"] for event in page["events"]]
                if page["nextForwardToken"] == token.get("nextToken"):
                    break
                token = {"nextToken": page["nextForwardToken"]}
        return messages

    def wait_for_line(self, job: str, line: str, group: str = "/aws/sagemaker/ProcessingJobs") -> None:
        """Wait until a job has written a line."""
        until(lambda: line in self.lines(job, group), f"{job} has written {line!r}")

    def create_pipeline(self, definition: dict[str, Any]) -> str:
        """A new pipeline; gives its name."""
        name = self.name("pipeline")
        self.sagemaker.create_pipeline(PipelineName=name, RoleArn=self.role, PipelineDefinition=json.dumps(definition))
        return name

    def start(self, pipeline: str, parameters: dict[str, str] | None = None, **members: Any) -> str:
        """Start an execution; gives its ARN."""
        given = [{"Name": name, "Value": value} for name, value in (parameters or {}).items()]
        answer = self.sagemaker.start_pipeline_execution(
            PipelineName=pipeline, **({"PipelineParameters": given} if given else {}), **members
        )
        return str(answer["PipelineExecutionArn"])

    def execution_end(self, arn: str) -> dict[str, Any]:
        """Wait for an execution's end; gives its description."""
        return self._ended(
            lambda: self.sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn), "PipelineExecutionStatus"
        )

    def execute(self, pipeline: str, parameters: dict[str, str] | None = None, **members: Any) -> dict[str, Any]:
        """Start an execution and wait for its end; gives its description."""
        return self.execution_end(self.start(pipeline, parameters, **members))

    def steps(self, arn: str) -> dict[str, dict[str, Any]]:
        """The steps that have begun, by name, in their order."""
        answer = self.sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn, SortOrder="Ascending")
        return {step["StepName"]: step for step in answer["PipelineExecutionSteps"]}

    def _ended(self, describe: Callable[[], dict[str, Any]], status: str) -> dict[str, Any]:
        def ended() -> dict[str, Any] | None:
            description = describe()
            return description if description[status] in ENDED else None

        description: dict[str, Any] = until(ended, f"{status} is one of {', '.join(ENDED)}")
        return description


def definition(*steps: dict[str, Any], parameters: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """A pipeline definition."""
    return {"Version": "2020-12-01", "Parameters": parameters or [], "Steps": list(steps)}


def step(name: str, type_name: str, arguments: dict[str, Any], **members: Any) -> dict[str, Any]:
    """A step of a definition."""
    return {"Name": name, "Type": type_name, "Arguments": arguments, **members}


def get(target: str) -> dict[str, str]:
    """A Get expression."""
    return {"Get": target}


def join(*values: Any, on: str = "") -> dict[str, Any]:
    """A Std:Join expression."""
    return {"Std:Join": {"On": on, "Values": list(values)}}


def json_get(step_name: str, file: str, path: str) -> dict[str, Any]:
    """A Std:JsonGet expression on a property file."""
    return {"Std:JsonGet": {"PropertyFile": get(f"Steps.{step_name}.PropertyFiles.{file}"), "Path": path}}
