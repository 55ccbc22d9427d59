"""What a query gives: every function that is allowed, with Athena's answer, and what differs between the dialects."""

from __future__ import annotations

import re
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from localcloud.athena import functions
from localcloud.athena.engine import Engine
from localcloud.athena.errors import QueryError
from localcloud.athena.translate import translate
from localcloud.catalog import Table
from localcloud.table_files import File, Files

_TABLE = Table(
    "sagemaker_featurestore",
    "t",
    "s3://bucket/t",
    {"i": "bigint", "d": "double", "s": "string", "ev": "string", "b": "boolean", "w": "timestamp"},
    "group",
)
_ROWS = {
    "i": [1, 2, 4],
    "D": [1.0, 2.0, 4.0],  # a feature's own spelling
    "s": ["a", "b", None],
    "ev": ["2024-01-01T00:00:00Z", "2024-01-01T01:30:00Z", "2024-01-02T00:00:00Z"],
    "b": [True, False, None],
    "w": pyarrow.array([0, 1_500_000, 2_000_000], pyarrow.timestamp("us")),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    path = tmp_path_factory.mktemp("table") / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table(_ROWS), path)
    return Files((File(path, {"year": "2024", "month": "01", "day": "02", "hour": "03"}),), path.stat().st_size)


def run(sql: str, files: Files) -> tuple[tuple[str, ...], list[list[str | None]]]:
    """A query's column names and rows."""
    translation = translate(
        sql,
        "sagemaker_featurestore",
        lambda database, name: _TABLE if (database, name) == ("sagemaker_featurestore", "t") else None,
        {"default", "sagemaker_featurestore"},
    )
    engine = Engine()
    try:
        for name, table in translation.tables.items():
            engine.add(name, table, files)
        with engine.run(translation.sql) as (_, rows):
            return translation.columns, [list(row) for row in rows]
    finally:
        engine.close()


