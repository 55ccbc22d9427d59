"""The offline store: Parquet files in the project's bucket, laid out as the service lays them out.

    s3://bucket/prefix/ACCOUNT/sagemaker/REGION/offline-store/GROUP-SECONDS/data/
        year=2024/month=01/day=31/hour=23/20240131T235901Z_7k2m….parquet

The folders are those of the event time. A file's columns are the group's features and the three that the service adds.
"""

from __future__ import annotations

import importlib
import random
import string
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING

from localcloud.featurestore.records import HOUR, Pending
from localcloud.featurestore.values import from_microseconds

if TYPE_CHECKING:
    import pyarrow

HIVE_TYPES = {"Integral": "bigint", "Fractional": "double", "String": "string"}
ADDED = {"write_time": "timestamp", "api_invocation_time": "timestamp", "is_deleted": "boolean"}
"""The columns that the service adds, with their types."""

_ALPHABET = string.ascii_letters + string.digits


def location(s3_uri: str, account_id: str, region: str, group: str, seconds: int) -> str:
    """Where a group's files go: its ResolvedOutputS3Uri. `seconds` is when the group was made."""
    return f"{s3_uri.rstrip('/')}/{account_id}/sagemaker/{region}/offline-store/{group}-{seconds}/data"


def table_name(group: str, seconds: int) -> str:
    """The name of a group's table in the catalog: letters, digits and underscores, in lower case."""
    return f"{group.replace('-', '_').lower()}_{seconds}"


def columns(types: Mapping[str, str]) -> dict[str, str]:
    """The table's columns and their Hive types, from the features and theirs."""
    return {**{name.lower(): HIVE_TYPES[type_name] for name, type_name in types.items()}, **ADDED}


def object_stem(written_at: datetime) -> str:
    """The beginning of the names of the files that are written together, one for an hour."""
    return f"{written_at.astimezone(UTC):%Y%m%dT%H%M%SZ}_{''.join(random.choices(_ALPHABET, k=16))}"


def object_name(stem: str, hour: int) -> str:
    """A new file's key below the location, for an hour since 1970."""
    return f"{from_microseconds(hour * HOUR):year=%Y/month=%m/day=%d/hour=%H}/{stem}.parquet"


def prepare() -> None:
    """Import what writes the files, which takes a third of a second and more on a cold disk.

    Done when a group is made, so that neither readiness nor the first records wait for it.
    """
    importlib.import_module("pyarrow.parquet")


def parquet(batches: Sequence[Sequence[Pending]], types: Mapping[str, str], written_at: int) -> list[bytes]:
    """A file of each batch of versions; `written_at` in microseconds since 1970. A feature without a value is null.

    Made as one table and cut: to make the columns of a table takes several times as long as to write its file.
    """
    # Here and not above: see `prepare`.
    import pyarrow
    from pyarrow.parquet import write_table

    versions = [version for batch in batches for version in batch]
    arrays: dict[str, pyarrow.Array] = {}
    for name, type_name in types.items():
        texts = [version.values.get(name) for version in versions]
        if type_name == "Integral":
            arrays[name] = pyarrow.array([None if text is None else int(text) for text in texts], pyarrow.int64())
        elif type_name == "Fractional":
            arrays[name] = pyarrow.array([None if text is None else float(text) for text in texts], pyarrow.float64())
        else:
            arrays[name] = pyarrow.array(texts, pyarrow.string())
    moments = pyarrow.timestamp("us")
    arrays["write_time"] = pyarrow.array([written_at] * len(versions), moments)
    arrays["api_invocation_time"] = pyarrow.array([version.invoked_at for version in versions], moments)
    arrays["is_deleted"] = pyarrow.array([version.deleted for version in versions], pyarrow.bool_())
    table = pyarrow.table(arrays)
    files = []
    first = 0
    for batch in batches:
        content = BytesIO()
        write_table(table.slice(first, len(batch)), content, compression="snappy")
        files.append(content.getvalue())
        first += len(batch)
    return files
