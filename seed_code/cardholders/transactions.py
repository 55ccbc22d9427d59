"""Reads files of card transactions: what is a purchase, what is not, and what cannot be read.

Every column is read as text first, by DuckDB; dates and amounts are converted here, so that a line that cannot be
converted is counted by its reason, kept as an example with its line number, and left out. Nothing is guessed: columns,
date formats, encoding, delimiter and decimal sign come from the configuration (`Format`).

Rules:

- A *holder* is the first initial, an underscore and the last name (`C_Mason`), or the column mapped as `holder`. Two
  people of one name are one holder, in whatever agencies they work: the data has nothing else that tells them apart.
- A line that equals an earlier one in every column is a duplicate and is left out, unless `keep_duplicates` says
  otherwise: two real purchases that agree in everything cannot be told from one that was delivered twice. Lines are
  compared by 64-bit hashes: among 10 million lines, the chance that any two different ones are confused is 3 in a
  million.
- An amount below zero is a refund, zero is nothing; neither is a purchase.
- Names leave this module only as identifiers: the first 16 hexadecimal digits of SHA-256 over a salt and the name.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import duckdb

from seed_code.common.errors import ClientError

# What is read, by the name used here, and the column that holds it in the Oklahoma purchase-card data.
DEFAULT_COLUMNS = {
    "last_name": "Cardholder Last Name",
    "first_initial": "Cardholder First Initial",
    "amount": "Amount",
    "vendor": "Vendor",
    "date": "Transaction Date",
}
DEFAULT_DATE_FORMATS = ("%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y", "%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S")
REASONS = ("columns", "date", "amount", "holder", "vendor")
EXAMPLES = 5
CONFIGURATION = "in the workload's configuration, or as argument of prepare"
_COPY_BYTES = 1 << 20


@dataclass(frozen=True)
class Format:
    """How the files are written.

    Attributes:
        columns: the file's column for each of `last_name` and `first_initial` (or `holder` instead of both), `amount`,
            `vendor` and `date`.
        date_formats: tried in turn, in strptime's notation; the time of day is ignored.
        encoding: a codec's name.
        delimiter: one character.
        decimal: `.` (1,234.56) or `,` (1.234,56).
    """

    columns: dict[str, str] = field(default_factory=lambda: dict(DEFAULT_COLUMNS))
    date_formats: tuple[str, ...] = DEFAULT_DATE_FORMATS
    encoding: str = "utf-8"
    delimiter: str = ","
    decimal: str = "."

    def holder_columns(self) -> tuple[str, ...]:
        """The roles whose columns name the holder."""
        return ("holder",) if "holder" in self.columns else ("first_initial", "last_name")

    def roles(self) -> tuple[str, ...]:
        """Every role that needs a column."""
        return (*self.holder_columns(), "amount", "vendor", "date")


@dataclass(frozen=True)
class Reading:
    """What was found; the tables that `read` leaves in the database hold the rest.

    Attributes:
        files: name and number of lines of each file.
        lines: lines after the headers, readable or not.
        bad: number of lines left out, by reason (`REASONS`).
        examples: up to five of each reason, as file, line number and what was found. Line 1 is the header; blank lines
            are not counted.
        duplicates: lines equal to an earlier one (left out, unless they are kept).
        refunds, zero: lines that are no purchases.
        purchases, holders: what remains; a holder has at least one purchase.
        later: lines dated after the evaluation date, left out.
    """

    files: list[dict[str, Any]]
    lines: int
    bad: dict[str, int]
    examples: dict[str, list[dict[str, Any]]]
    duplicates: int
    refunds: int
    zero: int
    purchases: int
    holders: int
    later: int


def input_files(folder: Path) -> list[Path]:
    """The files to read, in the order of their paths; hidden ones and markers such as `_SUCCESS` are none.

    Raises:
        ClientError: when there is none.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith((".", "_")))
    if not files:
        raise ClientError(
            f"there is no file in {folder}; expected transactions as .csv or .csv.gz: check the pipeline's InputDataUri"
        )
    return files


