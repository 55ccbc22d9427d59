"""Lambda invoke actions: the function gets a job, and says by PutJobSuccessResult or PutJobFailureResult how it ended.

Source: "AWS Lambda invoke action reference", "Invoke an AWS Lambda function in a pipeline in CodePipeline" (AWS
CodePipeline User Guide).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from localcloud.codepipeline.refusals import REFUSALS, failure
from localcloud.codepipeline.turn import Turn

MOST_HOURS = 24
"""After which a job that nobody has answered fails."""
AGAIN_SECONDS = 30.0
"""How long after a result with a continuation token the function is called again."""
_CREDENTIALS_LAST = timedelta(hours=1)


class Lambda:
    """Calls functions without waiting for them. The job's id is with the run before it begins."""

    def run(self, turn: Turn) -> None:
        """See `Kind`."""
        if is_called(turn.run):
            return
        turn.check()
        function = turn.configuration["FunctionName"]
        job = {"CodePipeline.job": _job(turn)}
        try:
            turn.client("lambda").invoke(
                FunctionName=function, InvocationType="Event", Payload=json.dumps(job).encode()
            )
        except REFUSALS as error:
            raise failure(error, f"invoking the function {function}") from error
        # By the job: the function may have asked for its next part already, which is another one.
        turn.note(called=turn.run["jobId"])


def is_called(run: Mapping[str, Any]) -> bool:
    """Whether the function has been given the job that the run has now."""
    return bool(run["progress"].get("called") == run.get("jobId"))


def _job(turn: Turn) -> dict[str, Any]:
    context = turn.context
    until = context.clock.now() + _CREDENTIALS_LAST
    data: dict[str, Any] = {
        "actionConfiguration": {"configuration": dict(turn.configuration)},
        "inputArtifacts": [_artifact(name, place) for name, place in turn.inputs.items()],
        "outputArtifacts": [_artifact(name, place) for name, place in turn.outputs.items()],
        "artifactCredentials": {
            "accessKeyId": context.principals.access_key(turn.role_arn),
            "secretAccessKey": "localcloud",
            "sessionToken": "localcloud",
            "expirationTime": int(until.timestamp() * 1000),
        },
    }
    if turn.progress.get("continuationToken"):
        data["continuationToken"] = turn.progress["continuationToken"]
    if turn.pipeline.key_id is not None:
        data["encryptionKey"] = {"id": turn.pipeline.key_id, "type": "KMS"}
    return {"id": turn.run["jobId"], "accountId": context.account_id, "data": data}


def _artifact(name: str, place: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "revision": place.get("revision"),
        "location": {"type": "S3", "s3Location": {"bucketName": place["bucket"], "objectKey": place["key"]}},
    }
