"""The calls of SNS on their way to moto, which keeps topics and subscriptions and delivers to queues.

HTTP and e-mail subscriptions are delivered here (`localcloud.notices.delivery`): moto has them under protocols that it
does not know, so that it keeps and lists them and does nothing else; its answers are told in SNS's own words.

    http                HTTP on this machine only. Pending until its SubscribeURL was asked for, as on AWS
    email, email-json   a file below `mail` in the state folder. Confirmed at once: who reads that folder is who
                        subscribed, and nobody else's consent is to be asked

Those of SNS's protocols that nothing is delivered by are refused, and so are filters of these subscriptions.
"""

from __future__ import annotations

import json
import re
import secrets
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit
from xml.sax.saxutils import escape

from localcloud.clients import credential_scope
from localcloud.context import Context
from localcloud.errors import ServiceError
from localcloud.notices.delivery import SUBSCRIPTION, Deliveries
from localcloud.notices.messages import CONFIRMATION, NOTIFICATION
from localcloud.protocols import models
from localcloud.protocols.http import HttpRequest, HttpResponse

_OWN = ("http", "email", "email-json")
_OTHERS = ("sqs",)
_HIDDEN = "localcloud-"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_SITE, _CONFIRM, _UNSUBSCRIBE = "sns", "confirm", "unsubscribe"
_MAIL_ADDRESS = re.compile(r"[^@\s,<>]+@[^@\s,<>]+")
_ARN = re.compile(rb"<SubscriptionArn>([^<]+)</SubscriptionArn>")
_LISTED = re.compile(rb"<member>(?:(?!</member>).)*</member>", re.DOTALL)
_MESSAGE_ID = re.compile(rb"<MessageId>([^<]+)</MessageId>")
_SENT = re.compile(rb"<member>(?:(?!</member>).)*?<Id>([^<]+)</Id>(?:(?!</member>).)*</member>", re.DOTALL)
_XMLNS = "http://sns.amazonaws.com/doc/2010-03-31/"

Fields = dict[str, str]