def read(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[Path],
    layout: Format,
    *,
    salt: str,
    max_bad_share: float = 0.01,
    keep_duplicates: bool = False,
    evaluation_day: int | None = None,
) -> Reading:
    """Read the files into the tables `holder` and `activity`, `refund`.

    Tables, with days as days since 1970-01-01 and amounts in hundredths:
        holder (who UBIGINT, index INTEGER, id VARCHAR), numbered in the order of their ids;
        activity (holder INTEGER, vendor UBIGINT, day INTEGER, purchases INTEGER, cents BIGINT), one row for each
        holder, vendor and day;
        refund (holder INTEGER, day INTEGER, refunds INTEGER), of these holders only.

    Args:
        connection: a DuckDB database that may be written; threads and memory limit are the caller's.
        files: at least one.
        layout: how they are written.
        salt: makes the holders' identifiers the project's own.
        max_bad_share: share of the lines that may be unreadable.
        keep_duplicates: whether equal lines are several purchases.
        evaluation_day: transactions after it are left out.

    Raises:
        ClientError: when a file is empty, damaged, not in the encoding, or lacks a column; when there is no line, too
            many bad ones, or no purchase.
    """
    _check_date_formats(connection, layout.date_formats)
    loaded = [_load(connection, number, file, layout) for number, file in enumerate(files)]
    lines = sum(file.lines for file in loaded)
    if lines == 0:
        raise ClientError(
            f"{_names(files)}: there is a header but no line; expected transactions below it: check the pipeline's "
            "InputDataUri"
        )
    bad, examples = _bad_lines(connection, loaded)
    if sum(bad.values()) > max_bad_share * lines:
        raise ClientError(_too_many_bad(lines, bad, examples, max_bad_share))
    return _aggregate(connection, loaded, lines, bad, examples, salt, keep_duplicates, evaluation_day)


def _check_date_formats(connection: duckdb.DuckDBPyConnection, formats: Sequence[str]) -> None:
    for one in formats:
        try:
            connection.execute("SELECT try_strptime('', ?)", [one])
        except duckdb.Error as error:
            raise ClientError(
                f"the date format is `{one}`; expected strptime's notation such as %d.%m.%Y ({error}): set "
                f"`date_formats` {CONFIGURATION} (--date-format)"
            ) from error


@dataclass(frozen=True)
class _Loaded:
    file: Path
    table: str  # of its readable lines, in the file's order
    lines: int
    rejected: list[tuple[int, str]]  # line number and finding of each line that is not a record of the header's width


def _load(connection: duckdb.DuckDBPyConnection, number: int, file: Path, layout: Format) -> _Loaded:
    header = _header(file, layout)
    position = _positions(file, header, layout)
    with _as_utf8(file, layout.encoding) as readable:
        return _insert(connection, number, file, readable, len(header), position, layout)


def _header(file: Path, layout: Format) -> list[str]:
    """The names in the file's first line."""
    try:
        with _opened(file) as content:
            start = content.read(4)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ClientError(_damaged(file, str(error))) from error
    if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) and not layout.encoding.lower().startswith("utf-16"):
        raise ClientError(
            f"{file.name} is UTF-16 (it starts with that byte order mark); expected {layout.encoding}: set `encoding` "
            f"to utf-16 {CONFIGURATION} (--encoding utf-16)"
        )
    if not start:
        raise ClientError(
            f"{file.name} is empty; expected a header and transactions: check the pipeline's InputDataUri"
        )
    try:
        with _opened(file) as content, _text(content, layout.encoding) as text:
            header = next((row for row in csv.reader(text, delimiter=layout.delimiter) if any(row)), None)
    except UnicodeDecodeError as error:
        # Files are decoded in blocks: what cannot be may stand below the header.
        line = 1 + error.object[: error.start].decode(layout.encoding, "ignore").count("\n")
        raise ClientError(
            _wrong_encoding(file, layout.encoding, "1 (the header)" if line == 1 else f"{line}")
        ) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ClientError(_damaged(file, str(error))) from error
    except (csv.Error, UnicodeError) as error:
        raise ClientError(f"{file.name}: the header cannot be read ({error}); expected names of columns") from error
    if header is None:
        raise ClientError(f"{file.name} holds blank lines only; expected a header and transactions")
    return [name.strip() for name in header]


def _positions(file: Path, header: list[str], layout: Format) -> dict[str, int]:
    """Where in a line each role's column is."""
    problems = []
    for role in layout.roles():
        name = layout.columns[role]
        if header.count(name) == 0:
            problems.append(f"no column `{name}` for `{role}`")
        elif header.count(name) > 1:
            problems.append(f"{header.count(name)} columns `{name}` for `{role}`")
    if problems:
        found = ", ".join(f"`{name}`" for name in header)
        raise ClientError(
            f"{file.name} has {' and '.join(problems)}; found {found}. Set `columns` {CONFIGURATION} "
            f"(--column {problems[0].split('`')[3]}=NAME)"
            + ("; or is the delimiter another (--delimiter)?" if len(header) == 1 else "")
        )
    return {role: header.index(layout.columns[role]) for role in layout.roles()}


