"""Small files of an offline store become one, and nothing is lost or there twice, wherever it is cut off."""

from __future__ import annotations

import contextlib
import io
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seed_code.common.errors import ClientError
from seed_code.ingestion import compact, compaction
from tests.seed_code.ingestion.fake_s3 import S3, PowerCut

PREFIX = "feature-store/123456789012/sagemaker/eu-west-1/offline-store/fraud-minutes-1795000000/data"
FOLDER = "year=2026/month=11/day=20/hour=14"
AT = datetime(2026, 11, 22, 3, 40, tzinfo=UTC)
SCHEMA = pa.schema(
    {
        "tx_minute": pa.string(),
        "total_nb_trx_1min": pa.int64(),
        "avg_fee_1min": pa.float64(),
        "write_time": pa.timestamp("us"),
        "is_deleted": pa.bool_(),
    }
)
Rows = list[dict[str, Any]]


def row(number: int) -> dict[str, Any]:
    return {
        "tx_minute": f"2026-11-20T14:{number % 60:02}:00Z",
        "total_nb_trx_1min": number,
        "avg_fee_1min": None if number % 3 else number / 7,
        "write_time": datetime(2026, 11, 20, 14, number % 60, 7, number),
        "is_deleted": False,
    }


def parquet(rows: Rows, schema: pa.Schema = SCHEMA, **options: Any) -> bytes:
    output = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema), output, **options)
    return output.getvalue()


def name(number: int, folder: str = FOLDER) -> str:
    return f"{PREFIX}/{folder}/20261120T14{number % 60:02}01Z_random{number}.parquet"


def bucket(*sizes: int) -> S3:
    """One folder with a file for each size, of so many rows."""
    s3, first = S3(), 0
    for number, size in enumerate(sizes):
        s3.objects[name(number)] = parquet([row(first + at) for at in range(size)])
        first += size
    return s3


def run(s3: S3, at: datetime = AT) -> compact.Findings:
    return compact.compact_all(s3, compact.Location("bucket", PREFIX, "a-key"), at)


def rows(s3: S3) -> Counter[str]:
    """All rows that there are, with how often."""
    return Counter(
        json.dumps(one, default=str)
        for content in s3.objects.values()
        for one in pq.read_table(io.BytesIO(content)).to_pylist()
    )


def test_a_folder_becomes_one_file_with_the_same_rows_and_types() -> None:
    s3 = bucket(1, 2, 1)
    before = rows(s3)
    findings = run(s3)
    assert (findings.folders, findings.compacted, findings.rows) == (1, 1, 4)
    assert (findings.files_before, findings.files_after, findings.finished) == (3, 1, 0)
    (key,) = s3.objects
    assert s3.keys == {key: "a-key"}
    assert key.startswith(f"{PREFIX}/{FOLDER}/20261120T140201Z_compacted-")
    table = pq.read_table(io.BytesIO(s3.objects[key]))
    assert table.schema.equals(SCHEMA)
    assert table["total_nb_trx_1min"].to_pylist() == [0, 1, 2, 3]
    assert rows(s3) == before
    footer = pq.ParquetFile(io.BytesIO(s3.objects[key])).metadata
    assert footer.row_group(0).column(0).compression == "SNAPPY"
    assert [name for name, _ in json.loads(footer.metadata[b"mlops.compaction.inputs"])] == [
        name(number).rpartition("/")[2] for number in range(3)
    ]


def test_what_is_one_file_is_left_and_not_even_read() -> None:
    s3 = bucket(3)
    assert run(s3).compacted == 0
    s3 = bucket(1, 1)
    run(s3)
    s3.calls = 0
    assert run(s3) == compact.Findings(folders=1, files_before=1, files_after=1)
    assert s3.calls == 0


def test_what_comes_later_joins_the_file() -> None:
    s3 = bucket(2, 1)
    run(s3)
    s3.objects[name(50)] = parquet([row(99)])
    before = rows(s3)
    assert run(s3).rows == 4
    assert len(s3.objects) == 1
    assert rows(s3) == before


