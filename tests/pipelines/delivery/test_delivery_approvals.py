"""An approved package goes to staging, waits for a person, and goes to production: that package, and no other."""

from __future__ import annotations

import pytest

from tests.pipelines.delivery.delivery import Delivery, told
from tests.pipelines.deploy.loop import CARDHOLDERS, Package


def _waiting(fraud: Delivery) -> Package:
    """An approved package, once its delivery waits for a person."""
    package = fraud.package()
    fraud.decide(package, "staging")
    fraud.awaits(package)
    return package


def test_an_approved_package_waits_for_a_person_who_sees_its_tests(fraud: Delivery) -> None:
    package = _waiting(fraud)
    run = fraud.awaits(package)
    assert [action.name for action in run.actions] == ["Source", "Deploy", "Ask", "Approve"]
    assert fraud.answers(package, "staging")
    assert fraud.served(CARDHOLDERS, "prod") != package.version
    assert fraud.asked(run)["ExternalEntityLink"] == run.variable("REPORT_URL")
    assert f"Version {package.version} of cardholders" in fraud.asked(run)["CustomData"]

    # The decision by the package's life cycle, as `mlops approve` and Studio write it.
    fraud.decide(package, "prod")
    run = fraud.delivered(package)
    assert run.status == "Succeeded", told(run)
    assert fraud.answers(package, "prod")
    [api] = fraud.client("cloudformation").describe_stacks(StackName=fraud.names.api_stack)["Stacks"]
    assert api["StackStatus"] == "CREATE_COMPLETE"
    fraud.advance(0)
    newest = fraud.executions(CARDHOLDERS, "monitor")[0]
    assert newest["trigger"]["triggerType"] == "CloudWatchEvent"
    assert newest["status"] == "Succeeded"


@pytest.mark.slow
def test_who_approves_in_codepipeline_is_kept_with_the_package(fraud: Delivery) -> None:
    package = _waiting(fraud)
    fraud.put_approval(CARDHOLDERS, "Approved", "looks right")
    run = fraud.delivered(package)
    assert run.status == "Succeeded", told(run)
    assert fraud.answers(package, "prod")
    described = fraud.sagemaker.describe_model_package(ModelPackageName=package.arn)
    assert described["ModelLifeCycle"] == {
        "Stage": "prod", "StageStatus": "Approved", "StageDescription": "looks right",
    }  # fmt: skip
    kept = fraud.metadata(package)
    assert kept["prod_approved_by"] == f"arn:aws:iam::{fraud.names.account_id}:root"
    assert kept["prod_approved_at"]
    # What the guard has written is an event of the package, which starts nothing anew.
    fraud.emptied("approvals")
    assert fraud.delivery_of(package) == run.id


@pytest.mark.parametrize("what", ["rejected", "deleted"])
def test_the_guard_refuses_what_was_rejected_or_deleted_while_it_waited(fraud: Delivery, what: str) -> None:
    before = fraud.served(CARDHOLDERS, "prod")
    package = _waiting(fraud)
    with fraud.without_events("decisions"):  # nobody has heard of it yet
        if what == "rejected":
            fraud.decide(package, "staging", "Rejected")
        else:
            fraud.sagemaker.delete_model_package(ModelPackageName=package.arn)
    fraud.put_approval(CARDHOLDERS, "Approved", "looks right")
    run = fraud.delivered(package)
    assert run.status == "Failed", told(run)
    [failed] = run.failed
    assert failed.name == "Guard"
    said = {"rejected": "is Rejected, expected Approved", "deleted": "was deleted after its approval"}
    assert said[what] in failed.said
    assert fraud.served(CARDHOLDERS, "prod") == before


def test_a_rejected_package_ends_its_delivery_and_staging_goes_back(fraud: Delivery) -> None:
    good = _waiting(fraud)
    fraud.decide(good, "prod")
    assert fraud.delivered(good).status == "Succeeded"
    package = _waiting(fraud)
    fraud.decide(package, "staging", "Rejected")
    run = fraud.delivered(package)
    assert run.status == "Failed", told(run)
    [failed] = run.failed
    assert (failed.name, "was rejected for staging" in failed.said) == ("Approve", True)
    fraud.ended(good, "staging", 2)
    assert fraud.answers(good, "staging")
    assert fraud.answers(good, "prod")
