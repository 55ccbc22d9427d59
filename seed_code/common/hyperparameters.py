"""Hyperparameters: strings when they reach a training job, typed and checked when they leave here."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from seed_code.common.errors import ClientError

# SageMaker's own entries (tuning jobs and the SDK's script mode add some); they are not ours to check.
_PLATFORM_PREFIXES = ("sagemaker_", "_tuning_")


@dataclass(frozen=True)
class Tunable:
    """One hyperparameter: its default, whose type is its type, and its inclusive range."""

    name: str
    default: int | float
    low: int | float
    high: int | float
    meaning: str

    def parse(self, text: str) -> int | float:
        """The value of `text`.

        Raises:
            ValueError: with the expectation as its message, when `text` is of another type or out of range.
        """
        kind = type(self.default)
        expected = f"{'a whole number' if kind is int else 'a number'} from {self.low} to {self.high}"
        try:
            value = kind(text)
        except ValueError:
            raise ValueError(expected) from None
        if not self.low <= value <= self.high:  # also refuses NaN
            raise ValueError(expected)
        return value


def read(file: Path) -> dict[str, str]:
    """The hyperparameters as SageMaker wrote them; none when there is no file.

    Raises:
        ClientError: when the file is not a JSON object of strings.
    """
    if not file.exists():
        return {}
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ClientError(f"{file} is not JSON: {error}") from error
    if not isinstance(document, dict) or not all(isinstance(value, str) for value in document.values()):
        raise ClientError(f"{file} must hold a JSON object whose values are strings, as CreateTrainingJob requires")
    return {name: text for name, text in document.items() if not name.startswith(_PLATFORM_PREFIXES)}


def parse(given: Mapping[str, str], tunables: Sequence[Tunable]) -> dict[str, int | float]:
    """Every tunable's value, by name: what was given, or its default.

    Raises:
        ClientError: naming all mistakes at once: unknown names, wrong types, values out of range.
    """
    known = {tunable.name: tunable for tunable in tunables}
    values: dict[str, int | float] = {name: tunable.default for name, tunable in known.items()}
    mistakes = []
    for name, text in given.items():
        if name not in known:
            mistakes.append(f"`{name}` is unknown; expected one of {', '.join(sorted(known))}")
            continue
        try:
            values[name] = known[name].parse(text)
        except ValueError as expected:
            mistakes.append(f"`{name}` is `{text}`; expected {expected}")
    if mistakes:
        raise ClientError("hyperparameters: " + "; ".join(mistakes))
    return values
