"""Loading minutes: what a file may look like, what is wrong with others, and what the feature store has afterwards."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import ingest, snapshot
from pipelines.errors import ServiceError, UsageError
from pipelines.feature_groups import MINUTES
from pipelines.session import client
from tests.pipelines import template
from tests.pipelines.furnished import furnish

HEADER = "tx_minute,total_nb_trx_1min,total_fee_1min,avg_fee_1min,event_time\n"
LINE = "2026-11-21T14:03:00Z,2,300.0,150.0,2026-11-21T14:04:02Z\n"
RECORD = {
    "tx_minute": "2026-11-21T14:03:00Z",
    "total_nb_trx_1min": "2",
    "total_fee_1min": "300.0",
    "avg_fee_1min": "150.0",
    "event_time": "2026-11-21T14:04:02Z",
}


def _file(folder: Path, text: str, name: str = "minutes.csv") -> Path:
    file = folder / name
    file.write_bytes(gzip.compress(text.encode(), mtime=0) if name.endswith(".gz") else text.encode())
    return file


def _mistake(file: Path) -> str:
    with pytest.raises(UsageError) as raised:
        ingest.read(file)
    return str(raised.value)


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["minutes.csv", "minutes.csv.gz", "MINUTES.CSV"])
def test_a_csv_is_read(tmp_path: Path, name: str) -> None:
    minutes = ingest.read(_file(tmp_path, "\ufeff" + HEADER + LINE, name))
    assert list(minutes.records) == [RECORD]
    assert (minutes.first, minutes.last, minutes.distinct) == (RECORD["tx_minute"], RECORD["tx_minute"], 1)


def test_a_parquet_file_with_timestamps_and_numbers_is_read(tmp_path: Path) -> None:
    minute = datetime(2026, 11, 21, 14, 3)
    table = pyarrow.table(
        {
            "avg_fee_1min": [150.0, None],
            "tx_minute": [minute, minute + timedelta(minutes=1)],
            "total_nb_trx_1min": [2, 0],
            "total_fee_1min": [300.0, 0.0],
            "event_time": pyarrow.array([minute.replace(tzinfo=UTC)] * 2, pyarrow.timestamp("ms", tz="Europe/Vienna")),
            "note": ["a", "b"],
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "minutes.parquet")
    minutes = ingest.read(tmp_path / "minutes.parquet")
    assert minutes.records[0] == {**RECORD, "event_time": "2026-11-21T14:03:00Z"}
    assert "avg_fee_1min" not in minutes.records[1]
    assert minutes.ignored_columns == ["note"]


def test_average_and_event_time_may_be_left_away(tmp_path: Path) -> None:
    text = "total_fee_1min,total_nb_trx_1min,tx_minute\n300,2,2026-11-21 14:03\n0,0,2026-11-21 14:04\n"
    one, other = ingest.read(_file(tmp_path, text)).records
    assert one == {**RECORD, "event_time": "2026-11-21T14:04:00Z"}
    assert "avg_fee_1min" not in other


def test_a_time_of_another_zone_is_the_same_moment_in_utc(tmp_path: Path) -> None:
    line = LINE.replace("2026-11-21T14:03:00Z", "2026-11-21T15:03:00+01:00")
    assert ingest.read(_file(tmp_path, HEADER + line)).records == [RECORD]


def test_a_later_version_of_a_minute_is_kept_and_the_same_row_twice_is_one(tmp_path: Path) -> None:
    later = LINE.replace("14:04:02Z", "14:09:00.500Z").replace("2,300.0,150.0", "3,600.0,200.0")
    minutes = ingest.read(_file(tmp_path, HEADER + later + LINE + LINE))
    assert [record["event_time"] for record in minutes.records] == ["2026-11-21T14:09:00.500Z", "2026-11-21T14:04:02Z"]
    assert minutes.distinct == 1


@given(
    minute=st.datetimes(datetime(2009, 1, 3), datetime(2099, 1, 1)).map(lambda moment: moment.replace(second=0)),
    hours=st.integers(-23, 23),
    count=st.integers(1, 2**63 - 1),
    total=st.floats(0, 1e12),
)
def test_what_was_written_is_what_is_read(minute: datetime, hours: int, count: int, total: float) -> None:
    moment = minute.replace(microsecond=0, tzinfo=timezone(timedelta(hours=hours)))
    record = ingest._record(
        {"tx_minute": moment.isoformat(), "total_nb_trx_1min": str(count), "total_fee_1min": repr(total)}
    )
    assert datetime.fromisoformat(record["tx_minute"]) == moment
    assert record["tx_minute"].endswith(":00Z")
    assert int(record["total_nb_trx_1min"]) == count
    assert float(record["total_fee_1min"]) == total
    assert float(record["avg_fee_1min"]) == total / count


# --- what is wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("soon,2,300,150,", "line 3: `tx_minute` is `soon`; expected a time such as 2026-11-21T14:03:00Z"),
        (",2,300,150,", "line 3: `tx_minute` is nothing; expected a time"),
        ("2026-11-21T14:04:30Z,2,300,150,", "line 3: `tx_minute` is `2026-11-21T14:04:30Z`; expected a whole minute"),
        ("2026-11-21T14:04:00Z,two,300,150,", "`total_nb_trx_1min` is `two`; expected a number from 0 to 9.22e+18"),
        ("2026-11-21T14:04:00Z,1_000,300,150,", "`total_nb_trx_1min` is `1_000`; expected a number"),
        ("2026-11-21T14:04:00Z,1e19,300,150,", "`total_nb_trx_1min` is `1e19`; expected a number from 0 to 9.22e+18"),
        ("2026-11-21T14:04:00Z,2,1e39,150,", "`total_fee_1min` is `1e39`; expected a number from 0 to 3.4e+38"),
        ("2026-11-21T14:04:00Z,0,300,77,", "`total_fee_1min` is `300` of 0 transactions; expected 0"),
        ("2026-11-21T14:04:00Z,2,300,77777,", "`avg_fee_1min` is `77777`; expected total over count, which is 150"),
        ("0033-01-01T00:00:00Z,2,300,150,", "`tx_minute` is `0033-01-01T00:00:00Z`; expected a time"),
        ("9999-12-31T23:59:00Z,2,300,150,", "`tx_minute` is `9999-12-31T23:59:00Z`, the last one that there is"),
        ("2026-11-21,2,300,150,", "`tx_minute` is `2026-11-21`; expected a time"),
        ("2026-11-21T14:04:00Z,2.5,300,150,", "`total_nb_trx_1min` is `2.5`; expected a whole number"),
        ("2026-11-21T14:04:00Z,2,nan,150,", "`total_fee_1min` is `nan`; expected a number from 0 to 3.4e+38"),
        ("2026-11-21T14:04:00Z,2,-1,150,", "`total_fee_1min` is `-1`; expected a number from 0 to 3.4e+38"),
        ("2026-11-21T14:04:00Z,2,300,inf,", "`avg_fee_1min` is `inf`; expected a number from 0 to 3.4e+38"),
        ("2026-11-21T14:04:00Z,2,300,150,later", "`event_time` is `later`; expected a time"),
        ("2026-11-21T14:04:00Z,2,300", "line 3: has 3 fields; expected 5, as the header has"),
        ("2026-11-21T14:03:00Z,3,300,100,2026-11-21T14:04:02Z", "was in line 2 with other values and the same"),
    ],
)
def test_a_row_that_cannot_be_taken_is_named(tmp_path: Path, line: str, expected: str) -> None:
    found = _mistake(_file(tmp_path, f"{HEADER}{LINE}{line}\n"))
    assert "has 1 mistake; nothing was written" in found
    assert expected in found


def test_of_many_mistakes_the_first_are_shown_and_all_counted(tmp_path: Path) -> None:
    found = _mistake(_file(tmp_path, HEADER + "x,1,1,1,\n" * 1500))
    assert "has 1,500 mistakes" in found
    assert found.count("expected a time") == 10
    assert found.endswith("… and 1,490 more")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("minutes.csv", b"", "is empty; expected a header with tx_minute"),
        ("minutes.csv", b"a,b\n", "has no column `tx_minute` and no `total_nb_trx_1min` and no `total_fee_1min`"),
        ("minutes.csv", b"a,b,a\n", "has the column `a` more than once"),
        ("minutes.csv", HEADER.encode(), "holds no row"),
        ("minutes.csv", b"tx_minut,total_nb_trx_1min,total_fee_1min\n", "did you mean `tx_minut`?"),
        ("minutes.csv", b"\xff\xfe\x00\x01", "is not UTF-8 text (byte 0)"),
        ("minutes.csv", HEADER.encode() + b'"2026-11-21T14:03:00Z', "line 2: unexpected end of data"),
        ("minutes.csv.gz", b"no gzip", "cannot be read: Not a gzipped file"),
        (
            "minutes.csv.gz",
            gzip.compress(HEADER.encode() + LINE.encode() * 999, mtime=0)[:-20],
            "cannot be read: Compressed file",
        ),
        ("minutes.csv.gz", gzip.compress(LINE.encode() * 99, mtime=0)[:12] + b"\xff" * 9, "cannot be read"),
        ("minutes.parquet", b"PAR1 no", "is no Parquet file"),
        ("minutes.xlsx", b"", "expected a name that ends in .csv, .csv.gz, .parquet"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    assert expected in _mistake(file)


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("tx_minute", pyarrow.array([2**50], pyarrow.timestamp("s")), "of type timestamp[ms] has a value that cannot"),
        ("tx_minute", pyarrow.array([0], pyarrow.timestamp("s", tz="Mars/Olympus")), "has a value that cannot be read"),
        (
            "tx_minute",
            pyarrow.array([1], pyarrow.timestamp("ns")),
            "row 1: `tx_minute` is `1970-01-01 00:00:00.000000001`",
        ),
        ("tx_minute", pyarrow.array([20000], pyarrow.date32()), "row 1: `tx_minute` is `2024-10-04`; expected a time"),
        ("total_nb_trx_1min", pyarrow.array([True]), "row 1: `total_nb_trx_1min` is `True`; expected a number"),
        ("total_nb_trx_1min", pyarrow.array([2**64 - 1], pyarrow.uint64()), "is `18446744073709551615`; expected"),
    ],
)
def test_a_parquet_value_that_cannot_be_taken_is_named(
    tmp_path: Path, column: str, values: pyarrow.Array, expected: str
) -> None:
    minute = pyarrow.array([datetime(2026, 11, 21, 14, 3)])
    columns = {"tx_minute": minute, "total_nb_trx_1min": pyarrow.array([2]), "total_fee_1min": pyarrow.array([3.0])}
    pyarrow.parquet.write_table(pyarrow.table({**columns, column: values}), tmp_path / "minutes.parquet")
    assert expected in _mistake(tmp_path / "minutes.parquet")


def test_a_whole_number_stays_what_it_is(tmp_path: Path) -> None:
    text = f"tx_minute,total_nb_trx_1min,total_fee_1min\n2026-11-21T14:03:00Z,{2**53 + 1},0\n"
    assert ingest.read(_file(tmp_path, text)).records[0]["total_nb_trx_1min"] == str(2**53 + 1)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert "No such file" in _mistake(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    assert "is a folder" in _mistake(tmp_path / "folder.csv")


# --- writing ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def provisioned(project: Any) -> Any:
    furnish(project.session, project.configuration)
    return project


def _stored(project: Any, minute: str) -> dict[str, str]:
    answer = client(project.session, "sagemaker-featurestore-runtime").get_record(
        FeatureGroupName=MINUTES.name(project.names), RecordIdentifierValueAsString=minute
    )
    return {value["FeatureName"]: value["ValueAsString"] for value in answer["Record"]}


def _newest(project: Any) -> str:
    return snapshot.newest_record(project.session, MINUTES.name(project.names), project.names.queries_uri)


def test_minutes_reach_both_stores_and_the_snapshot_moves_with_them(provisioned: Any, tmp_path: Path) -> None:
    assert _newest(provisioned) == "none"
    later = LINE.replace("14:04:02Z", "14:09:00Z").replace("2,300.0,150.0", "3,600.0,200.0")
    group, seen = MINUTES.name(provisioned.names), list[int]()

    def write(text: str) -> ingest.Written:
        minutes = ingest.read(_file(tmp_path, text))
        return ingest.write(provisioned.session, group, minutes, lambda written: seen.append(written.done))

    assert write(HEADER + later + LINE).new == 2
    assert seen == [2]
    assert _stored(provisioned, RECORD["tx_minute"])["avg_fee_1min"] == "200.0"
    first = _newest(provisioned)
    assert datetime.fromisoformat(first).tzinfo is not None
    # Again, and in another spelling: nothing is written, so that an execution finds nothing new either.
    again = write(HEADER + later.replace("3,600.0,200.0", "3,600,200.00") + LINE)
    assert (again.new, again.known, again.conflicting) == (0, 2, [])
    assert _newest(provisioned) == first
    assert write(HEADER + LINE.replace("14:0", "15:0")).new == 1
    assert _newest(provisioned) > first


def test_what_is_interrupted_is_taken_up_where_it_ended(provisioned: Any, tmp_path: Path) -> None:
    lines = "".join(f"2026-11-21T{hour:02}:{minute:02}:00Z,2,300,150,\n" for hour in range(5) for minute in range(50))
    minutes, group = ingest.read(_file(tmp_path, HEADER + lines)), MINUTES.name(provisioned.names)

    def interrupt(_: ingest.Written) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest.write(provisioned.session, group, minutes, interrupt)
    written = ingest.write(provisioned.session, group, minutes)
    assert (written.known, written.new) == (100, 150)


def test_other_values_under_the_same_event_time_are_told_and_left_out(
    provisioned: Any, tmp_path: Path, mlops: Callable[..., tuple[int, str, str]]
) -> None:
    assert mlops(provisioned.root, "ingest", str(_file(tmp_path, HEADER + LINE)))[0] == 0
    other = LINE.replace("2,300.0,150.0", "3,600.0,200.0")
    status, out, _ = mlops(provisioned.root, "ingest", str(_file(tmp_path, HEADER + other)))
    assert status == 1
    assert "1 minute has other values than the store has under the same event_time" in out
    assert "the first is 2026-11-21T14:03:00Z" in out
    assert _stored(provisioned, RECORD["tx_minute"])["avg_fee_1min"] == "150.0"


def test_a_group_that_does_not_exist_is_named_with_the_next_command(project: Any, tmp_path: Path) -> None:
    minutes = ingest.read(_file(tmp_path, HEADER + LINE))
    with pytest.raises(ServiceError, match=r"`t.*-forecaster-minutes` does not exist; .*`mlops up` does"):
        ingest.write(project.session, MINUTES.name(project.names), minutes)
    with pytest.raises(ServiceError, match="does not exist"):
        _newest(project)


def test_a_refused_record_ends_the_writing_and_says_how_far_it_came(provisioned: Any) -> None:
    minutes = ingest.Minutes([{**RECORD, "total_nb_trx_1min": "many"}], [])
    with pytest.raises(ServiceError, match=r"at least 0 of 1 minutes are in .*total_nb_trx_1min"):
        ingest.write(provisioned.session, MINUTES.name(provisioned.names), minutes)


def test_the_template_has_the_features_that_are_read_and_written() -> None:
    """Neither the pipelines nor the images read the template; their lists must agree with it all the same."""
    from seed_code.cardholders import feature_writer

    def features(name: str, resource: str) -> dict[str, str]:
        definitions = template.read(name)["Resources"][resource]["Properties"]["FeatureDefinitions"]
        return {one["FeatureName"]: one["FeatureType"] for one in definitions}

    assert features("ingestion", "MinutesFeatureGroup") == dict(MINUTES.features)
    assert features("project", "HoldersFeatureGroup") == feature_writer.definitions()


def test_the_verb_loads_a_file_and_says_what_is_next(
    provisioned: Any, tmp_path: Path, mlops: Callable[..., tuple[int, str, str]]
) -> None:
    file = _file(tmp_path, HEADER.replace("\n", ",note\n") + LINE.replace("\n", ",x\n"))
    status, out, err = mlops(provisioned.root, "ingest", str(file))
    assert (status, err) == (0, "")
    assert "1 minute from 2026-11-21T14:03:00Z to 2026-11-21T14:03:00Z: 1 written to the feature group" in out
    assert "ignored the columns note" in out
    assert "mlops run forecaster build" in out
    status, out, err = mlops(provisioned.root, "ingest", str(tmp_path / "none.csv"))
    assert (status, out) == (2, "")
    assert err.startswith("mlops: ")
