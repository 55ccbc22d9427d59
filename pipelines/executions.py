"""Reading executions of a pipeline through SageMaker's API: steps, times, cache hits, failures and their logs.

Nothing here starts or changes anything. The same calls answer on AWS and on a laptop; clients are handed in.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from pipelines import graph

__all__ = [
    "Execution",
    "GroupFollower",
    "LogFollower",
    "StepRun",
    "describe_job",
    "document",
    "document_of_step",
    "evaluation_of",
    "group_lines",
    "job_status",
    "latest",
    "log_tail",
    "outputs_of_job",
    "read",
    "run_that_worked",
    "watch",
]

FINISHED = frozenset({"Succeeded", "Failed", "Stopped"})
# Kind of job in a step's metadata, and the log group that SageMaker writes its lines to.
LOG_GROUPS = {
    "ProcessingJob": "/aws/sagemaker/ProcessingJobs",
    "TrainingJob": "/aws/sagemaker/TrainingJobs",
    "TransformJob": "/aws/sagemaker/TransformJobs",
}


@dataclass(frozen=True)
class StepRun:
    """One step of one execution, as far as it has come.

    `status` is SageMaker's (`Starting`, `Executing`, `Succeeded`, `Failed`, `Stopping`, `Stopped`), or `Pending` for a
    step of the definition that SageMaker does not list yet, or `Skipped` for one in the branch that was not taken.
    `cached_from` is the ARN of the execution whose result was used again.
    """

    name: str
    type: str
    status: str
    started: datetime | None = None
    ended: datetime | None = None
    cached_from: str | None = None
    failure_reason: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def job(self) -> tuple[str, str] | None:
        """(kind, name) of the job that did the step's work, e.g. `("TrainingJob", "pipelines-…")`."""
        for kind in LOG_GROUPS:
            arn = self.metadata.get(kind, {}).get("Arn")
            if arn:
                return kind, str(arn).rsplit("/", 1)[-1]
        return None

    @property
    def outcome(self) -> bool | None:
        """What a condition step decided."""
        outcome = self.metadata.get("Condition", {}).get("Outcome")
        return None if outcome is None else str(outcome).lower() == "true"

    def seconds(self, now: datetime | None = None) -> float | None:
        """Wall-clock seconds from start to end, or to `now` (aware) while it runs."""
        if self.started is None:
            return None
        end = self.ended or now
        return None if end is None else max(0.0, (end - self.started).total_seconds())


@dataclass(frozen=True)
class Execution:
    """An execution with all steps of its definition, in the order of its graph."""

    arn: str
    pipeline: str
    status: str
    started: datetime
    modified: datetime
    failure_reason: str | None
    parameters: Mapping[str, str]
    definition: Mapping[str, Any]
    steps: tuple[StepRun, ...]

    @property
    def id(self) -> str:
        return self.arn.rsplit("/", 1)[-1]

    @property
    def finished(self) -> bool:
        return self.status in FINISHED

    @cached_property
    def graph(self) -> graph.Graph:
        return graph.read(self.definition)

    def step(self, name: str) -> StepRun | None:
        return next((step for step in self.steps if step.name == name), None)

    def seconds(self, now: datetime | None = None) -> float:
        end = now if now is not None and not self.finished else self.modified
        return max(0.0, (end - self.started).total_seconds())


def latest(sagemaker: Any, *pipelines: str) -> str | None:
    """ARN of the last execution of any of the pipelines, or None when none of them exists or ever ran."""
    summaries: list[dict[str, Any]] = []
    for pipeline in pipelines:
        try:
            summaries += sagemaker.list_pipeline_executions(
                PipelineName=pipeline, SortBy="CreationTime", SortOrder="Descending", MaxResults=1
            )["PipelineExecutionSummaries"]
        except sagemaker.exceptions.ResourceNotFound:
            continue
    newest = max(summaries, key=lambda summary: summary["StartTime"], default=None)
    return None if newest is None else str(newest["PipelineExecutionArn"])


def read(sagemaker: Any, arn: str, known: Execution | None = None) -> Execution:
    """The execution as it is now. `known`, an earlier reading, spares the calls whose answers never change."""
    described = sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
    if known is None:
        document = sagemaker.describe_pipeline_definition_for_execution(PipelineExecutionArn=arn)
        definition = json.loads(document["PipelineDefinition"])
        parameters: Mapping[str, str] = _parameters(sagemaker, arn, definition)
    else:
        definition, parameters = known.definition, known.parameters
    listed = [
        step
        for page in _pages(sagemaker.list_pipeline_execution_steps, PipelineExecutionArn=arn, SortOrder="Ascending")
        for step in page["PipelineExecutionSteps"]
    ]
    status = described["PipelineExecutionStatus"]
    return Execution(
        arn=arn,
        pipeline=described["PipelineArn"].rsplit("/", 1)[-1],
        status=status,
        started=described["CreationTime"],
        modified=described.get("LastModifiedTime", described["CreationTime"]),
        failure_reason=described.get("FailureReason"),
        parameters=parameters,
        definition=definition,
        steps=_steps(graph.read(definition), listed, status in FINISHED),
    )


