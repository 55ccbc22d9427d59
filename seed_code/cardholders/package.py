"""Package: make the two trained parts one deployable `model.tar.gz`, with a manifest that says all about it.

    python3 -m seed_code.cardholders.package [--decision-threshold 0.5]

    in    processing/input/clusters/model.tar.gz, processing/input/purchase/model.tar.gz   what the training jobs left
          processing/input/holdout/examples.parquet                                        for the golden requests
    out   processing/output/package/model.tar.gz     manifest.json, clusters.skops, purchase.skops
          processing/output/package/manifest.json    the same manifest, for readers without tar
          processing/output/package/profile.json     its part on the training data (profile.py), for the monitor

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

from seed_code.cardholders import clusters, frames, golden_requests, model_format, profile, records, scorer, train
from seed_code.cardholders.scorer import MANIFEST_FILE, SCHEMA_VERSION, Scorer
from seed_code.common import archives, documents, paths
from seed_code.common.arguments import ArgumentParser
from seed_code.common.errors import ClientError
from seed_code.common.failure import reports_failure

ARCHIVE = "model.tar.gz"


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
    """Write `model.tar.gz`, `manifest.json` and `profile.json` to `output`, and give the manifest.

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
            {"name": name, "request": request, "response": answering.answer(request)}
            for name, request in golden_requests.right(examples, names, max_days).items()
        ]
        documents.write(folder / MANIFEST_FILE, manifest)
        output.mkdir(parents=True, exist_ok=True)
        archives.write(output / ARCHIVE, folder)
        shutil.copyfile(folder / MANIFEST_FILE, output / MANIFEST_FILE)
        documents.write(output / profile.FILE, manifest["profile"])
    return manifest


def model_version(files: dict[str, str], threshold: float) -> str:
    """What a package is called: by its files' SHA-256 and the threshold, since nothing else decides on its answers."""
    identity = "".join(files.values()) + repr(threshold)
    return hashlib.sha256(identity.encode()).hexdigest()[:12]


def _manifest(
    folder: Path, answering: Scorer, cluster_report: dict[str, Any], purchase_report: dict[str, Any]
) -> dict[str, Any]:
    files = {name: scorer.sha256(folder / name) for name in (model_format.CLUSTERS_FILE, model_format.PURCHASE_FILE)}
    return {
        "schema_version": SCHEMA_VERSION,
        "workload": "cardholders",
        "model_version": model_version(files, answering.threshold),
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
        "profile": profile.document(
            purchase_report["profile"], [cluster["share"] for cluster in cluster_report["profiles"]]
        ),
    }


if __name__ == "__main__":
    main()
