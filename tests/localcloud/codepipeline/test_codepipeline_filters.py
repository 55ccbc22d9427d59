"""Which pushes start which pipelines."""

from __future__ import annotations

from typing import Any

import pytest

from localcloud.codecommit.repositories import Push
from localcloud.codepipeline import declaration, filters
from tests.declared_pipelines import build, connected, pipeline, stage


def push(ref: str, *changed: str, repository: str = "owner/repo") -> Push:
    return Push("id", repository, ref, None, "c" * 40, changed, "arn:aws:iam::123456789012:root")


def starts(given: Push, *pushes: dict[str, Any], **configuration: str) -> bool:
    triggers = [{"gitConfiguration": {"sourceActionName": "Source", "push": list(pushes)}}] if pushes else []
    stages = stage("Source", connected(**configuration)), stage("Build", build())
    return filters.started_by(declaration.read(pipeline(*stages, triggers=triggers)), given) is not None


@pytest.mark.parametrize(
    ("pattern", "fitting", "others"),
    [
        ("*.py", ["a.py", ".py"], ["a/b.py", "a.pyc"]),
        ("**", ["a", "a/b/c.py"], []),
        ("pipelines/build/**", ["pipelines/build/a", "pipelines/build/a/b.py"], ["pipelines/build", "pipelines/b"]),
        ("**/README.md", ["a/README.md", "a/b/README.md"], ["README.md"]),
        ("a/*", ["a/b"], ["a/b/c", "a"]),
        ("f?o", ["foo"], ["f/o", "fo"]),
        ("*.{yml,json}", ["a.yml", "a.json"], ["a.txt", "a.{yml,json}"]),
        ("[a-c]x", ["ax", "cx"], ["dx", "/x"]),
        ("[!a]x", ["bx"], ["ax", "/x"]),
        ("a.b(c)+", ["a.b(c)+"], ["aXb(c)+", "a.bcc"]),
        ("\\*", ["*"], ["a"]),
        ("{a", ["{a"], ["a"]),
        ("[z-a]", ["[z-a]"], ["z"]),
    ],
)
def test_globs(pattern: str, fitting: list[str], others: list[str]) -> None:
    assert [name for name in fitting if not filters.matches(pattern, name)] == []
    assert [name for name in others if filters.matches(pattern, name)] == []


def test_without_a_filter_the_actions_own_branch() -> None:
    assert starts(push("refs/heads/main", "a"))
    assert not starts(push("refs/heads/other", "a"))
    assert not starts(push("refs/tags/main", "a"))
    assert not starts(push("refs/heads/main", "a", repository="owner/another"))
    assert not starts(push("refs/heads/main", "a"), DetectChanges="false")


def test_branches_and_file_paths() -> None:
    one = {
        "branches": {"includes": ["main", "release/**"], "excludes": ["release/old"]},
        "filePaths": {"includes": ["pipelines/**", "configs/*.yml"], "excludes": ["**/*.md"]},
    }
    assert starts(push("refs/heads/main", "docs/x", "pipelines/a.py"), one, DetectChanges="false")
    assert starts(push("refs/heads/release/1", "configs/a.yml"), one)
    assert not starts(push("refs/heads/release/old", "configs/a.yml"), one)
    assert not starts(push("refs/heads/main", "docs/x"), one)
    # What is excluded does not count, though it is included.
    assert not starts(push("refs/heads/main", "pipelines/a.md"), one)
    assert starts(push("refs/heads/main", "pipelines/a.md", "pipelines/a.py"), one)
    assert not starts(push("refs/tags/main", "pipelines/a.py"), one)


def test_tags_and_alternatives() -> None:
    tags, branches = {"tags": {"excludes": ["v0*"]}}, {"branches": {"includes": ["main"]}}
    assert starts(push("refs/tags/v1"), tags)
    assert not starts(push("refs/tags/v0.1"), tags)
    assert not starts(push("refs/heads/v1", "a"), tags)
    assert starts(push("refs/heads/main"), tags, branches)
