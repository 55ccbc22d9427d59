"""The forecaster's monitor against a localcloud: what an hour comes to, what is kept, and what a fault leaves behind.

The endpoint is a server on loopback whose forecast can be computed by hand: the last value that it was sent, for all
steps, with a band of a tenth around it.
"""

from __future__ import annotations

import json
import math
import re
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import boto3
import numpy as np
import pytest

from seed_code.common import clients, paths
from seed_code.forecaster import monitor
from tests.conftest import Localcloud
from tests.contract.sagemaker_account import until
from tests.seed_code.common.http_doubles import Answer, Mlflow, serving

HOUR = timedelta(hours=1)
STAMP, ISO = "%Y%m%dT%H%M%SZ", "%Y-%m-%dT%H:%M:%SZ"
DIMENSIONS = [
    {"Name": "Project", "Value": "shop"},
    {"Name": "Workload", "Value": "forecaster"},
    {"Name": "Stage", "Value": "prod"},
]
LAG = timedelta(seconds=5)  # of a minute's record behind its end


@dataclass
class Endpoint:
    """The endpoint; `fails` says how."""

    asked: list[dict[str, Any]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    fails: str = ""

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        self.names.append(headers["X-Amzn-SageMaker-Inference-Id"])
        document = json.loads(body)
        self.asked.append(document)
        if self.fails == "down" or (self.fails == "second" and len(self.asked) % 2 == 0):
            return 400, b'{"Message": "Endpoint shop-forecaster-prod not found"}'
        known = [value for value in document["instances"][0]["target"] if value != "NaN"]
        last = math.nan if self.fails == "nan" else known[-1] if known else 0.0
        steps = 10 if self.fails == "short" else 30
        values = {"0.05": 0.9 * last, "0.5": last, "0.95": 1.1 * last}
        quantiles = {level: [value] * steps for level, value in values.items()}
        assert document["configuration"] == {
            "num_samples": 100, "output_types": ["mean", "quantiles"], "quantiles": ["0.05", "0.5", "0.95"],
        }  # fmt: skip
        return 200, json.dumps({"predictions": [{"mean": [last] * steps, "quantiles": quantiles}]}).encode()


@dataclass
class Surroundings:
    """What an evaluation stands on, and how to run one."""

    bucket: str
    endpoint: Endpoint
    mlflow: Mlflow
    run: Callable[..., dict[str, Any]]
    client: Callable[[str], Any]

    def text(self, key: str) -> str:
        return str(self.client("s3").get_object(Bucket=self.bucket, Key=key)["Body"].read().decode())

    def keys(self, prefix: str) -> list[str]:
        found = self.client("s3").list_objects_v2(Bucket=self.bucket, Prefix=prefix)
        return [one["Key"] for one in found.get("Contents", [])]

    def metric(self, project: str, name: str, begin: datetime) -> list[float]:
        """The values that were published of an hour."""
        dimensions = [{**one, "Value": project} if one["Name"] == "Project" else one for one in DIMENSIONS]
        found = self.client("cloudwatch").get_metric_statistics(
            Namespace="MLOps/Monitoring", MetricName=name, Dimensions=dimensions, StartTime=begin,
            EndTime=begin + HOUR, Period=3600, Statistics=["Maximum", "SampleCount"],
        )  # fmt: skip
        return [one["Maximum"] for one in found["Datapoints"]]


def fee(minute: datetime) -> float:
    """What a minute costs: a day's rhythm."""
    return round(100 + 20 * math.sin((minute.hour * 60 + minute.minute) / 1440 * 2 * math.pi), 3)


@pytest.fixture(scope="module")
def t(localcloud: Localcloud) -> datetime:
    """An evaluation time: some hours ago by the clock of the localcloud, which others may have moved on."""
    answer = client_of(localcloud, "sts").get_caller_identity()["ResponseMetadata"]["HTTPHeaders"]["date"]
    return parsedate_to_datetime(answer).replace(minute=0, second=0, microsecond=0) - 4 * HOUR


def own(origin: datetime) -> str:
    """The inference id of the monitor's own request."""
    return f"{origin:{STAMP}}-monitor-prod"


def state_key(time: datetime) -> str:
    return f"forecaster/monitor/prod/state/{time:%Y/%m/%d}/{time:{STAMP}}.json"


@pytest.fixture(scope="module")
def group(localcloud: Localcloud, t: datetime) -> str:
    """A feature group with minutes until two hours after t, and those of the same hour of two days before."""
    name = f"minutes-{uuid.uuid4().hex[:8]}"
    make_group(localcloud, name)
    recent = [t - HOUR + timedelta(minutes=at) for at in range(-15, 180)]
    days = [t - HOUR - timedelta(days=day) + timedelta(minutes=at) for day in (1, 2) for at in range(60)]
    put(localcloud, name, {minute: fee(minute) for minute in recent + days})
    return name


def client_of(localcloud: Localcloud, service: str) -> Any:
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-west-1")
    return session.client(service, endpoint_url=localcloud.endpoint)


def make_group(localcloud: Localcloud, name: str) -> None:
    sagemaker = client_of(localcloud, "sagemaker")
    types = {"tx_minute": "String", "event_time": "String", "avg_fee_1min": "Fractional"}
    sagemaker.create_feature_group(
        FeatureGroupName=name,
        RecordIdentifierFeatureName="tx_minute",
        EventTimeFeatureName="event_time",
        FeatureDefinitions=[{"FeatureName": one, "FeatureType": kind} for one, kind in types.items()],
        OnlineStoreConfig={"EnableOnlineStore": True},
    )
    until(
        lambda: sagemaker.describe_feature_group(FeatureGroupName=name)["FeatureGroupStatus"] == "Created",
        f"{name} is Created",
    )


def put(localcloud: Localcloud, name: str, minutes: dict[datetime, float | None], made: datetime | None = None) -> None:
    """Write minutes, each made some seconds after its end, or at a moment."""
    store = client_of(localcloud, "sagemaker-featurestore-runtime")

    def one(minute: datetime) -> None:
        values = {"tx_minute": f"{minute:%Y-%m-%dT%H:%M:%SZ}"}
        values["event_time"] = f"{made or minute + timedelta(minutes=1) + LAG:%Y-%m-%dT%H:%M:%SZ}"
        if minutes[minute] is not None:
            values["avg_fee_1min"] = str(minutes[minute])
        store.put_record(
            FeatureGroupName=name, Record=[{"FeatureName": key, "ValueAsString": text} for key, text in values.items()]
        )

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(one, minutes))


