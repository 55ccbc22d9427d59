"""Evaluate: judge the forecasts that batch transform made of all test windows, beside the baseline and the champion.

python3 -m seed_code.forecaster.evaluate --experiment NAME [--confidence 90] [--champion s3://…/model.tar.gz | none]
    [--num-samples 100] [--seed 0]

in    processing/input/forecasts/*.out             batch transform's output: an answer a line, one a window
      processing/input/windows/{windows.json,series.parquet}
      processing/input/report/prepare.json
      processing/input/model/model.tar.gz          that which made the forecasts
out   processing/output/evaluation/evaluation.json    all figures; the quality gate and the report read it
      processing/output/evaluation/golden.jsonl       requests and the model's answers, for a live endpoint to repeat
      processing/output/evaluation/plots/*.png
env   MLFLOW_TRACKING_URI    a run with parameters, metrics, plots, evaluation.json and the model goes there

The champion is asked for as many sample paths as the model was: --num-samples. The golden requests are asked of the
model's own server; of SageMaker's built-in DeepAR, which runs nowhere else, batch transform's answers are kept instead.
"""

import argparse
import hashlib
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from seed_code.common import champion, documents, golden, paths
from seed_code.common.arguments import ArgumentParser, whole_number
from seed_code.common.failure import reports_failure
from seed_code.common.served_model import ServedModel
from seed_code.forecaster import answers, golden_requests, judgement, rivals, rolling
from seed_code.forecaster.answers import Forecasts
from seed_code.forecaster.grid import GridSeries
from seed_code.forecaster.rivals import NotComparable
from seed_code.forecaster.rolling import Windows

SERVER = "seed_code.forecaster.serve"


def parser() -> ArgumentParser:
    """The command line."""
    described = ArgumentParser(prog="evaluate", description="Judges a forecaster by its forecasts of test windows.")
    described.add_argument("--experiment", required=True, help="MLflow experiment")
    described.add_argument(
        "--confidence", type=whole_number(1, 99), default=90, help="per cent that the band should hold"
    )
    described.add_argument("--champion", default=champion.NO_CHAMPION, help="S3 URI of a model.tar.gz, or none")
    described.add_argument("--num-samples", type=whole_number(1, 10_000), default=100, help="of the model's forecasts")
    described.add_argument("--seed", type=whole_number(0, 2**31 - 1), default=0, help="of the bootstrap interval")
    return described


@reports_failure
def main() -> None:
    """Evaluate what the inputs hold, and log it to MLflow."""
    arguments = parser().parse_args()
    archive = paths.processing_input_dir("model") / "model.tar.gz"
    output = paths.processing_output_dir("evaluation")
    levels = answers.levels_of(arguments.confidence)
    report = documents.read(paths.processing_input_dir("report") / "prepare.json")
    series, windows = rolling.read(paths.processing_input_dir("windows"))
    found = answers.read(
        paths.processing_input_dir("forecasts"), len(windows.origins), windows.prediction_length, levels
    )
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(1) as aside:
        folder = Path(temporary)
        training = judgement.training_of(archive, folder / "model")
        lines = None if training is None else aside.submit(_asked, archive, series, windows, levels)
        # Imported when the inputs are known to fit, and while the server is asked: MLflow alone takes seconds.
        from seed_code.common import mlflow_connection, mlflow_run
        from seed_code.forecaster import plots, tracking

        client = mlflow_connection.connect()  # before the work: a wrong address should cost seconds
        forecasts = {"model": found, "seasonal_naive": rivals.seasonal_naive(series, windows, levels)}
        rival = _champion(arguments, folder, series, windows, levels, forecasts)
        evaluation = judgement.judge(series, windows, arguments.confidence, levels, forecasts, arguments.seed)
        if rival is not None and "not_comparable" not in rival:
            rival["metrics"] = judgement.figures(windows.actual(series.values), forecasts["champion"], levels)
        version = hashlib.sha256(archive.read_bytes()).hexdigest()[:12]
        evaluation |= {"model_version": version, "champion": rival, "training": training, "data": report}
        golden.write(
            output / golden.FILE,
            golden_requests.transformed(series, windows, levels, arguments.num_samples, found)
            if lines is None
            else lines.result(),
        )
        images = plots.write(output / "plots", evaluation)
        # As in cardholders: the job's name leads to the execution; what differs between executions is no argument.
        tags = {"processing_job": paths.processing_job_name()}
        with mlflow_run.run(arguments.experiment, f"forecaster-{version}", tags) as run_id:
            # The model before figures: MLflow asks for the history of every metric of the run when one is logged.
            models = tracking.log_model(folder / "model", series, windows)
            tracking.log_figures(client, run_id, evaluation, arguments.champion)
            evaluation["mlflow"] = {"run_id": run_id, "experiment": arguments.experiment, "models": models}
            documents.write(output / "evaluation.json", evaluation)
            mlflow_run.log_files(client, run_id, [output / "evaluation.json"], images)
    sys.stdout.write(
        "evaluate: " + " ".join(f"{name}={value:.4f};" for name, value in evaluation["metrics"].items()) + "\n"
    )


def _asked(archive: Path, series: GridSeries, windows: Windows, levels: tuple[float, ...]) -> list[dict[str, Any]]:
    """The golden requests, with the answers of the model's own server."""
    with ServedModel(archive, SERVER, source="the model") as server:
        return golden.ask(server, golden_requests.of(series, windows, levels))


def _champion(
    arguments: argparse.Namespace,
    folder: Path,
    series: GridSeries,
    windows: Windows,
    levels: tuple[float, ...],
    forecasts: dict[str, Forecasts],
) -> dict[str, Any] | None:
    """What evaluation.json says of the champion; its forecasts go to the others."""
    archive = champion.fetch(arguments.champion, folder)
    if archive is None:
        return None
    described: dict[str, Any] = {"model_uri": arguments.champion}
    try:
        forecasts["champion"] = rivals.champion(
            archive, folder / "champion", series, windows, levels, arguments.num_samples
        )
    except NotComparable as reason:
        sys.stdout.write(f"evaluate: the champion {arguments.champion} is left out: {reason}\n")
        described["not_comparable"] = f"{reason}"
    return described


if __name__ == "__main__":
    main()
