"""One folder of an offline store: its small files made one, in an order that loses nothing and repeats nothing.

    1.  The replacement is written: a Parquet file with all rows of its inputs, their values and types as they were. Its
        footer carries the list of its inputs and a digest of its rows, so that list and rows come to be at one moment.
    2.  It is read back from S3, and its rows are held against the digest.
    3.  The inputs are deleted.

What is cut off before 1 has not happened. Whoever comes after that finds the replacement, by its name, checks it as
in 2 and deletes what is left of its inputs; it is never an input beside them. Of two runs at the same time one may read
more files than the other: a replacement whose inputs are all among another's is deleted as that other's input would be.

The name is that of a file as the store writes it: the newest input's time, and a digest of the inputs.
"""

import hashlib
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from botocore.exceptions import BotoCoreError
from botocore.exceptions import ClientError as AwsError

from seed_code.common.errors import ClientError

MOST_BYTES = 256 << 20
"""Of a folder's files together: what is larger does not consist of small files, and does not fit into a task."""

_REPLACEMENT = re.compile(r".*_compacted-[0-9a-f]{32}\.parquet")
_TIME = re.compile(r"\d{8}T\d{6}Z")
_INPUTS, _ROWS = b"mlops.compaction.inputs", b"mlops.compaction.rows"
_DELETED_AT_ONCE = 1000


class Unsuitable(Exception):
    """The folder is left as it is; the message says why."""


@dataclass(frozen=True, order=True)
class File:
    """An object as the listing has it."""

    key: str
    etag: str
    size: int

    @property
    def name(self) -> str:
        """Its name in its folder."""
        return self.key.rpartition("/")[2]

    @property
    def is_replacement(self) -> bool:
        """Whether it was made of others."""
        return _REPLACEMENT.fullmatch(self.name) is not None


@dataclass(frozen=True)
class Done:
    """What was done in a folder.

    Attributes:
        before, after: files.
        rows: of the replacement; 0 when none was made.
        finished: whether an earlier run had been cut off here.
    """

    before: int
    after: int
    rows: int = 0
    finished: bool = False


class Bucket:
    """S3, with errors that say what could not be done."""

    def __init__(self, client: Any, name: str, kms_key_id: str | None = None) -> None:
        """client: botocore's. kms_key_id: what is written is encrypted with; as the bucket does by itself when None."""
        self._client, self.name = client, name
        self._encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key_id} if kms_key_id else {}

    def get(self, key: str) -> bytes:
        """An object. Raises ClientError, or Unsuitable when it is not there any more."""
        try:
            content: bytes = self._client.get_object(Bucket=self.name, Key=key)["Body"].read()
        except AwsError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                raise Unsuitable(f"{key} was deleted meanwhile: something else is at work here") from error
            raise self._failed("read", key, error) from error
        except BotoCoreError as error:
            raise self._failed("read", key, error) from error
        return content

    def put(self, key: str, content: bytes) -> None:
        """Write an object. Raises ClientError."""
        try:
            self._client.put_object(
                Bucket=self.name, Key=key, Body=content, ContentType="application/octet-stream", **self._encryption
            )
        except (AwsError, BotoCoreError) as error:
            raise self._failed("written", key, error) from error

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; those that are not there are no mistake. Raises ClientError."""
        for start in range(0, len(keys), _DELETED_AT_ONCE):
            objects = [{"Key": key} for key in keys[start : start + _DELETED_AT_ONCE]]
            try:
                answer = self._client.delete_objects(Bucket=self.name, Delete={"Objects": objects, "Quiet": True})
            except (AwsError, BotoCoreError) as error:
                raise self._failed("deleted", objects[0]["Key"], error) from error
            for refused in answer.get("Errors", []):
                raise self._failed("deleted", refused["Key"], f"{refused['Code']}: {refused.get('Message', '')}")

    def _failed(self, what: str, key: str, error: object) -> ClientError:
        return ClientError(
            f"s3://{self.name}/{key} could not be {what}: {error}. Nothing is lost; run it again when that is mended"
        )


def compact(bucket: Bucket, files: Sequence[File]) -> Done:
    """Make one file of a folder's, and finish what an earlier run left.

    files: all Parquet files of the folder.

    Raises:
        Unsuitable: when the files cannot become one.
        ClientError: when S3 does not do as asked.
    """
    if len(files) < 2:
        return Done(len(files), len(files))
    if sum(file.size for file in files) > MOST_BYTES:
        raise Unsuitable(f"its files have more than {MOST_BYTES >> 20} MB together")
    contents = {file: bucket.get(file.key) for file in sorted(files)}
    broken = {file for file in contents if file.is_replacement and not _is_whole(contents[file])}
    superseded = _superseded({file: content for file, content in contents.items() if file not in broken})
    bucket.delete([file.key for file in sorted(superseded)])
    left = {file: content for file, content in contents.items() if file not in superseded}
    inputs = {file: content for file, content in left.items() if file not in broken}
    for file in broken:
        # What can be made again is of no use; S3 keeps whole what it takes, so that no other is to be expected.
        names = _inputs(contents[file])
        if file.key != _key(inputs) and not (names and names <= {(one.name, one.etag) for one in inputs}):
            raise Unsuitable(f"{file.key} is damaged, and what it was made of is gone")
    if len(inputs) < 2 and not broken:
        return Done(len(files), len(left), finished=bool(superseded))
    table, int96 = _combined(inputs)
    key = _write(bucket, table, sorted(inputs), int96=int96)
    bucket.delete([file.key for file in [*sorted(broken), *sorted(inputs)] if file.key != key])
    return Done(len(files), 1, table.num_rows, finished=bool(superseded))


def _superseded(contents: Mapping[File, bytes]) -> set[File]:
    """The files of a folder whose rows another has, which was made of them."""
    inputs = {file: _inputs(content) for file, content in contents.items() if file.is_replacement}
    superseded: set[File] = set()
    for names in inputs.values():
        superseded |= {file for file in contents if (file.name, file.etag) in names}
        # Of two that were made of the same files one has more of them.
        superseded |= {other for other, theirs in inputs.items() if theirs < names}
    return superseded


def _combined(contents: Mapping[File, bytes]) -> tuple[pa.Table, bool]:
    """The rows of all files, and whether their timestamps are of Parquet's old type (INT96)."""
    tables = []
    int96 = False
    for file, content in contents.items():
        try:
            parquet = pq.ParquetFile(io.BytesIO(content))
            tables.append(parquet.read().replace_schema_metadata(None))
        except (pa.ArrowException, OSError) as error:
            raise Unsuitable(f"{file.key} is no Parquet file: {str(error).splitlines()[0]}") from error
        columns = [parquet.schema.column(at) for at in range(len(parquet.schema))]
        int96 |= any(column.physical_type == "INT96" for column in columns)
        if tables[-1].schema != tables[0].schema:
            raise Unsuitable(f"{file.key} has other columns than the files before it")
    return pa.concat_tables(tables), int96


