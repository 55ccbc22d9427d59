"""AWS::CodeCommit::Repository.

`Code` is committed when the repository is made, and never looked at again. Its archive is read as the stack's role, and
the commit, too, is that role's (`codecommit:CreateCommit`), though not bound to the number of files that CreateCommit
otherwise takes.
"""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Iterator
from typing import Any

from localcloud.cloudformation.errors import ResourceFailed
from localcloud.cloudformation.resources.kind import Call, Properties, ResourceType, changed, pick

_MOST_ARCHIVE_BYTES = 20 * 1024 * 1024
_MOST_CONTENT_BYTES = 500 * 1024 * 1024
_FIRST_BRANCH, _DEFAULT_KEY = "main", "alias/aws/codecommit"
_AUTHOR = {"authorName": "AWS CloudFormation", "commitMessage": "Initial commit by AWS CloudFormation"}
_IMPORT_HEADER = "x-localcloud-import"
"""`localcloud.codecommit.commits.IMPORT_HEADER`."""


class Repository(ResourceType):
    name = "AWS::CodeCommit::Repository"
    name_property = "RepositoryName"
    attributes = frozenset({"Arn", "CloneUrlHttp", "CloneUrlSsh", "Name"})
    changing = attributes
    honours = frozenset({"Code", "KmsKeyId", "RepositoryDescription", "RepositoryName", "Tags"})

    def create(self, call: Call, properties: Properties) -> str:
        codecommit, name = call.client("codecommit"), properties["RepositoryName"]
        archive = _archive(call, properties["Code"]["S3"]) if "Code" in properties else None
        made = codecommit.create_repository(
            repositoryName=name,
            repositoryDescription=properties.get("RepositoryDescription", ""),
            **({"kmsKeyId": properties["KmsKeyId"]} if "KmsKeyId" in properties else {}),
            **({"tags": dict(call.tags)} if call.tags else {}),
        )["repositoryMetadata"]
        if archive is not None:
            branch = properties["Code"].get("BranchName", _FIRST_BRANCH)
            try:
                _import(codecommit, name, branch, archive)
            except BaseException:
                # What fails to be made is not there.
                codecommit.delete_repository(repositoryName=name)
                raise
        return str(made["repositoryId"])

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        codecommit, name = call.client("codecommit"), after["RepositoryName"]
        if (former := _name(codecommit, physical_id)) != name:
            codecommit.update_repository_name(oldName=former, newName=name)
        if changed(before, after, "RepositoryDescription"):
            codecommit.update_repository_description(
                repositoryName=name, repositoryDescription=after.get("RepositoryDescription", "")
            )
        if changed(before, after, "KmsKeyId"):
            key = after.get("KmsKeyId", _DEFAULT_KEY)
            codecommit.update_repository_encryption_key(repositoryName=name, kmsKeyId=key)
        arn = call.arn("codecommit", name)
        call.retag(
            lambda tags: codecommit.tag_resource(resourceArn=arn, tags=tags),
            lambda keys: codecommit.untag_resource(resourceArn=arn, tagKeys=keys),
        )

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        codecommit = call.client("codecommit")
        if (name := _name(codecommit, physical_id)) is not None:
            codecommit.delete_repository(repositoryName=name)

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        codecommit = call.client("codecommit")
        found = codecommit.get_repository(repositoryName=_name(codecommit, physical_id))["repositoryMetadata"]
        return {
            "Arn": found["Arn"],
            "CloneUrlHttp": found["cloneUrlHttp"],
            "CloneUrlSsh": found["cloneUrlSsh"],
            "Name": found["repositoryName"],
        }


def _name(codecommit: Any, repository_id: str) -> str | None:
    """The name of the repository of an id, by which alone the service finds it. That is why `ListRepositories` is
    among the permissions that CloudFormation needs."""
    for page in codecommit.get_paginator("list_repositories").paginate():
        for one in page["repositories"]:
            if one["repositoryId"] == repository_id:
                return str(one["repositoryName"])
    return None


def _archive(call: Call, where: Properties) -> bytes:
    version = {"VersionId": where["ObjectVersion"]} if "ObjectVersion" in where else {}
    found = call.client("s3").get_object(**pick(where, "Bucket", "Key"), **version)
    if found["ContentLength"] > _MOST_ARCHIVE_BYTES:
        raise ResourceFailed("Code archive supplied cannot be more than 20 MB compressed")
    return bytes(found["Body"].read())


def _import(codecommit: Any, repository: str, branch: str, archive: bytes) -> None:
    try:
        files = list(_files(archive))
    except zipfile.BadZipFile as error:
        raise ResourceFailed(f"The code archive of the repository {repository} is not a ZIP file: {error}") from error
    if not files:
        raise ResourceFailed(f"The code archive of the repository {repository} has no files")
    codecommit.meta.events.register("before-call.codecommit.CreateCommit", _mark, unique_id=_IMPORT_HEADER)
    codecommit.create_commit(repositoryName=repository, branchName=branch, putFiles=files, **_AUTHOR)


def _mark(params: dict[str, Any], **_: Any) -> None:
    params["headers"][_IMPORT_HEADER] = "1"


def _files(archive: bytes) -> Iterator[dict[str, Any]]:
    """The files of a ZIP file as CreateCommit takes them: executable ones so, symbolic links as links."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        members = [member for member in opened.infolist() if not member.is_dir()]
        if (size := sum(member.file_size for member in members)) > _MOST_CONTENT_BYTES:
            raise ResourceFailed(
                f"The code archive holds {size} bytes unpacked; localcloud takes {_MOST_CONTENT_BYTES}"
            )
        for member in members:
            mode = member.external_attr >> 16
            kind = "SYMLINK" if stat.S_ISLNK(mode) else "EXECUTABLE" if mode & stat.S_IXUSR else "NORMAL"
            yield {"filePath": member.filename, "fileMode": kind, "fileContent": opened.read(member)}


TYPES = (Repository(),)
"""The resource types of CodeCommit."""
