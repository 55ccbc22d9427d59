"""CodeCommit and CodeConnections: repositories by the API, by git and by stacks, and the events of pushes."""

from __future__ import annotations

import base64
import http.client
import io
import json
import random
import stat
import subprocess
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import Cloud, Running
from tests.contract.sagemaker_account import Account, error_of, until
from tests.contract.stacks import Stacks, template
from tests.roles import make_role, policy
from tests.working_copy import WorkingCopy, git


@pytest.fixture(scope="module")
def account(cloud: Cloud) -> Account:
    """The account under test."""
    return Account.of(cloud)


class Home:
    """A repository of the test's own."""

    def __init__(self, account: Account, name: str) -> None:
        self.account, self.name = account, name
        self.client = account.client("codecommit")
        self.metadata = self.client.create_repository(repositoryName=name)["repositoryMetadata"]

    def __call__(self, operation: str, **params: Any) -> Any:
        return getattr(self.client, operation)(repositoryName=self.name, **params)

    def refused(self, operation: str, **params: Any) -> str:
        return error_of(getattr(self.client, operation), repositoryName=self.name, **params)[0]

    def committed(self, branch: str = "main", parent: str | None = None, /, **files: bytes) -> str:
        """A commit by the API; gives its id."""
        given = {"parentCommitId": parent} if parent else {}
        puts = [{"filePath": path.replace("__", "/"), "fileContent": content} for path, content in files.items()]
        return str(self("create_commit", branchName=branch, putFiles=puts, **given)["commitId"])


@pytest.fixture
def home(account: Account) -> Iterator[Home]:
    found = Home(account, account.name("code"))
    yield found
    found("delete_repository")


@pytest.fixture
def told(account: Account, home: Home) -> Iterator[Callable[[int], list[dict[str, Any]]]]:
    """Gives that many events of the repository, which EventBridge has delivered to a queue."""
    sqs, events, name = account.client("sqs"), account.client("events"), account.name("pushes")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allow = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
    policy = {"Version": "2012-10-17", "Statement": [{**allow, "Resource": arn}]}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    pattern = {"source": ["aws.codecommit"], "detail": {"repositoryName": [home.name]}}
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn}])
    got: list[dict[str, Any]] = []

    def wait(number: int) -> list[dict[str, Any]]:
        def enough() -> bool:
            for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
                got.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            return len(got) >= number

        until(enough, f"{number} events of {home.name}")
        assert len(got) == number
        return sorted(got, key=lambda event: (event["time"], event["detail"]["referenceFullName"]))

    yield wait
    events.remove_targets(Rule=name, Ids=["queue"])
    events.delete_rule(Name=name)
    sqs.delete_queue(QueueUrl=url)


# --- repositories ----------------------------------------------------------------------------------------------------


def test_a_repository_is_made_described_tagged_renamed_and_deleted(account: Account) -> None:
    client, name = account.client("codecommit"), account.name("r")
    made = client.create_repository(repositoryName=name, repositoryDescription="code", tags={"team": "a"})
    metadata = made["repositoryMetadata"]
    arn = f"arn:aws:codecommit:{account.region}:{account.number}:{name}"
    assert (metadata["Arn"], metadata["accountId"]) == (arn, account.number)
    assert metadata["cloneUrlHttp"].endswith(f"/v1/repos/{name}")
    assert "defaultBranch" not in metadata
    assert client.get_repository(repositoryName=name)["repositoryMetadata"] == metadata
    assert error_of(client.create_repository, repositoryName=name) == (
        "RepositoryNameExistsException",
        f"Repository named {name} already exists",
    )
    assert error_of(client.create_repository, repositoryName=f"{name}.git")[0] == "InvalidRepositoryNameException"

    pairs = client.get_paginator("list_repositories").paginate().build_full_result()["repositories"]
    assert {"repositoryName": name, "repositoryId": metadata["repositoryId"]} in pairs
    client.tag_resource(resourceArn=arn, tags={"stage": "b"})
    client.untag_resource(resourceArn=arn, tagKeys=["team"])
    assert client.list_tags_for_resource(resourceArn=arn)["tags"] == {"stage": "b"}
    assert error_of(client.tag_resource, resourceArn=arn, tags={"aws:x": "y"})[0] == "InvalidSystemTagUsageException"
    assert error_of(client.tag_resource, resourceArn=f"{arn}-x", tags={})[0] == "RepositoryDoesNotExistException"

    client.update_repository_description(repositoryName=name, repositoryDescription="other")
    client.update_repository_name(oldName=name, newName=f"{name}-2")
    renamed = client.get_repository(repositoryName=f"{name}-2")["repositoryMetadata"]
    assert renamed["repositoryId"] == metadata["repositoryId"]
    assert renamed["repositoryDescription"] == "other"
    assert error_of(client.get_repository, repositoryName=name) == (
        "RepositoryDoesNotExistException",
        f"{name} does not exist",
    )
    assert client.delete_repository(repositoryName=f"{name}-2")["repositoryId"] == metadata["repositoryId"]
    assert "repositoryId" not in client.delete_repository(repositoryName=f"{name}-2")


