"""What is looked at before anything is made of a package: each of these is refused, and nothing is changed by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.pipelines.deploy.loop import CARDHOLDERS, FORECASTER, Loop, Package, reason

Case = Callable[[Loop], tuple[Package, str]]


def _of_another_group(loop: Loop) -> tuple[Package, str]:
    package = loop.approved(FORECASTER)
    groups = loop.names.package_group(FORECASTER), loop.names.package_group(CARDHOLDERS)
    return package, f"the model package {package.arn} is in the group {groups[0]}, expected {groups[1]}"


def _not_approved(loop: Loop) -> tuple[Package, str]:
    package = loop.package()
    return package, f"the model package {package.arn} is PendingManualApproval, expected Approved"


def _deleted(loop: Loop) -> tuple[Package, str]:
    package = loop.package()
    loop.sagemaker.delete_model_package(ModelPackageName=package.arn)
    return package, f"the model package {package.arn} does not exist; it was deleted after its approval"


def _without_golden_requests(loop: Loop) -> tuple[Package, str]:
    package = loop.approved(golden=False)
    return package, (
        f"the model package {package.arn} has no golden_requests_uri in its metadata, expected the requests that it is "
        "tested by; register it by the build pipeline"
    )


def _artifact_overwritten(loop: Loop) -> tuple[Package, str]:
    package = loop.approved()
    loop.put_object(package.model_key, b"another model")
    return package, f"the model's file {loop.uri(package.model_key)} was changed after the package was registered"


def _artifact_deleted(loop: Loop) -> tuple[Package, str]:
    package = loop.approved()
    loop.client("s3").delete_object(Bucket=loop.names.bucket, Key=package.model_key)
    return package, f"the model's file {loop.uri(package.model_key)} does not exist any more"


def _image_moved(loop: Loop) -> tuple[Package, str]:
    image, before = loop.tag_image("moved")
    package = loop.approved(image=image)
    _, after = loop.tag_image("moved", change=True)
    return package, f"the image {image} is {after}, and was {before} when the package was registered"


def _image_deleted(loop: Loop) -> tuple[Package, str]:
    image, _ = loop.tag_image("gone")
    package = loop.approved(image=image)
    loop.client("ecr").batch_delete_image(
        repositoryName=loop.names.image_repository(CARDHOLDERS), imageIds=[{"imageTag": "gone"}]
    )
    return package, f"the image {image} is not in its repository any more"


@pytest.mark.parametrize(
    "case",
    [
        _of_another_group,
        _not_approved,
        _deleted,
        _without_golden_requests,
        _artifact_overwritten,
        _artifact_deleted,
        _image_moved,
        _image_deleted,
    ],
)
def test_a_package_is_refused_with_the_reason(loop: Loop, case: Case) -> None:
    package, expected = case(loop)
    _is_refused(loop, package, "staging", expected)


def test_production_refuses_what_was_not_tested_in_staging(loop: Loop) -> None:
    package = loop.approved()
    expected = f"the model package {package.arn} was not tested in staging, which comes before prod"
    _is_refused(loop, package, "prod", expected)


def test_a_stage_that_is_being_deployed_to_is_refused(loop: Loop) -> None:
    """Two that were started by hand: the second has to be started again."""
    first, second = loop.approved(slow_seconds=1.0), loop.approved()
    loop.good("staging")
    holder = loop.start(first, "staging")
    loop.waiting(CARDHOLDERS, "staging")
    expected = f"staging is being deployed to by {holder}; deploy again when it has ended"
    execution = loop.end_of(loop.start(second, "staging"), CARDHOLDERS, "staging")
    assert reason(execution) == f"The package is not deployed: {expected}"
    assert loop.end_of(holder, CARDHOLDERS, "staging").status == "Succeeded"
    assert loop.answers(first, "staging")


def _is_refused(loop: Loop, package: Package, stage: str, expected: str) -> None:
    before = _state(loop, stage)
    execution = loop.end_of(loop.start(package, stage, workload=CARDHOLDERS), CARDHOLDERS, stage)
    assert execution.status == "Failed"
    assert reason(execution) == f"The package is not deployed: {expected}"
    assert _state(loop, stage) == before
    assert [step.name for step in execution.steps if step.status == "Succeeded"] == ["VerifyPackage", "PackageVerified"]


def _state(loop: Loop, stage: str) -> tuple[Any, Any]:
    """When a stage's endpoint changed last, and what is served there."""
    endpoint = loop.endpoint(CARDHOLDERS, stage)
    return endpoint and endpoint["LastModifiedTime"], loop.serving(CARDHOLDERS, stage)