_ROW = [
    ("abs(-2)", "2"),
    ("array_join(ARRAY[1, 2], '-')", "1-2"),
    ("cardinality(ARRAY[1, 2])", "2"),
    ("ceil(d + 0.5)", "2.0"),
    ("ceiling(d)", "1.0"),
    ("chr(65)", "A"),
    ("coalesce(null, 3)", "3"),
    ("concat('a', 'b')", "ab"),
    ("concat('a', cast(null AS varchar))", None),
    ("contains(ARRAY[1, 2], 2)", "true"),
    ("date '2024-01-31' + interval '1' day", "2024-02-01"),
    ("date '2024-03-31' - interval '1' month", "2024-02-29"),
    ("date('2024-01-31')", "2024-01-31"),
    ("date_add('day', 1, date '2024-01-31')", "2024-02-01"),
    ("date_add('minute', -5, from_iso8601_timestamp(ev))", "2023-12-31 23:55:00.000 UTC"),
    ("date_diff('day', date '2024-01-01', date '2024-02-01')", "31"),
    ("date_parse('2024-01-02 03:04:05', '%Y-%m-%d %H:%i:%s')", "2024-01-02 03:04:05.000"),
    ("date_trunc('hour', from_iso8601_timestamp('2024-01-01T01:30:00Z'))", "2024-01-01 01:00:00.000 UTC"),
    ("day(date '2024-01-31')", "31"),
    ("month(date '2024-01-31')", "1"),
    ("year(date '2024-01-31')", "2024"),
    ("quarter(date '2024-05-31')", "2"),
    ("week(date '2024-01-31')", "5"),
    ("hour(timestamp '2024-01-31 10:11:12.5')", "10"),
    ("minute(timestamp '2024-01-31 10:11:12.5')", "11"),
    ("second(timestamp '2024-01-31 10:11:12.5')", "12"),
    ("extract(year FROM date '2024-01-01')", "2024"),
    ("degrees(pi())", "180.0"),
    ("radians(180)", "3.141592653589793"),
    ("element_at(ARRAY[5, 6], 2)", "6"),
    ("element_at(ARRAY[5, 6], 3)", None),
    ("exp(0)", "1.0"),
    ("ln(1)", "0.0"),
    ("log10(100)", "2.0"),
    ("log2(8)", "3.0"),
    ("sqrt(9)", "3.0"),
    ("pow(2, 3)", "8.0"),
    ("power(2, 3)", "8.0"),
    ("floor(cast(-1.5 AS double))", "-2.0"),
    ("from_iso8601_date('2024-01-31')", "2024-01-31"),
    ("from_iso8601_timestamp('2024-01-01T01:30:00+02:00')", "2023-12-31 23:30:00.000 UTC"),
    ("from_unixtime(1.5)", "1970-01-01 00:00:01.500 UTC"),
    ("to_unixtime(from_iso8601_timestamp('2024-01-01T00:00:00.500Z'))", "1.7040672005E9"),
    ("greatest(1, 2)", "2"),
    ("greatest(1, null)", None),
    ("least(1, 2)", "1"),
    ("if(i = 1, 'x', 'y')", "x"),
    ("CASE WHEN i > 1 THEN 'x' ELSE 'y' END", "y"),
    ("is_nan(cast('NaN' AS double))", "true"),
    ("length('äö')", "2"),
    ("lower('AB')", "ab"),
    ("upper('ab')", "AB"),
    ("reverse('ab')", "ba"),
    ("cardinality(sequence(1, 10000))", "10000"),
    ("sequence(i, -1, -1)", "[1, 0, -1]"),
    ("ltrim(' a ')", "a "),
    ("rtrim(' a ')", " a"),
    ("trim(' a ')", "a"),
    ("mod(-7, 3)", "-1"),
    ("nullif(1, 1)", None),
    ("position('b' IN 'abc')", "2"),
    ("strpos('abc', 'c')", "3"),
    ("regexp_like('abc', '^a.c$')", "true"),
    ("replace('aba', 'a', 'c')", "cbc"),
    ("round(cast(2.5 AS double))", "3.0"),
    ("round(cast(-2.345 AS double), 1)", "-2.3"),
    ("sequence(1, 3)", "[1, 2, 3]"),
    ("split('a,b', ',')", "[a, b]"),
    ("split_part('a-b', '-', 2)", "b"),
    ("starts_with('abc', 'ab')", "true"),
    ("substr('hello', 2, 3)", "ell"),
    ("substring('hello', -3)", "llo"),
    ("substring('hello' FROM 2 FOR 2)", "el"),
    ("truncate(cast(-1.9 AS double))", "-1.0"),
    ("now() > timestamp '2020-01-01 00:00:00 UTC'", "true"),
    ("current_timestamp > timestamp '2020-01-01 00:00:00 UTC'", "true"),
    ("current_date > date '2020-01-01'", "true"),
    ("7 / 2", "3"),
    ("-7 / 2", "-3"),
    ("i / 2", "0"),
    ("d / 2", "0.5"),
    ("cast(cast(2.5 AS double) AS bigint)", "3"),
    ("cast(cast(-2.5 AS double) AS bigint)", "-3"),
    ("try_cast('x' AS bigint)", None),
    ("cast('12' AS bigint) + 1", "13"),
    ("cast(true AS varchar)", "true"),
    ("cast(w AS varchar)", "1970-01-01 00:00:00.000"),
    ("cast(from_iso8601_timestamp(ev) AS varchar)", "2024-01-01 00:00:00.000 UTC"),
    ("cast(from_iso8601_timestamp(ev) AS date)", "2024-01-01"),
    ("cast(12345678 AS double)", "1.2345678E7"),
    ("s || '-' || hour", "a-03"),
    ("s LIKE 'a%'", "true"),
    ("EXISTS (SELECT 1 FROM t WHERE i = 4)", "true"),
    ("ev BETWEEN '2024-01-01' AND '2024-01-02'", "true"),
]
_AGGREGATES = [
    ("approx_distinct(i)", "3"),
    ("approx_percentile(d, 0.5)", "2.0"),
    ("arbitrary(b)", "true"),
    ("array_agg(i ORDER BY i DESC)", "[4, 2, 1]"),
    ("avg(i)", "2.3333333333333335"),
    ("bool_and(b)", "false"),
    ("bool_or(b)", "true"),
    ("corr(i, d)", "1.0"),
    ("count(*)", "3"),
    ("count(s)", "2"),
    ("count(DISTINCT b)", "2"),
    ("count_if(b)", "1"),
    ("covar_pop(i, d)", "1.5555555555555554"),
    ("covar_samp(i, d)", "2.333333333333333"),
    ("max(d)", "4.0"),
    ("min(s)", "a"),
    ("max_by(s, -d)", "a"),
    ("min_by(ev, d)", "2024-01-01T00:00:00Z"),
    ("sum(i)", "7"),
    ("sum(d) FILTER (WHERE i > 1)", "6.0"),
    ("stddev(d)", "1.5275252316519465"),
    ("stddev_samp(d)", "1.5275252316519465"),
    ("stddev_pop(d)", "1.247219128924647"),
    ("variance(d)", "2.333333333333333"),
    ("var_samp(d)", "2.333333333333333"),
    ("var_pop(d)", "1.5555555555555554"),
]
_WINDOWS = [
    ("cume_dist() OVER (ORDER BY i)", ["0.3333333333333333", "0.6666666666666666", "1.0"]),
    ("dense_rank() OVER (ORDER BY i)", ["1", "2", "3"]),
    ("first_value(i) OVER (ORDER BY i)", ["1", "1", "1"]),
    ("lag(i, 2, 0) OVER (ORDER BY i)", ["0", "0", "1"]),
    ("last_value(i) OVER (ORDER BY i)", ["1", "2", "4"]),
    ("lead(i) OVER (ORDER BY i)", ["2", "4", None]),
    ("nth_value(i, 2) OVER (ORDER BY i)", [None, "2", "2"]),
    ("ntile(2) OVER (ORDER BY i)", ["1", "1", "2"]),
    ("percent_rank() OVER (ORDER BY i)", ["0.0", "0.5", "1.0"]),
    ("rank() OVER (ORDER BY i)", ["1", "2", "3"]),
    ("row_number() OVER (ORDER BY i DESC)", ["3", "2", "1"]),
    ("sum(d) OVER (ORDER BY i ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)", ["1.0", "3.0", "6.0"]),
]


