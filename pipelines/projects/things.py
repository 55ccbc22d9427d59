"""What a project may consist of, as something that can be found and removed.

Each kind finds its things by names that are the project's own alone: whole names, or a beginning that ends with what no
project's name can go on with. `fraud` finds nothing of `fraud-cards`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.exceptions import ClientError

from pipelines.names import MONITORED, Names
from pipelines.session import client

__all__ = ["WORKLOADS", "Account", "Kind", "Thing", "is_absent", "unless_absent"]

WORKLOADS = tuple(MONITORED)
# How services say that there is no such thing. SageMaker has but one code for it, and for every other mistake.
_ABSENT_CODE = re.compile(r"NotFound|NotExist|DoesNotExist|NoSuch|^404$")
_ABSENT_MESSAGE = re.compile(r"could not find|does not exist|not found|cannot find|no scalable target", re.IGNORECASE)


@dataclass(frozen=True)
class Thing:
    """One thing in the account: what it is, its name, and what a person may want to know of it."""

    kind: str
    name: str
    note: str = ""


@dataclass(frozen=True)
class Kind:
    """Things of one kind.

    Attributes:
        title: what people call them.
        find: those that there are, by calls that only read.
        remove: removes one, and waits until it is gone; one that is gone already is no mistake.
        data: whether they are what `--keep-data` keeps: what a project has learned or been given, not what it does.
    """

    title: str
    find: Callable[[Account], Iterator[Thing]]
    remove: Callable[[Account, Thing], None]
    data: bool = False


@dataclass(frozen=True)
class Account:
    """A project's names, and clients for where it is."""

    session: boto3.Session
    names: Names
    poll_seconds: float
    _clients: dict[str, Any] = field(default_factory=dict, repr=False)

    def client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = client(self.session, service)
        return self._clients[service]

    def pages(self, service: str, operation: str, key: str, **arguments: Any) -> Iterator[Any]:
        """What an operation lists; nothing where what is asked about does not exist."""
        try:
            for page in self.client(service).get_paginator(operation).paginate(**arguments):
                yield from page.get(key, [])
        except ClientError as error:
            if not is_absent(error):
                raise


def is_absent(error: ClientError) -> bool:
    """Whether a service has said that there is no such thing."""
    said = error.response["Error"]
    if _ABSENT_CODE.search(said["Code"]):
        return True
    return said["Code"].startswith("Validation") and bool(_ABSENT_MESSAGE.search(said["Message"]))


@contextmanager
def unless_absent() -> Iterator[None]:
    """Pass over what a service says when there is no such thing."""
    try:
        yield
    except ClientError as error:
        if not is_absent(error):
            raise
