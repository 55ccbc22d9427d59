"""Evaluate and register, by their real programs: figures, champion, MLflow run and models, and what stops them.

Whoever loads the logged models is a process of its own. The programs run in this process: importing MLflow and
scikit-learn takes longer than all that they do.
"""

import contextlib
import copy
import importlib
import io
import json
import os
import re
import subprocess
import sys
import threading
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from seed_code.cardholders import golden_requests, judgement, package
from seed_code.cardholders.baselines import GAP_FEATURES, Baselines
from seed_code.cardholders.endpoint import Endpoint
from seed_code.cardholders.features import STORED_FEATURE_NAMES
from seed_code.cardholders.holdout import Holdout
from seed_code.common import archives, champion, golden
from seed_code.common.errors import ClientError

ROOT = Path(__file__).resolve().parents[3]
METRICS = ("roc_auc", "pr_auc", "log_loss", "brier", "calibration_error")
PACKAGE_ARN = "arn:aws:sagemaker:eu-west-1:123456789012:model-package/demo-cardholders/7"
EXECUTION_ARN = "arn:aws:sagemaker:eu-west-1:123456789012:pipeline/demo/execution/abc"
JOB = "pipelines-abc123def456-Evaluate-x1y2z3"


class _Aws(BaseHTTPRequestHandler):
    """As much of S3 (one object) and SageMaker (UpdateModelPackage) as these programs call."""

    def do_GET(self):
        content = self.server.objects.get(self.path)
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.send_header("ETag", '"x"')
        self.end_headers()
        if self.command == "GET" and content is not None:
            self.wfile.write(content)

    do_HEAD = do_GET

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.calls.append((self.headers["X-Amz-Target"], body))
        answer = json.dumps({"ModelPackageArn": body["ModelPackageArn"]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def aws(packaged):
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Aws)
    server.objects = {"/bucket/champion/model.tar.gz": (packaged / "model.tar.gz").read_bytes()}
    server.calls = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Where the tracking store lies."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def environment(aws, home):
    """The variables of a program with that store and the AWS above."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        # Of the machine, or each process would look through its fonts anew.
        "MPLCONFIGDIR": str(Path.home() / ".cache" / "matplotlib"),
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{aws.server_port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "eu-west-1",
        # A folder rather than a database or a server: their tables take longer to make than all else here.
        "MLFLOW_TRACKING_URI": (home / "mlruns").as_uri(),
        "MLFLOW_ALLOW_FILE_STORE": "true",
    }


@pytest.fixture(scope="module")
def run(environment, home):
    """Run a program of the workload in a process of its own: exit status and output."""

    def ran(base, *command):
        done = subprocess.run(
            [sys.executable, *command],
            cwd=home,  # a local store keeps its artifacts below the working folder
            env={**environment, "SAGEMAKER_BASE_DIR": str(base)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=170,
            check=False,
        )
        return done.returncode, done.stdout

    return ran


@pytest.fixture(scope="module")
def mlflow(environment, home):
    """MLflow in this process, at the store above. What the programs do to the process is undone."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setattr(sys, "path", [*sys.path])  # a loaded model puts its code there
        warnings.simplefilter("ignore")  # MLflow's own; pytest would make errors of them
        import mlflow

        before = mlflow.get_tracking_uri()
        mlflow.set_tracking_uri(environment["MLFLOW_TRACKING_URI"])
        yield mlflow
        mlflow.set_tracking_uri(before)


@pytest.fixture(scope="module")
def run_here(mlflow, home):
    """Run a program of the workload in this process: exit status and output."""

    def ran(base, program, *arguments, **variables):
        output = io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            warnings.catch_warnings(),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(output),
        ):
            warnings.simplefilter("ignore")
            patch.chdir(home)
            patch.setattr(sys, "argv", [program, *arguments])
            for name, value in {"SAGEMAKER_BASE_DIR": str(base), **variables}.items():
                patch.setenv(name, value)
            try:
                importlib.import_module(f"seed_code.cardholders.{program}").main()
            except SystemExit as ended:
                return ended.code, output.getvalue()
        return 0, output.getvalue()

    return ran


