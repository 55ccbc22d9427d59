"""What makes, changes and deletes a project's infrastructure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from localcloud.store import Document

Client = Any
MOST_MESSAGE = 4096


@dataclass(frozen=True)
class Seen:
    """How far the infrastructure is."""

    state: str
    """`working`, `done`, `failed`, or `gone` where there is none, or no more."""
    message: str
    """For people; of a failure, its first reason."""


class Provider(Protocol):
    """Works for a project; each call is made with the rights of who called SageMaker last."""

    service: str
    """The service that it calls, by botocore name."""

    def create(self, client: Client, project: Mapping[str, Any], tags: Sequence[Mapping[str, str]]) -> Document:
        """Begin to make it; gives what is to be kept of it in the project's document. Doing it twice is doing it once,
        as the operation's token tells. Raises ClientError."""
        ...

    def update(self, client: Client, project: Mapping[str, Any], tags: Sequence[Mapping[str, str]]) -> Document:
        """Begin to change it to what the project's document asks for. Raises ClientError."""
        ...

    def delete(self, client: Client, project: Mapping[str, Any]) -> Document:
        """Begin to delete it; that it is not there is no error. Raises ClientError."""
        ...

    def look(self, client: Client, project: Mapping[str, Any]) -> Seen:
        """How far it is. Raises ClientError."""
        ...

    def details(self, project: Mapping[str, Any]) -> Document:
        """The members of DescribeProject that are its own."""
        ...


def one_line(text: str) -> str:
    """A message as its shape takes it: no line breaks, not too long, not empty."""
    return re.sub(r"\s+", " ", text).strip()[:MOST_MESSAGE] or "no reason is given"
