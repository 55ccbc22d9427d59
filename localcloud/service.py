"""What a service is, to the dispatcher."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from localcloud.context import Request

Handler = Callable[[Request], dict[str, Any]]
"""Takes a valid request, gives the response's members by the names in botocore's model.

It runs on a thread of a pool, beside other handlers. It raises `ServiceError` for an answer that is an error, and
returns only when whatever it changed is committed. Timestamps in a response are aware datetimes, blobs are bytes; a
member that is None is left out. The dispatcher checks the response against the model: an unknown member or a wrong type
is a bug, answered with InternalFailure and logged.
"""


class Service(Protocol):
    """One AWS service that localcloud owns."""

    @property
    def name(self) -> str:
        """The service's name in botocore, for example `sagemaker`."""
        ...

    @property
    def operations(self) -> Mapping[str, Handler]:
        """What is implemented, by operation name. The model's other operations answer UnknownOperationException."""
        ...

    def start(self) -> None:
        """Take up the state that an earlier process left in the store.

        Called once, before the first request. A call of `context.leaf` in here waits until moto is imported and its
        journal replayed, which delays readiness by seconds: do what needs the leaf on a thread of your own.
        """
        ...

    def stop(self) -> None:
        """End all work, so that no process or thread of it is left. Called once, when no more requests come in."""
        ...
