"""The feature store: groups, records, what each store keeps."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pyarrow.parquet
import pytest

from tests.contract.sagemaker_account import Account, error_of, until

TYPES = {"minute": "String", "count": "Integral", "Fee": "Fractional", "at": "String"}


@pytest.fixture(scope="module")
def account(cloud: Any) -> Account:
    """The account under test."""
    return Account.of(cloud)


@pytest.fixture(scope="module")
def runtime(account: Account) -> Any:
    return account.client("sagemaker-featurestore-runtime")


def group_params(account: Account, types: dict[str, str] | None = None, **members: Any) -> dict[str, Any]:
    """CreateFeatureGroup's parameters, without a name."""
    return {
        "RecordIdentifierFeatureName": "minute",
        "EventTimeFeatureName": "at",
        "FeatureDefinitions": [{"FeatureName": name, "FeatureType": kind} for name, kind in (types or TYPES).items()],
        "OnlineStoreConfig": {"EnableOnlineStore": True},
        "OfflineStoreConfig": {"S3StorageConfig": {"S3Uri": f"{account.new_prefix()}/"}},
        "RoleArn": account.role,
        **members,
    }


def make_group(account: Account, types: dict[str, str] | None = None, **members: Any) -> str:
    """A group that is Created; gives its name."""
    name = account.name("group")
    params = group_params(account, types, **members)
    account.sagemaker.create_feature_group(
        FeatureGroupName=name, **{key: value for key, value in params.items() if value is not None}
    )
    assert settled(account, name)["FeatureGroupStatus"] == "Created"
    return name


def settled(account: Account, name: str) -> dict[str, Any]:
    """Wait until a group is not Creating any more."""

    def ready() -> dict[str, Any] | None:
        group: dict[str, Any] = account.sagemaker.describe_feature_group(FeatureGroupName=name)
        return group if group["FeatureGroupStatus"] != "Creating" else None

    found: dict[str, Any] = until(ready, f"{name} is created")
    return found


def record(minute: str = "m1", at: str = "2024-01-31T23:59:01Z", **values: str) -> list[dict[str, str]]:
    """A record with these values."""
    given = {"minute": minute, "at": at, **values}
    return [{"FeatureName": name, "ValueAsString": value} for name, value in given.items()]


def stored(runtime: Any, group: str, minute: str = "m1", **params: Any) -> dict[str, str] | None:
    """A record as the online store gives it, or None."""
    answer = runtime.get_record(FeatureGroupName=group, RecordIdentifierValueAsString=minute, **params)
    if "Record" not in answer:
        return None
    return {feature["FeatureName"]: feature["ValueAsString"] for feature in answer["Record"]}


def rows(account: Account, group: str, expected: int) -> list[dict[str, Any]]:
    """The offline store's rows, once there are so many."""
    place = settled(account, group)["OfflineStoreConfig"]["S3StorageConfig"]["ResolvedOutputS3Uri"]

    def all_there() -> list[dict[str, Any]] | None:
        found: list[dict[str, Any]] = []
        for key in account.keys(place):
            table = pyarrow.parquet.read_table(io.BytesIO(account.content(f"{place}/{key}")))
            found += [{**row, "key": key} for row in table.to_pylist()]
        return found if len(found) >= expected else None

    written: list[dict[str, Any]] = until(all_there, f"{expected} rows at {place}")
    return written


def test_a_group_is_described(account: Account) -> None:
    name = account.name("my-Group")
    params = group_params(account, Description="minutes", Tags=[{"Key": "a", "Value": "b"}])
    arn = account.sagemaker.create_feature_group(FeatureGroupName=name, **params)["FeatureGroupArn"]
    group = settled(account, name)
    assert group["FeatureGroupArn"] == arn
    assert group["FeatureDefinitions"] == params["FeatureDefinitions"]
    assert group["Description"] == "minutes"
    assert group["OfflineStoreStatus"] == {"Status": "Active"}
    catalog = group["OfflineStoreConfig"]["DataCatalogConfig"]
    assert (catalog["Catalog"], catalog["Database"]) == ("AwsDataCatalog", "sagemaker_featurestore")
    assert catalog["TableName"].startswith(name.lower().replace("-", "_") + "_")
    resolved = group["OfflineStoreConfig"]["S3StorageConfig"]["ResolvedOutputS3Uri"]
    seconds = catalog["TableName"].rpartition("_")[2]
    assert resolved.endswith(f"/{account.number}/sagemaker/{account.region}/offline-store/{name}-{seconds}/data")
    assert account.sagemaker.describe_feature_group(FeatureGroupName=arn)["FeatureGroupName"] == name
    assert account.sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "a", "Value": "b"}]
    code, message = error_of(account.sagemaker.create_feature_group, FeatureGroupName=name, **params)
    assert code == "ResourceInUse"
    assert f"FeatureGroup with name {name} already exists" in message


