"""What starts pipelines of itself: pushes to the repositories of connections.

A push to CodeCommit starts nothing here: there an EventBridge rule does, as on AWS.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from localcloud.codecommit.bare import Commit
from localcloud.codecommit.repositories import Push, Repositories, is_connected_name
from localcloud.codepipeline import declaration, filters
from localcloud.codepipeline.declaration import Action
from localcloud.codepipeline.engine import Engine
from localcloud.codepipeline.records import Records
from localcloud.codepipeline.starts import Start
from localcloud.errors import ServiceError

_LOG = logging.getLogger(__name__)
_MOST_DETAIL_CHARACTERS = 1024


class Triggers:
    """Starts pipelines for pushes."""

    def __init__(self, records: Records, engine: Engine, repositories: Repositories) -> None:
        self._records, self._engine, self._repositories = records, engine, repositories
        repositories.on_push(self._pushed)

    def _pushed(self, push: Push) -> None:
        if push.after is None or not is_connected_name(push.repository):
            return
        for document in self._records.pipelines():
            pipeline = declaration.read(document["Declaration"])
            action = filters.started_by(pipeline, push)
            if action is None:
                continue
            try:
                self._start(pipeline.name, action, push, push.after)
            except ServiceError as error:
                # The push is done, whatever becomes of the pipeline.
                _LOG.warning("the push %s does not start the pipeline %s: %s", push.id, pipeline.name, error.message)

    def _start(self, name: str, action: Action, push: Push, commit_id: str) -> None:
        overriding = {"revisionType": "COMMIT_ID", "revisionValue": commit_id}
        if push.branch is not None:
            overriding["branch"] = push.branch
        facts = _facts(action, push, self._repositories.commit(push.repository, commit_id))
        start = Start(
            "WebhookV2",
            json.dumps(facts)[:_MOST_DETAIL_CHARACTERS],
            facts=facts,
            overriding={action.name: overriding},
            # A push may be told twice.
            token=push.id,
        )
        self._engine.begin(name, start)


def _facts(action: Action, push: Push, commit: Commit) -> dict[str, Any]:
    """What an execution's event tells of the push."""
    facts = {
        "connection-arn": action.configuration["ConnectionArn"],
        "provider-type": "GitHub",
        "full-repository-name": push.repository,
        "commit-id": commit.commit_id,
        "commit-message": commit.message.rstrip("\n"),
        "author-display-name": commit.author.name,
        "author-email": commit.author.email,
        "author-id": commit.author.name,
    }
    place = {"branch-name": push.branch} if push.branch is not None else {"tag-name": push.tag}
    return {**facts, **{name: text for name, text in place.items() if text is not None}}
