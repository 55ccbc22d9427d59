"""The image's programs as the platform runs them: `train`, `serve`, HTTP."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seed_code.forecaster
from seed_code.forecaster import train

ROOT = Path(seed_code.forecaster.__file__).parents[2]
PROGRAMS = ROOT / "seed_code/forecaster/bin"
HYPERPARAMETERS = {
    "time_freq": "1min", "context_length": "10", "prediction_length": "5", "epochs": "12", "mini_batch_size": "32",
    "num_cells": "16", "learning_rate": "0.01", "test_quantiles": "[0.05, 0.5, 0.95]",
}  # fmt: skip
HISTORY = [round(10 + 5 * float(np.sin(k * 2 * np.pi / 60)), 3) for k in range(900)]


def environment(base: Path, **more: str) -> dict[str, str]:
    return {
        "PATH": f"{PROGRAMS}:{Path(sys.executable).parent}:/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "error",
        "SAGEMAKER_BASE_DIR": str(base),
        **more,
    }


def prepare_job(base: Path, **hyperparameters: str) -> None:
    (base / "input/config").mkdir(parents=True)
    (base / "input/config/hyperparameters.json").write_text(json.dumps({**HYPERPARAMETERS, **hyperparameters}))
    for channel, values in (("train", HISTORY[:-5]), ("test", HISTORY)):
        (base / f"input/data/{channel}").mkdir(parents=True)
        record = {"start": "2026-01-01 00:00:00", "target": values}
        (base / f"input/data/{channel}/a.json").write_text(json.dumps(record) + "\n")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A folder with a trained model, and the program that ended; its standard error says what it imported."""
    base = tmp_path_factory.mktemp("job")
    prepare_job(base)
    env = environment(base, PYTHONPROFILEIMPORTTIME="1")
    done = subprocess.run(["train"], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return base, done


@pytest.fixture(scope="module")
def trained(job: tuple[Path, subprocess.CompletedProcess[str]]) -> tuple[Path, str]:
    """A folder with a trained model, and the job's log."""
    return job[0], job[1].stdout


class Server:
    """A running `serve` and how to ask it."""

    def __init__(self, port: int, process: subprocess.Popen[str]) -> None:
        self._port = port
        self.process = process

    def ask(
        self,
        body: bytes | None = None,
        content_type: str = "application/json",
        path: str = "/invocations",
        method: str = "POST",
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body, {"Content-Type": content_type})
            answer = connection.getresponse()
            return answer.status, answer.read()


@contextlib.contextmanager
def serving(base: Path, **more: str) -> Iterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = environment(base, SAGEMAKER_BIND_TO_PORT=str(port), **more)
    process = subprocess.Popen(["serve"], env=env, stderr=subprocess.PIPE, text=True)
    server = Server(port, process)
    try:
        while process.poll() is None:
            try:
                assert server.ask(path="/ping", method="GET") == (200, b"")
                break
            except ConnectionError:
                time.sleep(0.02)
        assert process.poll() is None, process.stderr and process.stderr.read()
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


@pytest.fixture(scope="module")
def server(trained: tuple[Path, str]) -> Iterator[Server]:
    configuration = json.dumps({"num_samples": 20, "output_types": ["quantiles"], "quantiles": ["0.5"]})
    with serving(trained[0], DEEPAR_INFERENCE_CONFIG=configuration, SAGEMAKER_MAX_PAYLOAD_IN_MB="1") as running:
        yield running


def request(**more: Any) -> bytes:
    instance = {"start": "2026-01-01 00:00:00", "target": HISTORY[:-5]}
    return json.dumps({"instances": [instance], **more}).encode()


def test_training_leaves_a_model_and_the_built_ins_lines(trained):
    base, log = trained
    assert {path.name for path in (base / "model").iterdir()} == {"model.json", "weights.npz"}
    assert not (base / "output/failure").exists()
    assert "#quality_metric: host=algo-1, epoch=0, train loss <loss>=" in log
    assert "#test_score (algo-1, mean_wQuantileLoss): " in log
    assert "#test_score (algo-1, wQuantileLoss[0.05]): " in log


def test_training_does_not_import_lightning(job):
    """It would cost five seconds and 250 MB; GluonTS's `torch` package would bring it."""
    lines = [line for line in job[1].stderr.splitlines() if line.startswith("import time")]
    imported = {line.rpartition("|")[2].strip() for line in lines}
    assert "torch" in imported
    assert imported.isdisjoint({"lightning", "pytorch_lightning", "gluonts.torch"})


def test_what_was_trained_is_forecast(server):
    status, body = server.ask(request(configuration={"num_samples": 200, "output_types": ["mean", "quantiles"]}))
    assert status == 200
    (prediction,) = json.loads(body)["predictions"]
    np.testing.assert_allclose(prediction["quantiles"]["0.5"], HISTORY[-5:], atol=3)
    assert len(prediction["mean"]) == 5


def test_batch_transform_answers_line_by_line_by_the_environments_configuration(server):
    lines = [json.dumps({"start": "2026-01-01", "target": HISTORY[:end]}).encode() for end in (300, 500, 895)]
    status, body = server.ask(b"\n".join(lines) + b"\n", "application/jsonlines")
    assert status == 200
    predictions = [json.loads(line) for line in body.splitlines()]
    assert [list(prediction) for prediction in predictions] == [["quantiles"]] * 3
    assert all(list(prediction["quantiles"]) == ["0.5"] for prediction in predictions)
    alone = json.loads(server.ask(lines[2], "application/jsonlines")[1])
    np.testing.assert_allclose(alone["quantiles"]["0.5"], HISTORY[-5:], atol=4)


@pytest.mark.parametrize(
    ("body", "content_type", "status", "field", "expected"),
    [
        (b"{", "application/json", 400, None, "the body is not JSON"),
        (b"\xff", "application/json", 400, None, "the body is not UTF-8"),
        (b"[" * 200_000, "application/json", 400, None, "the body is not JSON: nested too deeply"),
        (b"", "application/json", 400, None, "the body is not JSON"),
        (b"{}", "application/json", 400, "instances", "is missing"),
        (b'{"instances": []}', "application/json", 400, "instances", "expected a list of at least one series"),
        (b'{"instances": [{"start": "2026", "target": [1]}]}', "application/json", 400, "instances[0].start", "YYYY"),
        (
            b'{"start": "2026-01-01", "target": [1]}\n{"start": 1}',
            "application/jsonlines",
            400,
            "line[1].target",
            "missing",
        ),
        (b'{"start": "2026-01-01", "target": [1]}\nno', "application/jsonlines", 400, "line[1]", "line 2 is not JSON"),
        (b"\n\n", "application/jsonlines", 400, None, "the body holds no line"),
        (b"1,2", "text/csv", 415, None, 'content type "text/csv"; expected application/json or application/jsonlines'),
        (
            b" " * (1024 * 1024 + 1),
            "application/json",
            413,
            None,
            "the body has 1048577 bytes; expected at most 1048576",
        ),
    ],
)
def test_a_wrong_request_is_answered_with_what_is_wrong(server, body, content_type, status, field, expected):
    found, answer = server.ask(body, content_type)
    assert found == status
    error = json.loads(answer)["error"]
    assert error["field"] == field
    assert expected in error["message"]


def test_ten_thousand_instances_are_answered_or_refused_but_not_forgotten(server):
    instance = {"start": "2026-01-01", "target": [1.0, 2.0]}
    instances = {"instances": [instance] * 10_000}
    status, body = server.ask(
        json.dumps({**instances, "configuration": {"num_samples": 1, "output_types": ["mean"]}}).encode()
    )
    assert status == 200
    assert len(json.loads(body)["predictions"]) == 10_000
    status, body = server.ask(json.dumps({**instances, "configuration": {"num_samples": 500}}).encode())
    assert (status, json.loads(body)["error"]["field"]) == (400, "instances")


def test_other_paths_and_methods_say_what_there_is(server):
    for path, method, expected in (("/invocations", "GET", 405), ("/models", "GET", 404)):
        status, body = server.ask(path=path, method=method)
        assert status == expected
        assert "POST /invocations" in json.loads(body)["error"]["message"]
    status, body = server.ask(path="/execution-parameters", method="GET")
    assert (status, json.loads(body)["BatchStrategy"]) == (200, "SINGLE_RECORD")


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("DEEPAR_INFERENCE_CONFIG", '{"quantile": []}', "DEEPAR_INFERENCE_CONFIG.quantile: is unknown"),
        ("DEEPAR_INFERENCE_CONFIG", "{", "not JSON"),
        ("MODEL_SERVER_WORKERS", "many", "MODEL_SERVER_WORKERS is `many`; expected a whole number from 1 to"),
    ],
)
def test_a_server_with_a_wrong_environment_does_not_start(trained, variable, text, expected):
    done = subprocess.run(["serve"], env=environment(trained[0], **{variable: text}), capture_output=True, text=True)
    assert done.returncode == 1
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_without_a_model_says_so(tmp_path):
    done = subprocess.run(["serve"], env=environment(tmp_path), capture_output=True, text=True)
    assert done.returncode == 1
    assert f"there is no {tmp_path}/model/model.json" in done.stderr


