"""Deployments, from the approval to the endpoint: the good ones, and what becomes of the others."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from pipelines.deploy.functions import serving
from pipelines.names import VARIANT
from tests.pipelines.deploy.loop import CARDHOLDERS, FORECASTER, Loop, Traffic, reason, until


def test_an_approved_package_comes_to_staging_and_is_tested_there(loop: Loop) -> None:
    loop.clear(CARDHOLDERS, "staging")
    package = loop.package()
    loop.decide(package, "staging")
    execution = loop.ended(package, "staging")
    assert execution.status == "Succeeded", reason(execution)
    assert loop.answers(package, "staging")
    endpoint, now = loop.endpoint(CARDHOLDERS, "staging"), loop.serving(CARDHOLDERS, "staging")
    assert endpoint is not None
    assert now is not None
    since = datetime.fromisoformat(now.pop("since"))
    report_uri = f"{loop.names.outputs_uri(CARDHOLDERS, 'deploy-staging')}/{execution.id}/tests.json"
    assert now == {
        "model_package_arn": package.arn,
        "version": package.version,
        "endpoint": loop.names.endpoint(CARDHOLDERS, "staging"),
        "endpoint_config": endpoint["EndpointConfigName"],
        "execution_arn": execution.arn,
        "test_report_uri": report_uri,
    }
    assert endpoint["EndpointStatus"] == "InService"
    assert endpoint["DataCaptureConfig"]["DestinationS3Uri"] == loop.names.capture_uri(CARDHOLDERS)
    listed = loop.sagemaker.list_tags(ResourceArn=endpoint["EndpointArn"])["Tags"]
    assert {tag["Key"]: tag["Value"] for tag in listed if tag["Key"].startswith("mlops:")} == {
        "mlops:project": loop.names.project,
        "mlops:workload": CARDHOLDERS,
        "mlops:stage": "staging",
        "mlops:model-package": package.arn,
        "mlops:since": since.isoformat(),
    }
    kept = loop.metadata(package)
    assert (kept["staging_test_report_uri"], kept["staging_since"]) == (report_uri, since.isoformat())
    bucket, _, key = report_uri.removeprefix("s3://").partition("/")
    report = json.loads(loop.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
    assert (report["passed"], report["requests"], report["model_package_arn"]) == (True, 4, package.arn)
    assert [(verdict["name"], verdict["status"]) for verdict in report["verdicts"]] == [
        ("x is 1", 200),
        ("x is 2", 200),
        ("x is 3", 200),
        ("no x", 400),
    ]


def test_a_package_approved_for_production_is_made_known_everywhere(loop: Loop) -> None:
    loop.mlflow.aliases.clear()
    models = {"mlflow_clusters_model": "t-clusters", "mlflow_clusters_version": "3"}
    models |= {"mlflow_purchase_model": "t-purchase", "mlflow_purchase_version": "5", "mlflow_run_id": "r"}
    models |= {"brier": "0.1", "brier_upper": "0.14"}
    package = loop.package(metadata=models)
    loop.deploy(package, "staging")
    assert loop.mlflow.aliases == []
    in_staging = loop.serving(CARDHOLDERS, "staging")
    loop.decide(package, "prod")
    execution = loop.ended(package, "prod")
    assert execution.status == "Succeeded", reason(execution)
    assert loop.answers(package, "prod")
    now = loop.serving(CARDHOLDERS, "prod")
    assert now is not None
    assert (now["version"], now["execution_arn"]) == (package.version, execution.arn)
    assert loop.serving(CARDHOLDERS, "staging") == in_staging
    # The first threshold is the bound of the model's own loss.
    threshold = loop.client("ssm").get_parameter(Name=loop.names.monitoring_threshold(CARDHOLDERS))
    assert threshold["Parameter"]["Value"] == "0.14"
    kept = loop.metadata(package)
    assert kept["prod_since"] == now["since"]
    assert in_staging is not None
    assert kept["staging_test_report_uri"] == in_staging["test_report_uri"]
    assert loop.mlflow.aliases == [
        {"name": "t-clusters", "alias": "champion", "version": "3"},
        {"name": "t-purchase", "alias": "champion", "version": "5"},
    ]


def test_the_forecasters_threshold_follows_what_production_serves(loop: Loop) -> None:
    ssm, threshold = loop.client("ssm"), loop.names.monitoring_threshold(FORECASTER)
    for name, value in {"MaxWql": "0.25", "UpdateRate": "0.8"}.items():
        ssm.put_parameter(Name=loop.names.ssm_parameter(FORECASTER, name), Value=value, Type="String", Overwrite=True)
    loop.deploy(loop.package(FORECASTER, metadata={"mean_wql": "0.15", "wql_upper": "0.16"}), "prod")
    moved = serving.lowered(0.25, 0.15, 0.8, 0.16)
    assert moved < 0.25
    assert float(ssm.get_parameter(Name=threshold)["Parameter"]["Value"]) == pytest.approx(moved)


def test_a_first_deployment_that_answers_wrongly_is_removed(loop: Loop) -> None:
    loop.clear(FORECASTER, "staging")
    package = loop.package(FORECASTER, wrong_at=[1], fails_at=[2], dies_of=[3])
    loop.decide(package, "staging")
    execution = loop.removed(package, "staging")
    assert execution.status == "Failed"
    answers = f"x is 1: answer.y is {package.factor + 1}, expected {package.factor} within 1e-06; "
    answers += 'x is 2: status 500, expected 200: {"error": "a bug"}; x is 3: status 0, expected 200: '
    assert reason(execution).startswith(
        f"The deployment to staging: 3 of 4 golden requests were answered wrongly: {answers}"
    )
    assert reason(execution).endswith(f"; the endpoint {loop.names.endpoint(FORECASTER, 'staging')} was removed")
    assert loop.endpoint(FORECASTER, "staging") is None
    assert loop.serving(FORECASTER, "staging") is None
    assert "staging_test_report_uri" not in loop.metadata(package)


def test_an_update_that_answers_wrongly_is_rolled_back(loop: Loop) -> None:
    good, wrong = loop.good("staging"), loop.package(wrong_at=[2])
    before = loop.serving(CARDHOLDERS, "staging")
    loop.decide(wrong, "staging")
    execution = loop.ended(wrong, "staging")
    assert execution.status == "Failed"
    assert "1 of 4 golden requests were answered wrongly: x is 2: " in reason(execution)
    assert before is not None
    assert reason(execution).endswith(f"the endpoint {before['endpoint']} serves {before['endpoint_config']}")
    assert loop.answers(good, "staging")
    assert loop.serving(CARDHOLDERS, "staging") == before
    assert loop.held(CARDHOLDERS, "staging") is None


NOT_UP = "The primary container for production variant AllTraffic did not pass the ping health check."


def test_a_server_that_does_not_come_up_leaves_no_endpoint_and_a_slow_one_is_waited_for(loop: Loop) -> None:
    loop.clear(CARDHOLDERS, "staging")
    package = loop.package(crashes=True)
    loop.decide(package, "staging")
    execution = loop.removed(package, "staging")
    assert execution.status == "Failed"
    endpoint = loop.names.endpoint(CARDHOLDERS, "staging")
    assert f"The deployment to staging: the endpoint {endpoint} is Failed: {NOT_UP}" in reason(execution)
    assert loop.endpoint(CARDHOLDERS, "staging") is None
    slow = loop.package(slow_seconds=0.5)
    loop.deploy(slow, "staging")
    assert loop.answers(slow, "staging")


@pytest.mark.slow
def test_an_update_whose_server_does_not_come_up_changes_nothing(loop: Loop) -> None:
    good, package = loop.good("staging"), loop.package(crashes=True)
    loop.decide(package, "staging")
    execution = loop.ended(package, "staging")
    assert execution.status == "Failed"
    endpoint = loop.names.endpoint(CARDHOLDERS, "staging")
    assert f"The deployment to staging: SageMaker rolled the endpoint {endpoint} back: {NOT_UP}" in reason(execution)
    assert loop.answers(good, "staging")
    assert loop.served(CARDHOLDERS, "staging") == good.version


def test_a_canary_that_fails_under_traffic_is_rolled_back_by_the_alarm(loop: Loop) -> None:
    good, bad = loop.good("prod"), loop.package(fails_at=[50])
    loop.deploy(bad, "staging")
    with Traffic(loop, CARDHOLDERS, "prod", x=50) as traffic:
        loop.decide(bad, "prod")
        execution = loop.ended(bad, "prod")
        later = traffic.seen.total() + 5
        until(lambda: traffic.seen.total() > later, "requests come after the roll-back")
    assert execution.status == "Failed"
    alarm, _ = loop.names.rollback_alarms(CARDHOLDERS, "prod")
    assert (
        "SageMaker rolled the endpoint "
        f"{loop.names.endpoint(CARDHOLDERS, 'prod')} back: The deployment was rolled back: the CloudWatch alarm {alarm}"
        " is in the ALARM state."
    ) in reason(execution)
    assert traffic.seen.keys() == {(200, good.factor * 50), (500, None)}
    assert loop.answers(good, "prod")
    assert loop.served(CARDHOLDERS, "prod") == good.version
    # The errors are forgotten after some minutes, so that the alarm does not stand in the way of the next package.
    loop.advance(240)
    [state] = loop.client("cloudwatch").describe_alarms(AlarmNames=[alarm])["MetricAlarms"]
    assert state["StateValue"] == "OK"


def test_an_endpoint_that_was_deleted_by_hand_is_made_anew(loop: Loop) -> None:
    loop.good("staging")
    loop.delete_endpoint(CARDHOLDERS, "staging")
    again = loop.package()
    loop.deploy(again, "staging")
    assert loop.answers(again, "staging")


@pytest.mark.slow
def test_an_endpoint_that_is_deleted_while_it_is_waited_for(loop: Loop) -> None:
    """Its events are lost, too: the message of the step that waits comes again after a minute."""
    loop.good("staging")
    package = loop.package(slow_seconds=0.3)
    with loop.without_events("endpoints"):
        loop.decide(package, "staging")
        loop.waiting(CARDHOLDERS, "staging")
        loop.settled(CARDHOLDERS, "staging")
        loop.delete_endpoint(CARDHOLDERS, "staging")
        loop.advance(61)
        execution = loop.ended(package, "staging")
    assert execution.status == "Failed"
    endpoint = loop.names.endpoint(CARDHOLDERS, "staging")
    assert f"the endpoint {endpoint} was deleted while it was deployed to" in reason(execution)
    loop.deploy(loop.package(), "staging")


@pytest.mark.slow
def test_an_endpoint_whose_event_is_lost_is_looked_at_a_minute_later(loop: Loop) -> None:
    loop.good("staging")
    package = loop.package(slow_seconds=0.3)
    with loop.without_events("endpoints"):
        loop.decide(package, "staging")
        loop.waiting(CARDHOLDERS, "staging")
        loop.settled(CARDHOLDERS, "staging")
        loop.advance(61)
        assert loop.ended(package, "staging").status == "Succeeded"


def test_a_message_that_comes_again_after_the_deployment_is_dropped(loop: Loop) -> None:
    """The message of the step that waits becomes visible again after the endpoint's event has done its work."""
    loop.deploy(loop.package(slow_seconds=0.3), "staging")
    loop.advance(65)
    assert loop.waiting_in("callbacks") == 0
    assert loop.said("waiting", "ERROR") == []


