"""The documents that callers send, and their mistakes: all at once, as far as they are listed, each by its field.

The schemas here are those of openapi.yml, and the limits those of the model's own server (a record there is the same,
with the stored features beside it).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, pre_load

from seed_code.api.inference_ids import MOST_INPUTS
from seed_code.api.refusals import MOST_MISTAKES, Mistake, mistaken, shown

LARGEST = 10**15
MOST_DAYS = 90
LONGEST_NAME = 200
MOST_MEMBERS = 20
_SHOWN_FIELD = 100


@dataclass(frozen=True)
class Record:
    """One cardholder of a request.

    Attributes:
        values: for the model: usage_freq, amount_spend, uniq_merchant and k.
        name: the holder's, None when the caller gives none.
    """

    values: Mapping[str, Any]
    name: str | None


def prediction(document: Any) -> Record:
    """The record of a POST /predictions.

    Raises:
        Refused: naming every mistake.
    """
    return _record(_load(_Prediction, document)["input"])


def batch(document: Any) -> list[Record]:
    """The records of a POST /predictions:batch.

    Raises:
        Refused: naming every mistake; where there are more than are listed, the records after them are not looked at.
    """
    return [_record(one) for one in _load(_Batch, document)["inputs"]]


def feedback(document: Any) -> tuple[str, bool]:
    """The inference id and whether the holder has purchased, of a POST /feedback.

    Raises:
        Refused: naming every mistake.
    """
    found = _load(_Feedback, document)
    return found["inference_id"], found["purchased"]


class _Whole(fields.Field[int]):
    def __init__(self, least: int, most: int) -> None:
        super().__init__(required=True)
        self._least, self._most = least, most
        self.error_messages["null"] = self._message(None)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        # `type(...) is` throughout: bool is a subclass of int, and true is not a count.
        if type(value) is not int or not self._least <= value <= self._most:
            raise ValidationError(self._message(value))
        return value

    def _message(self, value: Any) -> str:
        return f"is {shown(value)}; expected an integer from {self._least} to {self._most}"


class _Amount(fields.Field[float]):
    def _deserialize(self, value: Any, *_: Any, **__: Any) -> float:
        if type(value) not in (int, float) or not 0 <= value <= LARGEST:
            raise ValidationError(_amount(value))
        return float(value)


class _Name(fields.Field[str]):
    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        # The value is never shown.
        if type(value) is not str or not 1 <= len(value) <= LONGEST_NAME or not _is_text(value):
            raise ValidationError(_NAME)
        return value


class _Truth(fields.Field[bool]):
    def _deserialize(self, value: Any, *_: Any, **__: Any) -> bool:
        if type(value) is not bool:
            raise ValidationError(_truth(value))
        return value


class _Id(fields.Field[str]):
    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        if type(value) is not str:
            raise ValidationError(_id(value))
        return value


class _Inputs(fields.List[Any]):
    def _deserialize(self, value: Any, *_: Any, **__: Any) -> list[Any]:
        if type(value) is not list:
            raise ValidationError(_INPUTS)
        if not 1 <= len(value) <= MOST_INPUTS:
            raise ValidationError(f"has {len(value)} records; expected 1 to {MOST_INPUTS}")
        found, mistakes, count = [], {}, 0
        for place, one in enumerate(value):
            try:
                found.append(self.inner.deserialize(one))
            except ValidationError as error:
                mistakes[place] = error.messages
                count += len(error.messages)
                # A caller waits, and more than these are not listed.
                if count > MOST_MISTAKES:
                    break
        if mistakes:
            raise ValidationError(mistakes)
        return found


def _amount(value: Any) -> str:
    return f"is {shown(value)}; expected a number from 0 to {LARGEST}"


def _truth(value: Any) -> str:
    return f"is {shown(value)}; expected true or false"


def _id(value: Any) -> str:
    return f"is {shown(value)}; expected the inference_id of a prediction's answer"


_NAME = f"is not a text of 1 to {LONGEST_NAME} characters; expected one, or leave it out"
_INPUTS = "is not a list; expected one of records"
_UNKNOWN = "is unknown; expected only"


class _Strict(Schema):
    class Meta:
        unknown = RAISE

    @pre_load
    def _count(self, data: Any, **_: Any) -> Any:
        """So many unknown members are one mistake."""
        if isinstance(data, dict) and len(data) > MOST_MEMBERS:
            raise ValidationError(f"has {len(data)} members; expected only {', '.join(self.fields)}")
        return data


def _messages(members: str, known: str) -> dict[str, str]:
    return {
        "type": f"is not an object; expected one with {members}",
        "unknown": f"{_UNKNOWN} {known}",
    }


class _CardholderRecord(_Strict):
    error_messages = _messages(
        "usage_freq, amount_spend, uniq_merchant, k and, if known, name",
        "usage_freq, amount_spend, uniq_merchant, k, name",
    )

    usage_freq = _Whole(0, LARGEST)
    amount_spend = _Amount(required=True, error_messages={"null": _amount(None)})
    uniq_merchant = _Whole(0, LARGEST)
    k = _Whole(1, MOST_DAYS)
    name = _Name(load_default=None, allow_none=False, error_messages={"null": _NAME})


_NO_RECORD: dict[str, Any] = {"null": _CardholderRecord.error_messages["type"]}


class _Prediction(_Strict):
    error_messages = _messages("input", "input")

    input = fields.Nested(_CardholderRecord, required=True, error_messages=_NO_RECORD)


class _Batch(_Strict):
    error_messages = _messages("inputs", "inputs")

    inputs = _Inputs(
        fields.Nested(_CardholderRecord, error_messages=_NO_RECORD), required=True, error_messages={"null": _INPUTS}
    )


class _Feedback(_Strict):
    error_messages = _messages("inference_id and purchased", "inference_id, purchased")

    inference_id = _Id(required=True, error_messages={"null": _id(None)})
    purchased = _Truth(required=True, error_messages={"null": _truth(None)})


def _record(values: dict[str, Any]) -> Record:
    return Record({name: value for name, value in values.items() if name != "name"}, values["name"])


def _load(schema: type[Schema], document: Any) -> dict[str, Any]:
    try:
        found: dict[str, Any] = _SCHEMAS[schema].load(document)
    except ValidationError as error:
        raise mistaken([Mistake(*one) for one in _mistakes(_by_field(error))]) from None
    return found


def _by_field(error: ValidationError) -> Mapping[Any, Any]:
    messages = error.messages
    return messages if isinstance(messages, dict) else {"_schema": messages}


def _mistakes(messages: Mapping[Any, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Paths and messages of what marshmallow has found, in the order of the document."""
    for name, found in messages.items():
        # marshmallow's name for the whole object, but a caller's member may have it, too.
        if name == "_schema" and not found[0].startswith(_UNKNOWN):
            place = path or "body"
        elif isinstance(name, int):
            place = f"{path}[{name}]"
        else:
            place = f"{path}.{_fit(name)}" if path else _fit(name)
        if isinstance(found, Mapping):
            yield from _mistakes(found, place)
        else:
            for message in found:
                yield place, "is missing" if message == _MISSING else message


def _fit(name: str) -> str:
    """The name of a member, which may be anything, as far as it can be sent back."""
    return name[:_SHOWN_FIELD].encode("ascii", "backslashreplace").decode()


def _is_text(value: str) -> bool:
    """Whether a text can be written: JSON may hold half of a surrogate pair."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


_MISSING = fields.Field.default_error_messages["required"]
_SCHEMAS: Mapping[type[Schema], Schema] = {schema: schema() for schema in (_Prediction, _Batch, _Feedback)}
