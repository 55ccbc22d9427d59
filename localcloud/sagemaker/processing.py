"""Processing jobs.

A processing container's contract, below the private root: inputs and outputs at their LocalPath,
/opt/ml/config/{processingjobconfig,resourceconfig}.json, and /opt/ml/output/message, whose first 1,024 characters
become ExitMessage.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from localcloud.errors import ServiceError, validation
from localcloud.jobs import transfer
from localcloud.sagemaker.contract import resource_config, write_json
from localcloud.sagemaker.crud import Document, Kind
from localcloud.sagemaker.jobs import Job, Outcome, Runtime, cut

KIND = Kind(
    noun="ProcessingJob",
    resource="processing-job",
    status="ProcessingJobStatus",
    missing=lambda name, arn: validation(f"Could not find requested job with name: {name}"),
    duplicate=lambda name, arn: ServiceError(
        "ResourceInUse",
        f"Job name must be unique within an AWS account and region, and a job with this name already exists ({arn})",
    ),
    default_order="Ascending",
    defaults={"ProcessingJobStatus": "InProgress"},
)
_DEFAULT_LIMIT_SECONDS = 86_400


class Processing:
    """What is particular to processing jobs."""

    kind = KIND
    log_group = "/aws/sagemaker/ProcessingJobs"

    def check(self, params: Mapping[str, Any]) -> None:
        """Raise ValidationException for what localcloud does not run."""
        count = params["ProcessingResources"]["ClusterConfig"]["InstanceCount"]
        if count != 1:
            raise validation(
                f"localcloud runs a processing job on one instance; got InstanceCount {count} in ClusterConfig,"
                " expected 1"
            )
        names: set[str] = set()
        for entry in params.get("ProcessingInputs") or ():
            _check_name(entry["InputName"], names, "ProcessingInputs")
            if "DatasetDefinition" in entry:
                raise validation(f"localcloud reads no DatasetDefinition (input {entry['InputName']!r}); use S3Input")
            if "S3Input" not in entry:
                raise validation(f"The processing input {entry['InputName']!r} has no S3Input")
            _check_input(entry["InputName"], entry["S3Input"], bool(entry.get("AppManaged")))
        names.clear()
        for entry in (params.get("ProcessingOutputConfig") or {}).get("Outputs", ()):
            _check_name(entry["OutputName"], names, "ProcessingOutputConfig")
            if "FeatureStoreOutput" in entry:
                raise validation(
                    f"localcloud writes no FeatureStoreOutput (output {entry['OutputName']!r}); use S3Output"
                )
            if "S3Output" not in entry:
                raise validation(f"The processing output {entry['OutputName']!r} has no S3Output")
            _check_output(entry["OutputName"], entry["S3Output"], bool(entry.get("AppManaged")))

    def document(self, params: Mapping[str, Any], work: Runtime) -> Document:
        """The time limit that AWS gives a job that names none."""
        return {"StoppingCondition": params.get("StoppingCondition") or {"MaxRuntimeInSeconds": _DEFAULT_LIMIT_SECONDS}}

    def role(self, document: Document) -> str:
        """Its own."""
        return str(document["RoleArn"])

    def metrics(self, document: Document) -> list[tuple[str, str]]:
        """None: processing jobs define no metrics."""
        return []

    def execute(self, job: Job) -> Outcome:
        """Download, run, upload."""
        document = job.document
        application = document["AppSpecification"]
        image = job.image(application["ImageUri"])
        started_at = job.runtime.context.clock.now()
        job.change(ProcessingStartTime=started_at)
        self._prepare(job)
        entrypoint = list(application.get("ContainerEntrypoint") or image.entrypoint)
        arguments = application.get("ContainerArguments")
        if arguments is None:
            # As with docker run: the image's own command belongs to the image's own entry point.
            arguments = [] if application.get("ContainerEntrypoint") else list(image.command)
        program = job.program(
            image,
            entrypoint,
            list(arguments),
            {"PROCESSING_JOB_ARN": document["ProcessingJobArn"], **document.get("Environment", {})},
        )
        if job.stopped:
            return Outcome("Stopped")
        limit: int = document["StoppingCondition"]["MaxRuntimeInSeconds"]
        ended = job.run(program, limit)
        message = job.text("/opt/ml/output/message")
        members = {"ExitMessage": message} if message else {}
        if ended.timed_out:
            reason = f"ClientError: the job exceeded MaxRuntimeInSeconds ({limit}) and was stopped"
            return Outcome("Failed", reason, members)
        if ended.stopped:
            return Outcome("Stopped", None, members)
        if ended.returncode != 0:
            told = job.text("/opt/ml/output/failure") or message or "See job logs for more information"
            return Outcome(
                "Failed", f"AlgorithmError: {cut_told(told)}, exit code: {exit_code(ended.returncode)}", members
            )
        for output in _outputs(document):
            if not output.get("AppManaged"):
                place = output["S3Output"]
                transfer.upload(job.s3, job.root.inside(place["LocalPath"]), place["S3Uri"])
        return Outcome("Completed", None, members)

    def ended(self, document: Document, outcome: Outcome, work: Runtime) -> Document:
        """The end's members."""
        document |= outcome.members
        document["ProcessingJobStatus"] = outcome.status
        document["ProcessingEndTime"] = work.context.clock.now()
        if outcome.reason is not None:
            document["FailureReason"] = cut(outcome.reason)
        return document

    def _prepare(self, job: Job) -> None:
        document = job.document
        names = (
            "ProcessingJobArn",
            "ProcessingJobName",
            "AppSpecification",
            "Environment",
            "ProcessingInputs",
            "ProcessingOutputConfig",
            "ProcessingResources",
            "RoleArn",
            "StoppingCondition",
        )
        cluster = document["ProcessingResources"]["ClusterConfig"]
        config = job.root.base / "config"
        write_json(config / "processingjobconfig.json", {name: document.get(name) for name in names})
        write_json(config / "resourceconfig.json", resource_config(cluster["InstanceType"]))
        for entry in document.get("ProcessingInputs") or ():
            if not entry.get("AppManaged"):
                place = entry["S3Input"]
                folder = job.root.inside(place["LocalPath"])
                folder.mkdir(parents=True, exist_ok=True)
                try:
                    transfer.download(job.s3, place["S3Uri"], folder)
                except transfer.TransferError as error:
                    raise transfer.TransferError(f"Data download failed:{error}") from error
        for output in _outputs(document):
            if output["S3Output"].get("LocalPath"):
                job.root.inside(output["S3Output"]["LocalPath"]).mkdir(parents=True, exist_ok=True)


