"""Source actions: a branch's latest commit, or the one that was asked for, as a ZIP file.

Sources: "CodeCommit source action reference", "CodeStarSourceConnection …", "Amazon S3 source action reference" (AWS
CodePipeline User Guide); of the rights of their role, "Manage the CodePipeline service role".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from localcloud.codecommit.bare import Commit
from localcloud.codecommit.repositories import Repositories
from localcloud.codepipeline import artifacts
from localcloud.codepipeline.refusals import REFUSALS, failure
from localcloud.codepipeline.turn import CONFIGURATION, ActionFailed, Outcome, Turn

_MOST_SUMMARY_CHARACTERS = 2048
_ARCHIVE = ("codecommit:UploadArchive", "codecommit:GetUploadArchiveStatus")


class CodeCommit:
    """A repository of CodeCommit. What hands the commit's tree over is no public call, and yet needs a right."""

    def __init__(self, repositories: Repositories) -> None:
        self._repositories = repositories

    def run(self, turn: Turn) -> Outcome:
        """See `Kind`."""
        given = turn.configuration
        name, branch = given["RepositoryName"], turn.overriding.get("branch") or given["BranchName"]
        context = turn.context
        arn = f"arn:aws:codecommit:{context.region}:{context.account_id}:{name}"
        try:
            client = turn.client("codecommit")
            commit_id = turn.overriding.get("revisionValue")
            if commit_id is None:
                commit_id = client.get_branch(repositoryName=name, branchName=branch)["branch"]["commitId"]
            client.get_commit(repositoryName=name, commitId=commit_id)
            for action in _ARCHIVE:
                context.authority.check(turn.role_arn, action, arn)
            commit = self._repositories.commit(name, commit_id)
            content = self._repositories.archive(name, commit_id)
        except REFUSALS as error:
            raise failure(error, f"the branch {branch} of the repository {name}") from error
        artifacts.put(turn, turn.action.outputs[0], content)
        home = f"https://{context.region}.console.aws.amazon.com/codecommit/home"
        return _of_commit(
            commit,
            {**_variables(commit, branch), "CommitterDate": _iso(commit.committer.date), "RepositoryName": name},
            f"{home}?region={context.region}#/repository/{name}/commit/{commit_id}",
        )


class Connection:
    """A repository behind a connection of CodeConnections."""

    def __init__(self, repositories: Repositories) -> None:
        self._repositories = repositories

    def run(self, turn: Turn) -> Outcome:
        """See `Kind`."""
        given = turn.configuration
        arn, name = given["ConnectionArn"], given["FullRepositoryId"]
        branch = turn.overriding.get("branch") or given["BranchName"]
        service = arn.split(":")[2]
        try:
            # Whether it is there is asked by localcloud itself; the role needs the right to use it.
            turn.context.clients.of("codeconnections").get_connection(ConnectionArn=arn)
            facts = {f"{service}:FullRepositoryId": name, f"{service}:BranchName": branch}
            turn.context.authority.check(turn.role_arn, f"{service}:UseConnection", arn, facts)
            commit_id = turn.overriding.get("revisionValue") or self._repositories.branch_head(name, branch)
            commit = self._repositories.commit(name, commit_id)
            content = self._repositories.archive(name, commit_id)
        except REFUSALS as error:
            raise failure(error, f"the branch {branch} of the repository {name} of {arn}") from error
        artifacts.put(turn, turn.action.outputs[0], content)
        variables = {
            **_variables(commit, branch),
            "AuthorDisplayName": commit.author.name,
            "AuthorEmail": commit.author.email,
            "AuthorId": commit.author.name,
            "ConnectionArn": arn,
            "FullRepositoryName": name,
        }
        home = f"https://{turn.context.region}.console.aws.amazon.com/codesuite/settings/connections/redirect"
        return _of_commit(commit, variables, f"{home}?connectionArn={arn}&FullRepositoryId={name}&Commit={commit_id}")


class Bucket:
    """An object of a versioned bucket."""

    def run(self, turn: Turn) -> Outcome:
        """See `Kind`."""
        bucket, key = turn.configuration["S3Bucket"], turn.configuration["S3ObjectKey"]
        version: dict[str, Any] = {}
        if "revisionValue" in turn.overriding:
            version = {"VersionId": turn.overriding["revisionValue"]}
        client = turn.client("s3")
        try:
            if client.get_bucket_versioning(Bucket=bucket).get("Status") != "Enabled":
                raise ActionFailed(
                    CONFIGURATION,
                    f"The bucket {bucket} has no versioning, which a source of a pipeline needs: enable it",
                )
            found = client.get_object(Bucket=bucket, Key=key, **version)
            content = found["Body"].read()
        except REFUSALS as error:
            raise failure(error, f"the object s3://{bucket}/{key}") from error
        artifacts.put(turn, turn.action.outputs[0], content)
        revision = found["VersionId"]
        return Outcome(
            external_id=revision,
            summary=f"Amazon S3 version id: {revision}",
            variables={"BucketName": bucket, "ETag": found["ETag"].strip('"'), "ObjectKey": key, "VersionId": revision},
            revision={
                "revisionId": revision,
                "revisionChangeIdentifier": revision[:100],
                "revisionSummary": f"Amazon S3 version id: {revision}",
                "created": found["LastModified"],
            },
        )


def _variables(commit: Commit, branch: str) -> dict[str, str]:
    return {
        "AuthorDate": _iso(commit.author.date),
        "BranchName": branch,
        "CommitId": commit.commit_id,
        "CommitMessage": commit.message.rstrip("\n"),
    }


def _of_commit(commit: Commit, variables: Mapping[str, str], url: str) -> Outcome:
    summary = commit.message.rstrip("\n")[:_MOST_SUMMARY_CHARACTERS] or commit.commit_id
    return Outcome(
        external_id=commit.commit_id,
        external_url=url,
        summary=summary,
        variables=variables,
        revision={
            "revisionId": commit.commit_id,
            "revisionChangeIdentifier": commit.commit_id,
            "revisionSummary": summary,
            "revisionUrl": url,
            "created": _moment(commit.committer.date),
        },
    )


def _moment(date: str) -> datetime:
    """Git's seconds and zone, `1484167798 -0800`."""
    return datetime.fromtimestamp(int(date.split()[0]), UTC)


def _iso(date: str) -> str:
    return f"{_moment(date):%Y-%m-%dT%H:%M:%SZ}"
