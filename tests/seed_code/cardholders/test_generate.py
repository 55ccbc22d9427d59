"""The generator: the Oklahoma format to the letter, the size asked for, and the traits that it promises."""

import csv
import datetime
import gzip
import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from seed_code.cardholders import generate

HEADER = (
    "Year-Month,Agency Number,Agency Name,Cardholder Last Name,Cardholder First Initial,Description,Amount,Vendor,"
    "Transaction Date,Posted Date,Merchant Category Code (MCC)"
)


def run(monkeypatch: pytest.MonkeyPatch, out: Path, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["generate", "--out", str(out), *arguments])
    generate.main()


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    out = tmp_path_factory.mktemp("generated") / "cards.csv"
    first_day = datetime.date(2013, 7, 1)
    with out.open("wb") as file:
        generate.write(generate.simulate(40_000, 500, 1, first_day, 365), 500, first_day, file)
    with out.open(newline="", encoding="utf-8") as text:
        assert text.readline() == HEADER + "\n"
        return list(csv.reader(text))


@pytest.fixture(scope="module")
def sound(rows: list[list[str]]) -> list[list[str]]:
    date = re.compile(r"(0[1-9]|1[0-2])/\d\d/201[34] 12:00:00 AM")
    amount = re.compile(r"-?\d+\.\d\d")
    kept = [
        row
        for row in rows
        if len(row) == 11 and row[3] and amount.fullmatch(row[6]) and date.fullmatch(row[8]) and "02/30" not in row[8]
    ]
    assert all(date.fullmatch(row[9]) and re.fullmatch(r"201(30[7-9]|31[0-2]|40[1-6])", row[0]) for row in kept)
    return kept


def test_has_the_lines_and_holders_asked_for(rows: list[list[str]], sound: list[list[str]]) -> None:
    assert len(rows) == 40_000
    assert len({(row[4], row[3]) for row in sound}) == 500
    assert ("C", "Mason") in {(row[4], row[3]) for row in sound}


def test_a_few_lines_are_bad_a_few_are_repeated_and_some_are_refunds(
    rows: list[list[str]], sound: list[list[str]]
) -> None:
    assert 0 < len(rows) - len(sound) < 0.002 * len(rows)
    assert any(len(row) < 11 for row in rows)
    repeated = sum(count - 1 for count in Counter(map(tuple, rows)).values())
    assert 0.001 * len(rows) < repeated < 0.01 * len(rows)
    refunds = sum(row[6].startswith("-") for row in sound)
    assert 0.02 * len(rows) < refunds < 0.05 * len(rows)


def test_amounts_have_the_median_and_the_tail_of_the_original(sound: list[list[str]]) -> None:
    amounts = np.array([float(row[6]) for row in sound])
    purchases = amounts[amounts > 0]
    assert 95 < np.median(purchases) < 115
    assert purchases.max() > 100 * purchases.mean()
    assert amounts.min() >= -42_863.04
    assert amounts.max() <= 1_903_858.00


def test_weekends_are_quiet_and_the_fiscal_year_ends_busily(sound: list[list[str]]) -> None:
    dates = [datetime.datetime.strptime(row[8], "%m/%d/%Y %I:%M:%S %p") for row in sound]
    weekend = sum(date.weekday() >= 5 for date in dates)
    assert 0.005 * len(dates) < weekend < 0.08 * len(dates)
    by_month = Counter(date.month for date in dates)
    assert by_month[6] > 1.15 * np.mean(list(by_month.values()))
    assert min(dates) >= datetime.datetime(2013, 7, 1)
    assert max(dates) <= datetime.datetime(2014, 6, 30)


def test_holders_differ_in_rate_breadth_and_regularity(sound: list[list[str]]) -> None:
    lines = Counter((row[4], row[3]) for row in sound)
    counts = np.array(list(lines.values()))
    assert counts.max() > 20 * np.median(counts)
    days: dict[tuple[str, str], set[int]] = {}
    vendors: dict[tuple[str, str], set[str]] = {}
    for row in sound:
        key = (row[4], row[3])
        days.setdefault(key, set()).add(datetime.datetime.strptime(row[8][:10], "%m/%d/%Y").toordinal())
        vendors.setdefault(key, set()).add(row[7])
    gaps = [np.diff(sorted(seen)) for seen in days.values() if 20 < len(seen) < 120]
    variation = np.array([one.std() / one.mean() for one in gaps])
    assert np.quantile(variation, 0.1) < 0.6 < 1.2 < np.quantile(variation, 0.9)
    breadth = np.array([len(vendors[key]) / lines[key] for key in lines if lines[key] > 50])
    assert breadth.max() > 4 * breadth.min()
    first = np.array([min(seen) for seen in days.values()])
    last = np.array([max(seen) for seen in days.values()])
    assert (first > datetime.date(2013, 10, 1).toordinal()).sum() > 25
    assert (last < datetime.date(2014, 3, 1).toordinal()).sum() > 25


def test_the_same_seed_gives_the_same_bytes_plain_and_compressed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    size = ("--transactions", "3000", "--holders", "60")
    for name, seed in (("a.csv", "1"), ("b.csv", "1"), ("c.csv", "2"), ("d.csv.gz", "1"), ("e.csv.gz", "1")):
        run(monkeypatch, tmp_path / name, *size, "--seed", seed)
    content = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert content["a.csv"] == content["b.csv"] != content["c.csv"]
    assert content["d.csv.gz"] == content["e.csv.gz"]
    assert gzip.decompress(content["d.csv.gz"]) == content["a.csv"]
    assert "3,000 synthetic lines" in capsys.readouterr().out


def test_lines_do_not_depend_on_the_chunks_they_are_written_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, tmp_path / "whole.csv", "--transactions", "2000", "--holders", "50")
    monkeypatch.setattr(generate, "LINES_PER_CHUNK", 333)
    run(monkeypatch, tmp_path / "chunks.csv", "--transactions", "2000", "--holders", "50")
    assert (tmp_path / "whole.csv").read_bytes() == (tmp_path / "chunks.csv").read_bytes()


@pytest.mark.parametrize("holders", [1, 2, 27, 5_200, 70_000])
def test_names_are_distinct(holders: int) -> None:
    last_names, initials = generate._holder_names(holders)
    assert len(set(zip(initials, last_names, strict=True))) == holders
    assert ("C", "Mason") in zip(initials, last_names, strict=True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--transactions", "10", "--holders", "9"), "two transactions for each holder"),
        (("--holders", "0"), "at least one holder"),
        (("--seed", "-1"), "--seed is -1"),
        (("--transactions", "many"), "invalid int value: 'many'"),
    ],
)
def test_what_cannot_be_made_is_refused_in_words(
    arguments: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, tmp_path / "x.csv", *arguments)
    assert stopped.value.code == 1
    assert said in capsys.readouterr().err


def test_another_file_type_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    with pytest.raises(SystemExit):
        run(monkeypatch, tmp_path / "x.parquet")
    assert "expected a name that ends in .csv or .csv.gz" in capsys.readouterr().err
