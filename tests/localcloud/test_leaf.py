"""The leaf: moto without HTTP, behind a journal that gives the same state again."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud import leaf as leaf_module
from localcloud.journal import LARGE_BODY_BYTES, Journal
from localcloud.leaf import Leaf, LeafUnavailable, changes_something
from localcloud.protocols.http import HttpRequest
from localcloud.wsgi import call

ACCOUNT, REGION = "123456789012", "eu-west-1"
_MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "size": 2, "digest": "sha256:" + "0" * 64},
        "layers": [],
    }
)


class TickingClock:
    """A clock that is a second later every time it is asked."""

    def __init__(self, start: datetime) -> None:
        self._moment = start

    def now(self) -> datetime:
        self._moment += timedelta(seconds=1)
        return self._moment


def _reset_moto() -> None:
    """What the death of the process does to moto."""
    applications = leaf_module._Applications(ACCOUNT, REGION)
    request = HttpRequest("POST", "/moto-api/reset", "", {"host": "127.0.0.1"})
    assert call(applications["moto_api"], request).status == 200


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Leaf]]:
    """Starts a leaf over the test's folder, with nothing in moto; what was started before is closed."""
    started: list[Leaf] = []

    def begin(*, at: datetime = datetime(2026, 1, 1, tzinfo=UTC), journal: bool = True) -> Leaf:
        while started:
            started.pop().close()
        _reset_moto()
        leaf = Leaf(tmp_path if journal else None, region=REGION, account_id=ACCOUNT, clock=TickingClock(at))
        leaf.start()
        assert leaf.wait_until_ready(60)
        started.append(leaf)
        return leaf

    yield begin
    while started:
        started.pop().close()


def _bucket(leaf: Leaf, name: str = "bucket") -> Any:
    s3 = leaf.client("s3")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return s3


def test_objects_that_are_put_together_are_as_those_of_the_client(start: Callable[..., Leaf]) -> None:
    leaf = start()
    s3 = _bucket(leaf)
    large = b"x" * (LARGE_BODY_BYTES + 1)
    etags = leaf.put_objects("bucket", [("a=1/ü +%2F", b"small"), ("large", large), ("a=1/ü +%2F", b"again")])
    assert etags == [
        s3.put_object(Bucket="bucket", Key=f"alone{number}", Body=body)["ETag"]
        for number, body in enumerate((b"small", large, b"again"))
    ]

    leaf = start(at=datetime(2027, 1, 1, tzinfo=UTC))
    s3 = leaf.client("s3")
    contents = {
        entry["Key"]: s3.get_object(Bucket="bucket", Key=entry["Key"])["Body"].read()
        for entry in s3.list_objects_v2(Bucket="bucket")["Contents"]
        if not entry["Key"].startswith("alone")
    }
    assert contents == {"a=1/ü +%2F": b"again", "large": large}
    assert leaf.status()["replay_failures"] == 0


def test_objects_for_a_bucket_that_there_is_not_are_refused_as_by_the_client(start: Callable[..., Leaf]) -> None:
    with pytest.raises(ClientError, match="NoSuchBucket"):
        start().put_objects("nowhere", [("a", b"x")])


def test_state_ids_and_times_are_the_same_after_a_replay_years_later(start: Callable[..., Leaf]) -> None:
    leaf = start()
    s3 = _bucket(leaf)
    s3.put_object(Bucket="bucket", Key="small/ü +%2F", Body=b"small", Metadata={"colour": "red"})
    s3.put_object(Bucket="bucket", Key="large", Body=b"x" * (LARGE_BODY_BYTES + 1))
    leaf.client("ssm").put_parameter(Name="/project/k", Value="6", Type="String")
    role = leaf.client("iam").create_role(RoleName="role", AssumeRolePolicyDocument="{}")["Role"]
    logs = leaf.client("logs")
    logs.create_log_group(logGroupName="group")
    logs.create_log_stream(logGroupName="group", logStreamName="stream")
    at = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)
    logs.put_log_events(
        logGroupName="group", logStreamName="stream", logEvents=[{"timestamp": at, "message": "a line"}]
    )
    leaf.client("ecr").create_repository(repositoryName="images")
    image = leaf.client("ecr").put_image(repositoryName="images", imageTag="latest", imageManifest=_MANIFEST)

    def look(leaf: Leaf) -> list[Any]:
        return [
            leaf.client("s3").list_objects_v2(Bucket="bucket")["Contents"],
            leaf.client("s3").head_object(Bucket="bucket", Key="small/ü +%2F")["Metadata"],
            leaf.client("ssm").get_parameter(Name="/project/k")["Parameter"],
            leaf.client("iam").get_role(RoleName="role")["Role"],
            [
                event["message"]
                for event in leaf.client("logs").get_log_events(
                    logGroupName="group", logStreamName="stream", startFromHead=True
                )["events"]
            ],
            leaf.client("ecr").batch_get_image(repositoryName="images", imageIds=[{"imageTag": "latest"}])["images"][0][
                "imageManifest"
            ],
        ]

    before = look(leaf)
    assert before[3] == role
    assert image["image"]["imageManifest"] == before[5]
    again = start(at=datetime(2029, 1, 1, tzinfo=UTC))
    assert look(again) == before
    assert again.status()["replay_failures"] == 0


