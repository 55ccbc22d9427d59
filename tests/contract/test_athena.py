"""Athena over the feature store: queries, their results, and what a query may not do."""

from __future__ import annotations

import csv
import io
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contract.sagemaker_account import Account, error_of, until
from tests.contract.test_feature_store import make_group, record, settled, stored

DATABASE = "sagemaker_featurestore"


@pytest.fixture(scope="module")
def account(cloud: Any) -> Account:
    """The account under test."""
    return Account.of(cloud)


@pytest.fixture(scope="module")
def group(account: Account) -> str:
    """A group with three minutes, one of them in two versions, and one that was deleted."""
    name = make_group(account)
    runtime = account.client("sagemaker-featurestore-runtime")
    for minute, at, count, fee in (
        ("00:00", "2024-01-01T00:00:00Z", "10", "1.5"),
        ("00:01", "2024-01-01T00:01:00Z", "20", "2.5"),
        ("00:01", "2024-01-01T00:01:30Z", "25", "3.5"),
        ("01:00", "2024-01-01T01:00:00Z", "30", "12345678.5"),
    ):
        runtime.put_record(FeatureGroupName=name, Record=record(minute, at, count=count, Fee=fee))
    runtime.put_record(FeatureGroupName=name, Record=record("gone", "2024-01-01T02:00:00Z"))
    runtime.delete_record(FeatureGroupName=name, RecordIdentifierValueAsString="gone", EventTime="2024-01-01T02:00:01Z")
    return name


@pytest.fixture(scope="module")
def table(account: Account, group: str) -> str:
    name: str = settled(account, group)["OfflineStoreConfig"]["DataCatalogConfig"]["TableName"]
    return name


def start(account: Account, sql: str, **members: Any) -> str:
    """Start a query; gives its id."""
    params = {
        "QueryString": sql,
        "QueryExecutionContext": {"Database": DATABASE},
        "ResultConfiguration": {"OutputLocation": f"{account.new_prefix()}/"},
        **members,
    }
    return str(account.client("athena").start_query_execution(**params)["QueryExecutionId"])


def ended(account: Account, execution: str) -> dict[str, Any]:
    """Wait for a query's end; gives its description."""

    def over() -> dict[str, Any] | None:
        found: dict[str, Any] = account.client("athena").get_query_execution(QueryExecutionId=execution)[
            "QueryExecution"
        ]
        return found if found["Status"]["State"] not in ("QUEUED", "RUNNING") else None

    query: dict[str, Any] = until(over, "the query has ended")
    return query


def values(answer: dict[str, Any]) -> list[list[str | None]]:
    """The rows of a page."""
    return [[cell.get("VarCharValue") for cell in row["Data"]] for row in answer["ResultSet"]["Rows"]]


def query(account: Account, sql: str) -> list[list[str | None]]:
    """A query's rows, the header first."""
    execution = start(account, sql)
    status = ended(account, execution)["Status"]
    assert status["State"] == "SUCCEEDED", status.get("StateChangeReason")
    return values(account.client("athena").get_query_results(QueryExecutionId=execution))


def failure(account: Account, sql: str, **members: Any) -> str:
    """Why a query failed."""
    status = ended(account, start(account, sql, **members))["Status"]
    assert status["State"] == "FAILED", sql
    assert status["AthenaError"]["ErrorMessage"] == status["StateChangeReason"]
    return str(status["StateChangeReason"])


def test_a_query_sees_what_was_accepted_before_it(account: Account, table: str) -> None:
    rows = query(account, f'SELECT minute, count, fee, is_deleted, hour FROM "{table}" ORDER BY at')
    assert rows == [
        ["minute", "count", "fee", "is_deleted", "hour"],
        ["00:00", "10", "1.5", "false", "00"],
        ["00:01", "20", "2.5", "false", "00"],
        ["00:01", "25", "3.5", "false", "00"],
        ["01:00", "30", "1.23456785E7", "false", "01"],
        ["gone", None, None, "false", "02"],
        ["gone", None, None, "true", "02"],
    ]


def test_the_latest_version_of_each_record_wins(account: Account, table: str) -> None:
    rows = query(
        account,
        f"""
        SELECT minute, count FROM (
            SELECT *, row_number() OVER (
                PARTITION BY minute ORDER BY at DESC, api_invocation_time DESC, write_time DESC) AS version
            FROM {DATABASE}.{table}
            WHERE at >= '2024-01-01T00:00:00Z' AND at < '2024-01-02T00:00:00Z'
        ) WHERE version = 1 AND NOT is_deleted ORDER BY minute
        """,
    )
    assert rows[1:] == [["00:00", "10"], ["00:01", "25"], ["01:00", "30"]]