def test_commits_by_the_api_and_what_they_hold(home: Home) -> None:
    first = home.committed("main", a=b"1", d__b=b"2")
    assert home("get_branch", branchName="main")["branch"] == {"branchName": "main", "commitId": first}
    assert home("get_repository")["repositoryMetadata"]["defaultBranch"] == "main"
    changed = home(
        "create_commit",
        branchName="main",
        parentCommitId=first,
        authorName="Ada",
        email="ada@example.com",
        commitMessage="more\n\nand why",
        putFiles=[
            {"filePath": "d/run.sh", "fileContent": b"#!/bin/sh\n", "fileMode": "EXECUTABLE"},
            {"filePath": "copy", "sourceFile": {"filePath": "a", "isMove": True}},
            {"filePath": "link", "fileContent": b"copy", "fileMode": "SYMLINK"},
        ],
        setFileModes=[{"filePath": "d/b", "fileMode": "EXECUTABLE"}],
    )
    assert [one["absolutePath"] for one in changed["filesAdded"]] == ["d/run.sh", "copy", "link"]
    assert [one["absolutePath"] for one in changed["filesUpdated"]] == ["d/b"]
    assert [one["absolutePath"] for one in changed["filesDeleted"]] == ["a"]
    commit = home("get_commit", commitId=changed["commitId"])["commit"]
    assert (commit["message"].strip(), commit["parents"]) == ("more\n\nand why", [first])
    assert (commit["author"]["name"], commit["author"]["email"]) == ("Ada", "ada@example.com")
    assert commit["treeId"] == changed["treeId"]

    file = home("get_file", filePath="d/run.sh")
    assert (file["fileContent"], file["fileMode"], file["fileSize"]) == (b"#!/bin/sh\n", "EXECUTABLE", 10)
    assert home("get_file", filePath="a", commitSpecifier=first)["fileContent"] == b"1"
    assert home("get_blob", blobId=file["blobId"])["content"] == b"#!/bin/sh\n"
    folder = home("get_folder", folderPath="/")
    assert [one["absolutePath"] for one in folder["files"]] == ["copy"]
    assert [one["relativePath"] for one in folder["symbolicLinks"]] == ["link"]
    assert [one["absolutePath"] for one in folder["subFolders"]] == ["d"]
    below = home("get_folder", folderPath="d")
    assert [(one["relativePath"], one["fileMode"]) for one in below["files"]] == [
        ("b", "EXECUTABLE"),
        ("run.sh", "EXECUTABLE"),
    ]
    put = home(
        "put_file", branchName="main", filePath="d/b", fileContent=b"3", parentCommitId=changed["commitId"], name="Bo"
    )
    last = home("get_commit", commitId=put["commitId"])["commit"]
    assert (last["message"].strip(), last["author"]["name"]) == ("Edited b", "Bo")
    assert home("get_file", filePath="d/b")["fileMode"] == "EXECUTABLE"