def test_an_open_multipart_upload_goes_on_after_a_restart(start: Callable[..., Leaf]) -> None:
    s3 = _bucket(start())
    upload = s3.create_multipart_upload(Bucket="bucket", Key="big")["UploadId"]
    first = s3.upload_part(Bucket="bucket", Key="big", UploadId=upload, PartNumber=1, Body=b"a" * 5 * 1024 * 1024)
    s3 = start().client("s3")
    second = s3.upload_part(Bucket="bucket", Key="big", UploadId=upload, PartNumber=2, Body=b"b")
    parts = [{"PartNumber": 1, "ETag": first["ETag"]}, {"PartNumber": 2, "ETag": second["ETag"]}]
    s3.complete_multipart_upload(Bucket="bucket", Key="big", UploadId=upload, MultipartUpload={"Parts": parts})
    s3 = start().client("s3")
    body = s3.get_object(Bucket="bucket", Key="big")["Body"].read()
    assert body == b"a" * 5 * 1024 * 1024 + b"b"


def test_overwritten_and_deleted_objects_leave_no_body_behind(start: Callable[..., Leaf], tmp_path: Path) -> None:
    s3 = _bucket(start())
    for number in range(3):
        s3.put_object(Bucket="bucket", Key="kept", Body=bytes([number]) * (LARGE_BODY_BYTES + 1))
        s3.put_object(Bucket="bucket", Key="gone", Body=bytes([number]) * (LARGE_BODY_BYTES + 1))
    s3.delete_object(Bucket="bucket", Key="gone")
    assert len(list((tmp_path / "bodies").iterdir())) == 1
    s3 = start().client("s3")
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket="bucket")["Contents"]] == ["kept"]
    assert s3.get_object(Bucket="bucket", Key="kept")["Body"].read()[:1] == b"\x02"


def test_an_overwritten_object_that_was_copied_before_is_still_copied(start: Callable[..., Leaf]) -> None:
    s3 = _bucket(start())
    s3.put_object(Bucket="bucket", Key="source", Body=b"old")
    s3.copy_object(Bucket="bucket", Key="copy", CopySource={"Bucket": "bucket", "Key": "source"})
    s3.put_object(Bucket="bucket", Key="source", Body=b"new")
    s3.delete_object(Bucket="bucket", Key="source")
    s3 = start().client("s3")
    assert s3.get_object(Bucket="bucket", Key="copy")["Body"].read() == b"old"
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.get_object(Bucket="bucket", Key="source")


def test_a_versioned_bucket_keeps_its_versions_with_their_ids(start: Callable[..., Leaf]) -> None:
    s3 = _bucket(start())
    s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    ids = [s3.put_object(Bucket="bucket", Key="k", Body=body)["VersionId"] for body in (b"1", b"2")]
    s3.delete_object(Bucket="bucket", Key="k")
    s3 = start().client("s3")
    bodies = [s3.get_object(Bucket="bucket", Key="k", VersionId=version)["Body"].read() for version in ids]
    assert bodies == [b"1", b"2"]


def test_an_object_that_came_by_a_form_stays_deleted(start: Callable[..., Leaf]) -> None:
    leaf = start()
    s3 = _bucket(leaf)
    form = (
        '--x\r\nContent-Disposition: form-data; name="key"\r\n\r\nformed\r\n'
        '--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nbody\r\n--x--\r\n'
    )
    headers = {"host": "127.0.0.1", "content-type": "multipart/form-data; boundary=x"}
    assert leaf.handle("s3", HttpRequest("POST", "/bucket", "", headers, form.encode())).status < 300
    assert s3.get_object(Bucket="bucket", Key="formed")["Body"].read() == b"body"
    s3.delete_object(Bucket="bucket", Key="formed")
    assert start().client("s3").list_objects_v2(Bucket="bucket")["KeyCount"] == 0