def test_groups_are_listed(account: Account) -> None:
    stem = account.name("listed")
    for number in range(3):
        make_named(account, f"{stem}-{number}")
    listed = account.sagemaker.list_feature_groups(
        NameContains=stem, FeatureGroupStatusEquals="Created", SortBy="Name", SortOrder="Ascending", MaxResults=2
    )
    assert [group["FeatureGroupName"] for group in listed["FeatureGroupSummaries"]] == [f"{stem}-0", f"{stem}-1"]
    rest = account.sagemaker.list_feature_groups(
        NameContains=stem, SortBy="Name", SortOrder="Ascending", MaxResults=2, NextToken=listed["NextToken"]
    )
    assert [group["FeatureGroupName"] for group in rest["FeatureGroupSummaries"]] == [f"{stem}-2"]


def make_named(account: Account, name: str) -> None:
    """A group of that name, without an offline store."""
    params = group_params(account)
    del params["OfflineStoreConfig"]
    account.sagemaker.create_feature_group(FeatureGroupName=name, **params)
    settled(account, name)


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"RecordIdentifierFeatureName": "nope"}, "RecordIdentifierFeatureName"),
        ({"EventTimeFeatureName": "nope"}, "EventTimeFeatureName"),
        ({"EventTimeFeatureName": "count"}, "String or Fractional"),
        ({"OnlineStoreConfig": {}, "OfflineStoreConfig": None}, "OnlineStoreConfig"),
        ({"RoleArn": None}, "RoleArn"),
    ],
)
def test_a_group_that_there_cannot_be_is_refused(account: Account, members: dict[str, Any], told: str) -> None:
    params = {key: value for key, value in {**group_params(account), **members}.items() if value is not None}
    code, message = error_of(account.sagemaker.create_feature_group, FeatureGroupName=account.name(), **params)
    assert code == "ValidationException"
    assert told in message


@pytest.mark.parametrize("name", ["is_deleted", "write_time", "api_invocation_time", "FEE"])
def test_a_features_name_must_be_free(account: Account, name: str) -> None:
    params = group_params(account, {**TYPES, name: "String"})
    code, message = error_of(account.sagemaker.create_feature_group, FeatureGroupName=account.name(), **params)
    assert code == "ValidationException"
    assert name in message


def test_a_bucket_that_there_is_not_fails_the_creation(account: Account) -> None:
    name = account.name("group")
    place = {"S3StorageConfig": {"S3Uri": f"s3://{account.name('nowhere')}/x"}}
    account.sagemaker.create_feature_group(
        FeatureGroupName=name, **{**group_params(account), "OfflineStoreConfig": place}
    )
    group = settled(account, name)
    assert group["FeatureGroupStatus"] == "CreateFailed"
    assert "nowhere" in group["FailureReason"]


def test_a_group_that_there_is_not(account: Account, runtime: Any) -> None:
    for call, params in (
        (account.sagemaker.describe_feature_group, {}),
        (runtime.get_record, {"RecordIdentifierValueAsString": "a"}),
        (runtime.put_record, {"Record": record()}),
    ):
        code, message = error_of(call, FeatureGroupName="there-is-none", **params)
        assert code == "ResourceNotFound"
        assert "there-is-none" in message


