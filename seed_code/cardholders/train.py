"""`train`: one training job for each part of the model.

hyperparameters   part = clusters | purchase, and what TUNABLES of that part's module lists, all as strings
channels          part=clusters: holders/holders.parquet
                  part=purchase: train/examples.parquet, validation/examples.parquet
model             clusters.skops + clusters.json, or purchase.skops + purchase.json (the training's report)
"""

import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from seed_code.cardholders import clusters, frames, model_format, purchase
from seed_code.cardholders.features import FIELDS, STORED_FEATURE_NAMES, STORED_FEATURES
from seed_code.common import documents, hyperparameters, paths
from seed_code.common.errors import ClientError
from seed_code.common.failure import reports_failure

PARTS = ("clusters", "purchase")
CLUSTERS_REPORT = "clusters.json"
PURCHASE_REPORT = "purchase.json"


@reports_failure
def main() -> None:
    """Train the part that the hyperparameters name."""
    given = hyperparameters.read(paths.hyperparameters_file())
    part = given.pop("part", None)
    if part not in PARTS:
        raise ClientError(f"hyperparameters: `part` is {part!r}; expected one of {', '.join(PARTS)}")
    started = time.monotonic()
    with threadpool_limits(1):  # OpenMP threads that wait for each other on shared cores cost more than they bring
        (train_clusters if part == "clusters" else train_purchase)(given, paths.model_dir())
    sys.stdout.write(f"{part}: trained in {time.monotonic() - started:.1f} s\n")


def train_clusters(given: dict[str, str], model_dir: Path) -> None:
    """Train the clustering on the `holders` channel."""
    settings = hyperparameters.parse(given, clusters.TUNABLES)
    holders = frames.read(paths.channel_dir("holders") / "holders.parquet", FIELDS)
    model, report = clusters.fit(frames.fields(holders), settings)
    model_dir.mkdir(parents=True, exist_ok=True)
    model_format.save_clusters(model_dir / model_format.CLUSTERS_FILE, model)
    documents.write(model_dir / CLUSTERS_REPORT, {"hyperparameters": settings, "holders": len(holders), **report})
    _say("clusters", {"holders": len(holders), **{name: report[name] for name in ("chosen_k", "silhouette")}})


def train_purchase(given: dict[str, str], model_dir: Path) -> None:
    """Train the purchase model on the `train` and `validation` channels."""
    settings = hyperparameters.parse(given, purchase.TUNABLES)
    columns = frames.columns_of_examples(STORED_FEATURE_NAMES)
    files = [paths.channel_dir(name) / "examples.parquet" for name in ("train", "validation")]
    train, validation = (frames.read(file, columns) for file in files)
    labelled = frames.horizon_days(files[0], otherwise=int(settings["max_horizon_days"]))
    if settings["max_horizon_days"] > labelled:
        raise ClientError(
            f"hyperparameters: `max_horizon_days` is {settings['max_horizon_days']}, but Prepare looked for the next "
            f"purchase no more than {labelled} days ahead; expected at most {labelled}"
        )
    window_days = frames.window_days(files[0])
    model, report = purchase.fit(train, validation, STORED_FEATURE_NAMES, settings, window_days)
    model_dir.mkdir(parents=True, exist_ok=True)
    model_format.save_purchase(model_dir / model_format.PURCHASE_FILE, model)
    documents.write(
        model_dir / PURCHASE_REPORT,
        {"hyperparameters": settings, "features": [asdict(feature) for feature in STORED_FEATURES], **report},
    )
    _say("purchase", {**report["rows"], **{f"validation {name}": value for name, value in report["metrics"].items()}})


def _say(part: str, figures: dict[str, Any]) -> None:
    # `name=value;` is what the metric definitions of a training job look for in its log.
    written = " ".join(f"{name.replace(' ', ':')}={value};" for name, value in figures.items())
    sys.stdout.write(f"{part}: {written}\n")


if __name__ == "__main__":
    main()
