"""The errors of CodePipeline, by name."""

from __future__ import annotations

from localcloud.errors import ServiceError


def structure(message: str) -> ServiceError:
    """The pipeline as a whole cannot be: its stages, its artifacts, its role."""
    return ServiceError("InvalidStructureException", message)


def stage_declaration(message: str) -> ServiceError:
    """A stage of the pipeline cannot be."""
    return ServiceError("InvalidStageDeclarationException", message)


def action_declaration(message: str) -> ServiceError:
    """An action of the pipeline cannot be."""
    return ServiceError("InvalidActionDeclarationException", message)


def no_pipeline(name: str) -> ServiceError:
    """There is no such pipeline."""
    return ServiceError("PipelineNotFoundException", f"Account does not have a pipeline with name '{name}'")


def no_execution(pipeline: str, execution_id: str) -> ServiceError:
    """There is no such execution."""
    return ServiceError(
        "PipelineExecutionNotFoundException",
        f"Pipeline '{pipeline}' does not have an execution with id '{execution_id}'",
    )


def no_stage(pipeline: str, stage: str) -> ServiceError:
    """The pipeline has no such stage."""
    return ServiceError("StageNotFoundException", f"Pipeline '{pipeline}' does not have a stage with name '{stage}'")


def no_action(pipeline: str, stage: str, action: str) -> ServiceError:
    """The stage has no such action."""
    return ServiceError(
        "ActionNotFoundException",
        f"Stage '{stage}' of pipeline '{pipeline}' does not have an action with name '{action}'",
    )


def bad_token(message: str) -> ServiceError:
    """A list is asked to go on where no page of it has ended."""
    return ServiceError("InvalidNextTokenException", message)
