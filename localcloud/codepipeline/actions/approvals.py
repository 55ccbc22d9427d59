"""Manual approvals: a token, a message to a topic, and seven days' time.

Sources: "Manage approval actions in CodePipeline", "JSON data format for manual approval notifications in
CodePipeline" (AWS CodePipeline User Guide).
"""

from __future__ import annotations

import json
from datetime import UTC

from localcloud.codepipeline.refusals import REFUSALS, failure
from localcloud.codepipeline.turn import Turn

MOST_MINUTES = 7 * 24 * 60
_MOST_SUBJECT_CHARACTERS = 100


class Approval:
    """Tells whoever is to approve. The token is with the run before it begins."""

    def run(self, turn: Turn) -> None:
        """See `Kind`: PutApprovalResult answers, or time runs out."""
        topic = turn.configuration.get("NotificationArn")
        if topic is None or turn.progress.get("told"):
            return
        turn.check()
        text = json.dumps(_message(turn), ensure_ascii=False)
        subject = f"APPROVAL NEEDED: AWS CodePipeline {turn.pipeline.name} for action {turn.action.name}"
        try:
            turn.client("sns").publish(
                TopicArn=topic,
                Subject=subject[:_MOST_SUBJECT_CHARACTERS],
                MessageStructure="json",
                Message=json.dumps({"default": text, "email": _letter(turn)}, ensure_ascii=False),
            )
        except REFUSALS as error:
            raise failure(error, f"telling the topic {topic} of the approval") from error
        turn.note(told=True)


def _message(turn: Turn) -> dict[str, object]:
    given, home = turn.configuration, _home(turn)
    approval = {
        "pipelineName": turn.pipeline.name,
        "stageName": turn.action.stage,
        "actionName": turn.action.name,
        "token": turn.run["token"],
        "expires": _expires(turn),
        "externalEntityLink": given.get("ExternalEntityLink"),
        "approvalReviewLink": _review(turn),
        "customData": given.get("CustomData"),
    }
    return {"region": turn.context.region, "consoleLink": home, "approval": approval}


def _letter(turn: Turn) -> str:
    """What subscribers by mail read."""
    given = turn.configuration
    lines = [
        "Hello,",
        "",
        "The following Approval action is waiting for your response:",
        "",
        "--Pipeline Details--",
        "",
        f"Pipeline name: {turn.pipeline.name}",
        f"Stage name: {turn.action.stage}",
        f"Action name: {turn.action.name}",
        f"Region: {turn.context.region}",
        "",
        "--Approval Details--",
        "",
        f"Approve or reject: {_review(turn)}",
        f"Additional information: {given.get('CustomData', '')}",
        f"Content to review: {given.get('ExternalEntityLink', '')}",
        f"Deadline: This review request will expire on {_expires(turn)}",
        "",
        "Sincerely,",
        "Amazon Web Services",
    ]
    return "\n".join(lines)


def _home(turn: Turn) -> str:
    region = turn.context.region
    return f"https://console.aws.amazon.com/codepipeline/home?region={region}#/view/{turn.pipeline.name}"


def _review(turn: Turn) -> str:
    return f"{_home(turn)}/{turn.action.stage}/{turn.action.name}/approve/{turn.run['token']}"


def _expires(turn: Turn) -> str:
    return f"{turn.run['expiresAt'].astimezone(UTC):%Y-%m-%dT%H:%MZ}"
