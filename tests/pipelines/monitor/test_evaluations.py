"""What starts an evaluation, and what it is told: over HTTP, by the events of a running localcloud."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pipelines import names as n
from pipelines.errors import ServiceError
from pipelines.monitor.functions.start import NO_THRESHOLD, NotServed, start, threshold
from tests.pipelines.monitor.watched import CARDHOLDERS, FORECASTER, Watched, until


def _evaluate(watched: Watched, at: str, stage: str = "prod", workload: str = FORECASTER) -> dict[str, str]:
    """What the schedule's event starts; gives the execution's parameters."""
    arn = watched.invoke({"workload": workload, "stage": stage, "time": at}, "evaluations")
    return watched.parameters({"PipelineExecutionArn": arn}) if arn else {}


def test_an_hour_is_evaluated_with_what_the_stage_serves(watched: Watched) -> None:
    served = watched.served(FORECASTER, "prod")
    assert _evaluate(watched, "2026-03-01T07:00:00Z") == {
        n.EVALUATION_TIME: "2026-03-01T07:00:00Z",
        n.STAGE: "prod",
        n.MODEL_PACKAGE_ARN: served.model_package_arn,
        n.MODEL_VERSION: str(served.version),
        n.ENDPOINT_CONFIG: served.endpoint_config,
        n.THRESHOLD: "0.25",
        n.MLFLOW_TRACKING_URI: watched.loop.mlflow.url,
        n.REPORT: "no",
        n.REPORT_REASON: "no",
        "PredictionLength": "30",
    }


def test_once_a_day_people_get_a_report_of_production(watched: Watched) -> None:
    found = _evaluate(watched, "2026-03-02T06:00:00Z")
    assert (found[n.REPORT], found[n.REPORT_REASON]) == ("yes", "daily")
    watched.say_serving(FORECASTER, "staging", watched.served(FORECASTER, "prod"))
    found = _evaluate(watched, "2026-03-02T06:00:00Z", "staging")
    assert (found[n.STAGE], found[n.REPORT]) == ("staging", "no")
    watched.client("ssm").delete_parameter(Name=watched.names.serving_parameter(FORECASTER, "staging"))


def test_a_schedule_that_fires_twice_evaluates_once(watched: Watched) -> None:
    event = {"workload": FORECASTER, "stage": "prod", "time": "2026-03-03T09:00:00Z"}
    first = watched.invoke(event, "evaluations")
    assert first
    assert watched.invoke(event, "evaluations") == first
    # Even when the threshold has moved in between, so that the second would be told something else.
    ssm, name = watched.client("ssm"), watched.names.monitoring_threshold(FORECASTER)
    count = len(watched.executions("monitor"))
    ssm.put_parameter(Name=name, Value="0.16", Type="String")
    assert watched.invoke(event, "evaluations") == ""
    ssm.delete_parameter(Name=name)
    assert len(watched.executions("monitor")) == count


def test_an_hour_whose_evaluation_failed_is_made_up_for_once(watched: Watched) -> None:
    def begun() -> list[str]:
        watched.quiet()
        return [one["PipelineExecutionDisplayName"] for one in watched.executions("monitor")[before:]]

    before = len(watched.executions("monitor"))
    given = _evaluate(watched, "2026-03-07T09:00:00Z")
    for hour, stage in (("10", "broken"), ("11", "broken"), ("12", "broken")):
        given |= {n.EVALUATION_TIME: f"2026-03-07T{hour}:00:00Z", n.STAGE: stage}
        watched.loop.sagemaker.start_pipeline_execution(
            PipelineName=watched.names.pipeline(FORECASTER, "monitor"),
            PipelineExecutionDisplayName=f"prod-20260307T{hour}0000Z",
            PipelineParameters=[{"Name": name, "Value": value} for name, value in given.items()],
        )
    watched.quiet()
    # What serves now came with the hour before the last of them.
    served = watched.served(FORECASTER, "prod")
    watched.say_serving(FORECASTER, "prod", replace(served, since=datetime(2026, 3, 7, 10, tzinfo=UTC)))
    done = len(begun())
    _evaluate(watched, "2026-03-07T13:00:00Z")
    assert sorted(begun()[done:]) == ["prod-20260307T110000Z", "prod-20260307T120000Z", "prod-20260307T130000Z"]
    done = len(begun())
    _evaluate(watched, "2026-03-07T13:00:00Z")
    _evaluate(watched, "2026-03-07T14:00:00Z")
    assert begun()[done:] == ["prod-20260307T140000Z"]
    watched.say_serving(FORECASTER, "prod", served)


def test_an_alarm_has_the_last_full_hour_evaluated_with_a_report(watched: Watched) -> None:
    before = len(watched.executions("monitor"))
    alarm = watched.alarm(n.DATA)
    watched.quiet()
    [execution] = watched.executions("monitor")[before:]
    found = watched.parameters(execution)
    assert (found[n.REPORT], found[n.REPORT_REASON]) == ("yes", alarm)
    hour = watched.now().replace(minute=0, second=0, microsecond=0)
    assert found[n.EVALUATION_TIME] in {f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (hour, hour - timedelta(hours=1))}


def test_nothing_is_evaluated_where_nothing_is_served(watched: Watched) -> None:
    before = len(watched.executions("monitor")) + len(watched.executions("monitor", CARDHOLDERS))
    assert _evaluate(watched, "2026-03-04T07:00:00Z", "staging") == {}
    assert _evaluate(watched, "2026-03-04T07:00:00Z", workload=CARDHOLDERS) == {}
    assert "serves no model" in watched.loop.said("evaluations", "INFO")[-1]["because"]
    # It was, and its endpoint was deleted.
    gone = replace(watched.served(FORECASTER, "prod"), endpoint=watched.names.endpoint(CARDHOLDERS, "prod"))
    watched.say_serving(CARDHOLDERS, "prod", gone)
    assert _evaluate(watched, "2026-03-04T08:00:00Z", workload=CARDHOLDERS) == {}
    assert "does not exist" in watched.loop.said("evaluations", "INFO")[-1]["because"]
    watched.client("ssm").delete_parameter(Name=watched.names.serving_parameter(CARDHOLDERS, "prod"))
    assert len(watched.executions("monitor")) + len(watched.executions("monitor", CARDHOLDERS)) == before


def test_a_project_without_the_pipeline_yet_is_passed_over(watched: Watched) -> None:
    sagemaker, name = watched.loop.sagemaker, watched.names.pipeline(FORECASTER, "monitor")
    described = sagemaker.describe_pipeline(PipelineName=name)
    sagemaker.delete_pipeline(PipelineName=name, ClientRequestToken="d" * 32)
    until(lambda: name not in [one["PipelineName"] for one in sagemaker.list_pipelines()["PipelineSummaries"]], "gone")
    assert _evaluate(watched, "2026-03-05T07:00:00Z") == {}
    assert f"the pipeline `{name}` does not exist" in watched.loop.said("evaluations", "INFO")[-1]["because"]
    sagemaker.create_pipeline(
        PipelineName=name,
        PipelineDefinition=described["PipelineDefinition"],
        RoleArn=described["RoleArn"],
        ClientRequestToken="c" * 32,
    )


def test_the_threshold_is_what_deployments_have_set_or_else_the_gates(watched: Watched) -> None:
    ssm, names = watched.client("ssm"), watched.names
    assert threshold(ssm, names, FORECASTER) == "0.25"
    assert threshold(ssm, names, CARDHOLDERS) == NO_THRESHOLD
    ssm.put_parameter(Name=names.monitoring_threshold(FORECASTER), Value="0.17", Type="String")
    assert threshold(ssm, names, FORECASTER) == "0.17"
    ssm.delete_parameter(Name=names.monitoring_threshold(FORECASTER))


def test_what_cannot_be_evaluated_is_refused_with_the_reason(watched: Watched) -> None:
    session, now = watched.loop.project.session, watched.now()
    with pytest.raises(
        ServiceError, match=r"cardholders is not monitored in staging; monitored are forecaster in staging"
    ):
        start(session, watched.names, CARDHOLDERS, "staging", now, tracking_uri="http://127.0.0.1:9")
    with pytest.raises(NotServed, match=r"staging serves no model of forecaster yet; `mlops deploy`"):
        start(session, watched.names, FORECASTER, "staging", now, tracking_uri="http://127.0.0.1:9")


def test_a_failed_evaluation_is_told_to_people(watched: Watched) -> None:
    given = _evaluate(watched, "2026-03-06T07:00:00Z")
    watched.quiet()
    watched.notices()
    arn = watched.loop.sagemaker.start_pipeline_execution(
        PipelineName=watched.names.pipeline(FORECASTER, "monitor"),
        PipelineParameters=[{"Name": name, "Value": value} for name, value in {**given, n.STAGE: "broken"}.items()],
    )["PipelineExecutionArn"]
    watched.quiet()
    assert watched.notices() == [
        f'"An evaluation has ended as Failed: {arn}. `mlops status` shows its steps, `mlops logs` what they said."'
    ]
