"""What an evaluation is about, and which state it goes on from, against a localcloud's S3."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from seed_code.common import captured, monitoring, monitoring_publish, monitoring_store
from seed_code.common.drift import Finding
from seed_code.common.errors import ClientError
from seed_code.common.monitoring import Evaluation
from seed_code.common.objects import Objects, split

T = datetime(2026, 3, 9, 0, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def s3(localcloud) -> Any:
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-west-1")
    return session.client("s3", endpoint_url=localcloud.endpoint)


@pytest.fixture
def of(s3) -> Evaluation:
    bucket = f"store-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    place = f"s3://{bucket}/w"
    told = {
        "project": "shop", "stage": "prod", "evaluation-time": "2026-03-09T01:00:00.5+01:00",
        "model-package-arn": "arn:p/3", "model-version": "3", "endpoint-config": "config-1",
        "monitor-uri": f"{place}/monitor/", "endpoint-prefix": "shop-w", "capture-uri": f"{place}/capture",
        "experiment": "shop-w", "threshold": "none",
    }  # fmt: skip
    parser = monitoring.parser("monitor", "…")
    return monitoring.evaluation(parser.parse_args([part for key in told for part in (f"--{key}", told[key])]), "w")


def at(of: Evaluation, time: datetime, config: str = "config-1") -> Evaluation:
    return replace(of, time=time, endpoint_config=config)


def newest(objects: Objects, of: Evaluation) -> dict[str, Any] | None:
    """The state to go on from, of a workload that keeps a number as `from`."""
    return monitoring_store.newest_state(objects, of, lambda state: int(state["from"]))


def test_an_evaluation_says_where_all_lies(of):
    assert (of.time, of.begin, of.threshold, of.endpoint) == (T, T - HOUR, None, "shop-w-prod")
    root = of.root
    assert of.report_uri == f"{root}/evaluations/2026/03/09/20260309T000000Z.json"
    assert of.joined_uri == f"{root}/joined/2026/03/09/20260309T000000Z.jsonl"
    assert of.state_uri == f"{root}/state/2026/03/09/20260309T000000Z.json"
    assert of.captured(of.begin).endswith("/w/capture/shop-w-prod/AllTraffic/2026/03/08/23")


def test_the_state_is_the_newest_before_whenever_it_was_written(s3, of):
    objects = Objects(s3)
    assert newest(objects, of) is None
    for hours in (0, -1, -30, 2):
        monitoring_store.put_state(objects, at(of, T + hours * HOUR), {"from": hours})
    s3.put_object(Bucket=split(of.root)[0], Key="w/monitor/prod/state/2026/03/08/notes.txt", Body=b"?")

    def found(hours: float) -> Any:
        return (newest(objects, at(of, T + hours * HOUR)) or {}).get("from")

    # Over midnight, past its own, and back to what lies days behind.
    assert [found(0), found(1), found(2), found(3), found(-1), found(-30)] == [-1, 0, 0, 2, -30, None]
    assert found(2 + 14 * 24) == 2
    assert found(2 + 16 * 24) is None


def test_another_deployment_has_no_state(s3, of):
    objects = Objects(s3)
    monitoring_store.put_state(objects, at(of, T - HOUR), {"from": 1})
    assert newest(objects, at(of, T, "config-2")) is None
    assert newest(objects, of) == {"from": 1, "endpoint_config": "config-1"}


@pytest.mark.parametrize(
    "content", ["", "\udcff", "{", "[]", "null", "3", "{}", '{"endpoint_config": 3, "from": 1}',
                '{"endpoint_config": "config-1", "from": "?"}', '{"endpoint_config": "config-1", "from": null}']
)  # fmt: skip
def test_a_damaged_state_is_passed_over_with_a_warning(s3, of, capsys, content):
    objects = Objects(s3)
    for hours in (-1, -2, -30):
        damaged = at(of, T + hours * HOUR)
        objects.put(damaged.state_uri, content.encode(errors="surrogateescape"))
    assert newest(objects, of) is None
    monitoring_store.put_state(objects, at(of, T - 31 * HOUR), {"from": 31})
    capsys.readouterr()
    assert (newest(objects, of) or {})["from"] == 31
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 3
    assert told[0].startswith(f"warning: {at(of, T - HOUR).state_uri} is damaged, and passed over: ")


def test_what_was_not_measured_is_no_metric(of):
    finding = Finding("loss", "page-hinkley", 2.0, 1.0, True)
    metrics = {"Loss": None, "Brier": float("nan"), "Ratio": float("inf"), "Requests": 3}
    report = monitoring.report(of, monitoring.NO_DATA, "because", metrics, [finding], windows=[])
    assert report["metrics"] == {"Requests": 3.0, "DriftDetected": 1.0}
    assert report["drift"][0]["detected"] is True
    assert json.loads(monitoring_store.encoded(report)) == report


def test_captured_requests_are_read_by_the_hour_and_rubbish_is_counted(s3, of):
    def line(minutes: int, name: str | None) -> str:
        about = {"eventId": "e", "inferenceTime": f"{T + timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%SZ}"}
        return json.dumps(
            {
                "captureData": {
                    "endpointInput": {"observedContentType": "text/csv", "data": "MSwy", "encoding": "BASE64"},
                    "endpointOutput": {"observedContentType": "text/csv", "data": "0", "encoding": "CSV"},
                },
                "eventMetadata": about if name is None else {**about, "inferenceId": name},
            }
        )

    bucket, objects = split(of.root)[0], Objects(s3)
    for hour, lines in (("08/22", [line(-90, "old")]), ("08/23", [line(-30, "a"), "?", "{}", line(-29, None)])):
        key = f"w/capture/shop-w-prod/AllTraffic/2026/03/{hour}/x.jsonl"
        s3.put_object(Bucket=bucket, Key=key, Body="\n".join(lines).encode())
    capture = captured.Capture(objects)
    found = list(capture.between(of, T - HOUR, T))
    assert [(one.inference_id, one.request, one.answer) for one in found] == [
        ("a", b"1,2", b"0"), ("e", b"1,2", b"0"),
    ]  # fmt: skip
    assert capture.unreadable == 2
    assert captured.newest(objects, of, timedelta(days=1)) == T - timedelta(minutes=29)
    assert captured.newest(objects, at(of, T + 48 * HOUR), timedelta(hours=3)) is None


def test_an_address_that_is_none_and_a_bucket_that_is_not_there_are_named(s3, of):
    with pytest.raises(ClientError, match=r"`file:///x` is no address in S3; expected s3://bucket/key"):
        split("file:///x")
    gone = Objects(s3)
    for call in (lambda: gone.get("s3://no-such-bucket/x"), lambda: gone.put("s3://no-such-bucket/x", b"")):
        with pytest.raises(ClientError, match="s3://no-such-bucket/x could not be"):
            call()
    assert gone.get(f"{of.root}/nothing") is None


def test_all_pages_of_a_folder_are_listed(s3, of):
    bucket = split(of.root)[0]
    for number in range(5):
        s3.put_object(Bucket=bucket, Key=f"w/many/{number}", Body=b"")

    class InPairs:
        """S3, with pages of two."""

        def list_objects_v2(self, **wanted: Any) -> Any:
            return s3.list_objects_v2(**wanted, MaxKeys=2)

    everything = [uri.rpartition("/")[2] for uri in Objects(InPairs()).list(f"s3://{bucket}/w/many")]
    assert everything == ["0", "1", "2", "3", "4"]
    assert list(Objects(InPairs()).list(f"s3://{bucket}/w/many", f"s3://{bucket}/w/many/3")) == [
        f"s3://{bucket}/w/many/4"
    ]


def test_metrics_of_fields_have_the_field_as_dimension(of):
    class Cloudwatch:
        said: dict[str, Any]

        def put_metric_data(self, **told: Any) -> None:
            self.said = told

    cloudwatch = Cloudwatch()
    monitoring_publish.put_metrics(cloudwatch, of, {"Requests": 3.0}, {"Psi": {"k": 0.1}})
    plain, field = cloudwatch.said["MetricData"]
    assert cloudwatch.said["Namespace"] == "MLOps/Monitoring"
    assert plain == {
        "MetricName": "Requests", "Timestamp": T - HOUR, "Value": 3.0,
        "Dimensions": [
            {"Name": "Project", "Value": "shop"}, {"Name": "Workload", "Value": "w"},
            {"Name": "Stage", "Value": "prod"},
        ],
    }  # fmt: skip
    assert field["Dimensions"][3] == {"Name": "Field", "Value": "k"}