def test_a_record_is_in_both_stores(account: Account, runtime: Any) -> None:
    group = make_group(account)
    # By the account's own clock: another test may have let it run ahead.
    made: datetime = account.sagemaker.describe_feature_group(FeatureGroupName=group)["CreationTime"]
    before = made.astimezone(UTC).replace(tzinfo=None)
    runtime.put_record(FeatureGroupName=group, Record=record(count="3", Fee="1.5e3"))
    assert stored(runtime, group) == {"minute": "m1", "at": "2024-01-31T23:59:01Z", "count": "3", "Fee": "1.5e3"}
    assert stored(runtime, group, FeatureNames=["Fee", "minute"]) == {"Fee": "1.5e3", "minute": "m1"}
    (row,) = rows(account, group, 1)
    key = row.pop("key")
    assert key.startswith("year=2024/month=01/day=31/hour=23/")
    assert key.endswith(".parquet")
    written, invoked = row.pop("write_time"), row.pop("api_invocation_time")
    assert row == {"minute": "m1", "at": "2024-01-31T23:59:01Z", "count": 3, "Fee": 1500.0, "is_deleted": False}
    assert abs((invoked - before).total_seconds()) < 3600
    assert invoked <= written


def test_an_older_record_never_replaces_a_newer_one(account: Account, runtime: Any) -> None:
    group = make_group(account)
    for at, count in (("2024-01-02T00:00:00Z", "2"), ("2024-01-01T00:00:00Z", "1"), ("2024-01-02T00:00:00.000Z", "9")):
        runtime.put_record(FeatureGroupName=group, Record=record(at=at, count=count))
    assert stored(runtime, group)["count"] == "2"  # type: ignore[index]
    runtime.put_record(FeatureGroupName=group, Record=record(at="2024-01-02T00:00:00.001Z", Fee="1"))
    # A record is replaced as a whole.
    assert stored(runtime, group) == {"minute": "m1", "at": "2024-01-02T00:00:00.001Z", "Fee": "1"}
    assert sorted(str(row["count"]) for row in rows(account, group, 4)) == ["1", "2", "9", "None"]


def test_unix_seconds_are_an_event_time(account: Account, runtime: Any) -> None:
    group = make_group(account, {**TYPES, "at": "Fractional"})
    runtime.put_record(FeatureGroupName=group, Record=record(at="1706745541.5", count="1"))
    runtime.put_record(FeatureGroupName=group, Record=record(at="1706745541.25", count="2"))
    assert stored(runtime, group)["count"] == "1"  # type: ignore[index]
    assert {row["key"].rpartition("/")[0] for row in rows(account, group, 2)} == {"year=2024/month=01/day=31/hour=23"}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"count": "1.5"}, "[count]"),
        ({"count": ""}, "[count]"),
        ({"count": "9223372036854775808"}, "[count]"),
        ({"count": "1_000"}, "[count]"),
        ({"Fee": "nan"}, "[Fee]"),
        ({"Fee": "1,5"}, "[Fee]"),
        ({"nope": "1"}, "[nope]"),
        ({"at": "2024-01-01 00:00:00"}, "[at]"),
        ({"at": "2024-02-30T00:00:00Z"}, "[at]"),
        ({"at": "2024-01-01T00:00:00+01:00"}, "[at]"),
        ({"minute": ""}, "[minute]"),
    ],
)
def test_a_value_that_is_not_of_its_type_is_refused(
    account: Account, runtime: Any, shared_group: str, values: dict[str, str], told: str
) -> None:
    code, message = error_of(
        runtime.put_record, FeatureGroupName=shared_group, Record=record(**{"minute": "bad", **values})
    )
    assert code == "ValidationError"
    assert told in message
    assert stored(runtime, shared_group, "bad") is None


@pytest.fixture(scope="module")
def shared_group(account: Account) -> str:
    return make_group(account)


def test_a_record_needs_its_identifier_its_time_and_single_features(
    account: Account, runtime: Any, shared_group: str
) -> None:
    whole = record()
    for wrong, told in (
        (whole[:1], "EventTime"),
        (whole[1:], "RecordIdentifier"),
        ([*whole, whole[0]], "twice"),
        ([*whole, {"FeatureName": "count"}], "has no value"),
    ):
        code, message = error_of(runtime.put_record, FeatureGroupName=shared_group, Record=wrong)
        assert code == "ValidationError"
        assert told in message
    code, message = error_of(
        runtime.get_record, FeatureGroupName=shared_group, RecordIdentifierValueAsString="a", FeatureNames=["nope"]
    )
    assert (code, "[nope]" in message) == ("ValidationError", True)