@pytest.fixture
def surroundings(
    aws: Localcloud, group: str, t: datetime, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> Iterator[Surroundings]:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    bucket = f"monitor-{uuid.uuid4().hex[:8]}"
    client_of(aws, "s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    endpoint, mlflow = Endpoint(), Mlflow()

    def run(time: datetime = t, /, **changed: str) -> dict[str, Any]:
        """Evaluate; gives the hour's report."""
        clients.session.cache_clear()  # it keeps the environment of whoever made it
        told = {**arguments(bucket, group), "evaluation-time": f"{time:%Y-%m-%dT%H:%M:%SZ}", **changed}
        monkeypatch.setattr(sys, "argv", ["monitor", *(part for key in told for part in (f"--{key}", told[key]))])
        monitor.main()
        key = f"forecaster/monitor/prod/evaluations/{time:%Y/%m/%d/%Y%m%dT%H%M%SZ}.json"
        content: bytes = client_of(aws, "s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        document: dict[str, Any] = json.loads(content)
        return document

    with serving(endpoint.answer) as address, serving(mlflow.answer) as tracking:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", address)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        yield Surroundings(bucket, endpoint, mlflow, run, lambda service: client_of(aws, service))


def arguments(bucket: str, group: str) -> dict[str, str]:
    place = f"s3://{bucket}/forecaster"
    return {
        "project": "shop", "stage": "prod", "evaluation-time": "", "model-package-arn": "arn:aws:sagemaker:x:1:p/2",
        "model-version": "2", "endpoint-config": f"config-{bucket}", "monitor-uri": f"{place}/monitor",
        "endpoint-prefix": "shop-forecaster", "capture-uri": f"{place}/capture", "experiment": "shop-forecaster",
        "threshold": "0.25", "feature-group": group, "target": "avg_fee_1min", "frequency": "1min",
        "ground-truth-uri": f"{place}/ground-truth", "prediction-length": "30", "confidence": "90",
        "num-samples": "100", "min-observed-share": "0.5", "page-hinkley-delta": "0.5",
        "page-hinkley-threshold": "5", "page-hinkley-min-instances": "24", "adwin-delta": "0.001",
        "fee-page-hinkley-delta": "0.35", "fee-page-hinkley-threshold": "0.8", "fee-page-hinkley-min-instances": "24",
    }  # fmt: skip


def by_hand(origin: datetime, observed: int = 30) -> tuple[float, float]:
    """The loss, doubled and as a mean over the quantiles, of the endpoint's forecast of a window, and what it is
    divided by."""
    last = fee(origin - timedelta(minutes=2))  # the minute before the origin was made seconds after it
    actual = np.array([fee(origin + timedelta(minutes=at)) for at in range(observed)])
    losses = [
        2 * np.maximum(level * (actual - value), (level - 1) * (actual - value)).sum()
        for level, value in ((0.05, 0.9 * last), (0.5, last), (0.95, 1.1 * last))
    ]
    return float(np.mean(losses)), float(actual.sum())


def test_an_hour_is_scored_by_hand_and_published(surroundings, t):
    report = surroundings.run()
    # The last minute of the hour was made after t.
    (first, first_size), (second, second_size) = by_hand(t - HOUR), by_hand(t - HOUR / 2, 29)
    loss = (first + second) / (first_size + second_size)
    assert (report["verdict"], report["evaluation_time"]) == ("scored", f"{t:{ISO}}")
    assert report["hour"] == {"from": f"{t - HOUR:{ISO}}", "to": f"{t:{ISO}}"}
    assert report["reason"] == f"2 of 2 windows, weighted quantile loss {loss:.4f}"
    metrics = report["metrics"]
    assert metrics["MeanWeightedQuantileLoss"] == pytest.approx(loss)
    assert metrics["SeasonalNaiveLoss"] == pytest.approx(0.0, abs=1e-6)  # one day is as the other
    assert metrics["IntervalCoverage"] == 1.0
    assert {name: metrics[name] for name in ("LossThreshold", "MissingMinutes", "UnscoredWindows")} == {
        "LossThreshold": 0.25, "MissingMinutes": 0.0, "UnscoredWindows": 0.0,
    }  # fmt: skip
    assert metrics["DataFreshnessMinutes"] == 1.0
    assert [window["observed"] for window in report["windows"]] == [30, 29]
    assert [window["mean_wql"] for window in report["windows"]] == [
        pytest.approx(first / first_size), pytest.approx(second / second_size),
    ]  # fmt: skip
    assert surroundings.endpoint.names == [own(t - HOUR), own(t - HOUR / 2)]
    # All of it is in CloudWatch, at the hour's beginning, and in MLflow.
    for name, value in metrics.items():
        assert surroundings.metric("shop", name, t - HOUR) == [pytest.approx(value)]
    (run,) = surroundings.mlflow.runs.values()
    assert run["run_name"] == "monitor-prod-v2"
    logged = surroundings.mlflow.metrics[report["mlflow"]["run_id"]]
    step = int(t.timestamp() // 3600)
    assert logged == {(name, value, int(t.timestamp() * 1000), step) for name, value in metrics.items()}


def test_nothing_later_than_its_origin_is_sent_for_a_window(surroundings, t):
    surroundings.run()
    for at, origin in zip(surroundings.endpoint.asked, (t - HOUR, t - HOUR / 2), strict=True):
        (series,) = at["instances"]
        assert series["start"] == f"{origin - timedelta(minutes=240):%Y-%m-%d %H:%M:%S}"
        assert len(series["target"]) == 240
        assert series["target"][-2:] == [fee(origin - timedelta(minutes=2)), "NaN"]


def test_a_later_version_of_a_minute_is_not_known_before_it_was_made(aws, surroundings, t):
    group = f"minutes-{uuid.uuid4().hex[:8]}"
    make_group(aws, group)
    minutes = {t - timedelta(minutes=at): 100.0 for at in range(1, 92)}
    put(aws, group, minutes)
    put(aws, group, {t - timedelta(minutes=20): 900.0}, made=t + timedelta(minutes=1))
    put(aws, group, {t - timedelta(minutes=70): 900.0}, made=t - timedelta(minutes=40))
    report = surroundings.run(**{"feature-group": group})
    assert report["windows"][1]["actual"][10] is None
    first, second = (series["instances"][0]["target"] for series in surroundings.endpoint.asked)
    assert first[-10] == "NaN"  # 70 minutes before t; this version was made after the first origin
    assert second[-40] == 900.0


def test_a_repeated_evaluation_is_the_same_and_the_next_goes_on_from_it(surroundings, t):
    first = surroundings.run()
    kept = surroundings.text(state_key(t))
    assert json.loads(kept)["streams"]["loss"] == [
        pytest.approx(math.log(first["metrics"]["MeanWeightedQuantileLoss"] / 0.25))
    ]
    surroundings.run(t + HOUR)
    later = surroundings.text(state_key(t + HOUR))
    assert len(json.loads(later)["streams"]["loss"]) == 2
    # Again, after the next has gone on from it: nothing is counted twice.
    assert surroundings.run() == first
    assert (surroundings.text(state_key(t)), surroundings.text(state_key(t + HOUR))) == (kept, later)
    surroundings.run(t + HOUR)
    assert surroundings.text(state_key(t + HOUR)) == later
    assert len(surroundings.mlflow.runs) == 1
    assert surroundings.metric("shop", "MeanWeightedQuantileLoss", t - HOUR) == [
        pytest.approx(first["metrics"]["MeanWeightedQuantileLoss"])
    ]


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"endpoint_config": "%s"}', '{"endpoint_config": "%s", "streams": {"loss": ["x"]}}',
                '{"endpoint_config": "%s", "streams": {"loss": [NaN]}}', '{"endpoint_config": "%s", "streams": 3}']
)  # fmt: skip
def test_an_evaluation_goes_on_from_the_state_before_a_damaged_one(surroundings, t, content):
    surroundings.run()
    damaged = content.replace("%s", f"config-{surroundings.bucket}").encode()
    surroundings.client("s3").put_object(Bucket=surroundings.bucket, Key=state_key(t + HOUR), Body=damaged)
    surroundings.run(t + 2 * HOUR)
    assert len(json.loads(surroundings.text(state_key(t + 2 * HOUR)))["streams"]["loss"]) == 2


def test_another_deployment_begins_anew(surroundings, t):
    surroundings.run()
    surroundings.run(t + HOUR, **{"endpoint-config": "another"})
    state = json.loads(surroundings.text(state_key(t + HOUR)))
    assert len(state["streams"]["loss"]) == 1
    assert len(surroundings.mlflow.runs) == 2


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("down", "the endpoint shop-forecaster-prod does not answer: "),
        ("nan", "answers no forecast: `mean\\[0\\]` is NaN; expected a number"),
        ("short", "answers no forecast: it forecasts 10 steps; expected 30"),
    ],
)
def test_an_endpoint_without_an_answer_gives_no_score_and_ends_nothing(surroundings, fault, said, t):
    surroundings.endpoint.fails = fault
    report = surroundings.run()
    assert report["verdict"] == "endpoint-failed"
    assert re.search(said, report["reason"])
    assert "MeanWeightedQuantileLoss" not in report["metrics"]
    assert report["metrics"]["UnscoredWindows"] == 2.0
    assert report["metrics"]["DataFreshnessMinutes"] == 1.0
    assert surroundings.metric("shop-x", "MeanWeightedQuantileLoss", t - HOUR) == []
    assert json.loads(surroundings.text(state_key(t)))["streams"][
        "loss"
    ] == []  # fmt: skip


