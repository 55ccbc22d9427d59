"""Declarations of pipelines, as the tests write them."""

from __future__ import annotations

from typing import Any

Document = dict[str, Any]


def action(category: str, provider: str, name: str, **members: Any) -> Document:
    """An action; artifacts are given by their names."""
    found: Document = {
        "name": name,
        "actionTypeId": {"category": category, "owner": "AWS", "provider": provider, "version": "1"},
        "configuration": members.pop("configuration", {}),
        "inputArtifacts": [{"name": artifact} for artifact in members.pop("inputs", ())],
        "outputArtifacts": [{"name": artifact} for artifact in members.pop("outputs", ())],
    }
    return {**found, **members}


def source(name: str = "Source", **members: Any) -> Document:
    """A source in CodeCommit."""
    configuration = {"RepositoryName": "r", "BranchName": "main", "PollForSourceChanges": "false"}
    members.setdefault("outputs", [name])
    configuration |= members.pop("configuration", {})
    return action("Source", "CodeCommit", name, configuration=configuration, **members)


def stored(bucket: str, key: str, name: str = "Source", **members: Any) -> Document:
    """A source in a bucket."""
    configuration = {"S3Bucket": bucket, "S3ObjectKey": key, "PollForSourceChanges": "false"}
    return action("Source", "S3", name, configuration=configuration, outputs=[name], **members)


def connected(name: str = "Source", **configuration: str) -> Document:
    """A source behind a connection."""
    given = {"ConnectionArn": "arn:aws:codeconnections:eu-west-1:123456789012:connection/c", "BranchName": "main"}
    given |= {"FullRepositoryId": "owner/repo", **configuration}
    return action("Source", "CodeStarSourceConnection", name, configuration=given, outputs=[name])


def build(name: str = "Build", **members: Any) -> Document:
    """A build of the source."""
    members.setdefault("inputs", ["Source"])
    configuration = {"ProjectName": "p", **members.pop("configuration", {})}
    return action(members.pop("category", "Build"), "CodeBuild", name, configuration=configuration, **members)


def approval(name: str = "Approve", **members: Any) -> Document:
    """A manual approval."""
    return action("Approval", "Manual", name, **members)


def stage(name: str, *actions: Document, **members: Any) -> Document:
    """A stage."""
    return {"name": name, "actions": list(actions), **members}


def pipeline(*stages: Document, **members: Any) -> Document:
    """A pipeline of type V2."""
    found: Document = {
        "name": "p",
        "roleArn": "arn:aws:iam::123456789012:role/pipeline",
        "artifactStore": {"type": "S3", "location": "artifacts"},
        "pipelineType": "V2",
        "stages": list(stages) or [stage("Source", source()), stage("Build", build())],
    }
    return {**found, **members}
