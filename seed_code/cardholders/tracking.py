"""What an evaluation leaves in MLflow: the figures and the two models of its run."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema

from seed_code.cardholders.features import FIELDS
from seed_code.cardholders.mlflow_models import MODELS, PACKAGE
from seed_code.common import mlflow_run

# What the logged models import, for whoever loads them elsewhere.
_REQUIREMENTS = ("mlflow-skinny", "numpy", "pandas", "scikit-learn", "scipy", "skops")


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
    mlflow_run.log_params(client, run_id, params)
    mlflow_run.log_metrics(client, run_id, _metrics(evaluation))


def _metrics(evaluation: dict[str, Any]) -> Iterator[tuple[str, float | None, int]]:
    groups: dict[str, dict[str, Any]] = {
        "": evaluation["metrics"],
        "fields_only.": evaluation["fields_only"],
        "brier_bound.": evaluation["brier_bound"],
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
    features = [feature["name"] for feature in manifest["request"]["features"]]
    return {
        name: mlflow_run.log_model(
            name,
            code / f"{name}.py",
            {PACKAGE: package},
            _REQUIREMENTS,
            signature(name, features),
            pd.DataFrame([examples[name]]),
        )
        for name in MODELS
    }


def signature(name: str, features: Sequence[str]) -> ModelSignature:
    """The signature of the logged model `clusters` or `purchase`. Stored features may be left out."""
    whole, number = DataType.long, DataType.double
    fields = [ColSpec(whole, "usage_freq"), ColSpec(number, "amount_spend"), ColSpec(whole, "uniq_merchant")]
    if name == "clusters":
        return ModelSignature(Schema(list(fields)), Schema([ColSpec(whole, "predicted_cluster")]))
    optional = [ColSpec(number, feature, required=False) for feature in features]
    answers = Schema([ColSpec(DataType.boolean, "will_spend"), ColSpec(number, "probability")])
    return ModelSignature(Schema([*fields, ColSpec(whole, "k"), *optional]), answers)