def _write(bucket: Bucket, table: pa.Table, inputs: Sequence[File], *, int96: bool) -> str:
    """Write the replacement of some files, and read it back; gives its key."""
    listed, key = _listed(inputs), _key(inputs)
    output = io.BytesIO()
    pq.write_table(
        table.replace_schema_metadata({_INPUTS: listed, _ROWS: _digest(table)}),
        output,
        compression="snappy",
        use_deprecated_int96_timestamps=int96,
    )
    bucket.put(key, output.getvalue())
    back = bucket.get(key)
    if not _is_whole(back) or _inputs(back) != {(file.name, file.etag) for file in inputs}:
        raise ClientError(
            f"s3://{bucket.name}/{key} came back other than it was written; no file was deleted. Run it again: it is "
            "written anew"
        )
    return key


def _key(inputs: Iterable[File]) -> str:
    """The key of the replacement of some files."""
    ordered = sorted(inputs)
    digest = hashlib.sha256(_listed(ordered).encode()).hexdigest()[:32]
    times = [found[0] for file in ordered if (found := _TIME.match(file.name))]
    folder = ordered[0].key.rpartition("/")[0] if ordered else ""
    return f"{folder}/{max(times, default='00000000T000000Z')}_compacted-{digest}.parquet"


def _listed(inputs: Iterable[File]) -> str:
    return json.dumps([[file.name, file.etag] for file in inputs])


def _metadata(content: bytes) -> Mapping[bytes, bytes]:
    """What a file's footer says; nothing when it has none that can be read."""
    try:
        return pq.ParquetFile(io.BytesIO(content)).schema_arrow.metadata or {}
    except (pa.ArrowException, OSError):
        return {}


def _inputs(content: bytes) -> set[tuple[str, str]]:
    """Names and ETags of the files that a replacement was made of."""
    return {(name, etag) for name, etag in json.loads(_metadata(content).get(_INPUTS, b"[]"))}


def _is_whole(content: bytes) -> bool:
    """Whether a replacement has the rows that it was made of."""
    said = _metadata(content).get(_ROWS, b"").decode()
    try:
        return bool(said) and said == _digest(pq.ParquetFile(io.BytesIO(content)).read())
    except (pa.ArrowException, OSError):
        return False


def _digest(table: pa.Table) -> str:
    """A digest of a table's columns, their types and values, in order."""
    digest = hashlib.sha256()
    for field, column in zip(table.schema, table.columns, strict=True):
        digest.update(f"{field.name} {field.type}\n".encode())
        digest.update("\n".join(_texts(column)).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _texts(column: pa.ChunkedArray) -> Iterable[str]:
    # Of timestamps the numbers: those of nanoseconds have no type in Python.
    values = column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
    return map(repr, values.to_pylist())