def test_what_no_commit_can_be_is_refused_by_name(home: Home) -> None:
    def refused(**params: Any) -> str:
        return home.refused("create_commit", branchName="main", **params)

    def put(path: str, content: bytes = b"x") -> list[dict[str, Any]]:
        return [{"filePath": path, "fileContent": content}]

    assert home.refused("get_file", filePath="a") == "CommitDoesNotExistException"
    assert refused(putFiles=put("a"), parentCommitId="0" * 40) == "BranchDoesNotExistException"
    first = home.committed("main", a=b"1", d__b=b"2")
    second = home.committed("main", first, c=b"3")
    tip = {"parentCommitId": second}
    assert refused(putFiles=put("a")) == "ParentCommitIdRequiredException"
    assert refused(putFiles=put("a"), parentCommitId=first) == "ParentCommitIdOutdatedException"
    assert refused(putFiles=put("a"), parentCommitId="0" * 40) == "ParentCommitDoesNotExistException"
    assert refused(putFiles=put("a"), parentCommitId="main") == "InvalidParentCommitIdException"
    assert refused(**tip) == "FileEntryRequiredException"
    assert refused(putFiles=put("a", b"1"), **tip) == "NoChangeException"
    assert refused(putFiles=put("../a"), **tip) == "InvalidPathException"
    assert refused(putFiles=put("x/.git/config"), **tip) == "InvalidPathException"
    assert refused(putFiles=put("a/x"), **tip) == "DirectoryNameConflictsWithFileNameException"
    assert refused(putFiles=put("d"), **tip) == "FileNameConflictsWithDirectoryNameException"
    assert refused(putFiles=put("x") * 2, **tip) == "SamePathRequestException"
    assert refused(putFiles=[{"filePath": "x"}], **tip) == "SourceFileOrContentRequiredException"
    assert refused(deleteFiles=[{"filePath": "x"}], **tip) == "FileDoesNotExistException"
    assert refused(putFiles=put("x", b"x" * (6 * 1024**2 + 1)), **tip) == "FileContentSizeLimitExceededException"
    many = [one for number in range(101) for one in put(f"x{number}")]
    assert refused(putFiles=many, **tip) == "MaximumFileEntriesExceededException"
    assert refused(putFiles=put("x"), email="a>b", **tip) == "InvalidEmailException"
    assert home.refused("create_commit", branchName="a..b", putFiles=put("x")) == "InvalidBranchNameException"
    assert home.refused("create_commit", branchName="new", putFiles=put("x"), **tip) == "BranchDoesNotExistException"
    same = {"branchName": "main", "filePath": "a", "fileContent": b"1"}
    assert home.refused("put_file", **same, **tip) == "SameFileContentException"
    assert home("get_branch", branchName="main")["branch"]["commitId"] == second
    # A file may make room for a folder, and a folder that is left may be kept.
    moved = home(
        "create_commit",
        branchName="main",
        putFiles=put("a/x"),
        deleteFiles=[{"filePath": "a"}, {"filePath": "d/b"}],
        keepEmptyFolders=True,
        **tip,
    )
    assert sorted(one["absolutePath"] for one in moved["filesAdded"]) == ["a/x", "d/.gitkeep"]

    assert home.refused("get_commit", commitId="main") == "InvalidCommitIdException"
    assert home.refused("get_commit", commitId="0" * 40) == "CommitIdDoesNotExistException"
    assert home.refused("get_branch", branchName="none") == "BranchDoesNotExistException"
    assert home.refused("get_file", filePath="d") == "FileDoesNotExistException"
    assert home.refused("get_folder", folderPath="d/.gitkeep") == "FolderDoesNotExistException"
    assert home.refused("get_differences", afterCommitSpecifier="main~1") == "CommitDoesNotExistException"


