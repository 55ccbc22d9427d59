"""What the contract's tests do with CodeBuild: projects, sources in the bucket, builds to their end."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

from tests.contract.sagemaker_account import Account, until

TRUST = {"Effect": "Allow", "Principal": {"Service": "codebuild.amazonaws.com"}, "Action": "sts:AssumeRole"}
ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


class Workshop:
    """CodeBuild of an account, with a role for builds. Projects are deleted by `close`."""

    def __init__(self, account: Account) -> None:
        self.account, self.client = account, account.client("codebuild")
        self.role = self.new_role(ALL)
        self.projects: list[str] = []

    def new_role(self, policy: Mapping[str, Any]) -> str:
        """A role that CodeBuild may assume, with an inline policy."""
        iam, name = self.account.client("iam"), self.account.name("build")
        trust = json.dumps({"Version": "2012-10-17", "Statement": [TRUST]})
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=json.dumps(policy))
        return str(arn)

    def source(self, files: Mapping[str, str | bytes], executable: tuple[str, ...] = ()) -> str:
        """A zip file in the bucket; gives `bucket/key`."""
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for name, text in files.items():
                entry = zipfile.ZipInfo(name)
                entry.external_attr = (0o755 if name in executable else 0o644) << 16
                archive.writestr(entry, text)
        key = f"tests/{self.account.name('source')}.zip"
        self.account.s3.put_object(Bucket=self.account.bucket, Key=key, Body=content.getvalue())
        return f"{self.account.bucket}/{key}"

    def project(self, **members: Any) -> str:
        """A new project without a source, whose buildspec is the call's; gives its name."""
        name = self.account.name("project")
        settings = {
            "source": {"type": "NO_SOURCE", "buildspec": "version: 0.2\nphases: {build: {commands: [echo done]}}"},
            "artifacts": {"type": "NO_ARTIFACTS"},
            "environment": {
                "type": "LINUX_CONTAINER",
                "image": "aws/codebuild/standard:7.0",
                "computeType": "BUILD_GENERAL1_SMALL",
            },
            "serviceRole": self.role,
            **members,
        }
        self.client.create_project(name=name, **settings)
        self.projects.append(name)
        return name

    def start(self, project: str, *commands: str, **members: Any) -> str:
        """Start a build; gives its id. commands: of a buildspec with nothing but the phase build."""
        if commands:
            members["buildspecOverride"] = json.dumps({"version": "0.2", "phases": {"build": {"commands": commands}}})
        return str(self.client.start_build(projectName=project, **members)["build"]["id"])

    def build(self, project: str, *commands: str, **members: Any) -> dict[str, Any]:
        """Start a build and wait for its end; gives it."""
        return self.ended(self.start(project, *commands, **members))

    def get(self, build_id: str) -> dict[str, Any]:
        (found,) = self.client.batch_get_builds(ids=[build_id])["builds"]
        return dict(found)

    def ended(self, build_id: str) -> dict[str, Any]:
        """A build when it is complete."""

        def complete() -> dict[str, Any] | None:
            found = self.get(build_id)
            return found if found["buildComplete"] else None

        found: dict[str, Any] = until(complete, f"{build_id} is complete")
        return found

    def lines(self, build: Mapping[str, Any]) -> list[str]:
        """What a build has written, without localcloud's own lines."""
        return [line for line in self.log(build) if not line.startswith("[Container]")]

    def log(self, build: Mapping[str, Any]) -> list[str]:
        """All of a build's log."""
        logs = build["logs"]
        answer = self.account.logs.get_log_events(
            logGroupName=logs["groupName"], logStreamName=logs["streamName"], startFromHead=True
        )
        return [event["message"] for event in answer["events"]]

    def files(self, bucket: str, key: str) -> dict[str, bytes]:
        """The files of a zip file in S3, by name."""
        body = self.account.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    def close(self) -> None:
        """Delete the projects."""
        for name in self.projects:
            self.client.delete_project(name=name)


def phases(build: Mapping[str, Any]) -> dict[str, str]:
    """The status of each phase that has ended, by its type."""
    return {one["phaseType"]: one["phaseStatus"] for one in build["phases"] if "phaseStatus" in one}


def context_of(build: Mapping[str, Any], phase: str) -> tuple[str, str]:
    """Status code and message of a phase."""
    (found,) = (one for one in build["phases"] if one["phaseType"] == phase)
    (context,) = found["contexts"]
    return context["statusCode"], context["message"]