def test_one_answer_of_two_is_a_score(surroundings, t):
    surroundings.endpoint.fails = "second"
    report = surroundings.run()
    loss, size = by_hand(t - HOUR)
    assert report["verdict"] == "scored"
    assert report["metrics"]["MeanWeightedQuantileLoss"] == pytest.approx(loss / size)
    assert report["metrics"]["UnscoredWindows"] == 1.0


def test_the_first_window_is_scored_while_the_last_is_not_complete(aws, surroundings, t):
    group = f"minutes-{uuid.uuid4().hex[:8]}"
    make_group(aws, group)
    put(aws, group, {t - timedelta(minutes=at): fee(t - timedelta(minutes=at)) for at in range(25, 70)})
    report = surroundings.run(**{"feature-group": group})
    loss, size = by_hand(t - HOUR)
    assert report["verdict"] == "scored"
    assert report["metrics"]["MeanWeightedQuantileLoss"] == pytest.approx(loss / size)
    assert report["metrics"]["MissingMinutes"] == 23.0
    assert report["metrics"]["DataFreshnessMinutes"] == 24.0
    assert len(surroundings.endpoint.asked) == 1
    # An hour later there is nothing: no score, and the age of the data tells.
    report = surroundings.run(t + HOUR, **{"feature-group": group})
    assert report["verdict"] == "no-data"
    assert report["reason"].endswith("ended 84 minutes before the evaluation")
    assert report["metrics"]["MissingMinutes"] == 60.0
    assert "MeanWeightedQuantileLoss" not in report["metrics"]