def test_differences_come_in_pages_and_may_be_limited_to_a_path(home: Home) -> None:
    first = home.committed("main", a=b"1", b=b"2", d__c=b"3")
    second = home(
        "create_commit",
        branchName="main",
        parentCommitId=first,
        putFiles=[{"filePath": "a", "fileContent": b"4"}, {"filePath": "d/e", "fileContent": b"5"}],
        deleteFiles=[{"filePath": "b"}],
    )["commitId"]

    def differences(**params: Any) -> list[tuple[str, str]]:
        given = {"repositoryName": home.name, "afterCommitSpecifier": "main", **params}
        pages = list(home.client.get_paginator("get_differences").paginate(**given))
        assert all(len(page["differences"]) <= params.get("MaxResults", 100) for page in pages)
        found = [one for page in pages for one in page["differences"]]
        return [(one["changeType"], one.get("afterBlob", one.get("beforeBlob"))["path"]) for one in found]

    assert differences() == [("A", "a"), ("A", "d/c"), ("A", "d/e")]
    between = [("M", "a"), ("D", "b"), ("A", "d/e")]
    assert differences(beforeCommitSpecifier=first) == between
    assert differences(beforeCommitSpecifier=first, MaxResults=1) == between
    assert differences(beforeCommitSpecifier=first, afterPath="d") == [("A", "d/e")]
    assert differences(beforeCommitSpecifier=second, afterCommitSpecifier="refs/heads/main") == []
    (one,) = home("get_differences", beforeCommitSpecifier=first, afterCommitSpecifier=second, afterPath="a")[
        "differences"
    ]
    assert one["beforeBlob"]["blobId"] != one["afterBlob"]["blobId"]
    assert one["afterBlob"]["mode"] == "100644"
    assert home.refused("get_differences", afterCommitSpecifier="main", NextToken="x") == (
        "InvalidContinuationTokenException"
    )


# --- git --------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("localcloud_only")
def test_clone_push_fetch_and_their_events(
    home: Home, told: Callable[[int], list[dict[str, Any]]], tmp_path: Path, account: Account
) -> None:
    url = home.metadata["cloneUrlHttp"]
    ours = WorkingCopy.cloned(url, tmp_path / "ours")
    (ours.folder / "run.sh").write_text("#!/bin/sh\n")
    (ours.folder / "run.sh").chmod(0o755)
    first = ours.commit(a="1")
    ours.run("branch", "next")
    ours.run("tag", "-a", "v1", "-m", "one")
    ours.push("HEAD:refs/heads/main", "next", "v1")
    second = ours.commit(a="2")
    ours.push("HEAD:main")
    rewritten = ours.run("rev-parse", ours.run("commit-tree", "HEAD^{tree}", "-p", first, "-m", "other"))
    ours.push(f"{rewritten}:main", fails=True)
    ours.push("--force", f"{rewritten}:main")
    ours.push(":next")

    events = told(6)
    assert {event["detail-type"] for event in events} == {"CodeCommit Repository State Change"}
    assert {tuple(event["resources"]) for event in events} == {(home.metadata["Arn"],)}
    common = {"repositoryName": home.name, "repositoryId": home.metadata["repositoryId"]}
    assert {**common, "callerUserArn": f"arn:aws:iam::{account.number}:root"}.items() <= events[0]["detail"].items()
    seen = {
        tuple(event["detail"].get(member) for member in ("event", "referenceFullName", "oldCommitId", "commitId"))
        for event in events
    }
    assert seen == {
        ("referenceCreated", "refs/heads/main", None, first),
        ("referenceCreated", "refs/heads/next", None, first),
        ("referenceCreated", "refs/tags/v1", None, first),
        ("referenceUpdated", "refs/heads/main", first, second),
        ("referenceUpdated", "refs/heads/main", second, rewritten),
        ("referenceDeleted", "refs/heads/next", first, None),
    }
    kinds = {(event["detail"]["referenceType"], event["detail"]["referenceName"]) for event in events}
    assert kinds == {("branch", "main"), ("branch", "next"), ("tag", "v1")}

    theirs = WorkingCopy.cloned(url, tmp_path / "theirs")
    assert theirs.run("log", "-1", "--format=%s") == "other"
    assert (theirs.folder / "run.sh").stat().st_mode & stat.S_IXUSR
    # What was pushed before is there as long as the repository is: a pipeline may be about to fetch it.
    assert home("get_commit", commitId=second)["commit"]["parents"] == [first]
    assert home("list_branches")["branches"] == ["main"]
    assert "refusing to delete the current branch" in ours.push(":main", fails=True)
    third = home.committed("main", rewritten, b=b"by the API")
    theirs.run("pull", "--quiet")
    assert theirs.run("rev-parse", "HEAD") == third


