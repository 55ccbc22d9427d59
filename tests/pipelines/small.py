"""A small pipeline of a project, under the name of its cardholders build pipeline: seconds to run, all endings.

    Work (cached) ── Gate ──┬── After
                            └── TooLow (Fail)

Work writes evaluation.json with `metrics.roc_auc` 0.8 and ends with the status of the parameter `Status`; if that is
`waits`, it waits until it is stopped.
"""

from __future__ import annotations

import json
import threading
import uuid
from typing import Any

import pytest

from pipelines import definitions, executions, images
from pipelines.executions import Execution
from tests.roles import make_role

WORKLOAD, KIND = "cardholders", "build"
PROGRAM = """\
import os, pathlib, sys, time
base = pathlib.Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
what, *rest = sys.argv[1:]
if what == "after":
    sys.exit()
status = rest[0]
if status == "waits":
    time.sleep(600)
folder = base / "processing" / "output" / "evaluation"
folder.mkdir(parents=True, exist_ok=True)
(folder / "evaluation.json").write_text('{"metrics": {"roc_auc": 0.8}}')
print("first line")
print("status", status)
print("last line")
if status != "0":
    (base / "output").mkdir(exist_ok=True)
    (base / "output" / "message").write_text(f"it ended with {status}")
sys.exit(int(status))
"""


def definition(image_uri: str, role_arn: str, bucket: str) -> dict[str, Any]:
    def processing(name: str, *arguments: Any, **more: Any) -> dict[str, Any]:
        cluster = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
        return {
            "Name": name,
            "Type": "Processing",
            "Arguments": {
                "ProcessingResources": {"ClusterConfig": cluster},
                "AppSpecification": {
                    "ImageUri": image_uri,
                    "ContainerEntrypoint": ["python3", "/opt/program/program.py"],
                    "ContainerArguments": list(arguments),
                },
                "RoleArn": role_arn,
            }
            | more.pop("arguments", {}),
            **more,
        }

    uri = {"Std:Join": {"On": "/", "Values": [f"s3://{bucket}/out", {"Get": "Execution.PipelineExecutionId"}]}}
    output = {
        "OutputName": "evaluation",
        "S3Output": {"S3Uri": uri, "LocalPath": "/opt/ml/processing/output/evaluation", "S3UploadMode": "EndOfJob"},
    }
    property_file = {"PropertyFileName": "Evaluation", "OutputName": "evaluation", "FilePath": "evaluation.json"}
    measured = {
        "Std:JsonGet": {"PropertyFile": {"Get": "Steps.Work.PropertyFiles.Evaluation"}, "Path": "metrics.roc_auc"}
    }
    gate = {
        "Conditions": [
            {"Type": "GreaterThanOrEqualTo", "LeftValue": measured, "RightValue": {"Get": "Parameters.MinRocAuc"}}
        ],
        "IfSteps": [processing("After", "after")],
        "ElseSteps": [{"Name": "TooLow", "Type": "Fail", "Arguments": {"ErrorMessage": "the model is too weak"}}],
    }
    return {
        "Version": "2020-12-01",
        "Metadata": {},
        "Parameters": [
            {"Name": "Status", "Type": "String", "DefaultValue": "0"},
            {"Name": "MinRocAuc", "Type": "Float", "DefaultValue": 0.7},
            {"Name": "InputDataUri", "Type": "String", "DefaultValue": "s3://nowhere/"},
        ],
        "Steps": [
            processing(
                "Work",
                "work",
                {"Get": "Parameters.Status"},
                arguments={"ProcessingOutputConfig": {"Outputs": [output]}},
                PropertyFiles=[property_file],
                CacheConfig={"Enabled": True, "ExpireAfter": "P1D"},
            ),
            {"Name": "Gate", "Type": "Condition", "Arguments": gate},
        ],
    }


class Small:
    """The small pipeline in a project of its own (the fixture `project`), and its executions."""

    def __init__(self, project: Any) -> None:
        (project.root / "seed_code" / "cardholders" / "program.py").write_text(PROGRAM)
        self.project = project
        self.name = project.names.pipeline(WORKLOAD, KIND)
        self.sagemaker = project.session.client("sagemaker")
        self.s3 = project.session.client("s3")
        self.logs = project.session.client("logs")
        # What `provision` makes, less what this pipeline does not ask for: that would be fifty calls for every test.
        where = {"LocationConstraint": project.names.region}
        self.s3.create_bucket(Bucket=project.names.bucket, CreateBucketConfiguration=where)
        make_role(project.session.client("iam"), project.names.role_name)
        image = images.register_all(project.session, project.names, project.root)[0]
        self.sagemaker.create_pipeline(
            PipelineName=self.name,
            PipelineDefinition=json.dumps(definition(image.uri, project.names.role_arn, project.names.bucket)),
            RoleArn=project.names.role_arn,
            ClientRequestToken=uuid.uuid4().hex,
        )

    def start(self, **parameters: str) -> str:
        given = [{"Name": name, "Value": value} for name, value in parameters.items()]
        started = self.sagemaker.start_pipeline_execution(
            PipelineName=self.name, PipelineParameters=given, ClientRequestToken=uuid.uuid4().hex
        )
        return str(started["PipelineExecutionArn"])

    def run(self, **parameters: str) -> Execution:
        """Start an execution and follow it to its end; gives the last reading."""
        *_, last = executions.watch(self.sagemaker, self.start(**parameters), threading.Event().wait, 0.05)
        return last


@pytest.fixture
def small(project: Any) -> Small:
    assert (WORKLOAD, KIND) in definitions.PIPELINES
    return Small(project)
