"""How a query ends that does not succeed."""

from __future__ import annotations


class QueryError(Exception):
    """A query that cannot run; the message is the StateChangeReason."""


class Interrupted(Exception):
    """A query that was stopped."""
