"""The program that makes one file of each hour's small ones in a feature group's offline store.

    python3 -m seed_code.ingestion.compact --at 2026-11-22T03:40:00Z [--id NAME]

The store writes what it gets within minutes: a file for every few records of a stream. Queries open each of them, so
days that are over, by their event time and for a day at least before `--at`, get one file an hour. Every version of
every record stays, with its times: queries give what they gave before. compaction.py says why nothing is lost.

The files are those of a group in the Glue table format, which is a table of all Parquet files below its location in the
folders of their hours, so that one file may stand for several (a group in the Iceberg format is refused: its table has
a list of its files, and Athena's OPTIMIZE). AWS offers no compaction for the Glue format, and says nothing against one.
A query that has listed a file which is deleted while it runs fails, and gives the right answer when it is asked again;
between a replacement and the deletion of its inputs it may see a version twice, which changes no newest version.

The result is printed, and put to `RESULT_URI/{id}.json`:

    schema_version, id, at, feature_group
    folders        hours that were looked at
    compacted      of these; `rows` in their new files
    finished       where an earlier run had been cut off
    files_before, files_after
    left_alone     hours whose files cannot become one: {folder, reason}; the program ends with status 1 then

Environment: FEATURE_GROUP, RESULT_URI.

Source: "Amazon SageMaker Feature Store offline store data format" in the SageMaker AI Developer Guide.
"""

import itertools
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import BotoCoreError
from botocore.exceptions import ClientError as AwsError

from seed_code.common import clients, objects
from seed_code.common.arguments import ArgumentParser
from seed_code.common.errors import ClientError
from seed_code.common.objects import Objects
from seed_code.ingestion.compaction import Bucket, Done, File, Unsuitable, compact
from seed_code.ingestion.programs import ID, moment, read_environment, run

SCHEMA_VERSION = 1
REST = timedelta(days=1)
"""How long a day has been over before its files become one."""

_DAY = timedelta(days=1)
_FOLDER = re.compile(r"year=(\d{4})/month=(\d\d)/day=(\d\d)/hour=\d\d")


@dataclass
class Findings:
    """The figures of the result, see above."""

    folders: int = 0
    compacted: int = 0
    rows: int = 0
    finished: int = 0
    files_before: int = 0
    files_after: int = 0
    left_alone: list[dict[str, str]] = field(default_factory=list)

    def count(self, done: Done) -> None:
        """Add what was done in a folder."""
        self.compacted += done.rows > 0
        self.rows += done.rows
        self.finished += done.finished
        self.files_before += done.before
        self.files_after += done.after


@dataclass(frozen=True)
class Location:
    """Where a feature group's offline store is: all its files below a prefix. kms_key_id: that it is encrypted with."""

    bucket: str
    prefix: str
    kms_key_id: str | None = None


def location(sagemaker: Any, group: str) -> Location:
    """A feature group's offline store.

    Raises:
        ClientError: when there is no such group, it has no offline store, or one in the Iceberg format.
    """
    try:
        found = sagemaker.describe_feature_group(FeatureGroupName=group)
    except (AwsError, BotoCoreError) as error:
        raise ClientError(
            f"the feature group `{group}` cannot be looked at: {error}. The stream's stack makes it, on this machine "
            "`mlops up` does"
        ) from error
    store = found.get("OfflineStoreConfig", {})
    uri = store.get("S3StorageConfig", {}).get("ResolvedOutputS3Uri")
    if not uri:
        raise ClientError(f"the feature group `{group}` has no offline store; there is nothing to compact")
    if store.get("TableFormat", "Glue") not in ("Glue", "Default"):
        raise ClientError(
            f"the offline store of `{group}` is in the format {store['TableFormat']}, expected Glue; compact it by "
            "Athena's `OPTIMIZE … REWRITE DATA`"
        )
    return Location(*objects.split(uri), store["S3StorageConfig"].get("KmsKeyId"))


def compact_all(client: Any, store: Location, at: datetime) -> Findings:
    """Compact the hours that are old enough; what could not be is told in `left_alone`.

    Args:
        client: botocore's for S3.
        at: the moment of the compaction (aware).

    Raises:
        ClientError: when S3 does not do as asked. What was done so far stays, and nothing is lost.
    """
    findings = Findings()
    bucket = Bucket(client, store.bucket, store.kms_key_id)
    for folder, files in _folders(client, store, before=at - REST):
        findings.folders += 1
        try:
            findings.count(compact(bucket, files))
        except Unsuitable as error:
            findings.count(Done(len(files), len(files)))
            findings.left_alone.append({"folder": folder, "reason": str(error)})
    return findings


def _folders(client: Any, store: Location, before: datetime) -> Iterator[tuple[str, list[File]]]:
    """The hours' folders of days that ended by a moment, and their Parquet files, oldest first."""
    for folder, files in itertools.groupby(
        _files(client, store), lambda file: file.key.removeprefix(f"{store.prefix}/").rpartition("/")[0]
    ):
        found = _FOLDER.fullmatch(folder)
        if found is None:
            continue
        year, month, day = map(int, found.groups())
        if datetime(year, month, day, tzinfo=UTC) + _DAY > before:
            return  # folders come in the order of time
        parquet = [file for file in files if file.name.endswith(".parquet")]
        if parquet:
            yield folder, parquet


def _files(client: Any, store: Location) -> Iterator[File]:
    """All objects of a store, in the order of their names."""
    wanted = {"Bucket": store.bucket, "Prefix": f"{store.prefix}/"}
    while True:
        try:
            page = client.list_objects_v2(**wanted)
        except (AwsError, BotoCoreError) as error:
            raise ClientError(
                f"what lies below s3://{store.bucket}/{store.prefix} could not be listed: {error}. Nothing is lost; "
                "run it again when that is mended"
            ) from error
        for found in page.get("Contents", []):
            yield File(found["Key"], found["ETag"], found["Size"])
        if not page.get("IsTruncated"):
            return
        wanted["ContinuationToken"] = page["NextContinuationToken"]


def requested(arguments: Sequence[str] | None = None) -> tuple[datetime, str]:
    """The moment and the result's name that the command line asks for.

    Raises:
        ClientError: for a mistake in it.
    """
    parser = ArgumentParser(prog="compact", description="Makes one file of each hour's in the offline store.")
    parser.add_argument("--at", type=moment, required=True, help="the moment of the compaction, ISO 8601")
    parser.add_argument("--id", help="names the result")
    given = parser.parse_args(arguments)
    name = given.id or f"compact-{given.at:%Y-%m-%dT%H:%M:%SZ}"
    if not ID.fullmatch(name):
        parser.error(f"--id is `{name[:140]}`; expected up to 128 letters, digits and any of _ . : -")
    return given.at, name


@run
def main() -> None:
    """Do what the command line asks for."""
    at, name = requested()
    group, result_uri = read_environment("FEATURE_GROUP", "RESULT_URI")
    s3 = clients.client("s3", read_seconds=60)
    findings = compact_all(s3, location(clients.client("sagemaker"), group), at)
    result = {
        "schema_version": SCHEMA_VERSION,
        "id": name,
        "at": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "feature_group": group,
        **asdict(findings),
    }
    Objects(s3).put(f"{result_uri.rstrip('/')}/{name}.json", json.dumps(result, indent=2).encode())
    json.dump(result, sys.stdout, indent=2)
    sys.stdout.write("\n")
    if findings.left_alone:
        first = findings.left_alone[0]
        raise ClientError(
            f"{len(findings.left_alone)} hours were left as they are, first {first['folder']}: {first['reason']}"
        )


if __name__ == "__main__":
    main()