@pytest.fixture(scope="module")
def inputs(packaged, prepared, tmp_path_factory):
    base = tmp_path_factory.mktemp("evaluate")
    folder = base / "processing" / "input"
    folder.mkdir(parents=True)
    (base / "config").mkdir()
    (base / "config" / "processingjobconfig.json").write_text(json.dumps({"ProcessingJobName": JOB}))
    for name, source in (("package", packaged), ("holdout", prepared / "holdout"), ("report", prepared / "report")):
        (folder / name).symlink_to(source)
    return base


@pytest.fixture(scope="module")
def evaluated(run_here, inputs):
    status, output = run_here(
        inputs,
        *("evaluate", "--experiment", "tests"),
        *("--champion", "s3://bucket/champion/model.tar.gz", "--max-records", "3000"),
    )
    assert status == 0, output
    return json.loads((inputs / "processing" / "output" / "evaluation" / "evaluation.json").read_text())


class TestTheEvaluation:
    def test_it_holds_the_figures_that_the_gate_reads(self, evaluated):
        assert evaluated["schema_version"] == 1
        assert evaluated["workload"] == "cardholders"
        assert set(evaluated["metrics"]) == {*METRICS, "silhouette", "davies_bouldin", "calinski_harabasz"}
        assert all(type(value) is float for value in evaluated["metrics"].values())
        assert evaluated["metrics"]["silhouette"] > 0.5

    def test_the_model_beats_the_base_rate_on_the_same_holdout(self, evaluated):
        base = evaluated["baselines"]["base_rate"]
        for found in (evaluated["metrics"], evaluated["fields_only"]):
            assert found["roc_auc"] > base["roc_auc"]
            assert found["log_loss"] < base["log_loss"]
        assert set(evaluated["baselines"]) == {"base_rate", "gap_model"}

    def test_the_same_model_as_champion_makes_no_difference(self, evaluated):
        assert evaluated["champion"]["model_uri"] == "s3://bucket/champion/model.tar.gz"
        assert evaluated["champion"]["model_version"] == evaluated["model_version"]
        comparison = dict(evaluated["champion_comparison"])
        assert comparison.pop("questions") == evaluated["holdout"]["questions"]
        assert comparison == {f"{name}_difference": 0.0 for name in METRICS}

    def test_every_k_has_its_figures(self, evaluated):
        assert [row["k"] for row in evaluated["by_k"]] == list(range(1, 31))
        for row in evaluated["by_k"]:
            assert {*METRICS, "count", "positives", "base_rate", "baselines", "k"} == set(row)
            assert row["base_rate"] == pytest.approx(row["positives"] / row["count"])
        assert sum(row["count"] for row in evaluated["by_k"]) == evaluated["holdout"]["questions"]

    def test_calibration_bins_account_for_every_question(self, evaluated):
        bins = evaluated["calibration"]["bins"]
        assert sum(entry["count"] for entry in bins) == evaluated["holdout"]["questions"]
        assert set(bins[0]) == {"lower", "upper", "mean_predicted", "observed", "count"}

    def test_clusters_data_and_server_are_reported(self, evaluated, packaged):
        manifest = json.loads((packaged / "manifest.json").read_text())
        assert evaluated["clusters"] == manifest["clusters"]
        assert evaluated["data"] == {"rows": {"read": 12345}}
        server = evaluated["server"]
        assert (server["golden_requests"], server["mismatches"]) == (len(manifest["golden"]), 0)
        assert 0 < server["latency_ms"]["p50"] <= server["latency_ms"]["p99"]

    def test_plots_are_pictures(self, evaluated, inputs):
        plots = inputs / "processing" / "output" / "evaluation" / "plots"
        assert sorted(file.name for file in plots.iterdir()) == ["by_k.png", "calibration.png", "clusters.png"]
        assert all(file.read_bytes().startswith(b"\x89PNG") for file in plots.iterdir())


