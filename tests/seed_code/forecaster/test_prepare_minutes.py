"""Prepare against a real localcloud: minutes are put into a feature store, and what comes out is looked at."""

import gzip
import itertools
import json
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from botocore.stub import Stubber

from seed_code.common.errors import ClientError
from seed_code.forecaster import channels, prepare, rolling
from seed_code.forecaster.athena import Athena
from seed_code.forecaster.frequency import Frequency
from seed_code.forecaster.grid import GridSeries
from tests.roles import make_role

FEATURES = {
    "tx_minute": "String", "total_nb_trx_1min": "Integral", "total_fee_1min": "Fractional",
    "avg_fee_1min": "Fractional", "event_time": "String",
}  # fmt: skip
BEGIN = datetime(2026, 11, 21, 8, tzinfo=UTC)
MINUTES = 340
SMALL = ("--prediction-length", "5", "--context-length", "10", "--test-windows", "3", "--window-spacing", "6")
EVALUATED = "2026-11-22T00:00:00Z"

Record = dict[str, str]


def text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def record(at: int, number: int = 10, fee: float | None = None, made: timedelta = timedelta(seconds=63)) -> Record:
    """A minute, `at` minutes after BEGIN, whose average fee is 1,000 more than its number unless it says otherwise."""
    minute = BEGIN + timedelta(minutes=at)
    total = (1000.0 + at) * number if fee is None else fee
    average = {} if number == 0 else {"avg_fee_1min": repr(total / number)}
    return {
        "tx_minute": text(minute), "total_nb_trx_1min": f"{number}", "total_fee_1min": repr(total), **average,
        "event_time": text(minute + made),
    }  # fmt: skip


class Store:
    """Feature groups of a localcloud, each test's its own."""

    def __init__(self, environment: dict[str, str]) -> None:
        session = boto3.Session(
            environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"],
            region_name=environment["AWS_DEFAULT_REGION"],
        )  # fmt: skip
        self.sagemaker, self.runtime, self.athena, self.s3 = (
            session.client(name, endpoint_url=environment["AWS_ENDPOINT_URL"])
            for name in ("sagemaker", "sagemaker-featurestore-runtime", "athena", "s3")
        )
        self.bucket = f"minutes-{uuid.uuid4().hex[:8]}"
        place = {"LocationConstraint": environment["AWS_DEFAULT_REGION"]}
        self.s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration=place)
        self.output = f"s3://{self.bucket}/athena/"
        iam = session.client("iam", endpoint_url=environment["AWS_ENDPOINT_URL"])
        self.role = make_role(iam, "prepares-minutes")

    def group(self, records: Sequence[Record] = (), **types: str) -> str:
        """A feature group that holds these records; gives its name."""
        name = f"demo-forecaster-{uuid.uuid4().hex[:8]}"
        features = {**FEATURES, **types}
        self.sagemaker.create_feature_group(
            FeatureGroupName=name,
            RecordIdentifierFeatureName="tx_minute",
            EventTimeFeatureName="event_time",
            FeatureDefinitions=[{"FeatureName": name, "FeatureType": kind} for name, kind in features.items()],
            OfflineStoreConfig={"S3StorageConfig": {"S3Uri": f"s3://{self.bucket}/offline/"}},
            RoleArn=self.role,
        )
        while self.sagemaker.describe_feature_group(FeatureGroupName=name)["FeatureGroupStatus"] == "Creating":
            pass
        for one in records:
            self.put(name, one)
        return name

    def put(self, group: str, one: Record) -> None:
        values = [{"FeatureName": name, "ValueAsString": value} for name, value in one.items()]
        self.runtime.put_record(FeatureGroupName=group, Record=values)


@pytest.fixture(scope="module")
def store(localcloud: Any) -> Store:
    return Store(dict(localcloud.environment))


