"""Evaluate and register by their real programs: figures, champion, MLflow run and model, and what stops them.

AWS is a real localcloud, MLflow a folder. The programs run one after the other in one process, because MLflow's import
costs more than all that they do; the logged model is then loaded in another, away from this repository.
"""

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest

from seed_code.common import archives, golden
from seed_code.common.served_model import ServedModel
from seed_code.forecaster import artifact, evaluate, golden_requests, records
from seed_code.forecaster.forecasts import Forecaster
from seed_code.forecaster.sampler import Sampler

ROOT = Path(__file__).resolve().parents[3]
JOB = "pipelines-abc123def456-Evaluate-x1y2z3"
EXECUTION_ARN = "arn:aws:sagemaker:eu-west-1:123456789012:pipeline/demo/execution/abc"

# Evaluate, then register twice, then tell what MLflow holds; then evaluate a model of the built-in algorithm.
PROGRAMS = """
import json, os, runpy, sys
bucket, package, found, execution = sys.argv[1:]
def run(program, *arguments):
    sys.argv = [program, *arguments]
    runpy.run_module(f"seed_code.forecaster.{program}", run_name="__main__")
base = os.environ["SAGEMAKER_BASE_DIR"]
run("evaluate", "--experiment", "tests", "--champion", f"s3://{bucket}/champion/model.tar.gz")
file = f"{base}/processing/output/evaluation/evaluation.json"
run_id = json.load(open(file))["mlflow"]["run_id"]
for _ in range(2):
    run("register", "--model-package-arn", package, "--run-id", run_id, "--forecast-model", "demo-forecaster",
        "--execution-arn", execution, "--git-commit", "abc123")
import mlflow
client = mlflow.MlflowClient()
logged = client.get_run(run_id)
versions = client.search_model_versions("name = 'demo-forecaster'")
challenger = client.get_model_version_by_alias("demo-forecaster", "challenger")
model = mlflow.models.get_model_info("models:/demo-forecaster@challenger")
json.dump({
    "status": logged.info.status, "name": logged.info.run_name, "tags": logged.data.tags,
    "params": logged.data.params, "metrics": logged.data.metrics,
    "windows": [[one.step, one.value] for one in client.get_metric_history(run_id, "windows.mean_wql")],
    "losses": len(client.get_metric_history(run_id, "train.loss")),
    "files": sorted(one.path for where in ("", "plots") for one in client.list_artifacts(run_id, where)),
    "versions": len(versions), "challenger": str(challenger.version), "version_tags": challenger.tags,
    "inputs": model.signature.inputs.input_names(), "params_of_model": [one.name for one in model.signature.params],
    "example": model.saved_input_example_info is not None,
    "folder": mlflow.artifacts.download_artifacts("models:/demo-forecaster@challenger", dst_path=f"{base}/model"),
}, open(found, "w"))
os.environ["SAGEMAKER_BASE_DIR"] = f"{base}/built-in"
run("evaluate", "--experiment", "tests")
"""

# Away from the repository, with nothing but what the model brought along.
ELSEWHERE = """
import json, sys, types
import mlflow, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
instances, configuration = json.load(open(sys.argv[2]))
frame = pd.DataFrame(instances)
answers = {"frame": model.predict(frame, params=configuration), "plain": model.predict(frame[:1])}
answers["records"] = model.predict(instances, params=configuration)
for name, wrong, params in (
    ("start", frame.assign(start="2026-01-01T00:00:00Z"), {}), ("quantiles", frame, {"quantiles": ["2"]}),
):
    try:
        model.predict(wrong, params=params)
    except mlflow.exceptions.MlflowException as error:
        answers[name] = [error.error_code, error.message]
import seed_code
from seed_code.forecaster.pyfunc import Forecast
theirs = Forecast()
theirs.load_context(types.SimpleNamespace(artifacts={"model": sys.argv[4]}))
try:
    theirs.predict(None, frame)
except mlflow.exceptions.MlflowException as error:
    answers["built-in"] = [error.error_code, error.message]
answers["code"] = seed_code.__file__
answers["torch"] = "torch" in sys.modules
json.dump(answers, open(sys.argv[3], "w"))
"""


