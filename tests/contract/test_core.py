"""What every service of the endpoint has in common, by plain boto3 and by plain HTTP."""

from __future__ import annotations

import http.client
import io
import json
import threading
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError


def test_objects_are_kept_with_their_metadata_and_read_in_parts(cloud: Any) -> None:
    s3 = cloud.client("s3")
    key = "contract/a b+c/ü%2F.txt"
    s3.put_object(Bucket=cloud.bucket, Key=key, Body=b"hello", Metadata={"my_key": "value"}, ContentType="text/plain")
    read = s3.get_object(Bucket=cloud.bucket, Key=key)
    assert (read["Body"].read(), read["Metadata"], read["ContentType"]) == (b"hello", {"my_key": "value"}, "text/plain")
    assert s3.get_object(Bucket=cloud.bucket, Key=key, Range="bytes=1-3")["Body"].read() == b"ell"
    listed = s3.list_objects_v2(Bucket=cloud.bucket, Prefix="contract/a b+c/")
    assert [entry["Key"] for entry in listed["Contents"]] == [key]


class _Unseekable(io.RawIOBase):
    """A body that can be read once, which makes boto3 send its checksum behind it."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def read(self, size: int = -1) -> bytes:
        return self._content.read(size)


def test_large_files_go_up_in_parts_and_come_down_whole(cloud: Any, tmp_path: Path) -> None:
    s3 = cloud.client("s3")
    content = bytes(range(256)) * (20 * 1024 * 4)
    (tmp_path / "large").write_bytes(content)
    s3.upload_file(str(tmp_path / "large"), cloud.bucket, "contract/large")
    assert s3.head_object(Bucket=cloud.bucket, Key="contract/large")["ContentLength"] == len(content)
    target = io.BytesIO()
    s3.download_fileobj(cloud.bucket, "contract/large", target)
    assert target.getvalue() == content
    s3.upload_fileobj(_Unseekable(b"once only"), cloud.bucket, "contract/stream")
    assert s3.get_object(Bucket=cloud.bucket, Key="contract/stream")["Body"].read() == b"once only"


def test_objects_are_copied_tagged_and_deleted_together(cloud: Any) -> None:
    s3 = cloud.client("s3")
    s3.put_object(Bucket=cloud.bucket, Key="contract/one", Body=b"1")
    s3.copy_object(Bucket=cloud.bucket, Key="contract/two", CopySource={"Bucket": cloud.bucket, "Key": "contract/one"})
    tags = [{"Key": "stage", "Value": "staging"}]
    s3.put_object_tagging(Bucket=cloud.bucket, Key="contract/two", Tagging={"TagSet": tags})
    assert s3.get_object_tagging(Bucket=cloud.bucket, Key="contract/two")["TagSet"] == tags
    objects = [{"Key": "contract/one"}, {"Key": "contract/two"}]
    deleted = s3.delete_objects(Bucket=cloud.bucket, Delete={"Objects": objects})["Deleted"]
    assert sorted(entry["Key"] for entry in deleted) == ["contract/one", "contract/two"]
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.get_object(Bucket=cloud.bucket, Key="contract/one")


def test_a_presigned_address_works_without_further_credentials(cloud: Any) -> None:
    s3 = cloud.client("s3")
    s3.put_object(Bucket=cloud.bucket, Key="contract/presigned", Body=b"by address")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": cloud.bucket, "Key": "contract/presigned"})
    with urllib.request.urlopen(url) as response:
        assert response.read() == b"by address"


@pytest.mark.parametrize("encoding", ["aws-chunked", "aws-chunked,gzip"])
def test_a_body_in_chunks_is_stored_without_them(cloud: Any, localcloud_only: None, encoding: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(cloud.endpoint_url).netloc)
    scope = f"test/20260101/{cloud.region}/s3/aws4_request"
    headers = {
        "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0",
        "Content-Encoding": encoding,
        "X-Amz-Content-Sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "X-Amz-Trailer": "x-amz-checksum-crc32",
        "X-Amz-Sdk-Checksum-Algorithm": "CRC32",
        "X-Amz-Decoded-Content-Length": "5",
    }
    body = b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n"
    connection.request("PUT", f"/{cloud.bucket}/contract/chunked", body, headers)
    assert connection.getresponse().status == 200
    connection.close()
    read = cloud.client("s3").get_object(Bucket=cloud.bucket, Key="contract/chunked", ChecksumMode="ENABLED")
    assert (read["Body"].read(), read["ChecksumCRC32"]) == (b"hello", "NhCmhg==")
    assert read.get("ContentEncoding") == (None if encoding == "aws-chunked" else "gzip")


_NOT_IMPLEMENTED = [
    ("sagemaker", "list_apps", {}, "ListApps of sagemaker"),
    ("lambda", "list_layers", {}, "ListLayers of lambda"),
    ("apigateway", "get_domain_names", {}, "GetDomainNames of apigateway"),
    ("cloudformation", "list_types", {}, "ListTypes of cloudformation"),
    ("cloudwatch", "list_metric_streams", {}, "ListMetricStreams of cloudwatch"),
    ("codepipeline", "list_webhooks", {}, "ListWebhooks of codepipeline"),
    ("ec2", "describe_instances", {}, "DescribeInstances of ec2"),
]


@pytest.mark.parametrize(("service", "operation", "arguments", "named"), _NOT_IMPLEMENTED)
def test_an_operation_that_is_not_implemented_says_so_in_its_services_protocol(
    cloud: Any, localcloud_only: None, service: str, operation: str, arguments: dict[str, Any], named: str
) -> None:
    with pytest.raises(ClientError) as raised:
        getattr(cloud.client(service), operation)(**arguments)
    assert raised.value.response["Error"]["Code"] == "UnknownOperationException"
    assert raised.value.response["Error"]["Message"] == f"localcloud does not implement the operation {named}"
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


@pytest.mark.parametrize(
    ("service", "operation", "named"),
    [
        ("rds", "describe_db_instances", "'rds'"),
        ("stepfunctions", "list_state_machines", "'states'"),
        ("efs", "describe_file_systems", "'elasticfilesystem'"),
    ],
)
def test_a_service_that_there_is_not_is_named(
    cloud: Any, localcloud_only: None, service: str, operation: str, named: str
) -> None:
    with pytest.raises(ClientError, match=f"localcloud does not have the service {named}; it has .*sagemaker"):
        getattr(cloud.client(service), operation)()


@pytest.mark.parametrize(
    ("service", "operation"),
    [
        ("s3", "list_buckets"),
        ("sts", "get_caller_identity"),
        ("sagemaker", "list_models"),
        ("cloudwatch", "list_metrics"),
        ("lambda", "list_functions"),
    ],
)
def test_credentials_that_look_real_are_refused_by_every_protocol(
    cloud: Any, localcloud_only: None, client_of: Callable[..., Any], service: str, operation: str
) -> None:
    client = client_of(cloud, service, access_key="AKIAQWERTYUIOPASDFGH")
    with pytest.raises(ClientError) as raised:
        getattr(client, operation)()
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert "the access key AKIA…DFGH looks like one of a real AWS account" in str(raised.value)
    assert "AWS_ACCESS_KEY_ID=test" in str(raised.value)


def test_credentials_of_an_assumed_role_work(cloud: Any, localcloud_only: None, client_of: Callable[..., Any]) -> None:
    assumed = cloud.client("sts").assume_role(RoleArn=cloud.role_arn, RoleSessionName="contract")["Credentials"]
    identity = client_of(cloud, "sts", access_key=assumed["AccessKeyId"]).get_caller_identity()
    assert identity["Arn"].endswith(":assumed-role/contract-role/contract")
    client_of(cloud, "s3", access_key=assumed["AccessKeyId"]).list_objects_v2(Bucket=cloud.bucket)


@pytest.mark.parametrize("host", ["example.com", "127.0.0.1:1", "localhost.example.com"])
def test_another_hosts_name_is_refused(cloud: Any, localcloud_only: None, host: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(cloud.endpoint_url).netloc)
    connection.request("GET", "/_localcloud/status", headers={"Host": host})
    response = connection.getresponse()
    assert response.status == 403
    assert repr(host) in response.read().decode()
    connection.close()


def test_sixteen_clients_at_once_get_no_server_error(
    cloud: Any, localcloud_only: None, client_of: Callable[..., Any]
) -> None:
    failures: list[str] = []
    start = threading.Barrier(16)

    # Of its own for each: they share no connection. Made here, because a session makes one client at a time.
    clients = [[client_of(cloud, service) for service in ("s3", "ssm", "sagemaker")] for _ in range(16)]

    def work(number: int) -> None:
        s3, ssm, sagemaker = clients[number]
        start.wait()
        try:
            for turn in range(5):
                key, body = f"contract/many/{number}/{turn}", f"{number} {turn}".encode()
                s3.put_object(Bucket=cloud.bucket, Key=key, Body=body)
                if s3.get_object(Bucket=cloud.bucket, Key=key)["Body"].read() != body:
                    failures.append(f"{key} reads as something else")
                ssm.put_parameter(Name=f"/contract/many/{number}", Value=str(turn), Type="String", Overwrite=True)
                sagemaker.create_model_package_group(ModelPackageGroupName=f"many-{number}-{turn}")
        except Exception as error:
            failures.append(f"{number}: {error}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    listed = cloud.client("s3").list_objects_v2(Bucket=cloud.bucket, Prefix="contract/many/")
    assert listed["KeyCount"] == 80


_MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "size": 2, "digest": "sha256:" + "0" * 64},
        "layers": [],
    }
)


def test_a_kept_state_survives_being_killed(
    start_localcloud: Callable[[Path], Any], client_of: Callable[..., Any], tmp_path: Path
) -> None:
    before = start_localcloud(tmp_path / "state")
    s3, ssm, ecr = (client_of(before, service) for service in ("s3", "ssm", "ecr"))
    s3.create_bucket(Bucket="kept", CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})
    s3.put_object(Bucket="kept", Key="small", Body=b"small")
    s3.put_object(Bucket="kept", Key="large", Body=b"x" * 1_000_000)
    s3.upload_fileobj(io.BytesIO(b"y" * 9_000_000), "kept", "parts")
    ssm.put_parameter(Name="/kept", Value="7", Type="String")
    ecr.create_repository(repositoryName="images")
    digest = ecr.put_image(repositoryName="images", imageTag="a", imageManifest=_MANIFEST)["image"]["imageId"]
    client_of(before, "sagemaker").create_model_package_group(ModelPackageGroupName="kept")
    listed = s3.list_objects_v2(Bucket="kept")["Contents"]
    before.kill()

    after = start_localcloud(tmp_path / "state")
    s3, ssm, ecr = (client_of(after, service) for service in ("s3", "ssm", "ecr"))
    assert s3.list_objects_v2(Bucket="kept")["Contents"] == listed
    assert s3.get_object(Bucket="kept", Key="large")["Body"].read() == b"x" * 1_000_000
    assert ssm.get_parameter(Name="/kept")["Parameter"]["Value"] == "7"
    (image,) = ecr.batch_get_image(repositoryName="images", imageIds=[{"imageTag": "a"}])["images"]
    assert (image["imageId"], image["imageManifest"]) == (digest, _MANIFEST)
    group = client_of(after, "sagemaker").describe_model_package_group(ModelPackageGroupName="kept")
    assert group["ModelPackageGroupStatus"] == "Completed"


def test_a_bucket_that_wants_tls_is_not_closed_by_it(cloud: Any) -> None:
    s3, bucket = cloud.client("s3"), f"contract-policy-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": cloud.region})
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    s3.put_object(Bucket=bucket, Key="k", Body=b"v")
    assert json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"]) == policy
    s3.delete_object(Bucket=bucket, Key="k")
    s3.delete_bucket_policy(Bucket=bucket)
    s3.delete_bucket(Bucket=bucket)