@pytest.fixture(scope="module")
def group(store: Store) -> str:
    """340 minutes, out of order, some missing, some re-issued, one quiet, one deleted, one of another zone."""
    there = [record(at) for at in range(MINUTES) if at not in (100, 101, 102, 338)]
    there[0]["tx_minute"] = "2026-11-21T09:00:00+01:00"
    there[50] = record(50, number=0)
    late = [record(200, number=20, fee=7000.0, made=timedelta(minutes=9)), record(201, made=timedelta(seconds=61))]
    name = store.group([*there[170:], *there[:170], *late, record(MINUTES), record(MINUTES + 620)])
    store.runtime.delete_record(
        FeatureGroupName=name,
        RecordIdentifierValueAsString=text(BEGIN + timedelta(minutes=MINUTES)),
        EventTime=text(BEGIN + timedelta(minutes=MINUTES + 5)),
    )
    return name


@pytest.fixture
def run(store: Store, tmp_path: Path) -> Callable[..., tuple[dict[str, Any], Path]]:
    """Prepares a group; gives the report and the folder with the outputs."""

    def ran(group: str, *arguments: str, folder: str = "output") -> tuple[dict[str, Any], Path]:
        common = ("--feature-group", group, "--query-output", store.output, "--evaluation-time", EVALUATED)
        asked = prepare.parser().parse_args([*common, *SMALL, *arguments])
        athena = Athena(store.athena, store.s3, store.output, sleep=lambda _: None)
        target = tmp_path / folder
        return prepare.prepare(asked, store.sagemaker, athena, target), target

    return ran


def expected_values() -> np.ndarray:
    values = 1000.0 + np.arange(MINUTES)
    values[[50, 100, 101, 102, 338]] = np.nan
    values[200] = 350.0
    return values


def test_the_series_is_the_newest_version_of_each_minute_with_gaps(run, group):
    report, target = run(group)
    series, windows = rolling.read(target / "windows")
    np.testing.assert_array_equal(series.values, expected_values())
    assert series.time(0) == BEGIN
    assert windows.origins == (323, 329, 335)
    assert {name: report[name] for name in ("observations", "steps", "minutes", "missing", "first", "last")} == {
        "observations": 335, "steps": 340, "minutes": 336, "missing": 5,
        "first": "2026-11-21T08:00:00Z", "last": "2026-11-21T13:39:00Z",
    }  # fmt: skip
    # The deleted minute is superseded too: by its deletion. One of the late versions is older than what it follows.
    assert (report["superseded"], report["deleted"], report["left_out"]) == (3, 1, {})
    assert report["gaps"][1] == {"start": "2026-11-21T09:40:00Z", "end": "2026-11-21T09:43:00Z", "minutes": 3}
    assert report["gap_count"] == len(report["gaps"]) == 3
    assert report["training"] == {"steps": 323, "observations": 319}
    assert report["summary"]["minimum"] == 350.0
    assert report["query"]["rows"] > 330
    assert json.loads((target / "report/prepare.json").read_text()) == report


def test_numbers_beyond_deepars_are_left_out(run, store):
    """The largest that are accepted do not keep the summary from being finite."""
    records = [record(at) for at in range(330)]
    for at, value in ((10, "1e300"), (11, "-3.5e38"), (12, "3.4e38"), (13, "-3.4e38")):
        records[at]["avg_fee_1min"] = value
    report, target = run(store.group(records))
    reason = "avg_fee_1min is beyond 3.4e+38, the largest number that DeepAR takes"
    assert (report["left_out"], report["left_out_examples"]) == ({reason: 2}, {reason: ["-3.5E38", "1.0E300"]})
    assert report["observations"] == 328
    assert report["summary"]["maximum"] == 3.4e38
    assert 2e37 < report["summary"]["standard_deviation"] < 3e37
    assert channels.read(target / "train", Frequency.parse("1min"))[0].target[12] == np.float32(3.4e38)


def test_sums_beyond_deepars_numbers_are_left_out(run, store):
    records = [record(at) for at in range(680)]
    records[10]["total_fee_1min"] = records[11]["total_fee_1min"] = "3e38"
    report, _ = run(store.group(records), "--target", "total_fee_1min", "--frequency", "2min")
    assert report["left_out_examples"] == {
        "total_fee_1min at 2min is beyond 3.4e+38, the largest number that DeepAR takes": [
            "2026-11-21T08:10:00Z: 6e+38"
        ]
    }
    assert (report["observations"], report["steps"]) == (339, 340)


