"""The stream's verbs where there is no stream, and what they are given that makes no sense."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Mlops = Callable[..., tuple[int, str, str]]

STACK = "on this machine `mlops up`"


@pytest.mark.parametrize(
    "words",
    [
        ("stream", "--once"),
        ("stream", "--json"),
        ("stream",),
        ("stream", "--start"),
        ("stream", "--stop"),
        ("replay", "--from", "2026-11-22T10:00Z", "--to", "2026-11-22T12:00Z"),
        ("redrive",),
    ],
)
def test_without_a_stack_a_verb_says_what_makes_it(project: Any, mlops: Mlops, words: tuple[str, ...]) -> None:
    status, out, err = mlops(project.root, *words)
    assert (status, out) == (1, "")
    assert STACK in " ".join(err.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("stream", "--start", "--stop"), "opposites"),
        (("replay", "--from", "soon", "--to", "2026-11-22T12:00Z"), "--from is `soon`, expected ISO 8601"),
        (("replay", "--from", "2026-11-22T12:00:30Z", "--to", "2026-11-22T13:00Z"), "expected a whole minute"),
        (("replay", "--from", "2026-11-22T12:00Z", "--to", "2026-11-22T12:00Z"), "expected --to later than --from"),
        (("replay", "--from", "9998-11-22T12:00Z", "--to", "9999-11-22T12:00Z"), "expected none after now"),
        (("replay", "--from", "0001-01-01T00:00+14:00", "--to", "9999-11-22T12:00Z"), "expected a whole minute"),
        (("stream-demo", "--minutes", "0"), "--minutes"),
    ],
)
def test_what_makes_no_sense_is_refused(project: Any, mlops: Mlops, words: tuple[str, ...], said: str) -> None:
    status, out, err = mlops(project.root, *words)
    assert (status, out) == (2, "")
    assert said in err