class Topics:
    """Answers SNS's calls. All methods may be called from any thread."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._deliveries = Deliveries(context)
        context.web.add(_SITE, self._visited)
        self._answers = {
            "Subscribe": self._subscribe,
            "ConfirmSubscription": self._confirm,
            "Unsubscribe": self._unsubscribe,
            "DeleteTopic": self._delete_topic,
            "ListSubscriptions": self._list,
            "ListSubscriptionsByTopic": self._list,
            "GetSubscriptionAttributes": self._get_attributes,
            "SetSubscriptionAttributes": self._set_attributes,
            "Publish": self._publish,
            "PublishBatch": self._publish_batch,
        }

    def start(self) -> None:
        """Deliver what an earlier process left."""
        self._deliveries.recover()

    def stop(self) -> None:
        """End after the tries that are under way."""
        self._deliveries.close()

    def handle(self, request: HttpRequest) -> HttpResponse:
        """The answer to a request of SNS's query protocol. Raises ServiceError, and LeafUnavailable."""
        fields = models.form(request)
        answer = self._answers.get(fields.get("Action", ""))
        return self._forward(request) if answer is None else answer(request, fields)

    def _unsigned(self, fields: Fields) -> HttpRequest:
        """A request of nobody's to the leaf, which reads the region from what stands in for a signature."""
        headers = {
            "host": "127.0.0.1",
            "authorization": credential_scope("localcloud", self._context.region, "sns"),
            "content-type": "application/x-www-form-urlencoded",
        }
        return HttpRequest("POST", "/", "", headers, urlencode({"Version": "2010-03-31", **fields}).encode())

    def _forward(self, request: HttpRequest, fields: Fields | None = None) -> HttpResponse:
        if fields is not None:
            form = {"content-type": "application/x-www-form-urlencoded"}
            body = urlencode(fields).encode()
            request = replace(request, method="POST", query="", headers={**request.headers, **form}, body=body)
        return self._context.leaf.handle("sns", request)

    def _subscribe(self, request: HttpRequest, fields: Fields) -> HttpResponse:
        protocol = fields.get("Protocol", "")
        if protocol not in _OWN:
            if protocol not in _OTHERS:
                raise _refused(f"Protocol: localcloud delivers by {', '.join((*_OWN, *_OTHERS))}; got {protocol!r}")
            return self._forward(request)
        endpoint = _checked_endpoint(protocol, fields.get("Endpoint", ""))
        if attributes := sorted(value for name, value in fields.items() if re.fullmatch(r"Attributes\..+\.key", name)):
            raise _refused(f"Attributes: localcloud has none of {protocol} subscriptions; got {', '.join(attributes)}")
        answer = self._forward(request, {**fields, "Protocol": f"{_HIDDEN}{protocol}"})
        found = _ARN.search(answer.body)
        if answer.status != 200 or found is None:
            return answer
        arn = found[1].decode()
        subscription = self._keep(arn, protocol, endpoint, fields["TopicArn"])
        if subscription["Confirmed"]:
            return answer
        self._ask_to_confirm(subscription)
        if fields.get("ReturnSubscriptionArn", "").lower() == "true":
            return answer
        return replace(answer, body=_ARN.sub(b"<SubscriptionArn>pending confirmation</SubscriptionArn>", answer.body))

    def _keep(self, arn: str, protocol: str, endpoint: str, topic_arn: str) -> dict[str, Any]:
        """The subscription of an ARN, made if there is none yet."""
        token = secrets.token_hex(32)
        confirm, unsubscribe = (self._context.web.url(_SITE, page) for page in (_CONFIRM, _UNSUBSCRIBE))
        subscription = {
            "Arn": arn,
            "TopicArn": topic_arn,
            "Protocol": protocol,
            "Endpoint": endpoint,
            "Confirmed": protocol != "http",
            "Token": token,
            "SubscribeURL": f"{confirm}?{urlencode({'TopicArn': topic_arn, 'Token': token})}",
            "UnsubscribeURL": f"{unsubscribe}?{urlencode({'SubscriptionArn': arn})}",
        }
        if self._context.store.put(SUBSCRIPTION, arn, subscription, if_absent=True):
            return subscription
        return self._context.store.get(SUBSCRIPTION, arn) or subscription

    def _ask_to_confirm(self, subscription: Mapping[str, Any]) -> None:
        text = (
            f"You have chosen to subscribe to the topic {subscription['TopicArn']}.\nTo confirm the subscription, visit"
            " the SubscribeURL included in this message."
        )
        message = {
            "Type": CONFIRMATION,
            "MessageId": str(uuid.uuid4()),
            "Message": text,
            "Time": self._context.clock.now(),
        }
        self._deliveries.take([(subscription["Arn"], message)])

    def _confirm(self, request: HttpRequest, fields: Fields) -> HttpResponse:
        arn = self._confirmed(fields.get("TopicArn", ""), fields.get("Token", ""))
        return _answer("ConfirmSubscription", f"<SubscriptionArn>{escape(arn)}</SubscriptionArn>")

    def _confirmed(self, topic_arn: str, token: str) -> str:
        """Confirm the subscription that a token is of; gives its ARN. Raises InvalidParameter."""
        for arn, subscription in self._subscriptions(topic_arn):
            if secrets.compare_digest(subscription["Token"].encode(), token.encode()):
                self._context.store.update(SUBSCRIPTION, arn, lambda found: {**found, "Confirmed": True})
                return arn
        raise _refused("Invalid token", whole=True)

    def _unsubscribe(self, request: HttpRequest, fields: Fields) -> HttpResponse:
        answer = self._forward(request)
        if answer.status == 200:
            self._context.store.delete(SUBSCRIPTION, fields.get("SubscriptionArn", ""))
        return answer

    def _delete_topic(self, request: HttpRequest, fields: Fields) -> HttpResponse:
        answer = self._forward(request)
        if answer.status == 200:
            for arn, _ in self._subscriptions(fields.get("TopicArn", "")):
                self._context.store.delete(SUBSCRIPTION, arn)
        return answer

    def _list(self, request: HttpRequest, fields: Fields) -> HttpResponse:
        answer = self._forward(request)
        pending = {arn.encode() for arn, found in self._subscriptions() if not found["Confirmed"]}

        def told(member: re.Match[bytes]) -> bytes:
            found = _ARN.search(member[0])
            if found is None or found[1] not in pending:
                return member[0]
            return _ARN.sub(b"<SubscriptionArn>PendingConfirmation</SubscriptionArn>", member[0])

        return replace(answer, body=_LISTED.sub(told, _shown(answer.body)))

    def _get_attributes(self, request: HttpRequest, fields: Fields) -> HttpResponse:
        answer = self._forward(request)
        subscription = self._context.store.get(SUBSCRIPTION, fields.get("SubscriptionArn", ""))
        body = _shown(answer.body)
        if subscription is not None and not subscription["Confirmed"]:
            body = re.sub(rb"(<key>PendingConfirmation</key>\s*<value>)false", rb"\1true", body)
        return replace(answer, body=body)

    def _set_attributes(self, request: HttpRequest, fields: Fields) -> HttpResponse:
        subscription = self._context.store.get(SUBSCRIPTION, fields.get("SubscriptionArn", ""))
        if subscription is not None:
            raise _refused(
                f"AttributeName: localcloud has no attributes of {subscription['Protocol']} subscriptions; got"
                f" {fields.get('AttributeName')!r}"
            )
        return self._forward(request)

    def _publish(self, request: HttpRequest, fields: Fields) -> HttpResponse:
        answer = self._forward(request)
        found = _MESSAGE_ID.search(answer.body)
        topic_arn = fields.get("TopicArn") or fields.get("TargetArn", "")
        if answer.status == 200 and found is not None:
            self._deliver(topic_arn, [(found[1].decode(), fields)])
        return answer

    def _publish_batch(self, request: HttpRequest, fields: Fields) -> HttpResponse:
        answer = self._forward(request)
        entries = {entry.get("Id", ""): entry for entry in _entries(fields, "PublishBatchRequestEntries.member")}
        sent = []
        for member in _SENT.finditer(answer.body):
            message_id, entry = _MESSAGE_ID.search(member[0]), entries.get(member[1].decode())
            if message_id is not None and entry is not None:
                sent.append((message_id[1].decode(), entry))
        if answer.status == 200:
            self._deliver(fields.get("TopicArn", ""), sent)
        return answer

    def _deliver(self, topic_arn: str, published: list[tuple[str, Fields]]) -> None:
        now = self._context.clock.now()
        found = []
        for arn, subscription in self._subscriptions(topic_arn):
            for message_id, fields in published if subscription["Confirmed"] else ():
                message = {
                    "Type": NOTIFICATION,
                    "MessageId": message_id,
                    "Subject": fields.get("Subject"),
                    "Message": _text(fields, subscription["Protocol"]),
                    "Attributes": _attributes(fields),
                    "Time": now,
                }
                found.append((arn, message))
        self._deliveries.take(found)

    def _subscriptions(self, topic_arn: str | None = None) -> list[tuple[str, dict[str, Any]]]:
        """Those that are delivered here: of one topic, or all."""
        prefix = "" if topic_arn is None else f"{topic_arn}:"
        return self._context.store.list(SUBSCRIPTION, prefix)

    def _visited(self, page: str, request: HttpRequest) -> HttpResponse:
        """The links of confirmations and messages, which anybody may follow who has them."""
        fields = dict(parse_qsl(request.query))
        try:
            if page == _CONFIRM:
                return self._confirm(request, fields)
            if page == _UNSUBSCRIBE and fields.get("SubscriptionArn"):
                return self._unsubscribe(self._unsigned({"Action": "Unsubscribe", **fields}), fields)
        except ServiceError as error:
            return HttpResponse(error.status, [("Content-Type", "text/plain")], f"{error.message}\n".encode())
        return HttpResponse(404, [("Content-Type", "text/plain")], b"localcloud: no such page of SNS\n")


