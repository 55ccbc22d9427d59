"""From the texts of a query's result to clean minutes, and the texts of the query itself."""

import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from botocore.exceptions import ClientError as AwsError
from hypothesis import given
from hypothesis import strategies as st

from seed_code.common.errors import ClientError
from seed_code.forecaster import athena, minutes
from seed_code.forecaster.minutes import FeatureGroup

BEFORE = datetime(2026, 11, 22, tzinfo=UTC)


def minute_of(text: str) -> int:
    return int(np.datetime64(text.rstrip("Z"), "m").astype(int))


def rows(*found: tuple[str, str | None], made: list[str] | None = None, **columns: list[str]) -> pa.Table:
    """A query's result: a minute and its value each."""
    count = len(found)
    return pa.table(
        {
            "minute": pa.array([minute for minute, _ in found], pa.string()),
            "made": pa.array(made or ["2026-11-21T12:00:00Z"] * count, pa.string()),
            "deleted": pa.array(columns.get("deleted", ["false"] * count), pa.string()),
            "versions": pa.array(columns.get("versions", ["1"] * count), pa.string()),
            "v0": pa.array([value for _, value in found], pa.string()),
        }
    )


def clean(table: pa.Table, days: int = 7, before: datetime = BEFORE) -> minutes.Minutes:
    return minutes.clean(table, ["fee"], days, before)


def test_minutes_out_of_order_are_put_in_order():
    found = clean(rows(("2026-11-21T00:02:00Z", "3"), ("2026-11-21T00:00:00Z", "1"), ("2026-11-21T00:01:00Z", "2.5")))
    assert found.minute.tolist() == [minute_of("2026-11-21T00:00Z") + at for at in range(3)]
    assert found.values[0].tolist() == [1, 2.5, 3]
    assert (found.versions, found.superseded, found.deleted, found.left_out.counts) == (3, 0, 0, {})


def test_a_local_clock_change_is_no_gap_and_no_overlap():
    """The night of 2026-10-25 in Europe: 02:59 summer time is followed by 02:00 winter time."""
    texts = [
        "2026-10-25T02:58:00+02:00", "2026-10-25T02:59:00+02:00", "2026-10-25T02:00:00+01:00",
        "2026-10-25T02:01:00+0100", "2026-10-25T01:02:00Z", "2026-10-25 01:03:00", "2026-10-25T01:04",
    ]  # fmt: skip
    found = clean(rows(*((text, str(at)) for at, text in enumerate(texts))))
    assert found.minute.tolist() == [minute_of("2026-10-25T00:58Z") + at for at in range(7)]
    assert found.values[0].tolist() == list(range(7))


@given(st.datetimes(datetime(1990, 1, 1), datetime(2026, 11, 20)), st.integers(-14 * 60, 14 * 60))
def test_any_offset_is_converted(moment, offset):
    moment = moment.replace(second=0, microsecond=0)
    sign, size = "-" if offset < 0 else "+", abs(offset)
    text = f"{moment:%Y-%m-%dT%H:%M:%S}{sign}{size // 60:02d}:{size % 60:02d}"
    (found,) = clean(rows((text, "1"))).minute
    assert found == minute_of(f"{moment - timedelta(minutes=offset):%Y-%m-%dT%H:%M}Z")


def test_the_same_minute_in_two_spellings_is_its_later_version():
    twice = [("2026-11-21T10:00:00Z", "1"), ("2026-11-21T11:00:00+01:00", "2"), ("2026-11-21T10:01:00Z", "3")]
    for made, expected in (
        (["2026-11-21T10:05:00Z", "2026-11-21T10:05:00.500Z", "2026-11-21T10:05:00Z"], [2, 3]),
        (["2026-11-21T10:06:00Z", "2026-11-21T10:05:00Z", "2026-11-21T10:05:00Z"], [1, 3]),
        (["1795255500.5", "1795255500.25", "1795255500"], [1, 3]),
    ):
        found = clean(rows(*twice, made=made))
        assert found.values[0].tolist() == expected
        assert (found.versions, found.superseded) == (3, 1)


