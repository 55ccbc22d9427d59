"""A project whose production is watched, to be driven by tests: its stack in a localcloud, an endpoint, and pipelines
in place of build and monitor that end as they are told to, within moments.

    build     Outcome (a runtime value)  good: registers a package · refused: QualityTooLow · waits: until it is
              answered · anything else: fails
    monitor   does nothing

Alarms are set by SetAlarmState, or by metrics; what comes of them comes by events.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines import names as n
from pipelines import retrainings
from pipelines.carried.serving import Serving
from pipelines.retrainings import Attempt, Retrainings
from tests.conftest import Localcloud, point_at
from tests.contract.sagemaker_account import until
from tests.pipelines.conftest import make_copy, make_project
from tests.pipelines.deploy.loop import CARDHOLDERS, FORECASTER, Loop, Mlflow, furnish
from tests.roles import policy

__all__ = ["CARDHOLDERS", "FORECASTER", "Watched", "made", "until"]

OUTCOME, WAITING = "Outcome", "builds"


class Watched:
    """A project and its production."""

    def __init__(self, loop: Loop) -> None:
        self.loop, self.names = loop, loop.names
        self.client = loop.client

    # --- making it ------------------------------------------------------------------------------------------------

    def furnish(self) -> None:
        """The pipelines, the topic's subscriber, and what production serves."""
        for workload in (FORECASTER, CARDHOLDERS):
            for kind, definition in (("build", self._build(workload)), ("monitor", _monitor(workload))):
                self.loop.sagemaker.create_pipeline(
                    PipelineName=self.names.pipeline(workload, kind),
                    PipelineDefinition=json.dumps(definition),
                    RoleArn=self.names.role_arn,
                    ClientRequestToken=f"{self.names.project}-{workload}-{kind}".ljust(32, "-"),
                )
            self.ends_as("good", workload)
        sqs, sns = self.client("sqs"), self.client("sns")
        for queue in ("notices", WAITING):
            sqs.create_queue(QueueName=self.names.queue(queue))
        # This one is the tests' own, of which the template knows nothing.
        asks = {"Effect": "Allow", "Principal": {"AWS": self.names.role_arn}, "Action": "sqs:SendMessage"}
        resource = f"arn:aws:sqs:{self.names.region}:{self.names.account_id}:{self.names.queue(WAITING)}"
        sqs.set_queue_attributes(
            QueueUrl=self.loop.queue_url(WAITING), Attributes={"Policy": policy([{**asks, "Resource": resource}])}
        )
        arn = sqs.get_queue_attributes(QueueUrl=self.loop.queue_url("notices"), AttributeNames=["QueueArn"])
        sns.subscribe(TopicArn=self.names.notices_topic_arn, Protocol="sqs", Endpoint=arn["Attributes"]["QueueArn"])
        self.serve(FORECASTER, "prod")

    def serve(self, workload: str, stage: str) -> Serving:
        """An endpoint, without a deployment, that the stage serves by."""
        package = self.loop.package(workload)
        self.loop.sagemaker.update_model_package(ModelPackageArn=package.arn, ModelApprovalStatus="Rejected")
        described = self.loop.sagemaker.describe_model_package(ModelPackageName=package.arn)
        [container] = described["InferenceSpecification"]["Containers"]
        name = f"{self.names.endpoint(workload, stage)}-{package.version}"
        self.loop.sagemaker.create_model(
            ModelName=name,
            PrimaryContainer={"Image": container["Image"], "ModelDataUrl": container["ModelDataUrl"]},
            ExecutionRoleArn=self.names.role_arn,
        )
        variant = {"VariantName": n.VARIANT, "ModelName": name, "InstanceType": "ml.m5.large"}
        self.loop.sagemaker.create_endpoint_config(
            EndpointConfigName=name, ProductionVariants=[{**variant, "InitialInstanceCount": 1}]
        )
        endpoint = self.names.endpoint(workload, stage)
        self.loop.sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=name)
        served = Serving(
            package.arn, package.version, endpoint, name, self.now() - timedelta(days=9), "arn:x", "s3://x"
        )
        self.say_serving(workload, stage, served)
        return served

    def served(self, workload: str, stage: str) -> Serving:
        """What a stage serves."""
        name = self.names.serving_parameter(workload, stage)
        return Serving.parse(self.client("ssm").get_parameter(Name=name)["Parameter"]["Value"])

    def say_serving(self, workload: str, stage: str, served: Serving) -> None:
        self.client("ssm").put_parameter(
            Name=self.names.serving_parameter(workload, stage), Value=served.text(), Type="String", Overwrite=True
        )

    def _build(self, workload: str) -> dict[str, Any]:
        package = self.loop.package(workload)
        self.loop.sagemaker.update_model_package(ModelPackageArn=package.arn, ModelApprovalStatus="Rejected")
        described = self.loop.sagemaker.describe_model_package(ModelPackageName=package.arn)
        [container] = described["InferenceSpecification"]["Containers"]
        register = {
            "ModelPackageGroupName": self.names.package_group(workload),
            "ModelApprovalStatus": "PendingManualApproval",
            "InferenceSpecification": {
                "Containers": [{"Image": container["Image"], "ModelDataUrl": container["ModelDataUrl"]}],
                "SupportedContentTypes": ["application/json"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
            "CustomerMetadataProperties": {"evaluation_time": {"Get": f"Parameters.{n.EVALUATION_TIME}"}},
        }
        waiting = {
            "Name": "Waiting",
            "Type": "Callback",
            "SqsQueueUrl": self.names.queue_url(WAITING),
            "Arguments": {},
            "OutputParameters": [],
        }
        ends = [
            ("good", {"Name": "Register", "Type": "RegisterModel", "Arguments": register}),
            ("refused", _fails("QualityTooLow", "worse than the champion by 0.1")),
            ("waits", waiting),
        ]
        steps = [_fails("Train", "there are no data")]
        for outcome, step in reversed(ends):
            steps = [_condition(f"Is{outcome.title()}", OUTCOME, outcome, [step], steps)]
        inputs = [n.EVALUATION_TIME, n.GIT_COMMIT, n.CHAMPION_MODEL_URI, OUTCOME]
        inputs += [n.INPUT_DATA_URI] if workload == CARDHOLDERS else [n.SNAPSHOT_TIME]
        inputs.append(n.CHAMPION_DIFFERENCE[workload][0])
        return _definition(inputs, steps)

    # --- what happens ---------------------------------------------------------------------------------------------

    def ends_as(self, outcome: str, workload: str = FORECASTER) -> None:
        """How the next executions of the build pipeline end."""
        self.client("ssm").put_parameter(
            Name=self.names.ssm_parameter(workload, OUTCOME), Value=outcome, Type="String", Overwrite=True
        )

    def alarm(self, kind: str, value: str = "ALARM", workload: str = FORECASTER, stage: str = "prod") -> str:
        """Let an alarm change its state; gives its name."""
        name = self.names.monitor_alarm(workload, stage, kind)
        self.client("cloudwatch").set_alarm_state(AlarmName=name, StateValue=value, StateReason="a test")
        return name

    def cause(self, alarm: str) -> str:
        """What a retraining for an alarm answers."""
        [found] = self.client("cloudwatch").describe_alarms(AlarmNames=[alarm])["MetricAlarms"]
        return f"{alarm}@{found['StateTransitionedTimestamp'].astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"

    def check(self, now: datetime | None = None) -> dict[str, str]:
        """Let the function look, as the schedule does; gives what it has decided, by workload."""
        return self.invoke({"check": True, "time": _text(now or self.now())})

    def invoke(self, event: dict[str, Any], function: str = "retraining") -> Any:
        """Call a function with an event and wait for what it gives."""
        answer = self.client("lambda").invoke(
            FunctionName=self.names.function(function), Payload=json.dumps(event).encode()
        )
        payload = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, payload
        return payload

    def later(self, hours: float) -> None:
        """Let time pass, and all that is due in it happen."""
        self.loop.advance(hours * 3600)

    def quiet(self) -> None:
        """Wait for what is under way."""
        self.later(0)

    def now(self) -> datetime:
        """localcloud's time."""
        return self.loop.now()

    # --- what came of it ------------------------------------------------------------------------------------------

    def kept(self, workload: str = FORECASTER) -> Retrainings:
        return retrainings.read(self.client("dynamodb"), self.names, workload)

    def write(self, attempt: Attempt, workload: str = FORECASTER) -> None:
        """Put an attempt into the table as it is."""
        self.client("dynamodb").put_item(TableName=self.names.retraining_table, Item=attempt.item(workload))

    def builds(self, workload: str = FORECASTER) -> list[dict[str, Any]]:
        return self.executions("build", workload)

    def executions(self, kind: str, workload: str = FORECASTER) -> list[dict[str, Any]]:
        """A pipeline's executions, the oldest first."""
        pages = self.loop.sagemaker.get_paginator("list_pipeline_executions").paginate(
            PipelineName=self.names.pipeline(workload, kind), SortBy="CreationTime", SortOrder="Ascending"
        )
        return [one for page in pages for one in page["PipelineExecutionSummaries"]]

    def parameters(self, execution: dict[str, Any]) -> dict[str, str]:
        given = self.loop.sagemaker.list_pipeline_parameters_for_execution(
            PipelineExecutionArn=execution["PipelineExecutionArn"]
        )
        return {one["Name"]: one["Value"] for one in given["PipelineParameters"]}

    def build(self, outcome: str, workload: str = FORECASTER, **given: str) -> str:
        """Start a build by hand; gives its ARN."""
        values = {
            n.EVALUATION_TIME: "2026-01-01T00:00:00Z",
            n.GIT_COMMIT: "by-hand",
            n.CHAMPION_MODEL_URI: n.NO_CHAMPION,
            n.CHAMPION_DIFFERENCE[workload][0]: "0",
            OUTCOME: outcome,
            **given,
        }
        started = self.loop.sagemaker.start_pipeline_execution(
            PipelineName=self.names.pipeline(workload, "build"),
            PipelineParameters=[{"Name": name, "Value": value} for name, value in values.items()],
        )
        return str(started["PipelineExecutionArn"])

    def answer_builds(self) -> int:
        """Let executions that wait go on, as succeeded; gives how many did."""
        sqs, url, answered = self.client("sqs"), self.loop.queue_url(WAITING), 0
        asked = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)
        for message in asked.get("Messages", []):
            body = json.loads(message["Body"])
            # A step does not wait yet, or no more, when localcloud has just been started: the message stays.
            with suppress(self.loop.sagemaker.exceptions.ResourceNotFound):
                if body["status"] == "Executing":
                    self.loop.sagemaker.send_pipeline_execution_step_success(CallbackToken=body["token"])
                    answered += 1
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return answered

    def notices(self) -> list[str]:
        """What people were told since it was asked last."""
        sqs, url = self.client("sqs"), self.loop.queue_url("notices")
        found: list[str] = []
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                found.append(json.loads(message["Body"])["Message"])
        return found

    def forget(self) -> None:
        """Everything that a test has left: alarms go out, packages are rejected, the table is emptied."""
        self.ends_as("good")
        self.answer_builds()
        for workload, stages in n.MONITORED.items():
            for stage in stages:
                for kind in n.MONITOR_ALARMS:
                    self.alarm(kind, "OK", workload, stage)
            for one in self.loop.sagemaker.list_model_packages(
                ModelPackageGroupName=self.names.package_group(workload), ModelApprovalStatus="PendingManualApproval"
            )["ModelPackageSummaryList"]:
                self.loop.sagemaker.update_model_package(
                    ModelPackageArn=one["ModelPackageArn"], ModelApprovalStatus="Rejected"
                )
        self.loop.advance(2)  # a cause is a second: the next one is another
        table = self.client("dynamodb")
        for item in table.scan(TableName=self.names.retraining_table)["Items"]:
            key = {name: item[name] for name in ("Workload", "Item")}
            table.delete_item(TableName=self.names.retraining_table, Key=key)
        self.notices()


@contextmanager
def made(folder: Path, localcloud: Localcloud, mlflow: Mlflow, **retraining: Any) -> Iterator[Watched]:
    """A watched project of its own in a localcloud. retraining: other settings than those of configs/workloads."""
    copy = make_copy(folder)
    furnish(copy)
    for file in (copy / "configs" / "workloads").glob("*.yml"):
        text = file.read_text()
        for key, value in retraining.items():
            line = next(line for line in text.splitlines() if line.strip().startswith(f"{key}:"))
            text = text.replace(line, f"{line.partition(':')[0]}: {json.dumps(value)}")
        file.write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        point_at(localcloud, patch)
        loop = Loop(make_project(copy), mlflow, localcloud)
        loop.deploy_stack()
        found = Watched(loop)
        found.furnish()
    yield found


def _definition(inputs: list[str], steps: list[dict[str, Any]]) -> dict[str, Any]:
    declared = [{"Name": name, "Type": "String"} for name in inputs]
    return {"Version": "2020-12-01", "Metadata": {}, "Parameters": declared, "Steps": steps}


def _monitor(workload: str) -> dict[str, Any]:
    inputs = [n.EVALUATION_TIME, n.MODEL_PACKAGE_ARN, n.MODEL_VERSION, n.ENDPOINT_CONFIG, n.THRESHOLD, n.STAGE]
    inputs += [n.MLFLOW_TRACKING_URI, n.REPORT, n.REPORT_REASON]
    inputs += ["PredictionLength"] if workload == FORECASTER else []
    return _definition(inputs, [_condition("Evaluate", n.STAGE, "broken", [_fails("Broken", "a test")], [])])


def _condition(
    name: str, parameter: str, value: str, then: list[dict[str, Any]], otherwise: list[dict[str, Any]]
) -> dict[str, Any]:
    equals = {"Type": "Equals", "LeftValue": {"Get": f"Parameters.{parameter}"}, "RightValue": value}
    arguments = {"Conditions": [equals], "IfSteps": then, "ElseSteps": otherwise}
    return {"Name": name, "Type": "Condition", "Arguments": arguments}


def _fails(name: str, message: str) -> dict[str, Any]:
    return {"Name": name, "Type": "Fail", "Arguments": {"ErrorMessage": message}}


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