@pytest.mark.parametrize(
    ("at", "folders"),
    [
        ("2026-11-21T23:59:59Z", 0),
        ("2026-11-22T00:00:00Z", 2),
        ("2026-11-22T23:59:59Z", 2),
        ("2026-11-23T00:00:00Z", 3),
    ],
)
def test_only_days_that_have_been_over_for_a_day_are_compacted(at: str, folders: int) -> None:
    s3 = S3()
    for hour in (
        "year=2026/month=11/day=20/hour=00",
        "year=2026/month=11/day=20/hour=23",
        "year=2026/month=11/day=21/hour=00",
    ):
        s3.objects |= {name(number, hour): parquet([row(number)]) for number in range(2)}
    findings = run(s3, datetime.fromisoformat(at))
    assert (findings.folders, findings.compacted) == (folders, folders)


def test_other_objects_are_left_alone() -> None:
    s3 = bucket(1, 1)
    others = [f"{PREFIX}/{FOLDER}/_SUCCESS", f"{PREFIX}/notes/a.parquet", f"{PREFIX}-other/{FOLDER}/a.parquet"]
    s3.objects |= dict.fromkeys(others, b"")
    assert run(s3).compacted == 1
    assert set(others) < set(s3.objects)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"PAR1 rubbish", "is no Parquet file"),
        (parquet([{"tx_minute": "x"}], pa.schema({"tx_minute": pa.string()})), "has other columns"),
    ],
)
def test_files_that_cannot_become_one_stay_and_are_told(content: bytes, reason: str) -> None:
    s3 = bucket(1, 1)
    s3.objects[name(9)] = content
    s3.objects |= {name(number, FOLDER.replace("14", "15")): parquet([row(number)]) for number in range(2)}
    before = {key for key in s3.objects if FOLDER in key}
    findings = run(s3)
    assert findings.compacted == 1  # the other hour
    assert [one["folder"] for one in findings.left_alone] == [FOLDER]
    assert reason in findings.left_alone[0]["reason"]
    assert before == {key for key in s3.objects if FOLDER in key}


def test_a_folder_that_is_too_large_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "MOST_BYTES", 100)
    assert "more than 0 MB together" in run(bucket(1, 1)).left_alone[0]["reason"]


def test_timestamps_of_the_old_type_stay_so() -> None:
    s3 = S3()
    for number in range(2):
        s3.objects[name(number)] = parquet([row(number)], use_deprecated_int96_timestamps=True)
    before = rows(s3)
    run(s3)
    (content,) = s3.objects.values()
    types = {column.name: column.physical_type for column in pq.ParquetFile(io.BytesIO(content)).schema}
    assert types["write_time"] == "INT96"
    assert rows(s3) == before


@pytest.mark.parametrize("new", [0, 1])
@pytest.mark.parametrize("readable", [False, True])
def test_a_file_that_comes_back_damaged_costs_none(new: int, readable: bool) -> None:
    s3 = bucket(1, 1)
    before = rows(s3)

    def damage(number: int) -> None:
        key = next(key for key in s3.objects if "compacted" in key)
        content = s3.objects[key]
        # Of a file that is cut off the footer is gone; of the other a byte of the first column has changed.
        s3.objects[key] = content[:9] + bytes([content[9] ^ 255]) + content[10:] if readable else content[:-9]

    s3.after = damage
    with pytest.raises(ClientError, match=r"came back other than it was written; no file was deleted"):
        run(s3)
    s3.after = lambda number: None
    assert len(s3.objects) == 3
    s3.objects |= {name(9): parquet([row(9)])} if new else {}
    before += Counter([json.dumps(row(9), default=str)] * new)
    findings = run(s3)
    if new and not readable:  # nothing tells that all it was made of is there
        assert "what it was made of is gone" in findings.left_alone[0]["reason"]
        return
    assert findings.rows == 2 + new
    assert rows(s3) == before
    assert len(s3.objects) == 1


def test_a_damaged_file_whose_inputs_are_gone_is_told() -> None:
    s3 = bucket(1, 1)
    run(s3)
    (key,) = s3.objects
    s3.objects[key] = s3.objects[key][:-9]
    s3.objects[name(9)] = parquet([row(9)])
    assert "is damaged, and what it was made of is gone" in run(s3).left_alone[0]["reason"]
    assert len(s3.objects) == 2


def cut(s3: S3, at: int, *, done: bool) -> bool:
    """Run until the power is cut at a change, before or after it is done; whether it came so far."""

    def end(number: int) -> None:
        if number == at:
            raise PowerCut

    s3.calls = 0
    s3.before, s3.after = (lambda number: None, end) if done else (end, lambda number: None)
    try:
        run(s3)
    except PowerCut:
        return True
    finally:
        s3.before = s3.after = lambda number: None
    return False


