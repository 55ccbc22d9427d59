"""What a check says: how it stands, and what to do."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BAD", "GOOD", "HINT", "UNCHECKED", "Finding", "bad", "good", "hint", "unchecked"]

# As it must be · something will fail · nothing fails yet, or only something that one need not use · nobody could tell.
GOOD, BAD, HINT, UNCHECKED = "good", "bad", "hint", "not checked"


@dataclass(frozen=True)
class Finding:
    """The outcome of a check: its name, `good`, `bad`, `hint` or `not checked`, what was found, and what to do."""

    check: str
    verdict: str
    found: str
    do: str = ""


def good(check: str, found: str) -> Finding:
    return Finding(check, GOOD, found)


def bad(check: str, found: str, do: str) -> Finding:
    return Finding(check, BAD, found, do)


def hint(check: str, found: str, do: str) -> Finding:
    return Finding(check, HINT, found, do)


def unchecked(check: str, why: str, do: str = "") -> Finding:
    return Finding(check, UNCHECKED, why, do)
