"""The generator of minutes: its bytes, its formats, and the traits that it promises."""

import gzip
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from seed_code.common.market import MINUTES
from seed_code.forecaster import generate

END = 29_655_360  # 2026-05-21T00:00:00Z, in minutes since 1970-01-01


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Path]:
    """Runs the program; gives the file."""

    def ran(name: str, *arguments: str) -> Path:
        monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
        monkeypatch.setattr(sys, "argv", ["generate", "--out", str(tmp_path / name), *arguments])
        generate.main()
        return tmp_path / name

    return ran


@pytest.fixture(scope="module")
def minutes() -> generate.Minutes:
    """Four weeks of minutes."""
    return generate.simulate(END, 28, 7)


def test_the_same_arguments_give_the_same_bytes_and_another_seed_others(run):
    first = run("a.csv.gz", "--days", "1").read_bytes()
    assert run("b.csv.gz", "--days", "1").read_bytes() == first
    assert run("c.csv.gz", "--days", "1", "--seed", "8").read_bytes() != first


def test_every_format_holds_the_same_rows(run):
    span = ("--days", "1", "--end", "2026-05-21T06:30:00Z")
    text = run("a.csv", *span).read_bytes()
    assert text.startswith(b"tx_minute,total_nb_trx_1min,total_fee_1min,avg_fee_1min,event_time\n2026-05-20T06:30:00Z,")
    assert gzip.decompress(run("a.csv.gz", *span).read_bytes()) == text
    read = csv.read_csv(
        pa.BufferReader(text),
        convert_options=csv.ConvertOptions(
            column_types={"tx_minute": pa.string(), "event_time": pa.string(), "total_fee_1min": pa.float64()}
        ),
    )
    assert parquet.read_table(run("a.parquet", *span)).equals(read)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--days", "0"), "argument --days: 0 is not from 1 to 3660"),
        (("--days", "many"), "argument --days: invalid whole number value: 'many'"),
        (("--end", "soon"), "argument --end: `soon` is no ISO 8601 time"),
        (("--seed", "-1"), "argument --seed: -1 is not from 0 to 2147483647"),
        (("--out", "a.xlsx"), "--out is `a.xlsx`; expected a name that ends in .csv, .csv.gz or .parquet"),
    ],
)
def test_wrong_arguments_are_named(run, tmp_path, arguments, expected):
    with pytest.raises(SystemExit):
        run("a.csv", *arguments)
    assert expected in (tmp_path / "output/message").read_text()


def test_a_longer_file_holds_the_rows_of_a_shorter_one(minutes):
    short = generate.simulate(END, 2, 7)
    there = minutes.minute >= END - 2 * MINUTES
    for name in generate.Minutes.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(minutes, name)[there], getattr(short, name))


def test_rows_come_as_a_feed_brings_them(minutes):
    rows = generate.table(minutes)
    minute, made = (
        np.array([text.removesuffix("Z") for text in rows[name].to_pylist()], "datetime64[s]")
        for name in ("tx_minute", "event_time")
    )
    assert (np.diff(made) >= np.timedelta64(0)).all()
    assert (made > minute + np.timedelta64(60, "s")).all()
    assert rows["tx_minute"].to_pylist()[0].endswith(":00Z")
    versions = np.unique(minute, return_counts=True)[1]
    assert versions.max() == 2
    assert 0.001 < (versions == 2).mean() < 0.02
    known = rows.filter(rows["avg_fee_1min"].is_valid()).to_pydict()
    mean = np.array(known["total_fee_1min"]) / np.array(known["total_nb_trx_1min"])
    np.testing.assert_allclose(known["avg_fee_1min"], mean, atol=0.006)


def test_the_later_version_of_a_minute_is_the_complete_one(minutes):
    versions: dict[str, list[int]] = {}
    for row in generate.table(minutes).to_pylist():
        versions.setdefault(row["tx_minute"], []).append(row["total_nb_trx_1min"])
    twice = [found for found in versions.values() if len(found) == 2]
    assert twice
    assert all(early < complete for early, complete in twice)


def test_minutes_are_missing_and_some_are_quiet(minutes):
    assert (np.diff(minutes.minute) > 0).all()
    missing = 28 * MINUTES - len(minutes.minute)
    assert 20 < missing < 0.1 * 28 * MINUTES
    assert 0 < (minutes.transactions == 0).sum() < 0.01 * len(minutes.minute)
    assert (minutes.fee[minutes.transactions == 0] == 0).all()


def test_fees_have_a_daily_rhythm_and_persist(minutes):
    busy = minutes.transactions > 0
    fee = np.log(minutes.fee[busy] / minutes.transactions[busy])
    hour = minutes.minute[busy] // 60 % 24
    by_hour = np.array([np.median(fee[hour == at]) for at in range(24)])
    assert by_hour[13:18].mean() - by_hour[2:6].mean() > 0.4
    assert 3_000 < np.exp(np.median(fee)) < 30_000
    # A minute tells more of the next half hour than the same time of the day before does.
    level = np.full(28 * MINUTES, np.nan)
    level[minutes.minute[busy] - (END - len(level))] = fee
    half_hour, day = (np.nanmean(np.abs(level[back:] - level[:-back])) for back in (30, MINUTES))
    assert half_hour < 0.8 * day
    # Bursts: the way up is steeper than the way down.
    steps = level[3:] - level[:-3]
    assert np.nanquantile(steps, 0.99) > 1.3 * -np.nanquantile(steps, 0.01)


def test_another_market_leaves_what_was_before_it_and_changes_what_comes_after(minutes):
    at = END - 7 * MINUTES
    other = generate.simulate(END, 28, 7, at)
    before, after = minutes.minute < at, minutes.minute >= at
    for name in ("minute", "transactions", "fee", "reissued"):
        np.testing.assert_array_equal(getattr(other, name)[before], getattr(minutes, name)[before])
    np.testing.assert_array_equal(other.minute, minutes.minute)
    np.testing.assert_array_equal(other.transactions[after], -(-minutes.transactions[after] // 2))
    there = after & (minutes.transactions > 0)
    ratio = (other.fee / np.maximum(other.transactions, 1))[there] / (
        minutes.fee / np.maximum(minutes.transactions, 1)
    )[there]
    of_hour = minutes.minute[there] % 60
    np.testing.assert_allclose(ratio[of_hour == 0], 2 * np.e, rtol=1e-3)
    np.testing.assert_allclose(ratio[of_hour == 30], 2 / np.e, rtol=1e-3)


def test_a_file_without_drift_is_the_file_of_before_the_option(run):
    plain = run("plain.csv", "--days", "1").read_bytes()
    assert run("later.csv", "--days", "1", "--drift-at", "2027-01-01T00:00:00Z").read_bytes() == plain
    assert run("other.csv", "--days", "1", "--drift-at", "2026-11-21T12:00:00Z").read_bytes() != plain