def _opened(file: Path) -> BinaryIO:
    """The content, uncompressed."""
    with file.open("rb") as content:
        start = content.read(4)
    if start[:2] == b"\x1f\x8b":
        return cast(BinaryIO, gzip.open(file, "rb"))
    if start[:2] == b"PK" or start == b"\x28\xb5\x2f\xfd":
        raise ClientError(
            f"{file.name} is a {'zip' if start[:2] == b'PK' else 'zstd'} archive; expected .csv or .csv.gz: unpack it"
        )
    return file.open("rb")


def _text(content: BinaryIO, encoding: str) -> io.TextIOWrapper:
    # utf-8-sig differs from utf-8 only in dropping the byte order mark that Excel puts in front.
    return io.TextIOWrapper(content, encoding="utf-8-sig" if _is_utf8(encoding) else encoding, newline="")


def _is_utf8(encoding: str) -> bool:
    return _codec(encoding) in ("utf-8", "utf-8-sig", "ascii")


def _codec(encoding: str) -> str:
    try:
        return codecs.lookup(encoding).name
    except LookupError as error:
        raise ClientError(
            f"encoding is `{encoding}`, which is none that Python knows; expected for example utf-8, latin-1, cp1252 "
            f"or utf-16: set `encoding` {CONFIGURATION} (--encoding)"
        ) from error


@contextmanager
def _as_utf8(file: Path, encoding: str) -> Iterator[Path]:
    """The file as DuckDB can read it: itself if it is UTF-8, else a temporary copy in UTF-8."""
    if _is_utf8(encoding):
        yield file
        return
    with tempfile.TemporaryDirectory(prefix="transactions-") as folder:
        copy = Path(folder) / "utf-8.csv"
        lines = 1
        try:
            with _opened(file) as content, copy.open("wb") as out:
                decoder = codecs.getincrementaldecoder(encoding)("strict")
                while chunk := content.read(_COPY_BYTES):
                    text = decoder.decode(chunk)
                    lines += text.count("\n")
                    out.write(text.encode())
                decoder.decode(b"", final=True)
        except UnicodeError as error:
            raise ClientError(_wrong_encoding(file, encoding, f"{lines} or later")) from error
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ClientError(_damaged(file, str(error))) from error
        yield copy


def _insert(
    connection: duckdb.DuckDBPyConnection,
    number: int,
    file: Path,
    readable: Path,
    width: int,
    position: dict[str, int],
    layout: Format,
) -> _Loaded:
    """Load one file's lines into a table of its own: only CREATE TABLE AS keeps their order and uses every thread."""
    table = f"line_{number}"
    names = [f"c{index}" for index in range(width)]
    with readable.open("rb") as content:
        compression = "gzip" if content.read(2) == b"\x1f\x8b" else "none"
    columns = ", ".join(f"'{name}': 'VARCHAR'" for name in names)
    source = (
        f"read_csv({_quoted(str(readable))}, columns={{{columns}}}, auto_detect=false, header=true, "
        f"delim={_quoted(layout.delimiter)}, quote='\"', escape='\"', ignore_errors=true, store_rejects=true, "
        f"rejects_table='reject_{number}', rejects_scan='reject_scan_{number}', compression='{compression}')"
    )
    text = {role: f"trim(c{index})" for role, index in position.items()}
    holder = (
        text["holder"]
        if "holder" in text
        # An empty part makes the name NULL, and the line one without a holder.
        else f"nullif(left({text['first_initial']}, 1), '') || '_' || nullif({text['last_name']}, '')"
    )
    formats = "[" + ", ".join(_quoted(one) for one in layout.date_formats) + "]"
    try:
        connection.execute(
            f"""
            CREATE TABLE {table} AS
            SELECT hash, CASE WHEN reason IS NULL THEN name END AS name, vendor, day::INTEGER AS day, cents, reason,
                CASE reason WHEN 'date' THEN coalesce(date_text, '') WHEN 'amount' THEN coalesce(amount_text, '')
                    WHEN 'holder' THEN '' WHEN 'vendor' THEN '' END AS found
            FROM (
                SELECT *, CASE WHEN day IS NULL THEN 'date' WHEN cents IS NULL THEN 'amount'
                    WHEN name IS NULL OR name = '' THEN 'holder' WHEN NOT has_vendor THEN 'vendor' END AS reason
                FROM (
                    SELECT hash({", ".join(names)}) AS hash, {holder} AS name, hash({text["vendor"]}) AS vendor,
                        coalesce({text["vendor"]}, '') <> '' AS has_vendor, {text["date"]} AS date_text,
                        date_diff('day', DATE '1970-01-01', try_strptime({text["date"]}, {formats})::DATE) AS day,
                        {text["amount"]} AS amount_text, {_cents(text["amount"], layout.decimal)} AS cents
                    FROM {source}
                )
            )
            """
        )
    except duckdb.Error as error:
        if "invalid unicode" in str(error).lower() or "not utf-8 encoded" in str(error).lower():
            raise ClientError(_wrong_encoding(file, layout.encoding, "that DuckDB could not read")) from error
        if isinstance(error, duckdb.IOException | duckdb.InvalidInputException):
            reason = str(error).splitlines()[0]
            raise ClientError(_damaged(file, reason)) from error
        raise
    rejected = connection.execute(
        f"SELECT line, min(error_type::VARCHAR), arg_min(error_message, column_idx) FROM reject_{number} "
        "GROUP BY line ORDER BY line"
    ).fetchall()
    for line, kind, _ in rejected:
        if "UNICODE" in kind or "ENCODING" in kind:
            raise ClientError(_wrong_encoding(file, layout.encoding, f"{line}"))
    (readable_lines,) = _one(connection, f"SELECT count(*) FROM {table}")
    findings = [(int(line), _finding(kind, message, width)) for line, kind, message in rejected]
    return _Loaded(file, table, readable_lines + len(findings), findings)


