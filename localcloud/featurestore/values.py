"""What a feature group's records may hold: names, types, and when something happened.

Values travel as text. They are checked as the service does before it takes a record, so that whatever is in the store
can become a column of its type later.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from localcloud.errors import ServiceError

Record = list[tuple[str, str]]
"""A record's features and their values, in the order in which the client gave them."""

_INTEGER = re.compile(r"[+-]?[0-9]+")
_FRACTION = re.compile(r"[+-]?(NaN|Infinity|([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?)")
_UNIX_SECONDS = re.compile(r"[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?")
_ISO = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?Z")
_INTEGER_RANGE = range(-(2**63), 2**63)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_END_OF_TIME = 253_402_300_800  # the year 10000, in seconds
_MICROSECOND = timedelta(microseconds=1)

_TTL_SECONDS = {"Seconds": 1, "Minutes": 60, "Hours": 3600, "Days": 86_400, "Weeks": 604_800}


def invalid(message: str) -> ServiceError:
    """The record, or what is asked of it, is not one that the group can have."""
    return ServiceError("ValidationError", f"Validation Error: {message}", 400)


@dataclass(frozen=True)
class Schema:
    """A feature group as its records see it. Made once per version of the group."""

    group: str
    """The group's name."""
    key: str
    """What its records are kept under: the ARN, and when the group of that name was made."""
    identifier: str
    """The name of the feature that identifies a record."""
    event_time: str
    """The name of the feature that says when a record happened."""
    types: Mapping[str, str]
    """`Integral`, `Fractional` or `String`, by feature name."""
    online: bool
    offline: bool
    ttl_microseconds: int | None

    def check(self, given: Sequence[Mapping[str, Any]]) -> tuple[Record, str, int]:
        """The record, its identifier, and its event time in microseconds since 1970.

        Raises ServiceError (ValidationError) for the first feature that is unknown, given twice, missing, or not of its
        type.
        """
        values: dict[str, str] = {}
        for feature in given:
            name = feature["FeatureName"]
            type_name = self.types.get(name)
            if type_name is None:
                raise invalid(
                    f"Feature names [{name}] are not in the FeatureDefinitions of the FeatureGroup [{self.group}];"
                    f" it has [{', '.join(self.types)}]"
                )
            if name in values:
                raise invalid(f"The feature [{name}] is given twice in the Record; names must be unique")
            if "ValueAsStringList" in feature:
                raise invalid(f"The feature [{name}] has no CollectionType; give its value as ValueAsString")
            value = feature.get("ValueAsString")
            if value is None:
                raise invalid(f"The feature [{name}] has no value; give ValueAsString, or leave the feature out")
            if type_name == "Integral":
                if _INTEGER.fullmatch(value) is None or int(value) not in _INTEGER_RANGE:
                    raise _unparsable(name, value, "an Integral (a whole number of 64 bits)")
            elif type_name == "Fractional" and _FRACTION.fullmatch(value) is None:
                raise _unparsable(name, value, "a Fractional (a number of 64 bits)")
            values[name] = value
        for name in (self.identifier, self.event_time):
            if not values.get(name):
                what = "RecordIdentifier" if name == self.identifier else "EventTime"
                raise invalid(f"The {what} feature [{name}] of the FeatureGroup [{self.group}] has no value")
        return list(values.items()), values[self.identifier], self.moment(values[self.event_time])

    def moment(self, text: str) -> int:
        """An event time in microseconds since 1970. Raises ServiceError (ValidationError)."""
        if self.types[self.event_time] == "String":
            found = _ISO.fullmatch(text)
            try:
                if found is not None:
                    whole = datetime.fromisoformat(found[1]).replace(tzinfo=UTC)
                    return (whole - _EPOCH) // _MICROSECOND + int((found[2] or "0").ljust(6, "0")[:6])
            except ValueError:
                pass  # right in form, but no such day or hour
            expected = "ISO-8601, as yyyy-MM-dd'T'HH:mm:ssZ or yyyy-MM-dd'T'HH:mm:ss.SSSZ"
        else:
            if _UNIX_SECONDS.fullmatch(text):
                seconds = Decimal(text)
                if seconds < _END_OF_TIME:
                    return int(seconds * 1_000_000)
            expected = "a Unix timestamp in seconds"
        raise invalid(f"The EventTime feature [{self.event_time}] is [{text[:100]}], expected {expected}")

    def require_features(self, names: Sequence[str] | None) -> None:
        """Raise ServiceError (ValidationError) if the group lacks one of the features that are asked for."""
        unknown = [name for name in names or () if name not in self.types]
        if unknown:
            raise invalid(
                f"Feature names [{', '.join(unknown)}] are not in the FeatureDefinitions of the FeatureGroup"
                f" [{self.group}]; it has [{', '.join(self.types)}]"
            )


def _unparsable(name: str, value: str, expected: str) -> ServiceError:
    return invalid(f"The value of the feature [{name}] is [{value[:100]}], expected {expected}")


def ttl_microseconds(duration: Mapping[str, Any] | None) -> int | None:
    """A TtlDuration's length; None where there is none, or an emptied one. Raises ServiceError (ValidationError)."""
    if not duration:
        return None
    if "Unit" not in duration or "Value" not in duration:
        raise invalid("A TtlDuration needs both Unit and Value")
    length: int = _TTL_SECONDS[duration["Unit"]] * 1_000_000 * duration["Value"]
    return length


def microseconds(moment: datetime) -> int:
    """An aware datetime as microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(value: int) -> datetime:
    """The aware datetime of so many microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=value)