def test_numbers_at_their_limits_are_kept(account: Account, runtime: Any) -> None:
    group = make_group(account)
    runtime.put_record(
        FeatureGroupName=group, Record=record(count=str(-(2**63)), Fee="-Infinity", at="2024-01-01T00:00:00Z")
    )
    (row,) = rows(account, group, 1)
    assert (row["count"], row["Fee"]) == (-(2**63), float("-inf"))


def test_target_stores_say_where_a_record_goes(account: Account, runtime: Any) -> None:
    group = make_group(account)
    runtime.put_record(FeatureGroupName=group, Record=record("on", count="1"), TargetStores=["OnlineStore"])
    runtime.put_record(FeatureGroupName=group, Record=record("off", count="2"), TargetStores=["OfflineStore"])
    assert stored(runtime, group, "on") is not None
    assert stored(runtime, group, "off") is None
    assert [row["minute"] for row in rows(account, group, 1)] == ["off"]


def test_a_store_that_the_group_lacks_is_refused(account: Account, runtime: Any) -> None:
    online, offline = account.name("on"), make_group(account, OnlineStoreConfig=None)
    make_named(account, online)
    code, _ = error_of(runtime.put_record, FeatureGroupName=online, Record=record(), TargetStores=["OfflineStore"])
    assert code == "ValidationError"
    code, _ = error_of(runtime.get_record, FeatureGroupName=offline, RecordIdentifierValueAsString="a")
    assert code == "ValidationError"


def test_a_soft_deletion_leaves_its_mark(account: Account, runtime: Any) -> None:
    group = make_group(account)
    runtime.put_record(FeatureGroupName=group, Record=record(at="2024-01-02T00:00:00Z", count="1"))
    delete = {"FeatureGroupName": group, "RecordIdentifierValueAsString": "m1"}
    runtime.delete_record(EventTime="2024-01-01T00:00:00Z", **delete)
    assert stored(runtime, group) is not None
    runtime.delete_record(EventTime="2024-01-03T00:00:00Z", **delete)
    assert stored(runtime, group) is None
    # The mark is newer than this record.
    runtime.put_record(FeatureGroupName=group, Record=record(at="2024-01-02T12:00:00Z", count="2"))
    assert stored(runtime, group) is None
    written = rows(account, group, 4)
    assert [(row["at"], row["count"]) for row in sorted(written, key=lambda row: row["at"]) if row["is_deleted"]] == [
        ("2024-01-01T00:00:00Z", None),
        ("2024-01-03T00:00:00Z", None),
    ]


def test_a_hard_deletion_leaves_nothing(account: Account, runtime: Any) -> None:
    group = make_group(account)
    runtime.put_record(FeatureGroupName=group, Record=record(at="2024-01-02T00:00:00Z", count="1"))
    delete = {"FeatureGroupName": group, "RecordIdentifierValueAsString": "m1", "DeletionMode": "HardDelete"}
    code, message = error_of(runtime.delete_record, EventTime="2024-01-02T00:00:00Z", **delete)
    assert (code, "EventTime" in message) == ("ValidationError", True)
    runtime.delete_record(EventTime="2024-01-03T00:00:00Z", **delete)
    assert stored(runtime, group) is None
    runtime.put_record(FeatureGroupName=group, Record=record(at="2024-01-01T00:00:00Z", count="2"))
    assert stored(runtime, group)["count"] == "2"  # type: ignore[index]
    assert sorted(row["is_deleted"] for row in rows(account, group, 3)) == [False, False, True]


