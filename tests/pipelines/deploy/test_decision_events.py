"""Decisions on packages, as they come: early, twice, late, to a stage that is busy, or about what is no more."""

from __future__ import annotations

import json

import pytest

from tests.pipelines.deploy.loop import CARDHOLDERS, FORECASTER, Loop, reason, until


def test_an_approval_for_production_waits_for_the_tests_in_staging(loop: Loop) -> None:
    package = loop.package()
    loop.decide(package, "prod")
    loop.decide(package, "staging")
    execution = loop.ended(package, "prod")
    assert execution.status == "Succeeded", reason(execution)
    [in_staging] = loop.deployments(package, "staging")
    assert in_staging["StartTime"] < execution.started
    assert loop.answers(package, "prod")


def test_the_same_event_starts_one_deployment(loop: Loop) -> None:
    package = loop.approved()
    for _ in range(2):
        loop.send("approvals", loop.event(package, at="2026-01-02T10:00:00Z"))
    assert loop.ended(package, "staging").status == "Succeeded"
    # Again, and another one that says the same later.
    loop.send("approvals", loop.event(package, at="2026-01-02T10:00:00Z"))
    loop.send("approvals", loop.event(package, at="2026-01-02T10:00:09Z"))
    loop.emptied("approvals")
    assert len(loop.deployments(package, "staging")) == 1


def test_an_event_that_is_older_than_the_last_decision_changes_nothing(loop: Loop) -> None:
    before = loop.good("staging")
    package = loop.package()
    loop.deploy(package, "staging")
    decided = loop.decided(package, "staging")
    assert decided["Word"] == "Approved"
    loop.send("approvals", loop.event(package, at="2026-01-02T10:00:00Z", ModelApprovalStatus="Rejected"))
    loop.emptied("approvals")
    assert loop.decided(package, "staging") == decided
    assert loop.answers(package, "staging")
    assert len(loop.deployments(before, "staging")) <= 1


def test_a_package_that_was_deleted_after_its_approval_is_passed_over(loop: Loop) -> None:
    package = loop.package()
    loop.sagemaker.delete_model_package(ModelPackageName=package.arn)
    loop.send("approvals", loop.event(package, at="2026-01-02T10:00:00Z"))
    loop.emptied("approvals")
    assert loop.deployments(package, "staging") == []
    assert loop.said("approvals", "WARNING")[-1]["package"] == package.arn


def test_a_message_that_is_no_decision_ends_in_the_dead_letter_queue(loop: Loop) -> None:
    foreign = {"ModelPackageArn": "arn:aws:sagemaker:…", "ModelPackageGroupName": "somebody-elses-models"}
    bodies = ["no JSON", json.dumps({"time": "2026-01-02T10:00:00Z", "detail": foreign})]
    with loop.visible_again_after(5, "approvals"):
        for body in bodies:
            loop.send("approvals", body)
        for _ in range(3):
            until(lambda: loop.visible_in("approvals") == 0, "each was tried")
            loop.advance(6)
    assert sorted(loop.dead_letters()) == sorted(bodies)
    assert loop.waiting_in("approvals") == 0
    loop.deploy(loop.package(), "staging")


def test_a_decision_for_a_stage_that_is_busy_is_acted_on_afterwards(loop: Loop) -> None:
    first, second = loop.package(slow_seconds=1.0), loop.package()
    loop.good("staging")
    loop.decide(first, "staging")
    loop.waiting(CARDHOLDERS, "staging")
    loop.decide(second, "staging")
    until(lambda: loop.delayed_in("approvals") == 1, "the second approval was put back")
    assert loop.ended(first, "staging").status == "Succeeded"
    assert loop.deployments(second, "staging") == []
    loop.advance(60)
    assert loop.ended(second, "staging").status == "Succeeded"
    assert loop.answers(second, "staging")


def test_a_rejected_package_is_taken_from_every_stage_that_serves_it(loop: Loop) -> None:
    good, bad = loop.package(), loop.package()
    loop.deploy(good, "staging")
    loop.deploy(bad, "prod")
    # Newer, but not tested in staging: production cannot go back to it.
    untested = loop.approved()
    loop.decide(bad, "staging", "Rejected")
    assert loop.ended(untested, "staging").status == "Succeeded"
    assert loop.ended(good, "prod").status == "Succeeded"
    assert loop.answers(untested, "staging")
    assert loop.answers(good, "prod")
    assert (loop.served(CARDHOLDERS, "staging"), loop.served(CARDHOLDERS, "prod")) == (untested.version, good.version)


def test_a_rejected_package_goes_on_serving_where_there_is_no_other(loop: Loop) -> None:
    only = loop.good("staging", FORECASTER)
    loop.reject_all_but(only)
    loop.decide(only, "staging", "Rejected")
    until(lambda: loop.decided(only, "staging").get("Word") == "Rejected", "it was acted on")
    loop.emptied("approvals")
    assert loop.answers(only, "staging")
    assert loop.served(FORECASTER, "staging") == only.version
    last = loop.said("approvals", "ERROR")[-1]
    assert (last["message"], last["package"]) == (
        "the rejected package goes on serving: no other is approved",
        only.arn,
    )


@pytest.mark.slow
def test_a_package_that_is_rejected_while_it_is_deployed_is_taken_back(loop: Loop) -> None:
    good, bad = loop.good("staging"), loop.package(slow_seconds=0.7)
    number = len(loop.deployments(good, "staging"))
    loop.decide(bad, "staging")
    loop.waiting(CARDHOLDERS, "staging")
    loop.decide(bad, "staging", "Rejected")
    until(lambda: loop.delayed_in("approvals") == 1, "the rejection was put back")
    assert loop.ended(bad, "staging").status == "Succeeded"
    loop.advance(60)
    assert loop.ended(good, "staging", number + 1).status == "Succeeded"
    assert loop.answers(good, "staging")


@pytest.mark.slow
def test_a_deployment_that_was_rolled_back_can_be_tried_again(loop: Loop) -> None:
    good, package = loop.good("staging"), loop.package(crashes=True)
    loop.decide(package, "staging")
    assert loop.ended(package, "staging").status == "Failed"
    arn = loop.start(package, "staging")
    assert loop.end_of(arn, CARDHOLDERS, "staging").status == "Failed"
    assert loop.answers(good, "staging")
