"""Whether a pipeline can be: its stages, the flow of its artifacts, its variables and triggers.

Source: "CodePipeline pipeline structure reference", "Quotas in AWS CodePipeline", "Variables reference" (AWS
CodePipeline User Guide).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from localcloud.codepipeline import actiontypes, filters, variables
from localcloud.codepipeline.declaration import PARALLEL, SUPERSEDED, Action, Pipeline, Stage, read
from localcloud.codepipeline.errors import action_declaration, stage_declaration, structure
from localcloud.errors import ServiceError, validation

_FEWEST_STAGES, _MOST_STAGES, _MOST_ACTIONS_IN_STAGE, _MOST_ACTIONS = 2, 50, 50, 1000
_CONDITIONS = ("blockers", "onFailure", "onSuccess", "beforeEntry")
_COMPUTE = ("commands", "outputVariables", "environmentVariables")


def checked(document: Mapping[str, Any], region: str) -> Pipeline:
    """The declaration, read.

    Raises ValidationException, InvalidStructureException, InvalidStageDeclarationException or
    InvalidActionDeclarationException for one that AWS refuses, or that localcloud would not do as it says.
    """
    _check_store(document)
    for stage in document["stages"]:
        _check_conditions(stage)
    pipeline = read(document)
    _check_type(document, pipeline)
    _check_stages(pipeline)
    for action in pipeline.actions:
        actiontypes.check(action, region)
    _check_artifacts(pipeline)
    _check_references(pipeline)
    filters.check(pipeline)
    return pipeline


def _check_store(document: Mapping[str, Any]) -> None:
    if bool(document.get("artifactStore")) == bool(document.get("artifactStores")):
        raise structure("Exactly one of artifactStore and artifactStores must be given")
    if document.get("artifactStores"):
        raise structure("localcloud has one region: give artifactStore, and not artifactStores")


def _check_conditions(stage: Mapping[str, Any]) -> None:
    if not stage["actions"]:
        raise stage_declaration(f"Stage '{stage['name']}' has no actions; it needs one at least")
    for member in _CONDITIONS:
        if stage.get(member):
            raise stage_declaration(f"localcloud honours no {member}; stage '{stage['name']}' has it: leave it out")
    for action in stage["actions"]:
        for member in _COMPUTE:
            if action.get(member):
                raise action_declaration(
                    f"localcloud runs no compute actions; action '{action['name']}' has {member}: leave it out"
                )
        for artifact in action.get("outputArtifacts") or ():
            if artifact.get("files"):
                raise action_declaration(
                    f"The output artifact '{artifact['name']}' of action '{action['name']}' names files, which is for"
                    " compute actions only"
                )


def _check_type(document: Mapping[str, Any], pipeline: Pipeline) -> None:
    if document.get("pipelineType", "V1") == "V2":
        return
    given = [
        text
        for text, there in (
            ("variables", bool(pipeline.variables)),
            ("triggers", bool(pipeline.triggers)),
            (f"the execution mode {pipeline.mode}", pipeline.mode != SUPERSEDED),
        )
        if there
    ]
    if given:
        raise validation(f"Pipeline '{pipeline.name}' is of type V1, which has no {' and no '.join(given)}: make it V2")


def _check_stages(pipeline: Pipeline) -> None:
    count = len(pipeline.stages)
    if not _FEWEST_STAGES <= count <= _MOST_STAGES:
        raise structure(
            f"Pipeline has {count} stage(s). There should be a minimum of {_FEWEST_STAGES} and a maximum of"
            f" {_MOST_STAGES} stages in a pipeline"
        )
    if double := _double(stage.name for stage in pipeline.stages):
        raise structure(f"Stage name must be unique within the pipeline. '{double}' has been used more than once")
    first, *others = pipeline.stages
    if any(action.category != actiontypes.SOURCE for action in first.actions):
        raise structure("Pipeline should start with a stage that only contains source actions")
    for stage in others:
        for action in stage.actions:
            if action.category == actiontypes.SOURCE:
                raise structure(
                    f"Only the first stage may contain source actions; stage '{stage.name}' has '{action.name}'"
                )
    for stage in pipeline.stages:
        _check_actions(stage)
    if sum(len(stage.actions) for stage in pipeline.stages) > _MOST_ACTIONS:
        raise ServiceError("LimitExceededException", f"A pipeline has {_MOST_ACTIONS} actions at most")


def _check_actions(stage: Stage) -> None:
    if len(stage.actions) > _MOST_ACTIONS_IN_STAGE:
        raise ServiceError("LimitExceededException", f"A stage has {_MOST_ACTIONS_IN_STAGE} actions at most")
    if double := _double(action.name for action in stage.actions):
        raise stage_declaration(
            f"Action name must be unique within a stage. '{double}' has been used more than once in stage"
            f" '{stage.name}'"
        )


def _check_artifacts(pipeline: Pipeline) -> None:
    """Each artifact is made once, and only by who runs before those that take it."""
    if double := _double(name for action in pipeline.actions for name in action.outputs):
        raise structure(
            f"Output Artifact Bundle name must be unique within the pipeline. {double} has been used more than once"
        )
    for earlier, action in _with_earlier(pipeline):
        made = {name for one in earlier for name in one.outputs}
        for name in action.inputs:
            if name not in made:
                raise structure(
                    f"Input Artifact Bundle {name} in action {action.name} is not the output of an action that runs"
                    f" before it; there are {', '.join(sorted(made)) or 'none'}"
                )


def _check_references(pipeline: Pipeline) -> None:
    spaces = [action.namespace for action in pipeline.actions if action.namespace]
    if double := _double(spaces):
        raise action_declaration(
            f"Namespace must be unique within the pipeline. '{double}' has been used more than once"
        )
    for space in (variables.EXECUTION, variables.PIPELINE):
        if space in spaces:
            raise action_declaration(f"The namespace '{space}' is reserved: give the action another one")
    for earlier, action in _with_earlier(pipeline):
        known = {one.namespace for one in earlier if one.namespace}
        for key, text in action.configuration.items():
            for written, space, name in variables.references(text):
                _check_reference(pipeline, action, key, known, (written, space, name))


def _check_reference(
    pipeline: Pipeline, action: Action, key: str, known: set[str], reference: tuple[str, str, str]
) -> None:
    written, space, name = reference
    where = f"StageName=[{action.stage}], ActionName=[{action.name}], ActionConfigurationKey=[{key}]"
    if not space:
        raise action_declaration(
            "Valid format for a pipeline execution variable reference is a namespace and a key separated by a period"
            f" (.). {where}, VariableReferenceText=[{written}]"
        )
    if space == variables.EXECUTION:
        fits = name in variables.EXECUTION_KEYS
    elif space == variables.PIPELINE:
        fits = name in pipeline.variables
    else:
        fits = space in known
    if not fits:
        raise action_declaration(
            "The following pipeline execution variables are referencing a namespace or a variable that does not exist"
            f" when the action runs. {where}, VariableReferenceText=[{written}]; there are the namespaces"
            f" {', '.join(sorted({*known, variables.EXECUTION, variables.PIPELINE}))} and the variables"
            f" {', '.join(sorted(pipeline.variables)) or 'none'}"
        )


def _with_earlier(pipeline: Pipeline) -> Iterator[tuple[list[Action], Action]]:
    """Each action, with those that have ended when it begins."""
    ended: list[Action] = []
    for stage in pipeline.stages:
        for group in stage.groups():
            for action in group:
                yield ended, action
            ended = [*ended, *group]


def _double(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def check_mode(pipeline: Pipeline) -> None:
    """Raise ValidationException where something asks for a stage that executions take turns in."""
    if pipeline.mode == PARALLEL:
        raise validation(
            f"Pipeline '{pipeline.name}' runs in PARALLEL mode, whose stages have no transitions to disable"
        )