def test_a_query_is_described(account: Account, table: str) -> None:
    prefix = account.new_prefix()
    sql = f"SELECT count(*) AS n, max(fee), 'a,\"b\"' AS Quoted, cast(null AS varchar) AS nothing FROM {table}"
    execution = start(account, sql, ResultConfiguration={"OutputLocation": prefix})
    found = ended(account, execution)
    assert found["QueryExecutionId"] == execution
    assert found["Query"] == sql
    assert found["QueryExecutionContext"]["Database"] == DATABASE
    assert found["ResultConfiguration"]["OutputLocation"] == f"{prefix}/{execution}.csv"
    assert found["Status"]["SubmissionDateTime"] <= found["Status"]["CompletionDateTime"]
    assert found["Statistics"]["DataScannedInBytes"] > 0
    assert found["Statistics"]["TotalExecutionTimeInMillis"] >= found["Statistics"]["EngineExecutionTimeInMillis"]
    content = account.text(f"{prefix}/{execution}.csv")
    assert content == '"n","_col1","Quoted","nothing"\n"6","1.23456785E7","a,""b""",\n'
    assert list(csv.reader(io.StringIO(content)))[1] == ["6", "1.23456785E7", 'a,"b"', ""]
    columns = account.client("athena").get_query_results(QueryExecutionId=execution)["ResultSet"]["ResultSetMetadata"][
        "ColumnInfo"
    ]
    assert [(column["Name"], column["Type"]) for column in columns] == [
        ("n", "bigint"),
        ("_col1", "double"),
        ("Quoted", "varchar"),
        ("nothing", "varchar"),
    ]


def test_results_come_in_pages(account: Account) -> None:
    execution = start(account, "SELECT n, 'zeile ' || chr(252) AS t FROM UNNEST(sequence(1, 2500)) AS s(n) ORDER BY n")
    ended(account, execution)
    athena = account.client("athena")
    pages: list[list[list[str | None]]] = []
    token: dict[str, str] = {}
    while True:
        answer = athena.get_query_results(QueryExecutionId=execution, **token)
        pages.append(values(answer))
        if "NextToken" not in answer:
            break
        token = {"NextToken": answer["NextToken"]}
    assert [len(page) for page in pages] == [1000, 1000, 501]
    assert pages[0][0] == ["n", "t"]
    assert [row[0] for page in pages for row in page][1:] == [str(number) for number in range(1, 2501)]
    assert pages[2][-1] == ["2500", "zeile ü"]
    small = athena.get_query_results(QueryExecutionId=execution, MaxResults=2)
    assert values(small) == [["n", "t"], ["1", "zeile ü"]]
    code, _ = error_of(athena.get_query_results, QueryExecutionId=execution, NextToken="made-up")
    assert code == "InvalidRequestException"


def test_an_empty_group_gives_no_rows(account: Account) -> None:
    name = settled(account, make_group(account))["OfflineStoreConfig"]["DataCatalogConfig"]["TableName"]
    assert query(account, f"SELECT minute, fee FROM {name}") == [["minute", "fee"]]


def test_a_feature_that_was_added_is_null_before(account: Account) -> None:
    group = make_group(account)
    runtime = account.client("sagemaker-featurestore-runtime")
    table = settled(account, group)["OfflineStoreConfig"]["DataCatalogConfig"]["TableName"]
    runtime.put_record(FeatureGroupName=group, Record=record())
    assert len(query(account, f"SELECT * FROM {table}")) == 2
    account.sagemaker.update_feature_group(
        FeatureGroupName=group, FeatureAdditions=[{"FeatureName": "Extra", "FeatureType": "String"}]
    )
    runtime.put_record(FeatureGroupName=group, Record=record(at="2024-03-01T00:00:00Z", Extra="x"))
    assert query(account, f"SELECT extra FROM {table} ORDER BY at")[1:] == [[None], ["x"]]


def test_a_deleted_groups_table_can_still_be_read(account: Account) -> None:
    group = make_group(account)
    runtime = account.client("sagemaker-featurestore-runtime")
    table = settled(account, group)["OfflineStoreConfig"]["DataCatalogConfig"]["TableName"]
    runtime.put_record(FeatureGroupName=group, Record=record())
    account.sagemaker.delete_feature_group(FeatureGroupName=group)
    until(
        lambda: not account.sagemaker.list_feature_groups(NameContains=group)["FeatureGroupSummaries"],
        "the group is gone",
    )
    assert query(account, f"SELECT count(*) FROM {table}")[1:] == [["1"]]


