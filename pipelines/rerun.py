"""Running the job of one step again, alone: the request that it was made with, on other code, into its own folder."""

from __future__ import annotations

from typing import Any

from pipelines.errors import UsageError

__all__ = ["request", "start", "stop"]

_CREATE = {"ProcessingJob": "CreateProcessingJob", "TrainingJob": "CreateTrainingJob"}
# What belongs to the execution that the job was part of, or is not about its work.
_LEFT_OUT = {"Tags", "ExperimentConfig"}


def request(
    sagemaker: Any, kind: str, described: dict[str, Any], *, name: str, image_uri: str, scratch_uri: str
) -> dict[str, Any]:
    """The arguments that create a job like the described one, under another name.

    kind: `ProcessingJob` or `TrainingJob`. described: the answer of its Describe operation.
    image_uri: the image to run. scratch_uri: S3 URI without a slash at its end, below which outputs go.
    Raises UsageError for a kind whose image is not in its request: a transform runs the image of its model.
    """
    if kind not in _CREATE:
        raise UsageError(
            f"a {kind} cannot be run again alone: its image is that of its model. Run the whole pipeline, or a step "
            f"with a {' or '.join(_CREATE)}"
        )
    # A description holds the request's own members, and more; the service's model says which they are.
    members = sagemaker.meta.service_model.operation_model(_CREATE[kind]).input_shape.members
    again = {key: value for key, value in described.items() if key in members and key not in _LEFT_OUT}
    again[f"{kind}Name"] = name
    if kind == "ProcessingJob":
        again["AppSpecification"] = {**again["AppSpecification"], "ImageUri": image_uri}
        outputs = again.get("ProcessingOutputConfig", {}).get("Outputs", [])
        if outputs:
            again["ProcessingOutputConfig"] = {
                **again["ProcessingOutputConfig"],
                "Outputs": [_into(output, scratch_uri) for output in outputs],
            }
        else:
            again.pop("ProcessingOutputConfig", None)
    else:
        again["AlgorithmSpecification"] = {**again["AlgorithmSpecification"], "TrainingImage": image_uri}
        again["OutputDataConfig"] = {**again["OutputDataConfig"], "S3OutputPath": scratch_uri}
    return again


def start(sagemaker: Any, kind: str, arguments: dict[str, Any]) -> None:
    create = {"ProcessingJob": sagemaker.create_processing_job, "TrainingJob": sagemaker.create_training_job}[kind]
    create(**arguments)


def stop(sagemaker: Any, job: tuple[str, str]) -> None:
    kind, name = job
    if kind == "ProcessingJob":
        sagemaker.stop_processing_job(ProcessingJobName=name)
    else:
        sagemaker.stop_training_job(TrainingJobName=name)


def _into(output: dict[str, Any], scratch_uri: str) -> dict[str, Any]:
    if "S3Output" not in output:
        return output
    return {**output, "S3Output": {**output["S3Output"], "S3Uri": f"{scratch_uri}/{output['OutputName']}"}}
