"""What goes wrong in a project's life, on the whole way: pushes at a bad moment, decisions that change, branches that
are rewritten, neighbours, names of every length, and halves that are left over.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines import codepipelines
from pipelines import names as n
from pipelines.names import PROJECT_LENGTH
from pipelines.projects import destruction, reading, upgrade
from pipelines.projects.things import Account
from tests.contract.sagemaker_account import until
from tests.pipelines.delivery.delivery import POLL_SECONDS, Delivery, Installation, told
from tests.pipelines.deploy.loop import CARDHOLDERS, FORECASTER
from tests.working_copy import WorkingCopy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def _train(clone: WorkingCopy, text: str, *push: str) -> str:
    """Push another training of the cardholders; gives the commit."""
    commit = clone.commit(text, **{"seed_code/cardholders/train.py": f"{text}\n"})
    clone.push(*push)
    return commit


# --- pushes -----------------------------------------------------------------------------------------------------------


def test_pushes_during_a_build_wait_and_the_newest_takes_the_place_of_the_others(
    fraud: Delivery, clone: WorkingCopy
) -> None:
    with fraud.held_up(CARDHOLDERS, "build") as reached:
        first = _train(clone, "epochs = 10")
        until(reached.exists, "the first is being built")
        second = _train(clone, "epochs = 11")
        pipeline = fraud.names.code_pipeline(CARDHOLDERS, n.BUILD)
        until(lambda: _waits(fraud, pipeline, "Build"), "the second waits for the first")
        third = _train(clone, "epochs = 12")
        execution = until(lambda: codepipelines.of_commit(fraud.codepipeline, pipeline, second), "it is there")
        overtaken = fraud.over(CARDHOLDERS, n.BUILD, execution)
        assert overtaken.status == "Superseded", told(overtaken)
        assert [build["buildStatus"] for build in fraud.builds("build")][:1] == ["IN_PROGRESS"]
    assert fraud.run_of(CARDHOLDERS, n.BUILD, first).status == "Succeeded"
    assert fraud.run_of(CARDHOLDERS, n.BUILD, third).status == "Succeeded"


def _waits(fraud: Delivery, pipeline: str, stage: str) -> bool:
    """Whether an execution waits before a stage."""
    states = fraud.codepipeline.get_pipeline_state(name=pipeline)["stageStates"]
    return any(state["stageName"] == stage and state.get("inboundExecutions") for state in states)


def test_a_branch_rewritten_by_force_starts_what_lies_between_then_and_now(
    fraud: Delivery, clone: WorkingCopy, tmp_path: Path
) -> None:
    before = clone.run("rev-parse", "HEAD")
    lost = _train(clone, "epochs = 20")
    assert fraud.run_of(CARDHOLDERS, n.BUILD, lost).status == "Succeeded"
    clone.run("reset", "--quiet", "--hard", before)
    kept = clone.commit("another way", **{"seed_code/forecaster/train.py": "epochs = 21\n"})
    clone.push("--force")
    # The cardholders' training is another one again, too: the commit that changed it is gone.
    assert fraud.run_of(CARDHOLDERS, n.BUILD, kept).status == "Succeeded"
    assert fraud.run_of(FORECASTER, n.BUILD, kept).status == "Succeeded"
    assert WorkingCopy.cloned(clone.run("remote", "get-url", "origin"), tmp_path / "fresh").run(
        "rev-parse", "HEAD"
    ) == (kept)


def test_other_branches_start_nothing_and_a_deleted_one_that_comes_back_counts_as_changed_altogether(
    fraud: Delivery, clone: WorkingCopy
) -> None:
    clone.run("checkout", "--quiet", "-b", "trial")
    trial = _train(clone, "epochs = 30", "trial")
    clone.push("--delete", "trial")
    clone.run("checkout", "--quiet", "main")
    codecommit = fraud.client("codecommit")
    # CodeCommit deletes no default branch.
    codecommit.create_branch(
        repositoryName=fraud.names.repository, branchName="spare", commitId=clone.run("rev-parse", "HEAD")
    )
    codecommit.update_default_branch(repositoryName=fraud.names.repository, defaultBranchName="spare")
    clone.push("--delete", "main")
    fraud.advance(0)
    again = clone.commit("words", **{"README.md": "# Back\n"})
    clone.push("main")
    codecommit.update_default_branch(repositoryName=fraud.names.repository, defaultBranchName="main")
    clone.push("--delete", "spare")
    for workload in (CARDHOLDERS, FORECASTER):
        run = fraud.run_of(workload, n.BUILD, again)
        assert run.status == "Succeeded", told(run)
    fraud.advance(0)
    commits = {
        source["revisionId"]
        for executions in fraud.all_executions().values()
        for summary in executions
        for source in summary["sourceRevisions"]
    }
    assert trial not in commits
    assert trial not in {build["sourceVersion"] for build in fraud.builds("checks")}


# --- decisions --------------------------------------------------------------------------------------------------------


def test_a_package_that_is_rejected_and_approved_again_is_delivered_again(fraud: Delivery) -> None:
    package = fraud.package()
    fraud.decide(package, "staging")
    first = fraud.awaits(package)
    fraud.decide(package, "staging", "Rejected")
    assert fraud.over(CARDHOLDERS, n.DEPLOY, first.id).status == "Failed"
    until(lambda: fraud.decided(package, "prod").get("Word") == "Rejected", "it was acted on")
    fraud.decide(package, "staging")
    second = fraud.delivery_of(package, but=first.id)
    assert fraud.awaits(package).id == second
    fraud.decide(package, "prod")
    run = fraud.delivered(package)
    assert run.status == "Succeeded", told(run)
    assert fraud.answers(package, "prod")


def test_a_rejection_that_had_to_wait_is_out_of_date_once_the_package_is_approved_again(fraud: Delivery) -> None:
    package = fraud.package()
    with fraud.held_up(CARDHOLDERS, "staging") as reached:
        fraud.decide(package, "staging")
        until(reached.exists, "staging is about to be deployed to")
        fraud.decide(package, "staging", "Rejected")
        until(lambda: fraud.delayed_in("approvals") == 1, "the rejection was put back")
        rejected = fraud.now()
        until(lambda: (fraud.now() - rejected).total_seconds() > 1, "events tell seconds")
        fraud.decide(package, "staging")
        until(lambda: fraud.decided(package, "staging")["At"] > f"{rejected:%Y-%m-%dT%H:%M:%S}", "it was acted on")
    run = fraud.awaits(package)
    fraud.advance(30)
    fraud.emptied("approvals")
    assert fraud.awaits(package).id == run.id
    fraud.decide(package, "staging", "Rejected")
    assert fraud.delivered(package).status == "Failed"


def test_an_older_version_that_waits_for_a_person_gives_way_to_the_one_that_is_approved(fraud: Delivery) -> None:
    older, newer = fraud.package(), fraud.package()
    fraud.decide(older, "staging")
    waiting = fraud.awaits(older)
    fraud.decide(newer, "staging")
    pipeline = fraud.names.code_pipeline(CARDHOLDERS, n.DEPLOY)
    until(lambda: _waits(fraud, pipeline, "Approval"), "the newer waits behind the older")
    assert fraud.answers(newer, "staging")
    fraud.decide(newer, "prod")
    overtaken = fraud.over(CARDHOLDERS, n.DEPLOY, waiting.id)
    assert overtaken.status == "Failed"
    assert f"{newer.arn} was approved for prod" in overtaken.failed[0].said
    fraud.awaits(newer)
    fraud.advance(30)
    run = fraud.delivered(newer)
    assert run.status == "Succeeded", told(run)
    assert fraud.answers(newer, "prod")


def test_a_stage_that_failed_can_be_tried_again(fraud: Delivery) -> None:
    package = fraud.package()
    fraud.decide(package, "staging")
    run = fraud.awaits(package)
    fraud.clear(CARDHOLDERS, "prod")
    with fraud.held_up(CARDHOLDERS, "prod") as reached:
        fraud.decide(package, "prod")
        until(reached.exists, "production is about to be deployed to")
        [build] = [build for build in fraud.builds("deploy") if build["buildStatus"] == "IN_PROGRESS"]
        fraud.client("codebuild").stop_build(id=build["id"])
        failed = fraud.over(CARDHOLDERS, n.DEPLOY, run.id)
        assert [action.name for action in failed.failed] == ["Deploy"], told(failed)
    fraud.codepipeline.retry_stage_execution(
        pipelineName=run.pipeline, stageName="Prod", pipelineExecutionId=run.id, retryMode="FAILED_ACTIONS"
    )
    again = fraud.over(CARDHOLDERS, n.DEPLOY, run.id)
    assert again.status == "Succeeded", told(again)
    assert fraud.answers(package, "prod")


# --- projects ---------------------------------------------------------------------------------------------------------


def _nothing_left(project: Delivery) -> bool:
    account = Account(project.project.session, project.names, POLL_SECONDS)
    return destruction.look(account).empty


def _destroyed_twice(project: Delivery) -> None:
    outcome = project.destroy()
    assert outcome.remaining == ()
    assert outcome.removed
    assert _nothing_left(project)
    again = project.destroy()
    assert (again.remaining, again.removed) == ((), 0)


def test_two_projects_of_one_account_do_not_touch_each_other(
    installation: Installation, fraud: Delivery, clone: WorkingCopy, tmp_path: Path
) -> None:
    neighbour = installation.project("fraud-api").create()
    other = neighbour.clone(tmp_path / "fraud-api")
    before = fraud.all_executions()
    theirs = _train(other, "epochs = 40")
    assert neighbour.run_of(CARDHOLDERS, n.BUILD, theirs).status == "Succeeded"
    package = neighbour.package()
    neighbour.decide(package, "staging")
    neighbour.awaits(package)
    neighbour.advance(0)
    assert fraud.all_executions() == before
    ours = _train(clone, "epochs = 41")
    assert fraud.run_of(CARDHOLDERS, n.BUILD, ours).status == "Succeeded"
    assert neighbour.awaits(package)
    _destroyed_twice(neighbour)
    # And what is left does as before.
    again = _train(clone, "epochs = 42")
    assert fraud.run_of(CARDHOLDERS, n.BUILD, again).status == "Succeeded"


@pytest.mark.parametrize("name", ["a", f"project-{'x' * (PROJECT_LENGTH - 8)}"])
def test_a_name_of_any_length_goes_the_whole_way(installation: Installation, name: str, tmp_path: Path) -> None:
    assert len(name) in (1, PROJECT_LENGTH)
    project = installation.project(name).create()
    clone = project.clone(tmp_path / "clone")
    everything = clone.commit("all", **{"configs/project.yml": "name: x\n", "configs/ingestion.yml": "running: true\n"})
    clone.push()
    for workload in (CARDHOLDERS, FORECASTER):
        run = project.run_of(workload, n.BUILD, everything)
        assert run.status == "Succeeded", told(run)
    package = project.package()
    project.decide(package, "staging")
    project.awaits(package)
    project.decide(package, "prod")
    run = project.delivered(package)
    assert run.status == "Succeeded", told(run)
    assert project.answers(package, "prod")
    project.advance(0)
    assert project.dead_letters() == []
    _destroyed_twice(project)


def test_a_creation_that_fails_halfway_leaves_nothing_once_it_is_destroyed(installation: Installation) -> None:
    project = installation.project("half-made")
    # Somebody's, in the way.
    project.client("logs").create_log_group(logGroupName="/aws/lambda/half-made-guard")
    assert project.begin().settled_as() == "CreateFailed"
    assert any(reason.startswith("GuardLog: ") for reason in project.failures())
    _destroyed_twice(project)
    # Nothing is in the way of another try.
    _destroyed_twice(project.create(workloads=CARDHOLDERS))


def test_a_project_can_be_destroyed_while_it_deploys_and_builds(installation: Installation, tmp_path: Path) -> None:
    project = installation.project("short-lived").create(workloads=CARDHOLDERS)
    package = project.package()
    clone = project.clone(tmp_path / "clone")
    with project.held_up(CARDHOLDERS, "prod") as deploying, project.held_up(CARDHOLDERS, "build") as building:
        project.decide(package, "staging")
        project.awaits(package)
        _train(clone, "epochs = 50")
        until(building.exists, "it builds")
        project.decide(package, "prod")
        until(deploying.exists, "production is about to be deployed to")
        outcome = project.destroy()
    assert outcome.remaining == ()
    assert {word for word in ("run", "build", "rule") if any(f" {word} " in done for done in outcome.halted)} == {
        "run",
        "build",
        "rule",
    }
    assert _nothing_left(project)


def test_a_project_is_brought_to_a_newer_template_and_goes_on(installation: Installation, tmp_path: Path) -> None:
    project = installation.project("older").create(workloads=CARDHOLDERS)
    session, names = project.project.session, project.names
    release = installation.release()
    newer = release.template.replace("Description: Starts the pipelines that a push concerns.", "Description: Newer.")
    assert newer != release.template
    version = installation.publish(installation.release(template=newer), version="9.9.9")
    plan = upgrade.plan(session, names, version, POLL_SECONDS)
    assert {change.logical_id for change in plan.changes} >= {"ChangesFunction"}
    assert not any(change.replaced for change in plan.changes)
    upgrade.begin(session, plan)
    assert project.settled_as() == "UpdateCompleted"
    stack = reading.stacks_of(session, names)[0]
    assert (stack.parameters["TemplateVersion"], stack.parameters["Workloads"]) == ("9.9.9", CARDHOLDERS)
    commit = _train(project.clone(tmp_path / "clone"), "epochs = 60")
    assert project.run_of(CARDHOLDERS, n.BUILD, commit).status == "Succeeded"
    assert upgrade.plan(session, names, version, POLL_SECONDS).empty
    _destroyed_twice(project)
