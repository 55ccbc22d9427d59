"""Holders' latest features in a feature group: by boto3, in a localcloud that really runs."""

import datetime
import functools
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seed_code.cardholders import feature_writer, features, prepare
from seed_code.common.errors import ClientError
from tests.roles import make_role

# What `pipelines` declares too: whoever changes one must change the other, and make the group anew.
DEFINITIONS = {
    "holder": "String",
    "event_time": "String",
    "usage_freq": "Integral",
    "amount_spend": "Fractional",
    "uniq_merchant": "Integral",
    "recency_days": "Integral",
    "days_since_first": "Integral",
    "gap_mean": "Fractional",
    "gap_std": "Fractional",
    "gap_median": "Fractional",
    "gap_last": "Fractional",
    "overdue": "Fractional",
    "gap_end_share_7d": "Fractional",
    "purchases_7d": "Integral",
    "purchases_30d": "Integral",
    "purchases_90d": "Integral",
    "spend_7d": "Fractional",
    "spend_30d": "Fractional",
    "spend_90d": "Fractional",
    "merchants_90d": "Integral",
    "active_days_30d": "Integral",
    "active_day_share": "Fractional",
    "mean_amount": "Fractional",
    "refunds_90d": "Integral",
    "weekday_share_ahead_1": "Fractional",
    "weekday_share_ahead_2": "Fractional",
    "weekday_share_ahead_3": "Fractional",
    "weekday_share_ahead_4": "Fractional",
    "weekday_share_ahead_5": "Fractional",
    "weekday_share_ahead_6": "Fractional",
    "weekday_share_ahead_7": "Fractional",
    "weekday": "Integral",
    "month_of_year": "Integral",
    "days_to_month_end": "Integral",
}
# Columns that Feature Store itself adds to the group's table, or partitions it by.
TAKEN = {"is_deleted", "write_time", "api_invocation_time", "year", "month", "day", "hour"}
EARLIER, LATER = "2014-06-23T23:59:59Z", "2014-06-30T23:59:59Z"

_numbers = count(1)


@pytest.fixture(scope="module")
def bucket(localcloud: Any) -> str:
    name = "feature-writer"
    place = {"LocationConstraint": "eu-west-1"}
    _client(localcloud.endpoint, "s3").create_bucket(Bucket=name, CreateBucketConfiguration=place)
    return name


@pytest.fixture
def make(aws: Any, bucket: str) -> Callable[..., str]:
    """Makes a feature group; gives its name once it is there."""

    def made(types: dict[str, str] | None = None, **members: Any) -> str:
        name = f"holders-{next(_numbers)}"
        asked = {
            "RecordIdentifierFeatureName": "holder",
            "EventTimeFeatureName": "event_time",
            "OnlineStoreConfig": {"EnableOnlineStore": True},
            "OfflineStoreConfig": {"S3StorageConfig": {"S3Uri": f"s3://{bucket}/offline"}},
            **members,
        }
        sagemaker = _client(aws.endpoint, "sagemaker")
        sagemaker.create_feature_group(
            FeatureGroupName=name,
            FeatureDefinitions=[
                {"FeatureName": feature, "FeatureType": kind}
                for feature, kind in (DEFINITIONS if types is None else types).items()
            ],
            RoleArn=make_role(_client(aws.endpoint, "iam"), "writer"),
            **{key: value for key, value in asked.items() if value is not None},
        )
        while sagemaker.describe_feature_group(FeatureGroupName=name)["FeatureGroupStatus"] == "Creating":
            pass
        return name

    return made


@pytest.fixture
def stored(aws: Any) -> Callable[[str, str], dict[str, str] | None]:
    """A holder's record as the online store gives it, or None."""
    runtime = _client(aws.endpoint, "sagemaker-featurestore-runtime")

    def found(group: str, holder: str) -> dict[str, str] | None:
        answer = runtime.get_record(FeatureGroupName=group, RecordIdentifierValueAsString=holder)
        if "Record" not in answer:
            return None
        return {feature["FeatureName"]: feature["ValueAsString"] for feature in answer["Record"]}

    return found