def test_an_execution_that_is_stopped_is_rolled_back_when_its_update_is_through(loop: Loop) -> None:
    good, other = loop.good("prod"), loop.package()
    loop.deploy(other, "staging")
    loop.decide(other, "prod")
    loop.waiting(CARDHOLDERS, "prod")
    arn = loop.started(other, "prod")
    loop.sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn)
    # Nobody can stop the update.
    assert loop.end_of(arn, CARDHOLDERS, "prod").status == "Stopped"
    loop.settled(CARDHOLDERS, "prod")
    assert loop.answers(good, "prod")
    assert loop.served(CARDHOLDERS, "prod") == good.version
    assert [line["execution"] for line in loop.said("failures", "WARNING")][-1] == arn


def test_a_first_deployment_whose_last_step_fails_is_removed(loop: Loop) -> None:
    """No step comes after it that could roll back."""
    loop.clear(FORECASTER, "prod")
    package = loop.package(FORECASTER, metadata={"mlflow_forecast_model": "t-forecast", "mlflow_forecast_version": "6"})
    loop.deploy(package, "staging")
    loop.mlflow.status = 503
    loop.decide(package, "prod")
    execution = loop.ended(package, "prod")
    assert execution.status == "Failed"
    assert f"MLflow at {loop.mlflow.url} answers 503 to t-forecast champion" in reason(execution)
    until(lambda: loop.endpoint(FORECASTER, "prod") is None, "the endpoint is removed")
    assert loop.serving(FORECASTER, "prod") is None


