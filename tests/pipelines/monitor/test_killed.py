"""localcloud is killed while a retraining is under way, and started again: nothing is lost, and nothing done twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from pipelines import names as n
from pipelines.carried.retraining import FAILED, REGISTERED
from tests.conftest import Localcloud, point_at
from tests.pipelines.conftest import ROOT
from tests.pipelines.deploy.loop import Mlflow
from tests.pipelines.monitor.watched import FORECASTER, Watched, made, until


class Killable:
    """A localcloud that keeps its state, and always has the same port."""

    def __init__(self, state: Path) -> None:
        self._state, self._port = state, 0
        self.start()

    @property
    def localcloud(self) -> Localcloud:
        endpoint = f"http://127.0.0.1:{self._port}"
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}
        region = {"AWS_DEFAULT_REGION": "eu-west-1", "AWS_REGION": "eu-west-1"}
        return Localcloud(endpoint, {"AWS_ENDPOINT_URL": endpoint, **keys, **region})

    def start(self) -> None:
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MLOPS_", "MLFLOW_"))
        }
        command = [sys.executable, "-m", "localcloud", "up", "--port", str(self._port), "--state", str(self._state)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env={**clean, "AWS_DEFAULT_REGION": "eu-west-1"}, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert "http://127.0.0.1:" in line, f"localcloud did not start: {line!r}; its messages are above"
        self._port = int(line.partition("http://127.0.0.1:")[2].split()[0].rstrip("/"))

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._end()

    def stop(self) -> None:
        self._process.terminate()
        self._end()

    def _end(self) -> None:
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextmanager
def _killable(state: Path) -> Iterator[Killable]:
    found = Killable(state)
    try:
        yield found
    finally:
        found.stop()


@pytest.mark.slow
def test_killed_at_every_stage_it_goes_on_and_retrains_once(
    tmp_path: Path, tracking: Mlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _killable(tmp_path / "state") as cloud, made(tmp_path / "copy", cloud.localcloud, tracking) as watched:
        point_at(cloud.localcloud, monkeypatch)

        def again() -> None:
            cloud.kill()
            cloud.start()

        watched.ends_as("waits")
        watched.alarm(n.QUALITY)
        again()  # its event is on the way, or was acted on, or half so
        began = watched.now()
        watched.check(began)
        watched.quiet()  # the event, which comes again, may have been the one that starts it
        _each_once(watched, 1)
        again()  # the build is under way, which ends it
        for number, early, hours in ((2, 4, 7), (3, 10, 20)):
            assert watched.check(began + timedelta(hours=early))[FORECASTER] == "wait"
            assert watched.kept().attempts[-1].outcome == FAILED
            assert "localcloud stopped" in watched.kept().attempts[-1].outcome_reason
            assert watched.check(began + timedelta(hours=hours))[FORECASTER] == "start"
            again()
            _each_once(watched, number)
        watched.ends_as("good")
        watched.check(began + timedelta(hours=44))
        watched.check(began + timedelta(hours=45))
        until(lambda: watched.builds()[-1]["PipelineExecutionStatus"] == "Succeeded", "the build has ended")
        again()  # its end was told, or was not
        assert watched.check(began + timedelta(hours=46))[FORECASTER] == "nothing"
        _each_once(watched, 4)
        assert watched.kept().attempts[-1].outcome == REGISTERED


def _each_once(watched: Watched, number: int) -> None:
    """There are so many retrainings, each with a build of its own, and no other builds."""
    attempts = watched.kept().attempts
    assert len(attempts) == number
    assert [build["PipelineExecutionArn"] for build in watched.builds()] == [one.execution_arn for one in attempts]


@pytest.mark.slow
def test_by_the_hour_losses_above_the_threshold_retrain_and_a_first_loss_below_ends_the_alarm(watched: Watched) -> None:
    """With the schedules, and with metrics as an evaluation publishes them."""
    cloudwatch = watched.client("cloudwatch")
    alarm = watched.names.monitor_alarm(FORECASTER, "prod", n.QUALITY)
    dimensions = [
        {"Name": "Project", "Value": watched.names.project},
        {"Name": "Workload", "Value": FORECASTER},
        {"Name": "Stage", "Value": "prod"},
    ]

    def hour(loss: float) -> str:
        """An hour passes, and is found to have had this loss; the alarm's state then."""
        began = watched.now().replace(minute=0, second=0, microsecond=0)
        watched.loop.advance((began + timedelta(hours=1, minutes=1) - watched.now()).total_seconds())
        metrics = {"MeanWeightedQuantileLoss": loss, "LossThreshold": 0.2, "DataFreshnessMinutes": 1}
        cloudwatch.put_metric_data(
            Namespace="MLOps/Monitoring",
            MetricData=[
                {"MetricName": name, "Dimensions": dimensions, "Timestamp": began, "Value": value}
                for name, value in metrics.items()
            ],
        )
        watched.loop.advance(120)
        [found] = cloudwatch.describe_alarms(AlarmNames=[alarm])["MetricAlarms"]
        return str(found["StateValue"])

    evaluations, builds = len(watched.executions("monitor")), len(watched.builds())
    assert [hour(loss) for loss in (0.1, 0.3, 0.3)] == ["OK"] * 3
    assert hour(0.3) == "ALARM"
    watched.quiet()
    assert len(watched.builds()) == builds + 1
    assert watched.kept().attempts[-1].alarm == alarm
    assert hour(0.1) == "OK"
    watched.quiet()
    assert len(watched.builds()) == builds + 1
    moments = [watched.parameters(one)[n.EVALUATION_TIME] for one in watched.executions("monitor")[evaluations:]]
    assert len(set(moments)) >= 5  # one an hour, of production alone: staging serves nothing
    told = [json.loads(text)["NewStateValue"] for text in watched.notices() if alarm in text]
    assert told[-2:] == ["ALARM", "OK"]
