"""The train and test channels: what is read, and what is refused with which words."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seed_code.common.errors import ClientError
from seed_code.forecaster import channels
from seed_code.forecaster.channels import Shape
from seed_code.forecaster.frequency import Frequency
from seed_code.forecaster.records import Series

HOURLY = Frequency.parse("H")
LINE = {"start": "2026-01-01 00:00:00", "target": [1, 2.5, None, "NaN"], "cat": [0, 1], "dynamic_feat": [[1, 2, 3, 4]]}


@pytest.fixture
def channel(tmp_path: Path) -> Path:
    (tmp_path / "train").mkdir()
    return tmp_path / "train"


def lines(*records: object) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def test_every_format_in_any_depth_reads_as_the_same_series(channel):
    (channel / "a.json").write_bytes(lines(LINE))
    (channel / "deep/er").mkdir(parents=True)
    (channel / "deep/b.jsonl").write_bytes(lines(LINE))
    (channel / "deep/er/c.json.gz").write_bytes(gzip.compress(lines(LINE, LINE)))
    table = pa.table(
        {
            "start": ["2026-01-01 00:00:00"],
            "target": [[1, 2.5, None, float("nan")]],
            "cat": [[0, 1]],
            "dynamic_feat": [[[1.0, 2.0, 3.0, 4.0]]],
            "name": ["is ignored"],
        }
    )
    pq.write_table(table, channel / "d.parquet")
    (channel / "_SUCCESS").write_text("")
    (channel / ".hidden").write_text("no JSON")

    series = channels.read(channel, HOURLY)

    assert len(series) == 5
    for one in series:
        np.testing.assert_array_equal(one.target, np.array([1, 2.5, np.nan, np.nan], np.float32))
        assert one.cat == (0, 1)
        np.testing.assert_array_equal(one.dynamic_feat, [[1, 2, 3, 4]])
        assert HOURLY.start_of(one.start).isoformat() == "2026-01-01T00:00:00"


def test_parquet_time_stamps_are_starts_unless_they_have_a_zone(channel):
    naive = pa.array([1767225600000000], pa.timestamp("us"))
    table = {"target": pa.array([[1.0, 2.0]])}
    pq.write_table(pa.table({"start": naive, **table}), channel / "a.parquet")
    assert HOURLY.start_of(channels.read(channel, HOURLY)[0].start).isoformat() == "2026-01-01T00:00:00"
    pq.write_table(pa.table({"start": naive.cast(pa.timestamp("us", tz="UTC")), **table}), channel / "a.parquet")
    with pytest.raises(ClientError, match=r"train/a.parquet, row 1: `start` is .* no time zone"):
        channels.read(channel, HOURLY)


def test_a_clock_change_is_an_hour_like_any_other(channel):
    """Starts have no zone, so the hours that Europe skips or repeats are just hours."""
    (channel / "a.json").write_bytes(
        lines({"start": "2026-03-29 01:00:00", "target": [1, 2, 3]}, {"start": "2026-03-29 02:30:00", "target": [1]})
    )
    first, second = channels.read(channel, HOURLY)
    assert second.start == first.start + 1


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"start": "2026-01-01", "target": [1, 2}', "line 2: not JSON"),
        (b'{"start": "2026-01-01", "target": [1, \xff]}', "line 2: not UTF-8"),
        (b"[1, 2]", "line 2: the record is a list; expected an object"),
        (b'{"target": [1]}', "line 2: `start` is missing; found `target`"),
        (b'{"start": "2026-01-01"}', "line 2: `target` is missing; found `start`"),
        (b'{"start": "2026-01-01T00:00:00Z", "target": [1]}', "no time zone, as in `2026-01-01T00:00:00`"),
        (b'{"start": "2026-01-01 00:00:00+02:00", "target": [1]}', "no time zone"),
        (b'{"start": "2026-01-01 00:00:00 Europe/Berlin", "target": [1]}', "no time zone"),
        (b'{"start": "01/02/2026", "target": [1]}', "`start` is `01/02/2026`; expected YYYY-MM-DD HH:MM:SS"),
        (b'{"start": "2026-02-30", "target": [1]}', "`start` is `2026-02-30`: day is out of range"),
        (b'{"start": 17, "target": [1]}', "`start` is `17`; expected a string"),
        (b'{"start": "2026-01-01", "target": []}', "`target` is empty"),
        (b'{"start": "2026-01-01", "target": 5}', "`target` is `5`; expected a list"),
        (b'{"start": "2026-01-01", "target": [1, "two"]}', r"`target\[1\]` is `two`; expected a number, null or"),
        (b'{"start": "2026-01-01", "target": [1, "2"]}', r"`target\[1\]` is `2`; expected a number"),
        (b'{"start": "2026-01-01", "target": [1, true]}', r"`target\[1\]` is true; expected a number"),
        (b'{"start": "2026-01-01", "target": [[1]]}', r"`target\[0\]` is a list; expected a number"),
        (b'{"start": "2026-01-01", "target": [1, 1e39]}', r"`target\[1\]` is 1e\+39; expected a finite number"),
        (b'{"start": "2026-01-01", "target": [1, Infinity]}', r"`target\[1\]` is inf; expected a finite number"),
        (b'{"start": "2026-01-01", "target": [1' + b"0" * 400 + b"]}", "`target` holds a number beyond"),
        (b'{"start": "2026-01-01", "target": [1], "cat": [-1]}', r"`cat\[0\]` is `-1`; expected a whole number"),
        (b'{"start": "2026-01-01", "target": [1], "cat": 1}', "`cat` is `1`; expected a list"),
        (b'{"start": "2026-01-01", "target": [1], "dynamic_feat": [1]}', r"`dynamic_feat\[0\]` is `1`; expected a"),
        (b'{"start": "2026-01-01", "target": [1], "dynamic_feat": [[null]]}', r"`dynamic_feat\[0\]\[0\]` is null"),
        (b'{"start": "2026-01-01", "target": [1], "dynamic_feat": [[NaN]]}', r"`dynamic_feat\[0\]\[0\]` is nan"),
        (b'{"start": "2026-01-01", "target": [1], "dynamic_feat": [[1], [1, 2]]}', "`dynamic_feat` has lists of 1, 2"),
        (b'{"start": "2026-01-01", "target": [1], "dynamic_feat": [[1, 2]]}', "`dynamic_feat` has 2 values a feature"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_named_by_file_line_and_field(channel, line, expected):
    (channel / "a.json").write_bytes(lines(LINE) + line + b"\n" + lines(LINE))
    with pytest.raises(ClientError, match=r"^train/a\.json, line 2: ") as refused:
        channels.read(channel, HOURLY)
    assert refused.match(expected)


def test_a_series_beyond_the_calendar_is_refused(channel):
    (channel / "a.json").write_bytes(lines({"start": "2026-01-01", "target": [1] * 400}))
    with pytest.raises(ClientError, match="`target` has 400 values, which at 999999D end after the year 9999"):
        channels.read(channel, Frequency.parse("999999D"))


def test_blank_lines_count_but_do_not_matter(channel):
    (channel / "a.json").write_bytes(b"\n" + lines(LINE) + b"  \n{}\n")
    with pytest.raises(ClientError, match="line 4: `start` is missing"):
        channels.read(channel, HOURLY)


def test_five_mistakes_are_enough(channel):
    (channel / "a.json").write_bytes(b"{}\n" * 9)
    with pytest.raises(ClientError, match="further lines were not read") as refused:
        channels.read(channel, HOURLY)
    assert str(refused.value).count("`start` is missing") == 5


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.json.gz", b"no gzip", "train/a.json.gz is not a whole gzip file"),
        ("a.json.gz", gzip.compress(lines(LINE) * 1000)[:-20], "train/a.json.gz is not a whole gzip file"),
        ("a.parquet", b"PAR1 no parquet", "train/a.parquet is not a Parquet file"),
        ("a.csv", b"1,2", "train/a.csv has none of the extensions"),
        ("a.json", b"", "channel `train` holds no record"),
        (".hidden", b"", "channel `train` holds no file"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(channel, name, content, expected):
    (channel / name).write_bytes(content)
    with pytest.raises(ClientError, match=expected):
        channels.read(channel, HOURLY)


def test_a_missing_channel_is_named(tmp_path):
    with pytest.raises(ClientError, match="channel `train` holds no file"):
        channels.read(tmp_path / "train", HOURLY)


def test_the_content_type_decides_where_the_extension_does_not(channel):
    (channel / "part-0000").write_bytes(lines(LINE))
    assert len(channels.read(channel, HOURLY, "application/jsonlines")) == 1
    with pytest.raises(ClientError, match="ContentType of train/part-0000 is `text/csv`"):
        channels.read(channel, HOURLY, "text/csv")
    with pytest.raises(ClientError, match="no ContentType"):
        channels.read(channel, HOURLY, "auto")


def series(target: object, cat: tuple[int, ...] = (), features: int = 0) -> Series:
    values = np.asarray(target, np.float32)
    return Series(0, values, cat, np.ones((features, len(values) if features else 0), np.float32))


def test_sizes_are_taken_from_the_data_or_held_against_it(settings: Callable):
    data = [series([1] * 300, (0, 4), 2), series([1] * 300, (2, 1), 2)]
    assert channels.shape_of(data, settings()) == Shape((3, 5), 2)
    assert channels.shape_of(data, settings(cardinality="ignore", num_dynamic_feat="")) == Shape((), 0)
    assert channels.shape_of(data, settings(cardinality="[3, 9]", num_dynamic_feat="2")) == Shape((3, 9), 2)
    with pytest.raises(ClientError, match=r"`cardinality` is \[3, 2\], but .* needs \[3, 5\]"):
        channels.shape_of(data, settings(cardinality="[3, 2]"))
    with pytest.raises(ClientError, match=r"`cardinality` is \[5\], but"):
        channels.shape_of(data, settings(cardinality="[5]"))
    with pytest.raises(ClientError, match="`num_dynamic_feat` is 3, but the training data has 2"):
        channels.shape_of(data, settings(num_dynamic_feat="3"))
    with pytest.raises(ClientError, match="`cat` has 0 and 2 values"):
        channels.shape_of([*data, series([1])], settings())
    with pytest.raises(ClientError, match="`dynamic_feat` has 1 and 2 features"):
        channels.shape_of([*data, series([1], (0, 0), 1)], settings())


def test_the_test_channel_must_fit(settings: Callable):
    shape = Shape((3, 5), 2)
    channels.check_fits([series([1], (2, 4), 2)], shape, "test")
    for wrong, expected in (
        (series([1], (2,), 2), "record 1: `cat` has 1 values; expected 2"),
        (series([1], (2, 5), 2), r"`cat` is \[2, 5\]; expected values below \[3, 5\]"),
        (series([1], (2, 4), 1), "`dynamic_feat` has 1 features; expected 2"),
    ):
        with pytest.raises(ClientError, match=expected):
            channels.check_fits([wrong], shape, "test")


def test_too_few_observations_say_how_many_and_how_many_are_needed(settings: Callable):
    values = np.ones(400)
    values[150:251] = np.nan
    with pytest.raises(
        ClientError, match=r"299 observations \(400 values, 101 of them missing\); expected at least 300"
    ):
        channels.check_observations([series(values)], settings())
    channels.check_observations([series(values), series([1])], settings())
    with pytest.raises(ClientError, match="0 observations"):
        channels.check_observations([series(np.full(5000, np.nan))], settings())


def test_a_horizon_longer_than_every_series_is_refused(settings: Callable):
    with pytest.raises(ClientError, match="the longest series of channel `train` has 100 values; expected at least"):
        channels.check_observations([series(np.ones(100))] * 3, settings(prediction_length="101"))


@pytest.mark.parametrize(
    ("likelihood", "good", "bad"),
    [
        ("beta", [0, 1, 0.5], [-0.1, 1.1]),
        ("negative-binomial", [0, 7], [-1, 0.5]),
        ("student-T", [-1, 0.5], []),
        ("gaussian", [-1, 0.5], []),
        ("deterministic-L1", [-1, 0.5], []),
    ],
)
def test_values_that_a_likelihood_cannot_have_are_refused(settings: Callable, likelihood, good, bad):
    channels.check_observations([series(good * 300)], settings(likelihood=likelihood))
    for value in bad:
        with pytest.raises(ClientError, match=rf"record 2: `target` holds {value}; `likelihood` {likelihood} takes"):
            channels.check_observations([series(good * 300), series([*good, value])], settings(likelihood=likelihood))