@pytest.fixture(scope="module")
def endpoint(packaged):
    """The package's running server."""
    with Endpoint(packaged / package.ARCHIVE, "the package") as running:
        yield running


class TestTheGoldenRequests:
    @pytest.fixture
    def lines(self, evaluated, inputs):
        file = inputs / "processing" / "output" / "evaluation" / "golden.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()]

    def test_the_server_answers_them_the_same_again(self, lines, endpoint):
        assert golden.ask(endpoint, golden_requests.of(endpoint.manifest)) == lines

    def test_they_are_real_requests_the_edges_and_mistakes(self, lines):
        assert 5 <= len(lines) <= 12
        assert len({line["name"] for line in lines}) == len(lines)
        rights = [line for line in lines if line["status"] == 200]
        assert all(set(line) == {"name", "content_type", "body", "status", "answer", "tolerance"} for line in rights)
        assert all((line["content_type"], line["tolerance"]) == ("application/json", 1e-6) for line in rights)
        singles = [line["body"] for line in rights if isinstance(line["body"], dict)]
        assert sum(len(body.get("features", ())) == len(STORED_FEATURE_NAMES) for body in singles) >= 2
        assert any("features" not in body for body in singles)
        (batch,) = (line for line in rights if isinstance(line["body"], list))
        assert len(batch["answer"]["response"]) == len(batch["body"]) > len(singles)
        wrong = [(line["status"], line["answer"], line["tolerance"]) for line in lines if line["status"] != 200]
        nowhere = {"error": {}}
        assert wrong == [
            (415, nowhere, 0),
            (400, nowhere, 0),
            (400, {"error": {"field": "uniq_merchant"}}, 0),
            (400, {"error": {"field": "k"}}, 0),
        ]
        assert [line["text"] for line in lines if "text" in line] == ["1,2", "{"]

    def test_no_holder_is_named(self, lines, prepared):
        holders = set(pd.read_parquet(prepared / "holdout" / "examples.parquet", columns=["holder"])["holder"])
        assert holders.isdisjoint(re.findall(r"[\w-]+", json.dumps(lines)))


QUERY = """
import json, sys, warnings
warnings.filterwarnings("error", module="seed_code")
import mlflow, pandas as pd
evaluation, requests = json.load(open(sys.argv[1])), json.load(open(sys.argv[2]))
client = mlflow.MlflowClient()
run = client.get_run(evaluation["mlflow"]["run_id"])
answers = {}
for name, uri in evaluation["mlflow"]["models"].items():
    model = mlflow.pyfunc.load_model(uri)
    frame = pd.DataFrame([{**one, **one.get("features", {})} for one in requests])
    frame = frame.drop(columns=["features", "name"])
    frame = frame.astype({name: "float64" for name in frame if name not in ("usage_freq", "uniq_merchant", "k")})
    if name == "clusters":
        frame = frame[["usage_freq", "amount_spend", "uniq_merchant"]]
    answers[name] = model.predict(frame).to_dict("list")
    assert model.metadata.signature.inputs.input_names()[:3] == ["usage_freq", "amount_spend", "uniq_merchant"]
    assert model.metadata.saved_input_example_info is not None
bare = mlflow.pyfunc.load_model(evaluation["mlflow"]["models"]["purchase"]).predict(
    pd.DataFrame([{"usage_freq": 1, "amount_spend": 40000.0, "uniq_merchant": 89, "k": 6}])
)
json.dump({
    "params": run.data.params,
    "metrics": run.data.metrics,
    "tags": run.data.tags,
    "status": run.info.status,
    "name": run.info.run_name,
    "files": [file.path for folder in ("", "plots") for file in client.list_artifacts(run.info.run_id, folder)],
    "by_k": [[one.step, one.value] for one in client.get_metric_history(run.info.run_id, "by_k.roc_auc")],
    "answers": answers, "bare": bare.to_dict("list"), "torch": "torch" in sys.modules,
}, open(sys.argv[3], "w"))
"""


