"""What a step gives back: a status that the pipeline's conditions decide by, and the reason when it is not `Ok`."""

from __future__ import annotations

OK, FAILED = "Ok", "Failed"
REASON_LENGTH = 1000  # two of them, and some words, stand in the message of a Fail step


class Refused(Exception):
    """A step cannot do its work, for a reason that a person can understand; the deployment ends."""


def ok(reason: str = "", **outputs: str) -> dict[str, str]:
    """The result of a step that has done its work."""
    return {"Status": OK, "Reason": reason, **outputs}


def failed(reason: str, **outputs: str) -> dict[str, str]:
    """The result of a step that has not."""
    return {"Status": FAILED, "Reason": reason[:REASON_LENGTH], **outputs}
