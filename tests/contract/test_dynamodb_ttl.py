"""Time to live in DynamoDB's tables: items go when the clock says so, and only those."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from localcloud import instance


class _Table:
    """A table with time to live, in a localcloud whose clock can be advanced."""

    def __init__(self, client: Any, port: int) -> None:
        self.client, self._port = client, port
        self.name = f"ttl-{uuid.uuid4().hex[:8]}"

    def create(self, *, ends: bool = True) -> None:
        self.client.create_table(
            TableName=self.name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "hash", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "hash", "KeyType": "HASH"}],
        )
        if ends:
            self.let_end()

    def let_end(self, enabled: bool = True) -> None:
        self.client.update_time_to_live(
            TableName=self.name, TimeToLiveSpecification={"Enabled": enabled, "AttributeName": "expires"}
        )

    def now(self) -> int:
        headers = self.client.list_tables()["ResponseMetadata"]["HTTPHeaders"]
        return int(parsedate_to_datetime(headers["date"]).timestamp())

    def item(self, key: str, seconds: int | None) -> dict[str, Any]:
        ends = {} if seconds is None else {"expires": {"N": str(self.now() + seconds)}}
        return {"hash": {"S": key}, **ends}

    def put(self, key: str, seconds: int | None) -> None:
        self.client.put_item(TableName=self.name, Item=self.item(key, seconds))

    def advance(self, seconds: int) -> None:
        instance.advance(self._port, seconds)

    def keys(self) -> set[str]:
        pages = self.client.get_paginator("scan").paginate(TableName=self.name)
        return {item["hash"]["S"] for page in pages for item in page["Items"]}


@pytest.fixture
def table(cloud: Any, localcloud_only: None) -> Iterator[_Table]:
    port = urlsplit(cloud.endpoint_url).port
    assert port is not None
    found = _Table(cloud.client("dynamodb"), port)
    found.create()
    yield found
    found.client.delete_table(TableName=found.name)


def test_items_go_within_a_minute_of_their_end_and_others_stay(table: _Table) -> None:
    for key, seconds in [
        ("past", -100),
        ("soon", 30),
        ("later", 3600),
        ("never", None),
        ("ancient", -6 * 366 * 86_400),
    ]:
        table.put(key, seconds)
    table.client.put_item(TableName=table.name, Item={"hash": {"S": "text"}, "expires": {"S": "1"}})
    assert table.keys() == {"past", "soon", "later", "never", "ancient", "text"}
    table.advance(95)
    assert table.keys() == {"later", "never", "ancient", "text"}
    table.advance(3600)
    assert table.keys() == {"never", "ancient", "text"}


def test_an_item_that_is_written_again_ends_when_it_says_last(table: _Table) -> None:
    table.put("renewed", 30)
    table.put("renewed", 3600)
    table.put("shortened", 3600)
    table.put("shortened", 30)
    table.put("kept", 30)
    table.client.update_item(
        TableName=table.name,
        Key={"hash": {"S": "kept"}},
        UpdateExpression="REMOVE expires",
    )
    table.advance(120)
    assert table.keys() == {"renewed", "kept"}
    table.advance(3600)
    assert table.keys() == {"kept"}


def test_every_way_to_write_an_item_counts(table: _Table) -> None:
    dynamodb, name = table.client, table.name
    dynamodb.batch_write_item(
        RequestItems={name: [{"PutRequest": {"Item": table.item(f"batch-{number}", 30)}} for number in range(25)]}
    )
    put = {"Put": {"TableName": name, "Item": table.item("transaction", 30)}}
    dynamodb.transact_write_items(TransactItems=[put])
    dynamodb.update_item(
        TableName=name,
        Key={"hash": {"S": "update"}},
        UpdateExpression="SET expires = :end",
        ExpressionAttributeValues={":end": {"N": str(table.now() + 150)}},
    )
    arn = dynamodb.describe_table(TableName=name)["Table"]["TableArn"]
    dynamodb.put_item(TableName=arn, Item=table.item("by-arn", 30))
    assert len(table.keys()) == 28
    table.advance(95)
    assert table.keys() == {"update"}
    table.advance(120)
    assert table.keys() == set()


def test_a_statement_may_change_when_an_item_ends(table: _Table) -> None:
    table.put("kept", 30)
    table.put("gone", 30)
    table.client.execute_statement(
        Statement=f'UPDATE "{table.name}" SET expires=? WHERE hash=?',
        Parameters=[{"N": str(table.now() + 3600)}, {"S": "kept"}],
    )
    table.advance(120)
    assert table.keys() == {"kept"}


def test_another_attribute_may_say_when_items_end(table: _Table) -> None:
    table.put("kept", 30)
    until = {"until": {"N": str(table.now() + 30)}}
    table.client.put_item(TableName=table.name, Item={**table.item("gone", 3600), **until})
    table.let_end(enabled=False)
    table.client.update_time_to_live(
        TableName=table.name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "until"}
    )
    table.advance(120)
    assert table.keys() == {"kept"}


def test_an_item_without_an_end_stays_where_there_was_one_with(table: _Table) -> None:
    table.put("kept", 30)
    table.put("kept", None)
    table.put("again", None)
    table.put("again", 30)
    table.client.delete_item(TableName=table.name, Key={"hash": {"S": "again"}})
    table.put("again", 3600)
    table.advance(120)
    assert table.keys() == {"kept", "again"}


def test_a_write_that_is_refused_changes_nothing(table: _Table) -> None:
    table.put("known", 3600)
    with pytest.raises(table.client.exceptions.ConditionalCheckFailedException):
        table.client.put_item(
            TableName=table.name, Item=table.item("known", 30), ConditionExpression="attribute_not_exists(#h)",
            ExpressionAttributeNames={"#h": "hash"},
        )  # fmt: skip
    table.advance(120)
    assert table.keys() == {"known"}


def test_items_from_before_the_time_to_live_go_too_and_none_after_it_is_switched_off(cloud: Any, table: _Table) -> None:
    port = urlsplit(cloud.endpoint_url).port
    assert port is not None
    other = _Table(table.client, port)
    other.create(ends=False)
    for key, seconds in [("past", -100), ("later", 3600), ("never", None)]:
        other.put(key, seconds)
    other.advance(120)
    assert other.keys() == {"past", "later", "never"}
    other.let_end()
    other.advance(120)
    assert other.keys() == {"later", "never"}
    other.let_end(enabled=False)
    other.put("off", 30)
    other.advance(7200)
    assert other.keys() == {"later", "never", "off"}
    other.client.delete_table(TableName=other.name)


@pytest.mark.slow
def test_what_ends_while_localcloud_is_dead_goes_after_the_next_start(
    start_localcloud: Callable[[Path], Any], client_of: Callable[..., Any], tmp_path: Path
) -> None:
    running = start_localcloud(tmp_path / "state")
    table = _Table(client_of(running, "dynamodb"), running.port)
    table.create()
    table.put("soon", 30)
    table.put("later", 3600)
    running.kill()
    running = start_localcloud(tmp_path / "state")
    again = _Table(client_of(running, "dynamodb"), running.port)
    again.name = table.name
    again.advance(120)
    assert again.keys() == {"later"}