def test_too_few_observations_say_what_was_left_out(run, store):
    records = [record(at) for at in range(20)]
    records[3]["avg_fee_1min"] = "1e300"
    with pytest.raises(ClientError, match=r"^19 observations of .*; left out once: .* takes \(`1.0E300`\)$"):
        run(store.group(records))


def test_the_training_channel_says_what_it_is_of(run, group):
    _, target = run(group)
    assert channels.target_of(target / "train") == "avg_fee_1min"
    assert channels.target_of(target / "test") is None


def test_every_cut_ends_where_it_should_and_knows_nothing_later(run, group):
    _, target = run(group)
    values, minute = expected_values(), Frequency.parse("1min")
    (train,) = channels.read(target / "train", minute)
    np.testing.assert_array_equal(train.target, values[:323].astype(np.float32))
    tests = channels.read(target / "test", minute)
    lines = [json.loads(line) for line in (target / "requests/requests.jsonl").read_text().splitlines()]
    assert [path.name for path in (target / "requests").iterdir()] == ["requests.jsonl"]
    for origin, test, line in zip((323, 329, 335), tests, lines, strict=True):
        np.testing.assert_array_equal(test.target, values[: origin + 5].astype(np.float32))
        assert line == {
            "start": "2026-11-21 08:00:00",
            "target": [None if np.isnan(value) else value for value in values[:origin]],
        }
    windows = json.loads((target / "windows/windows.json").read_text())
    assert windows["windows"][2] == {
        "origin": "2026-11-21T13:35:00Z", "index": 335, "actual": [1335.0, 1336.0, 1337.0, None, 1339.0],
    }  # fmt: skip
    assert (windows["frequency"], windows["season_length"]) == ("1min", 1440)


def test_the_same_store_gives_the_same_files(run, group):
    first, second = (run(group, folder=folder)[1] for folder in ("first", "second"))
    names = sorted(str(path.relative_to(first)) for path in first.rglob("*") if path.is_file())
    assert names == sorted(str(path.relative_to(second)) for path in second.rglob("*") if path.is_file())
    for name in names:
        if name != "report/prepare.json":
            assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_minutes_from_the_evaluation_time_on_are_not_known(run, group):
    report, target = run(group, "--evaluation-time", "2026-11-21T14:35:30+01:00", "--test-windows", "1")
    assert report["last"] == "2026-11-21T13:35:00Z"
    assert (report["deleted"], report["superseded"]) == (0, 2)
    assert gzip.decompress((target / "train/train.json.gz").read_bytes()).endswith(b",1329.0,1330.0]}\n")


def test_versions_written_after_the_snapshot_are_not_known(run, store):
    name = store.group([record(at) for at in range(312)])
    # What was put is written when it is asked for.
    before, _ = run(name, "--test-windows", "1")
    snapshot = datetime.now(UTC).isoformat()
    store.put(name, record(5, number=20, fee=7000.0, made=timedelta(hours=1)))
    assert run(name, "--test-windows", "1")[0]["summary"]["minimum"] == 350.0
    again, _ = run(name, "--test-windows", "1", "--snapshot-time", snapshot)
    assert again["summary"] == before["summary"]
    with pytest.raises(ClientError, match=r"holds no minute before .*, written until 2020-01-01T00:00:00Z"):
        run(name, "--snapshot-time", "2020-01-01T00:00:00Z")


def test_the_history_is_counted_back_from_the_newest_minute(run, store):
    """Two records long ago are not in the last day; the newest minute is far before the evaluation time."""
    long_ago = [record(-1440 * 9), record(-1440 + 311)]
    name = store.group([record(at) for at in range(312)] + long_ago)
    report, _ = run(name, "--test-windows", "1", "--history-days", "1", "--evaluation-time", "2027-03-01T00:00:00Z")
    assert (report["first"], report["minutes"]) == (text(BEGIN), 312)
    report, _ = run(name, "--test-windows", "1", "--history-days", "2")
    assert (report["first"], report["minutes"]) == (text(BEGIN + timedelta(minutes=-1440 + 311)), 313)