@pytest.mark.usefixtures("localcloud_only")
@pytest.mark.parametrize("version", ["0", "1", "2"])
def test_every_version_of_the_protocol_is_spoken(home: Home, tmp_path: Path, version: str) -> None:
    settings = ("-c", f"protocol.version={version}")
    ours = WorkingCopy.new(home.metadata["cloneUrlHttp"], tmp_path / "ours")
    ours.commit(a="1")
    ours.run(*settings, "push", "origin", "main")
    # Of many commits git asks in one request, which it packs with gzip.
    for number in range(30):
        ours.empty_commit()
        ours.run("tag", f"t{number}")
    ours.run(*settings, "push", "--tags", "origin", "main")
    git(tmp_path, *settings, "clone", "--quiet", home.metadata["cloneUrlHttp"], "theirs")
    theirs = WorkingCopy(tmp_path / "theirs")
    assert len(theirs.run("tag").split()) == 30
    for _ in range(30):
        theirs.empty_commit()
    ours.push("--force", f"{ours.commit(c='x')}:refs/heads/other")
    theirs.run(*settings, "fetch", "--quiet", "origin")
    assert theirs.run("cat-file", "-p", "origin/other:c") == "x"


@pytest.mark.usefixtures("localcloud_only")
def test_a_large_push_goes_through_and_hooks_that_are_pushed_do_not_run(
    home: Home, account: Account, tmp_path: Path
) -> None:
    ours = WorkingCopy.new(home.metadata["cloneUrlHttp"], tmp_path / "ours")
    # More than git sends in one piece: it comes in chunks, after a request that only asks whether it may.
    (ours.folder / "large").write_bytes(random.Random(7).randbytes(3_000_000))
    mark = tmp_path / "hook-ran"
    for name in ("pre-receive", "update", "post-receive", "post-update"):
        hook = ours.folder / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {mark}\n")
        hook.chmod(0o755)
    ours.commit()
    ours.push("HEAD:main")
    theirs = WorkingCopy.cloned(home.metadata["cloneUrlHttp"], tmp_path / "theirs")
    assert (theirs.folder / "large").read_bytes() == (ours.folder / "large").read_bytes()
    assert not mark.exists()
    assert home.refused("get_file", filePath="none") == "FileDoesNotExistException"


@pytest.mark.usefixtures("localcloud_only")
def test_who_asks_at_a_repositorys_address(home: Home, tmp_path: Path) -> None:
    url = home.metadata["cloneUrlHttp"]
    home.committed("main", a=b"1")
    told = git(tmp_path, "clone", f"{url}-none", fails=True)
    assert f"{home.name}-none does not exist" in told
    # Git gives credentials only to who asks for them; other clients give them at once.
    WorkingCopy.cloned(url.replace("://", "://anybody:anything@"), tmp_path / "by-anybody")

    def asked_by(user: str) -> str:
        credentials = base64.b64encode(f"{user}:secret".encode()).decode()
        header = f"http.extraHeader=Authorization: Basic {credentials}"
        return git(tmp_path, "-c", header, "ls-remote", url, fails=user.startswith("AKIA"))

    assert "refs/heads/main" in asked_by("anybody")
    assert "looks like one of a real AWS account" in asked_by("AKIAABCDEFGHIJKLMNOP")
    # A page of the web cannot ask, by whatever means.
    assert status_of(f"{url}/info/refs?service=git-upload-pack") == 200
    assert status_of(f"{url}/info/refs?service=git-upload-pack", Origin="https://example.com") == 403
    assert (status_of(url), status_of(f"{url}/info/refs"), status_of(f"{url}/HEAD")) == (404, 403, 404)
    assert status_of(f"{url}/git-upload-pack") == 405


