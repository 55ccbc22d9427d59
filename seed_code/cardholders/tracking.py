"""What an evaluation leaves in MLflow: one run with figures, files and the two models."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.entities import Metric, Param
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema

import seed_code
from seed_code.cardholders.features import FIELDS
from seed_code.cardholders.mlflow_models import MODELS, PACKAGE

_BATCH = 500  # a tracking server takes at most 1,000 entries in one call, and 100 parameters
_PARAMS = 90
# What the logged models import, for whoever loads them elsewhere.
_REQUIREMENTS = ("mlflow-skinny", "numpy", "pandas", "scikit-learn", "scipy", "skops")


@contextmanager
def run(experiment: str, name: str, tags: Mapping[str, str]) -> Iterator[str]:
    """A new run of an experiment (made if there is none), active within the block; FAILED when the block raises.

    Gives its id.
    """
    mlflow.set_experiment(experiment)
    with mlflow.start_run(run_name=name, tags=dict(tags)) as active:
        yield active.info.run_id


def log_figures(
    client: mlflow.MlflowClient, run_id: str, manifest: dict[str, Any], evaluation: dict[str, Any], champion: str
) -> None:
    """Log hyperparameters and metrics; those by k have k as their step."""
    tuned = manifest["training"]["hyperparameters"]
    params = {
        "model_version": manifest["model_version"],
        "decision_threshold": manifest["request"]["threshold"],
        "champion": champion,
        "chosen_clusters": evaluation["clusters"]["chosen_k"],
        **{f"{part}.{name}": value for part in MODELS for name, value in tuned[part].items()},
    }
    entries = [Param(key, str(value)) for key, value in params.items()]
    for start in range(0, len(entries), _PARAMS):
        client.log_batch(run_id, params=entries[start : start + _PARAMS])
    now = int(time.time() * 1000)
    metrics = [Metric(key, value, now, step) for key, value, step in _metrics(evaluation) if value is not None]
    for start in range(0, len(metrics), _BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + _BATCH])


def _metrics(evaluation: dict[str, Any]) -> Iterator[tuple[str, float | None, int]]:
    groups: dict[str, dict[str, Any]] = {
        "": evaluation["metrics"],
        "fields_only.": evaluation["fields_only"],
        "champion.": (evaluation["champion"] or {}).get("metrics", {}),
        "champion_comparison.": evaluation["champion_comparison"],
        "latency_ms.": evaluation["server"]["latency_ms"],
        **{f"baselines.{name}.": values for name, values in evaluation["baselines"].items()},
    }
    for prefix, values in groups.items():
        for name, value in values.items():
            yield prefix + name, value, 0
    measured = ("roc_auc", "pr_auc", "log_loss", "brier", "calibration_error")
    for row in evaluation["by_k"]:
        for name in measured:
            yield f"by_k.{name}", row[name], row["k"]
            for baseline, values in row["baselines"].items():
                yield f"by_k.{baseline}.{name}", values[name], row["k"]
    for tried in evaluation["clusters"]["range"]:
        for name in ("silhouette", "davies_bouldin", "calinski_harabasz"):
            yield f"clusters_tried.{name}", tried[name], tried["k"]


def log_models(package: Path, manifest: dict[str, Any], request: dict[str, Any]) -> dict[str, str]:
    """Log both models to the active run, and give their `models:/` URIs.

    Args:
        package: the extracted model package.
        manifest: its manifest.
        request: a record without k; the input examples are made of it.
    """
    fields = {name: request[name] for name in FIELDS}
    stored = {name: float("nan") if value is None else float(value) for name, value in request["features"].items()}
    examples = {"clusters": fields, "purchase": {**fields, "k": 1, **stored}}
    code = Path(__file__).parent / "mlflow_models"
    uris = {}
    for name in MODELS:
        logged = mlflow.pyfunc.log_model(
            name=name,
            python_model=str(code / f"{name}.py"),
            artifacts={PACKAGE: str(package)},
            # The package of this workload's code; of it, what this image carries.
            code_paths=[str(Path(seed_code.__file__).parent)],
            signature=signature(name, [feature["name"] for feature in manifest["request"]["features"]]),
            input_example=pd.DataFrame([examples[name]]),
            # Stated: otherwise MLflow would load the model in another process to see what it imports.
            pip_requirements=[f"{requirement}=={version(requirement)}" for requirement in _REQUIREMENTS],
        )
        uris[name] = logged.model_uri
    return uris


def signature(name: str, features: Sequence[str]) -> ModelSignature:
    """The signature of the logged model `clusters` or `purchase`. Stored features may be left out."""
    whole, number = DataType.long, DataType.double
    fields = [ColSpec(whole, "usage_freq"), ColSpec(number, "amount_spend"), ColSpec(whole, "uniq_merchant")]
    if name == "clusters":
        return ModelSignature(Schema(list(fields)), Schema([ColSpec(whole, "predicted_cluster")]))
    optional = [ColSpec(number, feature, required=False) for feature in features]
    answers = Schema([ColSpec(DataType.boolean, "will_spend"), ColSpec(number, "probability")])
    return ModelSignature(Schema([*fields, ColSpec(whole, "k"), *optional]), answers)


def log_files(client: mlflow.MlflowClient, run_id: str, files: Sequence[Path], plots: Sequence[Path]) -> None:
    """Log files to the run, the plots in a folder of their own."""
    for file in files:
        client.log_artifact(run_id, str(file))
    for plot in plots:
        client.log_artifact(run_id, str(plot), "plots")
