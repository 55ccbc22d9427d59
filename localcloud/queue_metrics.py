"""How many messages are in SQS's queues, once a minute, as metrics that alarms can be on.

AWS measures a queue for six hours after it was last used (SQS Developer Guide, "Available CloudWatch metrics for
Amazon SQS"), and so for six hours after it last had a message here. What is due each minute costs something each
minute: while no queue has had a message for so long, nothing is due, and a queue is asked only where its numbers may
have changed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from botocore.exceptions import ClientError

from localcloud.context import Context
from localcloud.leaf import LeafUnavailable
from localcloud.signals import Measurement
from localcloud.timetable import Entry

_LOG = logging.getLogger(__name__)
_MINUTE = 60
_ACTIVE = timedelta(hours=6)
_VISIBLE = "ApproximateNumberOfMessagesVisible"
_METRICS: Mapping[str, str] = {
    "ApproximateNumberOfMessages": _VISIBLE,
    "ApproximateNumberOfMessagesNotVisible": "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed": "ApproximateNumberOfMessagesDelayed",
}
"""Metrics by the attribute of a queue."""
_NONE = dict.fromkeys(_METRICS.values(), 0)


class QueueMetrics:
    """Measures the queues of the leaf. All methods may be called from any thread."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._urls: list[str] = []
        self._counts: dict[str, Mapping[str, int]] = {}
        self._active_until: dict[str, datetime] = {}
        self._seen = (-1, -1)
        self._armed: Entry | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Measure what an earlier process has left in queues."""
        self.stirred()

    def stirred(self) -> None:
        """Something may have come into a queue, or gone from it: measure at the next full minute."""
        if self._armed is not None:
            return
        with self._lock:
            if self._armed is None:
                begun = int(self._context.clock.now().timestamp()) // _MINUTE
                moment = datetime.fromtimestamp((begun + 1) * _MINUTE, UTC)
                self._armed = self._context.timetable.at(moment, self._measure, "measure queues")

    def _measure(self) -> None:
        with self._lock:
            self._armed = None
        try:
            self._look()
        except (ClientError, LeafUnavailable) as error:
            _LOG.warning("the queues are not measured at this minute: %s", error)
        now = self._context.clock.now()
        for url, counts in self._counts.items():
            if any(counts.values()):
                self._active_until[url] = now + _ACTIVE
        active = [url for url in self._urls if self._active_until.get(url, now) > now]
        self._context.signals.measurements(
            [
                Measurement("AWS/SQS", name, count, "Count", now, {"QueueName": url.rpartition("/")[2]})
                for url in active
                for name, count in self._counts.get(url, _NONE).items()
            ]
        )
        if active:
            self.stirred()

    def _look(self) -> None:
        """Ask for what may be another number than it was."""
        leaf = self._context.leaf
        # Read before the queues are: what comes meanwhile is looked for at the next minute. Topics fill queues, too.
        changes = (leaf.changes("sqs"), leaf.changes("sns"))
        sqs = leaf.client("sqs")
        if changes != self._seen:
            pages = sqs.get_paginator("list_queues").paginate()
            self._urls = [url for page in pages for url in page.get("QueueUrls", [])]
            for gone in self._counts.keys() - set(self._urls):
                del self._counts[gone]
                self._active_until.pop(gone, None)
        now = self._context.clock.now()
        for url in self._urls:
            if changes == self._seen and not self._may_change(url, now):
                continue
            try:
                found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(_METRICS)).get("Attributes", {})
            except ClientError:
                # Deleted meanwhile.
                found = {}
            self._counts[url] = {metric: int(found.get(name, 0)) for name, metric in _METRICS.items()}
        self._seen = changes

    def _may_change(self, url: str, now: datetime) -> bool:
        """Whether a queue's numbers may be others than they were without a call: messages become visible again, and,
        which is looked for once an hour, their time is over."""
        counts = self._counts.get(url, _NONE)
        waiting = any(count for name, count in counts.items() if name != _VISIBLE)
        return waiting or (bool(counts[_VISIBLE]) and now.minute == 0)
