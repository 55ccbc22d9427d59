"""How a model server answers a request that it cannot serve: a status and JSON, never a traceback."""

import json
from typing import Any

_SHOWN_CHARACTERS = 60


class RequestError(Exception):
    """A mistake in a request.

    Attributes:
        status: HTTP status, 400 unless another says more (413 too large, 415 content type).
        message: what was found and what was expected.
        field: path of the field, such as `[3].k`; None when the mistake lies in no single field.
    """

    def __init__(self, message: str, field: str | None = None, status: int = 400) -> None:
        super().__init__(message if field is None else f"{field}: {message}")
        self.message = message
        self.field = field
        self.status = status

    def document(self) -> dict[str, Any]:
        """The answer's body."""
        return error_document(self.message, self.field)


def error_document(message: str, field: str | None = None) -> dict[str, Any]:
    """The body of every answer that is not 200."""
    return {"error": {"message": message, "field": field}}


def shown(value: object) -> str:
    """A value from a JSON request, fit for a message: as its sender wrote it, short, and on one line."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except RecursionError:  # writing nests a little deeper than reading did
        return "nested too deeply"
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
