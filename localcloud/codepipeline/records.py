"""What the store holds of pipelines: their versions, executions and the runs of actions.

codepipeline/pipeline         name                          the pipeline: its latest declaration, tags, moments
codepipeline/version          name/number                   each declaration that it had
codepipeline/stage            name/stage                    its transition, who entered it last, its last runs
codepipeline/execution        name/execution                where it is, its variables, artifacts and stages
codepipeline/action           name/execution/action-run     one run of one action
codepipeline/token            name/client-request-token     which execution a request has started
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from localcloud.codepipeline.declaration import Pipeline, read
from localcloud.codepipeline.errors import no_execution, no_pipeline
from localcloud.context import Context

Document = dict[str, Any]

PIPELINE, VERSION, STAGE = "codepipeline/pipeline", "codepipeline/version", "codepipeline/stage"
EXECUTION, ACTION = "codepipeline/execution", "codepipeline/action"
JOB, TOKEN = "codepipeline/job", "codepipeline/token"

IN_PROGRESS, STOPPING, STOPPED, SUCCEEDED, FAILED = "InProgress", "Stopping", "Stopped", "Succeeded", "Failed"
SUPERSEDED, CANCELLED, ABANDONED = "Superseded", "Cancelled", "Abandoned"
LIVE = (IN_PROGRESS, STOPPING)


class Records:
    """The documents. All methods may be called from any thread; what belongs together is the caller's to lock."""

    def __init__(self, context: Context) -> None:
        self._context, self._store = context, context.store

    def arn(self, name: str) -> str:
        """The ARN of a pipeline."""
        return f"arn:aws:codepipeline:{self._context.region}:{self._context.account_id}:{name}"

    # Pipelines.

    def pipeline(self, name: str) -> Document:
        """A pipeline. Raises PipelineNotFoundException."""
        found = self._store.get(PIPELINE, name)
        if found is None:
            raise no_pipeline(name)
        return found

    def pipelines(self) -> Iterator[Document]:
        """All pipelines, in the order of their creation."""
        return (document for _, document in self._store.list(PIPELINE))

    def version(self, name: str, number: int) -> Document | None:
        """A declaration that the pipeline has, or has had."""
        return self._store.get(VERSION, f"{name}/{number}")

    def put_version(self, document: Document) -> None:
        """A new version of a pipeline, and the pipeline; within the caller's transaction."""
        declaration = document["Declaration"]
        self._store.put(PIPELINE, declaration["name"], document)
        self._store.put(VERSION, f"{declaration['name']}/{declaration['version']}", declaration)

    def read(self, name: str, number: int) -> Pipeline:
        """The declaration that an execution follows."""
        found = self.version(name, number)
        if found is None:
            raise no_pipeline(name)
        return read(found)

    def drop_pipeline(self, name: str) -> None:
        """Everything of a pipeline; within the caller's transaction."""
        self._store.delete(PIPELINE, name)
        for kind in (VERSION, STAGE, EXECUTION, ACTION, TOKEN):
            for key, document in self._store.list(kind, f"{name}/", ("jobId",)):
                self._store.delete(kind, key)
                if "jobId" in document:
                    self._store.delete(JOB, document["jobId"])

    # Stages.

    def stage(self, name: str, stage: str) -> Document:
        """What is known of a stage beyond its declaration; nothing of one that nobody has touched."""
        return self._store.get(STAGE, f"{name}/{stage}") or {}

    def change_stage(self, name: str, stage: str, **members: Any) -> None:
        """Set members of a stage's document."""
        with self._store.transaction():
            self._store.put(STAGE, f"{name}/{stage}", {**self.stage(name, stage), **members})

    # Executions.

    def add_execution(self, document: Document) -> None:
        """A new execution."""
        self._store.put(EXECUTION, _key(document), document)

    def execution(self, name: str, execution_id: str) -> Document:
        """An execution. Raises PipelineExecutionNotFoundException."""
        found = self._store.get(EXECUTION, f"{name}/{execution_id}")
        if found is None:
            raise no_execution(name, execution_id)
        return found

    def executions(self, name: str, *, live: bool = False) -> list[Document]:
        """The executions of a pipeline, the first first; with `live`, those that have not ended."""
        if not live:
            return [document for _, document in self._store.list(EXECUTION, f"{name}/")]
        found = self._store.list(EXECUTION, f"{name}/", ("status", "pipelineExecutionId"))
        ids = [document["pipelineExecutionId"] for _, document in found if document["status"] in LIVE]
        return [self.execution(name, execution_id) for execution_id in ids]

    def change_execution(self, document: Document, **members: Any) -> Document:
        """Set members of an execution, and when it was last changed; gives it as it is then."""
        now = self._context.clock.now()
        return self._store.update(EXECUTION, _key(document), lambda there: {**there, **members, "lastUpdateTime": now})

    def change_stage_of(self, document: Document, stage: str, **members: Any) -> Document:
        """Set members of what an execution knows of one of its stages."""
        now = self._context.clock.now()

        def changed(there: Document) -> Document:
            stages = {**there["stages"], stage: {**there["stages"].get(stage, {}), **members}}
            return {**there, "stages": stages, "lastUpdateTime": now}

        return self._store.update(EXECUTION, _key(document), changed)

    # Runs of actions.

    def add_run(self, run: Document) -> None:
        """A new run of an action."""
        self._store.put(ACTION, key_of_run(run), run)

    def run(self, key: str) -> Document | None:
        """A run by its key, or None."""
        return self._store.get(ACTION, key)

    def runs(self, name: str, execution_id: str | None = None) -> list[Document]:
        """The runs of a pipeline's actions, or those of one execution, the first first."""
        prefix = f"{name}/{execution_id}/" if execution_id else f"{name}/"
        return [document for _, document in self._store.list(ACTION, prefix)]

    def change_run(self, key: str, **members: Any) -> Document:
        """Set members of a run; gives it as it is then. Raises KeyError if it is gone."""
        return self._store.update(ACTION, key, lambda there: {**there, **members})

    def current(self, document: Document, stage: str) -> Mapping[str, Document]:
        """The runs that count in a stage of an execution, by action: not those that a retry has replaced."""
        found = self.runs(document["pipelineName"], document["pipelineExecutionId"])
        return {run["actionName"]: run for run in found if run["stageName"] == stage and not run.get("replaced")}

    # Requests that were made before.

    def started_by(self, name: str, token: str | None) -> Document | None:
        """Which execution a request with this token has started, and what it asked for."""
        return self._store.get(TOKEN, f"{name}/{token}") if token else None

    def remember(self, name: str, token: str | None, document: Document) -> None:
        """Keep what a request has started."""
        if token:
            self._store.put(TOKEN, f"{name}/{token}", document)


def _key(document: Document) -> str:
    return f"{document['pipelineName']}/{document['pipelineExecutionId']}"


def key_of_run(run: Document) -> str:
    """The key of a run in the store."""
    return f"{run['pipelineName']}/{run['pipelineExecutionId']}/{run['actionExecutionId']}"
