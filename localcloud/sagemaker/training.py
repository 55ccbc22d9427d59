"""Training jobs.

A training container's contract, below the private root:

    /opt/ml/input/config/{hyperparameters,inputdataconfig,resourceconfig}.json    numbers in the first are strings
    /opt/ml/input/data/<channel>/        a channel's objects
    /opt/ml/model/                       ends in S3 as model.tar.gz, flat
    /opt/ml/output/data/                 ends in S3 as output.tar.gz, if there is anything in it
    /opt/ml/output/failure               its first 1,024 characters become FailureReason
    /opt/ml/checkpoints (CheckpointConfig)  copied from S3 before, and to S3 after
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from localcloud.errors import ServiceError, validation
from localcloud.jobs import transfer
from localcloud.sagemaker import algorithms
from localcloud.sagemaker.contract import resource_config, write_json
from localcloud.sagemaker.crud import Document, Kind
from localcloud.sagemaker.jobs import Job, Outcome, Runtime, cut, unsupported
from localcloud.sagemaker.processing import cut_told, exit_code

KIND = Kind(
    noun="TrainingJob",
    resource="training-job",
    status="TrainingJobStatus",
    missing=lambda name, arn: validation("Requested resource not found."),
    duplicate=lambda name, arn: ServiceError(
        "ResourceInUse",
        f"Job name must be unique within an AWS account and region, and a job with this name already exists ({arn})",
    ),
    default_order="Ascending",
    defaults={"TrainingJobStatus": "InProgress", "SecondaryStatus": "Starting"},
)
_DEFAULT_LIMIT_SECONDS = 86_400
_DEFAULT_CHECKPOINTS = "/opt/ml/checkpoints"
_MESSAGES = {
    "Starting": "Preparing the instances for training",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Uploading": "Uploading generated training model",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopping": "Stopping the training job",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
}
_UNSUPPORTED = (
    "DebugHookConfig",
    "DebugRuleConfigurations",
    "ModelPackageConfig",
    "ProfilerRuleConfigurations",
    "ServerlessJobConfig",
    "SessionChainingConfig",
    "TensorBoardOutputConfig",
)


class Training:
    """What is particular to training jobs."""

    kind = KIND
    log_group = "/aws/sagemaker/TrainingJobs"

    def check(self, params: Mapping[str, Any]) -> None:
        """Raise ValidationException for what localcloud does not run."""
        unsupported(params, _UNSUPPORTED, "training job")
        algorithm = params.get("AlgorithmSpecification") or {}
        if not algorithm.get("TrainingImage"):
            raise validation("localcloud trains with an image: AlgorithmSpecification needs a TrainingImage")
        _one_of("AlgorithmSpecification", algorithm, "TrainingInputMode", ("File", "FastFile"))
        for definition in algorithm.get("MetricDefinitions") or ():
            try:
                re.compile(definition["Regex"])
            except re.error as error:
                raise validation(f"The Regex of the metric {definition['Name']!r} is none: {error}") from error
        resources = params.get("ResourceConfig") or {}
        unsupported(resources, ("InstanceGroups", "TrainingPlanArn"), "training job")
        if resources.get("InstanceCount", 1) != 1:
            raise validation(
                f"localcloud trains on one instance; got InstanceCount {resources['InstanceCount']} in ResourceConfig,"
                " expected 1"
            )
        names: set[str] = set()
        for channel in params.get("InputDataConfig") or ():
            name = channel["ChannelName"]
            if name in names:
                raise validation(f"InputDataConfig has two channels named {name!r}; names must be unique")
            names.add(name)
            source = channel["DataSource"].get("S3DataSource")
            if source is None:
                raise validation(f"localcloud reads channels from S3; the DataSource of {name!r} has no S3DataSource")
            _one_of(f"channel {name!r}", source, "S3DataType", ("S3Prefix",))
            _one_of(f"channel {name!r}", channel, "InputMode", ("File", "FastFile", None))
            _one_of(f"channel {name!r}", channel, "CompressionType", ("None", None))
            _one_of(f"channel {name!r}", channel, "RecordWrapperType", ("None", None))
            unsupported(channel, ("ShuffleConfig",), "training job")

    def document(self, params: Mapping[str, Any], work: Runtime) -> Document:
        """The first status, where the model will be, and the metrics of an algorithm of SageMaker's."""
        now = work.context.clock.now()
        output = params["OutputDataConfig"]
        place = f"{_output_uri(params)}/model" + ("" if output.get("CompressionType") == "NONE" else ".tar.gz")
        limit = (params.get("StoppingCondition") or {}).get("MaxRuntimeInSeconds", _DEFAULT_LIMIT_SECONDS)
        account_id = work.context.account_id
        return {
            "AlgorithmSpecification": algorithms.with_metrics(params["AlgorithmSpecification"], account_id),
            "StoppingCondition": {**(params.get("StoppingCondition") or {}), "MaxRuntimeInSeconds": limit},
            "ModelArtifacts": {"S3ModelArtifacts": place},
            "SecondaryStatusTransitions": [
                {"Status": "Starting", "StartTime": now, "StatusMessage": _MESSAGES["Starting"]}
            ],
        }

    def role(self, document: Document) -> str:
        """Its own."""
        return str(document["RoleArn"])

    def metrics(self, document: Document) -> list[tuple[str, str]]:
        """Those of the AlgorithmSpecification."""
        definitions = document["AlgorithmSpecification"].get("MetricDefinitions") or ()
        return [(definition["Name"], definition["Regex"]) for definition in definitions]

    def execute(self, job: Job) -> Outcome:
        """Download, train, upload."""
        document = job.document
        algorithm = document["AlgorithmSpecification"]
        image = job.image(algorithm["TrainingImage"])
        _enter(job, "Downloading", TrainingStartTime=job.runtime.context.clock.now())
        self._prepare(job)
        entrypoint = algorithm.get("ContainerEntrypoint") or image.entrypoint
        arguments = algorithm.get("ContainerArguments")
        if arguments is None:
            # As with docker run IMAGE train.
            arguments = [] if algorithm.get("ContainerEntrypoint") else ["train"]
        variables = {
            "TRAINING_JOB_NAME": job.name,
            "TRAINING_JOB_ARN": document["TrainingJobArn"],
            **document.get("Environment", {}),
        }
        program = job.program(image, list(entrypoint), list(arguments), variables)
        if job.stopped:
            return Outcome("Stopped")
        _enter(job, "Training")
        ended = job.run(program, document["StoppingCondition"]["MaxRuntimeInSeconds"])
        members: Document = {}
        if job.log.metrics:
            members["FinalMetricDataList"] = [
                {"MetricName": metric.name, "Value": metric.value, "Timestamp": metric.timestamp}
                for metric in job.log.metrics
            ]
        halted = ended.timed_out or ended.stopped
        failed = ended.returncode != 0 and not halted
        if not failed:
            _enter(job, "Uploading")
        self._upload(job, with_model=not failed)
        if failed:
            told = job.text("/opt/ml/output/failure") or "See job logs for more information"
            reason = f"AlgorithmError: {cut_told(told)}, exit code: {exit_code(ended.returncode)}"
            return Outcome("Failed", reason, members)
        if ended.timed_out:
            # As on AWS: out of time is no failure, and what was in /opt/ml/model by then is kept.
            return Outcome("Stopped", None, {**members, "SecondaryStatus": "MaxRuntimeExceeded"})
        return Outcome("Stopped" if ended.stopped else "Completed", None, members)

    def ended(self, document: Document, outcome: Outcome, work: Runtime) -> Document:
        """The end's members."""
        now = work.context.clock.now()
        document |= outcome.members
        document["TrainingJobStatus"] = outcome.status
        document["SecondaryStatus"] = outcome.members.get("SecondaryStatus", outcome.status)
        document["TrainingEndTime"] = now
        started = document.get("TrainingStartTime")
        if started is not None:
            seconds = max(1, math.ceil((now - started).total_seconds()))
            document |= {"TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": seconds}
        if outcome.reason is not None:
            document["FailureReason"] = cut(outcome.reason)
        message = outcome.reason or _MESSAGES[document["SecondaryStatus"]]
        return _transition(document, document["SecondaryStatus"], message, work, last=True)

    def _prepare(self, job: Job) -> None:
        document, base = job.document, job.root.base
        channels = {
            channel["ChannelName"]: {
                key: value
                for key, value in {
                    "ContentType": channel.get("ContentType"),
                    "TrainingInputMode": "File",
                    "S3DistributionType": channel["DataSource"]["S3DataSource"].get(
                        "S3DataDistributionType", "FullyReplicated"
                    ),
                    "RecordWrapperType": "None",
                }.items()
                if value is not None
            }
            for channel in document.get("InputDataConfig") or ()
        }
        config = base / "input" / "config"
        instance = (document.get("ResourceConfig") or {}).get("InstanceType", "local")
        write_json(config / "hyperparameters.json", document.get("HyperParameters") or {})
        write_json(config / "inputdataconfig.json", channels)
        write_json(config / "resourceconfig.json", resource_config(instance))
        for folder in ("model", "output/data", "input/data"):
            (base / folder).mkdir(parents=True, exist_ok=True)
        for channel in document.get("InputDataConfig") or ():
            folder_of_channel = base / "input" / "data" / channel["ChannelName"]
            folder_of_channel.mkdir(parents=True)
            try:
                transfer.download(job.s3, channel["DataSource"]["S3DataSource"]["S3Uri"], folder_of_channel)
            except transfer.TransferError as error:
                raise transfer.TransferError(f"Data download failed:{error}") from error
        checkpoints = document.get("CheckpointConfig")
        if checkpoints:
            place = job.root.inside(checkpoints.get("LocalPath") or _DEFAULT_CHECKPOINTS)
            place.mkdir(parents=True, exist_ok=True)
            bucket, prefix = transfer.parse_uri(checkpoints["S3Uri"])
            if job.s3.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1).get("KeyCount"):
                transfer.download(job.s3, checkpoints["S3Uri"], place)

    def _upload(self, job: Job, *, with_model: bool) -> None:
        document, base = job.document, job.root.base
        bucket, prefix = transfer.parse_uri(_output_uri(document))
        if with_model:
            _upload_model(job, bucket, prefix)
        if transfer.files(base / "output" / "data"):
            archive = job.root.path / "output.tar.gz"
            transfer.pack(base / "output" / "data", archive)
            transfer.upload_file(job.s3, archive, bucket, f"{prefix}/output.tar.gz")
        checkpoints = document.get("CheckpointConfig")
        if checkpoints:
            place = job.root.inside(checkpoints.get("LocalPath") or _DEFAULT_CHECKPOINTS)
            transfer.upload(job.s3, place, checkpoints["S3Uri"])