@pytest.mark.usefixtures("localcloud_only")
def test_a_role_pushes_and_pulls_as_far_as_it_may(home: Home, account: Account, tmp_path: Path) -> None:
    name, url = account.name("reader"), home.metadata["cloneUrlHttp"]
    may = {
        "Effect": "Allow",
        "Action": ["codecommit:GitPull", "codecommit:GetBranch"],
        "Resource": home.metadata["Arn"],
    }
    arn = make_role(account.client("iam"), name, [may])
    sts = account.client("sts")
    session = sts.assume_role(RoleArn=arn, RoleSessionName="here")["Credentials"]
    credentials = base64.b64encode(f"{session['AccessKeyId']}%{session['SessionToken']}:x".encode()).decode()
    first = home.committed("main", a=b"1")
    ours = WorkingCopy.cloned(url, tmp_path / "ours")
    ours.commit(a="2")
    ours.run("config", "http.extraHeader", f"Authorization: Basic {credentials}")
    ours.run("fetch", "origin")
    assert "is not authorized to perform: codecommit:GitPush" in ours.push(fails=True)
    assert home("get_branch", branchName="main")["branch"]["commitId"] == first
    more = {"Effect": "Allow", "Action": "codecommit:GitPush", "Resource": "*"}
    account.client("iam").put_role_policy(RoleName=name, PolicyName="more", PolicyDocument=policy([more]))
    ours.push()


def status_of(url: str, **headers: str) -> int:
    """The status of what a GET is answered with."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code


@pytest.mark.usefixtures("localcloud_only")
def test_a_killed_push_changes_nothing_and_a_killed_localcloud_forgets_nothing(
    start_localcloud: Callable[..., Running], client_of: Callable[..., Any], tmp_path: Path
) -> None:
    running = start_localcloud(tmp_path / "state")
    client = client_of(running, "codecommit")
    url = client.create_repository(repositoryName="demo")["repositoryMetadata"]["cloneUrlHttp"]
    ours = WorkingCopy.new(url, tmp_path / "ours")
    first = ours.commit(a="1")
    ours.push()
    second = ours.commit(a="2")
    command = f"0000000000000000 {first} {second} refs/heads/main\0 report-status"[17:].encode()
    packed = subprocess.run(
        ["git", "pack-objects", "--revs", "--stdout", "-q"],
        cwd=ours.folder,
        input=f"{second}\n^{first}\n".encode(),
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    body = f"{len(command) + 4:04x}".encode() + command + b"0000" + packed

    def sent(connection: http.client.HTTPConnection, part: bytes) -> None:
        connection.putrequest("POST", "/v1/repos/demo/git-receive-pack")
        connection.putheader("Content-Type", "application/x-git-receive-pack-request")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(part)

    dying = http.client.HTTPConnection("127.0.0.1", running.port)
    sent(dying, body[:-20])
    dying.close()
    assert client.get_branch(repositoryName="demo", branchName="main")["branch"]["commitId"] == first
    half = http.client.HTTPConnection("127.0.0.1", running.port)
    sent(half, body[:-20])
    running.kill()
    half.close()

    again = start_localcloud(tmp_path / "state")
    client = client_of(again, "codecommit")
    assert client.get_branch(repositoryName="demo", branchName="main")["branch"]["commitId"] == first
    whole = http.client.HTTPConnection("127.0.0.1", again.port)
    sent(whole, body)
    answer = whole.getresponse()
    assert (answer.status, b"ok refs/heads/main" in answer.read()) == (200, True)
    whole.close()
    assert client.get_branch(repositoryName="demo", branchName="main")["branch"]["commitId"] == second


# --- stacks -----------------------------------------------------------------------------------------------------------


def seed(**files: tuple[str, int]) -> bytes:
    """A ZIP file of files: content and mode, by path with `__` for a slash."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, (content, mode) in files.items():
            about = zipfile.ZipInfo(name.replace("__", "/"))
            about.external_attr = mode << 16
            archive.writestr(about, content)
    return packed.getvalue()