def _cents(text: str, decimal: str) -> str:
    """SQL that turns the text of an amount into hundredths: 12.5, -42863.04, $1,234.50, (89.00)."""
    plain = f"translate({text}, ',.', '.,')" if decimal == "," else text
    # Thousands separators are only taken away where they stand between groups of three: 12,5 is no number.
    grouped = r"\(?[-+]?[$€£]?[-+]?\d{1,3}(,\d{3})*(\.\d*)?\)?|\(?[-+]?[$€£]?[-+]?\d+(\.\d*)?\)?"
    digits = f"regexp_replace({plain}, '[^0-9.]', '', 'g')"
    sign = f"CASE WHEN contains({plain}, '-') OR starts_with({plain}, '(') THEN -1 ELSE 1 END"
    slow = f"CASE WHEN regexp_full_match({plain}, '{grouped}') THEN TRY_CAST({digits} AS DECIMAL(18, 2)) * ({sign}) END"
    return f"CAST(coalesce(TRY_CAST({plain} AS DECIMAL(18, 2)), {slow}) * 100 AS BIGINT)"


def _finding(kind: str, message: str, width: int) -> str:
    found = message.partition("Found: ")[2].split()
    return f"{found[0]} fields instead of {width}" if found and found[0].isdigit() else kind.lower()


def _bad_lines(
    connection: duckdb.DuckDBPyConnection, loaded: Sequence[_Loaded]
) -> tuple[dict[str, int], dict[str, list[dict[str, Any]]]]:
    """How many lines are bad, and the first few, by reason. What is shown is one field, never a name."""
    bad = dict.fromkeys(REASONS, 0)
    examples: dict[str, list[dict[str, Any]]] = {reason: [] for reason in REASONS}

    def example(file: _Loaded, reason: str, line: int, found: str) -> None:
        if len(examples[reason]) < EXAMPLES:
            examples[reason].append({"file": file.file.name, "line": line, "found": found[:60]})

    for file in loaded:
        bad["columns"] += len(file.rejected)
        for line, found in file.rejected[:EXAMPLES]:
            example(file, "columns", line, found)
        counted = connection.execute(
            f"SELECT reason, count(*) FROM {file.table} WHERE reason IS NOT NULL GROUP BY reason"
        ).fetchall()
        for reason, count in counted:
            bad[reason] += count
            rows = connection.execute(
                f"SELECT rowid, found FROM {file.table} WHERE reason = ? ORDER BY rowid LIMIT {EXAMPLES}", [reason]
            ).fetchall()
            for row, found in rows:
                example(file, reason, _line_number(row, file.rejected), found)
    return bad, examples


def _line_number(row: int, rejected: Sequence[tuple[int, str]]) -> int:
    """Line of the n-th readable row: after the header, with the lines before it that are no rows."""
    line = row + 2
    for other, _ in rejected:
        if other > line:
            break
        line += 1
    return line


def _too_many_bad(
    lines: int, bad: dict[str, int], examples: dict[str, list[dict[str, Any]]], max_bad_share: float
) -> str:
    total = sum(bad.values())
    counts = ", ".join(f"{reason} {count}" for reason, count in bad.items() if count)
    chosen = [
        f"{one['file']} line {one['line']}: {reason} `{one['found'][:30]}`"
        for reason, found in examples.items()
        for one in found
    ][:EXAMPLES]
    return (
        f"{total} of {lines} lines cannot be read ({total / lines:.2%}: {counts}); expected at most "
        f"{max_bad_share:.2%}. {'; '.join(chosen)}. Set `date_formats`, `columns` or `decimal` {CONFIGURATION}, mend "
        "the file, or raise `max_bad_share` (--max-bad-share)"
    )