@functools.cache
def _client(endpoint: str, service: str) -> Any:
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-west-1")
    return session.client(service, endpoint_url=endpoint)


def table(holders: int, **values: Any) -> pa.Table:
    """Features of so many holders, all of them 1 but for `values`."""
    columns: dict[str, Any] = {"holder": [f"h{number:04d}" for number in range(holders)]}
    for name, kind in list(DEFINITIONS.items())[2:]:
        columns[name] = [values.get(name, 1 if kind == "Integral" else 1.5)] * holders
    return pa.table(columns)


def cards(last_day: int = 299) -> str:
    """Two holders who purchase every third day from 2013-07-01 on, and one who did once, long ago."""
    first = datetime.date(2013, 7, 1)
    lines = [(day, holder, "10.10") for day in range(0, last_day + 1, 3) for holder in ("Mason", "Adams")]
    lines += [(0, "Rare", "99.00"), (290, "Adams", "-5.00")]
    text = "who,what,when,where\n"
    return text + "".join(
        f"{who},{what},{first + datetime.timedelta(day)},ACME {day % 5}\n" for day, who, what in lines
    )


def run(folder: Path, *arguments: str) -> dict[str, Any]:
    """Prepare `in` of a folder, and give the report."""
    roles = ("holder=who", "amount=what", "date=when", "vendor=where")
    columns = [part for role in roles for part in ("--column", role)]
    options = prepare.parser().parse_args([*columns, "--date-format", "%Y-%m-%d", *arguments])
    prepare.prepare(options, folder / "in", folder / "out")
    report: dict[str, Any] = json.loads((folder / "out" / "report" / "prepare.json").read_text())
    return report


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where `in/cards.csv` lies."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "cards.csv").write_text(cards())
    return tmp_path


# --- the group --------------------------------------------------------------------------------------------------------


def test_the_groups_features_are_those_that_the_pipeline_declares() -> None:
    assert feature_writer.definitions() == DEFINITIONS
    assert list(feature_writer.definitions()) == list(DEFINITIONS)
    assert not TAKEN & DEFINITIONS.keys()
    told = {"int": "Integral", "float": "Fractional"}
    assert {feature.name: told[feature.kind] for feature in features.STORED_FEATURES}.items() <= DEFINITIONS.items()


def test_a_group_that_is_right_is_found(make: Callable[..., str]) -> None:
    name = make()
    assert feature_writer.find_group(name) == feature_writer.Group(name, online=True)
    shuffled = make(dict(reversed(DEFINITIONS.items())), OnlineStoreConfig=None)
    assert feature_writer.find_group(shuffled) == feature_writer.Group(shuffled, online=False)


@pytest.mark.parametrize(
    ("change", "members", "told"),
    [
        ({"overdue": None}, {}, ["it lacks overdue."]),
        ({"shoe_size": "Integral", "colour": "String"}, {}, ["it has shoe_size, colour, which Prepare does not know"]),
        ({"weekday": "String"}, {}, ["it holds weekday as String (expected Integral)"]),
        (
            {"weekday": "String", "overdue": None, "colour": "String"},
            {},
            ["it lacks overdue;", "it has colour,", "it holds weekday as String"],
        ),
        ({}, {"RecordIdentifierFeatureName": "weekday"}, ["its record identifier is `weekday`, expected `holder`"]),
        (
            {"when": "String"},
            {"EventTimeFeatureName": "when"},
            ["its event time is `when`, expected `event_time`", "it has when"],
        ),
        (
            dict.fromkeys(list(DEFINITIONS)[2:]),
            {},
            ["it lacks usage_freq, amount_spend,", "gap_std, gap_median and 24 more."],
        ),
    ],
)
def test_a_group_of_other_features_is_refused_before_anything_is_read(
    make: Callable[..., str], tmp_path: Path, change: dict[str, Any], members: dict[str, str], told: list[str]
) -> None:
    name = make({key: kind for key, kind in (DEFINITIONS | change).items() if kind is not None}, **members)
    with pytest.raises(ClientError) as error:
        run(tmp_path, "--feature-group", name)
    for words in told:
        assert words in str(error.value)
    assert f"`aws sagemaker delete-feature-group --feature-group-name {name}`" in str(error.value)
    assert "`mlops up`" in str(error.value)
    assert len(str(error.value)) < 1000
    assert not (tmp_path / "out").exists()


