"""Endpoints: served, updated without a failed request, rolled back, captured, and there again after a restart."""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from tests.contract.sagemaker_account import INSTANCE, Account, error_of, until

LOGS = "/aws/sagemaker/Endpoints"


class Hosting:
    """Endpoints in an account; what a test makes is deleted after it."""

    def __init__(self, account: Account) -> None:
        self.account, self.sagemaker = account, account.sagemaker
        self.runtime = account.client("sagemaker-runtime")
        self._made: list[str] = []

    def config(self, weights: str | None = None, count: int = 1, environment: Any = None, **members: Any) -> str:
        """A new configuration with one variant, of a new model; gives its name."""
        account, name = self.account, self.account.name("serving")
        container: dict[str, Any] = {"Image": account.image, "Environment": environment or {}}
        if weights is not None:
            container["ModelDataUrl"] = self._model_data(weights)
        self.sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=account.role)
        variant = {
            "VariantName": "AllTraffic",
            "ModelName": name,
            "InstanceType": INSTANCE,
            "InitialInstanceCount": count,
        }
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant], **members)
        return name

    def create(self, config: str, **members: Any) -> str:
        """A new endpoint, in service; gives its name."""
        name = self.account.name("endpoint")
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config, **members)
        self._made.append(name)
        assert self.settled(name)["EndpointStatus"] == "InService"
        return name

    def settled(self, name: str) -> dict[str, Any]:
        """The description of an endpoint with which nothing is under way any more."""

        def settled() -> dict[str, Any] | None:
            found: dict[str, Any] = self.sagemaker.describe_endpoint(EndpointName=name)
            return found if found["EndpointStatus"] in ("InService", "Failed") else None

        found: dict[str, Any] = until(settled, f"{name} is InService or Failed")
        return found

    def await_status(self, name: str, status: str) -> dict[str, Any]:
        """Wait for a status of the variant in the pending deployment; gives that variant."""

        def there() -> dict[str, Any] | None:
            found = self.sagemaker.describe_endpoint(EndpointName=name).get("PendingDeploymentSummary")
            variant: dict[str, Any] = found["ProductionVariants"][0] if found else {}
            return variant if variant.get("VariantStatus", [{}])[0].get("Status") == status else None

        variant: dict[str, Any] = until(there, f"the deployment of {name} is {status}")
        return variant

    def invoke(self, name: str, body: bytes = b"abc", **members: Any) -> str:
        answer = self.runtime.invoke_endpoint(EndpointName=name, Body=body, **members)
        return str(answer["Body"].read().decode())

    def delete(self, name: str) -> None:
        self.sagemaker.delete_endpoint(EndpointName=name)
        self._made.remove(name)

    def is_gone(self, name: str) -> bool:
        try:
            self.sagemaker.describe_endpoint(EndpointName=name)
        except ClientError as error:
            return "Could not find endpoint" in error.response["Error"]["Message"]
        return False

    def clear(self) -> None:
        for name in list(self._made):
            self.settled(name)
            self.delete(name)

    def _model_data(self, weights: str) -> str:
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w:gz") as archive:
            entry = tarfile.TarInfo("weights.txt")
            entry.size = len(weights)
            archive.addfile(entry, io.BytesIO(weights.encode()))
        prefix = self.account.new_prefix().partition(f"s3://{self.account.bucket}/")[2]
        key = f"{prefix}/model.tar.gz"
        self.account.s3.put_object(Bucket=self.account.bucket, Key=key, Body=content.getvalue())
        return f"s3://{self.account.bucket}/{key}"


@pytest.fixture(scope="module")
def account(cloud: Any) -> Account:
    """The account under test."""
    return Account.of(cloud)


@pytest.fixture
def hosting(account: Account) -> Iterator[Hosting]:
    found = Hosting(account)
    yield found
    found.clear()


def test_a_model_is_served_logged_and_taken_down(hosting: Hosting) -> None:
    account = hosting.account
    config = hosting.config("7")
    name = hosting.create(config, Tags=[{"Key": "team", "Value": "ml"}])
    found = hosting.sagemaker.describe_endpoint(EndpointName=name)
    (variant,) = found["ProductionVariants"]
    assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == (1, 1)
    assert variant["DeployedImages"][0]["ResolvedImage"].startswith(account.image.rpartition(":")[0] + "@sha256:")
    assert hosting.sagemaker.list_tags(ResourceArn=found["EndpointArn"])["Tags"] == [{"Key": "team", "Value": "ml"}]
    listed = hosting.sagemaker.list_endpoints(NameContains=name, StatusEquals="InService")["Endpoints"]
    assert [one["EndpointName"] for one in listed] == [name]
    answer = hosting.runtime.invoke_endpoint(
        EndpointName=name, Body=b"abc\nde", ContentType="text/plain", Accept="text/csv"
    )
    assert answer["Body"].read() == b"3\n2"
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    until(lambda: "request 2 text/plain text/csv" in account.lines("AllTraffic", f"{LOGS}/{name}"), "it is logged")
    assert account.lines("AllTraffic", f"{LOGS}/{name}")[0] == "weights 7"
    arn = found["EndpointArn"]
    assert error_of(hosting.sagemaker.create_endpoint, EndpointName=name, EndpointConfigName=config) == (
        "ValidationException",
        f'Cannot create already existing endpoint "{arn}".',
    )
    hosting.delete(name)
    until(lambda: hosting.is_gone(name), f"{name} is gone")
    assert error_of(hosting.runtime.invoke_endpoint, EndpointName=name, Body=b"abc") == (
        "ValidationError",
        f"Endpoint {name} of account {account.number} not found.",
    )


