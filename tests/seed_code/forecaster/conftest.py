"""Small series and models that the forecaster's tests share."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from seed_code.common import archives
from seed_code.forecaster import answers, artifact, hyperparameters, network, rolling, train
from seed_code.forecaster.answers import Forecasts
from seed_code.forecaster.artifact import Artifact
from seed_code.forecaster.forecasts import Configuration, Forecaster
from seed_code.forecaster.frequency import Frequency
from seed_code.forecaster.grid import GridSeries
from seed_code.forecaster.hyperparameters import Hyperparameters
from seed_code.forecaster.records import Series
from seed_code.forecaster.rolling import Windows

NO_FEATURES = np.zeros((0, 0), np.float32)
REQUIRED = {"time_freq": "H", "context_length": "12", "prediction_length": "6", "epochs": "2"}


@pytest.fixture
def settings() -> Callable[..., Hyperparameters]:
    """Parsed hyperparameters: the required ones, and what a test adds or changes."""

    def make(**given: str) -> Hyperparameters:
        return hyperparameters.parse({**REQUIRED, **given})

    return make


def values_for(likelihood: str, steps: int, rng: np.random.Generator) -> np.ndarray:
    """A daily rhythm with noise that the likelihood can have."""
    wave = 1 + np.sin(np.arange(steps) * 2 * np.pi / 24) / 2
    values = {
        "beta": lambda: np.clip(wave / 2 + rng.normal(0, 0.05, steps), 0.01, 0.99),
        "negative-binomial": lambda: rng.poisson(10 * wave),
    }.get(likelihood, lambda: 100 * wave + rng.normal(0, 5, steps))()
    return np.asarray(values, np.float32)


@pytest.fixture
def panel_of_series() -> Callable[..., list[Series]]:
    """Series of a likelihood, optionally with categories, dynamic features and missing values."""

    def make(
        likelihood: str = "student-T", count: int = 4, steps: int = 1000, rich: bool = False, ahead: int = 0
    ) -> list[Series]:
        rng = np.random.default_rng(5)
        series = []
        for at in range(count):
            values = values_for(likelihood, steps, rng)
            dynamic = NO_FEATURES
            if rich:
                values[rng.integers(0, steps, steps // 20)] = np.nan
                dynamic = rng.normal(size=(2, steps + ahead)).astype(np.float32)
            series.append(Series(450_000 + 31 * at, values, (at % 2, at % 3) if rich else (), dynamic))
        return series

    return make


@pytest.fixture
def untrained() -> Callable[..., tuple[Any, Artifact]]:
    """A `DeepARModel` with random weights, large enough to make its forecasts differ, and its export."""

    def make(settings: Hyperparameters, series: list[Series]) -> tuple[Any, Artifact]:
        import torch

        torch.manual_seed(3)
        data = train.Data.of(series, settings)
        model = network.build(settings, data.shape, data.lags, data.panel().features, data.default_scale)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "param_proj" not in name:
                    parameter.mul_(2.0)
        return model.eval(), train.export(data, model)

    return make


@dataclass(frozen=True)
class Prepared:
    """What Prepare leaves, for a small series of minutes, and the answers of a small model to its requests.

    Attributes:
        input: the evaluation's `processing/input` folder.
        archive: the model's `model.tar.gz`.
        model: the extracted model.
    """

    series: GridSeries
    windows: Windows
    forecasts: Forecasts
    input: Path
    archive: Path
    model: Path


LEVELS = (0.05, 0.5, 0.95)


def small_series(steps: int = 720) -> GridSeries:
    """Twelve hours of minutes that swing every hour, some missing, the last but one test window's among them."""
    rng = np.random.default_rng(3)
    values = 10 + 4 * np.sin(np.arange(steps) * 2 * np.pi / 60) + rng.normal(0, 0.3, steps)
    values[[20, 21, 300]] = np.nan
    values[-20:-15] = np.nan
    return GridSeries(Frequency("min", 1), 29_900_000, np.round(values, 3))


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A model of 8 cells, trained for 3 epochs, and its forecasts of 21 windows of 5 minutes, 15 apart."""
    folder = tmp_path_factory.mktemp("evaluation")
    series = small_series()
    windows = rolling.cut(series, "avg_fee_1min", prediction_length=5, context_length=10, count=21, spacing=15)
    given = {
        "time_freq": "1min", "context_length": "10", "prediction_length": "5", "epochs": "3", "num_cells": "8",
        "mini_batch_size": "32", "learning_rate": "0.01",
    }  # fmt: skip
    history = series.values[: windows.first_origin].astype(np.float32)
    data = train.Data.of([Series(series.start, history, (), NO_FEATURES)], hyperparameters.parse(given))
    fitted = train.fit(data, lambda _: None)
    model = folder / "model"
    training = {
        "target": windows.target,
        "hyperparameters": given,
        "losses": fitted.losses,
        "best_epoch": fitted.best_epoch,
    }
    artifact.save(model, train.export(data, fitted.model), training)

    place = folder / "processing" / "input"
    archives.write(place / "model" / "model.tar.gz", model)
    rolling.write(place / "windows", series, windows)
    (place / "report").mkdir()
    (place / "report" / "prepare.json").write_text('{"observations": 712, "gaps": []}')
    forecaster = Forecaster(artifact.load(model))
    configuration = Configuration(100, ("mean", "quantiles"), {f"{level:g}": level for level in LEVELS})
    lines = [
        orjson.dumps(forecaster.predict([series.record(0, origin)], configuration)[0], option=_AS_SERVED)
        for origin in windows.origins
    ]
    (place / "forecasts").mkdir()
    (place / "forecasts" / "requests.jsonl.out").write_bytes(b"".join(lines))
    forecasts = answers.read(place / "forecasts", 21, 5, LEVELS)
    return Prepared(series, windows, forecasts, place, place / "model" / "model.tar.gz", model)


_AS_SERVED = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
