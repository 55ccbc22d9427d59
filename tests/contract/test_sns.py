"""SNS: what is published reaches who has subscribed: by HTTP on this machine, and by mail, which is files here."""

from __future__ import annotations

import email
import email.policy
import http.server
import json
import queue
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import Running
from tests.contract.sagemaker_account import Account, error_of, until

pytestmark = pytest.mark.usefixtures("localcloud_only")
_WAIT_SECONDS = 30


class Listener:
    """A subscriber on this machine. It answers with the next of `statuses`, or with 200."""

    def __init__(self, port: int = 0) -> None:
        self.received: queue.Queue[tuple[dict[str, str], dict[str, Any]]] = queue.Queue()
        self.statuses: queue.SimpleQueue[int] = queue.SimpleQueue()
        listener = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = 200 if listener.statuses.empty() else listener.statuses.get()
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                headers = {name.lower(): value for name, value in self.headers.items()}
                listener.received.put((headers, json.loads(body)))

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/notices?from=sns"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def next(self) -> tuple[dict[str, str], dict[str, Any]]:
        """The headers and the body of the next POST."""
        return self.received.get(timeout=_WAIT_SECONDS)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def account(cloud: Any) -> Account:
    """The account under test."""
    return Account.of(cloud)


@pytest.fixture
def sns(account: Account) -> Any:
    return account.client("sns")


@pytest.fixture
def topic(account: Account, sns: Any) -> Iterator[str]:
    arn = sns.create_topic(Name=account.name("topic"))["TopicArn"]
    yield str(arn)
    sns.delete_topic(TopicArn=arn)


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


def ask(url: str, body: bytes | None = None) -> str:
    with urllib.request.urlopen(urllib.request.Request(url, body), timeout=60) as answer:
        return str(answer.read().decode())


def advance(endpoint_url: str, seconds: float) -> None:
    ask(f"{endpoint_url}/_localcloud/advance", str(seconds).encode())


def confirmed(sns: Any, topic: str, listener: Listener) -> str:
    """Subscribe a listener, and follow the link that it gets; gives the subscription's ARN."""
    arn = sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=listener.url, ReturnSubscriptionArn=True)
    _, asked = listener.next()
    assert asked["Type"] == "SubscriptionConfirmation"
    assert f"<SubscriptionArn>{arn['SubscriptionArn']}</SubscriptionArn>" in ask(asked["SubscribeURL"])
    return str(arn["SubscriptionArn"])


def mails(state: Path) -> list[EmailMessage]:
    files = sorted((state / "mail").glob("*.eml"))
    return [email.message_from_bytes(file.read_bytes(), policy=email.policy.default) for file in files]


def test_an_http_subscriber_confirms_and_is_told(sns: Any, topic: str, listener: Listener) -> None:
    answer = sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=listener.url)
    assert answer["SubscriptionArn"] == "pending confirmation"
    headers, asked = listener.next()
    assert headers["x-amz-sns-message-type"] == "SubscriptionConfirmation"
    assert headers["x-amz-sns-topic-arn"] == topic
    assert headers["content-type"] == "text/plain; charset=UTF-8"
    assert "x-amz-sns-subscription-arn" not in headers
    assert (asked["Type"], asked["TopicArn"]) == ("SubscriptionConfirmation", topic)
    (pending,) = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert (pending["SubscriptionArn"], pending["Protocol"]) == ("PendingConfirmation", "http")
    # Nobody has said yet that these messages are wanted there.
    sns.publish(TopicArn=topic, Message="too early")
    assert error_of(sns.confirm_subscription, TopicArn=topic, Token="wrong") == ("InvalidParameter", "Invalid token")
    arn = sns.confirm_subscription(TopicArn=topic, Token=asked["Token"])["SubscriptionArn"]
    (found,) = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert found["SubscriptionArn"] == arn
    attributes = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
    assert (attributes["Protocol"], attributes["PendingConfirmation"]) == ("http", "false")
    message_id = sns.publish(
        TopicArn=topic,
        Subject="Größer als 0,2",
        Message='{"loss": 0.3}',
        MessageAttributes={"kind": {"DataType": "String", "StringValue": "alarm"}},
    )["MessageId"]
    headers, told = listener.next()
    assert headers["x-amz-sns-message-type"] == "Notification"
    assert (headers["x-amz-sns-message-id"], headers["x-amz-sns-subscription-arn"]) == (message_id, arn)
    assert (told["Type"], told["MessageId"], told["TopicArn"]) == ("Notification", message_id, topic)
    assert (told["Subject"], told["Message"]) == ("Größer als 0,2", '{"loss": 0.3}')
    assert told["MessageAttributes"] == {"kind": {"Type": "String", "Value": "alarm"}}
    ask(told["UnsubscribeURL"])
    assert sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] == []
    sns.publish(TopicArn=topic, Message="too late")
    assert listener.received.empty()


def test_a_batch_and_a_structure_by_protocol(sns: Any, topic: str, listener: Listener) -> None:
    confirmed(sns, topic, listener)
    structure = json.dumps({"default": "for all", "http": "for http"})
    sent = sns.publish_batch(
        TopicArn=topic,
        PublishBatchRequestEntries=[
            {"Id": "a", "Message": "one"},
            {"Id": "b", "Message": structure, "MessageStructure": "json"},
        ],
    )["Successful"]
    told = {body["MessageId"]: body["Message"] for _, body in (listener.next(), listener.next())}
    ids = {entry["Id"]: entry["MessageId"] for entry in sent}
    assert told == {ids["a"]: "one", ids["b"]: "for http"}


