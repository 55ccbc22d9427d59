"""DuckDB, shut in: it sees the tables of one query, and nothing else of this machine.

It opens no file and no connection, loads no extension, and no setting can be changed any more when the query's text
arrives. The tables are Arrow datasets over copies in a folder, which Arrow reads, not DuckDB.
"""

from __future__ import annotations

import functools
import operator
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from localcloud.athena import values
from localcloud.athena.errors import Interrupted, QueryError
from localcloud.catalog import PARTITION_KEYS, Table
from localcloud.table_files import Files

if TYPE_CHECKING:
    import pyarrow.dataset

_SETTINGS = {
    "enable_external_access": "false",
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "allow_community_extensions": "false",
    "memory_limit": "1GB",
    "temp_directory": "",
    "threads": "2",
}
_ARROW_TYPES = {"bigint": "int64", "double": "float64", "string": "string", "boolean": "bool_"}
_BATCH = 5_000


class Engine:
    """One query's DuckDB. `interrupt` may be called from any thread; all else from one."""

    def __init__(self) -> None:
        # 0.2 s to import, which readiness does not wait for.
        import duckdb

        self._errors = duckdb.Error
        self._interrupted = duckdb.InterruptException
        self._connection = duckdb.connect(":memory:", config=dict(_SETTINGS))
        self._connection.execute("SET python_enable_replacements = false")
        self._connection.execute("SET TimeZone = 'UTC'")
        self._stopped = threading.Event()

    def add(self, name: str, table: Table, files: Files) -> None:
        """Make a table known under a name. Raises QueryError if one of its files is no Parquet."""
        import pyarrow

        try:
            self._connection.register(name, dataset(table, files))
        except pyarrow.ArrowException as error:
            raise QueryError(f"HIVE_BAD_DATA: a file of {name} at {table.location} is no Parquet: {error}") from error

    @contextmanager
    def run(self, sql: str) -> Iterator[tuple[list[str], Iterator[Sequence[str | None]]]]:
        """The types of the result's columns (DuckDB's), and its rows as text, which are computed as they are read.

        Raises QueryError, also while the rows are read; Interrupted once `interrupt` was called.
        """
        with self._worded():
            self._connection.execute("SET lock_configuration = true")
            self._connection.execute(sql)
            types = [str(column[1]) for column in self._connection.description]
        yield types, self._rows()

    def interrupt(self) -> None:
        """End the query."""
        self._stopped.set()
        self._connection.interrupt()

    def close(self) -> None:
        """Free what the query holds."""
        self._connection.close()

    def _rows(self) -> Iterator[Sequence[str | None]]:
        while True:
            with self._worded():
                rows = self._connection.fetchmany(_BATCH)
            if not rows:
                return
            for row in rows:
                yield [values.text(value) for value in row]

    @contextmanager
    def _worded(self) -> Iterator[None]:
        """DuckDB's errors in Athena's words, where those are known."""
        try:
            if self._stopped.is_set():
                raise Interrupted
            yield
        except self._interrupted as error:
            raise Interrupted from error
        except self._errors as error:
            if self._stopped.is_set():
                raise Interrupted from error
            raise QueryError(_reason(str(error))) from error


def dataset(table: Table, files: Files) -> pyarrow.dataset.Dataset:
    """The table's files with the catalog's columns: one that a file lacks is null in its rows.

    The catalog's names are in lower case, the files' are the features' own; DuckDB takes both for the same.
    """
    import pyarrow
    import pyarrow.dataset
    import pyarrow.fs
    import pyarrow.parquet

    own: dict[str, str] = {}
    for file in reversed(files.files):
        # Features are only ever added, so that the newest file mostly has them all.
        if len(own) < len(table.columns):
            own.update({name.lower(): name for name in pyarrow.parquet.read_schema(file.path).names})
    columns = [(own.get(name, name), _arrow_type(pyarrow, type_name)) for name, type_name in table.columns.items()]
    schema = pyarrow.schema([*columns, *((name, pyarrow.string()) for name in PARTITION_KEYS)])
    parquet = pyarrow.dataset.ParquetFileFormat()
    local = pyarrow.fs.LocalFileSystem()
    fragments = [
        parquet.make_fragment(str(file.path), local, _expression(pyarrow, file.partition)) for file in files.files
    ]
    return pyarrow.dataset.FileSystemDataset(fragments, schema, parquet, local)


def _expression(pyarrow: Any, partition: Mapping[str, str]) -> Any:
    """What holds for every row of a file by where it lies; it gives the partition keys their values, too."""
    field = pyarrow.dataset.field
    terms = [field(name) == partition[name] for name in PARTITION_KEYS if name in partition]
    return functools.reduce(operator.and_, terms) if terms else None


def _arrow_type(pyarrow: Any, type_name: str) -> Any:
    return pyarrow.timestamp("us") if type_name == "timestamp" else getattr(pyarrow, _ARROW_TYPES[type_name])()


def _reason(message: str) -> str:
    first = message.partition("\n")[0]
    kinds: dict[str, Callable[[str], bool]] = {
        "DIVISION_BY_ZERO: Division by zero": lambda text: "Division by zero" in text,
        f"EXCEEDED_LOCAL_MEMORY_LIMIT: Query exceeded the memory limit of {_SETTINGS['memory_limit']}": (
            lambda text: text.startswith("Out of Memory")
        ),
    }
    for reason, matches in kinds.items():
        if matches(first):
            return reason
    if (own := first.partition(": ")[2]).startswith("INVALID_FUNCTION_ARGUMENT: "):
        return own
    if first.startswith(("Conversion Error", "Invalid Input Error")):
        return f"INVALID_CAST_ARGUMENT: {first.partition(': ')[2]}"
    return f"GENERIC_USER_ERROR: {first}"
