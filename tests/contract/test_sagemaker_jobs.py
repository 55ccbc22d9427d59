"""Processing and training jobs, alone: what they find, what they leave, how they end."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any

import pytest

from tests.contract import images
from tests.contract.sagemaker_account import Account, error_of

TRAINING_LOGS = "/aws/sagemaker/TrainingJobs"


@pytest.fixture(scope="module")
def account(cloud: Any) -> Account:
    """The account under test."""
    return Account.of(cloud)


def test_processing_reads_inputs_and_writes_outputs(account: Account) -> None:
    source, target = account.put("hello", "sub", "a.txt"), account.new_prefix()
    job = account.run_processing(
        account.processing(
            "list processing/data",
            "copy /opt/ml/processing/data/sub/a.txt /opt/ml/processing/result/b/c.txt",
            "show /opt/program/words.txt",
            "env WORDS_OF_JOB",
            ProcessingInputs=[account.input(source)],
            ProcessingOutputConfig=account.outputs(result=target),
            Environment={"WORDS_OF_JOB": "kept"},
        )
    )
    assert job["ProcessingJobStatus"] == "Completed", job.get("FailureReason")
    assert job["CreationTime"] <= job["ProcessingStartTime"] <= job["ProcessingEndTime"]
    assert account.keys(target) == ["b/c.txt"]
    assert account.text(f"{target}/b/c.txt") == "hello"
    assert account.lines(job["ProcessingJobName"]) == ["sub/a.txt", "from the image", "WORDS_OF_JOB=kept"]


def test_processing_finds_its_configuration(account: Account) -> None:
    job = account.run_processing(
        account.processing("show config/processingjobconfig.json", "show config/resourceconfig.json")
    )
    own, resources = map(json.loads, account.lines(job["ProcessingJobName"]))
    assert own["ProcessingJobName"] == job["ProcessingJobName"]
    assert own["AppSpecification"]["ContainerEntrypoint"] == ["act"]
    assert resources["current_host"] == "algo-1"
    assert resources["hosts"] == ["algo-1"]


def test_an_input_may_be_one_object(account: Account) -> None:
    source = account.put("x", "only.txt")
    job = account.run_processing(
        account.processing("list processing/data", ProcessingInputs=[account.input(f"{source}/only.txt")])
    )
    assert account.lines(job["ProcessingJobName"]) == ["only.txt"]


def test_an_input_without_objects_fails_the_job(account: Account) -> None:
    nothing = account.new_prefix()
    job = account.run_processing(account.processing("print never", ProcessingInputs=[account.input(nothing)]))
    assert job["ProcessingJobStatus"] == "Failed"
    assert nothing in job["FailureReason"]
    assert job["FailureReason"].startswith("ClientError: ")


def test_failure_file_becomes_the_reason(account: Account) -> None:
    job = account.run_processing(account.processing("print before", "fail the column Amount is missing"))
    assert job["ProcessingJobStatus"] == "Failed"
    assert job["FailureReason"] == "AlgorithmError: the column Amount is missing, exit code: 1"
    assert "before" in account.lines(job["ProcessingJobName"])


def test_a_failing_job_uploads_nothing(account: Account) -> None:
    target = account.new_prefix()
    job = account.run_processing(
        account.processing("write processing/r/x y", "exit 3", ProcessingOutputConfig=account.outputs(r=target))
    )
    assert job["FailureReason"].endswith("exit code: 3")
    assert account.keys(target) == []


def test_message_becomes_the_exit_message(account: Account) -> None:
    job = account.run_processing(account.processing("message 17 rows were dropped"))
    assert (job["ProcessingJobStatus"], job["ExitMessage"]) == ("Completed", "17 rows were dropped")


def test_a_full_disk_fails_the_job_with_the_programs_reason(account: Account) -> None:
    job = account.run_processing(account.processing("fill /dev/full"))
    assert job["ProcessingJobStatus"] == "Failed"
    assert "No space left on device" in job["FailureReason"]


def test_an_unknown_image_fails_the_job(account: Account) -> None:
    image = account.image.rpartition(":")[0] + ":missing"
    params = account.processing()
    params["AppSpecification"]["ImageUri"] = image
    job = account.run_processing(params)
    assert job["ProcessingJobStatus"] == "Failed"
    assert image in job["FailureReason"]


def test_every_line_of_a_chatty_job_is_in_its_log(account: Account) -> None:
    job = account.run_processing(account.processing("chatter 25000"))
    assert job["ProcessingJobStatus"] == "Completed"
    assert account.lines(job["ProcessingJobName"]) == [f"line {number}" for number in range(25_000)]


def test_lines_can_be_read_while_the_job_runs(account: Account) -> None:
    name = account.name("job")
    account.sagemaker.create_processing_job(ProcessingJobName=name, **account.processing("print first", "hang"))
    account.wait_for_line(name, "first")
    assert account.sagemaker.describe_processing_job(ProcessingJobName=name)["ProcessingJobStatus"] == "InProgress"
    account.sagemaker.stop_processing_job(ProcessingJobName=name)
    assert account.processing_end(name)["ProcessingJobStatus"] == "Stopped"


def test_a_stopped_job_cannot_be_stopped_again(account: Account) -> None:
    job = account.run_processing(account.processing("print x"))
    code, message = error_of(account.sagemaker.stop_processing_job, ProcessingJobName=job["ProcessingJobName"])
    assert code == "ValidationException"
    assert "Completed" in message


def test_a_processing_job_ends_at_its_time_limit(account: Account) -> None:
    job = account.run_processing(account.processing("hang", StoppingCondition={"MaxRuntimeInSeconds": 1}))
    assert job["ProcessingJobStatus"] == "Failed"
    assert "MaxRuntimeInSeconds (1)" in job["FailureReason"]


def test_a_name_is_taken_once(account: Account) -> None:
    name = account.name("job")
    account.sagemaker.create_processing_job(ProcessingJobName=name, **account.processing("print x"))
    code, message = error_of(
        account.sagemaker.create_processing_job, ProcessingJobName=name, **account.processing("print x")
    )
    assert code == "ResourceInUse"
    assert "already exists" in message
    account.processing_end(name)


def test_a_job_that_is_not_there(account: Account) -> None:
    code, message = error_of(account.sagemaker.describe_processing_job, ProcessingJobName="no-such-job")
    assert (code, message) == ("ValidationException", "Could not find requested job with name: no-such-job")
    code, message = error_of(account.sagemaker.describe_training_job, TrainingJobName="no-such-job")
    assert (code, message) == ("ValidationException", "Requested resource not found.")


def test_what_is_not_done_is_refused(account: Account) -> None:
    many = account.processing("print x")
    many["ProcessingResources"]["ClusterConfig"]["InstanceCount"] = 2
    piped = account.processing("print x", ProcessingInputs=[account.input("s3://bucket/x")])
    piped["ProcessingInputs"][0]["S3Input"]["S3InputMode"] = "Pipe"
    continuous = account.processing("print x", ProcessingOutputConfig=account.outputs(r="s3://bucket/x"))
    continuous["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3UploadMode"] = "Continuous"
    for params, word in ((many, "InstanceCount"), (piped, "S3InputMode"), (continuous, "S3UploadMode")):
        code, message = error_of(account.sagemaker.create_processing_job, ProcessingJobName="refused", **params)
        assert code == "ValidationException"
        assert word in message


def test_list_filters_sorts_and_pages(account: Account) -> None:
    prefix = account.name("list")
    for number in range(3):
        account.sagemaker.create_processing_job(
            ProcessingJobName=f"{prefix}-{number}", **account.processing(f"exit {int(number == 1)}")
        )
    for number in range(3):
        account.processing_end(f"{prefix}-{number}")

    def names(**params: object) -> list[str]:
        answer = account.sagemaker.list_processing_jobs(NameContains=prefix, **params)
        return [job["ProcessingJobName"].removeprefix(f"{prefix}-") for job in answer["ProcessingJobSummaries"]]

    assert names(SortBy="Name", SortOrder="Descending") == ["2", "1", "0"]
    assert names(StatusEquals="Failed") == ["1"]
    assert names(SortBy="CreationTime", SortOrder="Ascending") == ["0", "1", "2"]
    pages = account.sagemaker.get_paginator("list_processing_jobs").paginate(
        NameContains=prefix, SortBy="Name", SortOrder="Ascending", PaginationConfig={"PageSize": 2}
    )
    sizes = [len(page["ProcessingJobSummaries"]) for page in pages]
    assert sizes == [2, 1]


def test_training_reads_channels_and_leaves_a_model(account: Account) -> None:
    train, holders = account.put("rows", "part.csv"), account.put("people", "h.csv")
    output = account.new_prefix()
    params = account.training(
        "list input/data",
        "copy input/data/train/part.csv model/weights.bin",
        "write output/data/plot.txt a-plot",
        "show input/config/inputdataconfig.json",
        "show input/config/hyperparameters.json",
        "env TRAINING_JOB_NAME",
        "print loss=0.50 auc=0.7",
        "print loss=0.25 auc=0.9",
        output=output,
        InputDataConfig=[
            {
                "ChannelName": name,
                "ContentType": "text/csv",
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}},
            }
            for name, uri in (("train", train), ("holders", holders))
        ],
    )
    params["AlgorithmSpecification"]["MetricDefinitions"] = [
        {"Name": "loss", "Regex": r"loss=([0-9.]+)"},
        {"Name": "auc", "Regex": r"auc=([0-9.]+)"},
        {"Name": "never", "Regex": r"never=([0-9.]+)"},
    ]
    job = account.run_training(params)
    name = job["TrainingJobName"]
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert job["ModelArtifacts"]["S3ModelArtifacts"] == f"{output}/{name}/output/model.tar.gz"
    with tarfile.open(fileobj=io.BytesIO(account.content(f"{output}/{name}/output/model.tar.gz"))) as archive:
        assert archive.getnames() == ["weights.bin"]
        member = archive.extractfile("weights.bin")
        assert member is not None
        assert member.read() == b"rows"
    with tarfile.open(fileobj=io.BytesIO(account.content(f"{output}/{name}/output/output.tar.gz"))) as archive:
        assert archive.getnames() == ["plot.txt"]
    listed, channels, hyperparameters, own_name = [], {}, {}, ""
    for line in account.lines(name, TRAINING_LOGS):
        if line.endswith(".csv"):
            listed.append(line)
        elif line.startswith("{") and "ContentType" in line:
            channels = json.loads(line)
        elif line.startswith("{"):
            hyperparameters = json.loads(line)
        elif line.startswith("TRAINING_JOB_NAME"):
            own_name = line
    assert listed == ["holders/h.csv", "train/part.csv"]
    assert channels["train"]["ContentType"] == "text/csv"
    assert channels["train"]["TrainingInputMode"] == "File"
    assert hyperparameters == params["HyperParameters"]
    assert own_name == f"TRAINING_JOB_NAME={name}"
    metrics = {metric["MetricName"]: metric["Value"] for metric in job["FinalMetricDataList"]}
    assert metrics == {"loss": pytest.approx(0.25), "auc": pytest.approx(0.9)}
    phases = [entry["Status"] for entry in job["SecondaryStatusTransitions"]]
    assert phases == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert all("EndTime" in entry for entry in job["SecondaryStatusTransitions"])
    assert job["SecondaryStatus"] == "Completed"
    assert job["TrainingTimeInSeconds"] >= 1


def test_training_failure(account: Account) -> None:
    output = account.new_prefix()
    job = account.run_training(account.training("write model/x y", "fail loss is nan", output=output))
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Failed", "Failed")
    assert job["FailureReason"] == "AlgorithmError: loss is nan, exit code: 1"
    assert account.keys(output) == []


def test_a_long_failure_is_cut_to_1024_characters(account: Account) -> None:
    job = account.run_training(account.training("fail " + "x" * 2000))
    assert job["FailureReason"].startswith("AlgorithmError: xxx")
    assert len(job["FailureReason"]) <= 1024
    assert job["FailureReason"].endswith("exit code: 1")


def test_training_out_of_time_keeps_its_model(account: Account) -> None:
    output = account.new_prefix()
    job = account.run_training(
        account.training(
            "save model/checkpoint.txt", "hang", output=output, StoppingCondition={"MaxRuntimeInSeconds": 1}
        )
    )
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    with tarfile.open(fileobj=io.BytesIO(account.content(job["ModelArtifacts"]["S3ModelArtifacts"]))) as archive:
        assert archive.getnames() == ["checkpoint.txt"]


@pytest.fixture(scope="module")
def deepar(account: Account) -> str:
    """The image of an algorithm of SageMaker's, in AWS's account, with the test image in its place."""
    images.register(
        account.s3,
        account.client("ecr"),
        account.bucket,
        account=account.number,
        region=account.region,
        repository="forecasting-deepar",
    )
    return f"224300973850.dkr.ecr.{account.region}.amazonaws.com/forecasting-deepar:1"


def test_an_image_of_aws_trains_and_brings_its_metrics(account: Account, localcloud_only: None, deepar: str) -> None:
    params = account.training(
        "print #quality_metric: host=algo-1, epoch=0, train loss <loss>=2.5",
        "print #quality_metric: host=algo-1, train final_loss <loss>=1.5",
        "print #quality_metric: host=algo-1, test mean_wQuantileLoss <loss>=0.25",
    )
    params["AlgorithmSpecification"]["TrainingImage"] = deepar
    job = account.run_training(params)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    metrics = {metric["MetricName"]: metric["Value"] for metric in job["FinalMetricDataList"]}
    assert metrics == {"train:loss": 2.5, "train:final_loss": 1.5, "test:mean_wQuantileLoss": 0.25}
    shown = {metric["Name"] for metric in job["AlgorithmSpecification"]["MetricDefinitions"]}
    assert metrics.keys() < shown

    params["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "loss", "Regex": "loss=(.*)"}]
    code, message = error_of(account.sagemaker.create_training_job, TrainingJobName=account.name("job"), **params)
    assert code == "ValidationException"
    assert "can't override the metric definitions" in message


def test_an_image_of_aws_that_nobody_stands_in_for_is_named(account: Account, localcloud_only: None) -> None:
    params = account.training("print never")
    image = f"224300973850.dkr.ecr.{account.region}.amazonaws.com/xgboost-of-aws:1"
    params["AlgorithmSpecification"]["TrainingImage"] = image
    job = account.run_training(params)
    assert job["TrainingJobStatus"] == "Failed"
    assert f"the image '{image}' does not exist: ECR has no repository 'xgboost-of-aws'" in job["FailureReason"]


def test_training_can_be_stopped(account: Account) -> None:
    name = account.name("job")
    account.sagemaker.create_training_job(TrainingJobName=name, **account.training("hang"))
    account.wait_for_line(name, "hanging", TRAINING_LOGS)
    account.sagemaker.stop_training_job(TrainingJobName=name)
    job = account.training_end(name)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")


def test_training_checkpoints_are_copied_both_ways(account: Account) -> None:
    before = account.put("epoch 3", "state.txt")
    job = account.run_training(
        account.training(
            "show checkpoints/state.txt",
            "write checkpoints/state.txt epoch 4",
            CheckpointConfig={"S3Uri": before},
        )
    )
    assert account.lines(job["TrainingJobName"], TRAINING_LOGS) == ["epoch 3"]
    assert account.text(f"{before}/state.txt") == "epoch 4"


def test_two_jobs_run_side_by_side(account: Account) -> None:
    """Each writes an object and waits for the other's: they can only end if both run at once."""
    names = [account.name("meet") for _ in range(2)]
    for own, other in (names, names[::-1]):
        account.sagemaker.create_processing_job(
            ProcessingJobName=own, **account.processing(f"meet {account.bucket} {own} {other}")
        )
    ends = [account.processing_end(name)["ProcessingJobStatus"] for name in names]
    assert ends == ["Completed", "Completed"]


def test_tags_of_a_job(account: Account) -> None:
    params = account.processing("print x", Tags=[{"Key": "team", "Value": "a"}])
    job = account.run_processing(params)
    arn = job["ProcessingJobArn"]
    account.sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "team", "Value": "b"}, {"Key": "cost", "Value": "1"}])
    account.sagemaker.delete_tags(ResourceArn=arn, TagKeys=["cost", "unknown"])
    assert account.sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "b"}]


def test_a_failure_file_that_is_a_named_pipe_is_not_waited_for(account: Account) -> None:
    params = account.processing()
    params["AppSpecification"] |= {
        "ContainerEntrypoint": ["/bin/sh", "-c"],
        "ContainerArguments": ['mkfifo "$SAGEMAKER_BASE_DIR/output/failure"; exit 1'],
    }
    job = account.run_processing(params)
    assert job["FailureReason"] == "AlgorithmError: See job logs for more information, exit code: 1"


def test_a_bucket_that_cannot_be_fails_the_job(account: Account, localcloud_only: None) -> None:
    job = account.run_processing(
        account.processing("print never", ProcessingInputs=[account.input("s3://not a bucket/x")])
    )
    assert job["ProcessingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: ")
    assert "not a bucket" in job["FailureReason"]