def test_what_is_no_minute_is_counted_with_examples():
    found = clean(
        rows(
            ("yesterday", "1"), ("2026-13-01T00:00:00Z", "1"), ("2026-11-21T25:00:00Z", "1"), ("", "1"),
            ("2026-11-21T00:00:17Z", "1"), ("2026-11-21T00:00:00.25Z", "1"), ("2026-11-21T00:00:00Z", "7"),
        )
    )  # fmt: skip
    assert found.values[0].tolist() == [7]
    assert found.left_out.counts == {"not a time": 4, "not the beginning of a minute": 2}
    assert found.left_out.examples["not a time"] == ["", "2026-11-21T25:00:00Z", "2026-13-01T00:00:00Z"]


def test_what_is_no_number_is_missing_and_counted_by_reason():
    texts = ["1.5E7", "NaN", "Infinity", "-Infinity", "1e999", "n/a", "", "12 USD", "-3", None, ".5", "inf"]
    found = clean(rows(*((f"2026-11-21T00:{at:02d}:00Z", text) for at, text in enumerate(texts))))
    nan = np.nan
    np.testing.assert_array_equal(found.values[0], [1.5e7, nan, nan, nan, nan, nan, nan, nan, -3, nan, 0.5, nan])
    assert found.left_out.counts == {
        "fee is not finite": 4,
        "fee is not a number": 3,
        "fee is beyond 3.4e+38, the largest number that DeepAR takes": 1,
    }
    assert found.left_out.examples["fee is not a number"] == ["", "12 USD", "n/a"]


def test_deleted_minutes_and_superseded_versions_are_counted():
    found = clean(
        rows(
            ("2026-11-21T00:00:00Z", "1"), ("2026-11-21T00:01:00Z", None), ("2026-11-21T00:02:00Z", "3"),
            deleted=["false", "true", "false"], versions=["1", "2", "4"],
        )
    )  # fmt: skip
    assert found.values[0].tolist() == [1, 3]
    assert (found.versions, found.superseded, found.deleted) == (7, 4, 1)


def test_only_the_days_before_the_newest_minute_and_the_evaluation_time_are_kept():
    texts = ["2026-11-19T23:59:00Z", "2026-11-20T00:00:00Z", "2026-11-20T23:59:00Z", "2026-11-21T00:00:00Z"]
    table = rows(*((text, "1") for text in texts))
    day_before = datetime(2026, 11, 21, tzinfo=UTC)
    assert len(clean(table, days=1, before=day_before).minute) == 2
    assert len(clean(table, days=1, before=day_before + timedelta(seconds=1)).minute) == 2
    assert clean(table, days=2, before=day_before).minute[0] == minute_of(texts[0])
    assert not len(clean(table, before=datetime(2026, 11, 19, tzinfo=UTC)).minute)


def test_an_empty_result_has_no_minute():
    assert not len(clean(rows()).minute)


@given(
    st.lists(
        st.tuples(st.integers(0, 200), st.one_of(st.none(), st.floats(width=32)), st.booleans()),
        unique_by=lambda row: row[0],
        max_size=40,
    )
)
def test_every_row_is_a_minute_or_counted(found):
    begin = minute_of("2026-11-21T00:00Z")
    texts = [f"{np.datetime64(begin + at, 'm')}:00Z" for at, _, _ in found]
    table = rows(
        *((text, None if value is None else repr(value)) for text, (_, value, _) in zip(texts, found, strict=True)),
        deleted=["true" if gone else "false" for _, _, gone in found],
    )
    cleaned = clean(table)
    kept = sorted((begin + at, value) for at, value, gone in found if not gone)
    assert cleaned.minute.tolist() == [at for at, _ in kept]
    expected = [np.nan if value is None or not np.isfinite(value) else value for _, value in kept]
    np.testing.assert_array_equal(cleaned.values[0], expected)
    assert cleaned.deleted == len(found) - len(kept)
    strange = sum(value is not None and not np.isfinite(value) for _, value in kept)
    assert sum(cleaned.left_out.counts.values()) == strange