@dataclass(frozen=True)
class Evaluated:
    """What the programs left."""

    folder: Path
    document: dict[str, Any]
    found: dict[str, Any]
    bucket: str
    package: dict[str, Any]


@pytest.fixture(scope="module")
def base(prepared, tmp_path_factory) -> Path:
    """The processing job's folder."""
    base = tmp_path_factory.mktemp("evaluate")
    (base / "processing").mkdir()
    shutil.copytree(prepared.input, base / "processing" / "input")
    (base / "built-in-model").mkdir()
    (base / "built-in-model" / "model_algo-1").write_bytes(b"MXNet's")
    shutil.copytree(prepared.input, base / "built-in" / "processing" / "input")
    archives.write(base / "built-in" / "processing" / "input" / "model" / "model.tar.gz", base / "built-in-model")
    (base / "config").mkdir()
    (base / "config" / "processingjobconfig.json").write_text(json.dumps({"ProcessingJobName": JOB}))
    return base


@pytest.fixture(scope="module")
def run(localcloud) -> Callable[..., str]:
    """Runs Python with the localcloud and MLflow's folder as its surroundings; gives its output."""

    def ran(base: Path, *command: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, *command],
            cwd=base,  # a local store keeps its artifacts below the working folder
            env={
                "PATH": os.environ["PATH"], "HOME": str(base), "OMP_NUM_THREADS": "1",
                "SAGEMAKER_BASE_DIR": str(base), **localcloud.environment,
                # A folder rather than a database or a server: their tables take longer to make than all else here.
                "MLFLOW_TRACKING_URI": (base / "mlruns").as_uri(), "MLFLOW_ALLOW_FILE_STORE": "true", **environment,
            },
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=170, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    return ran


@pytest.fixture(scope="module")
def evaluated(run, base, prepared, localcloud) -> Evaluated:
    session = boto3.Session("test", "test", region_name=localcloud.environment["AWS_DEFAULT_REGION"])
    s3, sagemaker = (session.client(name, endpoint_url=localcloud.endpoint) for name in ("s3", "sagemaker"))
    bucket, group = f"champions-{uuid.uuid4().hex[:8]}", f"demo-forecaster-{uuid.uuid4().hex[:8]}"
    place = {"LocationConstraint": localcloud.environment["AWS_DEFAULT_REGION"]}
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=place)
    s3.upload_file(str(prepared.archive), bucket, "champion/model.tar.gz")
    sagemaker.create_model_package_group(ModelPackageGroupName=group)
    arn = sagemaker.create_model_package(ModelPackageGroupName=group)["ModelPackageArn"]
    run(base, "-c", PROGRAMS, bucket, arn, str(base / "found.json"), EXECUTION_ARN, PYTHONPATH=str(ROOT))
    document = json.loads((base / "processing/output/evaluation/evaluation.json").read_text())
    package = sagemaker.describe_model_package(ModelPackageName=arn)
    return Evaluated(base, document, json.loads((base / "found.json").read_text()), bucket, package)


def test_evaluation_json_holds_everything(evaluated):
    document = evaluated.document
    assert set(document) == {
        "schema_version", "workload", "frequency", "target", "prediction_length", "quantiles", "confidence", "metrics",
        "wql_by_quantile", "interval", "baselines", "champion", "champion_comparison", "windows", "forecasts", "recent",
        "model_version", "training", "data", "mlflow", "hour",
    }  # fmt: skip
    assert document["hour"]["upper"] == pytest.approx(3 * document["metrics"]["mean_wql"])
    assert 0 < document["hour"]["share"] <= 1
    assert all(type(value) is float for value in document["metrics"].values())
    assert document["data"] == {"observations": 712, "gaps": []}
    assert document["training"]["epochs_run"] == 3
    assert (document["mlflow"]["experiment"], list(document["mlflow"]["models"])) == ("tests", ["forecast"])


def test_the_same_model_as_champion_makes_no_difference(evaluated):
    champion = evaluated.document["champion"]
    assert champion == {
        "model_uri": f"s3://{evaluated.bucket}/champion/model.tar.gz", "metrics": evaluated.document["metrics"],
    }  # fmt: skip
    assert evaluated.document["champion_comparison"] == {"mean_wql_difference": 0.0}
    assert all(row["champion"] == row["mean_wql"] for row in evaluated.document["windows"])


