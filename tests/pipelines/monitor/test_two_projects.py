"""Two projects in one localcloud, with the same workloads: an alarm of one is no matter of the other's."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines import names as n
from tests.pipelines.deploy.loop import Mlflow
from tests.pipelines.monitor.watched import FORECASTER, Watched, made


@pytest.mark.slow  # a stack more
def test_an_alarm_of_one_project_touches_nothing_of_the_other(
    watched: Watched, tmp_path: Path, tracking: Mlflow
) -> None:
    with made(tmp_path / "other", watched.loop.localcloud, tracking, approve_for_staging=True) as other:
        builds, evaluations = len(watched.builds()), len(watched.executions("monitor"))
        alarm = other.alarm(n.QUALITY)
        other.quiet()
        [attempt] = other.kept().attempts
        assert attempt.alarm == alarm
        # Its configuration asks for that; production waits for a person all the same.
        package = other.loop.sagemaker.describe_model_package(ModelPackageName=attempt.package_arn)
        assert package["ModelApprovalStatus"] == "Approved"
        assert package["ApprovalDescription"] == f"Retraining: {attempt.reason}"
        assert len(other.builds()) == 1
        assert other.parameters(other.executions("monitor")[-1])[n.REPORT_REASON] == alarm
        assert watched.kept().attempts == ()
        assert (len(watched.builds()), len(watched.executions("monitor"))) == (builds, evaluations)
        # Nor do the functions of one act on an event of the other, were a rule to let it through.
        event = {"time": other.now().isoformat(), "detail": {"alarmName": alarm, "state": {"value": "ALARM"}}}
        assert watched.invoke(event) == {}
        assert watched.invoke(event, "evaluations") == ""
        arn = other.builds()[0]["PipelineExecutionArn"]
        ended = {"pipelineArn": arn.partition("/execution")[0], "pipelineExecutionArn": arn}
        assert watched.invoke({"time": other.now().isoformat(), "detail": ended}) == {}
        mine, theirs = watched.names, other.names
        for kind in n.MONITOR_ALARMS:
            assert mine.monitor_alarm(FORECASTER, "prod", kind) != theirs.monitor_alarm(FORECASTER, "prod", kind)
        before = watched.served(FORECASTER, "prod")
        assert before.endpoint == mine.endpoint(FORECASTER, "prod")
        assert other.served(FORECASTER, "prod").endpoint == theirs.endpoint(FORECASTER, "prod")
