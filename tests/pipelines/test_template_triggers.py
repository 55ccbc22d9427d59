"""What starts the CodePipelines, and what their actions hand to each other: with GitHub the paths of their triggers are
those by which the function for CodeCommit decides.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from pipelines import names
from pipelines.delivery.paths import STARTED_BY_PUSH, concerning
from tests.pipelines import template
from tests.pipelines.conftest import ROOT

WORKLOADS = ("cardholders", "forecaster")
GIVEN = {
    "SageMakerProjectName": "fraud", "CodeBucket": "b", "CodeKey": "k", "Retraining": "{}",
    "SeedBucket": "s", "SeedKey": "z", "RepositoryId": "me/fraud",
    "ConnectionArn": "arn:aws:codeconnections:eu-west-1:123456789012:connection/1",
    "MlflowTrackingUri": "http://127.0.0.1:5000",
}  # fmt: skip
NAMES = names.Names("fraud", "123456789012", "eu-west-1")


def resources(**given: str) -> dict[str, dict[str, Any]]:
    return template.resources("project", GIVEN | given)


def pipelines(**given: str) -> dict[str, dict[str, Any]]:
    """By name."""
    found = [one["Properties"] for one in resources(**given).values() if one["Type"] == "AWS::CodePipeline::Pipeline"]
    return {one["Name"]: one for one in found}


def actions(pipeline: dict[str, Any]) -> list[dict[str, Any]]:
    return [action for stage in pipeline["Stages"] for action in stage["Actions"]]


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("kind", STARTED_BY_PUSH)
def test_the_paths_of_a_trigger_are_those_of_the_function(workload: str, kind: str) -> None:
    [trigger] = pipelines(RepositoryProvider="GitHub")[NAMES.code_pipeline(workload, kind)]["Triggers"]
    pushes = trigger["GitConfiguration"]["Push"]
    given = [path for push in pushes for path in push["FilePaths"]["Includes"]]
    assert given == list(concerning(workload, kind))
    assert all(len(push["FilePaths"]["Includes"]) <= 8 for push in pushes)
    assert all(push["Branches"] == {"Includes": ["main"]} for push in pushes)


def test_there_are_three_pipelines_for_each_workload_and_none_without_a_provider_that_has_them() -> None:
    for provider in ("CodeCommit", "GitHub"):
        wanted = {NAMES.code_pipeline(one, kind) for one in WORKLOADS for kind in names.CODE_PIPELINES}
        assert pipelines(RepositoryProvider=provider).keys() == wanted
        alone = pipelines(RepositoryProvider=provider, Workloads="forecaster")
        assert alone.keys() == {NAMES.code_pipeline("forecaster", kind) for kind in names.CODE_PIPELINES}
    for provider in (names.GITHUB_ACTIONS, names.NO_REPOSITORY):
        assert pipelines(RepositoryProvider=provider) == {}


def test_with_codecommit_only_a_push_an_approval_or_an_endpoint_starts_a_pipeline() -> None:
    """One whose variables all have defaults runs by itself when it is made, when there is nothing to work on."""
    for pipeline in pipelines(RepositoryProvider="CodeCommit").values():
        assert "Triggers" not in pipeline
        assert any("DefaultValue" not in variable for variable in pipeline["Variables"]), pipeline["Name"]


@pytest.mark.parametrize("provider", ["CodeCommit", "GitHub"])
def test_what_an_action_asks_for_is_there(provider: str) -> None:
    found = resources(RepositoryProvider=provider)
    for pipeline in pipelines(RepositoryProvider=provider).values():
        spaces = {"variables": {one["Name"] for one in pipeline["Variables"]}, "codepipeline": {"PipelineExecutionId"}}
        made: set[str] = set()
        for action in actions(pipeline):
            where = (pipeline["Name"], action["Name"])
            asked = json.dumps(action["Configuration"])
            for space, variable in re.findall(r"#\{(\w+)\.(\w+)\}", asked):
                assert space in spaces, where
                assert variable in spaces[space], where
            for artifact in re.findall(r"(\w+)::", asked):
                assert artifact in {one["Name"] for one in action["InputArtifacts"]}, where
            assert {one["Name"] for one in action.get("InputArtifacts", [])} <= made, where
            made |= {one["Name"] for one in action.get("OutputArtifacts", [])}
            project = action["Configuration"].get("ProjectName")
            if project is None:
                continue
            buildspec = _buildspec(found[project])
            if "Namespace" in action:
                spaces[action["Namespace"]] = set(buildspec["env"]["exported-variables"])
            if "OutputArtifacts" in action:
                assert "artifacts" in buildspec, where


def test_the_approval_shows_the_report_and_the_guard_is_told_what_it_looks_at() -> None:
    deploy = pipelines(RepositoryProvider="CodeCommit")[NAMES.code_pipeline("cardholders", "deploy")]
    [approve] = [action for action in actions(deploy) if action["ActionTypeId"]["Category"] == "Approval"]
    assert approve["Configuration"]["ExternalEntityLink"] == "#{Tests.REPORT_URL}"
    assert len(approve["Configuration"]["CustomData"]) <= 1000
    [guard] = [action for action in actions(deploy) if action["ActionTypeId"]["Provider"] == "Lambda"]
    assert json.loads(guard["Configuration"]["UserParameters"]).keys() == {"Workload", "ModelPackageArn", "Execution"}
    assert [stage["Name"] for stage in deploy["Stages"]] == ["Source", "Staging", "Tests", "Approval", "Prod"]


def test_every_build_project_has_its_buildspec_and_reports_where_it_writes_some() -> None:
    found = resources(RepositoryProvider="CodeCommit")
    projects = {one["Properties"]["Name"]: one for one in found.values() if one["Type"] == "AWS::CodeBuild::Project"}
    assert projects.keys() == {NAMES.build_project(one) for one in names.BUILD_PROJECTS}
    groups = {one["Properties"]["Name"] for one in found.values() if one["Type"] == "AWS::CodeBuild::ReportGroup"}
    reports = {f"{name}-{report}" for name, one in projects.items() for report in _buildspec(one).get("reports", {})}
    assert reports == groups
    privileged = {name for name, one in projects.items() if one["Properties"]["Environment"]["PrivilegedMode"]}
    assert privileged == {NAMES.build_project(names.IMAGES)}


def _buildspec(project: dict[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / project["Properties"]["Source"]["BuildSpec"]).read_text())
    return document