def test_an_endpoint_follows_its_requests_where_the_configuration_says_so(loop: Loop) -> None:
    package = loop.good("prod")
    autoscaling = loop.client("application-autoscaling")
    endpoint = loop.names.endpoint(CARDHOLDERS, "prod")
    asked = {"ServiceNamespace": "sagemaker", "ResourceIds": [f"endpoint/{endpoint}/variant/{VARIANT}"]}
    [target] = autoscaling.describe_scalable_targets(**asked)["ScalableTargets"]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (2, 4)
    [policy] = autoscaling.describe_scaling_policies(ServiceNamespace="sagemaker", ResourceId=asked["ResourceIds"][0])[
        "ScalingPolicies"
    ]
    tracking = policy["TargetTrackingScalingPolicyConfiguration"]
    assert (policy["PolicyName"], tracking["TargetValue"]) == (f"{endpoint}-invocations", 3000)
    arn = loop.start(package, "prod", MinInstances=2, MaxInstances=2)
    assert loop.end_of(arn, CARDHOLDERS, "prod").status == "Succeeded"
    assert autoscaling.describe_scalable_targets(**asked)["ScalableTargets"] == []


@pytest.mark.slow
def test_a_serverless_stage(loop: Loop) -> None:
    loop.clear(FORECASTER, "staging")
    settings = {"Mode": "serverless", "MemoryMb": 1024, "MaxConcurrency": 2, "CapturePercent": 0}
    settings |= dict.fromkeys(("InstanceCount", "MinInstances", "MaxInstances"), 0)
    for _ in range(2):  # made, and updated
        package = loop.approved(FORECASTER)
        execution = loop.end_of(loop.start(package, "staging", **settings), FORECASTER, "staging")
        assert execution.status == "Succeeded", reason(execution)
        assert loop.answers(package, "staging")
    endpoint = loop.endpoint(FORECASTER, "staging")
    assert endpoint is not None
    assert endpoint["ProductionVariants"][0]["CurrentServerlessConfig"] == {"MemorySizeInMB": 1024, "MaxConcurrency": 2}
    assert "DataCaptureConfig" not in endpoint
    loop.clear(FORECASTER, "staging")
