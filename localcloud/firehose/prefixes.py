"""The names of S3 objects: prefixes with expressions in them, and what follows.

    ingestion/raw/day=!{partitionKeyFromQuery:day}/  ->  ingestion/raw/day=2026-11-22/
    errors/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd}/  ->  errors/metadata-extraction-failed/2026/11/22/

Sources: "Understand custom prefixes for Amazon S3 Objects" and "Configure Amazon S3 object name format" in the Amazon
Data Firehose Developer Guide. Times are those of arrival of an object's oldest record, in UTC.
"""

from __future__ import annotations

import random
import re
import string
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from localcloud.firehose.errors import PartitionError

_EXPRESSION = re.compile(r"!\{([^:{}]*):([^{}]*)\}")
_DATE_PART = re.compile(r"'(?:[^']|'')*'|([A-Za-z])\1*|[^A-Za-z']+")
_DEFAULT_TIME = "!{timestamp:yyyy/MM/dd/HH}/"
_QUERY_KEY, _LAMBDA_KEY, _TIMESTAMP, _FIREHOSE = (
    "partitionKeyFromQuery", "partitionKeyFromLambda", "timestamp", "firehose",
)  # fmt: skip
_ERROR_TYPE, _RANDOM = "error-output-type", "random-string"
# Letters of Java's DateTimeFormatter, by how often they stand together; the others are refused.
_DATE_LETTERS: Mapping[str, str] = {
    **dict.fromkeys(("yyyy", "uuuu"), "%Y"),
    **dict.fromkeys(("yy", "uu"), "%y"),
    "MM": "%m",
    "dd": "%d",
    "DDD": "%j",
    "HH": "%H",
    "mm": "%M",
    "ss": "%S",
    **dict.fromkeys("MdHms", ""),
}
_MOST_CHARACTERS = 512
_RANDOM_LENGTH = 11


class PrefixError(ValueError):
    """A prefix that cannot be evaluated; the message names the expression."""


