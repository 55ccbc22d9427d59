"""A query in Athena's dialect -> one in DuckDB's, over tables that are known.

sqlglot parses, resolves every name, finds the types, and writes. Refused before anything runs, in the words that Athena
uses where they are known: what is not a query, tables and columns that there are not, functions that are not among
`functions.NAMES`, and comparisons of text with numbers, which DuckDB would make work.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import OptimizeError, ParseError, SqlglotError, TokenError
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import traverse_scope
from sqlglot.schema import MappingSchema

from localcloud.athena import functions
from localcloud.athena.errors import QueryError
from localcloud.catalog import CATALOG, PARTITION_KEYS, Table

_CATALOG = CATALOG.lower()
_TYPES = {"string": "varchar"}
_NAME = re.compile(r"Column '([^']+)'|Unknown column: (\S+)|Unknown table: (\S+)")
_COMPARISONS = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE)
_LONGEST_SEQUENCE = 10_000
_INTEGERS = exp.DataType.INTEGER_TYPES
_NUMBERS = exp.DataType.NUMERIC_TYPES
_TEXTS = exp.DataType.TEXT_TYPES


@dataclass(frozen=True)
class Translation:
    """A query as DuckDB runs it."""

    sql: str
    tables: dict[str, Table]
    """The tables that it reads, by their names in `sql`."""
    columns: tuple[str, ...]
    """The result's columns, named as Athena names them."""


def translate(
    text: str, database: str, find: Callable[[str, str], Table | None], databases: Iterable[str]
) -> Translation:
    """Translate one query. `find` gives a table by database and name. Raises QueryError."""
    query = _parse(text)
    _check_functions(query, text)
    tables = _tables(query, text, database, find, set(databases))
    aliases = _aliases(query)
    schema = MappingSchema(_schema(tables.values()) if tables else None, dialect="trino")
    try:
        query = qualify(query, dialect="trino", schema=schema, db=database, catalog=_CATALOG, expand_alias_refs=False)
        query = annotate_types(query, schema=schema, dialect="trino")
    except OptimizeError as error:
        raise _unresolved(error, text) from error
    except SqlglotError as error:
        raise QueryError(f"SYNTAX_ERROR: {error}") from error
    _check_comparisons(query)
    _check_casts(query)
    columns = tuple(_column_name(select, number, aliases) for number, select in enumerate(query.selects))
    adapted = query.transform(_adapt)
    names: dict[str, Table] = {}
    for node in adapted.find_all(exp.Table):
        table = tables.get((node.db.lower(), node.name.lower())) if node.catalog else None
        if table is not None:
            name = f"{table.database}.{table.name}"
            names[name] = table
            node.set("this", exp.to_identifier(name, quoted=True))
            node.set("db", None)
            node.set("catalog", None)
    return Translation(adapted.sql("duckdb"), names, columns)


def _parse(text: str) -> exp.Query:
    try:
        statements = [statement for statement in sqlglot.parse(text, read="trino") if statement is not None]
    except ParseError as error:
        detail: dict[str, Any] = error.errors[0] if error.errors else {}
        place = f"line {detail.get('line', 1)}:{max(1, detail.get('col', 1))}"
        found = detail.get("highlight") or "<EOF>"
        raise QueryError(
            f"SYNTAX_ERROR: {place}: mismatched input '{found}'. {detail.get('description', error)}"
        ) from error
    except TokenError as error:
        raise QueryError(f"SYNTAX_ERROR: line 1:1: {error}") from error
    if len(statements) != 1:
        raise QueryError(f"SYNTAX_ERROR: Only one sql statement is allowed. Got: {len(statements)}")
    query = statements[0]
    if not isinstance(query, exp.Query):
        kind = type(query).__name__.upper()
        raise QueryError(
            f"NOT_SUPPORTED: localcloud's Athena reads and changes nothing: expected SELECT or WITH; got {kind}"
        )
    for node in query.walk():
        if isinstance(node, exp.Select) and not node.expressions:
            raise QueryError("SYNTAX_ERROR: line 1:1: mismatched input 'FROM'. Expecting: <expression>")
        if isinstance(node, exp.DDL | exp.DML | exp.Command | exp.Into) and not isinstance(node, exp.Query):
            raise QueryError("NOT_SUPPORTED: localcloud's Athena reads and changes nothing")
        if isinstance(node, exp.Into | exp.Placeholder | exp.Parameter):
            raise QueryError(f"NOT_SUPPORTED: localcloud's Athena takes no {node.sql('trino')!r} in a query")
    return query