def test_coarser_steps_are_averages_over_their_transactions(run, store):
    hours = [record(60 * hour + at, number=1 + at, fee=100.0 * hour) for hour in range(4) for at in (0, 59)]
    name = store.group(hours)
    with pytest.raises(
        ClientError, match=r"^4 observations of `avg_fee_1min` \(4 steps of 1H, 2026-11-21T08:00:00Z to"
    ):
        run(name, "--frequency", "H")
    with pytest.raises(ClientError, match=r"^0 observations: none of the 8 minutes .* `total_fee_1min` a value at 1H"):
        run(name, "--frequency", "1h", "--target", "total_fee_1min")


def test_a_years_requests_are_no_longer_than_a_days(tmp_path):
    """What is handed on for each window is the tail that the network and the season look at, whatever the history."""
    sizes = []
    for steps in (5_000, 525_600):
        series = GridSeries(Frequency("min", 1), 29_000_000, np.arange(steps, dtype=np.float64))
        windows = rolling.cut(series, "fee", prediction_length=5, context_length=10, count=2, spacing=5)
        prepare._write(tmp_path, series, windows)
        requests = [json.loads(line) for line in (tmp_path / "requests/requests.jsonl").read_text().splitlines()]
        tests = [json.loads(line) for line in (tmp_path / "test/test.json").read_text().splitlines()]
        for origin, request, test in zip(windows.origins, requests, tests, strict=True):
            assert request["target"] == list(range(origin - 1450, origin))
            assert test["target"] == list(range(origin - 1450, origin + 5))
            assert request["start"] == test["start"] == f"{series.time(origin - 1450):%Y-%m-%d %H:%M:%S}"
        sizes.append([len(request["target"]) for request in requests])
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize(
    ("records", "types", "expected"),
    [
        ([], {}, r"holds no minute before 2026-11-22T00:00:00Z; `mlops ingest FILE` brings minutes into it"),
        (
            [record(at) for at in range(20)],
            {},
            r"^20 observations of `avg_fee_1min` \(20 steps of 1min, .* 317 needed: 300 before the windows",
        ),
        (
            [record(at, number=0) for at in range(20)],
            {},
            "^0 observations: none of the 20 minutes of the feature group .* gives `avg_fee_1min` a value",
        ),
        (
            [{**record(at), "avg_fee_1min": value} for at, value in enumerate(["NaN", "Infinity"])],
            {},
            r"a value at 1min; left out 2 times: avg_fee_1min is not finite \(`Infinity`, `NaN`\); `mlops ingest",
        ),
        (
            [{**record(at), "avg_fee_1min": "much"} for at in range(2)],
            {"avg_fee_1min": "String"},
            "2 times: avg_fee_1min is not a number",
        ),
        (
            [{**record(0), "tx_minute": "33-01-01T00:00:00Z"}, {**record(0), "tx_minute": "2026-11-21T08:00:30Z"}],
            {},
            r"holds no minute before .*; left out once: not a time \(`33-01-01T00:00:00Z`\); "
            r"left out once: not the beginning of a minute \(`2026-11-21T08:00:30Z`\); `mlops ingest",
        ),
    ],
    ids=["empty", "too few", "quiet only", "no finite number", "texts", "no minutes"],
)
def test_a_store_with_too_little_says_what_it_has(run, store, records, types, expected):
    with pytest.raises(ClientError, match=expected):
        run(store.group(records, **types))


