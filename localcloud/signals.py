"""What services tell each other: events, for EventBridge, and measurements, for CloudWatch.

A service that emits does not know who listens, and a listener not who emits. A listener takes over what it is told and
returns at once; what it does with it happens on threads of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Event:
    """An event of an AWS service, as EventBridge's default bus gets it (account and region are added there)."""

    source: str
    """For example `aws.sagemaker`."""
    detail_type: str
    detail: Mapping[str, Any]
    time: datetime
    resources: Sequence[str] = ()
    id: str | None = None
    """The event's own, where its service knows one event from another told twice."""


@dataclass(frozen=True)
class Measurement:
    """One value of a CloudWatch metric."""

    namespace: str
    name: str
    value: float
    unit: str
    """As in PutMetricData: `Count`, `Microseconds`, `Percent`, `None` …"""
    time: datetime
    dimensions: Mapping[str, str]


class Signals:
    """Hands on what is emitted to those who asked for it. Listeners are added before the services start."""

    def __init__(self) -> None:
        self._on_event: list[Callable[[Event], None]] = []
        self._on_measurement: list[Callable[[Sequence[Measurement]], None]] = []

    def on_event(self, listener: Callable[[Event], None]) -> None:
        self._on_event.append(listener)

    def on_measurement(self, listener: Callable[[Sequence[Measurement]], None]) -> None:
        self._on_measurement.append(listener)

    def event(self, event: Event) -> None:
        """Tell of an event, after what it tells of is committed."""
        for listener in self._on_event:
            listener(event)

    def measurements(self, measurements: Sequence[Measurement]) -> None:
        """Tell of measurements."""
        for listener in self._on_measurement:
            listener(measurements)