def test_a_subscriber_that_fails_is_asked_again_by_the_clock(
    account: Account, cloud: Any, sns: Any, topic: str, listener: Listener
) -> None:
    confirmed(sns, topic, listener)
    for status in (500, 429, 503):
        listener.statuses.put(status)
    message_id = sns.publish(TopicArn=topic, Message="again")["MessageId"]
    advance(cloud.endpoint_url, 59)
    told = [listener.next()[1]["MessageId"] for _ in range(3)]
    assert told == [message_id] * 3
    assert listener.received.empty()
    advance(cloud.endpoint_url, 2)
    assert listener.next()[1]["MessageId"] == message_id
    # It has it now; and what a subscriber refuses is not sent again.
    listener.statuses.put(400)
    refused = sns.publish(TopicArn=topic, Message="refused")["MessageId"]
    advance(cloud.endpoint_url, 100)
    assert listener.next()[1]["MessageId"] == refused
    assert listener.received.empty()
    name = topic.rpartition(":")[2]
    cloudwatch = account.client("cloudwatch")

    def count(metric: str) -> float:
        found = cloudwatch.get_metric_data(
            MetricDataQueries=[
                {
                    "Id": "a",
                    "MetricStat": {
                        "Metric": {
                            "Namespace": "AWS/SNS",
                            "MetricName": metric,
                            "Dimensions": [{"Name": "TopicName", "Value": name}],
                        },
                        "Period": 86_400,
                        "Stat": "Sum",
                    },
                }
            ],
            StartTime="2020-01-01T00:00:00Z",
            EndTime="2100-01-01T00:00:00Z",
        )
        return float(sum(found["MetricDataResults"][0]["Values"]))

    assert (count("NumberOfNotificationsDelivered"), count("NumberOfNotificationsFailed")) == (2.0, 1.0)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"Protocol": "sms", "Endpoint": "+4912345"}, "localcloud delivers by http, email, email-json, sqs; got 'sms'"),
        (
            {"Protocol": "https", "Endpoint": "https://127.0.0.1/"},
            "localcloud delivers by http, email, email-json, sqs",
        ),
        ({"Protocol": "http", "Endpoint": "http://example.com/"}, "localcloud delivers to this machine only"),
        ({"Protocol": "http", "Endpoint": "https://127.0.0.1/"}, "Endpoint must match the specified protocol"),
        ({"Protocol": "email", "Endpoint": "nobody"}, "Email address"),
        (
            {"Protocol": "email", "Endpoint": "a@b.c", "Attributes": {"FilterPolicy": "{}"}},
            "localcloud has none of email subscriptions; got FilterPolicy",
        ),
    ],
)
def test_what_nothing_is_delivered_by_is_refused(sns: Any, topic: str, members: dict[str, Any], message: str) -> None:
    code, found = error_of(sns.subscribe, TopicArn=topic, **members)
    assert code == "InvalidParameter"
    assert message in found
    assert sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] == []


def test_links_that_lead_nowhere(cloud: Any) -> None:
    for page, status in (("confirm?TopicArn=a&Token=b", 400), ("unsubscribe", 404), ("other", 404)):
        with pytest.raises(urllib.error.HTTPError) as error:
            ask(f"{cloud.endpoint_url}/_aws/sns/{page}")
        assert error.value.code == status
        error.value.close()


def test_mails_are_files_and_a_kill_loses_no_message(
    start_localcloud: Callable[[Path], Running], client_of: Callable[..., Any], tmp_path: Path, listener: Listener
) -> None:
    running = start_localcloud(tmp_path)
    sns, cloudwatch = client_of(running, "sns"), client_of(running, "cloudwatch")
    topic = sns.create_topic(Name="notices")["TopicArn"]
    mail = sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="ops@example.com")["SubscriptionArn"]
    sns.subscribe(TopicArn=topic, Protocol="email-json", Endpoint="robot@example.com")
    # A mail is confirmed at once: its address is a folder of who subscribed.
    assert mail.startswith(f"{topic}:")
    cloudwatch.put_metric_alarm(
        AlarmName="quality",
        Namespace="Demo",
        MetricName="Errors",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=0,
        ComparisonOperator="GreaterThanThreshold",
        AlarmActions=[topic],
    )
    cloudwatch.put_metric_data(Namespace="Demo", MetricData=[{"MetricName": "Errors", "Value": 1.0}])
    plain, document = sorted(
        until(lambda: found if len(found := mails(tmp_path)) == 2 else None, "both mails are there"),
        key=lambda found: str(found["To"]),
    )
    assert str(plain["Subject"]) == 'ALARM: "quality" in Europe (Ireland)'
    assert str(plain["To"]) == "ops@example.com"
    assert '"AlarmName": "quality"' in plain.get_content()
    assert "/_aws/sns/unsubscribe?SubscriptionArn=" in plain.get_content()
    told = json.loads(document.get_content())
    assert json.loads(told["Message"])["NewStateValue"] == "ALARM"
    assert [path.name for path in (tmp_path / "mail").iterdir() if path.suffix != ".eml"] == []
    # A subscriber that is not there when a message comes, and a localcloud that is killed before it is.
    confirmed(sns, topic, listener)
    port = listener.port
    listener.close()
    message_id = sns.publish(TopicArn=topic, Message="after the kill")["MessageId"]
    running.kill()
    again = Listener(port)
    try:
        running = start_localcloud(tmp_path)
        advance(running.endpoint_url, 60)
        assert again.next()[1]["MessageId"] == message_id
        found = client_of(running, "sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
        assert sorted(one["Protocol"] for one in found) == ["email", "email-json", "http"]
        assert len(mails(tmp_path)) == 4
    finally:
        again.close()