def test_an_object_that_is_deleted_is_not_read(account: Account) -> None:
    group = make_group(account)
    runtime = account.client("sagemaker-featurestore-runtime")
    described = settled(account, group)["OfflineStoreConfig"]
    table, place = described["DataCatalogConfig"]["TableName"], described["S3StorageConfig"]["ResolvedOutputS3Uri"]
    runtime.put_record(FeatureGroupName=group, Record=record())
    runtime.put_record(FeatureGroupName=group, Record=record(at="2024-03-01T00:00:00Z"))
    assert query(account, f"SELECT count(*) FROM {table}")[1:] == [["2"]]
    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    account.s3.delete_object(Bucket=bucket, Key=f"{prefix}/{account.keys(place)[0]}")
    assert query(account, f"SELECT month FROM {table}")[1:] == [["03"]]


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELECT nope FROM {table}", "COLUMN_NOT_FOUND: line 1:8: Column 'nope' cannot be resolved"),
        ("SELECT *\nFROM nope", "TABLE_NOT_FOUND: line 2:6: Table 'awsdatacatalog.sagemaker_featurestore.nope' does"),
        ("SELECT * FROM elsewhere.t", "SCHEMA_NOT_FOUND: "),
        ("SELEC 1", "SYNTAX_ERROR: line 1:"),
        ("SELECT 1; SELECT 2", "SYNTAX_ERROR: Only one sql statement is allowed"),
        ("SELECT shrink(fee) FROM {table}", "FUNCTION_NOT_FOUND: line 1:8: Function 'shrink' not registered"),
        ("SELECT * FROM {table} WHERE year = 2024", "TYPE_MISMATCH: Cannot apply operator: varchar and integer"),
        ("SELECT count / 0 FROM {table}", "DIVISION_BY_ZERO"),
        ("SELECT cast(minute AS bigint) FROM {table}", "INVALID_CAST_ARGUMENT"),
    ],
)
def test_a_query_that_is_wrong_fails_with_its_reason(account: Account, table: str, sql: str, reason: str) -> None:
    assert failure(account, sql.format(table=table)).startswith(reason)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        'SELECT * FROM "/etc/passwd"',
        "SELECT * FROM 's3://bucket/key.parquet'",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM duckdb_settings()",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM duckdb_tables",
        "SELECT * FROM sqlite_master",
        "SELECT getenv('HOME')",
        "SELECT current_setting('threads')",
        "SELECT * FROM query('SELECT 1')",
        "SELECT * FROM query_table('x')",
        "COPY (SELECT 1) TO '/tmp/athena-was-here'",
        "ATTACH '/tmp/x.db' AS x",
        "INSTALL httpfs",
        "LOAD httpfs",
        "PRAGMA database_list",
        "SET threads = 64",
        "CREATE TABLE x AS SELECT 1",
        "INSERT INTO {table} SELECT * FROM {table}",
        "DELETE FROM {table}",
        "DROP TABLE {table}",
        "WITH x AS (DELETE FROM {table} RETURNING *) SELECT * FROM x",
        "SELECT 1 INTO OUTFILE '/tmp/athena-was-here'",
        "EXPORT DATABASE '/tmp/athena-was-here'",
        "CALL pragma_version()",
        "EXPLAIN ANALYZE SELECT 1",
    ],
)
def test_nothing_but_the_tables_can_be_reached(account: Account, localcloud_only: None, table: str, sql: str) -> None:
    reason = failure(account, sql.format(table=table))
    assert not reason.startswith("GENERIC_INTERNAL_ERROR"), reason
    assert not Path("/tmp/athena-was-here").exists()
    assert len(query(account, f"SELECT * FROM {table}")) == 7


def test_the_same_token_is_the_same_query(account: Account) -> None:
    token, location = uuid.uuid4().hex, account.new_prefix()
    params = {"ClientRequestToken": token, "ResultConfiguration": {"OutputLocation": location}}
    first = start(account, "SELECT 1", **params)
    assert start(account, "SELECT 1", **params) == first
    with pytest.raises(account.client("athena").exceptions.InvalidRequestException, match="Idempotent"):
        start(account, "SELECT 2", **params)


def test_what_is_missing_is_said_at_once(account: Account) -> None:
    athena = account.client("athena")
    code, message = error_of(athena.start_query_execution, QueryString="SELECT 1")
    assert (code, "No output location" in message) == ("InvalidRequestException", True)
    code, message = error_of(athena.get_query_execution, QueryExecutionId=str(uuid.uuid4()))
    assert (code, "was not found" in message) == ("InvalidRequestException", True)
    execution = start(account, "SELECT nope")
    ended(account, execution)
    code, message = error_of(athena.get_query_results, QueryExecutionId=execution)
    assert (code, "FAILED" in message) == ("InvalidRequestException", True)