def test_a_wrong_group_target_or_output_is_named(run, group, store):
    with pytest.raises(ClientError, match=r"there is no feature group nobody-has-this; .* `mlops up` does"):
        run("nobody-has-this")
    with pytest.raises(ClientError, match="has no feature median_fee; it has tx_minute, total_nb_trx_1min"):
        run(group, "--target", "median_fee")
    with pytest.raises(ClientError, match="--query-output is `/tmp`; expected s3://bucket/prefix/"):
        Athena(store.athena, store.s3, "/tmp")
    nowhere = Athena(store.athena, store.s3, f"s3://{uuid.uuid4().hex}/", sleep=lambda _: None)
    with pytest.raises(ClientError, match=r"^Athena's query [0-9a-f-]+ ended FAILED: .*Unable to write the result"):
        nowhere.query("SELECT 1", "sagemaker_featurestore")
    athena = Athena(store.athena, store.s3, store.output, sleep=lambda _: None)
    with pytest.raises(ClientError, match=r"ended FAILED: TABLE_NOT_FOUND"):
        athena.query("SELECT 1 FROM nothing", "sagemaker_featurestore")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--feature-group", 'a"; DROP'), "is no name of a feature group"),
        (("--evaluation-time", "2026-11-22' OR '1'='1"), "is no ISO 8601 time"),
        (("--snapshot-time", "now"), "`now` is no ISO 8601 time"),
        (("--frequency", "sometimes"), "`sometimes` is not a multiple"),
        (("--prediction-length", "0"), "0 is not from 1 to 1000000"),
        (("--test-windows", "many"), "argument --test-windows: invalid whole number value: 'many'"),
    ],
)
def test_arguments_are_checked_before_anything_is_asked(arguments, expected):
    given = ["--feature-group", "g", "--query-output", "s3://b/", "--evaluation-time", EVALUATED, *SMALL, *arguments]
    with pytest.raises(ClientError, match=r"^prepare: ") as refused:
        prepare.parser().parse_args(given)
    assert expected in str(refused.value)


def test_the_program_runs_as_a_processing_job(aws, store, group, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    given = ["--feature-group", group, "--query-output", store.output, "--evaluation-time", EVALUATED, *SMALL]
    monkeypatch.setattr(sys, "argv", ["prepare", *given, "--snapshot-time", "none"])
    prepare.main()
    assert capsys.readouterr().out.startswith("335 observations of avg_fee_1min in 340 steps of 1min")
    assert (tmp_path / "processing/output/report/prepare.json").is_file()
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    with pytest.raises(SystemExit):
        prepare.main()
    assert (tmp_path / "output/message").read_text() == "AWS cannot be called: You must specify a region."


@pytest.fixture
def stubbed() -> Iterator[tuple[Athena, Stubber, list[float]]]:
    """Queries of an Athena that answers what a test has laid down, and how long they waited."""
    client = boto3.Session("test", "test", region_name="eu-west-1").client("athena")
    waits: list[float] = []
    with Stubber(client) as stubber:
        yield Athena(client, None, "s3://b/", waits.append), stubber, waits


def test_a_query_is_waited_for_with_growing_patience(stubbed):
    athena, stubber, waits = stubbed
    stubber.add_response("start_query_execution", {"QueryExecutionId": "q"})
    states = ["QUEUED"] * 3 + ["RUNNING"] * 20 + ["CANCELLED"]
    for state in states:
        status = {"State": state, **({"StateChangeReason": "by hand"} if state == "CANCELLED" else {})}
        stubber.add_response(
            "get_query_execution", {"QueryExecution": {"QueryExecutionId": "q", "Status": status}},
            {"QueryExecutionId": "q"},
        )  # fmt: skip
    with pytest.raises(ClientError, match="Athena's query q ended CANCELLED: by hand"):
        athena.query("SELECT 1", "db")
    assert len(waits) == 23
    assert all(first <= second for first, second in itertools.pairwise(waits))
    assert (waits[0], waits[-1]) == (0.05, 5.0)


def test_a_service_that_refuses_is_quoted(stubbed):
    athena, stubber, _ = stubbed
    stubber.add_client_error("start_query_execution", "AccessDeniedException", "no permission for this bucket")
    with pytest.raises(ClientError, match=r"Athena could not be asked \(results to s3://b/\): .*no permission"):
        athena.query("SELECT 1", "db")