def test_a_conditional_write_is_replayed_without_what_it_compared_with(start: Callable[..., Leaf]) -> None:
    s3 = _bucket(start())
    etag = s3.put_object(Bucket="bucket", Key="k", Body=b"1")["ETag"]
    s3.put_object(Bucket="bucket", Key="k", Body=b"2", IfMatch=etag)
    leaf = start()
    assert leaf.client("s3").get_object(Bucket="bucket", Key="k")["Body"].read() == b"2"
    assert leaf.status()["replay_failures"] == 0


def test_a_refused_call_is_not_journalled(start: Callable[..., Leaf]) -> None:
    ssm = start().client("ssm")
    ssm.put_parameter(Name="/a", Value="1", Type="String")
    with pytest.raises(ClientError, match="ParameterAlreadyExists"):
        ssm.put_parameter(Name="/a", Value="2", Type="String")
    assert start().status()["replayed_calls"] == 1


def test_without_a_folder_nothing_is_kept(start: Callable[..., Leaf], tmp_path: Path) -> None:
    _bucket(start(journal=False))
    assert list(tmp_path.iterdir()) == []
    assert start(journal=False).client("s3").list_buckets()["Buckets"] == []


def test_many_threads_write_at_once(start: Callable[..., Leaf]) -> None:
    s3 = _bucket(start())
    failures: list[Exception] = []

    def write(thread: int) -> None:
        try:
            for number in range(10):
                s3.put_object(Bucket="bucket", Key=f"{thread}/{number}", Body=b"x")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert start().client("s3").list_objects_v2(Bucket="bucket")["KeyCount"] == 80


def test_files_go_up_and_down(start: Callable[..., Leaf], tmp_path: Path) -> None:
    s3 = _bucket(start())
    content = bytes(range(256)) * 40_000
    (tmp_path / "file").write_bytes(content)
    s3.upload_file(str(tmp_path / "file"), "bucket", "file")
    target = io.BytesIO()
    s3.download_fileobj("bucket", "file", target)
    assert target.getvalue() == content


def test_access_keys_that_sts_made_up_are_known_after_a_restart(start: Callable[..., Leaf]) -> None:
    leaf = start()
    leaf.client("iam").create_role(RoleName="role", AssumeRolePolicyDocument="{}")
    assumed = leaf.client("sts").assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT}:role/role", RoleSessionName="session")
    key = assumed["Credentials"]["AccessKeyId"]
    assert leaf.issued(key)
    again = start()
    assert again.issued(key)
    assert not again.issued("ASIAQQQQQQQQQQQQQQQQ")


def test_only_leaf_services_have_a_client(start: Callable[..., Leaf]) -> None:
    with pytest.raises(ValueError, match="'lambda' is not a leaf service"):
        start(journal=False).client("lambda")


def test_a_closed_leaf_says_so(tmp_path: Path) -> None:
    leaf = Leaf(tmp_path, region=REGION, account_id=ACCOUNT, clock=TickingClock(datetime(2026, 1, 1, tzinfo=UTC)))
    leaf.close()
    with pytest.raises(LeafUnavailable, match="shutting down"):
        leaf.handle("s3", HttpRequest("GET", "/"))


@pytest.mark.parametrize(
    ("service", "method", "target", "changes"),
    [
        ("s3", "GET", "", False),
        ("s3", "HEAD", "", False),
        ("s3", "PUT", "", True),
        ("s3", "DELETE", "", True),
        ("ssm", "POST", "AmazonSSM.GetParameter", False),
        ("ssm", "POST", "AmazonSSM.PutParameter", True),
        ("ecr", "POST", "AmazonEC2ContainerRegistry_V20150921.BatchGetImage", False),
        ("ecr", "POST", "AmazonEC2ContainerRegistry_V20150921.PutImage", True),
        ("sqs", "POST", "AmazonSQS.ReceiveMessage", True),
        ("kms", "POST", "TrentService.Encrypt", False),
        ("kms", "POST", "TrentService.CreateKey", True),
        ("sts", "POST", "", False),
    ],
)
def test_what_is_journalled_is_what_changes_something(service: str, method: str, target: str, changes: bool) -> None:
    headers = {"x-amz-target": target} if target else {}
    assert changes_something(service, HttpRequest(method, "/", headers=headers)) is changes


def test_bodies_without_a_row_are_removed_when_the_journal_is_opened(tmp_path: Path) -> None:
    Journal(tmp_path).close()
    stray = tmp_path / "bodies" / "17"
    stray.write_bytes(b"written before the process was killed")
    Journal(tmp_path).close()
    assert not stray.exists()
