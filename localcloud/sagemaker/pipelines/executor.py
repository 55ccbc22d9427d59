"""Executions: which step runs when, and what becomes of the whole.

No thread waits for its turn. Each running step has a thread; when a step ends, that thread decides under the
execution's lock which steps can now begin, and starts theirs:

    begin ─> advance ─┬─> thread: step A ── ends ─> advance ─> …
                      └─> thread: step B ── ends ─> advance ─> nothing left ─> finished

A step is skipped when its condition took the other branch, or when a step that it needs was skipped or has failed.
Steps that do not need a failed one still run. Everything is in the store before the next step begins: an execution that
was cut off is found there, ended as Failed, and resumed from its last successes by a retry.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from localcloud.sagemaker.crud import Document
from localcloud.sagemaker.jobs import cut
from localcloud.sagemaker.pipelines import notices, retry
from localcloud.sagemaker.pipelines.definition import CACHEABLE, Step
from localcloud.sagemaker.pipelines.steps import (
    Closing,
    ExecutionFacts,
    Result,
    Services,
    StepFailure,
    StepStopped,
    Turn,
)
from localcloud.sagemaker.pipelines.waiting import Wait, Work
from localcloud.store import Store

_LOG = logging.getLogger(__name__)
EXECUTION, STEP = "sagemaker/pipeline-execution", "sagemaker/pipeline-step"
STEP_FAILURE = "Step failure: One or multiple steps failed."
WAITING, RUNNING, SUCCEEDED, FAILED, STOPPED, SKIPPED = (
    "waiting",
    "running",
    "succeeded",
    "failed",
    "stopped",
    "skipped",
)
_UNFINISHED = ("Starting", "Executing", "Stopping")

Pause = Callable[[threading.Event, float], bool]
"""Waits for an event, so many seconds at most; whether it came. Without one, retries wait by the timetable."""


@dataclass(frozen=True)
class Steps:
    """The stored records of executions' steps."""

    store: Store

    def of(self, execution_arn: str) -> list[Document]:
        """In the order in which they first began."""
        return [record for _, record in self.store.list(STEP, f"{execution_arn}/")]

    def put(self, execution_arn: str, record: Document) -> None:
        """Write a step's record."""
        self.store.put(STEP, f"{execution_arn}/{record['StepName']}", record)

    def get(self, execution_arn: str, step: str) -> Document | None:
        """A step's record, or None."""
        return self.store.get(STEP, f"{execution_arn}/{step}")

    def change(self, execution_arn: str, step: str, **members: Any) -> None:
        """Set members of a step's record."""
        self.store.update(STEP, f"{execution_arn}/{step}", lambda record: {**record, **members})

    def drop(self, execution_arn: str, step: str) -> None:
        """Remove a step's record: it has not begun."""
        self.store.delete(STEP, f"{execution_arn}/{step}")