def answers(examples: list[Any], rest: str, files: Files) -> list[tuple[str, list[str | None]]]:
    """Each example's expression with its column, of one query for them all: an engine takes longer than a row."""
    _, rows = run(f"SELECT {', '.join(expression for expression, _ in examples)} {rest}", files)
    columns = [list(column) for column in zip(*rows, strict=True)]
    return [(expression, column) for (expression, _), column in zip(examples, columns, strict=True)]


def test_each_row_gives_athenas_answer(files: Files) -> None:
    assert answers(_ROW, "FROM t WHERE i = 1", files) == [(expression, [value]) for expression, value in _ROW]


def test_aggregates_give_athenas_answer(files: Files) -> None:
    assert answers(_AGGREGATES, "FROM t", files) == [(expression, [value]) for expression, value in _AGGREGATES]


def test_windows_give_athenas_answer(files: Files) -> None:
    assert answers(_WINDOWS, "FROM t ORDER BY i", files) == _WINDOWS


def test_every_function_that_is_allowed_has_an_example() -> None:
    text = " ".join(example for example, _ in [*_ROW, *_AGGREGATES, *_WINDOWS]).lower()
    assert {name for name in functions.NAMES if not re.search(rf"\b{name}\b", text)} == set()


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("SELECT I, d AS Other, d + 1, 'x', count(*) OVER () FROM t", ("i", "Other", "_col2", "_col3", "_col4")),
        ("SELECT * FROM t", ("i", "d", "s", "ev", "b", "w", "year", "month", "day", "hour")),
        ("WITH x AS (SELECT i AS n FROM t) SELECT x.n, x.n / 2 FROM x", ("n", "_col1")),
        ("SELECT i FROM t UNION ALL SELECT i FROM t", ("i",)),
    ],
)
def test_columns_are_named_as_athena_names_them(files: Files, sql: str, columns: tuple[str, ...]) -> None:
    assert run(sql, files)[0] == columns


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT s FROM t ORDER BY s DESC", [["b"], ["a"], [None]]),
        ("SELECT a.i FROM t a JOIN t b ON a.i = b.i WHERE b.d > 1 ORDER BY 1", [["2"], ["4"]]),
        ("SELECT u.n FROM t CROSS JOIN UNNEST(sequence(1, 2)) AS u(n) WHERE i = 1 ORDER BY 1", [["1"], ["2"]]),
        ("SELECT i FROM t ORDER BY i OFFSET 1 LIMIT 1", [["2"]]),
        ("SELECT x FROM (VALUES (1, 'a'), (2, 'b')) AS v(x, y) WHERE y = 'b'", [["2"]]),
        ("WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT max(n) FROM r", [["3"]]),
        ('SELECT "i" FROM awsdatacatalog."sagemaker_featurestore"."t" ORDER BY 1', [["1"], ["2"], ["4"]]),
        (
            "SELECT date_trunc('day', from_iso8601_timestamp(ev)) AS x, count(*) FROM t GROUP BY 1 ORDER BY 1 LIMIT 1",
            [["2024-01-01 00:00:00.000 UTC", "2"]],
        ),
    ],
)
def test_queries(files: Files, sql: str, rows: list[list[str | None]]) -> None:
    assert run(sql, files)[1] == rows


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELECT len(s) FROM t", "FUNCTION_NOT_FOUND: line 1:8: Function 'len'"),
        ("SELECT 1,\n  strftime(w, '%Y') FROM t", "FUNCTION_NOT_FOUND: line 2:3: Function 'strftime'"),
        ("SELECT error('x')", "FUNCTION_NOT_FOUND"),
        ("SELECT count(*) c FROM t WHERE c > 1", "COLUMN_NOT_FOUND"),
        ("SELECT cast(d AS varchar) FROM t", "NOT_SUPPORTED"),
        ("SELECT i FROM t WHERE s = 1", "TYPE_MISMATCH"),
        ("SELECT i FROM t WHERE i IN (1, 'a')", "TYPE_MISMATCH"),
        ("SELECT i FROM t WHERE b = 'true'", "TYPE_MISMATCH"),
        ("SELECT i FROM t WHERE i = ?", "NOT_SUPPORTED"),
        ("SELECT FROM t", "SYNTAX_ERROR"),
        ("", "SYNTAX_ERROR: Only one sql statement is allowed. Got: 0"),
        ("SELECT '", "SYNTAX_ERROR"),
        ("SELECT i % 0 FROM t", "DIVISION_BY_ZERO"),
        ("SELECT cardinality(sequence(1, 10001))", "INVALID_FUNCTION_ARGUMENT: result of sequence function must not"),
        ("SELECT cardinality(sequence(i, -i * 100000, -2)) FROM t", "INVALID_FUNCTION_ARGUMENT"),
        ("SELECT sequence(date '2024-01-01', date '2024-01-03')", "NOT_SUPPORTED"),
        (
            "WITH n AS (SELECT x FROM UNNEST(sequence(1, 10000)) AS s(x))"
            " SELECT array_agg(a.x * b.x) FROM n a CROSS JOIN n b CROSS JOIN n c",
            "EXCEEDED_LOCAL_MEMORY_LIMIT",
        ),
    ],
)
def test_what_is_wrong_is_said(files: Files, sql: str, reason: str) -> None:
    with pytest.raises(QueryError) as raised:
        run(sql, files)
    assert str(raised.value).startswith(reason)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "COPY (SELECT 1) TO '/tmp/athena-was-here'",
        "ATTACH '/tmp/x.db' AS x",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM files",
    ],
)
def test_duckdb_itself_is_shut_in(sql: str, files: Files) -> None:
    engine = Engine()
    with pytest.raises(QueryError), engine.run(sql) as (_, rows):
        list(rows)
    engine.close()


