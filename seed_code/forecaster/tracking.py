"""What an evaluation leaves in MLflow: the figures and the model of its run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import Array, Map

from seed_code.common import mlflow_run
from seed_code.forecaster.artifact import DESCRIPTION_FILE
from seed_code.forecaster.forecasts import DEFAULT
from seed_code.forecaster.grid import GridSeries
from seed_code.forecaster.mlflow_models import FORECAST, MODEL
from seed_code.forecaster.rolling import Windows

# What the logged model imports, for whoever loads it elsewhere.
_REQUIREMENTS = ("mlflow-skinny", "numpy", "orjson", "pandas")
_EXAMPLE_STEPS = 60


def log_figures(client: mlflow.MlflowClient, run_id: str, evaluation: dict[str, Any], champion: str) -> None:
    """Log hyperparameters and metrics; losses have their epoch as step, figures of windows the window's number."""
    training = evaluation["training"] or {"hyperparameters": {}, "losses": []}
    names = ("model_version", "target", "frequency", "prediction_length", "confidence")
    params = {
        **{name: evaluation[name] for name in names},
        "champion": champion,
        **{f"hyperparameters.{name}": value for name, value in training["hyperparameters"].items()},
    }
    mlflow_run.log_params(client, run_id, params)
    mlflow_run.log_metrics(client, run_id, _metrics(evaluation, training["losses"]))


def _metrics(evaluation: dict[str, Any], losses: list[float]) -> Iterator[tuple[str, float | None, int]]:
    interval = evaluation["interval"]
    groups: dict[str, dict[str, Any]] = {
        "": evaluation["metrics"],
        "wql_by_quantile.": evaluation["wql_by_quantile"],
        "interval.": {"lower": interval["lower"], "upper": interval["upper"]},
        "hour.": evaluation["hour"],
        "champion.": (evaluation["champion"] or {}).get("metrics", {}),
        "champion_comparison.": evaluation["champion_comparison"],
        **{f"baselines.{name}.": values for name, values in evaluation["baselines"].items()},
    }
    for prefix, values in groups.items():
        for name, value in values.items():
            yield prefix + name, value, 0
    for number, window in enumerate(evaluation["windows"]):
        for name in ("mean_wql", "seasonal_naive", "champion"):
            yield f"windows.{name}", window[name], number
    for epoch, loss in enumerate(losses):
        yield "train.loss", loss, epoch


def log_model(folder: Path, series: GridSeries, windows: Windows) -> dict[str, str]:
    """Log the model of a folder to the active run, and give its `models:/` URI by name."""
    code = Path(__file__).parent / "mlflow_models" / f"{FORECAST}.py"
    # MLflow asks a model for its answer to the example; the built-in algorithm's has none here, see `pyfunc`.
    ours = (folder / DESCRIPTION_FILE).is_file()
    shown = example(series, windows) if ours else None
    return {FORECAST: mlflow_run.log_model(FORECAST, code, {MODEL: folder}, _REQUIREMENTS, signature(), shown)}


def signature() -> ModelSignature:
    """The signature of the logged model: DeepAR's instance in, its prediction out, its configuration as parameters."""
    number, text = DataType.double, DataType.string
    instance = [
        ColSpec(text, "start"),
        ColSpec(Array(number), "target"),
        ColSpec(Array(DataType.long), "cat", required=False),
        ColSpec(Array(Array(number)), "dynamic_feat", required=False),
    ]
    prediction = [
        ColSpec(Array(number), "mean", required=False),
        ColSpec(Map(Array(number)), "quantiles", required=False),
        ColSpec(Array(Array(number)), "samples", required=False),
    ]
    configuration = [
        ParamSpec("num_samples", DataType.long, DEFAULT.num_samples),
        ParamSpec("output_types", text, list(DEFAULT.output_types), shape=(-1,)),
        ParamSpec("quantiles", text, list(DEFAULT.quantiles), shape=(-1,)),
    ]
    return ModelSignature(Schema(instance), Schema(prediction), ParamSchema(configuration))


def example(series: GridSeries, windows: Windows) -> pd.DataFrame:
    """An input: the observed ones among the last values, as if they followed each other."""
    known = series.values[~np.isnan(series.values)][-_EXAMPLE_STEPS:]
    start = series.time(windows.origins[-1] - len(known))
    return pd.DataFrame([{"start": f"{start:%Y-%m-%d %H:%M:%S}", "target": known.tolist()}])
