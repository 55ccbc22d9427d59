"""A decision on a model package was taken: deploys it, or what served before it.

    Approved                              to staging
    ModelLifeCycle prod, Approved         to production, as soon as it was tested in staging
    Rejected                              each stage that serves it goes back to the newest other approved package

Where the project has CodePipelines (the variable DELIVERY is `codepipeline`), an approval starts the workload's deploy
pipeline, which waits for a person before production; a decision for production is handed to the approval that waits, so
that it does not matter where it was taken. An older version that still waits for a person gives way then. What is
rejected goes back at once, without a pipeline.

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

from pipelines.carried import delivery
from pipelines.carried.packages import describe
from pipelines.carried.project import client, each_record, log, names, workload_of_group
from pipelines.deploy.functions import deployments, packages, serving
from pipelines.deploy.functions.start import start
from pipelines.names import STAGES, STAGING_REPORT_KEY

_BUSY_SECONDS = 20
_BY_CODEPIPELINE = "codepipeline"
_DECISIONS = ("Approved", "Rejected")


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
    if deployments.decision(package, STAGES[0]).get("At", "") > at:
        # Every event tells all that was decided by then: what was acted on later has more of it.
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
    if known and known["At"] > at:
        return True
    if known and known["Word"] == word:
        if known["At"] < at:
            # Another decision may lie between the two, and wait in the queue: it is out of date now.
            deployments.note_decision(package, stage, word=word, at=at)
        return True
    if word in _DECISIONS and os.environ.get("DELIVERY") == _BY_CODEPIPELINE:
        done = _deliver(package, workload, stage, word, at, before=known.get("Word", ""))
        if done is not None:
            if done:
                deployments.note_decision(package, stage, word=word, at=at)
            return done
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


def _deliver(package: str, workload: str, stage: str, word: str, at: str, *, before: str) -> bool | None:
    """Hand a decision to the workload's deploy pipeline: True when that is done, False if it has to come again, None
    when the pipeline has no part in it. before: the decision before."""
    codepipeline = client("codepipeline")
    under_way = delivery.standing(codepipeline, names(), workload, package)
    approved = word == "Approved"
    if approved and stage == "staging":
        if under_way is None:
            execution = delivery.start(codepipeline, names(), workload, package, token=f"{package} {word} {at}")
            log.info("started", extra={"execution": execution, "package": package})
        # One that was told of a rejection is about to end.
        return not (before == "Rejected" and under_way is not None and _is_refused(under_way))
    if under_way is None:
        return None
    if under_way.token is not None:
        summary = f"the model package was {word.lower()} for {stage} at {at}"
        delivery.answer(codepipeline, names(), workload, under_way.token, approved=approved, summary=summary)
        log.info("answered the approval", extra={"execution": under_way.execution, "result": word})
        # What is rejected may serve already, in staging.
        return True if approved else None
    if under_way.stage == delivery.PROD:
        # Its guard has written the decision, or sees it.
        return True if approved else None
    if under_way.ahead is not None:
        if not approved:
            # Whenever its turn comes, its guard sees it.
            return None
        summary = f"{package} was approved for {stage} at {at}, in place of this one"
        delivery.answer(codepipeline, names(), workload, under_way.ahead, approved=False, summary=summary)
        log.info("an older one gives way", extra={"execution": under_way.execution, "package": package})
    return False


def _is_refused(under_way: delivery.Standing) -> bool:
    """Whether an execution whose package was rejected has been told, and is about to end."""
    return under_way.stage == delivery.PROD or (under_way.stage == delivery.APPROVAL and under_way.token is None)