def test_too_little_of_an_hour_is_no_score(aws, surroundings, t):
    group = f"minutes-{uuid.uuid4().hex[:8]}"
    make_group(aws, group)
    put(aws, group, {t - timedelta(minutes=at): 100.0 for at in range(2, 60, 3)})
    report = surroundings.run(**{"feature-group": group})
    assert report["verdict"] == "too-little-data"
    assert report["reason"] == "10 of a window's 30 steps were observed; expected a share of 0.5 at least"
    put(aws, group, {t + timedelta(minutes=at): 0.0 for at in range(59)})
    report = surroundings.run(t + HOUR, **{"feature-group": group})
    assert report["verdict"] == "too-little-data"
    assert report["reason"] == "nothing but zeros was observed, by which no loss can be divided"


def test_an_empty_store_is_a_day_old(aws, surroundings, t):
    group = f"minutes-{uuid.uuid4().hex[:8]}"
    make_group(aws, group)
    report = surroundings.run(**{"feature-group": group})
    assert (report["verdict"], report["metrics"]["DataFreshnessMinutes"]) == ("no-data", 1440.0)
    assert report["reason"].endswith("or earlier")


def test_predictions_of_others_are_joined_by_their_id(surroundings, t):
    asked = t - timedelta(minutes=40)
    forecast = {"mean": [1.0] * 30, "quantiles": {"0.5": [1.0] * 30}}
    target = [fee(asked - timedelta(minutes=at)) for at in range(200, 0, -1)]
    start = f"{asked - timedelta(minutes=200):%Y-%m-%d %H:%M:%S}"
    body = {"instances": [{"start": start, "target": target}]}
    lines = [
        capture("caller-1", asked, body, {"predictions": [forecast]}),
        capture(None, asked, {"instances": body["instances"] * 2}, {"predictions": [forecast] * 2}, event="e"),
        capture(own(t - HOUR), asked, body, {"predictions": [forecast]}),
        capture("odd", asked, {"instances": [{"start": "?", "target": []}]}, {"predictions": [forecast]}),
        capture("nan", asked, body, {"predictions": [{"mean": [math.nan] * 30}]}),
        "no JSON",
        "",
    ]
    surroundings.client("s3").put_object(
        Bucket=surroundings.bucket,
        Key=f"forecaster/capture/shop-forecaster-prod/AllTraffic/{asked:%Y/%m/%d/%H}/20-00-000-x.jsonl",
        Body="\n".join(lines).encode(),
    )
    report = surroundings.run()
    assert report["unreadable_captures"] == 3
    joined = surroundings.text(f"forecaster/monitor/prod/joined/{t:%Y/%m/%d}/{t:{STAMP}}.jsonl")
    rows = {row["inference_id"]: row for row in map(json.loads, joined.splitlines())}
    assert list(rows) == [
        own(t - HOUR), own(t - HOUR / 2), "caller-1", "e-0", "e-1",
    ]  # fmt: skip
    assert rows["caller-1"] == {
        "inference_id": "caller-1",
        "source": "endpoint",
        "asked": f"{asked:{ISO}}",
        "origin": f"{asked:{ISO}}",
        "step_minutes": 1,
        "mean": [1.0] * 30,
        "quantiles": {"0.5": [1.0] * 30},
        "actual": [fee(asked + timedelta(minutes=at)) for at in range(30)],
    }
    assert rows[own(t - HOUR / 2)]["actual"][-1] is None
    truth = surroundings.text(f"forecaster/ground-truth/{asked:%Y/%m/%d/%H}/prod-{t:{STAMP}}.jsonl").splitlines()
    assert [json.loads(line)["eventMetadata"]["eventId"] for line in truth] == list(rows)
    first = json.loads(truth[2])
    assert json.loads(first["groundTruthData"]["data"]) == rows["caller-1"]["actual"]


