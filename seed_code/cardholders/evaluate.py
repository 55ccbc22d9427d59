"""Evaluate: judge the packaged model by what its own server answers, beside baselines and the champion.

python3 -m seed_code.cardholders.evaluate --experiment NAME [--champion s3://bucket/key/model.tar.gz | none]
    [--max-records 20000] [--min-feedback 200]

in    processing/input/package/model.tar.gz
      processing/input/holdout/{examples,holders}.parquet
      processing/input/report/prepare.json
out   processing/output/evaluation/evaluation.json    all figures; the quality gate and the report read it
      processing/output/evaluation/golden.jsonl       requests and the server's answers, for a live endpoint to repeat
      processing/output/evaluation/plots/*.png
env   MLFLOW_TRACKING_URI    a run with parameters, metrics, plots, evaluation.json and both models goes there
"""

import sys
import tempfile
from pathlib import Path

from seed_code.cardholders.endpoint import Endpoint
from seed_code.common import champion, documents, golden, paths
from seed_code.common.arguments import ArgumentParser, whole_number
from seed_code.common.failure import reports_failure


@reports_failure
def main() -> None:
    """Evaluate what the inputs hold, and log it to MLflow."""
    parser = ArgumentParser(prog="evaluate")
    parser.add_argument("--champion", default=champion.NO_CHAMPION, help="S3 URI of a model.tar.gz, or none")
    parser.add_argument("--experiment", required=True, help="MLflow experiment")
    parser.add_argument("--max-records", type=int, default=20000, help="questions asked of the server, at most")
    parser.add_argument(
        "--min-feedback", type=whole_number(1, 1_000_000), default=200, help="answers that the monitor judges at least"
    )
    arguments = parser.parse_args()
    output = paths.processing_output_dir("evaluation")
    holdout_dir = paths.processing_input_dir("holdout")
    archive = paths.processing_input_dir("package") / "model.tar.gz"
    report = documents.read(paths.processing_input_dir("report") / "prepare.json")
    with Endpoint(archive, source="the package") as endpoint, tempfile.TemporaryDirectory() as temporary:
        # Imported while the server starts: both take seconds to load their libraries.
        from seed_code.cardholders import example_requests, frames, golden_requests, judgement, plots, tracking
        from seed_code.cardholders.features import FIELDS
        from seed_code.common import mlflow_connection, mlflow_run

        client = mlflow_connection.connect()  # before the work: a wrong address should cost seconds
        names = [feature["name"] for feature in endpoint.manifest["request"]["features"]]
        examples = frames.read(holdout_dir / "examples.parquet", frames.columns_of_examples(names))
        holders = frames.read(holdout_dir / "holders.parquet", FIELDS)
        rival = champion.fetch(arguments.champion, Path(temporary))
        evaluation = {
            **judgement.judge(
                endpoint,
                examples,
                holders,
                arguments.max_records,
                arguments.champion,
                rival,
                arguments.min_feedback,
            ),
            "data": report,
        }
        golden.write(output / golden.FILE, golden.ask(endpoint, golden_requests.of(endpoint.manifest)))
        example = example_requests.of(examples.iloc[:1], names)[0]
        images = plots.write(output / "plots", evaluation)
        run_name = f"cardholders-{endpoint.manifest['model_version']}"
        # The job's name holds the execution's id. Commit and execution are no arguments: they would be part of the
        # step's cache key, and no evaluation would ever be found again. The register program tags the run with them.
        tags = {"processing_job": paths.processing_job_name()}
        with mlflow_run.run(arguments.experiment, run_name, tags) as run_id:
            # Models before figures: MLflow asks for the history of every metric that a run has when a model is logged.
            models = tracking.log_models(endpoint.folder, endpoint.manifest, example)
            tracking.log_figures(client, run_id, endpoint.manifest, evaluation, arguments.champion)
            evaluation["mlflow"] = {"run_id": run_id, "experiment": arguments.experiment, "models": models}
            documents.write(output / "evaluation.json", evaluation)
            mlflow_run.log_files(client, run_id, [output / "evaluation.json"], images)
    found = evaluation["metrics"]
    sys.stdout.write("evaluate: " + " ".join(f"{name}={value:.4f};" for name, value in found.items()) + "\n")


if __name__ == "__main__":
    main()
