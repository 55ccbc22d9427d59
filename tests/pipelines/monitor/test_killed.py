"""localcloud is killed while a retraining is under way, and started again: nothing is lost, and nothing done twice."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from pipelines import names as n
from pipelines.carried.retraining import FAILED, REGISTERED
from tests.conftest import point_at
from tests.pipelines.deploy.loop import Mlflow
from tests.pipelines.killable import killable
from tests.pipelines.monitor.watched import FORECASTER, Watched, made, until


@pytest.mark.slow
def test_killed_at_every_stage_it_goes_on_and_retrains_once(
    tmp_path: Path, tracking: Mlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    with killable(tmp_path / "state") as cloud, made(tmp_path / "copy", cloud.localcloud, tracking) as watched:
        point_at(cloud.localcloud, monkeypatch)
        again = cloud.again
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
