"""What the dispatcher hands to services: the surroundings once, and a request at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localcloud.clock import Clock
from localcloud.signals import Signals
from localcloud.store import Store

if TYPE_CHECKING:
    from localcloud.calls import Calls
    from localcloud.clients import Clients
    from localcloud.iam.authority import Authority
    from localcloud.leaf import Leaf
    from localcloud.principals import Principals
    from localcloud.timetable import Timetable
    from localcloud.web import Web


@dataclass(frozen=True)
class Context:
    """The surroundings of a service, the same for its whole life."""

    store: Store
    leaf: Leaf
    clock: Clock
    state_dir: Path
    """The state folder. A service keeps its files in a folder of its own name below it."""
    region: str
    account_id: str
    endpoint_url: str
    """What a job gets as `AWS_ENDPOINT_URL`, for example `http://127.0.0.1:4610`."""
    timetable: Timetable
    """What is due later."""
    signals: Signals
    """What services tell each other."""
    principals: Principals
    """The access keys of roles."""
    clients: Clients
    """boto3 clients of localcloud itself, for services that call others as a user would. Not before the start."""
    calls: Calls
    """The record of every call."""
    authority: Authority
    """What says whether a role may do something that a service does for it without a call."""
    web: Web
    """Where services answer that have addresses of their own."""


@dataclass(frozen=True)
class Request:
    """One call of an owned service, parsed and valid by botocore's model of its input."""

    service: str
    """The botocore name of the service, for example `sagemaker`."""
    operation: str
    """The name in the model, for example `CreatePipeline`."""
    params: dict[str, Any]
    """What the client passed: aware datetimes for timestamps, bytes for blobs."""
    region: str = "eu-west-1"
    access_key: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """HTTP headers, names in lower case."""
