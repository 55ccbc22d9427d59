"""Package: make the two trained parts one deployable `model.tar.gz`, with a manifest that says all about it.

    python3 -m seed_code.cardholders.package [--decision-threshold 0.5]

    in    processing/input/clusters/model.tar.gz, processing/input/purchase/model.tar.gz   what the training jobs left
          processing/input/holdout/examples.parquet                                        for the golden requests
    out   processing/output/package/model.tar.gz     manifest.json, clusters.skops, purchase.skops
          processing/output/package/manifest.json    the same manifest, for readers without tar

The archive depends on its inputs alone: packing the same parts again gives the same bytes.
"""

import hashlib
import platform
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from seed_code.cardholders import clusters, example_requests, frames, model_format, purchase, records, scorer, train
from seed_code.cardholders.features import FIELDS
from seed_code.cardholders.scorer import MANIFEST_FILE, SCHEMA_VERSION, Scorer
from seed_code.common import archives, documents, paths
from seed_code.common.arguments import ArgumentParser
from seed_code.common.errors import ClientError
from seed_code.common.failure import reports_failure

ARCHIVE = "model.tar.gz"
GOLDEN_EXAMPLES = 8


@reports_failure
def main() -> None:
    """Package what the inputs hold."""
    parser = ArgumentParser(prog="package")
    parser.add_argument("--decision-threshold", type=float, default=0.5, help="will_spend: probability from which true")
    threshold = parser.parse_args().decision_threshold
    if not 0 <= threshold <= 1:
        raise ClientError(f"--decision-threshold is {threshold}; expected a number from 0 to 1")
    manifest = package(
        paths.processing_input_dir("clusters") / ARCHIVE,
        paths.processing_input_dir("purchase") / ARCHIVE,
        paths.processing_input_dir("holdout") / "examples.parquet",
        paths.processing_output_dir("package"),
        threshold,
    )
    sys.stdout.write(f"package: model version {manifest['model_version']}, {len(manifest['golden'])} golden requests\n")


def package(
    clusters_archive: Path, purchase_archive: Path, examples_file: Path, output: Path, threshold: float
) -> dict[str, Any]:
    """Write `model.tar.gz` and `manifest.json` to `output`, and give the manifest.

    Raises:
        ClientError: when an input is missing or is not what a training job of ours leaves.
    """
    with tempfile.TemporaryDirectory() as temporary:
        parts, folder = Path(temporary) / "parts", Path(temporary) / "package"
        folder.mkdir()
        archives.extract(clusters_archive, parts)
        archives.extract(purchase_archive, parts)
        for name in (model_format.CLUSTERS_FILE, model_format.PURCHASE_FILE):
            if not (parts / name).is_file():
                raise ClientError(f"{clusters_archive} and {purchase_archive} hold no {name}; were they swapped?")
            shutil.copyfile(parts / name, folder / name)
        cluster_report = documents.read(parts / train.CLUSTERS_REPORT)
        purchase_report = documents.read(parts / train.PURCHASE_REPORT)

        clustering = model_format.load_clusters(folder / model_format.CLUSTERS_FILE)
        spending = model_format.load_purchase(folder / model_format.PURCHASE_FILE)
        max_days = purchase_report["max_horizon_days"]
        known = [scorer.stored_feature(entry) for entry in purchase_report["features"]]
        answering = Scorer(clustering, spending, known, max_days, threshold)
        names = spending.columns.features
        examples = frames.read(examples_file, frames.columns_of_examples(names))
        manifest = _manifest(folder, answering, cluster_report, purchase_report)
        manifest["golden"] = [
            {"request": request, "response": answering.answer(request)}
            for request in golden_requests(examples, names, max_days)
        ]
        documents.write(folder / MANIFEST_FILE, manifest)
        output.mkdir(parents=True, exist_ok=True)
        archives.write(output / ARCHIVE, folder)
        shutil.copyfile(folder / MANIFEST_FILE, output / MANIFEST_FILE)
    return manifest


def golden_requests(examples: pd.DataFrame, features: tuple[str, ...], max_days: int) -> list[Any]:
    """Requests that a server of this package must answer as Package did: real ones, and the edges.

    Holdout examples are taken at even distances (no randomness to keep in step), alternately with their stored
    features, bare, and with the calendar alone; then three fields with a name, zeros, the largest k, and a batch.
    """
    step = max(len(examples) // GOLDEN_EXAMPLES, 1)
    chosen = examples.iloc[::step][:GOLDEN_EXAMPLES]
    full = example_requests.of(chosen, features)
    golden: list[Any] = []
    for number, request in enumerate(full):
        kept = dict(request)
        if number % 3 > 0:
            del kept["features"]
        if number % 3 > 1:
            kept["features"] = {name: request["features"][name] for name in purchase.CALENDAR}
        golden.append({**kept, "k": 1 + number * (max_days - 1) // max(len(full) - 1, 1)})
    fields = {"usage_freq": 1, "amount_spend": 40000, "uniq_merchant": 89}
    nobody = {"usage_freq": 0, "amount_spend": 0, "uniq_merchant": 0}
    largest = dict.fromkeys(FIELDS, records.LARGEST)
    golden += [
        {**fields, "k": min(6, max_days), "name": "C_Mason"},
        {**nobody, "k": 1},
        {**largest, "k": max_days},
        {**fields, "k": 1, "features": dict.fromkeys(features)},
        {**fields, "k": max_days, "features": {}},
        [{**fields, "k": k} for k in sorted({1, (max_days + 1) // 2, max_days})],
    ]
    return golden


def _manifest(
    folder: Path, answering: Scorer, cluster_report: dict[str, Any], purchase_report: dict[str, Any]
) -> dict[str, Any]:
    files = {name: scorer.sha256(folder / name) for name in (model_format.CLUSTERS_FILE, model_format.PURCHASE_FILE)}
    identity = "".join(files.values()) + repr(answering.threshold)
    return {
        "schema_version": SCHEMA_VERSION,
        "workload": "cardholders",
        "model_version": hashlib.sha256(identity.encode()).hexdigest()[:12],
        "files": files,
        "request": {
            "fields": {
                "usage_freq": {"type": "integer", "minimum": 0, "required": True},
                "amount_spend": {"type": "number", "minimum": 0, "required": True},
                "uniq_merchant": {"type": "integer", "minimum": 0, "required": True},
                "k": {"type": "integer", "minimum": 1, "maximum": answering.max_days, "required": True},
                "name": {"type": "string", "required": False},
                "features": {"type": "object", "required": False},
            },
            "features": purchase_report["features"],
            "max_days": answering.max_days,
            "window_days": purchase_report["window_days"],
            "max_records": records.MAX_RECORDS,
            "threshold": answering.threshold,
        },
        "libraries": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "scikit-learn", "scipy", "skops")},
        },
        "training": {
            "window": purchase_report["window"],
            "rows": {"holders": cluster_report["holders"], **purchase_report["rows"]},
            "hyperparameters": {
                "clusters": cluster_report["hyperparameters"],
                "purchase": purchase_report["hyperparameters"],
            },
            "metrics": {
                "clusters": {name: cluster_report[name] for name in clusters.SCORES},
                "purchase": purchase_report["metrics"],
                "purchase_fields_only": purchase_report["fields_only"],
            },
        },
        "clusters": {name: cluster_report[name] for name in ("chosen_k", "range", "profiles", "scale")},
        "baselines": purchase_report["baselines"],
    }


if __name__ == "__main__":
    main()
