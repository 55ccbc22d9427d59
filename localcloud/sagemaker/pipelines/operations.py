"""The pipeline operations of the API."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError, ParamValidationError

from localcloud.context import Context, Request
from localcloud.errors import ServiceError, not_found, validation
from localcloud.sagemaker import shapes
from localcloud.sagemaker.arns import Arns, name_of, random_id
from localcloud.sagemaker.crud import Document, Kind, Resources, listing, paginate, summary_members
from localcloud.sagemaker.pipelines import notices
from localcloud.sagemaker.pipelines.definition import Definition, parse
from localcloud.sagemaker.pipelines.executor import EXECUTION, Executor
from localcloud.sagemaker.pipelines.resolve import text
from localcloud.sagemaker.pipelines.steps import ExecutionFacts, Services
from localcloud.sagemaker.pipelines.waiting import Answer

_DEFINITION, _TOKEN = "sagemaker/pipeline-definition", "sagemaker/execution-token"
_ENDED = ("Failed", "Stopped")


def _missing(name: str, arn: str) -> ServiceError:
    return not_found(f"Pipeline '{arn}' does not exist.")


KIND = Kind(
    noun="Pipeline",
    resource="pipeline",
    missing=_missing,
    duplicate=lambda name, arn: validation(
        f"Pipeline names must be unique within an AWS account and region. Pipeline with name ({name}) already exists."
    ),
    defaults={"PipelineStatus": "Active", "CreatedBy": {}, "LastModifiedBy": {}, "Version": 1},
)


class Pipelines:
    """Pipelines and their executions."""

    def __init__(self, context: Context, arns: Arns, services: Services, executor: Executor) -> None:
        self._context, self._arns, self._services, self._executor = context, arns, services, executor
        self._resources = Resources(KIND, context, arns)

    # Pipelines.

    def create(self, request: Request) -> dict[str, Any]:
        """CreatePipeline."""
        params = request.params
        if params.get("PipelineVersionAliases"):
            raise validation("localcloud keeps no PipelineVersionAliases; leave them out")
        if self._context.store.get(KIND.store, params["PipelineName"]) is not None:
            raise KIND.duplicate(params["PipelineName"], self._resources.arn(params["PipelineName"]))
        definition = self._definition_text(params)
        parse(definition)
        return {"PipelineArn": self._resources.add(_stored(params), PipelineDefinition=definition)["PipelineArn"]}

    def update(self, request: Request) -> dict[str, Any]:
        """UpdatePipeline: what the request leaves out stays."""
        params = request.params
        if params.get("PipelineVersionAliases"):
            raise validation("localcloud keeps no PipelineVersionAliases; leave them out")
        self._resources.get(params["PipelineName"])
        members: Document = _stored(params)
        if "PipelineDefinition" in params or "PipelineDefinitionS3Location" in params:
            members["PipelineDefinition"] = self._definition_text(params)
            parse(members["PipelineDefinition"])

        def changed(document: Document) -> Document:
            version = document["Version"] + ("PipelineDefinition" in members)
            return {**document, **members, "Version": version}

        document = self._resources.change(params["PipelineName"], changed)
        return {"PipelineArn": document["PipelineArn"], "PipelineVersionId": document["Version"]}

    def describe(self, request: Request) -> dict[str, Any]:
        """DescribePipeline, by name or ARN."""
        document = self._resources.get(name_of(request.params["PipelineName"]))
        self._check_version(request.params, document)
        return shapes.project(document, "DescribePipelineResponse")

    def delete(self, request: Request) -> dict[str, Any]:
        """DeletePipeline, with its executions' records and its cache; refused while one runs."""
        name = request.params["PipelineName"]
        with self._context.store.transaction():
            document = self._resources.get(name)
            executions = self._context.store.list(EXECUTION, f"{document['PipelineArn']}/execution/")
            for arn, execution in executions:
                if execution["PipelineExecutionStatus"] in ("Executing", "Stopping"):
                    raise ServiceError(
                        "ConflictException",
                        f"Cannot delete the pipeline {name!r} while its execution {arn} runs. Stop it",
                    )
            for arn, _ in executions:
                for record in self._executor.records.of(arn):
                    self._executor.records.drop(arn, record["StepName"])
                self._context.store.delete(_DEFINITION, arn)
                self._context.store.delete(EXECUTION, arn)
            for token, _ in self._context.store.list(_TOKEN, f"{name}/"):
                self._context.store.delete(_TOKEN, token)
            self._services.cache.forget(name)
            self._resources.remove(name)
        return {"PipelineArn": document["PipelineArn"]}

    def list(self, request: Request) -> dict[str, Any]:
        """ListPipelines."""
        prefix = request.params.get("PipelineNamePrefix", "")
        members = {*summary_members(request.operation), "LastRunTime"}
        documents = []
        for _, document in self._context.store.list(KIND.store, prefix, members):
            if "LastRunTime" in document:
                document["LastExecutionTime"] = document["LastRunTime"]
            documents.append(document)
        return listing(
            request.operation, documents, request.params, name="PipelineName", default_order=KIND.default_order
        )

    # Executions.

    def start(self, request: Request) -> dict[str, Any]:
        """StartPipelineExecution. The same ClientRequestToken gives the same execution."""
        params = request.params
        for member in ("SelectiveExecutionConfig", "MlflowExperimentName", "PipelineVersionAlias"):
            if params.get(member):
                raise validation(f"localcloud starts no execution with {member}; leave it out")
        pipeline = self._resources.get(name_of(params["PipelineName"]))
        self._check_version(params, pipeline)
        name = pipeline["PipelineName"]
        definition = parse(pipeline["PipelineDefinition"])
        values = definition.values(params.get("PipelineParameters") or [])
        now = self._context.clock.now()
        arn = self._arns.execution(name, random_id(12))
        document: Document = {
            "PipelineArn": pipeline["PipelineArn"],
            "PipelineExecutionArn": arn,
            "PipelineExecutionDisplayName": params.get(
                "PipelineExecutionDisplayName", f"execution-{int(now.timestamp() * 1000)}"
            ),
            "PipelineExecutionDescription": params.get("PipelineExecutionDescription"),
            "PipelineExecutionStatus": "Executing",
            "PipelineVersionId": pipeline["Version"],
            "ParallelismConfiguration": params.get(
                "ParallelismConfiguration", pipeline.get("ParallelismConfiguration")
            ),
            "RoleArn": params.get("RoleArn", pipeline.get("RoleArn")),
            "CreationTime": now,
            "LastModifiedTime": now,
            "CreatedBy": {},
            "LastModifiedBy": {},
            "PipelineName": name,
            "Values": values,
        }
        facts = self._facts(document, definition)
        document["PipelineExperimentConfig"] = _experiment(definition, facts)
        with self._context.store.transaction():
            earlier = self._earlier(name, params)
            if earlier is not None:
                return {"PipelineExecutionArn": earlier}
            self._resources.get(name)  # it may have been deleted since
            self._context.store.put(EXECUTION, arn, document)
            self._context.store.put(
                _DEFINITION,
                arn,
                {"PipelineDefinition": pipeline["PipelineDefinition"], "CreationTime": pipeline["CreationTime"]},
            )
            token = params.get("ClientRequestToken")
            if token:
                self._context.store.put(_TOKEN, f"{name}/{token}", {"Arn": arn, "Request": _fingerprint(params)})
            self._context.store.update(KIND.store, name, lambda stored: {**stored, "LastRunTime": now})
        notices.execution_changed(self._context, document, None)
        self._executor.begin(facts, _limit(document))
        return {"PipelineExecutionArn": arn}

    def stop(self, request: Request) -> dict[str, Any]:
        """StopPipelineExecution."""
        arn = request.params["PipelineExecutionArn"]

        def stopping(document: Document) -> Document:
            status = document["PipelineExecutionStatus"]
            if status not in ("Executing", "Stopping"):
                raise ServiceError(
                    "ConflictException", f"Only an execution that is Executing can be stopped; {arn} is {status}."
                )
            return {**document, "PipelineExecutionStatus": "Stopping", "LastModifiedTime": self._context.clock.now()}

        notices.execution_changed(self._context, self._change(arn, stopping), "Executing")
        self._executor.stop(arn)
        return {"PipelineExecutionArn": arn}

    def retry(self, request: Request) -> dict[str, Any]:
        """RetryPipelineExecution: what has succeeded stays, everything else runs."""
        arn = request.params["PipelineExecutionArn"]
        # Read first: an execution that is Executing in the store must be one that runs.
        definition = parse(self._stored_definition(arn)["PipelineDefinition"])

        def executing(document: Document) -> Document:
            status = document["PipelineExecutionStatus"]
            if status not in _ENDED:
                raise ServiceError(
                    "ConflictException",
                    f"Only an execution that is Failed or Stopped can be retried; {arn} is {status}.",
                )
            document |= {"PipelineExecutionStatus": "Executing", "LastModifiedTime": self._context.clock.now()}
            document.pop("FailureReason", None)
            if request.params.get("ParallelismConfiguration"):
                document["ParallelismConfiguration"] = request.params["ParallelismConfiguration"]
            return document

        previous: list[str] = []

        def restarted(document: Document) -> Document:
            previous.append(document["PipelineExecutionStatus"])
            return executing(document)

        document = self._change(arn, restarted)
        notices.execution_changed(self._context, document, previous[0])
        self._executor.begin(self._facts(document, definition), _limit(document))
        return {"PipelineExecutionArn": arn}

    def succeed_step(self, request: Request) -> dict[str, Any]:
        """SendPipelineExecutionStepSuccess: the callback step with this token has what it waited for."""
        outputs = {entry["Name"]: entry["Value"] for entry in request.params.get("OutputParameters", [])}
        return self._answer(request, Answer(outputs))

    def fail_step(self, request: Request) -> dict[str, Any]:
        """SendPipelineExecutionStepFailure: the callback step with this token has failed."""
        return self._answer(
            request, Answer(reason=request.params.get("FailureReason", "The callback reported a failure"))
        )

    def _answer(self, request: Request, answer: Answer) -> dict[str, Any]:
        params = request.params
        arn = self._services.callbacks.answer(
            self._context.store, params["CallbackToken"], params.get("ClientRequestToken"), answer
        )
        return {"PipelineExecutionArn": arn}

    def update_execution(self, request: Request) -> dict[str, Any]:
        """UpdatePipelineExecution: names, and how many steps run at once from now on."""
        params = request.params
        arn = params["PipelineExecutionArn"]
        members = {
            name: params[name]
            for name in ("PipelineExecutionDescription", "PipelineExecutionDisplayName", "ParallelismConfiguration")
            if name in params
        }
        document = self._change(
            arn, lambda stored: {**stored, **members, "LastModifiedTime": self._context.clock.now()}
        )
        self._executor.set_limit(arn, _limit(document))
        return {"PipelineExecutionArn": arn}

    def describe_execution(self, request: Request) -> dict[str, Any]:
        """DescribePipelineExecution."""
        document = self._execution(request.params["PipelineExecutionArn"])
        return shapes.project(document, "DescribePipelineExecutionResponse")

    def describe_definition(self, request: Request) -> dict[str, Any]:
        """DescribePipelineDefinitionForExecution: as it was at the start."""
        return self._stored_definition(request.params["PipelineExecutionArn"])

    def list_executions(self, request: Request) -> dict[str, Any]:
        """ListPipelineExecutions, by the pipeline's name or ARN; the latest first where no order is asked for."""
        pipeline = self._resources.get(name_of(request.params["PipelineName"]))
        documents = []
        members = {*summary_members(request.operation), "CreationTime", "FailureReason"}
        for _, document in self._context.store.list(EXECUTION, f"{pipeline['PipelineArn']}/execution/", members):
            document["StartTime"] = document["CreationTime"]
            document["PipelineExecutionFailureReason"] = document.get("FailureReason")
            documents.append(document)
        return listing(
            request.operation,
            documents,
            request.params,
            name="PipelineExecutionArn",
            default_order="Descending",
        )

    def list_steps(self, request: Request) -> dict[str, Any]:
        """ListPipelineExecutionSteps: those that have begun; the latest first where no order is asked for."""
        params = request.params
        if not params.get("PipelineExecutionArn"):
            raise validation("PipelineExecutionArn is required")
        self._execution(params["PipelineExecutionArn"])
        return listing(
            request.operation,
            self._executor.records.of(params["PipelineExecutionArn"]),
            params,
            name="StepName",
            created="StartTime",
            default_order="Descending",
        )

    def list_parameters(self, request: Request) -> dict[str, Any]:
        """ListPipelineParametersForExecution: every parameter's value, defaults included, as text."""
        document = self._execution(request.params["PipelineExecutionArn"])
        entries = [{"Name": name, "Value": text(value)} for name, value in document["Values"].items()]
        page, token = paginate(request.operation, entries, request.params, lambda entry: str(entry["Name"]))
        return {"PipelineParameters": page, "NextToken": token}

    def _facts(self, document: Document, definition: Definition) -> ExecutionFacts:
        return ExecutionFacts(
            arn=document["PipelineExecutionArn"],
            pipeline=document["PipelineName"],
            pipeline_arn=document["PipelineArn"],
            definition=definition,
            parameters=document["Values"],
            started_at=document["CreationTime"],
            role_arn=document.get("RoleArn"),
        )

    def _execution(self, arn: str) -> Document:
        document = self._context.store.get(EXECUTION, arn)
        if document is None:
            raise _no_execution(arn)
        return document

    def _change(self, arn: str, function: Any) -> Document:
        try:
            return self._context.store.update(EXECUTION, arn, function)
        except KeyError:
            raise _no_execution(arn) from None

    def _stored_definition(self, arn: str) -> Document:
        document = self._context.store.get(_DEFINITION, arn)
        if document is None:
            raise _no_execution(arn)
        return document

    def _earlier(self, name: str, params: Mapping[str, Any]) -> str | None:
        token = params.get("ClientRequestToken")
        entry = self._context.store.get(_TOKEN, f"{name}/{token}") if token else None
        if entry is None:
            return None
        if entry["Request"] != _fingerprint(params):
            raise ServiceError(
                "ConflictException", f"The ClientRequestToken {token!r} was used before, with another request."
            )
        arn: str = entry["Arn"]
        return arn

    def _check_version(self, params: Mapping[str, Any], document: Document) -> None:
        wanted = params.get("PipelineVersionId")
        if wanted is not None and wanted != document["Version"]:
            raise not_found(
                f"localcloud keeps the latest version of a pipeline; {document['PipelineName']!r} is at version"
                f" {document['Version']}, not {wanted}."
            )

    def _definition_text(self, params: Mapping[str, Any]) -> str:
        given, location = params.get("PipelineDefinition"), params.get("PipelineDefinitionS3Location")
        if bool(given) == bool(location):
            raise validation(
                "Specify one of PipelineDefinition and PipelineDefinitionS3Location, not both and not neither"
            )
        if given:
            return str(given)
        assert location is not None
        wanted = {"Bucket": location["Bucket"], "Key": location["ObjectKey"]}
        if location.get("VersionId"):
            wanted["VersionId"] = location["VersionId"]
        try:
            content: bytes = self._context.leaf.client("s3").get_object(**wanted)["Body"].read()
            return content.decode()
        except (ClientError, ParamValidationError, UnicodeDecodeError) as error:
            raise validation(
                f"Cannot read the pipeline definition s3://{location['Bucket']}/{location['ObjectKey']}: {error}"
            ) from error


def _no_execution(arn: str) -> ServiceError:
    return not_found(f"Pipeline execution '{arn}' does not exist.")


def _stored(params: Mapping[str, Any]) -> dict[str, Any]:
    left_out = {"PipelineDefinition", "PipelineDefinitionS3Location", "ClientRequestToken"}
    return {name: value for name, value in params.items() if name not in left_out}


def _limit(document: Mapping[str, Any]) -> int | None:
    limit: int | None = (document.get("ParallelismConfiguration") or {}).get("MaxParallelExecutionSteps")
    return limit


def _fingerprint(params: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(params, sort_keys=True, default=str).encode()).hexdigest()


def _experiment(definition: Definition, facts: ExecutionFacts) -> dict[str, str] | None:
    """ExperimentName and TrialName: they refer to the execution and to parameters only."""
    if not definition.experiment:
        return None
    known = {
        "Execution.PipelineName": facts.pipeline,
        "Execution.PipelineExecutionId": facts.id,
        **{f"Parameters.{name}": text(value) for name, value in facts.parameters.items()},
    }

    def value(item: Any) -> str:
        return known.get(item["Get"], "") if isinstance(item, dict) and "Get" in item else str(item)

    return {name: value(item) for name, item in definition.experiment.items() if item and value(item)}
