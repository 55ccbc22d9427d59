"""How values look in a result, and that pages of it come back as they were written."""

from __future__ import annotations

import io
import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.athena import results, values


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1.0, "1.0"),
        (0.1, "0.1"),
        (-2.5, "-2.5"),
        (1e7, "1.0E7"),
        (12345678.5, "1.23456785E7"),
        (9999999.0, "9999999.0"),
        (0.001, "0.001"),
        (0.00012, "1.2E-4"),
        (1e100, "1.0E100"),
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (math.nan, "NaN"),
        (-math.inf, "-Infinity"),
        (True, "true"),
        (7, "7"),
        (Decimal("1.50"), "1.50"),
        (date(2024, 1, 2), "2024-01-02"),
        (datetime(2024, 1, 2, 3, 4, 5, 678900), "2024-01-02 03:04:05.678"),
        (datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC), "2024-01-02 03:04:05.000 UTC"),
        ([1, None, "a"], "[1, null, a]"),
        (None, None),
    ],
)
def test_values_as_text(value: Any, shown: str | None) -> None:
    assert values.text(value) == shown


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_double_reads_back(value: float) -> None:
    assert float(values.java_double(value)) == value


class Bucket:
    """One object, read by ranges."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def head_object(self, **_: Any) -> dict[str, Any]:
        return {"ContentLength": len(self._content)}

    def get_object(self, *, Range: str, **_: Any) -> dict[str, Any]:
        first, last = (int(part) for part in Range.removeprefix("bytes=").split("-"))
        return {"Body": io.BytesIO(self._content[first : last + 1])}


_CELLS = (
    st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(['"', ",", "\n", ""])
)


@given(rows=st.lists(st.tuples(_CELLS, _CELLS), max_size=8), most=st.integers(1, 4))
def test_pages_give_what_was_written(rows: list[tuple[str | None, str | None]], most: int) -> None:
    stream = io.BytesIO()
    results.write(stream, rows)
    bucket = Bucket(stream.getvalue())
    found: list[list[str | None]] = []
    position: int | None = 0
    while position is not None:
        page, position = results.read_page(bucket, "b", "k", position, most, 2)
        assert len(page) <= most
        found += page
    assert found == [list(row) for row in rows]


def test_a_row_longer_than_a_chunk_is_read() -> None:
    stream = io.BytesIO()
    results.write(stream, [["ä" * 700_000, "b"], ["c", None]])
    page, position = results.read_page(Bucket(stream.getvalue()), "b", "k", 0, 5, 2)
    assert ([len(page[0][0] or ""), *page[1]], position) == ([700_000, "c", None], None)


def test_a_changed_result_is_noticed() -> None:
    with pytest.raises(ValueError, match="someone changed it"):
        results.read_page(Bucket(b'"a","b"\n"c"\n'), "b", "k", 0, 5, 2)
