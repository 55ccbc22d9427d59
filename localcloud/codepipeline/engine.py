"""Executions at work: who enters which stage, which actions run, and what becomes of the whole.

    begin ─> waits at the first stage ─admitted─> its actions, run order by run order ─> waits at the next ─> … ─> ends
                    │                                   │
               superseded by a newer one          failed, stopped; a retry goes on from here

One execution at a time is in a stage, unless the pipeline runs in PARALLEL mode. Of those that wait at a stage's
entrance the newest alone is left in SUPERSEDED mode; in QUEUED mode they take turns. A disabled transition lets nobody
in.

Nothing waits in here: each run of an action has a thread, which says when it ends; approvals and jobs of functions have
none while somebody else is to answer. Every decision is taken from what is in the store, under one lock, and is in the
store before anything is begun: a localcloud that was killed goes on where it was.

Source: "How pipeline executions work", "Set or change the pipeline execution mode" (AWS CodePipeline User Guide).
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from localcloud.codepipeline import declaration, notices, records
from localcloud.codepipeline.actions import invocations
from localcloud.codepipeline.actions.kind import Kind
from localcloud.codepipeline.declaration import Action, Pipeline, Stage
from localcloud.codepipeline.notices import Notices
from localcloud.codepipeline.records import Document, Records, key_of_run
from localcloud.codepipeline.runs import action_of, new_run, output, results
from localcloud.codepipeline.starts import Start, new_execution
from localcloud.codepipeline.turn import JOB_FAILED, Outcome
from localcloud.codepipeline.workers import Workers
from localcloud.context import Context
from localcloud.errors import ServiceError
from localcloud.signals import Event

_MOST_AT_ONCE = 50


class Engine:
    """All executions of a localcloud. All methods may be called from any thread."""

    def __init__(self, context: Context, found: Records, tell: Notices, kinds: Mapping[tuple[str, str], Kind]) -> None:
        """kinds: what carries out an action, by its category and provider."""
        self._context, self._records, self._notices = context, found, tell
        self.lock = threading.RLock()
        """Held while something is decided; whoever changes what it is decided from holds it, too."""
        self._workers = Workers(context, found, kinds, self.lock, self.complete)
        context.signals.on_event(self._stirred)

    # The life of the engine.

    def start(self) -> None:
        """Go on with what an earlier localcloud has left."""
        self._context.timetable.at(self._context.clock.now(), self._take_up, "executions of pipelines")

    def close(self) -> None:
        """End nothing: the next start goes on."""
        self._workers.close()

    def _take_up(self) -> None:
        with self.lock:
            for pipeline in self._records.pipelines():
                name = pipeline["Declaration"]["name"]
                for execution in self._records.executions(name, live=True):
                    self._let_in_later(execution)
                    for run in self._records.runs(name, execution["pipelineExecutionId"]):
                        if run["status"] == records.IN_PROGRESS:
                            self._go_on(run)
                self.advance(name)

    def _go_on(self, run: Document) -> None:
        key = key_of_run(run)
        if run.get("expiresAt") is not None:
            self._expire_at(key, run["expiresAt"])
        again_at = run["progress"].get("againAt")
        if again_at is not None and not invocations.is_called(run):
            self._again_at(key, again_at)
        else:
            self._workers.begin(key)

    def _stirred(self, event: Event) -> None:
        """A build has changed: those who wait for one look at once."""
        if event.source == "aws.codebuild":
            self._workers.wake_all()

    # What operations ask for.

    def begin(self, name: str, start: Start) -> str:
        """Start an execution of the pipeline as it is now; gives its id.

        Raises PipelineNotFoundException, ValidationException for variables that are not the pipeline's or that are
        missing, ConflictException for a token of another request, ConcurrentPipelineExecutionsLimitExceededException.
        """
        with self.lock:
            document = self._records.pipeline(name)
            earlier = self._records.started_by(name, start.token)
            if earlier is not None:
                if earlier["Asked"] != start.asked:
                    raise ServiceError(
                        "ConflictException", f"The clientRequestToken '{start.token}' was used before, to ask for more"
                    )
                return str(earlier["Execution"])
            pipeline = declaration.read(document["Declaration"])
            live = self._records.executions(name, live=True)
            if pipeline.mode != declaration.SUPERSEDED and len(live) >= _MOST_AT_ONCE:
                raise ServiceError(
                    "ConcurrentPipelineExecutionsLimitExceededException",
                    f"The pipeline '{name}' has {len(live)} executions under way; {_MOST_AT_ONCE} is the most",
                )
            execution = new_execution(pipeline, document, start, self._context.clock.now())
            with self._context.store.transaction():
                count = document["Executions"] + 1
                self._context.store.put(records.PIPELINE, name, {**document, "Executions": count})
                self._records.add_execution(execution)
                self._records.remember(
                    name, start.token, {"Execution": execution["pipelineExecutionId"], "Asked": start.asked}
                )
            self._notices.pipeline(execution, notices.STARTED)
            self._let_in_later(execution)
            self.advance(name)
            return str(execution["pipelineExecutionId"])

    def _let_in_later(self, execution: Document) -> None:
        if execution["waiting"] and execution["notBefore"] > self._context.clock.now():
            what = partial(self.advance, execution["pipelineName"])
            self._context.timetable.at(execution["notBefore"], what, "the first execution of a pipeline")

    def stop(self, execution: Document, reason: str | None, *, abandon: bool, by: str) -> None:
        """Begin no more actions; what runs is waited for, or abandoned. The lock is the caller's."""
        members: dict[str, Any] = {"stopTrigger": {"reason": reason} if reason else {}, "stoppedBy": by}
        if execution["waiting"]:
            self._end(self._records.change_execution(execution, **members), records.STOPPED, notices.STOPPED)
        else:
            was_stopping = execution["status"] == records.STOPPING
            execution = self._records.change_execution(execution, **members, status=records.STOPPING)
            if not was_stopping:
                execution = self._records.change_stage_of(execution, execution["stage"], status=records.STOPPING)
                self._notices.pipeline(execution, notices.STOPPING)
                self._notices.stage(execution, execution["stage"], notices.STOPPING)
            if abandon:
                self._abandon(execution)
        self.advance(execution["pipelineName"])

    def cancel(self, execution: Document, why: str) -> None:
        """End an execution whose pipeline is another one now. The lock is the caller's."""
        self._abandon(execution)
        if not execution["waiting"]:
            execution = self._records.change_stage_of(execution, execution["stage"], status=records.CANCELLED)
            self._notices.stage(execution, execution["stage"], notices.CANCELED)
        self._end(execution, records.CANCELLED, notices.CANCELED, why)

    def _abandon(self, execution: Document) -> None:
        """Let nobody wait for what runs: whoever carries it out ends it at its service."""
        pipeline = self._read(execution)
        for run in self._records.runs(execution["pipelineName"], execution["pipelineExecutionId"]):
            if run["status"] == records.IN_PROGRESS:
                now = self._context.clock.now()
                run = self._records.change_run(key_of_run(run), status=records.ABANDONED, lastUpdateTime=now)
                self._notices.action(execution, action_of(pipeline, run), run, notices.ABANDONED)
                self._workers.wake(key_of_run(run))

    def retry(self, execution: Document, stage: str, *, all_actions: bool) -> None:
        """Run a stage that has failed again, wholly or what of it has not succeeded. The lock is the caller's."""
        now = self._context.clock.now()
        with self._context.store.transaction():
            for run in self._records.current(execution, stage).values():
                if all_actions or run["status"] != records.SUCCEEDED:
                    self._records.change_run(key_of_run(run), replaced=True)
            manual = execution["stages"][stage].get("retries", 0) + 1
            self._records.change_stage_of(execution, stage, status=records.IN_PROGRESS, retriedAt=now, retries=manual)
            execution = self._records.change_execution(
                self._records.execution(execution["pipelineName"], execution["pipelineExecutionId"]),
                status=records.IN_PROGRESS,
                statusSummary=None,
                stopTrigger={},
                attempt=execution["attempt"] + 1,
                retriedAt=now,
                stage=stage,
                waiting=False,
            )
        self._notices.pipeline(execution, notices.RESUMED)
        self._notices.stage(execution, stage, notices.RESUMED)
        self.advance(execution["pipelineName"])

    def complete(self, key: str, outcome: Outcome) -> bool:
        """A run has ended; whether it was still waited for."""
        with self.lock:
            run = self._finished(key, outcome)
            if run is not None:
                self.advance(run["pipelineName"])
            return run is not None

    def again(self, key: str, continuation: str) -> None:
        """A function has done a part of its job, and wants to be called again with its token. The lock is the
        caller's."""
        run = self._records.run(key)
        assert run is not None
        at = self._context.clock.now() + timedelta(seconds=invocations.AGAIN_SECONDS)
        progress = {**run["progress"], "continuationToken": continuation, "againAt": at}
        job_id = str(uuid.uuid4())
        with self._context.store.transaction():
            self._records.change_run(key, progress=progress, jobId=job_id)
            self._context.store.put(records.JOB, job_id, {"Run": key})
        self._again_at(key, at)

    # The decisions.

    def advance(self, name: str) -> None:
        """Let everything happen that can."""
        with self.lock:
            while not self._workers.is_closing and self._step(name):
                pass

    def _step(self, name: str) -> bool:
        """The next thing that can happen; whether there was one."""
        live = self._records.executions(name, live=True)
        return any(self._drive(execution) for execution in live if not execution["waiting"]) or self._admit(name, live)

    def _drive(self, execution: Document) -> bool:
        """What comes next in the stage that an execution is in."""
        pipeline = self._read(execution)
        stage = pipeline.stage(execution["stage"])
        assert stage is not None
        runs = self._records.current(execution, stage.name)
        if any(run["status"] == records.IN_PROGRESS for run in runs.values()):
            return False
        if execution["status"] == records.STOPPING:
            self._leave(execution, records.STOPPED, notices.STOPPED)
            return True
        for group in stage.groups():
            missing = [action for action in group if action.name not in runs]
            if missing:
                self._launch(execution, pipeline, missing)
                return True
            if any(runs[action.name]["status"] != records.SUCCEEDED for action in group):
                self._leave(execution, records.FAILED, notices.FAILED)
                return True
        self._pass_on(execution, pipeline, stage)
        return True

    def _leave(self, execution: Document, status: str, state: str) -> None:
        """The execution ends in its stage."""
        execution = self._records.change_stage_of(execution, execution["stage"], status=status)
        self._notices.stage(execution, execution["stage"], state)
        self._end(execution, status, state)

    def _pass_on(self, execution: Document, pipeline: Pipeline, stage: Stage) -> None:
        following = pipeline.after(stage.name)
        with self._context.store.transaction():
            execution = self._records.change_stage_of(execution, stage.name, status=records.SUCCEEDED)
            if following is not None:
                execution = self._records.change_execution(execution, stage=following.name, waiting=True)
        self._notices.stage(execution, stage.name, notices.SUCCEEDED)
        if following is None:
            self._end(execution, records.SUCCEEDED, notices.SUCCEEDED)

    def _end(self, execution: Document, status: str, state: str, summary: str | None = None) -> None:
        summary = summary or execution.get("stopTrigger", {}).get("reason")
        execution = self._records.change_execution(execution, status=status, waiting=False, statusSummary=summary)
        self._notices.pipeline(execution, state)

    def _admit(self, name: str, live: Sequence[Document]) -> bool:
        """Let those who wait at a stage in, or be superseded; whether something has changed."""
        if not any(execution["waiting"] for execution in live):
            return False
        pipeline = self._read(live[0])
        return any(self._admit_to(pipeline, stage, live) for stage in reversed(pipeline.stages))

    def _admit_to(self, pipeline: Pipeline, stage: Stage, live: Sequence[Document]) -> bool:
        here = [execution for execution in live if execution["stage"] == stage.name]
        waiting = sorted((one for one in here if one["waiting"]), key=lambda one: int(one["number"]))
        if pipeline.mode == declaration.SUPERSEDED and len(waiting) > 1:
            *older, newest = waiting
            for execution in older:
                why = f"Superseded by the execution {newest['pipelineExecutionId']}"
                self._end(execution, records.SUPERSEDED, notices.SUPERSEDED, why)
            return True
        transition = self._records.stage(pipeline.name, stage.name).get("transition", {})
        busy = any(not one["waiting"] for one in here) and pipeline.mode != declaration.PARALLEL
        if not waiting or busy or not transition.get("enabled", True):
            return False
        if waiting[0]["notBefore"] > self._context.clock.now():
            return False
        self._enter(waiting[0], stage)
        return True

    def _enter(self, execution: Document, stage: Stage) -> None:
        now = self._context.clock.now()
        with self._context.store.transaction():
            self._records.change_stage_of(execution, stage.name, status=records.IN_PROGRESS, startTime=now)
            execution = self._records.change_execution(execution, waiting=False)
            self._records.change_stage(execution["pipelineName"], stage.name, latest=execution["pipelineExecutionId"])
        self._notices.stage(execution, stage.name, notices.STARTED)

    # The runs of actions.

    def _launch(self, execution: Document, pipeline: Pipeline, actions: Sequence[Action]) -> None:
        """Begin actions that run side by side."""
        now = self._context.clock.now()
        runs = [new_run(execution, pipeline, action, self._context.region, now) for action in actions]
        stage = actions[0].stage
        with self._context.store.transaction():
            known = self._records.stage(pipeline.name, stage).get("runs", {})
            latest = {run["actionName"]: key_of_run(run) for run in runs}
            self._records.change_stage(pipeline.name, stage, runs={**known, **latest})
            for run in runs:
                self._records.add_run(run)
                if "jobId" in run:
                    self._context.store.put(records.JOB, run["jobId"], {"Run": key_of_run(run)})
        for action, run in zip(actions, runs, strict=True):
            self._notices.action(execution, action, run, notices.STARTED)
            if "expiresAt" in run:
                self._expire_at(key_of_run(run), run["expiresAt"])
            self._workers.begin(key_of_run(run))

    def _expire_at(self, key: str, moment: datetime) -> None:
        self._context.timetable.at(moment, partial(self._expire, key), "an action that nobody has answered")

    def _expire(self, key: str) -> None:
        run = self._records.run(key)
        if run is None:
            return
        what = "approval" if "token" in run else "job"
        message = f"The {what} of the action {run['actionName']} has timed out: nobody has answered it"
        self.complete(key, Outcome.failed(JOB_FAILED, message))

    def _again_at(self, key: str, moment: datetime) -> None:
        self._context.timetable.at(moment, partial(self._workers.begin, key), "the next part of a function's job")

    def _finished(self, key: str, outcome: Outcome) -> Document | None:
        """Record how a run ended; None if nobody waited for it any more."""
        run = self._records.run(key)
        if run is None or run["status"] != records.IN_PROGRESS:
            return None
        execution = self._records.execution(run["pipelineName"], run["pipelineExecutionId"])
        action = action_of(self._read(execution), run)
        with self._context.store.transaction():
            run = self._records.change_run(
                key,
                status=records.SUCCEEDED if outcome.succeeded else records.FAILED,
                lastUpdateTime=self._context.clock.now(),
                updatedBy=outcome.by or None,
                output=output(run, outcome),
            )
            if outcome.succeeded:
                execution = self._records.change_execution(execution, **results(execution, action, run, outcome))
        state = notices.SUCCEEDED if outcome.succeeded else notices.FAILED
        self._notices.action(execution, action, run, state)
        return run

    def _read(self, execution: Document) -> Pipeline:
        return self._records.read(execution["pipelineName"], execution["pipelineVersion"])