@pytest.fixture(scope="module")
def tracked(run, inputs, evaluated, packaged, tmp_path_factory):
    """What MLflow holds afterwards, and what the logged models answer to golden requests; and those requests."""
    folder = tmp_path_factory.mktemp("query")
    golden = json.loads((packaged / "manifest.json").read_text())["golden"]
    asked = [entry for entry in golden if isinstance(entry["request"], dict)]
    (folder / "requests.json").write_text(json.dumps([entry["request"] for entry in asked]))
    evaluation = inputs / "processing" / "output" / "evaluation" / "evaluation.json"
    status, output = run(
        inputs, "-c", QUERY, str(evaluation), str(folder / "requests.json"), str(folder / "found.json")
    )
    assert status == 0, output
    return json.loads((folder / "found.json").read_text()), asked


class TestTheMlflowRun:
    def test_it_is_finished_named_after_the_model_and_tagged_with_its_job(self, tracked, evaluated):
        found, _ = tracked
        assert (found["status"], found["name"]) == ("FINISHED", f"cardholders-{evaluated['model_version']}")
        assert found["tags"]["processing_job"] == JOB

    def test_it_has_parameters_metrics_and_files(self, tracked, evaluated):
        found, _ = tracked
        assert found["params"]["purchase.max_iterations"] == "20"
        assert found["params"]["model_version"] == evaluated["model_version"]
        assert found["metrics"]["roc_auc"] == pytest.approx(evaluated["metrics"]["roc_auc"])
        assert found["metrics"]["baselines.gap_model.brier"] == pytest.approx(
            evaluated["baselines"]["gap_model"]["brier"]
        )
        assert found["by_k"] == [[row["k"], pytest.approx(row["roc_auc"])] for row in evaluated["by_k"]]
        assert {"evaluation.json", "plots", "plots/calibration.png"} <= set(found["files"])

    def test_its_models_give_the_endpoints_answers(self, tracked):
        found, asked = tracked
        expected = [entry["response"] for entry in asked]
        assert found["answers"]["clusters"]["predicted_cluster"] == [one["predicted_cluster"] for one in expected]
        assert found["answers"]["purchase"]["will_spend"] == [one["will_spend"] for one in expected]
        np.testing.assert_allclose(
            found["answers"]["purchase"]["probability"], [one["probability"] for one in expected], rtol=0, atol=1e-12
        )

    def test_its_models_load_without_pytorch(self, tracked):
        assert tracked[0]["torch"] is False

    def test_the_purchase_model_needs_no_stored_feature(self, tracked):
        found, asked = tracked
        expected = next(entry["response"] for entry in asked if "name" in entry["request"])
        assert found["bare"]["probability"] == [pytest.approx(expected["probability"], abs=1e-12)]