def test_a_stack_makes_a_repository_from_an_archive_and_changes_it_in_place(
    account: Account, stacks: Stacks, tmp_path: Path
) -> None:
    name, key = account.name("seeded"), f"tests/{account.name('seed')}.zip"
    many = {f"many__{number}.txt": (f"{number}", 0o644) for number in range(150)}
    archive = seed(README=("first", 0o644), bin__run=("#!/bin/sh\n", 0o755), **many)
    account.s3.put_object(Bucket=account.bucket, Key=key, Body=archive)
    where = {"Bucket": account.bucket, "Key": key}
    code = {"S3": where, "BranchName": "trunk"}

    def with_repository(**properties: Any) -> dict[str, Any]:
        found = template(Repo=("AWS::CodeCommit::Repository", {"RepositoryName": name, **properties}))
        outputs = {member: {"Value": {"Fn::GetAtt": ["Repo", member]}} for member in ("Arn", "CloneUrlHttp", "Name")}
        return {**found, "Outputs": {**outputs, "Id": {"Value": {"Ref": "Repo"}}}}

    stack_id = stacks.made(with_repository(Code=code, Tags=[{"Key": "team", "Value": "a"}]))
    client, outputs = account.client("codecommit"), stacks.outputs(stack_id)
    metadata = client.get_repository(repositoryName=name)["repositoryMetadata"]
    assert outputs == {
        "Arn": metadata["Arn"],
        "CloneUrlHttp": metadata["cloneUrlHttp"],
        "Name": name,
        "Id": metadata["repositoryId"],
    }
    assert metadata["defaultBranch"] == "trunk"
    run = client.get_file(repositoryName=name, filePath="bin/run")
    assert (run["fileContent"], run["fileMode"]) == (b"#!/bin/sh\n", "EXECUTABLE")
    assert len(client.get_folder(repositoryName=name, folderPath="many")["files"]) == 150
    assert client.list_tags_for_resource(resourceArn=metadata["Arn"])["tags"] == {"team": "a"}

    # What is in the repository is its users' from then on.
    other = {**code, "S3": {**where, "Key": "none.zip"}}
    changed = with_repository(RepositoryName=f"{name}-2", RepositoryDescription="new", Code=other)
    assert stacks.update(stack_id, changed)["StackStatus"] == "UPDATE_COMPLETE"
    assert stacks.outputs(stack_id)["Id"] == metadata["repositoryId"]
    renamed = client.get_repository(repositoryName=f"{name}-2")["repositoryMetadata"]
    assert renamed["repositoryDescription"] == "new"
    assert client.list_tags_for_resource(resourceArn=renamed["Arn"])["tags"] == {}
    assert stacks.delete(stack_id)["StackStatus"] == "DELETE_COMPLETE"
    assert error_of(client.get_repository, repositoryName=f"{name}-2")[0] == "RepositoryDoesNotExistException"


