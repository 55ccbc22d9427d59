"""Starting and stopping the Flink application around its stack, and what a deployment leaves as it is."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from pipelines.config import Configuration, load
from pipelines.errors import ServiceError
from pipelines.ingestion import control
from tests.pipelines.conftest import ROOT


class Application:
    """boto3's client, of an application that has these statuses one after the other, the last for ever."""

    def __init__(self, *statuses: str | None, snapshots: int = 0) -> None:
        self.statuses, self.snapshots = list(statuses), snapshots
        self.asked: list[Any] = []

    def describe_application(self, **_: Any) -> dict[str, Any]:
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if status is None:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "DescribeApplication")
        return {"ApplicationDetail": {"ApplicationStatus": status}}

    def list_application_snapshots(self, **_: Any) -> dict[str, Any]:
        return {"SnapshotSummaries": [{}] * self.snapshots}

    def start_application(self, RunConfiguration: dict[str, Any], **_: Any) -> None:
        self.asked.append(RunConfiguration["ApplicationRestoreConfiguration"]["ApplicationRestoreType"])

    def stop_application(self, **_: Any) -> None:
        self.asked.append("stop")


def flink(application: Application) -> control.Flink:
    return control.Flink(application, "fraud-minutes", lambda seconds: None, 1.0, lambda text: None)


@pytest.mark.parametrize(
    ("application", "asked"),
    [
        (Application("READY", "STARTING", "RUNNING"), ["SKIP_RESTORE_FROM_SNAPSHOT"]),
        (Application("READY", "STARTING", "RUNNING", snapshots=1), ["RESTORE_FROM_LATEST_SNAPSHOT"]),
        (Application("RUNNING"), []),
        (Application("UPDATING", "RUNNING"), []),
        (Application("STOPPING", "READY", "RUNNING"), ["SKIP_RESTORE_FROM_SNAPSHOT"]),
    ],
)
def test_start(application: Application, asked: list[str]) -> None:
    flink(application).start()
    assert application.asked == asked


@pytest.mark.parametrize(
    ("application", "asked"),
    [
        (Application("RUNNING", "STOPPING", "READY"), ["stop"]),
        (Application("STARTING", "RUNNING", "READY"), ["stop"]),
        (Application("READY"), []),
        (Application(None), []),
    ],
)
def test_stop(application: Application, asked: list[str]) -> None:
    flink(application).stop()
    assert application.asked == asked


@pytest.mark.parametrize("statuses", [("READY", "STARTING", "READY"), ("READY", "STARTING")])
def test_one_that_does_not_start_is_told(statuses: tuple[str, ...]) -> None:
    with pytest.raises(ServiceError, match=f"`fraud-minutes` is {statuses[-1]}, expected RUNNING; `mlops logs flink`"):
        flink(Application(*statuses)).start()


class Session:
    """A session whose CloudFormation has one stack with these parameters, or none."""

    def __init__(self, **parameters: str) -> None:
        self.parameters = parameters

    def client(self, service: str, **_: Any) -> Any:
        assert service == "cloudformation"
        return self

    def describe_stacks(self, StackName: str) -> dict[str, Any]:
        if not self.parameters:
            message = f"Stack with id {StackName} does not exist"
            raise ClientError({"Error": {"Code": "ValidationError", "Message": message}}, "DescribeStacks")
        listed = [{"ParameterKey": key, "ParameterValue": value} for key, value in self.parameters.items()]
        return {"Stacks": [{"Parameters": listed}]}


@pytest.mark.parametrize(
    ("session", "wanted", "running"),
    [
        (Session(), False, False),
        (Session(), True, True),
        (Session(Running="true"), False, True),
        (Session(Running="false"), True, True),
        (Session(Running="false"), False, False),
    ],
)
def test_what_is_at_work_is_left_so(session: Any, wanted: bool, running: bool) -> None:
    configuration: Configuration = control.configured(load(ROOT), running=wanted)
    assert control.left_going(session, configuration).ingestion.running is running