def _aggregate(
    connection: duckdb.DuckDBPyConnection,
    loaded: Sequence[_Loaded],
    lines: int,
    bad: dict[str, int],
    examples: dict[str, list[dict[str, Any]]],
    salt: str,
    keep_duplicates: bool,
    evaluation_day: int | None,
) -> Reading:
    sound = " UNION ALL ".join(f"SELECT * FROM {file.table} WHERE reason IS NULL" for file in loaded)
    good, later = _one(connection, f"SELECT count(*), count(*) FILTER (day > ?) FROM ({sound})", [evaluation_day])
    until = "" if evaluation_day is None else f"WHERE day <= {evaluation_day}"
    # Names are long, and many times repeated: from here on a hash stands for each.
    connection.execute(
        f"""
        CREATE TABLE named AS
        SELECT hash(name) AS who, left(sha256(? || chr(31) || any_value(name)), 16) AS id FROM ({sound}) GROUP BY who
        """,
        [salt],
    )
    # The same hash is the same line, and so the same holder, vendor, day and amount.
    connection.execute(
        f"""
        CREATE TABLE event AS
        SELECT any_value(hash(name)) AS who, any_value(vendor) AS vendor, any_value(day) AS day,
            any_value(cents) AS cents, count(*)::INTEGER AS copies
        FROM ({sound}) {until} GROUP BY hash
        """
    )
    for file in loaded:
        connection.execute(f"DROP TABLE {file.table}")
    times = "copies" if keep_duplicates else "1"
    distinct, purchases, refunds, zero = _one(
        connection,
        f"""
        SELECT count(*), coalesce(sum({times}) FILTER (cents > 0), 0), coalesce(sum({times}) FILTER (cents < 0), 0),
            coalesce(sum({times}) FILTER (cents = 0), 0)
        FROM event
        """,
    )
    if purchases == 0:
        raise ClientError(
            f"none of the {good} readable lines is a purchase (refunds {refunds}, zero {zero}, after the evaluation "
            f"time {later}); expected amounts above zero: are amounts of purchases negative in this file, or is the "
            "evaluation time too early?"
        )
    connection.execute(
        """
        CREATE TABLE holder AS SELECT who, row_number() OVER (ORDER BY id)::INTEGER - 1 AS index, id FROM named
        WHERE who IN (SELECT who FROM event WHERE cents > 0) ORDER BY index
        """
    )
    connection.execute(
        f"""
        CREATE TABLE activity AS
        SELECT index AS holder, vendor, day, sum({times})::INTEGER AS purchases, sum({times} * cents)::BIGINT AS cents
        FROM event JOIN holder USING (who) WHERE cents > 0 GROUP BY ALL
        """
    )
    connection.execute(
        f"""
        CREATE TABLE refund AS
        SELECT index AS holder, day, sum({times})::INTEGER AS refunds
        FROM event JOIN holder USING (who) WHERE cents < 0 GROUP BY ALL
        """
    )
    connection.execute("DROP TABLE event")
    connection.execute("DROP TABLE named")
    (holders,) = _one(connection, "SELECT count(*) FROM holder")
    return Reading(
        files=[{"file": file.file.name, "lines": file.lines} for file in loaded],
        lines=lines,
        bad=bad,
        examples=examples,
        duplicates=good - later - distinct,
        refunds=refunds,
        zero=zero,
        purchases=purchases,
        holders=holders,
        later=later,
    )


def _damaged(file: Path, reason: str) -> str:
    return f"{file.name} cannot be read ({reason}); expected a complete .csv or .csv.gz: bring the file once more"


def _wrong_encoding(file: Path, encoding: str, line: str) -> str:
    return (
        f"{file.name} is not {encoding}: line {line} holds bytes that mean nothing in it; expected a file in "
        f"{encoding}. Set `encoding` {CONFIGURATION} (--encoding latin-1, cp1252 or utf-16), or convert the file"
    )


def _names(files: Sequence[Path]) -> str:
    return ", ".join(file.name for file in files[:5]) + (" …" if len(files) > 5 else "")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _one(connection: duckdb.DuckDBPyConnection, query: str, values: Sequence[Any] = ()) -> tuple[Any, ...]:
    row = connection.execute(query, list(values)).fetchone()
    assert row is not None
    return tuple(int(value) for value in row)
