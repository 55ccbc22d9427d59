"""What each step type does when its turn comes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from localcloud.context import Context, Request
from localcloud.errors import ServiceError
from localcloud.jobs import transfer
from localcloud.sagemaker import shapes
from localcloud.sagemaker.arns import random_id
from localcloud.sagemaker.jobs import Jobs
from localcloud.sagemaker.model_registry import ModelRegistry, described
from localcloud.sagemaker.models import Models
from localcloud.sagemaker.pipelines import cache, conditions, retry
from localcloud.sagemaker.pipelines.definition import DESCRIBED_BY, REQUESTED_BY, Definition, Step
from localcloud.sagemaker.pipelines.resolve import ResolveError, Scope

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
                self.documents[uri] = json.loads(transfer.read(self.services.context.leaf.client("s3"), uri))
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
}


def _joined(prefix: str, middle: str, end: str) -> str:
    """A name of at most 63 characters that ends in `end`; a job's name, unlike a step's, holds no underscores."""
    name = "-".join(part for part in (prefix, middle.replace("_", "-")) if part)
    return f"{name[: _NAME_LENGTH - len(end) - 1].rstrip('-')}-{end}"
