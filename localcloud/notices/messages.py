"""What subscribers of a topic get: SNS's JSON envelope, with its headers over HTTP, and mails.

Sources: "Parsing message formats" and "HTTP/HTTPS headers" (Amazon SNS Developer Guide). Nothing is signed: the key of
that signature is AWS's, so that `Signature` and `SigningCertURL` are empty here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any

NOTIFICATION, CONFIRMATION = "Notification", "SubscriptionConfirmation"
CONTENT_TYPE = "text/plain; charset=UTF-8"
_SENDER = "AWS Notifications <no-reply@sns.amazonaws.com>"
_DEFAULT_SUBJECT = "AWS Notification Message"

Document = Mapping[str, Any]


def envelope(message: Document, subscription: Document) -> str:
    """The JSON text of a stored message for a subscription."""
    found: dict[str, Any] = {
        "Type": message["Type"],
        "MessageId": message["MessageId"],
    }
    if message["Type"] == CONFIRMATION:
        found["Token"] = subscription["Token"]
    found["TopicArn"] = subscription["TopicArn"]
    if message.get("Subject"):
        found["Subject"] = message["Subject"]
    found["Message"] = message["Message"]
    if message["Type"] == CONFIRMATION:
        found["SubscribeURL"] = subscription["SubscribeURL"]
    found |= {"Timestamp": stamp(message["Time"]), "SignatureVersion": "1", "Signature": "", "SigningCertURL": ""}
    if message["Type"] == NOTIFICATION:
        found["UnsubscribeURL"] = subscription["UnsubscribeURL"]
    if message.get("Attributes"):
        found["MessageAttributes"] = message["Attributes"]
    return json.dumps(found, ensure_ascii=False, indent=2)


def headers(message: Document, subscription: Document) -> dict[str, str]:
    """The headers of a POST."""
    found = {
        "Content-Type": CONTENT_TYPE,
        "User-Agent": "Amazon Simple Notification Service Agent",
        "x-amz-sns-message-type": str(message["Type"]),
        "x-amz-sns-message-id": str(message["MessageId"]),
        "x-amz-sns-topic-arn": str(subscription["TopicArn"]),
    }
    # As on AWS, one that is not confirmed yet has no ARN to the outside.
    if message["Type"] == NOTIFICATION:
        found["x-amz-sns-subscription-arn"] = str(subscription["Arn"])
    return found


def mail(message: Document, subscription: Document) -> bytes:
    """A mail in RFC 5322's form: the message with a link that ends the subscription, or the envelope alone."""
    found = EmailMessage()
    found["From"], found["To"] = _SENDER, subscription["Endpoint"]
    # A subject is one line.
    found["Subject"] = " ".join(str(message.get("Subject") or _DEFAULT_SUBJECT).split())
    found["Date"] = format_datetime(message["Time"].astimezone(UTC))
    found["Message-ID"] = f"<{message['MessageId']}@sns.localcloud>"
    if subscription["Protocol"] == "email-json":
        found.set_content(envelope(message, subscription))
    else:
        found.set_content(
            f"{message['Message']}\n\n--\nIf you wish to stop receiving notifications from this topic, please visit"
            f" the link below to unsubscribe:\n{subscription['UnsubscribeURL']}\n"
        )
    return found.as_bytes()


def file_name(message: Document, subscription: Document) -> str:
    """The name of a mail's file: by time, and the same for every try."""
    moment: datetime = message["Time"].astimezone(UTC)
    subscriber = str(subscription["Arn"]).rpartition(":")[2][:8]
    return f"{moment:%Y%m%dT%H%M%S}-{message['MessageId']}-{subscriber}.eml"


def stamp(moment: datetime) -> str:
    """`2026-01-01T00:00:00.000Z`."""
    moment = moment.astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
