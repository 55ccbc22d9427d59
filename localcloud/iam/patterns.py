"""How a policy's patterns match: `*` and `?` in actions, resources and condition values, and `${…}` before that.

Source: "IAM JSON policy elements: Resource" and "IAM policy elements: Variables and tags" in the IAM User Guide.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

Values = Callable[[str], Sequence[str] | None]
"""What a condition key has in a call; None where it has nothing."""

_VARIABLE = re.compile(r"\$\{\s*([^},]+?)\s*(?:,\s*'([^']*)'\s*)?\}")
_THEMSELVES = {"*": "*", "?": "?", "$": "$"}
_ARN_PARTS = 6
# Stand in for the wildcards that a variable's value holds, which are none.
_STAR, _MARK = "\ue000", "\ue001"


@lru_cache(maxsize=16_384)
def _compiled(pattern: str, ignore_case: bool) -> re.Pattern[str]:
    text = "".join(_regular(part, ".") for part in re.split(r"([*?])", pattern))
    return re.compile(text, re.DOTALL | (re.IGNORECASE if ignore_case else 0))


@lru_cache(maxsize=16_384)
def _compiled_arn(pattern: str) -> re.Pattern[str]:
    """An asterisk matches within one of an ARN's first five parts, or within all of the sixth."""
    *head, tail = pattern.split(":", _ARN_PARTS - 1)
    parts = ["".join(_regular(one, "[^:]") for one in re.split(r"([*?])", part)) for part in head]
    parts.append("".join(_regular(one, ".") for one in re.split(r"([*?])", tail)))
    return re.compile(":".join(parts), re.DOTALL)


def _regular(part: str, any_character: str) -> str:
    if part == "*":
        return f"{any_character}*"
    if part == "?":
        return any_character
    return re.escape(part.replace(_STAR, "*").replace(_MARK, "?"))


def matches(pattern: str, text: str, *, ignore_case: bool = False) -> bool:
    """Whether a text fits a pattern as a whole."""
    return _compiled(pattern, ignore_case).fullmatch(text) is not None


def matches_arn(pattern: str, arn: str) -> bool:
    """Whether an ARN, or the `*` of an action that has no resource, fits a pattern of ARNs, part by part."""
    if pattern == "*":
        return True
    return pattern.count(":") >= _ARN_PARTS - 1 and _compiled_arn(pattern).fullmatch(arn) is not None


def has_variables(pattern: str) -> bool:
    """Whether a pattern depends on the call."""
    return "${" in pattern


def filled(pattern: str, values: Values) -> str | None:
    """A pattern with its variables' values in it; None where one has no value, or several, and no default."""
    if not has_variables(pattern):
        return pattern
    missing = False

    def value(found: re.Match[str]) -> str:
        nonlocal missing
        name, default = found[1], found[2]
        if name in _THEMSELVES:
            given: str | None = name
        else:
            several = values(name)
            given = several[0] if several is not None and len(several) == 1 else default
        if given is None:
            missing = True
            return ""
        return given.replace("*", _STAR).replace("?", _MARK)

    text = _VARIABLE.sub(value, pattern)
    return None if missing else text


def plain(text: str) -> str:
    """A filled text that is no pattern: what stood in for wildcards are they again."""
    return text.replace(_STAR, "*").replace(_MARK, "?")
