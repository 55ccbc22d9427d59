"""A decision on a model package was taken: deploys it, or what served before it.

    Approved                              to staging
    ModelLifeCycle prod, Approved         to production, as soon as it was tested in staging
    Rejected                              each stage that serves it goes back to the newest other approved package

The events come through a queue: one that cannot be acted on now, because a stage is being deployed to, is put back; one
that cannot be understood ends in the dead-letter queue. SageMaker sends an event for every change of a package, and
some twice: a decision is acted on once, and an event that is older than the last one that was acted on is passed over.

Source: "Amazon SageMaker AI model package state change" in the SageMaker Developer Guide.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from pipelines.carried.packages import describe
from pipelines.carried.project import client, each_record, log, names, workload_of_group
from pipelines.deploy.functions import deployments, packages, serving
from pipelines.deploy.functions.start import start
from pipelines.names import STAGES, STAGING_REPORT_KEY

_BUSY_SECONDS = 20


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Take a batch of messages, each an event."""
    return each_record(event, context, _message)


def _message(record: SQSRecord) -> None:
    event = json.loads(record.body)
    if not _act(event["detail"], at=event["time"]):
        client("sqs").send_message(
            QueueUrl=names().queue_url("approvals"), MessageBody=record.body, DelaySeconds=_BUSY_SECONDS
        )


def _act(detail: Mapping[str, Any], *, at: str) -> bool:
    """Act on an event; False if it has to come again."""
    package = detail["ModelPackageArn"]
    workload = workload_of_group(detail["ModelPackageGroupName"])
    if workload is None:
        raise ValueError(f"{package} is no package of the project {names().project}")
    described = describe(package)
    if described is None:
        log.warning("the package was deleted after the decision", extra={"package": package})
        return True
    life_cycle = detail.get("ModelLifeCycle") or {}
    words = {
        "staging": detail.get("ModelApprovalStatus", ""),
        "prod": life_cycle.get("StageStatus", "") if life_cycle.get("Stage") == "prod" else "",
    }
    if words["staging"] == "Rejected":
        words["prod"] = "Rejected"
    elif STAGING_REPORT_KEY not in described.get("CustomerMetadataProperties", {}):
        # Approved too early. When staging has passed its tests the package says so, which is another event.
        words["prod"] = ""
    return all([_decide(package, workload, stage, words[stage], at) for stage in STAGES])


def _decide(package: str, workload: str, stage: str, word: str, at: str) -> bool:
    """Act on what was decided for a stage; False if it has to come again."""
    known = deployments.decision(package, stage)
    if known and (known["Word"] == word or known["At"] > at):
        return True
    now = serving.find(workload, stage)
    held = deployments.find(names().endpoint(workload, stage))
    if held is not None and not deployments.is_live(held.execution):
        held = None
    if word == "Approved":
        wanted: str | None = package
    elif word == "Rejected" and held is not None and held.package == package:
        log.info("the rejected package is being deployed", extra={"stage": stage, "by": held.execution})
        return False
    elif word == "Rejected" and now is not None and now.model_package_arn == package:
        wanted = packages.newest_approved(workload, but=package, stage=stage)
        if wanted is None:
            log.error("the rejected package goes on serving: no other is approved", extra={"package": package})
    else:
        wanted = None
    if wanted is not None and not (now is not None and now.model_package_arn == wanted):
        if held is not None:
            if held.package == wanted:
                return True
            log.info("the stage is being deployed to", extra={"stage": stage, "by": held.execution})
            return False
        arn = start(
            client("sagemaker"),
            names(),
            workload,
            stage,
            wanted,
            tracking_uri=os.environ["MLFLOW_TRACKING_URI"],
            token=f"{package} {stage} {word} {at}",
            why=f"{package} was {word.lower()} for {stage} at {at}",
        )
        log.info("started", extra={"execution": arn, "package": wanted, "stage": stage})
    if word or known:
        deployments.note_decision(package, stage, word=word, at=at)
    return True