def capture(name: str | None, asked: datetime, body: Any, answer: Any, event: str = "x") -> str:
    sides = {"endpointInput": body, "endpointOutput": answer}
    about = {"eventId": event, "inferenceTime": f"{asked:%Y-%m-%dT%H:%M:%SZ}"}
    return json.dumps(
        {
            "captureData": {
                side: {"observedContentType": "application/json", "data": json.dumps(one), "encoding": "JSON"}
                for side, one in sides.items()
            },
            "eventMetadata": about if name is None else {**about, "inferenceId": name},
            "eventVersion": "0",
        }
    )


def test_an_evaluation_goes_on_without_mlflow_and_says_so(surroundings, t):
    surroundings.mlflow.failing = True
    report = surroundings.run()
    assert report["verdict"] == "scored"
    assert report["mlflow"]["run_id"] is None
    assert "answers 503 to experiments/get-by-name" in report["mlflow"]["error"]
    surroundings.mlflow.failing = False
    assert surroundings.run(t + HOUR)["mlflow"] == {"run_id": "run-1"}
    surroundings.mlflow.runs.clear()  # somebody deletes it
    assert surroundings.run(t + 2 * HOUR)["mlflow"] == {"run_id": "run-1"}
    assert len(surroundings.mlflow.runs) == 1


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"feature-group": "nowhere"}, "the feature group nowhere could not be read: "),
        ({"monitor-uri": "s3://no-such-bucket-anywhere/x"}, "could not be listed: "),
        ({"frequency": "7min"}, "--frequency is 7min; expected one that divides an hour"),
        ({"frequency": "x"}, "`x` is no frequency"),
        ({"min-observed-share": "nan"}, "`nan` is no share; expected a number from 0 to 1"),
        ({"page-hinkley-threshold": "inf"}, "expected delta from 0, threshold above 0"),
        ({"threshold": "-1"}, "`-1` is no loss; expected a number above 0, or none"),
        ({"threshold": "abc"}, "`abc` is no loss; expected a number above 0, or none"),
        ({"evaluation-time": "0001-01-01T00:00:00Z"}, "`0001-01-01T00:00:00Z` is no time since 1970"),
        ({"evaluation-time": "0001-01-01T00:00+05:00"}, "is no time since 1970"),
        ({"evaluation-time": "now"}, "`now` is no ISO 8601 time"),
    ],
)
def test_a_fault_of_the_account_ends_the_job_with_its_reason(surroundings, changed, said, t):
    with pytest.raises(SystemExit):
        surroundings.run(**changed)
    assert said in paths.exit_message_file().read_text()
    assert surroundings.keys("forecaster/monitor/prod/state/") == []


