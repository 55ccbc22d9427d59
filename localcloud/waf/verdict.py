"""What a web ACL says of a request."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """Whether a request may pass."""

    allowed: bool
    rule: str | None = None
    """The rule that ended the look at it; None: the default action, or no web ACL."""
    status: int = 403
    """Of the answer, where it may not pass and the rule says (a custom response); 403 is the gateway's own."""
    body: bytes | None = None
    """Of a custom response, which may be empty; None: the answer is the gateway's own."""
    headers: tuple[tuple[str, str], ...] = ()
    """Of a custom response; the body's content type among them."""


PASSED = Verdict(True)
