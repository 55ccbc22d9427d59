"""The last look before production, as an action of the deploy pipeline: is this package still what was approved?

Between the tests in staging and the approval may lie days, in which somebody may have rejected or deleted the package.
Who approved in CodePipeline is kept with the package, as `mlops approve --stage prod` keeps it.

Source: "Invoke an AWS Lambda function in a pipeline in CodePipeline" in the CodePipeline User Guide.
"""

from __future__ import annotations

import json
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from pipelines.carried import delivery
from pipelines.carried.packages import describe
from pipelines.carried.project import client, log, names
from pipelines.names import DEPLOY, MODEL_PACKAGE_ARN, STAGING_REPORT_KEY

_WHO_LENGTH, _WHY_LENGTH = 256, 1024


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Answer one job of CodePipeline. Its user parameters: `{"Workload", "ModelPackageArn", "Execution"}`."""
    job = event["CodePipeline.job"]
    given = json.loads(job["data"]["actionConfiguration"]["configuration"]["UserParameters"])
    codepipeline = client("codepipeline")
    try:
        problem = _problem(given[MODEL_PACKAGE_ARN])
        if problem is None:
            _keep_decision(given)
    except Exception as error:
        # CodePipeline waits for an answer for hours, and Lambda's own error says nothing to it.
        log.exception("the package cannot be looked at")
        problem = f"{type(error).__name__}: {error}"
    if problem is None:
        codepipeline.put_job_success_result(jobId=job["id"])
        return
    log.warning("refused", extra={"because": problem})
    codepipeline.put_job_failure_result(
        jobId=job["id"], failureDetails={"type": "JobFailed", "message": problem[:4000]}
    )


def _problem(package: str) -> str | None:
    """Why a package may not go to production; None when it may."""
    described = describe(package)
    if described is None:
        return f"the model package {package} was deleted after its approval"
    status = described.get("ModelApprovalStatus")
    if status != "Approved":
        return f"the model package {package} is {status}, expected Approved: the decision on it was changed"
    if STAGING_REPORT_KEY not in described.get("CustomerMetadataProperties", {}):
        return f"the model package {package} was not tested in staging, which comes before production"
    return None


def _keep_decision(given: dict[str, str]) -> None:
    """Write to the package who let it go to production, unless it says so."""
    package = given[MODEL_PACKAGE_ARN]
    described = describe(package) or {}
    cycle = described.get("ModelLifeCycle", {})
    if (cycle.get("Stage"), cycle.get("StageStatus")) == ("prod", "Approved"):
        return
    pipeline = names().code_pipeline(given["Workload"], DEPLOY)
    decision = delivery.decided_by(client("codepipeline"), pipeline, given["Execution"])
    client("sagemaker").update_model_package(
        ModelPackageArn=package,
        ModelLifeCycle={
            "Stage": "prod",
            "StageStatus": "Approved",
            "StageDescription": (decision.why or "approved in CodePipeline")[:_WHY_LENGTH],
        },
        CustomerMetadataProperties={
            "prod_approved_by": (decision.who or "CodePipeline")[-_WHO_LENGTH:],
            "prod_approved_at": decision.at.isoformat(timespec="seconds"),
        },
    )