def watch(
    sagemaker: Any, arn: str, pause: Callable[[float], None], seconds_between: float = 0.5
) -> Iterator[Execution]:
    """Readings of the execution until it is finished; the last one is of the finished execution.

    `pause` waits between two readings (time.sleep, or what a test puts in its place).
    """
    execution = read(sagemaker, arn)
    yield execution
    while not execution.finished:
        pause(seconds_between)
        execution = read(sagemaker, arn, known=execution)
        yield execution


def outputs_of_job(described: Mapping[str, Any]) -> dict[str, str]:
    """Where a job's description says that its results lie: S3 URI by output name; a training job's model as `model`,
    a transform's answers as `answers`.
    """
    outputs = described.get("ProcessingOutputConfig", {}).get("Outputs", ())
    found = {output["OutputName"]: output["S3Output"]["S3Uri"] for output in outputs if "S3Output" in output}
    model = described.get("ModelArtifacts", {}).get("S3ModelArtifacts")
    answers = described.get("TransformOutput", {}).get("S3OutputPath")
    return found | ({"model": model} if model else {}) | ({"answers": answers} if answers else {})


def describe_job(sagemaker: Any, job: tuple[str, str]) -> dict[str, Any] | None:
    """A job's description, whatever its kind; None when there is no such job."""
    kind, name = job
    describe = {
        "ProcessingJob": sagemaker.describe_processing_job,
        "TrainingJob": sagemaker.describe_training_job,
        "TransformJob": sagemaker.describe_transform_job,
    }[kind]
    try:
        return dict(describe(**{f"{kind}Name": name}))
    except sagemaker.exceptions.ClientError as error:
        # AWS says ValidationException of a job that it cannot find, where it says ResourceNotFound of other things.
        message = str(error).lower()
        if "not exist" in message or "not find" in message or "not found" in message or "resourcenotfound" in message:
            return None
        raise


def job_status(sagemaker: Any, job: tuple[str, str]) -> str | None:
    """`InProgress`, `Completed`, `Failed`, `Stopping`, `Stopped`, or None when there is no such job."""
    described = describe_job(sagemaker, job)
    return None if described is None else str(described[f"{job[0]}Status"])


def document_of_step(sagemaker: Any, s3: Any, execution: Execution, step: str, output: str, path: str) -> Any:
    """A JSON file that a processing step wrote to one of its outputs, parsed; None when there is none.

    For a step that was a cache hit, the file is that of the execution which did the work.
    """
    run = run_that_worked(sagemaker, execution, step)
    job = run.job if run else None
    if run is None or job is None or run.status != "Succeeded":
        return None
    uri = outputs_of_job(describe_job(sagemaker, job) or {}).get(output)
    if uri is None:
        return None
    return document(s3, f"{uri.rstrip('/')}/{path}")


def document(s3: Any, uri: str) -> Any:
    """The JSON file at an S3 URI, parsed; None when there is none."""
    location = urlsplit(uri)
    try:
        body = s3.get_object(Bucket=location.netloc, Key=location.path.lstrip("/"))["Body"].read()
    except s3.exceptions.NoSuchKey:
        return None
    return json.loads(body)


def evaluation_of(sagemaker: Any, s3: Any, execution: Execution) -> dict[str, Any] | None:
    """The evaluation that the execution's gate reads: the property file `evaluation.json` of whichever step has it."""
    for node in execution.graph.nodes:
        for property_file in node.document.get("PropertyFiles", ()):
            path = str(property_file.get("FilePath", ""))
            if path.rsplit("/", 1)[-1] != "evaluation.json":
                continue
            found = document_of_step(sagemaker, s3, execution, node.name, property_file["OutputName"], path)
            if isinstance(found, dict):
                return found
    return None


def log_tail(logs: Any, job: tuple[str, str], lines: int = 20) -> list[str]:
    """The last lines that a job wrote, oldest first; none when it wrote none or its kind keeps no log."""
    kind, name = job
    group = LOG_GROUPS.get(kind)
    if group is None:
        return []
    events: list[tuple[int, str]] = []
    for stream in _streams(logs, group, name):
        answer = logs.get_log_events(logGroupName=group, logStreamName=stream, limit=lines, startFromHead=False)
        events += [(event["timestamp"], event["message"].rstrip("\n")) for event in answer["events"]]
    events.sort(key=lambda event: event[0])  # stable: lines of one millisecond keep their order
    return [message for _, message in events[-lines:]]


def group_lines(logs: Any, group: str, lines: int = 200) -> list[str]:
    """The last lines of a log group's newest streams, oldest first; none when there is no such group."""
    return [message for _, message in _group_events(logs, group, lines)]


def _group_events(logs: Any, group: str, lines: int) -> list[tuple[int, str]]:
    """The same, each with its time in milliseconds since 1970."""
    try:
        streams = logs.describe_log_streams(logGroupName=group, orderBy="LastEventTime", descending=True, limit=10)[
            "logStreams"
        ]
    except logs.exceptions.ResourceNotFoundException:
        return []
    events: list[tuple[int, str]] = []
    for stream in streams:
        answer = logs.get_log_events(
            logGroupName=group, logStreamName=stream["logStreamName"], limit=lines, startFromHead=False
        )
        events += [(event["timestamp"], event["message"].rstrip("\n")) for event in answer["events"]]
    events.sort(key=lambda event: event[0])
    return events[-lines:]


