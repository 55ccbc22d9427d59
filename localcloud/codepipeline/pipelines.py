"""Pipelines: made, changed, described, deleted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from localcloud.codepipeline import checks, declaration
from localcloud.codepipeline.engine import Engine
from localcloud.codepipeline.errors import structure
from localcloud.codepipeline.pages import page
from localcloud.codepipeline.records import PIPELINE, Document, Records
from localcloud.codepipeline.starts import CREATED, Start
from localcloud.codepipeline.tags import checked, shown
from localcloud.context import Context, Request
from localcloud.errors import ServiceError
from localcloud.resource_policies import allows

_PRINCIPAL = "codepipeline.amazonaws.com"


class Pipelines:
    """The operations on pipelines."""

    def __init__(self, context: Context, records: Records, engine: Engine) -> None:
        self._context, self._records, self._engine = context, records, engine

    def create(self, request: Request) -> dict[str, Any]:
        """CreatePipeline. It is started at once, unless it has a variable that whoever starts it must give."""
        given = request.params["pipeline"]
        pipeline = checks.checked(given, self._context.region)
        tags = checked(request.params.get("tags") or ())
        self._check_role(pipeline)
        now = self._context.clock.now()
        made = _filled(given, 1)
        document: Document = {"Declaration": made, "Tags": tags, "Created": now, "Updated": now, "Executions": 0}
        with self._engine.lock:
            if self._context.store.get(PIPELINE, pipeline.name) is not None:
                raise ServiceError(
                    "PipelineNameInUseException",
                    f"A pipeline with the name '{pipeline.name}' already exists in account"
                    f" '{self._context.account_id}'",
                )
            with self._context.store.transaction():
                self._records.put_version(document)
            if None not in pipeline.variables.values():
                by = self._context.principals.of(request.access_key)
                self._engine.begin(pipeline.name, Start(CREATED, by))
        return {"pipeline": made, "tags": shown(tags)}

    def get(self, request: Request) -> dict[str, Any]:
        """GetPipeline, in the version that is asked for."""
        name = request.params["name"]
        document = self._records.pipeline(name)
        found = document["Declaration"]
        if (number := request.params.get("version")) is not None:
            found = self._records.version(name, number)
            if found is None:
                raise ServiceError(
                    "PipelineVersionNotFoundException",
                    f"Pipeline '{name}' has no version {number}; it is at {document['Declaration']['version']}",
                )
        metadata = {
            "pipelineArn": self._records.arn(name),
            "created": document["Created"],
            "updated": document["Updated"],
        }
        return {"pipeline": found, "metadata": metadata}

    def update(self, request: Request) -> dict[str, Any]:
        """UpdatePipeline. Executions under way are cancelled if the structure is another one."""
        given = request.params["pipeline"]
        pipeline = checks.checked(given, self._context.region)
        self._check_role(pipeline)
        with self._engine.lock:
            document = self._records.pipeline(pipeline.name)
            before = document["Declaration"]
            made = _filled(given, before["version"] + 1)
            # Those that go on follow the version that they began with.
            if {**before, "version": made["version"]} != made:
                for execution in self._records.executions(pipeline.name, live=True):
                    self._engine.cancel(execution, "The pipeline's definition was updated")
            with self._context.store.transaction():
                document = self._records.pipeline(pipeline.name)
                self._records.put_version({**document, "Declaration": made, "Updated": self._context.clock.now()})
        return {"pipeline": made}

    def delete(self, request: Request) -> dict[str, Any]:
        """DeletePipeline: what runs is stopped. That there is none is no error."""
        name = request.params["name"]
        with self._engine.lock:
            if self._context.store.get(PIPELINE, name) is None:
                return {}
            for execution in self._records.executions(name, live=True):
                self._engine.cancel(execution, "The pipeline was deleted")
            with self._context.store.transaction():
                self._records.drop_pipeline(name)
        return {}

    def list(self, request: Request) -> dict[str, Any]:
        """ListPipelines."""
        found = [_summary(document) for document in self._records.pipelines()]
        return page(request.operation, found, request.params, "pipelines", lambda one: str(one["name"]))

    def _check_role(self, pipeline: declaration.Pipeline) -> None:
        """CodePipeline must be able to take the role on."""
        arn = pipeline.role_arn
        try:
            role = self._context.leaf.client("iam").get_role(RoleName=arn.rpartition("/")[2])["Role"]
            trust = json.dumps(role["AssumeRolePolicyDocument"]) if role["Arn"] == arn else None
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchEntity":
                raise
            trust = None
        lets_in = allows(
            trust,
            service=_PRINCIPAL,
            action="sts:AssumeRole",
            source_arn=self._records.arn(pipeline.name),
            account=self._context.account_id,
        )
        if not lets_in:
            raise structure(f"CodePipeline is not authorized to perform AssumeRole on role {arn}")


def _filled(given: Mapping[str, Any], version: int) -> Document:
    """The declaration with what AWS fills in."""
    stages = [
        {**stage, "actions": [_filled_action(action) for action in stage["actions"]]} for stage in given["stages"]
    ]
    return {
        "executionMode": declaration.SUPERSEDED,
        "pipelineType": "V1",
        **given,
        "stages": stages,
        "version": version,
    }


def _filled_action(given: Mapping[str, Any]) -> Document:
    return {"runOrder": 1, "configuration": {}, "outputArtifacts": [], "inputArtifacts": [], **given}


def _summary(document: Document) -> Document:
    found = document["Declaration"]
    return {
        "name": found["name"],
        "version": found["version"],
        "pipelineType": found["pipelineType"],
        "executionMode": found["executionMode"],
        "created": document["Created"],
        "updated": document["Updated"],
    }
