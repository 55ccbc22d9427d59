"""Transform jobs: what the server is sent, what is written, how they fail."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from typing import Any

import pytest

from tests.contract import images
from tests.contract.sagemaker_account import (
    INSTANCE,
    Account,
    definition,
    error_of,
    get,
    step,
    until,
)

LOGS = "/aws/sagemaker/TransformJobs"
JSON_LINES = "application/jsonlines"


@pytest.fixture(scope="module")
def account(cloud: Any) -> Account:
    """The account under test."""
    return Account.of(cloud)


def make_model(account: Account, weights: str | None = None, **environment: str) -> str:
    """A model of the test image; gives its name."""
    name = account.name("model")
    container: dict[str, Any] = {"Image": account.image, "Environment": environment}
    if weights is not None:
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w:gz") as archive:
            entry = tarfile.TarInfo("weights.txt")
            entry.size = len(weights)
            archive.addfile(entry, io.BytesIO(weights.encode()))
        uri = f"{account.new_prefix()}/model.tar.gz"
        put(account, uri, content.getvalue())
        container["ModelDataUrl"] = uri
    account.sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=account.role)
    return name


def put(account: Account, uri: str, content: bytes) -> None:
    """Write an object."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    account.s3.put_object(Bucket=bucket, Key=key, Body=content)


