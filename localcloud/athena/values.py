"""Values and types as Athena shows them: in its results' CSV and in GetQueryResults."""

from __future__ import annotations

import json
import math
from datetime import date, datetime
from decimal import Decimal
from typing import Any

_SIMPLE: dict[str, tuple[str, int, int]] = {
    # DuckDB's name: Athena's name, precision, scale
    "BOOLEAN": ("boolean", 0, 0),
    "TINYINT": ("tinyint", 3, 0),
    "SMALLINT": ("smallint", 5, 0),
    "INTEGER": ("integer", 10, 0),
    "BIGINT": ("bigint", 19, 0),
    "HUGEINT": ("bigint", 19, 0),
    "FLOAT": ("float", 17, 0),
    "DOUBLE": ("double", 17, 0),
    "VARCHAR": ("varchar", 2147483647, 0),
    "DATE": ("date", 0, 0),
    "TIMESTAMP": ("timestamp", 3, 0),
    "TIMESTAMP WITH TIME ZONE": ("timestamp with time zone", 3, 0),
    '"NULL"': ("unknown", 0, 0),
}


def column(name: str, duckdb_type: str) -> dict[str, Any]:
    """A ColumnInfo of a result's column. Raises ValueError for a type that results cannot have here."""
    base = duckdb_type.upper()
    if base.startswith("DECIMAL("):
        precision, scale = (int(part) for part in base[8:-1].split(","))
        type_name = "decimal"
    elif base.endswith("]"):
        type_name, precision, scale = "array", 0, 0
    elif base in _SIMPLE:
        type_name, precision, scale = _SIMPLE[base]
    elif base.startswith("TIMESTAMP"):
        type_name, precision, scale = _SIMPLE["TIMESTAMP"]
    else:
        raise ValueError(f"localcloud's Athena gives no column of type {duckdb_type} ({name!r}); CAST it")
    return {
        "CatalogName": "hive",
        "SchemaName": "",
        "TableName": "",
        "Name": name,
        "Label": name,
        "Type": type_name,
        "Precision": precision,
        "Scale": scale,
        "Nullable": "UNKNOWN",
        "CaseSensitive": type_name == "varchar",
    }


def text(value: Any) -> str | None:
    """A value as text; None for null."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return java_double(value)
    if isinstance(value, datetime):
        moment = f"{value:%Y-%m-%d %H:%M:%S}.{value.microsecond // 1000:03}"
        return moment if value.tzinfo is None else f"{moment} UTC"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, list):
        return f"[{', '.join('null' if item is None else str(text(item)) for item in value)}]"
    if isinstance(value, dict):
        return json.dumps(value, default=str)
    return str(value)


def java_double(value: float) -> str:
    """A double as Java writes it: 1.0, 1.5E7, 1.0E-5, NaN."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "-0.0" if math.copysign(1, value) < 0 else "0.0"
    if 1e-3 <= abs(value) < 1e7:
        shown = repr(value)
        # Python turns to exponents only far outside this range.
        return shown if "." in shown else f"{shown}.0"
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    assert isinstance(exponent, int)
    figures = "".join(map(str, digits)).rstrip("0") or "0"
    power = exponent + len(digits) - 1
    return f"{'-' if sign else ''}{figures[0]}.{figures[1:] or '0'}E{power}"
