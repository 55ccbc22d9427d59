"""Long polling: who waits for a message gets it when it comes, and keeps nobody else from being answered."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.contract.sagemaker_account import Account


@pytest.fixture(scope="module")
def account(cloud: Any) -> Account:
    """The account under test."""
    return Account.of(cloud)


@pytest.fixture
def url(account: Account) -> Iterator[str]:
    sqs = account.client("sqs")
    made = sqs.create_queue(QueueName=account.name("waiting"))["QueueUrl"]
    yield made
    sqs.delete_queue(QueueUrl=made)


def test_an_empty_queue_is_waited_for_and_no_longer_than_was_asked(account: Account, url: str) -> None:
    assert "Messages" not in account.client("sqs").receive_message(QueueUrl=url, WaitTimeSeconds=1)


def test_a_message_ends_the_wait_and_meanwhile_others_are_answered(account: Account, url: str) -> None:
    sqs = account.client("sqs")
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(sqs.receive_message, QueueUrl=url, WaitTimeSeconds=20)
        account.client("sns").list_topics()
        sqs.send_message(QueueUrl=url, MessageBody="hello")
        (message,) = waiting.result(timeout=15)["Messages"]
    assert message["Body"] == "hello"
    assert "Messages" not in sqs.receive_message(QueueUrl=url)


def test_a_queue_may_say_how_long_is_waited(account: Account, url: str) -> None:
    sqs = account.client("sqs")
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"ReceiveMessageWaitTimeSeconds": "1"})
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    assert "Messages" not in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=0)


def test_a_wait_that_is_too_long_is_refused(account: Account, url: str) -> None:
    sqs = account.client("sqs")
    with pytest.raises(sqs.exceptions.ClientError, match="WaitTimeSeconds"):
        sqs.receive_message(QueueUrl=url, WaitTimeSeconds=21)