def test_a_bucket_that_there_is_not_fails_the_query(account: Account) -> None:
    location = {"OutputLocation": f"s3://{account.name('nowhere')}/x"}
    assert "nowhere" in failure(account, "SELECT 1", ResultConfiguration=location)


def test_a_query_can_be_stopped(account: Account, localcloud_only: None) -> None:
    execution = start(
        account,
        "WITH s AS (SELECT n FROM UNNEST(sequence(1, 10000)) AS s(n))"
        " SELECT count(*) FROM s a CROSS JOIN s b CROSS JOIN s c WHERE (a.n + b.n) % 7 = c.n % 7",
    )
    athena = account.client("athena")
    until(
        lambda: (
            athena.get_query_execution(QueryExecutionId=execution)["QueryExecution"]["Status"]["State"] == "RUNNING"
        ),
        "the query runs",
    )
    athena.stop_query_execution(QueryExecutionId=execution)
    assert ended(account, execution)["Status"]["State"] == "CANCELLED"
    # The engine is free for others again.
    assert query(account, "SELECT 1 AS one") == [["one"], ["1"]]


def test_records_wait_for_a_bucket_that_is_gone(account: Account, localcloud_only: None) -> None:
    bucket = account.name("bucket")
    place = {"Bucket": bucket, "CreateBucketConfiguration": {"LocationConstraint": account.region}}
    account.s3.create_bucket(**place)
    group = make_group(account, OfflineStoreConfig={"S3StorageConfig": {"S3Uri": f"s3://{bucket}/offline"}})
    account.s3.delete_bucket(Bucket=bucket)
    runtime = account.client("sagemaker-featurestore-runtime")
    runtime.put_record(FeatureGroupName=group, Record=record(count="7"))
    table = settled(account, group)["OfflineStoreConfig"]["DataCatalogConfig"]["TableName"]
    assert f"HIVE_FILESYSTEM_ERROR: the files of {DATABASE}.{table}" in failure(account, f'SELECT * FROM "{table}"')
    status = settled(account, group)["OfflineStoreStatus"]
    assert (status["Status"], bucket in status["BlockedReason"]) == ("Blocked", True)

    account.s3.create_bucket(**place)
    assert query(account, f'SELECT count FROM "{table}"') == [["count"], ["7"]]
    assert settled(account, group)["OfflineStoreStatus"] == {"Status": "Active"}


@pytest.mark.slow  # that what is committed outlives a crash, test_core shows
def test_what_was_accepted_survives_being_killed(
    start_localcloud: Callable[[Path], Any], client_of: Callable[..., Any], tmp_path: Path
) -> None:
    """Records that are in the offline store, records that were just taken, a query that has ended, one that runs."""
    before = start_localcloud(tmp_path / "state")
    account = Account(lambda service: client_of(before, service), "eu-west-1")
    group = make_group(account)
    runtime = client_of(before, "sagemaker-featurestore-runtime")
    for number in range(10):
        runtime.put_record(FeatureGroupName=group, Record=record(f"m{number}", count=str(number)))
    table = settled(account, group)["OfflineStoreConfig"]["DataCatalogConfig"]["TableName"]
    done = start(account, f'SELECT count(*) AS records FROM "{table}"')
    ended(account, done)
    sql = "SELECT count(*) FROM UNNEST(sequence(1, 10000)) a(n), UNNEST(sequence(1, 10000)) b(m), " + (
        "UNNEST(sequence(1, 10000)) c(k) WHERE (n + m) % 7 = k % 7"
    )
    for number in range(10, 20):
        runtime.put_record(FeatureGroupName=group, Record=record(f"m{number}", count=str(number)))
    cut_off = start(account, sql)
    before.kill()

    after = start_localcloud(tmp_path / "state")
    account = Account(lambda service: client_of(after, service), "eu-west-1")
    runtime = client_of(after, "sagemaker-featurestore-runtime")
    for number in (9, 19):
        assert stored(runtime, group, f"m{number}")["count"] == str(number)  # type: ignore[index]
    every = [[f"m{number}", str(number)] for number in range(20)]
    assert query(account, f'SELECT minute, count FROM "{table}" ORDER BY count')[1:] == every
    athena = account.client("athena")
    assert values(athena.get_query_results(QueryExecutionId=done)) == [["records"], ["10"]]
    status = athena.get_query_execution(QueryExecutionId=cut_off)["QueryExecution"]["Status"]
    assert status["State"] == "FAILED"
    assert "localcloud stopped while the query ran" in status["StateChangeReason"]