class TestRegister:
    def _register(self, run_here, base, run_id, arn=PACKAGE_ARN):
        return run_here(
            base,
            *("register", "--model-package-arn", arn, "--run-id", run_id),
            *("--clusters-model", "demo-clusters", "--purchase-model", "demo-purchase"),
            *("--execution-arn", EXECUTION_ARN, "--git-commit", "abc123"),
        )

    def test_versions_and_package_lead_to_each_other_and_twice_is_once(
        self, run_here, mlflow, aws, evaluated, tmp_path
    ):
        run_id = evaluated["mlflow"]["run_id"]
        for _ in range(2):
            status, output = self._register(run_here, tmp_path, run_id)
            assert status == 0, output
        client = mlflow.MlflowClient()
        for name in ("demo-clusters", "demo-purchase"):
            assert len(client.search_model_versions(f"name = '{name}'")) == 1
            challenger = client.get_model_version_by_alias(name, "challenger")
            assert (str(challenger.version), challenger.run_id) == ("1", run_id)
            assert challenger.tags == {
                "model_package_arn": PACKAGE_ARN,
                "execution_arn": EXECUTION_ARN,
                "git_commit": "abc123",
            }
        assert mlflow.pyfunc.load_model("models:/demo-purchase@challenger").metadata.run_id == run_id
        assert len(aws.calls) == 2
        target, body = aws.calls[0]
        assert target == "SageMaker.UpdateModelPackage"
        assert body == {
            "ModelPackageArn": PACKAGE_ARN,
            "CustomerMetadataProperties": {
                "mlflow_run_id": run_id,
                "mlflow_clusters_model": "demo-clusters",
                "mlflow_clusters_version": "1",
                "mlflow_purchase_model": "demo-purchase",
                "mlflow_purchase_version": "1",
            },
        }

    def test_an_unknown_run_is_named(self, run_here, tmp_path):
        status, _ = self._register(run_here, tmp_path, "0123456789abcdef0123456789abcdef")
        assert status == 1
        message = (tmp_path / "output" / "message").read_text()
        assert message.startswith("MLflow run 0123456789abcdef0123456789abcdef cannot be read")


class TestWhatStopsAnEvaluation:
    def test_no_tracking_server_named(self, run_here, inputs, tmp_path):
        (tmp_path / "processing").symlink_to(inputs / "processing")
        status, output = run_here(tmp_path, "evaluate", "--experiment", "x", MLFLOW_TRACKING_URI="")
        assert status == 1, output
        assert "Traceback" not in output
        reason = (tmp_path / "output" / "message").read_text()
        assert reason.startswith("MLFLOW_TRACKING_URI is not set; expected the address")

    @pytest.mark.parametrize("uri", ["s3://bucket/gone.tar.gz", "model.tar.gz", "s3://bucket"])
    def test_a_champion_that_cannot_be_had(self, uri, aws, tmp_path, monkeypatch):
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{aws.server_port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "test")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        with pytest.raises(ClientError, match=uri):
            champion.fetch(uri, tmp_path)


class TestEndpoint:
    def test_a_golden_answer_that_differs_stops_the_evaluation(self, endpoint, monkeypatch):
        manifest = copy.deepcopy(endpoint.manifest)
        assert judgement.check_golden(endpoint) == len(manifest["golden"])
        manifest["golden"][0]["response"]["predicted_cluster"] += 1
        monkeypatch.setattr(endpoint, "manifest", manifest)
        with pytest.raises(ClientError, match=r"answers .* to the golden request .*; the manifest says"):
            judgement.check_golden(endpoint)

    def test_a_request_that_is_refused_is_an_error(self, endpoint):
        with pytest.raises(ClientError, match="the server of the package answered 400: k: is 0"):
            endpoint.invoke({"usage_freq": 1, "amount_spend": 1, "uniq_merchant": 1, "k": 0})

    def test_a_package_that_cannot_be_served_says_why(self, model_folder, tmp_path):
        broken = tmp_path / "broken"
        broken.mkdir()
        for file in model_folder.iterdir():
            (broken / file.name).write_bytes(file.read_bytes()[:-1])
        manifest = (model_folder / "manifest.json").read_text()
        (broken / "manifest.json").write_text(manifest)
        archives.write(tmp_path / "model.tar.gz", broken)
        with (
            Endpoint(tmp_path / "model.tar.gz", "the champion s3://b/k") as endpoint,
            pytest.raises(ClientError, match=r"of the champion s3://b/k ended with status 1: .*the manifest says"),
        ):
            endpoint.invoke({})

    def test_no_archive_no_server(self, tmp_path):
        with pytest.raises(ClientError, match=r"there is no .*model\.tar\.gz"):
            Endpoint(tmp_path / "model.tar.gz", "x")


@pytest.fixture(scope="module")
def frame(prepared):
    return pd.read_parquet(prepared / "holdout" / "examples.parquet")