class Execution:
    """One execution at work."""

    def __init__(
        self,
        facts: ExecutionFacts,
        services: Services,
        records: Steps,
        limit: int | None,
        pause: Pause | None,
        finished: Callable[[Execution], None],
    ) -> None:
        self.facts = facts
        self._services, self._records, self._pause, self._finished = services, records, pause, finished
        self._lock = threading.RLock()
        self._limit = limit
        self._states = dict.fromkeys(facts.definition.steps, WAITING)
        self._outputs: dict[str, Mapping[str, Any]] = {}
        self._stoppers: dict[str, Callable[[], None]] = {}
        # The steps that wait for an answer, or for another try: they are woken when localcloud stops, the latter also
        # when the execution does.
        self._waits: set[Wait] = set()
        self._naps: set[Wait] = set()
        self._halt = threading.Event()
        self._stop_requested = False
        self._closing = False
        self._done = False
        self.ended = threading.Event()
        self._threads: set[threading.Thread] = set()

    def begin(self) -> None:
        """Take up what earlier tries of this execution have done, and start what can run."""
        with self._lock:
            document = self._services.context.store.get(EXECUTION, self.facts.arn)
            if document is not None and document["PipelineExecutionStatus"] == "Stopping":
                # It was stopped after the store and before `stop` could know of it.
                self._stop_requested = True
                self._halt.set()
            for record in self._records.of(self.facts.arn):
                if record["StepStatus"] == "Succeeded":
                    self._states[record["StepName"]] = SUCCEEDED
                    self._outputs[record["StepName"]] = record["Output"]
                else:
                    self._records.drop(self.facts.arn, record["StepName"])
            self._advance()

    def stop(self) -> None:
        """Begin no more steps, and stop those that run."""
        with self._lock:
            self._stop_requested = True
            for name, state in self._states.items():
                if state == RUNNING:
                    self._records.change(self.facts.arn, name, StepStatus="Stopping")
                    self._tell(name, "Executing")
            self._halt_running()

    def set_limit(self, limit: int | None) -> None:
        """Let so many steps run at once from now on."""
        with self._lock:
            self._limit = limit
            self._advance()

    def close(self) -> None:
        """localcloud is stopping: record nothing more. The jobs are ended by whoever owns them."""
        with self._lock:
            self._closing = True
            self._halt.set()
            for wait in self._waits | self._naps:
                wait.end()

    def join(self) -> None:
        """Wait for the threads."""
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join()

    def _halt_running(self) -> None:
        self._halt.set()
        for nap in self._naps:
            nap.end()
        for name, stopper in list(self._stoppers.items()):
            self._stop_step(name, stopper)

    def _stop_step(self, name: str, stopper: Callable[[], None]) -> None:
        try:
            stopper()
        except StepFailure as failure:
            # Its queue is gone, say: the step is not told, and ends as it would have.
            _LOG.warning("stopping step %s of %s: %s", name, self.facts.arn, failure.reason)

    def _advance(self) -> None:
        if self._closing or self._done:
            return
        changed = True
        while changed:
            changed = False
            for step in self.facts.definition.steps.values():
                if self._states[step.name] == WAITING and self._is_skipped(step):
                    self._states[step.name] = SKIPPED
                    changed = True
        if not self._halt.is_set():
            for step in self.facts.definition.steps.values():
                if self._limit is not None and self._running >= self._limit:
                    break
                if self._states[step.name] == WAITING and all(self._states[name] == SUCCEEDED for name in step.needs):
                    self._launch(step)
        if not self._running:
            self._done = True
            self._finish()

    @property
    def _running(self) -> int:
        return sum(state == RUNNING for state in self._states.values())

    def _is_skipped(self, step: Step) -> bool:
        if any(self._states[name] in (FAILED, STOPPED, SKIPPED) for name in step.needs):
            return True
        if step.gate is None or self._states[step.gate[0]] != SUCCEEDED:
            return False
        condition, branch = step.gate
        taken: str = self._outputs[condition]["Outcome"]
        return taken != str(branch)

    def _launch(self, step: Step) -> None:
        self._states[step.name] = RUNNING
        record: Document = {
            "StepName": step.name,
            "StepStatus": "Executing",
            "StartTime": self._services.context.clock.now(),
            "AttemptCount": 1,
        }
        if step.display_name:
            record["StepDisplayName"] = step.display_name
        if step.description:
            record["StepDescription"] = step.description
        self._records.put(self.facts.arn, record)
        self._tell(step.name, None)
        work = Work(self._services.context.timetable)
        work.begin()
        thread = threading.Thread(target=self._run, args=(step, work), name=f"step-{step.name}", daemon=True)
        self._threads.add(thread)
        thread.start()

    def _run(self, step: Step, work: Work) -> None:
        try:
            self._run_to_end(step, work)
        finally:
            work.end()

    def _run_to_end(self, step: Step, work: Work) -> None:
        state = FAILED
        members: dict[str, Any] = {}
        try:
            result = self._attempts(step, work)
            state, members = SUCCEEDED, self._recorded(step, result)
        except StepStopped:
            state, members = STOPPED, {"StepStatus": "Stopped"}
        except StepFailure as failure:
            members = {"StepStatus": "Failed", "FailureReason": cut(failure.reason)}
            if failure.metadata is not None:
                members["Metadata"] = failure.metadata
        except Closing:
            return
        except Exception as error:  # a bug or a broken leaf: the execution must still end, and say why
            _LOG.exception("step %s of %s", step.name, self.facts.arn)
            reason = f"InternalServerError: {type(error).__name__}: {error}"
            members = {"StepStatus": "Failed", "FailureReason": cut(reason)}
        try:
            self._end(step, state, members)
        except Exception:
            _LOG.exception("ending step %s of %s", step.name, self.facts.arn)

    def _recorded(self, step: Step, result: Result) -> dict[str, Any]:
        members = {"StepStatus": "Succeeded", "Metadata": result.metadata, "Output": result.output}
        if result.cached_from is not None:
            members["CacheHitResult"] = {"SourcePipelineExecutionArn": result.cached_from}
        elif step.type in CACHEABLE and result.cache_key is not None:
            self._services.cache.remember(
                self.facts.pipeline,
                step.name,
                result.cache_key,
                self.facts.arn,
                result.output,
                self._services.context.clock.now(),
            )
        return members

    def _end(self, step: Step, state: str, members: dict[str, Any]) -> None:
        with self._lock:
            self._stoppers.pop(step.name, None)
            self._threads.discard(threading.current_thread())
            if self._closing:
                return
            self._records.change(self.facts.arn, step.name, **members, EndTime=self._services.context.clock.now())
            self._tell(step.name, "Stopping" if self._stop_requested else "Executing")
            self._states[step.name] = state
            if state == SUCCEEDED:
                self._outputs[step.name] = members["Output"]
            if step.type == "Fail":
                # A Fail step stops the execution, not just its own branch.
                self._halt_running()
            self._advance()

    def _attempts(self, step: Step, work: Work) -> Result:
        """Run a step, again and again as its retry policies say."""
        clock = self._services.context.clock
        started, attempt = clock.now(), 1
        used: dict[retry.Policy, int] = {}
        while True:
            try:
                return self._turn(step, work).run()
            except StepFailure as failure:
                policy = next((p for p in step.retry_policies if failure.exception_type in p.exception_types), None)
                if policy is None:
                    raise
                retries = used.get(policy, 0)
                delay = policy.delay_seconds(retries, (clock.now() - started).total_seconds())
                if delay is None:
                    raise
                used[policy] = retries + 1
                _LOG.info("step %s of %s: %s; again in %g s", step.name, self.facts.arn, failure.reason, delay)
            if self._nap(step, delay, work):
                raise (Closing if self._closing else StepStopped)()
            attempt += 1
            self._records.change(self.facts.arn, step.name, AttemptCount=attempt)

    def _nap(self, step: Step, seconds: float, work: Work) -> bool:
        """Wait for so long; whether the execution was stopped meanwhile."""
        if self._pause is not None:
            return self._pause(self._halt, seconds)
        nap = Wait(work)
        with self._lock:
            self._naps.add(nap)
            if self._halt.is_set():
                nap.end()

        def end() -> None:
            nap.end()

        entry = self._services.context.timetable.after(seconds, end, f"try step {step.name} again")
        nap.until_ended()
        entry.cancel()
        with self._lock:
            self._naps.discard(nap)
        return self._halt.is_set()

    def _turn(self, step: Step, work: Work) -> Turn:
        def waiting(wait: Wait) -> None:
            with self._lock:
                self._waits.add(wait)
                if self._closing:
                    wait.end()

        def begun(metadata: Mapping[str, Any], stopper: Callable[[], None]) -> None:
            with self._lock:
                if not self._closing:
                    self._records.change(self.facts.arn, step.name, Metadata=dict(metadata))
                    # As on AWS, where a step is Starting before it has a job: what watches it needs the job's name.
                    self._tell(step.name, "Executing")
                self._stoppers[step.name] = stopper
                if self._halt.is_set():
                    self._stop_step(step.name, stopper)

        return Turn(
            step, self.facts, self._services, self._outputs.__getitem__, begun, self._halt.is_set, waiting, work
        )

    def _tell(self, name: str, previous: str | None) -> None:
        """Send the event of a step's new status."""
        record = self._records.get(self.facts.arn, name)
        if record is not None:
            kind = self.facts.definition.steps[name].type
            notices.step_changed(
                self._services.context, self.facts.pipeline_arn, self.facts.arn, kind, record, previous
            )

    def _finish(self) -> None:
        failed = FAILED in self._states.values()
        status = "Stopped" if self._stop_requested else "Failed" if failed else "Succeeded"
        reason = STEP_FAILURE if failed and status == "Failed" else None
        end_execution(self._services, self.facts.arn, status, reason)
        self._finished(self)
        self.ended.set()