def test_a_doubling_of_fees_is_drift_and_two_projects_do_not_touch(aws, surroundings, t):
    state = {
        "streams": {"loss": [-1.0] * 30, "fee": [0.0] * 30},
        "endpoint_config": f"config-{surroundings.bucket}",
        "mlflow_run_id": None,
    }
    surroundings.client("s3").put_object(
        Bucket=surroundings.bucket,
        Key=state_key(t - HOUR),
        Body=json.dumps(state).encode(),
    )
    group = f"minutes-{uuid.uuid4().hex[:8]}"
    make_group(aws, group)
    days = [t - HOUR - timedelta(days=day) + timedelta(minutes=at) for day in (1, 2) for at in range(0, 60, 6)]
    put(aws, group, {minute: 100.0 for minute in days})
    put(aws, group, {t - timedelta(minutes=at): 400.0 for at in range(1, 60)})
    report = surroundings.run(project="other", **{"feature-group": group})
    fired = {(one["stream"], one["detector"]): one["detected"] for one in report["drift"]}
    assert fired == {("loss", "page-hinkley"): False, ("loss", "adwin"): False, ("fee", "page-hinkley"): True}
    assert report["metrics"]["DriftDetected"] == 1.0
    assert surroundings.metric("other", "DriftDetected", t - HOUR) == [1.0]
    assert surroundings.metric("third", "DriftDetected", t - HOUR) == []
