"""PartiQL's INSERT in batches: what is there stays as it is, and each statement says how it went."""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from localcloud import instance
from tests.contract.conftest import Running

DUPLICATE = "DuplicateItem"


class _Table:
    def __init__(self, cloud: Any) -> None:
        self.cloud, self.client = cloud, cloud.client("dynamodb")
        self.name = f"inserts-{uuid.uuid4().hex[:8]}"
        self.client.create_table(
            TableName=self.name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("hash", "kind")],
            KeySchema=[
                {"AttributeName": "hash", "KeyType": "HASH"},
                {"AttributeName": "kind", "KeyType": "RANGE"},
            ],
        )
        self.client.get_waiter("table_exists").wait(TableName=self.name)

    def statement(self, key: str, value: int, kind: str = "k") -> dict[str, Any]:
        return {
            "Statement": f"INSERT INTO \"{self.name}\" VALUE {{'hash': ?, 'kind': ?, 'ends': ?}}",
            "Parameters": [{"S": key}, {"S": kind}, {"N": str(value)}],
        }

    def insert(self, *statements: dict[str, Any]) -> list[str | None]:
        """The code of each statement's error."""
        answers = self.client.batch_execute_statement(Statements=statements)["Responses"]
        assert [answer["TableName"] for answer in answers] == [self.name] * len(statements)
        return [answer.get("Error", {}).get("Code") for answer in answers]

    def items(self) -> dict[tuple[str, str], int]:
        found = self.client.scan(TableName=self.name, ConsistentRead=True)["Items"]
        return {(item["hash"]["S"], item["kind"]["S"]): int(item["ends"]["N"]) for item in found}


@pytest.fixture
def table(cloud: Any) -> Iterator[_Table]:
    found = _Table(cloud)
    yield found
    found.client.delete_table(TableName=found.name)


def test_an_item_whose_key_is_there_stays_and_the_others_are_written(table: _Table) -> None:
    assert table.insert(table.statement("a", 1), table.statement("b", 2)) == [None, None]
    assert table.insert(table.statement("a", 9), table.statement("c", 3)) == [DUPLICATE, None]
    assert table.insert(table.statement("a", 4, "other")) == [None]
    assert table.items() == {("a", "k"): 1, ("b", "k"): 2, ("c", "k"): 3, ("a", "other"): 4}
    assert table.insert(*[table.statement("a", 9)]) == [DUPLICATE]


def test_a_table_that_there_is_not_is_told_alone(table: _Table) -> None:
    nowhere = {**table.statement("a", 1), "Statement": "INSERT INTO nowhere VALUE {'hash': ?, 'kind': ?, 'ends': ?}"}
    answers = table.client.batch_execute_statement(Statements=[nowhere, table.statement("b", 2)])["Responses"]
    assert [answer.get("Error", {}).get("Code") for answer in answers] == ["ResourceNotFound", None]


def test_an_item_without_its_key_is_told_alone(table: _Table) -> None:
    half = {"Statement": f"INSERT INTO \"{table.name}\" VALUE {{'hash': ?}}", "Parameters": [{"S": "a"}]}
    assert table.insert(half, table.statement("b", 2)) == ["ValidationError", None]
    assert table.insert(half) == ["ValidationError"]


def test_more_statements_than_a_batch_holds_are_refused(table: _Table) -> None:
    statements = [table.statement(str(number), number) for number in range(26)]
    with pytest.raises(ClientError, match=r"ValidationException.*less than or equal to 25"):
        table.client.batch_execute_statement(Statements=statements)
    assert table.items() == {}


def test_a_full_batch_is_written_and_ends_when_its_items_say(table: _Table, localcloud_only: None) -> None:
    table.client.update_time_to_live(
        TableName=table.name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "ends"}
    )
    port = urlsplit(table.cloud.endpoint_url).port
    assert port is not None
    now = int(datetime.fromisoformat(instance.query(port)["now"]).timestamp())
    soon = [table.statement(f"{number:02}", now + 30) for number in range(20)]
    assert table.insert(table.statement("late", now + 5000), *soon) == [None] * 21
    assert table.insert(table.statement("late", now + 30)) == [DUPLICATE]
    instance.advance(port, 95)
    assert set(table.items()) == {("late", "k")}
    instance.advance(port, 5000)
    assert table.items() == {}
    # A table of the same name with another key is another table.
    table.client.delete_table(TableName=table.name)
    table.client.create_table(
        TableName=table.name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "hash", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "hash", "KeyType": "HASH"}],
    )
    assert table.insert(table.statement("a", 1), table.statement("a", 2, "other")) == [None, DUPLICATE]


def test_what_has_ended_is_replayed_no_more_and_all_else_is(
    start_localcloud: Callable[[Path], Running], client_of: Callable[..., Any], tmp_path: Path
) -> None:
    running = start_localcloud(tmp_path)
    dynamodb = client_of(running, "dynamodb")
    for name in ("plain", "updated"):
        dynamodb.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "hash", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "hash", "KeyType": "HASH"}],
        )
        dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "ends"})
    now = int(datetime.fromisoformat(instance.query(running.port)["now"]).timestamp())

    def insert(name: str, *items: tuple[str, int]) -> None:
        statement = f"INSERT INTO \"{name}\" VALUE {{'hash': ?, 'ends': ?}}"
        dynamodb.batch_execute_statement(
            Statements=[
                {"Statement": statement, "Parameters": [{"S": key}, {"N": str(now + seconds)}]}
                for key, seconds in items
            ]
        )

    def put(name: str, key: str, seconds: int) -> None:
        dynamodb.put_item(TableName=name, Item={"hash": {"S": key}, "ends": {"N": str(now + seconds)}})

    def items(name: str) -> dict[str, int]:
        return {item["hash"]["S"]: int(item["ends"]["N"]) - now for item in dynamodb.scan(TableName=name)["Items"]}

    def calls() -> int:
        with contextlib.closing(sqlite3.connect(tmp_path / "leaf" / "journal.sqlite")) as journal:
            (count,) = journal.execute("SELECT count(*) FROM calls WHERE service = 'dynamodb'").fetchone()
        return int(count)

    before = calls()
    put("plain", "put", 30)
    for number in range(10):
        insert("plain", *[(f"{number}-{each}", 30 + number) for each in range(20)])
    insert("plain", ("soon", 30), ("later", 9000))
    insert("plain", ("put again", 30))
    put("plain", "put again", 9000)
    insert("plain", ("put", 9000))  # which is there
    insert("updated", ("lasting", 30), ("short", 30))
    dynamodb.update_item(
        TableName="updated",
        Key={"hash": {"S": "lasting"}},
        UpdateExpression="SET ends = :ends",
        ExpressionAttributeValues={":ends": {"N": str(now + 9000)}},
    )
    instance.advance(running.port, 130)
    left = {"plain": {"later": 9000, "put again": 9000}, "updated": {"lasting": 9000}}
    assert {name: items(name) for name in left} == left
    # Of the ten batches and their deletions nothing is left.
    assert calls() - before <= 10
    running.kill()
    running = start_localcloud(tmp_path)
    dynamodb = client_of(running, "dynamodb")
    assert {name: items(name) for name in left} == left
    instance.advance(running.port, 9000)
    assert {name: items(name) for name in left} == {"plain": {}, "updated": {}}
    assert calls() - before <= 10