def _aliases(query: exp.Query) -> dict[str, str]:
    """The columns' own spellings, by the lower case that names are resolved in."""
    return {select.alias.lower(): select.alias for select in query.selects if isinstance(select, exp.Alias)}


def _column_name(select: exp.Expr, number: int, aliases: dict[str, str]) -> str:
    """Its alias, as it was spelled; the name of a column; and for what has no name, its place."""
    name = select.alias_or_name
    if name in aliases:
        return aliases[name]
    return name if isinstance(select.unalias(), exp.Column) else f"_col{number}"


def _check_functions(query: exp.Expr, text: str) -> None:
    for node in query.find_all(exp.Func):
        start, end = node.meta.get("start"), node.meta.get("end")
        if start is None or end is None:
            if not isinstance(node, functions.WITHOUT_NAME):
                raise QueryError(_unknown_function(node.sql_name().lower(), text))
            continue
        name = text[start : end + 1].strip('"').lower()
        if name not in functions.NAMES:
            raise QueryError(_unknown_function(name, text, start))


def _unknown_function(name: str, text: str, start: int | None = None) -> str:
    known = " ".join(sorted(functions.NAMES))
    return (
        f"FUNCTION_NOT_FOUND: {_line_and_column(text, name, start)}: Function '{name}' not registered."
        f" localcloud has: {known}"
    )


def _tables(
    query: exp.Expr, text: str, database: str, find: Callable[[str, str], Table | None], databases: set[str]
) -> dict[tuple[str, str], Table]:
    tables: dict[tuple[str, str], Table] = {}
    for scope in traverse_scope(query):
        for node in (source for source in scope.sources.values() if isinstance(source, exp.Table)):
            if not isinstance(node.this, exp.Identifier):
                raise QueryError(f"NOT_SUPPORTED: localcloud's Athena has no table function {node.sql('trino')}")
            name, place = node.name.lower(), _line_and_column(text, node.name)
            catalog, schema = (node.catalog or CATALOG).lower(), (node.db or database).lower()
            if catalog != _CATALOG:
                raise QueryError(f"CATALOG_NOT_FOUND: {place}: Catalog '{catalog}' does not exist")
            if schema not in databases:
                raise QueryError(f"SCHEMA_NOT_FOUND: {place}: Schema '{schema}' does not exist")
            table = find(schema, name)
            if table is None:
                raise QueryError(f"TABLE_NOT_FOUND: {place}: Table '{_CATALOG}.{schema}.{name}' does not exist")
            tables[schema, name] = table
    return tables


def _schema(tables: Iterable[Table]) -> dict[str, Any]:
    schema: dict[str, dict[str, dict[str, str]]] = {}
    for table in tables:
        columns = {name: _TYPES.get(type_name, type_name) for name, type_name in table.columns.items()}
        schema.setdefault(table.database, {})[table.name] = {**columns, **dict.fromkeys(PARTITION_KEYS, "varchar")}
    return {_CATALOG: schema}


def _unresolved(error: OptimizeError, text: str) -> QueryError:
    message = str(error)
    found = _NAME.search(message)
    if found is None:
        return QueryError(f"SYNTAX_ERROR: line 1:1: {message}")
    name = next(group for group in found.groups() if group)
    place = _line_and_column(text, name)
    if found[1] and "ambiguous" in message.lower():
        return QueryError(f"AMBIGUOUS_NAME: {place}: Column '{name}' is ambiguous")
    return QueryError(
        f"COLUMN_NOT_FOUND: {place}: Column '{name}' cannot be resolved or requester is not authorized to access"
        " requested resources"
    )


def _line_and_column(text: str, name: str, start: int | None = None) -> str:
    """Where a name stands, as `line 1:8`; sqlglot's own columns count from the end of a word."""
    if start is None:
        found = re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", text, re.IGNORECASE)
        start = found.start() if found else 0
    line = text.count("\n", 0, start) + 1
    return f"line {line}:{start - (text.rfind(chr(10), 0, start) + 1) + 1}"


def _check_comparisons(query: exp.Expr) -> None:
    for node in query.find_all(*_COMPARISONS, exp.Between, exp.In):
        sides = [node.this, *(node.args.get(name) for name in ("expression", "low", "high")), *node.expressions]
        kinds = {_kind(side) for side in sides if side is not None} - {None}
        if len(kinds) > 1:
            types = [side.type.sql("trino").lower() for side in sides if side is not None and side.type is not None]
            raise QueryError(
                f"TYPE_MISMATCH: Cannot apply operator: {' and '.join(dict.fromkeys(types))} in"
                f" {node.sql('trino')}; CAST one of them"
            )


