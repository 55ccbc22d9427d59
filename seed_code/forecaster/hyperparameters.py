"""The built-in DeepAR algorithm's hyperparameters: names, defaults and ranges, as its documentation lists them.

Two more are ours, and default to what the built-in does; leave them out, and one configuration fits both images:
`seasonal_lags` (none, daily or weekly; see `frequency.Frequency.lags`) and `seed`.

Source: "DeepAR Hyperparameters" in the SageMaker Developer Guide. It gives ranges as "positive integer"; the upper
ends here only keep a slip of the keyboard from asking for more memory than any machine has.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from seed_code.common.errors import ClientError
from seed_code.forecaster.frequency import EXPECTED, SEASONAL_LAGS, Frequency

LIKELIHOODS = ("student-T", "gaussian", "beta", "negative-binomial", "deterministic-L1")
DEFAULT_QUANTILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
AUTO, IGNORE = "auto", "ignore"

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_SHOWN_CHARACTERS = 80


@dataclass(frozen=True)
class Hyperparameters:
    """A training job's settings, checked. `cardinality` and `num_dynamic_feat` may still be left to the data."""

    time_freq: Frequency
    context_length: int
    prediction_length: int
    epochs: int
    num_cells: int = 40
    num_layers: int = 2
    mini_batch_size: int = 128
    learning_rate: float = 1e-3
    dropout_rate: float = 0.1
    embedding_dimension: int = 10
    num_eval_samples: int = 100
    test_quantiles: tuple[float, ...] = DEFAULT_QUANTILES
    likelihood: str = "student-T"
    cardinality: str | tuple[int, ...] = AUTO
    num_dynamic_feat: str | int = AUTO
    early_stopping_patience: int | None = None
    seasonal_lags: str = "none"
    seed: int = 0


@dataclass(frozen=True)
class _Rule:
    """How one hyperparameter's text becomes a value: `read` raises ValueError, `expected` says what would do."""

    read: Callable[[str], Any]
    expected: str
    required: bool = field(default=False)


def _whole(low: int, high: int, required: bool = False) -> _Rule:
    def read(text: str) -> int:
        if not _WHOLE.fullmatch(text) or not low <= int(text) <= high:
            raise ValueError
        return int(text)

    return _Rule(read, f"a whole number from {low:,} to {high:,}", required)


def _number(accepts: Callable[[float], bool], interval: str) -> _Rule:
    def read(text: str) -> float:
        if not _NUMBER.fullmatch(text) or not accepts(float(text)):
            raise ValueError
        return float(text)

    return _Rule(read, f"a number in {interval}")


def _one_of(*choices: str) -> _Rule:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError
        return text

    return _Rule(read, f"one of {', '.join(choices)}")


def _list_of(text: str, kind: type | tuple[type, ...], accepts: Callable[[Any], bool]) -> tuple[Any, ...]:
    values = json.loads(text)
    fits = isinstance(values, list) and 0 < len(values) <= 1000
    if not fits or not all(isinstance(v, kind) and not isinstance(v, bool) and accepts(v) for v in values):
        raise ValueError
    return tuple(values)


def _quantiles(text: str) -> tuple[float, ...]:
    values = _list_of(text, (int, float), lambda value: math.isfinite(value) and 0 < value < 1)
    if len(set(values)) != len(values):
        raise ValueError
    return tuple(float(value) for value in values)


def _cardinality(text: str) -> str | tuple[int, ...]:
    if text in (AUTO, IGNORE, ""):
        return text or IGNORE  # the built-in takes an empty string for `ignore`
    return _list_of(text, int, lambda value: 1 <= value <= 10_000_000)


def _num_dynamic_feat(text: str) -> str | int:
    if text in (AUTO, IGNORE, ""):
        return text or IGNORE
    return _whole(1, 10_000).read(text)


RULES: dict[str, _Rule] = {
    "time_freq": _Rule(Frequency.parse, EXPECTED, required=True),
    "context_length": _whole(1, 100_000, required=True),
    "prediction_length": _whole(1, 100_000, required=True),
    "epochs": _whole(1, 1_000_000, required=True),
    "num_cells": _whole(1, 10_000),
    "num_layers": _whole(1, 100),
    "mini_batch_size": _whole(1, 100_000),
    "learning_rate": _number(lambda value: 0 < value <= 1, "(0, 1]"),
    "dropout_rate": _number(lambda value: 0 <= value < 1, "[0, 1)"),
    "embedding_dimension": _whole(1, 10_000),
    "num_eval_samples": _whole(1, 1_000_000),
    "test_quantiles": _Rule(_quantiles, "a list of different numbers in (0, 1), such as [0.1, 0.5, 0.9]"),
    "likelihood": _one_of(*LIKELIHOODS),
    "cardinality": _Rule(_cardinality, "auto, ignore, or a list of positive whole numbers, such as [2, 3]"),
    "num_dynamic_feat": _Rule(_num_dynamic_feat, "auto, ignore, or a whole number from 1 to 10,000"),
    "early_stopping_patience": _whole(1, 1_000_000),
    "seasonal_lags": _one_of(*SEASONAL_LAGS),
    "seed": _whole(0, 2**31 - 1),
}


def parse(given: Mapping[str, str]) -> Hyperparameters:
    """The settings that a job's strings mean.

    Raises:
        ClientError: naming every mistake at once, each with its value and what was expected: unknown names, missing
            ones, wrong types, values out of range.
    """
    values: dict[str, Any] = {}
    mistakes = []
    for name, text in given.items():
        rule = RULES.get(name)
        if rule is None:
            mistakes.append(f"{_shown(name)} (value {_shown(text)}) is unknown; expected one of {', '.join(RULES)}")
            continue
        try:
            values[name] = rule.read(text)
        except (ValueError, RecursionError):
            mistakes.append(f"`{name}` is {_shown(text)}; expected {rule.expected}")
    mistakes += [
        f"`{name}` is missing; expected {rule.expected}"
        for name, rule in RULES.items()
        if rule.required and name not in given
    ]
    if mistakes:
        raise ClientError("hyperparameters: " + "; ".join(mistakes))
    return Hyperparameters(**values)


def _shown(text: str) -> str:
    """The text in back-ticks, on one line, its control characters escaped and its length kept in bounds."""
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return f"`{escaped if len(escaped) <= _SHOWN_CHARACTERS else escaped[: _SHOWN_CHARACTERS - 3] + '...'}`"
