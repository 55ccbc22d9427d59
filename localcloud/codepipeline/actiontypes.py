"""The types of actions that localcloud runs, and what each may be given.

Source: "Action structure reference" and "Valid action providers in CodePipeline" (AWS CodePipeline User Guide).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from localcloud.codepipeline.declaration import Action
from localcloud.codepipeline.errors import action_declaration

SOURCE, BUILD, TEST, APPROVAL, INVOKE, DEPLOY = "Source", "Build", "Test", "Approval", "Invoke", "Deploy"
CODE_COMMIT, CONNECTION, S3 = "CodeCommit", "CodeStarSourceConnection", "S3"
CODE_BUILD, MANUAL, LAMBDA, CLOUDFORMATION = "CodeBuild", "Manual", "Lambda", "CloudFormation"

CREATE_UPDATE, DELETE_ONLY = "CREATE_UPDATE", "DELETE_ONLY"
CHANGE_SET_REPLACE, CHANGE_SET_EXECUTE = "CHANGE_SET_REPLACE", "CHANGE_SET_EXECUTE"

_VARIABLE_TYPES = ("PLAINTEXT", "PARAMETER_STORE", "SECRETS_MANAGER")


@dataclass(frozen=True)
class ActionType:
    """What an action of a type may and must have."""

    inputs: tuple[int, int]
    """The fewest and the most artifacts."""
    outputs: tuple[int, int]
    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What a key of the configuration may be, where localcloud honours no more."""
    revisions: frozenset[str] = frozenset()
    """By what StartPipelineExecution may say which revision a source is to give."""


_BUILD = ActionType(
    (1, 5), (0, 5), frozenset({"ProjectName"}), frozenset({"PrimarySource", "EnvironmentVariables", "BatchEnabled"}),
    {"BatchEnabled": ("false",)},
)  # fmt: skip
TYPES: Mapping[tuple[str, str], ActionType] = {
    (SOURCE, CODE_COMMIT): ActionType(
        (0, 0), (1, 1), frozenset({"RepositoryName", "BranchName", "PollForSourceChanges"}),
        frozenset({"OutputArtifactFormat"}),
        {"PollForSourceChanges": ("false",), "OutputArtifactFormat": ("CODE_ZIP",)}, frozenset({"COMMIT_ID"}),
    ),
    (SOURCE, CONNECTION): ActionType(
        (0, 0), (1, 1), frozenset({"ConnectionArn", "FullRepositoryId", "BranchName"}),
        frozenset({"OutputArtifactFormat", "DetectChanges"}),
        {"OutputArtifactFormat": ("CODE_ZIP",), "DetectChanges": ("true", "false")}, frozenset({"COMMIT_ID"}),
    ),
    (SOURCE, S3): ActionType(
        (0, 0), (1, 1), frozenset({"S3Bucket", "S3ObjectKey", "PollForSourceChanges"}), frozenset(),
        {"PollForSourceChanges": ("false",)}, frozenset({"S3_OBJECT_VERSION_ID"}),
    ),
    (BUILD, CODE_BUILD): _BUILD,
    (TEST, CODE_BUILD): _BUILD,
    (APPROVAL, MANUAL): ActionType(
        (0, 0), (0, 0), frozenset(), frozenset({"NotificationArn", "CustomData", "ExternalEntityLink"})
    ),
    (INVOKE, LAMBDA): ActionType((0, 5), (0, 5), frozenset({"FunctionName"}), frozenset({"UserParameters"})),
    (DEPLOY, CLOUDFORMATION): ActionType(
        (0, 10), (0, 1), frozenset({"ActionMode", "StackName"}),
        frozenset({"Capabilities", "ChangeSetName", "OutputFileName", "ParameterOverrides", "RoleArn",
                   "TemplateConfiguration", "TemplatePath"}),
        {"ActionMode": (CREATE_UPDATE, DELETE_ONLY, CHANGE_SET_REPLACE, CHANGE_SET_EXECUTE)},
    ),
}  # fmt: skip
"""By category and provider; the owner is AWS, the version 1."""

_OF_MODE: Mapping[str, frozenset[str]] = {
    CREATE_UPDATE: frozenset({"TemplatePath", "RoleArn"}),
    DELETE_ONLY: frozenset({"RoleArn"}),
    CHANGE_SET_REPLACE: frozenset({"TemplatePath", "RoleArn", "ChangeSetName"}),
    CHANGE_SET_EXECUTE: frozenset({"ChangeSetName"}),
}
"""What each mode of the CloudFormation action needs."""