class GroupFollower:
    """Hands out the lines of a log group that have come since the last asking; at first its last ones.

    A line that comes when a later one was handed out is left out.
    """

    def __init__(self, logs: Any, group: str, lines: int = 200) -> None:
        """lines: how many at first."""
        self._logs, self._group, self._lines = logs, group, lines
        self._since: int | None = None

    def new_lines(self) -> list[str]:
        """Lines since the last call, oldest first."""
        events = self._newer(self._since) if self._since else _group_events(self._logs, self._group, self._lines)
        if events:
            self._since = events[-1][0] + 1
        return [message for _, message in events]

    def _newer(self, since: int) -> list[tuple[int, str]]:
        pages = self._logs.get_paginator("filter_log_events").paginate(logGroupName=self._group, startTime=since)
        events = [(event["timestamp"], event["message"].rstrip("\n")) for page in pages for event in page["events"]]
        return sorted(events, key=lambda event: event[0])


class LogFollower:
    """Hands out the lines of one job that have come since the last asking."""

    def __init__(self, logs: Any, job: tuple[str, str]) -> None:
        self._logs = logs
        self._group = LOG_GROUPS[job[0]]
        self._job = job[1]
        self._tokens: dict[str, str] = {}

    def new_lines(self) -> list[str]:
        """Lines since the last call, oldest first within each of the job's streams."""
        lines: list[str] = []
        for stream in _streams(self._logs, self._group, self._job):
            while True:
                token = self._tokens.get(stream)
                answer = self._logs.get_log_events(
                    logGroupName=self._group,
                    logStreamName=stream,
                    startFromHead=True,
                    **({"nextToken": token} if token else {}),
                )
                lines += [event["message"].rstrip("\n") for event in answer["events"]]
                # CloudWatch answers the same token when there is nothing further, and may answer an empty page before.
                if answer["nextForwardToken"] == token:
                    break
                self._tokens[stream] = answer["nextForwardToken"]
                if not answer["events"]:
                    break
        return lines


def _streams(logs: Any, group: str, job: str) -> list[str]:
    """Names of a job's log streams (`<job>/algo-1-…`); none while the group is not there yet."""
    try:
        answer = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{job}/")
    except logs.exceptions.ResourceNotFoundException:
        return []
    return [stream["logStreamName"] for stream in answer["logStreams"]]


def run_that_worked(sagemaker: Any, execution: Execution, step: str) -> StepRun | None:
    """The run of a step that did the work: itself, or, behind cache hits, that of the execution it came from."""
    run = execution.step(step)
    seen = {execution.arn}
    while run is not None and run.job is None and run.cached_from and run.cached_from not in seen:
        seen.add(run.cached_from)
        run = read(sagemaker, run.cached_from).step(step)
    return run


def _parameters(sagemaker: Any, arn: str, definition: Mapping[str, Any]) -> dict[str, str]:
    """What each parameter was: the value that the execution was started with, or the definition's default."""
    values = {
        parameter["Name"]: str(parameter["DefaultValue"])
        for parameter in definition.get("Parameters", ())
        if "DefaultValue" in parameter
    }
    for page in _pages(sagemaker.list_pipeline_parameters_for_execution, PipelineExecutionArn=arn):
        values.update({given["Name"]: given["Value"] for given in page["PipelineParameters"]})
    return values


def _steps(order: graph.Graph, listed: list[dict[str, Any]], finished: bool) -> tuple[StepRun, ...]:
    runs = {step["StepName"]: _step(order, step) for step in listed}  # a retried step: the last attempt is kept
    for node in order.nodes:
        if node.name in runs:
            continue
        skipped = finished
        if node.branch is not None:
            decided = runs.get(node.branch[0])
            skipped = skipped or (decided is not None and decided.outcome not in (None, node.branch[1]))
        runs[node.name] = StepRun(node.name, node.type, "Skipped" if skipped else "Pending")
    ordered = [runs.pop(name) for name in order.names]
    return (*ordered, *runs.values())


def _step(order: graph.Graph, step: Mapping[str, Any]) -> StepRun:
    node = order.node(step["StepName"])
    metadata = step.get("Metadata", {})
    reason = step.get("FailureReason") or metadata.get("Fail", {}).get("ErrorMessage")
    return StepRun(
        name=step["StepName"],
        type=node.type if node else next(iter(metadata), ""),
        status=step["StepStatus"],
        started=step.get("StartTime"),
        ended=step.get("EndTime"),
        cached_from=step.get("CacheHitResult", {}).get("SourcePipelineExecutionArn"),
        failure_reason=reason,
        metadata=metadata,
    )


def _pages(call: Callable[..., dict[str, Any]], **arguments: Any) -> Iterator[dict[str, Any]]:
    while True:
        page = call(**arguments)
        yield page
        token = page.get("NextToken")
        if not token:
            return
        arguments["NextToken"] = token