def test_several_records_are_read_at_once(account: Account, runtime: Any, shared_group: str) -> None:
    for minute in ("a", "b"):
        runtime.put_record(FeatureGroupName=shared_group, Record=record(minute, count="1"))
    answer = runtime.batch_get_record(
        Identifiers=[
            {
                "FeatureGroupName": shared_group,
                "RecordIdentifiersValueAsString": ["a", "none", "b"],
                "FeatureNames": ["minute"],
            },
            {"FeatureGroupName": "there-is-none", "RecordIdentifiersValueAsString": ["a"]},
        ]
    )
    assert [(found["RecordIdentifierValueAsString"], found["Record"]) for found in answer["Records"]] == [
        (minute, [{"FeatureName": "minute", "ValueAsString": minute}]) for minute in ("a", "b")
    ]
    assert [(error["FeatureGroupName"], error["ErrorCode"]) for error in answer["Errors"]] == [
        ("there-is-none", "ResourceNotFound")
    ]
    assert answer["UnprocessedIdentifiers"] == []


def test_a_record_expires(account: Account, runtime: Any) -> None:
    group = make_group(
        account, OnlineStoreConfig={"EnableOnlineStore": True, "TtlDuration": {"Unit": "Weeks", "Value": 100}}
    )
    # Other tests let time pass: what is new by this machine's clock is some days old by then.
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    runtime.put_record(FeatureGroupName=group, Record=record("new", at=now))
    runtime.put_record(FeatureGroupName=group, Record=record("old", at="2021-01-01T00:00:00Z"))
    runtime.put_record(
        FeatureGroupName=group,
        Record=record("kept", at="2024-01-01T00:00:00Z"),
        TtlDuration={"Unit": "Weeks", "Value": 5000},
    )
    assert stored(runtime, group, "new") is not None
    assert stored(runtime, group, "old") is None
    answer = runtime.get_record(
        FeatureGroupName=group, RecordIdentifierValueAsString="kept", ExpirationTimeResponse="Enabled"
    )
    assert answer["ExpiresAt"] == "2119-10-30T00:00:00Z"


def test_features_are_added(account: Account, runtime: Any) -> None:
    group = make_group(account)
    runtime.put_record(FeatureGroupName=group, Record=record(count="1"))
    rows(account, group, 1)
    account.sagemaker.update_feature_group(
        FeatureGroupName=group, FeatureAdditions=[{"FeatureName": "extra", "FeatureType": "Integral"}]
    )
    runtime.put_record(FeatureGroupName=group, Record=record(at="2024-02-01T00:00:00Z", extra="7"))
    assert [row.get("extra") for row in sorted(rows(account, group, 2), key=lambda row: row["at"])] == [None, 7]
    code, message = error_of(
        account.sagemaker.update_feature_group,
        FeatureGroupName=group,
        FeatureAdditions=[{"FeatureName": "EXTRA", "FeatureType": "Integral"}],
    )
    assert (code, "EXTRA" in message) == ("ValidationException", True)


def test_a_deleted_groups_files_stay_and_its_records_go(account: Account, runtime: Any) -> None:
    group = make_group(account)
    runtime.put_record(FeatureGroupName=group, Record=record(count="1"))
    place = settled(account, group)["OfflineStoreConfig"]["S3StorageConfig"]["ResolvedOutputS3Uri"]
    account.sagemaker.delete_feature_group(FeatureGroupName=group)
    until(
        lambda: (
            group
            not in [
                found["FeatureGroupName"]
                for found in account.sagemaker.list_feature_groups(NameContains=group)["FeatureGroupSummaries"]
            ]
        ),
        "the group is gone",
    )
    assert len(account.keys(place)) == 1
    make_named(account, group)
    assert stored(runtime, group) is None


def test_records_of_many_clients_are_all_kept(account: Account, client_of: Callable[..., Any], cloud: Any) -> None:
    group = make_group(account)
    failures: list[str] = []

    def work(number: int) -> None:
        runtime = client_of(cloud, "sagemaker-featurestore-runtime")
        try:
            for turn in range(25):
                runtime.put_record(FeatureGroupName=group, Record=record(f"{number}-{turn}", count=str(turn)))
        except Exception as error:
            failures.append(f"{number}: {error}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert {row["minute"] for row in rows(account, group, 100)} == {
        f"{number}-{turn}" for number in range(4) for turn in range(25)
    }