@dataclass(frozen=True)
class Prefix:
    """A prefix, parsed."""

    text: str
    parts: tuple[str | tuple[str, str], ...]
    """Plain text, or namespace and value."""

    @classmethod
    def parse(cls, text: str) -> Prefix:
        """Raises PrefixError."""
        parts: list[str | tuple[str, str]] = []
        end = 0
        for found in _EXPRESSION.finditer(text):
            parts += [text[end : found.start()], (found[1], found[2])]
            end = found.end()
        parts.append(text[end:])
        for part in parts:
            if isinstance(part, str) and "!{" in part:
                raise PrefixError(f"`!{{` may only begin an expression `!{{namespace:value}}`; got {text!r}")
            if isinstance(part, tuple):
                _check(*part)
        return cls(text, tuple(part for part in parts if part))

    def uses(self, namespace: str, value: str | None = None) -> bool:
        """Whether there is an expression of a namespace, and of that value where one is given."""
        return any(space == namespace and value in (None, found) for space, found in self._expressions())

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that records are partitioned by, in their order."""
        return tuple(dict.fromkeys(value for space, value in self._expressions() if space == _QUERY_KEY))

    @property
    def is_plain(self) -> bool:
        """Whether there is no expression."""
        return not any(self._expressions())

    def evaluate(self, arrived_at: datetime, keys: Mapping[str, str], error_type: str = "") -> str:
        """The prefix of an object. Raises PartitionError if it is too long."""
        found = "".join(
            part if isinstance(part, str) else _value(*part, arrived_at, keys, error_type) for part in self.parts
        )
        if len(found) > _MOST_CHARACTERS:
            raise PartitionError(
                f"The prefix has {len(found)} characters when it is evaluated; at most {_MOST_CHARACTERS} are allowed."
            )
        return found

    def _expressions(self) -> Iterator[tuple[str, str]]:
        return (part for part in self.parts if isinstance(part, tuple))


def for_records(text: str, *, partitioned: bool) -> Prefix:
    """The prefix of delivered objects. Where nothing else does, the time tells them apart. Raises PrefixError."""
    found = Prefix.parse(text)
    if found.uses(_FIREHOSE, _ERROR_TYPE):
        raise PrefixError("Prefix cannot contain !{firehose:error-output-type}; ErrorOutputPrefix can")
    if partitioned and not found.keys:
        raise PrefixError(f"Prefix must have a !{{partitionKeyFromQuery:…}} with dynamic partitioning; got {text!r}")
    if found.keys and not partitioned:
        raise PrefixError(
            f"Prefix has partition keys ({', '.join(found.keys)}), and DynamicPartitioningConfiguration is not enabled"
        )
    if not partitioned and not found.uses(_TIMESTAMP):
        return Prefix.parse(text + _DEFAULT_TIME)
    return found


def for_errors(text: str | None, prefix: str, *, partitioned: bool) -> Prefix:
    """The prefix of objects that hold what could not be delivered. Raises PrefixError."""
    if text is None:
        if partitioned or not Prefix.parse(prefix).is_plain:
            raise PrefixError("ErrorOutputPrefix is required where Prefix has expressions")
        text = prefix
    found = Prefix.parse(text)
    if found.keys:
        raise PrefixError("ErrorOutputPrefix cannot contain !{partitionKeyFromQuery:…}")
    if found.is_plain:
        return Prefix.parse(f"{text}!{{{_FIREHOSE}:{_ERROR_TYPE}}}/{_DEFAULT_TIME}")
    if not found.uses(_FIREHOSE, _ERROR_TYPE):
        raise PrefixError(f"ErrorOutputPrefix must contain !{{firehose:error-output-type}}; got {text!r}")
    return found


def suffix(name: str, version: str, arrived_at: datetime, extension: str) -> str:
    """What follows the prefix: a new one every time."""
    moment = arrived_at.astimezone(UTC)
    return f"{name}-{version}-{moment:%Y-%m-%d-%H-%M-%S}-{uuid.uuid4()}{extension}"


def _check(namespace: str, value: str) -> None:
    shown = f"!{{{namespace}:{value}}}"
    if namespace == _LAMBDA_KEY:
        raise PrefixError(f"localcloud's Firehose has no functions that transform records, and so no {shown}")
    if namespace == _FIREHOSE and value not in (_ERROR_TYPE, _RANDOM):
        raise PrefixError(f"there is no {shown}; there are error-output-type and random-string")
    if namespace == _TIMESTAMP:
        _strftime(value)
    elif namespace not in (_FIREHOSE, _QUERY_KEY) or not value:
        raise PrefixError(f"{shown} is no expression of timestamp, firehose or partitionKeyFromQuery")


def _value(namespace: str, value: str, arrived_at: datetime, keys: Mapping[str, str], error_type: str) -> str:
    if namespace == _TIMESTAMP:
        moment = arrived_at.astimezone(UTC)
        return "".join(text if is_plain else _date(moment, text) for text, is_plain in _strftime(value))
    if namespace == _QUERY_KEY:
        return keys[value]
    if value == _ERROR_TYPE:
        return error_type
    return "".join(random.choices(string.ascii_letters + string.digits, k=_RANDOM_LENGTH))


def _date(moment: datetime, letters: str) -> str:
    known = _DATE_LETTERS[letters]
    if known:
        return moment.strftime(known)
    values = {"M": moment.month, "d": moment.day, "H": moment.hour, "m": moment.minute, "s": moment.second}
    return str(values[letters])


def _strftime(pattern: str) -> list[tuple[str, bool]]:
    """The parts of a pattern, and whether each is plain text. Raises PrefixError."""
    found: list[tuple[str, bool]] = []
    end = 0
    for part in _DATE_PART.finditer(pattern):
        text = part[0]
        end = part.end()
        if text.startswith("'"):
            found.append((text[1:-1].replace("''", "'") or "'", True))
        elif not part[1]:
            found.append((text, True))
        elif text in _DATE_LETTERS:
            found.append((text, False))
        else:
            letters = ", ".join(sorted(_DATE_LETTERS))
            raise PrefixError(f"localcloud has no {text!r} in !{{timestamp:{pattern}}}; it has {letters}")
    if end < len(pattern) or not pattern:
        raise PrefixError(f"!{{timestamp:{pattern}}} is no pattern of Java's DateTimeFormatter")
    return found
