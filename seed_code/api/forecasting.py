"""Questions and answers of DeepAR's inference contract, which the built-in algorithm and our own server keep.

Source: "DeepAR Inference Formats" in the SageMaker Developer Guide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from seed_code.api.endpoint import Endpoint, ModelRefused
from seed_code.api.minutes import Series
from seed_code.api.refusals import Mistake, mistaken

_SAMPLES = 100
_MISSING = "NaN"


class Forecasting:
    """An endpoint's model of minutes, asked for its mean and some quantiles."""

    def __init__(self, endpoint: Endpoint, levels: Sequence[str]) -> None:
        self._endpoint, self._levels = endpoint, tuple(levels)

    def forecast(self, series: Series, minutes: int) -> list[dict[str, Any]]:
        """Mean and quantiles of each of the minutes that follow a series.

        Raises:
            Refused: when the model forecasts fewer minutes than are asked for, or does not answer.
        """
        try:
            answer = self._endpoint.ask(self._question(series))
        except ModelRefused as error:
            # The question is ours, not the caller's.
            raise self._endpoint.no_answer("the model refuses the series", error) from error
        mean, quantiles = self._read(answer)
        if minutes > len(mean):
            expected = f"is {minutes}; expected at most {len(mean)}, which is what the model forecasts"
            raise mistaken([Mistake("minutes", expected)])
        first = series.last + timedelta(minutes=1)
        return [
            {
                "minute": f"{first + timedelta(minutes=at):%Y-%m-%dT%H:%M:%SZ}",
                "mean": mean[at],
                "quantiles": {level: quantiles[level][at] for level in self._levels},
            }
            for at in range(minutes)
        ]

    def _question(self, series: Series) -> dict[str, Any]:
        target = [_MISSING if value is None else value for value in series.values]
        return {
            "instances": [{"start": f"{series.start:%Y-%m-%d %H:%M:%S}", "target": target}],
            "configuration": {
                "num_samples": _SAMPLES,
                "output_types": ["mean", "quantiles"],
                "quantiles": list(self._levels),
            },
        }

    def _read(self, answer: Any) -> tuple[list[float], dict[str, list[float]]]:
        """Mean and quantiles in an answer. Raises Refused (503) if it is not what it should be."""
        try:
            (prediction,) = answer["predictions"]
            mean = _numbers(prediction["mean"])
            quantiles = {level: _numbers(prediction["quantiles"][level]) for level in self._levels}
            if not mean or any(len(values) != len(mean) for values in quantiles.values()):
                raise ValueError("mean and quantiles are not of one length")
        except (KeyError, TypeError, ValueError) as error:
            raise self._endpoint.no_answer("the model's answer is not a forecast", error) from error
        return mean, quantiles


def _numbers(values: Any) -> list[float]:
    if not isinstance(values, list):
        raise TypeError("no list of numbers")
    for value in values:
        if type(value) not in (int, float) or not math.isfinite(value):
            raise ValueError(f"{str(value)[:40]} is no number")
    return values
