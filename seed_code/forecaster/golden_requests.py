"""The golden requests of a model, in DeepAR's request format: test windows, the edges of the contract, and mistakes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from seed_code.common.golden import REFUSED, Request, line
from seed_code.forecaster.answers import Forecasts
from seed_code.forecaster.grid import GridSeries, nullable
from seed_code.forecaster.rolling import Windows, iso

_ALONE = 3  # windows that are asked about one by one
_SAMPLES = 100  # paths of a forecast, as many as DeepAR draws unless told otherwise
_OF_THE_BUILT_IN = 6  # windows that are kept of batch transform's answers
# Of our own server, which seeds its samples with the series: another processor may round otherwise, step upon step.
_TOLERANCE = 1e-4


def of(series: GridSeries, windows: Windows, levels: Sequence[float]) -> list[Request]:
    """The requests that our own server is asked."""
    configuration = _configuration(levels, _SAMPLES)
    chosen = [(origin, _instance(series, windows, origin)) for origin in _spread(windows.origins, _ALONE)]
    _, newest = chosen[-1]

    def request(name: str, *instances: dict[str, Any], **configured: Any) -> Request:
        asked = {"instances": list(instances), "configuration": {**configuration, **configured}}
        return Request(name, asked, tolerance=_TOLERANCE)

    outage = [*newest["target"][: -windows.prediction_length], *[None] * windows.prediction_length]
    short = {"start": newest["start"], "target": newest["target"][:1]}
    extra = {**newest, "id": "a-series"}
    return [
        *(request(_name(series, origin), instance) for origin, instance in chosen),
        request("several series", *(instance for _, instance in chosen)),
        Request("no configuration, and a field that is not used", {"instances": [extra]}, tolerance=_TOLERANCE),
        request("sample paths", newest, num_samples=2, output_types=["samples"]),
        request("an outage before the forecast", {**newest, "target": outage}),
        request("a history of one step", short),
        *REFUSED,
        Request("a field is missing", {"instances": [{"target": newest["target"]}]}, wrong=True),
        Request(
            "a quantile out of range", {"instances": [newest], "configuration": {"quantiles": ["1.5"]}}, wrong=True
        ),
    ]


def transformed(
    series: GridSeries, windows: Windows, levels: Sequence[float], num_samples: int, forecasts: Forecasts
) -> list[dict[str, Any]]:
    """The lines of `golden.jsonl` for a model of the built-in algorithm: what batch transform answered to windows.

    Its server runs nowhere but in SageMaker: no mistake is among them, since what it says of one is not known here.
    """
    # It draws other samples each time, so only the median is kept, which varies least: with 100 samples of a normal
    # distribution, two differ by a standard deviation of a twentieth of the band of 90 %. Half of the model's own band
    # is what they may differ by; a tolerance fixed beforehand would not fit every series.
    lines = []
    at = levels.index(0.5)
    for number in _spread(range(len(windows.origins)), _OF_THE_BUILT_IN):
        origin = windows.origins[number]
        low, median, high = (forecasts.quantiles[row, number] for row in (0, at, -1))
        tolerance = float(np.max((high - low) / 2 / np.maximum(1, np.abs(median))))
        asked = {
            "instances": [_instance(series, windows, origin)],
            "configuration": _configuration(levels, num_samples),
        }
        answer = {"predictions": [{"quantiles": {f"{levels[at]:g}": median.tolist()}}]}
        lines.append(line(Request(_name(series, origin), asked, tolerance=tolerance), 200, answer))
    return lines


def _configuration(levels: Sequence[float], num_samples: int) -> dict[str, Any]:
    """What the pipeline's batch transform is configured to answer."""
    return {
        "num_samples": num_samples,
        "output_types": ["mean", "quantiles"],
        "quantiles": [f"{level:g}" for level in levels],
    }


def _instance(series: GridSeries, windows: Windows, origin: int) -> dict[str, Any]:
    """What Prepare put into batch transform's request about a window."""
    record = series.record(max(0, origin - windows.tail), origin)
    return {**record, "target": nullable(record["target"])}


def _name(series: GridSeries, origin: int) -> str:
    return f"the window from {iso(series.time(origin))}"


def _spread(items: Sequence[int], most: int) -> list[int]:
    """Up to `most` of them, at even distances, the first and the last among them."""
    places = np.linspace(0, len(items) - 1, min(most, len(items)))
    return [items[round(place)] for place in places.tolist()]
