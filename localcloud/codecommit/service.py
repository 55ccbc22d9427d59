"""CodeCommit as a service: its parts put together, and its operations by name."""

from __future__ import annotations

from collections.abc import Mapping

from localcloud.codecommit.commits import Commits
from localcloud.codecommit.contents import Contents
from localcloud.codecommit.http import CONNECTED_PREFIX, PREFIX, GitHttp
from localcloud.codecommit.records import Records
from localcloud.codecommit.repositories import Repositories
from localcloud.context import Context
from localcloud.service import Handler


class CodeCommit:
    """The service. It also serves the repositories of connections, which are nobody's here."""

    name = "codecommit"

    def __init__(self, context: Context, repositories: Repositories) -> None:
        self._repositories = repositories
        self._http = GitHttp(context, repositories)
        for prefix in (PREFIX, CONNECTED_PREFIX):
            context.web.mount(prefix, self._http)
        records = Records(context, repositories)
        repositories.on_push(records.pushed)
        contents, commits = Contents(repositories, records), Commits(context, repositories, records)
        self._operations: dict[str, Handler] = {
            "CreateRepository": records.create,
            "GetRepository": records.get,
            "ListRepositories": records.list,
            "DeleteRepository": records.delete,
            "UpdateRepositoryDescription": records.describe,
            "UpdateRepositoryName": records.rename,
            "UpdateRepositoryEncryptionKey": records.set_key,
            "UpdateDefaultBranch": records.set_default_branch,
            "TagResource": records.tag,
            "UntagResource": records.untag,
            "ListTagsForResource": records.tags,
            "GetBranch": contents.branch,
            "ListBranches": contents.branches,
            "GetCommit": contents.commit,
            "GetDifferences": contents.differences,
            "GetFile": contents.file,
            "GetFolder": contents.folder,
            "GetBlob": contents.blob,
            "CreateBranch": commits.create_branch,
            "CreateCommit": commits.create,
            "PutFile": commits.put_file,
        }

    @property
    def operations(self) -> Mapping[str, Handler]:
        """What is implemented, by name."""
        return self._operations

    def start(self) -> None:
        """Tell of what an earlier localcloud had taken and not told."""
        self._repositories.start()

    def stop(self) -> None:
        """End what is being cloned, fetched or pushed."""
        self._repositories.stop()
        self._http.stop()
