"""A bucket that holds more than one page is emptied whole."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest
from botocore.exceptions import ClientError

from pipelines.names import Names
from pipelines.projects.storage import KINDS_OF_STORAGE
from pipelines.projects.things import Account
from tests.conftest import Localcloud, point_at

MANY = 1_030  # a page, and some


@pytest.mark.slow
def test_a_bucket_of_several_pages_of_versions_is_removed(
    localcloud: Localcloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    point_at(localcloud, monkeypatch)
    names = Names("full-bucket", "123456789012", "eu-west-1")
    session = boto3.Session(region_name=names.region)
    s3 = session.client("s3")
    s3.create_bucket(Bucket=names.bucket, CreateBucketConfiguration={"LocationConstraint": names.region})
    s3.put_bucket_versioning(Bucket=names.bucket, VersioningConfiguration={"Status": "Enabled"})
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: s3.put_object(Bucket=names.bucket, Key=f"key-{number % 700}"), range(MANY)))
    account = Account(session, names, 0.01)
    [(kind, thing)] = [
        (kind, thing) for kind in KINDS_OF_STORAGE for thing in kind.find(account) if thing.name == names.bucket
    ]
    kind.remove(account, thing)
    with pytest.raises(ClientError, match="404"):
        s3.head_bucket(Bucket=names.bucket)
