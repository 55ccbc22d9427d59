"""The data catalog: which tables there are, and where their files lie. Feature groups write it, Athena reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from localcloud.store import Store

_KIND = "catalog/table"
CATALOG = "AwsDataCatalog"
FEATURE_STORE_DATABASE = "sagemaker_featurestore"
PARTITION_KEYS = ("year", "month", "day", "hour")
"""Of every table; text, as in the folders `year=2024/month=01/day=31/hour=23`."""


@dataclass(frozen=True)
class Table:
    """A table of Parquet files in S3."""

    database: str
    name: str
    location: str
    """s3://bucket/prefix, without a slash at its end."""
    columns: Mapping[str, str]
    """Hive types by column name, in the table's order, without the partition keys. Names are in lower case."""
    feature_group: str
    """What its records wait under before they are in a file (`Schema.key`)."""


class Catalog:
    """The tables of all databases. Names are in lower case, as in Glue."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, table: Table) -> bool:
        """Add a table; False if there is one of that name."""
        return self._store.put(_KIND, _key(table.database, table.name), _document(table), if_absent=True)

    def replace(self, table: Table) -> None:
        """Write a table that may be there."""
        self._store.put(_KIND, _key(table.database, table.name), _document(table))

    def find(self, database: str, name: str) -> Table | None:
        """The table, or None."""
        document = self._store.get(_KIND, _key(database, name))
        if document is None:
            return None
        # Columns are kept as pairs: their order is the table's.
        columns = {column: type_name for column, type_name in document["Columns"]}
        return Table(database.lower(), name.lower(), document["Location"], columns, document["FeatureGroup"])

    def databases(self) -> set[str]:
        """The databases that there are. The feature store's is always there."""
        return {FEATURE_STORE_DATABASE, *(key.partition("/")[0] for key, _ in self._store.list(_KIND))}


def _key(database: str, name: str) -> str:
    return f"{database.lower()}/{name.lower()}"


def _document(table: Table) -> dict[str, object]:
    return {
        "Location": table.location,
        "Columns": [[name, type_name] for name, type_name in table.columns.items()],
        "FeatureGroup": table.feature_group,
    }
