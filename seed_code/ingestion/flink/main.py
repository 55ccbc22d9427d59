"""The Flink job's program: fills the tables' options into minutes.sql and runs it.

Managed Service for Apache Flink gives an application its properties as a file of groups. Here they are

    transactions   options of the table that is read, as its WITH clause takes them: `connector`, `format` and so on
    minutes        of the table of rows
    late           of the table of records that came too late, the same stream as the rows'
    aggregate      `lateness_seconds`: how long a minute is waited for after its end
    flink          settings of Flink, where nobody else makes them: a laptop's checkpoints, say. On AWS there are none,
                   for the service refuses those that it makes itself

A table's option `path` is taken below the folder MOUNT_ROOT, if there is one: where streams are mounted as files.

It imports PyFlink and the standard library; the zip file of the application has this folder at its root. On AWS the
cluster takes the job over from this program, as `flink run` does; on its own (IS_LOCAL=1) the program waits for it.
With EXPLAIN=1 it writes the job's plan, and starts none.

Sources: Managed Service for Apache Flink Developer Guide, "Use runtime properties" and "Programmatic Flink
configuration properties"; Apache Flink, "Window Deduplication" and "Generating Watermarks".
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Template

HERE = Path(__file__).resolve().parent
PROPERTIES_VARIABLE = "APPLICATION_PROPERTIES_PATH"
PROPERTIES_PATH = "/etc/flink/application_properties.json"
MOUNT_VARIABLE = "MOUNT_ROOT"
LOCAL_VARIABLE = "IS_LOCAL"
EXPLAIN_VARIABLE = "EXPLAIN"
TABLES = ("transactions", "minutes", "late")
MOST_LATENESS_SECONDS = 3600

SETTINGS = {
    # Minutes are UTC's wherever the job runs.
    "table.local-time-zone": "UTC",
    # A watermark with each record that moves it, and not one each fifth of a second of the machine's clock: what is
    # late follows from the stream alone.
    "pipeline.auto-watermark-interval": "0 ms",
    # An on-demand stream has at least four shards, and all records go to one of them: with subtasks beside each other,
    # those that read the others must not be waited for.
    "table.exec.source.idle-timeout": "30 s",
}
"""Settings of the job, wherever it runs; the managed service allows them to a program."""

Groups = Mapping[str, Mapping[str, str]]


class PropertyError(Exception):
    """The application's properties are not what this job takes: the message says which, and what was expected."""


def main(environ: Mapping[str, str]) -> None:
    """Start the job, and wait for it if nobody else does. Raises PropertyError for wrong properties."""
    groups = read(Path(environ.get(PROPERTIES_VARIABLE, PROPERTIES_PATH)))
    statements = list(fill((HERE / "minutes.sql").read_text(encoding="utf-8"), groups, environ.get(MOUNT_VARIABLE, "")))
    from pyflink.common import Configuration  # here, so that the properties' mistakes are told without it
    from pyflink.table import EnvironmentSettings, TableEnvironment

    configuration = Configuration()
    for key, value in groups.get("flink", {}).items():
        configuration.set_string(key, value)
    settings = EnvironmentSettings.new_instance().in_streaming_mode().with_configuration(configuration).build()
    tables = TableEnvironment.create(settings)
    for key, value in SETTINGS.items():
        tables.get_config().set(key, value)
    inserts = tables.create_statement_set()
    for statement in statements:
        if statement.startswith("INSERT"):
            inserts.add_insert_sql(statement)
        else:
            tables.execute_sql(statement)
    if environ.get(EXPLAIN_VARIABLE):
        sys.stdout.write(inserts.explain() + "\n")
        return
    started = inserts.execute()
    if environ.get(LOCAL_VARIABLE):
        started.wait()


def read(path: Path) -> Groups:
    """The groups of properties in the service's file.

    Raises:
        PropertyError: when there is no such file, or it holds something else.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return {group["PropertyGroupId"]: dict(group["PropertyMap"]) for group in document}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise PropertyError(
            f"{path} is no file of an application's properties ({error}); expected a list of groups, each with "
            f"`PropertyGroupId` and `PropertyMap`, at the path that {PROPERTIES_VARIABLE} names"
        ) from error


def fill(sql: str, groups: Groups, mount_root: str = "") -> Iterator[str]:
    """The statements of the SQL, with the properties.

    Raises:
        PropertyError: when a group is missing or has nothing, or the lateness is no number of seconds.
    """
    missing = [table for table in TABLES if not groups.get(table)]
    if missing:
        raise PropertyError(f"the application's properties have no group {', '.join(missing)}; expected {TABLES}")
    lateness = groups.get("aggregate", {}).get("lateness_seconds", "")
    if not (lateness.isascii() and lateness.isdigit() and int(lateness) <= MOST_LATENESS_SECONDS):
        raise PropertyError(
            f"the property lateness_seconds of the group aggregate is {lateness!r}; expected whole seconds from 0 to "
            f"{MOST_LATENESS_SECONDS}"
        )
    options = {table: with_clause(groups[table], mount_root) for table in TABLES}
    code = "\n".join(line for line in sql.splitlines() if not line.lstrip().startswith("--"))
    # Statements are cut before options are filled in, which may hold a semicolon.
    for statement in code.split(";"):
        if statement.strip():
            yield Template(statement.strip()).substitute(options, lateness=_interval(int(lateness)))


def with_clause(options: Mapping[str, str], mount_root: str) -> str:
    """A table's options as SQL has them, one in a line."""
    placed = {**options, "path": mount_root + options["path"]} if "path" in options else options
    return ",\n".join(f"  {_text(key)} = {_text(value)}" for key, value in placed.items())


def _interval(seconds: int) -> str:
    """As SQL has it from hours to seconds; its seconds alone end at 99."""
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _text(value: str) -> str:
    doubled = value.replace("'", "''")
    return f"'{doubled}'"


if __name__ == "__main__":
    main(os.environ)