GROUP = FeatureGroup(
    'odd"group', "sagemaker_featurestore", 'odd_"group"_1', "tx_minute", "event_time",
    {"tx_minute": "String", "event_time": "String", "avg_Fee": "Fractional"},
)  # fmt: skip


def test_names_in_the_query_are_quoted_and_values_are_times_and_numbers():
    sql = GROUP.query(["avg_Fee"], 7, BEFORE, datetime(2026, 11, 22, 1, 2, 3, 456, tzinfo=UTC))
    assert '"sagemaker_featurestore"."odd_""group""_1"' in sql
    assert '"avg_fee" AS v0' in sql
    assert set(re.findall(r"'([^']*)'", sql)) == {
        "2026-11-22 01:02:03.000456", "2026-11-22T00:00:00Z", "2026-11-24", "day",
    }  # fmt: skip
    assert "write_time <=" not in GROUP.query(["avg_Fee"], 7, BEFORE, None)


class FakeSageMaker:
    """Answers DescribeFeatureGroup with what a test wants."""

    def __init__(self, *pages: dict[str, object] | Exception) -> None:
        self._pages = list(pages)

    def describe_feature_group(self, **_: str) -> dict[str, object]:
        page = self._pages.pop(0)
        if isinstance(page, Exception):
            raise page
        return dict(page)


def described(**changes: object) -> dict[str, object]:
    return {
        "FeatureGroupStatus": "Created",
        "RecordIdentifierFeatureName": "tx_minute",
        "EventTimeFeatureName": "event_time",
        "FeatureDefinitions": [{"FeatureName": "tx_minute", "FeatureType": "String"}],
        "OfflineStoreConfig": {"DataCatalogConfig": {"Database": "db", "TableName": "t", "Catalog": "AwsDataCatalog"}},
        **changes,
    }


def test_features_come_in_pages():
    more = [{"FeatureName": "avg_fee_1min", "FeatureType": "Fractional"}]
    group = FeatureGroup.describe(
        FakeSageMaker(described(NextToken="x"), described(FeatureDefinitions=more, NextToken="")), "minutes"
    )
    assert group.columns == {"tx_minute": "String", "avg_fee_1min": "Fractional"}
    assert (group.database, group.table) == ("db", "t")


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (
            AwsError({"Error": {"Code": "ResourceNotFound", "Message": "gone"}}, "DescribeFeatureGroup"),
            "there is no feature group minutes; the project's stack makes it, on this machine `mlops up` does; then",
        ),
        (
            AwsError({"Error": {"Code": "AccessDeniedException", "Message": "not you"}}, "DescribeFeatureGroup"),
            "minutes could not be described: .*not you",
        ),
        (
            described(FeatureGroupStatus="CreateFailed", FailureReason="no bucket"),
            r"has the status CreateFailed \(no bucket\); expected Created",
        ),
        (
            described(OfflineStoreConfig={}),
            "has no offline store with a table in a catalog; .* `mlops up` does; then `mlops ingest FILE` brings",
        ),
    ],
)
def test_a_group_that_cannot_be_read_says_why(page, expected):
    with pytest.raises(ClientError, match=expected):
        FeatureGroup.describe(FakeSageMaker(page), "minutes")


def test_a_results_csv_tells_null_from_empty():
    table = athena.texts(b'"a","b"\n"1",""\n,"x ""y"", z"\n"two\nlines",\n')
    assert table.to_pydict() == {"a": ["1", None, "two\nlines"], "b": ["", 'x "y", z', None]}
    assert athena.texts(b'"a","b"\n').num_rows == 0
    assert athena.texts(b'"a"\n"1"\n').schema.types == [pa.string()]