def _kind(node: exp.Expr) -> str | None:
    """What a value can be compared with; None where that is not known."""
    if node.type is None or not isinstance(node.type, exp.DataType):
        return None
    if node.type.this in _NUMBERS:
        return "number"
    if node.type.this in _TEXTS:
        return "text"
    return "boolean" if node.type.this == exp.DataType.Type.BOOLEAN else None


def _check_casts(query: exp.Expr) -> None:
    for node in query.find_all(exp.Cast):
        if node.is_type(*_TEXTS) and node.this.is_type("double", "float"):
            raise QueryError(
                f"NOT_SUPPORTED: localcloud's Athena writes a double as text in another form than Athena does, in"
                f" {node.sql('trino')}"
            )


def _adapt(node: exp.Expr) -> exp.Expr:
    """What DuckDB means differently."""
    if isinstance(node, exp.Div) and _is_integer(node.this) and _is_integer(node.expression):
        return exp.IntDiv(this=node.this, expression=node.expression)
    if isinstance(node, exp.Add | exp.Sub | exp.DateAdd) and node.this.is_type("date"):
        # A date and an interval are a date; DuckDB makes a timestamp of them.
        return node if node.expression.is_type("date") else exp.Cast(this=node, to=exp.DataType.build("date"))
    if isinstance(node, exp.Cast):
        return _adapt_cast(node)
    if isinstance(node, exp.GenerateSeries):
        return _bounded(node)
    if isinstance(node, exp.Concat):
        # With a null in it, concat is null on Athena, as || is in both.
        parts = node.expressions
        joined = parts[0]
        for part in parts[1:]:
            joined = exp.DPipe(this=joined, expression=part)
        return exp.paren(joined)
    if isinstance(node, exp.Greatest | exp.Least):
        # Null if one of them is; DuckDB leaves nulls out.
        values = [node.this, *node.expressions] if node.this is not None else node.expressions
        any_null = exp.or_(*(exp.Is(this=value.copy(), expression=exp.null()) for value in values))
        return exp.Case(ifs=[exp.If(this=any_null, true=exp.null())], default=node)
    return node


def _bounded(node: exp.GenerateSeries) -> exp.Expr:
    """A sequence that fails, as on Athena, when it is long: DuckDB would fill the memory, whatever its limit is."""
    first, last, step = node.args["start"], node.args["end"], node.args.get("step")
    if not all(_is_integer(part) for part in (first, last, step) if part is not None):
        raise QueryError(
            f"NOT_SUPPORTED: localcloud's Athena makes sequences of integers only; got {node.sql('trino')}"
        )
    span = exp.Abs(this=exp.paren(exp.Sub(this=exp.paren(last.copy()), expression=exp.paren(first.copy()))))
    size = exp.Abs(this=step.copy()) if step is not None else exp.Literal.number(1)
    entries = exp.Mul(this=size, expression=exp.Literal.number(_LONGEST_SEQUENCE))
    message = (
        f"INVALID_FUNCTION_ARGUMENT: result of sequence function must not have more than {_LONGEST_SEQUENCE} entries"
    )
    too_long = exp.If(this=exp.GTE(this=span, expression=entries), true=exp.func("error", exp.Literal.string(message)))
    return exp.Case(ifs=[too_long], default=node)


def _adapt_cast(node: exp.Cast) -> exp.Expr:
    if node.is_type(*_INTEGERS) and node.this.is_type("double", "float"):
        # Half a unit goes up, away from zero; DuckDB's cast goes to the even number, its round does not.
        return type(node)(this=exp.Round(this=node.this), to=node.args["to"])
    zoned = node.this.is_type("timestamptz") or isinstance(node.this, exp.FromISO8601Timestamp)
    if node.is_type(*_TEXTS) and (zoned or node.this.is_type("timestamp")):
        zone = " UTC" if zoned else ""
        return exp.func("strftime", node.this, exp.Literal.string(f"%Y-%m-%d %H:%M:%S.%g{zone}"))
    return node


def _is_integer(node: exp.Expr) -> bool:
    return isinstance(node.type, exp.DataType) and node.type.this in _INTEGERS
