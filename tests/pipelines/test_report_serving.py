"""What the report tells of the stages and of deployments: what serves where since when, what a deployment came to."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from pipelines import graph
from pipelines.executions import StepRun
from pipelines.names import Names
from pipelines.report import deployment, flow, gather_stages, outcomes
from pipelines.report.deployment import Attempt
from pipelines.report.measures import CARDHOLDERS
from pipelines.report.page import Inputs, render
from pipelines.report.serving import Deployment, Stage, View, periods, view
from pipelines.report.serving_chart import Failure, Lane, Period, timeline
from tests.pipelines import samples
from tests.pipelines.report_pages import (
    ALARM,
    DEPLOY_SECTIONS,
    Page,
    before,
    called,
    checked,
    deployed,
    described,
    golden_report,
    inputs,
    packages,
    rolled_back,
    stage,
    stages,
)

HOSTILE = "<script>alert(1)</script>\"'>"


def _page(told: Inputs) -> Page:
    return checked(render(told))


def _view(shown: list[Stage], own: dict[str, Any] | None = None, *, known: Any = None, always: bool = False) -> View:
    found = view(
        shown,
        packages() if known is None else known,
        described() if own is None else own,
        CARDHOLDERS,
        workload="cardholders",
        made_at=samples.BEGIN,
        mlflow_url="http://127.0.0.1:4611",
        always_metrics=always,
    )
    assert found is not None
    return found


# --- what serves where ------------------------------------------------------------------------------------------------


def test_a_page_tells_what_each_stage_serves_and_how() -> None:
    page = _page(inputs())
    section = page.text[page.text.index("As of 2026-11-20 08:31 UTC") :]
    for told in (
        "staging InService Version 2 since 2026-11-20 05:30 UTC Machines 2 Requests 12k Errors 4 4xx: 4 Median 6.1 ms",
        "99th percentile 44.5 ms",
        "Commit 2f2c1ab0d9e8 Data s3://demo-123456789012-eu-west-1/cardholders/data/sha256-2/",
        "MLflow demo-cardholders-purchase version 2",
        "Tests 12 of 12 golden requests answered rightly, slowest 19.5 ms Deployed by execution deploy2",
        "Before version 1 since 2026-11-19 02:30 UTC",
        "prod InService Version 1 since 2026-11-19 04:30 UTC",
        "Measure Version 3, this one Version 2, in staging Against it Version 1, in prod Against it",
        "ROC AUC ↑ 0.8250 0.8200 +0.0050 0.8150 +0.0100",
    ):
        assert told in section
    links = [attributes.get("href") for tag, attributes in page.elements if tag == "a"]
    assert "http://127.0.0.1:4611/#/models/demo-cardholders-purchase/versions/2" in links


def test_the_package_of_the_page_is_named_where_it_serves() -> None:
    same = [stage("staging", 3, before(1)), stage("prod", 3, before(0.5))]
    found = _view(same)
    assert all("the one that this page is of" in card.under for card in found.cards)
    assert found.metrics is None  # the page shows them already
    metrics = _view(same, always=True).metrics
    assert metrics is not None
    assert (metrics.own, list(metrics.columns)) == ("Version 3, in staging and prod", [])


@pytest.mark.parametrize(
    ("version", "status", "known", "command"),
    [
        (None, "staging", [], "mlops run cardholders"),
        (None, "staging", packages()[:1], 'mlops approve 3 --workload cardholders --why "…"'),
        (None, "staging", packages()[2:], "mlops deploy 1 --workload cardholders --stage staging"),
        (2, "prod", packages(), 'mlops approve 2 --workload cardholders --stage prod --why "…"'),
        (None, "prod", packages()[:1], 'mlops approve 3 --workload cardholders --why "…"'),
    ],
)
def test_a_stage_that_serves_nothing_names_the_command_that_brings_a_version_there(
    version: int | None, status: str, known: list[Any], command: str
) -> None:
    staging = Stage("staging") if version is None else stage("staging", version, before(3))
    cards = {card.stage: card for card in _view([staging, Stage("prod")], known=known).cards}
    card = cards[status]
    assert (card.headline, card.status, card.command) == ("Serves nothing yet", "no endpoint", command)
    page = _page(inputs(stages=[staging, Stage("prod")], packages=known))
    assert command in page.text


def test_what_is_not_as_it_should_be_is_said() -> None:
    good = stage("prod", 1, before(3))
    assert good.endpoint is not None

    def remarks(changed: Stage) -> str:
        return " ".join(_view([changed]).cards[0].remarks)

    assert remarks(good) == ""
    gone = _view([replace(good, endpoint=None, traffic=None)]).cards[0]
    assert (gone.tone, gone.status) == ("bad", "no endpoint")
    assert "demo-cardholders-prod is gone" in gone.remarks[0]
    other = replace(good.endpoint, config="another", failure_reason="an alarm", desired=4)
    assert "has the configuration another" in remarks(replace(good, endpoint=other))
    assert "Last update: an alarm" in remarks(replace(good, endpoint=other))
    assert _view([replace(good, endpoint=other)]).cards[0].figures[0].note == "4 wanted"
    running = Deployment("arn", 2, "Executing", before(0.1), None)
    assert remarks(replace(good, deployments=[running])) == "Version 2 is being deployed."
    serverless = replace(good.endpoint, instances=None, desired=None)
    assert _view([replace(good, endpoint=serverless)]).cards[0].figures[0].value == "serverless"
    facts = dict((name, links) for name, links, _ in _view([replace(good, package=None, tests=None)]).cards[0].facts)
    assert facts["Package"] == [("was deleted", None)]
    assert facts["Tests"] == [("the report is gone", None)]


# --- which version when -----------------------------------------------------------------------------------------------


def test_a_version_that_came_back_is_known_from_the_executions() -> None:
    """Packages remember when they came last; version 2 served between two times of version 1."""
    known = [
        replace(package, metadata={"staging_since": before(hours).isoformat()})
        for package, hours in zip(packages()[1:], (4, 2), strict=True)
    ]
    seconds = timedelta(seconds=1.5)

    def run(version: int, hours: float, status: str = "Succeeded") -> Deployment:
        # Begins half a second after the whole second that its package remembers.
        return Deployment("arn", version, status, before(hours) + timedelta(seconds=0.5), before(hours) + seconds)

    ran = [run(1, 2), run(2, 3, "Failed"), run(2, 4), run(1, 5), run(1, 6)]
    found = periods(stage("staging", 1, before(2), deployments=ran), known, samples.BEGIN)
    assert found == [
        Period(1, before(6) + seconds, before(4)),
        Period(2, before(4), before(2)),
        Period(1, before(2), samples.BEGIN, serves=True),
    ]


def test_without_executions_the_packages_tell() -> None:
    found = periods(stages()[0], packages(), samples.BEGIN)
    assert found == [Period(1, before(30), before(3)), Period(2, before(3), samples.BEGIN, serves=True)]
    assert periods(Stage("staging"), packages(), samples.BEGIN) == []


@pytest.mark.parametrize("narrow", [True, False])
def test_the_time_line_has_a_bar_for_each_period_and_a_cross_for_each_failure(narrow: bool) -> None:
    lanes = [
        Lane("staging", periods(stages()[0], packages(), samples.BEGIN)),
        Lane(
            "prod", [Period(1, before(28), samples.BEGIN, serves=True)], [Failure(2, before(31)), Failure(2, before(2))]
        ),
    ]
    drawn = timeline(lanes, samples.BEGIN, narrow=narrow)
    assert drawn is not None
    root = ElementTree.fromstring(str(drawn))
    width = float((root.get("viewBox") or "").split()[2])
    bars = [node.attrib for node in root.iter() if node.tag.endswith("rect")]
    assert len(bars) == 3
    assert all(float(bar["x"]) >= 0 and float(bar["x"]) + float(bar["width"]) <= width for bar in bars)
    crosses = [node.text for node in root.iter() if node.get("class") == "cross"]
    assert crosses == ["\u00d7 2"]  # the other one was before anything served
    assert "version 2 from 2026-11-20 05:30 UTC" in str(drawn)


def test_nothing_served_is_no_drawing() -> None:
    assert timeline([Lane("staging", [])], samples.BEGIN) is None
    at_once = timeline([Lane("staging", [Period(1, samples.BEGIN, samples.BEGIN, serves=True)])], samples.BEGIN)
    assert at_once is not None


# --- a deployment -----------------------------------------------------------------------------------------------------


def test_a_deployment_that_went_well() -> None:
    page = _page(deployed())
    assert page.sections() == DEPLOY_SECTIONS
    for told in (
        "Version 1 serves prod",
        "Why version 1 was approved for prod at 2026-11-20 08:29 UTC",
        "Commit 1f2c1ab0d9e8",
        "12 of 12 golden requests answered rightly, slowest 19.5 ms.",
        "request 11 200 19.5 right",
        "InstanceCount 2",
        "UpdateEndpoint Function demo-deploy-steps Status Ok EndpointConfigName demo-new PreviousConfigName demo-old",
        "WaitForEndpoint Queue demo-callbacks Status Ok Reason the endpoint serves demo-new",
        "Model package arn:aws:sagemaker:eu-west-1:123456789012:model-package/demo-cardholders/1",
    ):
        assert told in page.text
    assert "Rolled back to" not in page.text
    assert "No evaluation" not in page.text
    assert "MemoryMb" not in page.text  # what a serverless stage has
    assert _heading(deployed(stages=[stage("prod", 2, before(0))])) == "Version 1 was deployed to prod"


def test_a_deployment_that_was_rolled_back_tells_why_and_to_what() -> None:
    told = rolled_back()
    page = _page(told)
    assert page.sections() == ["failure", "pipeline", "settings", "serving", "lineage"]
    assert "Version 2 was rolled back in prod" in page.text
    assert "9 steps in 14 s" in page.text  # without those that passed the failure on
    assert "Rolled back to version 1" in page.text
    failure = page.text[page.text.index("The reason that was kept") : page.text.index("demo-cardholders-deploy-prod")]
    assert f"WaitForEndpoint {ALARM}" in failure
    assert "DeploymentFailed" not in failure  # says the same once more
    assert f"DeploymentFailed Fail failed \u2013 The deployment to prod: {ALARM}" in page.text
    assert "TestEndpoint Lambda not done" in page.text


def _heading(told: Inputs) -> str:
    found = re.search(r"<h1>(.*)</h1>", render(told))
    assert found
    return found[1]


def _in_state(status: str, *steps: StepRun) -> Inputs:
    told = rolled_back()
    run = {step.name: step for step in steps}
    changed = tuple(run.get(step.name, StepRun(step.name, step.type, "Skipped")) for step in told.execution.steps)
    return replace(told, execution=replace(told.execution, status=status, steps=changed))


def test_other_ends_of_a_deployment() -> None:
    refused = samples.step("PackageRefused", "Fail", 1, 0.1, "Failed", failure_reason="not approved")
    assert _heading(_in_state("Failed", refused)) == "Version 2 was refused for prod"
    crashed = samples.step("VerifyPackage", "Lambda", 1, 0.1, "Failed", failure_reason="no such function")
    assert _heading(_in_state("Failed", crashed)) == "Version 2 was not deployed to prod"
    assert _heading(_in_state("Stopped")) == "Version 2: the deployment to prod was stopped"
    assert _heading(_in_state("Executing")) == "Version 2 is on its way to prod"


def test_what_was_rolled_back_to_is_told_as_far_as_it_is_known() -> None:
    def back(config: str, version: int | None) -> str:
        steps = (
            called("RollBack", 1, 1, EndpointConfigName=config),
            called("WaitForRollBack", 2, 1),
        )
        return deployment.view(_in_state("Failed", *steps).execution, Attempt(back_to=version), "prod").back

    assert back("demo-old", 1) == "version 1"
    assert back("demo-old", None) == "demo-old"
    assert back("", None) == "nothing: the endpoint was removed, since none had served before"
    assert deployment.view(deployed().execution, Attempt(), "prod").back == ""


def test_wrong_answers_stand_in_the_table_of_tests() -> None:
    page = _page(deployed(attempt=Attempt(tests=golden_report(wrong=2))))
    assert "10 of 12 golden requests answered rightly" in page.text
    assert "request 0 200 8.5 wrong answer.probability is 0.4, expected 0.6 within 1e-06" in page.text


def test_a_step_that_says_it_failed_has_failed_and_those_after_it_did_nothing() -> None:
    seen = {step.name: step for step in outcomes.understood(rolled_back().execution).steps}
    assert {name: step.status for name, step in seen.items() if step.status not in ("Succeeded", "Skipped")} == {
        "WaitForEndpoint": "Failed",
        "TestEndpoint": outcomes.NOT_DONE,
        "SetScaling": outcomes.NOT_DONE,
        "DeploymentFailed": "Failed",
    }
    assert seen["WaitForEndpoint"].failure_reason == ALARM
    assert flow.state_class(seen["TestEndpoint"]) == "idle"
    good = deployed().execution
    assert outcomes.understood(good) is good


@pytest.mark.parametrize("told", [deployed, rolled_back])
def test_texts_from_outside_are_shown_and_never_run(told: Any) -> None:
    good = told()
    hostile = json.loads(json.dumps(golden_report()).replace("request", HOSTILE.replace('"', "'")))
    served = stage("prod", 1, before(1))
    assert served.serving is not None
    assert served.endpoint is not None
    shown = replace(
        served,
        serving=replace(served.serving, endpoint=HOSTILE, execution_arn=HOSTILE, test_report_uri=HOSTILE),
        endpoint=replace(served.endpoint, status=HOSTILE, failure_reason=HOSTILE, config=HOSTILE),
        package=replace(packages()[2], metadata=dict.fromkeys(packages()[2].metadata, HOSTILE)),
        tests=hostile,
    )
    parameters = dict.fromkeys(good.execution.parameters, HOSTILE)
    html = render(
        replace(
            good,
            execution=replace(good.execution, parameters=parameters),
            attempt=Attempt(HOSTILE, hostile),
            stages=[shown],
            mlflow_url="javascript:alert(1)",
        )
    )
    page = checked(html)
    assert page.text.count("<script>alert(1)</script>") > 20
    assert 'href="javascript' not in html


def test_strange_reports_of_tests_leave_the_page_whole() -> None:
    for strange in ({}, {"verdicts": None}, {"verdicts": [None, {}, {"milliseconds": "x"}]}, {"verdicts": 3}):
        page = _page(deployed(attempt=Attempt(tests=strange), stages=[stage("prod", 1, before(1), tests=strange)]))
        assert {"pipeline", "serving", "lineage"} <= set(page.sections())


# --- the graph --------------------------------------------------------------------------------------------------------


def test_a_long_graph_is_folded_into_two_rows_through_which_no_edge_cuts_a_step() -> None:
    execution = outcomes.understood(rolled_back().execution)
    drawn = flow.flow(execution.graph, {step.name: step for step in execution.steps})
    assert drawn is not None
    root = ElementTree.fromstring(str(drawn))
    width, height = (float(text) for text in (root.get("viewBox") or "").split()[2:])
    assert width < 1100  # of eleven layers, which would be 1,650 wide
    rects = [{k: float(node.attrib[k]) for k in ("x", "y", "rx")} for node in root.iter() if node.tag.endswith("rect")]
    assert len(rects) == 11  # and two conditions
    assert sum(1 for rect in rects if rect["rx"] > 20) == 2  # round: steps that wait
    turns = [node.attrib["d"] for node in root.iter() if "Q" in node.attrib.get("d", "")]
    assert len(turns) == 1
    between = float(re.findall(r"V(\d+\.?\d*)", turns[0])[0])
    assert all(rect["y"] + flow.NODE_HEIGHT < between or rect["y"] > between for rect in rects)
    assert all(0 <= rect["x"] <= width - flow.NODE_WIDTH and rect["y"] <= height - flow.NODE_HEIGHT for rect in rects)
    texts = [node.text for node in root.iter() if node.get("class") == "state"]
    assert {"0.4 s", "waited 2.0 s", "not done", "failed", "yes", "no"} <= set(texts)


def test_a_long_chain_folds_in_its_middle_and_a_short_one_not_at_all() -> None:
    def drawn(length: int) -> str:
        steps = [
            {"Name": f"S{at}", "Type": "Lambda", "DependsOn": [f"S{at - 1}"] if at else []} for at in range(length)
        ]
        return str(flow.flow(graph.read({"Steps": steps}), {}))

    assert "Q" not in drawn(9)
    rows = {float(y) for y in re.findall(r'<rect x="[^"]*" y="([^"]*)"', drawn(12))}
    assert len(rows) == 2


# --- gathering --------------------------------------------------------------------------------------------------------


class _Sagemaker:
    """What is asked of SageMaker for the stages, answered from dictionaries."""

    exceptions = SimpleNamespace(ClientError=ClientError, ResourceNotFound=KeyError)

    def __init__(self, **answers: Any) -> None:
        self._answers = answers

    def list_pipeline_executions(self, PipelineName: str, **_: Any) -> dict[str, Any]:
        return {"PipelineExecutionSummaries": self._answers["executions"][PipelineName]}

    def describe_pipeline_execution(self, PipelineExecutionArn: str) -> dict[str, Any]:
        return {"LastModifiedTime": before(1), "PipelineExecutionDescription": "mlops deploy"}

    def list_pipeline_parameters_for_execution(self, PipelineExecutionArn: str) -> dict[str, Any]:
        return {"PipelineParameters": [{"Name": "ModelPackageArn", "Value": "arn:…/demo-cardholders/7"}]}

    def describe_endpoint(self, EndpointName: str) -> dict[str, Any]:
        raise _not_found("DescribeEndpoint")

    def describe_endpoint_config(self, EndpointConfigName: str) -> dict[str, Any]:
        if EndpointConfigName not in self._answers["configs"]:
            raise _not_found("DescribeEndpointConfig")
        return {"ProductionVariants": [{"ModelName": "m"}]}

    def describe_model(self, ModelName: str) -> dict[str, Any]:
        return {"Containers": [{"ModelPackageName": "arn:…/demo-cardholders/1"}]}


def _not_found(operation: str) -> ClientError:
    return ClientError({"Error": {"Code": "ValidationException", "Message": "Could not find it."}}, operation)


def test_the_last_deployments_of_a_stage_are_gathered_and_an_absent_pipeline_has_none() -> None:
    def run(name: str, status: str) -> dict[str, Any]:
        arn = f"arn:…/{name}"
        return {
            "PipelineExecutionArn": arn,
            "PipelineExecutionStatus": status,
            "StartTime": before(2),
            **({} if name == "by-hand" else {"PipelineExecutionDisplayName": name}),
        }

    ran = [run("version-3", "Executing"), run("version-2", "Failed"), run("by-hand", "Succeeded")]
    sagemaker = _Sagemaker(executions={"demo-cardholders-deploy-prod": ran})

    class _Missing(Exception):
        pass

    class _Ssm:
        exceptions = SimpleNamespace(ParameterNotFound=_Missing)

        def get_parameter(self, Name: str) -> dict[str, Any]:
            raise _Missing(Name)

    found = {
        name: gather_stages.stage_now(
            sagemaker,
            None,
            _Ssm(),
            None,
            names=Names("demo", "123456789012", "eu-west-1"),
            workload="cardholders",
            stage=name,
            packages=packages(),
            now=samples.BEGIN,
        )
        for name in ("staging", "prod")
    }
    assert found["staging"] == Stage("staging")
    assert [(one.version, one.status, one.ended) for one in found["prod"].deployments] == [
        (3, "Executing", None),
        (2, "Failed", before(1)),
        (7, "Succeeded", before(1)),
    ]


@pytest.mark.parametrize(
    ("serves", "configs", "version"), [("demo-old", (), 4), ("demo-new", ("demo-old",), 1), ("demo-new", (), None)]
)
def test_the_version_that_was_rolled_back_to_is_found_from_its_configuration(
    serves: str, configs: tuple[str, ...], version: int | None
) -> None:
    there = stage("prod", 4, before(1))
    assert there.serving is not None
    there = replace(there, serving=replace(there.serving, endpoint_config=serves))
    told = gather_stages.attempt_of(_Sagemaker(configs=configs), None, rolled_back().execution, [there])
    assert told == Attempt("mlops deploy", None, version)