def test_a_configuration_is_described_listed_and_deleted(hosting: Hosting) -> None:
    sagemaker, name = hosting.sagemaker, hosting.config()
    found = sagemaker.describe_endpoint_config(EndpointConfigName=name)
    assert found["ProductionVariants"][0]["ModelName"] == name
    listed = sagemaker.list_endpoint_configs(NameContains=name)["EndpointConfigs"]
    assert [one["EndpointConfigName"] for one in listed] == [name]
    sagemaker.delete_endpoint_config(EndpointConfigName=name)
    code, message = error_of(sagemaker.create_endpoint, EndpointName=name, EndpointConfigName=name)
    assert (code, message) == (
        "ValidationException",
        f'Could not find endpoint configuration "{found["EndpointConfigArn"]}".',
    )


def test_a_server_that_does_not_come_up_fails_the_endpoint(hosting: Hosting, localcloud_only: None) -> None:
    name = hosting.account.name("endpoint")
    config = hosting.config(environment={"SERVE_EXIT": "3"})
    hosting.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
    found = hosting.settled(name)
    assert found["EndpointStatus"] == "Failed"
    assert found["FailureReason"] == (
        "The primary container for production variant AllTraffic did not pass the ping health check. Please check"
        " CloudWatch logs for this endpoint. (the server ended before it was ready: exit code 3)"
    )
    assert "no model here" in hosting.account.lines("AllTraffic", f"{LOGS}/{name}")
    hosting.sagemaker.delete_endpoint(EndpointName=name)
    until(lambda: hosting.is_gone(name), f"{name} is gone")


def test_what_the_model_refuses_and_a_server_that_crashes(hosting: Hosting) -> None:
    name = hosting.create(hosting.config())
    for body, status, said in ((b"bad", 400, "the field target is missing"), (b"crash", 500, "a bug")):
        with pytest.raises(hosting.runtime.exceptions.ModelError) as caught:
            hosting.invoke(name, body)
        response = caught.value.response
        assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
        assert (response["OriginalStatusCode"], response["OriginalMessage"]) == (status, said)
        assert response["LogStreamArn"].endswith(f":log-group:{LOGS}/{name}")
    with pytest.raises(hosting.runtime.exceptions.ModelError):
        hosting.invoke(name, b"die")

    def answers() -> bool:
        # Between the two servers there is none.
        with contextlib.suppress(hosting.runtime.exceptions.ServiceUnavailable, hosting.runtime.exceptions.ModelError):
            return hosting.invoke(name) == "3"
        return False

    until(answers, "the server was started again")
    assert hosting.sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "InService"


class Traffic:
    """Requests from several clients, without a pause, for as long as the block lasts."""

    def __init__(self, hosting: Hosting, name: str) -> None:
        self.answers: list[str] = []
        self.failures: list[Exception] = []
        self._hosting, self._name = hosting, name
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._invoke) for _ in range(2)]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _invoke(self) -> None:
        while not self._over.is_set():
            try:
                self.answers.append(self._hosting.invoke(self._name))
            except Exception as error:
                self.failures.append(error)


def canary(wait_seconds: int, *alarms: str) -> dict[str, Any]:
    """A DeploymentConfig."""
    routing = {
        "Type": "CANARY",
        "WaitIntervalInSeconds": wait_seconds,
        "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 50},
    }
    guard = {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in alarms]}} if alarms else {}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}, **guard}


def test_no_request_fails_while_an_endpoint_is_updated(hosting: Hosting) -> None:
    name = hosting.create(hosting.config(count=2))
    green = hosting.config(environment={"SERVE_WHOLE": "1"})
    with Traffic(hosting, name) as traffic:
        hosting.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=green, DeploymentConfig=canary(1))
        pending = hosting.await_status(name, "Baking")
        assert pending["VariantStatus"][0]["StatusMessage"].startswith("Baking for 1 seconds (WaitIntervalInSeconds)")
        assert error_of(hosting.sagemaker.delete_endpoint, EndpointName=name)[1].startswith(
            "Cannot update in-progress endpoint"
        )
        found = hosting.settled(name)
        hosting.sagemaker.update_endpoint_weights_and_capacities(
            EndpointName=name,
            DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 2}],
        )
        scaled = hosting.settled(name)
    assert traffic.failures == []
    assert set(traffic.answers) == {"3", "whole"}
    assert found["EndpointConfigName"] == green
    assert "FailureReason" not in found
    assert scaled["ProductionVariants"][0]["CurrentInstanceCount"] == 2
    assert hosting.invoke(name) == "whole"