def _checked_endpoint(protocol: str, endpoint: str) -> str:
    if protocol != "http":
        if not _MAIL_ADDRESS.fullmatch(endpoint):
            raise _refused("Email address")
        return endpoint
    address = urlsplit(endpoint)
    try:
        host, _ = address.hostname, address.port
    except ValueError:
        host = None
    if address.scheme != "http" or host is None:
        raise _refused(f"Endpoint must match the specified protocol: http://HOST:PORT/PATH; got {endpoint!r}")
    if host not in _LOOPBACK:
        raise _refused(f"Endpoint: localcloud delivers to this machine only ({', '.join(_LOOPBACK)}); got {endpoint!r}")
    return endpoint


def _refused(what: str, *, whole: bool = False) -> ServiceError:
    return ServiceError("InvalidParameter", what if whole else f"Invalid parameter: {what}")


def _shown(body: bytes) -> bytes:
    """moto's answer with SNS's own protocols in it."""
    return body.replace(f">{_HIDDEN}".encode(), b">")


def _answer(action: str, result: str) -> HttpResponse:
    body = (
        f'<{action}Response xmlns="{_XMLNS}"><{action}Result>{result}</{action}Result><ResponseMetadata><RequestId>'
        f"{uuid.uuid4()}</RequestId></ResponseMetadata></{action}Response>"
    )
    return HttpResponse(200, [("Content-Type", "text/xml")], body.encode())


def _entries(fields: Fields, prefix: str) -> Iterator[Fields]:
    """The members of a list in a query's form: `prefix.1.Id`, `prefix.1.Message`, `prefix.2.Id` …"""
    number = 1
    while found := {
        name.removeprefix(f"{prefix}.{number}."): value
        for name, value in fields.items()
        if name.startswith(f"{prefix}.{number}.")
    }:
        yield found
        number += 1


def _text(fields: Fields, protocol: str) -> str:
    """The message for a protocol: of MessageStructure `json` (moto has checked it) its own, or else the default."""
    text = fields.get("Message", "")
    if fields.get("MessageStructure") != "json":
        return text
    found = json.loads(text)
    return str(found.get(protocol) or found["default"])


def _attributes(fields: Fields) -> dict[str, dict[str, str]]:
    return {
        entry["Name"]: {
            "Type": entry.get("Value.DataType", "String"),
            "Value": entry.get("Value.StringValue") or entry.get("Value.BinaryValue", ""),
        }
        for entry in _entries(fields, "MessageAttributes.entry")
        if "Name" in entry
    }
