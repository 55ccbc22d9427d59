"""What a pipeline declares, as objects: stages, actions, variables and triggers.

The declaration itself stays the document that CreatePipeline was given; this is how it is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Document = Mapping[str, Any]

SUPERSEDED, QUEUED, PARALLEL = "SUPERSEDED", "QUEUED", "PARALLEL"


@dataclass(frozen=True)
class Action:
    """One action of a stage."""

    stage: str
    name: str
    category: str
    owner: str
    provider: str
    version: str
    run_order: int
    """Actions with the same one run side by side, those with a higher one after them."""
    configuration: Mapping[str, str]
    """As declared, with references to variables unresolved."""
    inputs: Sequence[str]
    """Names of artifacts."""
    outputs: Sequence[str]
    role_arn: str | None
    """The role that the pipeline's takes on for it."""
    region: str | None
    namespace: str | None
    timeout_minutes: int | None

    @property
    def type(self) -> dict[str, str]:
        """The actionTypeId."""
        return {"category": self.category, "owner": self.owner, "provider": self.provider, "version": self.version}


@dataclass(frozen=True)
class Stage:
    """One stage."""

    name: str
    actions: Sequence[Action]

    def action(self, name: str) -> Action | None:
        """The action of a name, or None."""
        return next((action for action in self.actions if action.name == name), None)

    def groups(self) -> list[list[Action]]:
        """The actions that run side by side, in the order in which they run."""
        orders = sorted({action.run_order for action in self.actions})
        return [[action for action in self.actions if action.run_order == order] for order in orders]


@dataclass(frozen=True)
class Pipeline:
    """One version of a pipeline."""

    name: str
    role_arn: str
    bucket: str
    """Of its artifact store."""
    key_id: str | None
    """The KMS key of its artifact store: an id, an ARN or an alias."""
    stages: Sequence[Stage]
    mode: str
    """SUPERSEDED, QUEUED or PARALLEL."""
    variables: Mapping[str, str | None]
    """Names and defaults; None for a variable that every start has to give."""
    triggers: Sequence[Document]

    @property
    def actions(self) -> Iterator[Action]:
        """All actions, in the order of their stages."""
        return (action for stage in self.stages for action in stage.actions)

    def stage(self, name: str) -> Stage | None:
        """The stage of a name, or None."""
        return next((stage for stage in self.stages if stage.name == name), None)

    def after(self, name: str) -> Stage | None:
        """The stage that follows the one of this name; None after the last."""
        names = [stage.name for stage in self.stages]
        place = names.index(name) + 1
        return self.stages[place] if place < len(names) else None


def read(document: Document) -> Pipeline:
    """A declaration that CreatePipeline has taken."""
    store = document["artifactStore"]
    return Pipeline(
        name=document["name"],
        role_arn=document["roleArn"],
        bucket=store["location"],
        key_id=(store.get("encryptionKey") or {}).get("id"),
        stages=[_stage(stage) for stage in document["stages"]],
        mode=document.get("executionMode", SUPERSEDED),
        variables={variable["name"]: variable.get("defaultValue") for variable in document.get("variables") or ()},
        triggers=list(document.get("triggers") or ()),
    )


def _stage(document: Document) -> Stage:
    return Stage(document["name"], [_action(document["name"], action) for action in document["actions"]])


def _action(stage: str, document: Document) -> Action:
    kind = document["actionTypeId"]
    return Action(
        stage=stage,
        name=document["name"],
        category=kind["category"],
        owner=kind["owner"],
        provider=kind["provider"],
        version=kind["version"],
        run_order=document.get("runOrder", 1),
        configuration=dict(document.get("configuration") or {}),
        inputs=[artifact["name"] for artifact in document.get("inputArtifacts") or ()],
        outputs=[artifact["name"] for artifact in document.get("outputArtifacts") or ()],
        role_arn=document.get("roleArn"),
        region=document.get("region"),
        namespace=document.get("namespace"),
        timeout_minutes=document.get("timeoutInMinutes"),
    )