LEVELS = (0.05, 0.5, 0.95)


def test_the_golden_requests_are_windows_the_edges_and_mistakes_and_are_answered_the_same_again(evaluated, prepared):
    file = evaluated.folder / "processing/output/evaluation/golden.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    with ServedModel(prepared.archive, evaluate.SERVER, "the model") as server:
        assert golden.ask(server, golden_requests.of(prepared.series, prepared.windows, LEVELS)) == lines
    assert 5 <= len(lines) <= 12
    assert len({line["name"] for line in lines}) == len(lines)
    rights = [line for line in lines if line["status"] == 200]
    assert {line["tolerance"] for line in rights} == {1e-4}
    for line in rights:
        predictions = line["answer"]["predictions"]
        assert len(predictions) == len(line["body"]["instances"])
        assert all(len(values) == 5 for one in predictions for values in one.get("quantiles", {}).values())
    assert sorted(len(line["body"]["instances"]) for line in rights) == [1] * 7 + [3]
    assert rights[0]["body"]["instances"][0]["start"] == f"{prepared.series.time(0):%Y-%m-%d %H:%M:%S}"
    assert [(line["status"], line["answer"]) for line in lines if line["status"] != 200] == [
        (415, {"error": {}}),
        (400, {"error": {}}),
        (400, {"error": {"field": "instances[0].start"}}),
        (400, {"error": {"field": "configuration.quantiles[0]"}}),
    ]


def test_of_the_built_in_medians_are_kept_so_that_other_samples_of_the_same_model_agree(evaluated, prepared):
    """Its server runs nowhere here, and draws other samples each time: our own network, with other seeds, stands in."""
    file = evaluated.folder / "built-in/processing/output/evaluation/golden.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(lines) == 6
    model = artifact.load(prepared.model)
    sampler, rng = Sampler(model), np.random.default_rng(11)
    for line in lines:
        assert (line["status"], line["content_type"]) == (200, "application/json")
        assert line["body"]["configuration"] == {
            "num_samples": 100, "output_types": ["mean", "quantiles"], "quantiles": ["0.05", "0.5", "0.95"],
        }  # fmt: skip
        ((kept,),) = (one["quantiles"].values() for one in line["answer"]["predictions"])
        series = [records.parse(instance, model.frequency) for instance in line["body"]["instances"]]
        again = np.median(sampler.sample(series, 100, rng)[0], axis=0)
        assert (np.abs(again - kept) <= line["tolerance"] * np.maximum(1, np.abs(kept))).all()
        assert 0 < line["tolerance"] < 0.5  # of values around 10, whose noise is small


def test_the_run_is_finished_named_after_the_model_and_tagged_with_its_job(evaluated):
    found = evaluated.found
    assert (found["status"], found["name"]) == ("FINISHED", f"forecaster-{evaluated.document['model_version']}")
    assert found["tags"]["processing_job"] == JOB


def test_the_run_has_parameters_metrics_and_files(evaluated):
    found, document = evaluated.found, evaluated.document
    assert found["params"]["hyperparameters.num_cells"] == "8"
    assert (found["params"]["target"], found["params"]["champion"]) == (
        "avg_fee_1min", document["champion"]["model_uri"],
    )  # fmt: skip
    for name, value in {
        "mean_wql": document["metrics"]["mean_wql"], "interval.upper": document["interval"]["upper"],
        "wql_by_quantile.0.05": document["wql_by_quantile"]["0.05"],
        "baselines.seasonal_naive.rmse": document["baselines"]["seasonal_naive"]["rmse"],
        "champion.coverage": document["champion"]["metrics"]["coverage"],
    }.items():  # fmt: skip
        assert found["metrics"][name] == pytest.approx(value)
    observed = [[at, row["mean_wql"]] for at, row in enumerate(document["windows"]) if row["observed"]]
    assert found["windows"] == observed
    assert found["losses"] == 3
    assert {"evaluation.json", "plots", "plots/forecasts.png", "plots/gaps.png", "plots/windows.png"} <= set(
        found["files"]
    )
    assert (evaluated.folder / "processing/output/evaluation/plots/forecasts.png").is_file()


