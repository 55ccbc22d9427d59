"""The forecasts to be judged: what batch transform answered to the test windows' requests, checked line by line.

A line is DeepAR's answer to one instance, `{"mean": […], "quantiles": {"0.05": […], …}}`, of the built-in image as of
ours. Whatever does not fit ends the evaluation: a forecast that is put to the wrong window judges nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seed_code.common.errors import ClientError
from seed_code.common.request_errors import shown
from seed_code.forecaster import records

Values = NDArray[np.float64]

_SAME = 1e-9  # between a quantile as text and as number


@dataclass(frozen=True)
class Forecasts:
    """One forecaster's answers.

    Attributes:
        mean: (windows, steps).
        quantiles: (levels, windows, steps).
    """

    mean: Values
    quantiles: Values

    @classmethod
    def of(cls, answers: Sequence[Sequence[Values]]) -> "Forecasts":
        """From the mean and then the quantiles of each window."""
        values = np.array(answers).transpose(1, 0, 2)
        return cls(values[0], values[1:])


def levels_of(confidence: int) -> tuple[float, float, float]:
    """The quantiles that are judged: the ends of the band that holds `confidence` per cent, and the median between."""
    outside = round((100 - confidence) / 200, 4)
    return outside, 0.5, round(1 - outside, 4)


def read(folder: Path, windows: int, steps: int, levels: Sequence[float]) -> Forecasts:
    """The answers in a folder, which holds batch transform's one output file.

    Raises:
        ClientError: naming the file and the line that does not fit, what was found and what was expected.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    if len(files) != 1:
        found = ", ".join(str(file.relative_to(folder)) for file in files[:5]) or "nothing"
        raise ClientError(f"{folder} holds {found}; expected one file, batch transform's output")
    lines = files[0].read_bytes().splitlines()
    name = files[0].name
    answers: list[list[Values]] = []
    for number, line in enumerate(lines, start=1):
        try:
            answers.append(parse(line, steps, levels))
        except ValueError as mistake:
            raise ClientError(f"{name}, line {number}: {mistake}") from None
    if len(answers) != windows:
        raise ClientError(
            f"{name} has {len(answers)} lines; expected {windows}, one for each test window, as in requests.jsonl"
        )
    return Forecasts.of(answers)


def parse(line: bytes, steps: int, levels: Sequence[float]) -> list[Values]:
    """The mean and then the quantiles of one answer, each (steps,).

    Raises:
        ValueError: saying what is wrong with it.
    """
    return of(records.loads(line), steps, levels)


def of(answer: object, steps: int, levels: Sequence[float]) -> list[Values]:
    """As `parse`, of an answer that is no text any more.

    Raises:
        ValueError: saying what is wrong with it.
    """
    if not isinstance(answer, dict):
        raise ValueError(f"it is {shown(answer)}; expected an object with `mean` and `quantiles`")
    if "error" in answer:
        raise ValueError(f"the model's server answered an error: {shown(answer['error'])}")
    for part, kind in (("mean", list), ("quantiles", dict)):
        if not isinstance(answer.get(part), kind):
            found = f"is {shown(answer[part])}" if part in answer else "is missing"
            raise ValueError(f"`{part}` {found}; expected output types mean and quantiles to have been asked for")
    quantiles = [_quantile(answer["quantiles"], level) for level in levels]
    return [_numbers(answer["mean"], "mean", steps), *(_numbers(values, name, steps) for name, values in quantiles)]


def _quantile(quantiles: dict[str, Any], level: float) -> tuple[str, Any]:
    for name, values in quantiles.items():
        try:
            if abs(float(name) - level) < _SAME:
                return f"quantiles.{name}", values
        except ValueError:
            pass
    raise ValueError(f"quantile {level:g} is missing; found {', '.join(list(quantiles)[:10]) or 'none'}")


def _numbers(values: Any, name: str, steps: int) -> Values:
    if not isinstance(values, list) or len(values) != steps:
        found = f"has {len(values)} values" if isinstance(values, list) else f"is {shown(values)}"
        raise ValueError(f"`{name}` {found}; expected {steps}, the prediction length")
    for at, value in enumerate(values):
        if type(value) not in (int, float) or not np.isfinite(value):
            raise ValueError(f"`{name}[{at}]` is {shown(value)}; expected a number")
    return np.array(values, np.float64)