def exit_code(returncode: int) -> int:
    """A process's end as a container's exit code: 128 and the signal for one that a signal ended."""
    return returncode if returncode >= 0 else 128 - returncode


def cut_told(told: str) -> str:
    """What a program said of its failure, leaving room for what is put around it."""
    return told[:980]


def _outputs(document: Document) -> list[Document]:
    outputs: list[Document] = (document.get("ProcessingOutputConfig") or {}).get("Outputs", [])
    return outputs


def _check_name(name: str, names: set[str], where: str) -> None:
    if name in names:
        raise validation(f"{where} has two entries named {name!r}; names must be unique")
    names.add(name)


def _check_input(name: str, place: Mapping[str, Any], managed: bool) -> None:
    for member, accepted in {
        "S3DataType": ("S3Prefix",),
        "S3InputMode": ("File", None),
        "S3CompressionType": ("None", None),
    }.items():
        value = place.get(member)
        if value not in accepted:
            raise validation(
                f"localcloud reads the processing input {name!r} with {member} {json.dumps(accepted[0])} only; got"
                f" {json.dumps(value)}"
            )
    if not managed:
        _check_place(name, place)


def _check_output(name: str, place: Mapping[str, Any], managed: bool) -> None:
    if place["S3UploadMode"] != "EndOfJob":
        raise validation(
            f'localcloud uploads the processing output {name!r} with S3UploadMode "EndOfJob" only; got'
            f" {json.dumps(place['S3UploadMode'])}"
        )
    if not managed:
        _check_place(name, place)


def _check_place(name: str, place: Mapping[str, Any]) -> None:
    path = place.get("LocalPath") or ""
    if not path.startswith("/opt/ml/") or ".." in path.split("/"):
        raise validation(f"The LocalPath of {name!r} must start with /opt/ml/processing; got {json.dumps(path)}")
    if not place["S3Uri"].startswith("s3://"):
        raise validation(f"The S3Uri of {name!r} must be s3://bucket/prefix; got {json.dumps(place['S3Uri'])}")