def request(account: Account, model: str, source: str, target: str, **members: Any) -> dict[str, Any]:
    """CreateTransformJob's parameters, without a name. `input` and `output` add to TransformInput and -Output."""
    given, made = members.pop("input", {}), members.pop("output", {})
    return {
        "ModelName": model,
        "TransformInput": {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": source}}, **given},
        "TransformOutput": {"S3OutputPath": target, **made},
        "TransformResources": {"InstanceType": INSTANCE, "InstanceCount": 1},
        **members,
    }


def run(account: Account, params: dict[str, Any]) -> dict[str, Any]:
    """Start a job and wait for its end; gives its description."""
    name = account.name("transform")
    account.sagemaker.create_transform_job(TransformJobName=name, **params)
    return end(account, name)


def end(account: Account, name: str) -> dict[str, Any]:
    """Wait for a job's end."""

    def ended() -> dict[str, Any] | None:
        job: dict[str, Any] = account.sagemaker.describe_transform_job(TransformJobName=name)
        return job if job["TransformJobStatus"] in ("Completed", "Failed", "Stopped") else None

    found: dict[str, Any] = until(ended, "the transform job has ended")
    return found


BY_LINE: dict[str, Any] = {
    "input": {"SplitType": "Line", "ContentType": JSON_LINES},
    "output": {"AssembleWith": "Line", "Accept": JSON_LINES},
}


def test_every_line_is_a_record_and_the_output_lies_beside_its_input(account: Account) -> None:
    source, target = account.put("a\nbb\nccc\n", "sub", "a.jsonl"), account.new_prefix()
    put(account, f"{source}/b.jsonl", b"dddd")
    model = make_model(account, weights="7")
    job = run(account, request(account, model, source, target, BatchStrategy="SingleRecord", **BY_LINE))
    assert job["TransformJobStatus"] == "Completed", job.get("FailureReason")
    assert job["CreationTime"] <= job["TransformStartTime"] <= job["TransformEndTime"]
    assert account.keys(target) == ["b.jsonl.out", "sub/a.jsonl.out"]
    assert account.text(f"{target}/sub/a.jsonl.out") == "1\n2\n3\n"
    assert account.text(f"{target}/b.jsonl.out") == "4\n"
    lines = account.lines(job["TransformJobName"], LOGS)
    assert lines[:2] == ["weights 7", "batch true SINGLE_RECORD 6 1"]
    assert lines[2:] == [f"request 1 {JSON_LINES} {JSON_LINES}"] * 4


def test_a_model_of_an_image_of_aws_transforms(account: Account, localcloud_only: None) -> None:
    images.register(
        account.s3,
        account.client("ecr"),
        account.bucket,
        account=account.number,
        region=account.region,
        repository="forecasting-deepar",
    )
    image = f"224300973850.dkr.ecr.{account.region}.amazonaws.com/forecasting-deepar:1"
    name, target = account.name("model"), account.new_prefix()
    account.sagemaker.create_model(ModelName=name, PrimaryContainer={"Image": image}, ExecutionRoleArn=account.role)
    job = run(account, request(account, name, account.put("abc", "a.txt"), target))
    assert job["TransformJobStatus"] == "Completed", job.get("FailureReason")
    assert account.text(f"{target}/a.txt.out") == "3"


def test_several_records_go_in_one_request(account: Account) -> None:
    source, target = account.put("a\nbb\n\nccc\n", "a.jsonl"), account.new_prefix()
    job = run(account, request(account, make_model(account), source, target, BatchStrategy="MultiRecord", **BY_LINE))
    assert account.text(f"{target}/a.jsonl.out") == "1\n2\n3\n"
    assert account.lines(job["TransformJobName"], LOGS)[2:] == [f"request 3 {JSON_LINES} {JSON_LINES}"]


def test_a_payload_holds_what_fits(account: Account) -> None:
    source, target = account.put("\n".join(["x" * 400_000] * 5), "a.txt"), account.new_prefix()
    params = request(
        account, make_model(account), source, target, BatchStrategy="MultiRecord", MaxPayloadInMB=1, **BY_LINE
    )
    job = run(account, params)
    assert account.text(f"{target}/a.txt.out") == "400000\n" * 5
    sizes = [line.split()[1] for line in account.lines(job["TransformJobName"], LOGS)[2:]]
    assert sizes == ["2", "2", "1"]


def test_answers_keep_the_order_of_their_records(account: Account) -> None:
    source, target = account.put("\n".join("x" * length for length in range(1, 41)), "a.txt"), account.new_prefix()
    params = request(
        account,
        make_model(account),
        source,
        target,
        BatchStrategy="SingleRecord",
        MaxConcurrentTransforms=4,
        **BY_LINE,
    )
    run(account, params)
    assert account.text(f"{target}/a.txt.out").split() == [str(length) for length in range(1, 41)]


def test_as_many_requests_are_under_way_as_the_job_says(account: Account) -> None:
    source, target = account.put("meet\nmeet\n", "a.txt"), account.new_prefix()
    params = request(account, make_model(account), source, target, BatchStrategy="SingleRecord", **BY_LINE)
    job = run(account, {**params, "MaxConcurrentTransforms": 2})
    assert job["TransformJobStatus"] == "Completed", job.get("FailureReason")
    assert account.text(f"{target}/a.txt.out") == "met\nmet\n"


def test_a_file_that_is_not_split_is_one_record(account: Account) -> None:
    source, target = account.put("a\nbb", "a.txt"), account.new_prefix()
    job = run(account, request(account, make_model(account), source, target))
    assert account.text(f"{target}/a.txt.out") == "1\n2"
    assert account.lines(job["TransformJobName"], LOGS)[2:] == ["request 2 None None"]


def test_compressed_input_is_read(account: Account) -> None:
    source, target = account.new_prefix(), account.new_prefix()
    put(account, f"{source}/a.gz", gzip.compress(b"a\nbb\n"))
    params = request(
        account,
        make_model(account),
        source,
        target,
        input={"SplitType": "Line", "CompressionType": "Gzip"},
        output={"AssembleWith": "Line"},
    )
    run(account, params)
    assert account.text(f"{target}/a.gz.out") == "1\n2\n"


@pytest.mark.parametrize(
    ("content_type", "records", "joined"),
    [
        (
            JSON_LINES,
            '{"id": 1}\n[1, 2]\n',
            '{"id":1,"SageMakerOutput":9}\n{"SageMakerInput":[1,2],"SageMakerOutput":6}\n',
        ),
        ("text/csv", "1,a\n2,bb\n", "1,a,3\n2,bb,4\n"),
    ],
)
def test_input_and_output_are_joined(account: Account, content_type: str, records: str, joined: str) -> None:
    source, target = account.put(records, "a"), account.new_prefix()
    params = request(
        account,
        make_model(account),
        source,
        target,
        input={"SplitType": "Line", "ContentType": content_type},
        output={"AssembleWith": "Line", "Accept": content_type},
        DataProcessing={"JoinSource": "Input"},
    )
    job = run(account, params)
    assert job["TransformJobStatus"] == "Completed", job.get("FailureReason")
    assert account.text(f"{target}/a.out") == joined


def test_an_answer_that_does_not_match_its_records_cannot_be_joined(account: Account) -> None:
    source, target = account.put("1\n2\n", "a"), account.new_prefix()
    model = make_model(account, SERVE_WHOLE="1")
    job = run(account, request(account, model, source, target, DataProcessing={"JoinSource": "Input"}, **BY_LINE))
    assert job["TransformJobStatus"] == "Failed"
    assert "2 records were sent and 1 came back" in job["FailureReason"]


def test_the_servers_message_is_the_reason_and_other_files_are_written(account: Account) -> None:
    source, target = account.put("a\nbad\n", "1.txt"), account.new_prefix()
    put(account, f"{source}/2.txt", b"bb")
    job = run(account, request(account, make_model(account), source, target, BatchStrategy="SingleRecord", **BY_LINE))
    assert job["TransformJobStatus"] == "Failed"
    assert job["FailureReason"] == (
        "ClientError: 1.txt: Bad HTTP status received from algorithm: 400. Message: the field target is missing"
    )
    assert account.keys(target) == ["2.txt.out"]
    # A request that is wrong is not repeated.
    assert len(account.lines(job["TransformJobName"], LOGS)) == 2 + 3 + 1


def test_an_error_of_the_server_is_tried_again_as_often_as_asked(account: Account) -> None:
    source, target = account.put("crash", "a.txt"), account.new_prefix()
    params = request(
        account, make_model(account), source, target, ModelClientConfig={"InvocationsMaxRetries": 1}, **BY_LINE
    )
    job = run(account, params)
    assert "AlgorithmError: a.txt: Bad HTTP status received from algorithm: 500. Message: a bug" in job["FailureReason"]
    assert account.lines(job["TransformJobName"], LOGS).count(f"request 1 {JSON_LINES} {JSON_LINES}") == 2


def test_a_server_that_recovers_completes_the_job(account: Account) -> None:
    source, target = account.put("abc", "a.txt"), account.new_prefix()
    job = run(account, request(account, make_model(account), source, target, Environment={"SERVE_FAIL": "2"}))
    assert job["TransformJobStatus"] == "Completed"
    assert account.text(f"{target}/a.txt.out") == "3"


def test_a_request_that_takes_too_long_fails(account: Account) -> None:
    source, target = account.put("wait", "a.txt"), account.new_prefix()
    params = request(
        account,
        make_model(account),
        source,
        target,
        ModelClientConfig={"InvocationsTimeoutInSeconds": 1, "InvocationsMaxRetries": 0},
    )
    job = run(account, params)
    assert job["TransformJobStatus"] == "Failed"
    assert "no answer to /invocations in 1 s" in job["FailureReason"]


def test_a_server_that_ends_fails_the_job(account: Account) -> None:
    source, target = account.put("die", "a.txt"), account.new_prefix()
    job = run(account, request(account, make_model(account), source, target))
    assert job["TransformJobStatus"] == "Failed"
    assert "the server ended while it was called: exit code 9" in job["FailureReason"]


def test_a_server_that_does_not_come_up_fails_the_job(account: Account) -> None:
    source, target = account.put("a", "a.txt"), account.new_prefix()
    job = run(account, request(account, make_model(account, SERVE_EXIT="3"), source, target))
    assert job["TransformJobStatus"] == "Failed"
    assert "the server ended before it was ready: exit code 3" in job["FailureReason"]
    assert "no model here" in account.lines(job["TransformJobName"], LOGS)


def test_what_the_request_leaves_open_is_asked_of_the_server(account: Account) -> None:
    source, target = account.put("a\nbb\n", "a.txt"), account.new_prefix()
    offered = json.dumps({"MaxConcurrentTransforms": 2, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 1})
    job = run(account, request(account, make_model(account, SERVE_PARAMETERS=offered), source, target, **BY_LINE))
    assert account.lines(job["TransformJobName"], LOGS)[2:] == [f"request 1 {JSON_LINES} {JSON_LINES}"] * 2


def test_a_server_that_offers_nonsense_fails_the_job(account: Account) -> None:
    model = make_model(account, SERVE_PARAMETERS='{"MaxConcurrentTransforms": "many"}')
    job = run(account, request(account, model, account.put("a", "a.txt"), account.new_prefix()))
    assert job["TransformJobStatus"] == "Failed"
    assert "/execution-parameters says MaxConcurrentTransforms 'many'" in job["FailureReason"]


def test_a_record_that_is_too_large_fails_its_file(account: Account) -> None:
    source, target = account.put("a\n" + "x" * 2_000_000, "a.txt"), account.new_prefix()
    job = run(account, request(account, make_model(account), source, target, MaxPayloadInMB=1, **BY_LINE))
    assert "Too much data for max payload size: line 2 has 2000000 bytes" in job["FailureReason"]
    assert account.keys(target) == []


def test_no_input_fails_the_job(account: Account) -> None:
    nothing = account.new_prefix()
    job = run(account, request(account, make_model(account), nothing, account.new_prefix()))
    assert job["FailureReason"].startswith("ClientError: ")
    assert nothing in job["FailureReason"]


def test_a_job_can_be_stopped(account: Account) -> None:
    source, target = account.put("wait", "a.txt"), account.new_prefix()
    name = account.name("transform")
    account.sagemaker.create_transform_job(
        TransformJobName=name, **request(account, make_model(account), source, target)
    )
    account.wait_for_line(name, "request 1 None None", LOGS)
    account.sagemaker.stop_transform_job(TransformJobName=name)
    assert end(account, name)["TransformJobStatus"] == "Stopped"
    assert account.keys(target) == []
    listed = account.sagemaker.list_transform_jobs(NameContains=name, StatusEquals="Stopped")["TransformJobSummaries"]
    assert [job["TransformJobName"] for job in listed] == [name]


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"input": {"SplitType": "RecordIO"}}, 'SplitType "Line" or "None" only; got "RecordIO"'),
        ({"DataProcessing": {"InputFilter": "$[1:]"}}, 'InputFilter must be "$" or left out; got "$[1:]"'),
        ({"DataProcessing": {"JoinSource": "Input"}}, "JoinSource Input: ContentType must be"),
        ({"MaxPayloadInMB": 60, "MaxConcurrentTransforms": 2}, "at most 100"),
        ({"BatchStrategy": "MultiRecord"}, "MultiRecord needs a SplitType"),
        ({"DataCaptureConfig": {"DestinationS3Uri": "s3://b/c"}}, "no transform job with DataCaptureConfig"),
        ({"ModelName": "there-is-none"}, "Could not find model"),
    ],
)
def test_a_job_that_cannot_run_is_refused(
    account: Account, localcloud_only: None, members: dict[str, Any], told: str
) -> None:
    model = members.pop("ModelName", None) or make_model(account)
    params = request(account, model, "s3://bucket/in", "s3://bucket/out", **members)
    code, message = error_of(
        account.sagemaker.create_transform_job, TransformJobName=account.name("transform"), **params
    )
    assert code == "ValidationException"
    assert told in message


