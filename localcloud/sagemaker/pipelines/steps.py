"""What each step type does when its turn comes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from botocore.exceptions import ClientError, ParamValidationError

from localcloud.context import Context, Request
from localcloud.errors import ServiceError
from localcloud.jobs import transfer
from localcloud.sagemaker import shapes
from localcloud.sagemaker.arns import random_id
from localcloud.sagemaker.jobs import Jobs
from localcloud.sagemaker.model_registry import ModelRegistry, described
from localcloud.sagemaker.models import Models
from localcloud.sagemaker.pipelines import cache, conditions, retry
from localcloud.sagemaker.pipelines.definition import DESCRIBED_BY, REQUESTED_BY, Definition, Step, is_of_type
from localcloud.sagemaker.pipelines.resolve import ResolveError, Scope, text
from localcloud.sagemaker.pipelines.waiting import Answer, Callbacks, Wait, Work

_CALLBACK_SECONDS = 7 * 86_400.0
# In which whoever takes a queue's messages has seen this one, and works: the clock is not advanced in between.
_GRACE_SECONDS = 0.1
_OUTPUT_CHARACTERS = 1024
_NAME_LENGTH = 63
_STEP_PART_LENGTH = 20
_METADATA = {
    "Processing": "ProcessingJob",
    "Training": "TrainingJob",
    "Transform": "TransformJob",
    "Model": "Model",
    "RegisterModel": "RegisterModel",
}


class StepFailure(Exception):
    """A step has failed. `exception_type` is what a retry policy may name, or None for what no retry mends."""

    def __init__(self, reason: str, exception_type: str | None = None, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.reason, self.exception_type, self.metadata = reason, exception_type, metadata


class StepStopped(Exception):
    """A step was stopped with its execution."""


class Closing(Exception):
    """localcloud is stopping: leave everything as it is, for the next start to deal with."""


@dataclass(frozen=True)
class Result:
    """What a step has made. `output` says how its Gets find it, `cached_from` the execution that ran it before."""

    metadata: Mapping[str, Any]
    output: Mapping[str, Any]
    cache_key: str | None = None
    cached_from: str | None = None


@dataclass(frozen=True)
class ExecutionFacts:
    """What is fixed for one execution."""

    arn: str
    pipeline: str
    pipeline_arn: str
    definition: Definition
    parameters: Mapping[str, Any]
    started_at: datetime
    role_arn: str | None = None
    """Who calls functions and queues."""

    @property
    def id(self) -> str:
        return self.arn.rpartition("/")[2]


@dataclass(frozen=True)
class Services:
    """What steps are made of."""

    context: Context
    processing: Jobs
    training: Jobs
    transform: Jobs
    models: Models
    registry: ModelRegistry
    cache: cache.Cache
    callbacks: Callbacks = field(default_factory=Callbacks)


@dataclass(frozen=True)
class Turn:
    """One try of one step."""

    step: Step
    facts: ExecutionFacts
    services: Services
    output_of: Callable[[str], Mapping[str, Any]]
    """The output of a step that has succeeded, by name."""
    begun: Callable[[Mapping[str, Any], Callable[[], None]], None]
    """Called with the step's metadata and with what stops it, as soon as there is something to stop."""
    stopping: Callable[[], bool]
    waiting: Callable[[Wait], None]
    """Called with a wait that is about to begin: it is ended when localcloud stops."""
    work: Work
    documents: dict[str, Any] = field(default_factory=dict)
    """JSON files that were read, by URI."""

    def run(self) -> Result:
        """Do the step's work. Raises StepFailure, StepStopped or Closing."""
        try:
            return _BY_TYPE[self.step.type](self)
        except (ResolveError, conditions.ConditionError) as error:
            raise StepFailure(f"ClientError: {error}") from error

    def condition(self) -> Result:
        """All of its conditions hold, or not."""
        resolved = self._scope().resolve(list(self.step.arguments["Conditions"]))
        outcome = "True" if all([conditions.evaluate(condition) for condition in resolved]) else "False"
        return Result({"Condition": {"Outcome": outcome}}, {"Outcome": outcome})

    def fail(self) -> Result:
        """End the execution with a message."""
        message = str(self._scope().resolve(self.step.arguments["ErrorMessage"]))
        raise StepFailure(message, metadata={"Fail": {"ErrorMessage": message[:3072]}})

    def processing(self) -> Result:
        """A processing job."""
        return self._job(self.services.processing)

    def training(self) -> Result:
        """A training job."""
        return self._job(self.services.training)

    def transform(self) -> Result:
        """A transform job."""
        return self._job(self.services.transform)

    def model(self) -> Result:
        """CreateModel."""
        name = self._name()
        params = self._arguments({}, "ModelName", name)
        answer = self._invoke(lambda: self.services.models.create(Request("sagemaker", "CreateModel", params)))
        return Result({"Model": {"Arn": answer["ModelArn"]}}, {"Type": "Model", "Name": params["ModelName"]})

    def register_model(self) -> Result:
        """CreateModelPackage, in a group that is made if it is missing; the package says which execution made it."""
        params = self._arguments({})
        params["MetadataProperties"] = {"GeneratedBy": self.facts.arn, **params.get("MetadataProperties", {})}

        def register() -> Mapping[str, Any]:
            if params.get("ModelPackageGroupName"):
                self.services.registry.ensure_group(params["ModelPackageGroupName"])
            return self.services.registry.register(params)

        arn = self._invoke(register)["ModelPackageArn"]
        return Result({"RegisterModel": {"Arn": arn}}, {"Type": "RegisterModel", "Name": arn})

    def function(self) -> Result:
        """A Lambda function, called and waited for. It cannot be stopped: who stops the execution waits for its end."""
        scope = self._scope()
        arn, arguments = str(scope.resolve(self.step.called)), scope.resolve(dict(self.step.arguments))
        request = {"FunctionArn": arn, "Arguments": arguments}
        metadata: dict[str, Any] = {"Arn": arn}
        if (known := self._known(request, metadata)) is not None:
            return known
        self.begun({"Lambda": metadata}, lambda: None)
        answer = self._called(arn, json.dumps(arguments).encode())
        payload: bytes = answer["Payload"].read()
        if answer.get("FunctionError"):
            raise StepFailure(f"ClientError: The Lambda function {arn} failed. Error Details: {_error_of(payload)}")
        return self._with_outputs(request, metadata, self._typed(json.loads(payload or b"null")))

    def _called(self, arn: str, payload: bytes) -> Mapping[str, Any]:
        """The answer of a function, unless localcloud stops meanwhile: a function may take a quarter of an hour."""
        wait = Wait(self.work)

        def call() -> None:
            with self.services.context.timetable.working():
                try:
                    wait.end(self._client("lambda").invoke(FunctionName=arn, Payload=payload))
                except Exception as error:
                    wait.end(error)

        self.waiting(wait)
        threading.Thread(target=call, name=f"call-{self.step.name}", daemon=True).start()
        outcome = wait.until_ended()
        if outcome is None:
            raise Closing
        if isinstance(outcome, ClientError | ParamValidationError):
            raise self._refused("lambda:InvokeFunction", outcome) from outcome
        if isinstance(outcome, Exception):
            raise outcome
        answer: Mapping[str, Any] = outcome
        return answer

    def callback(self) -> Result:
        """A message to a queue, and then the wait for whoever takes it to answer with the token that is in it.

        As on AWS, who stops the execution sends another message, and the step ends when that is answered.
        """
        scope = self._scope()
        url, arguments = str(scope.resolve(self.step.called)), scope.resolve(dict(self.step.arguments))
        request = {"SqsQueueUrl": url, "Arguments": arguments}
        metadata: dict[str, Any] = {"SqsQueueUrl": url}
        if (known := self._known(request, metadata)) is not None:
            return known
        wait = Wait(self.work)
        token = self.services.callbacks.open(self.facts.arn, wait.end)
        message = {"token": token, "pipelineExecutionArn": self.facts.arn, "arguments": arguments}
        timetable = self.services.context.timetable
        metadata["CallbackToken"] = token
        self.waiting(wait)
        try:
            # Taken up before it is sent: the answer may come before the call returns.
            self._send(url, {**message, "status": "Executing"})
            late = timetable.after(_CALLBACK_SECONDS, partial(_end_late, wait), f"the time limit of {self.step.name}")
            self.begun({"Callback": dict(metadata)}, lambda: self._send(url, {**message, "status": "Stopping"}))
            outcome = wait.until_ended(_GRACE_SECONDS)
            late.cancel()
        finally:
            self.services.callbacks.close(token)
        if outcome is None:
            raise Closing
        if outcome == "late":
            raise StepFailure(
                "ClientError: The callback step was not answered within 7 days", metadata={"Callback": metadata}
            )
        if self.stopping():
            raise StepStopped
        return self._answered(request, metadata, outcome)

    def _answered(self, request: Mapping[str, Any], metadata: dict[str, Any], answer: Answer) -> Result:
        if answer.reason is not None:
            raise StepFailure(answer.reason, metadata={"Callback": metadata})
        values: dict[str, Any] = {}
        for name, type_name in self.step.outputs.items():
            if name not in answer.outputs:
                raise StepFailure(
                    f"ClientError: The callback gave no output parameter {name!r}; it gave"
                    f" {', '.join(sorted(answer.outputs)) or 'none'}",
                    metadata={"Callback": metadata},
                )
            try:
                values[name] = _converted(answer.outputs[name], type_name)
            except ValueError as error:
                reason = f"ClientError: The output parameter {name!r} is of type {type_name}; the callback gave {error}"
                raise StepFailure(reason, metadata={"Callback": metadata}) from None
        return self._with_outputs(request, metadata, values)

    def _typed(self, answer: Any) -> dict[str, Any]:
        """The declared output parameters in a function's answer."""
        if not self.step.outputs:
            return {}
        if not isinstance(answer, dict):
            raise StepFailure(
                "ClientError: The Lambda function must answer with an object that holds the output parameters"
                f" {', '.join(self.step.outputs)}; got {json.dumps(answer)[:200]}"
            )
        values = {}
        for name, type_name in self.step.outputs.items():
            if name not in answer:
                raise StepFailure(
                    f"ClientError: The Lambda function's answer has no output parameter {name!r}; it has"
                    f" {', '.join(sorted(answer)) or 'none'}"
                )
            value = answer[name]
            if isinstance(value, dict | list) and type_name == "String":
                # What is nested is one text, in which no Get finds anything.
                value = json.dumps(value)
            if not is_of_type(value, type_name):
                raise StepFailure(
                    f"ClientError: The output parameter {name!r} is of type {type_name}; the Lambda function gave"
                    f" {json.dumps(value)[:200]}"
                )
            values[name] = value
        return values

    def _with_outputs(
        self, request: Mapping[str, Any], metadata: Mapping[str, Any], values: Mapping[str, Any]
    ) -> Result:
        shown = [{"Name": name, "Value": text(value)[:_OUTPUT_CHARACTERS]} for name, value in values.items()]
        full = {**metadata, "OutputParameters": shown} if shown else dict(metadata)
        cache_key = cache.key(self.step.type, request)
        return Result({self.step.type: full}, {"OutputParameters": dict(values)}, cache_key)

    def _known(self, request: Mapping[str, Any], metadata: Mapping[str, Any]) -> Result | None:
        """What an earlier run of the step gave, if it may be used."""
        if not self.step.cache_enabled:
            return None
        now, key = self.services.context.clock.now(), cache.key(self.step.type, request)
        known = self.services.cache.find(self.facts.pipeline, self.step.name, key, self.step.cache_expiry, now)
        # A definition that has changed since may declare other outputs.
        if known is None or known["Output"]["OutputParameters"].keys() != self.step.outputs.keys():
            return None
        result = self._with_outputs(request, metadata, known["Output"]["OutputParameters"])
        return Result(result.metadata, result.output, key, cached_from=known["ExecutionArn"])

    def _send(self, url: str, message: Mapping[str, Any]) -> None:
        try:
            self._client("sqs").send_message(QueueUrl=url, MessageBody=json.dumps(message))
        except (ClientError, ParamValidationError) as error:
            raise self._refused("sqs:SendMessage", error) from error

    def _client(self, service: str) -> Any:
        return self.services.context.clients.of(service, self.facts.role_arn)

    def _refused(self, action: str, error: Exception) -> StepFailure:
        detail = error.response["Error"]["Message"] if isinstance(error, ClientError) else str(error)
        return StepFailure(f"ClientError: Failed to invoke {action}. Error Details: {detail}")

    def _job(self, jobs: Jobs) -> Result:
        kind = jobs.kind
        name = self._name()
        params = self._arguments({kind.name_member: name}, kind.name_member, name)
        cache_key = cache.key(self.step.type, params)
        if self.step.cache_enabled:
            now = self.services.context.clock.now()
            known = self.services.cache.find(
                self.facts.pipeline, self.step.name, cache_key, self.step.cache_expiry, now
            )
            if known is not None:
                metadata = {_METADATA[self.step.type]: {"Arn": jobs.resources.arn(known["Output"]["Name"])}}
                return Result(metadata, known["Output"], cache_key, cached_from=known["ExecutionArn"])
        name = params[kind.name_member]
        arn = self._invoke(lambda: {"Arn": jobs.add(params)})["Arn"]
        metadata = {_METADATA[self.step.type]: {"Arn": arn}}
        self.begun(metadata, lambda: jobs.end(name))
        document = jobs.run(name)
        status, reason = document[kind.status], document.get("FailureReason")
        if status == "InProgress":
            raise Closing
        if status == "Stopped":
            if self.stopping():
                raise StepStopped
            detail = document.get("SecondaryStatus", status)
            raise StepFailure(f"ClientError: the {kind.resource.replace('-', ' ')} {name} ended as {detail}")
        if status != "Completed":
            raise StepFailure(reason or f"{name} ended as {status}", retry.classify_reason(reason))
        return Result(metadata, {"Type": self.step.type, "Name": name}, cache_key)

    def _arguments(self, names: Mapping[str, str], name_member: str = "", name: str = "") -> dict[str, Any]:
        """The request, resolved, named and checked as botocore checks it before it sends one."""
        operation = REQUESTED_BY[self.step.type]
        params: dict[str, Any] = self._scope(names).resolve(dict(self.step.arguments))
        if name_member:
            # A name in the definition is a prefix: a job's name can be given only once.
            prefix = params.get(name_member)
            params[name_member] = _joined(prefix, self.facts.id, name[-10:]) if prefix else name

        def check() -> Mapping[str, Any]:
            shapes.check_request(operation, params)
            return params

        self._invoke(check)
        return params

    def _invoke(self, call: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        """Make a call as the service would; its refusal is worded as AWS words it."""
        operation = REQUESTED_BY[self.step.type]
        try:
            return call()
        except ServiceError as error:
            raise StepFailure(
                f"ClientError: Failed to invoke sagemaker:{operation}. Error Details: {error.message}",
                retry.classify_error(error),
            ) from error

    def _name(self) -> str:
        return _joined(f"pipelines-{self.facts.id}", self.step.name[:_STEP_PART_LENGTH].strip("-_"), random_id(10))

    def _scope(self, names: Mapping[str, str] | None = None) -> Scope:
        execution = {
            "CurrentDateTime": self.services.context.clock.now().isoformat(),
            "PipelineArn": self.facts.pipeline_arn,
            "PipelineExecutionArn": self.facts.arn,
            "PipelineExecutionId": self.facts.id,
            "PipelineName": self.facts.pipeline,
            "StartDateTime": self.facts.started_at.isoformat(),
            **(names or {}),
        }
        return Scope(self.facts.parameters, execution, self._describe, self._read_json, self._property_file)

    def _describe(self, step: str) -> Mapping[str, Any]:
        output = self.output_of(step)
        kind = output.get("Type")
        if kind is None:
            return output
        if kind == "RegisterModel":
            return described(self.services.registry.package(output["Name"]))
        source = {
            "Processing": self.services.processing.resources,
            "Training": self.services.training.resources,
            "Transform": self.services.transform.resources,
            "Model": self.services.models.resources,
        }[kind]
        return shapes.project(source.get(output["Name"]), shapes.output_shape(DESCRIBED_BY[kind]).name)

    def _property_file(self, step: str, name: str) -> str:
        entry = self.facts.definition.steps[step].property_files[name]
        outputs = self._describe(step)["ProcessingOutputConfig"]["Outputs"]
        uri = next(output["S3Output"]["S3Uri"] for output in outputs if output["OutputName"] == entry["OutputName"])
        return f"{uri.rstrip('/')}/{entry['FilePath'].lstrip('/')}"

    def _read_json(self, uri: str) -> Any:
        if uri not in self.documents:
            try:
                s3 = self.services.context.clients.of("s3", self.facts.role_arn)
                self.documents[uri] = json.loads(transfer.read(s3, uri))
            except (transfer.TransferError, ValueError) as error:
                raise ResolveError(f"cannot read the property file {uri}: {error}") from error
        return self.documents[uri]


_BY_TYPE: dict[str, Callable[[Turn], Result]] = {
    "Processing": Turn.processing,
    "Training": Turn.training,
    "Transform": Turn.transform,
    "Model": Turn.model,
    "RegisterModel": Turn.register_model,
    "Condition": Turn.condition,
    "Fail": Turn.fail,
    "Lambda": Turn.function,
    "Callback": Turn.callback,
}


def _end_late(wait: Wait) -> None:
    wait.end("late")


def _converted(value: str, type_name: str) -> Any:
    """An output parameter that came as text. Raises ValueError, with what it is, for one of another type."""
    try:
        if type_name == "Integer":
            return int(value)
        if type_name == "Float":
            return float(value)
        if type_name == "Boolean":
            return {"true": True, "false": False}[value.lower()]
    except (ValueError, KeyError):
        raise ValueError(repr(value)) from None
    return value


def _error_of(payload: bytes) -> str:
    """What a function's error says, its type first."""
    try:
        found = json.loads(payload)
        parts = [str(found[name]) for name in ("errorType", "errorMessage") if found.get(name)]
        return ": ".join(parts) or payload.decode()
    except (ValueError, AttributeError, TypeError):
        return payload.decode(errors="replace")


def _joined(prefix: str, middle: str, end: str) -> str:
    """A name of at most 63 characters that ends in `end`; a job's name, unlike a step's, holds no underscores."""
    name = "-".join(part for part in (prefix, middle.replace("_", "-")) if part)
    return f"{name[: _NAME_LENGTH - len(end) - 1].rstrip('-')}-{end}"