def check(action: Action, region: str) -> None:
    """Raise InvalidActionDeclarationException for an action that its type does not allow, or that localcloud does not
    run as it is declared."""
    found = TYPES.get((action.category, action.provider))
    if found is None or action.owner != "AWS" or action.version != "1":
        known = ", ".join(f"{category}/{provider}" for category, provider in TYPES)
        raise action_declaration(
            f"ActionType (Category: '{action.category}', Provider: '{action.provider}', Owner: '{action.owner}',"
            f" Version: '{action.version}') in action '{action.name}' is not available in region {region.upper()}:"
            f" localcloud runs {known}, owner AWS, version 1"
        )
    if action.region not in (None, region):
        raise action_declaration(
            f"localcloud runs no actions in other regions; action '{action.name}' is for {action.region}, not {region}"
        )
    if action.timeout_minutes is not None and action.category != APPROVAL:
        raise action_declaration(
            f"timeoutInMinutes is for manual approvals only; action '{action.name}' is {action.category}/"
            f"{action.provider}"
        )
    _check_count(action, "input", action.inputs, found.inputs)
    _check_count(action, "output", action.outputs, found.outputs)
    _check_configuration(action, found)
    if action.provider == CODE_BUILD:
        _check_build(action)
    if action.provider == CLOUDFORMATION:
        _check_stack(action)


def _check_count(action: Action, kind: str, names: Any, bounds: tuple[int, int]) -> None:
    least, most = bounds
    if not least <= len(names) <= most:
        raise action_declaration(
            f"Action {action.name} with provider {action.provider} declares {len(names)} {kind} artifacts, which is"
            f" not in the accepted range of {least} to {most}"
        )


def _check_configuration(action: Action, kind: ActionType) -> None:
    given = action.configuration
    for key in sorted(kind.required - given.keys()):
        hint = f", which is to be '{kind.values[key][0]}' at localcloud" if key in kind.values else ""
        raise action_declaration(
            f"Action configuration for action '{action.name}' is missing required configuration '{key}'{hint}"
        )
    for key in sorted(given.keys() - kind.required - kind.optional):
        raise action_declaration(
            f"Action configuration for action '{action.name}' contains unknown configuration '{key}'"
        )
    for key, values in kind.values.items():
        if key in given and given[key] not in values:
            raise action_declaration(
                f"Action configuration for action '{action.name}': localcloud honours {key} only as"
                f" {' or '.join(values)}; got '{given[key]}'"
            )


def _check_build(action: Action) -> None:
    primary = action.configuration.get("PrimarySource")
    if len(action.inputs) > 1 and primary is None:
        raise action_declaration(
            f"Action configuration for action '{action.name}' is missing required configuration 'PrimarySource':"
            " it has several input artifacts"
        )
    if primary is not None and primary not in action.inputs:
        raise action_declaration(
            f"PrimarySource '{primary}' of action '{action.name}' is not among its input artifacts"
            f" {', '.join(action.inputs)}"
        )
    environment(action.name, action.configuration)


def environment(name: str, configuration: Mapping[str, str]) -> list[dict[str, str]]:
    """The environment variables of a CodeBuild action, as StartBuild takes them.

    Raises InvalidActionDeclarationException for what is no list of them.
    """
    text = configuration.get("EnvironmentVariables")
    if text is None:
        return []
    try:
        found = json.loads(text)
    except ValueError as error:
        raise action_declaration(f"EnvironmentVariables of action '{name}' are no JSON: {error}") from None
    variables = []
    for item in found if isinstance(found, list) else [found]:
        kind = item.get("type", "PLAINTEXT") if isinstance(item, dict) else None
        fits = (
            kind in _VARIABLE_TYPES
            and item.keys() <= {"name", "value", "type"}
            and isinstance(item.get("name"), str)
            and isinstance(item.get("value"), str)
        )
        if not fits:
            raise action_declaration(
                f"EnvironmentVariables of action '{name}' must be a list of objects with name, value and type"
                f" ({', '.join(_VARIABLE_TYPES)}); got {json.dumps(item)}"
            )
        variables.append({"name": item["name"], "value": item["value"], "type": kind})
    return variables


def _check_stack(action: Action) -> None:
    given = action.configuration
    for key in sorted(_OF_MODE[given["ActionMode"]] - given.keys()):
        raise action_declaration(
            f"Action configuration for action '{action.name}' is missing required configuration '{key}'"
        )
    for key in ("TemplatePath", "TemplateConfiguration"):
        if key in given:
            artifact, separator, path = given[key].partition("::")
            if not separator or not path or artifact not in action.inputs:
                raise action_declaration(
                    f"{key} of action '{action.name}' must be one of its input artifacts, two colons and a path in it;"
                    f" got '{given[key]}', its input artifacts are {', '.join(action.inputs) or 'none'}"
                )
    if bool(given.get("OutputFileName")) != bool(action.outputs):
        raise action_declaration(
            f"OutputFileName and an output artifact go together; action '{action.name}' has one of them only"
        )
