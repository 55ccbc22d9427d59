"""MLflow by its REST API: a run is found by its tag or made, what is logged twice is there once, faults are named."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from seed_code.common import mlflow_http
from seed_code.common.mlflow_http import MlflowError, NotThere, Server
from tests.seed_code.common.http_doubles import Mlflow, serving

MOMENT = datetime(2026, 11, 22, 10, tzinfo=UTC)


def run_of(server: Server, tag: str = "config-1") -> str:
    return server.run_of(
        "shop-forecaster",
        tag=("mlops.monitor", tag),
        name="monitor-prod-v3",
        started=MOMENT,
        tags={"mlops.stage": "prod"},
    )


def test_a_run_is_made_with_its_experiment_and_found_again():
    mlflow = Mlflow()
    with serving(mlflow.answer) as address:
        server = Server(address)
        assert server.find_run("shop-forecaster", ("mlops.monitor", "config-1")) is None
        first = run_of(server)
        assert run_of(Server(f"{address}/")) == first
        assert run_of(server, "config-2") != first
    assert mlflow.runs[first] == {
        "experiment_id": "1",
        "run_name": "monitor-prod-v3",
        "start_time": 1795341600000,
        "tags": [{"key": "mlops.stage", "value": "prod"}, {"key": "mlops.monitor", "value": "config-1"}],
    }


def test_an_experiment_that_somebody_else_makes_meanwhile_is_used():
    class Meanwhile(Mlflow):
        def experiments_get_by_name(self, told):
            answer = super().experiments_get_by_name(told)
            self.experiments.setdefault(told["experiment_name"], "77")  # right after it was not there
            return answer

    mlflow = Meanwhile()
    with serving(mlflow.answer) as address:
        assert mlflow.experiments == {}
        assert mlflow_run(mlflow, run_of(Server(address)))["experiment_id"] == "77"


def mlflow_run(mlflow: Mlflow, name: str) -> dict:
    return mlflow.runs[name]


def test_metrics_bear_the_moment_and_the_step():
    mlflow = Mlflow()
    with serving(mlflow.answer) as address:
        server = Server(address)
        run = run_of(server)
        for _ in range(2):
            server.log_metrics(run, {"BrierScore": 0.25, "Requests": 3.0}, time=MOMENT, step=7)
        with pytest.raises(NotThere, match=r"answers 404 to runs/log-batch: .*RESOURCE_DOES_NOT_EXIST"):
            server.log_metrics("run-9", {"Requests": 3.0}, time=MOMENT, step=7)
    assert mlflow.metrics[run] == {("BrierScore", 0.25, 1795341600000, 7), ("Requests", 3.0, 1795341600000, 7)}


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("", "MLFLOW_TRACKING_URI is not set"),
        ("http://127.0.0.1:9", r"MLflow at http://127\.0\.0\.1:9 cannot be reached: "),
        ("arn:aws:sagemaker:eu-west-1:123456789012:endpoint/x", "expected an ARN of one of mlflow-tracking-server, "),
        ("arn:aws", "expected an ARN of one of"),
    ],
)
def test_a_server_that_is_not_there_is_named(uri, said):
    with pytest.raises(MlflowError, match=said):
        run_of(Server(uri))


@pytest.mark.parametrize("content", [b"not now", b"[]", b'{"error_code": 7}'])
def test_an_answer_that_is_no_answer_is_shown(content):
    with serving(lambda *_: (503, content)) as address, pytest.raises(MlflowError, match="answers 503 to experiments/"):
        run_of(Server(address))


def test_an_answer_that_is_another_servers_is_shown():
    said = r"answers no JSON to experiments/get-by-name: <h1>Welcome"
    with serving(lambda *_: (200, b"<h1>Welcome</h1>")) as address, pytest.raises(MlflowError, match=said):
        run_of(Server(address))


@pytest.mark.parametrize(
    ("kind", "address", "header", "service"),
    [
        ("mlflow-tracking-server/t", "https://eu-west-1.experiments.sagemaker.aws", "x-mlflow-sm-tracking-server-arn",
         "sagemaker-mlflow"),
        ("mlflow-app/app-1", "https://mlflow.sagemaker.eu-west-1.app.aws", "x-sm-mlflow-app-arn", "sagemaker"),
    ],
)  # fmt: skip
def test_a_server_of_aws_gets_signed_requests(monkeypatch, kind, address, header, service):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    arn = f"arn:aws:sagemaker:eu-west-1:123456789012:{kind}"
    for method, query in (("POST", ""), ("GET", "?experiment_name=shop")):
        request = mlflow_http._request(arn, method, "/api/2.0/mlflow/x", {"experiment_name": "shop"}).prepare()
        assert request.url == f"{address}/api/2.0/mlflow/x{query}"
        assert request.headers[header] == arn
        assert f"/eu-west-1/{service}/aws4_request" in request.headers["Authorization"]