class TestHoldout:
    def test_within_the_limit_every_example_is_asked_about_with_every_k(self, frame):
        holdout = Holdout.of(frame.iloc[:50], STORED_FEATURE_NAMES, 30, 1500)
        assert (holdout.examples, len(holdout.requests)) == (50, 1500)
        assert [request["k"] for request in holdout.requests[:30]] == list(range(1, 31))
        assert holdout.labels[:30].tolist() == [frame["days_to_next"][0] <= k for k in range(1, 31)]
        np.testing.assert_array_equal(holdout.known[0], frame.loc[0, list(GAP_FEATURES)].to_numpy(float))

    def test_beyond_it_more_examples_are_asked_about_with_fewer_k(self, frame):
        holdout = Holdout.of(frame, STORED_FEATURE_NAMES, 30, 1500)
        assert (holdout.examples, len(holdout.requests)) == (150, 1500)
        assert set(holdout.days.tolist()) == set(range(1, 31))
        again = Holdout.of(frame, STORED_FEATURE_NAMES, 30, 1500)
        assert again.requests == holdout.requests

    def test_labels_belong_to_their_requests(self, frame):
        holdout = Holdout.of(frame, STORED_FEATURE_NAMES, 30, 1500)
        truth = {}
        for _, row in frame.iterrows():
            truth.setdefault((row["usage_freq"], round(row["amount_spend"], 6)), row["days_to_next"])
        for request, label in zip(holdout.requests, holdout.labels, strict=True):
            key = (request["usage_freq"], round(request["amount_spend"], 6))
            if request["amount_spend"] > 0:  # holders without a purchase in the window look alike
                assert label == (truth[key] <= request["k"])

    def test_a_champion_of_fewer_days_and_features_is_asked_what_it_knows(self, frame):
        holdout = Holdout.of(frame.iloc[:10], STORED_FEATURE_NAMES, 30, 300)
        requests, asked = holdout.for_model({"weekday", "month_of_year"}, 7)
        assert len(requests) == asked.sum() == 70
        assert all(set(request["features"]) == {"weekday", "month_of_year"} for request in requests)
        assert all(request["k"] <= 7 for request in requests)

    def test_fields_only_requests_carry_no_feature(self, frame):
        holdout = Holdout.of(frame.iloc[:10], STORED_FEATURE_NAMES, 30, 300)
        assert all(set(r) == {"usage_freq", "amount_spend", "uniq_merchant", "k"} for r in holdout.fields_only())

    @pytest.mark.parametrize(("to_next", "state"), [(np.nan, "no purchase in any"), (1.0, "a purchase in every")])
    def test_one_class_is_refused(self, frame, to_next, state):
        with pytest.raises(ClientError, match=f"holdout: {state} window of 1 to 30 days"):
            Holdout.of(frame.assign(days_to_next=to_next), STORED_FEATURE_NAMES, 30, 900)

    def test_baselines_answer_each_question(self, frame):
        holdout = Holdout.of(frame.iloc[:10], STORED_FEATURE_NAMES, 30, 300)
        answers = holdout.baselines(Baselines(tuple(np.linspace(0.1, 0.9, 30)), 1.0, 10.0, 120))
        assert answers["base_rate"][:30].tolist() == pytest.approx(np.linspace(0.1, 0.9, 30).tolist())
        assert (np.diff(answers["gap_model"][:30]) > 0).all()


def test_answers_may_differ_in_the_last_digits_only():
    one = {"predicted_cluster": 1, "will_spend": True, "probability": 0.7}
    assert judgement.same_answer({**one, "probability": 0.7 + 1e-12}, one)
    assert not judgement.same_answer({**one, "probability": 0.7001}, one)
    assert not judgement.same_answer({**one, "predicted_cluster": 2}, one)
    assert not judgement.same_answer({**one, "will_spend": False}, one)
    assert judgement.same_answer([one, one], [one, one])
    assert not judgement.same_answer([one], [one, one])