def test_a_database_must_be_named(files: Files) -> None:
    def find(database: str, name: str) -> Any:
        return None

    with pytest.raises(QueryError, match=r"TABLE_NOT_FOUND: line 1:15: Table 'awsdatacatalog\.default\.t'"):
        translate("SELECT * FROM t", "default", find, {"default"})


def test_a_file_that_is_no_parquet_is_said_to_be_bad(tmp_path: Any) -> None:
    (tmp_path / "a.parquet").write_bytes(b"no")
    engine = Engine()
    with pytest.raises(QueryError, match=r"HIVE_BAD_DATA: a file of x\.t at s3://bucket/t is no Parquet"):
        engine.add("x.t", _TABLE, Files((File(tmp_path / "a.parquet", {}),), 2))
    engine.close()


def test_a_file_that_is_cut_off_is_said_to_be_bad(files: Files, tmp_path: Any) -> None:
    whole = files.files[0]
    (tmp_path / "a.parquet").write_bytes(whole.path.read_bytes()[:200])
    engine = Engine()
    # The newest file, the last one, gives the columns' names; the other is only found out when it is read.
    engine.add("t", _TABLE, Files((File(tmp_path / "a.parquet", {}), whole), 2))
    with pytest.raises(QueryError), engine.run("SELECT sum(i) FROM t") as (_, rows):
        list(rows)
    engine.close()