def test_a_step_transforms_and_is_found_again(account: Account) -> None:
    source, target, model = account.put("abc", "a.txt"), account.new_prefix(), make_model(account)
    arguments = request(account, model, source, target)
    copy = account.processing("show processing/data/a.txt.out")
    copy["ProcessingInputs"] = [account.input("unused")]
    copy["ProcessingInputs"][0]["S3Input"]["S3Uri"] = get("Steps.Predict.TransformOutput.S3OutputPath")
    pipeline = account.create_pipeline(
        definition(
            step("Predict", "Transform", arguments, CacheConfig={"Enabled": True, "ExpireAfter": "P1D"}),
            step("Read", "Processing", copy),
        )
    )
    first = account.start(pipeline)
    assert account.execution_end(first)["PipelineExecutionStatus"] == "Succeeded"
    steps = account.steps(first)
    assert steps["Predict"]["Metadata"]["TransformJob"]["Arn"].partition(":transform-job/")[2].startswith("pipelines-")
    assert account.text(f"{target}/a.txt.out") == "3"
    second = account.start(pipeline)
    account.execution_end(second)
    assert account.steps(second)["Predict"]["CacheHitResult"] == {"SourcePipelineExecutionArn": first}


def test_a_failing_transform_fails_the_execution_with_its_reason(account: Account) -> None:
    arguments = request(account, make_model(account), account.put("bad", "a.txt"), account.new_prefix())
    arn = account.start(account.create_pipeline(definition(step("Predict", "Transform", arguments))))
    assert account.execution_end(arn)["PipelineExecutionStatus"] == "Failed"
    assert "400. Message: the field target is missing" in account.steps(arn)["Predict"]["FailureReason"]