def test_a_group_that_there_is_not_says_what_makes_it(aws: Any, folder: Path) -> None:
    with pytest.raises(ClientError, match=r"there is no feature group `nobody`.*`mlops up` makes it"):
        run(folder, "--feature-group", "nobody")


def test_a_service_that_does_not_answer_is_told(aws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(ClientError, match=r"`holders` \(--feature-group\) cannot be looked at: Could not connect"):
        feature_writer.find_group("holders")


# --- what is written --------------------------------------------------------------------------------------------------


def test_prepare_writes_every_holder_as_of_the_last_day(
    make: Callable[..., str], stored: Callable[[str, str], dict[str, str] | None], folder: Path
) -> None:
    name = make()
    report = run(folder, "--feature-group", name)
    # The day of the last purchase, 297 days after 2013-07-01.
    moment = "2014-04-24T23:59:59Z"
    told = {"name": name, "event_time": moment, "holders": 3, "written": 3, "unchanged": 0}
    assert report["feature_group"] == told
    holders = pq.read_table(folder / "out/train/examples.parquet")["holder"].unique().to_pylist()
    records = {holder: stored(name, holder) or {} for holder in holders}
    names = {("1", False): "Adams", ("0", False): "Mason", ("0", True): "Rare"}
    found = {names[record["refunds_90d"], record["usage_freq"] == "0"]: record for record in records.values()}
    assert sorted(found) == ["Adams", "Mason", "Rare"]
    for who, record in found.items():
        assert records[record.pop("holder")] is record
        assert record.pop("event_time") == moment
        own = [line.split(",") for line in cards().splitlines() if line.startswith(who)]
        sent = features.holder_features(
            [(datetime.date.fromisoformat(day), float(amount), vendor) for _, amount, day, vendor in own],
            datetime.date(2014, 4, 24),
        )
        # To the last digit; and what has no value is not there.
        assert {key: float(value) for key, value in record.items()} == {
            key: value for key, value in sent.items() if value == value
        }
    assert "gap_mean" not in found["Rare"]
    assert run(folder, "--feature-group", name)["feature_group"] == told | {"written": 0, "unchanged": 3}
    # Nine days later all are written: who never came back is nine days older, too.
    (folder / "in" / "cards.csv").write_text(cards(last_day=306))
    assert run(folder, "--feature-group", name)["feature_group"] == told | {"event_time": "2014-05-03T23:59:59Z"}


def test_without_a_group_nothing_is_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert run(folder)["feature_group"] is None


def test_only_what_changed_is_written_and_an_older_moment_replaces_nothing(
    make: Callable[..., str], stored: Callable[[str, str], dict[str, str] | None]
) -> None:
    group = feature_writer.find_group(make())
    every = feature_writer.BATCH + 1
    write = feature_writer.write
    assert write(group, table(3), LATER) == feature_writer.Written(3, 0)
    assert write(group, table(every), LATER) == feature_writer.Written(every - 3, 3)
    assert write(group, table(every), LATER) == feature_writer.Written(0, every)
    assert stored(group.name, f"h{every - 1:04d}") == texts(f"h{every - 1:04d}", LATER)
    # The same day, told otherwise: once, and again.
    for overdue, moment in (("2.5", "2014-06-30T23:59:59.001Z"), ("nan", "2014-06-30T23:59:59.002Z")):
        mended = table(3, overdue=float(overdue))
        assert write(group, mended, LATER) == feature_writer.Written(3, 0)
        assert write(group, mended, LATER) == feature_writer.Written(0, 3)
        newest = stored(group.name, "h0002")
        assert newest == {
            name: value for name, value in (texts("h0002", moment) | {"overdue": overdue}).items() if value != "nan"
        }
    # History that is written late belongs into the offline store, and only there.
    assert write(group, table(3, spend_7d=9.0), EARLIER) == feature_writer.Written(3, 0)
    assert stored(group.name, "h0002") == newest


def test_numbers_are_written_to_the_last_digit(
    make: Callable[..., str], stored: Callable[[str, str], dict[str, str] | None]
) -> None:
    group = feature_writer.find_group(make())
    amount, count_ = 0.1 + 0.2, 2**53 + 1
    feature_writer.write(group, table(1, amount_spend=amount, usage_freq=count_), LATER)
    record = stored(group.name, "h0000") or {}
    assert (float(record["amount_spend"]), int(record["usage_freq"])) == (amount, count_)


def test_a_group_without_an_online_store_takes_all_each_time(make: Callable[..., str]) -> None:
    group = feature_writer.find_group(make(OnlineStoreConfig=None))
    assert feature_writer.write(group, table(3), LATER) == feature_writer.Written(3, 0)
    assert feature_writer.write(group, table(3), LATER) == feature_writer.Written(3, 0)


def texts(holder: str, moment: str) -> dict[str, str]:
    """The record of a holder of `table`."""
    ones = {"Integral": "1", "Fractional": "1.5"}
    return {"holder": holder, "event_time": moment} | {name: ones[kind] for name, kind in list(DEFINITIONS.items())[2:]}


# --- what is refused --------------------------------------------------------------------------------------------------


def test_refused_records_are_counted_and_the_others_are_written(
    make: Callable[..., str], stored: Callable[[str, str], dict[str, str] | None]
) -> None:
    group = feature_writer.find_group(make())
    latest = table(150)
    # What no service would take for a whole number, for two holders.
    recency = pa.array(["1"] * 20 + ["soon"] + ["1"] * 119 + ["later"] + ["1"] * 9)
    latest = latest.set_column(latest.column_names.index("recency_days"), "recency_days", recency)
    with pytest.raises(ClientError) as error:
        feature_writer.write(group, latest, LATER)
    message = str(error.value)
    assert f"the feature group `{group.name}` did not take the features of 2 of 150 holders" in message
    assert "first those of h0020: " in message
    assert "ValidationError" in message
    assert "run the pipeline again" in message
    assert stored(group.name, "h0020") is None
    assert stored(group.name, "h0140") is None
    assert feature_writer.write(group, table(150), LATER) == feature_writer.Written(2, 148)


def test_a_group_that_vanishes_on_the_way_ends_the_job(make: Callable[..., str], aws: Any) -> None:
    group = feature_writer.find_group(make())
    _client(aws.endpoint, "sagemaker").delete_feature_group(FeatureGroupName=group.name)
    with pytest.raises(ClientError, match=r"of 5 of 5 holders, first those of h0000: .*ResourceNotFound"):
        feature_writer.write(group, table(5), LATER)


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A busy service: it reads no batch, and turns the first record down. Gives the calls' methods."""
    calls: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            asked = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            calls.append(self.command)
            answer: dict[str, Any] = {}
            if self.command == "POST":
                unprocessed = json.loads(asked)["Identifiers"]
                answer = {"Records": [], "Errors": [], "UnprocessedIdentifiers": unprocessed}
            body = json.dumps(answer).encode()
            self.send_response(503 if self.command == "PUT" and calls.count("PUT") == 1 else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_POST = answer

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    yield calls
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_a_busy_service_does_not_take_is_asked_again(busy: list[str]) -> None:
    assert feature_writer.write(feature_writer.Group("g", online=True), table(2), LATER) == feature_writer.Written(2, 0)
    assert busy == ["POST", "GET", "PUT", "PUT", "GET", "PUT"]
