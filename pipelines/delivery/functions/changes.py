"""A push to the project's branch: starts the CodePipelines that it concerns, each with this very commit.

CodePipeline itself looks at the paths of a push only where the repository is reached by a connection; for CodeCommit
this function does. It asks what lies between the commit before and the one now, also where the branch was rewritten; of
a branch that is new, or whose former commit is gone, everything counts as changed. The checks run beside.

Source: "Monitoring CodeCommit events in Amazon EventBridge" in the CodeCommit User Guide.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from pipelines.carried.project import client, log, names
from pipelines.delivery.paths import CHECKED, STARTED_BY_PUSH, concerning, first_match
from pipelines.names import CHECKS, REASON

_GONE = ("CommitDoesNotExistException", "InvalidCommitIdException")
_LONGEST = 1000  # of a variable's value
_SHOWN = 12  # characters of a commit


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Act on one `CodeCommit Repository State Change` of the branch, which was not deleted by it."""
    detail = event["detail"]
    commit = detail["commitId"]
    changed = _changed(detail["repositoryName"], detail.get("oldCommitId"), commit)
    said = f"push {commit[:_SHOWN]}"
    for workload in os.environ["WORKLOADS"].split(","):
        for kind in STARTED_BY_PUSH:
            because = "all files" if changed is None else first_match(changed, concerning(workload, kind))
            if because is not None:
                _start(names().code_pipeline(workload, kind), commit, f"{said}: {because}", event["id"])
    because = "all files" if changed is None else first_match(changed, CHECKED)
    if because is not None:
        client("codebuild").start_build(
            projectName=names().build_project(CHECKS),
            sourceVersion=commit,
            idempotencyToken=_token(event["id"], CHECKS),
        )
        log.info("the checks run", extra={"because": because})


def _changed(repository: str, before: str | None, after: str) -> list[str] | None:
    """The paths that differ between two commits; None where everything counts as changed."""
    if not before:
        return None
    codecommit = client("codecommit")
    try:
        return sorted(set(_differences(codecommit, repository, before, after)))
    except codecommit.exceptions.ClientError as error:
        if error.response["Error"]["Code"] not in _GONE:
            raise
        log.warning("the commit before is gone", extra={"commit": before})
        return None


def _differences(codecommit: Any, repository: str, before: str, after: str) -> Iterator[str]:
    pages = codecommit.get_paginator("get_differences").paginate(
        repositoryName=repository, beforeCommitSpecifier=before, afterCommitSpecifier=after
    )
    for page in pages:
        for difference in page["differences"]:
            for side in ("beforeBlob", "afterBlob"):
                if side in difference:
                    yield difference[side]["path"]


def _start(pipeline: str, commit: str, reason: str, event_id: str) -> None:
    started = client("codepipeline").start_pipeline_execution(
        name=pipeline,
        variables=[{"name": REASON, "value": reason[:_LONGEST]}],
        sourceRevisions=[{"actionName": "Source", "revisionType": "COMMIT_ID", "revisionValue": commit}],
        clientRequestToken=_token(event_id, pipeline),
    )
    execution = started["pipelineExecutionId"]
    log.info("started", extra={"pipeline": pipeline, "execution": execution, "because": reason})


def _token(event_id: str, what: str) -> str:
    """The same event starts the same thing once, however often it comes."""
    return hashlib.sha256(f"{event_id} {what}".encode()).hexdigest()