def test_an_alarm_rolls_an_update_back(hosting: Hosting) -> None:
    cloudwatch, alarm = hosting.account.client("cloudwatch"), hosting.account.name("alarm")
    config = hosting.config()
    name = hosting.create(config)
    cloudwatch.put_metric_alarm(
        AlarmName=alarm,
        Namespace="AWS/SageMaker",
        MetricName="Invocation5XXErrors",
        Dimensions=[{"Name": "EndpointName", "Value": name}, {"Name": "VariantName", "Value": "AllTraffic"}],
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        TreatMissingData="notBreaching",
    )
    green = hosting.config(environment={"SERVE_WHOLE": "1", "SERVE_FAIL": "1000"})
    hosting.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=green, DeploymentConfig=canary(600, alarm))
    hosting.await_status(name, "Baking")
    # Every second request goes to the new server, and the first failure may be enough for the alarm.
    failures: list[str] = []
    for _ in range(4):
        try:
            hosting.invoke(name)
        except hosting.runtime.exceptions.ModelError as error:
            failures.append(error.response["OriginalMessage"])
    assert set(failures) == {"too busy"}
    found = hosting.settled(name)
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", config)
    assert alarm in found["FailureReason"]
    assert [hosting.invoke(name) for _ in range(4)] == ["3"] * 4
    cloudwatch.delete_alarms(AlarmNames=[alarm])


def test_requests_and_answers_are_captured(hosting: Hosting) -> None:
    account, target = hosting.account, hosting.account.new_prefix()
    capture = {
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": target,
        "CaptureOptions": [{"CaptureMode": "InputAndOutput"}],
        "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
    }
    name = hosting.create(hosting.config(DataCaptureConfig=capture))
    summary = hosting.sagemaker.describe_endpoint(EndpointName=name)["DataCaptureConfig"]
    assert (summary["CaptureStatus"], summary["CurrentSamplingPercentage"]) == ("Started", 100)
    hosting.invoke(name, b"1,2", ContentType="text/csv", InferenceId="first")
    # What waits to be written is written before the endpoint is gone.
    hosting.delete(name)
    until(lambda: hosting.is_gone(name), f"{name} is gone")
    (key,) = account.keys(target)
    assert key.startswith(f"{name}/AllTraffic/20")
    line = json.loads(account.text(f"{target}/{key}"))
    assert line["captureData"]["endpointInput"] == {
        "observedContentType": "text/csv",
        "mode": "INPUT",
        "data": "1,2",
        "encoding": "CSV",
    }
    assert line["captureData"]["endpointOutput"]["mode"] == "OUTPUT"
    assert line["eventMetadata"]["inferenceId"] == "first"


def test_a_serverless_endpoint(hosting: Hosting) -> None:
    model = hosting.config()
    name = hosting.account.name("serverless")
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": model,
        "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 2},
    }
    hosting.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    endpoint = hosting.create(name)
    (summary,) = hosting.sagemaker.describe_endpoint(EndpointName=endpoint)["ProductionVariants"]
    assert summary["CurrentServerlessConfig"] == variant["ServerlessConfig"]
    assert hosting.invoke(endpoint) == "3"


def test_the_time_of_a_bake_passes_by_advancing_the_clock(hosting: Hosting, cloud: Any, localcloud_only: None) -> None:
    name = hosting.create(hosting.config())
    green = hosting.config(environment={"SERVE_WHOLE": "1"})
    hosting.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=green, DeploymentConfig=canary(3600))
    advance = urllib.request.Request(f"{cloud.endpoint_url}/_localcloud/advance", data=b"3600", method="POST")
    with urllib.request.urlopen(advance):
        pass
    found = hosting.sagemaker.describe_endpoint(EndpointName=name)
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", green)


@pytest.mark.slow
def test_an_endpoint_is_there_again_after_a_restart(
    start_localcloud: Callable[[Path], Any], client_of: Callable[..., Any], tmp_path: Path
) -> None:
    running = start_localcloud(tmp_path / "state")
    before = Hosting(Account(lambda service: client_of(running, service), "eu-west-1"))
    name = before.create(before.config("7"))
    assert before.invoke(name) == "3"
    servers = psutil.Process(running.process.pid).children(recursive=True)
    running.kill()
    _, alive = psutil.wait_procs(servers, timeout=30)
    assert not alive
    running = start_localcloud(tmp_path / "state")
    after = Hosting(Account(lambda service: client_of(running, service), "eu-west-1"))
    # The first request waits for the server.
    assert after.invoke(name) == "3"
    assert after.settled(name)["EndpointStatus"] == "InService"