def test_a_wrong_hyperparameter_ends_the_job_with_its_reason(tmp_path, monkeypatch, capsys):
    """In this process: the import of PyTorch is all that another one would add."""
    prepare_job(tmp_path, epochs="$(reboot)", num_cell="40")
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as ended:
            train.main()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended.value.code == 1
    reason = (tmp_path / "output/failure").read_text()
    assert reason.startswith("ClientError: hyperparameters: ")
    assert "`epochs` is `$(reboot)`; expected a whole number from 1 to" in reason
    assert "`num_cell` (value `40`) is unknown" in reason
    assert "Traceback" not in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


@pytest.mark.slow
def test_a_job_that_is_stopped_keeps_its_best_model(tmp_path):
    """What a time limit does: SIGTERM, and two minutes to save what there is."""
    prepare_job(tmp_path, epochs="1000000")
    with subprocess.Popen(["train"], env=environment(tmp_path), stdout=subprocess.PIPE, text=True) as job:
        assert job.stdout
        for line in job.stdout:
            if "epoch=2, train loss" in line:
                job.send_signal(signal.SIGTERM)
                break
        rest = job.stdout.read()
    assert job.returncode == 0
    assert "stopping training now: the job is being stopped" in rest
    with serving(tmp_path) as running:
        assert running.ask(request())[0] == 200


def test_the_programs_can_be_run(trained):
    assert all(os.access(PROGRAMS / name, os.X_OK) for name in ("train", "serve"))
