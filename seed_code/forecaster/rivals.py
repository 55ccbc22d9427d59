"""What a model is measured against on the same windows: the season's repetition, and the current champion."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import orjson

from seed_code.common import archives
from seed_code.common.errors import ClientError
from seed_code.common.request_errors import RequestError
from seed_code.forecaster import answers, artifact, metrics
from seed_code.forecaster.answers import Forecasts
from seed_code.forecaster.artifact import Artifact
from seed_code.forecaster.forecasts import Configuration, Forecaster
from seed_code.forecaster.grid import GridSeries
from seed_code.forecaster.rolling import Windows


class NotComparable(Exception):
    """A champion that cannot be asked the same questions; the message says why."""


def seasonal_naive(series: GridSeries, windows: Windows, levels: Sequence[float]) -> Forecasts:
    """The repetition of the last season before each window, with the spread of its own errors until then.

    Where the season's step was never observed, the history's own quantiles stand for it: a baseline has to answer
    every question that the model answers. The median is the point forecast.
    """
    found = []
    for origin in windows.origins:
        history = series.values[:origin].astype(np.float32)
        quantiles = metrics.seasonal_naive(history, windows.season_length, windows.prediction_length, levels)
        unknown = np.isnan(quantiles).any(axis=0)
        if unknown.any():
            quantiles[:, unknown] = np.nanquantile(series.values[:origin], levels)[:, None]
        found.append(quantiles)
    quantiles = np.stack(found, axis=1)
    return Forecasts(quantiles[list(levels).index(0.5)], quantiles)


def champion(
    archive: Path, folder: Path, series: GridSeries, windows: Windows, levels: Sequence[float], num_samples: int
) -> Forecasts:
    """The forecasts of the model in `archive`, unpacked to `folder`, one request a window as batch transform sends it.

    Its history is as long as the windows' requests, or as its own lags need if that is longer.

    Raises:
        NotComparable: when it is no model of ours, or forecasts something else.
    """
    try:
        archives.extract(archive, folder)
        model = artifact.load(folder)
    except ClientError as error:
        raise NotComparable(f"{error}") from error
    target = artifact.target_of(folder)
    if target != windows.target:
        found = f"it forecasts `{target}`" if target else "its model.json does not say what it forecasts"
        raise NotComparable(f"{found}; expected `{windows.target}`")
    if model.frequency != series.frequency:
        raise NotComparable(f"it forecasts steps of {model.frequency}, not of {series.frequency}")
    steps = windows.prediction_length
    if model.prediction_length < steps:
        raise NotComparable(f"it forecasts {model.prediction_length} steps, fewer than {steps}")
    return _forecasts(model, series, windows, levels, num_samples)


def _forecasts(
    model: Artifact, series: GridSeries, windows: Windows, levels: Sequence[float], num_samples: int
) -> Forecasts:
    forecaster = Forecaster(model)
    names = {f"{level:g}": level for level in levels}
    configuration = Configuration(num_samples, ("mean", "quantiles"), names)
    tail = max(windows.tail, model.context_length + max(model.lags))
    found = []
    for origin in windows.origins:
        try:
            (answer,) = forecaster.predict([series.record(max(0, origin - tail), origin)], configuration)
        except RequestError as error:
            raise NotComparable(f"it does not answer: {error}") from error
        # By way of its text, as batch transform's answers come: the same forecast is then the same to the last digit.
        line = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
        try:
            found.append(answers.parse(line, model.prediction_length, levels))
        except ValueError as error:
            raise NotComparable(f"its answer cannot be judged: {error}") from error
    return Forecasts.of([[part[: windows.prediction_length] for part in parts] for parts in found])
