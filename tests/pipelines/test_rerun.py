"""The request of a job that is run again: the old one's, with another image, name and place for its outputs."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.validate import ParamValidator

from pipelines import rerun
from pipelines.errors import UsageError

ROLE = "arn:aws:iam::123456789012:role/demo"
OLD = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/demo/cardholders:sha-old"
NEW = OLD.replace("old", "new")


@pytest.fixture(scope="module")
def sagemaker() -> Any:
    return boto3.client("sagemaker", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")


def _again(sagemaker: Any, kind: str, described: dict[str, Any]) -> dict[str, Any]:
    """The request, once botocore has found that it is one."""
    made = rerun.request(
        sagemaker, kind, described, name="step-Train-1", image_uri=NEW, scratch_uri="s3://bucket/scratch/step-Train-1"
    )
    shape = sagemaker.meta.service_model.operation_model(f"Create{kind}").input_shape
    assert not ParamValidator().validate(made, shape).has_errors()
    return made


def test_a_training_job(sagemaker: Any) -> None:
    channel = {
        "ChannelName": "train",
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/train"}},
    }
    described = {
        "TrainingJobName": "old",
        "TrainingJobArn": "arn:old",
        "TrainingJobStatus": "Failed",
        "SecondaryStatus": "Failed",
        "FailureReason": "no",
        "ModelArtifacts": {"S3ModelArtifacts": "s3://bucket/old/model.tar.gz"},
        "HyperParameters": {"part": "purchase"},
        "AlgorithmSpecification": {"TrainingImage": OLD, "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "InputDataConfig": [channel],
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/old", "CompressionType": "GZIP"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        "ExperimentConfig": {"ExperimentName": "e"},
    }
    made = _again(sagemaker, "TrainingJob", described)
    assert made["TrainingJobName"] == "step-Train-1"
    assert made["AlgorithmSpecification"] == {"TrainingImage": NEW, "TrainingInputMode": "File"}
    assert made["OutputDataConfig"] == {"S3OutputPath": "s3://bucket/scratch/step-Train-1", "CompressionType": "GZIP"}
    assert made["InputDataConfig"] == [channel]
    assert made["HyperParameters"] == {"part": "purchase"}
    assert not {"ExperimentConfig", "TrainingJobArn", "FailureReason", "ModelArtifacts"} & set(made)
    assert described["AlgorithmSpecification"]["TrainingImage"] == OLD  # the description is not touched


def test_a_processing_job(sagemaker: Any) -> None:
    def output(name: str) -> dict[str, Any]:
        place = {"S3Uri": f"s3://bucket/old/{name}", "LocalPath": f"/opt/ml/{name}", "S3UploadMode": "EndOfJob"}
        return {"OutputName": name, "S3Output": place}

    described = {
        "ProcessingJobName": "old",
        "ProcessingJobArn": "arn:old",
        "ProcessingJobStatus": "Completed",
        "ProcessingResources": {
            "ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
        },
        "AppSpecification": {"ImageUri": OLD, "ContainerEntrypoint": ["python3", "-m", "x"]},
        "ProcessingOutputConfig": {"Outputs": [output("a"), output("b")]},
        "Environment": {"A": "1"},
        "RoleArn": ROLE,
    }
    made = _again(sagemaker, "ProcessingJob", described)
    assert made["AppSpecification"] == {"ImageUri": NEW, "ContainerEntrypoint": ["python3", "-m", "x"]}
    assert [one["S3Output"]["S3Uri"] for one in made["ProcessingOutputConfig"]["Outputs"]] == [
        "s3://bucket/scratch/step-Train-1/a",
        "s3://bucket/scratch/step-Train-1/b",
    ]
    assert made["Environment"] == {"A": "1"}
    # A job without outputs has none afterwards either: an empty list is no valid request.
    bare = _again(sagemaker, "ProcessingJob", {**described, "ProcessingOutputConfig": {"Outputs": []}})
    assert "ProcessingOutputConfig" not in bare


def test_another_kind_is_refused(sagemaker: Any) -> None:
    with pytest.raises(UsageError, match="TransformJob cannot be run again"):
        rerun.request(sagemaker, "TransformJob", {}, name="n", image_uri=NEW, scratch_uri="s3://b/x")
