"""CodeCommit's repositories as they are described: names, descriptions, tags, default branches; and the events of what
is pushed to them.

Source of the events: "Monitoring CodeCommit events in Amazon EventBridge and Amazon CloudWatch Events".
"""

from __future__ import annotations

import re
import uuid
from typing import Any

from localcloud.codecommit import errors
from localcloud.codecommit.http import PREFIX
from localcloud.codecommit.pages import page
from localcloud.codecommit.repositories import Push, Repositories
from localcloud.context import Context, Request
from localcloud.errors import ServiceError
from localcloud.signals import Event

RECORD = "codecommit/repository"
_PAGE = 1000
_MOST_TAGS = 50
_SYSTEM = "aws:"
_DEFAULT_KEY = "alias/aws/codecommit"

Document = dict[str, Any]


class Records:
    """The operations. All methods may be called from any thread."""

    def __init__(self, context: Context, repositories: Repositories) -> None:
        self._context, self._repositories = context, repositories
        self._arn = re.compile(rf"arn:aws:codecommit:{context.region}:{context.account_id}:([\w.-]+)", re.ASCII)

    def require(self, name: str) -> Document:
        """The record of a repository. Raises RepositoryDoesNotExistException."""
        document = self._context.store.get(RECORD, name)
        if document is None:
            raise errors.no_repository(name)
        return document

    def arn_of(self, name: str) -> str:
        """The ARN of a repository of that name."""
        return f"arn:aws:codecommit:{self._context.region}:{self._context.account_id}:{name}"

    def create(self, request: Request) -> dict[str, Any]:
        """CreateRepository."""
        params, store = request.params, self._context.store
        name, now, identifier = params["repositoryName"], self._context.clock.now(), str(uuid.uuid4())
        _check_name(name)
        tags = params.get("tags", {})
        _check_tags(tags, len(tags))
        document = {
            "repositoryId": identifier,
            "repositoryName": name,
            "repositoryDescription": params.get("repositoryDescription"),
            "creationDate": now,
            "lastModifiedDate": now,
            "kmsKeyId": self._key_arn(params.get("kmsKeyId")),
            "Tags": tags,
        }
        if self._repositories.exists(name):
            raise errors.repository_exists(name)
        with store.transaction():
            self._repositories.create(name, identifier)
            store.put(RECORD, name, document)
        return {"repositoryMetadata": self._metadata(document)}

    def get(self, request: Request) -> dict[str, Any]:
        """GetRepository."""
        return {"repositoryMetadata": self._metadata(self.require(request.params["repositoryName"]))}

    def list(self, request: Request) -> dict[str, Any]:
        """ListRepositories."""
        params = request.params
        by, order = params.get("sortBy", "repositoryName"), params.get("order", "ascending")
        found = [document for _, document in self._context.store.list(RECORD)]
        found.sort(key=lambda document: (document[by], document["repositoryName"]), reverse=order == "descending")
        shown, token = page(f"repositories {by} {order}", found, params.get("nextToken"), _PAGE)
        members = ("repositoryName", "repositoryId")
        return {"repositories": [{name: one[name] for name in members} for one in shown], "nextToken": token}

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteRepository. One that is not there is no error, and has no id."""
        name = request.params["repositoryName"]
        document = self._context.store.get(RECORD, name)
        if document is None:
            return {}
        self._repositories.delete(name, lambda: self._forget(name))
        return {"repositoryId": document["repositoryId"]}

    def describe(self, request: Request) -> dict[str, Any]:
        """UpdateRepositoryDescription: without one, it is taken away."""
        text = request.params.get("repositoryDescription")
        self._update(request.params["repositoryName"], repositoryDescription=text)
        return {}

    def rename(self, request: Request) -> dict[str, Any]:
        """UpdateRepositoryName. Its id stays, and so does what is in it; clones have its former address."""
        old, new = request.params["oldName"], request.params["newName"]
        _check_name(new)
        self.require(old)

        def move() -> None:
            document = self.require(old)
            self._forget(old)
            now = self._context.clock.now()
            self._context.store.put(RECORD, new, {**document, "repositoryName": new, "lastModifiedDate": now})

        if old != new:
            self._repositories.rename(old, new, move)
        return {}

    def set_key(self, request: Request) -> dict[str, Any]:
        """UpdateRepositoryEncryptionKey."""
        name = request.params["repositoryName"]
        before, key = self.require(name), self._key_arn(request.params["kmsKeyId"])
        self._update(name, kmsKeyId=key)
        return {"repositoryId": before["repositoryId"], "kmsKeyId": key, "originalKmsKeyId": before["kmsKeyId"]}

    def set_default_branch(self, request: Request) -> dict[str, Any]:
        """UpdateDefaultBranch."""
        name, branch = request.params["repositoryName"], request.params["defaultBranchName"]
        self.require(name)
        self._repositories.branch_head(name, branch)
        self._repositories.open(name).set_head(branch)
        self._update(name)
        return {}

    # Tags.

    def tag(self, request: Request) -> dict[str, Any]:
        """TagResource."""
        name, added = self._named(request), request.params["tags"]
        with self._context.store.transaction():
            tags = {**self.require(name)["Tags"], **added}
            _check_tags(added, len(tags))
            self._update(name, Tags=tags)
        return {}

    def untag(self, request: Request) -> dict[str, Any]:
        """UntagResource."""
        name, gone = self._named(request), request.params["tagKeys"]
        with self._context.store.transaction():
            tags = {key: value for key, value in self.require(name)["Tags"].items() if key not in gone}
            self._update(name, Tags=tags)
        return {}

    def tags(self, request: Request) -> dict[str, Any]:
        """ListTagsForResource: all at once."""
        return {"tags": self.require(self._named(request))["Tags"]}

    def _named(self, request: Request) -> str:
        arn = request.params["resourceArn"]
        found = self._arn.fullmatch(arn)
        if found is None:
            raise ServiceError(
                "InvalidResourceArnException",
                f"The value for the resource ARN is not valid: {arn}. For more information about resources in"
                " CodeCommit, see CodeCommit Resources and Operations in the CodeCommit User Guide.",
            )
        return found[1]

    # What is pushed.

    def pushed(self, push: Push) -> None:
        """Tell EventBridge of a push. Those to repositories of connections are none of CodeCommit's."""
        document = self._context.store.get(RECORD, push.repository)
        if document is None:
            return
        self._update(push.repository)
        event = "referenceCreated" if push.before is None else "referenceUpdated"
        detail = {
            "event": event if push.after is not None else "referenceDeleted",
            "repositoryName": push.repository,
            "repositoryId": document["repositoryId"],
            "referenceType": "branch" if push.branch is not None else "tag",
            "referenceName": push.branch or push.tag,
            "referenceFullName": push.ref,
            "commitId": push.after,
            "oldCommitId": push.before,
            "callerUserArn": push.principal,
        }
        self._context.signals.event(
            Event(
                source="aws.codecommit",
                detail_type="CodeCommit Repository State Change",
                detail={name: value for name, value in detail.items() if value is not None},
                time=self._context.clock.now(),
                resources=[self.arn_of(push.repository)],
                id=push.id,
            )
        )

    def _forget(self, name: str) -> None:
        self._context.store.delete(RECORD, name)

    def _update(self, name: str, **members: Any) -> None:
        def changed(document: Document) -> Document:
            return {**document, **members, "lastModifiedDate": self._context.clock.now()}

        try:
            self._context.store.update(RECORD, name, changed)
        except KeyError:
            raise errors.no_repository(name) from None

    def _metadata(self, document: Document) -> dict[str, Any]:
        name = document["repositoryName"]
        return {
            **{key: value for key, value in document.items() if key != "Tags"},
            "accountId": self._context.account_id,
            "Arn": self.arn_of(name),
            "defaultBranch": self._repositories.open(name).head(),
            "cloneUrlHttp": f"{self._context.endpoint_url}{PREFIX}{name}",
            # There is no SSH here: the address says where it would be on AWS.
            "cloneUrlSsh": f"ssh://git-codecommit.{self._context.region}.amazonaws.com{PREFIX}{name}",
        }

    def _key_arn(self, key: str | None) -> str:
        """The ARN of the key that is named, which has to be there; of CodeCommit's own where none is."""
        if key in (None, _DEFAULT_KEY):
            return f"arn:aws:kms:{self._context.region}:{self._context.account_id}:{_DEFAULT_KEY}"
        kms = self._context.clients.of("kms")
        try:
            return str(kms.describe_key(KeyId=key)["KeyMetadata"]["Arn"])
        except kms.exceptions.NotFoundException:
            raise ServiceError("EncryptionKeyNotFoundException", f"The encryption key was not found: {key}") from None


def _check_name(name: str) -> None:
    # The model's pattern has seen to the rest.
    if name.endswith(".git") or name in (".", ".."):
        raise errors.invalid_repository_name()


def _check_tags(added: dict[str, str], number: int) -> None:
    if any(key.lower().startswith(_SYSTEM) for key in added):
        raise ServiceError(
            "InvalidSystemTagUsageException",
            "The specified tag is not valid. Key names cannot be prefixed with aws:.",
        )
    if number > _MOST_TAGS:
        raise ServiceError(
            "TooManyTagsException",
            f"The maximum number of tags for an AWS resource has been exceeded: {number} of {_MOST_TAGS}.",
        )