@pytest.mark.parametrize("done", [False, True])
def test_wherever_it_is_cut_off_the_next_run_finishes(done: bool) -> None:
    at = 1
    while True:
        s3 = bucket(2, 1, 3, 1)
        before = rows(s3)
        was_cut = cut(s3, at, done=done)
        assert set(rows(s3)) == set(before), "a row is lost"
        assert cut(s3, 1000, done=False) is False
        assert rows(s3) == before
        assert len(s3.objects) == 1
        if not was_cut:
            break
        at += 1
    assert at == 6  # one written, four deleted


@settings(max_examples=30)
@given(
    sizes=st.lists(st.integers(1, 3), min_size=1, max_size=5),
    cuts=st.lists(st.tuples(st.integers(1, 7), st.booleans(), st.integers(0, 2)), max_size=5),
)
def test_cut_off_again_and_again_while_files_come(sizes: list[int], cuts: list[tuple[int, bool, int]]) -> None:
    s3 = bucket(*sizes)
    expected = rows(s3)
    number = 100
    for at, done, new in cuts:
        cut(s3, at, done=done)
        assert set(rows(s3)) == set(expected)
        for _ in range(new):
            s3.objects[name(number)] = parquet([row(number)])
            expected += Counter([json.dumps(row(number), default=str)])
            number += 1
    run(s3)
    run(s3)
    assert rows(s3) == expected
    assert len(s3.objects) == 1


@settings(max_examples=30)
@given(
    at=st.integers(1, 6),
    done=st.booleans(),
    new=st.integers(0, 2),
    then=st.integers(1, 6),
)
def test_a_run_in_the_midst_of_another(at: int, done: bool, new: int, then: int) -> None:
    s3 = bucket(1, 2, 1)
    expected = rows(s3)
    calm: Callable[[int], None] = lambda number: None  # noqa: E731

    def another(number: int) -> None:
        if number != at:
            return
        for later in range(100, 100 + new):
            s3.objects[name(later)] = parquet([row(later)])
            expected.update([json.dumps(row(later), default=str)])
        cut(s3, then, done=done)

    s3.after, s3.before = (another, calm) if done else (calm, another)
    with contextlib.suppress(ClientError):
        run(s3)
    s3.before = s3.after = calm
    assert set(rows(s3)) == set(expected)
    run(s3)
    run(s3)
    assert rows(s3) == expected
    assert len(s3.objects) == 1


@dataclass(frozen=True)
class SageMaker:
    """Describes one feature group."""

    store: dict[str, Any]

    def describe_feature_group(self, *, FeatureGroupName: str) -> dict[str, Any]:
        return {"FeatureGroupName": FeatureGroupName, **self.store}


def test_a_group_tells_where_its_files_are() -> None:
    place = {"S3Uri": "s3://bucket/feature-store", "ResolvedOutputS3Uri": f"s3://bucket/{PREFIX}"}
    found = SageMaker({"OfflineStoreConfig": {"S3StorageConfig": place}})
    assert compact.location(found, "minutes") == compact.Location("bucket", PREFIX)
    found = SageMaker({"OfflineStoreConfig": {"S3StorageConfig": {**place, "KmsKeyId": "a"}, "TableFormat": "Glue"}})
    assert compact.location(found, "minutes") == compact.Location("bucket", PREFIX, "a")
    with pytest.raises(ClientError, match=r"`minutes` is in the format Iceberg, expected Glue; compact it by Athena"):
        compact.location(
            SageMaker({"OfflineStoreConfig": {"S3StorageConfig": place, "TableFormat": "Iceberg"}}), "minutes"
        )
    with pytest.raises(ClientError, match="`minutes` has no offline store"):
        compact.location(SageMaker({}), "minutes")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--at"),
        (["--at", "yesterday"], "`yesterday` is no time such as"),
        (["--at", "2026-11-22", "--id", "a/b"], "--id is `a/b`"),
    ],
)
def test_mistakes_in_arguments_are_told(arguments: list[str], message: str) -> None:
    with pytest.raises(ClientError, match=message):
        compact.requested(arguments)
    assert compact.requested(["--at", "2026-11-22T04:40:00+01:00"]) == (AT, "compact-2026-11-22T03:40:00Z")
