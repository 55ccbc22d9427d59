"""How a request is refused: a status and words for the caller, without inside stories."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

MOST_MISTAKES = 100  # an answer has its limit, and a request of 1 MB can be wrong in more places

_SHOWN_CHARACTERS = 60
_RETRY_AFTER_SECONDS = 5


@dataclass(frozen=True)
class Mistake:
    """One mistake in a request.

    Attributes:
        field: its path, such as `inputs[3].k`.
        message: what was found and what was expected.
    """

    field: str
    message: str


class Refused(Exception):
    """A request that is not answered as it wished.

    Attributes:
        message: for the caller.
        mistakes: that were found in it.
        status: HTTP's.
    """

    def __init__(
        self, message: str, mistakes: Sequence[Mistake] = (), status: HTTPStatus = HTTPStatus.BAD_REQUEST
    ) -> None:
        super().__init__(message)
        self.message, self.mistakes, self.status = message, tuple(mistakes), status

    @property
    def headers(self) -> dict[str, str]:
        """Of the answer, beside those that all answers have."""
        if self.status == HTTPStatus.SERVICE_UNAVAILABLE:
            return {"Retry-After": str(_RETRY_AFTER_SECONDS)}
        return {}

    def document(self) -> dict[str, Any]:
        """The body of the answer."""
        shown = [{"field": one.field, "message": one.message} for one in self.mistakes[:MOST_MISTAKES]]
        return {"message": self.message, **({"errors": shown} if shown else {})}


def mistaken(mistakes: Sequence[Mistake]) -> Refused:
    """The refusal of a request for mistakes in its fields; whoever has found more than are listed may stop there."""
    count = len(mistakes)
    if count > MOST_MISTAKES:
        said = f"The request has at least {count} mistakes; the first {MOST_MISTAKES} are listed"
        return Refused(said, mistakes)
    return Refused(f"The request has {count} mistake{'s' if count > 1 else ''}", mistakes)


def unavailable(message: str) -> Refused:
    """The refusal of a request that could be answered at another time."""
    return Refused(message, status=HTTPStatus.SERVICE_UNAVAILABLE)


def shown(value: object) -> str:
    """A value from a JSON request, fit for a message: as its sender wrote it, short, and on one line."""
    try:
        text = json.dumps(value)  # ASCII only: half of a surrogate pair could not be sent back
    except RecursionError:  # writing nests a little deeper than reading did
        return "nested too deeply"
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