class Executor:
    """All executions of a localcloud."""

    def __init__(self, services: Services, pause: Pause | None = None) -> None:
        self._services, self._pause = services, pause
        self.records = Steps(services.context.store)
        self._lock = threading.Lock()
        self._live: dict[str, Execution] = {}
        self._closing = False

    def begin(self, facts: ExecutionFacts, limit: int | None) -> None:
        """Start an execution, or go on with one that has ended."""
        execution = Execution(facts, self._services, self.records, limit, self._pause, self._forget)
        with self._lock:
            if self._closing:
                return
            self._live[facts.arn] = execution
        execution.begin()

    def stop(self, arn: str) -> None:
        """Stop an execution; nothing happens if it has ended."""
        with self._lock:
            execution = self._live.get(arn)
        if execution is not None:
            execution.stop()

    def set_limit(self, arn: str, limit: int | None) -> None:
        """Change how many steps run at once."""
        with self._lock:
            execution = self._live.get(arn)
        if execution is not None:
            execution.set_limit(limit)

    def recover(self) -> None:
        """End the executions that an earlier localcloud left unfinished."""
        now = self._services.context.clock.now()
        for arn, document in self._services.context.store.list(EXECUTION):
            if document["PipelineExecutionStatus"] not in ("Executing", "Stopping"):
                continue
            cut_off = []
            for record in self.records.of(arn):
                if record["StepStatus"] in _UNFINISHED:
                    name = record["StepName"]
                    cut_off.append(name)
                    reason = f"localcloud stopped while step {name!r} ran. RetryPipelineExecution resumes from it"
                    self.records.change(arn, name, StepStatus="Failed", FailureReason=reason, EndTime=now)
            where = f"while step {', '.join(map(repr, cut_off))} ran" if cut_off else "between two steps"
            end_execution(
                self._services,
                arn,
                "Failed",
                f"{STEP_FAILURE} localcloud stopped {where}. RetryPipelineExecution resumes the execution from there",
            )

    def begin_closing(self) -> None:
        """From here on nothing begins, and nothing that ends is recorded."""
        with self._lock:
            self._closing = True
            live = list(self._live.values())
        for execution in live:
            execution.close()

    def join(self) -> None:
        """Wait until every execution's threads have ended."""
        with self._lock:
            live = list(self._live.values())
        for execution in live:
            execution.join()

    def join_one(self, arn: str) -> None:
        """Wait until one execution has ended; returns at once if it has."""
        with self._lock:
            execution = self._live.get(arn)
        if execution is not None:
            execution.ended.wait()

    def _forget(self, execution: Execution) -> None:
        with self._lock:
            if self._live.get(execution.facts.arn) is execution:
                del self._live[execution.facts.arn]


def end_execution(services: Services, arn: str, status: str, reason: str | None) -> None:
    """Write an execution's last status."""

    previous: list[str] = []

    def ended(document: Document) -> Document:
        previous.append(document["PipelineExecutionStatus"])
        document |= {"PipelineExecutionStatus": status, "LastModifiedTime": services.context.clock.now()}
        document.pop("FailureReason", None)
        if reason is not None:
            document["FailureReason"] = reason
        return document

    document = services.context.store.update(EXECUTION, arn, ended)
    notices.execution_changed(services.context, document, previous[0])