@pytest.mark.usefixtures("localcloud_only")
def test_the_rights_that_a_stacks_role_needs_for_a_repository(account: Account, stacks: Stacks) -> None:
    name, key = account.name("seeded"), f"tests/{account.name('seed')}.zip"
    account.s3.put_object(Bucket=account.bucket, Key=key, Body=seed(README=("first", 0o644)))
    own = ("CreateRepository", "CreateCommit", "GetRepository", "DeleteRepository", "TagResource")
    repository = f"arn:aws:codecommit:{account.region}:{account.number}:{name}"
    may: list[dict[str, Any]] = [
        {"Effect": "Allow", "Action": [f"codecommit:{action}" for action in own], "Resource": repository},
        # It is found by its id, among all.
        {"Effect": "Allow", "Action": "codecommit:ListRepositories", "Resource": "*"},
    ]
    role = account.name("maker")
    arn = make_role(account.client("iam"), role, may)
    code = {"S3": {"Bucket": account.bucket, "Key": key}}
    found = template(Repo=("AWS::CodeCommit::Repository", {"RepositoryName": name, "Code": code}))
    failed = stacks.create(found, RoleARN=arn, Tags=[{"Key": "team", "Value": "a"}])
    assert stacks.settled(failed)["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "s3:GetObject" in stacks.reasons(failed)["Repo"]
    read = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{account.bucket}/{key}"}
    account.client("iam").put_role_policy(RoleName=role, PolicyName="read", PolicyDocument=policy([read]))
    made = stacks.made(found, RoleARN=arn, Tags=[{"Key": "team", "Value": "a"}])
    assert stacks.delete(made)["StackStatus"] == "DELETE_COMPLETE"


def test_an_archive_that_is_none_makes_no_repository(account: Account, stacks: Stacks) -> None:
    name, key = account.name("seeded"), f"tests/{account.name('seed')}.zip"
    account.s3.put_object(Bucket=account.bucket, Key=key, Body=b"no archive")
    code = {"S3": {"Bucket": account.bucket, "Key": key}}
    stack_id = stacks.create(
        template(Repo=("AWS::CodeCommit::Repository", {"RepositoryName": name, "Code": code})), OnFailure="DELETE"
    )
    until(lambda: ("Repo", "CREATE_FAILED") in stacks.events(stack_id), "the creation fails")
    assert "not a ZIP file" in stacks.reasons(stack_id)["Repo"]
    assert error_of(account.client("codecommit").get_repository, repositoryName=name)[0] == (
        "RepositoryDoesNotExistException"
    )


# --- connections ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("localcloud_only")
@pytest.mark.parametrize("service", ["codeconnections", "codestar-connections"])
def test_a_connection_is_available_at_once(account: Account, service: str) -> None:
    client, other = account.client(service), account.client("codeconnections")
    made = client.create_connection(
        ConnectionName="github", ProviderType="GitHub", Tags=[{"Key": "team", "Value": "a"}]
    )
    arn = made["ConnectionArn"]
    assert arn.startswith(f"arn:aws:{service}:{account.region}:{account.number}:connection/")
    connection = other.get_connection(ConnectionArn=arn)["Connection"]
    assert (connection["ConnectionStatus"], connection["ProviderType"]) == ("AVAILABLE", "GitHub")
    listed = client.list_connections(ProviderTypeFilter="GitHub", MaxResults=100)["Connections"]
    assert arn in [one["ConnectionArn"] for one in listed]
    client.tag_resource(ResourceArn=arn, Tags=[{"Key": "stage", "Value": "b"}])
    client.untag_resource(ResourceArn=arn, TagKeys=["team"])
    assert client.list_tags_for_resource(ResourceArn=arn)["Tags"] == [{"Key": "stage", "Value": "b"}]
    client.delete_connection(ConnectionArn=arn)
    assert error_of(client.get_connection, ConnectionArn=arn)[0] == "ResourceNotFoundException"
    assert error_of(client.create_connection, ConnectionName="neither")[0] == "ValidationException"


@pytest.mark.usefixtures("localcloud_only")
def test_a_connections_repository_is_made_by_the_first_push(cloud: Cloud, account: Account, tmp_path: Path) -> None:
    url = f"{cloud.endpoint_url}/_aws/connections/someone/{account.name('app')}.git"
    assert "does not exist" in git(tmp_path, "clone", url, fails=True)
    ours = WorkingCopy.new(url, tmp_path / "ours")
    first = ours.commit(a="1")
    ours.push()
    theirs = WorkingCopy.cloned(url.removesuffix(".git"), tmp_path / "theirs")
    assert theirs.run("rev-parse", "HEAD") == first
    listed = account.client("codecommit").list_repositories()["repositories"]
    assert not [one for one in listed if "/" in one["repositoryName"]]