def test_version_and_package_lead_to_each_other_and_twice_is_once(evaluated):
    found, run_id = evaluated.found, evaluated.document["mlflow"]["run_id"]
    assert (found["versions"], found["challenger"]) == (1, "1")
    assert found["version_tags"] == {
        "model_package_arn": evaluated.package["ModelPackageArn"], "execution_arn": EXECUTION_ARN,
        "git_commit": "abc123",
    }  # fmt: skip
    assert evaluated.package["CustomerMetadataProperties"] == {
        "mlflow_run_id": run_id, "mlflow_forecast_model": "demo-forecaster", "mlflow_forecast_version": "1",
    }  # fmt: skip


def test_the_logged_model_gives_the_endpoints_answer_elsewhere_and_without_torch(evaluated, prepared, run, tmp_path):
    assert evaluated.found["inputs"] == ["start", "target", "cat", "dynamic_feat"]
    assert evaluated.found["params_of_model"] == ["num_samples", "output_types", "quantiles"]
    assert evaluated.found["example"]
    instances = [json.loads(json.dumps({"start": "2026-11-06 12:00:00", "target": [5.0, None, 7.5] * 20}))] * 2
    configuration = {"num_samples": 30, "output_types": ["mean", "quantiles", "samples"], "quantiles": ["0.05", "0.9"]}
    (tmp_path / "asked.json").write_text(json.dumps([instances, configuration]))
    folder = Path(evaluated.found["folder"])
    (tmp_path / "built-in").mkdir()
    files = [str(tmp_path / name) for name in ("asked.json", "answers.json", "built-in")]
    run(tmp_path, "-c", ELSEWHERE, str(folder), *files)
    found = json.loads((tmp_path / "answers.json").read_text())
    forecaster = Forecaster(artifact.load(prepared.model))
    served = forecaster.answer({"instances": instances, "configuration": configuration})["predictions"]
    assert found["frame"] == as_served(served)
    assert found["plain"] == as_served(forecaster.answer({"instances": instances[:1]})["predictions"])
    assert found["records"] == found["frame"]
    for name, words in (
        ("start", "no time zone"),
        ("quantiles", "expected a list of numbers in (0, 1)"),
        ("built-in", "trained by SageMaker's built-in DeepAR"),
    ):
        code, message = found[name]
        assert code == "INVALID_PARAMETER_VALUE"
        assert words in message
    assert found["code"].startswith(str(folder))
    assert not found["torch"]


def as_served(predictions: list[Any]) -> Any:
    """What `serve` makes of predictions."""
    from seed_code.forecaster.serve import _encode

    return json.loads(_encode(predictions))


@pytest.fixture
def refused(base, tmp_path, monkeypatch, capsys) -> Callable[..., str]:
    """The reason that evaluate ends with, in this process: it ends before MLflow is imported."""

    def reason(*arguments: str, without: str | None = None) -> str:
        shutil.copytree(base / "processing/input", tmp_path / "processing/input")
        if without:
            (tmp_path / "processing/input" / without).unlink()
        monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
        monkeypatch.setattr(sys, "argv", ["evaluate", *arguments])
        with pytest.raises(SystemExit):
            evaluate.main()
        assert "Traceback" not in capsys.readouterr().err
        return (tmp_path / "output/message").read_text()

    return reason


@pytest.mark.parametrize(
    ("arguments", "without", "expected"),
    [
        ((), None, "the following arguments are required: --experiment"),
        (("--experiment", "x", "--confidence", "100"), None, "argument --confidence: 100 is not from 1 to 99"),
        (("--experiment", "x", "--seed", "one"), None, "argument --seed: invalid whole number value: 'one'"),
        (("--experiment", "x", "--confidence", "80"), None, "requests.jsonl.out, line 1: quantile 0.1 is missing"),
        (("--experiment", "x"), "report/prepare.json", "there is no "),
        (("--experiment", "x"), "windows/series.parquet", "there is no "),
        (("--experiment", "x"), "model/model.tar.gz", "expected the model.tar.gz that a training or package step left"),
        (("--experiment", "x"), "forecasts/requests.jsonl.out", "expected one file, batch transform's output"),
    ],
)
def test_inputs_that_do_not_fit_are_named_before_any_work(refused, arguments, without, expected):
    assert expected in refused(*arguments, without=without)