def _upload_model(job: Job, bucket: str, prefix: str) -> None:
    model = job.root.base / "model"
    if job.document["OutputDataConfig"].get("CompressionType") == "NONE":
        transfer.upload(job.s3, model, f"s3://{bucket}/{prefix}/model")
    elif transfer.files(model):
        archive = job.root.path / "model.tar.gz"
        transfer.pack(model, archive)
        transfer.upload_file(job.s3, archive, bucket, f"{prefix}/model.tar.gz")


def _output_uri(params: Mapping[str, Any]) -> str:
    return f"{params['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{params['TrainingJobName']}/output"


def _enter(job: Job, status: str, **members: Any) -> None:
    """Begin a phase: SecondaryStatus, and an entry in SecondaryStatusTransitions."""
    job.resources.change(
        job.name,
        lambda document: _transition(
            {**document, **members, "SecondaryStatus": status}, status, _MESSAGES[status], job.runtime
        ),
    )


def _transition(document: Document, status: str, message: str, work: Runtime, *, last: bool = False) -> Document:
    now = work.context.clock.now()
    transitions = [dict(entry) for entry in document["SecondaryStatusTransitions"]]
    if transitions:
        transitions[-1].setdefault("EndTime", now)
    entry: Document = {"Status": status, "StartTime": now, "StatusMessage": message}
    if last:
        entry["EndTime"] = now
    return {**document, "SecondaryStatusTransitions": [*transitions, entry]}


def _one_of(where: str, params: Mapping[str, Any], member: str, accepted: tuple[str | None, ...]) -> None:
    value = params.get(member)
    if value not in accepted:
        choices = " or ".join(json.dumps(choice) for choice in accepted if choice is not None)
        raise validation(f"localcloud takes {member} {choices} only, in {where}; got {json.dumps(value)}")
