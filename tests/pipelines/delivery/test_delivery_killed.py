"""localcloud is killed in the middle of pipelines, and started again: each goes on or says why not, none hangs."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines import codepipelines
from pipelines import names as n
from tests.conftest import point_at
from tests.contract.sagemaker_account import until
from tests.pipelines.delivery.delivery import Installation, told
from tests.pipelines.deploy.loop import CARDHOLDERS, mlflow_server
from tests.pipelines.killable import killable


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_in_a_build_in_a_deployment_and_while_it_waits_for_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with killable(tmp_path / "state") as cloud, mlflow_server() as mlflow:
        point_at(cloud.localcloud, monkeypatch)
        installation = Installation(cloud.localcloud, mlflow, tmp_path)
        installation.publish()
        project = installation.project("mortal").create(workloads=CARDHOLDERS)
        clone = project.clone(tmp_path / "clone")
        pipeline = project.names.code_pipeline(CARDHOLDERS, n.BUILD)

        package = project.package()
        project.decide(package, "staging")
        waiting = project.awaits(package)
        token = project.token(CARDHOLDERS)

        with project.held_up(CARDHOLDERS, "build") as building:
            commit = clone.commit("better", **{"seed_code/cardholders/train.py": "epochs = 2\n"})
            clone.push()
            until(building.exists, "it builds")
            cloud.again()
        failed = project.run_of(CARDHOLDERS, n.BUILD, commit)
        assert (failed.status, [action.name for action in failed.failed]) == ("Failed", ["Run"]), told(failed)
        assert failed.failed[0].said
        project.codepipeline.retry_stage_execution(
            pipelineName=pipeline, stageName="Build", pipelineExecutionId=failed.id, retryMode="FAILED_ACTIONS"
        )
        retried = project.over(CARDHOLDERS, n.BUILD, failed.id)
        assert retried.status == "Succeeded", told(retried)

        # It waits as it did, for the same answer.
        assert project.token(CARDHOLDERS) == token
        assert project.answers(package, "staging")
        with project.held_up(CARDHOLDERS, "prod") as deploying:
            project.put_approval(CARDHOLDERS, "Approved", "looks right", token)
            until(deploying.exists, "production is about to be deployed to")
            cloud.again()
        stopped = project.over(CARDHOLDERS, n.DEPLOY, waiting.id)
        assert [action.name for action in stopped.failed] == ["Deploy"], told(stopped)
        project.codepipeline.retry_stage_execution(
            pipelineName=stopped.pipeline, stageName="Prod", pipelineExecutionId=stopped.id, retryMode="FAILED_ACTIONS"
        )
        run = project.over(CARDHOLDERS, n.DEPLOY, stopped.id)
        assert run.status == "Succeeded", told(run)
        assert project.answers(package, "prod")

        # A push whose event is on its way, or half acted on, is built all the same, and once.
        last = clone.commit("best", **{"seed_code/cardholders/train.py": "epochs = 3\n"})
        clone.push()
        cloud.again()
        built = project.run_of(CARDHOLDERS, n.BUILD, last)
        if built.status == "Failed":  # the kill came while it was being built
            assert built.failed[0].said
        project.advance(0)
        of_last = [
            one
            for one in project.executions(CARDHOLDERS, n.BUILD)
            if any(source["revisionId"] == last for source in one["sourceRevisions"])
        ]
        assert len(of_last) == 1
        assert codepipelines.latest(project.codepipeline, pipeline) == built.id
        assert project.destroy().remaining == ()
